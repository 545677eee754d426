//! The guide: how to use, operate and test the crate.
//!
//! | page | content |
//! |---|---|
//! | [quickstart] | Auth0: RS256 and HS256, custom domains, permissions, organizations |
//! | [recipes] | other servers: any with discovery, Keycloak, Okta, Entra ID, AD FS, Amazon Cognito, Clerk, Dex, Supabase, WorkOS |
//! | [howto] | short answers: open routes, cookies, gRPC, MCP, several tenants, proxies |
//! | [authorization] | rules for routes: nested claims, scopes that imply others, rules in code, rules that query a database, OpenAPI |
//! | [frameworks] | actix-web, WebSocket, AWS Lambda, salvo, poem, rocket |
//! | [layers] | the order of tracing, timeout, CORS, `BearerLayer` and `RequireLayer` |
//! | [mistakes] | common mistakes and their symptoms |
//! | [defaults] | every default and its reason |
//! | [opaque] | opaque tokens and revocations: token introspection |
//! | [dpop] | bind tokens to clients: DPoP, nonces, several processes; mutual TLS, certificates from proxies |
//! | [tenants] | many tenants: Entra ID, Auth0's custom domains, patterns of `iss` values, realms and pools |
//! | [revocation] | reject tokens and sessions before they expire |
//! | [answers] | responses and errors: what a client gets, and where the reason is |
//! | [outages] | key rotation, outages, readiness |
//! | [observability] | logs, spans, metrics, alert rules |
//! | [runbook] | what to do about a log message or a `RejectionKind` |
//! | [performance] | CPU time and memory, compared with other crates |
//! | [testing] | tests of your API, without network and without sleeps |
//! | [cors] | browsers: preflights, and challenges that a script can read |
//! | [migrating] | from other crates and languages |
//! | [threat_model] | attacks, checks and the tests that prove the checks |
//! | [standards] | RFC 6750, 8725 and 9700, rule by rule, with the tests |
//! | [differential] | the same tokens in this crate and in libraries of Python and Node |

// Each page has link definitions at its end, which work where the file itself is read. `links.txt` stands before the page,
// so that rustdoc uses its definitions: the first definition of a label wins.

#[doc = include_str!("links.txt")]
#[doc = include_str!("quickstart.md")]
pub mod quickstart {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("recipes.md")]
pub mod recipes {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("howto.md")]
pub mod howto {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("authorization.md")]
pub mod authorization {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("layers.md")]
pub mod layers {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("frameworks.md")]
pub mod frameworks {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("mistakes.md")]
pub mod mistakes {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("opaque.md")]
pub mod opaque {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("dpop.md")]
pub mod dpop {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("tenants.md")]
pub mod tenants {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("revocation.md")]
pub mod revocation {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("answers.md")]
pub mod answers {}

// A chart has a transparent pixel as its image in rustdoc: the SVG is part of the page.
#[doc = include_str!("links.txt")]
#[doc = include_str!("outages.md")]
#[doc = include_str!("fleet/plot.svg")]
pub mod outages {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("observability.md")]
pub mod observability {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("runbook.md")]
pub mod runbook {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("performance.md")]
#[doc = include_str!("peers_loopback.svg")]
pub mod performance {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("cors.md")]
pub mod cors {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("standards.md")]
pub mod standards {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("differential.md")]
pub mod differential {}

/// The snippets of the README are compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
