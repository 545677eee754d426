//! `Limiter`: limits how many tenants are added in one second.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Monotonic;

/// Admits at most so many additions in each period of one second, wherever it begins.
pub(super) struct Limiter {
    most: u32,
    /// The times of the last additions, the latest at the end.
    admitted: VecDeque<Monotonic>,
}

impl Limiter {
    pub(super) fn new(most: u32) -> Self {
        Self { most, admitted: VecDeque::new() }
    }

    /// Returns whether a tenant may be added now, and counts it if so.
    pub(super) fn admits(&mut self, now: Monotonic) -> bool {
        while self.admitted.front().is_some_and(|at| now.saturating_since(*at) >= PERIOD) {
            self.admitted.pop_front();
        }
        let is_admitted = u32::try_from(self.admitted.len()).is_ok_and(|count| count < self.most);
        if is_admitted {
            self.admitted.push_back(now);
        }
        is_admitted
    }
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_so_many_in_each_second() {
        let mut limiter = Limiter::new(2);
        let admitted = [0, 400, 500, 999, 1_000, 1_001, 1_399, 1_400, 1_401, 5_000].map(|milliseconds| {
            let at = Monotonic::from_origin(Duration::from_millis(milliseconds));
            limiter.admits(at)
        });
        assert_eq!(admitted, [true, true, false, false, true, false, false, true, false, true]);
    }
}
