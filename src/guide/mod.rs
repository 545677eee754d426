//! The guide: how to use the crate, and how far it was tested.
//!
//! Each page is a text beside this file; its snippets are compiled with the tests.
//!
//! | page | for |
//! |---|---|
//! | [quickstart] | Auth0: RS256 and HS256, custom domains, permissions, organizations |
//! | [recipes] | other servers: any with discovery, Keycloak, Okta, Entra ID, Amazon Cognito, and why not Google |
//! | [howto] | short answers: open routes, revocation, cookies, gRPC, several tenants, proxies, … |
//! | [defaults] | every default with its reason |
//! | [answers] | what a client gets, and where the reason is |
//! | [outages] | key rotation, outages, readiness |
//! | [observability] | logs, spans, metrics, and what to alert on |
//! | [performance] | what it costs in production, against the floor, and beside other crates |
//! | [testing] | tests of your API, without network and without sleep |
//! | [cors] | browsers: preflights, and challenges that a page can read |
//! | [migrating] | from other crates and languages |
//! | [threat_model] | what an attacker may try, and what stands against it |
//! | [differential] | the same tokens, judged here and by libraries of Python and Node |

#[doc = include_str!("quickstart.md")]
pub mod quickstart {}

#[doc = include_str!("recipes.md")]
pub mod recipes {}

#[doc = include_str!("howto.md")]
pub mod howto {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("answers.md")]
pub mod answers {}

#[doc = include_str!("outages.md")]
#[doc = include_str!("fleet/table.md")]
#[doc = include_str!("fleet/plot.svg")]
pub mod outages {}

#[doc = include_str!("observability.md")]
pub mod observability {}

#[doc = include_str!("performance.md")]
#[doc = include_str!("peers_loopback.svg")]
pub mod performance {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("cors.md")]
pub mod cors {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("differential.md")]
pub mod differential {}

/// The snippets of the README are compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
