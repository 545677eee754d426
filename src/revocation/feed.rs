//! `Feed`: what to read next from the log. A pure state machine: results and random numbers are arguments.

use std::time::Duration;

use crate::defaults;
use crate::jwks::Jitter;
use crate::revocation::log::{Extent, LogError, LogPosition};

/// The progress of one process in the log.
///
/// Entries that were read stay in the list until their end, whatever happens to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Feed {
    phase: Phase,
    /// The position of the last entry that was read.
    cursor: Option<LogPosition>,
    /// The reads that failed in a row.
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// The log was never read to its end.
    #[default]
    Loading,
    /// The log was read to its end at least once.
    Following,
    /// The log is read from the start again, because it has regressed or the clock was set back.
    Reloading,
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A page was read, and all its entries are in the list.
    Page {
        extent: Extent,
        position: Option<LogPosition>,
        entries: usize,
        /// How long the read took.
        elapsed: Duration,
    },
    Failed(Failure),
}

/// Why a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Log(LogError),
    /// The list has no room for the entries.
    ListFull,
    /// The log says that it has regressed, although nothing was read from it.
    Regressed,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) change: Change,
    /// The time until the next read.
    pub(super) pause: Duration,
}

/// What a result means for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// The log no longer has what was read before.
    Regressed,
    /// The read failed.
    Failed {
        failure: Failure,
        /// The number of failures in a row.
        consecutive: u32,
    },
}

impl Feed {
    /// Returns where the next read starts.
    pub(super) fn cursor(&self) -> Option<&LogPosition> {
        self.cursor.as_ref()
    }

    /// Returns how long the next read waits for an entry. While the log is read to its end, no read waits, and none after a failure: it
    /// shows at once whether the log responds.
    pub(super) fn wait(&self) -> Duration {
        match self.phase {
            Phase::Following if self.failures == 0 => defaults::LOG_WAIT,
            Phase::Loading | Phase::Following | Phase::Reloading => Duration::ZERO,
        }
    }

    pub(super) fn step(&mut self, outcome: Outcome, jitter: Jitter) -> Next {
        let waited = self.wait();
        match outcome {
            Outcome::Failed(failure) => self.fail(failure, jitter),
            Outcome::Page { extent: Extent::Regressed, .. } => {
                let has_read = self.cursor.take().is_some();
                let was_at_end = self.phase == Phase::Following;
                if was_at_end {
                    self.phase = Phase::Reloading;
                }
                match (has_read, was_at_end) {
                    // Nothing was read, so the log cannot have regressed.
                    (false, _) => self.fail(Failure::Regressed, jitter),
                    (true, true) => Next { change: Change::Regressed, pause: Duration::ZERO },
                    // It regresses again and again.
                    (true, false) => Next { change: Change::Regressed, ..self.fail(Failure::Regressed, jitter) },
                }
            }
            Outcome::Page { extent, position, entries, elapsed } => {
                self.failures = 0;
                self.cursor = position.or(self.cursor.take());
                if extent == Extent::Complete {
                    self.phase = Phase::Following;
                }
                // A log that cannot wait is polled.
                let is_poll = entries == 0 && !waited.is_zero() && elapsed < waited;
                let pause = if is_poll { defaults::LOG_POLL.saturating_sub(elapsed) } else { Duration::ZERO };
                Next { change: Change::None, pause }
            }
        }
    }

    /// Reads the log from its start again. What was read stays known, so requests are not rejected meanwhile.
    pub(super) fn restart(&mut self) {
        self.cursor = None;
        if self.phase == Phase::Following {
            self.phase = Phase::Reloading;
        }
    }

    fn fail(&mut self, failure: Failure, jitter: Jitter) -> Next {
        let pause = jitter.backoff(defaults::LOG_BACKOFF_MIN, defaults::LOG_BACKOFF_MAX, self.failures);
        self.failures = self.failures.saturating_add(1);
        Next { change: Change::Failed { failure, consecutive: self.failures }, pause }
    }
}

impl Failure {
    /// Returns the fixed snake_case name for logs and metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Log(error) => error.name(),
            Self::ListFull => "full",
            Self::Regressed => "regressed",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;
    const DOWN: Outcome = Outcome::Failed(Failure::Log(LogError::Unavailable));

    fn page(extent: Extent, position: Option<&str>, entries: usize) -> Outcome {
        Outcome::Page { extent, position: position.map(LogPosition::new), entries, elapsed: defaults::LOG_WAIT }
    }

    fn next(change: Change) -> Next {
        Next { change, pause: NOW }
    }

    fn cursor(feed: &Feed) -> Option<&str> {
        feed.cursor().map(LogPosition::as_str)
    }

    #[test]
    fn reads_the_whole_log_without_waiting_and_then_follows() {
        let mut feed = Feed::default();
        assert_eq!((cursor(&feed), feed.wait()), (None, NOW));
        assert_eq!(feed.step(page(Extent::Partial, Some("7"), 7), Jitter(0)), next(Change::None));
        assert_eq!((cursor(&feed), feed.wait()), (Some("7"), NOW));
        assert_eq!(feed.step(page(Extent::Complete, None, 0), Jitter(0)), next(Change::None));
        assert_eq!((cursor(&feed), feed.wait()), (Some("7"), defaults::LOG_WAIT));
        assert_eq!(feed.step(page(Extent::Complete, Some("8"), 1), Jitter(0)), next(Change::None));
        assert_eq!(feed.step(page(Extent::Complete, None, 0), Jitter(0)), next(Change::None), "no entry in that time");
        assert_eq!((cursor(&feed), feed.wait()), (Some("8"), defaults::LOG_WAIT));
    }

    #[test]
    fn after_a_failure_it_continues_from_the_cursor_after_at_most_five_seconds() {
        let mut feed = Feed::default();
        feed.step(page(Extent::Complete, Some("7"), 7), Jitter(0));
        for consecutive in 1..20 {
            let next = feed.step(DOWN, Jitter(u32::MAX));
            assert_eq!(next.change, Change::Failed { failure: Failure::Log(LogError::Unavailable), consecutive });
            assert!(next.pause > NOW && next.pause <= Duration::from_secs(5), "{next:?}");
            assert_eq!(
                (cursor(&feed), feed.wait()),
                (Some("7"), NOW),
                "the next read shows at once whether the log responds"
            );
        }
        assert_eq!(feed.step(page(Extent::Complete, Some("9"), 2), Jitter(0)), next(Change::None));
        assert!(feed.step(DOWN, Jitter(u32::MAX)).pause <= Duration::from_millis(100), "the backoff is reset");
    }

    #[test]
    fn after_the_log_has_regressed_it_is_read_from_the_start() {
        let mut feed = Feed::default();
        feed.step(page(Extent::Complete, Some("7"), 7), Jitter(0));
        assert_eq!(feed.step(page(Extent::Regressed, None, 0), Jitter(0)), next(Change::Regressed));
        assert_eq!((cursor(&feed), feed.wait()), (None, NOW));
        assert_eq!(feed.step(page(Extent::Partial, Some("3"), 3), Jitter(0)), next(Change::None));
        let again = feed.step(page(Extent::Regressed, None, 0), Jitter(0));
        assert_eq!((again.change, again.pause), (Change::Regressed, Duration::from_millis(50)), "not in a loop");
        assert_eq!(feed.step(page(Extent::Complete, None, 0), Jitter(0)), next(Change::None), "an empty log");
        assert_eq!((cursor(&feed), feed.wait()), (None, defaults::LOG_WAIT));
    }

    #[test]
    fn a_log_that_regresses_before_it_is_read_to_its_end_is_not_loaded() {
        let mut feed = Feed::default();
        feed.step(page(Extent::Partial, Some("7"), 7), Jitter(0));
        assert_eq!(feed.step(page(Extent::Regressed, None, 0), Jitter(0)).change, Change::Regressed);
        assert_eq!(feed.phase, Phase::Loading);
        let again = feed.step(page(Extent::Regressed, None, 0), Jitter(0)).change;
        assert_eq!(again, Change::Failed { failure: Failure::Regressed, consecutive: 2 });
        assert_eq!(feed.step(page(Extent::Complete, Some("1"), 1), Jitter(0)), next(Change::None));
        assert_eq!(feed.phase, Phase::Following);
    }

    #[test]
    fn a_log_that_does_not_wait_is_polled_every_second() {
        let mut feed = Feed::default();
        let at_once = |entries| Outcome::Page {
            extent: Extent::Complete,
            position: None,
            entries,
            elapsed: Duration::from_millis(10),
        };
        assert_eq!(feed.step(at_once(0), Jitter(0)), next(Change::None), "the first read does not wait");
        assert_eq!(feed.step(at_once(0), Jitter(0)).pause, Duration::from_millis(990));
        assert_eq!(feed.step(at_once(1), Jitter(0)).pause, NOW);
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        let extent = prop::sample::select(vec![Extent::Complete, Extent::Partial, Extent::Regressed]);
        prop_oneof![
            Just(DOWN),
            (extent, 0_u8..9, 0_usize..3, 0_u64..6).prop_map(|(extent, position, entries, elapsed)| {
                let position = (entries > 0).then(|| LogPosition::new(&position.to_string()));
                Outcome::Page { extent, position, entries, elapsed: Duration::from_secs(elapsed) }
            }),
        ]
    }

    proptest! {
        #[test]
        fn never_pauses_long_and_never_waits_before_the_end_was_reached(
            outcomes in prop::collection::vec((any_outcome(), any::<u32>()), 0..40),
        ) {
            let mut feed = Feed::default();
            let mut is_at_end = false;
            for (outcome, jitter) in outcomes {
                let before = feed.clone();
                let next = feed.step(outcome.clone(), Jitter(jitter));
                prop_assert!(next.pause <= Duration::from_secs(5));
                match outcome {
                    Outcome::Failed(_) => prop_assert_eq!(feed.cursor(), before.cursor()),
                    Outcome::Page { extent: Extent::Regressed, .. } => {
                        is_at_end = false;
                        prop_assert_eq!(feed.cursor(), None);
                    }
                    Outcome::Page { extent, position, .. } => {
                        is_at_end |= extent == Extent::Complete;
                        prop_assert_eq!(feed.cursor().cloned(), position.or(before.cursor));
                    }
                }
                prop_assert!(is_at_end || feed.wait().is_zero());
            }
        }
    }
}
