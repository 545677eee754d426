//! Checks the settings of introspection.

use crate::claims::MissingAudience;
use crate::config::domain::{self, PlainHttp};
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::defaults;
use crate::introspection::{
    AnswerForm, ClaimsFrom, EndpointSetting, FailureMode, IntrospectedTokens, Introspection, IntrospectionSettingError,
    Location,
};
use crate::jwks::Discovery;

/// Valid settings of introspection at one issuer.
#[derive(Clone, Debug)]
pub(crate) struct IntrospectionPolicy {
    pub(crate) settings: Introspection,
    pub(crate) location: Location,
}

/// The keys of the issuer, as far as introspection needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuerKeyKind {
    None,
    Public,
    Secret,
}

/// Resolves the settings, and records every error.
pub(super) fn resolve(
    settings: &Introspection,
    issuer: &str,
    keys: IssuerKeyKind,
    plain: PlainHttp,
    errors: &mut SettingErrors,
) -> Option<IntrospectionPolicy> {
    let name = format!("issuer {issuer:?} introspection");
    check(settings, &name, keys, errors);
    let location = match (&settings.endpoint, plain) {
        (EndpointSetting::At(url), _) => domain::endpoint(&name, url, plain, errors).map(Location::At),
        (EndpointSetting::Discovered, plain) => {
            let discovery = match plain {
                PlainHttp::OnLoopback => Discovery::new(issuer),
                PlainHttp::Allowed => Discovery::dangerous_over_http(issuer),
            };
            discovery.map_err(|error| errors.push(&name, SettingErrorKind::Url(error))).ok().map(Location::Discovered)
        }
    };
    location.map(|location| IntrospectionPolicy { settings: settings.clone(), location })
}

/// Checks the settings of several issuers: each opaque token must belong to one of them at most.
pub(super) fn check_prefixes(all: &[(String, &Introspection)], errors: &mut SettingErrors) {
    if all.len() < 2 {
        return;
    }
    for (at, (issuer, settings)) in all.iter().enumerate() {
        let name = format!("issuer {issuer:?} introspection");
        let Some(prefix) = &settings.prefix else {
            push(errors, &name, IntrospectionSettingError::NoPrefix);
            continue;
        };
        let others = all.iter().enumerate().filter(|(other, _)| *other != at);
        let mut prefixes = others.filter_map(|(_, (_, settings))| settings.prefix.as_deref());
        if prefixes.any(|other| prefix.starts_with(other)) {
            push(errors, &name, IntrospectionSettingError::AmbiguousPrefix);
        }
    }
}

/// Returns whether answers without `aud` are accepted.
pub(super) fn allows_missing_audience(settings: &Introspection) -> bool {
    settings.missing_audience == MissingAudience::Accepted
}

fn check(settings: &Introspection, name: &str, keys: IssuerKeyKind, errors: &mut SettingErrors) {
    use IntrospectionSettingError as Error;
    let signed = settings.form == AnswerForm::Signed;
    let every_jwt = settings.introspected_tokens == IntrospectedTokens::OpaqueAndJwt;
    let is_token_text = |prefix: &String| {
        let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        !prefix.is_empty() && prefix.bytes().all(is_token_byte)
    };
    let timeouts = defaults::INTROSPECTION_MIN_TIMEOUT..=defaults::INTROSPECTION_MAX_TIMEOUT;
    let answer_caps = defaults::INTROSPECTION_MIN_ANSWER_CAP..=defaults::INTROSPECTION_MAX_ANSWER_CAP;
    for (is_wrong, error) in [
        (!settings.authentication.is_valid(), Error::Credentials),
        (signed && settings.authentication.client_id().is_none(), Error::NoClientId),
        (signed && keys != IssuerKeyKind::Public, Error::NoKeys),
        (every_jwt && keys == IssuerKeyKind::None, Error::EveryJwtWithoutKeys),
        (!settings.prefix.as_ref().is_none_or(is_token_text), Error::Prefix),
        (settings.ttl > defaults::INTROSPECTION_MAX_TTL, Error::Ttl),
        (settings.negative_ttl > defaults::INTROSPECTION_MAX_NEGATIVE_TTL, Error::NegativeTtl),
        (settings.grace > defaults::INTROSPECTION_MAX_GRACE, Error::Grace),
        (!timeouts.contains(&settings.timeout), Error::Timeout),
        (!(2..=defaults::INTROSPECTION_LIMIT_OF_CALLS).contains(&settings.max_calls), Error::MaxCalls),
        (!answer_caps.contains(&settings.max_answer_bytes), Error::MaxAnswerBytes),
        (settings.failure_mode == FailureMode::FailOpen && !every_jwt, Error::FailOpenWithoutEveryJwt),
        (settings.claims_from == ClaimsFrom::Answer && !every_jwt, Error::ClaimsWithoutEveryJwt),
    ] {
        if is_wrong {
            push(errors, name, error);
        }
    }
}

fn push(errors: &mut SettingErrors, name: &str, error: IntrospectionSettingError) {
    errors.push(name, SettingErrorKind::Introspection(error));
}
