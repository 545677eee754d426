//! The application's own claims, read from the verified bytes, and why they do not fit its type.

use std::fmt;
use std::sync::Arc;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, Visitor};
use serde_json::error::Category;

/// Why a token's claims are not of the application's own type: the member, and serde's reason.
///
/// Neither holds a value of the token. What serde's message quotes from it is left out, and so is the message of a type that
/// writes its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CustomClaimsError {
    member: Option<Arc<str>>,
    reason: Arc<str>,
}

impl CustomClaimsError {
    /// Makes an error for tests of code that handles a [`Rejection`](crate::Rejection).
    #[must_use]
    pub fn new(member: Option<&str>, reason: &str) -> Self {
        Self { member: member.map(Arc::from), reason: Arc::from(reason) }
    }

    /// The claim whose value does not fit. `None` if a claim is missing, which the reason names then, or if it is unknown
    /// which one: of flattened and tagged types serde reads all claims before it compares any.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        self.member.as_deref()
    }

    /// What serde says, without values: `invalid type: string, expected u8`.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Reads the claims a second time, and tracks the member.
    fn locate<C: DeserializeOwned>(json: &str, first: serde_json::Error) -> Self {
        let mut member = None;
        let inner = &mut serde_json::Deserializer::from_str(json);
        let error = C::deserialize(MemberTracker { inner, member: &mut member }).err().unwrap_or(first);
        Self::new(member.as_deref(), &without_values(&error))
    }
}

impl fmt::Display for CustomClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            Some(member) => write!(f, "claim {member:?}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for CustomClaimsError {}

/// Reads the application's own claims from a claims set.
pub(crate) fn read_custom<C: DeserializeOwned>(json: &str) -> Result<C, CustomClaimsError> {
    serde_json::from_str(json).map_err(|error| CustomClaimsError::locate::<C>(json, error))
}

/// serde's message without what it quotes from the token. What stands behind the last `expected` is the program's.
fn without_values(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    if error.classify() != Category::Data || FROM_THE_PROGRAM.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    let Some((start, quoted)) = QUOTING.iter().find_map(|start| Some((start, message.strip_prefix(start)?))) else {
        return OWN_MESSAGE.to_owned();
    };
    let kind = KINDS.iter().find(|kind| start.ends_with(": ") && quoted.starts_with(**kind));
    let has_expected = !NO_CHOICE.iter().any(|end| message.ends_with(end));
    let expected = quoted.rfind(EXPECTED).filter(|_| has_expected).and_then(|at| quoted.get(at..));
    match kind {
        Some(kind) => format!("{start}{kind}{}", expected.unwrap_or_default()),
        None => format!("{}{}", start.trim_end_matches([':', ' ']), expected.unwrap_or_default()),
    }
}

/// A deserializer of one object, or a visitor or reader of its members, that tracks which member is being read.
struct MemberTracker<'m, T> {
    inner: T,
    member: &'m mut Option<String>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for MemberTracker<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(MemberTracker { inner: visitor, member: self.member })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for MemberTracker<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(MemberTracker { inner: members, member: self.member })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for MemberTracker<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        *self.member = self.inner.next_key()?;
        let Some(name) = self.member.as_deref() else { return Ok(None) };
        let name: StrDeserializer<'_, A::Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// How messages of serde begin that hold names of the program only.
const FROM_THE_PROGRAM: [&str; 2] = ["missing field `", "data did not match any variant of untagged enum "];

/// How messages of serde begin that quote the token.
const QUOTING: [&str; 6] =
    ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant ", "unknown field ", "duplicate field "];

/// What serde calls the types of JSON values.
const KINDS: [&str; 8] = ["boolean", "integer", "floating point", "number", "string", "null", "map", "sequence"];

const EXPECTED: &str = ", expected ";

const NO_CHOICE: [&str; 2] = [", there are no variants", ", there are no fields"];

const OWN_MESSAGE: &str = "the application's type refuses the value";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde only")]
    struct Northwind {
        #[serde(alias = "dept")]
        department: Option<u8>,
        roles: Option<Vec<Role>>,
        home: Option<Home>,
        day: Option<Day>,
        id: Option<Id>,
        price: Option<f64>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Clerk,
        Admin,
    }

    #[derive(Debug, Deserialize)]
    struct Home {
        #[serde(rename = "city")]
        _city: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Day;

    impl TryFrom<String> for Day {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            if text == "monday" { Ok(Self) } else { Err(format!("no day: {text}")) }
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Id {
        #[expect(dead_code, reason = "read by serde only")]
        Number(u32),
    }

    fn refused<C: DeserializeOwned + fmt::Debug>(json: &str) -> String {
        read_custom::<C>(json).expect_err(json).to_string()
    }

    #[test]
    fn names_the_member_and_the_reason_and_no_value() {
        for (json, expected) in [
            (r#"{"department":"secret, expected 7"}"#, r#"claim "department": invalid type: string, expected u8"#),
            (r#"{"department":77777}"#, r#"claim "department": invalid value: integer, expected u8"#),
            (r#"{"department":7.5}"#, r#"claim "department": invalid type: floating point, expected u8"#),
            (r#"{"department":true}"#, r#"claim "department": invalid type: boolean, expected u8"#),
            (r#"{"department":["secret"]}"#, r#"claim "department": invalid type: sequence, expected u8"#),
            (r#"{"department":{"secret":1}}"#, r#"claim "department": invalid type: map, expected u8"#),
            (r#"{"department":1,"dept":2}"#, r#"claim "dept": duplicate field"#),
            (r#"{"home":{"city":null}}"#, r#"claim "home": invalid type: null, expected a string"#),
            (r#"{"roles":["secret`, expected x"]}"#, r#"claim "roles": unknown variant, expected `clerk` or `admin`"#),
            (r#"{"home":{"street":"secret"}}"#, r#"claim "home": missing field `city`"#),
            (r#"{"home":{"city":7}, "day":"monday"}"#, r#"claim "home": invalid type: integer, expected a string"#),
            (r#"{"day":"secret"}"#, r#"claim "day": the application's type refuses the value"#),
            (r#"{"day":"secret" , "id":7}"#, r#"claim "day": the application's type refuses the value"#),
            (r#"{"id":"secret"}"#, r#"claim "id": data did not match any variant of untagged enum Id"#),
            (r#"{"price":1e999}"#, r#"claim "price": number out of range"#),
            (
                "{\"\\u202esecret\":1}",
                "claim \"\\u{202e}secret\": unknown field, expected one of `department`, `dept`, `roles`, `home`, `day`, `id`, `price`",
            ),
        ] {
            assert_eq!(refused::<Northwind>(json), expected, "{json}");
        }
        let good = r#"{"department":7,"roles":["clerk"],"home":{"city":"x","a":1},"day":"monday","id":7,"price":1.5}"#;
        assert!(read_custom::<Northwind>(good).is_ok());
        assert_eq!(read_custom::<Northwind>("{}").map(|all| all.roles.is_none()), Ok(true));
    }

    #[test]
    fn finds_the_member_whatever_the_shape_of_the_type() {
        #[derive(Debug, Deserialize)]
        #[serde(transparent)]
        struct Wrapped(#[expect(dead_code, reason = "read by serde only")] Home);

        #[derive(Debug, Deserialize)]
        struct Outer {
            #[serde(rename = "level")]
            _level: u8,
            #[serde(flatten)]
            _home: Home,
        }

        let city = "claim \"city\": invalid type: integer, expected a string";
        assert_eq!(refused::<Home>(r#"{"x":1,"city":7,"y":2}"#), city);
        assert_eq!(refused::<Wrapped>(r#"{"city":7}"#), city);
        assert_eq!(refused::<Option<Home>>(r#"{"city":7}"#), city);
        assert_eq!(refused::<BTreeMap<String, String>>(r#"{"a":"b","city":7}"#), city);
        assert_eq!(refused::<Home>(r#"{"x":1}"#), "missing field `city`");
        assert_eq!(
            refused::<Outer>(r#"{"level":"x","city":"y"}"#),
            "claim \"level\": invalid type: string, expected u8"
        );
        assert_eq!(refused::<Outer>(r#"{"level":1,"city":7}"#), "invalid type: integer, expected a string");
        assert_eq!(refused::<Outer>(r#"{"level":1}"#), "missing field `city`");
        assert_eq!(refused::<String>(r#"{"city":"secret"}"#), "invalid type: map, expected a string");
        assert_eq!(refused::<Vec<u8>>(r#"{"city":"secret"}"#), "invalid type: map, expected a sequence");
    }
}
