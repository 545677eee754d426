//! `ProtectedResourceMetadata` as a response and a handler.

use axum_core::response::{IntoResponse, Response};

use crate::metadata::ProtectedResourceMetadata;
use crate::middleware::document;

/// Returns the document of RFC 9728 §3.2 as a response. axum also accepts a clone of the metadata as a handler.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_bearer::metadata::ProtectedResourceMetadata;
///
/// let metadata = ProtectedResourceMetadata::new("https://api.northwind.com/mcp", ["https://northwind.eu.auth0.com/"])?;
/// let app: Router = Router::new().route(metadata.path(), get(metadata.clone()));
/// # let _ = app;
/// # Ok::<(), tower_bearer::metadata::MetadataError>(())
/// ```
impl IntoResponse for ProtectedResourceMetadata {
    fn into_response(self) -> Response {
        document(self.to_json())
    }
}
