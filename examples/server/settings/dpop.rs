//! The table `[api.dpop]`.

use tower_bearer::Algorithm;
use tower_bearer::dpop::{Dpop, Nonces};
use tower_bearer::stores::{Redis, RedisReplayStore};

use super::issuer;
use super::section::{OneOrMany, Section};

/// Returns the settings of DPoP. The key `required` belongs to the API. `api` is the name of the API in Redis.
pub(super) fn dpop(mut section: Section, api: &str) -> Dpop {
    let OneOrMany(urls) =
        section.required("public_url").unwrap_or_else(|| OneOrMany(vec!["https://unknown".to_owned()]));
    if urls.is_empty() {
        section.error("public_url", "is empty; it is the URL under which clients reach the API");
    }
    let mut urls = urls.into_iter();
    let dpop = Dpop::new(urls.next().unwrap_or_else(|| "https://unknown".to_owned()));
    let dpop = urls.fold(dpop, Dpop::with_public_url);
    let algorithms: Option<Vec<Algorithm>> = issuer::algorithms(&mut section);
    let dpop = algorithms.into_iter().fold(dpop, |dpop, algorithms| dpop.with_proof_algorithms(algorithms));
    let dpop = section.duration("lifetime").into_iter().fold(dpop, Dpop::with_proof_lifetime);
    let dpop = section.duration("leeway").into_iter().fold(dpop, Dpop::with_proof_leeway);
    let dpop = nonces(&mut section).into_iter().fold(dpop, Dpop::with_nonces);
    let dpop = replay(&mut section, dpop, api);
    section.end();
    dpop
}

fn nonces(section: &mut Section) -> Option<Nonces> {
    let secrets = section.sections("nonce_secrets")?;
    if secrets.is_empty() {
        section.error("nonce_secrets", "is empty; write it like [{ text_env = \"NONCE_SECRET\" }]");
    }
    let mut secrets = secrets.into_iter().filter_map(issuer::secret);
    let first = Nonces::shared(secrets.next()?);
    Some(secrets.fold(first, Nonces::with_previous))
}

fn replay(section: &mut Section, dpop: Dpop, api: &str) -> Dpop {
    let store = section.take::<String>("replay");
    let fallback = section.take::<String>("replay_fallback");
    let url = store.as_deref().filter(|store| store.contains("://"));
    let has_fallback = match fallback.as_deref() {
        None | Some("refuse") => false,
        Some("local") => {
            if url.is_none() {
                section
                    .error("replay_fallback", "\"local\" has an effect only with the URL of a Redis server in replay");
            }
            true
        }
        Some(_) => {
            section.error("replay_fallback", "is not \"refuse\" or \"local\"");
            false
        }
    };
    match (store.as_deref(), url) {
        (_, Some(url)) => match Redis::new(url) {
            Ok(redis) => {
                let store = RedisReplayStore::new(&redis, api);
                dpop.with_replay_store(if has_fallback { store.with_local_fallback() } else { store })
            }
            Err(error) => {
                section.error("replay", error);
                dpop
            }
        },
        (None | Some("memory"), None) => dpop,
        (Some("off"), None) => dpop.dangerous_accept_replayed_proofs(),
        (Some(_), None) => {
            section.error(
                "replay",
                "is not \"memory\", \"off\" or the URL of a Redis server, such as \"redis://127.0.0.1\"",
            );
            dpop
        }
    }
}
