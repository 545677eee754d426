//! Reads the TOML file and builds a validator.
//!
//! A syntax error is reported alone, with its line. All other errors are reported together: missing and unknown settings,
//! wrong types, unreadable values, and the errors of the library.

mod dpop;
mod introspection;
mod issuer;
mod mutual_tls;
pub(crate) mod refresh;
mod revocation;
mod section;
mod signals;
mod tenants;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Table;
use tower_bearer::claims::Profile;
use tower_bearer::config::{Organizations, Tenants};
use tower_bearer::jwks::FileKeyStore;
use tower_bearer::revocation::Revocations;
use tower_bearer::{Api, Issuer, Validator, ValidatorBuilder};

pub(crate) use self::section::SettingErrors;
use self::section::{OneOrMany, Section};
pub(crate) use self::signals::Logout;
pub(crate) use self::tenants::TenantFile;
use self::tenants::TenantSettings;

/// The settings of the file.
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) realm: Option<String>,
    pub(crate) validator: Validator,
    /// The list of revoked tokens, if `[revocation]` is present.
    pub(crate) revocations: Option<Revocations>,
    /// Whether the server has the routes for tests.
    pub(crate) test_routes: bool,
    /// The receiver of logout tokens, if `[signals]` is present.
    pub(crate) logout: Option<Logout>,
    /// The file with the names of tenants, if `[tenants]` has one.
    pub(crate) tenant_file: Option<TenantFile>,
}

/// Whether the directory of the setting `store` is used. Only the server uses it: the files of a program of another user would
/// not be readable for the server.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each program uses one of them")]
pub(crate) enum Store {
    Used,
    Ignored,
}

impl Settings {
    /// Reads the file, or returns every error.
    pub(crate) fn read(path: &Path, store: Store) -> Result<Self, SettingErrors> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| SettingErrors::single(format!("{name}: {error}")))?;
        Self::parse(&text, &name.to_string(), store)
    }

    /// Parses the text of a file of this name.
    pub(crate) fn parse(text: &str, name: &str, store: Store) -> Result<Self, SettingErrors> {
        let file: Table =
            text.parse().map_err(|error| SettingErrors::single(format!("{name}, {}", syntax(&error, text))))?;
        let errors = SettingErrors::default();
        let first_issuer = first_issuer(&file).unwrap_or_default();
        let mut file = Section::root(file, &errors);
        let listen = file.required("listen").map(|listen| address(listen, &file));
        let realm = file.take("realm").filter(|realm: &String| is_realm(realm, &file));
        let tenants = file.section("tenants").map(tenants::tenants);
        let (tenants, tenant_file) = tenants.map(|TenantSettings { tenants, file }| (tenants, file)).unzip();
        let api = file.required_section("api").map(|section| api(section, tenants));
        let policy = file.section("jwks").map(refresh::policy).unwrap_or_default();
        let store = file.section("keys").and_then(|section| key_store(section, store));
        let section = file.section("revocation");
        let has_list = section.is_some();
        let revocations = section.and_then(revocation::revocations);
        let test_routes = revocation::test_routes(&mut file, listen.as_deref(), has_list);
        let signals = file.section("signals").map(|section| signals::signals(section, has_list));
        file.end();
        let built = api.map(|api| {
            let builder = Validator::builder(api).with_refresh_policy(policy);
            let builder = revocations.iter().fold(builder, ValidatorBuilder::with_revocations);
            store.into_iter().fold(builder, ValidatorBuilder::with_key_store).build()
        });
        let logout = match (signals, &built, &revocations) {
            (Some(signals), Some(Ok(validator)), Some(list)) => {
                let logout = signals.build(validator, list, &first_issuer);
                logout.map_err(|error| errors.push(error.to_owned())).ok()
            }
            _ => None,
        };
        match (listen, built) {
            (Some(listen), Some(Ok(validator))) if errors.is_empty() => {
                let tenant_file = tenant_file.flatten();
                return Ok(Self { listen, realm, validator, revocations, test_routes, logout, tenant_file });
            }
            (_, Some(Err(config))) => config.errors().iter().for_each(|error| errors.push(issuer::error_text(error))),
            _ => {}
        }
        Err(errors)
    }
}

/// Returns the first `iss` value of the first issuer.
fn first_issuer(file: &Table) -> Option<String> {
    let issuer = file.get("api")?.get("issuer")?.get(0)?;
    issuer.get("domains")?.get(0)?.as_str().map(str::to_owned)
}

/// Returns the line number and message of a syntax error, without the text of the line, which may contain a secret.
fn syntax(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count().saturating_add(1), error.message())
}

/// Parses the text of a file whose only setting is a list of strings with this name.
fn only_list<L: DeserializeOwned>(text: &str, name: &str) -> Result<L, String> {
    let mut file: Table = text.parse().map_err(|error| syntax(&error, text))?;
    let list = file.remove(name).ok_or_else(|| format!("{name} is missing"))?;
    if let Some(unknown) = file.keys().next() {
        return Err(format!("{unknown} is not a setting; the only one is {name}"));
    }
    list.try_into().map_err(|_| format!("{name} is not an array of strings"))
}

/// Returns the store of the fetched keys. Its directory is created if it is missing.
fn key_store(mut section: Section, store: Store) -> Option<FileKeyStore> {
    let directory: Option<String> = section.take("store");
    let store = directory.filter(|_| store == Store::Used).and_then(|directory| {
        let store = FileKeyStore::new(&directory);
        store.map_err(|error| section.error("store", format!("{directory:?}: {error}"))).ok()
    });
    section.end();
    store
}

fn address(listen: String, file: &Section) -> String {
    let has_port = listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        file.error("listen", "is not an address to listen on; write it like \"127.0.0.1:8080\"");
    }
    listen
}

fn is_realm(realm: &str, file: &Section) -> bool {
    let is_printable = realm.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_printable {
        file.error("realm", "has characters that are not printable ASCII");
    }
    is_printable
}

/// Returns the API. A valid placeholder replaces each missing setting, so that the library checks all others.
fn api(mut section: Section, tenants: Option<Tenants>) -> Api {
    let OneOrMany(audiences) = section.required("audience").unwrap_or_else(|| OneOrMany(vec!["unknown".to_owned()]));
    if audiences.is_empty() {
        section.error("audience", "is empty; it lists the identifiers of this API at the issuer");
    }
    let issuers = issuers(&mut section, tenants.is_some());
    let mut audiences = audiences.into_iter();
    let mut issuers = issuers.into_iter();
    let first_audience = audiences.next().unwrap_or_else(|| "unknown".to_owned());
    let name = first_audience.clone();
    let api = match tenants {
        Some(tenants) => Api::for_tenants(first_audience, tenants),
        None => Api::new(first_audience, issuers.next().unwrap_or_else(issuer::placeholder)),
    };
    let api = api.with_profile(profile(&mut section));
    let api = audiences.fold(api, Api::with_audience);
    let api = issuers.fold(api, Api::with_issuer);
    let api = hosts(&mut section, api);
    let api = claims(&mut section, api);
    let api = section.duration("leeway").into_iter().fold(api, Api::with_leeway);
    let mut dpop = section.section("dpop");
    let is_required = dpop.as_mut().and_then(|dpop| dpop.take("required")).unwrap_or(false);
    let api = dpop.map(|section| dpop::dpop(section, &name)).into_iter().fold(api, Api::with_dpop);
    let mutual_tls = section.section("mutual_tls").map(mutual_tls::mutual_tls);
    let api = mutual_tls.into_iter().fold(api, Api::with_mutual_tls);
    let is_required = section.take("sender_constrained_only").unwrap_or(false) || is_required;
    let api = if is_required { api.with_sender_constrained_only() } else { api };
    let api = section.take("max_token_bytes").into_iter().fold(api, Api::with_max_token_bytes);
    section.end();
    api
}

fn issuers(section: &mut Section, has_tenants: bool) -> Vec<Issuer> {
    let is_present = section.has("issuer");
    let sections = section.sections("issuer");
    if (!is_present && !has_tenants) || sections.as_ref().is_some_and(Vec::is_empty) {
        section.error("issuer", "is missing; every API needs at least one [[api.issuer]], or [tenants]");
    }
    sections.unwrap_or_default().into_iter().enumerate().map(|(at, section)| issuer::issuer(at, section)).collect()
}

fn claims(section: &mut Section, api: Api) -> Api {
    let required: Vec<String> = section.take("required_claims").unwrap_or_default();
    let api = api.with_required_claims(required);
    section.alias("max_age", "max_token_age");
    let api = section.duration("max_token_age").into_iter().fold(api, Api::with_max_token_age);
    let implied: BTreeMap<String, Vec<String>> = section.take("implied_scopes").unwrap_or_default();
    let api = api.with_implied_scopes(implied);
    let api = section.take::<Vec<String>>("client_ids").into_iter().fold(api, |api, ids| api.with_client_ids(ids));
    let api = section.take::<String>("client_claim").into_iter().fold(api, Api::with_client_claim);
    let types: Vec<String> = section.take("token_types").unwrap_or_default();
    let api = dangerous(section, api.with_token_types(types));
    organizations(section).into_iter().fold(api, Api::with_organizations)
}

/// Reads the settings that accept more tokens than the defaults.
fn dangerous(section: &mut Section, api: Api) -> Api {
    let mut is_set = |name| section.take(name).unwrap_or(false);
    let api = if is_set("accept_id_token_markers") { api.dangerous_accept_id_token_markers() } else { api };
    if is_set("allow_missing_audience") { api.dangerous_allow_missing_audience() } else { api }
}

fn hosts(section: &mut Section, api: Api) -> Api {
    let bound: BTreeMap<String, String> = section.take("issuer_for_host").unwrap_or_default();
    let api = bound.into_iter().fold(api, |api, (host, issuer)| api.with_issuer_for_host(host, issuer));
    if section.take("issuer_from_host").unwrap_or(false) { api.with_issuer_from_host() } else { api }
}

fn organizations(section: &mut Section) -> Option<Organizations> {
    let (ids, names): (Option<Vec<String>>, Option<Vec<String>>) =
        (section.take("organization_ids"), section.take("organization_names"));
    match (ids, names) {
        (None, None) => None,
        (Some(ids), None) => Some(Organizations::from_ids(ids)),
        (None, Some(names)) => Some(Organizations::from_names(names)),
        (Some(_), Some(_)) => {
            section.error("organization_ids", "is set together with organization_names; choose one");
            None
        }
    }
}

fn profile(section: &mut Section) -> Profile {
    match section.take::<String>("profile").as_deref() {
        None | Some("any") => Profile::Any,
        Some("auth0") => Profile::Auth0,
        Some("rfc9068") => Profile::Rfc9068,
        Some(_) => {
            section.error("profile", "is not \"any\", \"auth0\" or \"rfc9068\"");
            Profile::Any
        }
    }
}
