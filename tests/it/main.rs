//! The behaviour of the crate from outside: one file per RFC or behaviour, one binary for all.

#![expect(clippy::arithmetic_side_effects, reason = "tests count and add freely; an overflow fails them")]

mod attack_matrix;
mod clients;
mod config;
mod cors;
mod explain;
mod fixed_clock;
mod gate;
mod grpc;
mod requesting_domain;
mod requirements;
mod resource_metadata;
mod seams;
mod several_apis;
mod validator;
mod vectors;
