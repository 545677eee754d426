//! Finds the JWKs in a document that may be neither a key set nor valid JSON. The result shows which keys the document
//! discloses; these keys never verify a token.
//!
//! The scan finds each object with the members of a JWK, up to a nesting of [`defaults::MAX_SCAN_DEPTH`]. If a member is
//! present more than once, each of its values counts. The length of the document bounds time and memory.

use std::mem;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::defaults;
use crate::keys::material::Curve;
use crate::keys::private::is_private;
use crate::keys::rsa::without_leading_zeros;
use crate::keys::thumbprint::Thumbprint;

/// A JWK in a document.
pub(super) struct ScannedKey {
    pub(super) kid: Option<Box<str>>,
    /// The index in the array that contains it; 0 if no array does.
    pub(super) position: usize,
    /// Whether it is an element of the document's member `keys`.
    pub(super) in_set: bool,
    pub(super) is_private: bool,
    /// A thumbprint for each combination of the values of its public members, whether or not the key is usable.
    pub(super) thumbprints: Vec<Thumbprint>,
}

/// Finds the JWKs of a document: at most [`defaults::MAX_SCANNED_KEYS`] private ones, and as many public ones.
pub(super) fn scan(document: &[u8]) -> Vec<ScannedKey> {
    Scanner::new(document, Wanted::AllKeys).run()
}

/// Finds the private JWKs of a document: at most [`defaults::MAX_SCANNED_KEYS`]. Computes no thumbprint of a public one.
pub(super) fn scan_private(document: &[u8]) -> Vec<ScannedKey> {
    Scanner::new(document, Wanted::PrivateKeys).run()
}

/// Which keys a scan returns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    AllKeys,
    PrivateKeys,
}

struct Scanner<'j> {
    document: &'j [u8],
    wanted: Wanted,
    at: usize,
    /// The arrays and objects that are open, at most [`defaults::MAX_SCAN_DEPTH`].
    levels: Vec<Level<'j>>,
    /// The number of further open arrays and objects, below the depth limit.
    too_deep: usize,
    found: Vec<ScannedKey>,
    /// The numbers of public and private keys that have been found.
    counts: [usize; 2],
}

enum Level<'j> {
    Array { index: usize, is_keys: bool },
    Object(Object<'j>),
}

#[derive(Default)]
struct Object<'j> {
    /// Names from [`MEMBERS`] with their JSON texts. Only non-empty strings and arrays are stored.
    members: Vec<(&'static str, &'j str)>,
    /// The member whose value is next.
    name: Option<&'static str>,
    /// Whether a colon has come after the name.
    is_value: bool,
}

impl<'j> Scanner<'j> {
    fn new(document: &'j [u8], wanted: Wanted) -> Self {
        Self { document, wanted, at: 0, levels: Vec::new(), too_deep: 0, found: Vec::new(), counts: [0; 2] }
    }

    fn run(mut self) -> Vec<ScannedKey> {
        while let Some(byte) = self.next() {
            match byte {
                // A quote outside of arrays and objects starts no string, since the text there need not be JSON.
                b'"' if !self.levels.is_empty() => {
                    let text = self.string();
                    self.add_string(text);
                }
                b'{' | b'[' => self.open(byte),
                b'}' | b']' => self.close(),
                b':' | b',' if self.too_deep == 0 => self.separate(byte),
                _ => {}
            }
        }
        // A truncated document discloses the keys before its end.
        self.too_deep = 0;
        while !self.levels.is_empty() {
            self.close();
        }
        self.found
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.document.get(self.at).copied()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    /// Returns a string with both quotes. The position is after the first quote.
    fn string(&mut self) -> &'j [u8] {
        let start = self.at.saturating_sub(1);
        let mut is_escaped = false;
        while let Some(byte) = self.next() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => break,
                _ => {}
            }
        }
        self.document.get(start..self.at).unwrap_or_default()
    }

    fn add_string(&mut self, json: &'j [u8]) {
        let (Some(Level::Object(object)), 0) = (self.levels.last_mut(), self.too_deep) else { return };
        let json = str::from_utf8(json).unwrap_or_default();
        if object.is_value {
            object.add(json);
        } else {
            object.name = member(json);
        }
    }

    fn open(&mut self, bracket: u8) {
        let rest = self.document.get(self.at..).unwrap_or_default();
        let is_empty = rest.trim_ascii_start().starts_with(b"]");
        let mut name = None;
        if let (Some(Level::Object(object)), 0) = (self.levels.last_mut(), self.too_deep) {
            name = object.name;
            if bracket == b'[' && !is_empty {
                object.add(SOME_ARRAY);
            }
            object.name = None;
        }
        if self.levels.len() >= defaults::MAX_SCAN_DEPTH {
            self.too_deep = self.too_deep.saturating_add(1);
            return;
        }
        self.levels.push(match bracket {
            b'[' => Level::Array { index: 0, is_keys: name == Some(KEYS) && self.levels.len() == 1 },
            _ => Level::Object(Object::default()),
        });
    }

    fn close(&mut self) {
        if self.too_deep > 0 {
            self.too_deep = self.too_deep.saturating_sub(1);
            return;
        }
        let Some(Level::Object(object)) = self.levels.pop() else { return };
        let (position, in_set) = match self.levels.last() {
            Some(Level::Array { index, is_keys }) => (*index, *is_keys),
            _ => (0, false),
        };
        let is_private = is_private(object.members.iter().copied());
        if !is_private && self.wanted == Wanted::PrivateKeys {
            return;
        }
        let [public, private] = &mut self.counts;
        let count = if is_private { private } else { public };
        if let Some(key) = object.key(is_private, position, in_set)
            && *count < defaults::MAX_SCANNED_KEYS
        {
            *count = count.saturating_add(1);
            self.found.push(key);
        }
    }

    fn separate(&mut self, byte: u8) {
        match self.levels.last_mut() {
            Some(Level::Array { index, .. }) => *index = index.saturating_add(usize::from(byte == b',')),
            Some(Level::Object(object)) if byte == b':' => object.is_value = true,
            Some(Level::Object(object)) => (object.name, object.is_value) = (None, false),
            None => {}
        }
    }
}

impl<'j> Object<'j> {
    /// Adds a value of the current member, unless it is empty, already stored, or above the limit.
    fn add(&mut self, json: &'j str) {
        let Some(name) = mem::take(&mut self.name) else { return };
        let same = self.members.iter().filter(|(other, _)| *other == name);
        if json.len() > EMPTY_STRING.len()
            && same.clone().all(|(_, other)| *other != json)
            && same.count() < defaults::MAX_SCANNED_VALUES
        {
            self.members.push((name, json));
        }
    }

    /// Returns the key if the members are those of a JWK.
    fn key(&self, is_private: bool, position: usize, in_set: bool) -> Option<ScannedKey> {
        let thumbprints: Vec<Thumbprint> = self.rsa().chain(self.ec()).chain(self.ed25519()).collect();
        let is_key = !thumbprints.is_empty() || (is_private && (in_set || self.values("kty").next().is_some()));
        let kid = self.texts("kid").next().filter(|kid| kid.len() <= defaults::MAX_KID_BYTES);
        let kid = kid.map(String::into_boxed_str);
        is_key.then_some(ScannedKey { kid, position, in_set, is_private, thumbprints })
    }

    /// Ignores `kty`: with `n`, `e` and `d`, anyone can sign, also if `kty` is wrong.
    fn rsa(&self) -> impl Iterator<Item = Thumbprint> {
        let numbers = |name: &'static str| {
            self.bytes(name).map(|bytes| without_leading_zeros(&bytes).to_vec()).filter(|n| !n.is_empty())
        };
        let exponents: Vec<_> = numbers("e").collect();
        numbers("n").flat_map(move |n| exponents.clone().into_iter().map(move |e| Thumbprint::rsa(&n, &e)))
    }

    fn ec(&self) -> impl Iterator<Item = Thumbprint> {
        self.texts("crv").filter_map(|name| Curve::from_name(&name)).flat_map(move |curve| {
            let coordinates =
                move |name: &'static str| self.bytes(name).filter_map(move |bytes| padded(&bytes, curve.length()));
            let ys: Vec<_> = coordinates("y").collect();
            coordinates("x")
                .flat_map(move |x| ys.clone().into_iter().map(move |y| Thumbprint::ec(curve.name(), &x, &y)))
        })
    }

    fn ed25519(&self) -> impl Iterator<Item = Thumbprint> {
        let curve = self.texts("crv").find(|name| name == "Ed25519");
        let points = curve.into_iter().flat_map(|_| self.bytes("x")).filter(|x| x.len() == 32);
        points.map(|x| Thumbprint::okp("Ed25519", &x))
    }

    fn bytes(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        self.texts(name).filter_map(|text| LENIENT.decode(text.replace('+', "-").replace('/', "_")).ok())
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = String> {
        self.values(name).filter_map(|json| serde_json::from_str(json).ok())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'j str> {
        self.members.iter().filter(move |(member, _)| *member == name).map(|(_, json)| *json)
    }
}

/// Returns the entry of [`MEMBERS`] that is equal to a JSON string.
fn member(json: &str) -> Option<&'static str> {
    let name: String = serde_json::from_str(json).ok()?;
    MEMBERS.into_iter().find(|member| *member == name)
}

/// Returns a coordinate with the length of its field. Some implementations omit leading zeros, others add one.
fn padded(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    let bytes = without_leading_zeros(bytes);
    let missing = length.checked_sub(bytes.len())?;
    Some([vec![0; missing].as_slice(), bytes].concat())
}

/// Base64url with or without padding; unused bits at its end may be set.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const KEYS: &str = "keys";
const EMPTY_STRING: &str = "\"\"";

/// The text that is stored for every non-empty array. Only whether an array is empty matters, not its content.
const SOME_ARRAY: &str = "[0]";

const MEMBERS: [&str; 16] =
    ["kty", "kid", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi", "oth", "priv", KEYS];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixtures::{ED25519, P256, P521, RSA, bytes, changed, lacking, member, published, with_kid};

    fn private(jwk: &str) -> String {
        changed(jwk, "d", "AQAB")
    }

    /// Returns the thumbprints of the private keys.
    fn found(document: impl AsRef<[u8]>) -> Vec<Thumbprint> {
        let private = |keys: Vec<ScannedKey>| {
            let private = keys.into_iter().filter(|key| key.is_private);
            private.flat_map(|key| key.thumbprints).collect::<Vec<_>>()
        };
        let (found, all) = (scan_private(document.as_ref()), scan(document.as_ref()));
        assert!(found.iter().all(|key| key.is_private));
        let found = private(found);
        assert_eq!(found, private(all));
        found
    }

    #[test]
    fn finds_private_keys_anywhere_in_a_document() {
        for jwk in [RSA, P256, P521, ED25519] {
            let (key, thumbprint) = (private(jwk), published(jwk).material.thumbprint());
            for document in [
                key.clone(),
                format!("[1,{key}]"),
                format!(r#"{{"keys":[],"keys":[{key}]}}"#),
                format!(r#"{{"$serde_json::private::X":1,"keys":[{key}]}}"#),
                format!(r#"{{"error":"\"{{[","data":{{"a":[[{key}]]}}}}"#),
                format!(r#"{{"keys":[{key}"#),
                key[..key.len() - 1].to_owned(),
                format!("{key}{key}x\""),
                format!("it's {{}} }}]] \u{feff}{key}"),
                key.replacen('{', r#"{"\ud800":1,"#, 1),
                key.replacen('{', r#"{"a":{"b":[{"c":1}]},"#, 1),
                key.replace(r#""d":"#, r#""\u0064" : "#),
                changed(&key, "kty", "x"),
                changed(&key, "kty", 7),
                lacking(&key, "kty"),
            ] {
                assert_eq!(found(&document).first(), Some(&thumbprint), "{document}");
            }
            let broken = [&b"{\"\xff\":\"\xff\","[..], &key.as_bytes()[1..]].concat();
            assert_eq!(found(broken), [thumbprint]);
            assert_eq!(found(format!(r#"{{"keys":[{jwk}]}}"#)), []);
        }
    }

    #[test]
    fn reads_every_value_of_a_duplicate_member() {
        for (jwk, duplicate) in
            [(RSA, "n"), (RSA, "e"), (RSA, "kty"), (P256, "x"), (P256, "y"), (P256, "crv"), (ED25519, "x")]
        {
            let thumbprint = published(jwk).material.thumbprint();
            for first in [r#""AA""#, "7", "null", r#""""#, "[1]"] {
                let start = format!("{{\"{duplicate}\":{first},");
                assert!(found(private(jwk).replacen('{', &start, 1)).contains(&thumbprint), "{start}");
            }
        }
        // At most `MAX_SCANNED_VALUES` values of a member are combined.
        let many: String = (0..1000).map(|number| format!(r#""n":"{number:04}","e":"{number:04}","#)).collect();
        let many = private(RSA).replacen('{', &format!("{{{many}"), 1);
        assert_eq!(found(many).len(), defaults::MAX_SCANNED_VALUES * defaults::MAX_SCANNED_VALUES);
    }

    #[test]
    fn accepts_padding_and_leading_zeros_in_key_members() {
        let thumbprint = published(RSA).material.thumbprint();
        for exponent in ["AQAB", "AAEAAQ", "AAEAAQ==", "AAAAAAABAAE", "AQAB"] {
            assert_eq!(found(private(&changed(RSA, "e", exponent))), [thumbprint], "{exponent}");
        }
        let longer = LENIENT.encode([&[0, 0], bytes(P256, "x").as_slice()].concat());
        assert_eq!(found(private(&changed(P256, "x", longer))), [published(P256).material.thumbprint()]);
        let standard = member(P256, "y").replace('_', "/").replace('-', "+") + "=";
        assert_eq!(found(private(&changed(P256, "y", standard))), [published(P256).material.thumbprint()]);
        assert_eq!(padded(&[1, 2, 3], 2), None);
        assert_eq!(padded(&[0, 2], 3), Some(vec![0, 0, 2]));
    }

    #[test]
    fn returns_the_kid_and_position_of_each_key() {
        let set = format!(r#"{{"keys":[1,{},{}],"x":[{}]}}"#, with_kid(RSA, "1"), private(P256), private(ED25519));
        let keys = scan(set.as_bytes());
        let positions: Vec<_> =
            keys.iter().map(|key| (key.kid.as_deref(), key.position, key.in_set, key.is_private)).collect();
        assert_eq!(positions, [(Some("1"), 1, true, false), (None, 2, true, true), (None, 0, false, true)]);
        let names = |jwk: &str| scan(jwk.as_bytes()).into_iter().map(|key| key.kid.is_some()).collect::<Vec<_>>();
        assert_eq!(names(&with_kid(RSA, &"k".repeat(256))), [true]);
        assert_eq!(names(&with_kid(RSA, &"k".repeat(257))), [false]);
        // An element of `keys` counts without `kty`. Another object without `kty` is not a key.
        assert_eq!(scan(br#"{"keys":[{"d":"1"}]}"#).len(), 1);
        for other in [&b"{\"d\":\"1\"}"[..], b"{\"errors\":[{\"d\":\"1\"}]}", b"<html>", b"", b"\"", b"{", b"]}:,\\"] {
            assert!(scan(other).is_empty(), "{other:?}");
        }
    }

    #[test]
    fn limits_the_depth_and_the_number_of_keys() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), private(RSA));
        assert_eq!(found(nested(defaults::MAX_SCAN_DEPTH - 1)).len(), 1);
        assert!(found(nested(defaults::MAX_SCAN_DEPTH)).is_empty());
        let deep = format!("{{\"x\":{}{},\"keys\":[{}]}}", "[".repeat(100_000), "]".repeat(100_000), private(RSA));
        assert_eq!(found(deep).len(), 1);
        let many = format!("{}{}", r#"{"kty":"x","d":"1"}"#.repeat(2000), RSA.repeat(2000));
        assert_eq!(scan(many.as_bytes()).len(), 2 * defaults::MAX_SCANNED_KEYS);
        assert_eq!(scan_private(many.as_bytes()).len(), defaults::MAX_SCANNED_KEYS);
    }
}
