//! The members that make a JWK a private key.

/// Returns whether the members, with their JSON texts, are those of a private key: whether one that is private for the key
/// type has a value. Some serializers write members that a key does not have as `null` or `""`.
///
/// With several members `kty`, each of them counts.
pub(super) fn is_private<'m>(members: impl Iterator<Item = (&'m str, &'m str)> + Clone) -> bool {
    let mut key_types =
        members.clone().filter(|(name, _)| *name == "kty").map(|(_, json)| private_members(json)).peekable();
    let private: Vec<&str> = match key_types.peek() {
        Some(_) => key_types.flatten().copied().collect(),
        None => OTHER_PRIVATE_MEMBERS.to_vec(),
    };
    members.into_iter().any(|(name, json)| private.contains(&name) && has_value(json))
}

/// The private members of a key type, given as JSON text: RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2, and `AKP`. A shared
/// secret has none.
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
    match json.as_bytes().first() {
        Some(b'"') => json != "\"\"",
        Some(b'[') => !json.trim_start_matches('[').trim_start().starts_with(']'),
        Some(b'1'..=b'9') => true,
        _ => false,
    }
}

/// The names that hold private keys in the known key types; others have public members with names like `p` and `k`.
const OTHER_PRIVATE_MEMBERS: &[&str] = &["d", "priv"];
