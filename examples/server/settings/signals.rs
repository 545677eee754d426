//! The table `[signals]`.

use tower_bearer::Validator;
use tower_bearer::revocation::Revocations;
use tower_bearer::signals::{LogoutReach, LogoutReceiver};

use super::section::Section;

/// The settings of the receiver of logout tokens.
pub(super) struct Signals {
    path: String,
    client_ids: Vec<String>,
    reach: LogoutReach,
    issuer: Option<String>,
}

/// The receiver of logout tokens, and its path.
pub(crate) struct Logout {
    pub(crate) path: String,
    pub(crate) receiver: LogoutReceiver,
}

pub(super) fn signals(mut section: Section, has_list: bool) -> Signals {
    if !has_list {
        section.table_error("has no effect without [revocation]");
    }
    let path: String = section.take("logout_path").unwrap_or_else(|| "/backchannel-logout".to_owned());
    if !path.starts_with('/') || path.contains(['{', '}', '*', '?', '#']) {
        section.error("logout_path", "is not a path, like \"/backchannel-logout\"");
    }
    let client_ids: Vec<String> = section.required("client_ids").unwrap_or_else(|| vec!["unknown".to_owned()]);
    if client_ids.is_empty() {
        section.error("client_ids", "is empty; it lists the applications for which the issuer sends logout tokens");
    }
    let reach = match section.take::<String>("logout_reach").as_deref() {
        None | Some("subject") => LogoutReach::Subject,
        Some("session") => LogoutReach::Session,
        Some(_) => {
            section.error("logout_reach", "is not \"session\" or \"subject\"");
            LogoutReach::Subject
        }
    };
    let issuer = section.take("issuer");
    section.end();
    Signals { path, client_ids, reach, issuer }
}

impl Signals {
    /// Returns the receiver, or the error of the setting `issuer`. `first` is the first issuer of the API.
    pub(super) fn build(self, validator: &Validator, list: &Revocations, first: &str) -> Result<Logout, &'static str> {
        let Self { path, client_ids, reach, issuer } = self;
        let issuer = validator.issuer(issuer.as_deref().unwrap_or(first));
        let issuer = issuer.ok_or("signals.issuer: is none of the domains in [[api.issuer]]")?;
        Ok(Logout { path, receiver: LogoutReceiver::new(issuer, client_ids, list).with_reach(reach) })
    }
}
