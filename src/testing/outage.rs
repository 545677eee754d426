//! `Outage`: a simulated outage of the test issuer.

use std::time::Duration;

use http::StatusCode;

/// An outage that a [`TestIssuer`](crate::testing::TestIssuer) simulates until another one is set.
///
/// It affects every document and the token endpoint, in memory and over loopback. Requests are counted during an outage.
///
/// ```
/// use tower_bearer::testing::{Outage, TestIssuer};
///
/// let issuer = TestIssuer::new();
/// issuer.set_outage(Outage::NoConnection); // starts
/// issuer.set_outage(Outage::None); // ends
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outage {
    /// No outage. The default.
    #[default]
    None,
    /// Every response has this status and an empty body.
    Status(StatusCode),
    /// Every response is 429 with this `Retry-After`, rounded down to seconds, like a response of Auth0 above its rate limit.
    RateLimited(Duration),
    /// There is no response, and the connection stays open.
    Hang,
    /// Every response is delayed by this time, on the clock of the issuer.
    Delay(Duration),
    /// No connection can be opened. In memory, a fetch fails with [`FetchError::Connect`](crate::fetch::FetchError::Connect).
    /// Over loopback, the connection is closed without a response, since the port stays open.
    NoConnection,
    /// Every response is 200 with an HTML page, like that of a captive portal or proxy.
    HtmlPage,
    /// The key set is valid and has no keys. All other responses are as usual.
    EmptySet,
    /// The key set is followed by 1 MiB of spaces. All other responses are as usual.
    Oversized,
}
