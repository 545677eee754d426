//! What of a request takes part in the verdict, besides its token.

use crate::claims::Organization;
use crate::request::Host;

/// What of a request takes part in the verdict, read before the token is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestContext {
    /// The host that the client asked for.
    pub(super) host: Option<Host>,
    /// The organization that the request is about.
    pub(super) organization: Option<Organization>,
}
