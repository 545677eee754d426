//! Name resolution with one lookup in flight per host, on a thread outside of the runtime.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch;

/// The lookups of one client. Clones share them.
///
/// A lookup in the system's resolver cannot be cancelled. If no name server responds, it takes half a minute, which is much
/// longer than the attempt that started it. Later attempts join the lookup in flight, so a host occupies at most one thread,
/// however many attempts there are. The thread does not belong to the runtime, since a runtime waits for its blocking
/// threads when it shuts down.
#[derive(Clone)]
pub(super) struct Lookups {
    in_flight: Arc<Mutex<InFlight>>,
    resolver: Resolver,
}

/// The receiver of the outcome of each lookup in flight, by host.
type InFlight = HashMap<Box<str>, watch::Receiver<Option<Found>>>;

/// Resolves a host name. Blocks the thread.
type Resolver = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

type Found = Result<Arc<[SocketAddr]>, LookupError>;

impl Lookups {
    /// Resolves names with the system's resolver. The port of the addresses is 0.
    pub(super) fn system() -> Self {
        Self::with_resolver(|host| Ok((host, 0).to_socket_addrs()?.collect()))
    }

    pub(super) fn with_resolver(
        resolver: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { in_flight: Arc::default(), resolver: Arc::new(resolver) }
    }

    /// Returns the addresses of `host`. Joins the lookup in flight, or starts one. If the future is dropped, the lookup
    /// continues.
    pub(super) async fn addresses(&self, host: &str) -> Found {
        let mut outcome = self.join(host).map_err(LookupError::from)?;
        let found = outcome.wait_for(Option::is_some).await;
        found
            .ok()
            .and_then(|found| found.clone())
            .unwrap_or_else(|| Err(io::Error::other("the lookup panicked").into()))
    }

    fn join(&self, host: &str) -> io::Result<watch::Receiver<Option<Found>>> {
        let mut in_flight = self.in_flight();
        if let Some(outcome) = in_flight.get(host) {
            return Ok(outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        let (lookups, host) = (self.clone(), Box::<str>::from(host));
        let key = host.clone();
        thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
            let found = {
                let entry = Entry { lookups, host };
                (entry.lookups.resolver)(&entry.host)
            };
            sender.send_replace(Some(found.map(Arc::from).map_err(LookupError::from)));
        })?;
        in_flight.insert(key, outcome.clone());
        Ok(outcome)
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of a lookup in flight. It is removed when the lookup ends, also if it panics.
struct Entry {
    lookups: Lookups,
    host: Box<str>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.lookups.in_flight().remove(&self.host);
    }
}

/// Why a lookup failed. Every attempt that joined the lookup gets the same error.
#[derive(Clone, Debug)]
pub(super) struct LookupError(Arc<io::Error>);

impl From<io::Error> for LookupError {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for LookupError {}

const THREAD_NAME: &str = "tower-bearer-dns";

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// A resolver that completes a lookup only when the test calls `respond`.
    pub(in crate::fetch) struct ScriptedResolver {
        pub(in crate::fetch) lookups: Lookups,
        /// The numbers of lookups that have started and ended.
        started: Arc<AtomicUsize>,
        ended: Arc<AtomicUsize>,
        responses: mpsc::Sender<io::Result<Vec<SocketAddr>>>,
    }

    impl ScriptedResolver {
        pub(in crate::fetch) fn new() -> Self {
            let (responses, receiver) = mpsc::channel();
            let receiver = Mutex::new(receiver);
            let (started, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            let counts = (Arc::clone(&started), Arc::clone(&ended));
            let lookups = Lookups::with_resolver(move |_| {
                counts.0.fetch_add(1, Ordering::SeqCst);
                let response = receiver.lock().expect("unpoisoned").recv();
                counts.1.fetch_add(1, Ordering::SeqCst);
                response.unwrap_or_else(|_| Err(io::Error::other("the test is over")))
            });
            Self { lookups, started, ended, responses }
        }

        pub(in crate::fetch) fn started(&self) -> usize {
            self.started.load(Ordering::SeqCst)
        }

        pub(in crate::fetch) fn ended(&self) -> usize {
            self.ended.load(Ordering::SeqCst)
        }

        pub(in crate::fetch) fn respond(&self, response: io::Result<Vec<SocketAddr>>) {
            self.responses.send(response).expect("the lookups exist");
        }
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 0))
    }

    /// Polls a future once and drops it, like an attempt that timed out.
    fn poll_once<T>(attempt: impl Future<Output = T>) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(attempt).poll(&mut context).is_pending());
    }

    #[tokio::test]
    async fn joins_the_lookup_in_flight_for_the_same_host() {
        let resolver = ScriptedResolver::new();
        for _ in 0..5 {
            poll_once(resolver.lookups.addresses("a.test"));
        }
        let joined: Vec<_> = (0..3)
            .map(|_| {
                let lookups = resolver.lookups.clone();
                tokio::spawn(async move { lookups.addresses("a.test").await })
            })
            .collect();
        tokio::task::yield_now().await;
        resolver.respond(Ok(vec![address(1)]));
        for attempt in joined {
            let found = attempt.await.expect("no panic").expect("addresses");
            assert_eq!(*found, [address(1)]);
        }
        assert_eq!(resolver.started(), 1);

        // The outcome of a lookup that ended is not cached.
        resolver.respond(Ok(vec![address(2)]));
        assert_eq!(*resolver.lookups.addresses("a.test").await.expect("addresses"), [address(2)]);
        assert_eq!(resolver.started(), 2);
    }

    #[tokio::test]
    async fn starts_one_lookup_per_host_and_shares_its_error() {
        let resolver = ScriptedResolver::new();
        poll_once(resolver.lookups.addresses("a.test"));
        poll_once(resolver.lookups.addresses("b.test"));
        let hosts = |resolver: &ScriptedResolver| resolver.lookups.in_flight().len();
        assert_eq!(hosts(&resolver), 2);
        let (one, other) = (resolver.lookups.clone(), resolver.lookups.clone());
        let attempts = [
            tokio::spawn(async move { one.addresses("a.test").await }),
            tokio::spawn(async move { other.addresses("b.test").await }),
        ];
        tokio::task::yield_now().await;
        for _ in 0..2 {
            resolver.respond(Err(io::Error::other("as scripted")));
        }
        for attempt in attempts {
            let error = attempt.await.expect("no panic").expect_err("as scripted");
            assert_eq!(error.to_string(), "as scripted");
        }
        assert_eq!((resolver.started(), hosts(&resolver)), (2, 0));
    }

    #[tokio::test]
    async fn returns_an_error_if_the_lookup_panics_and_retries_later() {
        let calls = AtomicUsize::new(0);
        let lookups = Lookups::with_resolver(move |_| {
            assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "as scripted");
            Ok(vec![address(1)])
        });
        assert_eq!(lookups.addresses("a.test").await.expect_err("panicked").to_string(), "the lookup panicked");
        assert_eq!(*lookups.addresses("a.test").await.expect("addresses"), [address(1)]);
    }

    #[test]
    fn does_not_block_the_shutdown_of_a_runtime_while_a_lookup_is_in_flight() {
        let resolver = ScriptedResolver::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let lookups = resolver.lookups.clone();
        runtime.block_on(async { poll_once(lookups.addresses("a.test")) });
        drop(runtime);
        assert_eq!(resolver.ended(), 0, "the runtime waited for the lookup");
    }
}
