//! `HostSource`: where the host of a request is read from.

use http::header::ToStrError;
use http::{HeaderMap, HeaderName};

use crate::request::host::{Host, HostError};

/// Where the host of a request is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostSource {
    /// The request target, or `Host`.
    Request,
    /// `X-Forwarded-Host` with one host, if it is present.
    ForwardedHost,
    /// The first host in `X-Forwarded-Host`, if it is present.
    FirstForwardedHost,
}

impl HostSource {
    /// Returns the host that a proxy has forwarded; `None` if the host is that of the request itself.
    pub(crate) fn forwarded(self, headers: &HeaderMap) -> Result<Option<Host>, HostError> {
        if self == Self::Request {
            return Ok(None);
        }
        let mut fields = headers.get_all(&FORWARDED_HOST).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        let text = field.to_str().map_err(|_: ToStrError| HostError::Malformed)?;
        let text = match self {
            // RFC 9110 §5.3: several fields are one list, so the first value is in the first field.
            Self::FirstForwardedHost => text.split(',').next().unwrap_or_default().trim(),
            _ if fields.next().is_some() => return Err(HostError::Multiple),
            _ => text,
        };
        Host::parse(text).map(Some)
    }
}

static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
