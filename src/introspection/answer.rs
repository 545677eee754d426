//! Parses the answer of an introspection endpoint (RFC 7662 §2.2).

use std::sync::Arc;
use std::time::Duration;

use crate::claims::{self, Claims};
use crate::clock::{Moment, Monotonic, Timestamp};
use crate::introspection::error::IntrospectionError;
use crate::jwks::KeyEpoch;
use crate::keys::Thumbprint;
use crate::token::{self, Header, Payload, Segment};

/// The content of an answer.
pub(crate) enum Parsed {
    Active(Box<Payload>),
    Inactive,
}

/// What the server says about a token.
#[derive(Clone)]
pub(crate) enum Answer {
    Active(Arc<ActiveAnswer>),
    Inactive,
}

/// A positive answer. It says that the token is genuine, not that this API accepts it.
pub(crate) struct ActiveAnswer {
    pub(crate) claims: Claims,
    /// The time at which the call began: the server may have decided at any time after it.
    pub(crate) call_started_at: Monotonic,
    pub(crate) call_started_at_wall: Timestamp,
    /// What proved the answer, besides TLS.
    pub(crate) signature: Option<AnswerSignature>,
}

impl ActiveAnswer {
    /// Returns the time since the call began, by the clock on which it is longer: the monotonic one may stop while the
    /// machine is suspended.
    pub(crate) fn age(&self, now: Moment) -> Duration {
        let age = now.monotonic.saturating_since(self.call_started_at);
        age.max(now.wall.saturating_since(self.call_started_at_wall))
    }
}

/// The header of a signed answer, and the key that verified it.
pub(crate) struct AnswerSignature {
    pub(crate) header: Header,
    pub(crate) thumbprint: Thumbprint,
    pub(crate) epoch: KeyEpoch,
}

/// A positive answer that several requests share.
pub(crate) type SharedAnswer = Arc<ActiveAnswer>;

/// Parses the JSON text of an answer: one object with unique names, in which `active` is `true` or `false`.
///
/// # Security
///
/// The answer is active only if the text says so exactly once. A server that says nothing has not said no: everything
/// else is an error. Members of another type than registered are errors as well, so that no check is passed because a
/// member cannot be read. `null` counts as absent.
pub(crate) fn parse(body: &[u8]) -> Result<Parsed, IntrospectionError> {
    let json = str::from_utf8(body).map_err(|_| IntrospectionError::InvalidAnswer)?;
    let names = ["active", "token_type", "username"];
    let [active, token_type, username] =
        token::json_members(Segment::Payload, json, names).map_err(|_| IntrospectionError::InvalidAnswer)?;
    match active {
        Some("false") => return Ok(Parsed::Inactive),
        Some("true") => {}
        _ => return Err(IntrospectionError::InvalidActive),
    }
    for (member, raw) in [("token_type", token_type), ("username", username)] {
        if raw.is_some_and(|raw| raw != "null" && token::unquote(raw).is_none()) {
            return Err(IntrospectionError::MalformedMember { member });
        }
    }
    let payload = Payload::parse_answer(json.to_owned()).map_err(|_| IntrospectionError::InvalidAnswer)?;
    match claims::malformed_answer_member(&payload) {
        Some(member) => Err(IntrospectionError::MalformedMember { member }),
        None => Ok(Parsed::Active(Box::new(payload))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::Claim;

    fn error(json: &str) -> IntrospectionError {
        parse(json.as_bytes()).map(drop).expect_err(json)
    }

    #[test]
    fn reads_active_as_true_or_false_only() {
        assert!(matches!(parse(br#"{"active":true}"#), Ok(Parsed::Active(_))));
        assert!(matches!(parse(br#" { "sub" : 1 , "\u0061ctive" : false } "#), Ok(Parsed::Inactive)));
        // Cases 1 to 5, 7 and 8.
        for json in [
            "{}",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"active":[true]}"#,
            r#"{"Active":true}"#,
            r#"{"x":{"active":true}}"#,
        ] {
            assert_eq!(error(json), IntrospectionError::InvalidActive, "{json}");
        }
        for json in [
            r#"{"active":false,"active":true}"#,
            r#"{"active":true,"\u0061ctive":true}"#,
            r#"{"active":true,"x":1,"x":2}"#,
            r#"{"active":true}{}"#,
            r#"{"active":true"#,
            r#"{"active":True}"#,
            "\u{feff}{\"active\":true}",
            "",
            "[true]",
            "true",
            "<html></html>",
        ] {
            assert_eq!(error(json), IntrospectionError::InvalidAnswer, "{json}");
        }
        assert_eq!(parse(b"{\"active\":true,\"x\":\"\xff\"}").map(drop), Err(IntrospectionError::InvalidAnswer));
    }

    #[test]
    fn treats_null_as_absent_and_another_wrong_type_as_an_error() {
        let Ok(Parsed::Active(payload)) =
            parse(br#"{"active":true,"sub":null,"exp":null,"username":null,"token_type":null,"aud":null}"#)
        else {
            panic!("case 28")
        };
        assert!([Claim::Sub, Claim::Exp, Claim::Aud].iter().all(|claim| payload.raw(*claim).is_none()));
        for (member, values) in [
            ("exp", &["true", r#""1800000000""#, "1e300", "[]"][..]),
            ("nbf", &["true", r#""1""#, "1e300"]),
            ("iat", &["true", r#""1""#]),
            ("iss", &["1", "[]"]),
            ("sub", &["1", "{}"]),
            ("jti", &["1"]),
            ("client_id", &["1"]),
            ("aud", &["1", "[1]", r#"["a",null]"#, "{}"]),
            ("scope", &["1", "[1]", "{}"]),
            ("token_type", &["1", "[]"]),
            ("username", &["1", "{}"]),
        ] {
            for value in values {
                let json = format!(r#"{{"active":true,"{member}":{value}}}"#);
                assert_eq!(error(&json), IntrospectionError::MalformedMember { member }, "{json}");
                // A negative answer is not read further.
                let json = format!(r#"{{"active":false,"{member}":{value}}}"#);
                assert!(matches!(parse(json.as_bytes()), Ok(Parsed::Inactive)), "{json}");
            }
        }
        for json in
            [r#"{"active":true,"exp":1796198708.454504}"#, r#"{"active":true,"iat":1796198708454,"scope":["a"]}"#]
        {
            assert!(matches!(parse(json.as_bytes()), Ok(Parsed::Active(_))), "{json}");
        }
    }

    proptest! {
        /// The answer is active only if serde_json reads the same, from a text with the name exactly once.
        #[test]
        fn is_active_only_if_the_text_says_so_exactly_once(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..10),
        ) {
            let json = pieces.concat();
            let is_active = matches!(parse(json.as_bytes()), Ok(Parsed::Active(_)));
            let value: Option<serde_json::Value> = serde_json::from_str(&json).ok();
            let says_active = value.is_some_and(|value| value.get("active") == Some(&serde_json::Value::Bool(true)));
            prop_assert!(!is_active || says_active, "{}", json);
            prop_assert!(!is_active || json.matches("active").count() == 1, "{}", json);
        }

        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _result = parse(&body);
        }
    }

    const PIECES: &[&str] = &[
        "{",
        "}",
        "\"active\"",
        ":",
        "true",
        "false",
        "null",
        ",",
        "\"x\"",
        "1",
        "[",
        "]",
        " ",
        "{\"active\":true",
        "\"true\"",
    ];
}
