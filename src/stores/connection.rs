//! `Connection`: one connection to the server.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::clock::{Clock as _, SystemClock};
use crate::defaults;
use crate::fetch::within;
use crate::stores::error::RedisError;

/// Where to connect to, and how.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    /// User, password and database.
    pub(super) login: RedisConnectionInfo,
    pub(super) tls: Option<TlsConnector>,
    /// The time for the response to a command.
    pub(super) timeout: Duration,
}

/// An open connection. Commands of concurrent callers are sent one after another without waiting for responses.
#[derive(Debug)]
pub(super) struct Connection {
    commands: MultiplexedConnection,
    driver: Driver,
    has_known_policy: bool,
}

/// What is sent at once.
pub(super) enum Request {
    Command(Cmd),
    /// Several commands. Other callers' commands may be executed between them.
    Commands(Pipeline),
}

/// The task that reads and writes the stream. It ends when the connection is closed.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Target {
    /// Opens a connection, logs in and checks that the server does not drop keys.
    pub(super) async fn open(&self) -> Result<Connection, RedisError> {
        let opening = async {
            let mut connection = self.connect().await?;
            connection.has_known_policy = connection.check_policy(defaults::REDIS_CONNECT_TIMEOUT).await?;
            Ok(connection)
        };
        limited(opening, defaults::REDIS_CONNECT_TIMEOUT).await.unwrap_or(Err(RedisError::Connect))
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(|_| RedisError::Connect)?;
        stream.set_nodelay(true).map_err(|_| RedisError::Connect)?;
        let Some(tls) = &self.tls else { return self.log_in(stream).await };
        let name = ServerName::try_from(String::from(&*self.host)).map_err(|_| RedisError::Connect)?;
        let stream = tls.connect(name, stream).await.map_err(|_| RedisError::Connect)?;
        self.log_in(stream).await
    }

    async fn log_in<S>(&self, stream: S) -> Result<Connection, RedisError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Each command has its own limit.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(defaults::REDIS_QUEUED_COMMANDS);
        let opened = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (commands, driver) = opened.map_err(|_| RedisError::Connect)?;
        Ok(Connection { commands, driver: Driver(tokio::spawn(driver)), has_known_policy: false })
    }
}

impl Connection {
    /// Sends a request and waits for the response, at most `limit`. The response to several commands is a list.
    pub(super) async fn send<T: FromRedisValue>(&self, request: &Request, limit: Duration) -> Result<T, RedisError> {
        let mut commands = self.commands.clone();
        let response = async {
            match request {
                Request::Command(command) => command.query_async(&mut commands).await,
                Request::Commands(pipeline) => pipeline.query_async(&mut commands).await,
            }
        };
        let response = limited(response, limit).await.ok_or(RedisError::TimedOut)?;
        response.map_err(classify)
    }

    /// Returns whether the connection is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.driver.0.is_finished()
    }

    /// Returns whether the server is known to drop no keys when its memory is full.
    pub(super) fn has_known_policy(&self) -> bool {
        self.has_known_policy
    }

    /// Fails if the server is known to drop keys when its memory is full. Returns whether its policy is known.
    async fn check_policy(&self, limit: Duration) -> Result<bool, RedisError> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("maxmemory-policy");
        let setting: Vec<String> = match self.send(&Request::Command(command), limit).await {
            Ok(Value::Nil) | Err(RedisError::Refused { .. }) => Vec::new(),
            Ok(value) => redis::from_redis_value(value).unwrap_or_default(),
            Err(error) => return Err(error),
        };
        match setting.get(1).map(String::as_str) {
            Some("noeviction") => Ok(true),
            Some(_) => Err(RedisError::Evicts),
            None => Ok(false),
        }
    }
}

impl RedisError {
    /// Returns whether the connection must be replaced.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Closed | Self::TimedOut | Self::Unexpected => true,
            // After a failover, this is no longer the server that accepts writes.
            Self::Refused { code } => {
                matches!(&**code, "READONLY" | "MASTERDOWN" | "NOREPLICAS" | "LOADING" | "UNBLOCKED")
            }
            Self::Connect | Self::Paused { .. } | Self::Busy | Self::Evicts => false,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn limited<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    let clock = SystemClock;
    within(future, clock.sleep_until(clock.monotonic().saturating_add(limit))).await
}

/// Drops the text of the error, which may contain an argument of the command.
fn classify(error: redis::RedisError) -> RedisError {
    match error.kind() {
        ErrorKind::Io => RedisError::Closed,
        ErrorKind::Server(_) | ErrorKind::Extension => {
            // The error of several commands has no code itself.
            let errors = error.into_server_errors();
            let code = errors.as_deref().and_then(<[_]>::first).map_or("ERR", |(_, error)| error.code());
            RedisError::Refused { code: code.into() }
        }
        _ => RedisError::Unexpected,
    }
}
