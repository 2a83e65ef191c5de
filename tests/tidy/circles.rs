//! Finds files of `src` that name each other in a circle. A parent and its parts may name each
//! other: they are one thing in several files.
#![allow(clippy::string_slice, reason = "every position comes from a search in the same text")]

use std::collections::{BTreeMap, BTreeSet};

/// The code of each module, by its path below the crate (`hub::objects::task`).
pub(crate) type Modules = BTreeMap<String, String>;

/// Returns the path of the module in a file, given its path below `src`.
pub(crate) fn module_of(file: &str) -> String {
    let name = file.trim_end_matches(".rs").replace('/', "::");
    name.trim_end_matches("::mod").to_owned()
}

/// Returns one entry for each name of a `use` tree: `a::{b, c::{d, e}}` gives `a::b`, `a::c::d` and
/// `a::c::e`.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let body = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branches = expanded(&body[from..at]);
                found.extend(branches.iter().filter(|b| !b.is_empty()).map(|b| format!("{}{b}", before.trim())));
                from = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// Returns every path that the code writes: those of `use` lines, and those that begin with
/// `crate::`, `super::` or `self::` anywhere.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let begins_line = code[..at].rsplit('\n').next().is_some_and(|line| {
            let line = line.trim();
            line.is_empty() || line == "pub" || (line.starts_with("pub(") && line.ends_with(')'))
        });
        if let Some(end) = code[at..].find(';').filter(|_| begins_line) {
            found.extend(expanded(&code[at + 4..at + end]));
        }
    }
    for root in ["crate::", "super::", "self::"] {
        let inner = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let written = code.match_indices(root).filter(|(at, _)| !code[..*at].ends_with(inner));
        found.extend(written.map(|(at, _)| code[at..].split(|c| !inner(c)).next().unwrap_or_default().to_owned()));
    }
    found
}

/// Returns the module that a path in `module` leads to, if it is one of ours.
fn target(modules: &Modules, module: &str, path: &str) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut names: Vec<&str> =
        path.split(" as ").next()?.split("::").map(str::trim).filter(|n| !n.is_empty()).collect();
    match *names.first()? {
        "crate" => base.clear(),
        "self" | "super" => {}
        first if modules.contains_key(&format!("{module}::{first}")) => {}
        _ => return None,
    }
    while let Some(name) = names.first().copied().filter(|n| ["crate", "self", "super"].contains(n)) {
        if name == "super" {
            base.pop();
        }
        names.remove(0);
    }
    base.extend(names);
    while !base.is_empty() && !modules.contains_key(&base.join("::")) {
        base.pop();
    }
    (!base.is_empty()).then(|| base.join("::"))
}

/// Returns whether one of two modules is a part of the other.
fn are_related(a: &str, b: &str) -> bool {
    a == b || a.starts_with(&format!("{b}::")) || b.starts_with(&format!("{a}::"))
}

/// Returns what stands in circles: for each module the modules of the circle that it names.
pub(crate) fn circles(modules: &Modules) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in modules {
        let named = paths(code).into_iter().filter_map(|path| target(modules, module, &path));
        names.insert(module.clone(), named.filter(|other| !are_related(module, other)).collect());
    }
    // A module that names nobody is in no circle, nor is one that nobody names.
    loop {
        let before = names.len();
        let named: BTreeSet<String> = names.values().flatten().cloned().collect();
        names.retain(|module, of| !of.is_empty() && named.contains(module));
        let left: BTreeSet<String> = names.keys().cloned().collect();
        names.values_mut().for_each(|of| of.retain(|module| left.contains(module)));
        if names.len() == before {
            return names;
        }
    }
}

#[test]
fn a_circle_is_found() {
    let modules = |code: &[(&str, &str)]| {
        let one = |(file, code): &(&str, &str)| (module_of(file), (*code).to_owned());
        circles(&code.iter().map(one).collect()).into_keys().collect::<Vec<_>>()
    };
    let circle = [("a/b.rs", "use super::c::{self, d::{E, F}};"), ("a/c.rs", "fn f() { crate::a::b::g() }")];
    assert_eq!(modules(&circle), ["a::b", "a::c"]);
    let with_part = [("a/mod.rs", "mod b;\npub use b::B;"), ("a/b.rs", "use super::A;"), ("c.rs", "use crate::a::A;")];
    assert!(modules(&with_part).is_empty());
    let three = [("a.rs", "pub(crate) use crate::b::X as Y;"), ("b.rs", "use crate::c;"), ("c.rs", "crate::a::Y")];
    assert_eq!(modules(&three), ["a", "b", "c"]);
}
