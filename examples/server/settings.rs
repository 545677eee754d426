//! The TOML file, and how it becomes a validator.
//!
//! What is no TOML, or a value of the wrong type, is reported by itself, with its line. All other faults are reported
//! together: unknown names, values that cannot be read, and whatever the library finds.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tower_bearer::claims::Profile;
use tower_bearer::config::Organizations;
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::keys::{KeyError, KeySet, SecretError};
use tower_bearer::{Algorithm, Api, Issuer, Secret, Validator};

/// The whole file.
#[derive(Debug, Deserialize)]
pub(crate) struct Settings {
    listen: String,
    api: ApiSettings,
    #[serde(default)]
    jwks: JwksSettings,
    /// Names that nobody reads.
    #[serde(skip)]
    unknown: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ApiSettings {
    audience: OneOrMany,
    leeway: Option<String>,
    profile: Option<String>,
    #[serde(default)]
    required_claims: Vec<String>,
    max_age: Option<String>,
    client_ids: Option<Vec<String>>,
    organization_ids: Option<Vec<String>>,
    organization_names: Option<Vec<String>>,
    #[serde(default)]
    issuer_from_host: bool,
    #[serde(default)]
    issuer_for_host: BTreeMap<String, String>,
    max_token_bytes: Option<usize>,
    #[serde(default)]
    issuer: Vec<IssuerSettings>,
}

#[derive(Debug, Deserialize)]
struct IssuerSettings {
    domains: Vec<String>,
    algorithms: Option<Vec<String>>,
    jwks_uri: Option<String>,
    jwks_file: Option<String>,
    secrets: Option<Vec<SecretSettings>>,
    #[serde(default)]
    allow_http: bool,
}

/// One secret in one encoding, or the name of the environment variable that holds it.
#[derive(Deserialize)]
struct SecretSettings {
    utf8: Option<String>,
    base64: Option<String>,
    base64url: Option<String>,
    hex: Option<String>,
    utf8_env: Option<String>,
    base64_env: Option<String>,
    base64url_env: Option<String>,
    hex_env: Option<String>,
}

/// The names of `RefreshPolicy`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JwksSettings {
    refresh_every: Option<String>,
    refresh_floor: Option<String>,
    max_stale: Option<String>,
    attempt_timeout: Option<String>,
    operation_timeout: Option<String>,
    cold_wait: Option<String>,
    miss_wait: Option<String>,
    backoff_min: Option<String>,
    backoff_max: Option<String>,
    backoff_max_unavailable: Option<String>,
    retry_after_max: Option<String>,
    miss_cooldown_min: Option<String>,
    miss_cooldown_max: Option<String>,
    miss_quiet: Option<String>,
    discovery_every: Option<String>,
    max_document_bytes: Option<usize>,
    max_keys: Option<usize>,
    max_waiters: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, or an array of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Every fault of the file.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    fn push(&mut self, setting: &str, problem: impl fmt::Display) {
        self.0.push(format!("{setting}: {problem}"));
    }

    fn duration(&mut self, setting: &str, text: Option<&String>) -> Option<Duration> {
        let parsed = humantime::parse_duration(text?);
        parsed.map_err(|error| self.push(setting, format!("{error}; write it like \"5s\" or \"1h\""))).ok()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
    }
}

impl std::error::Error for Faults {}

impl Settings {
    /// Reads the file's form; its values are judged by [`Settings::validator`].
    pub(crate) fn read(path: &Path) -> Result<Self, Faults> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| Faults(vec![format!("{shown}: {error}")]))?;
        let malformed = |error: toml::de::Error| Faults(vec![format!("{shown}, {}", without_values(&error, &text))]);
        let document = toml::Deserializer::parse(&text).map_err(malformed)?;
        let mut unknown = Vec::new();
        let read: Result<Self, _> = serde_ignored::deserialize(document, |name| unknown.push(name.to_string()));
        read.map(|settings| Self { unknown, ..settings }).map_err(malformed)
    }

    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    /// Builds the validator, or reports every fault.
    pub(crate) fn validator(&self) -> Result<Validator, Faults> {
        let mut faults = Faults::default();
        for name in &self.unknown {
            faults.push(name, "is no setting; see the list at the top of the example");
        }
        if !is_address(&self.listen) {
            faults.push("listen", "is no address to listen on; write it like \"127.0.0.1:8080\"");
        }
        let policy = self.jwks.policy(&mut faults);
        let api = self.api.api(&mut faults);
        let built = api.map(|api| Validator::builder(api).with_refresh_policy(policy).build());
        match built {
            Some(Ok(validator)) if faults.0.is_empty() => return Ok(validator),
            Some(Err(error)) => faults.0.extend(error.faults().iter().map(ToString::to_string)),
            Some(Ok(_)) | None => {}
        }
        Err(faults)
    }
}

/// What is wrong, and in which line; not the line itself, which may hold a secret.
fn without_values(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.lines().count().max(1));
    let what = match error.message().split_once("expected ") {
        Some((_, expected)) => format!("the value is not {expected}"),
        None if error.message().starts_with("missing field") => error.message().to_owned(),
        None => "this is no TOML".to_owned(),
    };
    format!("line {line}: {what}")
}

fn is_address(listen: &str) -> bool {
    listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl ApiSettings {
    fn api(&self, faults: &mut Faults) -> Option<Api> {
        let audiences: Vec<&String> = match &self.audience {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many.iter().collect(),
        };
        let issuers: Vec<Issuer> = self.issuer.iter().filter_map(|issuer| issuer.issuer(faults)).collect();
        if self.issuer.is_empty() {
            faults.push("api.issuer", "there is none; every API needs at least one [[api.issuer]]");
        }
        if audiences.is_empty() {
            faults.push("api.audience", "is empty");
        }
        let leeway = faults.duration("api.leeway", self.leeway.as_ref());
        let max_age = faults.duration("api.max_age", self.max_age.as_ref());
        let profile = self.profile(faults);

        let mut issuers = issuers.into_iter();
        let mut audiences = audiences.into_iter();
        let first = issuers.next().unwrap_or_else(|| stand_in("https://unknown.invalid/"));
        let mut api =
            Api::new(audiences.next()?, first).with_profile(profile).with_required_claims(&self.required_claims);
        api = audiences.fold(api, |api, audience| api.with_audience(audience));
        api = issuers.fold(api, Api::with_issuer);
        api = self.issuer_for_host.iter().fold(api, |api, (host, issuer)| api.with_issuer_for_host(host, issuer));
        api = if self.issuer_from_host { api.with_issuer_from_host() } else { api };
        api = leeway.into_iter().fold(api, Api::with_leeway);
        api = self.client_ids.iter().fold(api, |api, ids| api.with_client_ids(ids));
        api = self.organizations(faults).into_iter().fold(api, Api::with_organizations);
        api = max_age.into_iter().fold(api, Api::with_max_age);
        Some(self.max_token_bytes.into_iter().fold(api, Api::with_max_token_bytes))
    }

    fn organizations(&self, faults: &mut Faults) -> Option<Organizations> {
        match (&self.organization_ids, &self.organization_names) {
            (None, None) => None,
            (Some(ids), None) => Some(Organizations::ids(ids)),
            (None, Some(names)) => Some(Organizations::names(names)),
            (Some(_), Some(_)) => {
                faults.push("api.organization_ids", "stands beside organization_names; choose one");
                None
            }
        }
    }

    fn profile(&self, faults: &mut Faults) -> Profile {
        match self.profile.as_deref() {
            None | Some("any") => Profile::Any,
            Some("auth0") => Profile::Auth0,
            Some("rfc9068") => Profile::Rfc9068,
            Some(_) => {
                faults.push("api.profile", "is not any, auth0 or rfc9068");
                Profile::Any
            }
        }
    }
}

impl IssuerSettings {
    fn issuer(&self, faults: &mut Faults) -> Option<Issuer> {
        let Some((first, others)) = self.domains.split_first() else {
            faults.push("api.issuer.domains", "is empty; it lists the exact `iss` values");
            return None;
        };
        let name = format!("api.issuer {first:?}");
        let given = [self.jwks_uri.is_some(), self.jwks_file.is_some(), self.secrets.is_some()];
        if given.iter().filter(|there| **there).count() > 1 {
            faults.push(&name, "has more than one of jwks_uri, jwks_file and secrets");
        }
        let keys = match (&self.jwks_uri, &self.jwks_file, &self.secrets) {
            (_, _, Some(secrets)) => shared(first, &name, secrets, faults),
            (Some(uri), _, None) => Some(Issuer::with_jwks_uri(first, uri)),
            (None, Some(file), None) => {
                read_keys(&name, file, faults).map(|keys| Issuer::with_static_keys(first, keys))
            }
            (None, None, None) => Some(Issuer::oidc(first)),
        };
        let listed = self.algorithms.as_ref().map(|names| algorithms(&name, names, faults));
        let issuer = match (keys, listed) {
            (None, _) => stand_in(first),
            (Some(issuer), Some(algorithms)) if !algorithms.is_empty() || self.names_no_algorithm() => {
                issuer.with_algorithms(algorithms)
            }
            (Some(issuer), _) => issuer,
        };
        let issuer = others.iter().fold(issuer, |issuer, domain| issuer.with_domain(domain));
        Some(if self.allow_http { issuer.dangerous_allow_http() } else { issuer })
    }

    fn names_no_algorithm(&self) -> bool {
        self.algorithms.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Takes the place of an issuer whose keys have a fault, so that the faults of all else are reported, too.
fn stand_in(first: &str) -> Issuer {
    Issuer::with_jwks_uri(first, "https://unknown.invalid/")
}

fn shared(first: &str, name: &str, secrets: &[SecretSettings], faults: &mut Faults) -> Option<Issuer> {
    if secrets.is_empty() {
        faults.push(name, "secrets is empty");
    }
    // Those that can be read are judged by the library even where one cannot.
    let mut read = secrets.iter().filter_map(|secret| secret.read(name, faults)).collect::<Vec<_>>().into_iter();
    let issuer = Issuer::shared_secret(first, read.next()?);
    Some(read.fold(issuer, Issuer::with_secret))
}

fn read_keys(name: &str, file: &str, faults: &mut Faults) -> Option<Result<KeySet, KeyError>> {
    let text =
        fs::read_to_string(file).map_err(|error| faults.push(&format!("{name} jwks_file {file:?}"), error)).ok()?;
    Some(KeySet::from_jwks(text))
}

/// The algorithms that have a known name; the others are faults.
fn algorithms(name: &str, names: &[String], faults: &mut Faults) -> Vec<Algorithm> {
    let mut all = Vec::new();
    for algorithm in names {
        match algorithm.parse() {
            Ok(algorithm) => all.push(algorithm),
            Err(error) => faults.push(&format!("{name} algorithms {algorithm:?}"), error),
        }
    }
    all
}

impl SecretSettings {
    fn read(&self, name: &str, faults: &mut Faults) -> Option<Result<Secret, SecretError>> {
        type Read = fn(String) -> Result<Secret, SecretError>;
        let forms: [(&Option<String>, &Option<String>, Read); 4] = [
            (&self.utf8, &self.utf8_env, Secret::utf8),
            (&self.base64, &self.base64_env, Secret::base64),
            (&self.base64url, &self.base64url_env, Secret::base64url),
            (&self.hex, &self.hex_env, Secret::hex),
        ];
        let mut found = Vec::new();
        for (text, variable, read) in forms {
            found.extend(text.clone().map(read));
            if let Some(variable) = variable {
                match std::env::var(variable) {
                    Ok(text) => found.push(read(text)),
                    Err(error) => {
                        faults.push(&format!("{name} secret from ${variable}"), error_without_value(&error));
                        return None;
                    }
                }
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(secret), true) => Some(secret),
            _ => {
                faults.push(
                    &format!("{name} secret"),
                    "needs exactly one of utf8, base64, base64url, hex, or one of their _env forms",
                );
                None
            }
        }
    }
}

fn error_without_value(error: &std::env::VarError) -> &'static str {
    match error {
        std::env::VarError::NotPresent => "the variable is not set",
        std::env::VarError::NotUnicode(_) => "the variable is not UTF-8",
    }
}

impl fmt::Debug for SecretSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSettings(redacted)")
    }
}

impl JwksSettings {
    fn policy(&self, faults: &mut Faults) -> RefreshPolicy {
        type Set = fn(RefreshPolicy, Duration) -> RefreshPolicy;
        let durations: [(&str, &Option<String>, Set); 15] = [
            ("refresh_every", &self.refresh_every, RefreshPolicy::with_refresh_every),
            ("refresh_floor", &self.refresh_floor, RefreshPolicy::with_refresh_floor),
            ("max_stale", &self.max_stale, RefreshPolicy::with_max_stale),
            ("attempt_timeout", &self.attempt_timeout, RefreshPolicy::with_attempt_timeout),
            ("operation_timeout", &self.operation_timeout, RefreshPolicy::with_operation_timeout),
            ("cold_wait", &self.cold_wait, RefreshPolicy::with_cold_wait),
            ("miss_wait", &self.miss_wait, RefreshPolicy::with_miss_wait),
            ("backoff_min", &self.backoff_min, RefreshPolicy::with_backoff_min),
            ("backoff_max", &self.backoff_max, RefreshPolicy::with_backoff_max),
            ("backoff_max_unavailable", &self.backoff_max_unavailable, RefreshPolicy::with_backoff_max_unavailable),
            ("retry_after_max", &self.retry_after_max, RefreshPolicy::with_retry_after_max),
            ("miss_cooldown_min", &self.miss_cooldown_min, RefreshPolicy::with_miss_cooldown_min),
            ("miss_cooldown_max", &self.miss_cooldown_max, RefreshPolicy::with_miss_cooldown_max),
            ("miss_quiet", &self.miss_quiet, RefreshPolicy::with_miss_quiet),
            ("discovery_every", &self.discovery_every, RefreshPolicy::with_discovery_every),
        ];
        let mut policy = RefreshPolicy::new();
        for (name, text, set) in durations {
            if let Some(duration) = faults.duration(&format!("jwks.{name}"), text.as_ref()) {
                policy = set(policy, duration);
            }
        }
        type Cap = fn(RefreshPolicy, usize) -> RefreshPolicy;
        let caps: [(Option<usize>, Cap); 3] = [
            (self.max_document_bytes, RefreshPolicy::with_max_document_bytes),
            (self.max_keys, RefreshPolicy::with_max_keys),
            (self.max_waiters, RefreshPolicy::with_max_waiters),
        ];
        caps.into_iter().filter_map(|(cap, set)| Some((cap?, set))).fold(policy, |policy, (cap, set)| set(policy, cap))
    }
}
