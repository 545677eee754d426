//! Checks the table of used proofs with loom: each model runs under every interleaving of its threads (with a bounded number of
//! preemptions), and with every value that a relaxed load may return.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a check prints, and panics if it fails")]

mod check;
#[path = "replay_sync.rs"]
mod sync;
#[path = "../../src/dpop/replay/table.rs"]
#[expect(dead_code, reason = "the models need no sizes")]
mod table;

use loom::sync::Arc;
use loom::thread;

use crate::check::check;
use crate::table::{Budget, Insertion, Table};

fn main() {
    check("one of two threads inserts a hash", one_of_two_threads_inserts_a_hash);
    check("one of two threads inserts a hash into a new segment", one_of_two_threads_inserts_a_hash_into_a_new_segment);
    check("a race for the last place loses no hash", a_race_for_the_last_place_loses_no_hash);
    check("two threads share a budget", two_threads_share_a_budget);
}

/// A table of two segments at most: one row of one place, then two rows of one place.
fn table() -> Arc<Table> {
    // A budget without a limit: at its end, a thread that loses the race for a segment may find the table full.
    Arc::new(Table::new(1, 1, 24, Arc::new(Budget::new(1_000))))
}

fn insert_in_threads(table: &Arc<Table>, hashes: [u64; 2]) -> [Insertion; 2] {
    let [first, second] = hashes;
    let thread = thread::spawn({
        let table = Arc::clone(table);
        move || table.insert(first)
    });
    let second = table.insert(second);
    [thread.join().expect("no panic"), second]
}

fn count(insertions: &[Insertion], kind: Insertion) -> usize {
    insertions.iter().filter(|insertion| **insertion == kind).count()
}

fn one_of_two_threads_inserts_a_hash() {
    let table = table();
    let insertions = insert_in_threads(&table, [7, 7]);
    assert_eq!((count(&insertions, Insertion::Inserted), count(&insertions, Insertion::Present)), (1, 1));
    assert_eq!(table.insert(7), Insertion::Present);
    assert!(table.contains(7));
}

/// The first segment is full, so both threads add the second one.
fn one_of_two_threads_inserts_a_hash_into_a_new_segment() {
    let table = table();
    assert_eq!(table.insert(8), Insertion::Inserted);
    let insertions = insert_in_threads(&table, [7, 7]);
    assert_eq!((count(&insertions, Insertion::Inserted), count(&insertions, Insertion::Present)), (1, 1));
    assert_eq!((table.insert(7), table.insert(8)), (Insertion::Present, Insertion::Present));
}

/// Both hashes have the same row in each segment.
fn a_race_for_the_last_place_loses_no_hash() {
    let table = table();
    let insertions = insert_in_threads(&table, [4, 8]);
    assert_eq!(count(&insertions, Insertion::Inserted), 2);
    assert_eq!((table.insert(4), table.insert(8)), (Insertion::Present, Insertion::Present));
    assert_eq!(table.insert(12), Insertion::Full);
}

/// The budget is enough for the first segment of one table.
fn two_threads_share_a_budget() {
    let budget = Arc::new(Budget::new(8));
    let tables = [(); 2].map(|()| Arc::new(Table::new(1, 1, 24, Arc::clone(&budget))));
    let [first, second] = tables;
    // A table that is dropped releases its bytes, so both tables live until the end.
    let thread = thread::spawn({
        let first = Arc::clone(&first);
        move || first.insert(7)
    });
    let insertions = [second.insert(7), thread.join().expect("no panic")];
    assert!(count(&insertions, Insertion::Inserted) <= 1);
}
