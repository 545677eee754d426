//! One `iss` value: how it may look.

use http::Uri;

use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::fetch::{Endpoint, EndpointError};

/// Whether plain http may be used beyond loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainHttp {
    OnLoopback,
    Allowed,
}

/// Takes a URL to fetch from, or records why not.
pub(super) fn endpoint(setting: &str, url: &str, plain: PlainHttp, errors: &mut SettingErrors) -> Option<Endpoint> {
    let endpoint = match plain {
        PlainHttp::OnLoopback => Endpoint::new(url),
        PlainHttp::Allowed => Endpoint::dangerous_allow_http(url),
    };
    endpoint.map_err(|error| errors.push(setting, SettingErrorKind::Url(error))).ok()
}

/// Records what is wrong with an `iss` value. It is compared as text; these rules catch what no issuer writes.
pub(super) fn check_issuer(setting: &str, issuer: &str, plain: PlainHttp, errors: &mut SettingErrors) {
    if issuer.is_empty() {
        return errors.push(setting, SettingErrorKind::Empty);
    }
    if issuer.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return errors.push(setting, SettingErrorKind::Unprintable);
    }
    // RFC 7519 §4.1.1: any StringOrURI. Only what is meant as a URL is held to the rules of one.
    if !issuer.contains("://") {
        return;
    }
    if issuer.contains(['?', '#']) {
        return errors.push(setting, SettingErrorKind::IssuerUrl);
    }
    if let Some(issuer) = issuer_of_document(issuer) {
        return errors.push(setting, SettingErrorKind::DiscoveryUrl { issuer: Box::from(issuer) });
    }
    if endpoint(setting, issuer, plain, errors).is_some() && is_auth0_domain(issuer) && !issuer.ends_with('/') {
        errors.push(setting, SettingErrorKind::TrailingSlash);
    }
}

/// The issuer whose discovery document is at this URL: behind its path (OpenID Connect Discovery 1.0 §4), or before it (RFC
/// 8414 §3.1).
fn issuer_of_document(url: &str) -> Option<String> {
    let (origin, path) = DOCUMENTS.iter().find_map(|document| url.split_once(document))?;
    if !(path.is_empty() || path.starts_with('/')) {
        return None;
    }
    let issuer = format!("{origin}{path}");
    // Auth0 is known to write the slash.
    let slash = if is_auth0_domain(&issuer) && !issuer.ends_with('/') { "/" } else { "" };
    Some(format!("{issuer}{slash}"))
}

/// Reads a bare domain of Auth0 as its issuer.
pub(super) fn auth0_issuer(setting: &str, domain: &str, errors: &mut SettingErrors) -> Option<String> {
    let is_domain = domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
        && domain.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.".contains(&octet));
    if is_domain {
        // Names compare without case (RFC 4343); Auth0 writes them in lower case.
        return Some(format!("https://{}/", domain.to_ascii_lowercase()));
    }
    errors.push(setting, if domain.is_empty() { SettingErrorKind::Empty } else { SettingErrorKind::NotADomain });
    None
}

/// The host of an issuer that is a URL.
pub(super) fn host_of(issuer: &str) -> Option<String> {
    let uri: Uri = issuer.parse().ok()?;
    uri.scheme()?;
    uri.host().map(str::to_ascii_lowercase)
}

/// Says whether an issuer is the canonical domain of an Auth0 tenant.
pub(crate) fn is_auth0_domain(issuer: &str) -> bool {
    host_of(issuer).is_some_and(|host| host.ends_with(".auth0.com"))
}

/// The well-known place of an Auth0 tenant's keys, on the domain itself.
pub(super) fn auth0_jwks_uri(issuer: &str) -> Result<Endpoint, EndpointError> {
    Endpoint::new(&format!("{issuer}.well-known/jwks.json"))
}

const DOCUMENTS: &[&str] = &["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];
