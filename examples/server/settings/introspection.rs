//! `introspection` of an issuer: how its tokens are introspected.

use tower_bearer::Issuer;
use tower_bearer::introspection::{ClientAuthentication, Introspection};

use super::issuer::environment;
use super::section::Section;

/// The introspection of an issuer, and whether it needs keys.
pub(super) struct IntrospectionSettings {
    pub(super) introspection: Introspection,
    /// JWTs are introspected, or the server signs its answers.
    pub(super) needs_keys: bool,
}

pub(super) fn introspection(mut section: Section) -> IntrospectionSettings {
    let authentication = authentication(&mut section);
    let endpoint: Option<String> = section.take("endpoint");
    let is_discovered = section.take("discovered").unwrap_or(false);
    if endpoint.is_some() == is_discovered {
        section.table_error("needs either endpoint or discovered = true");
    }
    let introspection = match endpoint {
        Some(endpoint) => Introspection::at(endpoint, authentication),
        None => Introspection::discovered(authentication),
    };
    let introspection = section.duration("ttl").into_iter().fold(introspection, Introspection::with_ttl);
    let introspection =
        section.duration("negative_ttl").into_iter().fold(introspection, Introspection::with_negative_ttl);
    let prefix: Option<String> = section.take("token_prefix");
    let mut introspection = prefix.into_iter().fold(introspection, Introspection::with_token_prefix);
    let is_signed = section.take("signed").unwrap_or(false);
    let every_token = section.take("every_token").unwrap_or(false);
    type Set = fn(Introspection) -> Introspection;
    let switches: [(bool, Set); 5] = [
        (is_signed, Introspection::with_signed_answers),
        (every_token, Introspection::with_every_jwt),
        (section.take("claims_from_introspection").unwrap_or(false), Introspection::with_claims_from_introspection),
        (section.take("allow_missing_audience").unwrap_or(false), Introspection::dangerous_allow_missing_audience),
        (section.take("allow_missing_expiry").unwrap_or(false), Introspection::dangerous_allow_missing_expiry),
    ];
    for (is_on, set) in switches {
        if is_on {
            introspection = set(introspection);
        }
    }
    section.end();
    IntrospectionSettings { introspection, needs_keys: is_signed || every_token }
}

/// Returns the issuer with its introspection. Without algorithms and keys, it has opaque tokens only.
pub(super) fn apply(settings: IntrospectionSettings, issuer: Issuer, first: &str, has_keys: bool) -> Issuer {
    if has_keys || settings.needs_keys {
        issuer.with_introspection(settings.introspection)
    } else {
        Issuer::opaque(first, settings.introspection)
    }
}

fn authentication(section: &mut Section) -> ClientAuthentication {
    let id = section.required("client_id").unwrap_or_else(|| "unknown".to_owned());
    let variable: Option<String> = section.required("client_secret_env");
    let secret = variable.and_then(|variable| environment(section, "client_secret_env", &variable));
    let secret = secret.unwrap_or_else(|| "unknown".to_owned());
    match section.take::<String>("auth").as_deref() {
        None | Some("basic") => ClientAuthentication::basic(id, secret),
        Some("post") => ClientAuthentication::post(id, secret),
        Some(_) => {
            section.error("auth", "is not \"basic\" or \"post\"");
            ClientAuthentication::basic(id, secret)
        }
    }
}
