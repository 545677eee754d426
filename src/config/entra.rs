//! `EntraTenants`: the tenants of Microsoft Entra ID whose tokens an API accepts.

use std::fmt;
use std::sync::Arc;

use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::keys::{KeyError, KeySet};
use crate::token::{Claim, Payload};

/// The tenants of Microsoft Entra ID whose tokens an API accepts, for [`Issuer::entra`](crate::Issuer::entra).
///
/// There is no default: the constructor says which tenants are accepted.
#[derive(Clone)]
pub struct EntraTenants {
    allowed: Allowed,
    cloud: EntraCloud,
    accepts_v1: bool,
    pub(super) keys: EntraKeys,
}

/// The tenants that are allowed, as configured.
#[derive(Clone)]
enum Allowed {
    Listed(Vec<String>),
    Matching(Predicate),
    Any,
}

type Predicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Where the keys come from.
#[derive(Clone)]
pub(super) enum EntraKeys {
    Cloud,
    JwksUri(String),
    Static(Result<KeySet, KeyError>),
}

/// A cloud of Microsoft Entra ID. Each has its own hosts, tenants and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum EntraCloud {
    /// The global cloud: `login.microsoftonline.com`.
    #[default]
    Global,
    /// The cloud of the US government: `login.microsoftonline.us`.
    UsGovernment,
    /// The cloud in China, operated by 21Vianet: `login.partner.microsoftonline.cn`.
    China,
}

impl EntraTenants {
    /// Accepts the tokens of these tenants. Each is the tenant id: a GUID, in upper or lower case.
    ///
    /// `common`, `organizations`, `consumers` and domain names are an error of the configuration, because no token names its
    /// tenant by them.
    #[must_use]
    pub fn only(tenants: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Allowed::Listed(tenants.into_iter().map(Into::into).collect()))
    }

    /// Accepts the tokens of each tenant for which `is_allowed` returns `true`, such as the customers in a set that the
    /// application updates. The argument is the tenant id, a GUID in lower case.
    ///
    /// `is_allowed` is called in every request, also for a token in the token cache, so the tokens of a tenant that it no longer
    /// allows are rejected at once. It must not block. For a token that is not in the cache, it is called before the signature is
    /// verified, so a client can choose the argument.
    #[must_use]
    pub fn matching(is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Allowed::Matching(Arc::new(is_allowed)))
    }

    /// Accepts the tokens of every tenant in the cloud.
    ///
    /// # Security
    ///
    /// Everybody can create a tenant, and obtain in it tokens for an API that is registered for several tenants. The application
    /// must decide by the claims `tid` and `oid` what a caller may do. `sub` and `oid` identify a user only together with `tid`.
    #[must_use]
    pub fn dangerous_any() -> Self {
        Self::new(Allowed::Any)
    }

    /// Accepts tokens of version 1 as well, whose `iss` is `https://sts.windows.net/<tenant id>/`. Default: version 2 only.
    ///
    /// The setting `requestedAccessTokenVersion` of the API's app registration selects the version.
    #[must_use]
    pub fn with_v1_tokens(mut self) -> Self {
        self.accepts_v1 = true;
        self
    }

    /// Sets the cloud. Default: [`EntraCloud::Global`].
    #[must_use]
    pub fn with_cloud(mut self, cloud: EntraCloud) -> Self {
        self.cloud = cloud;
        self
    }

    /// Sets the URL of the keys. Default: `/common/discovery/v2.0/keys` at the host of the cloud, which has the keys of all
    /// tenants.
    ///
    /// An API with custom signing keys needs `https://login.microsoftonline.com/<tenant id>/discovery/keys?appid=<client id>`.
    #[must_use]
    pub fn with_jwks_uri(mut self, jwks_uri: impl Into<String>) -> Self {
        self.keys = EntraKeys::JwksUri(jwks_uri.into());
        self
    }

    /// Sets static keys, which are never fetched. Accepts a [`KeySet`], or the result of one of its constructors, whose error is
    /// reported with all other errors.
    #[must_use]
    pub fn with_static_keys(mut self, keys: impl Into<Result<KeySet, KeyError>>) -> Self {
        self.keys = EntraKeys::Static(keys.into());
        self
    }

    fn new(allowed: Allowed) -> Self {
        Self { allowed, cloud: EntraCloud::Global, accepts_v1: false, keys: EntraKeys::Cloud }
    }

    /// Returns the `iss` of version 2 with `{tenantid}` in the place of the tenant id, as Microsoft writes it.
    pub(super) fn template(&self) -> String {
        format!("{}{TENANT_ID}{VERSION_2}", self.cloud.version_2())
    }

    /// Returns the URL at which the cloud publishes the keys of all tenants.
    pub(super) fn cloud_jwks_uri(&self) -> String {
        format!("{}common/discovery/v2.0/keys", self.cloud.version_2())
    }

    /// Resolves the settings, and records every error.
    pub(super) fn resolve(&self, errors: &mut SettingErrors) -> EntraRule {
        let allowed = match &self.allowed {
            Allowed::Listed(listed) => {
                if listed.is_empty() {
                    errors.push("Entra tenants", SettingErrorKind::Empty);
                }
                let mut tenants = Vec::new();
                for tenant in listed {
                    match TenantId::parse(&tenant.to_ascii_lowercase()) {
                        Some(tenant) => tenants.push(tenant),
                        None => errors.push(&format!("Entra tenant {tenant:?}"), SettingErrorKind::EntraTenant),
                    }
                }
                tenants.sort_unstable();
                AllowedTenants::Listed(tenants.into())
            }
            Allowed::Matching(predicate) => AllowedTenants::Matching(Arc::clone(predicate)),
            Allowed::Any => AllowedTenants::Any,
        };
        EntraRule { cloud: self.cloud, accepts_v1: self.accepts_v1, allowed, template: self.template().into() }
    }
}

impl fmt::Debug for EntraTenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed: &dyn fmt::Debug = match &self.allowed {
            Allowed::Listed(listed) => listed,
            Allowed::Matching(_) => &"matching",
            Allowed::Any => &"any",
        };
        f.debug_struct("EntraTenants").field("allowed", allowed).field("cloud", &self.cloud).finish_non_exhaustive()
    }
}

impl EntraCloud {
    const ALL: [Self; 3] = [Self::Global, Self::UsGovernment, Self::China];

    /// Returns the `iss` of version 2 of the tenant whose `iss` of version 1 this is.
    pub(crate) fn to_version_2(self, issuer: &str) -> Option<String> {
        let tenant = issuer.strip_prefix(self.version_1())?.strip_suffix(VERSION_1)?;
        Some(format!("{}{tenant}{VERSION_2}", self.version_2()))
    }

    /// Returns the start of the `iss` of version 2.
    const fn version_2(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com/",
            Self::UsGovernment => "https://login.microsoftonline.us/",
            Self::China => "https://login.partner.microsoftonline.cn/",
        }
    }

    /// Returns the start of the `iss` of version 1.
    const fn version_1(self) -> &'static str {
        match self {
            Self::Global | Self::UsGovernment => "https://sts.windows.net/",
            Self::China => "https://sts.chinacloudapi.cn/",
        }
    }
}

/// The rule for the tokens of Entra tenants.
#[derive(Clone)]
pub(crate) struct EntraRule {
    cloud: EntraCloud,
    accepts_v1: bool,
    allowed: AllowedTenants,
    template: Box<str>,
}

#[derive(Clone)]
enum AllowedTenants {
    /// Sorted.
    Listed(Arc<[TenantId]>),
    Matching(Predicate),
    Any,
}

/// The id of a tenant: a GUID in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TenantId([u8; GUID_BYTES]);

/// The reason why a token with the `iss` of an Entra tenant is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntraError {
    /// `tid` is missing, is not a string, or is not the tenant in `iss`.
    Tenant,
    /// The tenant is not allowed.
    NotAllowed,
}

impl EntraRule {
    /// Returns the `iss` of version 2 with `{tenantid}` in the place of the tenant id.
    pub(crate) fn template(&self) -> &str {
        &self.template
    }

    /// Checks a token, or returns `None` if its `iss` is not that of a tenant.
    pub(crate) fn check(&self, issuer: &str, payload: &Payload) -> Option<Result<(), EntraError>> {
        let tenant = self.tenant_of(issuer)?;
        if payload.text(Claim::Tid).ok() != Some(tenant.as_str()) {
            return Some(Err(EntraError::Tenant));
        }
        Some(if self.allows(&tenant) { Ok(()) } else { Err(EntraError::NotAllowed) })
    }

    /// Returns whether the tenant in `iss` is allowed.
    pub(crate) fn allows_issuer(&self, issuer: &str) -> bool {
        self.tenant_of(issuer).is_some_and(|tenant| self.allows(&tenant))
    }

    /// Returns whether the tenants that are allowed may change.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.allowed, AllowedTenants::Matching(_))
    }

    /// Returns whether `iss` is that of a token of version 1, which this API does not accept, of an allowed tenant.
    pub(crate) fn is_rejected_v1(&self, issuer: &str) -> bool {
        !self.accepts_v1
            && tenant_between(issuer, self.cloud.version_1(), VERSION_1).is_some_and(|tenant| self.allows(&tenant))
    }

    /// Returns the tenant in an `iss`.
    pub(crate) fn tenant_of(&self, issuer: &str) -> Option<TenantId> {
        tenant_between(issuer, self.cloud.version_2(), VERSION_2).or_else(|| {
            let version_1 = self.accepts_v1.then(|| tenant_between(issuer, self.cloud.version_1(), VERSION_1));
            version_1.flatten()
        })
    }

    /// Returns the `iss` values of both versions of the tenant in an `iss`.
    pub(crate) fn names_of_tenant(&self, issuer: &str) -> Option<[String; 2]> {
        let tenant = self.tenant_of(issuer)?;
        let name = |before: &str, after: &str| format!("{before}{}{after}", tenant.as_str());
        Some([name(self.cloud.version_2(), VERSION_2), name(self.cloud.version_1(), VERSION_1)])
    }

    /// Returns whether a key may verify the tokens of a tenant. `published` is the member `issuer` of the JWK, which contains
    /// the tenant or `{tenantid}`; it has the form of version 2 also for tokens of version 1.
    pub(crate) fn allows_key(&self, published: Option<&str>, tenant: &TenantId) -> bool {
        published.is_none_or(|published| {
            let named = published.strip_prefix(self.cloud.version_2()).and_then(|rest| rest.strip_suffix(VERSION_2));
            named.is_some_and(|named| named == tenant.as_str() || named == TENANT_ID)
        })
    }

    fn allows(&self, tenant: &TenantId) -> bool {
        match &self.allowed {
            AllowedTenants::Listed(listed) => listed.binary_search(tenant).is_ok(),
            AllowedTenants::Matching(is_allowed) => is_allowed(tenant.as_str()),
            AllowedTenants::Any => true,
        }
    }
}

impl fmt::Debug for EntraRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraRule").field("template", &self.template).finish_non_exhaustive()
    }
}

impl TenantId {
    /// Parses a GUID in lower case.
    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; GUID_BYTES] = text.as_bytes().try_into().ok()?;
        let is_guid = bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
        is_guid.then_some(Self(bytes))
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Returns whether an issuer is a URL of Entra ID with a word in the place of the tenant.
pub(super) fn names_no_tenant(issuer: &str) -> bool {
    let path = EntraCloud::ALL.iter().find_map(|cloud| issuer.strip_prefix(cloud.version_2()));
    let word = path.and_then(|path| path.split('/').next());
    word.is_some_and(|word| ["common", "organizations", "consumers"].contains(&word))
}

fn tenant_between(issuer: &str, before: &str, after: &str) -> Option<TenantId> {
    issuer.strip_prefix(before)?.strip_suffix(after).and_then(TenantId::parse)
}

/// The end of the `iss` of version 2.
const VERSION_2: &str = "/v2.0";

/// The end of the `iss` of version 1.
const VERSION_1: &str = "/";

/// What Microsoft writes in the place of the tenant id, in documents for all tenants.
const TENANT_ID: &str = "{tenantid}";

const GUID_BYTES: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaa-1111-4222-8333-444444444444";
    const B: &str = "bbbbbbbb-1111-4222-8333-444444444444";

    fn rule(tenants: &EntraTenants) -> EntraRule {
        let mut errors = SettingErrors::default();
        let rule = tenants.resolve(&mut errors);
        errors.or(Some(())).expect("no error");
        rule
    }

    #[test]
    fn finds_the_tenant_in_names_of_exactly_the_configured_form() {
        let v2 = rule(&EntraTenants::only([A]));
        let both = rule(&EntraTenants::only([A]).with_v1_tokens());
        let china = rule(&EntraTenants::only([A]).with_v1_tokens().with_cloud(EntraCloud::China));
        let us = rule(&EntraTenants::only([A]).with_v1_tokens().with_cloud(EntraCloud::UsGovernment));
        let found = |rule: &EntraRule, issuer: &str| rule.tenant_of(issuer).is_some();
        for (issuer, expected) in [
            (format!("https://login.microsoftonline.com/{A}/v2.0"), [true, true, false, false]),
            (format!("https://sts.windows.net/{A}/"), [false, true, false, true]),
            (format!("https://login.microsoftonline.us/{A}/v2.0"), [false, false, false, true]),
            (format!("https://login.partner.microsoftonline.cn/{A}/v2.0"), [false, false, true, false]),
            (format!("https://sts.chinacloudapi.cn/{A}/"), [false, false, true, false]),
            (format!("https://login.microsoftonline.com/{A}/v2.0/"), [false; 4]),
            (format!("https://login.microsoftonline.com/{A}/"), [false; 4]),
            (format!("https://login.microsoftonline.com/{}/v2.0", A.to_uppercase()), [false; 4]),
            (format!("https://login.microsoftonline.com/{A}/x/v2.0"), [false; 4]),
            (format!("https://login.microsoftonline.com.evil.com/{A}/v2.0"), [false; 4]),
            (format!("https://sts.windows.net/{A}"), [false; 4]),
            ("https://login.microsoftonline.com/common/v2.0".to_owned(), [false; 4]),
            ("https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(), [false; 4]),
            ("https://login.microsoftonline.com//v2.0".to_owned(), [false; 4]),
            (String::new(), [false; 4]),
        ] {
            assert_eq!([&v2, &both, &china, &us].map(|rule| found(rule, &issuer)), expected, "{issuer}");
        }
    }

    #[test]
    fn a_key_belongs_to_the_tenant_in_its_member_issuer_or_to_all() {
        let rule = rule(&EntraTenants::only([A, B]).with_v1_tokens());
        let tenant = TenantId::parse(A).expect("a GUID");
        let of = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
        for (published, expected) in [
            (None, true),
            (Some(of(A)), true),
            (Some(of("{tenantid}")), true),
            (Some(of(B)), false),
            (Some(of("{TenantId}")), false),
            (Some(of("common")), false),
            (Some(format!("https://sts.windows.net/{A}/")), false),
            (Some(format!("{}/", of(A))), false),
            (Some("https://login.microsoftonline.us/{tenantid}/v2.0".to_owned()), false),
            (Some(String::new()), false),
        ] {
            assert_eq!(rule.allows_key(published.as_deref(), &tenant), expected, "{published:?}");
        }
    }

    #[test]
    fn parses_guids_in_lower_case_only() {
        assert_eq!(TenantId::parse(A).map(|tenant| tenant.as_str().to_owned()), Some(A.to_owned()));
        for text in
            ["", "common", &A.to_uppercase(), &A[1..], &format!("{A}0"), &A.replace('-', "a"), &A.replace('a', "g")]
        {
            assert_eq!(TenantId::parse(text), None, "{text}");
        }
    }
}
