//! Extractors and rejections for axum.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_bearer::extract::BearerRejection;
//! use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Secret, Validator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = Issuer::shared_secret("https://id.northwind.com/", Secret::from_text("thirty-two bytes or more, please"));
//! let validator = Validator::new(Api::new("https://api.northwind.com", issuer))?;
//!
//! async fn list_orders(claims: Claims) -> String {
//!     format!("hello {:?}", claims.subject())
//! }
//!
//! // The layer that is added last runs first.
//! let app: Router = Router::new()
//!     .route("/orders", get(list_orders))
//!     .route_layer(RequireLayer::scope("read:orders"))
//!     .layer(BearerLayer::new(validator));
//! # let _ = app;
//! # Ok(()) }
//! ```

mod claims;
mod logout;
mod metadata;
mod context;
mod rejection;
mod required;
mod sender_constraint;
mod token;

pub use self::claims::ClaimsRejection;
pub use self::rejection::BearerRejection;
pub use self::required::{Required, StaticRequirement};
