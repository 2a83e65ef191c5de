//! What is shown of packages about which little is known: blocked in the build tag, or known only
//! from a repository.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::recorded::koschei;

/// A recording of one package in one repository: its listing, its build twice, its tagging, the
/// repository twice, and a later message.
fn case() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases/service/caret-list")
}

/// Makes the log of a changed recording in `dir`.
fn log(dir: &Path, change: impl FnOnce(Vec<String>) -> Vec<String>) -> String {
    let text = std::fs::read_to_string(case().join("events.jsonl")).unwrap();
    let lines = change(text.lines().map(str::to_owned).collect());
    let (from, db, config) = (dir.join("events.jsonl"), dir.join("log.db"), dir.join("koschei.toml"));
    std::fs::write(&from, lines.join("\n") + "\n").unwrap();
    std::fs::write(&config, "[[collection]]\nname='f99'\nbuild_tag='f99-build'\ndest_tag='f99'\ntrack_all=true\n")
        .unwrap();
    let archive = case().join("archive");
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let (from, db, config, archive) = (path(&from), path(&db), path(&config), path(&archive));
    let out = koschei(&["ingest", "--from", &from, "--archive", &archive, "--db", &db, "--config", &config]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    db
}

fn said(args: &[&str]) -> String {
    let out = koschei(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn foo(db: &str) -> Value {
    let status: Value = serde_json::from_str(&said(&["status", "--json", "--db", db])).unwrap();
    status["packages"].as_array().unwrap().iter().find(|p| p["package"] == "foo").unwrap().clone()
}

#[test]
fn known_from_a_repository_only() {
    let dir = tempfile::tempdir().unwrap();
    let db = log(dir.path(), |mut lines| lines.split_off(4));
    let foo = foo(&db);
    assert_eq!((&foo["state"], &foo["from_repository_only"]), (&json!("unknown"), &json!(true)));
    assert_eq!(foo["reason"], "1-1.fc99 is in a repository of f99-build, and not known to be tagged into f99");
    let table = said(&["status", "--db", &db]);
    let counted = "  and 1 known only from a repository (--all lists them): no message announced its tagging";
    assert!(table.contains(counted) && !table.contains("  foo "), "{table}");
    for all in [["--all", "--db"], ["--state=unknown", "--db"]] {
        let table = said(&[&["status"], &all[..], &[db.as_str()]].concat());
        assert!(table.contains("  foo ") && !table.contains("known only from a repository (--all"), "{table}");
    }
    let why = said(&["why", "foo", "--db", &db]);
    assert!(why.contains("there is no hub to ask, so it is resolved but not rebuilt"), "{why}");
}

#[test]
fn a_package_whose_tagging_was_seen_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let db = log(dir.path(), |lines| lines);
    let foo = foo(&db);
    assert_eq!((foo.get("from_repository_only"), foo.get("remarks")), (None, None), "{foo}");
    assert!(said(&["status", "--db", &db]).contains("  foo-1-1.fc99 "));
}

#[test]
fn blocked_in_the_build_tag() {
    let dir = tempfile::tempdir().unwrap();
    let block = |tag: &'static str| {
        move |mut lines: Vec<String>| {
            let mut message: Value = serde_json::from_str(&lines[0]).unwrap();
            message["id"] = json!("8dbfac20-48cb-5d48-a480-000000000000");
            (message["body"]["tag"], message["body"]["action"]) = (json!(tag), json!("block"));
            lines.insert(4, message.to_string());
            lines
        }
    };
    let db = log(dir.path(), block("f99-build"));
    let says = "blocked in the build tag f99-build: its builds get into no buildroot";
    let foo_there = foo(&db);
    assert_eq!((&foo_there["blocked"], &foo_there["remarks"]), (&json!(false), &json!([says])));
    assert!(said(&["why", "foo", "--db", &db]).contains(says));
    // Blocked in the dest tag, that is a state.
    let dir = tempfile::tempdir().unwrap();
    let db = log(dir.path(), block("f99"));
    let foo = foo(&db);
    assert_eq!((&foo["state"], foo.get("remarks")), (&json!("blocked"), None));
}
