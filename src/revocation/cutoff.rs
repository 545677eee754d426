//! `Cutoff`: the time before which an entry must have ended to be dropped.

use std::time::Duration;

use crate::clock::{Moment, Timestamp};

/// Derives this time from the wall clock and the monotonic clock.
///
/// If the wall clock is set forward by mistake, entries seem to have ended. They must not be dropped, because their tokens are
/// valid again as soon as the clock is corrected. So the time does not follow a step of the wall clock until the step has lasted
/// for [`STEP_LASTS`].
#[derive(Debug)]
pub(super) struct Cutoff {
    earlier: Moment,
    later: Moment,
}

impl Cutoff {
    pub(super) fn new(now: Moment) -> Self {
        Self { earlier: now, later: now }
    }

    pub(super) fn at(&mut self, now: Moment) -> Timestamp {
        if now.monotonic.saturating_since(self.later.monotonic) >= STEP_LASTS {
            self.earlier = self.later;
            self.later = now;
        }
        let elapsed = now.monotonic.saturating_since(self.earlier.monotonic);
        now.wall.min(self.earlier.wall.saturating_add(elapsed))
    }
}

/// How long a step of the wall clock lasts before it counts.
const STEP_LASTS: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Monotonic;

    fn moment(wall: i64, monotonic: u64) -> Moment {
        Moment { wall: Timestamp::from_secs(wall), monotonic: Monotonic::from_origin(Duration::from_secs(monotonic)) }
    }

    #[test]
    fn follows_the_clock() {
        let mut cutoff = Cutoff::new(moment(1_000, 0));
        for seconds in [0, 1, 599, 600, 5_000, 5_001] {
            let wall = i64::try_from(seconds).expect("few") + 1_000;
            assert_eq!(cutoff.at(moment(wall, seconds)), Timestamp::from_secs(wall));
        }
    }

    #[test]
    fn ignores_a_step_forward_until_it_has_lasted_for_ten_minutes() {
        let mut cutoff = Cutoff::new(moment(1_000, 0));
        for (wall, monotonic, expected) in [
            (90_700, 700, 1_700),
            (90_750, 750, 1_750),
            (1_760, 760, 1_760),
            (90_800, 800, 1_800),
            (91_299, 1_299, 2_299),
            (91_300, 1_300, 91_300),
        ] {
            assert_eq!(cutoff.at(moment(wall, monotonic)), Timestamp::from_secs(expected), "{monotonic}");
        }
    }

    #[test]
    fn follows_a_step_back_at_once() {
        let mut cutoff = Cutoff::new(moment(1_000, 0));
        assert_eq!(cutoff.at(moment(10, 10)), Timestamp::from_secs(10));
        assert_eq!(cutoff.at(moment(1_020, 20)), Timestamp::from_secs(1_020));
    }
}
