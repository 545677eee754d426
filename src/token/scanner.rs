//! A JSON text walked from start to end: its grammar is checked, and nothing is read (RFC 8259).
//!
//! serde_json builds or skips values, and tells no places: with it, this took three passes over the text and twice the
//! time. What it takes and what is taken here is the same, but for half a surrogate pair, which it lets pass in strings
//! that it skips, and for the depth.

use std::ops::Range;

use crate::defaults;
use crate::token;
use crate::token::object::ObjectError;

/// How far a text has been walked.
pub(super) struct JsonScanner<'j> {
    json: &'j str,
    at: usize,
    has_escapes: bool,
}

/// A string as it stands in a text, with its quotes.
#[derive(Clone, Copy)]
pub(super) struct Text<'j> {
    pub(super) quoted: &'j str,
    pub(super) has_escapes: bool,
}

impl<'j> JsonScanner<'j> {
    pub(super) fn over(json: &'j str) -> Self {
        Self { json, at: 0, has_escapes: false }
    }

    /// Says whether any string so far has a backslash.
    pub(super) fn has_escapes(&self) -> bool {
        self.has_escapes
    }

    /// Walks over one object, and tells of each member its name and where its value stands.
    pub(super) fn object(
        &mut self,
        depth: usize,
        member: &mut impl FnMut(Text<'j>, Range<usize>) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        self.open(b'{', depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.text()?;
            if name.is_reserved() {
                return Err(ObjectError::ReservedMember);
            }
            self.skip_blanks();
            self.expect(b':')?;
            self.skip_blanks();
            let value = self.value(depth)?;
            member(name, value)?;
            if self.closes(b'}')? {
                return Ok(());
            }
        }
    }

    /// Walks over one array, and tells where each element stands.
    pub(super) fn array(&mut self, depth: usize, element: &mut impl FnMut(Range<usize>)) -> Result<(), ObjectError> {
        self.open(b'[', depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            let value = self.value(depth)?;
            element(value);
            if self.closes(b']')? {
                return Ok(());
            }
        }
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.next() {
            self.step(1);
        }
    }

    /// Nothing may follow the one value but blanks.
    pub(super) fn end(mut self) -> Result<(), ObjectError> {
        self.skip_blanks();
        if self.next().is_none() { Ok(()) } else { Err(ObjectError::Syntax) }
    }

    /// Walks over any value that stands at this depth.
    fn value(&mut self, depth: usize) -> Result<Range<usize>, ObjectError> {
        let start = self.at;
        let within = depth.saturating_add(1);
        match self.next() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(within, &mut |_, _| Ok(())),
            Some(b'[') => self.array(within, &mut |_| ()),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.number(),
        }?;
        Ok(start..self.at)
    }

    fn text(&mut self) -> Result<Text<'j>, ObjectError> {
        let start = self.at;
        let has_escapes = self.string()?;
        let quoted = self.json.get(start..self.at).ok_or(ObjectError::Syntax)?;
        Ok(Text { quoted, has_escapes })
    }

    /// Walks over a string, and says whether it has escapes.
    fn string(&mut self) -> Result<bool, ObjectError> {
        self.expect(b'"')?;
        self.step(plain_octets(self.rest()));
        let has_escapes = !self.take(b'"');
        if has_escapes {
            self.has_escapes = true;
            self.rest_of_string()?;
        }
        Ok(has_escapes)
    }

    /// Goes on where plain text ends.
    fn rest_of_string(&mut self) -> Result<(), ObjectError> {
        while !self.take(b'"') {
            self.expect(b'\\')?;
            self.escape()?;
            self.step(plain_octets(self.rest()));
        }
        Ok(())
    }

    /// Walks over what stands behind a backslash.
    fn escape(&mut self) -> Result<(), ObjectError> {
        let escaped = self.next();
        self.step(1);
        match escaped {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.code_unit()? {
                // RFC 8259 §8.2: half of a pair is no character, and readers differ about it.
                0xD800..=0xDBFF => {
                    self.word(br"\u")?;
                    if matches!(self.code_unit()?, 0xDC00..=0xDFFF) { Ok(()) } else { Err(ObjectError::Syntax) }
                }
                0xDC00..=0xDFFF => Err(ObjectError::Syntax),
                _ => Ok(()),
            },
            _ => Err(ObjectError::Syntax),
        }
    }

    fn code_unit(&mut self) -> Result<u16, ObjectError> {
        let digits = self.rest().get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        self.step(4);
        digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()).ok_or(ObjectError::Syntax)
    }

    fn number(&mut self) -> Result<(), ObjectError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ObjectError> {
        let start = self.at;
        while self.next().is_some_and(|octet| octet.is_ascii_digit()) {
            self.step(1);
        }
        if self.at > start { Ok(()) } else { Err(ObjectError::Syntax) }
    }

    /// Begins what may nest.
    fn open(&mut self, bracket: u8, depth: usize) -> Result<(), ObjectError> {
        self.expect(bracket)?;
        if depth > defaults::MAX_JSON_DEPTH {
            return Err(ObjectError::TooDeep);
        }
        self.skip_blanks();
        Ok(())
    }

    /// Passes the end of an object or array, or the comma before what comes next in it.
    fn closes(&mut self, bracket: u8) -> Result<bool, ObjectError> {
        self.skip_blanks();
        if self.take(bracket) {
            return Ok(true);
        }
        self.expect(b',')?;
        self.skip_blanks();
        Ok(false)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), ObjectError> {
        if !self.rest().starts_with(word) {
            return Err(ObjectError::Syntax);
        }
        self.step(word.len());
        Ok(())
    }

    fn expect(&mut self, octet: u8) -> Result<(), ObjectError> {
        if self.take(octet) { Ok(()) } else { Err(ObjectError::Syntax) }
    }

    fn take(&mut self, octet: u8) -> bool {
        let there = self.next() == Some(octet);
        if there {
            self.step(1);
        }
        there
    }

    fn next(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'j [u8] {
        self.json.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn step(&mut self, octets: usize) {
        self.at = self.at.saturating_add(octets);
    }
}

impl Text<'_> {
    /// Returns whether this is a member name that serde_json reserves. For nearly every name its first byte decides.
    fn is_reserved(self) -> bool {
        matches!(self.quoted.as_bytes(), [_, b'$' | b'\\', ..])
            && token::read(self.quoted, self.has_escapes).is_some_and(|name| token::is_reserved(&name))
    }
}

/// How many octets there are before a quote, a backslash or a control character, eight at a time.
fn plain_octets(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let ends = ends(u64::from_le_bytes(*eight));
        if ends != 0 {
            let within = usize::try_from(ends.trailing_zeros() >> 3).unwrap_or_default();
            return text.len().saturating_sub(rest.len()).saturating_add(within);
        }
        rest = after;
    }
    let within = rest.iter().position(|octet| matches!(octet, b'"' | b'\\' | ..=0x1f)).unwrap_or(rest.len());
    text.len().saturating_sub(rest.len()).saturating_add(within)
}

/// Sets the highest bit of the first of eight octets that ends plain text; what it sets behind that one means nothing.
fn ends(eight: u64) -> u64 {
    let below = |octets: u64, limit: u8| octets.wrapping_sub(EACH.wrapping_mul(u64::from(limit))) & !octets;
    let equal = |octet: u8| below(eight ^ EACH.wrapping_mul(u64::from(octet)), 1);
    (below(eight, 0x20) | equal(b'"') | equal(b'\\')) & EACH.wrapping_mul(0x80)
}

/// One in each octet.
const EACH: u64 = u64::from_le_bytes([1; 8]);
