//! `koschei broken` on the recording: which updates broke whose buildroots, and how each spell
//! ended.

use serde_json::Value;

use crate::recorded::{koschei, recorded};

const ARCHIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

fn broken(options: &[&str]) -> Value {
    let out = koschei(&[&["broken", "--json", "--db", recorded().to_str().unwrap()], options].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn packages(told: &Value, keep: impl Fn(&Value) -> bool) -> Vec<&str> {
    let spells = told["spells"].as_array().unwrap();
    let mut names: Vec<&str> = spells.iter().filter(|s| keep(s)).map(|s| s["package"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn each_broken_resolution_names_its_update() {
    let told = broken(&["--archive", ARCHIVE]);
    let causes = told["causes"].as_array().unwrap();
    let changes: Vec<&str> = causes.iter().map(|c| c["change"].as_str().unwrap()).collect();
    assert_eq!(causes.len(), 2, "{changes:?}");
    assert!(changes[0].contains("libfoo-1.0-1.fc99 → libfoo-2.0-1.fc99"), "{changes:?}");
    assert!(changes[1].contains("pytest-8.3.3-1.fc99 → pytest-8.4.0-1.fc99"), "{changes:?}");
    assert_eq!((&causes[0]["repo"], &causes[0]["before"]), (&Value::from(5), &Value::from(4)));
    assert_eq!(causes[0]["arches"], serde_json::json!(["aarch64", "x86_64"]));
    assert_eq!(packages(&told, |s| s["cause"] == 0), ["appbar", "docfoo"]);
    assert_eq!(packages(&told, |s| s["cause"] == 1), ["appfoo"]);
    let for_it: Vec<&str> =
        causes[0]["rebuilt_for"].as_array().unwrap().iter().map(|r| r["package"].as_str().unwrap()).collect();
    assert!(for_it.contains(&"libbar") && for_it.contains(&"appfoo"), "{for_it:?}");
    // A package that only failed to build has no first cause. It is reported all the same.
    assert!(packages(&told, |s| s["cause"].is_null()).contains(&"nope"), "{told}");
    assert_eq!(told["unexplained"], serde_json::json!([]));
}

/// With BuildConflicts, this package had no buildroot before either. A service that ignores them
/// saw it break.
#[test]
fn build_conflicts_are_heeded_unless_they_are_to_be_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    crate::files_server::copy_dir(std::path::Path::new(ARCHIVE), dir.path());
    let path = dir.path().join("buildrequires.jsonl");
    let lines = crate::feed::json_lines(&path).into_iter().map(|mut line| {
        if line["nvr"].as_str().unwrap().starts_with("docfoo-") {
            line["conflicts"] = line["requires"].clone();
        }
        format!("{line}\n")
    });
    let lines: String = lines.collect();
    std::fs::write(&path, lines).unwrap();
    let archive = ["--archive", dir.path().to_str().unwrap()];
    let heeded = broken(&archive);
    assert_eq!(packages(&heeded, |s| s["cause"] == 0), ["appbar"]);
    let passed_over = broken(&[archive.as_slice(), &["--ignore-build-conflicts"]].concat());
    assert_eq!(passed_over, broken(&["--archive", ARCHIVE]));
}

#[test]
fn a_spell_has_a_beginning_an_end_and_rebuilds_between() {
    let told = broken(&[]);
    assert_eq!(told["causes"], serde_json::json!([]), "without an archive nothing is looked for");
    let appbar = told["spells"].as_array().unwrap().iter().find(|s| s["package"] == "appbar").unwrap();
    assert!(appbar["since"].as_u64() < appbar["until"].as_u64());
    assert_eq!(appbar["then"]["state"], "ok");
    let outcomes: Vec<(u64, &str)> = appbar["rebuilt"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["task"].as_u64().unwrap(), r["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, [(44, "genuine failure"), (73, "ok")]);
    assert_eq!(appbar["lost"][0]["resolved_in"], 4);
    // As of a moment within the spell, it has no end, and fewer packages are broken.
    let within = broken(&["--as-of", "500"]);
    assert_eq!(packages(&within, |s| s["until"].is_null()), ["appbar", "docfoo"]);
    assert_eq!(broken(&["--as-of", "0"])["spells"], serde_json::json!([]));
    let now = broken(&["--now"]);
    assert!(packages(&now, |_| true).contains(&"nope"));
    assert!(now["spells"].as_array().unwrap().iter().all(|s| s["until"].is_null()));
    assert_eq!(broken(&["--collection", "f98-build"])["spells"], serde_json::json!([]));
}

#[test]
fn an_archive_without_the_repositories_is_said_and_nothing_is_lost() {
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("buildrequires.jsonl"), "").unwrap();
    let told = broken(&["--archive", other.path().to_str().unwrap()]);
    assert_eq!(told["causes"], serde_json::json!([]));
    assert!(packages(&told, |_| true).contains(&"appbar"));
    assert!(told["unexplained"].to_string().contains("does not hold repository 4"), "{told}");
}
