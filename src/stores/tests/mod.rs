//! The connection, against a server whose responses a test chooses.

mod replay;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::server::{NO_EVICTION, Reply, Server};
use crate::clock::Timestamp;
use crate::revocation::{LogAppend, LogError, LogPage, LogPosition, LogRead, Revocation, RevocationLog as _};
use crate::stores::revocation_log::without_position;
use crate::stores::{Redis, RedisError, RedisLog};

/// Responds to the commands of a healthy server.
fn healthy(command: &[String]) -> Reply {
    match command.first().map(String::as_str) {
        Some("CONFIG") => Reply::Send(NO_EVICTION),
        Some("PING") => Reply::Send("+PONG\r\n"),
        _ => Reply::Send("-ERR unknown command\r\n"),
    }
}

/// Returns an append of two entries.
fn append() -> LogAppend {
    let entry = |value| Revocation::jwt_id("https://issuer.test/", value).with_end(Timestamp::from_secs(9));
    LogAppend { entries: vec![entry("1"), entry("2")], obsolete: None }
}

fn refused(code: &str) -> Result<(), RedisError> {
    Err(RedisError::Refused { code: code.into() })
}

#[tokio::test]
async fn concurrent_commands_share_one_connection() {
    let server = Server::start(|_, command| healthy(command)).await;
    let redis = server.redis();
    let checks: Vec<_> = (0..50)
        .map(|_| {
            let redis = redis.clone();
            tokio::spawn(async move { redis.check().await })
        })
        .collect();
    for check in checks {
        assert_eq!(check.await.expect("no panic"), Ok(()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_closed_connection_is_replaced_and_the_next_command_succeeds() {
    let server = Server::start(|number, command| match command.first().map(String::as_str) {
        Some("PING") if number == 1 => Reply::Close,
        _ => healthy(command),
    })
    .await;
    let redis = server.redis();
    assert_eq!(redis.check().await, Err(RedisError::Closed), "it may have been executed, so it is not sent again");
    assert_eq!(redis.check().await, Ok(()));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn after_a_timeout_commands_fail_at_once_and_the_connection_is_replaced() {
    let server = Server::start(|number, command| match command.first().map(String::as_str) {
        Some("PING") if number == 1 => Reply::Silence,
        _ => healthy(command),
    })
    .await;
    let redis = server.builder().with_timeout(Duration::from_millis(10)).build().expect("valid settings");
    assert_eq!(redis.check().await, Err(RedisError::TimedOut));
    assert!(matches!(redis.check().await, Err(RedisError::Paused { .. })));
    let recovered = async {
        while redis.check().await != Ok(()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered).await.expect("a new connection");
    assert!(server.connections() >= 2);
}

#[tokio::test]
async fn a_dropped_caller_does_not_hide_that_the_server_does_not_respond() {
    let server = Server::start(|_, command| match command.first().map(String::as_str) {
        Some("PING") => Reply::Silence,
        _ => healthy(command),
    })
    .await;
    let redis = server.builder().with_timeout(Duration::from_millis(10)).build().expect("valid settings");
    let mut first = Box::pin(redis.check());
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(first.as_mut().poll(context))).await.is_pending());
    drop(first);
    let paused = async { while !matches!(redis.check().await, Err(RedisError::Paused { .. })) {} };
    tokio::time::timeout(Duration::from_secs(30), paused).await.expect("the pause");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_costs_one_attempt_per_second() {
    let redis = Redis::new("redis://127.0.0.1:1").expect("valid settings");
    assert_eq!(redis.check().await, Err(RedisError::Connect));
    assert!(matches!(redis.check().await, Err(RedisError::Paused { .. })));
}

#[tokio::test]
async fn a_server_that_drops_keys_is_not_used_until_its_policy_changes() {
    let is_fixed = Arc::new(AtomicBool::new(false));
    let fixed = Arc::clone(&is_fixed);
    let server = Server::start(move |_, command| match command.first().map(String::as_str) {
        Some("CONFIG") if !fixed.load(Ordering::SeqCst) => {
            Reply::Send("*2\r\n$16\r\nmaxmemory-policy\r\n$12\r\nvolatile-ttl\r\n")
        }
        _ => healthy(command),
    })
    .await;
    let redis = server.redis();
    assert_eq!(redis.check().await, Err(RedisError::Evicts));
    is_fixed.store(true, Ordering::SeqCst);
    let recovered = async {
        while redis.check().await != Ok(()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered).await.expect("the fixed policy");
}

#[tokio::test]
async fn an_unknown_policy_is_accepted() {
    for response in ["-NOPERM this user has no permissions\r\n", "-ERR unknown command\r\n", "*0\r\n"] {
        let server = Server::start(move |_, command| match command.first().map(String::as_str) {
            Some("CONFIG") => Reply::Send(response),
            _ => healthy(command),
        })
        .await;
        assert_eq!(server.redis().check().await, Ok(()), "{response}");
    }
}

#[tokio::test]
async fn an_error_of_the_server_has_its_code_and_leaves_the_connection_open() {
    for (response, code) in [
        ("-OOM command not allowed when used memory > 'maxmemory'\r\n", "OOM"),
        ("-NOPERM no permissions to run 'ping'\r\n", "NOPERM"),
        ("-WRONGTYPE secret value\r\n", "WRONGTYPE"),
        ("-ERR wrong number of arguments\r\n", "ERR"),
    ] {
        let server = Server::start(move |_, command| match command.first().map(String::as_str) {
            Some("PING") => Reply::Send(response),
            _ => healthy(command),
        })
        .await;
        let redis = server.redis();
        assert_eq!(redis.check().await, refused(code));
        assert_eq!(redis.check().await, refused(code));
        assert_eq!(server.connections(), 1);
    }
}

/// After a failover, the name of the server may lead to another machine.
#[tokio::test]
async fn a_server_that_became_a_replica_is_left() {
    let server = Server::start(|number, command| match command.first().map(String::as_str) {
        Some("PING") if number == 1 => Reply::Send("-READONLY You can't write against a read only replica.\r\n"),
        _ => healthy(command),
    })
    .await;
    let redis = server.redis();
    assert_eq!(redis.check().await, refused("READONLY"));
    let recovered = async {
        while redis.check().await != Ok(()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered).await.expect("another connection");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_append_that_the_server_refuses_has_its_error() {
    for (response, error) in [
        ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", LogError::Full),
        ("-NOPERM no permissions to access a key\r\n", LogError::Refused),
        ("-MISCONF Redis is configured to save RDB snapshots\r\n", LogError::Refused),
        ("-READONLY You can't write against a read only replica.\r\n", LogError::Unavailable),
        ("-NOREPLICAS Not enough good replicas to write.\r\n", LogError::Unavailable),
    ] {
        let server = Server::start(move |_, command| match command.first().map(String::as_str) {
            Some("XADD") if command.iter().any(|word| word == "2") => Reply::Send(response),
            Some("XADD") => Reply::Send("$3\r\n1-1\r\n"),
            _ => healthy(command),
        })
        .await;
        let log = RedisLog::new(&server.redis(), "tb:revocations");
        assert_eq!(log.append(append()).await, Err(error), "{response}");
    }
}

#[tokio::test]
async fn sends_the_credentials_and_the_database_of_the_url() {
    let server = Server::start(|_, command| match command {
        [auth, user, password] if auth == "AUTH" => {
            if (user.as_str(), password.as_str()) == ("orders", "p@ss") {
                Reply::Send("+OK\r\n")
            } else {
                Reply::Send("-WRONGPASS invalid username-password pair\r\n")
            }
        }
        [select, database] if select == "SELECT" && database == "3" => Reply::Send("+OK\r\n"),
        command => healthy(command),
    })
    .await;
    let redis = |login: &str| Redis::new(&format!("redis://{login}@127.0.0.1:{}/3", server.port)).expect("a valid URL");
    assert_eq!(redis("orders:p%40ss").check().await, Ok(()));
    assert_eq!(redis("orders:wrong").check().await, Err(RedisError::Connect));
}

/// A read of the whole log, and one that waits.
fn reads() -> [LogRead; 2] {
    let wait = Duration::from_millis(1);
    [
        LogRead { after: None, limit: 10, wait: Duration::ZERO },
        LogRead { after: Some(LogPosition::new("1-0")), limit: 10, wait },
    ]
}

/// A process that never appends notices that its server is not the one any more that gets new entries.
#[tokio::test]
async fn a_read_fails_at_a_server_that_accepts_no_entries() {
    const ENTRY: &str = "*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n";
    for (response, expected) in [
        ("-READONLY You can't write against a read only replica.\r\n", Err(LogError::Unavailable)),
        ("-ERR The ID specified in XADD must be greater than 0-0\r\n", Ok(())),
        // The server accepts entries as soon as it has memory, and this user may only read.
        ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", Ok(())),
        ("-NOPERM this user has no permissions\r\n", Ok(())),
    ] {
        let server = Server::start(move |_, command| match command.first().map(String::as_str) {
            Some("XREAD") => Reply::Send("*-1\r\n"),
            Some("XRANGE") => Reply::Send(ENTRY),
            Some("XADD") => {
                assert_eq!(command, ["XADD", "tb:revocations", "0-0", "check", ""]);
                Reply::Send(response)
            }
            _ => healthy(command),
        })
        .await;
        let log = RedisLog::new(&server.redis(), "tb:revocations");
        for (number, read) in reads().into_iter().enumerate() {
            assert_eq!(log.read(read).await.map(drop), expected, "{response}");
            let connections = if expected.is_ok() { 1 } else { number + 1 };
            assert_eq!(server.connections(), connections, "{response}");
        }
    }
}

/// A server that was promoted has no Redis replica yet. Reads go on, and a new connection may lead to another server.
#[tokio::test]
async fn a_read_succeeds_at_a_server_without_replicas() {
    const ENTRY: &str = "*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n";
    let server = Server::start(|_, command| match command.first().map(String::as_str) {
        Some("XREAD") => Reply::Send("*-1\r\n"),
        Some("XRANGE") => Reply::Send(ENTRY),
        Some("XADD") => Reply::Send("-NOREPLICAS Not enough good replicas to write.\r\n"),
        _ => healthy(command),
    })
    .await;
    let log = RedisLog::new(&server.redis(), "tb:revocations");
    for (number, read) in reads().into_iter().enumerate() {
        assert_eq!(log.read(read).await, Ok(LogPage::complete(Vec::new(), None)));
        assert_eq!(server.connections(), number + 1);
    }
    assert_eq!(log.append(append()).await, Err(LogError::Unavailable), "loud");
}

/// The server may have lost them, so that no later page contains them.
#[tokio::test]
async fn the_entries_of_a_page_count_if_the_check_after_it_fails() {
    const PAGE: &str = concat!(
        "*1\r\n*2\r\n$14\r\ntb:revocations\r\n*1\r\n*2\r\n$3\r\n2-0\r\n*8\r\n$6\r\nissuer\r\n$1\r\ni\r\n",
        "$4\r\nkind\r\n$3\r\njti\r\n$5\r\nvalue\r\n$1\r\nj\r\n$5\r\nuntil\r\n$1\r\n9\r\n",
    );
    let entries = || vec![Revocation::jwt_id("i", "j").with_end(Timestamp::from_secs(9))];
    let page = || LogPage::complete(entries(), Some(LogPosition::new("2-0")));
    let read = async |position: fn() -> Reply| {
        let server = Server::start(move |_, command| match command.first().map(String::as_str) {
            Some("XREAD") => Reply::Send(PAGE),
            Some("XRANGE") => position(),
            _ => healthy(command),
        })
        .await;
        let [_, following] = reads();
        RedisLog::new(&server.redis(), "tb:revocations").read(following).await
    };
    assert_eq!(read(|| Reply::Send("*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n")).await, Ok(page()));
    assert_eq!(read(|| Reply::Close).await, Ok(without_position(page(), Some(LogError::Unavailable))));
    assert_eq!(read(|| Reply::Send("-LOADING\r\n")).await, Ok(without_position(page(), Some(LogError::Unavailable))));
    assert_eq!(read(|| Reply::Send("*0\r\n")).await, Ok(without_position(page(), None)));
}

/// A Redis replica accepts connections: they do not show that it works again.
#[tokio::test]
async fn a_connection_that_a_read_opens_does_not_end_the_pause_after_a_failed_append() {
    let server = Server::start(|_, command| match command.first().map(String::as_str) {
        Some("XREAD") => Reply::Send("*-1\r\n"),
        Some("XADD") => Reply::Send("-READONLY You can't write against a read only replica.\r\n"),
        _ => healthy(command),
    })
    .await;
    let redis = server.redis();
    let log = RedisLog::new(&redis, "tb:revocations");
    let [start, _] = reads();
    assert_eq!(log.append(append()).await, Err(LogError::Unavailable));
    assert_eq!(log.read(start).await, Err(LogError::Unavailable));
    assert_eq!(server.connections(), 2, "the read has opened one");
    assert!(matches!(redis.check().await, Err(RedisError::Paused { .. })));
}

/// A Redis replica that gets entries is followed: they come from the server that accepts them.
#[tokio::test]
async fn a_read_that_gets_entries_succeeds_at_a_replica() {
    const ENTRY: &str = "*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n";
    const PAGE: &str = "*1\r\n*2\r\n$14\r\ntb:revocations\r\n*1\r\n*2\r\n$3\r\n2-0\r\n*0\r\n";
    let server = Server::start(|_, command| match command.first().map(String::as_str) {
        Some("XREAD") => Reply::Send(PAGE),
        Some("XRANGE") => Reply::Send(ENTRY),
        Some("XADD") => Reply::Send("-READONLY You can't write against a read only replica.\r\n"),
        _ => healthy(command),
    })
    .await;
    let log = RedisLog::new(&server.redis(), "tb:revocations");
    let [start, following] = reads();
    let page = LogPage::complete(Vec::new(), Some(LogPosition::new("2-0"))).with_malformed(1);
    assert_eq!(log.read(following).await, Ok(page));
    assert_eq!(log.read(start).await, Err(LogError::Unavailable), "a Redis replica is not the start");
}
