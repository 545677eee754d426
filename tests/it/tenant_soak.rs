//! Tenants that come and go while several threads validate their tokens.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tower_bearer::{Api, Validator};

use crate::fixture::AUDIENCE;
use crate::tenants_fixture::{Answer, Realms, iss, outcome, unknown};

/// The numbers of realms that never change, and of those that do.
const STABLE: usize = 10;
const CHANGING: usize = 40;
const WORKERS: usize = 4;

/// The changes that are made. `SOAK_CHANGES` sets another number, for a longer run.
const CHANGES: usize = 1_500;

/// A realm, as its customers see it.
#[derive(Default)]
struct Realm {
    /// Counts the begin and the end of each change, so it is odd during one.
    version: AtomicUsize,
    is_customer: AtomicBool,
    /// A token of the realm, and one of the last realm with its name.
    tokens: Mutex<(String, Option<String>)>,
}

impl Realm {
    fn tokens(&self) -> MutexGuard<'_, (String, Option<String>)> {
        self.tokens.lock().expect("the tokens")
    }
}

struct World {
    realms: Realms,
    validator: Validator,
    state: Vec<Realm>,
    is_over: AtomicBool,
    validations: AtomicUsize,
}

fn name(number: usize) -> String {
    format!("r{number}")
}

impl World {
    fn new() -> Self {
        let names: Vec<String> = (0..STABLE + CHANGING).map(name).collect();
        let realms = Realms::new(names.iter().map(String::as_str));
        let tenants = realms.tenants().with_new_tenants_per_second(1_000);
        let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
        let state = names.iter().map(|name| Realm {
            is_customer: AtomicBool::new(true),
            tokens: Mutex::new((realms.token(name), None)),
            ..Realm::default()
        });
        let state = state.collect();
        Self { realms, validator, state, is_over: AtomicBool::new(false), validations: AtomicUsize::new(0) }
    }

    /// Removes a customer, or lets another one have the realm.
    fn change(&self, number: usize, has_successor: bool) {
        let (realm, name) = (&self.state[number], name(number));
        realm.version.fetch_add(1, Ordering::SeqCst);
        if has_successor {
            self.realms.create(&name);
        } else {
            self.realms.set(&name, Answer::Unknown);
        }
        self.validator.tenants().remove(&iss(&name));
        let token = self.realms.token(&name);
        let mut tokens = realm.tokens();
        if has_successor {
            let earlier = std::mem::replace(&mut tokens.0, token);
            tokens.1 = Some(earlier);
        }
        drop(tokens);
        realm.is_customer.store(has_successor, Ordering::SeqCst);
        realm.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Validates the tokens of one realm, and compares the results with what its customers expect if it does not change meanwhile.
    async fn validate(&self, number: usize) {
        let realm = &self.state[number];
        let version = realm.version.load(Ordering::SeqCst);
        let (is_customer, (token, earlier)) = (realm.is_customer.load(Ordering::SeqCst), realm.tokens().clone());
        let result = outcome(&self.validator, &token).await;
        if version.is_multiple_of(2) && realm.version.load(Ordering::SeqCst) == version {
            assert_eq!(result, if is_customer { Ok(()) } else { unknown() }, "{number}");
        }
        if let Some(earlier) = earlier {
            assert!(outcome(&self.validator, &earlier).await.is_err(), "{number}: a token of the realm before");
        }
        self.validations.fetch_add(1, Ordering::SeqCst);
    }

    async fn work(self: Arc<Self>, worker: usize) {
        let mut number = worker;
        while !self.is_over.load(Ordering::SeqCst) {
            number = (number + 7) % (STABLE + CHANGING);
            self.validate(number).await;
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tenants_come_and_go_while_others_are_used() {
    let changes = std::env::var("SOAK_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(CHANGES);
    let world = Arc::new(World::new());
    let workers: Vec<_> = (0..WORKERS).map(|worker| tokio::spawn(Arc::clone(&world).work(worker))).collect();
    for change in 0..changes {
        world.change(STABLE + change * 13 % CHANGING, change % 3 != 0);
        // So slowly that no request waits for longer than it may.
        world.realms.clock.advance(Duration::from_millis(10));
        // Each worker goes on between two changes, however slow the machine is.
        let before = world.validations.load(Ordering::SeqCst);
        while world.validations.load(Ordering::SeqCst) < before + WORKERS
            && workers.iter().any(|worker| !worker.is_finished())
        {
            tokio::task::yield_now().await;
        }
    }
    world.is_over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.expect("no panic");
    }
    for number in 0..STABLE {
        world.validate(number).await;
        assert!(world.realms.events_of(&name(number)).len() <= 2, "it was added and proven once");
    }
    let (tenants, counts) = (world.validator.tenants(), world.validator.tenants().counts());
    let in_use = (0..STABLE + CHANGING).filter(|number| tenants.key_source(&iss(&name(*number))).is_some()).count();
    assert_eq!(in_use, counts.proven() + counts.unproven(), "the tenants in use, and no other, have keys");
    assert!((0..STABLE).all(|number| tenants.key_source(&iss(&name(number))).is_some()));
}
