//! The principal of a token, the actor and the authentication methods.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::claims::Claims;
use crate::claims::values::AuthenticationMethods;
use crate::defaults;
use crate::token::{Claim, Member};

impl<C> Claims<C> {
    /// Returns the methods by which the user authenticated, `amr` (RFC 8176, RFC 9068 §2.2.1).
    #[must_use]
    pub fn amr(&self) -> AuthenticationMethods<'_> {
        AuthenticationMethods::new(self.payload())
    }

    /// Returns whether the subject is a user or a machine, from `sub_profile` (draft-mora-oauth-entity-profiles) or, if that is
    /// absent, from Auth0's `gty`. Returns `None` if both claims are absent, or if their value identifies neither a user nor a
    /// machine.
    ///
    /// # Security
    ///
    /// The format of `sub` is never used, because issuers choose it freely.
    #[must_use]
    pub fn principal(&self) -> Option<Principal> {
        match self.payload().text(Claim::SubProfile) {
            Member::Is(profiles) => Principal::from_profiles(profiles),
            Member::Malformed => None,
            Member::Absent => Principal::from_grant(self.payload().text(Claim::Gty).ok()?),
        }
    }

    /// Returns the actor that acts for the subject, `act` (RFC 8693 §4.1), or `None` if the token has none.
    ///
    /// # Errors
    ///
    /// Returns [`ActorError`] if the claim is present but malformed, so that a token with a malformed delegation is not treated
    /// as a token without one.
    ///
    /// # Security
    ///
    /// Only this actor may be used for access decisions. The previous actors are only for information (RFC 8693 §4.1).
    pub fn actor(&self) -> Result<Option<Actor>, ActorError> {
        self.payload().raw(Claim::Act).map(|raw| Actor::read(raw, defaults::MAX_ACTORS)).transpose()
    }
}

/// The kind of the subject of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// A person.
    User,
    /// A program that acts on its own behalf: a service, an application, an agent.
    Machine,
}

impl Principal {
    /// Reads the words of `sub_profile`; `None` if two words contradict each other.
    fn from_profiles(profiles: &str) -> Option<Self> {
        let mut found = None;
        for word in profiles.split(' ') {
            let principal = match word {
                "user" => Self::User,
                "service" | "ai_agent" | "browser_app" | "native_app" => Self::Machine,
                _ => continue,
            };
            if found.is_some_and(|found| found != principal) {
                return None;
            }
            found = Some(principal);
        }
        found
    }

    /// Reads a grant that only users or only machines can use. Others, such as a refresh token or a token exchange, say
    /// nothing about the subject.
    fn from_grant(grant: &str) -> Option<Self> {
        match grant {
            "client-credentials" | "client_credentials" => Some(Self::Machine),
            "password" => Some(Self::User),
            _ => None,
        }
    }
}

/// One actor of a delegation chain (RFC 8693 §4.1).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    subject: Option<Box<str>>,
    issuer: Option<Box<str>>,
    client_id: Option<Box<str>>,
    previous: Option<Box<Actor>>,
}

/// The members of an `act` claim that are read; serde rejects duplicates.
#[derive(Deserialize)]
struct Members<'j> {
    #[serde(default, deserialize_with = "present")]
    sub: Option<Box<str>>,
    #[serde(default, deserialize_with = "present")]
    iss: Option<Box<str>>,
    #[serde(default, deserialize_with = "present")]
    client_id: Option<Box<str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    act: Option<&'j RawValue>,
}

/// Deserializes a present member, so that `null` is an error and not an absent member.
fn present<'j, D: Deserializer<'j>, T: Deserialize<'j>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Actor {
    /// Parses a chain of at most `left` actors.
    pub(super) fn read(raw: &str, left: usize) -> Result<Self, ActorError> {
        let left = left.checked_sub(1).ok_or(ActorError::TooLong)?;
        if !raw.starts_with('{') {
            return Err(ActorError::Malformed);
        }
        let members: Members<'_> = serde_json::from_str(raw).map_err(|_| ActorError::Malformed)?;
        let previous = members.act.map(|act| Self::read(act.get(), left)).transpose()?;
        Ok(Self {
            subject: members.sub,
            issuer: members.iss,
            client_id: members.client_id,
            previous: previous.map(Box::new),
        })
    }

    /// Returns the subject of the actor, which is unique only within one issuer.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Returns the issuer of the actor's subject, if the claim names one.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Returns the client id of the actor.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Returns the previous actor. It is only for information, and must not be used for an access decision.
    #[must_use]
    pub fn previous(&self) -> Option<&Self> {
        self.previous.as_deref()
    }

    /// Returns the whole chain, starting with the current actor.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |actor| actor.previous())
    }
}

/// Shows no subject, because it may be personal data.
impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("links", &self.chain().count()).finish_non_exhaustive()
    }
}

/// The reason why an `act` claim is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActorError {
    /// The claim is not an object, or one of `sub`, `iss`, `client_id` and `act` is duplicated or has another type.
    Malformed,
    /// The chain has more than 8 actors.
    TooLong,
}

impl fmt::Display for ActorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("act is malformed"),
            Self::TooLong => write!(f, "act has more than {} actors", defaults::MAX_ACTORS),
        }
    }
}

impl std::error::Error for ActorError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(json: &str) -> Option<Principal> {
        Claims::for_tests(json).principal()
    }

    #[test]
    fn principal_depends_on_explicit_claims_only() {
        for json in [
            r#"{"gty":"client-credentials"}"#,
            r#"{"sub_profile":"ai_agent"}"#,
            r#"{"sub_profile":"x service"}"#,
            r#"{"sub_profile":"native_app","gty":"password"}"#,
        ] {
            assert_eq!(principal(json), Some(Principal::Machine), "{json}");
        }
        for json in [r#"{"gty":"password"}"#, r#"{"sub_profile":"user","gty":"client-credentials"}"#] {
            assert_eq!(principal(json), Some(Principal::User), "{json}");
        }
        for json in [
            r#"{"sub":"abc@clients","azp":"abc"}"#,
            r#"{"sub":"auth0|ann"}"#,
            r#"{"gty":"refresh_token"}"#,
            r#"{"gty":["client-credentials"]}"#,
            r#"{"sub_profile":"user service"}"#,
            r#"{"sub_profile":"unheard-of","gty":"password"}"#,
            r#"{"sub_profile":["user"],"gty":"client-credentials"}"#,
            r#"{"sub_profile":null,"gty":"password"}"#,
        ] {
            assert_eq!(principal(json), None, "{json}");
        }
    }

    #[test]
    fn actor_returns_the_chain_from_the_current_actor() {
        let claims = Claims::for_tests(
            r#"{"act":{"sub":"agent","client_id":"c","act":{"sub":"gateway","iss":"i","act":{"client_id":"app"}}}}"#,
        );
        let actor = claims.actor().expect("well-formed").expect("an actor");
        assert_eq!((actor.subject(), actor.client_id(), actor.issuer()), (Some("agent"), Some("c"), None));
        let previous = actor.previous().expect("a previous actor");
        assert_eq!((previous.subject(), previous.issuer()), (Some("gateway"), Some("i")));
        assert_eq!(actor.chain().map(Actor::client_id).collect::<Vec<_>>(), [Some("c"), None, Some("app")]);
        assert_eq!(format!("{actor:?}"), "Actor { links: 3, .. }");
        assert_eq!(Claims::for_tests("{}").actor(), Ok(None));
    }

    #[test]
    fn rejects_a_chain_of_more_than_eight_actors() {
        let chain = |links: usize| {
            let inner = r#"{"sub":"a","act":"#.repeat(links - 1);
            Claims::for_tests(&format!("{{\"act\":{inner}{{\"sub\":\"a\"}}{}}}", "}".repeat(links - 1))).actor()
        };
        assert_eq!(chain(8).map(|actor| actor.map(|actor| actor.chain().count())), Ok(Some(8)));
        assert_eq!(chain(9), Err(ActorError::TooLong));
    }

    #[test]
    fn rejects_a_malformed_act_claim() {
        for act in [
            "null",
            "[]",
            r#"["agent"]"#,
            r#""agent""#,
            r#"{"sub":1}"#,
            r#"{"sub":null}"#,
            r#"{"iss":null}"#,
            r#"{"client_id":["c"]}"#,
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","s\u0075b":"b"}"#,
            r#"{"sub":"a","act":[]}"#,
            r#"{"sub":"a","act":null}"#,
            r#"{"sub":"a","act":["b"]}"#,
        ] {
            let claims = Claims::for_tests(&format!("{{\"act\":{act}}}"));
            assert_eq!(claims.actor(), Err(ActorError::Malformed), "{act}");
        }
    }

    #[test]
    fn amr_accepts_only_an_array() {
        assert!(Claims::for_tests(r#"{"amr":["pwd","mfa"]}"#).amr().contains("mfa"));
        assert!(Claims::for_tests(r#"{"amr":"mfa"}"#).amr().is_empty());
    }
}
