//! Where a redirect leads, if it is one that may be followed (RFC 9110 §15.4).

use http::StatusCode;
use http::header::LOCATION;

use crate::defaults;
use crate::fetch::{Endpoint, FetchResponse};
use crate::jwks::policy::Redirects;

/// The places that one attempt has asked, one redirect after the other.
#[derive(Debug)]
pub(super) struct RedirectTrail {
    redirects: Redirects,
    asked: Vec<Endpoint>,
}

impl RedirectTrail {
    pub(super) fn new(redirects: Redirects) -> Self {
        Self { redirects, asked: Vec::new() }
    }

    /// The next place, now that `from` has given this answer; `None` if it is none that sends on, or may not.
    pub(super) fn next(&mut self, from: &Endpoint, response: &FetchResponse) -> Option<Endpoint> {
        if self.redirects == Redirects::Refused || self.asked.len() == defaults::MAX_REDIRECTS {
            return None;
        }
        self.asked.push(from.clone());
        let next = target(from, response)?;
        (!self.asked.contains(&next)).then_some(next)
    }
}

fn target(from: &Endpoint, response: &FetchResponse) -> Option<Endpoint> {
    if !FOLLOWED.contains(&response.status) {
        return None;
    }
    // RFC 9110 §10.2.2: one field. Of two, two readers could follow one each.
    let mut locations = response.headers.get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return None };
    from.within_origin(location.to_str().ok()?)
}

/// Those that say where the very thing that was asked for is: 303 names another one, 300 leaves the choice, 305 and 306 are
/// no longer used.
const FOLLOWED: [StatusCode; 4] =
    [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
