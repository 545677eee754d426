//! Failures of the log. The numbers are those of the list of cases.

use std::sync::{Arc, Mutex};

use super::*;
use crate::revocation::list::UNAVAILABLE;
use crate::revocation::{LogAppend, LogError, LogFuture, LogPage, LogRead, RevocationLog, RevokeError};
use crate::testing::LogFailure;

fn rejects(list: &Revocations) -> bool {
    list.shared.flags() & UNAVAILABLE != 0
}

fn not_appended(error: LogError) -> Result<(), RevokeError> {
    Err(RevokeError::NotAppended { error })
}

/// Case 66.
#[tokio::test]
async fn a_log_that_is_down_at_start_rejects_requests() {
    for (failure, error) in [
        (LogFailure::Down, LogError::Unavailable),
        (LogFailure::Fails(LogError::Evicts), LogError::Evicts),
        (LogFailure::Panic, LogError::Panic),
        (LogFailure::Hang, LogError::TimedOut),
    ] {
        let fixture = Fixture::new();
        fixture.log.set_failure(failure);
        let list = fixture.list();
        let ready = tokio::spawn({
            let list = list.clone();
            async move { list.ready_within(Duration::from_secs(60)).await }
        });
        fixture.run(61).await;
        let not_ready = ready.await.expect("no panic").expect_err("not ready");
        assert_eq!(not_ready.last_error(), Some(error));
        assert!(rejects(&list) && state(&list) == RevocationState::Loading && !list.status().is_ready());
        fixture.log.set_failure(LogFailure::None);
        // A call that hangs ends after three seconds; the pause is at most five.
        fixture.run(8).await;
        assert!(!rejects(&list) && state(&list) == RevocationState::Current, "{failure:?}");
    }
}

/// Case 67.
#[tokio::test]
async fn a_log_that_goes_down_revokes_and_forgets_nothing() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    list.revoke(fixture.entry(1)).await.expect("appended");
    fixture.log.set_failure(LogFailure::Down);
    for (seconds, expected, is_rejecting) in [
        (29, RevocationState::Current, false),
        (2, RevocationState::Degraded, false),
        (268, RevocationState::Degraded, false),
        (2, RevocationState::Stale, true),
        (1_000, RevocationState::Stale, true),
    ] {
        fixture.run(seconds).await;
        assert_eq!((state(&list), rejects(&list)), (expected, is_rejecting), "{seconds}");
        assert!(knows(&list, 1));
    }
    fixture.log.set_failure(LogFailure::None);
    fixture.run(5).await;
    assert_eq!((state(&list), rejects(&list)), (RevocationState::Current, false));
}

#[tokio::test]
async fn settings_accept_requests_by_what_is_known() {
    let fixture = Fixture::new();
    let builder = || Revocations::builder().with_clock(fixture.clock.clone()).with_max_stale(Duration::from_secs(60));
    let lists = [
        builder().shared(fixture.log.clone()).expect("settings in range"),
        builder().dangerous_serve_stale_revocations().shared(fixture.log.clone()).expect("settings in range"),
        builder().dangerous_start_without_revocations().shared(fixture.log.clone()).expect("settings in range"),
    ];
    assert_eq!(lists.each_ref().map(rejects), [true, true, false], "before the first read");
    fixture.clock.settle().await;
    assert_eq!(lists.each_ref().map(rejects), [false; 3]);
    fixture.log.set_failure(LogFailure::Down);
    fixture.run(62).await;
    assert_eq!(lists.each_ref().map(rejects), [true, false, true]);
    assert_eq!(lists.each_ref().map(state), [RevocationState::Stale; 3]);
}

/// Case 68.
#[tokio::test]
async fn a_log_that_is_emptied_drops_nothing_from_the_list() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    one.revoke(fixture.entry(1)).await.expect("appended");
    fixture.clock.settle().await;
    fixture.log.clear();
    fixture.run(5).await;
    one.revoke(fixture.entry(2)).await.expect("appended");
    fixture.run(6).await;
    assert!(knows(&one, 1) && knows(&other, 1) && knows(&other, 2));
    assert_eq!((state(&one), state(&other)), (RevocationState::Current, RevocationState::Current));
    // What was revoked in the last minutes is appended again, for processes that start now.
    assert!(knows(&fixture.current_list().await, 1));
    fixture.run(300).await;
    fixture.log.clear();
    fixture.run(6).await;
    assert!(!knows(&fixture.current_list().await, 1));
    // What was revoked before them, on request.
    one.revoke(fixture.entry(1)).await.expect("appended");
    assert!(knows(&fixture.current_list().await, 1));
}

/// A log that two servers answer in turns, for example.
#[tokio::test]
async fn a_log_that_loses_entries_again_and_again_does_not_grow() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    list.revoke_all((0..10).map(|number| fixture.entry(number))).await.expect("appended");
    fixture.clock.settle().await;
    for round in 1..20 {
        fixture.log.drop_last(10);
        fixture.run(6).await;
        // Each entry is appended again three times.
        assert_eq!(fixture.log.len(), if round <= 3 { 10 } else { 0 }, "{round}");
    }
    assert_eq!(state(&list), RevocationState::Current);
}

#[tokio::test]
async fn a_log_that_is_emptied_twice_within_five_minutes_is_filled_again() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    list.revoke_all((0..10).map(|number| fixture.entry(number))).await.expect("appended");
    for _ in 0..2 {
        fixture.run(60).await;
        fixture.log.clear();
        fixture.run(6).await;
        let late = fixture.current_list().await;
        assert!((0..10).all(|number| knows(&late, number)));
    }
    assert_eq!(fixture.log.len(), 10);
}

#[tokio::test]
async fn a_log_that_is_down_for_long_and_then_empty_is_filled_again() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    list.revoke(fixture.entry(1)).await.expect("appended");
    fixture.run(200).await;
    list.revoke(fixture.entry(2)).await.expect("appended");
    fixture.run(200).await;
    fixture.log.set_failure(LogFailure::Down);
    fixture.run(1_000).await;
    fixture.log.clear();
    fixture.log.set_failure(LogFailure::None);
    fixture.run(6).await;
    let late = fixture.current_list().await;
    assert_eq!((knows(&late, 1), knows(&late, 2)), (false, true), "of the five minutes before the outage");
}

/// A log whose reads can fail or find entries that are lost then, while appends succeed.
#[derive(Clone, Debug)]
struct LossyLog {
    log: FakeLog,
    loss: Arc<Mutex<Option<Loss>>>,
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Reads fail.
    Unread,
    /// Reads return entries, and fail then.
    Unconfirmed,
}

impl LossyLog {
    fn set(&self, loss: Option<Loss>) {
        *self.loss.lock().expect("no panic") = loss;
    }
}

impl RevocationLog for LossyLog {
    fn append(&self, append: LogAppend) -> LogFuture<()> {
        self.log.append(append)
    }

    fn read(&self, read: LogRead) -> LogFuture<LogPage> {
        let (page, loss) = (self.log.read(read), Arc::clone(&self.loss));
        Box::pin(async move {
            let mut page = page.await?;
            match *loss.lock().expect("no panic") {
                None => Ok(page),
                Some(Loss::Unconfirmed) if !page.entries.is_empty() => {
                    page.failure = Some(LogError::Unavailable);
                    Ok(page)
                }
                Some(_) => Err(LogError::Unavailable),
            }
        })
    }
}

/// The primary stores the entry, and ends before its Redis replica has it. That one has the position of the readers, so nothing shows it.
#[tokio::test]
async fn an_entry_that_a_failover_loses_without_a_sign_is_appended_again() {
    for loss in [Loss::Unread, Loss::Unconfirmed] {
        let fixture = Fixture::new();
        let log = LossyLog { log: fixture.log.clone(), loss: Arc::default() };
        let list = || Revocations::builder().with_clock(fixture.clock.clone()).shared(log.clone()).expect("valid");
        let (one, other) = (list(), list());
        fixture.clock.settle().await;
        one.revoke(fixture.entry(1)).await.expect("appended");
        fixture.run(6).await;
        log.set(Some(loss));
        one.revoke(fixture.entry(2)).await.expect("appended");
        fixture.clock.settle().await;
        fixture.log.drop_last(1);
        assert_eq!(knows(&other, 2), matches!(loss, Loss::Unconfirmed), "what was read counts");
        assert_eq!(other.status().last_error(), Some(LogError::Unavailable));
        log.set(None);
        fixture.run(6).await;
        assert!(knows(&other, 2) && knows(&list_that_is_current(&fixture, list()).await, 2), "{loss:?}");
        fixture.run(60).await;
        assert_eq!(fixture.log.len(), 2, "appended again once");
    }
}

async fn list_that_is_current(fixture: &Fixture, list: Revocations) -> Revocations {
    fixture.clock.settle().await;
    assert_eq!(state(&list), RevocationState::Current);
    list
}

/// Case 69.
#[tokio::test]
async fn a_failover_to_an_older_state_drops_nothing_and_misses_nothing() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    one.revoke_all((0..10).map(|number| fixture.entry(number))).await.expect("appended");
    fixture.clock.settle().await;
    fixture.log.drop_last(3);
    one.revoke_all((10..15).map(|number| fixture.entry(number))).await.expect("appended");
    fixture.run(6).await;
    assert!((0..15).all(|number| knows(&one, number) && knows(&other, number)));
    let late = fixture.current_list().await;
    assert!((0..15).all(|number| knows(&late, number)), "the log lacked some, and they were appended again");
}

/// Case 70.
#[tokio::test]
async fn a_read_that_hangs_is_noticed_after_eight_seconds() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    fixture.log.set_failure(LogFailure::Hang);
    fixture.run(20).await;
    assert_eq!(other.status().last_error(), Some(LogError::TimedOut));
    fixture.log.set_failure(LogFailure::None);
    fixture.run(13).await;
    one.revoke(fixture.entry(1)).await.expect("appended");
    fixture.clock.settle().await;
    assert!(knows(&other, 1));
}

/// Case 72.
#[tokio::test]
async fn malformed_entries_do_not_stop_the_others() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    fixture.log.add_malformed(3);
    fixture.log.append(LogAppend { entries: vec![fixture.entry(1)], obsolete: None }).await.expect("room");
    fixture.clock.settle().await;
    assert!(knows(&list, 1));
    assert_eq!(state(&list), RevocationState::Current);
}

#[tokio::test]
async fn entries_with_claims_that_do_not_fit_do_not_stop_the_others() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    let claims = (0..10).map(|number| format!("claim{number}")).chain(["c".repeat(65)]);
    let named = |claim: String| {
        let entry = Revocation::subject(ISSUER, "ann").with_subject_claim(&claim);
        entry.with_issued_before(fixture.in_seconds(0)).with_end(fixture.in_seconds(3_600))
    };
    let entries: Vec<_> = claims.map(named).chain([fixture.entry(1)]).collect();
    let ninth = entries[8].clone();
    fixture.log.append(LogAppend { entries, obsolete: None }).await.expect("room");
    fixture.clock.settle().await;
    assert!(knows(&list, 1));
    assert_eq!(list.shared.subject_claims().len(), 8);
    assert_eq!(list.status().total_entries(), 8 + 1);
    assert_eq!(list.revoke(ninth).await, Err(RevokeError::SubjectClaims), "the application learns of it");
    fixture.run(301).await;
    assert_eq!((state(&list), rejects(&list)), (RevocationState::Current, false));
}

#[tokio::test]
async fn after_cuts_the_reader_continues_from_its_cursor() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    for number in 0..20 {
        one.revoke(fixture.entry(number)).await.expect("appended");
        if number % 4 == 0 {
            fixture.log.set_failure(LogFailure::Down);
            fixture.run(1).await;
            fixture.log.set_failure(LogFailure::None);
        }
    }
    fixture.run(5).await;
    assert!((0..20).all(|number| knows(&other, number)));
    assert_eq!(fixture.log.len(), 20, "nothing was appended twice");
}

/// R6.
#[tokio::test]
async fn an_entry_that_was_not_appended_counts_here_and_is_appended_later() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    fixture.log.set_failure(LogFailure::Down);
    assert_eq!(one.revoke(fixture.entry(1)).await, not_appended(LogError::Unavailable));
    assert!(knows(&one, 1));
    assert_eq!(one.status().pending_entries(), 1);
    let before = fixture.log.appends();
    fixture.run(120).await;
    let attempts = fixture.log.appends() - before;
    assert!((5..=12).contains(&attempts), "after 1 s to 30 s: {attempts}");
    fixture.log.set_failure(LogFailure::None);
    fixture.run(5).await;
    assert!(knows(&other, 1), "once the log responds");
    assert_eq!((one.status().pending_entries(), fixture.log.len()), (0, 1));
}

#[tokio::test]
async fn an_entry_that_has_ended_is_not_appended_any_more() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    fixture.log.set_failure(LogFailure::Fails(LogError::Full));
    let entry = Revocation::jwt_id(ISSUER, "1").with_end(fixture.in_seconds(60));
    assert_eq!(list.revoke(entry).await, not_appended(LogError::Full));
    fixture.run(60 + 301 + 31).await;
    assert_eq!(list.status().pending_entries(), 0);
}

#[tokio::test]
async fn a_clock_that_is_ahead_for_a_minute_drops_no_entry_that_waits() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    fixture.log.set_failure(LogFailure::Down);
    assert_eq!(list.revoke(fixture.entry(1)).await, not_appended(LogError::Unavailable));
    fixture.clock.set_wall(fixture.in_seconds(86_400));
    fixture.run(60).await;
    fixture.clock.set_wall(fixture.clock.now().saturating_sub(Duration::from_secs(86_400)));
    assert_eq!(list.status().pending_entries(), 1);
    fixture.log.set_failure(LogFailure::None);
    fixture.run(6).await;
    assert_eq!((list.status().pending_entries(), fixture.log.len()), (0, 1));
}

/// The clock of a server is set after the process has started.
#[tokio::test]
async fn a_clock_that_is_ahead_at_start_hides_nothing_after_it_is_corrected_and_trims_nothing() {
    let fixture = Fixture::new();
    let other = fixture.current_list().await;
    other.revoke_all((0..1_500).map(|number| fixture.entry(number))).await.expect("appended");
    fixture.clock.set_wall(fixture.in_seconds(86_400));
    let list = fixture.current_list().await;
    let appended = Revocation::jwt_id(ISSUER, "1500").with_end(fixture.in_seconds(86_400));
    list.revoke(appended).await.expect("appended");
    assert_eq!(fixture.log.len(), 1_501);
    fixture.run(60).await;
    fixture.clock.set_wall(fixture.clock.now().saturating_sub(Duration::from_secs(86_400)));
    fixture.run(6).await;
    assert!((0..=1_500).all(|number| knows(&list, number)));
    assert_eq!((state(&list), rejects(&list)), (RevocationState::Current, false));
    let reads = fixture.log.reads();
    fixture.run(60).await;
    assert!(fixture.log.reads() - reads < 30, "it is read from its start once");
}

/// A caller that is dropped, as the request of a client that disconnects is.
#[tokio::test]
async fn a_caller_that_is_dropped_does_not_stop_the_append() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    let mut call = Box::pin(list.revoke(fixture.entry(1)));
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await.is_pending());
    drop(call);
    fixture.clock.settle().await;
    assert_eq!(fixture.log.len(), 1);
}

#[tokio::test]
async fn an_append_that_hangs_returns_an_error_and_is_repeated() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    fixture.log.set_failure(LogFailure::Hang);
    let call = tokio::spawn({
        let (list, entry) = (list.clone(), fixture.entry(1));
        async move { list.revoke(entry).await }
    });
    fixture.run(3).await;
    assert_eq!(call.await.expect("no panic"), not_appended(LogError::TimedOut));
    fixture.log.set_failure(LogFailure::None);
    fixture.run(10).await;
    assert_eq!(fixture.log.len(), 1);
}

/// R8 and case 65: a process whose list is full does not go on as if it knew everything.
#[tokio::test]
async fn a_full_list_is_loud_and_reads_no_further() {
    let fixture = Fixture::new();
    let small = Revocations::builder().with_clock(fixture.clock.clone()).with_max_entries(1_000);
    let small = small.shared(fixture.log.clone()).expect("settings in range");
    let large = fixture.current_list().await;
    large.revoke_all((0..1_000).map(|number| fixture.entry(number))).await.expect("appended");
    fixture.clock.settle().await;
    assert_eq!(small.revoke(fixture.entry(1_000)).await, Err(RevokeError::Full { max_entries: 1_000 }));
    assert_eq!(fixture.log.len(), 1_000, "what this list does not reject is not appended");
    large.revoke(fixture.entry(1_000)).await.expect("appended");
    fixture.run(10).await;
    assert_eq!(state(&small), RevocationState::Degraded);
    assert!((0..1_000).all(|number| knows(&small, number)), "nothing is dropped");
    fixture.run(300).await;
    assert_eq!((state(&small), rejects(&small)), (RevocationState::Stale, true));
    // The entries end, so there is room.
    fixture.run(3_600 + 301).await;
    assert_eq!((state(&small), rejects(&small)), (RevocationState::Current, false));
}

#[tokio::test]
async fn too_many_pending_entries_are_refused() {
    let fixture = Fixture::new();
    let list = fixture.current_list().await;
    fixture.log.set_failure(LogFailure::Down);
    let many = (0..crate::defaults::MAX_PENDING_REVOCATIONS).map(|number| fixture.entry(number));
    assert_eq!(list.revoke_all(many).await, not_appended(LogError::Unavailable));
    let another = fixture.entry(crate::defaults::MAX_PENDING_REVOCATIONS);
    assert_eq!(list.revoke(another.clone()).await, not_appended(LogError::TooManyPending));
    assert!(knows(&list, crate::defaults::MAX_PENDING_REVOCATIONS));
    // Case 95: a signal that is neither in the log nor will be is not acknowledged.
    let refused = list.add_signal(vec![fixture.entry(crate::defaults::MAX_PENDING_REVOCATIONS + 1)]).await;
    assert_eq!(refused, Err(RevokeError::NotAppended { error: LogError::TooManyPending }));
}

/// The sender of a signal that is not acknowledged sends it again.
#[tokio::test]
async fn a_signal_that_the_queue_had_no_room_for_is_appended_when_it_is_repeated() {
    let fixture = Fixture::new();
    let (list, other) = (fixture.current_list().await, fixture.current_list().await);
    fixture.log.set_failure(LogFailure::Down);
    let last = crate::defaults::MAX_PENDING_REVOCATIONS;
    let many = (0..last).map(|number| fixture.entry(number));
    assert_eq!(list.revoke_all(many).await, not_appended(LogError::Unavailable));
    let signal = fixture.entry(last);
    for _ in 0..2 {
        let refused = list.add_signal(vec![signal.clone()]).await;
        assert_eq!(refused, Err(RevokeError::NotAppended { error: LogError::TooManyPending }));
    }
    fixture.log.set_failure(LogFailure::None);
    fixture.run(10).await;
    assert_eq!((list.status().pending_entries(), knows(&other, last)), (0, false));
    assert_eq!(list.add_signal(vec![signal.clone()]).await, Ok(false), "it is in the list");
    fixture.clock.settle().await;
    assert!(knows(&other, last));
    let elsewhere = fixture.current_list().await;
    assert_eq!(elsewhere.add_signal(vec![signal]).await, Ok(false));
    assert_eq!(fixture.log.len(), last + 1, "a list that has refused nothing does not append it again");
}

/// L9.
#[tokio::test]
async fn a_signal_is_acknowledged_while_the_log_is_down_and_a_repeated_one_is_appended_nowhere() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.current_list().await, fixture.current_list().await);
    assert_eq!(one.add_signal(vec![fixture.entry(1)]).await, Ok(true));
    assert_eq!(one.add_signal(vec![fixture.entry(1)]).await, Ok(false));
    fixture.clock.settle().await;
    assert_eq!(other.add_signal(vec![fixture.entry(1)]).await, Ok(false), "it was read from the log");
    assert_eq!(fixture.log.len(), 1);
    fixture.log.set_failure(LogFailure::Down);
    assert_eq!(one.add_signal(vec![fixture.entry(2)]).await, Ok(true));
    fixture.log.set_failure(LogFailure::None);
    fixture.run(5).await;
    assert!(knows(&other, 2));
}
