//! Erases a person: the parts that both databases share.
//!
//! There are two steps. First, one transaction deletes everything that names the person. Then the
//! affected tables are rewritten, because databases do not overwrite what was deleted or moved
//! within a page. Both steps may be repeated at any time.

use std::future::Future;

use super::error::StoreError;
use super::types::BODY_BYTES_MAX;
use crate::model::PersonId;

/// Text that replaces a text that named the person.
pub(super) const ERASED: &str = "erased: it named a person who was to be forgotten";
/// Number of bodies examined per query.
pub(super) const BODIES_AT_ONCE: i64 = 100;
/// Number of reasons examined per query.
pub(super) const REASONS_AT_ONCE: i64 = 1000;
/// How many levels of escapes are undone, because a message may contain another one as text.
const NESTED_MAX: usize = 3;

/// The result of erasing a person: what was erased, and what is left.
#[derive(Default, Debug)]
pub struct Erasure {
    /// Id of the person whose name was erased. `None` if no person of that name is known, or is
    /// known any more.
    pub id: Option<PersonId>,
    /// Number of message bodies that named the person and were deleted.
    pub bodies: u64,
    /// Number of parked messages among them. They cannot be tried again and count as settled.
    pub parked: u64,
    /// Number of reasons for parking or ignoring messages that named the person and were replaced.
    pub reasons: u64,
    /// Parts that could not be erased now.
    pub left: Vec<Left>,
}

/// A part that could not be erased. A repeated call erases it once the cause is gone.
#[derive(Debug)]
pub enum Left {
    /// This many messages name the person and still wait. Their bodies are needed to handle them.
    Waiting(u64),
    /// Another connection reads the database and may need the old content. The name may still be in
    /// the write-ahead log or in old rows.
    Read,
    /// The database did not rewrite its tables. The name may still be in free space.
    Store(StoreError),
}

/// Returns the name to search for: the known name of the person, or the name asked for, unless that
/// is an id.
pub(super) fn wanted(asked: &str, known: Option<&(String, String)>) -> Option<String> {
    match known {
        Some((_, name)) => Some(name.clone()),
        None => (!is_stand_in(asked) && !asked.is_empty()).then(|| asked.to_owned()),
    }
}

fn is_stand_in(text: &str) -> bool {
    text.strip_prefix("p-").is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Returns the inbox positions of the entries that name a person, according to `names`. `page`
/// reads the entries after a position, in order. Cost: reads all entries.
pub(super) async fn positions<T, Page, Rows>(page: Page, names: impl Fn(&T) -> bool) -> Result<Vec<i64>, StoreError>
where
    Page: Fn(i64) -> Rows,
    Rows: Future<Output = sqlx::Result<Vec<(i64, T)>>>,
{
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let rows = page(after).await.map_err(StoreError::new("look for a person's name"))?;
        let Some((last, _)) = rows.last() else { return Ok(found) };
        after = *last;
        found.extend(rows.iter().filter(|(_, what)| names(what)).map(|(position, _)| position));
    }
}

/// Returns whether a stored body names a person. If it cannot be unpacked, it is useless and may
/// name anybody, so the result is true.
pub(super) fn body_names(packed: &[u8], name: &str) -> bool {
    super::codec::unpack(packed, BODY_BYTES_MAX).map_or(true, |body| names(&String::from_utf8_lossy(&body), name))
}

/// Returns whether a text contains a name as a separate word, also if it is written with JSON's
/// escapes.
pub(super) fn names(text: &str, name: &str) -> bool {
    if holds_word(text, name) {
        return true;
    }
    let mut text = text.to_owned();
    for _ in 0..NESTED_MAX {
        if !text.contains('\\') {
            return false;
        }
        text = unescaped(&text);
        if holds_word(&text, name) {
            return true;
        }
    }
    false
}

fn holds_word(text: &str, word: &str) -> bool {
    // Fedora Messaging has headers such as `fedora_messaging_user_alice`, so a `_` ends a word,
    // too.
    let inside = char::is_alphanumeric;
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

/// Returns the text without JSON's escapes (RFC 8259, 7). The text need not be JSON, because a
/// broken message may name a person, too.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text.chars();
    let flush = |units: &mut Vec<u16>, out: &mut String| {
        out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    };
    while let Some(c) = rest.next() {
        if c != '\\' {
            flush(&mut units, &mut out);
            out.push(c);
            continue;
        }
        let code = rest.as_str().strip_prefix('u').and_then(|r| r.get(..4));
        if let Some(unit) = code.and_then(|hex| u16::from_str_radix(hex, 16).ok()) {
            units.push(unit);
            rest.nth(4);
            continue;
        }
        flush(&mut units, &mut out);
        match rest.next() {
            Some('n' | 't' | 'r' | 'b' | 'f') => out.push(' '),
            Some(other) => out.push(other),
            None => {}
        }
    }
    flush(&mut units, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_word_however_it_is_written() {
        for text in [
            r#"{"owner": "bob"}"#,
            r#"{"owner":"bob"#,
            "by bob.",
            "bob",
            r#"{"user": "\u0062ob"}"#,
            r#"{"body": "{\"user\": \"b\\u006fb\"}"}"#,
            r"said by\nbob",
            "bob@example.org",
            "x-bob",
            r#"{"headers": {"fedora_messaging_user_bob": true}}"#,
        ] {
            assert!(names(text, "bob"), "{text}");
        }
        for text in ["", "bobcat", r#"{"package": "bobcat"}"#, "kebob", r"\u0062obcat", "\\", "b ob", r"\u006"] {
            assert!(!names(text, "bob"), "{text}");
        }
        assert!(names(r#"{"user": "host\/x.example.org"}"#, "host/x.example.org"));
        assert!(names(r#""\ud83d\ude00""#, "😀"), "two units are one character");
        assert!(names(r#""J\u00f6rg""#, "Jörg") && names("Jörg", "Jörg") && !names("Jörge", "Jörg"));
    }

    #[test]
    fn a_stand_in_is_no_name() {
        let known = ("p-00000000000000aa".to_owned(), "alice".to_owned());
        assert_eq!(wanted("p-00000000000000aa", Some(&known)).as_deref(), Some("alice"));
        assert_eq!(wanted("alice", None).as_deref(), Some("alice"));
        assert_eq!(wanted("p-00000000000000aa", None), None);
        assert_eq!(wanted("", None), None);
        assert_eq!(wanted("p-bob", None).as_deref(), Some("p-bob"));
    }

    #[test]
    fn what_cannot_be_read_may_name_anybody() {
        assert!(body_names(b"no frame", "bob"));
        assert!(!body_names(&crate::log::codec::pack_body(b"{}").unwrap(), "bob"));
    }
}
