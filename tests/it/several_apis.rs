//! Several APIs in one process: a token of one is never accepted by the other, and the keys of a tenant are fetched
//! once.

use std::time::Duration;

use tower_bearer::claims::{ClaimError, ClaimErrorReason};
use tower_bearer::config::{SettingError, SettingErrorKind};
use tower_bearer::jwks::{RefreshPolicy, RefreshPolicyError, SecretSource};
use tower_bearer::rejection::{IssuerDifference, IssuerError, KeyNotFoundError};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Algorithm, Api, Issuer, Rejection, Secret, Validator, ValidatorBuilder};

const ORDERS: &str = "https://orders.northwind.com";
const STOCK: &str = "https://stock.northwind.com";

fn remote(server: &TestIssuer) -> Issuer {
    Issuer::jwks(server.issuer(), server.jwks_uri())
}

#[tokio::test]
async fn rejects_tokens_across_public_key_and_secret_apis() {
    let asymmetric = TestIssuer::auth0("northwind.eu.auth0.com");
    let symmetric = TestIssuer::named(asymmetric.issuer()).with_algorithms([Algorithm::HS256]);
    let orders = Validator::builder(Api::new(ORDERS, remote(&asymmetric))).with_fetch(asymmetric.clone()).build();
    let orders = orders.expect("a valid configuration");
    let secret = Issuer::shared_secret(symmetric.issuer(), Secret::from_text(symmetric.secret()));
    let stock = Validator::new(Api::new(STOCK, secret)).expect("a valid configuration");

    let (rs, hs) = (asymmetric.token(), symmetric.token());
    assert!(orders.validate(&rs.clone().audience(ORDERS).sign()).await.is_ok());
    assert!(stock.validate(&hs.clone().audience(STOCK).sign()).await.is_ok());
    for audience in [ORDERS, STOCK] {
        let hs = orders.validate(&hs.clone().audience(audience).sign()).await;
        assert_eq!(hs.unwrap_err(), Rejection::Algorithm { algorithm: Algorithm::HS256 });
        let rs = stock.validate(&rs.clone().audience(audience).sign()).await;
        assert_eq!(rs.unwrap_err(), Rejection::Algorithm { algorithm: Algorithm::RS256 });
    }
    let elsewhere = orders.validate(&rs.audience(STOCK).sign()).await;
    assert_eq!(elsewhere.unwrap_err(), Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Mismatch)));
}

#[tokio::test]
async fn apis_of_one_tenant_share_one_key_source() {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let tenant = remote(&server);
    let orders = Validator::builder(Api::new(ORDERS, tenant.clone())).with_fetch(server.clone()).build();
    let orders = orders.expect("a valid configuration");
    let stock = Validator::builder(Api::new(STOCK, tenant.clone().with_alias("https://login.northwind.com/")));
    let stock = stock.with_keys_of(&orders).build().expect("a valid configuration");
    let third = Validator::builder(Api::new("https://third.northwind.com", tenant)).with_keys_of(&stock).build();
    let third = third.expect("a valid configuration");

    let token = |audience: &str| server.token().audience(audience).sign();
    assert!(orders.validate(&token(ORDERS)).await.is_ok());
    assert!(stock.validate(&token(STOCK)).await.is_ok());
    assert!(third.validate(&token("https://third.northwind.com")).await.is_ok());
    assert_eq!(server.fetches(), 1, "three APIs, one tenant, one fetch");
    let crossed = stock.validate(&token(ORDERS)).await;
    assert_eq!(crossed.unwrap_err(), Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Mismatch)));
}

#[tokio::test]
async fn shared_keys_leave_issuers_and_algorithms_separate() {
    let server = TestIssuer::auth0("northwind.eu.auth0.com").with_algorithms([Algorithm::RS256, Algorithm::ES256]);
    let other = TestIssuer::auth0("fabrikam.eu.auth0.com");
    let both = remote(&server).with_algorithms([Algorithm::RS256, Algorithm::ES256]);
    let orders = Validator::builder(Api::new(ORDERS, both)).with_fetch(server.clone()).build().expect("good");
    let narrow = Validator::builder(Api::new(STOCK, remote(&server))).with_keys_of(&orders).build().expect("good");
    let es = || server.token().algorithm(Algorithm::ES256);
    assert!(orders.validate(&es().audience(ORDERS).sign()).await.is_ok());
    let rejected = narrow.validate(&es().audience(STOCK).sign()).await;
    assert_eq!(rejected.unwrap_err(), Rejection::Algorithm { algorithm: Algorithm::ES256 });
    assert_eq!(server.fetches(), 1);

    // Another URL, or an algorithm that the source does not support, gets its own source.
    let apart = Validator::builder(Api::new(STOCK, remote(&other))).with_keys_of(&orders).with_fetch(other.clone());
    let apart = apart.build().expect("good");
    assert!(apart.validate(&other.token().audience(STOCK).sign()).await.is_ok());
    assert_eq!((server.fetches(), other.fetches()), (1, 1));
    let wider = remote(&server).with_algorithms([Algorithm::RS256, Algorithm::PS256]);
    let wider = Validator::builder(Api::new(STOCK, wider)).with_keys_of(&orders).with_fetch(server.clone());
    let wider = wider.build().expect("good");
    assert!(wider.validate(&server.token().audience(STOCK).sign()).await.is_ok());
    assert_eq!(server.fetches(), 2);

    let slash = server.token().issuer("https://northwind.eu.auth0.com").audience(STOCK).sign();
    let difference = Some(IssuerDifference::MissingSlash);
    assert_eq!(narrow.validate(&slash).await.unwrap_err(), Rejection::Issuer(IssuerError::Unknown { difference }));
}

type Share = fn(ValidatorBuilder, &Validator) -> ValidatorBuilder;

const KEYS: Share = |builder, other| builder.with_keys_of(other);
const KEYS_AND_POLICY: Share = |builder, other| builder.with_keys_and_policy_of(other);

fn minute() -> RefreshPolicy {
    RefreshPolicy::new().with_refresh_interval(Duration::from_secs(60))
}

/// Shares the keys of a validator under the policy `theirs` with one under the policy `own`.
async fn shared(theirs: RefreshPolicy, own: RefreshPolicy, share: Share) -> Result<(), Vec<SettingError>> {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let orders = Validator::builder(Api::new(ORDERS, remote(&server))).with_fetch(server.clone());
    let orders = orders.with_refresh_policy(theirs).build().expect("a valid configuration");
    let stock = Validator::builder(Api::new(STOCK, remote(&server))).with_refresh_policy(own);
    let stock = share(stock, &orders).build().map_err(|error| error.errors().to_vec())?;
    assert!(orders.validate(&server.token().audience(ORDERS).sign()).await.is_ok());
    assert!(stock.validate(&server.token().audience(STOCK).sign()).await.is_ok());
    assert_eq!(server.fetches(), 1);
    Ok(())
}

fn rejected(violation: RefreshPolicyError) -> Result<(), Vec<SettingError>> {
    let problem = SettingErrorKind::RefreshPolicy(violation);
    Err(vec![SettingError::new("issuer \"https://northwind.eu.auth0.com/\" refresh policy", problem)])
}

#[tokio::test]
async fn rejects_shared_keys_under_another_refresh_policy() {
    let new = RefreshPolicy::new;
    let hooked = new().with_event_hook(|_| {});
    for (theirs, own) in [
        (minute(), new()),
        (new(), minute()),
        (hooked.clone(), new()),
        (hooked.clone(), new().with_event_hook(|_| {})),
        (new(), new().dangerous_unbounded_staleness()),
    ] {
        assert_eq!(shared(theirs.clone(), own.clone(), KEYS).await, rejected(RefreshPolicyError::SharedPolicyDiffers));
        assert_eq!(shared(theirs, own, KEYS_AND_POLICY).await, Ok(()), "the policy is shared as well");
    }
    for same in [new(), minute(), hooked, new().dangerous_accept_private_keys()] {
        assert_eq!(shared(same.clone(), same, KEYS).await, Ok(()));
    }
}

#[tokio::test]
async fn shared_keys_take_over_no_dangerous_setting() {
    let new = RefreshPolicy::new;
    for dangerous in [
        RefreshPolicy::dangerous_unbounded_staleness,
        RefreshPolicy::dangerous_accept_empty_set,
        RefreshPolicy::dangerous_accept_private_keys,
    ] {
        for share in [KEYS, KEYS_AND_POLICY] {
            for own in [new(), minute()] {
                assert_eq!(
                    shared(dangerous(new()), own, share).await,
                    rejected(RefreshPolicyError::SharedPolicyDangerous)
                );
            }
            assert_eq!(shared(dangerous(new()), dangerous(new()), share).await, Ok(()));
        }
        assert_eq!(shared(dangerous(new()), dangerous(minute()), KEYS_AND_POLICY).await, Ok(()));
    }
    let both = new().dangerous_accept_empty_set().dangerous_accept_private_keys();
    let one = new().dangerous_accept_empty_set();
    assert_eq!(shared(both, one, KEYS_AND_POLICY).await, rejected(RefreshPolicyError::SharedPolicyDangerous));
}

#[tokio::test]
async fn shares_the_source_with_the_same_policy() {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let builder = |policy| {
        let builder = Validator::builder(Api::new(ORDERS, remote(&server))).with_fetch(server.clone());
        builder.with_refresh_policy(policy)
    };
    let slow = builder(RefreshPolicy::new()).build().expect("a valid configuration");
    let fast = builder(minute()).build().expect("a valid configuration");
    let both = builder(minute()).with_keys_of(&slow).with_keys_of(&fast).build().expect("one has the same policy");
    assert!(both.validate(&server.token().audience(ORDERS).sign()).await.is_ok());
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn replaces_secrets_without_a_restart() {
    let server = || TestIssuer::new().with_algorithms([Algorithm::HS256]);
    let (old, new) = (server(), server());
    let secret = |server: &TestIssuer| Secret::from_text(server.secret()).expect("a secret");
    let source = SecretSource::new(secret(&old));
    let api = Api::new("https://api.test/", Issuer::secret_source(old.issuer(), &source));
    let validator = Validator::new(api).expect("a valid configuration");
    let good = async |server: &TestIssuer| validator.validate(&server.token().sign()).await.map(|_| ());

    assert_eq!((good(&old).await, good(&new).await), (Ok(()), Err(Rejection::Signature)));
    source.replace([secret(&new), secret(&old)]).expect("two valid secrets");
    assert_eq!((good(&old).await, good(&new).await), (Ok(()), Ok(())));
    source.replace([secret(&new)]).expect("a valid secret");
    assert_eq!((good(&old).await, good(&new).await), (Err(Rejection::Signature), Ok(())));
    assert!(source.replace([Secret::from_text("too short").expect("a text")]).is_err());
    assert_eq!(good(&new).await, Ok(()), "an unusable secret changes nothing");
    assert!(!format!("{source:?} {validator:?}").contains(&new.secret()));
}

/// A validator that is built later binds the secrets of the same source again.
#[tokio::test]
async fn replaced_secret_stays_replaced_for_later_validators() {
    let server = || TestIssuer::new().with_algorithms([Algorithm::HS256]);
    let (old, new) = (server(), server());
    let secret = |server: &TestIssuer| Secret::from_text(server.secret()).expect("a secret");
    let source = SecretSource::new(secret(&old));
    let issuer = || Issuer::secret_source(old.issuer(), &source);
    let first = Validator::new(Api::new("https://api.test/", issuer())).expect("a valid configuration");
    source.replace([secret(&new)]).expect("a valid secret");
    let later = issuer().with_algorithms([Algorithm::HS256, Algorithm::HS512]);
    let later = Validator::new(Api::new("https://api.test/", later)).expect("a valid configuration");
    for validator in [&first, &later] {
        assert_eq!(validator.validate(&old.token().sign()).await.map(drop), Err(Rejection::Signature));
        assert_eq!(validator.validate(&new.token().sign()).await.map(drop), Ok(()));
    }
}

/// All combinations of two secrets: which `kid` selects which secret, in either order.
#[tokio::test]
async fn secret_is_selected_by_its_kid_only() {
    let server = || TestIssuer::new().with_algorithms([Algorithm::HS256]);
    let (one, two, other_issuer) = (server(), server(), server());
    let (ok, signature) = (Ok(()), Err(Rejection::Signature));
    let key = |cause| Err(Rejection::Key(cause));
    let (unknown, ambiguous) = (key(KeyNotFoundError::Unknown { age: None }), key(KeyNotFoundError::Ambiguous));
    // The kids of the two secrets; then, for tokens of the first, the second and another issuer, the results without
    // `kid` and under "1", "2" and "3".
    let table = [
        (
            [Some("1"), Some("2")],
            [
                [&ambiguous, &ok, &signature, &unknown],
                [&ambiguous, &signature, &ok, &unknown],
                [&ambiguous, &signature, &signature, &unknown],
            ],
        ),
        (
            [Some("1"), Some("1")],
            [
                [&ambiguous, &ok, &unknown, &unknown],
                [&ambiguous, &ok, &unknown, &unknown],
                [&ambiguous, &signature, &unknown, &unknown],
            ],
        ),
        ([None, Some("2")], [[&ok, &ok, &ok, &ok], [&signature, &signature, &ok, &signature], [&signature; 4]]),
        ([None, None], [[&ok; 4], [&ok; 4], [&signature; 4]]),
    ];
    for (ids, outcomes) in table {
        let secrets: Vec<Secret> = [&one, &two]
            .iter()
            .zip(ids)
            .map(|(server, id)| {
                let secret = Secret::from_text(server.secret()).expect("a secret");
                id.map_or(secret.clone(), |id| secret.with_kid(id).expect("an id"))
            })
            .collect();
        for order in [[0, 1], [1, 0]] {
            let issuer = Issuer::shared_secret(one.issuer(), secrets[order[0]].clone());
            let api = Api::new("https://api.test/", issuer.with_secret(secrets[order[1]].clone()));
            let validator = Validator::new(api).expect("a valid configuration");
            for (server, outcomes) in [&one, &two, &other_issuer].into_iter().zip(outcomes) {
                for (kid, outcome) in [None, Some("1"), Some("2"), Some("3")].into_iter().zip(outcomes) {
                    let token = server.token().without_kid();
                    let token = kid.map_or(token.clone(), |kid| token.header("kid", kid));
                    assert_eq!(validator.validate(&token.sign()).await.map(drop), *outcome, "{ids:?}, {kid:?}");
                }
            }
        }
    }
}
