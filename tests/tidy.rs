//! Checks the project's own rules without external tools: which room may use which, and what the
//! core must not use.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/rooms.rs"]
mod rooms;

use std::path::{Path, PathBuf};

use circles::{circles, module_of};
use rooms::ROOMS;

/// The functional core: the first nine rooms.
const CORE: [&str; 9] = ["model", "event", "fold", "decide", "announce", "message", "repodata", "resolve", "view"];
/// Names that the core must not use: input and output, clocks, randomness.
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
/// The modules that call C libraries. They are the only files with `unsafe`.
const UNSAFE: [&str; 2] = ["src/koji/gss/mod.rs", "src/resolve/solv/ffi.rs"];
/// Most lines of a file. A longer file should be split.
const LINES_MAX: usize = 500;
/// Files with more lines, each with the reason why a split would separate what belongs together.
const LONG: [(&str, &str); 1] =
    [("src/resolve/solv/ffi.rs", "every call of libsolv and the types that keep them sound are checked together")];
/// Folders of `tests/it` that belong to no room, or to several.
const FOLDERS: [&str; 4] = ["net", "serve", "support", "testhub"];
/// Most characters in a line of code, comments, markup, SQL or test data. rustfmt wraps code at
/// this width, but leaves alone what it cannot parse and lines with long literals.
const COLUMNS_MAX: usize = 120;

fn files(room: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let single = src.join(format!("{room}.rs"));
    if single.exists() { vec![single] } else { sources_below(&src.join(room)) }
}

/// Returns every Rust file below a directory, except in build output.
fn sources_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Returns the code of a file, without comments, up to its first test module.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let is_test = path.file_name().is_some_and(|n| n.to_str().unwrap().ends_with("tests.rs"));
    let code = if is_test { "" } else { text.split("#[cfg(test)]").next().unwrap() };
    code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Returns the rooms of this crate that the code names.
fn rooms_named(code: &str) -> Vec<String> {
    assert!(!code.contains("crate::{"), "one `use` a room, so that this test can read it");
    code.match_indices("crate::")
        .filter_map(|(at, m)| code.get(at + m.len()..))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect())
        .filter(|room: &String| !room.is_empty())
        .collect()
}

#[test]
fn arrows_point_one_way() {
    let mut above: Vec<&str> = Vec::new();
    for (room, _, may) in ROOMS {
        let below: Vec<&&str> = may.iter().filter(|named| !above.contains(*named)).collect();
        assert!(below.is_empty(), "{room} may name {below:?}, which do not stand before it");
        above.push(room);
        for path in files(room) {
            for named in rooms_named(&code(&path)) {
                let allowed = named == room || may.contains(&named.as_str());
                assert!(allowed, "{} names `{named}`: {room} may only name {may:?}", path.display());
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(src).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(above.contains(&name.trim_end_matches(".rs")), "src/{name} is in no row of the table");
    }
}

#[test]
fn files_name_each_other_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = |path: PathBuf| (module_of(path.strip_prefix(&src).unwrap().to_str().unwrap()), code(&path));
    let circles = circles(&sources_below(&src).into_iter().map(module).collect());
    assert!(circles.is_empty(), "these files name each other in circles: {circles:#?}");
}

/// Every row of the table is used: a room that is not named any more leaves the row.
#[test]
fn no_arrow_is_allowed_in_vain() {
    for (room, _, may) in ROOMS {
        let named: Vec<String> = files(room).iter().flat_map(|path| rooms_named(&code(path))).collect();
        let in_vain: Vec<&&str> = may.iter().filter(|room| !named.iter().any(|n| n == **room)).collect();
        assert!(in_vain.is_empty() || room == "main", "{room} may name {in_vain:?} and does not");
    }
}

#[test]
fn the_architecture_shows_the_arrows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut table = String::from("| room | what is in it | may name |\n| --- | --- | --- |\n");
    for (room, what, may) in ROOMS.iter().filter(|(room, ..)| !["lib", "main"].contains(room)) {
        let may = if may.is_empty() { "–".to_owned() } else { may.join(", ") };
        table.push_str(&format!("| `{room}` | {what} | {may} |\n"));
    }
    assert!(
        text.contains(&format!("<!-- arrows -->\n{table}<!-- /arrows -->")),
        "ARCHITECTURE.md is to have this table:\n{table}"
    );
}

#[test]
fn the_core_is_pure() {
    for room in CORE {
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

/// Returns the lines that log an error without its causes: `error = %e`, `%error`, `?e`.
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

/// An error without its causes says that something failed, but not why.
/// `model::causes::with_causes` says both.
#[test]
fn the_journal_says_errors_with_their_causes() {
    for path in all_files() {
        let code = code(&path);
        assert_eq!(bare_errors(&code), [""; 0], "{}: `with_causes` says why", path.display());
    }
}

/// Returns the hub methods that the functions of `koji/calls` call.
fn methods(code: &str) -> Vec<&str> {
    let called = code.split("Query::new(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let named = code.split("= \"").skip(1).filter_map(|rest| rest.split("\";").next());
    called.chain(named.filter(|name| name.starts_with("ssl"))).collect()
}

/// Only the functions of `koji/calls` call a hub. Their types say what is sent and what comes back.
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
    // Other rooms use this word too: a build group and a task field are named so.
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

/// Operators' words get into the inbox only through `operator::Checked`. No other code makes such a
/// message.
#[test]
fn words_of_operators_go_one_way() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operator");
    let makes = |code: &str| {
        ["operator::message", "retry_message", "operator::TOPIC.to_owned"].iter().any(|m| code.contains(m))
    };
    assert!(makes("log.receive(&[operator::message(&word, now)])"));
    for path in all_files().into_iter().filter(|path| !path.starts_with(&home)) {
        assert!(!makes(&code(&path)), "{} makes a message of an operator", path.display());
    }
}

#[test]
fn unsafe_stands_in_the_modules_of_c_libraries() {
    let all = all_files();
    let with: Vec<_> = all.iter().filter(|p| code(p).contains("unsafe ")).collect();
    let at_home = |path: &&PathBuf| UNSAFE.iter().any(|home| path.ends_with(home));
    assert!(with.len() == UNSAFE.len() && with.iter().all(at_home), "{with:?}");
}

/// Returns every Rust file of the project, with its path below the project's directory.
fn sources() -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![top.join("build.rs")];
    for dir in ["src", "tests", "benches"] {
        sources.extend(sources_below(&top.join(dir)));
    }
    let named = |path: &PathBuf| path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
    sources.iter().map(|path| (named(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Returns what is wrong with the lengths of files: a file is too long and no exception, or an
/// exception that is not longer than a file may be.
fn wrong_lengths(sources: &[(String, String)], exceptions: &[(&str, &str)]) -> Vec<String> {
    let is_long = |text: &String| text.lines().count() > LINES_MAX;
    let excepted = |path: &String| exceptions.iter().any(|(exception, _)| exception == path);
    let in_vain = |path: &str| !sources.iter().any(|(named, text)| named == path && is_long(text));
    let long = sources.iter().filter(|(path, text)| is_long(text) && !excepted(path));
    let long = long.map(|(path, text)| format!("{path} has {} lines: look for the seam", text.lines().count()));
    let in_vain = exceptions.iter().filter(|(path, _)| in_vain(path));
    long.chain(in_vain.map(|(path, _)| format!("{path} is an exception in vain"))).collect()
}

#[test]
fn files_are_short_enough_to_read() {
    assert_eq!(wrong_lengths(&sources(), &LONG), [""; 0]);
    assert!(LONG.len() < 5, "these are exceptions");
}

/// Each folder of `tests/it` is a room's, or one of [`FOLDERS`]. No test lies beside them.
#[test]
fn tests_are_grouped_by_room() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_room = ROOMS.iter().any(|(room, ..)| *room == name) || FOLDERS.contains(&name.as_str());
        assert!(is_room || name == "main.rs", "tests/it/{name} belongs into the folder of a room");
    }
}

/// Returns the numbers of the lines that are too long.
fn long_lines(text: &str) -> Vec<usize> {
    text.lines().zip(1..).filter(|(line, _)| line.chars().count() > COLUMNS_MAX).map(|(_, number)| number).collect()
}

#[test]
fn lines_can_be_read_side_by_side() {
    let sources = sources();
    assert!(sources.len() > 400 && sources.iter().any(|(path, _)| path == "tests/tidy.rs"), "{}", sources.len());
    let mut long = Vec::new();
    for (path, text) in sources {
        long.extend(long_lines(&text).iter().map(|number| format!("{path}:{number}")));
    }
    assert!(long.is_empty(), "longer than {COLUMNS_MAX} columns:\n{}", long.join("\n"));
}

/// sqlx does not maintain pools well, so it must not maintain ours. `src/log/pool.rs` gives the
/// reasons.
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

/// Returns name and version of each package in a `Cargo.lock`.
fn locked(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let packages = text.split("[[package]]").skip(1);
    packages.map(|p| p.lines().skip(1).take(2).collect::<Vec<_>>().join(", ")).collect()
}

/// The fuzz targets are a package of their own. They are built with what the program is built with.
#[test]
fn the_fuzz_targets_lock_what_the_program_locks() {
    let program = locked("Cargo.lock");
    let mut others = locked("tests/fuzz/Cargo.lock");
    assert!(others.iter().any(|p| p.contains("\"koschei\"")), "{others:?}");
    others.retain(|p| !program.contains(p));
    let own = |p: &&String| ["arbitrary", "koschei-fuzz", "libfuzzer-sys"].iter().any(|own| p.contains(own));
    let foreign: Vec<_> = others.iter().filter(|p| !own(p)).collect();
    assert!(foreign.is_empty(), "copy Cargo.lock there, and let cargo add the rest: {foreign:?}");
}

#[test]
fn the_rules_of_this_test_can_fail() {
    let file = |path: &str, lines: usize| (path.to_owned(), "\n".repeat(lines));
    let files = [file("short", LINES_MAX), file("long", LINES_MAX + 1), file("excepted", LINES_MAX + 1)];
    let wrong = wrong_lengths(&files, &[("excepted", ""), ("short", ""), ("gone", "")]);
    let expected =
        ["long has 501 lines: look for the seam", "short is an exception in vain", "gone is an exception in vain"];
    assert_eq!(wrong, expected);
    let line = "é".repeat(COLUMNS_MAX);
    assert_eq!(long_lines(&format!("{line}\n{line}x\n\n{line}\n")), [2]);
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
