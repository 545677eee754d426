//! Who acts: a user or a machine, for whom, and by which methods it was authenticated.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::claims::Claims;
use crate::claims::required;
use crate::claims::values::AuthenticationMethods;
use crate::defaults;
use crate::token::{Claim, Member};

impl<C> Claims<C> {
    /// How the user authenticated (RFC 8176, RFC 9068 §2.2.1).
    #[must_use]
    pub fn amr(&self) -> AuthenticationMethods<'_> {
        AuthenticationMethods::of(self.payload())
    }

    /// What the subject is, where the token says so: by `sub_profile` (draft-mora-oauth-entity-profiles), else by Auth0's
    /// `gty`. `None` where it doesn't, or says something that is neither.
    ///
    /// # Security
    ///
    /// Nothing is inferred from the shape of `sub`, which issuers choose freely.
    #[must_use]
    pub fn principal(&self) -> Option<Principal> {
        match self.payload().text(Claim::SubProfile) {
            Member::Is(profiles) => Principal::of_profiles(profiles),
            Member::Malformed => None,
            Member::Absent => Principal::of_grant(self.payload().text(Claim::Gty).ok()?),
        }
    }

    /// Who acts for the subject (RFC 8693 §4.1); `None` if nobody does.
    ///
    /// # Errors
    ///
    /// [`ActorError`] if the claim is there and cannot be read, so that a delegation is never taken for none.
    ///
    /// # Security
    ///
    /// Only this actor may count in a decision; those before it are told for information (RFC 8693 §4.1).
    pub fn actor(&self) -> Result<Option<Actor>, ActorError> {
        self.payload().raw(Claim::Act).map(|raw| Actor::read(raw, defaults::MAX_ACTORS)).transpose()
    }

    /// Reads one claim of the top level by its name, which may have any characters (`https://northwind.com/roles`).
    ///
    /// `Ok(None)` if it is not there. It is read from the verified octets at every call; claims that every request needs
    /// are better read once, by [`with_custom_claims`](crate::Validator::with_custom_claims).
    ///
    /// ```
    /// # fn roles(claims: &tower_bearer::Claims) -> Result<(), tower_bearer::claims::ClaimTypeError> {
    /// let roles: Option<Vec<String>> = claims.claim("https://northwind.com/roles")?;
    /// # let _ = roles; Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClaimTypeError`] if it is there and is no `T`.
    pub fn claim<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClaimTypeError> {
        self.raw_claim(name).map(serde_json::from_str).transpose().map_err(|_| ClaimTypeError(()))
    }

    /// The JSON text of one claim of the top level.
    pub(crate) fn raw_claim(&self, name: &str) -> Option<&str> {
        required::raw(self.payload(), name)
    }
}

/// What the subject of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// A person.
    User,
    /// A program that acts for itself: a service, an application, an agent.
    Machine,
}

impl Principal {
    /// Words of `sub_profile`; two that disagree say nothing.
    fn of_profiles(profiles: &str) -> Option<Self> {
        let mut found = None;
        for word in profiles.split(' ') {
            let said = match word {
                "user" => Self::User,
                "service" | "ai_agent" | "browser_app" | "native_app" => Self::Machine,
                _ => continue,
            };
            if found.is_some_and(|found| found != said) {
                return None;
            }
            found = Some(said);
        }
        found
    }

    /// A grant that only one of them can use. Others, such as a refresh token or a token exchange, say nothing.
    fn of_grant(grant: &str) -> Option<Self> {
        match grant {
            "client-credentials" | "client_credentials" => Some(Self::Machine),
            "password" => Some(Self::User),
            _ => None,
        }
    }
}

/// One link of a chain of delegation (RFC 8693 §4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Actor {
    subject: Option<Box<str>>,
    issuer: Option<Box<str>>,
    client_id: Option<Box<str>>,
    previous: Option<Box<Actor>>,
}

/// What is read of an `act`; serde refuses a member that stands twice.
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

/// A member that is there is never taken for none: `null` is of another type.
fn present<'j, D: Deserializer<'j>, T: Deserialize<'j>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Actor {
    /// Reads at most `left` links.
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

    /// Who acts; unique within one issuer only.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Who knows the subject, where that is another than the token's own issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The client that acts.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Who acted before: for information, never for a decision.
    #[must_use]
    pub fn previous(&self) -> Option<&Self> {
        self.previous.as_deref()
    }

    /// The whole chain, the current actor first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |actor| actor.previous())
    }
}

/// Shows no subject, which may be personal.
impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("links", &self.chain().count()).finish_non_exhaustive()
    }
}

/// Why an `act` claim cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActorError {
    /// Not an object, or a member that is read (`sub`, `iss`, `client_id`, `act`) stands twice or has another type.
    Malformed,
    /// More than 8 links.
    TooLong,
}

impl fmt::Display for ActorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("act is malformed"),
            Self::TooLong => write!(f, "act has more than {} links", defaults::MAX_ACTORS),
        }
    }
}

impl std::error::Error for ActorError {}

/// A claim is there, and has another type than the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimTypeError(());

impl fmt::Display for ClaimTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claim has another type than the one asked for")
    }
}

impl std::error::Error for ClaimTypeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(json: &str) -> Option<Principal> {
        Claims::for_tests(json).principal()
    }

    #[test]
    fn a_principal_is_told_by_explicit_claims_only() {
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
    fn a_chain_of_actors_is_read_from_the_current_one_on() {
        let claims = Claims::for_tests(
            r#"{"act":{"sub":"agent","client_id":"c","act":{"sub":"gateway","iss":"i","act":{"client_id":"app"}}}}"#,
        );
        let actor = claims.actor().expect("well-formed").expect("somebody acts");
        assert_eq!((actor.subject(), actor.client_id(), actor.issuer()), (Some("agent"), Some("c"), None));
        let before = actor.previous().expect("one before");
        assert_eq!((before.subject(), before.issuer()), (Some("gateway"), Some("i")));
        assert_eq!(actor.chain().map(Actor::client_id).collect::<Vec<_>>(), [Some("c"), None, Some("app")]);
        assert_eq!(format!("{actor:?}"), "Actor { links: 3, .. }");
        assert_eq!(Claims::for_tests("{}").actor(), Ok(None));
    }

    #[test]
    fn a_chain_is_bounded() {
        let chain = |links: usize| {
            let inner = r#"{"sub":"a","act":"#.repeat(links - 1);
            Claims::for_tests(&format!("{{\"act\":{inner}{{\"sub\":\"a\"}}{}}}", "}".repeat(links - 1))).actor()
        };
        assert_eq!(chain(8).map(|actor| actor.map(|actor| actor.chain().count())), Ok(Some(8)));
        assert_eq!(chain(9), Err(ActorError::TooLong));
    }

    #[test]
    fn a_delegation_that_cannot_be_read_is_not_none() {
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
    fn methods_of_authentication_are_an_array() {
        assert!(Claims::for_tests(r#"{"amr":["pwd","mfa"]}"#).amr().contains("mfa"));
        assert!(Claims::for_tests(r#"{"amr":"mfa"}"#).amr().is_empty());
    }

    #[test]
    fn a_claim_of_any_name_is_read_by_it() {
        let claims = Claims::for_tests(
            r#"{"https:\/\/northwind.com\/roles":["clerk"],"a.b c/d\u00e4":{"n":1},"sub":"ann","none":null}"#,
        );
        assert_eq!(claims.claim("https://northwind.com/roles"), Ok(Some(vec!["clerk".to_owned()])));
        assert_eq!(claims.claim::<std::collections::BTreeMap<String, u8>>("a.b c/d\u{e4}").unwrap().unwrap()["n"], 1);
        assert_eq!(claims.claim("sub"), Ok(Some("ann".to_owned())));
        assert_eq!(claims.claim::<String>("https://northwind.com/rol"), Ok(None));
        assert_eq!(claims.claim::<u8>("sub"), Err(ClaimTypeError(())));
        assert_eq!(claims.claim::<String>("none"), Err(ClaimTypeError(())));
    }
}
