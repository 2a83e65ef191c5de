//! Caches the numbers of texts that many events share (kinds, sources, subjects). Such a text is
//! stored once and has a number.
//!
//! The tables behind the cache only grow, so rows that were read or committed never become invalid.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};

/// Entries kept per direction. Beyond that, the cache starts empty again. An entry takes about 100
/// bytes.
const ENTRIES_MAX: usize = 400_000;

/// The table of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    /// Kinds and sources.
    Words,
    /// Subjects.
    Subjects,
}

/// The cache of one table, shared by all users of a log.
#[derive(Default)]
pub(super) struct Names {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_text: FxHashMap<Arc<str>, i64>,
    by_id: FxHashMap<i64, Arc<str>>,
}

impl Names {
    /// Adds committed rows.
    pub(super) fn add(&self, rows: impl IntoIterator<Item = (i64, String)>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.by_id.len() > ENTRIES_MAX {
            *inner = Inner::default();
        }
        for (id, text) in rows {
            let text: Arc<str> = text.into();
            inner.by_text.insert(Arc::clone(&text), id);
            inner.by_id.insert(id, text);
        }
    }

    /// Returns the numbers of the cached texts, and the other texts in order of first appearance.
    pub(super) fn numbers<'a>(&self, texts: impl Iterator<Item = &'a str>) -> (FxHashMap<&'a str, i64>, Vec<&'a str>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut missing, mut seen) = (FxHashMap::default(), Vec::new(), FxHashSet::default());
        for text in texts {
            if !seen.insert(text) {
                continue;
            }
            match inner.by_text.get(text) {
                Some(id) => {
                    found.insert(text, *id);
                }
                None => missing.push(text),
            }
        }
        (found, missing)
    }

    /// Returns the texts of the cached numbers, and the other numbers.
    pub(super) fn texts(&self, ids: impl Iterator<Item = i64>) -> (FxHashMap<i64, Arc<str>>, Vec<i64>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut missing) = (FxHashMap::default(), Vec::new());
        let mut last = None;
        for id in ids {
            if last == Some(id) || found.contains_key(&id) {
                continue;
            }
            last = Some(id);
            match inner.by_id.get(&id) {
                Some(text) => {
                    found.insert(id, Arc::clone(text));
                }
                None => missing.push(id),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        (found, missing)
    }
}
