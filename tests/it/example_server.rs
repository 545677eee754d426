//! The configuration file of `examples/server`: its settings and its errors.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower::ServiceExt as _;
use tower_bearer::introspection::IntrospectionSettingError;
use tower_bearer::rejection::IssuerError;
use tower_bearer::revocation::RevocationState;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Rejection, RejectionKind, Requirement, Validator};

use crate::doctor::program::settings::refresh::FORMER_NAMES;
use crate::doctor::program::settings::{Settings, Store};
use crate::example_server_routes::app;
use crate::fixture::{AUDIENCE, block_on};

const SAMPLE: &str = include_str!("../../examples/server/server.toml");
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Returns a valid file; each test adds to it or changes one setting.
fn file() -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n[api]\naudience = \"https://api.test/\"\n[[api.issuer]]\n\
         domains = [\"https://hs.test/\"]\nalgorithms = [\"HS256\"]\nsecrets = [{{ text = \"{SECRET}\" }}]\n"
    )
}

fn read(file: &str) -> Result<Validator, String> {
    let settings = Settings::parse(file, "server.toml", Store::Used);
    settings.map(|settings| settings.validator).map_err(|errors| errors.to_string())
}

/// Returns the error of the file after one change.
fn rejected(from: &str, to: &str) -> String {
    let file = file();
    assert!(file.contains(from), "{from}");
    read(&file.replacen(from, to, 1)).map(drop).expect_err(to)
}

fn only(reason: &str) -> String {
    format!("the configuration has an error: {reason}")
}

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tower-bearer-server-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0).expect("a new folder");
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Writes a file with keys.
    fn keys(&self) -> String {
        let path = self.path("packaged.json");
        fs::write(&path, TestIssuer::new().jwks()).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _may_fail = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn reads_initial_keys_and_creates_the_directory_of_the_store() {
    let folder = Folder::new();
    let (store, keys) = (folder.path("var/keys"), folder.keys());
    let with = |store: &str, keys: &str| {
        let issuer = format!("domains = [\"https://as.test/\"]\ninitial_jwks_file = \"{keys}\"");
        let file = format!("listen = \"127.0.0.1:0\"\n[keys]\nstore = \"{store}\"\n[api]\naudience = \"a\"\n");
        read(&format!("{file}[[api.issuer]]\n{issuer}\n"))
    };
    let validator = with(&store, &keys).expect("no errors");
    assert!(validator.is_ready(), "the initial keys are in use");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&store).expect("a directory").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
    for (store, keys, start) in [
        (&keys, &keys, format!("keys.store: {keys:?}: ")),
        (&store, &"/nowhere".to_owned(), "api.issuer[0].initial_jwks_file: \"/nowhere\": ".to_owned()),
    ] {
        let error = with(store, keys).map(drop).expect_err(&start);
        assert!(error.starts_with(&only(&start)), "{error}");
    }
    fs::write(&keys, "{").expect("the file");
    let error = with(&store, &keys).map(drop).expect_err("no JSON");
    assert!(error.starts_with(&only("issuer \"https://as.test/\" initial keys: ")), "{error}");
}

#[test]
fn accepts_the_smallest_file() {
    let settings =
        Settings::parse(&file(), "server.toml", Store::Used).map_err(|errors| errors.to_string()).expect("no errors");
    assert_eq!(settings.listen, "127.0.0.1:0");
    assert!(settings.validator.is_ready());
}

#[test]
fn reads_the_settings_for_other_servers() {
    let with = |settings: &str| file().replacen("[api]", &format!("[api]\n{settings}"), 1);
    let token = |server: &TestIssuer| server.token().without("azp");
    let server = TestIssuer::named("https://hs.test/").with_algorithms([Algorithm::HS256]);
    let secret = |file: String| file.replace(SECRET, &server.secret());
    let outcome = |settings: &str, token: TokenBuilder| {
        let validator = read(&secret(with(settings))).expect("no errors");
        block_on(validator.validate(&token.sign())).map(drop).map_err(|rejection| rejection.kind())
    };
    for (settings, token, default) in [
        ("token_types = [\"acme+jwt\"]", token(&server).typ("acme+jwt"), RejectionKind::TokenType),
        ("accept_id_token_markers = true", token(&server).claim("at_hash", "x"), RejectionKind::TokenType),
        (
            "allow_missing_audience = true\nclient_ids = [\"web\"]",
            token(&server).without("aud").claim("client_id", "web"),
            RejectionKind::MissingClaim,
        ),
    ] {
        assert_eq!(outcome("", token.clone()), Err(default), "{settings}");
        assert_eq!(outcome(settings, token), Ok(()), "{settings}");
    }
    let clients = "client_ids = [\"web\"]";
    let cid = token(&server).claim("cid", "web");
    assert_eq!(outcome(clients, cid.clone()), Err(RejectionKind::Client));
    assert_eq!(outcome(&format!("{clients}\nclient_claim = \"cid\""), cid), Ok(()));
}

#[test]
fn reads_two_issuers_with_one_domain() {
    let folder = Folder::new();
    let keys = TestIssuer::named("https://hs.test/");
    let path = folder.path("jwks.json");
    fs::write(&path, keys.jwks()).expect("a file");
    let secret = TestIssuer::named("https://hs.test/").with_algorithms([Algorithm::HS256]);
    let both = format!("{}[[api.issuer]]\ndomains = [\"https://hs.test/\"]\njwks_file = \"{path}\"\n", file());
    let validator = read(&both.replace(SECRET, &secret.secret())).expect("no errors");
    for server in [&keys, &secret] {
        assert_eq!(block_on(validator.validate(&server.token().sign())).map(drop), Ok(()));
    }
    let twice = format!(
        "{0}{1}",
        both,
        both.split_once("[[api.issuer]]").map(|(_, issuer)| format!("[[api.issuer]]{issuer}")).expect("an issuer")
    );
    assert!(read(&twice).is_err());
}

#[test]
fn reads_the_list_of_revocations() {
    fn error(outcome: Result<Settings, impl ToString>) -> String {
        outcome.err().expect("an error").to_string()
    }

    let settings = |text: &str| Settings::parse(&format!("{text}\n{}", file()), "server.toml", Store::Used);
    let table = |text: &str| Settings::parse(&format!("{}{text}\n", file()), "server.toml", Store::Used);
    assert!(settings("").is_ok_and(|settings| settings.revocations.is_none() && !settings.test_routes));
    let list = table("[revocation]\nlog = \"memory\"\nmax_entries = 2000\nmax_token_life = \"1h\"");
    let list = list.ok().and_then(|settings| settings.revocations).expect("a list");
    assert_eq!(list.status().max_entries(), 2_000);
    assert!(list.status().is_ready());
    let redis =
        "[revocation]\nlog = \"redis://127.0.0.1:1\"\nkey = \"orders\"\nmax_stale = \"10s\"\nallow_stale = true";
    let list = table(redis).ok().and_then(|settings| settings.revocations).expect("a list");
    assert_eq!(list.status().state(), RevocationState::Loading);
    for (text, reason) in [
        (
            "[revocation]\nlog = \"disk\"",
            "revocation.log: is not \"memory\": the URL of Redis must be redis://user:password@host:port/database, \
             or rediss://… for TLS",
        ),
        ("[revocation]\nca_file = \"x\"", "revocation.ca_file: has no effect without a log in Redis"),
        (
            "[revocation]\nlog = \"rediss://localhost\"\nca_file = \"/nowhere\"",
            "revocation.ca_file: \"/nowhere\": No such file or directory (os error 2)",
        ),
        (
            "[revocation]\nmax_stale = \"9s\"",
            "revocation: the longest time without a read of the log must be between 10 s and 24 h",
        ),
        (
            "[revocation]\nmax_entries = 1",
            "revocation: the largest number of revocations must be between 1,000 and 50,000,000",
        ),
        (
            "[revocation]\nmax_token_life = \"1s\"",
            "revocation: the longest life of a token must be between 1 min and 30 days",
        ),
    ] {
        assert_eq!(error(table(text)), only(reason));
    }
    let wrong = "[revocation]\nlog = \"disk\"\nca_file = \"/nowhere\"\nmax_stale = \"9s\"\nmax_entries = 1";
    let errors = error(table(wrong));
    let lines: Vec<&str> = errors.lines().collect();
    let starts = ["revocation.ca_file: ", "revocation.log: ", "revocation: the largest", "revocation: the longest"];
    assert_eq!(lines[0], "the configuration has 4 errors:");
    for (line, start) in lines[1..].iter().zip(starts) {
        assert!(line.starts_with(&format!("  - {start}")), "{errors}");
    }
    assert_eq!(error(settings("test_routes = true")), only("test_routes: has no effect without [revocation]"));
    let with_routes = |listen: &str| {
        let file = format!("test_routes = true\n{}[revocation]\n", file()).replace("127.0.0.1", listen);
        Settings::parse(&file, "server.toml", Store::Used)
    };
    for listen in ["127.0.0.1", "[::1]", "localhost"] {
        assert!(with_routes(listen).is_ok_and(|settings| settings.test_routes), "{listen}");
    }
    for listen in ["0.0.0.0", "[::]", "api.test", "10.0.0.1"] {
        let reason = "test_routes: is allowed only with a loopback address in listen, such as 127.0.0.1:8080";
        assert_eq!(error(with_routes(listen)), only(reason), "{listen}");
    }
}

#[test]
fn reads_the_receiver_of_logout_tokens() {
    let parse = |tables: &str| Settings::parse(&format!("{}{tables}\n", file()), "server.toml", Store::Used);
    let path = |tables: &str| {
        parse(tables).map(|settings| settings.logout.map(|logout| logout.path)).map_err(|errors| errors.to_string())
    };
    assert_eq!(path("[revocation]"), Ok(None));
    let signals = "[revocation]\n[signals]\nclient_ids = [\"web\"]\n";
    assert_eq!(path(signals), Ok(Some("/backchannel-logout".to_owned())));
    let whole = "logout_path = \"/logout\"\nlogout_reach = \"session\"\nissuer = \"https://hs.test/\"";
    assert_eq!(path(&format!("{signals}{whole}")), Ok(Some("/logout".to_owned())));
    for (tables, reason) in [
        ("[signals]\nclient_ids = [\"web\"]", "signals: has no effect without [revocation]"),
        ("[revocation]\n[signals]", "signals.client_ids: is missing; it is an array of strings"),
        (
            "[revocation]\n[signals]\nclient_ids = []",
            "signals.client_ids: is empty; it lists the applications for which the issuer sends logout tokens",
        ),
        (&format!("{signals}logout_reach = \"all\""), "signals.logout_reach: is not \"session\" or \"subject\""),
        (
            &format!("{signals}logout_path = \"logout\""),
            "signals.logout_path: is not a path, like \"/backchannel-logout\"",
        ),
        (
            &format!("{signals}issuer = \"https://other.test/\""),
            "signals.issuer: is none of the domains in [[api.issuer]]",
        ),
    ] {
        assert_eq!(path(tables), Err(only(reason)), "{tables}");
    }
}

#[test]
fn reads_the_realm() {
    let settings = |realm: &str| Settings::parse(&format!("realm = {realm}\n{}", file()), "server.toml", Store::Used);
    let realm = |text: &str| settings(text).map(|settings| settings.realm).map_err(|errors| errors.to_string());
    assert_eq!(realm("\"the orders\""), Ok(Some("the orders".to_owned())));
    assert_eq!(realm("\"the\\norders\""), Err(only("realm: has characters that are not printable ASCII")));
    assert_eq!(realm("7"), Err(only("realm: is not a string")));
}

/// Every challenge of the server, of a layer and of a requirement, has the realm.
#[tokio::test]
async fn challenges_have_the_realm() {
    let server = TestIssuer::named("https://hs.test/").with_algorithms([Algorithm::HS256]);
    let token = server.token().sign();
    for (realm, parameter) in [("realm = \"the orders\"\n", Some("realm=\"the orders\"")), ("", None)] {
        let file = format!("{realm}{}", file()).replace(SECRET, &server.secret());
        let settings = Settings::parse(&file, "server.toml", Store::Used).map_err(|errors| errors.to_string());
        let settings = settings.expect("no errors");
        let app = app::routes(settings);
        for (path, credential, status) in [
            ("/me", None, 401),
            ("/me", Some("Bearer a.b.c"), 401),
            ("/me", Some("Bearer a b"), 400),
            ("/orders", Some(&*format!("Bearer {token}")), 403),
            ("/optional", Some("Bearer a.b.c"), 401),
        ] {
            let request = http::Request::get(path);
            let request = credential.into_iter().fold(request, |request, value| request.header("authorization", value));
            let request = request.body(axum::body::Body::empty()).expect("a request");
            let response = app.clone().oneshot(request).await.expect("infallible");
            let challenge = response.headers()["www-authenticate"].to_str().expect("ASCII");
            assert_eq!(response.status(), status, "{path} {credential:?}");
            let starts = parameter.is_some_and(|realm| challenge.starts_with(&format!("Bearer {realm}")));
            assert_eq!(
                (starts, challenge.contains("realm")),
                (parameter.is_some(), parameter.is_some()),
                "{challenge}"
            );
        }
    }
}

#[test]
fn rejects_settings_that_contradict_each_other() {
    for (settings, reason) in [
        (
            "allow_missing_audience = true",
            "tokens without aud: would be accepted whatever API they are for; set `with_client_ids`, or add a check with \
             `ValidatorBuilder::with_check`",
        ),
        ("client_claim = \"\"", "client claim: is empty"),
        (
            "token_types = [\"application/DPoP+jwt\"]",
            "token type \"application/DPoP+jwt\": is the type of a token that is not an access token, such as a DPoP proof or \
             a logout token",
        ),
    ] {
        assert_eq!(rejected("[api]", &format!("[api]\n{settings}")), only(reason));
    }
}

#[test]
fn accepts_the_sample_with_and_without_its_commented_settings() {
    assert_eq!(read(SAMPLE).map(drop), Ok(()));
    let is_setting = |text: &str| text.starts_with('[') || text.split(' ').nth(1) == Some("=");
    let uncommented = |line: &str| line.strip_prefix("# ").filter(|text| is_setting(text)).unwrap_or(line).to_owned();
    let whole: Vec<String> = SAMPLE.lines().map(uncommented).collect();
    // Cargo sets this variable for every test.
    let whole = whole.join("\n").replace("API_SECRET", "CARGO_PKG_DESCRIPTION");
    let whole =
        whole.replace("NONCE_SECRET", "CARGO_PKG_DESCRIPTION").replace("CLIENT_SECRET", "CARGO_PKG_DESCRIPTION");
    let folder = Folder::new();
    let whole = whole.replace("/var/lib/orders/keys", &folder.path("keys"));
    let whole = whole.replace("packaged-keys.json", &folder.keys());
    let domains = folder.path("domains.toml");
    fs::write(&domains, "domains = [\"login.brand-a.example\"]").expect("a file");
    let whole = whole.replace("domains.toml", &domains);
    assert!(!whole.contains("\n# [") && whole.matches("[[api.issuer]]").count() == 3, "{whole}");
    assert_eq!(read(&whole).map(drop), Ok(()));
}

#[test]
fn reads_tenants_of_entra_and_patterns_of_issuers() {
    let server = TestIssuer::new();
    let folder = Folder::new();
    fs::write(folder.path("jwks.json"), server.jwks()).expect("a file");
    let (a, b) = ("aaaaaaaa-1111-4222-8333-444444444444", "bbbbbbbb-1111-4222-8333-444444444444");
    let file = |settings: &str| {
        let keys = folder.path("jwks.json");
        let issuers = format!("[[api.issuer]]\njwks_file = \"{keys}\"\n{settings}\n");
        format!("listen = \"127.0.0.1:0\"\n[api]\naudience = \"https://api.test/\"\n{issuers}")
    };
    let accepts = |settings: &str, iss: &str, tid: &str| {
        let validator = read(&file(settings)).expect("no errors");
        let token = server.token().issuer(iss).claim("tid", tid).audience("https://api.test/").sign();
        block_on(validator.validate(&token)).is_ok()
    };
    let v1 = format!("https://sts.windows.net/{a}/");
    let v2 = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let entra = format!("entra_tenants = [\"{a}\"]");
    assert!(accepts(&entra, &v2(a), a) && !accepts(&entra, &v2(b), b) && !accepts(&entra, &v1, a));
    assert!(accepts(&format!("{entra}\nentra_v1 = true"), &v1, a));
    let china = format!("https://login.partner.microsoftonline.cn/{a}/v2.0");
    assert!(accepts(&format!("{entra}\nentra_cloud = \"china\""), &china, a));
    assert!(!accepts(&format!("{entra}\nentra_cloud = \"us_government\""), &china, a));
    let pattern = "domains = [\"https://id.test/\"]\nissuer_patterns = [\"https://id.test/t/{tenant}\"]";
    assert!(accepts(pattern, "https://id.test/t/a", a) && !accepts(pattern, "https://id.test/x/a", a));
    for (settings, reason) in [
        ("entra_tenants = [\"common\"]", "Entra tenant \"common\": is not a tenant id; write the GUID"),
        ("entra_tenants = []", "Entra tenants: is empty"),
        ("entra_tenants = [1]", "api.issuer[0].entra_tenants: is not an array of strings"),
        (format!("{entra}\nentra_cloud = \"moon\"").as_str(), "api.issuer[0].entra_cloud: is not \"global\""),
        (
            format!("{entra}\njwks_uri = \"https://a.test/\"").as_str(),
            "api.issuer[0].jwks_uri: is set together with jwks_file",
        ),
        (
            format!("{entra}\ndomains = [\"https://a.test/\"]").as_str(),
            "api.issuer[0].domains: is not a setting; known settings: ",
        ),
        (
            "domains = [\"https://id.test/\"]\nissuer_patterns = [\"https://{host}/\"]",
            "issuer pattern \"https://{host}/\": must begin with `https://` and a host",
        ),
    ] {
        let error = read(&file(settings)).map(drop).expect_err(settings);
        assert!(error.contains(reason), "{error}");
    }
}

/// A file with one server, and tenants on the same host.
fn file_with_tenants(server: &TestIssuer, tenants: &str) -> String {
    let base = server.issuer().trim_end_matches('/').to_owned();
    format!(
        "listen = \"127.0.0.1:0\"\n[tenants]\npattern = \"{base}/t/{{tenant}}\"\nallow_private_addresses = true\n{tenants}\n\
         [api]\naudience = \"https://api.test/\"\n"
    )
}

#[tokio::test]
async fn reads_tenants_and_their_file_again_when_it_changes() {
    let folder = Folder::new();
    let server = TestIssuer::new().serve().await.expect("a port");
    let server = server.issuer();
    let name = |tenant: &str| format!("{}t/{tenant}", server.issuer());
    let tenants = ["acme", "globex"].map(|tenant| (tenant, server.add_custom_domain(&name(tenant))));
    let token = |tenant: &str| server.token().audience(AUDIENCE).issuer(&name(tenant)).sign();
    let list = folder.path("tenants.toml");
    let write = |text: &str| fs::write(&list, text).expect("a file");
    write("allow = [\"acme\"]");
    let text =
        file_with_tenants(server, &format!("file = {list:?}\nmax = 10\nnew_per_second = 5\nalgorithms = [\"RS256\"]"));
    let settings = Settings::parse(&text, "server.toml", Store::Used).map_err(|errors| errors.to_string());
    let settings = settings.expect("no errors");
    let validator = settings.validator;
    let mut file = settings.tenant_file.expect("a file");
    let is_known = async |tenant: &str| match validator.validate(&token(tenant)).await {
        Err(Rejection::Issuer(IssuerError::UnknownTenant)) => false,
        Err(Rejection::KeysUnavailable { .. }) | Ok(_) => true,
        Err(other) => panic!("{other:?}"),
    };
    let known = async || [is_known("acme").await, is_known("globex").await];
    assert_eq!(known().await, [true, false]);
    // A broken or vanished file changes nothing.
    for broken in ["allow = [", "allow = 1", "allow = []\nother = 1", "", "allow = [1]"] {
        write(broken);
        file.check(&validator);
        assert_eq!(known().await, [true, false], "{broken:?}");
    }
    fs::remove_file(&list).expect("the file");
    file.check(&validator);
    assert_eq!(known().await, [true, false]);
    // A new tenant is accepted although it was unknown a moment ago, and a removed one is not, although its tokens were.
    write("allow = [\"globex\"]");
    file.check(&validator);
    assert_eq!(known().await, [false, true]);
    drop(tenants);

    let settings = Settings::parse(&file_with_tenants(server, "allow = [\"acme\"]"), "server.toml", Store::Used);
    let settings = settings.map_err(|errors| errors.to_string()).expect("no errors");
    assert!(settings.tenant_file.is_none() && settings.validator.is_ready());
}

#[test]
fn rejects_settings_of_tenants_that_cannot_work() {
    let folder = Folder::new();
    let list = folder.path("tenants.toml");
    fs::write(&list, "allow = [").expect("a file");
    let error = |from: &str, to: &str| {
        let file = file_with_tenants(&TestIssuer::named("https://id.test"), "allow = [\"acme\"]");
        assert!(file.contains(from), "{from}");
        read(&file.replacen(from, to, 1)).map(drop).expect_err(to)
    };
    for (from, to, expected) in [
        ("allow = [\"acme\"]", "", "tenants.allow: is missing"),
        ("allow = [\"acme\"]", &*format!("file = {list:?}"), "tenants.file: "),
        ("allow = [\"acme\"]", "file = \"/nowhere\"", "tenants.file: \"/nowhere\": "),
        ("allow = [\"acme\"]", "allow = []\nfile = \"x\"", "tenants.allow: is set together with file"),
        ("{tenant}", "{a}/{b}", "tenants.pattern: has more than one capture"),
        ("{tenant}", "a", "tenants \"https://id.test/t/a\": has no capture"),
        ("allow = [", "max = 0\nallow = [", "tenants \"https://id.test/t/{tenant}\" maximum: "),
        ("allow = [", "new_per_second = 0\nallow = [", "tenants \"https://id.test/t/{tenant}\" per second: "),
        ("allow = [", "alow = []\nallow = [", "tenants.alow: is not a setting"),
    ] {
        let error = error(from, to);
        assert!(error.starts_with(&only(expected)), "{error}");
    }
}

#[tokio::test]
async fn reads_custom_domains_from_a_file() {
    let folder = Folder::new();
    let list = folder.path("domains.toml");
    let keys = folder.keys();
    let with = |list: &str| {
        let issuer =
            format!("domains = [\"https://as.test/\"]\njwks_file = {keys:?}\ncustom_domains_file = {list:?}\n");
        read(&format!("listen = \"127.0.0.1:0\"\n[api]\naudience = \"a\"\n[[api.issuer]]\n{issuer}"))
    };
    fs::write(&list, "domains = [\"login.as.test\"]").expect("a file");
    let validator = with(&list).expect("no errors");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let server = TestIssuer::named("https://as.test/");
    for (domain, is_listed) in [("login.as.test", true), ("login.other.test", false)] {
        let token = server.token().audience("a").issuer(&format!("https://{domain}/")).sign();
        let kind = validator.validate(&token).await.map(drop).map_err(|rejection| rejection.kind());
        let unlisted = Err(RejectionKind::Issuer);
        assert_eq!(kind != unlisted, is_listed, "{domain} {kind:?}");
    }
    for (text, problem) in
        [("domains = 1", "domains is not an array"), ("", "domains is missing"), ("x = [", "line 1: ")]
    {
        fs::write(&list, text).expect("a file");
        let error = with(&list).map(drop).expect_err(text);
        assert!(
            error.starts_with(&only(&format!("api.issuer[0].custom_domains_file: {list:?}: {problem}"))),
            "{error}"
        );
    }
}

#[test]
fn reads_introspection() {
    let file = |issuer: &str| {
        format!("listen = \"127.0.0.1:0\"\n[api]\naudience = \"https://api.test/\"\n[[api.issuer]]\n{issuer}\n")
    };
    let opaque = |settings: &str| {
        let client = "client_id = \"orders\", client_secret_env = \"CARGO_PKG_DESCRIPTION\"";
        file(&format!("domains = [\"https://id.test\"]\nintrospection = {{ {client}{settings} }}"))
    };
    let endpoint = ", endpoint = \"https://id.test/introspect\"";
    let all = format!(
        "{endpoint}, auth = \"post\", ttl = \"10s\", negative_ttl = \"1s\", token_prefix = \"lgc_\", signed = false, \
         every_token = false, allow_missing_audience = false, allow_missing_expiry = true"
    );
    for settings in [endpoint, ", discovered = true", &all] {
        let validator = read(&opaque(settings)).expect("no errors");
        assert!(validator.is_ready() && validator.key_sources().next().is_none(), "no keys are needed");
    }
    for settings in [", every_token = true", ", signed = true"] {
        let validator = block_on(async { read(&opaque(&format!("{endpoint}{settings}"))) }).expect("no errors");
        assert_eq!(validator.key_sources().count(), 1, "{settings}");
    }
    let table = "api.issuer[0].introspection";
    let either = format!("{table}: needs either endpoint or discovered = true");
    for (settings, reason) in [
        (String::new(), either.clone()),
        (format!("{endpoint}, discovered = true"), either),
        (format!("{endpoint}, auth = \"jwt\""), format!("{table}.auth: is not \"basic\" or \"post\"")),
        (
            format!("{endpoint}, claims_from_introspection = true"),
            format!("issuer \"https://id.test\" introspection: {}", IntrospectionSettingError::ClaimsWithoutEveryJwt),
        ),
        (
            format!("{endpoint}, ttl = \"10m\""),
            "issuer \"https://id.test\" introspection: has a ttl of more than 300 s".to_owned(),
        ),
    ] {
        assert_eq!(read(&opaque(&settings)).map(drop), Err(only(&reason)));
    }
    let error = read(&opaque(", x = 1, discovered = true")).map(drop).expect_err("an unknown setting");
    let known = error.split_once("known settings: ").expect("the known settings").1;
    for name in known.split(", ") {
        assert!(SAMPLE.contains(name), "{name} is not in the sample");
    }
}

/// The server shortens the scope in its answers.
#[tokio::test]
async fn hands_on_the_claims_of_the_answer_if_configured() {
    let answer = br#"{"active":true,"scope":"read:orders"}"#.to_vec();
    let json = vec![(http::header::CONTENT_TYPE, "application/json".to_owned())];
    let (url, _) = crate::introspection::serve((http::StatusCode::OK, json, answer)).await;
    let (folder, server) = (Folder::new(), TestIssuer::new());
    fs::write(folder.path("jwks.json"), server.jwks()).expect("a file");
    let validator = |setting: &str| {
        let issuer = format!("domains = [\"{}\"]\njwks_file = \"{}\"", server.issuer(), folder.path("jwks.json"));
        let client = "client_id = \"orders\", client_secret_env = \"CARGO_PKG_DESCRIPTION\"";
        let introspection =
            format!("introspection = {{ endpoint = \"{url}\", {client}, every_token = true{setting} }}");
        let api = format!("listen = \"127.0.0.1:0\"\n[api]\naudience = \"{AUDIENCE}\"\n");
        read(&format!("{api}[[api.issuer]]\n{issuer}\n{introspection}\n")).expect("no errors")
    };
    let token = server.token().scope("read:orders write:orders").sign();
    for (setting, grants_write) in
        [("", true), (", claims_from_introspection = false", true), (", claims_from_introspection = true", false)]
    {
        let claims = validator(setting).validate(&token).await.expect("active");
        assert!(claims.grants_scope("read:orders"));
        assert_eq!(claims.grants_scope("write:orders"), grants_write, "{setting}");
    }
}

#[test]
fn reads_implied_scopes() {
    let with = |setting: &str| file().replace("[api]", &format!("[api]\n{setting}"));
    let folder = Folder::new();
    let server = TestIssuer::new();
    fs::write(folder.path("jwks.json"), server.jwks()).expect("a file");
    let issuer = format!(
        "[api]\nimplied_scopes = {{ admin = [\"read:orders\"] }}\naudience = \"{AUDIENCE}\"\n[[api.issuer]]\n\
         domains = [\"{}\"]\njwks_file = \"{}\"\n",
        server.issuer(),
        folder.path("jwks.json")
    );
    let validator = read(&format!("listen = \"127.0.0.1:0\"\n{issuer}")).expect("no errors");
    let grants = |scope: &str| {
        let claims = block_on(validator.validate(&server.token().scope(scope).sign())).expect("a valid token");
        claims.require(&Requirement::scope("read:orders")).is_ok()
    };
    assert!(grants("admin") && grants("read:orders") && !grants("write:orders"));
    let cycle = with("implied_scopes = { admin = [\"write\"], write = [\"admin\"] }");
    assert_eq!(read(&cycle).map(drop), Err(only("implied scopes: form a cycle: admin -> write -> admin")));
    let text = with("implied_scopes = { admin = \"write\" }");
    let reason = "api.implied_scopes: is not a table of arrays of strings, like { admin = [\"read:orders\"] }";
    assert_eq!(read(&text).map(drop), Err(only(reason)));
}

#[test]
fn reads_the_settings_of_dpop() {
    let with = |settings: &str| {
        let table = format!("[api.dpop]\n{settings}\n[[api.issuer]]");
        read(&file().replacen("[[api.issuer]]", &table, 1)).map(drop)
    };
    let url = "public_url = [\"https://api.test\"]";
    let all = "required = true\nalgorithms = [\"ES256\"]\nlifetime = \"60s\"\nleeway = \"30s\"";
    for settings in [
        String::new(),
        format!("{all}\nnonce_secrets = [{{ utf8 = \"a secret of thirty-two bytes or more\" }}]"),
        "replay = \"memory\"\nreplay_fallback = \"refuse\"".to_owned(),
        "replay = \"off\"".to_owned(),
        "replay = \"redis://127.0.0.1:6379/3\"".to_owned(),
        "replay = \"redis://127.0.0.1\"\nreplay_fallback = \"refuse\"".to_owned(),
        "replay = \"redis://orders:secret@127.0.0.1\"\nreplay_fallback = \"local\"".to_owned(),
    ] {
        assert_eq!(with(&format!("{url}\n{settings}")), Ok(()), "{settings}");
    }
    assert_eq!(with("public_url = \"http://127.0.0.1:8080\""), Ok(()));
    let is_local = "\"local\" has an effect only with the URL of a Redis server in replay";
    let redis = "the URL of Redis must be redis://user:password@host:port/database, or rediss://… for TLS";
    for (settings, reason) in [
        (
            "replay = \"disk\"",
            "api.dpop.replay: is not \"memory\", \"off\" or the URL of a Redis server, such as \"redis://127.0.0.1\""
                .to_owned(),
        ),
        ("replay = \"http://secret@127.0.0.1\"", format!("api.dpop.replay: {redis}")),
        ("replay_fallback = \"local\"", format!("api.dpop.replay_fallback: {is_local}")),
        ("replay = \"memory\"\nreplay_fallback = \"local\"", format!("api.dpop.replay_fallback: {is_local}")),
        ("replay_fallback = \"accept\"", "api.dpop.replay_fallback: is not \"refuse\" or \"local\"".to_owned()),
    ] {
        assert_eq!(with(&format!("{url}\n{settings}")), Err(only(&reason)), "{settings}");
    }
}

#[test]
fn reads_the_source_of_certificates() {
    let with = |settings: &str| {
        read(&file().replacen("[[api.issuer]]", &format!("[api.mutual_tls]\n{settings}\n[[api.issuer]]"), 1)).map(drop)
    };
    let proxies = "trusted_proxies = [\"127.0.0.1/32\"]";
    for settings in [
        "format = \"rfc9440\"",
        "format = \"rfc9440\"\nfrom = \"header\"\nheader = \"X-Cert\"",
        "format = \"xfcc\"\nbound_tokens_under_dpop_scheme = true",
        "format = \"pem\"\nheader = \"X-Cert\"\nchain = true",
        "format = \"der\"\nheader = \"X-Cert\"",
        "format = \"der\"",
        "format = \"sha256\"\nheader = \"X-Cert\"",
    ] {
        assert_eq!(with(&format!("{proxies}\n{settings}")), Ok(()), "{settings}");
    }
    let file = file().replacen(
        "[[api.issuer]]",
        &format!("[api.mutual_tls]\n{proxies}\nformat = \"xfcc\"\n[[api.issuer]]"),
        1,
    );
    let file = file.replacen("[api]\n", "[api]\nsender_constrained_only = true\n", 1);
    assert_eq!(read(&file).map(drop), Ok(()));
    for (settings, reason) in [
        ("format = \"rfc9440\"", "api.mutual_tls.trusted_proxies: is missing; it is an array of strings"),
        ("trusted_proxies = []\nformat = \"xfcc\"", "trusted proxies: is empty"),
        (
            "trusted_proxies = [\"10.0.0.1/8\"]\nformat = \"xfcc\"",
            "trusted proxy \"10.0.0.1/8\": has bits after its prefix; write the first address of the network, or the address alone",
        ),
        ("trusted_proxies = [\"::1\"]", "api.mutual_tls.format: is missing; it is a string"),
        (
            "trusted_proxies = [\"::1\"]\nformat = \"pem\"\nheader = \"a b\"",
            "certificate header \"a b\": is not the name of a header",
        ),
        (
            "trusted_proxies = [\"::1\"]\nformat = \"PEM\"\nheader = \"x\"",
            "api.mutual_tls.format: is not \"rfc9440\", \"xfcc\", \"pem\", \"der\" or \"sha256\"",
        ),
        (
            "trusted_proxies = [\"::1\"]\nformat = \"xfcc\"\nchain = true",
            "api.mutual_tls.chain: is possible only with the format \"pem\"",
        ),
        (
            "trusted_proxies = [\"::1\"]\nformat = \"xfcc\"\nfrom = \"connection\"",
            "api.mutual_tls.from: is not \"header\"; this server has no TLS of its own, so a proxy sends the certificate",
        ),
    ] {
        assert_eq!(with(settings), Err(only(reason)), "{settings}");
    }
}

#[test]
fn rejects_unknown_settings_and_the_sample_lists_all_known_ones() {
    for (from, to, table) in [
        ("listen", "lisen = 1\nlisten", "lisen"),
        ("[api]", "[api]\nlee_way = \"5s\"", "api.lee_way"),
        ("domains", "jwks_url = \"https://x.test/\"\ndomains", "api.issuer[0].jwks_url"),
        ("{ text", "{ test = \"\", text", "api.issuer[0].secrets[0].test"),
        ("[api]", "[jwks]\nrefresh = \"5m\"\n[api]", "jwks.refresh"),
        ("[api]", "[keys]\nfile = \"keys\"\n[api]", "keys.file"),
        (
            "[[api",
            "[api.mutual_tls]\ntrusted_proxies = [\"::1\"]\nformat = \"xfcc\"\nnetworks = []\n[[api",
            "api.mutual_tls.networks",
        ),
        ("[api]", "[tenants]\npattern = \"https://x.test/{a}\"\nallow = []\nlist = []\n[api]", "tenants.list"),
        ("[api]", "[revocation]\nlist = \"memory\"\n[api]", "revocation.list"),
        ("[api]", "[revocation]\n[signals]\nclient_ids = [\"a\"]\npath = \"/\"\n[api]", "signals.path"),
    ] {
        let reason = rejected(from, to);
        let known = reason.strip_prefix(&only(&format!("{table}: is not a setting; known settings: "))).expect(&reason);
        for name in known.split(", ") {
            assert!(SAMPLE.contains(name), "{name} is not in the sample");
        }
    }
}

#[test]
fn reads_secrets_from_the_environment() {
    // Cargo sets these variables for every test.
    let named = |variable: &str| file().replace(&format!("text = \"{SECRET}\""), &format!("text_env = \"{variable}\""));
    assert!(read(&named("CARGO_PKG_DESCRIPTION")).is_ok());
    let reason = "api.issuer[0].secrets[0].text_env: the environment variable \"TOWER_BEARER_UNSET\" is not set";
    assert_eq!(read(&named("TOWER_BEARER_UNSET")).map(drop), Err(only(reason)));
}

#[test]
fn syntax_error_has_the_line_number_and_no_text() {
    for (from, to) in [("[api]", "[api"), ("audience", "audience = 1\naudience"), ("\"https://hs.test/\"", "hunter2")] {
        let reason = rejected(from, to);
        assert!(
            reason.starts_with("the configuration has an error: server.toml, line ") && !reason.contains("hunter2"),
            "{reason}"
        );
    }
}

#[test]
fn type_error_names_the_setting_and_hides_its_value() {
    for (from, to, reason) in [
        ("\"127.0.0.1:0\"", "8080", "listen: is not a string"),
        ("[api]", "[api]\nleeway = 5", "api.leeway: is not a duration, like \"5s\" or \"1h\""),
        ("[api]", "[api]\nleeway = \"soon\"", "api.leeway: is not a duration, like \"5s\" or \"1h\""),
        ("[api]", "[api]\nmax_token_bytes = -1", "api.max_token_bytes: is not a whole number from 0"),
        ("[api]", "[api]\nrequired_claims = \"sub\"", "api.required_claims: is not an array of strings"),
        ("[api]", "[api]\nissuer_from_host = \"yes\"", "api.issuer_from_host: is not true or false"),
        ("[api]", "[api]\nprofile = \"Any\"", "api.profile: is not \"any\", \"auth0\" or \"rfc9068\""),
        ("\"https://api.test/\"", "[1]", "api.audience: is not a string, or an array of strings"),
        ("[\"HS256\"]", "\"HS256\"", "api.issuer[0].algorithms: is not an array of strings"),
        (
            "{ text",
            "[\"x\"], { text",
            "api.issuer[0].secrets: is not an array of tables, like [[api.issuer]] or [{ .. }]",
        ),
    ] {
        assert_eq!(rejected(from, to), only(reason));
    }
}

#[test]
fn missing_setting_is_named() {
    for (from, to, reason) in [
        ("listen = \"127.0.0.1:0\"", "", "listen: is missing; it is a string"),
        ("audience = \"https://api.test/\"", "", "api.audience: is missing; it is a string, or an array of strings"),
        ("domains = [\"https://hs.test/\"]", "", "api.issuer[0].domains: is missing; it is an array of strings"),
        ("\"https://api.test/\"", "[]", "api.audience: is empty; it lists the identifiers of this API at the issuer"),
        ("[\"https://hs.test/\"]", "[]", "api.issuer[0].domains: is empty; it lists the exact `iss` values"),
    ] {
        assert_eq!(rejected(from, to), only(reason));
    }
    let reason = "api.issuer: is missing; every API needs at least one [[api.issuer]], or [tenants]";
    assert_eq!(read("listen = \"127.0.0.1:0\"\n[api]\naudience = \"a\"\n").map(drop), Err(only(reason)));
}

#[test]
fn rejects_more_than_one_source_of_keys() {
    let two = "jwks_uri = \"https://x.test/\"\nsecrets";
    let reason = "api.issuer[0].jwks_uri: is set together with secrets; choose one";
    assert_eq!(rejected("secrets", two), only(reason));
    let two = "hex = \"00\", text";
    let reason =
        "api.issuer[0].secrets[0]: needs exactly one of text, base64, base64url, hex, or one of their _env forms";
    assert_eq!(rejected("text", two), only(reason));
}

/// Asserts how each error of a file with these issuers starts.
#[track_caller]
fn assert_errors(issuers: &str, expected: &[&str]) {
    let file =
        format!("listen = \"127.0.0.1:0\"\n[api]\naudience = \"a\"\n{issuers}").replace("[issuer]", "[[api.issuer]]");
    let errors = read(&file).map(drop).expect_err(issuers);
    let lines: Vec<&str> = match errors.strip_prefix("the configuration has an error: ") {
        Some(reason) => vec![reason],
        None => errors.lines().skip(1).map(|line| line.trim_start_matches("  - ")).collect(),
    };
    assert_eq!(lines.len(), expected.len(), "{errors}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{line}, not {start}");
    }
}

#[test]
fn unreadable_keys_hide_no_other_error() {
    let at = "[issuer]\ndomains = [\"https://a.test/\"]\n";
    let file = "api.issuer[0].jwks_file: \"/nowhere\": ";
    let algorithms = "issuer \"https://a.test/\" algorithms: ";
    assert_errors(
        &format!("{at}jwks_file = \"/nowhere\"\nalgorithms = []"),
        &[file, &format!("{algorithms}lists no algorithm")],
    );
    assert_errors(
        &format!("{at}jwks_file = \"/nowhere\"\nalgorithms = [\"RS256\", \"HS256\"]"),
        &[file, &format!("{algorithms}HS256 needs a shared secret")],
    );
    assert_errors(&format!("{at}jwks_file = \"/nowhere\"\nalgorithms = [\"ES256\"]"), &[file]);
    let unset = "api.issuer[0].secrets[0].text_env: the environment variable";
    let secrets = "secrets = [{ text_env = \"TOWER_BEARER_UNSET\" }]";
    assert_errors(
        &format!("{at}{secrets}\nalgorithms = [\"RS256\"]"),
        &[unset, &format!("{algorithms}RS256 cannot be verified with a shared secret")],
    );
    assert_errors(&format!("{at}{secrets}\nalgorithms = [\"HS512\"]"), &[unset]);
    assert_errors(
        &format!("{at}secrets = [{{ text = 1 }}, {{ text = \"short\" }}]"),
        &[
            "api.issuer[0].secrets[0].text: is not a string",
            "issuer \"https://a.test/\" secret 2 of 2: the secret has 5",
        ],
    );
    assert_errors(&format!("{at}secrets = []"), &["api.issuer[0].secrets: is empty"]);
}

#[test]
fn two_sources_of_keys_are_both_checked() {
    let at = "[issuer]\ndomains = [\"https://a.test/\"]\n";
    let two = "api.issuer[0].jwks_uri: is set together with jwks_file; choose one";
    let file = "api.issuer[0].jwks_file: \"/nowhere\": ";
    let plain = "issuer \"https://a.test/\" jwks_uri: plain http";
    assert_errors(&format!("{at}jwks_uri = \"http://x.test/\"\njwks_file = \"/nowhere\""), &[two, file, plain]);
    assert_errors(&format!("{at}jwks_uri = \"https://x.test/\"\njwks_file = \"/nowhere\""), &[two, file]);
}

#[test]
fn issuers_without_domains_are_numbered() {
    let missing = |at: usize| format!("api.issuer[{at}].domains: is missing");
    assert_errors("[issuer]\n[issuer]\n", &[&missing(0), &missing(1)]);
    assert_errors(
        "[issuer]\n[issuer]\nalgorithms = [\"HS256\"]\njwks_uri = \"http://x.test/\"",
        &[
            &missing(0),
            &missing(1),
            "api.issuer[1] algorithms: HS256 needs a shared secret",
            "api.issuer[1] jwks_uri: plain http",
        ],
    );
}

#[test]
fn returns_all_errors_of_the_file_at_once_without_secrets() {
    let errors = read(
        r#"
        listen = "nowhere"
        lissten = "127.0.0.1:0"
        [api]
        audience = ""
        leeway = "10m"
        max_token_age = 5
        profile = "strict"
        required_claims = [""]
        max_token_bytes = 1
        [[api.issuer]]
        domains = ["https://northwind.eu.auth0.com"]
        algorithms = ["RS265", "HS256"]
        jwks_uri = "http://northwind.eu.auth0.com/keys"
        [[api.issuer]]
        domains = ["https://hs.test/"]
        algorithms = ["HS256"]
        secrets = [{ text = "hunter2" }, { text = 2 }, { text_env = "TOWER_BEARER_UNSET" }]
        [[api.issuer]]
        domains = ["https://file.test/"]
        jwks_file = "/nowhere/keys.json"
        [jwks]
        refresh_interval = "1s"
        max_keys = "many"
        "#,
    )
    .map(drop)
    .expect_err("errors");
    let lines: Vec<&str> = errors.lines().collect();
    let expected = [
        "listen: is not an address to listen on",
        "api.issuer[0].algorithms: \"RS265\" is not a signature algorithm",
        "api.issuer[1].secrets[1].text: is not a string",
        "api.issuer[1].secrets[2].text_env: the environment variable",
        "api.issuer[2].jwks_file: \"/nowhere/keys.json\": ",
        "api.profile: is not",
        "api.max_token_age: is not a duration",
        "jwks.max_keys: is not a whole number",
        "lissten: is not a setting",
        "refresh policy: the refresh interval must be at least a minute",
        "refresh policy: the unknown kid cool-down",
        "audience: is empty",
        "required claims: is empty",
        "leeway: is more than 300 s",
        "max token bytes: is not between",
        "issuer \"https://northwind.eu.auth0.com\": lacks the trailing slash",
        "issuer \"https://northwind.eu.auth0.com\" algorithms: HS256 needs a shared secret",
        "issuer \"https://northwind.eu.auth0.com\" jwks_uri: plain http",
        "issuer \"https://hs.test/\" secret 1 of 3: the secret has 7 bytes",
    ];
    assert_eq!(lines[0], format!("the configuration has {} errors:", expected.len()), "{errors}");
    for (line, start) in lines[1..].iter().zip(expected) {
        assert!(line.starts_with(&format!("  - {start}")), "{line}\n{errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn accepts_the_former_names_of_settings_and_rejects_them_beside_the_new_ones() {
    for (former, name) in FORMER_NAMES {
        let values: &[&str] = match name {
            "refresh_interval" => &["\"300s\""],
            "min_refresh_interval" => &["\"60s\""],
            "max_refresh_interval" => &["\"1h\""],
            "discovery_interval" => &["\"24h\""],
            // `warm` is the former name of the value `eager`.
            "initial_fetch" => &["\"lazy\"", "\"warm\""],
            "unknown_kid_wait" => &["\"1s\""],
            "unknown_kid_cooldown_min" => &["\"2s\""],
            "unknown_kid_cooldown_max" => &["\"20s\""],
            "unknown_kid_quiet" => &["\"50s\""],
            other => panic!("no value for {other}"),
        };
        for value in values {
            assert_alias("jwks", former, name, value, |line| {
                file().replace("[api]", &format!("[jwks]\n{line}\n[api]"))
            });
        }
    }
    assert_alias("api", "max_age", "max_token_age", "\"12h\"", |line| {
        file().replace("[api]", &format!("[api]\n{line}"))
    });
    let secret = format!("text = \"{SECRET}\"");
    let with_secret = |line: &str| file().replace(&secret, &line.replace('\n', ", "));
    assert_alias("api.issuer[0].secrets[0]", "utf8", "text", &format!("\"{SECRET}\""), with_secret);
    // Cargo sets this variable for every test.
    assert_alias("api.issuer[0].secrets[0]", "utf8_env", "text_env", "\"CARGO_PKG_DESCRIPTION\"", with_secret);
}

/// Asserts that a table accepts a setting under either name, and rejects both together.
#[track_caller]
fn assert_alias(table: &str, former: &str, name: &str, value: &str, file_with: impl Fn(&str) -> String) {
    let with = |lines: &str| read(&file_with(lines)).map(drop);
    assert_eq!(with(&format!("{name} = {value}")), Ok(()));
    assert_eq!(with(&format!("{former} = {value}")), Ok(()));
    let both = only(&format!("{table}.{former}: is set together with {name}, its new name; choose one"));
    assert_eq!(with(&format!("{name} = {value}\n{former} = {value}")), Err(both));
    let wrong = with(&format!("{former} = 7")).expect_err(former);
    assert!(wrong.contains(&format!("{table}.{name}: is not")), "{wrong}");
}
