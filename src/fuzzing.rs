//! Entry points for the fuzz targets into private modules; compiled only with `cfg(fuzzing)`.

pub use crate::introspection::fuzzing::introspection_answer;
pub use crate::jwks::fuzzing::{Step, cache_control, discovery, refresh_machine};
pub use crate::mutual_tls::fuzzing::certificate_header;
