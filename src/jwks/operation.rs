//! One fetch operation, from the request to the imported keys: the requests for discovery and keys, and at most one retry,
//! under one deadline.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::defaults;
use crate::fetch::{
    Endpoint, Exchange, ExchangeError, ExchangeFailure, FetchRequest, FinalResponse, catch_panic, within,
};
use crate::jwks::discovery::{Discovery, DocumentMember};
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::{Freshness, StoredResponse};
use crate::jwks::history::History;
use crate::jwks::policy::{EmptySet, RefreshPolicy};
use crate::keys::{self, KeyOrigin, KeySet, KeyTable, NamedKey, RejectedKeys, SkipReason, SkippedKey, Thumbprint};
use crate::token::Algorithm;

/// The inputs of one operation. It owns them, so only the driver can cancel it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) exchange: Exchange,
    pub(super) policy: Arc<RefreshPolicy>,
    pub(super) algorithms: Arc<[Algorithm]>,
    pub(super) compromised: Arc<CompromisedKeys>,
    pub(super) export: Export,
}

/// Whether the public part of a key set is exported, to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Export {
    Never,
    Always,
}

/// A request for a key set.
#[derive(Clone, Debug)]
pub(super) struct KeyRequest {
    pub(super) target: Target,
    pub(super) if_none_match: Option<StoredResponse>,
    pub(super) cache_mode: CacheMode,
}

/// The location of the keys.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Keys(Endpoint),
    /// Not known yet: the operation reads the discovery document first.
    Discovery(Discovery),
}

/// Whether HTTP caches on the path may answer the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheMode {
    Default,
    NoCache,
}

/// The result of an operation.
#[derive(Debug)]
pub(super) struct Report {
    /// The `jwks_uri`, if discovery was needed and succeeded, even if fetching the keys failed.
    pub(super) discovered: Option<Endpoint>,
    /// The skipped keys of the document, even if its key set is rejected; `None` if no document was read, or if no keys were
    /// found in a rejected one.
    pub(super) key_report: Option<KeyReport>,
    pub(super) result: Result<Fetched, Failure>,
}

/// A key set, or the confirmation that it has not changed.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) freshness: Freshness,
    /// The URL that sent the response.
    pub(super) endpoint: Endpoint,
    pub(super) keys: Keys,
}

#[derive(Debug)]
pub(super) enum Keys {
    NotModified,
    New {
        table: KeyTable,
        /// The public part of the document, if it is exported.
        document: Option<Arc<str>>,
    },
}

/// The keys of a key set that are skipped, or used although they should not be.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyReport {
    pub(super) skipped: Arc<[SkippedKey]>,
    /// Keys that are used although they are published with their private keys, because the policy allows it.
    pub(super) disclosed: Vec<Thumbprint>,
    /// The keys whose private keys the document contains.
    pub(super) private_thumbprints: BTreeSet<Thumbprint>,
    /// The keys with a `kid`, if the key set is rejected.
    pub(super) rejected: Vec<NamedKey>,
}

/// A [`KeyReport`] without the order of the keys, which some issuers change with every response.
pub(super) type KeySummary = Vec<(Option<SkipReason>, Option<Thumbprint>)>;

/// The keys whose private keys have been published.
pub(super) type CompromisedKeys = History<Thumbprint, { defaults::MAX_COMPROMISED_KEYS }>;

/// The result of importing a document.
struct Imported {
    key_report: Option<KeyReport>,
    keys: Result<(KeyTable, Option<Arc<str>>), RefreshError>,
}

/// Why an operation failed, and the server's `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) error: RefreshError,
    pub(super) retry_after: Option<Duration>,
}

/// Why no discovery document was read from one location.
struct DiscoveryFailure {
    failure: Failure,
    location: Location,
}

/// Reads the introspection endpoint from the discovery document of an issuer, which is found in the same way as for keys and has the
/// same limit of bytes: that of `exchange` is for answers. Returns the error and the server's `Retry-After`.
pub(crate) async fn discover_introspection_endpoint(
    exchange: Exchange,
    policy: Arc<RefreshPolicy>,
    discovery: &Discovery,
) -> Result<Endpoint, (RefreshError, Option<Duration>)> {
    let algorithms = Arc::from([]);
    let exchange = Exchange { max_bytes: policy.max_document_bytes, ..exchange };
    let mut operation = Operation { exchange, policy, algorithms, compromised: Arc::default(), export: Export::Never };
    let found = operation.discover(discovery, DocumentMember::IntrospectionEndpoint, CacheMode::Default).await;
    found.map_err(|Failure { error, retry_after }| (error, retry_after))
}

/// Whether a location has a discovery document.
enum Location {
    /// The server says that there is none: an error by status, or a response that is no JSON object.
    WithoutDocument,
    /// There is one, or the failure says nothing about it.
    Unknown,
}

impl Operation {
    /// Fetches keys. A panic in the fetcher or in a parser is reported as an error.
    pub(super) async fn keys(mut self, key_request: KeyRequest) -> Report {
        let (mut discovered, mut key_report) = (None, None);
        let result = catch_panic(self.fetch_keys(key_request, &mut discovered, &mut key_report)).await;
        let result = result.unwrap_or(Err(Failure::from(RefreshError::Panic)));
        Report { discovered, key_report, result }
    }

    /// Reads the discovery document again, and nothing else. A cache could return the `jwks_uri` that is known already.
    pub(super) async fn discovery(mut self, discovery: Discovery) -> Result<Endpoint, Failure> {
        let deadline = self.exchange.clock.sleep_until(self.exchange.deadline);
        let discover = self.discover(&discovery, DocumentMember::JwksUri, CacheMode::NoCache);
        let found = catch_panic(within(discover, deadline)).await;
        found.unwrap_or(Some(Err(RefreshError::Panic.into()))).unwrap_or(Err(RefreshError::Timeout.into()))
    }

    async fn fetch_keys(
        &mut self,
        key_request: KeyRequest,
        discovered: &mut Option<Endpoint>,
        key_report: &mut Option<KeyReport>,
    ) -> Result<Fetched, Failure> {
        let endpoint = match key_request.target {
            Target::Keys(endpoint) => endpoint,
            Target::Discovery(discovery) => {
                let found = self.discover(&discovery, DocumentMember::JwksUri, key_request.cache_mode).await?;
                discovered.insert(found).clone()
            }
        };
        let headers = self.headers(ACCEPT_KEYS, key_request.cache_mode);
        let stored_for =
            |endpoint: &Endpoint| key_request.if_none_match.as_ref().filter(|stored| stored.endpoint == *endpoint);
        let request = |endpoint: &Endpoint| {
            let mut headers = headers.clone();
            if let Some(stored) = stored_for(endpoint) {
                headers.insert(IF_NONE_MATCH, stored.etag.clone());
            }
            FetchRequest { endpoint: endpoint.clone(), headers, max_bytes: self.policy.max_document_bytes }
        };
        let FinalResponse { response, endpoint } =
            self.exchange.send(&endpoint, |fetch, endpoint| fetch.fetch(request(endpoint))).await?;
        let freshness = Freshness::from_headers(&response.headers);
        let (freshness, keys) = match (response.status, stored_for(&endpoint)) {
            (StatusCode::NOT_MODIFIED, Some(stored)) => (freshness.freshen(stored), Keys::NotModified),
            (StatusCode::NOT_MODIFIED, None) => return Err(RefreshError::UnexpectedNotModified.into()),
            _ => {
                let imported = self.import(response.body).await;
                *key_report = imported.key_report;
                let (table, document) = imported.keys?;
                (freshness, Keys::New { table, document })
            }
        };
        Ok(Fetched { freshness, endpoint, keys })
    }

    /// Fetches the discovery document from the first location that has one. A server may publish either kind, at any of them,
    /// whether or not its issuer has a path. If none has one, returns the error of the first location, which most servers use.
    async fn discover(
        &mut self,
        discovery: &Discovery,
        wanted: DocumentMember,
        cache_mode: CacheMode,
    ) -> Result<Endpoint, Failure> {
        let first = match self.discover_at(discovery, discovery.openid(), wanted, cache_mode).await {
            Err(DiscoveryFailure { failure, location: Location::WithoutDocument }) => failure,
            outcome => return outcome.map_err(|failed| failed.failure),
        };
        for location in discovery.fallbacks() {
            match self.discover_at(discovery, location, wanted, cache_mode).await {
                Err(DiscoveryFailure { location: Location::WithoutDocument, .. }) => {}
                outcome => return outcome.map_err(|failed| failed.failure),
            }
        }
        Err(first)
    }

    async fn discover_at(
        &mut self,
        discovery: &Discovery,
        location: &Endpoint,
        wanted: DocumentMember,
        cache_mode: CacheMode,
    ) -> Result<Endpoint, DiscoveryFailure> {
        let headers = self.headers(ACCEPT_DISCOVERY, cache_mode);
        let request = |endpoint: &Endpoint| FetchRequest {
            endpoint: endpoint.clone(),
            headers: headers.clone(),
            max_bytes: self.policy.max_document_bytes,
        };
        let FinalResponse { response, .. } =
            self.exchange.send(location, |fetch, endpoint| fetch.fetch(request(endpoint))).await?;
        if response.status != StatusCode::OK {
            return Err(Failure::from(RefreshError::UnexpectedNotModified).into());
        }
        let found = discovery.read(&response.body, wanted, self.policy.jwks_hosts.as_deref());
        found.map_err(|error| DiscoveryFailure {
            failure: error.into(),
            location: if Discovery::is_object(&response.body) { Location::Unknown } else { Location::WithoutDocument },
        })
    }

    /// Parses a document and imports its keys. A large one is parsed on a blocking thread, so that it does not delay
    /// requests.
    async fn import(&self, document: Bytes) -> Imported {
        let (policy, algorithms) = (Arc::clone(&self.policy), Arc::clone(&self.algorithms));
        let (compromised, export) = (Arc::clone(&self.compromised), self.export);
        let length = document.len();
        let work = move || import(&document, &policy, &algorithms, &compromised, export);
        if length <= defaults::PARSE_INLINE_BYTES {
            return work();
        }
        let parsed = tokio::task::spawn_blocking(work).await;
        parsed.unwrap_or(Imported { key_report: None, keys: Err(RefreshError::Panic) })
    }

    fn headers(&self, accept: HeaderValue, cache_mode: CacheMode) -> HeaderMap {
        let mut headers = self.policy.headers.clone();
        for (name, value) in [(ACCEPT, accept), (ACCEPT_ENCODING, IDENTITY), (USER_AGENT, PRODUCT)] {
            headers.entry(name).or_insert(value);
        }
        for reserved in RESERVED {
            headers.remove(reserved);
        }
        if cache_mode == CacheMode::NoCache {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        headers
    }
}

impl Report {
    /// Returns whether the document contains private keys.
    pub(super) fn discloses_keys(&self) -> bool {
        self.key_report.as_ref().is_some_and(|key_report| key_report.compromised().next().is_some())
    }
}

impl From<RefreshError> for Failure {
    fn from(error: RefreshError) -> Self {
        Self { error, retry_after: None }
    }
}

impl From<ExchangeFailure> for Failure {
    fn from(failure: ExchangeFailure) -> Self {
        Self { error: failure.error.into(), retry_after: failure.retry_after }
    }
}

impl From<ExchangeFailure> for DiscoveryFailure {
    fn from(failure: ExchangeFailure) -> Self {
        let location = match failure.error {
            ExchangeError::Status(status) if matches!(status.as_u16(), 401 | 403 | 404 | 405 | 410) => {
                Location::WithoutDocument
            }
            _ => Location::Unknown,
        };
        Self { failure: failure.into(), location }
    }
}

impl From<Failure> for DiscoveryFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, location: Location::Unknown }
    }
}

impl KeyReport {
    pub(super) fn summary(&self) -> KeySummary {
        let skipped = self.skipped.iter().map(|key| (Some(key.reason()), key.thumbprint()));
        let mut all: Vec<_> = skipped.chain(self.disclosed.iter().map(|key| (None, Some(*key)))).collect();
        all.sort_unstable();
        all
    }

    /// Returns the keys of the document whose private keys it contains or an earlier document contained.
    pub(super) fn compromised(&self) -> impl Iterator<Item = Thumbprint> {
        let earlier = self.skipped.iter().filter(|key| key.reason() == SkipReason::Compromised);
        self.private_thumbprints.iter().copied().chain(earlier.filter_map(SkippedKey::thumbprint))
    }
}

fn import(
    document: &[u8],
    policy: &RefreshPolicy,
    algorithms: &[Algorithm],
    compromised: &CompromisedKeys,
    export: Export,
) -> Imported {
    let set = match KeySet::parse_remote(document, policy.max_keys, policy.private_keys) {
        Ok(set) => set.without_compromised(|thumbprint| compromised.contains(thumbprint)),
        Err(error) => {
            let RejectedKeys { skipped, private_thumbprints, named: rejected } = KeySet::rejected_keys(document);
            let has_keys = !skipped.is_empty() || !rejected.is_empty();
            let key_report =
                KeyReport { skipped: skipped.into(), disclosed: Vec::new(), private_thumbprints, rejected };
            return Imported { key_report: has_keys.then_some(key_report), keys: Err(error.into()) };
        }
    };
    let table = set.bind(algorithms, KeyOrigin::Remote);
    let is_rejected = table.usable() == 0 && policy.empty_set == EmptySet::Rejected;
    let key_report = KeyReport {
        skipped: set.skipped_for(algorithms).into(),
        disclosed: set.disclosed_for(algorithms),
        private_thumbprints: set.private_thumbprints().clone(),
        rejected: if is_rejected { table.named_keys() } else { Vec::new() },
    };
    // A record has no private members, so a policy that rejects disclosed keys could not recognize them in it.
    let disclosed = set.disclosed_for(Algorithm::ALL);
    let used: BTreeSet<Thumbprint> = set.thumbprints().filter(|key| !disclosed.contains(key)).collect();
    let exported = (export == Export::Always).then(|| keys::public_jwks(document, |key| used.contains(key))).flatten();
    let keys = if is_rejected { Err(RefreshError::NoUsableKeys) } else { Ok((table, exported.map(Arc::from))) };
    Imported { key_report: Some(key_report), keys }
}

const ACCEPT_KEYS: HeaderValue = HeaderValue::from_static("application/jwk-set+json, application/json;q=0.9");
const ACCEPT_DISCOVERY: HeaderValue = HeaderValue::from_static("application/json");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const PRODUCT: HeaderValue = HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));

/// Only the operation sets these headers: a foreign `ETag` could cause a 304 for a key set that this source does not have.
const RESERVED: [HeaderName; 2] = [IF_NONE_MATCH, CACHE_CONTROL];
