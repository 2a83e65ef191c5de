//! The safety net: what must stay the same while the code changes.
//!
//! *References* (`tests/reference`) are digests of logs. No switch accepts a new one: to change a
//! reference, edit the file. *Snapshots* (`tests/snapshots`) are texts that people or programs
//! read: help, output of commands, pages, JSON, metrics. CONTRIBUTING.md says how to accept a
//! changed text. Each family of either kind has a test that plants a fault and checks that it is
//! found.

mod help;
mod hub_story;
mod metrics;
mod oracles;
mod output;
mod pages;
mod recordings;
mod steady;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Most lines of a snapshot. A longer text ends with the digest of the whole text.
const LINES_MAX: usize = 300;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// One family of snapshots, in its own directory below `tests/snapshots`.
struct Family {
    directory: PathBuf,
    names: BTreeSet<String>,
    changed: Vec<String>,
}

impl Family {
    fn new(name: &str) -> Self {
        Self { directory: repository("tests/snapshots").join(name), names: BTreeSet::new(), changed: Vec::new() }
    }

    /// Compares a text with its snapshot. A difference is printed at once but fails the test only
    /// in [`Family::done`], so that one run shows all differences.
    fn is(&mut self, name: &str, text: &str) {
        self.is_whole(name, &cut(text));
    }

    /// Like [`Family::is`], however long the text is.
    fn is_whole(&mut self, name: &str, text: &str) {
        assert!(self.names.insert(name.to_owned()), "two snapshots are called {name}");
        if !kept(&self.directory, name, text) {
            self.changed.push(name.to_owned());
        }
    }

    /// Fails if a text differed, or if a snapshot is left over that no text is compared with.
    fn done(self) {
        let file = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        let files: BTreeSet<String> = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries.map(file).collect(),
            Err(_) => BTreeSet::new(),
        };
        let wanted: BTreeSet<String> = self.names.iter().map(|n| format!("{n}.snap")).collect();
        let left: Vec<&String> = files.difference(&wanted).collect();
        let directory = self.directory.display();
        assert!(self.changed.is_empty(), "{directory}: other than their snapshots: {:#?}", self.changed);
        assert!(left.is_empty(), "{directory}: nothing is compared with {left:?}; delete what belongs to nothing");
    }
}

/// Checks whether a text equals its snapshot, and prints the difference.
fn kept(directory: &Path, name: &str, text: &str) -> bool {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(directory);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    catch_unwind(AssertUnwindSafe(|| settings.bind(|| insta::assert_snapshot!(name, text)))).is_ok()
}

/// Returns the first lines, and a digest of the whole text if it is longer.
fn cut(text: &str) -> String {
    let lines = text.lines().count();
    if lines <= LINES_MAX {
        return text.to_owned();
    }
    let mut first: String = text.lines().take(LINES_MAX).flat_map(|l| [l, "\n"]).collect();
    first += &format!("[{} more lines; BLAKE3 of all: {}]\n", lines - LINES_MAX, blake3::hash(text.as_bytes()));
    first
}

/// Puts each member of a JSON text on a line of its own. Order and spelling do not change.
fn unfolded(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0_usize, false, false);
    for c in json.chars() {
        let closes = !quoted && matches!(c, '}' | ']');
        if closes {
            depth -= 1;
            if !out.ends_with(['{', '[']) {
                out.push('\n');
                out.push_str(&" ".repeat(depth));
            }
        } else if !quoted && out.ends_with(['{', '[']) && c != '\n' {
            out.push('\n');
            out.push_str(&" ".repeat(depth));
        }
        out.push(c);
        (quoted, escaped) = match c {
            _ if escaped => (quoted, false),
            '\\' => (quoted, quoted),
            '"' => (!quoted, false),
            _ => (quoted, false),
        };
        match c {
            '{' | '[' if !quoted => depth += 1,
            ',' if !quoted => {
                out.push('\n');
                out.push_str(&" ".repeat(depth));
            }
            _ => {}
        }
    }
    out
}

/// Puts each tag of an HTML text on a line of its own, and changes nothing else.
fn unfolded_html(html: &str) -> String {
    html.replace("><", ">\n<")
}

/// Returns a readable file name: everything except letters, digits and dots becomes a dash.
fn file_name(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '.')).filter(|w| !w.is_empty()).collect();
    words.join("-")
}

#[test]
fn a_changed_text_fails_and_writes_nothing() {
    for name in ["INSTA_UPDATE", "INSTA_FORCE_PASS"] {
        let value = std::env::var(name).unwrap_or_default();
        assert!(
            ["", "no", "0"].contains(&value.as_str()),
            "{name} is `{value}`: then snapshots are written, or not compared"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("said.snap");
    let snapshot = "---\nsource: tests/it/net/mod.rs\n---\nIt works.\n";
    std::fs::write(&path, snapshot).unwrap();
    let family = |name: &str, text: &str| {
        let mut family = Family { directory: directory.path().to_owned(), names: BTreeSet::new(), changed: Vec::new() };
        family.is(name, text);
        catch_unwind(AssertUnwindSafe(|| family.done())).is_ok()
    };
    assert!(family("said", "It works.\n"));
    assert!(!family("said", "It worked.\n"), "a changed word");
    assert!(!family("said", "It works.\nOr not.\n"), "a line more");
    assert!(!family("new", "It works.\n"), "no snapshot");
    std::fs::write(directory.path().join("old.snap"), snapshot).unwrap();
    assert!(!family("said", "It works.\n"), "a snapshot that nothing is compared with");
    let mut files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["old.snap", "said.snap"], "no file is written");
    assert_eq!(std::fs::read_to_string(path).unwrap(), snapshot);
    // Differences after the shown part of a long text count too.
    let long = |last: &str| format!("{}{last}\n", "line\n".repeat(LINES_MAX));
    assert_ne!(cut(&long("a")), cut(&long("b")));
}

#[test]
fn unfolding_loses_nothing() {
    let json = r#"{"a":{},"b":[1,"x,{\"y\\",[]],"c":"[\\"}"#;
    let shown = unfolded(json);
    assert_eq!(shown, "{\n \"a\":{},\n \"b\":[\n  1,\n  \"x,{\\\"y\\\\\",\n  []\n ],\n \"c\":\"[\\\\\"\n}");
    let text: String = shown.lines().map(str::trim_start).collect();
    assert_eq!(text, json);
}
