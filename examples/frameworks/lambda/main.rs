//! An AWS Lambda function behind the layers: `lambda_http` runs any tower service.
//!
//! Prints a token.

use lambda_http::tower::ServiceBuilder;
use lambda_http::{Body, Error, Request, Response, service_fn};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(issuer.clone()).build()?;
    let token = issuer.token().audience("https://api.northwind.com").subject("ann");
    println!("token {}", token.clone().scope("read:orders").sign());
    println!("token without scope {}", token.sign());

    let service = ServiceBuilder::new()
        .layer(BearerLayer::new(validator).with_realm("northwind"))
        .layer(RequireLayer::scope("read:orders"))
        .service(service_fn(list_orders));
    lambda_http::run(service).await
}

async fn list_orders(request: Request) -> Result<Response<Body>, Error> {
    // The layer inserts the claims before it calls this function.
    let subject = request
        .extensions()
        .get::<Claims>()
        .and_then(|claims| claims.subject())
        .unwrap_or("nobody");
    Ok(Response::new(Body::from(format!("orders of {subject}\n"))))
}
