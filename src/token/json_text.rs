//! Parts of a JSON text: ranges, and strings without their quotes and escapes.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::ops::Range;

/// A range of a text, as byte offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    /// Never zero, so that `Option<Span>` needs no extra space: most claims are absent.
    end: NonZeroU32,
}

impl Span {
    /// Returns `None` for an offset that does not fit a `u32`, and for a range that ends at zero.
    pub(super) fn new(range: Range<usize>) -> Option<Self> {
        Some(Self { start: u32::try_from(range.start).ok()?, end: NonZeroU32::new(u32::try_from(range.end).ok()?)? })
    }

    pub(super) fn slice(self, text: &str) -> Option<&str> {
        let range: Range<usize> = usize::try_from(self.start).ok()?..usize::try_from(self.end.get()).ok()?;
        text.get(range)
    }
}

/// Returns the text of a JSON string; `None` for any other JSON value.
pub(crate) fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = inside_quotes(raw)?;
    unquote_with(raw, memchr::memchr(b'\\', inner.as_bytes()).is_some())
}

/// Returns the text of a JSON string if the caller knows whether it can have escapes.
pub(super) fn unquote_with(raw: &str, may_have_escapes: bool) -> Option<Cow<'_, str>> {
    let inner = inside_quotes(raw)?;
    if may_have_escapes { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Returns a JSON string without its quotes and with its escapes unchanged; `None` for any other value.
pub(super) fn inside_quotes(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}
