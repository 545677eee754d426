//! Logout tokens of tenants that are not known at start.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response};
use tower_bearer::Validator;
use tower_bearer::revocation::{RevocationKind, Revocations};
use tower_bearer::signals::LogoutReceiver;
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::{Rejection, RejectionKind};

use crate::fixture::AUDIENCE;
use crate::tenants_fixture::{Answer, Realms, iss, outcome};

const CLIENT: &str = "web";

struct Fixture {
    realms: Realms,
    list: Revocations,
    validator: Validator,
}

impl Fixture {
    fn new() -> Self {
        let realms = Realms::new(["a", "b"]);
        let list = Revocations::builder().with_clock(realms.clock.clone()).in_memory().expect("settings in range");
        let builder = realms.builder(realms.api()).with_revocations(&list);
        let validator = builder.build().expect("a valid configuration");
        Self { realms, list, validator }
    }

    fn receiver(&self, realm: &str) -> LogoutReceiver {
        let issuer = self.validator.issuer(&iss(realm)).expect("a name of a tenant");
        LogoutReceiver::new(issuer, [CLIENT], &self.list)
    }

    fn logout_token(&self, realm: &str) -> String {
        self.realms.server(realm).logout_token(CLIENT).subject("ann").sign()
    }

    /// A token of a user, whom each realm has.
    fn token(&self, realm: &str) -> String {
        let token = self.realms.server(realm).token().audience(AUDIENCE).subject("ann");
        token.expires_in(Duration::from_secs(3600)).sign()
    }
}

async fn send(receiver: &LogoutReceiver, logout_token: &str) -> Response<Bytes> {
    let request = Request::builder().method(Method::POST).uri("/logout");
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(()).expect("a request");
    receiver.receive(&request.into_parts().0, format!("logout_token={logout_token}").as_bytes()).await
}

async fn status(receiver: &LogoutReceiver, logout_token: &str) -> u16 {
    send(receiver, logout_token).await.status().as_u16()
}

#[tokio::test]
async fn a_logout_token_revokes_the_tokens_of_its_tenant_only() {
    // The tenant is in use, or this process has seen no token of it.
    for is_known in [true, false] {
        let fixture = Fixture::new();
        let (a, b) = (fixture.token("a"), fixture.token("b"));
        assert_eq!(outcome(&fixture.validator, &b).await, Ok(()));
        if is_known {
            assert_eq!(outcome(&fixture.validator, &a).await, Ok(()));
        }
        let receiver = fixture.receiver("a");
        assert_eq!(receiver_calls(&fixture), usize::from(is_known), "creating it looks nothing up");
        for _ in 0..2 {
            assert_eq!(status(&receiver, &fixture.logout_token("a")).await, 200);
        }
        assert_eq!(receiver_calls(&fixture), 1);
        let revoked = Err(Rejection::Revoked { by: RevocationKind::Subject });
        assert_eq!(outcome(&fixture.validator, &a).await, revoked);
        assert_eq!(outcome(&fixture.validator, &b).await, Ok(()));
        fixture.realms.pass(Duration::from_secs(2)).await;
        assert_eq!(outcome(&fixture.validator, &fixture.token("a")).await, Ok(()), "a new login");
    }
}

fn receiver_calls(fixture: &Fixture) -> usize {
    fixture.realms.calls_for("a")
}

#[tokio::test]
async fn rejects_logout_tokens_of_others() {
    let fixture = Fixture::new();
    let (realms, receiver) = (&fixture.realms, fixture.receiver("a"));
    let forged = realms.server("a").logout_token(CLIENT).subject("ann").signed_by(&realms.server("b"));
    let renamed = TestIssuer::named(&iss("a")).with_clock(realms.clock.clone()).logout_token(CLIENT).subject("ann");
    for wrong in [
        fixture.logout_token("b"),
        forged.sign(),
        renamed.sign(),
        realms.server("a").logout_token("other").subject("ann").sign(),
        fixture.token("a"),
    ] {
        assert_eq!(status(&receiver, &wrong).await, 400);
    }
    assert_eq!(realms.calls_for("b"), 0);
    assert_eq!(fixture.list.status().entries(RevocationKind::Subject), 0);
    assert_eq!(status(&receiver, &fixture.logout_token("a")).await, 200);
    assert_eq!(fixture.list.status().entries(RevocationKind::Subject), 1);
    for name in ["https://id.test/realms/", "https://id.test.evil.test/realms/a", "https://other.test/"] {
        assert!(fixture.validator.issuer(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn answers_as_the_resolver_does() {
    let fixture = Fixture::new();
    let (realms, receiver) = (&fixture.realms, fixture.receiver("a"));
    realms.set("a", Answer::Unknown);
    assert_eq!(status(&receiver, &fixture.logout_token("a")).await, 400);
    fixture.validator.tenants().remove(&iss("a"));
    realms.set("a", Answer::Fail);
    let response = send(&receiver, &fixture.logout_token("a")).await;
    assert_eq!((response.status().as_u16(), response.headers()[RETRY_AFTER].as_bytes()), (503, &b"1"[..]));
    realms.set("a", Answer::Known);
    realms.pass(Duration::from_secs(1)).await;
    assert_eq!(status(&receiver, &fixture.logout_token("a")).await, 200);
    // Another tenant with this name has other keys.
    let earlier = fixture.logout_token("a");
    realms.create("a");
    fixture.validator.tenants().remove(&iss("a"));
    assert_eq!(status(&receiver, &earlier).await, 400);
    assert_eq!(status(&receiver, &fixture.logout_token("a")).await, 200);
}

#[tokio::test]
async fn a_tenant_that_hangs_delays_no_logout_of_another_one() {
    let fixture = Fixture::new();
    fixture.realms.server("a").set_outage(Outage::Hang);
    let (receiver, token) = (fixture.receiver("a"), fixture.logout_token("a"));
    let hanging = tokio::spawn(async move { status(&receiver, &token).await });
    fixture.realms.clock.settle().await;
    assert_eq!(status(&fixture.receiver("b"), &fixture.logout_token("b")).await, 200);
    assert!(!hanging.is_finished(), "the clock stands still");
    // The tenant is removed meanwhile.
    fixture.realms.set("a", Answer::Unknown);
    fixture.validator.tenants().remove(&iss("a"));
    assert_eq!(hanging.await.expect("no panic"), 400);
    let rejected = fixture.validator.validate(&fixture.token("a")).await.unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::Issuer);
}
