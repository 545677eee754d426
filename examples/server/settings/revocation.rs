//! The table `[revocation]`.

use tower_bearer::revocation::Revocations;

use super::section::Section;

/// Returns the list, or `None` if a setting has an error.
pub(super) fn revocations(mut section: Section) -> Option<Revocations> {
    let is_known = match section.take::<String>("log").as_deref() {
        None | Some("memory") => true,
        Some(_) => {
            section.error("log", "is not \"memory\"");
            false
        }
    };
    let builder = Revocations::builder();
    let builder = section.take("max_entries").into_iter().fold(builder, |builder, max| builder.with_max_entries(max));
    let builder =
        section.duration("max_token_life").into_iter().fold(builder, |builder, life| builder.with_max_token_life(life));
    let list = builder.in_memory().map_err(|error| section.table_error(error)).ok();
    section.end();
    list.filter(|_| is_known)
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
