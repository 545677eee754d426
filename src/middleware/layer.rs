//! `BearerLayer`: the tower layer that authenticates requests.

use std::sync::Arc;

use tower_layer::Layer;

use crate::authenticator::Authenticator;
use crate::claims::NoCustomClaims;
use crate::middleware::service::BearerService;
use crate::response::EmptyBody;

/// Accepts only requests with a valid access token, and inserts the claims into the request's extensions.
///
/// The layer is an [`Authenticator`], so its settings are the methods of that type, and code beside the layer can call
/// [`authenticate`](Authenticator::authenticate) on a clone.
///
/// The extensions of an accepted request contain `Claims<C>` with the custom claims, and also [`Claims`](crate::Claims) without
/// custom claims, which [`RequireLayer`](crate::RequireLayer) reads. The layer marks the `Authorization` value as sensitive, so
/// that it does not appear in logs of headers.
///
/// The response to a rejected request has the status and `WWW-Authenticate` header of RFC 6750 §3, and no body unless
/// [`with_json_body`](Authenticator::with_json_body) or [`with_response_hook`](Authenticator::with_response_hook) is set. All
/// methods need a token, also `HEAD` and `OPTIONS`.
///
/// If one `BearerLayer` is inside another, the inner layer wins. It replaces the claims of the outer layer or, if it accepts
/// the request without a credential, removes them. There is one exception: if the layers have different types of custom
/// claims, `A` outside and `B` inside, `Claims<A>` of the outer layer stay in the extensions. If a layer in between changes
/// the credential, `Claims<A>` and `Claims<B>` belong to different tokens. The axum extractors then do not return `Claims<A>`.
/// Code that reads the extensions itself must read `Claims` without custom claims, which always belong to the inner layer.
///
/// ```
/// use tower_bearer::{Api, BearerLayer, Issuer, Secret, Validator};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::shared_secret("https://id.northwind.com/", Secret::from_text("thirty-two bytes or more, please"));
/// let validator = Validator::new(Api::new("https://api.northwind.com", issuer))?;
/// let layer = BearerLayer::new(validator).with_realm("northwind").with_challenge_scope("read:orders");
/// assert!(layer.try_with_realm("north\r\nwind").is_err());
/// # Ok(()) }
/// ```
pub type BearerLayer<C = NoCustomClaims, R = EmptyBody> = Authenticator<C, R>;

impl<S, C, R> Layer<S> for Authenticator<C, R> {
    type Service = BearerService<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerService { inner, layer: Arc::new(self.clone()) }
    }
}
