//! `[[api.issuer]]`: whom the API believes, and by which keys.

use std::env::{self, VarError};
use std::fs;

use tower_bearer::keys::{KeyError, KeySet, SecretError};
use tower_bearer::{Algorithm, Issuer, Secret};

use super::section::Section;

/// The issuer; one whose settings have a fault is replaced by one without, so that the library looks at all the rest.
pub(super) fn issuer(mut section: Section) -> Issuer {
    let domains: Vec<String> = section.need("domains").unwrap_or_else(|| vec!["https://unknown.invalid/".to_owned()]);
    if domains.is_empty() {
        section.fault("domains", "is empty; it lists the exact `iss` values");
    }
    let first = domains.first().map_or("https://unknown.invalid/", String::as_str);
    let algorithms = algorithms(&mut section);
    let issuer = match (keys(&mut section, first), algorithms) {
        (Some(issuer), Some(algorithms)) => issuer.with_algorithms(algorithms),
        (Some(issuer), None) => issuer,
        (None, _) => stand_in(first),
    };
    let issuer = domains.iter().skip(1).fold(issuer, Issuer::with_domain);
    let allow_http = section.take("allow_http").unwrap_or(false);
    section.end();
    if allow_http { issuer.dangerous_allow_http() } else { issuer }
}

/// An issuer without faults besides its name.
pub(super) fn stand_in(first: &str) -> Issuer {
    Issuer::with_jwks_uri(first, "https://unknown.invalid/")
}

/// `None` if there are none that the library could judge.
fn keys(section: &mut Section, first: &str) -> Option<Issuer> {
    let mut given = vec!["jwks_uri", "jwks_file", "secrets"];
    given.retain(|name| section.has(name));
    let uri: Option<String> = section.take("jwks_uri");
    let file: Option<String> = section.take("jwks_file");
    let secrets = section.sections("secrets");
    match given.as_slice() {
        [] => return Some(Issuer::oidc(first)),
        [_] => {}
        [one, others @ ..] => {
            section.fault(one, format!("stands beside {}; choose one", others.join(" and ")));
            return None;
        }
    }
    if let Some(uri) = uri {
        return Some(Issuer::with_jwks_uri(first, uri));
    }
    if let Some(file) = file {
        let keys = read_keys(&file).map_err(|error| section.fault("jwks_file", format!("{file:?}: {error}"))).ok()?;
        return Some(Issuer::with_static_keys(first, keys));
    }
    let secrets = secrets?;
    if secrets.is_empty() {
        section.fault("secrets", "is empty; write it like [{ utf8_env = \"API_SECRET\" }]");
    }
    // Those that can be read are judged by the library even where one cannot.
    let mut read = secrets.into_iter().filter_map(secret).collect::<Vec<_>>().into_iter();
    let issuer = Issuer::shared_secret(first, read.next()?);
    Some(read.fold(issuer, Issuer::with_secret))
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
        ("utf8", "utf8_env", Secret::utf8),
        ("base64", "base64_env", Secret::base64),
        ("base64url", "base64url_env", Secret::base64url),
        ("hex", "hex_env", Secret::hex),
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
