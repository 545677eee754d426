//! Revoked tokens are rejected on every request: when they are validated, from the token cache, by `still_valid` and `explain`.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use proptest::prelude::*;
use tower_bearer::claims::{ClaimError, ClaimErrorReason};
use tower_bearer::clock::{Clock as _, Timestamp};
use tower_bearer::keys::KeySet;
use tower_bearer::revocation::{
    Revocation, RevocationConfigError, RevocationKind, RevocationSettingError, Revocations, RevokeError,
};
use tower_bearer::testing::{FakeClock, TestIssuer, TokenBuilder};
use tower_bearer::{
    Algorithm, Api, BearerLayer, CheckOutcome, Issuer, Rejection, RejectionKind, Secret, Validator, ValidatorBuilder,
};

use crate::fixture::{AUDIENCE, NOW, block_on, status_and_challenge};

const ISSUER: &str = "https://issuer.test/";
const LEEWAY: i64 = 5;
const HOUR: i64 = 3600;

/// An API with a list, and its issuer, on one clock.
struct Fixture {
    clock: FakeClock,
    server: TestIssuer,
    list: Revocations,
    validator: Validator,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(ValidatorBuilder) -> ValidatorBuilder) -> Self {
        let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
        let server = TestIssuer::named(ISSUER).with_clock(Arc::new(clock.clone())).with_algorithms([Algorithm::ES256]);
        let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
        let api = Api::new(AUDIENCE, trusted(&server));
        let builder = Validator::builder(api).with_clock(clock.clone()).with_revocations(&list);
        let validator = change(builder).build().expect("a valid configuration");
        Self { clock, server, list, validator }
    }

    fn token(&self) -> TokenBuilder {
        self.server.token().claim("exp", NOW + HOUR).claim("iat", NOW - 60).claim("sid", "s1").claim("jti", "j1")
    }

    fn revoke(&self, revocation: Revocation) {
        assert_eq!(block_on(self.list.revoke(revocation)), Ok(()));
    }

    fn outcome(&self, token: &str) -> Result<(), Rejection> {
        block_on(self.validator.validate(token)).map(drop)
    }
}

fn trusted(server: &TestIssuer) -> Issuer {
    Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks())).with_algorithms([Algorithm::ES256])
}

fn revoked(by: RevocationKind) -> Result<(), Rejection> {
    Err(Rejection::Revoked { by })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

/// One entry of each kind that names the token of the fixture.
fn one_of_each() -> [(Revocation, RevocationKind); 5] {
    [
        (Revocation::jwt_id(ISSUER, "j1"), RevocationKind::JwtId),
        (Revocation::session(ISSUER, "s1"), RevocationKind::Session),
        (Revocation::subject(ISSUER, "ann"), RevocationKind::Subject),
        (Revocation::client(ISSUER, "web"), RevocationKind::Client),
        (Revocation::issuer(ISSUER), RevocationKind::Issuer),
    ]
}

#[test]
fn rejects_by_each_kind_of_entry_a_new_token_and_a_cached_one() {
    for (revocation, kind) in one_of_each() {
        for change in [|builder| builder, ValidatorBuilder::without_token_cache] {
            let fixture = Fixture::with(change);
            let token = fixture.token().subject("ann").claim("azp", "web").sign();
            let other = fixture.token().subject("bob").claim("azp", "app").claim("jti", "j2").claim("sid", "s2").sign();
            let claims = block_on(fixture.validator.validate(&token)).expect("a valid token");
            assert_eq!(fixture.outcome(&other), Ok(()));
            assert_eq!(fixture.validator.still_valid(&claims), Ok(()));
            fixture.revoke(revocation.clone());
            // Case 62: the next request.
            assert_eq!(fixture.outcome(&token), revoked(kind), "{kind}");
            assert_eq!(fixture.validator.still_valid(&claims), revoked(kind), "{kind}");
            let expected = if kind == RevocationKind::Issuer { revoked(kind) } else { Ok(()) };
            assert_eq!(fixture.outcome(&other), expected, "{kind}");
        }
    }
}

#[test]
fn response_looks_like_that_to_any_invalid_token() {
    let fixture = Fixture::new();
    let token = fixture.token().sign();
    let layer = BearerLayer::new(fixture.validator.clone());
    let send = |token: &str| {
        let request = http::Request::get("/").header("authorization", format!("Bearer {token}"));
        block_on(status_and_challenge(layer.clone(), request.body(String::new()).expect("a request")))
    };
    assert_eq!(send(&token).0, 200);
    fixture.revoke(Revocation::jwt_id(ISSUER, "j1"));
    assert_eq!(send(&token), send(&fixture.token().with_broken_signature().sign()));
    assert_eq!(fixture.outcome(&token).unwrap_err().kind(), RejectionKind::Revoked);
    assert!(fixture.outcome(&token).unwrap_err().signature_checked());
}

#[test]
fn explain_has_a_row_for_the_list() {
    let fixture = Fixture::new();
    let token = fixture.token().sign();
    let outcome = |fixture: &Fixture| {
        let explanation = block_on(fixture.validator.explain(&token));
        let finding = explanation.findings().iter().find(|finding| finding.check() == "revocation");
        (explanation.is_accepted(), finding.expect("a row").outcome(), explanation.rejection().cloned())
    };
    assert_eq!(outcome(&fixture), (true, CheckOutcome::Passed, None));
    fixture.revoke(Revocation::session(ISSUER, "s1"));
    let rejection = Rejection::Revoked { by: RevocationKind::Session };
    assert_eq!(outcome(&fixture), (false, CheckOutcome::Failed, Some(rejection)));
}

/// Cases 57 and 64.
#[test]
fn entry_of_another_issuer_or_with_another_limit_between_the_names_rejects_nothing() {
    let fixture = Fixture::new();
    let token = fixture.token().subject("ann").sign();
    for issuer in ["https://other.test/", "https://issuer.test", "https://issuer.test/a", ""] {
        fixture.revoke(Revocation::jwt_id(issuer, "j1"));
        fixture.revoke(Revocation::subject(issuer, "ann"));
        fixture.revoke(Revocation::issuer(issuer));
    }
    fixture.revoke(Revocation::jwt_id("https://issuer.test", "/j1"));
    fixture.revoke(Revocation::session(ISSUER, "j1"));
    fixture.revoke(Revocation::subject(ISSUER, "an"));
    assert_eq!(fixture.outcome(&token), Ok(()));
    fixture.revoke(Revocation::jwt_id(ISSUER, "j1"));
    assert_eq!(fixture.outcome(&token), revoked(RevocationKind::JwtId));
}

/// Custom domains of one tenant are one issuer.
#[test]
fn entry_of_one_domain_concerns_all_domains_of_the_issuer() {
    let clock = FakeClock::from_wall(at(NOW));
    let [canonical, custom] = ["https://northwind.eu.auth0.com/", "https://login.northwind.com/"];
    let server = TestIssuer::auth0("northwind.eu.auth0.com").with_clock(Arc::new(clock.clone()));
    let other = TestIssuer::named("https://other.test/").with_clock(Arc::new(clock.clone()));
    let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
    let tenant = Issuer::auth0("northwind.eu.auth0.com").with_custom_domain("login.northwind.com");
    let api =
        Api::new(AUDIENCE, tenant).with_issuer(Issuer::static_keys(other.issuer(), KeySet::from_jwks(other.jwks())));
    let builder = Validator::builder(api).with_fetch(server.clone()).with_clock(clock).with_revocations(&list);
    let tokens =
        [canonical, custom].map(|issuer| server.token().audience(AUDIENCE).issuer(issuer).subject("ann").sign());
    let foreign = other.token().subject("ann").sign();
    block_on(async {
        let validator = builder.build().expect("a valid configuration");
        for token in tokens.iter().chain([&foreign]) {
            assert_eq!(validator.validate(token).await.map(drop), Ok(()));
        }
        list.revoke(Revocation::subject(custom, "ann")).await.expect("room");
        for token in &tokens {
            assert_eq!(validator.validate(token).await.map(drop), revoked(RevocationKind::Subject));
        }
        assert_eq!(validator.validate(&foreign).await.map(drop), Ok(()));
    });
}

/// Case 58.
#[test]
fn tokens_of_a_later_second_are_accepted() {
    let fixture = Fixture::new();
    let issued = |iat: &str| fixture.token().subject("ann").raw_claim("iat", iat).sign();
    let outcome = |iat: i64| fixture.outcome(&issued(&iat.to_string()));
    let revocation = || Revocation::subject(ISSUER, "ann");
    // The time is that of the issuer, so no leeway is added.
    fixture.revoke(revocation().with_issued_before(at(NOW - 20)));
    assert_eq!((outcome(NOW - 20), outcome(NOW - 19)), (revoked(RevocationKind::Subject), Ok(())));
    let fraction = |iat: &str| fixture.outcome(&issued(iat));
    assert_eq!(fraction(&format!("{}.999", NOW - 20)), revoked(RevocationKind::Subject));
    assert_eq!(fraction(&format!("{}.001", NOW - 19)), Ok(()));
    // An earlier time does not shorten the entry.
    fixture.revoke(revocation().with_issued_before(at(NOW - 100)));
    assert_eq!(outcome(NOW - 20), revoked(RevocationKind::Subject));
    // The clock of the issuer may be ahead of ours.
    fixture.revoke(revocation());
    assert_eq!(outcome(NOW + 3), revoked(RevocationKind::Subject));
    assert_eq!((outcome(NOW + LEEWAY), outcome(NOW + LEEWAY + 1)), (revoked(RevocationKind::Subject), Ok(())));
    // A time in the far future does not reject the tokens of tomorrow.
    fixture.revoke(revocation().with_issued_before(at(NOW + 1_000_000)));
    assert_eq!((outcome(NOW + 300), outcome(NOW + 301)), (revoked(RevocationKind::Subject), Ok(())));
}

/// Cases 59 and 60.
#[test]
fn token_without_iat_is_rejected_while_an_entry_names_it() {
    let fixture = Fixture::new();
    let token = |subject: &str| fixture.token().subject(subject).without("iat").sign();
    fixture.revoke(Revocation::subject(ISSUER, "ann").with_issued_before(at(NOW - 100_000)));
    assert_eq!(
        (fixture.outcome(&token("ann")), fixture.outcome(&token("bob"))),
        (revoked(RevocationKind::Subject), Ok(()))
    );
    let text = fixture.token().subject("ann").claim("iat", "now").sign();
    let malformed = Rejection::Claims(ClaimError::IssuedAt(ClaimErrorReason::Malformed));
    assert_eq!(fixture.outcome(&text), Err(malformed));
}

/// Case 61: another valid signature of the same token.
#[test]
fn another_signature_of_a_revoked_token_is_rejected() {
    let fixture = Fixture::new();
    let [one, other] = [(); 2].map(|()| fixture.token().sign());
    assert_ne!(one, other, "ECDSA signatures are random");
    fixture.revoke(Revocation::jwt_id(ISSUER, "j1"));
    assert_eq!(
        (fixture.outcome(&one), fixture.outcome(&other)),
        (revoked(RevocationKind::JwtId), revoked(RevocationKind::JwtId))
    );
}

/// Case 63.
#[test]
fn entry_counts_until_its_end_and_the_leeway() {
    let fixture = Fixture::new();
    let token = fixture.token().claim("exp", NOW + 2 * HOUR).sign();
    let advance_to = |seconds| fixture.clock.set_wall(at(NOW + seconds));
    fixture.revoke(Revocation::jwt_id(ISSUER, "j1").with_end(at(NOW + HOUR)));
    advance_to(HOUR + LEEWAY - 1);
    assert_eq!(fixture.outcome(&token), revoked(RevocationKind::JwtId));
    advance_to(HOUR + LEEWAY);
    assert_eq!(fixture.outcome(&token), Ok(()), "the token lives longer than the entry says");
    // A later end extends the entry, an earlier one does not shorten it.
    fixture.revoke(Revocation::jwt_id(ISSUER, "j1").with_end(at(NOW + 3 * HOUR)));
    fixture.revoke(Revocation::jwt_id(ISSUER, "j1").with_end(at(NOW + 2 * HOUR)));
    assert_eq!(fixture.outcome(&token), revoked(RevocationKind::JwtId));
    // Case 73: far beyond the range of the list.
    fixture.revoke(Revocation::jwt_id(ISSUER, "j1").with_end(Timestamp::MAX_NUMERIC_DATE));
    advance_to(2 * HOUR + LEEWAY - 1);
    assert_eq!(fixture.outcome(&token), revoked(RevocationKind::JwtId));
    advance_to(2 * HOUR + LEEWAY);
    assert_eq!(fixture.outcome(&token), Err(Rejection::UnverifiedClaims(ClaimError::Expired)));
}

#[test]
fn entry_without_an_end_lasts_for_the_longest_life_of_a_token() {
    let clock = FakeClock::from_wall(at(NOW));
    let list = Revocations::builder().with_clock(clock.clone()).with_max_token_life(Duration::from_secs(7200));
    let list = list.in_memory().expect("settings in range");
    let fixture = Fixture::with(|builder| builder.with_clock(clock.clone()).with_revocations(&list));
    let token = fixture.token().claim("exp", NOW + 4 * HOUR).subject("ann").sign();
    block_on(list.revoke(Revocation::subject(ISSUER, "ann"))).expect("room");
    for (seconds, expected) in [(7204, revoked(RevocationKind::Subject)), (7205, Ok(()))] {
        clock.set_wall(at(NOW + seconds));
        assert_eq!(fixture.outcome(&token), expected, "{seconds}");
    }
}

#[test]
fn client_is_the_claim_that_the_api_names() {
    let revoke_client = |fixture: &Fixture| fixture.revoke(Revocation::client(ISSUER, "web"));
    let fixture = Fixture::new();
    revoke_client(&fixture);
    let token = || fixture.token().without("azp");
    for (token, expected) in [
        (token().claim("azp", "web"), revoked(RevocationKind::Client)),
        (token().claim("client_id", "web"), revoked(RevocationKind::Client)),
        // `client_id` takes precedence.
        (token().claim("client_id", "app").claim("azp", "web"), Ok(())),
        (token().claim("cid", "web"), Ok(())),
        (token(), Ok(())),
    ] {
        assert_eq!(fixture.outcome(&token.sign()), expected);
    }
    let malformed = Rejection::Claims(ClaimError::Client(ClaimErrorReason::Malformed));
    assert_eq!(fixture.outcome(&token().claim("client_id", 7).sign()), Err(malformed));
    let server = fixture.server.clone();
    let api = Api::new(AUDIENCE, trusted(&server)).with_client_ids(["web", "app"]).with_client_claim("cid");
    let builder = Validator::builder(api).with_clock(fixture.clock.clone()).with_revocations(&fixture.list);
    let named = builder.build().expect("a valid configuration");
    let outcome = |client: &str| block_on(named.validate(&token().claim("cid", client).sign())).map(drop);
    assert_eq!((outcome("web"), outcome("app")), (revoked(RevocationKind::Client), Ok(())));
}

/// A claim of another type cannot be compared. Only entries of the same issuer and kind matter.
#[test]
fn malformed_sid_is_rejected_while_sessions_of_the_issuer_are_revoked() {
    let fixture = Fixture::new();
    let token = fixture.token().claim("sid", 1).sign();
    fixture.revoke(Revocation::session("https://other.test/", "1"));
    fixture.revoke(Revocation::jwt_id(ISSUER, "1"));
    assert_eq!(fixture.outcome(&token), Ok(()));
    fixture.revoke(Revocation::session(ISSUER, "s2"));
    assert_eq!(fixture.outcome(&token), Err(Rejection::Claims(ClaimError::SessionId)));
    assert_eq!(fixture.outcome(&token).unwrap_err().kind(), RejectionKind::MalformedClaim);
    assert_eq!(fixture.outcome(&fixture.token().without("sid").sign()), Ok(()));
}

/// Case 65.
#[test]
fn full_list_says_so_and_drops_nothing() {
    let clock = FakeClock::from_wall(at(NOW));
    let list = Revocations::builder().with_clock(clock.clone()).with_max_entries(1_000).in_memory().expect("in range");
    let entry = |number: i64| Revocation::jwt_id(ISSUER, &format!("j{number}")).with_end(at(NOW + HOUR));
    let fixture = Fixture::with(|builder| builder.with_clock(clock.clone()).with_revocations(&list));
    let outcome = |number: i64| fixture.outcome(&fixture.token().claim("jti", format!("j{number}")).sign());
    let is_full = |outcome: &_| matches!(outcome, Err(RevokeError::Full { max_entries: 1_000, .. }));
    assert!(is_full(&block_on(list.revoke_all((0..1_001).map(entry)))));
    assert!(is_full(&block_on(list.revoke(Revocation::issuer(ISSUER)))));
    // An entry that is present needs no room.
    assert_eq!(block_on(list.revoke(entry(0).with_end(at(NOW + 2 * HOUR)))), Ok(()));
    assert!([0, 1, 500, 999].iter().all(|number| outcome(*number) == revoked(RevocationKind::JwtId)));
    assert_eq!(outcome(1_000), Ok(()));
    let status = list.status();
    assert_eq!((status.total_entries(), status.max_entries()), (1_000, 1_000));
    assert_eq!((status.entries(RevocationKind::JwtId), status.entries(RevocationKind::Issuer)), (1_000, 0));
    assert!(status.bytes() < 40_000, "{status:?}");
    // When entries have ended, there is room.
    clock.advance(Duration::from_secs(3_600 + 301));
    assert_eq!(
        block_on(list.revoke(entry(7_777).with_end(clock.now().saturating_add(Duration::from_secs(60))))),
        Ok(())
    );
    assert_eq!(list.status().total_entries(), 2);
}

#[test]
fn settings_out_of_range_are_errors() {
    let entries = |count| Revocations::builder().with_max_entries(count).in_memory().map(drop);
    for count in [1_000, 50_000_000] {
        assert_eq!(entries(count), Ok(()));
    }
    for count in [0, 999, 50_000_001] {
        assert_eq!(errors(entries(count)), [RevocationSettingError::MaxEntries]);
    }
    let life = |seconds| Revocations::builder().with_max_token_life(Duration::from_secs(seconds)).in_memory().map(drop);
    for seconds in [60, 30 * 86_400] {
        assert_eq!(life(seconds), Ok(()));
    }
    for seconds in [0, 59, 30 * 86_400 + 1] {
        assert_eq!(errors(life(seconds)), [RevocationSettingError::MaxTokenLife]);
    }
}

#[test]
fn reports_all_settings_out_of_range() {
    let all =
        [RevocationSettingError::MaxEntries, RevocationSettingError::MaxTokenLife, RevocationSettingError::MaxStale];
    let builder = || Revocations::builder().with_max_entries(1).with_max_token_life(Duration::ZERO);
    assert_eq!(errors(builder().in_memory().map(drop)), all[..2]);
    let error = builder().with_max_stale(Duration::ZERO).in_memory().map(drop).expect_err("three errors");
    assert_eq!(error.errors(), all);
    assert_eq!(error.to_string(), all.map(|error| error.to_string()).join("; "));
}

fn errors(outcome: Result<(), RevocationConfigError>) -> Vec<RevocationSettingError> {
    outcome.expect_err("settings out of range").errors().to_vec()
}

/// Two issuers of one name, with keys of different kinds, are both concerned.
#[test]
fn entry_concerns_both_kinds_of_keys_of_one_name() {
    let clock = FakeClock::from_wall(at(NOW));
    let issuer = || TestIssuer::named(ISSUER).with_clock(Arc::new(clock.clone()));
    let (public, secret) = (issuer().with_algorithms([Algorithm::ES256]), issuer().with_algorithms([Algorithm::HS256]));
    let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
    let with_secret = Issuer::shared_secret(ISSUER, Secret::from_text(secret.secret()));
    let api = Api::new(AUDIENCE, trusted(&public)).with_issuer(with_secret);
    let builder = Validator::builder(api).with_clock(clock.clone()).with_revocations(&list);
    let validator = builder.build().expect("a valid configuration");
    let tokens = [&public, &secret].map(|server| server.token().subject("ann").sign());
    let outcomes = || tokens.each_ref().map(|token| block_on(validator.validate(token)).map(drop));
    assert_eq!(outcomes(), [Ok(()), Ok(())]);
    block_on(list.revoke(Revocation::subject(ISSUER, "ann"))).expect("room");
    assert_eq!(outcomes(), [revoked(RevocationKind::Subject), revoked(RevocationKind::Subject)]);
}

#[test]
fn debug_output_contains_no_name() {
    let fixture = Fixture::new();
    let revocation = Revocation::subject(ISSUER, "ann@northwind.com");
    let shown = format!("{revocation:?} {:?}", fixture.list);
    assert!(shown.contains(ISSUER) && !shown.contains("ann"), "{shown}");
    assert_eq!(
        RevocationKind::ALL.iter().map(|kind| RevocationKind::from_name(kind.name())).collect::<Vec<_>>(),
        RevocationKind::ALL.iter().copied().map(Some).collect::<Vec<_>>()
    );
}

/// An insertion of the model: kind, value, `with_issued_before` and `with_end` relative to now.
fn any_entry() -> impl Strategy<Value = (RevocationKind, u8, i64, i64)> {
    (prop::sample::select(RevocationKind::ALL), 0_u8..4, -50_i64..50, -20_i64..100)
}

fn revocation(kind: RevocationKind, value: u8) -> Revocation {
    Revocation::new(kind, ISSUER, &value.to_string())
}

/// Counts what the token cache does.
struct CacheMetrics(PrometheusRecorder);

impl CacheMetrics {
    fn new() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }

    fn get(&self, name: &str) -> usize {
        let text = self.0.handle().render();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    fn hits(&self) -> usize {
        self.get(r#"jwt_token_cache_total{outcome="hit"}"#)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every token that an entry names is rejected until the entry ends, in whatever order entries and time proceed. A token
    /// that no entry names is accepted.
    #[test]
    fn rejects_exactly_what_is_revoked(steps in prop::collection::vec((any_entry(), 0_u64..30), 1..20)) {
        let fixture = Fixture::with(ValidatorBuilder::without_token_cache);
        let mut model = Vec::new();
        for ((kind, value, before, end), pause) in steps {
            let now = fixture.clock.now().as_secs();
            let entry = revocation(kind, value).with_issued_before(at(now + before)).with_end(at(now + end));
            fixture.revoke(entry);
            model.push((kind, value, now + before, now + end));
            fixture.clock.advance(Duration::from_secs(pause));
            let now = fixture.clock.now().as_secs();
            for value in 0..4_u8 {
                let (text, issued) = (value.to_string(), now - i64::from(value) * 10);
                let token = fixture.token().claim("jti", &text).claim("sid", &text).subject(&text).claim("azp", &text);
                let outcome = fixture.outcome(&token.claim("iat", issued).sign());
                let entries: Vec<_> = model.iter().filter(|(kind, name, ..)| *name == value || *kind == RevocationKind::Issuer).collect();
                let is_timed = |kind: RevocationKind| kind != RevocationKind::JwtId && kind != RevocationKind::Session;
                let must = entries.iter().any(|(kind, _, before, end)| now < end + LEEWAY && (!is_timed(*kind) || issued <= *before));
                // An entry that is extended has the latest end and the latest time of its insertions.
                let may = entries.iter().any(|(kind, ..)| {
                    let of_kind = entries.iter().filter(|(other, ..)| other == kind);
                    let (before, end) = of_kind.fold((i64::MIN, i64::MIN), |(b, e), entry| (b.max(entry.2), e.max(entry.3)));
                    now < end + LEEWAY && (!is_timed(*kind) || issued <= before)
                });
                prop_assert!(!must || outcome.is_err(), "accepted {value} of {model:?} at {now}");
                prop_assert!(may || outcome.is_ok(), "rejected {value} of {model:?} at {now}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The digests of a cached token are computed once. A validator without token cache computes them for each request.
    #[test]
    fn decides_about_a_cached_token_as_about_a_new_one(steps in prop::collection::vec((any_entry(), 0_u64..10), 1..20)) {
        let metrics = CacheMetrics::new();
        let _recorded = metrics::set_default_local_recorder(&metrics.0);
        let names = [ISSUER, "https://alias.test/", "https://issuer.test/t/a", "https://other.test/"];
        let mut cached = Fixture::new();
        let builder = || {
            let issuer = trusted(&cached.server).with_alias(names[1]).with_issuer_pattern("https://issuer.test/t/{tenant}");
            Validator::builder(Api::new(AUDIENCE, issuer)).with_clock(cached.clock.clone()).with_revocations(&cached.list)
        };
        let uncached = builder().without_token_cache().build().expect("a valid configuration");
        cached.validator = builder().build().expect("a valid configuration");
        let named = |value: &str| cached.token().claim("jti", value).claim("sid", value).subject(value).claim("azp", value);
        let tokens = [
            named("0").sign(),
            named("1").claim("iat", NOW + 20).sign(),
            named("2").without("iat").sign(),
            named("3").without("jti").without("sid").claim("uid", "0").sign(),
            named("3").claim("sid", 3).claim("azp", "x").claim("uid", 1).sign(),
            cached.token().without("jti").without("sid").without("sub").raw_claim("client_id", r#""\u0030""#).sign(),
            named("0").issuer(names[1]).claim("uid", "1").sign(),
            named("1").issuer(names[2]).claim("uid", "2").sign(),
        ];
        let outcomes = |validator: &Validator| tokens.each_ref().map(|token| block_on(validator.validate(token)).map(drop));
        let first = outcomes(&cached.validator);
        prop_assert_eq!(&first, &outcomes(&uncached));
        // From its first acceptance on, a token is in the cache.
        let mut known = first.map(|outcome| outcome.is_ok());
        prop_assert!(known.iter().filter(|is_known| **is_known).count() >= tokens.len() - 1);
        for ((kind, value, before, end), pause) in steps {
            let now = cached.clock.now().as_secs();
            let entry = revocation(kind, value).with_issued_before(at(now + before)).with_end(at(now + end));
            // Every second entry is about another claim, or about another name.
            let entry = if pause % 2 == 0 { entry } else { entry.with_subject_claim("uid") };
            let name = names[(usize::from(value) + usize::from(pause == 5)) % names.len()];
            let other = Revocation::new(kind, name, &value.to_string());
            cached.revoke(if pause % 5 == 0 { other } else { entry });
            cached.clock.advance(Duration::from_secs(pause));
            let hits = metrics.hits();
            let outcomes_of_cached = outcomes(&cached.validator);
            prop_assert_eq!(metrics.hits() - hits, known.iter().filter(|is_known| **is_known).count());
            known = std::array::from_fn(|at| known[at] || outcomes_of_cached[at].is_ok());
            prop_assert_eq!(outcomes_of_cached, outcomes(&uncached), "{} {}", kind, value);
        }
    }
}

/// The digests of the names take memory of the token cache, so it stores those of eight names at most.
#[test]
fn rejects_a_cached_token_of_an_issuer_with_many_names() {
    let alias = |number: usize| format!("https://alias-{number}.test/");
    let weigh = |names: usize, is_listed: bool| {
        let metrics = CacheMetrics::new();
        let _recorded = metrics::set_default_local_recorder(&metrics.0);
        let server = TestIssuer::named(ISSUER).with_algorithms([Algorithm::ES256]);
        let list = Revocations::builder().in_memory().expect("settings in range");
        let issuer = (1..names).fold(trusted(&server), |issuer, number| issuer.with_alias(alias(number)));
        let builder = Validator::builder(Api::new(AUDIENCE, issuer));
        let builder = if is_listed { builder.with_revocations(&list) } else { builder };
        let validator = builder.build().expect("a valid configuration");
        let outcome = |token: &str| block_on(validator.validate(token)).map(drop);
        let token = server.token().claim("jti", "j1").sign();
        assert_eq!(outcome(&token), Ok(()));
        let weight = metrics.get("jwt_token_cache_bytes");
        let twin = server.token().claim("jti", "j2").sign();
        assert_eq!(outcome(&twin), Ok(()));
        let last = if names == 1 { ISSUER.to_owned() } else { alias(names - 1) };
        block_on(list.revoke(Revocation::jwt_id(&last, "j1"))).expect("space");
        let expected = if is_listed { revoked(RevocationKind::JwtId) } else { Ok(()) };
        assert_eq!((outcome(&token), outcome(&twin), metrics.hits()), (expected, Ok(()), 2), "{names}");
        weight
    };
    let without_list = weigh(1, false);
    assert!(without_list > 0);
    let digests = [1, 8, 9, 100].map(|names| weigh(names, true) - without_list);
    assert_eq!(digests, [48, 8 * 48, 0, 0]);
}

/// Each issuer of a pattern has its own subjects, so an entry concerns one of them.
#[test]
fn an_entry_for_an_issuer_of_a_pattern_concerns_its_tokens_only() {
    let server = TestIssuer::named("https://id.example.com").with_algorithms([Algorithm::ES256]);
    let list = Revocations::builder().in_memory().expect("settings in range");
    let api = Api::new(AUDIENCE, trusted(&server).with_issuer_pattern("https://id.example.com/t/{tenant}"));
    let validator = Validator::builder(api).with_revocations(&list).build().expect("a valid configuration");
    let [listed, a, b] = ["https://id.example.com", "https://id.example.com/t/a", "https://id.example.com/t/b"];
    let tokens = [listed, a, b].map(|issuer| server.token().issuer(issuer).subject("ann").sign());
    let outcomes = || tokens.each_ref().map(|token| block_on(validator.validate(token)).map(drop));
    assert_eq!(outcomes(), [Ok(()), Ok(()), Ok(())]);
    block_on(list.revoke(Revocation::subject(a, "ann"))).expect("space");
    assert_eq!(outcomes(), [Ok(()), revoked(RevocationKind::Subject), Ok(())]);
    block_on(list.revoke(Revocation::issuer(listed))).expect("space");
    assert_eq!(outcomes(), [revoked(RevocationKind::Issuer), revoked(RevocationKind::Subject), Ok(())]);
}
