//! Entry point for the fuzz target of answers, with its invariant.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::introspection::answer::{self, Parsed};

/// Parses an answer. It is positive only if another parser reads one object whose member `active` is `true`.
///
/// # Panics
///
/// If anything else is positive.
#[expect(clippy::expect_used, reason = "a panic is a finding")]
pub fn introspection_answer(body: &[u8]) {
    let Ok(Parsed::Active(payload)) = answer::parse(body) else { return };
    // Skipped values stay raw: their strings, numbers and depth need no representation.
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(body).expect("a positive answer is an object");
    assert_eq!(members.get("active").map(|active| active.get()), Some("true"));
    assert_eq!(payload.json().as_bytes(), body);
}
