//! `TokenError`: the reason why a credential cannot be parsed as a token.

use std::fmt;

use crate::token::scanner::JsonError;

/// The reason why a credential cannot be parsed as a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenError {
    /// The credential is longer than the API allows. It was not parsed.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The maximum length in bytes.
        limit: usize,
    },
    /// The text is empty.
    NoToken,
    /// The text contains white space: a scheme before the token (`Bearer …`), a line break, or several words.
    WhiteSpace,
    /// The token does not have three segments: it is opaque, or a truncated JWT.
    NotAJwt,
    /// The token has five segments: it is encrypted (RFC 7516), which this crate does not support.
    Encrypted,
    /// A segment is empty.
    Empty {
        /// The segment.
        segment: Segment,
    },
    /// A segment is not canonical base64url without padding (RFC 7515 §2).
    Encoding {
        /// The segment.
        segment: Segment,
    },
    /// The segment is not one JSON object in UTF-8 (RFC 7515 §5.2, RFC 7519 §7.2).
    Json {
        /// The segment.
        segment: Segment,
    },
    /// A member name is duplicated (RFC 7515 §4, RFC 7519 §4).
    DuplicateMember {
        /// The segment.
        segment: Segment,
    },
    /// The JSON is nested deeper than 32 levels.
    TooDeep {
        /// The segment.
        segment: Segment,
    },
    /// A member at any depth has a name that begins with `$serde_json::private::`. serde_json, which deserializes custom
    /// claims, would read it as a different value.
    ReservedMember {
        /// The segment.
        segment: Segment,
    },
    /// The header has no `alg` (RFC 7515 §4.1.1).
    MissingAlgorithm,
    /// `alg` is not the name of a signature algorithm.
    UnknownAlgorithm,
    /// The header has `crit` or `b64` (RFC 7515 §4.1.11, RFC 7797 §7).
    CriticalHeader,
    /// `cty` says that the payload is itself a token (RFC 7519 §5.2).
    Nested,
    /// `cty` is not a string.
    MalformedCty,
    /// `kid` is not a string (RFC 7515 §4.1.4).
    MalformedKid,
    /// `kid` is longer than 256 bytes.
    KidTooLong,
    /// There is no `kid`, and `x5t` or `x5t#S256` is not a string of at most 64 bytes (RFC 7515 §4.1.7, §4.1.8).
    MalformedX5t,
    /// `typ` is not a string (RFC 7515 §4.1.9).
    MalformedTyp,
}

/// A segment of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Segment {
    /// The first segment: the JOSE header.
    Header,
    /// The second segment: the claims set.
    Payload,
    /// The third segment: the signature or MAC.
    Signature,
}

impl Segment {
    const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        }
    }
}

impl TokenError {
    pub(super) const fn from_json_error(segment: Segment, error: JsonError) -> Self {
        match error {
            JsonError::Syntax => Self::Json { segment },
            JsonError::DuplicateMember => Self::DuplicateMember { segment },
            JsonError::TooDeep => Self::TooDeep { segment },
            JsonError::ReservedMember => Self::ReservedMember { segment },
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length, limit } => {
                write!(f, "the token has {length} bytes, more than the allowed {limit}")
            }
            Self::NoToken => f.write_str("there is no token"),
            Self::WhiteSpace => f.write_str("the token has white space before, after or inside it"),
            Self::NotAJwt => f.write_str("the token is not a JWT: it does not have three segments"),
            Self::Encrypted => f.write_str("the token is encrypted; only signed tokens are accepted"),
            Self::Empty { segment } => write!(f, "the {} is empty", segment.name()),
            Self::Encoding { segment } => write!(f, "the {} is not canonical base64url", segment.name()),
            Self::Json { segment } => write!(f, "the {} is not one JSON object", segment.name()),
            Self::DuplicateMember { segment } => write!(f, "the {} has a duplicate member name", segment.name()),
            Self::TooDeep { segment } => write!(f, "the {} is nested too deeply", segment.name()),
            Self::ReservedMember { segment } => write!(f, "the {} has a reserved member name", segment.name()),
            Self::MissingAlgorithm => f.write_str("the header has no alg"),
            Self::UnknownAlgorithm => f.write_str("the header's alg is not a signature algorithm"),
            Self::CriticalHeader => f.write_str("the header has a critical extension (crit or b64)"),
            Self::Nested => f.write_str("the payload is itself a token (cty)"),
            Self::MalformedCty => f.write_str("the header's cty is not a string"),
            Self::MalformedKid => f.write_str("the header's kid is not a string"),
            Self::KidTooLong => f.write_str("the header's kid is too long"),
            Self::MalformedX5t => f.write_str("the header's x5t or x5t#S256 is not a hash"),
            Self::MalformedTyp => f.write_str("the header's typ is not a string"),
        }
    }
}

impl std::error::Error for TokenError {}
