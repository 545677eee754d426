//! Header fields that contain a list (RFC 9110 §5.6.1).

use http::{HeaderMap, HeaderName};

/// Returns the items of the lists in all fields of this name, without the white space around them.
pub(crate) fn list_items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let fields = headers.get_all(name).iter();
    fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}
