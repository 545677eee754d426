//! What an API trusts: issuers, their keys and algorithms, and the rules for claims.
//!
//! Constructors take what is required, `with_*` what is optional. None of them fails: `Validator::new` reports every
//! fault of the whole configuration at once.

mod api;
mod domain;
mod error;
mod hosts;
mod issuer;
mod organizations;

pub use self::api::Api;
pub(crate) use self::api::Policy;
pub(crate) use self::domain::is_auth0_domain;
pub(crate) use self::error::SettingErrors;
pub use self::error::{ConfigError, SettingError, SettingErrorKind};
pub(crate) use self::hosts::HostRules;
pub use self::issuer::Issuer;
pub(crate) use self::issuer::KeyOrigin;
pub(crate) use self::organizations::OrganizationOfRequest;
pub use self::organizations::Organizations;
