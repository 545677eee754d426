//! Custom claims: their deserialization into the application's type, and its errors.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess, Unexpected,
    Visitor,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The reason why a claims set cannot be deserialized into the custom claims type: the member, and serde's message.
///
/// Neither the member nor the message contains a claim value. Values that serde's message quotes are removed. A message that
/// the type itself writes is replaced by a fixed text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CustomClaimsError {
    member: Option<Arc<str>>,
    reason: Arc<str>,
}

impl CustomClaimsError {
    /// Creates an error, for tests of code that handles a [`Rejection`](crate::Rejection).
    #[must_use]
    pub fn new(member: Option<&str>, reason: &str) -> Self {
        Self { member: member.map(Arc::from), reason: Arc::from(reason) }
    }

    /// Returns the name of the claim that does not match. Returns `None` if a claim is missing, because the
    /// [`reason`](Self::reason) contains its name. Also returns `None` for a flattened or tagged type: serde reads all its
    /// claims before it compares one of them, so the claim is unknown.
    #[must_use]
    pub fn claim(&self) -> Option<&str> {
        self.member.as_deref()
    }

    /// Returns the message of serde without values: `invalid type: string, expected u8`.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Deserializes the claims a second time, with errors that contain no values, and tracks the member.
    fn locate<C: DeserializeOwned>(json: &str) -> Self {
        let Ok(Members(members)) = serde_json::from_str(json) else { return Self::new(None, CUSTOM_MESSAGE) };
        let mut reader = MemberReader { members: members.into_iter(), value: None, member: None };
        let read = C::deserialize(ClaimsReader(&mut reader));
        let reason = read.err().map_or_else(|| CUSTOM_MESSAGE.to_owned(), |error| error.0);
        Self::new(reader.member.as_deref(), &reason)
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

/// Deserializes the custom claims from a claims set.
pub(crate) fn read_custom<C: DeserializeOwned>(json: &str) -> Result<C, CustomClaimsError> {
    serde_json::from_str(json).map_err(|_| CustomClaimsError::locate::<C>(json))
}

/// The error of a deserialization: serde's message without values of the token.
#[derive(Debug)]
struct Reason(String);

impl Reason {
    fn expecting(problem: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        // The application's type may have put the value into `expected`.
        match found {
            Unexpected::Str(text) if !text.is_empty() && expected.contains(text) => {
                Self(format!("{problem}: {}", kind(found)))
            }
            _ => Self(format!("{problem}: {}, expected {expected}", kind(found))),
        }
    }

    fn choosing(problem: &str, names: &'static [&'static str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        match names.as_slice() {
            [] => Self(problem.to_owned()),
            [one] => Self(format!("{problem}, expected {one}")),
            [one, other] => Self(format!("{problem}, expected {one} or {other}")),
            several => Self(format!("{problem}, expected one of {}", several.join(", "))),
        }
    }
}

impl serde::de::Error for Reason {
    /// Replaces the message, because it comes from the application's type and may quote the token. Only serde's message for
    /// untagged enums stays.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        let name = message.strip_prefix(UNTAGGED).unwrap_or_default();
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        Self(if is_name { message } else { CUSTOM_MESSAGE.to_owned() })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expecting("invalid type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expecting("invalid value", found, expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self(format!("invalid length, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::choosing("unknown variant", expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::choosing("unknown field", expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("missing field `{field}`"))
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self("duplicate field".to_owned())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reason {}

/// Returns serde's name for the type of a JSON value.
fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "floating point",
        Unexpected::Str(_) | Unexpected::Char(_) => "string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        _ => "another type",
    }
}

/// The members of a claims set in their order, each with its JSON text.
struct Members<'de>(Vec<(String, &'de RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members<'de>, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = members.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Reads members one by one, and tracks which one is being read.
struct MemberReader<'de> {
    members: std::vec::IntoIter<(String, &'de RawValue)>,
    value: Option<&'de RawValue>,
    member: Option<String>,
}

impl<'de> MapAccess<'de> for &mut MemberReader<'de> {
    type Error = Reason;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Reason> {
        let next = self.members.next();
        (self.member, self.value) = next.map_or((None, None), |(name, value)| (Some(name), Some(value)));
        let Some(name) = self.member.as_deref() else { return Ok(None) };
        let name: StrDeserializer<'_, Reason> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Reason> {
        let json = self.value.take().map_or("null", RawValue::get);
        // The text is valid JSON, so the only possible error is a number that is out of range.
        let value = serde_json::from_str(json).map_err(|_| Reason("number out of range".to_owned()))?;
        seed.deserialize(ValueReader(value))
    }
}

/// The claims set as a deserializer.
struct ClaimsReader<'r, 'de>(&'r mut MemberReader<'de>);

impl<'de> Deserializer<'de> for ClaimsReader<'_, 'de> {
    type Error = Reason;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_map(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        visitor.visit_enum(MapAccessDeserializer::new(self.0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The value of a member as a deserializer.
struct ValueReader(Value);

impl<'de> Deserializer<'de> for ValueReader {
    type Error = Reason;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (None, Some(value), _) => visitor.visit_i64(value),
                (None, None, Some(value)) => visitor.visit_f64(value),
                (None, None, None) => Err(Reason::custom("a number")),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(ValueReader))),
            Value::Object(members) => visitor.visit_map(member_access(members)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Object(members) => visitor.visit_enum(MapAccessDeserializer::new(member_access(members))),
            other => ValueReader(other).deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// Returns the members of a nested object one by one.
fn member_access<'de>(members: Map<String, Value>) -> impl MapAccess<'de, Error = Reason> {
    MapDeserializer::new(members.into_iter().map(|(name, value)| (name, ValueReader(value))))
}

impl IntoDeserializer<'_, Reason> for ValueReader {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The start of serde's message if no variant of an untagged enum matches. The name of the enum follows.
const UNTAGGED: &str = "data did not match any variant of untagged enum ";

const CUSTOM_MESSAGE: &str = "the application's type rejects the value";

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

    fn error<C: DeserializeOwned + fmt::Debug>(json: &str) -> String {
        read_custom::<C>(json).expect_err(json).to_string()
    }

    #[test]
    fn error_contains_member_and_reason_but_no_value() {
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
            (r#"{"day":"secret"}"#, r#"claim "day": the application's type rejects the value"#),
            (r#"{"day":"secret" , "id":7}"#, r#"claim "day": the application's type rejects the value"#),
            (r#"{"id":"secret"}"#, r#"claim "id": data did not match any variant of untagged enum Id"#),
            (r#"{"price":1e999}"#, r#"claim "price": number out of range"#),
            (
                "{\"\\u202esecret\":1}",
                "claim \"\\u{202e}secret\": unknown field, expected one of `department`, `dept`, `roles`, `home`, `day`, `id`, `price`",
            ),
        ] {
            assert_eq!(error::<Northwind>(json), expected, "{json}");
        }
        let good = r#"{"department":7,"roles":["clerk"],"home":{"city":"x","a":1},"day":"monday","id":7,"price":1.5}"#;
        assert!(read_custom::<Northwind>(good).is_ok());
        assert_eq!(read_custom::<Northwind>("{}").map(|all| all.roles.is_none()), Ok(true));
    }

    /// A message of the application's type may quote the value, even if it starts like a message of serde.
    #[test]
    fn replaces_the_message_of_an_application_type() {
        macro_rules! own {
            ($name:ident, $error:expr) => {
                #[derive(Debug)]
                struct $name;

                impl<'de> Deserialize<'de> for $name {
                    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        let text = String::deserialize(deserializer)?;
                        let error: fn(&str) -> D::Error = $error;
                        Err(error(&text))
                    }
                }
            };
        }
        own!(LikeAValue, |text| D::Error::custom(format!("invalid value: no level, expected 1 to 5, got {text}")));
        own!(LikeAField, |text| D::Error::custom(format!("missing field `{text}`")));
        own!(LikeAnEnum, |text| D::Error::custom(format!("data did not match any variant of untagged enum {text} x")));
        own!(Composed, |text| D::Error::invalid_value(Unexpected::Str(text), &format!("not {text}").as_str()));
        own!(Fixed, |text| D::Error::invalid_value(Unexpected::Str(text), &"1 to 5"));
        let json = r#"{"level":"secret"}"#;
        let replaced = format!("claim \"level\": {CUSTOM_MESSAGE}");
        assert_eq!(error::<BTreeMap<String, LikeAValue>>(json), replaced);
        assert_eq!(error::<BTreeMap<String, LikeAField>>(json), replaced);
        assert_eq!(error::<BTreeMap<String, LikeAnEnum>>(json), replaced);
        assert_eq!(error::<BTreeMap<String, Composed>>(json), "claim \"level\": invalid value: string");
        assert_eq!(error::<BTreeMap<String, Fixed>>(json), "claim \"level\": invalid value: string, expected 1 to 5");
    }

    #[test]
    fn finds_the_member_for_every_shape_of_type() {
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
        assert_eq!(error::<Home>(r#"{"x":1,"city":7,"y":2}"#), city);
        assert_eq!(error::<Wrapped>(r#"{"city":7}"#), city);
        assert_eq!(error::<Option<Home>>(r#"{"city":7}"#), city);
        assert_eq!(error::<BTreeMap<String, String>>(r#"{"a":"b","city":7}"#), city);
        assert_eq!(error::<Home>(r#"{"x":1}"#), "missing field `city`");
        assert_eq!(error::<Outer>(r#"{"level":"x","city":"y"}"#), "claim \"level\": invalid type: string, expected u8");
        assert_eq!(error::<Outer>(r#"{"level":1,"city":7}"#), "invalid type: integer, expected a string");
        assert_eq!(error::<Outer>(r#"{"level":1}"#), "missing field `city`");
        assert_eq!(error::<String>(r#"{"city":"secret"}"#), "invalid type: map, expected a string");
        assert_eq!(error::<Vec<u8>>(r#"{"city":"secret"}"#), "invalid type: map, expected a sequence");
    }
}
