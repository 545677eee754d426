//! The table `[tenants]`: tenants with their own keys, by a list of names.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tower_bearer::config::Tenants;
use tower_bearer::{Issuer, Validator};

use super::issuer::algorithms;
use super::section::Section;

/// The names of the tenants, which the resolver reads.
type Names = Arc<RwLock<BTreeSet<String>>>;

/// The tenants, and the file with their names if there is one.
pub(super) struct TenantSettings {
    pub(super) tenants: Tenants,
    pub(super) file: Option<TenantFile>,
}

/// A file with the names of the tenants, which is read again when it changes.
pub(crate) struct TenantFile {
    path: String,
    /// The `iss` of a tenant, with `{..}` in the place of its name.
    pattern: String,
    names: Names,
    /// The text that was read last, also if it was broken; `None` if the file could not be read.
    text: Option<String>,
}

/// Returns the tenants. A valid placeholder replaces each invalid setting, so that the library checks all others.
pub(super) fn tenants(mut section: Section) -> TenantSettings {
    let pattern: String = section.required("pattern").unwrap_or_else(|| PLACEHOLDER_PATTERN.to_owned());
    let name = capture(&pattern);
    if name.is_none() && pattern.contains('{') {
        section.error("pattern", "has more than one capture; the names in allow stand for the only one");
    }
    let listed: Option<Vec<String>> = section.take("allow");
    let path: Option<String> = section.take("file");
    let (names, file) = match (listed, path) {
        (Some(listed), None) => (listed.into_iter().collect(), None),
        (None, Some(path)) => read(&section, path),
        (Some(_), Some(_)) => {
            section.error("allow", "is set together with file; choose one");
            Default::default()
        }
        (None, None) => {
            section.error("allow", "is missing; it lists the names of the tenants, or file names a file that does");
            Default::default()
        }
    };
    let names: Names = Arc::new(RwLock::new(names));
    let algorithms = algorithms(&mut section);
    let known = Arc::clone(&names);
    let capture = name.unwrap_or_default().to_owned();
    let tenants = Tenants::matching(&pattern).resolved_by(move |claimed| {
        let is_known = claimed.capture(&capture).is_some_and(|name| read_names(&known).contains(name));
        let issuer = || algorithms.iter().cloned().fold(Issuer::oidc(claimed.issuer()), Issuer::with_algorithms);
        let found = is_known.then(issuer);
        async move { Ok(found) }
    });
    let tenants = section.take("max").into_iter().fold(tenants, Tenants::with_max_tenants);
    let per_second: Option<usize> = section.take("new_per_second");
    let tenants = per_second
        .into_iter()
        .fold(tenants, |tenants, limit| tenants.with_new_tenants_per_second(u32::try_from(limit).unwrap_or(u32::MAX)));
    let is_any_address = section.take("allow_private_addresses").unwrap_or(false);
    let tenants = if is_any_address { tenants.dangerous_allow_private_addresses() } else { tenants };
    section.end();
    let file = file.map(|(path, text)| TenantFile { path, pattern, names, text: Some(text) });
    TenantSettings { tenants, file }
}

impl TenantFile {
    /// Reads the file again every second, and stops when the future is dropped.
    pub(crate) async fn watch(mut self, validator: Validator) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.check(&validator);
        }
    }

    /// Reads the file. If it has changed, the tenants that were removed are rejected from now on, and the new ones accepted. If it is
    /// broken or has vanished, the names stay as they are.
    pub(crate) fn check(&mut self, validator: &Validator) {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if self.text.take().is_some() {
                    tracing::error!("{}: {error}; the tenants stay as they are", self.path);
                }
                return;
            }
        };
        if self.text.as_ref() == Some(&text) {
            return;
        }
        match super::only_list(&text, "allow") {
            Ok(names) => self.replace(names, validator),
            Err(problem) => tracing::error!("{}: {problem}; the tenants stay as they are", self.path),
        }
        self.text = Some(text);
    }

    fn replace(&self, names: BTreeSet<String>, validator: &Validator) {
        let changed: Vec<String> = read_names(&self.names).symmetric_difference(&names).cloned().collect();
        let count = names.len();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
        for name in &changed {
            // Also for a new tenant: it may be remembered that it was not known.
            validator.tenants().remove(&issuer(&self.pattern, name));
        }
        tracing::info!("{}: {count} tenants, of which {} are new or removed", self.path, changed.len());
    }
}

fn read_names(names: &Names) -> std::sync::RwLockReadGuard<'_, BTreeSet<String>> {
    names.read().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the file at start, where an error ends the program.
fn read(section: &Section, path: String) -> (BTreeSet<String>, Option<(String, String)>) {
    let read = fs::read_to_string(&path).map_err(|error| error.to_string());
    let parsed = read.and_then(|text| super::only_list(&text, "allow").map(|names| (names, text)));
    match parsed {
        Ok((names, text)) => (names, Some((path, text))),
        Err(problem) => {
            section.error("file", format!("{path:?}: {problem}"));
            Default::default()
        }
    }
}

/// Returns the name of the only capture of a pattern.
fn capture(pattern: &str) -> Option<&str> {
    let (_, rest) = pattern.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    (!after.contains('{')).then_some(name)
}

/// Returns the `iss` of a tenant.
fn issuer(pattern: &str, name: &str) -> String {
    let capture = capture(pattern).unwrap_or_default();
    pattern.replace(&format!("{{{capture}}}"), name)
}

const PLACEHOLDER_PATTERN: &str = "https://unknown.invalid/{tenant}";

/// The pause between two reads of the file.
const INTERVAL: Duration = Duration::from_secs(1);
