//! `[[api.issuer]]`: whom the API believes, and by which keys.

use std::env::{self, VarError};
use std::fs;

use tower_bearer::config::SettingError;
use tower_bearer::keys::{KeyError, KeySet, SecretError};
use tower_bearer::{Algorithm, Issuer, Secret};

use super::section::Section;

/// The issuer; whatever of it has a fault is replaced by something without, so that the library looks at all the rest.
pub(super) fn issuer(at: usize, mut section: Section) -> Issuer {
    let domains: Vec<String> = section.need("domains").unwrap_or_else(|| vec![invented(at)]);
    if domains.is_empty() {
        section.fault("domains", "is empty; it lists the exact `iss` values");
    }
    let mut domains = domains.into_iter();
    let first = domains.next().unwrap_or_else(|| invented(at));
    let algorithms = algorithms(&mut section);
    let Keys { issuer, certain } = keys(&mut section, &first);
    // Where it is not certain which keys are meant, nobody can say which algorithms fit them; none at all never do.
    let algorithms = algorithms.filter(|listed| certain || listed.is_empty());
    let issuer = algorithms.into_iter().fold(issuer, Issuer::with_algorithms);
    let issuer = domains.fold(issuer, Issuer::with_domain);
    let allow_http = section.take("allow_http").unwrap_or(false);
    section.end();
    if allow_http { issuer.dangerous_allow_http() } else { issuer }
}

/// An issuer without faults.
pub(super) fn stand_in() -> Issuer {
    with_some_keys(invented(0))
}

/// The text of a fault, without the name of an issuer that the file does not name.
pub(super) fn told(fault: &SettingError) -> String {
    let text = fault.to_string();
    let named = text.split_once("issuer \"https://unknown-").and_then(|(before, rest)| {
        let (at, after) = rest.split_once(".invalid/\"")?;
        Some(format!("{before}api.issuer[{at}]{after}"))
    });
    named.unwrap_or(text)
}

/// A domain for an issuer without: its own, lest two of them seem to be the same.
fn invented(at: usize) -> String {
    format!("https://unknown-{at}.invalid/")
}

/// An issuer with public keys, for one whose own cannot be read.
fn with_some_keys(first: impl Into<String>) -> Issuer {
    Issuer::jwks(first, "https://unknown.invalid/")
}

/// An issuer with its keys, or with some of the same kind in place of those that cannot be read.
struct Keys {
    issuer: Issuer,
    /// Only one kind of key is given.
    certain: bool,
}

/// Every place of keys is read, also where there may be only one.
fn keys(section: &mut Section, first: &str) -> Keys {
    let mut given = vec!["jwks_uri", "jwks_file", "secrets"];
    given.retain(|name| section.has(name));
    if let [one, others @ ..] = given.as_slice()
        && !others.is_empty()
    {
        section.fault(one, format!("stands beside {}; choose one", others.join(" and ")));
    }
    let uri: Option<String> = section.take("jwks_uri");
    let file: Option<String> = section.take("jwks_file");
    let file = file.and_then(|file| {
        read_keys(&file).map_err(|error| section.fault("jwks_file", format!("{file:?}: {error}"))).ok()
    });
    let secret = given.contains(&"secrets");
    let issuer = match (uri, file) {
        _ if secret => with_secrets(section, first),
        (Some(uri), _) => Issuer::jwks(first, uri),
        (None, Some(keys)) => Issuer::static_keys(first, keys),
        (None, None) if given.is_empty() => Issuer::oidc(first),
        (None, None) => with_some_keys(first),
    };
    Keys { issuer, certain: !secret || given.len() == 1 }
}

fn with_secrets(section: &mut Section, first: &str) -> Issuer {
    let secrets = section.sections("secrets");
    if secrets.as_ref().is_some_and(Vec::is_empty) {
        section.fault("secrets", "is empty; write it like [{ utf8_env = \"API_SECRET\" }]");
    }
    let secrets = secrets.unwrap_or_default();
    let mut secrets = secrets.into_iter().map(|section| secret(section).unwrap_or_else(some_secret));
    let issuer = Issuer::shared_secret(first, secrets.next().unwrap_or_else(some_secret));
    secrets.fold(issuer, Issuer::with_secret)
}

/// One for those that cannot be read: the others keep their numbers, and the library judges them and the algorithms.
fn some_secret() -> Result<Secret, SecretError> {
    // As long as the longest algorithm needs.
    Secret::from_text("unknown ".repeat(8))
}

fn read_keys(file: &str) -> std::io::Result<Result<KeySet, KeyError>> {
    fs::read(file).map(KeySet::from_jwks)
}

/// The algorithms that have a known name, if any are listed; the others are faults.
fn algorithms(section: &mut Section) -> Option<Vec<Algorithm>> {
    let names: Vec<String> = section.take("algorithms")?;
    let mut known = Vec::new();
    for name in &names {
        match name.parse() {
            Ok(algorithm) => known.push(algorithm),
            Err(error) => section.fault("algorithms", format!("{name:?} is {error}")),
        }
    }
    if known.is_empty() && !names.is_empty() { None } else { Some(known) }
}

/// One secret in one encoding, or the name of the environment variable that holds it.
fn secret(mut section: Section) -> Option<Result<Secret, SecretError>> {
    type Read = fn(String) -> Result<Secret, SecretError>;
    let forms: [(&str, &str, Read); 4] = [
        ("utf8", "utf8_env", Secret::from_text),
        ("base64", "base64_env", Secret::from_base64),
        ("base64url", "base64url_env", Secret::from_base64url),
        ("hex", "hex_env", Secret::from_hex),
    ];
    let mut given = Vec::new();
    for (name, variable, read) in forms {
        if section.has(name) {
            given.push(section.take(name).map(read));
        }
        if section.has(variable) {
            let named: Option<String> = section.take(variable);
            given.push(named.and_then(|named| environment(&section, variable, &named)).map(read));
        }
    }
    if given.len() != 1 {
        section.fault_of_all("needs exactly one of utf8, base64, base64url, hex, or one of their _env forms");
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
    section.fault(setting, format!("the environment variable {variable:?} {problem}"));
    None
}
