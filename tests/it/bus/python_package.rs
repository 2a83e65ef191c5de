//! The tests of `deploy/koschei-messages-ng`, the Python package of our own messages.

use std::process::Command;

use crate::subscriber::python;

/// Its own tests pass, and run every line and branch of it.
#[test]
fn every_line_of_it_is_tested() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let out = Command::new(python())
            .args(["-m", "coverage"])
            .args(args)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/koschei-messages-ng"))
            .env("COVERAGE_FILE", dir.path().join("coverage"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(out.status.success(), "{args:?}: {said}");
        said
    };
    let said = run(&["run", "-m", "unittest", "discover"]);
    assert!(said.contains("OK") && !said.contains("Ran 0 tests"), "{said}");
    let said = run(&["report"]);
    assert!(said.contains("100%"), "{said}");
}
