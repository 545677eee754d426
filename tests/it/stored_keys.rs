//! Keys that survive a restart, in the files of a real directory.

#![expect(clippy::expect_used, reason = "a test whose setup fails must fail")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tower_bearer::jwks::{FileKeyStore, KeyState, KeyStore, KeyStoreFuture};
use tower_bearer::keys::KeySet;
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::{Api, Issuer, Validator};

const AUDIENCE: &str = "https://api.test/";
const LIMIT: Duration = Duration::from_secs(10);

/// A store that tells when a save has ended.
#[derive(Clone, Debug)]
struct Watched {
    store: FileKeyStore,
    saved: Arc<Notify>,
}

impl KeyStore for Watched {
    fn load(&self, name: &str, max_bytes: usize) -> KeyStoreFuture<Option<Bytes>> {
        self.store.load(name, max_bytes)
    }

    fn save(&self, name: &str, record: Bytes) -> KeyStoreFuture<()> {
        let (save, saved) = (self.store.save(name, record), Arc::clone(&self.saved));
        Box::pin(async move {
            save.await?;
            saved.notify_one();
            Ok(())
        })
    }
}

/// A directory that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tower-bearer-{name}-{}", std::process::id())))
    }

    fn store(&self) -> Watched {
        Watched { store: FileKeyStore::new(&self.0).expect("a directory"), saved: Arc::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _may_be_missing = fs::remove_dir_all(&self.0);
    }
}

fn validator(issuer: &TestIssuer, trusted: Issuer, store: Watched) -> Validator {
    let api = Api::new(AUDIENCE, trusted);
    Validator::builder(api).with_fetch(issuer.clone()).with_key_store(store).build().expect("a valid configuration")
}

fn state(validator: &Validator) -> KeyState {
    validator.key_sources().next().expect("one issuer").1.status().state()
}

#[tokio::test]
async fn validates_tokens_after_a_restart_while_the_issuer_is_down() {
    for (name, discovers) in [("jwks", false), ("discovery", true)] {
        let folder = Folder::new(name);
        let issuer = TestIssuer::new();
        let trusted = || match discovers {
            true => Issuer::oidc(issuer.issuer()),
            false => Issuer::jwks(issuer.issuer(), issuer.jwks_uri()),
        };
        let token = issuer.token().audience(AUDIENCE).sign();
        let store = folder.store();
        let first = validator(&issuer, trusted(), store.clone());
        assert_eq!(first.validate(&token).await.map(drop), Ok(()));
        tokio::time::timeout(LIMIT, store.saved.notified()).await.expect("saved");
        drop(first);

        issuer.set_outage(Outage::NoConnection);
        let second = validator(&issuer, trusted(), folder.store());
        assert_eq!(second.validate(&token).await.map(drop), Ok(()), "{name}");
        assert_eq!(state(&second), KeyState::Stale);
        // A forged token is rejected as always.
        let forged = TestIssuer::named(issuer.issuer()).token().audience(AUDIENCE).sign();
        assert!(second.validate(&forged).await.is_err());
        let files: Vec<PathBuf> =
            fs::read_dir(&folder.0).expect("the directory").map(|entry| entry.expect("an entry").path()).collect();
        let [file] = files.as_slice() else { panic!("one file: {files:?}") };
        let record = fs::read_to_string(file).expect("the record");
        assert!(record.contains(issuer.issuer()) && !record.contains("\"d\""), "{record}");

        // A damaged record is the same as none.
        fs::write(file, &record[..record.len() / 2]).expect("the file");
        let third = validator(&issuer, trusted(), folder.store());
        assert!(third.validate(&token).await.is_err(), "{name}");
        issuer.set_outage(Outage::None);
        let source = third.key_sources().next().expect("one issuer").1.clone();
        source.ready_within(LIMIT).await.expect("the issuer is up again");
        assert_eq!(third.validate(&token).await.map(drop), Ok(()));
    }
}

#[tokio::test]
async fn validates_tokens_with_initial_keys_while_the_issuer_is_down() {
    let issuer = TestIssuer::new();
    issuer.set_outage(Outage::NoConnection);
    let packaged = || KeySet::from_jwks(issuer.jwks());
    let trusted = || Issuer::jwks(issuer.issuer(), issuer.jwks_uri());
    let token = issuer.token().audience(AUDIENCE).sign();
    let build = |trusted| Validator::builder(Api::new(AUDIENCE, trusted)).with_fetch(issuer.clone()).build();
    let with = build(trusted().with_initial_keys(packaged())).expect("a valid configuration");
    assert!(with.is_ready());
    assert_eq!(with.validate(&token).await.map(drop), Ok(()));
    assert_eq!(state(&with), KeyState::Stale);
    let without = build(trusted()).expect("a valid configuration");
    assert!(without.validate(&token).await.is_err());
}
