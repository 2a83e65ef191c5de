//! Standard output, with control characters made visible.
//!
//! Names, versions, reasons and problem texts come from messages, packages and hubs. On a terminal,
//! a control character in them could move the cursor, hide a line or reverse text
//! (<https://www.unicode.org/reports/tr9/>). So each control character is written as an escape such
//! as `\u001b`. JSON uses the same escape, so a reader of our JSON gets the original text. Line
//! ends and tabs stay. Our own colours stay too, if colours are used.

use std::io::{self, IsTerminal as _, Stdout, StdoutLock, Write};

/// Returns standard output for verbs. They print everything here, except an export to a program.
pub(crate) fn stdout() -> Visible<Stdout> {
    Visible::new(io::stdout(), colours())
}

/// Writes with control characters made visible.
pub(crate) struct Visible<W> {
    inner: W,
    colours: bool,
    /// The first bytes of a character that is not complete yet.
    begun: Vec<u8>,
}

impl Visible<Stdout> {
    /// Locks standard output, like [`Stdout::lock`].
    pub(crate) fn lock(self) -> Visible<StdoutLock<'static>> {
        Visible::new(self.inner.lock(), self.colours)
    }
}

impl<W: Write> Visible<W> {
    fn new(inner: W, colours: bool) -> Self {
        Self { inner, colours, begun: Vec::new() }
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begun.is_empty() && is_plain(bytes) {
            self.inner.write_all(bytes)?;
            return Ok(bytes.len());
        }
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&all) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => all.len(),
        };
        self.begun = all.split_off(whole);
        self.inner.write_all(shown(&String::from_utf8_lossy(&all), self.colours).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Checks whether all bytes are ASCII characters that are written as they are.
fn is_plain(bytes: &[u8]) -> bool {
    let plain = |b: &u8| matches!(b, b' '..=b'~' | b'\n' | b'\t');
    // A block without a way out in the middle takes a few instructions for many bytes. There may be
    // hundreds of megabytes.
    bytes.chunks(256).all(|block| block.iter().fold(true, |all, b| all & plain(b)))
}

/// Makes control characters in a text for standard error visible.
pub(crate) fn visible(text: &str) -> String {
    shown(text, false)
}

fn shown(text: &str, colours: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let style = if colours && c == '\u{1b}' { style(rest) } else { 0 };
        let (taken, left) = rest.split_at(style.max(c.len_utf8()));
        if style == 0 && is_control(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push_str(taken);
        }
        rest = left;
    }
    out
}

/// Checks for characters that are not shown: control characters, and those that set the direction
/// of text.
fn is_control(c: char) -> bool {
    let directs = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    directs || (c.is_control() && c != '\n' && c != '\t')
}

/// Returns the length of an escape sequence for style at the beginning of a text: bold, faint,
/// italic, underlined, colours, and back (ECMA-48, SGR). Sequences that hide text or let it blink
/// do not count.
fn style(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return 0 };
    let Some((parameters, _)) = rest.split_once('m') else { return 0 };
    let ours = |p: &str| matches!(p.parse(), Ok(0_u8..=4 | 22..=24 | 30..=37 | 39 | 90..=97));
    let fine = parameters.is_empty() || parameters.split(';').all(ours);
    if fine { "\u{1b}[".len() + parameters.len() + 1 } else { 0 }
}

/// Whether standard output understands colours.
pub(crate) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_hides_or_turns() {
        let hostile = "a\u{1b}[2J\u{9b}31mb\rc\u{7f}\u{202e}d\u{2066}e\u{0}\tf\n";
        let seen = "a\\u001b[2J\\u009b31mb\\u000dc\\u007f\\u202ed\\u2066e\\u0000\tf\n";
        assert_eq!(shown(hostile, true), seen);
        assert_eq!(visible(hostile), seen);
        let json = serde_json::json!({ "name": hostile }).to_string();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown(&json, false)).unwrap()["name"], hostile);
    }

    #[test]
    fn one_odd_byte_is_found_wherever_it_stands() {
        let plain: Vec<u8> = (b' '..=b'~').chain(*b"\n\t").cycle().take(700).collect();
        assert!(is_plain(&plain) && is_plain(b""));
        for at in 0..plain.len() {
            for odd in [0, 0x1b, 0x7f, 0x80, 0xff] {
                let mut bytes = plain.clone();
                bytes[at] = odd;
                assert!(!is_plain(&bytes), "{odd} at {at}");
            }
        }
    }

    #[test]
    fn our_colours_stay_where_there_are_any() {
        let coloured = "\u{1b}[1m\u{1b}[31mfailing\u{1b}[0m";
        assert_eq!(shown(coloured, true), coloured);
        assert_eq!(shown("\u{1b}[31mx", false), "\\u001b[31mx");
        for hides in ["\u{1b}[8mx", "\u{1b}[1;8mx", "\u{1b}[38;5;0mx", "\u{1b}[31", "\u{1b}]0;t\u{7}"] {
            assert!(shown(hides, true).starts_with("\\u001b"), "{hides:?}");
        }
    }

    #[test]
    fn characters_may_come_in_pieces() {
        let mut written = Vec::new();
        let mut out = Visible::new(&mut written, false);
        for byte in "é\u{202e}ü\u{9b}!".bytes() {
            out.write_all(&[byte]).unwrap();
        }
        assert_eq!(String::from_utf8(written).unwrap(), "é\\u202eü\\u009b!");
    }
}
