//! The claims set of a token as JSON text, with the position of each registered claim (RFC 7519 §4).

use std::borrow::Cow;

use crate::token::json_text::{Span, inside_quotes, unquote};
use crate::token::object::{self, Members};
use crate::token::{Segment, TokenError};

/// A claims set in which the registered claims are located. No claim is checked.
///
/// It owns the JSON text and stores spans into it. Only strings with escapes (`https:\/\/…`) are stored a second time.
#[derive(Clone)]
pub(crate) struct Payload {
    json: Box<str>,
    spans: [Option<Span>; Claim::COUNT],
    /// Whether any string has escapes.
    has_escapes: bool,
    unescaped: Vec<(Claim, Box<str>)>,
}

/// A claim, relative to its registered type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member<T> {
    /// The claim is absent.
    Absent,
    /// The claim has another type.
    Malformed,
    /// The claim has its type.
    Is(T),
}

impl<T> Member<T> {
    /// Returns the value if the claim has its type.
    pub(crate) fn ok(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Malformed => None,
        }
    }
}

impl Payload {
    pub(super) fn parse(json: String) -> Result<Self, TokenError> {
        let Members { spans, has_escapes } = object::members(&json, Claim::index_of)
            .map_err(|error| TokenError::from_json_error(Segment::Payload, error))?;
        let mut payload = Self { json: json.into_boxed_str(), spans, has_escapes, unescaped: Vec::new() };
        for claim in Claim::ALL.iter().filter(|_| has_escapes) {
            if let Some(Cow::Owned(text)) = payload.raw(*claim).and_then(unquote) {
                payload.unescaped.push((*claim, text.into_boxed_str()));
            }
        }
        Ok(payload)
    }

    /// Parses the claims of an introspection answer, in which `null` counts as absent.
    pub(crate) fn parse_answer(json: String) -> Result<Self, TokenError> {
        let mut payload = Self::parse(json)?;
        let is_null = |span: &Span| span.slice(&payload.json) == Some("null");
        payload.spans = payload.spans.map(|span| span.filter(|span| !is_null(span)));
        Ok(payload)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(json: &str) -> Self {
        Self::parse(json.to_owned()).expect("an object with unique names")
    }

    #[cfg(test)]
    pub(crate) fn for_tests_answer(json: &str) -> Self {
        Self::parse_answer(json.to_owned()).expect("an object with unique names")
    }

    /// Returns the whole claims set as it was signed.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Returns the size of its heap allocations in bytes.
    pub(crate) fn footprint(&self) -> usize {
        let list = self.unescaped.capacity().saturating_mul(size_of::<(Claim, Box<str>)>());
        let texts = self.unescaped.iter().map(|(_, text)| text.len());
        texts.fold(self.json.len().saturating_add(list), usize::saturating_add)
    }

    /// Returns the JSON text of a claim, without surrounding white space.
    pub(crate) fn raw(&self, claim: Claim) -> Option<&str> {
        self.spans.get(claim.index()).copied().flatten().and_then(|span| span.slice(&self.json))
    }

    /// Returns a claim that must be a string.
    pub(crate) fn text(&self, claim: Claim) -> Member<&str> {
        let raw = self.raw(claim);
        if !self.has_escapes {
            return raw.map_or(Member::Absent, |raw| inside_quotes(raw).map_or(Member::Malformed, Member::Is));
        }
        match raw.map(unquote) {
            None => Member::Absent,
            Some(None) => Member::Malformed,
            Some(Some(Cow::Borrowed(text))) => Member::Is(text),
            Some(Some(Cow::Owned(_))) => {
                let unescaped = self.unescaped.iter().find(|(owner, _)| *owner == claim);
                unescaped.map_or(Member::Malformed, |(_, text)| Member::Is(text))
            }
        }
    }
}

/// Declares the registered claims: each variant with its name in a token.
macro_rules! claims {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A claim that this crate reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Claim { $($variant),+ }

        impl Claim {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];
            const COUNT: usize = Self::ALL.len();

            /// Returns the name of the claim.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Returns the claim with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                Some(match name { $($name => Self::$variant,)+ _ => return None })
            }
        }
    };
}

claims! {
    // RFC 7519 §4.1
    Iss = "iss",
    Sub = "sub",
    Aud = "aud",
    Exp = "exp",
    Nbf = "nbf",
    Iat = "iat",
    Jti = "jti",
    // RFC 8693 §4
    Scope = "scope",
    ClientId = "client_id",
    Act = "act",
    // OpenID Connect Core §2
    Azp = "azp",
    Acr = "acr",
    Amr = "amr",
    AuthTime = "auth_time",
    Nonce = "nonce",
    AtHash = "at_hash",
    CHash = "c_hash",
    // OpenID Connect Front-Channel Logout §3
    Sid = "sid",
    // RFC 7800 §3.1
    Cnf = "cnf",
    // Auth0
    Permissions = "permissions",
    OrgId = "org_id",
    OrgName = "org_name",
    Gty = "gty",
    // draft-mora-oauth-entity-profiles
    SubProfile = "sub_profile",
    // Okta and Entra write `scp`, Cognito `token_use`, Keycloak a payload `typ`
    Scp = "scp",
    TokenUse = "token_use",
    Typ = "typ",
    // Entra
    Tid = "tid",
}

impl Claim {
    #[expect(clippy::as_conversions, reason = "the discriminant of a field-less enum")]
    const fn index(self) -> usize {
        self as usize
    }

    fn index_of(name: &str) -> Option<usize> {
        Self::from_name(name).map(Self::index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(json: &str) -> Payload {
        Payload::parse(json.to_owned()).expect("an object")
    }

    #[test]
    fn footprint_is_the_allocated_memory() {
        for json in [
            r#"{"iss":"i"}"#,
            r#"{"iss":"a\/b","sub":"\u0041","jti":"c"}"#,
            r#"{"iss":"\n","sub":"\n","jti":"\n","azp":"\n","client_id":"\n"}"#,
        ] {
            let mut stored = None;
            let allocated = allocation_counter::measure(|| stored = Some(payload(json)));
            let footprint = stored.map(|payload| payload.footprint());
            assert_eq!(footprint, usize::try_from(allocated.bytes_current).ok(), "{json}");
        }
    }

    #[test]
    fn finds_every_claim_by_its_name() {
        for claim in Claim::ALL {
            let payload = payload(&format!("{{\"{}\":\"x\",\"other\":1}}", claim.name()));
            for other in Claim::ALL {
                let expected = if other == claim { Member::Is("x") } else { Member::Absent };
                assert_eq!(payload.text(*other), expected, "{claim:?} {other:?}");
            }
        }
    }

    #[test]
    fn distinguishes_absent_from_malformed() {
        let payload = payload(r#"{"iss":null,"sub":"","aud":["a"],"jti":"a\/\u0062"}"#);
        assert_eq!(payload.text(Claim::Iss), Member::Malformed);
        assert_eq!(payload.text(Claim::Sub), Member::Is(""));
        assert_eq!(payload.text(Claim::Aud), Member::Malformed);
        assert_eq!(payload.text(Claim::Jti), Member::Is("a/b"));
        assert_eq!(payload.text(Claim::Scope), Member::Absent);
    }
}
