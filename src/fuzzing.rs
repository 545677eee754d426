//! Doors for the fuzz targets into what has no public name; compiled for them only.

pub use crate::jwks::fuzzing::{Step, cache_control, discovery, refresh_machine};
