//! `RedisLog`: the log of revocations in a stream of Redis.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, Value};

use crate::clock::Timestamp;
use crate::defaults;
use crate::revocation::{
    LogAppend, LogError, LogFuture, LogPage, LogPosition, LogRead, Revocation, RevocationKind, RevocationLog,
};
use crate::stores::connection::{Connection, Request};
use crate::stores::error::RedisError;
use crate::stores::redis::Redis;

/// A [`RevocationLog`] in a stream of Redis. A clone shares its connections.
///
/// Entries are appended over the shared connection of [`Redis`]. Each list that reads has its own connection, because a read waits
/// for entries. If none arrive, the read also finds out whether the server accepts entries, by an `XADD` that no server executes. It fails
/// if the server is a Redis replica (`READONLY`), because a failover may have led new entries elsewhere.
///
/// An entry of the stream has these fields, so that other programs can write it, too:
///
/// | field | content |
/// |---|---|
/// | `issuer` | the `iss` of the tokens |
/// | `kind` | `jti`, `sid`, `sub`, `client` or `issuer` |
/// | `value` | the token, session, subject or client; absent for `issuer` |
/// | `until` | the latest `exp` of the tokens, in seconds since 1970 |
/// | `before` | for `sub`, `client` and `issuer`: tokens that were issued in or before this second are rejected |
/// | `claim` | for `sub`: the claim with the subject, if it is not `sub` |
///
/// The stream is trimmed when an entry is appended and earlier ones have ended.
#[derive(Clone)]
pub struct RedisLog {
    redis: Redis,
    key: Box<str>,
    /// Connections that no read uses.
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl RedisLog {
    /// Creates a log in the stream with this key. All processes use the same one. Nothing is sent before the first read or append.
    #[must_use]
    pub fn new(redis: &Redis, key: &str) -> Self {
        Self { redis: redis.clone(), key: Box::from(key), idle: Arc::default() }
    }

    async fn read_page(&self, read: LogRead) -> Result<LogPage, RedisError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let connection = match taken.filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.redis.open().await?,
        };
        // If the future is dropped, so is the connection.
        let (result, next) = match self.read_entries(&connection, &read).await {
            Ok(page) => self.checked(&connection, &read, page).await,
            Err(error) => {
                let next = Next::after(&error);
                (Err(error), next)
            }
        };
        if next == Next::SameConnection {
            idle().push(connection);
        }
        result
    }

    async fn read_entries(&self, connection: &Connection, read: &LogRead) -> Result<LogPage, RedisError> {
        let after = read.after.as_ref().map(LogPosition::as_str);
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(read.limit);
        if !read.wait.is_zero() {
            command.arg("BLOCK").arg(u64::try_from(read.wait.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        command.arg("STREAMS").arg(&*self.key).arg(after.unwrap_or(START));
        let limit = read.wait.saturating_add(defaults::LOG_READ_SLACK);
        let response: Value = connection.send(&Request::Command(command), limit).await?;
        page(response, read.limit).ok_or(RedisError::Unexpected)
    }

    /// Returns the page as it counts after checks. Its entries are part of the list whatever the checks say: if the server loses them,
    /// no later page contains them.
    async fn checked(
        &self,
        connection: &Connection,
        read: &LogRead,
        page: LogPage,
    ) -> (Result<LogPage, RedisError>, Next) {
        match self.check(connection, read, &page).await {
            Ok((Position::Present, next)) => (Ok(page), next),
            Ok((Position::Missing, next)) => (Ok(without_position(page, None)), next),
            Err(error) => {
                let (next, failure) = (Next::after(&error), into_log_error(&error));
                let is_empty = page.entries().is_empty();
                (if is_empty { Err(error) } else { Ok(without_position(page, Some(failure))) }, next)
            }
        }
    }

    /// Checks after a read that the server still accepts entries and has the position.
    async fn check(
        &self,
        connection: &Connection,
        read: &LogRead,
        page: &LogPage,
    ) -> Result<(Position, Next), RedisError> {
        let is_checked = page.is_idle() || read.after.is_none();
        let next = if is_checked { self.check_appends(connection).await? } else { Next::SameConnection };
        // If the stream was emptied or replaced meanwhile, the entries do not continue those before.
        let position = match &read.after {
            Some(after) if !self.contains(connection, after.as_str()).await? => Position::Missing,
            _ => Position::Present,
        };
        Ok((position, next))
    }

    /// Returns whether the stream still has the entry that was read last.
    async fn contains(&self, connection: &Connection, id: &str) -> Result<bool, RedisError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(&*self.key).arg(id).arg(id).arg("COUNT").arg(1);
        let response: Value = connection.send(&Request::Command(command), defaults::LOG_READ_SLACK).await?;
        match response {
            Value::Array(entries) => Ok(!entries.is_empty()),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// Fails if the server is a Redis replica: after a failover it may get no entries any more, and a process that never appends would not
    /// notice. No server adds an entry with this id. The permission for it may be missing.
    async fn check_appends(&self, connection: &Connection) -> Result<Next, RedisError> {
        let mut command = redis::cmd("XADD");
        command.arg(&*self.key).arg(START).arg("check").arg("");
        let sent: Result<Value, _> = connection.send(&Request::Command(command), defaults::LOG_READ_SLACK).await;
        match sent {
            // It is the primary as far as it knows (setting `min-replicas-to-write`): reads must go on until a Redis replica joins. If
            // another server has replaced it, a new connection may lead there.
            Err(RedisError::Refused { code }) if &*code == "NOREPLICAS" => Ok(Next::NewConnection),
            Err(error) if error.ends_connection() => Err(error),
            Ok(_) | Err(_) => Ok(Next::SameConnection),
        }
    }

    fn additions(&self, append: &LogAppend) -> Pipeline {
        let mut pipeline = redis::pipe();
        for (number, entry) in append.entries.iter().enumerate() {
            let command = pipeline.cmd("XADD").arg(&*self.key);
            if let Some(obsolete) = append.obsolete.as_ref().filter(|_| number == 0) {
                command.arg("MINID").arg("~").arg(obsolete.as_str());
            }
            command.arg("*");
            for (name, value) in fields(entry) {
                command.arg(name).arg(&*value);
            }
        }
        pipeline
    }
}

/// Whether the stream still has the entry that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Present,
    Missing,
}

/// Which connection the next read uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    SameConnection,
    NewConnection,
}

impl Next {
    fn after(error: &RedisError) -> Self {
        if error.ends_connection() { Self::NewConnection } else { Self::SameConnection }
    }
}

impl RevocationLog for RedisLog {
    fn append(&self, append: LogAppend) -> LogFuture<()> {
        let log = self.clone();
        Box::pin(async move {
            let pipeline = log.additions(&append);
            log.redis.execute_all(pipeline).await.map_err(|error| into_log_error(&error))
        })
    }

    fn read(&self, read: LogRead) -> LogFuture<LogPage> {
        let log = self.clone();
        Box::pin(async move { log.read_page(read).await.map_err(|error| into_log_error(&error)) })
    }
}

fn into_log_error(error: &RedisError) -> LogError {
    match error {
        RedisError::TimedOut => LogError::TimedOut,
        RedisError::Evicts => LogError::Evicts,
        RedisError::Refused { code } if &**code == "OOM" => LogError::Full,
        RedisError::Refused { .. } if !error.ends_connection() => LogError::Refused,
        RedisError::Refused { .. }
        | RedisError::Connect
        | RedisError::Closed
        | RedisError::Paused { .. }
        | RedisError::Busy
        | RedisError::Unexpected => LogError::Unavailable,
    }
}

/// Returns the fields of an entry.
fn fields(entry: &Revocation) -> Vec<(&'static str, String)> {
    let seconds = |time: Timestamp| time.as_secs().to_string();
    // Rounded up, so that the entry does not end before the token.
    let until = entry.end().map(|end| seconds(end.saturating_add(Duration::from_nanos(999_999_999))));
    let mut fields = vec![("issuer", entry.issuer_name().to_owned()), ("kind", entry.kind().name().to_owned())];
    if entry.kind() != RevocationKind::Issuer {
        fields.push(("value", entry.value().to_owned()));
    }
    fields.extend(until.map(|until| ("until", until)));
    fields.extend(entry.issued_before().map(|before| ("before", seconds(before))));
    fields.extend(entry.subject_claim().map(|claim| ("claim", claim.to_owned())));
    fields
}

/// Returns the entry with these fields; `None` if a field is missing or malformed.
fn entry(fields: &[Value]) -> Option<Revocation> {
    let field = |name: &str| {
        let mut pairs = fields.as_chunks::<2>().0.iter();
        pairs.find(|[key, _]| text(key) == Some(name)).and_then(|[_, value]| text(value))
    };
    let time = |name: &str| field(name)?.parse().ok().map(Timestamp::from_secs);
    let kind = RevocationKind::from_name(field("kind")?)?;
    let value = if kind == RevocationKind::Issuer { "" } else { field("value")? };
    let entry = Revocation::new(kind, field("issuer")?, value).with_end(time("until")?);
    let entry = match kind {
        RevocationKind::JwtId | RevocationKind::Session => entry,
        RevocationKind::Subject | RevocationKind::Client | RevocationKind::Issuer => {
            entry.with_issued_before(time("before")?)
        }
    };
    match field("claim") {
        Some(claim) if kind == RevocationKind::Subject && claim.len() > defaults::MAX_SUBJECT_CLAIM_BYTES => None,
        Some(claim) => Some(entry.with_subject_claim(claim)),
        None => Some(entry),
    }
}

/// Returns the page in a response to `XREAD`; `None` if it has another form.
fn page(response: Value, limit: usize) -> Option<LogPage> {
    let streams = match response {
        Value::Nil => return Some(LogPage::complete(Vec::new(), None)),
        Value::Array(streams) => streams,
        _ => return None,
    };
    // A list with one pair: the key and its entries.
    let Some(Value::Array(stream)) = streams.first() else { return None };
    let Some(Value::Array(read)) = stream.get(1) else { return None };
    let mut entries = Vec::with_capacity(read.len());
    let (mut malformed, mut position) = (0_usize, None);
    for item in read {
        let Value::Array(item) = item else { return None };
        let [id, content] = item.as_slice() else { return None };
        position = Some(LogPosition::new(text(id)?));
        match content {
            Value::Array(fields) => match entry(fields) {
                Some(entry) => entries.push(entry),
                None => malformed = malformed.saturating_add(1),
            },
            // An entry that was deleted.
            _ => malformed = malformed.saturating_add(1),
        }
    }
    let page = match position {
        Some(position) if read.len() >= limit => LogPage::partial(entries, position),
        position => LogPage::complete(entries, position),
    };
    Some(page.with_malformed(malformed))
}

/// Returns a page with the same entries that does not change the position.
pub(super) fn without_position(page: LogPage, failure: Option<LogError>) -> LogPage {
    let mut other = LogPage::regressed();
    other.entries = page.entries;
    other.failure = failure;
    other
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog").field("redis", &self.redis).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Every entry comes after it.
const START: &str = "0-0";

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn stream(entries: Vec<Value>) -> Value {
        Value::Array(vec![Value::Array(vec![bulk("tb:revocations"), Value::Array(entries)])])
    }

    fn item(id: &str, fields: &[(&str, &str)]) -> Value {
        let fields = fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
        Value::Array(vec![bulk(id), Value::Array(fields)])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    /// One entry of each kind.
    fn entries() -> Vec<Revocation> {
        let issuer = "https://issuer.test/";
        vec![
            Revocation::jwt_id(issuer, "j 1").with_end(at(100)),
            Revocation::session(issuer, "\u{fc}").with_end(at(101)),
            Revocation::subject(issuer, "").with_end(at(102)).with_issued_before(at(50)),
            Revocation::subject(issuer, "7").with_subject_claim("uid").with_end(at(102)).with_issued_before(at(51)),
            Revocation::client(issuer, "web").with_end(at(103)).with_issued_before(at(-1)),
            Revocation::issuer(issuer).with_end(at(104)).with_issued_before(at(52)),
        ]
    }

    #[test]
    fn entries_survive_the_stream() {
        for expected in entries() {
            let fields = fields(&expected);
            let values: Vec<Value> = fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
            assert_eq!(entry(&values), Some(expected));
        }
        let end = Timestamp::from_nanos(1_500_000_000);
        let rounded = Revocation::subject("i", "s").with_end(end).with_issued_before(end);
        assert_eq!(fields(&rounded)[3..], [("until", "2".to_owned()), ("before", "1".to_owned())]);
    }

    /// Case 72.
    #[test]
    fn malformed_entries_are_skipped_and_counted() {
        let good = [("issuer", "i"), ("kind", "jti"), ("value", "j"), ("until", "9")];
        let subject = [("issuer", "i"), ("kind", "sub"), ("value", "s"), ("until", "9")];
        let long = "c".repeat(defaults::MAX_SUBJECT_CLAIM_BYTES + 1);
        let with = |at: usize, field| {
            let mut fields = good.to_vec();
            fields[at] = field;
            fields
        };
        let bad = [
            Vec::new(),
            good[1..].to_vec(),
            good[..3].to_vec(),
            with(1, ("kind", "user")),
            with(2, ("valu", "j")),
            with(3, ("until", "")),
            with(3, ("until", "tomorrow")),
            with(3, ("until", "99999999999999999999")),
            subject.to_vec(),
            [&subject[..], &[("before", "9"), ("claim", &long)]].concat(),
        ];
        let mut items: Vec<Value> = bad.iter().map(|fields| item("1-1", fields)).collect();
        items.push(Value::Array(vec![bulk("2-0"), Value::Nil]));
        items.push(Value::Array(vec![bulk("2-1"), Value::Array(vec![bulk("issuer")])]));
        let not_text = Value::Array(vec![bulk("issuer"), Value::BulkString(vec![0xff])]);
        items.push(Value::Array(vec![bulk("2-2"), not_text]));
        items.push(item("3-0", &good));
        let expected =
            LogPage::complete(vec![Revocation::jwt_id("i", "j").with_end(at(9))], Some(LogPosition::new("3-0")));
        assert_eq!(page(stream(items), 100), Some(expected.with_malformed(13)));
    }

    #[test]
    fn a_page_as_long_as_the_limit_is_not_the_last() {
        let good = [("issuer", "i"), ("kind", "jti"), ("value", "j"), ("until", "9")];
        let revocation = Revocation::jwt_id("i", "j").with_end(at(9));
        let items = || vec![item("1-0", &good), item("1-1", &good)];
        let (entries, position) = (vec![revocation.clone(), revocation], LogPosition::new("1-1"));
        assert_eq!(page(stream(items()), 2), Some(LogPage::partial(entries.clone(), position.clone())));
        assert_eq!(page(stream(items()), 3), Some(LogPage::complete(entries, Some(position))));
        assert_eq!(page(Value::Nil, 3), Some(LogPage::complete(Vec::new(), None)));
        for other in [Value::Okay, Value::Array(Vec::new()), Value::Array(vec![Value::Nil]), stream(vec![Value::Nil])] {
            assert_eq!(page(other, 3), None);
        }
    }

    #[test]
    fn the_first_addition_trims_what_is_obsolete() {
        let redis = Redis::new("redis://localhost").expect("a valid URL");
        let log = RedisLog::new(&redis, "tb:revocations");
        let append = LogAppend { entries: entries(), obsolete: Some(LogPosition::new("17-3")) };
        let packed = String::from_utf8(log.additions(&append).get_packed_pipeline()).expect("text");
        assert_eq!(packed.matches("XADD").count(), 6);
        assert_eq!(packed.matches("MINID").count(), 1);
        let (before, _) = packed.split_once("j 1").expect("the first entry");
        assert!(before.contains("MINID\r\n$1\r\n~\r\n$4\r\n17-3\r\n$1\r\n*\r\n"), "{before}");
    }
}
