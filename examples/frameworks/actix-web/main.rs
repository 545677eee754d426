//! An actix-web API: a middleware authenticates each request, a handler checks the scope.
//!
//! Prints a token and the address of the API.

use std::io;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadRequest, ErrorInternalServerError};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpMessage as _, HttpResponse, HttpServer, web};
use tower_bearer::authenticator::{Authenticated, Authenticator, Outcome, Rejected};
use tower_bearer::request::RequestHead;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Issuer, Requirement, Validator};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    let validator =
        Validator::builder(api).with_fetch(issuer.clone()).build().map_err(io::Error::other)?;
    let authenticator = web::Data::new(Authenticator::new(validator).with_realm("northwind"));

    let server = HttpServer::new(move || {
        App::new()
            .app_data(authenticator.clone())
            .wrap(from_fn(authenticate))
            .route("/orders", web::get().to(list_orders))
    });
    let server = server.bind(("127.0.0.1", 0))?;
    let token = issuer.token().audience("https://api.northwind.com").subject("ann");
    println!("token {}", token.clone().scope("read:orders").sign());
    println!("token without scope {}", token.sign());
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await
}

async fn authenticate(
    authenticator: web::Data<Authenticator>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let head = head(&request).map_err(ErrorBadRequest)?;
    let user = match authenticator.authenticate(&RequestHead::new(&head)).await {
        Outcome::Authenticated(user) => user,
        Outcome::Rejected(rejected) => return Ok(request.into_response(response(&rejected))),
        // Only after `with_anonymous`. The handler then has no user.
        Outcome::Anonymous => return Ok(next.call(request).await?.map_into_boxed_body()),
    };
    let headers = user.response_headers().clone();
    request.extensions_mut().insert(user);
    let mut response = next.call(request).await?.map_into_boxed_body();
    for (name, value) in &headers {
        let name = name.as_str().as_bytes();
        let name = HeaderName::from_bytes(name).map_err(ErrorInternalServerError)?;
        response.headers_mut().insert(name, HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok(response)
}

async fn list_orders(user: web::ReqData<Authenticated>) -> HttpResponse {
    if let Err(rejected) = user.require(&Requirement::scope("read:orders")) {
        return response(&rejected);
    }
    HttpResponse::Ok().body(format!("orders of {}\n", user.claims().subject().unwrap_or("nobody")))
}

/// Copies the head of a request, because actix-web has the types of `http` 0.2.
fn head(request: &ServiceRequest) -> Result<http::Request<()>, http::Error> {
    let version = if request.version() == Version::HTTP_2 {
        http::Version::HTTP_2
    } else {
        http::Version::HTTP_11
    };
    let head = http::Request::builder()
        .method(request.method().as_str())
        .uri(request.uri().to_string())
        .version(version);
    let fields = request.headers().iter();
    fields.fold(head, |head, (name, value)| head.header(name.as_str(), value.as_bytes())).body(())
}

fn response(rejected: &Rejected) -> HttpResponse {
    let (parts, body) = rejected.to_response().into_parts();
    let status =
        StatusCode::from_u16(parts.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in &parts.headers {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    response.body(body)
}
