//! `[[api.issuer]]`: a trusted issuer and its keys.

use std::env::{self, VarError};
use std::fs;

use tower_bearer::config::SettingError;
use tower_bearer::keys::{KeyError, KeySet, SecretError};
use tower_bearer::{Algorithm, Issuer, Secret};

use super::section::Section;

/// Returns the issuer. A valid placeholder replaces each invalid setting, so that the library checks all others.
pub(super) fn issuer(at: usize, mut section: Section) -> Issuer {
    let domains: Vec<String> = section.required("domains").unwrap_or_else(|| vec![placeholder_domain(at)]);
    if domains.is_empty() {
        section.error("domains", "is empty; it lists the exact `iss` values");
    }
    let mut domains = domains.into_iter();
    let first = domains.next().unwrap_or_else(|| placeholder_domain(at));
    let algorithms = algorithms(&mut section);
    let Keys { issuer, unambiguous } = keys(&mut section, &first);
    // If more than one kind of keys is given, the algorithms cannot be checked against them; an empty list is always an error.
    let algorithms = algorithms.filter(|listed| unambiguous || listed.is_empty());
    let issuer = algorithms.into_iter().fold(issuer, Issuer::with_algorithms);
    let issuer = domains.fold(issuer, Issuer::with_alias);
    let issuer = initial_keys(&mut section).into_iter().fold(issuer, Issuer::with_initial_keys);
    let allow_http = section.take("allow_http").unwrap_or(false);
    section.end();
    if allow_http { issuer.dangerous_allow_http() } else { issuer }
}

/// Returns a valid placeholder issuer.
pub(super) fn placeholder() -> Issuer {
    with_placeholder_keys(placeholder_domain(0))
}

/// Returns the text of an error; the position of an issuer replaces the name of a placeholder.
pub(super) fn error_text(error: &SettingError) -> String {
    let text = error.to_string();
    let named = text.split_once("issuer \"https://unknown-").and_then(|(before, rest)| {
        let (at, after) = rest.split_once(".invalid/\"")?;
        Some(format!("{before}api.issuer[{at}]{after}"))
    });
    named.unwrap_or(text)
}

/// Returns a placeholder domain, different for each issuer so that none counts as a duplicate.
fn placeholder_domain(at: usize) -> String {
    format!("https://unknown-{at}.invalid/")
}

/// Returns an issuer with placeholder keys, for one whose keys cannot be read.
fn with_placeholder_keys(first: impl Into<String>) -> Issuer {
    Issuer::jwks(first, "https://unknown.invalid/")
}

/// An issuer with its keys, or with placeholder keys of the same kind if they cannot be read.
struct Keys {
    issuer: Issuer,
    /// Only one kind of keys is given.
    unambiguous: bool,
}

/// Reads every source of keys, although only one is allowed.
fn keys(section: &mut Section, first: &str) -> Keys {
    let mut given = vec!["jwks_uri", "jwks_file", "secrets"];
    given.retain(|name| section.has(name));
    if let [one, others @ ..] = given.as_slice()
        && !others.is_empty()
    {
        section.error(one, format!("is set together with {}; choose one", others.join(" and ")));
    }
    let uri: Option<String> = section.take("jwks_uri");
    let file: Option<String> = section.take("jwks_file");
    let file = file.and_then(|file| {
        read_keys(&file).map_err(|error| section.error("jwks_file", format!("{file:?}: {error}"))).ok()
    });
    let secret = given.contains(&"secrets");
    let issuer = match (uri, file) {
        _ if secret => with_secrets(section, first),
        (Some(uri), _) => Issuer::jwks(first, uri),
        (None, Some(keys)) => Issuer::static_keys(first, keys),
        (None, None) if given.is_empty() => Issuer::oidc(first),
        (None, None) => with_placeholder_keys(first),
    };
    Keys { issuer, unambiguous: !secret || given.len() == 1 }
}

/// Reads the keys that are used until the first fetch has succeeded.
fn initial_keys(section: &mut Section) -> Option<Result<KeySet, KeyError>> {
    let file: String = section.take("initial_jwks_file")?;
    read_keys(&file).map_err(|error| section.error("initial_jwks_file", format!("{file:?}: {error}"))).ok()
}

fn with_secrets(section: &mut Section, first: &str) -> Issuer {
    let secrets = section.sections("secrets");
    if secrets.as_ref().is_some_and(Vec::is_empty) {
        section.error("secrets", "is empty; write it like [{ text_env = \"API_SECRET\" }]");
    }
    let secrets = secrets.unwrap_or_default();
    let mut secrets = secrets.into_iter().map(|section| secret(section).unwrap_or_else(placeholder_secret));
    let issuer = Issuer::shared_secret(first, secrets.next().unwrap_or_else(placeholder_secret));
    secrets.fold(issuer, Issuer::with_secret)
}

/// Returns a placeholder for a secret that cannot be read, so that the library checks the others under their numbers.
fn placeholder_secret() -> Result<Secret, SecretError> {
    // Long enough for every algorithm.
    Secret::from_text("unknown ".repeat(8))
}

fn read_keys(file: &str) -> std::io::Result<Result<KeySet, KeyError>> {
    fs::read(file).map(KeySet::from_jwks)
}

/// Returns the algorithms with a known name, if any are listed; each other name is an error.
pub(super) fn algorithms(section: &mut Section) -> Option<Vec<Algorithm>> {
    let names: Vec<String> = section.take("algorithms")?;
    let mut known = Vec::new();
    for name in &names {
        match name.parse() {
            Ok(algorithm) => known.push(algorithm),
            Err(error) => section.error("algorithms", format!("{name:?} is {error}")),
        }
    }
    if known.is_empty() && !names.is_empty() { None } else { Some(known) }
}

/// Reads one secret in one encoding, directly or from an environment variable.
pub(super) fn secret(mut section: Section) -> Option<Result<Secret, SecretError>> {
    type Read = fn(String) -> Result<Secret, SecretError>;
    let encodings: [(&str, &str, Read); 4] = [
        ("text", "text_env", Secret::from_text),
        ("base64", "base64_env", Secret::from_base64),
        ("base64url", "base64url_env", Secret::from_base64url),
        ("hex", "hex_env", Secret::from_hex),
    ];
    section.alias("utf8", "text");
    section.alias("utf8_env", "text_env");
    let mut given = Vec::new();
    for (name, variable, read) in encodings {
        if section.has(name) {
            given.push(section.take(name).map(read));
        }
        if section.has(variable) {
            let named: Option<String> = section.take(variable);
            given.push(named.and_then(|named| environment(&section, variable, &named)).map(read));
        }
    }
    if given.len() != 1 {
        section.table_error("needs exactly one of text, base64, base64url, hex, or one of their _env forms");
    }
    section.end();
    given.pop().filter(|_| given.is_empty()).flatten()
}

fn environment(section: &Section, setting: &str, variable: &str) -> Option<String> {
    let problem = match env::var(variable) {
        Ok(text) => return Some(text),
        Err(VarError::NotPresent) => "is not set",
        Err(VarError::NotUnicode(_)) => "is not UTF-8",
    };
    section.error(setting, format!("the environment variable {variable:?} {problem}"));
    None
}
