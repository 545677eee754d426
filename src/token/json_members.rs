//! Reads named members of a JSON object, for headers and claims sets other than those of access tokens.

use crate::token::error::{Segment, TokenError};
use crate::token::object;

/// Finds `names` in one JSON object, in their order, as JSON texts. Every other member is checked and skipped.
///
/// The object has unique member names and no reserved ones, and is at most 32 levels deep.
pub(crate) fn json_members<'j, const N: usize>(
    segment: Segment,
    json: &'j str,
    names: [&str; N],
) -> Result<[Option<&'j str>; N], TokenError> {
    let index_of = |name: &str| names.iter().position(|known| *known == name);
    let found = object::members::<N>(json, index_of).map_err(|error| TokenError::from_json_error(segment, error))?;
    Ok(found.spans.map(|span| span.and_then(|span| span.slice(json))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_named_members_as_json_texts() {
        let members = |json| json_members(Segment::Header, json, ["a", "b"]);
        assert_eq!(members(r#"{"b":[1, 2],"x":{},"\u0061":"t"}"#), Ok([Some("\"t\""), Some("[1, 2]")]));
        assert_eq!(members("{}"), Ok([None, None]));
        assert_eq!(members(r#"{"a":1,"\u0061":1}"#), Err(TokenError::DuplicateMember { segment: Segment::Header }));
        assert_eq!(members(r#"{"x":1,"x":1}"#), Err(TokenError::DuplicateMember { segment: Segment::Header }));
        assert_eq!(members("[]"), Err(TokenError::Json { segment: Segment::Header }));
    }
}
