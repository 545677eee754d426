//! `Horizon`: up to which position of the log all entries have ended.

use std::collections::VecDeque;

use crate::revocation::log::LogPosition;

/// The latest end of the entries of each section of the log, in order. A section has about [`SECTION`] entries.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    sections: VecDeque<Section>,
    obsolete: Option<LogPosition>,
}

#[derive(Debug)]
struct Section {
    /// The position of the last entry.
    last: LogPosition,
    entries: usize,
    /// The latest end of an entry, in seconds since 1970.
    ends_at: u32,
}

impl Horizon {
    /// Records entries that were read, the last of them at a position.
    pub(super) fn record(&mut self, last: &LogPosition, entries: usize, ends_at: u32) {
        match self.sections.back_mut().filter(|section| section.entries < SECTION) {
            Some(section) => {
                section.last = last.clone();
                section.entries = section.entries.saturating_add(entries);
                section.ends_at = section.ends_at.max(ends_at);
            }
            None => self.sections.push_back(Section { last: last.clone(), entries, ends_at }),
        }
    }

    /// Returns the last position up to which all entries ended before `cutoff`.
    pub(super) fn obsolete(&mut self, cutoff: u32) -> Option<LogPosition> {
        while self.sections.front().is_some_and(|section| section.ends_at < cutoff) {
            self.obsolete = self.sections.pop_front().map(|section| section.last);
        }
        self.obsolete.clone()
    }

    /// Forgets everything, because the log is read from its start again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// An entry of the log is dropped only together with about so many others.
const SECTION: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: usize) -> LogPosition {
        LogPosition::new(&position.to_string())
    }

    #[test]
    fn a_section_is_obsolete_once_all_its_entries_have_ended_and_all_before_it() {
        let mut horizon = Horizon::default();
        horizon.record(&at(1), SECTION, 100);
        horizon.record(&at(2), 1, 50);
        horizon.record(&at(3), SECTION, 60);
        horizon.record(&at(4), SECTION, 70);
        assert_eq!(horizon.obsolete(100), None, "the first section has not ended");
        assert_eq!(horizon.obsolete(101), Some(at(4)), "all have");
        assert_eq!(horizon.obsolete(0), Some(at(4)));
        horizon.clear();
        assert_eq!(horizon.obsolete(101), None);
    }

    #[test]
    fn small_pages_share_a_section() {
        let mut horizon = Horizon::default();
        for position in 0..10 * SECTION {
            horizon.record(&at(position), 1, 10);
        }
        assert_eq!(horizon.sections.len(), 10);
        horizon.record(&at(10 * SECTION), 1, 20);
        assert_eq!(horizon.obsolete(11), Some(at(10 * SECTION - 1)));
    }
}
