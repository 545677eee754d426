//! Processes with a log that does not fail.

use super::*;
use crate::revocation::{LogAppend, RevocationLog as _};

/// Case 71.
#[tokio::test]
async fn a_replica_knows_what_another_one_revokes() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    assert_eq!(one.revoke(fixture.entry(1)).await, Ok(()));
    assert!(knows(&one, 1), "at once");
    fixture.clock.settle().await;
    assert!(knows(&other, 1));
    let later = fixture.current_list().await;
    assert!(knows(&later, 1), "a replica that starts later reads the whole log");
}

#[tokio::test]
async fn a_log_of_several_pages_is_read_before_the_list_is_ready() {
    let fixture = Fixture::new();
    let entries: Vec<_> = (0..2_500).map(|number| fixture.entry(number)).collect();
    fixture.log.append(LogAppend { entries, obsolete: None }).await.expect("room");
    let list = fixture.list();
    assert_eq!(state(&list), RevocationState::Loading);
    assert_eq!(list.ready_within(Duration::from_secs(1)).await, Ok(()));
    assert_eq!(list.status().total_entries(), 2_500);
    assert_eq!(fixture.log.reads(), 4, "three pages without a wait, and then one that waits");
}

#[tokio::test]
async fn a_quiet_log_stays_current() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    let before = fixture.log.reads();
    fixture.run(3_600).await;
    assert_eq!(state(&list), RevocationState::Current);
    assert!(list.status().lag().is_some_and(|lag| lag <= Duration::from_secs(5)));
    assert!((700..=730).contains(&(fixture.log.reads() - before)), "one read in five seconds");
}

#[tokio::test]
async fn many_entries_are_appended_in_few_calls_and_each_caller_learns_the_result() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let (list, entry) = (list.clone(), fixture.entry(number));
            tokio::spawn(async move { list.revoke(entry).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Ok(()));
    }
    assert_eq!(fixture.log.len(), 100);
    assert!(fixture.log.appends() < 10, "{}", fixture.log.appends());
    assert_eq!(list.revoke_all((100..1_300).map(|number| fixture.entry(number))).await, Ok(()));
    assert_eq!((fixture.log.len(), list.status().pending_entries()), (1_300, 0));
}

#[tokio::test]
async fn entries_of_the_log_have_a_time_and_an_end() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    list.revoke(Revocation::subject(ISSUER, "ann")).await.expect("appended");
    let read = crate::revocation::LogRead { after: None, limit: 10, wait: Duration::ZERO };
    let page = fixture.log.read(read).await.expect("a page");
    let [entry] = page.entries.as_slice() else { panic!("one entry: {page:?}") };
    assert_eq!(entry.issued_before(), Some(fixture.in_seconds(5)), "now and the leeway");
    assert_eq!(entry.end(), Some(fixture.in_seconds(24 * 3_600)));
}

#[tokio::test]
async fn entries_of_the_log_that_have_ended_are_dropped_from_it_and_no_reader_regresses() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    one.revoke_all((0..3_000).map(|number| fixture.entry(number))).await.expect("appended");
    fixture.clock.settle().await;
    assert_eq!(fixture.log.len(), 3_000);
    fixture.run(3_600 + 301).await;
    one.revoke(fixture.entry(3_000)).await.expect("appended");
    assert!(fixture.log.len() < 2_000, "{}", fixture.log.len());
    fixture.clock.settle().await;
    assert!(knows(&other, 3_000));
    let reads = fixture.log.reads();
    fixture.run(60).await;
    assert!(fixture.log.reads() - reads < 30, "nothing is read again");
    assert_eq!((state(&one), state(&other)), (RevocationState::Current, RevocationState::Current));
}

/// Another version of this crate may write kinds of entries that this one does not know.
#[tokio::test]
async fn entries_that_cannot_be_read_are_not_dropped_from_the_log_before_they_may_have_ended() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    fixture.log.add_malformed(1);
    let short = |number| fixture.entry(number).with_end(fixture.in_seconds(10));
    fixture.log.append(LogAppend { entries: vec![short(1), short(2)], obsolete: None }).await.expect("room");
    fixture.clock.settle().await;
    for (seconds, expected) in [(1_000, 3), (24 * 3_600, 2)] {
        fixture.run(seconds).await;
        list.revoke(short(3)).await.expect("appended");
        assert_eq!(fixture.log.len(), expected, "{seconds}");
    }
}

#[tokio::test]
async fn the_tasks_end_with_the_list() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    drop(list);
    fixture.clock.settle().await;
    let reads = fixture.log.reads();
    fixture.run(60).await;
    assert_eq!(fixture.log.reads(), reads);
}

#[test]
fn a_list_that_is_created_outside_a_runtime_is_read_in_the_first_one() {
    let fixture = Fixture::new();
    let list = fixture.list();
    assert_eq!(state(&list), RevocationState::Loading);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime().block_on(async {
        assert_eq!(list.ready_within(Duration::from_secs(1)).await, Ok(()));
    });
    // Its runtime has ended, so nothing reads the log.
    assert_eq!(state(&list), RevocationState::Loading);
    runtime().block_on(async {
        assert_eq!(list.ready_within(Duration::from_secs(1)).await, Ok(()));
        assert_eq!(list.revoke(fixture.entry(1)).await, Ok(()));
    });
    assert!(knows(&list, 1));
}
