//! The types of `src/dpop/replay/sync.rs`, under the control of the model checker.

#[path = "arc_swap.rs"]
mod arc_swap;

pub(super) use std::sync::Arc;

pub(super) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub(crate) use self::arc_swap::ArcSwap;
pub(super) use self::arc_swap::{ArcSwapOption, Guard};
