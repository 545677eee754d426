//! Any order of entries, pages, cuts and regressions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::jwks::Jitter;
use crate::revocation::feed::{Failure, Feed, Outcome};
use crate::revocation::list::Origin;
use crate::revocation::log::{Extent, LogError, LogPosition};

/// What happens to the log, or to its reader.
#[derive(Clone, Debug)]
enum Event {
    /// Another process appends an entry that ends after so many seconds.
    Append { number: usize, ends_in: u64 },
    /// The reader reads at most so many entries.
    Read { limit: usize },
    /// A read fails.
    Cut,
    /// The log is emptied.
    Clear,
    /// The log is replaced by an older state.
    DropLast { entries: usize },
    /// The first entries are dropped.
    DropFirst { entries: usize },
    /// Time passes.
    Wait { seconds: u64 },
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_usize..20, 1_u64..2_000).prop_map(|(number, ends_in)| Event::Append { number, ends_in }),
        4 => (1_usize..5).prop_map(|limit| Event::Read { limit }),
        1 => Just(Event::Cut),
        1 => Just(Event::Clear),
        1 => (0_usize..4).prop_map(|entries| Event::DropLast { entries }),
        1 => (0_usize..4).prop_map(|entries| Event::DropFirst { entries }),
        1 => (0_u64..400).prop_map(|seconds| Event::Wait { seconds }),
    ]
}

/// The log: entries with increasing numbers.
#[derive(Default)]
struct Log {
    entries: Vec<(u64, usize, Revocation)>,
    last: u64,
}

impl Log {
    fn read(&self, after: Option<&LogPosition>, limit: usize) -> (Extent, Vec<(u64, usize, Revocation)>) {
        let after = after.map(|position| position.as_str().parse::<u64>().expect("a number"));
        if after.is_some_and(|after| !self.entries.iter().any(|(number, ..)| *number == after)) {
            return (Extent::Regressed, Vec::new());
        }
        let next = self.entries.iter().filter(|(number, ..)| after.is_none_or(|after| *number > after));
        let page: Vec<_> = next.clone().take(limit).cloned().collect();
        (if page.len() < next.count() { Extent::Partial } else { Extent::Complete }, page)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The list contains every entry that was ever read and has not ended, and after a read to the end every entry of the log.
    #[test]
    fn knows_every_entry_that_was_read_and_has_not_ended(events in prop::collection::vec(any_event(), 1..60)) {
        let clock = FakeClock::new();
        let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
        let (mut log, mut feed, mut read) = (Log::default(), Feed::default(), BTreeMap::<usize, Timestamp>::new());
        for event in events {
            match event {
                Event::Append { number, ends_in } => {
                    let end = clock.now().saturating_add(Duration::from_secs(ends_in));
                    log.last = log.last.saturating_add(1);
                    let entry = Revocation::jwt_id(ISSUER, &number.to_string()).with_end(end);
                    log.entries.push((log.last, number, entry));
                }
                Event::Read { limit } => {
                    let (extent, page) = log.read(feed.cursor(), limit);
                    let entries: Vec<_> = page.iter().map(|(.., entry)| entry.clone()).collect();
                    prop_assert!(list.shared.add(&entries, Origin::Log).is_ok());
                    for (_, number, entry) in &page {
                        let end = entry.end().expect("an end");
                        let latest = read.entry(*number).or_insert(end);
                        *latest = end.max(*latest);
                    }
                    let position = page.last().map(|(number, ..)| LogPosition::new(&number.to_string()));
                    let outcome = Outcome::Page { extent, position, entries: page.len(), elapsed: Duration::ZERO };
                    feed.step(outcome, Jitter(0));
                    if extent == Extent::Complete {
                        let now = clock.now();
                        let live = log.entries.iter().filter(|(.., entry)| entry.end().is_some_and(|end| end > now));
                        for (_, number, _) in live {
                            prop_assert!(knows(&list, *number), "{number} is in the log");
                        }
                    }
                }
                Event::Cut => drop(feed.step(Outcome::Failed(Failure::Log(LogError::Unavailable)), Jitter(0))),
                Event::Clear => log.entries.clear(),
                Event::DropLast { entries } => log.entries.truncate(log.entries.len().saturating_sub(entries)),
                Event::DropFirst { entries } => drop(log.entries.drain(..entries.min(log.entries.len()))),
                Event::Wait { seconds } => clock.advance(Duration::from_secs(seconds)),
            }
            let now = clock.now();
            for (number, end) in &read {
                prop_assert!(*end <= now || knows(&list, *number), "{number} was read and ends at {end}");
            }
        }
    }
}
