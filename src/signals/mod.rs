//! Signals of an issuer: messages that say that a session has ended.
//!
//! With [back-channel logout](https://openid.net/specs/openid-connect-backchannel-1_0.html), the issuer sends a *logout token* to a
//! URL of the application when a user logs out. A [`LogoutReceiver`] verifies it and [revokes](crate::revocation) the tokens of the
//! session or of the user. The guide has the steps for [Auth0, Keycloak and
//! Okta](crate::guide::revocation#let-the-issuer-end-sessions-back-channel-logout).
//!
//! ```
//! use tower_bearer::revocation::Revocations;
//! use tower_bearer::signals::LogoutReceiver;
//! use tower_bearer::testing::TestIssuer;
//! use tower_bearer::{Api, Issuer, RejectionKind, Validator};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TestIssuer::auth0("northwind.eu.auth0.com");
//! let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
//! let revocations = Revocations::in_memory();
//! let validator = Validator::builder(api).with_fetch(server.clone()).with_revocations(&revocations).build()?;
//!
//! let issuer = validator.issuer("https://northwind.eu.auth0.com/").ok_or("a trusted issuer")?;
//! let logout = LogoutReceiver::new(issuer, ["the client id of the web application"], &revocations);
//!
//! let token = server.token().audience("https://api.northwind.com").subject("auth0|ann").sign();
//! assert!(validator.validate(&token).await.is_ok());
//!
//! // The server calls the URL when Ann logs out.
//! let logout_token = server.logout_token("the client id of the web application").subject("auth0|ann").sign();
//! let request = http::Request::post("/").header("content-type", "application/x-www-form-urlencoded").body(())?;
//! let body = format!("logout_token={logout_token}");
//! let response = logout.receive(&request.into_parts().0, body.as_bytes()).await;
//! assert_eq!(response.status(), 200);
//! assert_eq!(validator.validate(&token).await.unwrap_err().kind(), RejectionKind::Revoked);
//! # Ok(()) }
//! ```

mod answer;
mod form;
mod key_waits;
mod logout_token;
mod receiver;

pub use self::receiver::{LogoutReach, LogoutReceiver};
