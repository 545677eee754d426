//! `Record`: the form in which a key set is stored, and the checks of a stored one.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::jwks::key_store_error::KeyStoreError;
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::keys::{self, KeyOrigin, KeySet, KeyTable};
use crate::token::Algorithm;

/// A key set as it is stored.
///
/// No `ETag` is stored: a 304 would confirm whatever the store contains, and so extend the life of a forged key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::jwks) struct Record {
    /// The URL of the key set.
    pub(in crate::jwks) jwks_uri: Box<str>,
    /// The wall-clock time at which the issuer last confirmed the keys.
    pub(in crate::jwks) confirmed_at: Timestamp,
    /// The JWK Set, with public members only.
    pub(in crate::jwks) document: Arc<str>,
}

/// A stored key set that has been checked.
#[derive(Debug)]
pub(in crate::jwks) struct StoredKeys {
    pub(in crate::jwks) record: Record,
    pub(in crate::jwks) table: KeyTable,
}

/// The JSON of a record.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Json<'j> {
    version: u32,
    #[serde(borrow)]
    issuer: Cow<'j, str>,
    #[serde(borrow)]
    jwks_uri: Cow<'j, str>,
    /// Whether the URL is from the discovery document of the issuer.
    is_discovered: bool,
    /// In whole seconds since 1970, rounded down.
    confirmed_at: i64,
    #[serde(borrow)]
    jwks: &'j RawValue,
}

impl Record {
    /// Returns the bytes to store.
    pub(in crate::jwks) fn to_bytes(&self, origin: &Origin) -> Result<Bytes, KeyStoreError> {
        let jwks = serde_json::from_str(&self.document).map_err(|_| KeyStoreError::InvalidRecord)?;
        let json = Json {
            version: VERSION,
            issuer: origin.label().into(),
            jwks_uri: (&*self.jwks_uri).into(),
            is_discovered: matches!(origin, Origin::Discovery(_)),
            confirmed_at: self.confirmed_at.as_secs(),
            jwks,
        };
        serde_json::to_vec(&json).map(Bytes::from).map_err(|_| KeyStoreError::InvalidRecord)
    }
}

impl StoredKeys {
    /// Parses a record, and checks its keys like those of a document from the issuer.
    ///
    /// # Security
    ///
    /// Anyone may have written the bytes. The record must be of this issuer, and its URL one from which the keys could be
    /// fetched now: the configured one, or one that was discovered. Its time is checked by the caller.
    pub(in crate::jwks) fn read(
        record: &[u8],
        origin: &Origin,
        policy: &RefreshPolicy,
        algorithms: &[Algorithm],
    ) -> Result<Self, KeyStoreError> {
        let text = str::from_utf8(record).map_err(|_| KeyStoreError::InvalidRecord)?;
        let json: Json<'_> = serde_json::from_str(text).map_err(|_| KeyStoreError::InvalidRecord)?;
        if json.version != VERSION {
            return Err(KeyStoreError::InvalidRecord);
        }
        let has_other_origin = json.is_discovered != matches!(origin, Origin::Discovery(_));
        if json.issuer != origin.label()
            || has_other_origin
            || !origin.allows(&json.jwks_uri, policy.jwks_hosts.as_deref())
        {
            return Err(KeyStoreError::OtherSource);
        }
        let document = json.jwks.get();
        let set = KeySet::parse_remote(document.as_bytes(), policy.max_keys, policy.private_keys);
        let table = set.map_err(|_| KeyStoreError::InvalidRecord)?.bind(algorithms, KeyOrigin::Remote);
        if table.usable() == 0 {
            return Err(KeyStoreError::NoUsableKeys);
        }
        let record = Record {
            jwks_uri: json.jwks_uri.into(),
            confirmed_at: Timestamp::from_secs(json.confirmed_at),
            document: document.into(),
        };
        Ok(Self { record, table })
    }
}

/// The name under which the keys of a source are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::jwks) struct RecordName(Arc<str>);

impl RecordName {
    /// Returns the name for an issuer that is known at start. Sources of the same issuer with different URLs have different names.
    pub(in crate::jwks) fn of_origin(origin: &Origin) -> Self {
        let url = match origin {
            Origin::Jwks { endpoint, .. } => endpoint.as_str(),
            Origin::Discovery(_) => "",
        };
        Self(format!("keys-{}", keys::digest_name(&format!("{} {url}", origin.label()))).into())
    }

    /// Returns the name for a tenant. It does not depend on the URL of the keys, so that the record of a removed tenant can be found. Two
    /// APIs have different scopes, so that one of them does not remove a record of the other.
    pub(in crate::jwks) fn of_tenant(scope: &str, issuer: &str) -> Self {
        Self(format!("{TENANT_PREFIX}{}", keys::digest_name(&format!("{scope} {issuer}"))).into())
    }

    pub(in crate::jwks) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The prefix of the names of the records of tenants.
pub(super) const TENANT_PREFIX: &str = "tenant-";

/// The version of the form. A record with another one is not used.
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Endpoint;
    use crate::jwks::tests::kit::{ISSUER, URL, has, jwks};

    const OTHER_URL: &str = "https://login.example/other";

    fn at(url: &str) -> Origin {
        Origin::jwks(ISSUER, Endpoint::new(url).expect("url"))
    }

    fn discovered() -> Origin {
        Origin::discovery(ISSUER).expect("issuer")
    }

    fn record() -> Record {
        let confirmed_at = Timestamp::from_nanos(1_700_000_000_999_999_999);
        Record { jwks_uri: URL.into(), confirmed_at, document: jwks(&["a", "b"]).into() }
    }

    fn read_by(record: &[u8], origin: &Origin, policy: &RefreshPolicy) -> Result<StoredKeys, KeyStoreError> {
        StoredKeys::read(record, origin, policy, &[Algorithm::ES256])
    }

    fn read(record: impl AsRef<[u8]>) -> Result<StoredKeys, KeyStoreError> {
        read_by(record.as_ref(), &at(URL), &RefreshPolicy::new())
    }

    fn text(origin: &Origin) -> String {
        String::from_utf8(record().to_bytes(origin).expect("a record").to_vec()).expect("UTF-8")
    }

    #[test]
    fn reads_the_keys_that_were_stored() {
        let stored = read(text(&at(URL))).expect("a record");
        assert!(has(&stored.table, "a") && has(&stored.table, "b") && !has(&stored.table, "c"));
        let earlier = Timestamp::from_secs(1_700_000_000);
        assert_eq!(stored.record, Record { confirmed_at: earlier, ..record() }, "rounded down");
    }

    #[test]
    fn rejects_records_of_another_issuer_or_url() {
        let error = |text: &str, origin: &Origin| {
            read_by(text.as_bytes(), origin, &RefreshPolicy::new()).map(drop).expect_err("rejected")
        };
        let other_issuer = Origin::jwks("https://other.example", Endpoint::new(URL).expect("url"));
        assert_eq!(error(&text(&at(URL)), &at(OTHER_URL)), KeyStoreError::OtherSource);
        assert_eq!(error(&text(&other_issuer), &at(URL)), KeyStoreError::OtherSource);
        let names = [at(URL), at(OTHER_URL), other_issuer, discovered()].map(|origin| RecordName::of_origin(&origin));
        for (position, name) in names.iter().enumerate() {
            assert!(!names[..position].contains(name));
            assert_eq!((name.as_str().len(), name.as_str().is_ascii()), (48, true));
        }
        assert_eq!(RecordName::of_origin(&at(URL)), names[0]);
        let tenant = RecordName::of_tenant("api", ISSUER);
        assert!(!names.contains(&tenant) && tenant != RecordName::of_tenant("api", "https://other.example"));
        assert_ne!(tenant, RecordName::of_tenant("other", ISSUER), "of another API");
        assert_eq!((tenant.as_str().len(), tenant.as_str().is_ascii()), (50, true));
    }

    /// The issuer of a tenant may get other settings, and its record keeps its name.
    #[test]
    fn rejects_records_of_a_source_that_found_the_url_in_another_way() {
        let read = |text: &str, origin: &Origin| read_by(text.as_bytes(), origin, &RefreshPolicy::new()).map(drop);
        for (saved, loaded) in [(at(URL), discovered()), (discovered(), at(URL))] {
            assert_eq!(read(&text(&saved), &loaded), Err(KeyStoreError::OtherSource));
            assert_eq!(read(&text(&saved), &saved), Ok(()));
        }
    }

    #[test]
    fn rejects_a_url_that_discovery_would_reject() {
        let hosts = |hosts: [&'static str; 1]| RefreshPolicy::new().with_jwks_hosts(hosts);
        let text = text(&discovered());
        for policy in [RefreshPolicy::new(), hosts(["login.example"])] {
            assert!(read_by(text.as_bytes(), &discovered(), &policy).is_ok());
        }
        let error = read_by(text.as_bytes(), &discovered(), &hosts(["keys.example"])).map(drop);
        assert_eq!(error, Err(KeyStoreError::OtherSource));
        let plain = text.replace("https://login.example/jwks", "http://login.example/jwks");
        let error = read_by(plain.as_bytes(), &discovered(), &RefreshPolicy::new()).map(drop);
        assert_eq!(error, Err(KeyStoreError::OtherSource));
    }

    #[test]
    fn rejects_damaged_records() {
        let good = text(&at(URL));
        let mut damaged: Vec<String> = (0..good.len()).step_by(7).map(|length| good[..length].to_owned()).collect();
        damaged.extend([
            "null".to_owned(),
            "[1]".to_owned(),
            format!("{good}x"),
            good.replace(r#""version":1"#, r#""version":2"#),
            good.replace(r#""version":1"#, r#""version":1,"etag":"x""#),
            good.replace(r#""version":1"#, r#""version":1,"version":1"#),
            good.replace(r#""keys":["#, r#""keys":[],"keys":["#),
            good.replace(r#"{"keys":["#, r#"{"keys":{"#),
            good.replace("1700000000", "1e400"),
            good.replace("1700000000", "1700000000.5"),
            good.replace(r#"{"keys":"#, &format!("{}{{\"keys\":", "[".repeat(100_000))),
        ]);
        for damaged in damaged {
            assert_eq!(read(&damaged).map(drop), Err(KeyStoreError::InvalidRecord), "{damaged:.200}");
        }
        assert_eq!(read(b"\xff\xfe").map(drop), Err(KeyStoreError::InvalidRecord));
        assert!(read(&good).is_ok());
    }

    /// The keys are checked like those of a fetched document.
    #[test]
    fn checks_each_key_again() {
        let with = |document: &str| {
            let record = Record { document: document.into(), ..record() };
            read(record.to_bytes(&at(URL)).expect("a record"))
        };
        let both = jwks(&["a", "b"]);
        let bad = both.replacen(r#""kty":"EC""#, r#""kty":"oct","k":"c2VjcmV0""#, 1);
        let private = both.replacen(r#""kty":"EC""#, r#""kty":"EC","d":"AQAB""#, 1);
        for document in [bad, private, both.replacen("\"sig\"", "\"enc\"", 1)] {
            let stored = with(&document).expect("a record");
            assert_eq!(stored.table.usable(), 1, "{document}");
            assert!(has(&stored.table, "b") && !has(&stored.table, "a"), "{document}");
        }
        for none in [r#"{"keys":[]}"#, &jwks(&["a"]).replace("ES256", "ES384")] {
            assert_eq!(with(none).map(drop), Err(KeyStoreError::NoUsableKeys), "{none}");
        }
        let many = format!(r#"{{"keys":[{}]}}"#, vec!["1"; 101].join(","));
        assert_eq!(with(&many).map(drop), Err(KeyStoreError::InvalidRecord));
    }
}
