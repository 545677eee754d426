//! The behaviour of the crate from outside: one file per RFC or behaviour, one binary for all.

#![expect(clippy::arithmetic_side_effects, reason = "tests count and add freely; an overflow fails them")]

mod attack_matrix;
mod config;
mod exceptions;
mod fixed_clock;
mod hostile_input;
mod kit;
mod properties;
mod rfc9110;
mod secrets;
mod validator;
mod vectors;
mod vectors_headers;
mod vectors_jwks;
mod vectors_tink;
