//! Checks the tables of used proofs, and the periods that contain them, with loom: each model runs under every interleaving of its
//! threads (with a bounded number of preemptions), and with every value that a relaxed load may return.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a check prints, and panics if it fails")]

// `memory.rs` uses this name.
extern crate self as arc_swap;

mod check;
mod clock;
#[allow(dead_code, reason = "the models call only a part of the store")]
mod dpop;
mod periods;
#[path = "replay_sync.rs"]
mod sync;
#[path = "../../src/dpop/replay/table.rs"]
mod table;

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::check::check;
pub(crate) use crate::sync::ArcSwap;
use crate::table::{Budget, Insertion, Table};

fn main() {
    check("one of two threads inserts a hash", one_of_two_threads_inserts_a_hash);
    check(
        "one of two threads inserts a hash into a divided page",
        one_of_two_threads_inserts_a_hash_into_a_divided_page,
    );
    check("a race for the last place loses no hash", a_race_for_the_last_place_loses_no_hash);
    check("a division loses no hash", a_division_loses_no_hash);
    check("a division loses no hash that takes a free place", a_division_loses_no_hash_that_takes_a_free_place);
    check("a hash is found during a division", a_hash_is_found_during_a_division);
    check("a hash that was inserted during a division is found", a_hash_that_was_inserted_during_a_division_is_found);
    check("one page is enough for two threads", one_page_is_enough_for_two_threads);
    check("the last division rejects no hash", the_last_division_rejects_no_hash);
    check("two threads share a budget", two_threads_share_a_budget);
    periods::check_all();
}

/// Begins with another bit than the small numbers.
const HIGH: u64 = 1 << 63;

/// Selects the second one of two places.
const SECOND: u64 = 1 << 31;

/// A table of at most two pages that have so many places.
fn table(places: usize) -> Arc<Table> {
    Arc::new(Table::new(2, places, places, Arc::new(Budget::new(1_000))))
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

fn assert_present(table: &Table, hashes: &[u64]) {
    for hash in hashes {
        assert!(table.contains(*hash));
        assert_eq!(table.insert(*hash), Insertion::Present);
    }
    assert_eq!(table.entries(), hashes.len());
}

fn one_of_two_threads_inserts_a_hash() {
    let table = table(1);
    let insertions = insert_in_threads(&table, [7, 7]);
    assert_eq!((count(&insertions, Insertion::Inserted), count(&insertions, Insertion::Present)), (1, 1));
    assert_present(&table, &[7]);
}

/// The page is full, so both threads divide it.
fn one_of_two_threads_inserts_a_hash_into_a_divided_page() {
    let table = table(1);
    assert_eq!(table.insert(HIGH), Insertion::Inserted);
    let insertions = insert_in_threads(&table, [7, 7]);
    assert_eq!((count(&insertions, Insertion::Inserted), count(&insertions, Insertion::Present)), (1, 1));
    assert_present(&table, &[7, HIGH]);
    assert_eq!(table.bytes(), 16);
}

fn a_race_for_the_last_place_loses_no_hash() {
    let table = table(1);
    assert_eq!(insert_in_threads(&table, [7, HIGH]), [Insertion::Inserted; 2]);
    assert_present(&table, &[7, HIGH]);
    assert_eq!(table.bytes(), 16);
}

/// One of both hashes takes the last place of the page, or finds it closed.
fn a_division_loses_no_hash() {
    let table = table(2);
    assert_eq!(table.insert(6), Insertion::Inserted);
    let thread = thread::spawn({
        let table = Arc::clone(&table);
        move || [table.insert(7), table.insert(HIGH)]
    });
    let insertions = [table.insert(HIGH | 2), table.insert(7)];
    let others = thread.join().expect("no panic");
    assert_eq!((insertions[0], others[1]), (Insertion::Inserted, Insertion::Inserted));
    assert_eq!(count(&[insertions[1], others[0]], Insertion::Inserted), 1);
    assert_present(&table, &[6, 7, HIGH, HIGH | 2]);
    assert_eq!(table.bytes(), 32);
}

/// The first place of the second hash is taken, so its thread divides the page. The other place of the page is free.
fn a_division_loses_no_hash_that_takes_a_free_place() {
    let table = Arc::new(Table::new(2, 2, 1, Arc::new(Budget::new(1_000))));
    assert_eq!(table.insert(6), Insertion::Inserted);
    assert_eq!(insert_in_threads(&table, [HIGH | 6, SECOND]), [Insertion::Inserted; 2]);
    assert_present(&table, &[6, SECOND, HIGH | 6]);
}

fn a_hash_is_found_during_a_division() {
    let table = table(1);
    assert_eq!(table.insert(7), Insertion::Inserted);
    let thread = thread::spawn({
        let table = Arc::clone(&table);
        move || table.insert(HIGH)
    });
    assert!(table.contains(7));
    assert_eq!(table.insert(7), Insertion::Present);
    assert_eq!(thread.join().expect("no panic"), Insertion::Inserted);
}

/// The other thread says so as soon as it has inserted the hash.
fn a_hash_that_was_inserted_during_a_division_is_found() {
    let table = table(1);
    assert_eq!(table.insert(7), Insertion::Inserted);
    let inserted = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let (table, inserted) = (Arc::clone(&table), Arc::clone(&inserted));
        move || {
            assert_eq!(table.insert(HIGH), Insertion::Inserted);
            inserted.store(true, Ordering::Release);
        }
    });
    let is_inserted = inserted.load(Ordering::Acquire);
    assert!(table.contains(HIGH) || !is_inserted);
    thread.join().expect("no panic");
}

/// The page takes the whole budget. The thread that does not publish it has a place nevertheless.
fn one_page_is_enough_for_two_threads() {
    let table = Arc::new(Table::new(2, 2, 1, Arc::new(Budget::new(16))));
    assert_eq!(insert_in_threads(&table, [7, SECOND]), [Insertion::Inserted; 2]);
}

/// The last page of the budget is used by one division, and both threads have a place then.
fn the_last_division_rejects_no_hash() {
    let budget = Arc::new(Budget::new(16));
    let table = Arc::new(Table::new(4, 1, 1, Arc::clone(&budget)));
    assert_eq!(insert_in_threads(&table, [7, HIGH]), [Insertion::Inserted; 2]);
    assert_eq!(table.insert(HIGH | 1), Insertion::Full);
    assert_eq!(budget.used(), 16);
    drop(table);
    assert_eq!(budget.used(), 0);
}

/// The budget is enough for the page of one table. Both threads may find it unused.
fn two_threads_share_a_budget() {
    let budget = Arc::new(Budget::new(8));
    let tables = [(); 2].map(|()| Arc::new(Table::new(2, 1, 1, Arc::clone(&budget))));
    let [first, second] = tables;
    let thread = thread::spawn({
        let first = Arc::clone(&first);
        move || first.insert(7)
    });
    let insertions = [second.insert(7), thread.join().expect("no panic")];
    assert!(count(&insertions, Insertion::Inserted) >= 1);
    assert_eq!(first.insert(HIGH), Insertion::Full);
    drop([first, second]);
    assert_eq!(budget.used(), 0);
}
