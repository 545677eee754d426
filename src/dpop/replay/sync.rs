//! The types through which threads share a [`Table`](super::table::Table). The model checks compile the table with others.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub(super) use arc_swap::{ArcSwapOption, Guard};
