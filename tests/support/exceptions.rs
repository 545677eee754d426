//! What a public corpus says against what the crate does, with the disputed cases named one by one.

use std::collections::BTreeMap;
use std::fmt::Display;

/// The verdicts over one corpus.
///
/// A case must come out as it is labelled, unless the corpus's exceptions name it with a reason: then it must come out
/// the other way. An exception that no longer holds, or that names no case, fails as loudly as any other surprise.
pub(crate) struct Verdicts {
    corpus: &'static str,
    exceptions: BTreeMap<String, Exception>,
    accepted: usize,
    refused: usize,
    wrong: Vec<String>,
}

struct Exception {
    reason: String,
    met: bool,
}

impl Verdicts {
    /// Takes the text of an exceptions file: `id reason` line by line, `#` before a comment.
    pub(crate) fn new(corpus: &'static str, exceptions: &str) -> Self {
        let entry = |line: &str| {
            let (id, reason) = line.split_once(' ').expect("an id and a reason");
            (id.to_owned(), Exception { reason: reason.trim().to_owned(), met: false })
        };
        let lines = exceptions.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { corpus, exceptions: lines.map(entry).collect(), accepted: 0, refused: 0, wrong: Vec::new() }
    }

    /// Records one case: whether it is labelled valid, and whether it was accepted.
    pub(crate) fn record(&mut self, id: impl Display, valid: bool, accepted: bool) {
        let id = id.to_string();
        if accepted {
            self.accepted = self.accepted.saturating_add(1);
        } else {
            self.refused = self.refused.saturating_add(1);
        }
        let outcome = if accepted { "accepted" } else { "refused" };
        match self.exceptions.get_mut(&id) {
            Some(exception) => {
                exception.met = true;
                if accepted == valid {
                    self.wrong.push(format!("{id} is {outcome} as labelled, but an exception: {}", exception.reason));
                }
            }
            None if accepted != valid => self.wrong.push(format!("{id} is {outcome}")),
            None => {}
        }
    }

    /// Fails if any case surprised, any exception was not met, or the corpus is not as large as it was.
    pub(crate) fn finish(self, accepted: usize, refused: usize) {
        let unmet = self.exceptions.iter().filter(|(_, exception)| !exception.met);
        let unmet: Vec<String> = unmet.map(|(id, _)| format!("{id} is an exception, but no case")).collect();
        let wrong = [self.wrong, unmet].concat();
        assert!(wrong.is_empty(), "{}: {} surprises:\n{}", self.corpus, wrong.len(), wrong.join("\n"));
        assert_eq!((self.accepted, self.refused), (accepted, refused), "{}: accepted and refused", self.corpus);
    }
}

#[test]
fn surprises_of_every_kind_fail() {
    let exceptions = "# comment\n1 wrong label\n\n2 refused by RFC 7515 §2\n";
    let outcome = |cases: &[(&str, bool, bool)]| {
        let mut verdicts = Verdicts::new("test", exceptions);
        cases.iter().for_each(|(id, valid, accepted)| verdicts.record(id, *valid, *accepted));
        let accepted = cases.iter().filter(|case| case.2).count();
        std::panic::catch_unwind(|| verdicts.finish(accepted, cases.len() - accepted)).is_ok()
    };
    let good = [("1", false, true), ("2", true, false), ("3", true, true), ("4", false, false)];
    assert!(outcome(&good));
    for (at, wrong) in
        [("1", false, false), ("2", true, true), ("3", true, false), ("4", false, true)].iter().enumerate()
    {
        let mut cases = good;
        cases[at] = *wrong;
        assert!(!outcome(&cases), "{wrong:?}");
    }
    assert!(!outcome(&good[1..]), "an exception that names no case");
}
