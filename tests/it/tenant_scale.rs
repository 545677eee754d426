//! Many tenants, and tenants that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tower_bearer::testing::Outage;
use tower_bearer::{Algorithm, Api, Rejection};

use crate::fixture::AUDIENCE;
use crate::tenants_fixture::{Answer, Realms, iss, outcome, unknown};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_thousand_tenants_are_used_while_one_hangs() {
    let names: Vec<String> = (0..1_000).map(|number| format!("r{number}")).collect();
    let realms = Realms::new(names.iter().map(String::as_str));
    realms.server("r500").set_outage(Outage::Hang);
    let tenants = realms.tenants().with_new_tenants_per_second(1_000);
    let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
    let (hanging, token) = (validator.clone(), realms.token("r500"));
    let hanging = tokio::spawn(async move { outcome(&hanging, &token).await });
    realms.clock.settle().await;
    let tokens: Vec<String> = names.iter().map(|name| realms.token(name)).collect();
    for _ in 0..2 {
        for (token, name) in tokens.iter().zip(&names).filter(|(_, name)| *name != "r500") {
            assert_eq!(outcome(&validator, token).await, Ok(()), "{name}");
        }
    }
    assert!(!hanging.is_finished(), "the clock stands still");
    let counts = validator.tenants().counts();
    assert_eq!((counts.proven(), counts.unproven()), (999, 1));
    assert_eq!(realms.calls().len(), 1_000);
    // All of them are looked up again within five minutes, and stay in use.
    realms.server("r500").set_outage(Outage::None);
    realms.pass(Duration::from_secs(300)).await;
    assert!(matches!(hanging.await.expect("no panic"), Err(Rejection::KeysUnavailable { .. })));
    assert!(names.iter().all(|name| realms.calls_for(name) == 2));
    for (token, name) in tokens.iter().zip(&names) {
        assert_eq!(outcome(&validator, token).await, Ok(()), "{name}");
    }
    assert_eq!(validator.tenants().counts().proven(), 1_000);
}

/// Numbers that look random, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The model: a token is accepted exactly if its realm is a customer now and the token was signed by the realm of now.
#[tokio::test]
async fn tenants_come_and_go_in_any_order() {
    let names: Vec<String> = (0..40).map(|number| format!("r{number}")).collect();
    let realms = Realms::new(names.iter().map(String::as_str));
    let tenants = realms.tenants().with_max_tenants(24).with_new_tenants_per_second(1_000);
    let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
    let mut numbers = Numbers(1);
    let mut customers: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut old_tokens: BTreeMap<&str, String> = BTreeMap::new();
    for round in 0..1_000 {
        let name = &*names[numbers.below(40) as usize];
        match numbers.below(12) {
            0 => {
                realms.set(name, Answer::Unknown);
                customers.remove(name);
                validator.tenants().remove(&iss(name));
            }
            1 => {
                old_tokens.insert(name, realms.token(name));
                realms.create(name);
                customers.insert(name);
                validator.tenants().remove(&iss(name));
            }
            2 if customers.contains(name) => {
                // The resolver fails for a while. Known tenants stay, and unknown ones get 503.
                realms.set(name, Answer::Fail);
                let outcome = outcome(&validator, &realms.token(name)).await;
                assert!(
                    !matches!(&outcome, Err(rejection) if *rejection == unknown().unwrap_err()),
                    "{round}: {outcome:?}"
                );
                realms.set(name, Answer::Known);
                realms.pass(SECOND).await;
            }
            3 => realms.pass(Duration::from_secs(numbers.below(90))).await,
            _ => {
                let expected = if customers.contains(name) { Ok(()) } else { unknown() };
                assert_eq!(outcome(&validator, &realms.token(name)).await, expected, "{round} {name}");
                if let Some(old) = old_tokens.get(name) {
                    assert!(outcome(&validator, old).await.is_err(), "{round} {name}: a token of its predecessor");
                }
            }
        }
        let counts = validator.tenants().counts();
        assert!(counts.proven() + counts.idle() <= 24 && counts.unproven() <= 64, "{counts:?}");
    }
    let sources = names.iter().filter_map(|name| validator.tenants().key_source(&iss(name))).count();
    let counts = validator.tenants().counts();
    assert_eq!(sources, counts.proven() + counts.unproven(), "the tenants in use, and no other, have keys");
}

/// The memory of a proven tenant with one RSA key, and of what the fixture records about it. The guide and the documentation of
/// `with_max_tenants` name the number.
#[test]
fn a_tenant_takes_less_than_12_kilobytes() {
    const COUNT: usize = 200;
    let names: Vec<String> = (0..COUNT).map(|number| format!("r{number}")).collect();
    let realms = Realms::signing_with(Algorithm::RS256, names.iter().map(String::as_str));
    let tokens: Vec<String> = names.iter().map(|name| realms.token(name)).collect();
    let tenants = realms.tenants().with_new_tenants_per_second(1_000);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut validator = None;
    let allocated = allocation_counter::measure(|| {
        let builder = realms.builder(Api::for_tenants(AUDIENCE, tenants)).without_token_cache();
        let validator = validator.insert(builder.build().expect("a valid configuration"));
        runtime.block_on(async {
            for token in &tokens {
                assert_eq!(outcome(validator, token).await, Ok(()));
            }
            // The calls of the resolver end.
            realms.clock.settle().await;
        });
    });
    assert_eq!(validator.map(|validator| validator.tenants().counts().proven()), Some(COUNT));
    let bytes = allocated.bytes_current / COUNT as i64;
    assert!((4_000..12_000).contains(&bytes), "{bytes}");
}
