//! Key sets and discovery documents of providers and other projects' tests, and the usable keys of each (rules 52 to
//! 65).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use tower_bearer::keys::KeySet;
use tower_bearer::testing::{FakeClock, FakeFetch, Reply};
use tower_bearer::{Api, Issuer, Validator};

use crate::fixture::block_on;
use crate::vectors;

/// `file: usable keys, then the reason for each skipped one`, or `file: error`.
const SAMPLES: &str = include_str!("../data/jwks_samples.txt");

#[test]
fn every_sample_has_the_listed_usable_keys() {
    let (Some(folder), Some(root)) = (vectors::path("jwks"), vectors::path("")) else { return };
    let mut found = BTreeMap::new();
    collect(&folder, &folder, &mut found);
    collect(&root, &root.join("oauth-sheriff"), &mut found);
    // The other files of this folder are claims, not key sets.
    found.retain(|file, _| !file.starts_with("oauth-sheriff/") || file.contains("jwks"));
    let expected: BTreeMap<String, String> = SAMPLES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").expect("a file and what is usable"))
        .map(|(file, is)| (file.into(), is.into()))
        .collect();
    let shown = |samples: &BTreeMap<String, String>| {
        samples.iter().map(|(file, is)| format!("{file}: {is}\n")).collect::<String>()
    };
    assert_eq!(shown(&found), shown(&expected));
    assert_eq!(found.len(), 113);
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_none_or(|extension| extension != "jwt") {
            let name = path.strip_prefix(root).expect("inside").to_string_lossy().replace('\\', "/");
            found.insert(name, describe(&fs::read(&path).expect("a file")));
        }
    }
}

fn describe(document: &[u8]) -> String {
    match KeySet::from_jwks(document) {
        Err(error) => format!("{error:?}"),
        Ok(set) => {
            let skipped: Vec<&str> = set.skipped().map(|key| key.reason().name()).collect();
            format!("{} {}", set.len(), skipped.join(" ")).trim_end().to_owned()
        }
    }
}

/// Rule 65: the issuer of the document equals the configured one exactly, and its `jwks_uri` is https.
#[test]
fn accepts_discovery_documents_of_providers() {
    for (provider, keys, usable) in [
        ("auth0", "auth0", Some(2)),
        ("google", "google", Some(2)),
        ("okta", "okta", Some(2)),
        ("onelogin", "onelogin", Some(1)),
        ("keycloak", "keycloak", Some(1)),
        // The issuer is a template and not that of a tenant.
        ("azure", "azure", None),
        // Plain http, and not on loopback.
        ("vault", "vault", None),
    ] {
        let Some(document) = vectors::read(&format!("jwks/{provider}_discovery_document.json")) else { return };
        let keys = vectors::read(&format!("jwks/{keys}_jwks.json")).expect("the key set");
        let discovery: serde_json::Value = serde_json::from_slice(&document).expect("a document");
        let issuer = discovery["issuer"].as_str().expect("an issuer").replace("{tenantid}", "common");
        assert_eq!(block_on(usable_keys(&issuer, document, &discovery, keys)), usable, "{provider}");
    }
}

async fn usable_keys(issuer: &str, document: Vec<u8>, discovery: &serde_json::Value, keys: Vec<u8>) -> Option<usize> {
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    let well_known = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    network.always(&well_known, Reply::json(document));
    network.always(discovery["jwks_uri"].as_str().expect("a key set's URL"), Reply::json(keys));
    let api = Api::new("https://api.example/", Issuer::oidc(issuer));
    let validator = Validator::builder(api).with_clock(clock.clone()).with_fetch(network).build().ok()?;
    clock.run_for(Duration::from_secs(1)).await;
    let (_, source) = validator.key_sources().next()?;
    source.status().is_ready().then(|| source.status().usable_keys())
}

/// Rule 64: a redirect is a response without a key set.
#[test]
fn redirects_are_not_followed() {
    block_on(async {
        let clock = FakeClock::new();
        let network = FakeFetch::new(&clock);
        let elsewhere = "http://169.254.169.254/latest/meta-data/";
        let redirect = Reply::status(StatusCode::FOUND).with_header(http::header::LOCATION, elsewhere);
        network.always("https://as.example/jwks", redirect);
        let api = Api::new("https://api.example/", Issuer::jwks("https://as.example/", "https://as.example/jwks"));
        let validator =
            Validator::builder(api).with_clock(clock.clone()).with_fetch(network.clone()).build().expect("configured");
        clock.run_for(Duration::from_secs(5)).await;
        assert!(!validator.is_ready());
        assert!(network.calls() > 0 && network.calls() == network.calls_to("https://as.example/jwks"));
    });
}
