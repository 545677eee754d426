//! `EndpointClient`: sends requests about tokens to an introspection endpoint, and reads the responses.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::claims::ClaimsSettings;
use crate::clock::{Clock, Monotonic};
use crate::fetch::{Exchange, ExchangeRules, Fetch, FetchResponse, FormRequest, Redirects};
use crate::introspection::answer::{self, AnswerSignature, Parsed};
use crate::introspection::error::{IntrospectionError, SignedAnswerError, Unavailable};
use crate::introspection::location::{Location, Locator};
use crate::introspection::settings::{AnswerForm, Introspection};
use crate::introspection::signed::{self, Expected};
use crate::jwks::{KeyRing, RefreshPolicy, WantedKey};
use crate::token::{self, Algorithm, is_media_type};

/// Sends requests about tokens to one endpoint.
pub(super) struct EndpointClient {
    pub(super) parts: ClientParts,
    locator: Locator,
}

/// What a client is made of.
pub(crate) struct ClientParts {
    /// The `iss` values of the issuer. The first one is its name.
    pub(crate) issuers: Box<[Box<str>]>,
    pub(crate) settings: Introspection,
    /// The keys that verify signed answers.
    pub(crate) keys: KeyRing,
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) leeway: Duration,
    pub(crate) claims_settings: Arc<ClaimsSettings>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl EndpointClient {
    pub(super) fn new(parts: ClientParts, location: Location, policy: RefreshPolicy) -> Self {
        Self { parts, locator: Locator::new(location, policy) }
    }

    /// Introspects a token. Ends at `deadline`.
    pub(super) async fn introspect(
        &self,
        token: &[u8],
        deadline: Monotonic,
    ) -> Result<(Parsed, Option<AnswerSignature>), Unavailable> {
        let token = str::from_utf8(token).map_err(|_| IntrospectionError::InvalidAnswer)?;
        let discovery = self.new_exchange(deadline, ExchangeRules::document(Redirects::NotFollowed));
        let endpoint = self.locator.endpoint(discovery).await?;
        let settings = &self.parts.settings;
        let form = settings.authentication.form(token);
        let headers = self.headers();
        let sent = self
            .new_exchange(deadline, ExchangeRules::FORM)
            .send(&endpoint, |fetch, endpoint| {
                let mut request = FormRequest::new(endpoint.clone(), form.clone(), settings.max_answer_bytes);
                request.headers.extend(headers.clone());
                fetch.post(request)
            })
            .await;
        let response = sent.map_err(|failure| Unavailable::new(failure.error.into(), failure.retry_after));
        let response = response.inspect_err(|unavailable| {
            if matches!(unavailable.cause, IntrospectionError::Status { status: 404 | 410 }) {
                self.locator.record_gone();
            }
        });
        Ok(self.read(&response?.response).await?)
    }

    async fn read(&self, response: &FetchResponse) -> Result<(Parsed, Option<AnswerSignature>), IntrospectionError> {
        if response.status != StatusCode::OK {
            return read_error(&response.body).map(|parsed| (parsed, None));
        }
        let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let (is_json, is_signed) =
            (media_type.eq_ignore_ascii_case("application/json"), is_signed_media_type(media_type));
        match self.parts.settings.form {
            AnswerForm::Plain if is_json => answer::parse(&response.body).map(|parsed| (parsed, None)),
            AnswerForm::Signed if is_signed => {
                let (parsed, signature) = self.verify(&response.body).await?;
                Ok((parsed, Some(signature)))
            }
            // Otherwise someone between this process and the server could remove the signature.
            AnswerForm::Signed if is_json => Err(IntrospectionError::Unsigned),
            AnswerForm::Plain | AnswerForm::Signed => Err(IntrospectionError::ContentType),
        }
    }

    /// Verifies a signed answer with the keys of the issuer. A `kid` that is not known yet is looked for like that of a
    /// token.
    async fn verify(&self, body: &[u8]) -> Result<(Parsed, AnswerSignature), IntrospectionError> {
        let algorithms = &self.parts.algorithms;
        let token = signed::parse(body, algorithms).map_err(|error| IntrospectionError::Signed { error })?;
        let wanted = WantedKey::new(token.header(), None);
        let no_key = IntrospectionError::Signed { error: SignedAnswerError::Key };
        let (keys, epoch) = self.parts.keys.wait_for_key(&wanted).await.map_err(|_| no_key)?;
        let expected = Expected {
            issuers: &self.parts.issuers,
            client_id: self.parts.settings.authentication.client_id().unwrap_or_default(),
            leeway: self.parts.leeway,
        };
        signed::verify(token, (&keys, epoch), &expected, self.parts.clock.now())
    }

    fn new_exchange(&self, deadline: Monotonic, rules: ExchangeRules) -> Exchange {
        Exchange {
            fetch: Arc::clone(&self.parts.fetch),
            clock: Arc::clone(&self.parts.clock),
            rules,
            max_bytes: self.parts.settings.max_answer_bytes,
            attempt_timeout: self.parts.settings.timeout.mul_f32(ATTEMPT_SHARE),
            deadline,
            retries: 1,
            pause: Duration::ZERO,
        }
    }

    fn headers(&self) -> HeaderMap {
        let accept = match self.parts.settings.form {
            AnswerForm::Plain => HeaderValue::from_static("application/json"),
            AnswerForm::Signed => HeaderValue::from_static("application/token-introspection+jwt"),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, PRODUCT);
        if let Some(credentials) = self.parts.settings.authentication.header() {
            headers.insert(AUTHORIZATION, credentials);
        }
        headers
    }
}

/// Reads the body of a 400 (RFC 6749 §5.2).
///
/// `unsupported_token_type` says that the server does not introspect tokens of this kind, so it has not issued this
/// token as one that this API can use. `invalid_client` is about our credentials, since id and secret may be in the
/// form. Every other 400 is no answer.
fn read_error(body: &[u8]) -> Result<Parsed, IntrospectionError> {
    let error = str::from_utf8(body).ok().and_then(|json| token::member(json, "error")).and_then(token::unquote);
    match error.as_deref() {
        Some("unsupported_token_type") => Ok(Parsed::Inactive),
        Some("invalid_client") => Err(IntrospectionError::CredentialsRefused),
        _ => Err(IntrospectionError::Status { status: StatusCode::BAD_REQUEST.as_u16() }),
    }
}

fn is_signed_media_type(media_type: &str) -> bool {
    media_type.contains('/') && is_media_type(media_type, signed::MEDIA_TYPE)
}

/// The part of the timeout for one attempt, so that a second one has time.
const ATTEMPT_SHARE: f32 = 2.0 / 3.0;

const PRODUCT: HeaderValue = HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
