//! Checks the token cache's table with loom: each model runs under every interleaving of its threads (with a bounded number of
//! preemptions), and with every value that a relaxed load may return.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a check prints, and panics if it fails"
)]

mod sync;
#[path = "../../src/validator/token_cache/table/mod.rs"]
#[expect(dead_code, reason = "the models need no sizes")]
mod table;

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use crate::table::{Entry, Table};

/// A table of numbers by keys. Values are shared, so that a model sees when the table drops them.
type Values = Table<u64, Arc<u64>>;

/// The hash of all keys of a model: all are in one set, and have one tag.
const HASH: u64 = 7;

fn main() {
    check("a search finds a whole entry or none", a_search_finds_a_whole_entry_or_none);
    check("one key has one entry", one_key_has_one_entry);
    check("a removed entry is not found", a_removed_entry_is_not_found);
    check("an eviction replaces one entry by another", an_eviction_replaces_one_entry_by_another);
    check("a full table evicts an entry by its clock", a_full_table_evicts_an_entry_by_its_clock);
}

fn check(name: &str, model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 100_000;
    builder.check(model);
    println!("{name}: ok");
}

fn table() -> Arc<Values> {
    Arc::new(Table::new(1, 6_400))
}

fn insert(table: &Values, hash: u64, key: u64, value: u64) -> usize {
    table.insert(hash, Entry { key, value: Arc::new(value), weight: 1 }, Duration::ZERO, |_| false)
}

fn find(table: &Values, hash: u64, key: u64) -> Option<u64> {
    table.find(hash, || Some(key)).map(|found| *found.expect("a found entry").value)
}

/// Two keys share the tag, and one of them is stored while another thread searches.
fn a_search_finds_a_whole_entry_or_none() {
    let table = table();
    insert(&table, HASH, 1, 10);
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, HASH, 2, 20)
    });
    assert_eq!(find(&table, HASH, 1), Some(10));
    assert!([None, Some(20)].contains(&find(&table, HASH, 2)));
    assert_eq!(writer.join().expect("no panic"), 0);
    assert_eq!((find(&table, HASH, 1), find(&table, HASH, 2)), (Some(10), Some(20)));
}

/// Two threads store the same key. A thread that finds the other one writing stores nothing.
fn one_key_has_one_entry() {
    let table = table();
    let threads = [10, 20].map(|value| {
        let table = Arc::clone(&table);
        thread::spawn(move || insert(&table, HASH, 1, value))
    });
    assert!([None, Some(10), Some(20)].contains(&find(&table, HASH, 1)));
    let [one, other] = threads.map(|thread| thread.join().expect("no panic"));
    assert_eq!((one, other), (0, 0));
    assert!([Some(10), Some(20)].contains(&find(&table, HASH, 1)));
    // The set has room for seven other keys, and not for eight.
    let evicted = (2..10).map(|key| insert(&table, HASH, key, key));
    assert_eq!(evicted.collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 0, 1]);
}

/// One thread removes an entry while another one searches and a third one stores it again.
fn a_removed_entry_is_not_found() {
    let table = table();
    insert(&table, HASH, 1, 10);
    let remover = thread::spawn({
        let table = Arc::clone(&table);
        move || table.remove(HASH, &1)
    });
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, HASH, 1, 20)
    });
    assert!([None, Some(10), Some(20)].contains(&find(&table, HASH, 1)));
    remover.join().expect("no panic");
    writer.join().expect("no panic");
    table.remove(HASH, &1);
    assert_eq!(find(&table, HASH, 1), None);
}

/// A full set evicts an entry while another thread searches for it. The evicted value is dropped.
fn an_eviction_replaces_one_entry_by_another() {
    let table = table();
    let first = Arc::new(0);
    table.insert(HASH, Entry { key: 0, value: Arc::clone(&first), weight: 1 }, Duration::ZERO, |_| false);
    for key in 1..8 {
        assert_eq!(insert(&table, HASH + key, key, key), 0);
    }
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, HASH, 100, 100)
    });
    assert!([None, Some(0)].contains(&find(&table, HASH, 0)));
    assert_eq!(writer.join().expect("no panic"), 1);
    assert_eq!(find(&table, HASH, 100), Some(100));
    let left: Vec<u64> = (0..8).filter(|key| find(&table, HASH + key, *key) == Some(*key)).collect();
    assert_eq!(left.len(), 7);
    assert_eq!(Arc::strong_count(&first), if left.contains(&0) { 2 } else { 1 });
}

/// A full table evicts an entry of any set while another thread searches for it. The evicted value is dropped.
fn a_full_table_evicts_an_entry_by_its_clock() {
    let table: Arc<Values> = Arc::new(Table::new(9, 64));
    let place = |key: u64| (key % 9) << 16 | HASH;
    let first = Arc::new(0);
    table.insert(place(0), Entry { key: 0, value: Arc::clone(&first), weight: 1 }, Duration::ZERO, |_| false);
    for key in 1..64 {
        assert_eq!(insert(&table, place(key), key, key), 0);
    }
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, place(100), 100, 100)
    });
    assert!([None, Some(0)].contains(&find(&table, place(0), 0)));
    assert_eq!(writer.join().expect("no panic"), 1);
    assert_eq!(find(&table, place(100), 100), Some(100));
    let left: Vec<u64> = (0..64).filter(|key| find(&table, place(*key), *key) == Some(*key)).collect();
    assert_eq!(left.len(), 63);
    assert_eq!(Arc::strong_count(&first), if left.contains(&0) { 2 } else { 1 });
}
