//! A string, or an array of strings, read in place.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use serde::de::{Deserialize, DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::token;

/// Calls `visit` with each string of a JSON string or array of strings, in order, until it breaks.
///
/// `None` for any other JSON value, and for an array with an element of another type (found only up to the break).
pub(super) fn for_each(raw: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Option<()> {
    if let Some(text) = token::unquote(raw) {
        let _ = visit(&text);
        return Some(());
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let seed = Array { visit, stopped: false, malformed: false };
    raw.starts_with('[').then(|| seed.deserialize(&mut deserializer).ok()).flatten()
}

/// Says whether it is a string, or an array with at least one element and nothing but strings.
pub(super) fn is_well_formed(raw: &str) -> bool {
    let mut empty = true;
    let well_formed = for_each(raw, &mut |_| {
        empty = false;
        ControlFlow::Break(())
    });
    well_formed.is_some() && !empty
}

/// Collects the strings of a JSON string or array of strings.
pub(super) fn collect(raw: &str) -> Option<Vec<Box<str>>> {
    let mut all = Vec::new();
    for_each(raw, &mut |text| {
        all.push(Box::from(text));
        ControlFlow::Continue(())
    })?;
    Some(all)
}

struct Array<'v> {
    visit: &'v mut dyn FnMut(&str) -> ControlFlow<()>,
    stopped: bool,
    malformed: bool,
}

impl<'j> DeserializeSeed<'j> for Array<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'j>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'j> Visitor<'j> for Array<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'j>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(Element(text)) = seq.next_element()? {
            match text {
                None => self.malformed = true,
                Some(text) if !self.stopped => self.stopped = (self.visit)(&text).is_break(),
                Some(_) => {}
            }
        }
        if self.malformed { Err(A::Error::custom("")) } else { Ok(()) }
    }
}

struct Element<'j>(Option<Cow<'j, str>>);

impl<'j> Deserialize<'j> for Element<'j> {
    fn deserialize<D: serde::Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        <&'j RawValue>::deserialize(deserializer).map(|raw| Self(token::unquote(raw.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_one_or_many() {
        assert_eq!(collect(r#""a""#), Some(vec![Box::from("a")]));
        assert_eq!(collect(r#"[ "a" , "b\/c" ]"#), Some(vec![Box::from("a"), Box::from("b/c")]));
        assert_eq!(collect("[]"), Some(Vec::new()));
    }

    #[test]
    fn one_wrong_element_spoils_the_array_wherever_it_stands() {
        for raw in ["1", "null", "{}", r#"{"a":"b"}"#, r#"["a",1]"#, r#"[null,"a"]"#, r#"["a",["b"]]"#] {
            assert_eq!(collect(raw), None, "{raw}");
        }
        let stop_at_once = for_each(r#"["a",1]"#, &mut |_| ControlFlow::Break(()));
        assert_eq!(stop_at_once, None);
    }
}
