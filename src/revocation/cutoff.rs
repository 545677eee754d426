//! `Cutoff`: the time before which an entry must have ended to be dropped.

use std::time::Duration;

use crate::clock::{Moment, Monotonic, Timestamp};
use crate::defaults;

/// Derives this time from the wall clock and the monotonic clock.
///
/// If the wall clock is set forward by mistake, entries seem to have ended. They must not be dropped, because their tokens are
/// valid again as soon as the clock is corrected. So the time follows a step of the wall clock only after it was read after the step
/// again and again for [`STEP_LASTS`]: two readings do not show that the clock was not correct between them.
#[derive(Debug)]
pub(super) struct Cutoff {
    /// A time by both clocks that is trusted.
    trusted: Moment,
    step: Option<Step>,
    steps_back: u32,
}

/// The wall clock is ahead of where it should be.
#[derive(Clone, Copy, Debug)]
struct Step {
    since: Monotonic,
    /// The last reading.
    last: Moment,
    /// The reading that is ahead least.
    least: Moment,
}

impl Cutoff {
    pub(super) fn new(now: Moment) -> Self {
        Self { trusted: now, step: None, steps_back: 0 }
    }

    /// Returns how often the wall clock was set back by more than [`MAX_LEEWAY`](defaults::MAX_LEEWAY). Before, entries may have been
    /// dropped too early: the first reading is trusted, because nothing says that it is wrong.
    pub(super) fn steps_back(&self) -> u32 {
        self.steps_back
    }

    pub(super) fn at(&mut self, now: Moment) -> Timestamp {
        let expected_now = expected(self.trusted, now.monotonic);
        if now.wall <= expected_now {
            let is_step = now.wall < expected_now.saturating_sub(defaults::MAX_LEEWAY);
            self.trust(now);
            self.steps_back = self.steps_back.saturating_add(u32::from(is_step));
            return now.wall;
        }
        let known = self.step.filter(|step| now.monotonic.saturating_since(step.last.monotonic) <= READ_WITHIN);
        let mut step = known.unwrap_or(Step { since: now.monotonic, last: now, least: now });
        if now.wall <= expected(step.least, now.monotonic) {
            step.least = now;
        }
        step.last = now;
        if now.monotonic.saturating_since(step.since) >= STEP_LASTS {
            self.trust(step.least);
        } else {
            self.step = Some(step);
        }
        expected(self.trusted, now.monotonic).min(now.wall)
    }

    fn trust(&mut self, moment: Moment) {
        self.trusted = moment;
        self.step = None;
    }
}

/// Returns what the wall clock should show now, if it was right at an earlier moment.
fn expected(earlier: Moment, now: Monotonic) -> Timestamp {
    earlier.wall.saturating_add(now.saturating_since(earlier.monotonic))
}

/// How long a step of the wall clock lasts before it counts.
pub(super) const STEP_LASTS: Duration = Duration::from_secs(600);

/// If the clock was not read for longer, it is not known whether the step lasted.
const READ_WITHIN: Duration = Duration::from_secs(60);

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
    fn ignores_a_step_forward_until_it_was_read_for_ten_minutes() {
        let mut cutoff = Cutoff::new(moment(1_000, 0));
        let mut read = |wall, monotonic| cutoff.at(moment(wall, monotonic));
        assert_eq!(read(90_700, 700), Timestamp::from_secs(1_700));
        assert_eq!(read(90_750, 750), Timestamp::from_secs(1_750));
        assert_eq!(read(1_760, 760), Timestamp::from_secs(1_760), "it was corrected");
        for monotonic in (800_u32..1_400).step_by(60) {
            let expected = Timestamp::from_secs(i64::from(monotonic) + 1_000);
            assert_eq!(read(90_000 + i64::from(monotonic), u64::from(monotonic)), expected, "{monotonic}");
        }
        assert_eq!(read(91_400, 1_400), Timestamp::from_secs(91_400));
        assert_eq!(read(91_401, 1_401), Timestamp::from_secs(91_401));
    }

    #[test]
    fn two_steps_with_a_correct_clock_between_them_are_not_one_that_lasts() {
        let mut cutoff = Cutoff::new(moment(1_000, 0));
        for monotonic in [100, 700, 1_300, 1_900] {
            let wall = i64::try_from(monotonic).expect("few");
            assert_eq!(cutoff.at(moment(90_000 + wall, monotonic)), Timestamp::from_secs(1_000 + wall), "{monotonic}");
        }
    }

    #[test]
    fn follows_the_least_of_a_step() {
        let mut cutoff = Cutoff::new(moment(1_000, 0));
        for monotonic in 0..=10_u32 {
            let ahead = if monotonic == 5 { 3_600 } else { 90_000 };
            let seconds = i64::from(monotonic) * 60;
            let reading = moment(1_001 + ahead + seconds, u64::from(monotonic) * 60);
            let expected = if monotonic < 10 { 1_000 + seconds } else { 1_001 + 3_600 + seconds };
            assert_eq!(cutoff.at(reading), Timestamp::from_secs(expected), "{monotonic}");
        }
    }

    #[test]
    fn follows_a_step_back_at_once() {
        let mut cutoff = Cutoff::new(moment(1_000, 0));
        assert_eq!(cutoff.at(moment(10, 10)), Timestamp::from_secs(10));
        assert_eq!(cutoff.at(moment(1_020, 20)), Timestamp::from_secs(20), "forward again, this may be a mistake");
    }
    #[test]
    fn counts_steps_back_by_more_than_the_leeway() {
        let mut cutoff = Cutoff::new(moment(100_000, 0));
        for (wall, monotonic, steps_back) in [(100_010, 10, 0), (99_720, 20, 0), (99_719, 320, 1), (99_720, 321, 1)] {
            cutoff.at(moment(wall, monotonic));
            assert_eq!(cutoff.steps_back(), steps_back, "{monotonic}");
        }
    }
}
