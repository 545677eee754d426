//! The table `[revocation]`.

use std::fs;

use tower_bearer::revocation::{MemoryLog, Revocations};
use tower_bearer::stores::{Redis, RedisBuilder, RedisLog};

use super::section::Section;

/// Where the entries come from.
enum Log {
    Memory,
    Redis(Redis, String),
}

/// Returns the list, or `None` if a setting has an error.
pub(super) fn revocations(mut section: Section) -> Option<Revocations> {
    let log = log(&mut section);
    let builder = Revocations::builder();
    let builder = section.take("max_entries").into_iter().fold(builder, |builder, max| builder.with_max_entries(max));
    let builder =
        section.duration("max_token_life").into_iter().fold(builder, |builder, life| builder.with_max_token_life(life));
    let builder =
        section.duration("max_stale").into_iter().fold(builder, |builder, limit| builder.with_max_stale(limit));
    let builder = if section.take("allow_stale").unwrap_or(false) {
        builder.dangerous_serve_stale_revocations()
    } else {
        builder
    };
    let list = match &log {
        Some(Log::Redis(redis, key)) => builder.shared(RedisLog::new(redis, key)),
        // Checks the settings, also if the log has an error.
        None => builder.shared(MemoryLog::new()),
        Some(Log::Memory) => builder.in_memory(),
    };
    let list = list.map_err(|error| error.errors().iter().for_each(|error| section.table_error(error))).ok();
    section.end();
    list.filter(|_| log.is_some())
}

/// Returns the log, or `None` if its settings have an error.
fn log(section: &mut Section) -> Option<Log> {
    let url: Option<String> = section.take("log");
    let (key, roots): (Option<String>, Option<String>) = (section.take("key"), section.take("ca_file"));
    let Some(url) = url.filter(|url| url != "memory") else {
        if roots.is_some() {
            section.error("ca_file", "has no effect without a log in Redis");
        }
        return Some(Log::Memory);
    };
    let builder = Redis::builder(&url);
    let read = roots.map(|path| fs::read(&path).map_err(|error| format!("{path:?}: {error}"))).transpose();
    let (builder, is_read) = match read {
        Ok(roots) => (roots.into_iter().fold(builder, RedisBuilder::with_root_certificates), true),
        Err(error) => {
            section.error("ca_file", error);
            (builder, false)
        }
    };
    match builder.build() {
        Ok(redis) if is_read => Some(Log::Redis(redis, key.unwrap_or_else(|| "tb:revocations".to_owned()))),
        Ok(_) => None,
        // The URL may contain a password, so it is not repeated.
        Err(error) => {
            error.errors().iter().for_each(|error| section.error("log", format!("is not \"memory\": {error}")));
            None
        }
    }
}

/// Returns whether the server has the routes for tests, which everybody who reaches the server can use.
pub(super) fn test_routes(file: &mut Section, listen: Option<&str>, has_list: bool) -> bool {
    if !file.take("test_routes").unwrap_or(false) {
        return false;
    }
    if !has_list {
        file.error("test_routes", "has no effect without [revocation]");
    }
    let host = listen.and_then(|listen| listen.rsplit_once(':')).map(|(host, _)| host.trim_matches(['[', ']']));
    let is_loopback =
        |host: &str| host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if host.is_some_and(|host| !is_loopback(host)) {
        file.error("test_routes", "is allowed only with a loopback address in listen, such as 127.0.0.1:8080");
    }
    true
}
