//! The machine by itself: every transition, and its bounds under any sequence of events.

#![expect(clippy::arithmetic_side_effects, reason = "tests count and add freely; an overflow fails them")]

mod bounds;
mod unknown_kids;
mod rotation;
mod simulation;
mod transitions;
