//! `Organizations`: the organizations whose tokens an API accepts.

use std::fmt;
use std::sync::Arc;

use crate::claims::{Organization, OrganizationRule};
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::request::RequestHead;

/// The organizations whose tokens an API accepts: a fixed set of ids or names, or the organization of the request.
///
/// Auth0 requires this check for every API whose tokens contain `org_id`. A token is valid only if its organization is one that
/// the API knows, or the one for which the request is. A token without an organization is rejected.
///
/// ```
/// use tower_bearer::claims::Organization;
/// use tower_bearer::config::Organizations;
/// use tower_bearer::{Api, Issuer};
///
/// let api = || Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
/// let fixed = api().with_organizations(Organizations::from_ids(["org_4Tk", "org_9xA"]));
///
/// // acme.api.northwind.com accepts only tokens of the organization with the name acme.
/// let by_subdomain = api().with_organizations(Organizations::from_request(|request| {
///     let (name, _) = request.host()?.as_str().split_once('.')?;
///     Some(Organization::from_name(name))
/// }));
/// # let _ = (fixed, by_subdomain);
/// ```
#[derive(Clone)]
pub struct Organizations(Accepted);

#[derive(Clone)]
enum Accepted {
    Ids(Vec<String>),
    Names(Vec<String>),
    FromRequest(OrganizationOfRequest),
}

/// The function that returns the organization of a request.
pub(crate) type OrganizationOfRequest = Arc<dyn Fn(&RequestHead<'_>) -> Option<Organization> + Send + Sync>;

impl Organizations {
    /// Accepts the organizations with these `org_id`s, compared exactly.
    #[must_use]
    pub fn from_ids<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self(Accepted::Ids(ids.into_iter().map(Into::into).collect()))
    }

    /// Accepts the organizations with these `org_name`s, compared without regard to the case of ASCII letters.
    ///
    /// # Security
    ///
    /// A name can change, can be reused for another organization, and is unique only within one tenant. Prefer ids.
    #[must_use]
    pub fn from_names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(Accepted::Names(names.into_iter().map(Into::into).collect()))
    }

    /// Accepts the organization that `organization` returns for the request, for example from its host, its path or a header.
    /// If it returns `None`, every token is rejected.
    ///
    /// The function is called for every request, and its result is never cached. It runs before the token is parsed, so it must
    /// be cheap. Without a layer, call `Validator::validate_request`: `Validator::validate_for_host` passes only the host to
    /// the function, and `Validator::validate` rejects every token.
    ///
    /// # Security
    ///
    /// The client chooses host, path and headers. The token is checked against the organization that this function returns. The
    /// handler must serve the same organization, so it should read it from the claims
    /// ([`Claims::organization`](crate::Claims::organization)), not from the request.
    ///
    /// The function receives the request target of the layer. Inside axum's `nest`, that is the path without the prefix, so its
    /// segments have other positions. Put the layer outside of `nest`, or read `axum::extract::OriginalUri` from the
    /// extensions.
    #[must_use]
    pub fn from_request(
        organization: impl Fn(&RequestHead<'_>) -> Option<Organization> + Send + Sync + 'static,
    ) -> Self {
        Self(Accepted::FromRequest(Arc::new(organization)))
    }

    /// Splits the policy into the rule for the token and the function for the request.
    pub(super) fn resolve(&self, errors: &mut SettingErrors) -> (OrganizationRule, Option<OrganizationOfRequest>) {
        match &self.0 {
            Accepted::Ids(ids) => (OrganizationRule::Ids(non_empty_list("organization ids", ids, errors).into()), None),
            Accepted::Names(names) => {
                (OrganizationRule::Names(non_empty_list("organization names", names, errors).into()), None)
            }
            Accepted::FromRequest(function) => (OrganizationRule::Any, Some(Arc::clone(function))),
        }
    }
}

/// Returns the texts, and records an error if the list or one of the texts is empty.
pub(super) fn non_empty_list(setting: &str, texts: &[String], errors: &mut SettingErrors) -> Box<[Box<str>]> {
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        errors.push(setting, SettingErrorKind::Empty);
    }
    texts.iter().map(|text| Box::from(text.as_str())).collect()
}

impl fmt::Debug for Organizations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Accepted::Ids(ids) => f.debug_tuple("Organizations::from_ids").field(ids).finish(),
            Accepted::Names(names) => f.debug_tuple("Organizations::from_names").field(names).finish(),
            Accepted::FromRequest(_) => f.write_str("Organizations::from_request"),
        }
    }
}
