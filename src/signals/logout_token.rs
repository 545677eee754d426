//! The rules for a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6). The time is an argument.

use crate::claims::{Audience, date};
use crate::clock::Timestamp;
use crate::defaults;
use crate::token::{self, Claim, Member, TokenType, UnverifiedToken};
use crate::validator::Times;

/// What a receiver accepts.
#[derive(Clone, Debug)]
pub(super) struct LogoutRules {
    pub(super) client_ids: Box<[Box<str>]>,
    pub(super) missing_expiry: MissingExpiry,
}

/// The treatment of a logout token without `exp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingExpiry {
    Rejected,
    Accepted,
}

/// What a logout token says. It can be trusted once the signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logout {
    pub(super) issued_at: Timestamp,
    pub(super) session: Option<Box<str>>,
    pub(super) subject: Option<Box<str>>,
}

impl LogoutRules {
    /// Makes all checks except those of the issuer, the algorithm and the signature. Returns the name of the first part that is
    /// wrong.
    pub(super) fn check(&self, token: &UnverifiedToken<'_>, now: Times) -> Result<Logout, &'static str> {
        let payload = token.payload();
        match token.header().token_type() {
            TokenType::Undeclared | TokenType::Jwt | TokenType::Logout => {}
            _ => return Err("typ"),
        }
        if Audience::contains_any(payload, &self.client_ids) != Member::Is(true) {
            return Err("aud");
        }
        let issued_at = self.dates(token, now)?;
        if !matches!(payload.text(Claim::Jti), Member::Is(id) if !id.is_empty()) {
            return Err("jti");
        }
        let events = token::member(payload.json(), "events").and_then(|events| token::member(events, EVENT));
        if !events.is_some_and(|event| event.starts_with('{')) {
            return Err("events");
        }
        // An ID token may have a nonce and a logout token must not, so that neither is taken for the other.
        if payload.raw(Claim::Nonce).is_some() {
            return Err("nonce");
        }
        let name = |claim: Claim| match payload.text(claim) {
            Member::Absent => Ok(None),
            Member::Is(name) if !name.is_empty() => Ok(Some(Box::from(name))),
            Member::Is(_) | Member::Malformed => Err(claim.name()),
        };
        let (session, subject) = (name(Claim::Sid)?, name(Claim::Sub)?);
        if session.is_none() && subject.is_none() {
            return Err("sub");
        }
        Ok(Logout { issued_at, session, subject })
    }

    /// Checks the dates, and returns `iat`.
    fn dates(&self, token: &UnverifiedToken<'_>, now: Times) -> Result<Timestamp, &'static str> {
        let payload = token.payload();
        let issued_at = date(payload, Claim::Iat).ok().ok_or("iat")?;
        if issued_at > now.latest || issued_at.saturating_add(defaults::MAX_LOGOUT_TOKEN_AGE) <= now.earliest {
            return Err("iat");
        }
        match date(payload, Claim::Exp) {
            Member::Is(exp) if now.earliest < exp => {}
            Member::Absent if self.missing_expiry == MissingExpiry::Accepted => {}
            Member::Is(_) | Member::Absent | Member::Malformed => return Err("exp"),
        }
        match date(payload, Claim::Nbf) {
            Member::Absent => Ok(issued_at),
            Member::Is(start) if start <= now.latest => Ok(issued_at),
            Member::Is(_) | Member::Malformed => Err("nbf"),
        }
    }
}

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
