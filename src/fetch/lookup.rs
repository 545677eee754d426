//! Host names to addresses: one lookup in flight per host, on a thread that no runtime waits for.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch;

/// The lookups of one client; clones share them.
///
/// A lookup in the system's resolver cannot be cancelled, and takes half a minute where no name server answers: much
/// longer than the attempt that needs it. Later attempts join it, so that a host occupies one thread at most, however
/// often it is tried. The thread is not the runtime's, since a runtime that shuts down waits for its blocking threads.
#[derive(Clone)]
pub(super) struct Lookups {
    in_flight: Arc<Mutex<InFlight>>,
    resolver: Resolver,
}

/// The outcomes to come, by host.
type InFlight = HashMap<Box<str>, watch::Receiver<Option<Found>>>;

/// Resolves a host name, and blocks meanwhile.
type Resolver = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

type Found = Result<Arc<[SocketAddr]>, LookupError>;

impl Lookups {
    /// Resolves names as the system does. The port of the addresses means nothing.
    pub(super) fn system() -> Self {
        Self::with_resolver(|host| Ok((host, 0).to_socket_addrs()?.collect()))
    }

    pub(super) fn with_resolver(
        resolver: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { in_flight: Arc::default(), resolver: Arc::new(resolver) }
    }

    /// Returns the addresses of `host`: those that the lookup in flight finds, else those of a new one. The lookup goes
    /// on if the future is dropped.
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

/// The entry of a lookup, which is removed when the lookup ends, also by a panic.
struct Entry {
    lookups: Lookups,
    host: Box<str>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.lookups.in_flight().remove(&self.host);
    }
}

/// Why a lookup failed; every attempt that joined it gets the same error.
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

    /// A name server that answers a lookup only when the test says so.
    pub(in crate::fetch) struct SilentServer {
        pub(in crate::fetch) lookups: Lookups,
        /// How many lookups have begun, and how many have ended.
        begun: Arc<AtomicUsize>,
        ended: Arc<AtomicUsize>,
        answers: mpsc::Sender<io::Result<Vec<SocketAddr>>>,
    }

    impl SilentServer {
        pub(in crate::fetch) fn new() -> Self {
            let (answers, receiver) = mpsc::channel();
            let receiver = Mutex::new(receiver);
            let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            let counts = (Arc::clone(&begun), Arc::clone(&ended));
            let lookups = Lookups::with_resolver(move |_| {
                counts.0.fetch_add(1, Ordering::SeqCst);
                let answer = receiver.lock().expect("unpoisoned").recv();
                counts.1.fetch_add(1, Ordering::SeqCst);
                answer.unwrap_or_else(|_| Err(io::Error::other("the test is over")))
            });
            Self { lookups, begun, ended, answers }
        }

        pub(in crate::fetch) fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }

        pub(in crate::fetch) fn ended(&self) -> usize {
            self.ended.load(Ordering::SeqCst)
        }

        pub(in crate::fetch) fn answer(&self, answer: io::Result<Vec<SocketAddr>>) {
            self.answers.send(answer).expect("the lookups stand");
        }
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 0))
    }

    /// Polls a future once and drops it, as an attempt whose time is up.
    fn give_up<T>(attempt: impl Future<Output = T>) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(attempt).poll(&mut context).is_pending());
    }

    #[tokio::test]
    async fn later_attempts_join_the_lookup_in_flight() {
        let server = SilentServer::new();
        for _ in 0..5 {
            give_up(server.lookups.addresses("a.test"));
        }
        let joined: Vec<_> = (0..3)
            .map(|_| {
                let lookups = server.lookups.clone();
                tokio::spawn(async move { lookups.addresses("a.test").await })
            })
            .collect();
        tokio::task::yield_now().await;
        server.answer(Ok(vec![address(1)]));
        for attempt in joined {
            let found = attempt.await.expect("no panic").expect("addresses");
            assert_eq!(*found, [address(1)]);
        }
        assert_eq!(server.begun(), 1);

        // Nothing is kept of a lookup that ended.
        server.answer(Ok(vec![address(2)]));
        assert_eq!(*server.lookups.addresses("a.test").await.expect("addresses"), [address(2)]);
        assert_eq!(server.begun(), 2);
    }

    #[tokio::test]
    async fn each_host_has_a_lookup_of_its_own_and_errors_are_shared() {
        let server = SilentServer::new();
        give_up(server.lookups.addresses("a.test"));
        give_up(server.lookups.addresses("b.test"));
        let hosts = |server: &SilentServer| server.lookups.in_flight().len();
        assert_eq!(hosts(&server), 2);
        let (one, other) = (server.lookups.clone(), server.lookups.clone());
        let attempts = [
            tokio::spawn(async move { one.addresses("a.test").await }),
            tokio::spawn(async move { other.addresses("b.test").await }),
        ];
        tokio::task::yield_now().await;
        for _ in 0..2 {
            server.answer(Err(io::Error::other("as scripted")));
        }
        for attempt in attempts {
            let error = attempt.await.expect("no panic").expect_err("as scripted");
            assert_eq!(error.to_string(), "as scripted");
        }
        assert_eq!((server.begun(), hosts(&server)), (2, 0));
    }

    #[tokio::test]
    async fn a_lookup_that_panics_fails_its_attempts_only() {
        let calls = AtomicUsize::new(0);
        let lookups = Lookups::with_resolver(move |_| {
            assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "as scripted");
            Ok(vec![address(1)])
        });
        assert_eq!(lookups.addresses("a.test").await.expect_err("panicked").to_string(), "the lookup panicked");
        assert_eq!(*lookups.addresses("a.test").await.expect("addresses"), [address(1)]);
    }

    #[test]
    fn a_runtime_shuts_down_while_a_lookup_is_in_flight() {
        let server = SilentServer::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let lookups = server.lookups.clone();
        runtime.block_on(async { give_up(lookups.addresses("a.test")) });
        drop(runtime);
        assert_eq!(server.ended(), 0, "the runtime waited for the lookup");
    }
}
