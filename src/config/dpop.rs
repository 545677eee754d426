//! Checks the settings of DPoP.

use std::sync::Arc;
use std::time::Duration;

use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::defaults;
use crate::dpop::{Dpop, DpopRules, MemoryReplayStore, ReplayDetection, ReplayStore};
use crate::request::PublicUrl;

/// Checks all settings and records every error. `audience` is the first audience of the API.
pub(super) fn resolve(dpop: &Dpop, audience: &str, errors: &mut SettingErrors) -> Option<DpopRules> {
    let urls = urls(&dpop.public_urls, errors);
    check_policy(dpop, errors);
    let nonces = dpop.nonces.as_ref().map(|nonces| nonces.resolve(audience)).transpose();
    let nonces = nonces.map_err(|error| errors.push("DPoP nonce secret", SettingErrorKind::Secret(error)));
    Some(DpopRules {
        replay: replay(dpop, errors),
        urls: urls?,
        policy: dpop.policy.clone(),
        nonces: nonces.ok()?,
        replay_timeout: dpop.replay_timeout,
        request_target: dpop.request_target.clone(),
    })
}

fn urls(texts: &[String], errors: &mut SettingErrors) -> Option<Box<[PublicUrl]>> {
    let mut urls: Vec<PublicUrl> = Vec::new();
    for text in texts {
        let setting = format!("DPoP public URL {text:?}");
        match PublicUrl::parse(text) {
            Ok(url) if urls.iter().any(|other| other.has_same_authority(&url)) => {
                errors.push(&setting, SettingErrorKind::DuplicatePublicUrl);
            }
            Ok(url) => urls.push(url),
            Err(error) => errors.push(&setting, SettingErrorKind::PublicUrl(error)),
        }
    }
    (!urls.is_empty()).then_some(urls.into_boxed_slice())
}

fn check_policy(dpop: &Dpop, errors: &mut SettingErrors) {
    let (policy, setting) = (&dpop.policy, "DPoP algorithms");
    if policy.algorithms().is_empty() {
        errors.push(setting, SettingErrorKind::NoProofAlgorithms);
    }
    for (at, algorithm) in policy.algorithms().iter().enumerate() {
        if policy.algorithms().iter().take(at).any(|earlier| earlier == algorithm) {
            errors.push(setting, SettingErrorKind::DuplicateAlgorithm(*algorithm));
        }
        if algorithm.is_symmetric() {
            errors.push(setting, SettingErrorKind::SymmetricProof(*algorithm));
        }
    }
    if !(SHORTEST_LIFETIME..=defaults::MAX_PROOF_LIFETIME).contains(&policy.lifetime()) {
        errors.push("DPoP proof lifetime", SettingErrorKind::ProofLifetime);
    }
    if policy.leeway() > defaults::MAX_PROOF_LEEWAY {
        errors.push("DPoP proof leeway", SettingErrorKind::ProofLeeway);
    }
}

fn replay(dpop: &Dpop, errors: &mut SettingErrors) -> Option<Arc<dyn ReplayStore>> {
    if !(SHORTEST_REPLAY_TIMEOUT..=defaults::MAX_REPLAY_TIMEOUT).contains(&dpop.replay_timeout) {
        errors.push("DPoP replay timeout", SettingErrorKind::ReplayTimeout);
    }
    let in_memory = ReplayDetection::Memory { max_bytes: defaults::REPLAY_BYTES };
    match dpop.replay.as_ref().unwrap_or(&in_memory) {
        ReplayDetection::Memory { max_bytes } => {
            if *max_bytes < defaults::MIN_REPLAY_BYTES {
                errors.push("DPoP replay memory", SettingErrorKind::ReplayMemory);
            }
            let span = dpop.policy.lifetime().saturating_add(dpop.policy.leeway().saturating_mul(2));
            Some(Arc::new(match dpop.nonces {
                Some(_) => MemoryReplayStore::for_nonces(*max_bytes),
                None => MemoryReplayStore::new(*max_bytes, span),
            }))
        }
        ReplayDetection::Store(store) => Some(Arc::clone(store)),
        ReplayDetection::Off => None,
        ReplayDetection::Contradictory => {
            errors.push("DPoP replay detection", SettingErrorKind::ReplaySettings);
            None
        }
    }
}

const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);

const SHORTEST_REPLAY_TIMEOUT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpop::Nonces;
    use crate::keys::{Secret, SecretError};
    use crate::request::PublicUrlError;
    use crate::token::Algorithm;

    const URL: &str = "https://api.northwind.com";

    fn errors(dpop: &Dpop) -> Vec<SettingErrorKind> {
        let mut errors = SettingErrors::default();
        let resolved = resolve(dpop, "https://api.northwind.com", &mut errors);
        let errors = errors.or(resolved).err();
        errors.map(|error| error.errors().iter().map(|error| error.kind().clone()).collect()).unwrap_or_default()
    }

    #[test]
    fn accepts_the_defaults_and_the_ends_of_every_range() {
        for dpop in [
            Dpop::new(URL),
            Dpop::new("http://127.0.0.1:8080"),
            Dpop::new(URL)
                .with_public_url("https://eu.northwind.com")
                .with_public_url("https://api.northwind.com:8443"),
            Dpop::new(URL).with_proof_algorithms([Algorithm::RS256, Algorithm::ES384]),
            Dpop::new(URL).with_proof_lifetime(Duration::from_secs(1)).with_proof_leeway(Duration::ZERO),
            Dpop::new(URL).with_proof_lifetime(Duration::from_secs(300)).with_proof_leeway(Duration::from_secs(60)),
            Dpop::new(URL).with_nonces(Nonces::of_this_process()).dangerous_accept_replayed_proofs(),
            Dpop::new(URL).with_replay_memory(64 * 1024).with_replay_timeout(Duration::from_millis(1)),
            Dpop::new(URL).with_replay_timeout(Duration::from_secs(10)),
        ] {
            assert_eq!(errors(&dpop), [], "{dpop:?}");
        }
    }

    #[test]
    fn rejects_two_ways_to_detect_replays() {
        let store = || MemoryReplayStore::for_nonces(1 << 20);
        for dpop in [
            Dpop::new(URL).with_replay_store(store()).with_replay_memory(1 << 20),
            Dpop::new(URL).with_replay_memory(1 << 20).with_replay_store(store()),
            Dpop::new(URL).dangerous_accept_replayed_proofs().with_replay_memory(1 << 20),
            Dpop::new(URL).with_replay_store(store()).dangerous_accept_replayed_proofs(),
            Dpop::new(URL).with_replay_memory(1 << 20).with_replay_store(store()).with_replay_store(store()),
        ] {
            assert_eq!(errors(&dpop), [SettingErrorKind::ReplaySettings], "{dpop:?}");
        }
        let later = Dpop::new(URL).with_replay_memory(1).with_replay_memory(1 << 20);
        assert_eq!(errors(&later), []);
    }

    #[test]
    fn reports_all_errors_at_once() {
        let short = Nonces::shared(Secret::new(vec![7; 31]).expect("a secret"));
        let dpop = Dpop::new("http://api.northwind.com")
            .with_public_url("https://eu.northwind.com/a")
            .with_public_url("https://EU.northwind.com:443/b")
            .with_proof_algorithms([Algorithm::ES256, Algorithm::HS256, Algorithm::ES256])
            .with_proof_lifetime(Duration::ZERO)
            .with_proof_leeway(Duration::from_secs(61))
            .with_nonces(short)
            .with_replay_memory(1_000)
            .with_replay_timeout(Duration::ZERO);
        let too_short = SecretError::TooShortForNonces { length: 31, needed: 32 };
        let expected = [
            SettingErrorKind::PublicUrl(PublicUrlError::PlainHttp),
            SettingErrorKind::DuplicatePublicUrl,
            SettingErrorKind::SymmetricProof(Algorithm::HS256),
            SettingErrorKind::DuplicateAlgorithm(Algorithm::ES256),
            SettingErrorKind::ProofLifetime,
            SettingErrorKind::ProofLeeway,
            SettingErrorKind::Secret(too_short),
            SettingErrorKind::ReplayTimeout,
            SettingErrorKind::ReplayMemory,
        ];
        assert_eq!(errors(&dpop), expected);
        assert_eq!(errors(&Dpop::new(URL).with_proof_algorithms([])), [SettingErrorKind::NoProofAlgorithms]);
        let long = Dpop::new(URL).with_proof_lifetime(Duration::from_secs(301));
        assert_eq!(errors(&long), [SettingErrorKind::ProofLifetime]);
        let long = Dpop::new(URL).with_replay_timeout(Duration::from_millis(10_001));
        assert_eq!(errors(&long), [SettingErrorKind::ReplayTimeout]);
    }
}
