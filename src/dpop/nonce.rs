//! `Nonces`: the nonces that the server gives to clients (RFC 9449 §8 and §9), without any state.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use crate::clock::Timestamp;
use crate::keys::{self, Mac, Secret, SecretError};

/// The secrets from which the nonces of an API are computed.
///
/// A nonce is a MAC over the audience of the API and the number of the current minute. It is accepted in that minute, in the one
/// before and in the one after. So it is valid for one to two minutes, also if the clocks of processes differ. It is the same for all
/// clients, and may be in several proofs; each proof is still accepted only once.
///
/// ```
/// use tower_bearer::dpop::{Dpop, Nonces};
/// use tower_bearer::Secret;
///
/// # fn main() -> Result<(), tower_bearer::keys::SecretError> {
/// let secret = Secret::from_hex("5f1c6a0be2937d48c0a94b7e1d52f8363ab9041e7c6d25f8903be47a1c82d65f")?;
/// let dpop = Dpop::new("https://api.northwind.com").with_nonces(Nonces::shared(secret));
/// # let _ = dpop; Ok(()) }
/// ```
#[derive(Clone)]
pub struct Nonces(Vec<NonceSecret>);

#[derive(Clone)]
enum NonceSecret {
    Shared(Result<Secret, SecretError>),
    /// `None` if the system has no entropy.
    Random(Option<Box<Mac>>),
}

impl Nonces {
    /// Computes nonces from a secret that all processes of the API share, of at least 32 bytes.
    #[must_use]
    pub fn shared(secret: impl Into<Result<Secret, SecretError>>) -> Self {
        Self(vec![NonceSecret::Shared(secret.into())])
    }

    /// Computes nonces from a random secret, which this value and its clones have. Use it only for an API with one process: another
    /// process has another secret, so it rejects the nonce with 401 `use_dpop_nonce`, and the client must repeat its request with the
    /// new nonce.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self(vec![NonceSecret::Random(Mac::random().map(Box::new))])
    }

    /// Adds an earlier secret, whose nonces are still accepted. New nonces are computed from the first secret. Use it to rotate
    /// secrets: first add the new secret as a previous one in all processes, then exchange both, and after two minutes remove the old
    /// one.
    #[must_use]
    pub fn with_previous(mut self, secret: impl Into<Result<Secret, SecretError>>) -> Self {
        self.0.push(NonceSecret::Shared(secret.into()));
        self
    }

    /// Computes the nonces that are accepted at the time `now` by an API whose first audience is `audience`, for
    /// [`Expected::with_nonces`](super::Expected::with_nonces). A validator does this itself.
    ///
    /// ```
    /// use tower_bearer::Secret;
    /// use tower_bearer::clock::{Clock, SystemClock};
    /// use tower_bearer::dpop::Nonces;
    ///
    /// let nonces = Nonces::shared(Secret::from_text("thirty-two bytes or more, please"));
    /// let current = nonces.current("https://api.northwind.com", SystemClock.now())?;
    /// assert_eq!(current.next().len(), 22);
    /// # Ok::<(), tower_bearer::keys::SecretError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`SecretError`] if a secret is malformed or shorter than 32 bytes.
    pub fn current(&self, audience: &str, now: Timestamp) -> Result<CurrentNonces, SecretError> {
        Ok(self.resolve(audience)?.nonces(NonceSource::period(now)))
    }

    /// Creates the source of the nonces of an API with this audience.
    pub(crate) fn resolve(&self, audience: &str) -> Result<NonceSource, SecretError> {
        let keys: Result<Box<[Mac]>, SecretError> = self.0.iter().map(NonceSecret::mac).collect();
        Ok(NonceSource { keys: keys?, audience: Box::from(audience) })
    }
}

impl NonceSecret {
    fn mac(&self) -> Result<Mac, SecretError> {
        match self {
            Self::Shared(secret) => {
                Mac::new(secret.as_ref().map_err(SecretError::clone)?).map_err(|error| match error {
                    SecretError::TooShort { length, needed, .. } => SecretError::TooShortForNonces { length, needed },
                    error => error,
                })
            }
            Self::Random(mac) => mac.as_deref().cloned().ok_or(SecretError::NoEntropy),
        }
    }
}

/// Shows no secret.
impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("secrets", &self.0.len()).finish()
    }
}

/// Computes the nonces of an API.
#[derive(Clone, Debug)]
pub(crate) struct NonceSource {
    /// The first one computes new nonces.
    keys: Box<[Mac]>,
    audience: Box<str>,
}

impl NonceSource {
    /// Returns the number of the period that contains `now`.
    pub(crate) fn period(now: Timestamp) -> i64 {
        now.as_secs().div_euclid(PERIOD_SECONDS)
    }

    /// Computes the nonces that are accepted in a period.
    pub(crate) fn nonces(&self, period: i64) -> CurrentNonces {
        let of_key = |key: &Mac| AGES.map(|age| self.nonce(key, age.period(period)));
        let accepted: Box<[[Nonce; 3]]> = self.keys.iter().map(of_key).collect();
        let next = self.keys.first().and_then(|key| HeaderValue::from_bytes(&self.nonce(key, period)).ok());
        CurrentNonces { period, accepted, next: next.unwrap_or(HeaderValue::from_static("")) }
    }

    /// Computes a nonce: 132 bits of HMAC-SHA-256 in base64url.
    fn nonce(&self, key: &Mac, period: i64) -> Nonce {
        let mac = key.sign(&[b"dpop-nonce", &[0], self.audience.as_bytes(), &[0], &period.to_be_bytes()]);
        let mut text = [0; 44];
        let mut nonce = Nonce::default();
        if URL_SAFE_NO_PAD.encode_slice(mac, &mut text).is_ok() {
            nonce.iter_mut().zip(text).for_each(|(to, from)| *to = from);
        }
        nonce
    }
}

/// The nonces that are accepted in one period, and the one that clients receive in it.
#[derive(Clone)]
pub struct CurrentNonces {
    period: i64,
    accepted: Box<[[Nonce; 3]]>,
    next: HeaderValue,
}

/// 22 characters of base64url.
type Nonce = [u8; 22];

/// A nonce that a proof contains.
pub(super) struct UsedNonce {
    pub(super) age: NonceAge,
    /// The start of the period for which it was computed.
    pub(super) starts_at: Timestamp,
    /// The end of the period after that one. Until then the nonce is accepted.
    pub(super) accepted_until: Timestamp,
}

/// The period of an accepted nonce, relative to the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NonceAge {
    Previous,
    Current,
    /// The clock of the process that computed it is ahead.
    Next,
}

impl NonceAge {
    const fn period(self, current: i64) -> i64 {
        match self {
            Self::Previous => current.saturating_sub(1),
            Self::Current => current,
            Self::Next => current.saturating_add(1),
        }
    }
}

impl CurrentNonces {
    /// Returns the nonce that clients receive now, for `DPoP-Nonce`.
    #[must_use]
    pub fn next(&self) -> HeaderValue {
        self.next.clone()
    }

    pub(crate) fn period(&self) -> i64 {
        self.period
    }

    /// Finds a nonce among the accepted ones. The time depends only on the length of `nonce`.
    pub(super) fn find(&self, nonce: &str) -> Option<UsedNonce> {
        let mut found = None;
        for nonces in &self.accepted {
            for (age, accepted) in AGES.into_iter().zip(nonces) {
                if keys::is_equal(accepted, nonce.as_bytes()) {
                    found = Some(age);
                }
            }
        }
        let (age, starts_at) = (found?, |period: i64| Timestamp::from_secs(period.saturating_mul(PERIOD_SECONDS)));
        let period = age.period(self.period);
        Some(UsedNonce { age, starts_at: starts_at(period), accepted_until: starts_at(period.saturating_add(2)) })
    }
}

impl fmt::Debug for CurrentNonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentNonces").field("period", &self.period).finish_non_exhaustive()
    }
}

const AGES: [NonceAge; 3] = [NonceAge::Previous, NonceAge::Current, NonceAge::Next];

/// One minute. With a shorter period clients get more challenges. With a longer one proofs can be prepared for a longer time.
pub(super) const PERIOD_SECONDS: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(secrets: &[u8], audience: &str) -> NonceSource {
        let secret = |byte: &u8| Secret::new(vec![*byte; 32]).expect("a secret");
        let (first, rest) = secrets.split_first().expect("a secret");
        let nonces = rest.iter().fold(Nonces::shared(secret(first)), |nonces, byte| nonces.with_previous(secret(byte)));
        nonces.resolve(audience).expect("32 bytes")
    }

    fn next(source: &NonceSource, period: i64) -> String {
        source.nonces(period).next().to_str().expect("ASCII").to_owned()
    }

    fn age(source: &NonceSource, period: i64, nonce: &str) -> Option<NonceAge> {
        source.nonces(period).find(nonce).map(|used| used.age)
    }

    #[test]
    fn accepts_the_nonces_of_three_periods() {
        let source = source(&[1], "https://a.example");
        let nonce = next(&source, 100);
        for (period, expected) in [
            (98, None),
            (99, Some(NonceAge::Next)),
            (100, Some(NonceAge::Current)),
            (101, Some(NonceAge::Previous)),
            (102, None),
        ] {
            assert_eq!(age(&source, period, &nonce), expected, "{period}");
        }
        let used = source.nonces(101).find(&nonce).expect("accepted");
        assert_eq!((used.starts_at, used.accepted_until), (Timestamp::from_secs(6_000), Timestamp::from_secs(6_120)));
        assert_eq!(NonceSource::period(Timestamp::from_secs(6_059)), 100);
        assert_eq!(NonceSource::period(Timestamp::UNIX_EPOCH), 0);
    }

    /// HMAC-SHA-256 of 32 bytes 0x01 over `dpop-nonce`, 0, `https://a.example`, 0 and the number 100 in 8 bytes, computed with Python.
    #[test]
    fn computes_132_bits_of_the_mac() {
        let nonce = next(&source(&[1], "https://a.example"), 100);
        assert_eq!(nonce, EXPECTED);
    }

    const EXPECTED: &str = "SVGFPGhxnPHiCvZU3sfln7";

    #[test]
    fn depends_on_secret_audience_and_period() {
        let all = [
            next(&source(&[1], "https://a.example"), 100),
            next(&source(&[1], "https://a.example"), 101),
            next(&source(&[2], "https://a.example"), 100),
            next(&source(&[1], "https://b.example"), 100),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| one != other));
            assert_eq!(one.len(), 22);
        }
        let own = source(&[1], "https://a.example");
        assert!(all[1..].iter().filter(|nonce| **nonce != all[1]).all(|nonce| age(&own, 100, nonce).is_none()));
        for other in ["", "x", &all[0][1..], &format!("{}x", all[0]), &"x".repeat(1 << 20)] {
            assert_eq!(age(&own, 100, other), None);
        }
        let random = Nonces::of_this_process();
        let of = |nonces: &Nonces| next(&nonces.resolve("a").expect("entropy"), 1);
        assert_eq!(of(&random), of(&random.clone()));
        assert_ne!(of(&random), of(&Nonces::of_this_process()));
    }

    #[test]
    fn accepts_an_earlier_secret_and_computes_with_the_first() {
        let (old, rotating) = (source(&[1], "a"), source(&[2, 1], "a"));
        assert_eq!(age(&rotating, 5, &next(&old, 5)), Some(NonceAge::Current));
        assert_eq!(age(&rotating, 6, &next(&old, 5)), Some(NonceAge::Previous));
        assert_eq!(next(&rotating, 5), next(&source(&[2], "a"), 5));
        assert_eq!(age(&source(&[2], "a"), 5, &next(&old, 5)), None);
    }

    #[test]
    fn rejects_a_short_secret_and_shows_none() {
        let short = Nonces::shared(Secret::new(vec![7; 31]).expect("a secret"));
        assert!(matches!(short.resolve("a"), Err(SecretError::TooShortForNonces { length: 31, needed: 32 })));
        assert_eq!(format!("{short:?} {:?}", Nonces::of_this_process()), "Nonces { secrets: 1 } Nonces { secrets: 1 }");
    }
}
