//! Fixtures of the tests of introspection: a server with scripted answers, and a validator that calls it.

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tower_bearer::clock::Timestamp;
use tower_bearer::fetch::{Endpoint, Fetch, FetchFuture, FetchRequest, FormRequest};
use tower_bearer::introspection::{ClientAuthentication, Introspection, IntrospectionError, IntrospectionRejection};
use tower_bearer::testing::{FakeClock, FakeFetch, Reply};
use tower_bearer::{Api, Issuer, Rejection, Validator};

use crate::fixture::{AUDIENCE, NOW};

pub(crate) const ISSUER: &str = "https://id.test";
pub(crate) const ENDPOINT: &str = "https://id.test/introspect";
pub(crate) const TOKEN: &str = "opaque-token-1";

/// A server in memory, at [`NOW`].
pub(crate) struct Scripted {
    pub(crate) clock: FakeClock,
    pub(crate) network: FakeFetch,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
        Self { network: FakeFetch::new(&clock), clock }
    }

    /// Returns a server that always gives this answer.
    pub(crate) fn answering(answer: &Value) -> Self {
        let scripted = Self::new();
        scripted.always(answer);
        scripted
    }

    pub(crate) fn always(&self, answer: &Value) {
        self.network.always(ENDPOINT, reply(answer));
    }

    pub(crate) fn always_reply(&self, reply: Reply) {
        self.network.always(ENDPOINT, reply);
    }

    /// Returns the number of calls.
    pub(crate) fn calls(&self) -> usize {
        self.network.calls_to(ENDPOINT)
    }

    pub(crate) fn validator(&self) -> Validator {
        self.validator_with(introspection())
    }

    pub(crate) fn validator_with(&self, introspection: Introspection) -> Validator {
        self.validator_of(Api::new(AUDIENCE, Issuer::opaque(ISSUER, introspection)))
    }

    /// Returns a validator whose server answers by the kind of a token, which is its text up to the first `-`: the
    /// replies are those of [`kind`]. Every other token is of the kind `unknown`, such as a random text.
    pub(crate) fn validator_by_kind(&self, introspection: Introspection) -> Validator {
        let api = Api::new(AUDIENCE, Issuer::opaque(ISSUER, introspection));
        let builder = Validator::builder(api).with_fetch(ByKind(self.network.clone())).with_clock(self.clock.clone());
        builder.build().expect("a valid configuration")
    }

    pub(crate) fn validator_of(&self, api: Api) -> Validator {
        let builder = Validator::builder(api).with_fetch(self.network.clone()).with_clock(self.clock.clone());
        builder.build().expect("a valid configuration")
    }
}

/// Sends each form to the URL of the kind of its token.
#[derive(Debug)]
struct ByKind(FakeFetch);

impl Fetch for ByKind {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        self.0.fetch(request)
    }

    fn post(&self, mut request: FormRequest) -> FetchFuture {
        let form = String::from_utf8_lossy(&request.body);
        let token = form.split(['=', '&']).nth(1).unwrap_or_default();
        let name = token.split_once('-').map_or("unknown", |(name, _)| name);
        request.endpoint = Endpoint::new(&kind(name)).expect("a URL");
        self.0.post(request)
    }
}

/// Returns the URL to which [`Scripted::validator_by_kind`] sends forms about tokens of this kind.
pub(crate) fn kind(name: &str) -> String {
    format!("{ENDPOINT}/{name}")
}

pub(crate) fn authentication() -> ClientAuthentication {
    ClientAuthentication::basic("orders-api", "s3cret")
}

pub(crate) fn introspection() -> Introspection {
    Introspection::at(ENDPOINT, authentication())
}

/// Returns a reply with an answer as JSON.
pub(crate) fn reply(answer: &Value) -> Reply {
    json_reply(answer.to_string())
}

pub(crate) fn json_reply(body: impl Into<String>) -> Reply {
    Reply::json(body.into()).with_header(CONTENT_TYPE, "application/json")
}

/// Returns a positive answer that this API accepts, with these members added or, if they are null, removed.
pub(crate) fn active(changes: Value) -> Value {
    let mut answer = json!({
        "active": true, "iss": ISSUER, "sub": "ann", "aud": AUDIENCE, "exp": NOW + 3600, "client_id": "shop",
        "scope": "read:orders", "token_type": "Bearer"
    });
    let Value::Object(changes) = changes else { panic!("an object") };
    for (name, value) in changes {
        let members = answer.as_object_mut().expect("an object");
        if value.is_null() { drop(members.remove(&name)) } else { drop(members.insert(name, value)) }
    }
    answer
}

pub(crate) fn inactive() -> Value {
    json!({ "active": false })
}

pub(crate) const INACTIVE: Rejection = Rejection::Introspection(IntrospectionRejection::Inactive);

/// Returns why there is no answer.
pub(crate) fn cause(result: Result<impl Sized, Rejection>) -> IntrospectionError {
    match result.map(drop) {
        Err(Rejection::Introspection(IntrospectionRejection::Unavailable { cause, .. })) => cause,
        other => panic!("{other:?}"),
    }
}
