//! A validator whose tenants are looked up and in use.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tower_bearer::config::{Tenant, Tenants};
use tower_bearer::keys::KeySet;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Issuer, Validator, ValidatorBuilder};

use crate::support::{AUDIENCE, token};

/// A validator, and the runtime of its tasks, which nobody drives.
pub struct Dynamic {
    pub validator: Validator,
    /// A token of one of the tenants.
    pub text: String,
    _runtime: Runtime,
}

/// Returns the `iss` of a tenant.
pub fn name(number: usize) -> String {
    format!("https://id.example.com/realms/11111111-{number:04}")
}

/// Returns a validator with so many tenants, which have the keys of `server`.
pub fn dynamic(
    server: &TestIssuer,
    tenants: usize,
    change: impl FnOnce(ValidatorBuilder) -> ValidatorBuilder,
) -> Dynamic {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let keys = Arc::new(KeySet::from_jwks(server.jwks()).expect("keys"));
    let rule = Tenants::matching("https://id.example.com/realms/{realm}").resolved_by(move |claimed| {
        let issuer = Issuer::static_keys(claimed.issuer(), KeySet::clone(&keys));
        async move { Ok(Some(Tenant::new(issuer))) }
    });
    // The tenants that were not proven fit into an eighth of the room.
    let rule = rule.with_max_tenants(tenants * 8).with_new_tenants_per_second(1_000);
    let builder = change(Validator::builder(Api::for_tenants(AUDIENCE, rule)));
    let validator = builder.build().expect("a valid configuration");
    let text = token(server, 0).issuer(&name(tenants / 2)).sign();
    runtime.block_on(async {
        for number in (0..tenants).filter(|number| *number != tenants / 2) {
            // It is not signed, since that takes long.
            let forged = token(server, 0).issuer(&name(number)).with_signature(b"none".to_vec()).sign();
            validator.validate(&forged).await.expect_err("a forged token");
        }
        validator.validate(&text).await.expect("a valid token");
    });
    assert_eq!(validator.tenants().issuers().len(), tenants);
    Dynamic { validator, text, _runtime: runtime }
}
