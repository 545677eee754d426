//! `Misconfiguration`: an error of the program that a request has shown, such as a missing layer.

use std::any::type_name;
use std::fmt;

use http::Response;

use crate::request::RequestHead;
use crate::response::body::{ErrorBody, misconfigured};
use crate::response::grpc::Protocol;
use crate::response::parts::ErrorParts;

/// An error of the program that a request has shown: a layer is missing, or it provides other claims than a handler needs. The
/// response is 500.
///
/// `Display` names the error, the route and the type that has found it. The log contains these, and in builds with debug
/// assertions also the body of the response: that of an extractor, and that of a layer with a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misconfiguration {
    reason: &'static str,
    route: Box<str>,
    type_name: &'static str,
    protocol: Protocol,
}

impl Misconfiguration {
    /// Creates the error that the layer or extractor `T` has found.
    pub(crate) fn new<T>(reason: &'static str, request: &RequestHead<'_>) -> Self {
        // Without the query, which may contain secrets.
        let path = request.uri().path().escape_debug().take(MAX_PATH);
        Self {
            reason,
            route: format!("{} {}", request.method(), path.collect::<String>()).into(),
            type_name: type_name::<T>(),
            protocol: Protocol::from_request(request),
        }
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.reason
    }

    /// Returns the method and path of the request.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// Returns the name of the type that has found the error.
    pub(crate) fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// Returns the text for the body of the response. A release build has none, because it would describe the program to
    /// clients.
    pub(crate) fn body_text(&self) -> Option<String> {
        (cfg!(debug_assertions) && self.protocol == Protocol::Http).then(|| self.to_string())
    }

    pub(crate) fn respond<B>(&self, body: &impl ErrorBody<B>) -> Response<B> {
        misconfigured(body, ErrorParts::misconfigured(self.body_text()).with_protocol(self.protocol))
    }
}

impl fmt::Display for Misconfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {}", self.reason, self.route, self.type_name)
    }
}

impl std::error::Error for Misconfiguration {}

/// The number of characters of a path that the log contains.
const MAX_PATH: usize = 200;
