//! Checks the token cache's table with loom: each model runs under every interleaving of its threads (with a bounded number of
//! preemptions), and with every value that a relaxed load may return.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a check prints, and panics if it fails"
)]

mod check;
mod sync;
#[path = "../../src/validator/token_cache/table/mod.rs"]
#[expect(dead_code, reason = "the models need no sizes")]
mod table;

use std::sync::Arc;

use loom::thread;

use crate::check::check;
use crate::table::{Table, Weigh};

/// A table of values by keys.
type Values = Table<u64, Value>;

/// A shared number, so that a model sees when the table drops it. It weighs 1, and has expired if it is 0.
struct Value(Arc<u64>);

impl Weigh for Value {
    fn weight(&self) -> u32 {
        1
    }
}

/// The hash of all keys of a model: all are in one set, and have one tag.
const HASH: u64 = 7;

fn main() {
    check("a search finds a whole entry or none", a_search_finds_a_whole_entry_or_none);
    check("one key has one entry", one_key_has_one_entry);
    check("a removed entry is not found", a_removed_entry_is_not_found);
    check("a removal waits for other writes", a_removal_waits_for_other_writes);
    check("a full set evicts one entry for another", a_full_set_evicts_one_entry_for_another);
    check("a full table evicts an entry of any set", a_full_table_evicts_an_entry_of_any_set);
    check("a sweep removes the expired entries only", a_sweep_removes_the_expired_entries_only);
    check("insertions that sweep keep the weight", insertions_that_sweep_keep_the_weight);
}

fn table() -> Arc<Values> {
    Arc::new(Table::new(1, 6_400))
}

/// Stores a value, and returns the number of other entries that this removes.
fn insert(table: &Values, hash: u64, key: u64, value: u64) -> usize {
    insert_shared(table, hash, key, &Arc::new(value))
}

fn insert_shared(table: &Values, hash: u64, key: u64, value: &Arc<u64>) -> usize {
    let removed = table.insert(hash, key, Value(Arc::clone(value)), is_expired);
    removed.iter().filter(|entry| entry.key != key).count()
}

/// Stores an entry of the key 0 that has not expired yet.
fn insert_expired(table: &Values, hash: u64, value: &Arc<u64>) {
    assert!(table.insert(hash, 0, Value(Arc::clone(value)), |_| false).is_empty());
}

fn is_expired(value: &Value) -> bool {
    *value.0 == 0
}

/// Each value is ten times its key, so a search that finds the entry of another key fails here.
fn find(table: &Values, hash: u64, key: u64) -> Option<u64> {
    let value = table.find(hash, || Some(key)).map(|found| *found.expect("a found entry").value.0);
    assert!(value.is_none_or(|value| value / 10 == key), "the entry of another key");
    value
}

/// Two keys share the tag. While another thread replaces the entry of one by that of the other in one slot, a search finds
/// the entry of its own key or none.
fn a_search_finds_a_whole_entry_or_none() {
    let table = table();
    insert(&table, HASH, 1, 10);
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || {
            drop(table.remove(HASH, &1));
            insert(&table, HASH, 2, 20)
        }
    });
    assert!([None, Some(10)].contains(&find(&table, HASH, 1)));
    assert!([None, Some(20)].contains(&find(&table, HASH, 2)));
    assert_eq!(writer.join().expect("no panic"), 0);
    assert_eq!((find(&table, HASH, 1), find(&table, HASH, 2)), (None, Some(20)));
}

/// Two threads store the same key. A thread that finds the other one writing stores nothing.
fn one_key_has_one_entry() {
    let table = table();
    let threads = [11, 12].map(|value| {
        let table = Arc::clone(&table);
        thread::spawn(move || insert(&table, HASH, 1, value))
    });
    assert!([None, Some(11), Some(12)].contains(&find(&table, HASH, 1)));
    let [one, other] = threads.map(|thread| thread.join().expect("no panic"));
    assert_eq!((one, other), (0, 0));
    assert!([Some(11), Some(12)].contains(&find(&table, HASH, 1)));
    // The set has room for seven other keys, and not for eight.
    let removed = (2..10).map(|key| insert(&table, HASH, key, key * 10));
    assert_eq!(removed.collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 0, 1]);
}

/// One thread removes an entry while another one searches and a third one stores it again.
fn a_removed_entry_is_not_found() {
    let table = table();
    insert(&table, HASH, 1, 10);
    let remover = thread::spawn({
        let table = Arc::clone(&table);
        move || drop(table.remove(HASH, &1))
    });
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, HASH, 1, 11)
    });
    assert!([None, Some(10), Some(11)].contains(&find(&table, HASH, 1)));
    remover.join().expect("no panic");
    writer.join().expect("no panic");
    drop(table.remove(HASH, &1));
    assert_eq!(find(&table, HASH, 1), None);
}

/// While two other threads write, a removal waits and removes the entry, and no write of theirs restores it.
fn a_removal_waits_for_other_writes() {
    let table = table();
    let removed = Arc::new(10);
    insert_shared(&table, HASH, 1, &removed);
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, HASH, 2, 20)
    });
    let sweeper = thread::spawn({
        let table = Arc::clone(&table);
        move || table.sweep(8, is_expired).len()
    });
    assert!(table.remove(HASH, &1).is_some());
    assert_eq!((find(&table, HASH, 1), Arc::strong_count(&removed)), (None, 1));
    assert_eq!((writer.join().expect("no panic"), sweeper.join().expect("no panic")), (0, 0));
    assert_eq!(find(&table, HASH, 1), None);
    assert!([None, Some(20)].contains(&find(&table, HASH, 2)));
}

/// A full set evicts an entry while another thread searches for it. The evicted value is dropped.
fn a_full_set_evicts_one_entry_for_another() {
    let table = table();
    let first = Arc::new(1);
    insert_shared(&table, HASH, 0, &first);
    for key in 1..8 {
        assert_eq!(insert(&table, HASH + key, key, key * 10), 0);
    }
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, HASH, 100, 1_000)
    });
    assert!([None, Some(1)].contains(&find(&table, HASH, 0)));
    assert_eq!(writer.join().expect("no panic"), 1);
    assert_eq!(find(&table, HASH, 100), Some(1_000));
    let left: Vec<u64> = (0..8).filter(|key| find(&table, HASH + key, *key).is_some()).collect();
    assert_eq!(left.len(), 7);
    assert_eq!(Arc::strong_count(&first), if left.contains(&0) { 2 } else { 1 });
}

/// A full table evicts an entry of any set while another thread searches for it. The evicted value is dropped.
fn a_full_table_evicts_an_entry_of_any_set() {
    let table: Arc<Values> = Arc::new(Table::new(9, 64));
    let hash_of = |key: u64| (key % 9) << 16 | HASH;
    let first = Arc::new(1);
    insert_shared(&table, hash_of(0), 0, &first);
    for key in 1..64 {
        assert_eq!(insert(&table, hash_of(key), key, key * 10), 0);
    }
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, hash_of(100), 100, 1_000)
    });
    assert!([None, Some(1)].contains(&find(&table, hash_of(0), 0)));
    assert_eq!(writer.join().expect("no panic"), 1);
    assert_eq!(find(&table, hash_of(100), 100), Some(1_000));
    let left: Vec<u64> = (0..64).filter(|key| find(&table, hash_of(*key), *key).is_some()).collect();
    assert_eq!(left.len(), 63);
    assert_eq!(Arc::strong_count(&first), if left.contains(&0) { 2 } else { 1 });
}

/// One thread sweeps the whole table while another one searches and a third one stores an entry.
fn a_sweep_removes_the_expired_entries_only() {
    let table = table();
    let expired = Arc::new(0);
    insert(&table, HASH, 1, 10);
    insert_expired(&table, HASH, &expired);
    let sweeper = thread::spawn({
        let table = Arc::clone(&table);
        move || table.sweep(8, is_expired).len()
    });
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || insert(&table, HASH, 2, 20)
    });
    assert_eq!(find(&table, HASH, 1), Some(10));
    assert!([None, Some(0)].contains(&find(&table, HASH, 0)));
    // The first writer removes the expired entry.
    let removed = sweeper.join().expect("no panic") + writer.join().expect("no panic");
    assert_eq!(removed, 1);
    assert_eq!((find(&table, HASH, 0), find(&table, HASH, 1)), (None, Some(10)));
    assert_eq!(Arc::strong_count(&expired), 1);
}

/// Two threads store entries in a full table, whose next slots contain an expired entry.
fn insertions_that_sweep_keep_the_weight() {
    let table: Arc<Values> = Arc::new(Table::new(9, 64));
    let hash_of = |key: u64| (key % 9) << 16 | HASH;
    for key in 10..73 {
        assert_eq!(insert(&table, hash_of(key), key, key * 10), 0);
    }
    let expired = Arc::new(0);
    // 64 insertions have swept 512 of 72 slots, so the next one begins with the second set.
    insert_expired(&table, hash_of(1), &expired);
    let threads = [1, 2].map(|key| {
        let table = Arc::clone(&table);
        thread::spawn(move || insert(&table, hash_of(key), key, key * 10))
    });
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(Arc::strong_count(&expired), 1);
    assert!([1, 2].into_iter().any(|key| find(&table, hash_of(key), key).is_some()));
    // The number of entries shows whether the weight is exact: one more insertion fills the table again.
    insert(&table, hash_of(100), 100, 1_000);
    let keys = (10..73).chain([1, 2, 100]);
    assert_eq!(keys.filter(|key| find(&table, hash_of(*key), *key).is_some()).count(), 64);
}
