//! `RequestContext`: the properties of a request that validation needs besides the token.

use crate::claims::Organization;
use crate::request::Host;
use crate::validator::possession::Presentation;

/// The properties of a request that validation needs. They are read before the token.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestContext {
    /// The host that the request names.
    pub(super) host: Option<Host>,
    /// The organization that the application derived from the request.
    pub(super) organization: Option<Organization>,
    /// How the token is sent.
    pub(super) presentation: Presentation,
}
