//! Erasing a person: what both databases share.
//!
//! Two steps. First everything that names the person goes in one transaction. Then the tables it stood in are written
//! anew, because databases leave what was deleted, or moved within a page, where it stood. Both steps may be repeated
//! at any time.

use std::future::Future;

use super::error::StoreError;
use super::types::BODY_BYTES_MAX;
use crate::model::PersonId;

/// What stands where a text named somebody.
pub(super) const ERASED: &str = "erased: it named a person who was to be forgotten";
/// Bodies looked at in one go.
pub(super) const BODIES_AT_ONCE: i64 = 100;
/// Reasons looked at in one go.
pub(super) const REASONS_AT_ONCE: i64 = 1000;
/// How often escapes are undone: a message may be carried within another as text.
const NESTED_MAX: usize = 3;

/// What was erased of a person, and what is left.
#[derive(Default, Debug)]
pub struct Erasure {
    /// The stand-in whose name was erased; `None` when nobody of that name is known (any more).
    pub id: Option<PersonId>,
    /// Bodies of messages that named the person, deleted.
    pub bodies: u64,
    /// Messages among them that had been set aside; they cannot be tried again any more and count as dealt with.
    pub parked: u64,
    /// Reasons why messages were set aside or passed over that named the person, replaced.
    pub reasons: u64,
    /// What could not be erased now.
    pub left: Vec<Left>,
}

/// What could not be erased. Asking again, when its cause is gone, erases it.
#[derive(Debug)]
pub enum Left {
    /// So many messages name the person and wait to be handled: their bodies are needed for it.
    Waiting(u64),
    /// Somebody reads the database, who may need what was there: the name may still stand in the write-ahead log or in
    /// old rows.
    Read,
    /// The database did not write its tables anew: the name may still stand in space that is free.
    Store(StoreError),
}

/// The name to look for: the person's own, or the one that was asked for, unless that is a stand-in.
pub(super) fn wanted(asked: &str, known: Option<&(String, String)>) -> Option<String> {
    match known {
        Some((_, name)) => Some(name.clone()),
        None => (!is_stand_in(asked) && !asked.is_empty()).then(|| asked.to_owned()),
    }
}

fn is_stand_in(text: &str) -> bool {
    text.strip_prefix("p-").is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Positions in the inbox of what names somebody, by `names`; `page` reads what comes after a position, in order. Cost:
/// reads everything.
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

/// Whether a stored body names somebody. One that cannot be unpacked serves nobody, and may name anybody.
pub(super) fn body_names(packed: &[u8], name: &str) -> bool {
    super::codec::unpack(packed, BODY_BYTES_MAX).map_or(true, |body| names(&String::from_utf8_lossy(&body), name))
}

/// Whether a text names somebody: as a word of its own, also where it is written with JSON's escapes.
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
    // Fedora Messaging has headers such as `fedora_messaging_user_alice`: a `_` ends a word, too.
    let inside = char::is_alphanumeric;
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

/// The text without JSON's escapes (RFC 8259, 7). It need not be JSON: what came in broken may name somebody, too.
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
