//! The house's own rules, checked without any external tool: which room may know which, and what the core must not
//! name.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

/// Rooms of the functional core and what each may use besides itself.
const CORE: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("event", &["model"]),
    ("fold", &["model", "event"]),
    ("decide", &["model", "event", "fold"]),
    ("message", &["model", "event"]),
    ("repodata", &["model"]),
    ("resolve", &["model", "repodata"]),
    ("view", &["model", "event", "fold", "decide"]),
];
/// Ports see the core, never each other.
const PORTS: [(&str, &[&str]); 3] = [
    ("log", &["model", "event", "fold"]),
    ("bus", &["model", "event", "message"]),
    ("koji", &["model", "event", "repodata", "resolve"]),
];
/// What the core must not know: input and output, clocks, randomness.
const BANNED: [&str; 11] = [
    "tokio",
    "sqlx",
    "reqwest",
    "async_nats",
    "axum",
    "SystemTime",
    "Instant::now",
    "rand::",
    "std::net",
    "std::env",
    "std::process",
];
/// The boundaries to C libraries, the only files with `unsafe`.
const UNSAFE: [&str; 2] = ["src/koji/gss/mod.rs", "src/resolve/solv/ffi.rs"];
/// Longest file: past this there is a seam to look for.
const LINES_MAX: usize = 700;

fn files(room: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The code of a file: no comments, nothing from its first test module on.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let is_test = path.file_name().is_some_and(|n| n.to_str().unwrap().ends_with("tests.rs"));
    let code = if is_test { "" } else { text.split("#[cfg(test)]").next().unwrap() };
    code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Rooms of this crate a file names.
fn rooms_named(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .filter_map(|(at, m)| code.get(at + m.len()..))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect())
        .filter(|room: &String| !room.is_empty())
        .collect()
}

#[test]
fn arrows_point_down() {
    for (room, may) in CORE.iter().chain(&PORTS) {
        for path in files(room) {
            for named in rooms_named(&code(&path)) {
                let allowed = named == *room || may.contains(&named.as_str());
                assert!(allowed, "{} names `{named}`: {room} may only use {may:?}", path.display());
            }
        }
    }
}

/// The command line starts the pages; they do not know it.
#[test]
fn pages_do_not_name_the_command_line() {
    for path in files("web") {
        let named = rooms_named(&code(&path));
        assert!(!named.contains(&"cli".to_owned()), "{} names `cli`: what both need is in `view`", path.display());
    }
}

#[test]
fn the_core_is_pure() {
    for (room, _) in CORE {
        for path in files(room) {
            let code = code(&path);
            for banned in BANNED {
                assert!(
                    !code.contains(banned),
                    "{} names `{banned}`: the core does no input or output",
                    path.display()
                );
            }
        }
    }
}

fn all_files() -> Vec<PathBuf> {
    std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap()
        .flat_map(|e| {
            let path = e.unwrap().path();
            if path.is_dir() { files(path.file_name().unwrap().to_str().unwrap()) } else { vec![path] }
        })
        .collect()
}

/// Errors that a line of the journal prints by themselves: `error = %e`, `%error`, `?e`.
fn bare_errors(code: &str) -> Vec<&str> {
    let names = |line: &str| {
        let parts: Vec<&str> = line.split(['%', '?']).collect();
        parts.windows(2).any(|pair| {
            let name = pair[1].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let field = pair[1].strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            pair[0].trim_end().ends_with(['=', ',', '(']) && !field && ["e", "err", "error"].contains(&name)
        })
    };
    code.lines().filter(|line| names(line)).collect()
}

/// An error without its causes says that something failed, and not what; `model::causes::with_causes` says both.
#[test]
fn the_journal_says_errors_with_their_causes() {
    for path in all_files() {
        let code = code(&path);
        assert_eq!(bare_errors(&code), [""; 0], "{}: `with_causes` says why", path.display());
    }
}

/// The methods of a hub that are called, by the functions of `koji/calls`.
fn methods(code: &str) -> Vec<&str> {
    let called = code.split("Query::new(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let named = code.split("= \"").skip(1).filter_map(|rest| rest.split("\";").next());
    called.chain(named.filter(|name| name.starts_with("ssl"))).collect()
}

/// Whoever asks a hub does so by a function of `koji/calls`, whose types say what goes there and what comes back.
#[test]
fn methods_of_a_hub_are_named_in_one_place() {
    let at_home =
        |path: &Path| path.components().any(|part| part.as_os_str() == "calls") || path.ends_with("koji/calls.rs");
    let (home, others): (Vec<_>, Vec<_>) = all_files().into_iter().partition(|path| at_home(path));
    let code: Vec<String> = home.iter().map(|path| code(path)).collect();
    let mut methods: Vec<&str> = code.iter().flat_map(|code| methods(code)).collect();
    methods.sort_unstable();
    assert!(methods.len() > 25 && methods.contains(&"sslLogin") && methods.contains(&"repo.query"), "{methods:?}");
    assert!(methods.windows(2).all(|pair| pair[0] != pair[1]), "a method has one function: {methods:?}");
    // A word of other rooms, too: a group is called so, and a task says it of itself.
    methods.retain(|method| *method != "build");
    for path in others {
        let code = self::code(&path);
        for method in &methods {
            assert!(!code.contains(&format!("\"{method}\"")), "{} names `{method}`", path.display());
        }
        let asks = ["Query::new(", "Call::new(", "Call {"].iter().any(|made| code.contains(made));
        assert!(!asks || path.components().any(|part| part.as_os_str() == "koji"), "{} makes a call", path.display());
    }
}

#[test]
fn unsafe_stands_in_the_modules_of_c_libraries() {
    let all = all_files();
    let with: Vec<_> = all.iter().filter(|p| code(p).contains("unsafe ")).collect();
    let at_home = |path: &&PathBuf| UNSAFE.iter().any(|home| path.ends_with(home));
    assert!(with.len() == UNSAFE.len() && with.iter().all(at_home), "{with:?}");
    for path in &all {
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: look for the seam", path.display());
    }
}

/// sqlx maintains pools badly, so it must not maintain ours; `src/log/pool.rs` says why.
#[test]
fn pools_are_made_in_one_place() {
    let with: Vec<_> = files("log").into_iter().filter(|p| code(p).contains("PoolOptions")).collect();
    assert_eq!(with.len(), 1, "{with:?}");
    assert!(with[0].ends_with("log/pool.rs"), "{with:?}");
}

#[test]
fn migrations_come_in_pairs() {
    let names = |dialect: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect);
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[test]
fn the_rules_of_this_test_can_fail() {
    assert_eq!(rooms_named("use crate::writer::Writer; use crate::log::x;"), ["writer", "log"]);
    assert!(BANNED.iter().any(|b| "let t = tokio::spawn()".contains(b)));
    assert_eq!(
        methods(r#"Query::new("getTag", x) Query::new(LOGIN) LOGIN: &str = "sslLogin"; = "ready";"#),
        ["getTag", "sslLogin"]
    );
    for bare in ["warn!(error = %e, \"x\")", "warn!(%error, \"x\")", "debug!(a, ?err)", "    error=%e,"] {
        assert_eq!(bare_errors(bare), [bare]);
    }
    for fine in ["warn!(error = %with_causes(&e), \"x\")", "(error = %e.words)", "ask()?error", "a %e", "(%errors)"] {
        assert_eq!(bare_errors(fine), [""; 0]);
    }
}
