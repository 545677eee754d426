//! The configuration of an API: trusted issuers, their keys and algorithms, and the rules for claims.
//!
//! A constructor takes the required settings, and `with_*` methods set optional ones. Neither a constructor nor a setter
//! returns an error: `Validator::new` reports all errors of the configuration at once.

mod api;
mod domain;
mod domain_list;
mod dpop;
mod entra;
mod error;
mod hosts;
mod implied_scopes;
mod introspection;
mod issuer;
mod issuer_keys;
mod issuer_pattern;
mod mutual_tls;
mod name_rule;
mod organizations;
mod tenant_setting_error;
mod tenants;

pub use self::api::Api;
pub(crate) use self::api::{Policy, PossessionRules, SenderConstraintRule};
pub(crate) use self::domain::is_auth0_domain;
pub(crate) use self::domain_list::DomainList;
pub use self::entra::{EntraCloud, EntraTenants};
pub(crate) use self::entra::{EntraRule, TenantId};
pub(crate) use self::error::SettingErrors;
pub use self::error::{ConfigError, SettingError, SettingErrorKind};
pub(crate) use self::hosts::HostRules;
pub use self::issuer::Issuer;
pub(crate) use self::issuer_keys::IssuerKeys;
pub use self::issuer_pattern::IssuerPatternError;
pub(crate) use self::name_rule::{NameMatch, NameRule};
pub(crate) use self::organizations::OrganizationOfRequest;
pub use self::organizations::Organizations;
pub use self::tenant_setting_error::TenantSettingError;
pub(crate) use self::tenants::{AddressRule, ResolvedTenant, TenantPolicy};
pub use self::tenants::{ClaimedIssuer, Tenant, TenantError, TenantEvent, TenantEventKind, TenantNames, Tenants};
