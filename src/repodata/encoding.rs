//! Converts documents that declare an encoding other than UTF-8.

use std::io::{self, BufRead, Read};

/// Lower-case names of ISO-8859-1, the only other encoding that every XML parser knows and old
/// repositories use.
const LATIN_1: [&str; 4] = ["iso-8859-1", "iso8859-1", "iso_8859-1", "latin1"];
/// Number of bytes within which the XML declaration must end.
const DECLARATION_MAX: usize = 256;
/// Bytes converted to UTF-8 at once.
const PIECE: usize = 16 << 10;

/// A reader that yields UTF-8. It converts a document that declares ISO-8859-1 and passes every
/// other document on unchanged.
pub(super) struct ToUtf8<R> {
    inner: R,
    latin: Option<bool>,
    piece: Vec<u8>,
    at: usize,
}

impl<R: BufRead> ToUtf8<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, latin: None, piece: Vec::new(), at: 0 }
    }
}

/// Checks whether the XML declaration at the start names ISO-8859-1.
fn is_latin_1(start: &[u8]) -> bool {
    let start = start.get(..DECLARATION_MAX).unwrap_or(start);
    let Some(end) = start.windows(2).position(|two| two == b"?>") else { return false };
    let declaration = String::from_utf8_lossy(start.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let Some((_, value)) = declaration.split_once("encoding").filter(|_| declaration.starts_with("<?xml")) else {
        return false;
    };
    let value = value.trim_start().trim_start_matches('=').trim().trim_end_matches('?');
    let value = value.split(value.chars().next().unwrap_or('"')).nth(1).unwrap_or_default();
    LATIN_1.contains(&value)
}

impl<R: BufRead> Read for ToUtf8<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for ToUtf8<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let latin = match self.latin {
            Some(latin) => latin,
            None => {
                let latin = is_latin_1(self.inner.fill_buf()?);
                self.latin = Some(latin);
                latin
            }
        };
        if !latin {
            return self.inner.fill_buf();
        }
        if self.at == self.piece.len() {
            let bytes = self.inner.fill_buf()?;
            let bytes = bytes.get(..PIECE).unwrap_or(bytes);
            self.piece.clear();
            self.at = 0;
            let mut buffer = [0; 4];
            for &byte in bytes {
                self.piece.extend_from_slice(char::from(byte).encode_utf8(&mut buffer).as_bytes());
            }
            let n = bytes.len();
            self.inner.consume(n);
        }
        Ok(self.piece.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        if self.latin == Some(true) {
            self.at += amount;
        } else {
            self.inner.consume(amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\u{e9}</a>", true)]
    #[case("<?xml version='1.0' encoding = 'latin1' standalone='yes'?><a>\u{e9}</a>", true)]
    #[case("<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>\u{e9} iso-8859-1?></a>", false)]
    #[case("<a encoding=\"ISO-8859-1\"?>", false)]
    #[case("", false)]
    fn by_the_declaration(#[case] text: &str, #[case] latin: bool) {
        let bytes: Vec<u8> = if latin { text.chars().map(|c| c as u8).collect() } else { text.as_bytes().to_vec() };
        let mut out = String::new();
        ToUtf8::new(bytes.as_slice()).read_to_string(&mut out).unwrap();
        assert_eq!(out, text);
    }
}
