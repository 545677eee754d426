//! The members that make a JWK a private key.

/// Returns whether a member that is private for the key type has a value. `members` are pairs of a name and a JSON text. A
/// member that is `null` or empty counts as absent, because some serializers write such members into public keys.
///
/// If `kty` is present more than once, the private members of each key type count.
pub(super) fn is_private<'m>(members: impl Iterator<Item = (&'m str, &'m str)> + Clone) -> bool {
    let mut key_types =
        members.clone().filter(|(name, _)| *name == "kty").map(|(_, json)| private_members(json)).peekable();
    let private: Vec<&str> = match key_types.peek() {
        Some(_) => key_types.flatten().copied().collect(),
        None => OTHER_PRIVATE_MEMBERS.to_vec(),
    };
    members.into_iter().any(|(name, json)| private.contains(&name) && has_value(json))
}

/// Returns the private members of a key type, which is given as JSON text: RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2, and `AKP`.
/// A shared secret (`oct`) has none, since it is rejected as a whole.
fn private_members(key_type: &str) -> &'static [&'static str] {
    match serde_json::from_str::<String>(key_type).as_deref() {
        Ok("RSA") => &["d", "p", "q", "dp", "dq", "qi", "oth"],
        Ok("EC" | "OKP") => &["d"],
        Ok("AKP") => &["priv"],
        Ok("oct") => &[],
        _ => OTHER_PRIVATE_MEMBERS,
    }
}

/// Returns whether a private member has a value: a string or an array that is not empty, or a number other than zero. `oth` is
/// an array, and some serializers write bytes as an array.
fn has_value(json: &str) -> bool {
    match json.as_bytes() {
        [b'"', ..] => json != "\"\"",
        [b'[', elements @ ..] => !elements.trim_ascii_start().starts_with(b"]"),
        [b'1'..=b'9', ..] => true,
        _ => false,
    }
}

/// The private members if `kty` is absent or unknown. Names such as `p` and `k` are not in the list, because they are public
/// members in some key types.
const OTHER_PRIVATE_MEMBERS: &[&str] = &["d", "priv"];
