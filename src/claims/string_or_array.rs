//! Reads a JSON string or an array of strings and copies only strings with escapes.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::token;

/// Calls `visit` with each string of a JSON string or array of strings, in order, until `visit` breaks.
///
/// Returns `None` for any other JSON value, and for an array with an element of another type, even after the break.
pub(super) fn for_each<'j>(raw: &'j str, visit: &mut dyn FnMut(Cow<'j, str>) -> ControlFlow<()>) -> Option<()> {
    if let Some(text) = token::unquote(raw) {
        let _ = visit(text);
        return Some(());
    }
    let (mut stopped, mut malformed) = (false, false);
    token::elements(raw, &mut |element| match token::unquote(element) {
        None => malformed = true,
        Some(text) if !stopped => stopped = visit(text).is_break(),
        Some(_) => {}
    })?;
    (!malformed).then_some(())
}

/// Collects the strings of a JSON string or array of strings.
pub(super) fn collect(raw: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut all = Vec::new();
    for_each(raw, &mut |text| {
        all.push(text);
        ControlFlow::Continue(())
    })?;
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_a_string_or_an_array() {
        assert_eq!(collect(r#""a""#), Some(vec![Cow::Borrowed("a")]));
        assert_eq!(collect(r#"[ "a" , "b\/c" ]"#), Some(vec![Cow::Borrowed("a"), Cow::Owned("b/c".to_owned())]));
        assert_eq!(collect("[]"), Some(Vec::new()));
    }

    #[test]
    fn rejects_an_array_with_one_element_of_another_type() {
        for raw in ["1", "null", "{}", r#"{"a":"b"}"#, r#"["a",1]"#, r#"[null,"a"]"#, r#"["a",["b"]]"#] {
            assert_eq!(collect(raw), None, "{raw}");
        }
        let stop_at_once = for_each(r#"["a",1]"#, &mut |_| ControlFlow::Break(()));
        assert_eq!(stop_at_once, None);
    }
}
