//! Defects of Koschei 2.4 in working with a hub that we do not have, as far as they concern state
//! and decisions.

use std::collections::BTreeMap;

use koschei::decide::{Policy, command};
use koschei::event::{
    CollectionSettings, Event, PriorityKind, Record, SubmissionsPaused, SubmissionsResumed, TagObserved, TaskVanished,
    cloudevents, schema,
};
use koschei::log::{EventLog, PAGE_MAX};
use koschei::model::koji::TaskState::{Closed, Failed, Open};
use koschei::model::{Hub, PackageState, RebuildId, TaskId};
use serde_json::{Value, json};

use crate::story::{HOUR, World, broken, ok, settings, unknown};

const Z: &str = "z-0:1-1.x86_64/1";

/// D1, D9, D11, behaviours 7 and 8, with a crash at the commit: nothing is announced that is not in
/// the log, everything in the log is announced, and a command belongs to exactly one decision.
#[test]
fn d1_d9_d11_death_at_the_commit() {
    let story = |crash: bool| {
        let mut w = World::new();
        w.submits();
        w.tag("f99", "foo-1-1");
        w.real("f99", "bar-1-1");
        w.repo(1, &[ok("foo-1-1", Z), ok("bar-1-1", Z)]);
        w.holds("f99-build", 2, "x86_64", &[ok("foo-1-1", Z), broken("bar-1-1", "nothing provides z")]);
        w.points("bar", PriorityKind::Static, 500);
        let body = json!({"instance": "primary", "repo_id": 2, "tag": "f99-build"});
        for _ in 0..2 {
            match crash {
                true => w.send_and_crash("repo.done", body.clone()),
                false => drop(w.send("repo.done", body.clone())),
            }
        }
        w.sound();
        w
    };
    let (calm, crashed) = (story(false), story(true));
    assert_eq!((calm.events().len(), calm.state().digest()), (crashed.events().len(), crashed.state().digest()));
    assert_eq!(crashed.states("bar"), ["->ok", "ok>unresolved"], "said once");
    let but_for_its_log = |mut command: Value| command.as_object_mut().unwrap().remove("id").map(|_| command);
    let commands = |w: &World| w.commands().into_iter().map(but_for_its_log).collect::<Vec<_>>();
    assert_eq!(commands(&crashed), commands(&calm));
    assert_eq!(crashed.commands().len(), 1);
}

/// D10: a real build that changes a state announces it. The old state in an announcement is always
/// the state announced before.
#[test]
fn d10_real_builds_that_change_a_state_are_announced() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.looked_with(1, "foo-1-1", Failed, None, &[("x86_64", 1005, "mock exited with status 1;")]);
    w.real("f99", "foo-2-1");
    w.looked_with(2, "foo-2-1", Failed, None, &[("x86_64", 1005, "mock exited with status 1;")]);
    w.untag("f99", "foo-2-1");
    w.build_state("foo-1-1", 2);
    let said = w.states("foo");
    assert_eq!(said[..4], ["->ok", "ok>failing", "failing>ok", "ok>failing"]);
    for pair in said.windows(2) {
        assert_eq!(pair[0].split('>').next_back(), pair[1].split('>').next(), "{said:?}");
    }
    w.sound();
}

/// D12, behaviour 13: one tagging counts for every collection that sees the tag, directly or by
/// inheritance, and for no other.
#[test]
fn d12_one_tagging_counts_everywhere() {
    let of = |name: &str, dest: &str| CollectionSettings { dest_tag: dest.into(), ..settings(name) };
    let collections = [("one", of("one", "f99")), ("two", of("two", "f99")), ("child", of("child", "f99-updates"))];
    let mut w = World::with(Policy::default(), &[collections.to_vec(), vec![("other", of("other", "f98"))]].concat());
    let link: Value = json!([{"tag": "f99", "priority": 0}]);
    w.operator(TagObserved {
        hub: Hub::new("primary"),
        tag: "f99-updates".into(),
        tag_id: None,
        arches: None,
        inheritance: Some(serde_json::from_value(link).unwrap()),
        groups: None,
        external_repos: None,
        gone: false,
    });
    w.real("f99", "foo-1-1");
    for c in ["one", "two", "child"] {
        assert_eq!(w.is_in(c, "foo"), PackageState::Ok, "{c}");
    }
    assert!(w.state().package("other", "foo").is_none());
    w.sound();
}

/// D18: unknown requirements give no verdict and never count as empty. Once known, they give a
/// verdict.
#[test]
fn d18_unknown_requirements_are_not_none() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.points("foo", PriorityKind::Static, 1000);
    w.repo(1, &[unknown("foo-1-1")]);
    assert_eq!((w.package("foo").resolved, w.held("foo")), (None, vec!["not_resolved_yet"]));
    w.repo(2, &[broken("foo-1-1", "nothing provides q")]);
    assert_eq!(w.is("foo"), PackageState::Unresolved);
    w.repo(3, &[unknown("foo-1-1")]);
    assert_eq!(w.package("foo").resolved, None, "an old verdict on another repository does not stand for it");
    w.sound();
}

/// D19: an invisible build group is not a failing one. It is checked again with the next
/// repository, and heals.
#[test]
fn d19_a_missing_build_group_heals() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.lose("f99-build", 1);
    w.done("f99-build", 1);
    assert_eq!(w.held("foo"), ["buildroot_unknown", "not_resolved_yet", "below_threshold"]);
    w.repo(2, &[ok("foo-1-1", Z)]);
    assert_eq!(w.held("foo"), ["below_threshold"]);
    w.sound();
}

/// D20: slow or missing answers of a hub hold up nothing: while requests are unanswered, everything
/// else goes on.
#[test]
fn d20_unanswered_requests_hold_up_nothing() {
    let mut w = World::with(Policy { max_builds: 2, ..Policy::default() }, &[("f99", settings("f99"))]);
    w.submits();
    for p in ["a", "b", "c"] {
        w.tag("f99", &format!("{p}-1-1"));
    }
    let sources = ["a-1-1", "b-1-1", "c-1-1"].map(|n| ok(n, Z));
    w.repo(1, &sources);
    assert_eq!(w.requested(), ["a", "b"]);
    w.repo(2, &[ok("a-1-1", Z), ok("b-1-1", Z), broken("c-1-1", "nothing provides z")]);
    assert_eq!(w.is("c"), PackageState::Unresolved);
    w.real("f99", "b-2-1");
    assert_eq!(w.is("b"), PackageState::Ok);
    w.repo(3, &sources);
    let rebuild = w.open("a");
    w.looked(7, "a-1-1", Closed, Some(rebuild));
    w.pass(60);
    assert_eq!(w.requested(), ["c"], "a slot is a slot, whoever answers first");
    w.sound();
}

/// D31: a task without a known completion time ended when that was seen. Its steps are kept, even
/// incomplete ones.
#[test]
fn d31_no_completion_time() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.pass(HOUR);
    w.looked_with(7, "foo-1-1", Closed, None, &[("srpm", 0, ""), ("x86_64", 0, ""), ("aarch64", 0, "")]);
    let task = &w.state().hubs[&Hub::new("primary")].tasks[&TaskId(7)];
    assert_eq!((task.finished_at, task.steps.len()), (Some(w.now()), 3));
    w.sound();
}

/// Behaviour 15: everything written while working with a hub fits its schema. It can be read back
/// from the log, as a `CloudEvent`, and as a command.
#[test]
fn behaviour_15_what_is_written_fits_its_schema() {
    let mut w = World::new();
    w.submits();
    w.load(&[("x86_64", 100)]);
    for p in ["a", "b", "c", "d"] {
        w.tag("f99", &format!("{p}-1-1"));
    }
    let names = ["a-1-1", "b-1-1", "c-1-1", "d-1-1"];
    w.repo(1, &names.map(|n| ok(n, "y-0:1-1.x86_64 z-0:1-1.x86_64/1")));
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|p| w.open(p));
    w.submitted(a, "a", 101);
    w.looked_with(101, "a-1-1", Failed, Some(a), &[("x86_64", 1005, "mock exited with status 1; \u{1f525}")]);
    w.buildroot(101, "a-1-1", "x86_64", 1, "y-0:1-1.x86_64 +z-0:7-1.x86_64", true);
    w.submitted(b, "b", 102);
    w.operator(TaskVanished { hub: Hub::new("primary"), task_id: TaskId(102), package: "b".into() });
    w.operator(cancelled(c, "c"));
    w.submitted(c, "c", 103);
    w.looked(104, "d-1-1", Open, Some(d));
    w.operator(cancelled(d, "d"));
    w.operator(SubmissionsPaused { collection: None, reason: "a fire".to_owned(), by: None });
    w.repo(2, &names.map(|n| ok(n, "y-0:2-1.x86_64 z-0:2-1.x86_64/1")));
    w.operator(SubmissionsResumed { collection: None, by: None });
    w.sound();

    let schemas = schema::all();
    let validators: BTreeMap<&str, jsonschema::Validator> = schemas
        .iter()
        .map(|(file, text)| (file.as_str(), jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()))
        .collect();
    let records: Vec<Record> = w.records();
    let mut kinds = std::collections::BTreeSet::new();
    for r in &records {
        let envelope = r.decode().unwrap();
        kinds.insert(r.kind.clone());
        let payload: Value = serde_json::from_str(&r.payload).unwrap();
        let validator = &validators[schema::file_name(envelope.event.kind()).as_str()];
        assert!(validator.is_valid(&payload), "{}: {:?}", r.kind, validator.iter_errors(&payload).collect::<Vec<_>>());
        assert_eq!(Event::decode(&r.kind, r.version, &envelope.event.payload()).unwrap(), envelope.event);
        assert_eq!(cloudevents::from_json(&cloudevents::to_json(r)).unwrap(), *r);
    }
    for kind in
        ["rebuild_submitted", "task_vanished", "rebuild_cancel_requested", "prediction_compared", "submissions_paused"]
    {
        assert!(kinds.contains(kind), "{kind} did not happen: {kinds:?}");
    }
    let schemas: BTreeMap<String, String> = command::schemas().into_iter().collect();
    let commands = w.commands();
    assert!(commands.iter().any(|c| c["command"] == "cancel") && commands.len() >= 5, "{commands:#?}");
    for c in commands {
        let name = c["command"].as_str().unwrap();
        let text = &schemas[&format!("command.{name}.v1.schema.json")];
        let validator = jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap();
        assert!(validator.is_valid(&c), "{c:#}: {:?}", validator.iter_errors(&c).collect::<Vec<_>>());
        match name {
            "rebuild" => {
                let back: command::RebuildCommand = serde_json::from_value(c.clone()).unwrap();
                assert_eq!(serde_json::to_value(back).unwrap(), c);
            }
            _ => {
                let back: command::CancelCommand = serde_json::from_value(c.clone()).unwrap();
                assert_eq!(serde_json::to_value(back).unwrap(), c);
            }
        }
    }
}

fn cancelled(rebuild: RebuildId, package: &str) -> koschei::event::RebuildCancelRequested {
    koschei::event::RebuildCancelRequested {
        collection: "f99".into(),
        package: package.into(),
        hub: Hub::new("primary"),
        task_id: None,
        rebuild: Some(rebuild),
        reason: "asked for".to_owned(),
        by: None,
    }
}

impl World {
    /// Returns the records of the log.
    fn records(&self) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        loop {
            let page = self.wait(self.log.read(all.last().map(|r| r.seq), PAGE_MAX)).unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }
}
