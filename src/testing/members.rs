//! `Members`: builds a JSON object with a given order and with duplicate names.

use serde::Serialize;

/// Members in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Vec<(String, MemberValue)>);

/// A member's value.
#[derive(Clone, Debug)]
pub(super) enum MemberValue {
    /// JSON text.
    Json(String),
    /// The name of the algorithm, known when the token is signed.
    Algorithm,
    /// The `kid` of the signing key, known when the token is signed. Omitted if the key has none.
    Kid,
}

impl Members {
    /// Replaces the first member with this name, or appends one.
    pub(super) fn set(&mut self, name: &str, slot: MemberValue) {
        match self.0.iter_mut().find(|(present, _)| present == name) {
            Some((_, present)) => *present = slot,
            None => self.push(name, slot),
        }
    }

    /// Appends a member, even if there is one with this name.
    pub(super) fn push(&mut self, name: &str, slot: MemberValue) {
        self.0.push((name.to_owned(), slot));
    }

    /// Returns the JSON text of the first member with this name.
    pub(super) fn json_text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(present, _)| present == name).and_then(|(_, slot)| match slot {
            MemberValue::Json(text) => Some(text.as_str()),
            MemberValue::Algorithm | MemberValue::Kid => None,
        })
    }

    /// Removes every member with this name.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(present, _)| present != name);
    }

    /// Serializes the object without white space.
    pub(super) fn to_json(&self, algorithm: &str, kid: Option<&str>) -> String {
        let members: Vec<String> = self
            .0
            .iter()
            .filter_map(|(name, slot)| {
                let value = match slot {
                    MemberValue::Json(text) => text.clone(),
                    MemberValue::Algorithm => json(&algorithm),
                    MemberValue::Kid => json(&kid?),
                };
                Some(format!("{}:{value}", json(name)))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

impl MemberValue {
    /// Serializes a value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::Json(json(value))
    }
}

#[expect(clippy::expect_used, reason = "the public methods document this panic; strings and numbers always serialize")]
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("the value of a claim or header member must serialize as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_duplicates() {
        let mut members = Members::default();
        members.push("alg", MemberValue::Algorithm);
        members.push("kid", MemberValue::Kid);
        members.push("b", MemberValue::json(&1));
        members.push("a", MemberValue::json(&"\"x\""));
        members.push("b", MemberValue::json(&[2, 3]));
        assert_eq!(members.to_json("RS256", Some("k")), r#"{"alg":"RS256","kid":"k","b":1,"a":"\"x\"","b":[2,3]}"#);
        members.set("alg", MemberValue::Json("1e400".to_owned()));
        members.remove("b");
        assert_eq!(members.to_json("RS256", None), r#"{"alg":1e400,"a":"\"x\""}"#);
    }
}
