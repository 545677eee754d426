use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A tenant that was used last at this second.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Used {
    serial: u32,
    at: u64,
}

impl TableTenant for Used {
    fn last_use(&self) -> Monotonic {
        at(self.at)
    }

    fn stored_record(&self) -> StoredRecord {
        StoredRecord::Own
    }
}

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_origin(Duration::from_secs(seconds))
}

fn table(max: usize) -> Table<Used> {
    Table::new(Limits { proven: max, unproven: max.div_ceil(8), returned: max.div_ceil(8), new_per_second: 10 })
}

fn add(table: &mut Table<Used>, serial: u32, now: u64) -> Vec<(u32, EvictionReason)> {
    let evicted = table.add(name(serial), Used { serial, at: now }, at(now), Jitter(0));
    evicted.into_iter().map(|evicted| (evicted.tenant.serial, evicted.reason)).collect()
}

fn prove(table: &mut Table<Used>, serial: u32) -> Option<Vec<(u32, EvictionReason)>> {
    let evicted = table.prove(&name(serial), |tenant| tenant.serial == serial)?;
    Some(evicted.into_iter().map(|evicted| (evicted.tenant.serial, evicted.reason)).collect())
}

fn name(serial: u32) -> Arc<str> {
    Arc::from(format!("https://id.test/{serial}"))
}

fn counts(proven: usize, unproven: usize, idle: usize) -> Counts {
    Counts { proven, unproven, idle }
}

#[test]
fn an_unproven_tenant_has_time_to_fetch_its_keys() {
    let unproven = |max, new_per_second| Limits::new(max, new_per_second).unproven;
    assert_eq!([unproven(1, 1), unproven(1, 10), unproven(15, 1_000)], [6, 60, 64]);
    assert_eq!([unproven(1_000, 10), unproven(80_000, 1_000)], [125, 10_000], "an eighth is more");
    let returned = |max, new_per_second| Limits::new(max, new_per_second).returned;
    assert_eq!([returned(1, 1), returned(1_000, 10), returned(80_000, 1_000)], [60, 600, 60_000], "for six seconds");
}

#[test]
fn unproven_tenants_displace_only_the_oldest_unproven_one() {
    let mut table = table(16);
    for proven in 0..4 {
        assert_eq!(add(&mut table, proven, 0), []);
        assert_eq!(prove(&mut table, proven), Some(vec![]));
    }
    assert_eq!(add(&mut table, 10, 1), []);
    assert_eq!(add(&mut table, 11, 2), []);
    assert_eq!(add(&mut table, 12, 3), [(10, EvictionReason::Displaced)]);
    for flood in 100..10_100 {
        let evicted = add(&mut table, flood, 4);
        assert!(matches!(&*evicted, [(displaced, EvictionReason::Displaced)] if *displaced >= 11), "{evicted:?}");
    }
    assert_eq!(table.counts(), counts(4, 2, 0));
    assert!((0..4).all(|proven| table.get(&name(proven)).is_some()));
}

#[test]
fn a_proven_tenant_displaces_the_one_that_was_not_used_for_the_longest_time() {
    let mut table = table(3);
    for (serial, used) in [(1, 30), (2, 10), (3, 20)] {
        add(&mut table, serial, used);
        prove(&mut table, serial);
    }
    add(&mut table, 4, 40);
    assert_eq!(table.counts(), counts(3, 1, 0), "an unproven one has its own room");
    assert_eq!(prove(&mut table, 4), Some(vec![(2, EvictionReason::Displaced)]));
    assert_eq!(table.counts(), counts(3, 0, 0));
    assert_eq!(prove(&mut table, 4), None, "it is proven already");
    assert_eq!(prove(&mut table, 2), None, "it is gone");
}

#[test]
fn only_the_same_tenant_is_proven_confirmed_or_failed() {
    let mut table = table(8);
    add(&mut table, 1, 0);
    assert_eq!(table.prove(&name(1), |tenant| tenant.serial == 2), None);
    assert!(!table.fail(&name(1), |tenant| tenant.serial == 2, at(1)));
    assert!(table.fail(&name(1), |tenant| tenant.serial == 1, at(1)));
    assert!(table.is_current(&name(1), |tenant| tenant.serial == 1));
    assert!(!table.is_current(&name(1), |tenant| tenant.serial == 2));
}

#[test]
fn a_tenant_with_other_settings_replaces_the_earlier_one_and_stays_proven() {
    let mut table = table(8);
    add(&mut table, 1, 0);
    prove(&mut table, 1);
    let evicted = table.add(name(1), Used { serial: 2, at: 5 }, at(5), Jitter(0));
    assert_eq!(evicted, [Evicted { tenant: Used { serial: 1, at: 0 }, reason: EvictionReason::Replaced }]);
    assert_eq!(table.counts(), counts(1, 0, 0));
}

#[test]
fn renews_each_tenant_within_five_minutes_and_limits_the_calls_in_flight() {
    for jitter in [Jitter(0), Jitter(u32::MAX)] {
        let mut table = table(100);
        for serial in 0..10 {
            table.add(name(serial), Used { serial, at: 0 }, at(0), jitter);
        }
        assert_eq!(table.start_renewals(at(239), 100).len(), 0);
        assert!(table.next_renewal().is_some_and(|next| at(240) <= next && next <= at(300)));
        assert_eq!(table.start_renewals(at(300), 4).len(), 4);
        assert_eq!(table.start_renewals(at(300), 4).len(), 0, "four are in flight");
        assert_eq!(table.start_renewals(at(300), 6).len(), 2);
    }
}

#[test]
fn renews_first_what_has_waited_for_the_longest_time() {
    let mut table = table(400);
    for serial in 0..50 {
        table.add(name(serial), Used { serial, at: 0 }, at(u64::from(serial * 7 % 50)), Jitter(0));
    }
    // 7 and 43 are inverse modulo 50.
    let oldest: Vec<_> = (0..10).map(|rank| name(rank * 43 % 50)).collect();
    assert_eq!(table.start_renewals(at(1_000), 10), oldest);
}

#[test]
fn a_known_tenant_is_not_counted_as_a_new_one() {
    let mut table = table(16);
    for serial in [1, 2] {
        add(&mut table, serial, 0);
    }
    prove(&mut table, 1);
    table.confirm(&name(2), |_| true, at(3_599), Jitter(0));
    table.sweep(at(3_599));
    prove(&mut table, 2);
    table.sweep(at(3_600));
    assert_eq!(table.counts(), counts(0, 0, 2));
    add(&mut table, 3, 3_600);
    let admitted: Vec<_> = (10..21).map(|serial| table.admit(&name(serial), at(3_600)).is_ok()).collect();
    assert_eq!(admitted.iter().filter(|is_admitted| **is_admitted).count(), 10);
    assert_eq!(
        [1, 2, 3].map(|serial| table.admit(&name(serial), at(3_600))),
        [Ok(()); 3],
        "two are idle, one is unproven"
    );
    assert_eq!(table.admit(&name(30), at(3_600)), Err(TooManyTenants));
    assert_eq!(table.admit(&name(30), at(3_601)), Ok(()));
}

#[test]
fn retries_a_failed_renewal_after_a_growing_pause() {
    let mut table = table(8);
    add(&mut table, 1, 0);
    let is_same = |tenant: &Used| tenant.serial == 1;
    let mut now = 300;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(table.start_renewals(at(now), 32), [name(1)]);
        assert!(table.fail(&name(1), is_same, at(now)));
        assert!(table.start_renewals(at(now + pause - 1), 32).is_empty());
        now += pause;
    }
    assert_eq!(table.start_renewals(at(now), 32), [name(1)]);
    table.confirm(&name(1), is_same, at(now), Jitter(0));
    assert!(table.start_renewals(at(now + 200), 32).is_empty());
    assert_eq!(table.start_renewals(at(now + 300), 32), [name(1)]);
    assert!(table.fail(&name(1), is_same, at(now + 300)));
    assert_eq!(table.next_renewal(), Some(at(now + 301)), "the pause is short again");
}

#[test]
fn an_unused_tenant_is_idle_after_an_hour_and_is_dropped_after_a_day() {
    let mut table = table(16);
    for serial in [1, 2] {
        add(&mut table, serial, 0);
    }
    prove(&mut table, 1);
    for serial in [1, 2] {
        table.confirm(&name(serial), |_| true, at(3_000), Jitter(0));
    }
    assert_eq!(table.sweep(at(3_599)), []);
    let mut evicted: Vec<_> =
        table.sweep(at(3_600)).into_iter().map(|evicted| (evicted.tenant.serial, evicted.reason)).collect();
    evicted.sort_by_key(|(serial, _)| *serial);
    assert_eq!(evicted, [(1, EvictionReason::Idle), (2, EvictionReason::Idle)]);
    assert_eq!((table.counts(), table.get(&name(1))), (counts(0, 0, 1), None));
    assert_eq!(table.next_renewal(), None, "an idle tenant is not looked up");
    assert_eq!(table.sweep(at(86_399)), []);
    assert_eq!(table.counts(), counts(0, 0, 1));
    assert_eq!(add(&mut table, 1, 86_399), []);
    assert_eq!(table.counts(), counts(1, 0, 0), "it returns as a proven one");
}

/// Anyone can name an idle tenant in a token, so its return does not count as a use.
#[test]
fn a_tenant_that_returns_is_idle_again_after_five_minutes_unless_its_keys_verify_a_token() {
    for is_verified in [false, true] {
        let mut table = table(8);
        add(&mut table, 1, 0);
        prove(&mut table, 1);
        table.sweep(at(3_600));
        assert_eq!(add(&mut table, 1, 80_000), []);
        assert_eq!(table.counts(), counts(1, 0, 0));
        if is_verified {
            assert_eq!(prove(&mut table, 1), None, "it was proven before");
        }
        assert_eq!(table.sweep(at(80_299)), []);
        let swept: Vec<_> = table.sweep(at(80_300)).into_iter().map(|evicted| evicted.reason).collect();
        assert_eq!(swept, if is_verified { vec![] } else { vec![EvictionReason::Idle] });
        table.confirm(&name(1), |_| true, at(83_000), Jitter(0));
        table.sweep(at(86_400));
        // Its keys verified a token last at 0 or at 80,000 s.
        assert_eq!(table.counts(), if is_verified { counts(0, 0, 1) } else { counts(0, 0, 0) });
    }
}

#[test]
fn limits_the_tenants_that_return() {
    let mut table = table(800);
    for serial in 0..800 {
        add(&mut table, serial, 0);
        prove(&mut table, serial);
    }
    assert_eq!(table.sweep(at(3_600)).len(), 800);
    let admitted: Vec<_> = (0..800).filter(|serial| table.admit(&name(*serial), at(4_000)).is_ok()).collect();
    assert_eq!(admitted.len(), 100, "ten times as many as new ones");
    assert_eq!(table.admit(&name(900), at(4_000)), Ok(()), "a new one");
    for serial in admitted {
        assert_eq!(add(&mut table, serial, if serial == 0 { 3_999 } else { 4_000 }), []);
    }
    assert_eq!(add(&mut table, 200, 4_001), [(0, EvictionReason::Displaced)], "the oldest");
    assert_eq!(table.counts(), counts(100, 0, 700), "the displaced one is idle again");
}

#[test]
fn an_idle_tenant_is_forgotten_after_a_day() {
    let mut table = table(8);
    add(&mut table, 1, 0);
    prove(&mut table, 1);
    assert_eq!(table.sweep(at(3_600)).len(), 1);
    assert_eq!(table.sweep(at(86_400)), []);
    assert_eq!(table.counts(), counts(0, 0, 0));
}

#[test]
fn a_tenant_that_nobody_confirms_expires_after_an_hour() {
    let mut table = table(8);
    table.add(name(1), Used { serial: 1, at: 10_000 }, at(0), Jitter(0));
    assert_eq!(table.sweep(at(3_599)), []);
    let evicted: Vec<_> = table.sweep(at(3_600)).into_iter().map(|evicted| evicted.reason).collect();
    assert_eq!(evicted, [EvictionReason::Expired]);
}

#[test]
fn removes_a_tenant_in_each_state() {
    let mut table = table(24);
    for serial in [1, 2, 3] {
        add(&mut table, serial, 0);
    }
    prove(&mut table, 1);
    prove(&mut table, 3);
    assert_eq!(table.remove(&name(1)), Some(Some(Used { serial: 1, at: 0 })));
    assert_eq!(table.remove(&name(2)), Some(Some(Used { serial: 2, at: 0 })));
    table.sweep(at(3_600));
    assert_eq!(table.remove(&name(3)), Some(None));
    assert_eq!(table.remove(&name(3)), None);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Prove(u32),
    Remove(u32),
    Sweep(u64),
    Renew,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u32..40).prop_map(Step::Add),
        (0_u32..40).prop_map(Step::Prove),
        (0_u32..40).prop_map(Step::Remove),
        (0_u64..2_000).prop_map(Step::Sweep),
        Just(Step::Renew),
    ]
}

proptest! {
    /// In any order of steps, the limits hold, nothing is reported as evicted that is in use, and every tenant in use is due within five
    /// minutes.
    #[test]
    fn holds_its_limits_in_any_order(steps in proptest::collection::vec(step(), 1..200)) {
        let mut table = table(16);
        let mut now = 0_u64;
        for step in steps {
            let evicted = match step {
                Step::Add(serial) => table.add(name(serial), Used { serial, at: now }, at(now), Jitter(7)),
                Step::Prove(serial) => table.prove(&name(serial), |_| true).unwrap_or_default(),
                Step::Remove(serial) => {
                    table.remove(&name(serial));
                    prop_assert!(table.get(&name(serial)).is_none());
                    Vec::new()
                }
                Step::Sweep(pause) => {
                    now = now.saturating_add(pause);
                    table.sweep(at(now))
                }
                Step::Renew => {
                    for name in table.start_renewals(at(now), 32) {
                        table.confirm(&name, |_| true, at(now), Jitter(7));
                    }
                    Vec::new()
                }
            };
            let Counts { proven, unproven, idle } = table.counts();
            prop_assert!(proven.saturating_add(idle) <= 16 && unproven <= 2, "{:?}", table.counts());
            for evicted in evicted {
                let current = table.get(&name(evicted.tenant.serial));
                prop_assert!(evicted.reason == EvictionReason::Replaced || current.is_none());
            }
            let names: BTreeSet<_> = table.names().cloned().collect();
            prop_assert_eq!(names.len(), proven.saturating_add(unproven));
            let latest = at(now.saturating_add(300));
            prop_assert!(names.is_empty() || table.next_renewal().is_some_and(|next| next <= latest));
        }
    }
}
