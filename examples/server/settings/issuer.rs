//! `[[api.issuer]]`: a trusted issuer and its keys.

use std::env::{self, VarError};
use std::fs;

use tower_bearer::config::{EntraCloud, EntraTenants, SettingError};
use tower_bearer::keys::{KeyError, KeySet, SecretError};
use tower_bearer::{Algorithm, Issuer, Secret};

use super::introspection;
use super::section::Section;

/// Returns the issuer. A valid placeholder replaces each invalid setting, so that the library checks all others.
pub(super) fn issuer(at: usize, mut section: Section) -> Issuer {
    if section.has("entra_tenants") {
        return entra(section);
    }
    let domains: Vec<String> = section.required("domains").unwrap_or_else(|| vec![placeholder_domain(at)]);
    if domains.is_empty() {
        section.error("domains", "is empty; it lists the exact `iss` values");
    }
    let mut domains = domains.into_iter();
    let first = domains.next().unwrap_or_else(|| placeholder_domain(at));
    let algorithms = algorithms(&mut section);
    let has_keys = algorithms.is_some() || KEY_SOURCES.iter().any(|name| section.has(name));
    let Keys { issuer, unambiguous } = keys(&mut section, &first);
    // If more than one kind of keys is given, the algorithms cannot be checked against them; an empty list is always an error.
    let algorithms = algorithms.filter(|listed| unambiguous || listed.is_empty());
    let issuer = algorithms.into_iter().fold(issuer, Issuer::with_algorithms);
    let introspection = section.section("introspection").map(introspection::introspection);
    let issuer = introspection
        .into_iter()
        .fold(issuer, |issuer, settings| introspection::apply(settings, issuer, &first, has_keys));
    let issuer = domains.fold(issuer, Issuer::with_alias);
    let patterns: Vec<String> = section.take("issuer_patterns").unwrap_or_default();
    let issuer = patterns.into_iter().fold(issuer, Issuer::with_issuer_pattern);
    let issuer = custom_domains(&mut section, issuer);
    let issuer = keys_of_file(&mut section, "initial_jwks_file").into_iter().fold(issuer, Issuer::with_initial_keys);
    let allow_http = section.take("allow_http").unwrap_or(false);
    section.end();
    if allow_http { issuer.dangerous_allow_http() } else { issuer }
}

/// Adds the custom domains in a file, which the library reads again every five minutes.
fn custom_domains(section: &mut Section, issuer: Issuer) -> Issuer {
    let Some(path) = section.take::<String>("custom_domains_file") else { return issuer };
    if let Err(problem) = read_domains(&path) {
        section.error("custom_domains_file", format!("{path:?}: {problem}"));
    }
    issuer.with_custom_domains_from(move || {
        let domains = read_domains(&path).inspect_err(|problem| tracing::error!("{path}: {problem}"));
        async move { Ok(domains?) }
    })
}

/// Reads a file with the setting `domains`.
fn read_domains(path: &str) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    super::only_list(&text, "domains")
}

/// Returns the issuer for tenants of Microsoft Entra ID.
fn entra(mut section: Section) -> Issuer {
    let tenants: Option<Vec<String>> = section.take("entra_tenants");
    let tenants = EntraTenants::only(tenants.unwrap_or_else(|| vec![PLACEHOLDER_TENANT.to_owned()]));
    let tenants = if section.take("entra_v1").unwrap_or(false) { tenants.with_v1_tokens() } else { tenants };
    let tenants = match section.take::<String>("entra_cloud").as_deref() {
        None | Some("global") => tenants,
        Some("us_government") => tenants.with_cloud(EntraCloud::UsGovernment),
        Some("china") => tenants.with_cloud(EntraCloud::China),
        Some(_) => {
            section.error("entra_cloud", "is not \"global\", \"us_government\" or \"china\"");
            tenants
        }
    };
    if section.has("jwks_uri") && section.has("jwks_file") {
        section.error("jwks_uri", "is set together with jwks_file; choose one");
    }
    let tenants = section.take::<String>("jwks_uri").into_iter().fold(tenants, EntraTenants::with_jwks_uri);
    let tenants = keys_of_file(&mut section, "jwks_file").into_iter().fold(tenants, EntraTenants::with_static_keys);
    let issuer = algorithms(&mut section).into_iter().fold(Issuer::entra(tenants), Issuer::with_algorithms);
    let issuer = keys_of_file(&mut section, "initial_jwks_file").into_iter().fold(issuer, Issuer::with_initial_keys);
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
    let mut given = KEY_SOURCES.to_vec();
    given.retain(|name| section.has(name));
    if let [one, others @ ..] = given.as_slice()
        && !others.is_empty()
    {
        section.error(one, format!("is set together with {}; choose one", others.join(" and ")));
    }
    let uri: Option<String> = section.take("jwks_uri");
    let file = keys_of_file(section, "jwks_file");
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

/// Reads the keys in the file that a setting names.
fn keys_of_file(section: &mut Section, name: &'static str) -> Option<Result<KeySet, KeyError>> {
    let file: String = section.take(name)?;
    fs::read(&file).map(KeySet::from_jwks).map_err(|error| section.error(name, format!("{file:?}: {error}"))).ok()
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

pub(super) fn environment(section: &Section, setting: &str, variable: &str) -> Option<String> {
    let problem = match env::var(variable) {
        Ok(text) => return Some(text),
        Err(VarError::NotPresent) => "is not set",
        Err(VarError::NotUnicode(_)) => "is not UTF-8",
    };
    section.error(setting, format!("the environment variable {variable:?} {problem}"));
    None
}

const KEY_SOURCES: [&str; 3] = ["jwks_uri", "jwks_file", "secrets"];

/// A valid tenant, for a list that cannot be read.
const PLACEHOLDER_TENANT: &str = "00000000-0000-0000-0000-000000000000";
