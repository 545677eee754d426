#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails the test")]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use proptest::prelude::*;

use super::*;

/// A table of numbers by numbers, without expired entries.
type Numbers = Table<u64, u64>;

/// Returns a table with this number of sets, and this bound of its entries.
fn table(sets: usize, bound: u64) -> Numbers {
    Table::new(sets, bound)
}

/// Returns a hash with this set and tag.
fn hash(set: u64, tag: u64) -> u64 {
    set << 16 | tag
}

fn insert(table: &Numbers, hash: u64, key: u64) -> usize {
    table.insert(hash, Entry { key, value: key, weight: 1 }, Duration::ZERO, |_| false)
}

/// Returns whether the table has an entry, without counting a use.
fn contains(table: &Numbers, hash: u64, key: u64) -> bool {
    table.candidates(hash).any(|slot| slot.holds(|entry| entry.key == key))
}

fn find(table: &Numbers, hash: u64, key: u64) -> Option<u64> {
    table.find(hash, || Some(key)).and_then(|found| found.as_ref().map(|entry| entry.value))
}

/// Returns the sum of the weights, and checks that the table knows it.
fn weight<K, V>(table: &Table<K, V>) -> u64 {
    let sum =
        table.slots.iter().filter_map(|slot| slot.entry.load().as_ref().map(|entry| u64::from(entry.weight))).sum();
    assert_eq!(table.writer.try_lock().expect("nothing else writes").weight, sum);
    assert!(sum <= table.bound);
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
        assert_eq!(
            table.insert(hash(0, 7), Entry { key: 1, value: u64::from(weight), weight }, Duration::ZERO, |_| false),
            0
        );
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
fn clock_evicts_unused_entries_before_used_ones() {
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
fn ignores_an_entry_of_more_than_a_64th_of_the_bound() {
    let table = table(1, 6_463);
    for (weight_of_entry, expected) in [(100, Some(1)), (101, None)] {
        table.remove(hash(0, 7), &1);
        table.insert(hash(0, 7), Entry { key: 1, value: 1, weight: weight_of_entry }, Duration::ZERO, |_| false);
        assert_eq!(find(&table, hash(0, 7), 1), expected, "{weight_of_entry}");
    }
    assert_eq!(weight(&table), 0);
}

/// Returns the time at which the sweep is due to have visited this share of all slots.
fn swept(share: f64) -> Duration {
    SWEEP_PERIOD.mul_f64(share)
}

#[test]
fn sweeps_expired_entries_in_proportion_to_the_time() {
    let table = table(10, 10_000);
    for key in 0..40 {
        insert(&table, hash(key / 4, 1 + key % 4), key);
    }
    let is_expired = |key: &u64| *key < 20;
    let replace = |now| table.insert(hash(9, 4), Entry { key: 39, value: 39, weight: 1 }, now, is_expired);
    // Four of the eight slots of each set are taken. Insertions and calls of the refresh advance the same hand.
    assert_eq!((replace(swept(0.0)), replace(swept(0.1)), replace(swept(0.1))), (0, 4, 0));
    assert_eq!(table.remove_expired(swept(0.3), is_expired), 8);
    assert_eq!((replace(swept(0.4)), replace(swept(0.2)), weight(&table)), (4, 0, 24));
    assert_eq!(table.remove_expired(swept(1.3), is_expired), 4);
    assert_eq!((0..40).filter(|key| contains(&table, hash(key / 4, 1 + key % 4), *key)).count(), 20);
    // After a long time, the sweep visits each slot once.
    assert_eq!(table.remove_expired(swept(1_000.0), |key| *key % 2 == 0), 10);
    assert_eq!((table.remove_expired(swept(1_000.9), |_| false), weight(&table)), (0, 10));
}

#[test]
fn one_insertion_sweeps_a_limited_number_of_slots_and_the_next_one_continues() {
    let table = table(400, 1 << 20);
    for key in 0..400 {
        insert(&table, hash(key, 1), key);
    }
    let replace =
        || table.insert(hash(0, 2), Entry { key: 1_000, value: 1_000, weight: 1 }, swept(1.0), |key| *key < 400);
    let sets = MAX_VISITS / WAYS;
    assert_eq!([replace(), replace(), replace(), replace(), replace()], [sets, sets, sets, 400 - 3 * sets, 0]);
}

#[test]
fn one_insertion_moves_the_clock_a_limited_number_of_slots() {
    let table = table(1_000, 4_000);
    let place = |key: u64| hash(key % 1_000, 1 + key);
    for key in 0..4_000 {
        assert_eq!(insert(&table, place(key), key), 0);
        (0..MAX_USES).for_each(|_| assert_eq!(find(&table, place(key), key), Some(key)));
    }
    // All entries are used. The clock passes over a part of them, and evicts the next one.
    assert_eq!((insert(&table, place(4_000), 4_000), weight(&table)), (1, 4_000));
    assert_eq!(find(&table, place(4_000), 4_000), Some(4_000));
    assert_eq!(table.try_write().map(|writer| writer.clock_hand), Some(MAX_VISITS / 2 + 1));
}

#[test]
fn stores_nothing_if_the_visited_slots_have_too_little_to_evict() {
    let table = table(1_000, 6_400);
    let insert =
        |set, key| table.insert(hash(set, 1), Entry { key, value: key, weight: 100 }, Duration::ZERO, |_| false);
    for key in 0..64 {
        assert_eq!(insert(900 + key, key), 0);
    }
    // The clock reaches the first entry after 7,200 slots.
    for hand in 1..=7 {
        assert_eq!((insert(0, 1_000), find(&table, hash(0, 1), 1_000)), (0, None));
        assert_eq!(table.try_write().map(|writer| writer.clock_hand), Some(hand * MAX_VISITS));
    }
    assert_eq!((insert(0, 1_000), find(&table, hash(0, 1), 1_000), weight(&table)), (1, Some(1_000), 6_400));
}

#[test]
fn finds_but_changes_nothing_while_another_thread_writes() {
    let table = table(1, 1_000);
    insert(&table, hash(0, 1), 1);
    let writing = table.try_write().expect("nothing else writes");
    assert_eq!(insert(&table, hash(0, 2), 2), 0);
    table.remove(hash(0, 1), &1);
    assert_eq!(table.remove_expired(swept(1.0), |_| true), 0);
    assert_eq!((find(&table, hash(0, 1), 1), find(&table, hash(0, 2), 2)), (Some(1), None));
    drop(writing);
    insert(&table, hash(0, 2), 2);
    table.remove(hash(0, 1), &1);
    assert_eq!((find(&table, hash(0, 1), 1), find(&table, hash(0, 2), 2)), (None, Some(2)));
}

#[test]
fn stays_usable_after_a_value_panics_on_drop() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "as a metrics recorder may");
        }
    }
    let table = Table::new(1, 10_000);
    let insert = |key: u64, bomb| {
        table.insert(hash(0, key), Entry { key, value: Bomb(bomb), weight: 1 }, Duration::ZERO, |_| false)
    };
    insert(1, true);
    assert!(catch_unwind(AssertUnwindSafe(|| table.remove(hash(0, 1), &1))).is_err());
    assert_eq!((table.writer.is_poisoned(), table.find(hash(0, 1), || Some(1)).is_none()), (true, true));
    insert(2, false);
    assert!(table.find(hash(0, 2), || Some(2)).is_some());
    assert_eq!(table.try_write().map(|writer| writer.weight), Some(1));
}

#[test]
fn slots_take_16_bytes_and_a_table_without_slots_or_bound_is_empty() {
    assert_eq!(Table::<u128, [u64; 50]>::SET_BYTES, 128);
    for (sets, bound, expected) in
        [(0, 1_000, None), (1, 0, None), (1, 63, None), (1, 64, Some(1)), (1, u64::MAX, Some(1))]
    {
        let table = table(sets, bound);
        assert_eq!(insert(&table, hash(0, 7), 1), 0);
        assert_eq!(find(&table, hash(0, 7), 1), expected, "{sets} sets, bound {bound}");
    }
}

/// One operation of the comparison with a map.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Insert { key: u64, weight: u32 },
    Find { key: u64 },
    Remove { key: u64 },
    RemoveExpired { before: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0_u64..40, 1_u32..12).prop_map(|(key, weight)| Operation::Insert { key, weight }),
        4 => (0_u64..40).prop_map(|key| Operation::Find { key }),
        1 => (0_u64..40).prop_map(|key| Operation::Remove { key }),
        1 => (0_u64..60).prop_map(|before| Operation::RemoveExpired { before }),
    ]
}

proptest! {
    /// The table never returns what the map does not contain, and it lacks only entries that it has counted as evicted.
    #[test]
    fn agrees_with_a_map_except_for_evictions(
        operations in proptest::collection::vec(operation(), 0..200),
        sets in 1_usize..6,
        bound in 600_u64..1_000,
        tags in 1_u64..4,
    ) {
        let table = table(sets, bound);
        let mut map = HashMap::new();
        let (mut evicted, mut time) = (0, Duration::ZERO);
        let place = |key: u64| hash(key, 1 + key % tags);
        for (number, operation) in (0_u64..).zip(operations) {
            match operation {
                Operation::Insert { key, weight } => {
                    evicted += table.insert(place(key), Entry { key, value: number, weight }, Duration::ZERO, |_| false);
                    if u64::from(weight) <= bound / 64 {
                        map.insert(key, number);
                        prop_assert_eq!(find(&table, place(key), key), Some(number));
                    }
                }
                Operation::Find { key } => {
                    let found = find(&table, place(key), key);
                    prop_assert!(found.is_none() || found == map.get(&key).copied());
                }
                Operation::Remove { key } => {
                    table.remove(place(key), &key);
                    map.remove(&key);
                }
                Operation::RemoveExpired { before } => {
                    time += SWEEP_PERIOD;
                    table.remove_expired(time, |number| *number < before);
                    map.retain(|_, number| *number >= before);
                }
            }
            weight(&table);
        }
        let missing = map.keys().filter(|key| find(&table, place(**key), **key).is_none()).count();
        prop_assert!(missing <= evicted, "{missing} of {evicted}");
    }
}

#[test]
fn keeps_its_invariants_while_threads_use_it() {
    let table = table(3, 640);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let table = &table;
            scope.spawn(move || {
                for round in 0..5_000_u64 {
                    let key = (round * 7 + thread) % 40;
                    match round % 5 {
                        0 | 1 => {
                            table.insert(
                                hash(key, 1 + key),
                                Entry { key, value: key, weight: 10 },
                                Duration::ZERO,
                                |_| false,
                            );
                        }
                        2 => table.remove(hash(key, 1 + key), &key),
                        _ => assert!(find(table, hash(key, 1 + key), key).is_none_or(|value| value == key)),
                    }
                }
            });
        }
    });
    weight(&table);
    for key in 0..40 {
        let copies = table.slots.iter().filter(|slot| slot.holds(|entry| entry.key == key)).count();
        assert!(copies <= 1, "{copies} entries of key {key}");
    }
}
