//! The syntax of `iss` values.

use http::Uri;

use crate::config::entra;
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::fetch::{Endpoint, EndpointError};

/// Whether plain http is allowed for hosts other than loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainHttp {
    OnLoopback,
    Allowed,
}

/// Parses a URL to fetch from, or records the error.
pub(super) fn endpoint(setting: &str, url: &str, plain: PlainHttp, errors: &mut SettingErrors) -> Option<Endpoint> {
    let endpoint = match plain {
        PlainHttp::OnLoopback => Endpoint::new(url),
        PlainHttp::Allowed => Endpoint::dangerous_allow_http(url),
    };
    endpoint.map_err(|error| errors.push(setting, SettingErrorKind::Url(error))).ok()
}

/// Checks an `iss` value and records its errors. `iss` is compared as text; these rules reject values that no issuer uses.
///
/// `http:` is allowed, because AD FS uses it and nothing is fetched from an `iss` itself. The rules of transport apply to the
/// URLs of keys and of discovery documents.
pub(super) fn check_issuer(setting: &str, issuer: &str, errors: &mut SettingErrors) {
    if issuer.is_empty() {
        return errors.push(setting, SettingErrorKind::Empty);
    }
    if is_unprintable(issuer) {
        return errors.push(setting, SettingErrorKind::Unprintable);
    }
    // RFC 7519 §4.1.1: any StringOrURI. The rules of URLs apply only to a value that is a URL.
    if !issuer.contains("://") {
        return;
    }
    if issuer.contains(['?', '#']) {
        return errors.push(setting, SettingErrorKind::IssuerUrl);
    }
    if let Some(issuer) = issuer_from_discovery_url(issuer) {
        return errors.push(setting, SettingErrorKind::DiscoveryUrl { issuer: Box::from(issuer) });
    }
    if entra::names_no_tenant(issuer) {
        return errors.push(setting, SettingErrorKind::EntraWithoutTenant);
    }
    if endpoint(setting, issuer, PlainHttp::Allowed, errors).is_some()
        && is_auth0_domain(issuer)
        && !issuer.ends_with('/')
    {
        errors.push(setting, SettingErrorKind::MissingTrailingSlash);
    }
}

/// Returns whether a text has white space or control characters.
pub(super) fn is_unprintable(text: &str) -> bool {
    text.chars().any(|character| character.is_whitespace() || character.is_control())
}

/// Returns the issuer whose discovery document is at this URL: the well-known suffix comes after the path (OpenID Connect
/// Discovery 1.0 §4) or before it (RFC 8414 §3.1).
fn issuer_from_discovery_url(url: &str) -> Option<String> {
    let (origin, path) = WELL_KNOWN_SUFFIXES.iter().find_map(|suffix| url.split_once(suffix))?;
    if !(path.is_empty() || path.starts_with('/')) {
        return None;
    }
    let issuer = format!("{origin}{path}");
    // The `iss` of Auth0 always ends with a slash.
    let slash = if is_auth0_domain(&issuer) && !issuer.ends_with('/') { "/" } else { "" };
    Some(format!("{issuer}{slash}"))
}

/// Converts an Auth0 domain to its issuer, or records the error. The domain may also be the URL `https://<domain>/`.
pub(super) fn auth0_issuer(setting: &str, domain: &str, errors: &mut SettingErrors) -> Option<String> {
    let domain = match domain.strip_prefix("https://") {
        Some(url) => url.strip_suffix('/').unwrap_or(url),
        None => domain,
    };
    let is_domain = domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_domain {
        // Domain names are case-insensitive (RFC 4343); Auth0 writes them in lower case.
        return Some(format!("https://{}/", domain.to_ascii_lowercase()));
    }
    errors.push(setting, if domain.is_empty() { SettingErrorKind::Empty } else { SettingErrorKind::NotADomain });
    None
}

/// Returns the host of an issuer that is a URL.
pub(super) fn issuer_host(issuer: &str) -> Option<String> {
    let uri: Uri = issuer.parse().ok()?;
    uri.scheme()?;
    uri.host().map(str::to_ascii_lowercase)
}

/// Returns whether the host of an issuer is the canonical domain of an Auth0 tenant.
pub(crate) fn is_auth0_domain(issuer: &str) -> bool {
    issuer_host(issuer).is_some_and(|host| host.ends_with(".auth0.com"))
}

/// Returns the well-known URL of the key set of an Auth0 tenant.
pub(super) fn auth0_jwks_uri(issuer: &str) -> Result<Endpoint, EndpointError> {
    Endpoint::new(&format!("{issuer}.well-known/jwks.json"))
}

const WELL_KNOWN_SUFFIXES: &[&str] = &["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];
