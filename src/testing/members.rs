//! A JSON object under construction, whose order and doubles are the author's.

use serde::Serialize;

/// Members in the order in which they will be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Vec<(String, Slot)>);

/// A member's value.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// JSON text.
    Json(String),
    /// The name of the token's algorithm, known when it is signed.
    Algorithm,
    /// The id of the signing key, known when the token is signed; left out when the key has none.
    Kid,
}

impl Members {
    /// Replaces the member where it stands, or appends it.
    pub(super) fn set(&mut self, name: &str, slot: Slot) {
        match self.0.iter_mut().find(|(present, _)| present == name) {
            Some((_, present)) => *present = slot,
            None => self.push(name, slot),
        }
    }

    /// Appends the member, whether or not the name is there already.
    pub(super) fn push(&mut self, name: &str, slot: Slot) {
        self.0.push((name.to_owned(), slot));
    }

    /// Removes every member of that name.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(present, _)| present != name);
    }

    /// Writes the object without blanks.
    pub(super) fn to_json(&self, algorithm: &str, kid: Option<&str>) -> String {
        let members: Vec<String> = self
            .0
            .iter()
            .filter_map(|(name, slot)| {
                let value = match slot {
                    Slot::Json(text) => text.clone(),
                    Slot::Algorithm => json(&algorithm),
                    Slot::Kid => json(&kid?),
                };
                Some(format!("{}:{value}", json(name)))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

impl Slot {
    /// Any value that serde can write as JSON.
    pub(super) fn of(value: &impl Serialize) -> Self {
        Self::Json(json(value))
    }
}

#[expect(clippy::expect_used, reason = "the public methods document this panic; strings and numbers always serialise")]
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("the value of a claim or header member must serialise as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_doubles() {
        let mut members = Members::default();
        members.push("alg", Slot::Algorithm);
        members.push("kid", Slot::Kid);
        members.push("b", Slot::of(&1));
        members.push("a", Slot::of(&"\"x\""));
        members.push("b", Slot::of(&[2, 3]));
        assert_eq!(members.to_json("RS256", Some("k")), r#"{"alg":"RS256","kid":"k","b":1,"a":"\"x\"","b":[2,3]}"#);
        members.set("alg", Slot::Json("1e400".to_owned()));
        members.remove("b");
        assert_eq!(members.to_json("RS256", None), r#"{"alg":1e400,"a":"\"x\""}"#);
    }
}
