//! `Serialize` and `Deserialize` for types that appear in configuration files and JSON logs.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rejection::{Rejection, RejectionKind};
use crate::token::Algorithm;
use crate::validator::{CheckOutcome, Explanation, Finding};

/// The `alg` value, such as `"RS256"`.
impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Reads an `alg` value, case-sensitively.
impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name { expecting: "the name of a signature algorithm", read: Self::from_name })
    }
}

/// The name, such as `"key_not_found"`.
impl Serialize for RejectionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Reads a name.
impl<'de> Deserialize<'de> for RejectionKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name { expecting: "the name of a kind of rejection", read: Self::from_name })
    }
}

/// A type that is written as a name.
struct Name<T> {
    expecting: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Name<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        (self.read)(name).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(name), &self))
    }
}

/// `"passed"`, `"failed"` or `"skipped"`.
impl Serialize for CheckOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// An object with the members `accepted`, `rejection` and `findings`. As for [`Explanation`] itself, it is for operators only:
/// it quotes the token's claims.
impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Explanation", 3)?;
        object.serialize_field("accepted", &self.is_accepted())?;
        object.serialize_field("rejection", &self.rejection().map(Described))?;
        object.serialize_field("findings", self.findings())?;
        object.end()
    }
}

/// An object with the members `check`, `outcome`, `rejection`, `found`, `expected` and `hint`. The last four may be null.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Finding", 6)?;
        object.serialize_field("check", self.check())?;
        object.serialize_field("outcome", &self.outcome())?;
        object.serialize_field("rejection", &self.rejection().map(Described))?;
        object.serialize_field("found", &self.found())?;
        object.serialize_field("expected", &self.expected())?;
        object.serialize_field("hint", &self.hint())?;
        object.end()
    }
}

/// A rejection as an object with its kind and its text.
struct Described<'r>(&'r Rejection);

impl Serialize for Described<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Rejection", 2)?;
        object.serialize_field("kind", &self.0.kind())?;
        object.serialize_field("reason", &format_args!("{}", self.0))?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Api, Issuer};
    use crate::keys::KeySet;
    use crate::testing::TestIssuer;
    use crate::validator::Validator;

    #[tokio::test]
    async fn writes_an_explanation_as_an_object() {
        let server = TestIssuer::new();
        let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
        let validator = Validator::new(Api::new("https://api.test/", issuer)).expect("a valid configuration");
        let to_json = async |token: &str| serde_json::to_value(validator.explain(token).await).expect("an object");

        let accepted = to_json(&server.token().sign()).await;
        assert_eq!((&accepted["accepted"], &accepted["rejection"]), (&json!(true), &Value::Null));

        let rejected = to_json(&server.token().audience("https://api.test").sign()).await;
        let reason = json!({ "kind": "audience", "reason": "aud does not match (signature not checked)" });
        assert_eq!((&rejected["accepted"], &rejected["rejection"]), (&json!(false), &reason));
        let findings = rejected["findings"].as_array().expect("an array");
        let audience = findings.iter().find(|finding| finding["check"] == "aud").expect("the check of aud");
        assert!(audience["hint"].as_str().is_some_and(|hint| hint.contains("trailing slash")), "{audience}");
        let others = json!({
            "check": "aud", "outcome": "failed", "rejection": reason, "hint": audience["hint"],
            "found": "\"https://api.test\"", "expected": "https://api.test/",
        });
        assert_eq!(*audience, others);
        let outcome = |check: &str| findings.iter().find(|finding| finding["check"] == check).map(|it| &it["outcome"]);
        assert_eq!((outcome("signature"), outcome("application")), (Some(&json!("passed")), Some(&json!("skipped"))));
    }

    #[test]
    fn writes_and_reads_names() {
        for &algorithm in Algorithm::ALL {
            let text = serde_json::to_string(&algorithm).expect("a name");
            assert_eq!(text, format!("{:?}", algorithm.name()));
            assert_eq!(serde_json::from_str::<Algorithm>(&text).ok(), Some(algorithm));
        }
        for &kind in RejectionKind::ALL {
            let text = serde_json::to_string(&kind).expect("a name");
            assert_eq!(text, format!("{:?}", kind.name()));
            assert_eq!(serde_json::from_str::<RejectionKind>(&text).ok(), Some(kind));
        }
        assert_eq!(serde_json::from_str::<Algorithm>(r#""Ed25519""#).ok(), Some(Algorithm::EdDSA));
    }

    #[test]
    fn rejects_other_names_and_types() {
        for text in [r#""none""#, r#""rs256""#, r#""""#, "256", "null", r#"["RS256"]"#] {
            assert!(serde_json::from_str::<Algorithm>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Algorithm>(r#""none""#).expect_err("not an algorithm").to_string();
        assert!(
            error.starts_with("invalid value: string \"none\", expected the name of a signature algorithm"),
            "{error}"
        );
        assert!(serde_json::from_str::<RejectionKind>(r#""Audience""#).is_err());
        assert_eq!(serde_json::from_str::<RejectionKind>(r#""audience""#).ok(), Some(RejectionKind::Audience));
    }
}
