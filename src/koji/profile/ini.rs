//! Reads one section of several files, like Python's `configparser`.
//!
//! The format: `[section]`, then `key = value` or `key: value`. The case of keys does not matter.
//! Lines that begin with `#` or `;` are comments. A line that is indented further than its key
//! continues the value. `[DEFAULT]` applies to every section. `%(key)s` inserts another value, `%%`
//! stands for `%`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ProfileError;

/// Maximum depth of nested insertions, as in `configparser`.
const MAX_DEPTH: usize = 10;

/// Maximum length of a value after insertions, in bytes.
const MAX_VALUE: usize = 64 << 10;

/// Section that applies to every other section.
const DEFAULT: &str = "DEFAULT";

/// A value, and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    path: PathBuf,
    line: usize,
}

impl Value {
    pub(super) fn wrong(&self, problem: &str) -> ProfileError {
        ProfileError::Line { path: self.path.clone(), line: self.line, problem: problem.to_owned() }
    }
}

/// A section.
pub(super) struct Section {
    name: String,
    /// Whether any file has the section.
    pub(super) found: bool,
    values: BTreeMap<String, Value>,
    defaults: BTreeMap<String, Value>,
}

impl Section {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), found: false, values: BTreeMap::new(), defaults: BTreeMap::new() }
    }

    /// Reads a file. Its values override those read before.
    pub(super) fn read(&mut self, path: &Path, content: &str) -> Result<(), ProfileError> {
        let mut lines = Lines { path, section: None, indent: 0, key: None, seen: Vec::new() };
        for (number, line) in content.lines().enumerate() {
            lines.take(self, number + 1, line)?;
        }
        for value in self.values.values_mut().chain(self.defaults.values_mut()) {
            value.text.truncate(value.text.trim_end().len());
        }
        Ok(())
    }

    /// Returns a value with all insertions made.
    pub(super) fn get(&self, key: &str) -> Result<Option<Value>, ProfileError> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        let mut text = String::new();
        self.put(value, &value.text, 0, &mut text)?;
        Ok(Some(Value { text, ..value.clone() }))
    }

    fn raw(&self, key: &str) -> Option<&Value> {
        self.values.get(key).or_else(|| self.defaults.get(key))
    }

    /// Appends a text to `to`, with insertions made.
    fn put(&self, value: &Value, text: &str, depth: usize, to: &mut String) -> Result<(), ProfileError> {
        if depth > MAX_DEPTH {
            return Err(value.wrong("values stand for values without end"));
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            to.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                to.push('%');
                rest = after;
                continue;
            }
            let inner = after.strip_prefix('(').and_then(|after| after.split_once(")s"));
            let Some((key, after)) = inner else {
                return Err(value.wrong("a `%` must be `%%`, or begin `%(key)s`"));
            };
            let other = self.raw(&key.to_lowercase());
            let other =
                other.ok_or_else(|| value.wrong(&format!("there is no `{key}` that `%({key})s` could stand for")))?;
            self.put(value, &other.text, depth + 1, to)?;
            rest = after;
        }
        to.push_str(rest);
        if to.len() > MAX_VALUE {
            return Err(value.wrong("the value is too long"));
        }
        Ok(())
    }
}

/// The position in a file that is being read.
struct Lines<'a> {
    path: &'a Path,
    section: Option<String>,
    /// Indentation of the last key.
    indent: usize,
    /// The last key.
    key: Option<String>,
    /// Sections and keys seen in this file.
    seen: Vec<(String, Option<String>)>,
}

impl Lines<'_> {
    fn take(&mut self, to: &mut Section, number: usize, line: &str) -> Result<(), ProfileError> {
        let text = line.trim();
        let wrong = |problem: &str| ProfileError::Line {
            path: self.path.to_owned(),
            line: number,
            problem: problem.to_owned(),
        };
        if text.starts_with(['#', ';']) {
            return Ok(());
        }
        let indent = line.len() - line.trim_start().len();
        if text.is_empty() || (self.key.is_some() && indent > self.indent) {
            if let Some(value) = self.value(to) {
                value.text.push('\n');
                value.text.push_str(text);
            }
            return Ok(());
        }
        self.indent = indent;
        if let Some(header) = text.strip_prefix('[') {
            let (name, _) = header.split_once(']').ok_or_else(|| wrong("`]` is missing"))?;
            if name != DEFAULT && self.seen.contains(&(name.to_owned(), None)) {
                return Err(wrong(&format!("the section `{name}` is there twice")));
            }
            self.seen.push((name.to_owned(), None));
            to.found |= name == to.name;
            (self.section, self.key) = (Some(name.to_owned()), None);
            return Ok(());
        }
        let Some(section) = self.section.clone() else { return Err(wrong("this stands before any `[section]`")) };
        let (key, value) = text.split_once(['=', ':']).ok_or_else(|| wrong("`key = value` is expected"))?;
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err(wrong("`key = value` is expected"));
        }
        let entry = (section, Some(key.clone()));
        if self.seen.contains(&entry) {
            return Err(wrong(&format!("`{key}` is there twice")));
        }
        self.key = Some(key.clone());
        let value = Value { text: value.trim().to_owned(), path: self.path.to_owned(), line: number };
        if entry.0 == to.name {
            to.values.insert(key, value);
        } else if entry.0 == DEFAULT {
            to.defaults.insert(key, value);
        }
        self.seen.push(entry);
        Ok(())
    }

    /// Returns the value of the last key, if the key belongs to this section or to `[DEFAULT]`.
    fn value<'s>(&self, to: &'s mut Section) -> Option<&'s mut Value> {
        let key = self.key.as_ref()?;
        match self.section.as_deref()? {
            name if name == to.name => to.values.get_mut(key),
            DEFAULT => to.defaults.get_mut(key),
            _ => None,
        }
    }
}
