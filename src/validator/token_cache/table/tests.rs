#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails the test")]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A table of numbers by numbers.
type Numbers = Table<u64, Value>;

/// A number with its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    number: u64,
    weight: u32,
}

impl Value {
    /// Returns a value of the weight 1.
    fn new(number: u64) -> Self {
        Self { number, weight: 1 }
    }
}

impl Weigh for Value {
    fn weight(&self) -> u32 {
        self.weight
    }
}

/// Returns a table with this number of sets, and this limit of the weight of its entries.
fn table(sets: usize, max_weight: u64) -> Numbers {
    Table::new(sets, max_weight)
}

/// Returns a hash with this set and tag.
fn hash(set: u64, tag: u64) -> u64 {
    set << 16 | tag
}

/// Stores a value of the weight 1, and returns the number of entries of other keys that this removes.
fn insert(table: &Numbers, hash: u64, key: u64) -> usize {
    insert_value(table, hash, key, Value::new(key))
}

fn insert_value(table: &Numbers, hash: u64, key: u64, value: Value) -> usize {
    table.insert(hash, key, value, |_| false).iter().filter(|entry| entry.key != key).count()
}

/// Returns whether the table has an entry, without counting a use.
fn contains(table: &Numbers, hash: u64, key: u64) -> bool {
    table.candidates(hash).any(|slot| slot.contains(|entry| entry.key == key))
}

fn find(table: &Numbers, hash: u64, key: u64) -> Option<u64> {
    table.find(hash, || Some(key)).and_then(|found| found.as_ref().map(|entry| entry.value.number))
}

/// Returns the sum of the weights, and checks that the table knows it.
fn weight<K, V: Weigh>(table: &Table<K, V>) -> u64 {
    let weights = table.slots.iter().filter_map(|slot| slot.entry.load().as_ref().map(|entry| entry.value.weight()));
    let sum = weights.map(u64::from).sum();
    assert_eq!(table.writer.try_lock().expect("nothing else writes").weight, sum);
    assert!(sum <= table.max_weight);
    sum
}

#[test]
fn finds_an_entry_by_its_whole_key_only() {
    let table = table(4, 1_000);
    assert_eq!(find(&table, hash(1, 7), 1), None);
    assert_eq!(insert(&table, hash(1, 7), 1), 0);
    assert_eq!(insert(&table, hash(1, 7), 2), 0);
    for (set, tag, key, expected) in
        [(1, 7, 1, Some(1)), (1, 7, 2, Some(2)), (1, 7, 3, None), (1, 8, 1, None), (2, 7, 1, None), (5, 7, 1, Some(1))]
    {
        assert_eq!(find(&table, hash(set, tag), key), expected, "set {set}, tag {tag}, key {key}");
    }
    assert!(table.find(hash(1, 7), || None).is_none(), "without a key");
}

#[test]
fn computes_the_key_only_if_a_tag_matches() {
    let table = table(1, 1_000);
    let is_computed = |tag| {
        let mut count = 0;
        table.find(hash(0, tag), || {
            count += 1;
            Some(3)
        });
        count
    };
    assert_eq!((is_computed(7), is_computed(0)), (0, 0), "an empty table");
    insert(&table, hash(0, 7), 1);
    insert(&table, hash(0, 7), 2);
    assert_eq!((is_computed(7), is_computed(8), is_computed(0)), (1, 0, 0));
}

#[test]
fn replaces_the_entry_of_the_same_key() {
    let table = table(1, 6_400);
    for weight in [10, 30, 20] {
        assert_eq!(insert_value(&table, hash(0, 7), 1, Value { number: u64::from(weight), weight }), 0);
    }
    assert_eq!((find(&table, hash(0, 7), 1), weight(&table)), (Some(20), 20));
}

#[test]
fn removes_the_entry_of_this_key_only() {
    let table = table(1, 1_000);
    insert(&table, hash(0, 7), 1);
    insert(&table, hash(0, 7), 2);
    table.remove(hash(0, 7), &3);
    table.remove(hash(0, 8), &1);
    assert_eq!(weight(&table), 2);
    table.remove(hash(0, 7), &1);
    assert_eq!((find(&table, hash(0, 7), 1), find(&table, hash(0, 7), 2), weight(&table)), (None, Some(2), 1));
}

#[test]
fn full_set_evicts_its_least_used_entry() {
    let table = table(2, 1_000);
    let ways = u64::try_from(WAYS).expect("small");
    for key in 0..ways {
        assert_eq!(insert(&table, hash(0, key), key), 0);
    }
    // Key 5 has one use, all others have two.
    for key in (0..ways).chain(0..5).chain(6..ways) {
        assert_eq!(find(&table, hash(0, key), key), Some(key));
    }
    assert_eq!(insert(&table, hash(0, 100), 100), 1);
    assert!(!contains(&table, hash(0, 5), 5));
    assert_eq!(weight(&table), ways);
    // The other entries have one use left, the new one has none.
    assert_eq!(insert(&table, hash(0, 101), 101), 1);
    assert!(!contains(&table, hash(0, 100), 100));
    // Another set is not full.
    assert_eq!(insert(&table, hash(1, 100), 100), 0);
}

#[test]
fn uses_are_limited_so_that_an_old_entry_can_be_evicted() {
    let table = table(1, 1_000);
    insert(&table, hash(0, 1), 1);
    for _ in 0..1_000 {
        assert_eq!(find(&table, hash(0, 1), 1), Some(1));
    }
    assert_eq!(table.slots[0].uses.load(Ordering::Relaxed), MAX_USES);
}

#[test]
fn evicts_unused_entries_before_used_ones() {
    // 64 entries fit, 16 slots remain free.
    let table = table(10, 64);
    for key in 0..64 {
        assert_eq!(insert(&table, hash(key % 10, key), key), 0);
    }
    for key in 0..32 {
        assert_eq!(find(&table, hash(key % 10, key), key), Some(key));
    }
    // Keys 32 to 63 have no use. Each new entry, which is used at once, evicts one of them.
    for key in 64..80 {
        assert_eq!(insert(&table, hash(key % 10, key), key), 1);
        assert_eq!((find(&table, hash(key % 10, key), key), weight(&table)), (Some(key), 64));
    }
    assert_eq!((0..32).filter(|key| contains(&table, hash(key % 10, *key), *key)).count(), 32);
    assert_eq!((32..64).filter(|key| contains(&table, hash(key % 10, *key), *key)).count(), 16);
}

#[test]
fn ignores_an_entry_of_more_than_a_64th_of_the_limit() {
    let table = table(1, 6_463);
    for (weight_of_entry, expected) in [(100, Some(1)), (101, None)] {
        table.remove(hash(0, 7), &1);
        insert_value(&table, hash(0, 7), 1, Value { number: 1, weight: weight_of_entry });
        assert_eq!(find(&table, hash(0, 7), 1), expected, "{weight_of_entry}");
    }
    assert_eq!(weight(&table), 0);
}

#[test]
fn sweep_visits_this_number_of_slots_and_the_next_one_continues() {
    let table = table(10, 10_000);
    for key in 0..40 {
        insert(&table, hash(key / 4, 1 + key % 4), key);
    }
    // Forty insertions have swept eight slots each. Four of the eight slots of each set have an entry.
    let is_odd = |value: &Value| value.number % 2 == 1;
    assert_eq!([16, 4, 4, 8, 0].map(|count| table.sweep(count, is_odd).len()), [4, 2, 0, 2, 0]);
    assert_eq!((0..16).filter(|key| contains(&table, hash(key / 4, 1 + key % 4), *key)).count(), 8);
    // The sweep ends where it began, however many slots are to be visited.
    assert_eq!([usize::MAX, usize::MAX].map(|count| table.sweep(count, is_odd).len()), [12, 0]);
    assert_eq!((weight(&table), table.slots()), (20, 80));
}

#[test]
fn each_insertion_sweeps_eight_slots() {
    let table = table(100, 10_000);
    for key in 0..400 {
        insert(&table, hash(key / 4, 1 + key % 4), key);
    }
    let replace = || table.insert(hash(0, 1), 0, Value::new(1_000), |value| value.number < 400).len();
    // Each insertion replaces an entry, the first one after the sweep has removed it.
    assert_eq!(replace(), 4);
    assert_eq!((1..100).map(|_| replace()).collect::<Vec<_>>(), [4 + 1; 99]);
    assert_eq!((replace(), weight(&table)), (1, 1));
}

#[test]
fn one_insertion_moves_the_eviction_hand_a_limited_number_of_slots() {
    let table = table(1_000, 4_000);
    let hash_of = |key: u64| hash(key % 1_000, 1 + key);
    for key in 0..4_000 {
        assert_eq!(insert(&table, hash_of(key), key), 0);
        (0..MAX_USES).for_each(|_| assert_eq!(find(&table, hash_of(key), key), Some(key)));
    }
    // All entries are used. The hand passes over a part of them, and evicts the next one.
    assert_eq!((insert(&table, hash_of(4_000), 4_000), weight(&table)), (1, 4_000));
    assert_eq!(find(&table, hash_of(4_000), 4_000), Some(4_000));
    assert_eq!(table.try_write().map(|writer| writer.eviction_hand), Some(MAX_VISITS / 2 + 1));
}

#[test]
fn stores_nothing_if_the_visited_slots_have_too_little_to_evict() {
    let table = table(1_000, 6_400);
    let insert = |set, key| insert_value(&table, hash(set, 1), key, Value { number: key, weight: 100 });
    for key in 0..64 {
        assert_eq!(insert(900 + key, key), 0);
    }
    // The hand reaches the first entry after 7,200 slots.
    for hand in 1..=7 {
        assert_eq!((insert(0, 1_000), find(&table, hash(0, 1), 1_000)), (0, None));
        assert_eq!(table.try_write().map(|writer| writer.eviction_hand), Some(hand * MAX_VISITS));
    }
    assert_eq!((insert(0, 1_000), find(&table, hash(0, 1), 1_000), weight(&table)), (1, Some(1_000), 6_400));
}

#[test]
fn finds_but_stores_nothing_while_another_thread_writes() {
    let table = table(1, 1_000);
    insert(&table, hash(0, 1), 1);
    let writing = table.try_write().expect("nothing else writes");
    assert_eq!(insert(&table, hash(0, 2), 2), 0);
    assert_eq!((find(&table, hash(0, 1), 1), find(&table, hash(0, 2), 2)), (Some(1), None));
    drop(writing);
    insert(&table, hash(0, 2), 2);
    assert_eq!((find(&table, hash(0, 1), 1), find(&table, hash(0, 2), 2)), (Some(1), Some(2)));
}

/// A value that panics when it is dropped, as a metrics recorder may.
#[test]
fn drops_no_value_under_the_lock() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "a bomb");
        }
    }
    impl Weigh for Bomb {
        fn weight(&self) -> u32 {
            10
        }
    }
    let table = Table::new(1, 640);
    let insert = |key: u64, bomb| drop(table.insert(hash(0, key), key, Bomb(bomb), |_| false));
    let sweep_and_insert = |key: u64, bomb| drop(table.insert(hash(0, key), key, Bomb(bomb), |bomb| bomb.0));
    let panics = |work: &dyn Fn()| catch_unwind(AssertUnwindSafe(work)).is_err();
    insert(1, true);
    assert!(panics(&|| drop(table.remove(hash(0, 1), &1))), "removed");
    insert(1, true);
    assert!(panics(&|| sweep_and_insert(2, false)), "swept by an insertion");
    insert(1, true);
    assert!(panics(&|| drop(table.sweep(8, |bomb| bomb.0))), "swept");
    insert(1, true);
    assert!(panics(&|| insert(1, false)), "replaced");
    assert!(panics(&|| sweep_and_insert(3, true)), "expired before it is stored");
    assert_eq!((table.writer.is_poisoned(), weight(&table)), (false, 20));
    assert!(table.find(hash(0, 1), || Some(1)).is_some() && table.find(hash(0, 2), || Some(2)).is_some());
}

#[test]
fn slots_take_16_bytes_and_a_table_without_slots_or_memory_is_empty() {
    assert_eq!(Table::<u128, Value>::SET_BYTES, 128);
    for (sets, max_weight, expected) in
        [(0, 1_000, None), (1, 0, None), (1, 63, None), (1, 64, Some(1)), (1, u64::MAX, Some(1))]
    {
        let table = table(sets, max_weight);
        assert_eq!(insert(&table, hash(0, 7), 1), 0);
        assert_eq!(find(&table, hash(0, 7), 1), expected, "{sets} sets, limit {max_weight}");
    }
}

/// One operation of the comparison with a map.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Insert { key: u64, weight: u32 },
    Find { key: u64 },
    Remove { key: u64 },
    Sweep { count: usize, before: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0_u64..400, 1_u32..12).prop_map(|(key, weight)| Operation::Insert { key, weight }),
        4 => (0_u64..400).prop_map(|key| Operation::Find { key }),
        1 => (0_u64..400).prop_map(|key| Operation::Remove { key }),
        1 => (0_usize..50, 0_u64..400).prop_map(|(count, before)| Operation::Sweep { count, before }),
    ]
}

proptest! {
    /// The table never returns what the map does not contain, and it lacks only entries that it has returned as removed.
    #[test]
    fn agrees_with_a_map_except_for_evictions(
        operations in proptest::collection::vec(operation(), 0..800),
        sets in 1_usize..60,
        max_weight in 64_u64..1_000,
        tags in 1_u64..4,
    ) {
        let table = table(sets, max_weight);
        let mut map = HashMap::new();
        let hash_of = |key: u64| hash(key, 1 + key % tags);
        for (number, operation) in (0_u64..).zip(operations) {
            match operation {
                Operation::Insert { key, weight } => {
                    let is_storable = u64::from(weight) <= max_weight / 64;
                    let removed = table.insert(hash_of(key), key, Value { number, weight }, |_| false);
                    prop_assert_eq!(removed.iter().any(|entry| entry.value.number == number), !is_storable);
                    for entry in removed.iter().filter(|entry| entry.value.number != number) {
                        prop_assert_eq!(map.remove(&entry.key), Some(entry.value.number));
                    }
                    if is_storable {
                        map.insert(key, number);
                    }
                }
                Operation::Find { key } => {
                    prop_assert_eq!(find(&table, hash_of(key), key), map.get(&key).copied());
                }
                Operation::Remove { key } => {
                    let removed = table.remove(hash_of(key), &key).map(|entry| entry.value.number);
                    prop_assert_eq!(removed, map.remove(&key));
                }
                Operation::Sweep { count, before } => {
                    for entry in table.sweep(count, |value| value.number < before) {
                        prop_assert!(entry.value.number < before);
                        prop_assert_eq!(map.remove(&entry.key), Some(entry.value.number));
                    }
                }
            }
            prop_assert!(weight(&table) <= max_weight);
        }
        for (key, number) in map {
            prop_assert_eq!(find(&table, hash_of(key), key), Some(number));
        }
    }
}

#[test]
fn a_removal_and_a_sweep_wait_for_the_thread_that_writes() {
    let table = table(4, 1_000);
    insert(&table, hash(1, 7), 1);
    insert(&table, hash(2, 7), 2);
    let remove = || usize::from(table.remove(hash(1, 7), &1).is_some());
    let sweep = || table.sweep(32, |value| value.number == 2).len();
    thread::scope(|scope| {
        let writer = table.try_write().expect("nothing else writes");
        let (started, has_started) = mpsc::channel();
        let works: [&(dyn Fn() -> usize + Sync); 2] = [&remove, &sweep];
        let threads = works.map(|work| {
            let started = started.clone();
            scope.spawn(move || {
                started.send(()).expect("a receiver");
                work()
            })
        });
        (0..2).for_each(|_| has_started.recv().expect("a started thread"));
        // Enough time for a thread that does not wait to find the table locked.
        thread::sleep(Duration::from_millis(50));
        assert!(contains(&table, hash(1, 7), 1) && contains(&table, hash(2, 7), 2));
        drop(writer);
        assert_eq!(threads.map(|thread| thread.join().expect("no panic")), [1, 1]);
    });
    assert_eq!(weight(&table), 0);
}

/// A panic under the lock ends insertions, since the state may be wrong. Entries can still be removed.
#[test]
fn removes_after_a_panic_under_the_lock() {
    let table = table(4, 1_000);
    insert(&table, hash(1, 7), 1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _writer = table.writer.lock();
        panic!("under the lock");
    }));
    assert!(panicked.is_err());
    insert(&table, hash(1, 8), 2);
    assert!(!contains(&table, hash(1, 8), 2));
    assert_eq!(table.remove(hash(1, 7), &1).map(|entry| entry.value.number), Some(1));
    assert!(!contains(&table, hash(1, 7), 1));
}

/// The property test is about evictions, so this checks that such operations reach the limit.
#[test]
fn random_insertions_reach_the_limit() {
    let table = table(60, 999);
    let evicted: usize =
        (0..400).map(|key| insert_value(&table, hash(key, 1), key, Value { number: key, weight: 11 })).sum();
    assert_eq!((evicted, weight(&table)), (400 - 90, 990));
}

#[test]
fn keeps_its_invariants_while_threads_use_it() {
    const KEYS: u64 = 400;
    // About 64 of the 200 entries that fit into the slots fit into the limit.
    let table = table(25, 640);
    let evicted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (table, evicted) = (&table, &evicted);
            scope.spawn(move || {
                for round in 0..5_000_u64 {
                    let key = (round * 7 + thread * 101) % KEYS;
                    match round % 5 {
                        0..3 => {
                            let value = Value { number: key, weight: 8 + u32::from(round % 2 == 0) };
                            evicted.fetch_add(insert_value(table, hash(key, 1 + key), key, value), Ordering::Relaxed);
                        }
                        3 => drop(table.remove(hash(key, 1 + key), &key)),
                        _ => assert!(find(table, hash(key, 1 + key), key).is_none_or(|number| number == key)),
                    }
                }
            });
        }
    });
    assert!(weight(&table) > 400, "nearly full: {}", weight(&table));
    assert!(evicted.into_inner() > 100);
    for key in 0..KEYS {
        let copies = table.slots.iter().filter(|slot| slot.contains(|entry| entry.key == key)).count();
        assert!(copies <= 1, "{copies} entries of key {key}");
    }
}
