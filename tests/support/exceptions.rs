//! Compares the labels of a public corpus with the results of the crate, apart from a list of exceptions.

use std::collections::BTreeMap;
use std::fmt::Display;

/// The results over one corpus.
///
/// The result of a case must match its label, unless the exceptions of the corpus list the case with a reason: then it must
/// not match. An exception that matches its label, or that names no case, is a failure, too.
pub(crate) struct CaseResults {
    corpus: &'static str,
    exceptions: BTreeMap<String, Exception>,
    accepted: usize,
    rejected: usize,
    failures: Vec<String>,
}

struct Exception {
    reason: String,
    is_used: bool,
}

impl CaseResults {
    /// Creates an empty result with the text of an exceptions file: lines of `id reason`, and comments after `#`.
    pub(crate) fn new(corpus: &'static str, exceptions: &str) -> Self {
        let entry = |line: &str| {
            let (id, reason) = line.split_once(' ').expect("an id and a reason");
            (id.to_owned(), Exception { reason: reason.trim().to_owned(), is_used: false })
        };
        let lines = exceptions.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { corpus, exceptions: lines.map(entry).collect(), accepted: 0, rejected: 0, failures: Vec::new() }
    }

    /// Records a case: whether its label is valid, and whether it was accepted.
    pub(crate) fn record(&mut self, id: impl Display, valid: bool, accepted: bool) {
        let id = id.to_string();
        if accepted {
            self.accepted = self.accepted.saturating_add(1);
        } else {
            self.rejected = self.rejected.saturating_add(1);
        }
        let outcome = if accepted { "accepted" } else { "rejected" };
        match self.exceptions.get_mut(&id) {
            Some(exception) => {
                exception.is_used = true;
                if accepted == valid {
                    self.failures.push(format!(
                        "{id} is {outcome} as labeled, but listed as an exception: {}",
                        exception.reason
                    ));
                }
            }
            None if accepted != valid => self.failures.push(format!("{id} is {outcome}")),
            None => {}
        }
    }

    /// Panics if a case has an unexpected result, an exception is unused, or the counts differ from the expected ones.
    pub(crate) fn finish(self, accepted: usize, rejected: usize) {
        let unused = self.exceptions.iter().filter(|(_, exception)| !exception.is_used);
        let unused: Vec<String> =
            unused.map(|(id, _)| format!("{id} is listed as an exception, but is not a case")).collect();
        let failures = [self.failures, unused].concat();
        assert!(
            failures.is_empty(),
            "{}: {} unexpected results:\n{}",
            self.corpus,
            failures.len(),
            failures.join("\n")
        );
        assert_eq!((self.accepted, self.rejected), (accepted, rejected), "{}: accepted and rejected", self.corpus);
    }
}

#[test]
fn rejects_every_kind_of_unexpected_result() {
    let exceptions = "# comment\n1 failures label\n\n2 rejected by RFC 7515 §2\n";
    let outcome = |cases: &[(&str, bool, bool)]| {
        let mut results = CaseResults::new("test", exceptions);
        cases.iter().for_each(|(id, valid, accepted)| results.record(id, *valid, *accepted));
        let accepted = cases.iter().filter(|case| case.2).count();
        std::panic::catch_unwind(|| results.finish(accepted, cases.len() - accepted)).is_ok()
    };
    let good = [("1", false, true), ("2", true, false), ("3", true, true), ("4", false, false)];
    assert!(outcome(&good));
    for (at, failures) in
        [("1", false, false), ("2", true, true), ("3", true, false), ("4", false, true)].iter().enumerate()
    {
        let mut cases = good;
        cases[at] = *failures;
        assert!(!outcome(&cases), "{failures:?}");
    }
    assert!(!outcome(&good[1..]), "an exception that names no case");
}
