//! Finds the issuer of a token: a configured one, or a tenant that was looked up.

use crate::config::{ClaimedIssuer, TenantError};
use crate::rejection::{IssuerError, Rejection};
use crate::request::Host;
use crate::telemetry::Label;
use crate::token::{Algorithm, Payload};
use crate::validator::routing::{self, Route, RouteId, Target};
use crate::validator::tenants::Lookup;
use crate::validator::{Core, IssuerState};

/// A claimed `iss` that must be looked up.
pub(crate) struct PendingTenant {
    /// The position of the rule that allows it.
    group: usize,
    pub(super) claimed: ClaimedIssuer,
}

/// The issuer that a token claims.
pub(super) enum Found {
    Known(RouteId),
    /// It must be looked up.
    Unresolved(PendingTenant),
}

/// Why a token cannot be verified now: it is rejected already, or its issuer must be looked up.
pub(super) enum FindError {
    Rejected(Rejection),
    /// Its issuer must be looked up.
    Unresolved(PendingTenant),
}

impl Core {
    /// Finds the issuer that a token claims, and checks that the host allows it.
    pub(super) fn find(
        &self,
        payload: &Payload,
        algorithm: Algorithm,
        host: Option<&Host>,
    ) -> Result<Found, IssuerError> {
        let found = self.find_ignoring_host(payload, algorithm)?;
        match &found {
            Found::Known(id) => self.route(id).map(|route| route.check_host(payload, &self.hosts, host)).transpose()?,
            // Before the name is looked up, but only if the tenant has no host.
            Found::Unresolved(PendingTenant { group, claimed }) => {
                let is_bound = self.tenants.get(*group).is_some_and(|tenants| tenants.policy().binds_hosts);
                (!is_bound).then(|| routing::check_host(claimed.issuer(), &self.hosts, host)).transpose()?
            }
        };
        Ok(found)
    }

    /// Finds the issuer that a token claims, without a check of the host.
    ///
    /// # Security
    ///
    /// A configured name has precedence over tenants. Tenants are looked up only if their rule allows the name.
    pub(super) fn find_ignoring_host(&self, payload: &Payload, algorithm: Algorithm) -> Result<Found, IssuerError> {
        let claimed = routing::claimed(payload)?;
        let error = match self.routes.lookup(claimed, payload, algorithm) {
            Ok(route) => return Ok(Found::Known(route.id())),
            Err(error) => error,
        };
        for (group, tenants) in self.tenants.iter().enumerate() {
            match tenants.find(claimed) {
                None => {}
                Some(Lookup::Known(tenant)) => return Ok(Found::Known(RouteId::Tenant(tenant))),
                Some(Lookup::Unresolved(claimed)) => return Ok(Found::Unresolved(PendingTenant { group, claimed })),
                Some(Lookup::Rejected(error)) => return Err(error),
            }
        }
        Err(error.unwrap_or_else(|| self.routes.unknown(claimed)))
    }

    /// Returns the route with this id.
    pub(super) fn route<'r>(&'r self, id: &'r RouteId) -> Option<Route<'r>> {
        match id {
            RouteId::Configured(serial) => self.routes.get(*serial),
            RouteId::Tenant(tenant) => {
                let label = &self.tenants.get(tenant.group())?.label;
                Some(Route { label, target: Target::Tenant(tenant) })
            }
        }
    }

    /// Returns the label of the route with this id.
    pub(super) fn label(&self, id: &RouteId) -> Option<&Label> {
        match id {
            RouteId::Configured(serial) => self.routes.get(*serial).map(|route| route.label),
            RouteId::Tenant(tenant) => self.tenants.get(tenant.group()).map(|tenants| &tenants.label),
        }
    }

    /// Returns the issuer of a route.
    pub(super) fn issuer_of<'r>(&'r self, route: Route<'r>) -> Option<&'r IssuerState> {
        match route.target {
            Target::Configured { issuer, .. } => self.issuers.get(issuer),
            Target::Tenant(tenant) => Some(tenant.issuer()),
        }
    }

    /// Looks an issuer up, or waits for the call that is in flight.
    pub(super) async fn resolve(&self, pending: &PendingTenant) -> Result<(), Rejection> {
        let not_resolved = || Rejection::Issuer(TenantError::NotResolved.into());
        let tenants = self.tenants.get(pending.group).ok_or_else(not_resolved)?;
        tenants.resolve(&pending.claimed).await.map_err(Rejection::Issuer)
    }

    /// Records that the keys of the issuer have verified a signature.
    pub(super) fn record_proof(&self, route: Route<'_>) {
        if let Some(tenant) = route.tenant()
            && let Some(tenants) = self.tenants.get(tenant.group())
        {
            tenant.record_use(self.clock.monotonic());
            tenants.prove(tenant);
        }
    }
}

impl Found {
    /// Returns the route, for a caller that cannot wait.
    pub(super) fn known(self) -> Result<RouteId, Rejection> {
        match self {
            Self::Known(id) => Ok(id),
            Self::Unresolved(pending) => Err(FindError::Unresolved(pending).into()),
        }
    }
}

impl From<IssuerError> for FindError {
    fn from(error: IssuerError) -> Self {
        Self::Rejected(Rejection::Issuer(error))
    }
}

impl From<Rejection> for FindError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// For a caller that cannot wait.
impl From<FindError> for Rejection {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Rejected(rejection) => rejection,
            FindError::Unresolved(_) => Self::Issuer(TenantError::NotResolved.into()),
        }
    }
}
