//! `source()` of the public errors: an error contains the text of its cause, or returns it as its source, never both.

use std::error::Error;
use std::time::Duration;

use http::{Request, StatusCode};
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::extract::BearerRejection;
use tower_bearer::fetch::{EndpointError, FetchError};
use tower_bearer::introspection::IntrospectionRejection;
use tower_bearer::jwks::SecretSource;
use tower_bearer::metadata::ProtectedResourceMetadata;
use tower_bearer::request::RequestHead;
use tower_bearer::requirement::RequirementError;
use tower_bearer::testing::{FakeClock, Outage, Reply, TestIssuer};
use tower_bearer::{Api, BuildError, Issuer, Rejection, Requirement, Secret, Validator, ValidatorBuilder};

use crate::fixture::{AUDIENCE, block_on};
use crate::introspection_fixture::{Scripted, TOKEN};

/// Returns the texts of an error and of all its sources.
fn texts(error: &dyn Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| (**error).source()).map(ToString::to_string).collect()
}

/// Returns a builder of a validator whose issuer is down.
fn down() -> (TestIssuer, ValidatorBuilder) {
    let server = TestIssuer::new();
    server.set_outage(Outage::Status(StatusCode::FORBIDDEN));
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    (server.clone(), Validator::builder(api).with_fetch(server))
}

#[test]
fn rejection_returns_the_cause_of_missing_keys_as_its_source() {
    let expected = ["the issuer's keys are not available", "the server responded with status 403"];
    let (server, builder) = down();
    let validator = builder.build().expect("a valid configuration");
    let rejection = block_on(validator.validate(&server.token().sign())).expect_err("no keys");
    assert_eq!(texts(&rejection), expected);
    assert_eq!(texts(&BearerRejection::from(rejection)), expected);
}

#[test]
fn rejections_write_the_text_of_the_error_in_them() {
    let server = TestIssuer::new();
    let validator = Validator::builder(Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri())));
    let validator = validator.with_fetch(server.clone()).build().expect("a valid configuration");
    let rejected = |token: &str| block_on(validator.validate(token)).expect_err("a rejection");
    for (token, expected) in [
        ("a b".to_owned(), "the token has white space before, after or inside it"),
        (server.token().expired().sign(), "the token has expired (signature not checked)"),
        (server.token().issuer("https://other.test/").sign(), "iss is not a trusted issuer"),
        (
            server.token().typ("logout+jwt").sign(),
            "the token type (typ, or token_type or token_use of an introspection answer) is not accepted",
        ),
    ] {
        let rejection = rejected(&token);
        assert_eq!(texts(&rejection), [expected], "{rejection:?}");
    }
    let unmet = tower_bearer::testing::claims().build().require(&Requirement::scope("a")).expect_err("no scope");
    assert_eq!(texts(&unmet), ["the token lacks the scope a"]);
    assert_eq!(texts(unmet.unmet().expect("a scope")), ["the token lacks the scope a"]);
}

#[test]
fn errors_of_requirements_and_rejected_requests_have_the_texts_of_their_rejections() {
    let claims = tower_bearer::testing::claims().build();
    for (error, expected) in [
        (
            RequirementError::forbidden(&claims, "owner of the document"),
            "the token does not meet the requirement owner of the document",
        ),
        (
            RequirementError::unavailable(&claims, Duration::from_secs(5)),
            "a requirement cannot be checked at the moment",
        ),
        (claims.require(&Requirement::permission("p")).expect_err("no permission"), "the token lacks the permission p"),
    ] {
        assert_eq!(texts(&error), [expected]);
        assert_eq!(texts(&BearerRejection::from(error.clone())), [expected]);
        assert_eq!(texts(&Rejection::from(error)), [expected]);
    }

    let (server, builder) = down();
    let authenticator = Authenticator::new(builder.build().expect("a valid configuration"));
    let request = Request::get("/").header("authorization", format!("Bearer {}", server.token().sign())).body(());
    let request = request.expect("a request");
    let Outcome::Rejected(rejected) = block_on(authenticator.authenticate(&RequestHead::new(&request))) else {
        panic!("no keys")
    };
    let expected = ["the issuer's keys are not available", "the server responded with status 403"];
    assert_eq!(texts(&rejected), expected);
}

#[tokio::test]
async fn rejection_without_an_answer_has_the_cause_as_its_source() {
    let text = "the server gave no answer about the token";
    for (error, expected) in [
        (FetchError::Timeout, "the introspection endpoint did not respond in time".to_owned()),
        (FetchError::Tls, FetchError::Tls.to_string()),
    ] {
        let scripted = Scripted::new();
        scripted.always_reply(Reply::error(error));
        let rejection = scripted.validator().validate(TOKEN).await.expect_err("no answer");
        assert_eq!(texts(&rejection), [text, &expected]);
        let Rejection::Introspection(unavailable) = rejection else { panic!("{rejection:?}") };
        assert_eq!(texts(&unavailable), [text, &expected]);
    }
    assert_eq!(
        texts(&Rejection::Introspection(IntrospectionRejection::Inactive)),
        ["the server says that the token is not active"]
    );
}

#[tokio::test]
async fn build_error_and_not_ready_error_have_the_error_of_the_fetch() {
    let clock = FakeClock::new();
    let ready = down().1.with_clock(clock.clone()).build_ready(Duration::from_secs(1));
    let (built, ()) = tokio::join!(ready, clock.run_for(Duration::from_secs(2)));
    let error = built.expect_err("no keys");
    assert_eq!(texts(&error), ["no usable keys", "the server responded with status 403"]);
    let BuildError::NotReady(not_ready) = &error else { panic!("{error:?}") };
    assert_eq!(texts(not_ready), texts(&error));
}

#[test]
fn configuration_errors_write_all_causes() {
    let api = Api::new(AUDIENCE, Issuer::jwks("https://id.test/", "http://id.test/keys"));
    let error = Validator::new(api).expect_err("plain http");
    assert_eq!(texts(&error).len(), 1);
    assert!(error.to_string().contains(&EndpointError::PlainHttp.to_string()), "{error}");
    assert_eq!(texts(&error.errors()[0]).len(), 1);
    let secrets = SecretSource::new(Secret::from_text("a secret of more than thirty-two bytes").expect("a secret"));
    let api = Api::new(AUDIENCE, Issuer::secret_source("https://id.test/", &secrets));
    let _validator = Validator::new(api).expect("a valid configuration");
    let short = secrets.replace([Secret::from_text("short").expect("a secret")]).expect_err("a short secret");
    assert_eq!(texts(&short).len(), 1);
}

#[test]
fn metadata_error_has_the_error_of_the_url() {
    let error = ProtectedResourceMetadata::new("http://api.test/", ["https://id.test/"]).expect_err("plain http");
    assert_eq!(texts(&error), ["the URL of the resource is not accepted", &EndpointError::PlainHttp.to_string()]);
    let error = ProtectedResourceMetadata::new("https://api.test/", ["id.test"]).expect_err("no URL");
    assert_eq!(texts(&error), ["the URL of an authorization server is not accepted", "not an absolute https URL"]);
}
