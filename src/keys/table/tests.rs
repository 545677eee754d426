use super::*;
use crate::keys::fixtures::{ED25519, P256, RSA, RSA_7638, changed, key_set, lacking, published, remote, with_kid};

const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

fn kids(found: Found<'_>) -> Vec<Option<&str>> {
    match found {
        Found::Keys(keys) => keys.map(VerifyingKey::kid).collect(),
        other => panic!("no keys: {other:?}"),
    }
}

fn fixed<K: AsRef<str>>(keys: &[K]) -> KeyTable {
    key_set(keys).bind(&ALGORITHMS, KeyOrigin::Static)
}

/// Returns an RSA key with another exponent, so only its thumbprint differs.
fn rsa(e: &str) -> String {
    changed(RSA, "e", e)
}

#[test]
fn finds_a_key_by_kid_and_algorithm() {
    let table = remote(&[with_kid(RSA, "1"), with_kid(P256, "2"), with_kid(RSA_7638, "3")], &ALGORITHMS);
    assert_eq!(kids(table.find(Some("1"), Algorithm::RS256)), [Some("1")]);
    assert_eq!(kids(table.find(Some("1"), Algorithm::PS256)), [Some("1")]);
    assert_eq!(kids(table.find(Some("2"), Algorithm::ES256)), [Some("2")]);
    assert_eq!(kids(table.find(Some("3"), Algorithm::RS256)), [Some("3")]);
    // Key 3 has `alg` RS256, and no key is bound to RS512.
    assert!(matches!(table.find(Some("3"), Algorithm::PS256), Found::NotForVerification));
    assert!(matches!(table.find(Some("1"), Algorithm::RS512), Found::NotForVerification));
    assert!(matches!(table.find(Some("2"), Algorithm::RS256), Found::NotForVerification));
    assert_eq!(table.usable(), 3);
}

#[test]
fn kids_are_compared_byte_by_byte() {
    let table = remote(&[with_kid(RSA, "Key"), with_kid(P256, ""), lacking(RSA_7638, "kid")], &ALGORITHMS);
    for kid in ["key", "KEY", "Key ", " Key", "Ke", "Key\0", "K\u{435}y"] {
        assert!(matches!(table.find(Some(kid), Algorithm::RS256), Found::Unknown), "{kid:?}");
    }
    assert_eq!(kids(table.find(Some(""), Algorithm::ES256)), [Some("")]);
    // An empty `kid` is different from an absent `kid`.
    assert!(matches!(table.find(Some(""), Algorithm::RS256), Found::NotForVerification));
}

#[test]
fn kids_of_skipped_keys_are_not_unknown() {
    let encryption = changed(&with_kid(RSA, "enc"), "use", "enc");
    let table = remote(&[encryption.as_str(), r#"{"kty":"AKP","kid":"ml"}"#, P256], &ALGORITHMS);
    assert!(matches!(table.find(Some("enc"), Algorithm::RS256), Found::NotForVerification));
    assert!(matches!(table.find(Some("ml"), Algorithm::RS256), Found::NotForVerification));
    assert!(matches!(table.find(Some("other"), Algorithm::RS256), Found::Unknown));
}

#[test]
fn a_token_without_kid_has_the_published_keys_of_its_algorithm_as_candidates() {
    let table = remote(&[with_kid(RSA, "1"), with_kid(P256, "2")], &ALGORITHMS);
    assert_eq!(kids(table.find(None, Algorithm::RS256)), [Some("1")]);
    assert_eq!(kids(table.find(None, Algorithm::ES256)), [Some("2")]);
    assert!(matches!(table.find(None, Algorithm::EdDSA), Found::NotForVerification));
    let two = remote(&[with_kid(RSA, "1"), lacking(RSA_7638, "kid")], &ALGORITHMS);
    assert_eq!(kids(two.find(None, Algorithm::RS256)), [Some("1"), None]);
    // Key 2 is for RS256 only.
    assert_eq!(kids(two.find(None, Algorithm::PS256)), [Some("1")]);
    let same = remote(&[with_kid(RSA, "1"), with_kid(RSA, "2"), RSA.to_owned()], &ALGORITHMS);
    assert_eq!(kids(same.find(None, Algorithm::RS256)).len(), 1);
}

/// RFC 7515 §6: more keys than that are not tried, since each costs the time of a signature check.
#[test]
fn a_token_without_kid_has_at_most_four_candidates_in_document_order() {
    let exponents = [("d", "AQAD"), ("b", "Aw"), ("c", "BQ"), ("a", "Bw"), ("e", "CQ")];
    let keys = exponents.map(|(kid, e)| with_kid(&rsa(e), kid));
    let expected = [Some("d"), Some("b"), Some("c"), Some("a")];
    assert_eq!(kids(remote(&keys[..4], &ALGORITHMS).find(None, Algorithm::RS256)), expected);
    let with_others = [&keys[..4], &[with_kid(P256, "0"), keys[1].clone(), with_kid(&rsa("Bw"), "f")]].concat();
    assert_eq!(kids(remote(&with_others, &ALGORITHMS).find(None, Algorithm::RS256)), expected, "no other key fits");
    assert!(matches!(remote(&keys, &ALGORITHMS).find(None, Algorithm::RS256), Found::Ambiguous));
    // Revoked keys do not count.
    let without = remote(&keys, &ALGORITHMS).without(|kid, _| kid == Some("d"));
    assert_eq!(kids(without.find(None, Algorithm::RS256)), [Some("b"), Some("c"), Some("a"), Some("e")]);
}

fn hashes(sha256: Option<&str>, sha1: Option<&str>) -> CertificateHashes {
    CertificateHashes::new(sha256.map(Box::from), sha1.map(Box::from)).expect("a hash")
}

#[test]
fn finds_the_key_with_the_certificate_of_a_token_without_kid() {
    let with_hash = |jwk: &str, kid: &str, name: &str, hash: &str| changed(&with_kid(jwk, kid), name, hash);
    let keys = ["AQAD", "Aw", "BQ", "Bw", "CQ"].map(rsa);
    let table = remote(
        &[
            with_hash(&keys[0], "1", "x5t", "one"),
            with_hash(&keys[1], "2", "x5t#S256", "two"),
            with_hash(&keys[2], "3", "x5t", "three"),
            with_hash(&keys[3], "4", "x5t", "four"),
            with_hash(&keys[4], "5", "x5t", "five"),
            with_hash(P256, "6", "x5t", "six"),
        ],
        &ALGORITHMS,
    );
    let find = |table: &KeyTable, certificate: &CertificateHashes| {
        let key_id = KeyId { kid: None, certificate: Some(certificate) };
        match table.find(key_id, Algorithm::RS256) {
            Found::Keys(keys) => Ok(keys.map(|key| key.kid().map(str::to_owned)).collect::<Vec<_>>()),
            Found::NotForVerification => Err("not for verification"),
            Found::Ambiguous => Err("ambiguous"),
            Found::Unknown => Err("unknown"),
        }
    };
    let found = |kids: &[&str]| Ok(kids.iter().map(|kid| Some((*kid).to_owned())).collect());
    assert!(matches!(table.find(None, Algorithm::RS256), Found::Ambiguous));
    assert_eq!(find(&table, &hashes(None, Some("one"))), found(&["1"]));
    assert_eq!(find(&table, &hashes(Some("two"), Some("one"))), found(&["1", "2"]));
    // Key 2 has only the other hash, so it may have this certificate, too.
    assert_eq!(find(&table, &hashes(None, Some("none"))), found(&["2"]));
    assert_eq!(find(&table, &hashes(Some("none"), Some("none"))), Err("unknown"));
    assert_eq!(find(&table, &hashes(Some("none"), Some("six"))), Err("not for verification"));
    assert_eq!(find(&table, &hashes(Some("none"), None)), found(&["1", "3", "4", "5"]), "they have no SHA-256 hash");
    // Without published hashes a token with one is like a token without.
    let plain = remote(&[with_kid(RSA, "1"), with_kid(RSA_7638, "2")], &ALGORITHMS);
    assert_eq!(find(&plain, &hashes(Some("none"), Some("one"))), found(&["1", "2"]));
    // A hash that is no string in base64url counts as absent (RFC 7515 §2: no padding).
    for hash in [serde_json::json!(1), "one=".into(), "o+e".into(), "".into()] {
        let malformed = remote(&[changed(&with_kid(RSA, "1"), "x5t", hash)], &ALGORITHMS);
        assert_eq!(find(&malformed, &hashes(None, Some("one"))), found(&["1"]));
    }
    // The certificates of skipped and revoked keys stay known.
    let skipped = changed(&with_hash(RSA, "1", "x5t", "one"), "use", "enc");
    let skipped = remote(&[skipped, with_hash(&keys[0], "2", "x5t", "two")], &ALGORITHMS);
    assert_eq!(find(&skipped, &hashes(None, Some("one"))), Err("not for verification"));
    let revoked = skipped.without(|kid, _| kid == Some("2"));
    for (hash, expected) in [("one", "not for verification"), ("two", "not for verification"), ("six", "unknown")] {
        assert_eq!(find(&revoked, &hashes(None, Some(hash))), Err(expected), "{hash}");
    }
}

#[test]
fn published_keys_without_kid_are_not_tried_for_tokens_with_a_kid() {
    assert!(matches!(remote(&[RSA], &ALGORITHMS).find(Some("1"), Algorithm::RS256), Found::Unknown));
    assert_eq!(kids(fixed(&[RSA]).find(Some("1"), Algorithm::RS256)), [None]);
}

#[test]
fn static_keys_without_kid_are_tried_for_every_token() {
    let table = fixed(&[RSA.to_owned(), with_kid(RSA_7638, "1"), rsa("AQAD"), P256.to_owned()]);
    assert_eq!(kids(table.find(None, Algorithm::RS256)), [None, None]);
    assert_eq!(kids(table.find(Some("1"), Algorithm::RS256)), [Some("1"), None, None]);
    assert_eq!(kids(table.find(Some("2"), Algorithm::RS256)), [None, None]);
    assert!(matches!(table.find(Some("2"), Algorithm::EdDSA), Found::Unknown));
    let named = fixed(&[with_kid(RSA, "1"), with_kid(&rsa("AQAD"), "2")]);
    assert!(matches!(named.find(None, Algorithm::RS256), Found::Ambiguous));
    assert!(matches!(named.find(Some("3"), Algorithm::RS256), Found::Unknown));
}

#[test]
fn returns_at_most_four_candidates_in_document_order() {
    let exponents = ["AQAD", "Aw", "BQ", "Bw", "CQ"];
    let same_id = exponents.map(|e| with_kid(&rsa(e), "1"));
    let expected: Vec<_> = key_set(&same_id[..4]).bind(&[Algorithm::RS256], KeyOrigin::Remote).thumbprints();
    let table = remote(&same_id, &ALGORITHMS);
    let Found::Keys(found) = table.find(Some("1"), Algorithm::RS256) else { panic!("no keys") };
    assert_eq!(found.map(|key| *key.thumbprint()).collect::<Vec<_>>(), expected);
    // A key that is published several times is one candidate.
    let repeated = remote(&["AQAD", "AQAD", "AQAD", "AQAD", "Aw"].map(|e| with_kid(&rsa(e), "1")), &ALGORITHMS);
    assert_eq!(kids(repeated.find(Some("1"), Algorithm::RS256)).len(), 2);
    assert!(fixed(&exponents.map(rsa)).exceeds_candidate_limit());
    assert!(!fixed(&exponents.map(rsa)[..4]).exceeds_candidate_limit());
}

#[test]
fn digest_depends_on_the_content_only() {
    let keys = [with_kid(RSA, "1"), with_kid(P256, "2")];
    let reversed = [with_kid(P256, "2"), with_kid(RSA, "1")];
    let digest = remote(&keys, &ALGORITHMS).digest();
    assert_eq!(remote(&reversed, &ALGORITHMS).digest(), digest);
    let pretty = changed(&with_kid(RSA, "1"), "x5c", "whatever");
    assert_eq!(remote(&[pretty, with_kid(P256, "2")], &ALGORITHMS).digest(), digest);
    for other in [
        vec![with_kid(RSA, "1")],
        vec![with_kid(RSA, "1"), with_kid(P256, "3")],
        vec![with_kid(&rsa("AQAD"), "1"), with_kid(P256, "2")],
        vec![with_kid(RSA, "2"), with_kid(P256, "1")],
        vec![changed(&with_kid(RSA, "1"), "alg", "RS256"), with_kid(P256, "2")],
        vec![changed(&with_kid(RSA, "1"), "x5t", "1"), with_kid(P256, "2")],
        vec![changed(&with_kid(RSA, "1"), "x5t#S256", "1"), with_kid(P256, "2")],
        vec![with_kid(RSA, "1"), with_kid(P256, "2"), changed(&with_kid(ED25519, "3"), "use", "enc")],
    ] {
        assert_ne!(remote(&other, &ALGORITHMS).digest(), digest, "{other:?}");
    }
}

#[test]
fn digest_differs_for_other_algorithms_and_other_kid_boundaries() {
    let bound_to = |algorithm: &str| remote(&[changed(RSA, "alg", algorithm)], &ALGORITHMS).digest();
    assert_ne!(bound_to("RS256"), bound_to("PS256"));
    let skipped = |kid: &str| serde_json::json!({"kty": "AKP", "kid": kid}).to_string();
    let apart = remote(&[skipped("a"), skipped("b")], &ALGORITHMS).digest();
    assert_ne!(apart, remote(&[skipped("a\u{1}b")], &ALGORITHMS).digest());
    assert_eq!(apart, remote(&[skipped("b"), skipped("a"), skipped("b")], &ALGORITHMS).digest());
}

#[test]
fn without_removes_denied_keys_but_their_kids_stay_known() {
    let table = remote(&[with_kid(RSA, "1"), with_kid(P256, "2"), ED25519.to_owned()], &ALGORITHMS);
    let denied = table.without(|kid, _| kid == Some("1"));
    assert!(matches!(denied.find(Some("1"), Algorithm::RS256), Found::NotForVerification));
    assert!(matches!(denied.find(None, Algorithm::RS256), Found::NotForVerification));
    assert_eq!(kids(denied.find(Some("2"), Algorithm::ES256)), [Some("2")]);
    assert_eq!((table.usable(), denied.usable()), (3, 2));
    let Found::Keys(mut keys) = table.find(Some("1"), Algorithm::RS256) else { panic!("no keys") };
    let thumbprint = keys.next().expect("a key").thumbprint();
    assert!(table.contains(thumbprint) && !denied.contains(thumbprint));
    assert_ne!(table.digest(), denied.digest());
    assert_eq!(table.without(|_, _| false).digest(), table.digest());
}

/// Also those of keys that verify no listed algorithm, and of skipped keys that can be parsed.
#[test]
fn returns_the_thumbprints_of_a_kid_whether_or_not_its_keys_verify() {
    let key = |jwk: &str| published(jwk).material.thumbprint();
    let encryption = changed(&with_kid(RSA, "1"), "use", "enc");
    let unlisted = changed(&with_kid(RSA_7638, "1"), "alg", "RS512");
    let private = changed(&with_kid(ED25519, "1"), "d", "AQAB");
    let unreadable = changed(&with_kid(P256, "1"), "x", "AQAB");
    let table =
        remote(&[with_kid(P256, "1"), encryption, unlisted, private, unreadable, with_kid(RSA, "2")], &ALGORITHMS);
    let sorted = |mut thumbprints: Vec<Thumbprint>| {
        thumbprints.sort_unstable();
        thumbprints
    };
    let expected = sorted([P256, RSA, RSA_7638, ED25519].map(key).to_vec());
    let keys_with = |kid: &str| -> Vec<Thumbprint> {
        table.named_keys().into_iter().filter(|(known, _)| **known == *kid).map(|(_, thumbprint)| thumbprint).collect()
    };
    assert_eq!(sorted(keys_with("1")), expected);
    assert_eq!((keys_with("2"), keys_with("3")), (vec![key(RSA)], vec![]));
}

impl KeyTable {
    fn thumbprints(&self) -> Vec<Thumbprint> {
        self.inner.keys.iter().map(|key| *key.thumbprint()).collect()
    }
}

#[test]
fn counts_added_removed_and_replaced_keys() {
    let old = remote(&[with_kid(RSA, "1"), with_kid(P256, "2")], &ALGORITHMS);
    let changes = |added, removed, replaced| Changes { added, removed, replaced };
    assert_eq!(old.changes_since(&old), changes(0, 0, 0));
    let rotated = remote(&[with_kid(P256, "2"), with_kid(RSA_7638, "3")], &ALGORITHMS);
    assert_eq!(rotated.changes_since(&old), changes(1, 1, 0));
    // The same key with another `kid` is not a new key.
    let renamed = remote(&[with_kid(RSA, "9"), with_kid(P256, "2")], &ALGORITHMS);
    assert_eq!(renamed.changes_since(&old), changes(0, 0, 0));
    let replaced = remote(&[with_kid(RSA_7638, "1"), with_kid(P256, "2")], &ALGORITHMS);
    assert_eq!(replaced.changes_since(&old), changes(1, 1, 1));
}
