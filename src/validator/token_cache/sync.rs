//! The types through which threads share a [`Table`](super::table::Table). The model checks compile the table with others.

pub(super) use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use arc_swap::{ArcSwapOption, Guard};
