//! What was seen, second by second.

use std::ops::Range;
use std::time::Duration;

use crate::replicas::Answer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// With a token that is valid.
    Client,
    /// With a token whose key nobody has.
    Stranger,
}

/// The seconds of a day; a request counts for the second in which it came.
#[derive(Clone)]
pub struct Ledger {
    /// Requests that the issuer got.
    pub fetches: Vec<u32>,
    clients: Vec<u32>,
    /// Clients that got 401, and those that got 503.
    refused: Vec<u32>,
    unavailable: Vec<u32>,
    /// Clients that had to wait, and the longest that each second saw.
    waited: Vec<u32>,
    longest: Vec<Duration>,
    /// Strangers that got 503.
    pub strangers_unavailable: u32,
    pub strangers: u32,
}

impl Ledger {
    pub fn new(seconds: usize) -> Self {
        let zeros = || vec![0; seconds];
        Self {
            fetches: zeros(),
            clients: zeros(),
            refused: zeros(),
            unavailable: zeros(),
            waited: zeros(),
            longest: vec![Duration::ZERO; seconds],
            strangers_unavailable: 0,
            strangers: 0,
        }
    }

    pub fn note(&mut self, second: usize, caller: Caller, answer: Answer, waited: Duration) {
        if caller == Caller::Stranger {
            assert_ne!(answer, Answer::Accepted, "a stranger is never let in");
            self.strangers += 1;
            self.strangers_unavailable += u32::from(answer == Answer::Unavailable);
            return;
        }
        self.clients[second] += 1;
        match answer {
            Answer::Accepted => {}
            Answer::Refused => self.refused[second] += 1,
            Answer::Unavailable => self.unavailable[second] += 1,
        }
        self.waited[second] += u32::from(!waited.is_zero());
        self.longest[second] = self.longest[second].max(waited);
    }

    pub fn asked(&self) -> u32 {
        self.clients.iter().sum::<u32>() + self.strangers
    }

    pub fn clients(&self, span: Range<usize>) -> u32 {
        self.clients[span].iter().sum()
    }

    pub fn rejected_early(&self, span: Range<usize>) -> u32 {
        self.refused[span.clone()].iter().chain(&self.unavailable[span]).sum()
    }

    pub fn waited(&self, span: Range<usize>) -> u32 {
        self.waited[span].iter().sum()
    }

    pub fn longest(&self, span: Range<usize>) -> Duration {
        self.longest[span].iter().copied().max().unwrap_or_default()
    }

    /// Seconds from the beginning of `span` to the end of the last second in it that turned a client away.
    pub fn healed_after(&self, span: Range<usize>) -> usize {
        span.clone()
            .rev()
            .find(|second| self.refused[*second] + self.unavailable[*second] > 0)
            .map_or(0, |last| last + 1 - span.start)
    }

    pub fn busiest(&self, span: Range<usize>) -> u32 {
        self.fetches[span].iter().copied().max().unwrap_or_default()
    }

    /// Requests to the issuer in a second, on average over `span`.
    pub fn rate(&self, span: Range<usize>) -> f64 {
        let seconds = span.len() as f64;
        f64::from(self.fetches[span].iter().sum::<u32>()) / seconds
    }
}
