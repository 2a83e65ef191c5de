//! Reads the tags and texts of plain XML from left to right, for [`super::scan`]. Everything else is
//! [`Odd`]: single quotes, other entities than the five of XML, comments, and whatever is not XML.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

/// The scanner does not know what this means.
#[derive(Debug)]
pub(super) struct Odd;

pub(super) type Scan<T> = Result<T, Odd>;

/// A start tag.
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    /// Everything after the name: attributes in double quotes, each after spaces.
    attributes: &'a str,
    pub(super) empty: bool,
}

impl<'a> Tag<'a> {
    pub(super) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.attributes)
    }
}

/// The attributes of a tag: `key="value"` after at least one space each, with entities decoded.
/// Anything else is odd.
pub(super) struct Attributes<'a>(&'a str);

impl<'a> Attributes<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self(text)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Scan<(&'a str, Cow<'a, str>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0.as_bytes();
        let key = bytes.iter().position(|byte| *byte != b' ')?;
        let attribute = || {
            let end = key + bytes.iter().skip(key).position(|byte| !is_name(*byte))?;
            let value = end + bytes.get(end..)?.strip_prefix(b"=\"").map(|_| 2)?;
            let close = value + memchr(b'"', bytes.get(value..)?)?;
            let rest = self.0.get(close + 1..)?;
            (key > 0 && end > key).then_some((self.0.get(key..end)?, self.0.get(value..close)?, rest))
        };
        let Some((key, value, rest)) = attribute() else {
            self.0 = "";
            return Some(Err(Odd));
        };
        self.0 = rest;
        // XML makes spaces of some control characters, and does not allow `<`.
        if value.bytes().any(|byte| byte < b' ' || byte == b'<') {
            return Some(Err(Odd));
        }
        Some(decode(value).map(|value| (key, value)))
    }
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
}

/// Returns the character of the entity at the start of `text`, and the length of the entity.
fn entity(text: &[u8]) -> Scan<(char, usize)> {
    const KNOWN: [(&[u8], char); 5] =
        [(b"&lt;", '<'), (b"&gt;", '>'), (b"&amp;", '&'), (b"&quot;", '"'), (b"&apos;", '\'')];
    let found = KNOWN.iter().find(|(entity, _)| text.starts_with(entity)).ok_or(Odd)?;
    Ok((found.1, found.0.len()))
}

fn decode(raw: &str) -> Scan<Cow<'_, str>> {
    let Some(first) = memchr(b'&', raw.as_bytes()) else { return Ok(Cow::Borrowed(raw)) };
    let (before, mut rest) = raw.split_at(first);
    let mut text = String::with_capacity(raw.len());
    text.push_str(before);
    while !rest.is_empty() {
        let (character, length) = entity(rest.as_bytes())?;
        text.push(character);
        let after = rest.get(length..).ok_or(Odd)?;
        let (plain, next) = after.split_at(memchr(b'&', after.as_bytes()).unwrap_or(after.len()));
        text.push_str(plain);
        rest = next;
    }
    Ok(Cow::Owned(text))
}

/// A place in a piece.
pub(super) struct Cursor<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub(super) fn slice(&self, from: usize, to: usize) -> Scan<&'a str> {
        self.text.get(from..to).ok_or(Odd)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).unwrap_or(rest.len());
    }

    /// Goes past `literal` if it is what comes next.
    pub(super) fn take(&mut self, literal: &[u8]) -> bool {
        let found = self.rest().starts_with(literal);
        self.at += if found { literal.len() } else { 0 };
        found
    }

    /// Goes past a start tag.
    pub(super) fn tag(&mut self) -> Scan<Tag<'a>> {
        let rest = self.rest();
        if rest.first() != Some(&b'<') || !rest.get(1).is_some_and(u8::is_ascii_alphabetic) {
            return Err(Odd);
        }
        let name = 1 + rest.iter().skip(1).position(|byte| !is_name(*byte)).ok_or(Odd)?;
        let mut at = name;
        let (end, empty) = loop {
            match rest.get(at).ok_or(Odd)? {
                b'>' => break (at, false),
                b'/' if rest.get(at + 1) == Some(&b'>') => break (at, true),
                b' ' => at += 1,
                byte if is_name(*byte) && at > name => {
                    at += rest.iter().skip(at).position(|byte| !is_name(*byte)).ok_or(Odd)?;
                    let value = rest.get(at..).and_then(|rest| rest.strip_prefix(b"=\"")).ok_or(Odd)?;
                    at += 3 + memchr2(b'"', b'<', value).filter(|&end| value.get(end) == Some(&b'"')).ok_or(Odd)?;
                }
                _ => return Err(Odd),
            }
        };
        let tag = Tag {
            name: self.slice(self.at + 1, self.at + name)?,
            attributes: self.slice(self.at + name, self.at + end)?,
            empty,
        };
        self.at += end + if empty { 2 } else { 1 };
        Ok(tag)
    }

    /// Goes past `</name>`.
    pub(super) fn close(&mut self, name: &str) -> Scan<()> {
        let rest = self.rest().strip_prefix(b"</").and_then(|rest| rest.strip_prefix(name.as_bytes())).ok_or(Odd)?;
        if rest.first() != Some(&b'>') {
            return Err(Odd);
        }
        self.at += name.len() + 3;
        Ok(())
    }

    /// Goes past the end of the element of `tag`. Returns its text. An element inside is odd.
    pub(super) fn text(&mut self, tag: &Tag<'a>) -> Scan<Cow<'a, str>> {
        if tag.empty {
            return Ok(Cow::Borrowed(""));
        }
        let start = self.at;
        loop {
            let rest = self.rest();
            let next = memchr3(b'<', b'&', b'\r', rest).ok_or(Odd)?;
            self.at += next;
            match rest.get(next) {
                Some(b'<') => break,
                Some(b'&') => self.at += 1,
                _ => return Err(Odd),
            }
        }
        let text = decode(self.slice(start, self.at)?)?;
        self.close(tag.name)?;
        Ok(text)
    }

    /// Goes past the end of the element of `tag`. Its text is only checked.
    pub(super) fn ignore(&mut self, tag: &Tag<'a>) -> Scan<()> {
        if tag.empty {
            return Ok(());
        }
        loop {
            let rest = self.rest();
            let next = memchr2(b'<', b'&', rest).ok_or(Odd)?;
            self.at += next;
            let rest = rest.get(next..).ok_or(Odd)?;
            if rest.first() == Some(&b'<') {
                return self.close(tag.name);
            }
            self.at += entity(rest)?.1;
        }
    }
}
