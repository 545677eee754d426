//! `Running` and `Probing`: the tasks that send introspection requests.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use crate::clock::Monotonic;
use crate::fetch::within;
use crate::introspection::answer::Answer;
use crate::introspection::breaker::{ClientCall, Gate, Probe};
use crate::introspection::call::{Call, CallResult, Priority, Slot};
use crate::introspection::error::{IntrospectionError, Unavailable};
use crate::introspection::shared::{ActiveHook, Shared};
use crate::keys::{self, TokenFingerprint};

/// A call about a token, in the queue or in flight. If it is dropped before its end, because its runtime ends, the
/// waiting requests fail.
pub(super) struct Running {
    shared: Arc<Shared>,
    pub(super) call: Arc<Call>,
    token: TokenFingerprint,
    priority: Priority,
    /// Whether calls are stopped, and the result of this one decides whether they resume. `false` after it is recorded.
    is_attempt: bool,
    /// The turn of this call, if unknown tokens are introspected one at a time.
    turn: Option<Slot>,
}

impl Running {
    /// Adds a call to those that requests can join.
    pub(super) fn new(
        shared: &Arc<Shared>,
        calls: &mut HashMap<TokenFingerprint, Arc<Call>>,
        token: TokenFingerprint,
        priority: Priority,
    ) -> Self {
        let call = Arc::new(Call::new());
        calls.insert(token, Arc::clone(&call));
        Self { shared: Arc::clone(shared), call, token, priority, is_attempt: false, turn: None }
    }

    /// Introspects the token as soon as a slot is free and calls are not stopped. Ends earlier if no request waits for
    /// the result any more.
    pub(super) async fn run(mut self, token: Box<[u8]>) {
        let call = Arc::clone(&self.call);
        loop {
            match within(self.admission(), call.result.abandoned()).await {
                Some(Ok(slot)) => return self.send(slot, &token, None).await,
                Some(Err(unavailable)) if self.remove_unless_promoted() => return call.result.finish(Err(unavailable)),
                // What stops calls about unknown tokens does not concern this one any more.
                Some(Err(_)) => self.promote(),
                None if self.remove_if_abandoned() => return,
                // A request has joined at this moment.
                None => {}
            }
        }
    }

    /// Introspects the token now. Calls `on_active` with a positive answer before the waiting requests get it.
    pub(super) async fn send(mut self, _slot: Slot, token: &[u8], on_active: Option<ActiveHook>) {
        let started_at = self.shared.now();
        self.call.record_sent(started_at);
        let result = self.shared.call(token).await;
        let is_attempt = mem::take(&mut self.is_attempt);
        let call = ClientCall { token: self.token, priority: self.priority, started_at, is_attempt };
        record(&self.shared, call, &result);
        if let Ok(answer) = &result {
            self.shared.record_answer(answer);
        }
        if self.store_result(&result, started_at) {
            self.shared.evict(token);
        }
        if let (Ok(Answer::Active(answer)), Some(on_active)) = (&result, on_active) {
            on_active(answer);
        }
        self.call.result.finish(result);
    }

    async fn admission(&mut self) -> Result<Slot, Unavailable> {
        if self.priority == Priority::Unknown {
            let call = Arc::clone(&self.call);
            match within(self.admission_by_priority(), call.promoted()).await {
                Some(admission) => return admission,
                None => self.promote(),
            }
        }
        self.admission_by_priority().await
    }

    async fn admission_by_priority(&mut self) -> Result<Slot, Unavailable> {
        loop {
            self.turn = None;
            if !self.is_attempt {
                self.wait_for_breaker().await?;
            }
            if self.priority == Priority::Unknown && self.shared.breaker().is_limited(self.shared.now()) {
                self.turn = self.shared.calls.turn().await;
            }
            let slot = self.shared.calls.slot(self.priority).await.ok_or(IntrospectionError::Interrupted)?;
            // Calls may have been stopped during the wait.
            if self.is_attempt || self.shared.breaker().is_closed_for(&self.token, self.priority) {
                return Ok(slot);
            }
        }
    }

    /// Waits for the end of an attempt if calls are stopped and their pause has ended.
    async fn wait_for_breaker(&mut self) -> Result<(), Unavailable> {
        let mut attempts = self.shared.attempts.subscribe();
        loop {
            let gate = self.shared.breaker().gate(&self.token, self.priority, self.shared.now());
            match gate {
                Gate::Closed => return Ok(()),
                Gate::Open(unavailable) => return Err(unavailable),
                Gate::Attempt(probe) => {
                    self.is_attempt = true;
                    start_probe(&self.shared, probe);
                    return Ok(());
                }
                Gate::Wait => attempts.changed().await.map_err(|_| IntrospectionError::Interrupted)?,
            }
        }
    }

    /// Continues as a call about a known token, which has its own slots and attempts.
    fn promote(&mut self) {
        self.abandon_attempt();
        self.priority = Priority::Known;
    }

    fn abandon_attempt(&mut self) {
        if mem::take(&mut self.is_attempt) {
            self.shared.breaker().record_abandoned_attempt(self.priority);
            self.shared.attempts.send_replace(());
        }
    }

    /// Removes the call before its end without an answer, so that no request joins it any more. Returns `false` if one
    /// has joined for which the token is known.
    fn remove_unless_promoted(&self) -> bool {
        let mut calls = self.shared.calls.lock();
        let is_promoted = self.priority == Priority::Unknown && self.call.is_promoted();
        if !is_promoted {
            self.remove_from(&mut calls);
        }
        !is_promoted
    }

    fn remove_if_abandoned(&self) -> bool {
        let mut calls = self.shared.calls.lock();
        let is_abandoned = self.call.result.is_abandoned();
        if is_abandoned {
            self.remove_from(&mut calls);
        }
        is_abandoned
    }

    /// Stores the answer and removes the call, both at once. Returns whether the token is inactive. The answer to a call
    /// that was sent before the token was evicted is not stored.
    fn store_result(&self, result: &CallResult, started_at: Monotonic) -> bool {
        let memory = &self.shared.memory;
        let mut calls = self.shared.calls.lock();
        self.remove_from(&mut calls);
        if memory.is_evicted_since(&self.token, started_at) {
            return false;
        }
        match result {
            Ok(Answer::Inactive) => {
                memory.record_inactive(self.token, started_at);
                self.shared.record_revoked(self.token, self.priority);
                true
            }
            Ok(Answer::Active(answer)) => {
                memory.record_active(&self.token, started_at);
                if self.priority != Priority::Unknown && !self.shared.settings().grace.is_zero() {
                    memory.record_superseded(self.token, answer.call_started_at);
                }
                false
            }
            Err(_) => false,
        }
    }

    /// Removes this call, but not a later one about the same token.
    fn remove_from(&self, calls: &mut HashMap<TokenFingerprint, Arc<Call>>) {
        if calls.get(&self.token).is_some_and(|call| Arc::ptr_eq(call, &self.call)) {
            calls.remove(&self.token);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.abandon_attempt();
        self.remove_from(&mut self.shared.calls.lock());
        // Has no effect after the result.
        self.call.result.finish(Err(IntrospectionError::Interrupted.into()));
    }
}

/// Records the result of a call for a client.
fn record(shared: &Arc<Shared>, call: ClientCall, result: &CallResult) {
    let (now, jitter) = (shared.now(), shared.jitter());
    let (probe, transition) = match result {
        Ok(_) => shared.breaker().record_success(now),
        Err(unavailable) => shared.breaker().record_failure(call, *unavailable, (now, jitter)),
    };
    shared.report(transition);
    if call.is_attempt || result.is_ok() {
        shared.attempts.send_replace(());
    }
    start_probe(shared, probe);
}

fn start_probe(shared: &Arc<Shared>, probe: Probe) {
    if probe == Probe::Start {
        let probing = Probing { shared: Arc::clone(shared), is_ended: false };
        tokio::spawn(probing.run());
    }
}

/// A probe in flight.
struct Probing {
    shared: Arc<Shared>,
    /// Whether the call has ended.
    is_ended: bool,
}

impl Probing {
    /// Introspects a random text, which is no token. Any answer shows that the server works and accepts our credentials.
    /// The text has the prefix of the server's tokens, by which a proxy may route them.
    async fn run(mut self) {
        let _slot = self.shared.calls.slot(Priority::Known).await;
        let prefix = self.shared.settings().prefix.as_deref().unwrap_or_default();
        let Some(random) = keys::random_token() else { return };
        let result = self.shared.call(format!("{prefix}{random}").as_bytes()).await.map(drop);
        self.is_ended = true;
        let (now, jitter) = (self.shared.now(), self.shared.jitter());
        let transition = self.shared.breaker().record_probe(result, (now, jitter));
        self.shared.report(transition);
        self.shared.attempts.send_replace(());
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        if !self.is_ended {
            self.shared.breaker().record_abandoned_probe();
            self.shared.attempts.send_replace(());
        }
    }
}
