//! The behaviour of the crate from outside: one file per RFC or behaviour, one binary for all.

#![expect(clippy::arithmetic_side_effects, reason = "tests count and add freely; an overflow fails them")]

mod attack_matrix;
mod config;
mod fixed_clock;
mod memo;
mod validator;
mod vectors;
