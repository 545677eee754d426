//! Tower layers: [`BearerLayer`] authenticates a request, [`RequireLayer`] and [`AsyncRequireLayer`] authorize it.
//!
//! All of them support any request body, response body and error type. They respond to a rejected request themselves and do not
//! call the inner service.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Secret, Validator};
//!
//! async fn greet(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
//!     let claims: Option<&Claims> = request.extensions().get();
//!     Ok(Response::new(Full::from(format!("hello {:?}", claims.and_then(|claims| claims.subject())))))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = Issuer::shared_secret("https://id.northwind.com/", Secret::from_text("thirty-two bytes or more, please"));
//! let validator = Validator::new(Api::new("https://api.northwind.com", issuer))?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerLayer::new(validator).with_realm("northwind").with_json_body())
//!     .layer(RequireLayer::scope("read:orders").with_json_body())
//!     .service(service_fn(greet));
//!
//! let response = service.oneshot(Request::new(Full::default())).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="northwind""#);
//! # Ok(()) }
//! ```

mod outer_layers;
mod future;
mod responder;
mod require;
mod async_requirement;
mod async_require;
mod layer;
mod metadata;
mod service;

pub use self::async_require::{AsyncRequireLayer, AsyncRequireService};
pub use self::async_requirement::AsyncRequirement;
pub use self::future::ResponseFuture;
pub use self::layer::BearerLayer;
pub use self::metadata::MetadataService;
#[cfg(feature = "axum")]
pub(crate) use self::metadata::document;
#[cfg(feature = "axum")]
pub(crate) use self::outer_layers::OuterLayers;
pub use self::require::{RequireLayer, RequireService};
#[cfg(feature = "axum")]
pub(crate) use self::responder::report_misconfiguration;
pub use self::service::BearerService;
