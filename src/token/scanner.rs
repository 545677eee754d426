//! Scans a JSON text from start to end: checks its grammar and builds no values (RFC 8259).
//!
//! serde_json builds or skips values and reports no positions: with it, the same work took three passes over the text and
//! twice the time. The scanner accepts the same texts as serde_json, with two exceptions: lone surrogates, which serde_json
//! accepts in strings that it skips, and the limit of the depth.

use std::ops::Range;

use crate::defaults;
use crate::token::json_text::unquote_with;
use crate::token::reserved::is_reserved;

/// A JSON text and the position up to which it is scanned.
pub(super) struct JsonScanner<'j> {
    json: &'j str,
    at: usize,
    has_escapes: bool,
}

/// A JSON string with its quotes and escapes.
#[derive(Clone, Copy)]
pub(super) struct Text<'j> {
    pub(super) quoted: &'j str,
    pub(super) has_escapes: bool,
}

/// Why a text is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    /// The text is not JSON, not an object, or more than one value.
    Syntax,
    /// Two members have the same name after unescaping.
    DuplicateMember,
    /// The text is nested deeper than the limit.
    TooDeep,
    /// A member at any depth has a name that serde_json reserves.
    ReservedMember,
}

impl<'j> JsonScanner<'j> {
    pub(super) fn new(json: &'j str) -> Self {
        Self { json, at: 0, has_escapes: false }
    }

    /// Returns whether any scanned string has a backslash.
    pub(super) fn has_escapes(&self) -> bool {
        self.has_escapes
    }

    /// Scans one object, and calls `member` with the name and the range of the value of each member.
    pub(super) fn object(
        &mut self,
        depth: usize,
        member: &mut impl FnMut(Text<'j>, Range<usize>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'{', depth)?;
        if self.consume(b'}') {
            return Ok(());
        }
        loop {
            let name = self.text()?;
            if name.is_reserved() {
                return Err(JsonError::ReservedMember);
            }
            self.skip_blanks();
            self.expect(b':')?;
            self.skip_blanks();
            let value = self.value(depth)?;
            member(name, value)?;
            if self.scan_end_or_comma(b'}')? {
                return Ok(());
            }
        }
    }

    /// Scans one array, and calls `element` with the range of each element.
    pub(super) fn array(&mut self, depth: usize, element: &mut impl FnMut(Range<usize>)) -> Result<(), JsonError> {
        self.open(b'[', depth)?;
        if self.consume(b']') {
            return Ok(());
        }
        loop {
            let value = self.value(depth)?;
            element(value);
            if self.scan_end_or_comma(b']')? {
                return Ok(());
            }
        }
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.advance(1);
        }
    }

    /// Checks that only blanks follow the value.
    pub(super) fn end(mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.peek().is_none() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// Scans one value at this depth and returns its range.
    fn value(&mut self, depth: usize) -> Result<Range<usize>, JsonError> {
        let start = self.at;
        let within = depth.saturating_add(1);
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(within, &mut |_, _| Ok(())),
            Some(b'[') => self.array(within, &mut |_| ()),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.number(),
        }?;
        Ok(start..self.at)
    }

    fn text(&mut self) -> Result<Text<'j>, JsonError> {
        let start = self.at;
        let has_escapes = self.string()?;
        let quoted = self.json.get(start..self.at).ok_or(JsonError::Syntax)?;
        Ok(Text { quoted, has_escapes })
    }

    /// Scans a string and returns whether it has escapes.
    fn string(&mut self) -> Result<bool, JsonError> {
        self.expect(b'"')?;
        self.advance(plain_prefix(self.rest()));
        let has_escapes = !self.consume(b'"');
        if has_escapes {
            self.has_escapes = true;
            self.string_after_escape()?;
        }
        Ok(has_escapes)
    }

    /// Scans the rest of a string from its first escape.
    fn string_after_escape(&mut self) -> Result<(), JsonError> {
        while !self.consume(b'"') {
            self.expect(b'\\')?;
            self.escape()?;
            self.advance(plain_prefix(self.rest()));
        }
        Ok(())
    }

    /// Scans an escape after its backslash.
    fn escape(&mut self) -> Result<(), JsonError> {
        let escaped = self.peek();
        self.advance(1);
        match escaped {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.code_unit()? {
                // RFC 8259 §8.2: a lone surrogate is not a character, and parsers treat it differently.
                0xD800..=0xDBFF => {
                    self.literal(br"\u")?;
                    if matches!(self.code_unit()?, 0xDC00..=0xDFFF) { Ok(()) } else { Err(JsonError::Syntax) }
                }
                0xDC00..=0xDFFF => Err(JsonError::Syntax),
                _ => Ok(()),
            },
            _ => Err(JsonError::Syntax),
        }
    }

    fn code_unit(&mut self) -> Result<u16, JsonError> {
        let digits = self.rest().get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        self.advance(4);
        digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()).ok_or(JsonError::Syntax)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.consume(b'-');
        if !self.consume(b'0') {
            self.digits()?;
        }
        if self.consume(b'.') {
            self.digits()?;
        }
        if self.consume(b'e') || self.consume(b'E') {
            let _signed = self.consume(b'+') || self.consume(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.advance(1);
        }
        if self.at > start { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// Scans the opening bracket of an object or array.
    fn open(&mut self, bracket: u8, depth: usize) -> Result<(), JsonError> {
        self.expect(bracket)?;
        if depth > defaults::MAX_JSON_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.skip_blanks();
        Ok(())
    }

    /// Scans the closing bracket of an object or array and returns `true`, or the comma before its next item and returns
    /// `false`.
    fn scan_end_or_comma(&mut self, bracket: u8) -> Result<bool, JsonError> {
        self.skip_blanks();
        if self.consume(bracket) {
            return Ok(true);
        }
        self.expect(b',')?;
        self.skip_blanks();
        Ok(false)
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), JsonError> {
        if !self.rest().starts_with(literal) {
            return Err(JsonError::Syntax);
        }
        self.advance(literal.len());
        Ok(())
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.consume(byte) { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn consume(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.advance(1);
        }
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'j [u8] {
        self.json.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }
}

impl Text<'_> {
    /// Returns whether serde_json reserves this member name. Only the first byte is needed for nearly every name.
    fn is_reserved(self) -> bool {
        matches!(self.quoted.as_bytes(), [_, b'$' | b'\\', ..])
            && unquote_with(self.quoted, self.has_escapes).is_some_and(|name| is_reserved(&name))
    }
}

/// Returns the number of bytes before a quote, a backslash or a control character. It checks eight bytes at a time.
fn plain_prefix(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let ends = end_mask(u64::from_le_bytes(*eight));
        if ends != 0 {
            let within = usize::try_from(ends.trailing_zeros() >> 3).unwrap_or_default();
            return text.len().saturating_sub(rest.len()).saturating_add(within);
        }
        rest = after;
    }
    let within = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..=0x1f)).unwrap_or(rest.len());
    text.len().saturating_sub(rest.len()).saturating_add(within)
}

/// Sets the highest bit of the first of eight bytes that ends plain text. Bits after that byte have no meaning.
fn end_mask(eight: u64) -> u64 {
    let below = |bytes: u64, limit: u8| bytes.wrapping_sub(ONES.wrapping_mul(u64::from(limit))) & !bytes;
    let equal = |byte: u8| below(eight ^ ONES.wrapping_mul(u64::from(byte)), 1);
    (below(eight, 0x20) | equal(b'"') | equal(b'\\')) & ONES.wrapping_mul(0x80)
}

/// The value one in each byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);
