//! Counts of requests and responses for each second.

use std::ops::Range;
use std::time::Duration;

use crate::replicas::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client with a valid token.
    Client,
    /// A client with the key id of a removed key.
    RemovedKey,
    /// A client with a random key id.
    RandomKid,
}

/// The counts of each second of a day. A request counts for the second in which it arrived.
#[derive(Clone)]
pub struct Observations {
    /// Requests to the issuer.
    pub fetches: Vec<u32>,
    clients: Vec<u32>,
    /// Requests of clients that got 401.
    rejected: Vec<u32>,
    /// Requests of clients that got 503.
    unavailable: Vec<u32>,
    /// Requests of clients that waited.
    waited: Vec<u32>,
    /// The longest wait of a client.
    longest: Vec<Duration>,
    /// Requests with random key ids that got 503.
    pub random_kids_unavailable: u32,
    pub random_kids: u32,
    pub removed_keys: u32,
}

impl Observations {
    pub fn new(seconds: usize) -> Self {
        let zeros = || vec![0; seconds];
        Self {
            fetches: zeros(),
            clients: zeros(),
            rejected: zeros(),
            unavailable: zeros(),
            waited: zeros(),
            longest: vec![Duration::ZERO; seconds],
            random_kids_unavailable: 0,
            random_kids: 0,
            removed_keys: 0,
        }
    }

    pub fn record(&mut self, second: usize, caller: Caller, outcome: Outcome, waited: Duration) {
        if caller != Caller::Client {
            assert_ne!(outcome, Outcome::Accepted, "the key is not published");
            match caller {
                Caller::RandomKid => {
                    self.random_kids += 1;
                    self.random_kids_unavailable += u32::from(outcome == Outcome::Unavailable);
                }
                Caller::RemovedKey | Caller::Client => self.removed_keys += 1,
            }
            return;
        }
        self.clients[second] += 1;
        match outcome {
            Outcome::Accepted => {}
            Outcome::Rejected => self.rejected[second] += 1,
            Outcome::Unavailable => self.unavailable[second] += 1,
        }
        self.waited[second] += u32::from(!waited.is_zero());
        self.longest[second] = self.longest[second].max(waited);
    }

    pub fn requests(&self) -> u32 {
        self.clients.iter().sum::<u32>() + self.random_kids + self.removed_keys
    }

    pub fn clients(&self, span: Range<usize>) -> u32 {
        self.clients[span].iter().sum()
    }

    /// Returns the number of requests of clients that got 401 or 503.
    pub fn not_accepted(&self, span: Range<usize>) -> u32 {
        self.rejected[span.clone()].iter().chain(&self.unavailable[span]).sum()
    }

    pub fn waited(&self, span: Range<usize>) -> u32 {
        self.waited[span].iter().sum()
    }

    pub fn longest(&self, span: Range<usize>) -> Duration {
        self.longest[span].iter().copied().max().unwrap_or_default()
    }

    /// Returns the seconds from the start of `span` to the end of its last second with a 401 or 503 for a client.
    pub fn recovered_after(&self, span: Range<usize>) -> usize {
        span.clone()
            .rev()
            .find(|second| self.rejected[*second] + self.unavailable[*second] > 0)
            .map_or(0, |last| last + 1 - span.start)
    }

    pub fn busiest(&self, span: Range<usize>) -> u32 {
        self.fetches[span].iter().copied().max().unwrap_or_default()
    }

    /// Returns the average number of requests to the issuer per second of `span`.
    pub fn rate(&self, span: Range<usize>) -> f64 {
        let seconds = span.len() as f64;
        f64::from(self.fetches[span].iter().sum::<u32>()) / seconds
    }
}
