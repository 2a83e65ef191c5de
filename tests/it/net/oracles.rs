//! The oracles: answers that this program did not compute. Each comparison must notice a planted
//! fault.
//!
//! | what is compared | where, and the planted fault |
//! | --- | --- |
//! | buildroots of every recorded repository, libsolv's own tools | `resolve/recordings.rs`; here |
//! | differences between successive repositories | `resolve/recordings.rs`; here |
//! | what real builders installed | `resolve/recordings.rs`; here |
//! | a sample of the distribution, both modes, with distances | `resolve/recordings.rs`, `resolve/cli.rs`; here |
//! | the test hub, recorded exchanges with a real one | `testhub/recorded.rs`; `another_answer_is_noticed` there |
//! | what the recorded actions left behind | `writer/truth.rs`; `a_lost_message_is_noticed` there |
//! | our solver against libsolv on random universes | `resolve/native.rs`; `the_check_notices` there |
//! | facts of a log against the tables of a hub | `serve/story.rs` and others; `one_fact_less` there |

#![expect(clippy::ptr_arg, reason = "faults are of one type, `Fault`, whatever they do")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use koschei::resolve::Mode;
use serde_json::{Value, json};

use crate::resolve::cli::compare_lines;
use crate::resolve::recordings::{compare, compare_buildroots, compare_changes, compare_sample};

/// Checks whether a comparison fails.
fn notices<T>(compare: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(compare)).is_err()
}

/// Returns the last row of a package that resolves. If there is none, no fault is planted, and the
/// comparison must not fail.
fn resolved(rows: &mut [Value]) -> Option<&mut Value> {
    rows.iter_mut().rfind(|r| r["ok"] == json!(true) && r["closure"].as_array().is_some_and(|c| !c.is_empty()))
}

/// Removes the last entry of a list in each row.
fn shortened(rows: &mut [Value], member: &str) {
    rows.iter_mut().filter_map(|r| r[member].as_array_mut()).for_each(|list| drop(list.pop()));
}

/// Removes a package from a buildroot.
fn package_less(rows: &mut Vec<Value>) {
    resolved(rows).and_then(|r| r["closure"].as_array_mut()).and_then(Vec::pop);
}

/// Makes a package that resolves unresolved.
fn unresolved(rows: &mut Vec<Value>) {
    if let Some(row) = resolved(rows) {
        row["ok"] = json!(false);
    }
}

/// Increases one package's distance.
fn further(rows: &mut Vec<Value>) {
    let distances = rows.iter_mut().filter_map(|r| r["distance"].as_object_mut());
    if let Some(one) = distances.flat_map(serde_json::Map::values_mut).find(|d| d.is_u64()) {
        *one = json!(one.as_u64().map(|d| d + 1));
    }
}

/// Adds a skipped member of the group.
fn passed_over(rows: &mut Vec<Value>) {
    if let Some(row) = resolved(rows) {
        row["skipped"] = json!(["nobody-has-this"]);
    }
}

#[test]
fn a_fault_in_a_buildroot_is_noticed() {
    for (name, fault) in [
        ("package_less", package_less as crate::resolve::recordings::Fault),
        ("unresolved", unresolved),
        ("further", further),
        ("passed_over", passed_over),
    ] {
        let noticed = notices(|| compare("koji", "koji/oracle", Mode::Joint, fault));
        assert!(noticed, "joint: {name}");
        if name != "further" && name != "passed_over" {
            let external = |mode: Mode| {
                let root = format!("koji-external/oracle/{}", mode.as_str());
                notices(|| compare("koji-external", &root, mode, fault))
            };
            assert!(external(Mode::Joint) && external(Mode::Two), "with external repositories: {name}");
        }
    }
}

#[test]
fn a_fault_in_changes_is_noticed() {
    assert!(notices(|| compare_changes(|rows| drop(rows.pop()))), "a row less");
    let nearer: crate::resolve::recordings::Fault = |rows| {
        if let Some(distance) =
            rows.iter_mut().find_map(|r| r.pointer_mut("/changes/0/distance").filter(|d| d.is_u64()))
        {
            *distance = json!(9);
        }
    };
    assert!(notices(|| compare_changes(nearer)), "another distance");
}

#[test]
fn a_fault_in_what_builders_installed_is_noticed() {
    assert!(notices(|| compare_buildroots(|rows| shortened(rows, "builddeps"))));
    assert!(notices(|| compare_buildroots(|rows| shortened(rows, "base"))));
}

#[test]
fn a_fault_in_the_sample_is_noticed() {
    assert!(notices(|| compare_sample(package_less, |_| {})));
    assert!(notices(|| compare_sample(|_| {}, further)));
    assert!(notices(|| compare_lines("two", |lines| lines[0] = lines[0].replacen("-0:", "-1:", 1))));
}
