//! `RequestContext`: the properties of a request that validation needs besides the token.

use std::sync::Arc;

use http::Request;

use crate::claims::Organization;
use crate::dpop::CurrentNonces;
use crate::mutual_tls::RequestCertificate;
use crate::rejection::Rejection;
use crate::request::credential::{self, UsedSchemes};
use crate::request::{Host, RequestHead, Scheme};
use crate::validator::Validator;
use crate::validator::possession::{Possession, Presentation};

/// The properties of a request that validation needs. They are read before the token.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestContext {
    /// The host that the request names.
    pub(super) host: Option<Host>,
    /// The organization that the application derived from the request.
    pub(super) organization: Option<Organization>,
    /// How the token is sent.
    pub(super) presentation: Presentation,
    /// The certificate of the client.
    pub(super) certificate: RequestCertificate,
}

impl RequestContext {
    /// Returns whether the request has none of the properties.
    pub(crate) fn is_default(&self) -> bool {
        let Self { host, organization, presentation, certificate } = self;
        host.is_none()
            && organization.is_none()
            && matches!(presentation, Presentation::Bearer)
            && matches!(certificate, RequestCertificate::None)
    }
}

impl<C> Validator<C> {
    /// Returns the rules of possession.
    pub(crate) fn possession(&self) -> &Possession {
        &self.core.possession
    }

    /// Returns whether validation needs the host of a request with a credential of this scheme.
    pub(crate) fn needs_host(&self, scheme: Scheme) -> bool {
        !self.core.hosts.is_empty()
            || self.core.tenants.iter().any(|tenants| tenants.policy().binds_hosts)
            || self.core.organization_of.is_some()
            || (scheme == Scheme::Dpop && self.core.possession.needs_host())
    }

    /// Returns whether validation needs a property of a request with a credential of this scheme. If not, [`context`](Self::context)
    /// returns the default.
    pub(crate) fn needs_context(&self, scheme: Scheme) -> bool {
        scheme == Scheme::Dpop || self.core.possession.mutual_tls().is_some() || self.needs_host(scheme)
    }

    /// Returns whether functions of the application read the properties of a request with a credential of this scheme.
    pub(crate) fn calls_application(&self, scheme: Scheme) -> bool {
        self.core.organization_of.is_some() || (scheme == Scheme::Dpop && self.core.possession.calls_application())
    }

    /// Returns the schemes of the credentials that are read.
    pub(crate) fn schemes(&self) -> &'static [Scheme] {
        if self.core.possession.reads_dpop_scheme() { &[Scheme::Bearer, Scheme::Dpop] } else { &[Scheme::Bearer] }
    }

    /// Returns the schemes of the credentials of a request. A scheme that is not read counts as `Bearer`.
    pub(crate) fn used_schemes(&self, request: &RequestHead<'_>) -> UsedSchemes {
        match self.core.possession.reads_dpop_scheme() {
            true => UsedSchemes::from_headers(request.headers()),
            false => UsedSchemes::Bearer,
        }
    }

    /// Returns the properties of a request whose token the caller has read. The scheme is that of `Authorization`, or `Bearer` for a token
    /// from another place.
    pub(super) fn context_of_caller(&self, request: &RequestHead<'_>) -> Result<RequestContext, Rejection> {
        let field = credential::extract_unchecked(request.headers(), &[Scheme::Bearer, Scheme::Dpop]);
        let scheme = field.map_err(Rejection::Credential)?.map_or(Scheme::Bearer, |(scheme, _)| scheme);
        // A layer does not read such a credential.
        if !self.schemes().contains(&scheme) {
            return Err(Rejection::NoCredential);
        }
        self.context(request, scheme)
    }

    /// Returns the nonces of now, if the API requires nonces.
    pub(crate) fn current_nonces(&self) -> Option<Arc<CurrentNonces>> {
        self.core.possession.nonces(|| self.core.clock.now())
    }

    /// Returns the properties of a request that validation needs besides the token.
    pub(crate) fn context(&self, request: &RequestHead<'_>, scheme: Scheme) -> Result<RequestContext, Rejection> {
        let possession = &self.core.possession;
        let certificate = possession.mutual_tls().map(|rules| rules.find(request)).unwrap_or_default();
        let host = match self.needs_host(scheme) {
            true => request.read_host().map_err(Rejection::Host)?.cloned(),
            false if scheme == Scheme::Bearer => {
                return Ok(RequestContext { certificate, ..RequestContext::default() });
            }
            false => None,
        };
        let presentation = Presentation::read(scheme, possession.dpop(), request, host.as_ref());
        let presentation = presentation.map_err(Rejection::Possession)?;
        let organization = self.core.organization_of.as_ref().and_then(|of| of(request));
        Ok(RequestContext { host, organization, presentation, certificate })
    }

    /// Returns the context of a request of which only the host is known.
    pub(super) fn context_for_host(&self, host: Host) -> Result<RequestContext, Rejection> {
        self.context(&RequestHead::new(&Request::new(())).with_host(host), Scheme::Bearer)
    }
}
