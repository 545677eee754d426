//! `Organizations`: for which organizations an API takes tokens.

use std::fmt;
use std::sync::Arc;

use crate::claims::{Organization, OrganizationRule};
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::request::RequestHead;

/// For which organizations an API takes tokens: a fixed set of ids or names, or what the request says.
///
/// Auth0 demands it of every API whose tokens carry `org_id`: the organization must be one that the API knows, or the one
/// that the request is about, and a token that fails this is not valid. With a policy set, a token without organization is
/// refused too.
///
/// ```
/// use tower_bearer::claims::Organization;
/// use tower_bearer::config::Organizations;
/// use tower_bearer::{Api, Issuer};
///
/// let api = || Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
/// let fixed = api().with_organizations(Organizations::ids(["org_4Tk", "org_9xA"]));
///
/// // acme.api.northwind.com takes tokens of the organization named acme only.
/// let by_subdomain = api().with_organizations(Organizations::from_request(|request| {
///     let (name, _) = request.host()?.as_str().split_once('.')?;
///     Some(Organization::name(name))
/// }));
/// # let _ = (fixed, by_subdomain);
/// ```
#[derive(Clone)]
pub struct Organizations(Known);

#[derive(Clone)]
enum Known {
    Ids(Vec<String>),
    Names(Vec<String>),
    OfRequest(OrganizationOfRequest),
}

/// Which organization a request is about.
pub(crate) type OrganizationOfRequest = Arc<dyn Fn(&RequestHead<'_>) -> Option<Organization> + Send + Sync>;

impl Organizations {
    /// Those with these `org_id`s, compared exactly.
    #[must_use]
    pub fn ids<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self(Known::Ids(ids.into_iter().map(Into::into).collect()))
    }

    /// Those with these `org_name`s, compared in lower case.
    ///
    /// # Security
    ///
    /// Names can change and be given again, and are unique within one tenant only: prefer ids.
    #[must_use]
    pub fn names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(Known::Names(names.into_iter().map(Into::into).collect()))
    }

    /// The one that the request is about: by its host, its path, a header. `None` refuses whatever the token says.
    ///
    /// The function is asked for every request, and its answer is never remembered. It runs before the token is looked
    /// at, so it must be cheap. Whoever validates without a layer uses `Validator::validate_request`.
    ///
    /// # Security
    ///
    /// The client chooses host, path and headers. Judged is the organization that this function reads; the handler has to
    /// serve the same one, so let it ask the claims ([`Claims::organization`](crate::Claims::organization)) and not the
    /// request. The target is the one that the layer sees: inside axum's `nest` the prefix is gone, and a segment is then
    /// another one than outside; put the layer outside, or read `axum::extract::OriginalUri` from the extensions.
    #[must_use]
    pub fn from_request(
        organization: impl Fn(&RequestHead<'_>) -> Option<Organization> + Send + Sync + 'static,
    ) -> Self {
        Self(Known::OfRequest(Arc::new(organization)))
    }

    /// Splits the policy into what is judged of the token alone, and what of the request.
    pub(super) fn resolve(&self, errors: &mut SettingErrors) -> (OrganizationRule, Option<OrganizationOfRequest>) {
        match &self.0 {
            Known::Ids(ids) => (OrganizationRule::Ids(listed("organization ids", ids, errors).into()), None),
            Known::Names(names) => (OrganizationRule::Names(listed("organization names", names, errors).into()), None),
            Known::OfRequest(function) => (OrganizationRule::Any, Some(Arc::clone(function))),
        }
    }
}

/// Takes a list in which nothing is empty, itself included.
pub(super) fn listed(setting: &str, texts: &[String], errors: &mut SettingErrors) -> Box<[Box<str>]> {
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        errors.push(setting, SettingErrorKind::Empty);
    }
    texts.iter().map(|text| Box::from(text.as_str())).collect()
}

impl fmt::Debug for Organizations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Known::Ids(ids) => f.debug_tuple("Organizations::ids").field(ids).finish(),
            Known::Names(names) => f.debug_tuple("Organizations::names").field(names).finish(),
            Known::OfRequest(_) => f.write_str("Organizations::of_request"),
        }
    }
}
