//! `Exchange`: the requests of one operation under one deadline, with redirects and at most a few retries.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::clock::{Clock, Monotonic};
use crate::defaults;
use crate::fetch::redirect::{RedirectTrail, Redirects};
use crate::fetch::response_time::retry_after;
use crate::fetch::timeout::within;
use crate::fetch::{Endpoint, Fetch, FetchError, FetchFuture, FetchResponse};

/// The settings of an exchange, and the retries that are left. All requests of one operation share it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rules: ExchangeRules,
    /// The largest body, in bytes.
    pub(crate) max_bytes: usize,
    /// The limit for one request with its redirects.
    pub(crate) attempt_timeout: Duration,
    /// The end of the operation.
    pub(crate) deadline: Monotonic,
    /// The number of failed requests that are sent again.
    pub(crate) retries: u8,
    /// The pause before a request is sent again.
    pub(crate) pause: Duration,
}

/// Which responses are followed, returned or requested again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeRules {
    pub(crate) redirects: Redirects,
    /// The statuses of the responses that are returned. Every other status is an error.
    pub(crate) accepted: &'static [StatusCode],
    /// Whether a new request may succeed after this error. A server that sends `Retry-After` is not retried before that time.
    pub(crate) is_retryable: fn(ExchangeError) -> bool,
}

impl ExchangeRules {
    /// The rules for documents.
    pub(crate) const fn document(redirects: Redirects) -> Self {
        Self { redirects, accepted: &[StatusCode::OK, StatusCode::NOT_MODIFIED], is_retryable: is_document_retryable }
    }

    /// The rules for a form, which contains credentials: no redirect is followed. The form is sent again only if the connection was
    /// closed before a response started, so that a server whose responses are slow or wrong does not get twice the requests.
    pub(crate) const FORM: Self = Self {
        redirects: Redirects::NotFollowed,
        accepted: &[StatusCode::OK, StatusCode::BAD_REQUEST],
        is_retryable: |error| matches!(error, ExchangeError::Fetch(FetchError::Closed)),
    };
}

/// A response with an accepted status, and the URL that sent it.
pub(crate) struct FinalResponse {
    pub(crate) response: FetchResponse,
    pub(crate) endpoint: Endpoint,
}

/// Why an exchange failed, and the server's `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExchangeFailure {
    pub(crate) error: ExchangeError,
    pub(crate) retry_after: Option<Duration>,
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// There is no response.
    Fetch(FetchError),
    /// The response is a redirect that is not followed.
    Redirect,
    /// The status is not accepted.
    Status(StatusCode),
}

/// Returns the stable name of a class of statuses that are errors, for logs and metrics.
pub(crate) const fn status_class(status: u16) -> &'static str {
    match status {
        400..=499 => "http_4xx",
        500..=599 => "http_5xx",
        _ => "http_other",
    }
}

impl Exchange {
    /// Calls `start` to send a request to `endpoint`, and to the target of each redirect. Calls it again after a failure that a new
    /// connection can fix, as long as retries and enough time are left.
    pub(crate) async fn send(
        &mut self,
        endpoint: &Endpoint,
        start: impl Fn(&dyn Fetch, &Endpoint) -> FetchFuture,
    ) -> Result<FinalResponse, ExchangeFailure> {
        loop {
            let failure = match self.attempt(endpoint, &start).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let now = self.clock.monotonic();
            let left = self.deadline.saturating_since(now);
            if self.retries == 0 || !self.may_retry(failure) || left < defaults::RETRY_NEEDS {
                return Err(failure);
            }
            self.retries = self.retries.saturating_sub(1);
            self.clock.sleep_until(now.saturating_add(self.pause)).await;
        }
    }

    /// Sends one request and follows redirects within the attempt timeout.
    async fn attempt(
        &self,
        endpoint: &Endpoint,
        start: &impl Fn(&dyn Fetch, &Endpoint) -> FetchFuture,
    ) -> Result<FinalResponse, ExchangeFailure> {
        let until = self.clock.monotonic().saturating_add(self.attempt_timeout).min(self.deadline);
        let result = within(self.follow_redirects(endpoint, start), self.clock.sleep_until(until)).await;
        let FinalResponse { response, endpoint } = result.unwrap_or(Err(FetchError::Timeout))?;
        let error = match response.status {
            status if self.rules.accepted.contains(&status) => match response.body.len() > self.max_bytes {
                true => ExchangeError::Fetch(FetchError::TooLarge),
                false => return Ok(FinalResponse { response, endpoint }),
            },
            status if status.is_redirection() => ExchangeError::Redirect,
            status => ExchangeError::Status(status),
        };
        Err(ExchangeFailure { error, retry_after: retry_after(&response.headers) })
    }

    /// Follows redirects and returns the last response, which may itself be a redirect.
    async fn follow_redirects(
        &self,
        endpoint: &Endpoint,
        start: &impl Fn(&dyn Fetch, &Endpoint) -> FetchFuture,
    ) -> Result<FinalResponse, FetchError> {
        let mut trail = RedirectTrail::new(self.rules.redirects);
        let mut endpoint = endpoint.clone();
        loop {
            let response = start(&*self.fetch, &endpoint).await?;
            match trail.next(&endpoint, &response) {
                Some(next) => endpoint = next,
                None => return Ok(FinalResponse { response, endpoint }),
            }
        }
    }

    fn may_retry(&self, failure: ExchangeFailure) -> bool {
        failure.retry_after.is_none() && (self.rules.is_retryable)(failure.error)
    }
}

/// Returns whether a new connection may succeed.
fn is_document_retryable(error: ExchangeError) -> bool {
    match error {
        ExchangeError::Fetch(error) => matches!(error, FetchError::Closed | FetchError::Connect),
        ExchangeError::Status(status) => matches!(status.as_u16(), 502..=504),
        ExchangeError::Redirect => false,
    }
}

impl From<FetchError> for ExchangeFailure {
    fn from(error: FetchError) -> Self {
        Self { error: ExchangeError::Fetch(error), retry_after: None }
    }
}
