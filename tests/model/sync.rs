//! The types of `src/validator/token_cache/sync.rs`, under the control of the model checker.

#[path = "arc_swap.rs"]
mod arc_swap;

pub(super) use std::sync::{Arc, PoisonError};

pub(super) use loom::sync::atomic::{AtomicU8, AtomicU16, Ordering};
pub(super) use loom::sync::{Mutex, MutexGuard};

pub(super) use self::arc_swap::{ArcSwapOption, Guard};
