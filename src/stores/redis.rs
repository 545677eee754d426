//! `Redis`: the handle that all stores on one server share.

use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError};

use redis::{Cmd, FromRedisValue, Pipeline};
use tokio::sync::Semaphore;

use crate::clock::{Clock as _, SystemClock};
use crate::defaults;
use crate::stores::breaker::{Breaker, Gate, Stage, Transition};
use crate::stores::connection::{Connection, Request, Target};
use crate::stores::error::RedisError;
use crate::telemetry;

/// A Redis server, or one with the same protocol, such as Valkey.
///
/// A clone is cheap and shares the connection. It is opened by the first command, and again after it was closed. Commands of
/// concurrent callers share it without waiting for each other.
///
/// If the server does not respond in time, or no connection can be opened, one command per second tries it again, and all others
/// fail at once.
///
/// The server must not drop keys when its memory is full: if `CONFIG GET maxmemory-policy` returns another policy than `noeviction`, no
/// command is sent and an error is logged. If the server does not allow that command, a warning is logged once.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    target: Target,
    breaker: Mutex<Breaker>,
    /// Locked while a connection is opened, so that one task opens it for all.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// Bounds the commands that wait for a response.
    waiting: Arc<Semaphore>,
    /// The warning that the policy of the server is unknown.
    policy_warning: Once,
}

impl Redis {
    pub(super) fn from_target(target: Target) -> Self {
        let shared = Shared {
            target,
            breaker: Mutex::default(),
            connection: tokio::sync::Mutex::new(None),
            waiting: Arc::new(Semaphore::new(defaults::REDIS_MAX_WAITING)),
            policy_warning: Once::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sends `PING`, to find out at start whether the server responds, accepts the credentials and does not drop keys.
    ///
    /// # Errors
    ///
    /// Returns why the command failed.
    pub async fn check(&self) -> Result<(), RedisError> {
        let _response: redis::Value = self.query(redis::cmd("PING")).await?;
        Ok(())
    }

    /// Sends a command over the shared connection and returns its response. It must not block.
    ///
    /// A command is not sent again, whatever happens. It runs in its own task: if the caller is dropped after the first poll, the
    /// command is still sent, and its response still says whether the server works.
    pub(super) async fn query<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> Result<T, RedisError> {
        self.send(Request::Command(command)).await
    }

    /// Sends several commands as [`query`](Self::query) does, and fails if one of them fails. The others are executed nevertheless.
    pub(super) async fn execute_all(&self, pipeline: Pipeline) -> Result<(), RedisError> {
        let _responses: redis::Value = self.send(Request::Commands(pipeline)).await?;
        Ok(())
    }

    async fn send<T: FromRedisValue + Send + 'static>(&self, request: Request) -> Result<T, RedisError> {
        let permit = Arc::clone(&self.shared.waiting).try_acquire_owned().map_err(|_| RedisError::Busy)?;
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let _permit = permit;
            shared.send(&request).await
        });
        // The task ends without a result only if the runtime is shut down.
        task.await.unwrap_or(Err(RedisError::Closed))
    }

    /// Opens another connection, for commands that block. It is closed when it is dropped.
    pub(super) async fn open(&self) -> Result<Connection, RedisError> {
        self.shared.open().await
    }
}

impl Shared {
    async fn send<T: FromRedisValue>(&self, request: &Request) -> Result<T, RedisError> {
        let connection = match self.breaker(|breaker| breaker.gate(SystemClock.monotonic())) {
            Gate::Closed { retry_after } => return Err(RedisError::Paused { retry_after }),
            gate => self.connection(gate).await?,
        };
        let result = connection.send(request, self.target.timeout).await;
        match &result {
            Ok(_) => self.record_success(Stage::Command),
            Err(error) if error.ends_connection() => {
                self.replace(&connection).await;
                // A connection that was closed says nothing about the server. Whether another one can be opened does.
                if *error != RedisError::Closed {
                    self.record_failure(error, Stage::Command);
                }
            }
            Err(_) => self.record_success(Stage::Command),
        }
        result
    }

    /// Returns the open connection, or opens one.
    async fn connection(&self, gate: Gate) -> Result<Arc<Connection>, RedisError> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        *current = None;
        // If an attempt failed while this caller waited for the lock, it does not make another one.
        let pause = self.breaker(|breaker| breaker.pause(SystemClock.monotonic()));
        if let (Gate::Open, Some(retry_after)) = (gate, pause) {
            return Err(RedisError::Paused { retry_after });
        }
        let connection = self.open().await?;
        Ok(Arc::clone(current.insert(Arc::new(connection))))
    }

    async fn open(&self) -> Result<Connection, RedisError> {
        let opened = self.target.open().await;
        match &opened {
            Ok(connection) => {
                if !connection.has_known_policy() {
                    self.policy_warning.call_once(telemetry::stores::unknown_policy);
                }
                self.record_success(Stage::Open);
            }
            Err(error) => self.record_failure(error, Stage::Open),
        }
        opened
    }

    /// Drops a connection unless another one has replaced it.
    async fn replace(&self, connection: &Arc<Connection>) {
        let mut current = self.connection.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            *current = None;
        }
    }

    fn record_success(&self, stage: Stage) {
        if self.breaker(|breaker| breaker.record_success(stage)) == Transition::Recovered {
            telemetry::stores::recovered();
        }
    }

    fn record_failure(&self, error: &RedisError, stage: Stage) {
        let now = SystemClock.monotonic();
        if self.breaker(|breaker| breaker.record_failure(error.name(), stage, now)) == Transition::Failed {
            match error {
                RedisError::Evicts => telemetry::stores::evicts(),
                error => telemetry::stores::failed(error.name()),
            }
        }
    }

    fn breaker<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        change(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Shows the address, and no credentials.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { host, port, tls, timeout, .. } = &self.shared.target;
        f.debug_struct("Redis")
            .field("host", host)
            .field("port", port)
            .field("is_tls", &tls.is_some())
            .field("timeout", timeout)
            .finish()
    }
}
