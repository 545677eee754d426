//! Tests of the state machine alone: every transition, and its bounds under any sequence of events.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails the test")]

mod absent_kids;
mod bounds;
mod unknown_kids;
mod rotation;
mod signatures;
mod simulation;
mod transitions;
