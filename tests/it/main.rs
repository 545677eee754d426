//! The behavior of the crate through its public API: one file per RFC or behavior, one binary for all.

#![expect(clippy::arithmetic_side_effects, clippy::as_conversions, reason = "an overflow fails the test")]
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "an unexpected error fails the test")]

mod allocations;
mod answers;
mod attack_matrix;
mod attack_scenarios;
mod authenticator;
mod axum_extractors;
mod backchannel_logout;
mod certificates;
mod challenge_parser;
mod clients;
mod config;
mod content_coding;
mod cors;
mod doctor;
mod dpop_answers;
mod dpop_cases;
mod dpop_fixture;
mod dpop_nonces;
mod dpop_replay;
mod error_sources;
mod events;
mod example_server;
#[path = "../support/exceptions.rs"]
mod exceptions;
mod explain;
mod fapi;
mod fetched_keys;
mod fixture;
mod grpc;
mod guide;
mod hostile_input;
mod implied_scopes;
mod jwks_sockets;
mod layer_async;
mod layer_bearer;
mod layer_bodies;
mod layer_cold;
mod layer_fixture;
mod layer_hosts;
mod layer_readiness;
mod layer_require;
mod layer_stack;
mod many_tenants;
mod mutual_tls_answers;
mod mutual_tls_cases;
mod mutual_tls_connections;
mod properties;
mod requesting_domain;
mod requirements;
mod resource_metadata;
mod revocation;
mod rules_challenge;
mod rules_claims;
mod rules_jws;
mod rules_keys;
mod rules_practice;
mod rules_request;
mod secrets;
mod servers;
mod several_apis;
mod stack;
mod still_valid;
mod stored_keys;
mod threat_model;
mod token_cache;
mod token_sources;
mod two_kinds;
mod validator;
#[path = "../support/vectors.rs"]
mod vectors;
mod vectors_headers;
mod vectors_jwks;
mod vectors_tink;
