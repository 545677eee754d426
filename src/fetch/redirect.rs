//! Redirects: which responses are followed, and to which URL (RFC 9110 §15.4).

use http::StatusCode;
use http::header::LOCATION;

use crate::defaults;
use crate::fetch::{Endpoint, FetchResponse};

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirects {
    NotFollowed,
    SameOrigin,
}

/// The URLs that one attempt has visited.
#[derive(Debug)]
pub(super) struct RedirectTrail {
    redirects: Redirects,
    visited: Vec<Endpoint>,
}

impl RedirectTrail {
    pub(super) fn new(redirects: Redirects) -> Self {
        Self { redirects, visited: Vec::new() }
    }

    /// Returns the URL to follow after `response` from `from`; `None` if it is no redirect, or one that is not allowed.
    pub(super) fn next(&mut self, from: &Endpoint, response: &FetchResponse) -> Option<Endpoint> {
        if self.redirects == Redirects::NotFollowed || self.visited.len() == defaults::MAX_REDIRECTS {
            return None;
        }
        self.visited.push(from.clone());
        let next = target(from, response)?;
        (!self.visited.contains(&next)).then_some(next)
    }
}

fn target(from: &Endpoint, response: &FetchResponse) -> Option<Endpoint> {
    if !FOLLOWED_STATUSES.contains(&response.status) {
        return None;
    }
    // RFC 9110 §10.2.2: one field. With two, different readers could follow different ones.
    let mut locations = response.headers.get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return None };
    from.within_origin(location.to_str().ok()?)
}

/// Redirects to the requested resource. 303 refers to a different resource, 300 offers a choice, 305 and 306 are no longer
/// used.
const FOLLOWED_STATUSES: [StatusCode; 4] =
    [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
