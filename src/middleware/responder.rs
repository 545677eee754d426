//! `Responder`: the responses of the layers inside a `BearerLayer`, in the way of the layers around them.

use http::Response;

use crate::middleware::outer_layers::OuterLayers;
use crate::rejection::Rejection;
use crate::request::RequestHead;
use crate::requirement::{ChallengeParams, Facts, RequirementError};
use crate::response::{Challenges, ErrorBody, Misconfiguration, Protocol, error_response};
use crate::telemetry;
use crate::validator::{hint_for_error, record_unmet};

/// Responds to one request for a layer that requires something of the verified claims.
pub(super) struct Responder<'r, R> {
    request: &'r RequestHead<'r>,
    outer_layers: Option<&'r OuterLayers>,
    body: &'r R,
}

impl<'r, R> Responder<'r, R> {
    pub(super) fn new(request: &'r RequestHead<'r>, body: &'r R) -> Self {
        Self { request, outer_layers: request.extensions().get(), body }
    }

    /// Responds to a request whose claims do not meet the requirement. `facts` contains the claims of the request.
    pub(super) fn unmet<B>(&self, error: RequirementError, facts: &Facts<'_>) -> Response<B>
    where
        R: ErrorBody<B>,
    {
        let error = match self.outer_layers {
            Some(outer_layers) => error.with_outer_params(outer_layers.challenge_params(Some(facts))),
            None => error,
        };
        let hint = hint_for_error(&error);
        self.respond(Rejection::from(error), hint, &self.challenges().for_request(facts.claims.used_schemes()))
    }

    /// Responds to a request without claims: the `BearerLayer` accepted it without credential, or there is no such layer.
    /// `params` are the challenge parameters of this layer `L`, and `reason` is logged if there is no such layer.
    pub(super) fn without_claims<L, B>(&self, params: ChallengeParams, reason: &'static str) -> Response<B>
    where
        R: ErrorBody<B>,
    {
        let Some(outer_layers) = self.outer_layers else { return self.misconfigured::<L, B>(reason) };
        let params = outer_layers.challenge_params(None).merge(params);
        self.respond(Rejection::NoCredential, None, &self.challenges().with_route_scope(params.scope))
    }

    /// Responds to a request that shows an error of the program. `T` is the type that has found it.
    pub(super) fn misconfigured<T, B>(&self, reason: &'static str) -> Response<B>
    where
        R: ErrorBody<B>,
    {
        report_misconfiguration::<T>(reason, self.request).respond(self.body)
    }

    fn challenges(&self) -> Challenges {
        let options = self.outer_layers.and_then(OuterLayers::response_options);
        options.map(|options| options.challenges.clone()).unwrap_or_default()
    }

    fn respond<B>(&self, rejection: Rejection, hint: Option<&'static str>, challenges: &Challenges) -> Response<B>
    where
        R: ErrorBody<B>,
    {
        record_unmet(&rejection, hint);
        let protocol = Protocol::from_request(self.request);
        error_response(self.body, challenges.error_parts(&rejection).with_protocol(protocol), rejection)
    }
}

/// Logs an error of the program that the layer or extractor `T` has found.
pub(crate) fn report_misconfiguration<T>(reason: &'static str, request: &RequestHead<'_>) -> Misconfiguration {
    let found = Misconfiguration::new::<T>(reason, request);
    telemetry::misconfigured(found.reason(), found.route(), found.type_name());
    found
}
