//! Checks the README's commands: each works as typed, `make install` installs them, and the install
//! step knows both distributions.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Returns the root of the checkout.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(top().join(file)).unwrap()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Verbs that need a hub or a bus. Other tests run them against servers.
const NEED_A_SERVER: [&str; 3] = ["serve", "doctor", "follow"];

/// Returns the README's commands in order, each with its directory. The text after two spaces is an
/// explanation.
fn commands(readme: &str) -> Vec<(PathBuf, String)> {
    let (mut dir, mut found, mut continued) = (PathBuf::new(), Vec::new(), String::new());
    for line in readme.lines() {
        let Some(code) = line.strip_prefix("    ") else {
            // The block has ended. The next one begins in the checkout again.
            if !line.is_empty() {
                dir = PathBuf::new();
            }
            continue;
        };
        let typed = code.trim_start().split("  ").next().unwrap_or_default().trim_end();
        if let Some(begun) = typed.strip_suffix('\\') {
            continued.push_str(begun);
            continue;
        }
        let typed = std::mem::take(&mut continued) + typed;
        if let Some(to) = typed.strip_prefix("cd ") {
            dir.push(to);
        } else if typed.starts_with("koschei ") {
            found.push((dir.clone(), typed));
        }
    }
    found
}

/// Makes a directory that looks like a checkout and takes the commands' output, with the program on
/// the path.
fn checkout() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tests", "deploy", "README.md"] {
        std::os::unix::fs::symlink(top().join(name), dir.path().join(name)).unwrap();
    }
    let bin = Path::new(env!("CARGO_BIN_EXE_koschei")).parent().unwrap().to_str().unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    (dir, path)
}

#[test]
fn every_command_works_as_typed() {
    let (dir, path) = checkout();
    let commands = commands(&read("README.md"));
    let mut verbs: BTreeSet<&str> = BTreeSet::new();
    for (at, typed) in &commands {
        let verb = typed.split_whitespace().nth(1).unwrap();
        verbs.insert(verb);
        if NEED_A_SERVER.contains(&verb) {
            continue;
        }
        let mut command = Command::new("bash");
        command.current_dir(dir.path().join(at)).env("PATH", &path).env_remove("KOSCHEI_DB").env("NO_COLOR", "1");
        if verb == "web" {
            // As typed, except for the port, which another process may use.
            let mut child = command
                .args(["-c", &format!("exec {}", typed.replace(":8080", ":0"))])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
            child.kill().unwrap();
            let rest = child.wait_with_output().unwrap();
            assert!(line.contains("http://"), "{typed}: {line}{}", said(&rest));
            continue;
        }
        let out = command.args(["-c", typed]).stdin(Stdio::null()).output().unwrap();
        assert!(out.status.success(), "{typed}: {}\n{}", out.status, said(&out));
    }
    let shown = read("src/cli/mod.rs");
    let known = shown.split("enum Verb {").nth(1).unwrap().split("\n}").next().unwrap();
    let known = known
        .lines()
        .filter_map(|l| l.trim().split(['(', ' ']).next())
        .filter(|w| w.starts_with(char::is_uppercase) && w.chars().all(char::is_alphanumeric));
    for verb in known {
        let verb = if verb == "CheckConfig" { "check-config".to_owned() } else { verb.to_lowercase() };
        assert!(verbs.contains(verb.as_str()), "the README shows no `koschei {verb}`");
    }
}

#[test]
fn commands_are_found_where_people_would() {
    let text = "x\n\n    cd a\n    koschei b  words\n\n    koschei c \\\n        --d\n\ny\n\n    koschei e\n";
    let found: Vec<(String, String)> = commands(text).into_iter().map(|(d, c)| (d.display().to_string(), c)).collect();
    let expected = [("a", "koschei b"), ("a", "koschei c --d"), ("", "koschei e")];
    assert_eq!(found, expected.map(|(d, c)| (d.to_owned(), c.to_owned())));
}

/// Returns a document's links to files in the checkout: without anchors, addresses, and code
/// between backticks.
fn links(text: &str) -> Vec<&str> {
    let outside = text.lines().filter(|line| !line.starts_with("    "));
    let ends = outside.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()));
    ends.filter(|link| !link.is_empty() && !link.contains("://")).collect()
}

#[test]
fn documents_link_to_what_is_there() {
    assert_eq!(links("[a](b.md#c) and [d](https://e)\n    [f](g)\n[h](#i)\n"), ["b.md"]);
    let decisions = top().join("docs/decisions");
    let pages = std::fs::read_dir(&decisions).unwrap().map(|page| page.unwrap().path());
    let house = ["README.md", "ARCHITECTURE.md", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    for document in house.iter().map(|name| top().join(name)).chain(pages) {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            let there = document.parent().unwrap().join(link).exists();
            assert!(there, "{} links to {link}, which is not there", document.display());
        }
    }
    let index = std::fs::read_to_string(decisions.join("README.md")).unwrap();
    for page in std::fs::read_dir(&decisions).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()) {
        assert!(page == "README.md" || index.contains(&format!("({page})")), "the index does not name {page}");
    }
}

#[test]
fn the_architecture_is_read_in_one_sitting() {
    let words = read("ARCHITECTURE.md").split_whitespace().count();
    assert!(words <= 2_500, "ARCHITECTURE.md has {words} words; what a decision explains goes to docs/decisions");
}

#[test]
fn install_and_uninstall_leave_what_they_say() {
    let stage = tempfile::tempdir().unwrap();
    let make = |verb: &str| {
        let mut command = Command::new("make");
        command.current_dir(top()).args([verb, "PREFIX=/opt/koschei"]);
        command.arg(format!("BINARY={}", env!("CARGO_BIN_EXE_koschei")));
        let out = command.arg(format!("DESTDIR={}", stage.path().display())).output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
    };
    make("install");
    let at = stage.path().join("opt/koschei");
    let version = Command::new(at.join("bin/koschei")).arg("--version").output().unwrap();
    assert!(version.status.success());
    let unit = std::fs::read_to_string(at.join("lib/systemd/system/koschei.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/koschei/bin/koschei serve "), "{unit}");
    let example = at.join("share/koschei/koschei.toml");
    let checked = Command::new(at.join("bin/koschei")).arg("check-config").arg(&example).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
    for file in ["schemas/rebuild_requested.v1.schema.json", "grafana/koschei.json", "prometheus/koschei.rules.yml"] {
        assert!(at.join("share/koschei").join(file).is_file(), "{file}");
    }
    for file in ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/decisions/README.md", "docs/decisions/004-the-log.md"] {
        assert!(at.join("share/doc/koschei").join(file).is_file(), "{file}");
    }
    make("uninstall");
    let mut left = vec![stage.path().to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            assert!(entry.path().is_dir(), "{} was left", entry.path().display());
            left.push(entry.path());
        }
    }
}

#[test]
fn every_debian_package_has_a_fedora_counterpart() {
    let script = read("deploy/install-deps.sh");
    let needs =
        script.lines().filter(|l| l.trim_start().starts_with("need '") || l.trim_start().starts_with("need \""));
    let mut command = Command::new(top().join("deploy/install-deps.sh"));
    let out = command.args(["--list", "build", "test"]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let listed = String::from_utf8(out.stdout).unwrap();
    assert_eq!(needs.count(), listed.lines().count(), "every need is listed");
    for line in listed.lines() {
        let names: Vec<&str> = line.split(' ').collect();
        let is_name = |n: &&str| n.len() > 1 && n.chars().all(|c| c.is_ascii_alphanumeric() || "-+.".contains(c));
        assert!(names.len() == 2 && names.iter().all(is_name), "`{line}` names no package for one of the two");
        // Debian's and Fedora's name suffixes for packages with headers.
        let [debian, fedora] = names[..] else { unreachable!() };
        assert_eq!(debian.ends_with("-dev"), fedora.ends_with("-devel"), "`{line}`");
    }
    // Only packages of that list are installed.
    let installs = script.lines().filter(|l| l.contains("install -y"));
    installs.for_each(|l| assert!(l.contains("\"${missing[@]}\""), "{l}"));
}
