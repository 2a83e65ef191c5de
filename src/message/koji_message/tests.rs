use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::bus::Recording;
use crate::event::facts::{BuildTagged, PackageListAction, TaskChanged};
use crate::event::{Event, FactId, NewEvent, Source};
use crate::message::entry::{Wire, time};
use crate::message::{CLOCK_TOLERANCE_SECS, Context, Entry, Incoming, Interpretation, interpret};
use crate::model::{Hub, PersonId};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji/events.jsonl");

fn context() -> Context {
    Context {
        service_user: "koschei".to_owned(),
        default_hub: Hub::new("primary"),
        source: Source::Recording,
        clock_tolerance_secs: CLOCK_TOLERANCE_SECS,
    }
}

fn recorded() -> Vec<(String, Value)> {
    let entries = Recording::open(std::path::Path::new(EVENTS)).unwrap();
    let message = |entry| match entry {
        Ok(Entry::Message(m)) => (m.id, serde_json::from_slice(&m.raw).unwrap()),
        other => panic!("{other:?}"),
    };
    entries.map(message).collect()
}

fn read(id: &str, message: &Value) -> Interpretation {
    let raw = serde_json::to_vec(message).unwrap();
    let wire = Wire::<Value>::parse(&raw).unwrap();
    let sent_at = wire.sent_at().or_else(|| wire.seen_at()).unwrap_or(Timestamp::from_secs(9));
    let incoming = Incoming { id, raw: &raw, sent_at };
    interpret(incoming, &context(), &mut |name| {
        assert_ne!(name, "koschei", "the service user is not a person");
        PersonId::new(format!("p-{name}"))
    })
}

fn fact(message: &Value) -> NewEvent {
    match read("m", message) {
        Interpretation::Facts(mut facts) if facts.len() == 1 => facts.remove(0),
        other => panic!("{other:?}"),
    }
}

fn message(topic: &str, body: Value) -> Value {
    json!({"id": "m", "topic": format!("org.example.{topic}"), "sent-at": "2026-11-20T08:00:00+00:00", "body": body})
}

/// A version in a message may be as long as one in the hub's answers.
#[test]
fn names_are_bounded_as_those_of_a_hub() {
    let tagged = |bytes: usize| {
        let version = "1".repeat(bytes);
        let body = json!({"tag": "f99", "build_id": 4, "name": "foo", "version": version, "release": "1"});
        read("m", &message("buildsys.tag", body))
    };
    assert!(matches!(tagged(koji::NAME_BYTES_MAX), Interpretation::Facts(_)));
    assert!(matches!(tagged(koji::NAME_BYTES_MAX + 1), Interpretation::Rejected(_)));
}

/// As far as is known, the message was sent at ten o'clock. It says another time.
#[rstest]
#[case::the_same("2026-11-20T10:00:00+00:00", true)]
#[case::near("2026-11-20T09:30:00+00:00", true)]
#[case::far_back("2026-11-20T08:00:00+00:00", false)]
#[case::far_ahead("2026-11-20T12:00:00+00:00", false)]
fn a_time_is_kept_that_is_near_the_known_one(#[case] sent: &str, #[case] kept: bool) {
    let mut message = message("buildsys.repo.init", json!({"tag": "f99-build", "repo_id": 4, "instance": "primary"}));
    message["sent-at"] = json!(sent);
    let raw = serde_json::to_vec(&message).unwrap();
    let ten = time(&json!("2026-11-20T10:00:00+00:00")).unwrap();
    let incoming = Incoming { id: "m", raw: &raw, sent_at: ten };
    let Interpretation::Facts(facts) = interpret(incoming, &context(), &mut |_| unreachable!("nobody is named")) else {
        panic!("no facts");
    };
    let expected = if kept { time(&json!(sent)).unwrap() } else { ten };
    assert_eq!((facts[0].occurred_at, facts.len()), (expected, if kept { 1 } else { 2 }));
}

/// Koji's callback `postBuildPromotion`. Its record may still be that of the draft.
#[rstest]
#[case(json!({
    "target_release": "1.fc99", "build": {"id": 31, "name": "foo", "version": "1", "release": "1.fc99,draft_31"}
}))]
#[case(json!({"build": {"build_id": "31", "package_name": "foo", "version": "1", "release": "1.fc99,draft_31"}}))]
#[case(json!({
    "draft_release": "1.fc99,draft_31", "target_release": "1.fc99",
    "build": {"id": 31, "name": "foo", "version": "1", "release": "1.fc99"}
}))]
fn a_promoted_draft_has_another_name(#[case] body: Value) {
    let Event::BuildChanged(b) = fact(&message("buildsys.build.promote", body)).event else { panic!("another fact") };
    assert_eq!(
        (b.build_id, b.name.as_str(), b.version.as_str(), b.release.as_str()),
        (BuildId(31), "foo", "1", "1.fc99")
    );
    assert_eq!((b.old, b.state), (Some(BuildState::Complete), BuildState::Complete));
}

/// Facts or reasons in the recording, counted by kind. The README beside the recording has the same
/// numbers.
#[test]
fn the_recording_gives_these_facts() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (id, message) in recorded() {
        let key = match read(&id, &message) {
            Interpretation::Facts(facts) => facts[0].event.kind().name.to_owned(),
            Interpretation::Ignored(why) => why.to_owned(),
            Interpretation::Rejected(why) => panic!("{id}: {why}"),
        };
        *counts.entry(key).or_default() += 1;
    }
    let expected = [
        ("build_changed", 88),
        ("build_tagged", 86),
        ("build_untagged", 6),
        ("package_list_changed", 116),
        ("repo_initialised", 28),
        ("repo_ready", 28),
        ("scratch build of somebody else", 9),
        ("signatures decide nothing here", 5),
        ("task_changed", 227),
    ];
    assert_eq!(counts, expected.map(|(k, n)| (k.to_owned(), n)).into());
}

#[test]
fn a_finished_scratch_build_is_read_whole() {
    let closed = recorded().into_iter().find(|(_, m)| m["body"]["id"] == 12 && m["body"]["new"] == "CLOSED");
    let (id, message) = closed.unwrap();
    let Interpretation::Facts(facts) = read(&id, &message) else { panic!("no fact") };
    let [new] = facts.as_slice() else { panic!("{facts:?}") };
    assert_eq!(new.occurred_at, Timestamp::from_secs(1_795_164_271));
    assert_eq!(new.fact, Some(FactId::of("primary/message/b61b6e1c-d208-4f8b-a638-f8c3b604de96/0")));
    assert_eq!(new.source, Source::Recording);
    let child = |task_id, method: &str, label: &str| facts::ChildTask {
        task_id: TaskId(task_id),
        method: method.into(),
        label: label.into(),
        state: TaskState::Closed,
        arch: None,
        fault: None,
    };
    let expected = TaskChanged {
        hub: Hub::new("primary"),
        task_id: TaskId(12),
        state: TaskState::Closed,
        package: "python-requests".into(),
        nvr: Nvr::parse("python-requests-2.32.3-1.fc99"),
        target: Some("f99".into()),
        repo_id: Some(RepoId(1)),
        arches: vec!["x86_64".into()],
        decision: None,
        created_at: Some(Timestamp::from_secs(1_795_164_265)),
        started_at: Some(Timestamp::from_secs(1_795_164_267)),
        finished_at: Some(Timestamp::from_secs(1_795_164_271)),
        children: vec![child(17, "rebuildSRPM", "srpm"), child(21, "buildArch", "x86_64")],
        fault: None,
    };
    assert_eq!(new.event, expected.into());
}

/// Children are kept only with a final state. The time is that of the state.
#[test]
fn tasks_in_progress_have_no_steps() {
    for (id, message) in recorded() {
        let Interpretation::Facts(facts) = read(&id, &message) else { continue };
        let Event::TaskChanged(task) = &facts[0].event else { continue };
        assert_eq!(task.arches.is_empty(), message["body"]["info"]["request"][2]["arch_override"].is_null());
        if task.state.is_final() {
            assert_eq!(task.children.len(), message["body"]["info"]["children"].as_array().unwrap().len());
            assert_eq!(Some(facts[0].occurred_at), task.finished_at);
        } else {
            assert!(task.children.is_empty());
        }
        if task.state == TaskState::Free {
            assert_eq!(facts[0].occurred_at.to_string().parse(), Ok(facts[0].occurred_at));
            assert_eq!(Some(facts[0].occurred_at), time(&message["sent-at"]), "not when the task was made");
        }
    }
}

#[test]
fn a_failed_build_has_its_own_time_and_numbers() {
    let failed =
        recorded().into_iter().find(|(_, m)| m["body"]["completion_time"].is_string() && m["body"]["new"] == 3);
    let (_, message) = failed.unwrap();
    let new = fact(&message);
    let Event::BuildChanged(build) = &new.event else { panic!("{new:?}") };
    assert_eq!((build.state, build.old), (BuildState::Failed, Some(BuildState::Building)));
    assert_eq!(Some(new.occurred_at), build.completed_at);
    assert!(build.task_id.is_some());
    assert_eq!(build.by, Some(PersonId::new("p-bob")));
    // A deletion happens long after the build ended.
    let (_, deleted) = recorded().into_iter().find(|(_, m)| m["body"]["new"] == 2).unwrap();
    assert_eq!(Some(fact(&deleted).occurred_at), time(&deleted["sent-at"]));
}

#[test]
fn epochs_survive_and_zero_is_none() {
    let body = |epoch| json!({"name": "a", "version": "1", "release": "1", "build_id": 1, "new": 1, "epoch": epoch});
    let epoch = |e| match fact(&message("buildsys.build.state.change", body(e))).event {
        Event::BuildChanged(b) => b.epoch,
        other => panic!("{other:?}"),
    };
    assert_eq!(epoch(json!(2)), Some(2));
    assert_eq!(epoch(json!("2")), Some(2));
    for none in [json!(0), json!(null), json!(-1), json!({}), json!(4_294_967_296_i64)] {
        assert_eq!(epoch(none), None);
    }
}

#[rstest]
#[case::koji("buildsys.tag", true)]
#[case::any_prefix("buildsys.untag", true)]
#[case::foreign("koschei.package.state.change", false)]
#[case::looks_alike("mybuildsys.tag", false)]
#[case::unknown("buildsys.build.demote", false)]
fn topics_are_routed_by_their_end(#[case] topic: &str, #[case] known: bool) {
    let body = json!({
        "tag": "f99", "build_id": "7", "name": "a", "version": 7, "release": "1", "user": "bob", "new_field": [1]
    });
    let read = read("m", &message(topic, body));
    assert_eq!(matches!(read, Interpretation::Facts(_)), known, "{read:?}");
    assert_eq!(matches!(read, Interpretation::Ignored(_)), !known, "{read:?}");
}

#[test]
fn numbers_and_texts_stand_for_each_other() {
    let body =
        json!({"tag": 9, "tag_id": "3", "build_id": "7", "name": "a", "version": 7, "release": "1", "instance": "arm"});
    let expected = BuildTagged {
        hub: Hub::new("arm"),
        tag: "9".into(),
        tag_id: Some(TagId(3)),
        build_id: BuildId(7),
        name: "a".into(),
        version: "7".into(),
        release: "1".into(),
        by: None,
    };
    let new = fact(&message("buildsys.tag", body));
    assert_eq!(new.event, expected.into());
    assert_eq!(new.fact, Some(FactId::of("arm/message/m/0")));
}

#[test]
fn the_time_falls_back_to_the_envelope_and_then_to_us() {
    let body = json!({"tag": "t", "repo_id": 1});
    let at = |mut m: Value, drop: &[&str]| {
        for key in drop {
            m.as_object_mut().unwrap().remove(*key);
        }
        fact(&m).occurred_at
    };
    let mut m = message("buildsys.repo.done", body);
    m["seen_at"] = json!(5.5);
    m["headers"] = json!({"sent-at": "1970-01-01T00:00:04Z"});
    assert_eq!(at(m.clone(), &["sent-at"]), Timestamp::from_secs(4));
    assert_eq!(at(m.clone(), &["sent-at", "headers"]), Timestamp(5_500_000));
    assert_eq!(at(m, &["sent-at", "headers", "seen_at"]), Timestamp::from_secs(9));
}

fn task(owner: &str, request: Value) -> Value {
    let body = json!({"id": 5, "new": "OPEN", "owner": owner, "method": "build", "info": {"request": request}});
    message("buildsys.task.state.change", body)
}

#[rstest]
#[case::ours(task("koschei", json!(["x/a-1-1.src.rpm", "t", {"scratch": true}])), None)]
#[case::somebody(task("alice", json!(["x/a-1-1.src.rpm", "t", {"scratch": true}])), Some("scratch build of somebody \
    else"))]
#[case::real(task("koschei", json!(["x/a-1-1.src.rpm", "t", {}])), Some("not a scratch build"))]
#[case::says_false(task("koschei", json!(["x/a-1-1.src.rpm", "t", {"scratch": false}])), Some("not a scratch build"))]
fn only_our_scratch_builds_count(#[case] message: Value, #[case] ignored: Option<&str>) {
    match (read("m", &message), ignored) {
        (Interpretation::Ignored(why), Some(expected)) => assert_eq!(why, expected),
        (Interpretation::Facts(_), None) => (),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn other_methods_and_attributes_are_passed_over() {
    let mut m = task("koschei", json!(["x/a-1-1.src.rpm", "t", {"scratch": true}]));
    m["body"]["method"] = json!("image");
    assert_eq!(read("m", &m), Interpretation::Ignored("not a build task"));
    m["body"]["attribute"] = json!("volume_id");
    assert_eq!(read("m", &m), Interpretation::Ignored("not a change of state"));
}

fn task_fact(request: Value) -> TaskChanged {
    match fact(&task("koschei", request)).event {
        Event::TaskChanged(task) => task,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::nested(json!({"koschei": {"decision": "d-1", "attempt": 1}}), Some("d-1"))]
#[case::flat(json!({"koschei_decision": "d-2"}), Some("d-2"))]
#[case::foreign(json!({"koschei": {"big": 1_099_511_627_776_i64}}), None)]
#[case::text(json!("just a string"), None)]
#[case::list(json!(["a", "list"]), None)]
#[case::not_text(json!({"koschei": {"decision": 5}}), None)]
fn decisions_are_found(#[case] metadata: Value, #[case] expected: Option<&str>) {
    let options =
        json!({"scratch": true, "repo_id": "8", "arch_override": "x86_64, aarch64", "custom_user_metadata": metadata});
    let task = task_fact(json!(["x/a-1-1.src.rpm", null, options]));
    assert_eq!(task.decision.as_deref(), expected);
    assert_eq!((task.repo_id, task.target), (Some(RepoId(8)), None));
    assert_eq!(task.arches, ["x86_64", "aarch64"]);
}

#[rstest]
#[case::tagged("../packages/a-b/1/2/src/a-b-1-2.src.rpm", "a-b", Some("a-b-1-2"))]
#[case::uploaded("cli-build/1.2.x/c-1-2.src.rpm", "c", Some("c-1-2"))]
#[case::git("git+https://src.example.org/rpms/foo.git?#0123", "foo", None)]
fn packages_are_found(#[case] source: &str, #[case] package: &str, #[case] nvr: Option<&str>) {
    let task = task_fact(json!([source, "t", {"scratch": true}]));
    assert_eq!(task.package, package);
    assert_eq!(task.nvr.map(|n| n.to_string()).as_deref(), nvr);
}

#[test]
fn package_list_actions_keep_what_the_message_says() {
    let actions = [
        ("add", PackageListAction::Add, json!(false), Some(false)),
        ("block", PackageListAction::Block, json!(true), Some(true)),
        ("unblock", PackageListAction::Unblock, json!(null), None),
    ];
    for (word, action, block, blocked) in actions {
        let body = json!({"tag": "t", "package": "p", "action": word, "block": block, "owner": "bob"});
        let Event::PackageListChanged(e) = fact(&message("buildsys.package.list.change", body)).event else {
            panic!("{word}")
        };
        assert_eq!((e.action, e.blocked, e.by), (action, blocked, Some(PersonId::new("p-bob"))));
    }
}

#[rstest]
#[case::no_body(json!({"topic": "buildsys.tag"}), "body is not an object")]
#[case::no_id(message("buildsys.tag", json!({"tag": "f"})), "`build_id` is missing")]
#[case::id_is_text(message("buildsys.repo.done", json!({"tag": "f", "repo_id": "x"})), "`repo_id` is not a number")]
#[case::id_has_fraction(
    message("buildsys.repo.done", json!({"tag": "f", "repo_id": 1.5})), "`repo_id` is not a number"
)]
#[case::name_with_newline(message("buildsys.repo.done", json!({"tag": "f\n", "repo_id": 1})), "`tag` is not a name")]
#[case::action(
    message("buildsys.package.list.change", json!({"tag": "f", "package": "p", "action": "eat"})), "`action` is not"
)]
#[case::state(message("buildsys.build.state.change", json!({"build_id": 1, "new": "HAPPY"})), "`new` is not a build \
    state")]
fn what_cannot_be_understood_is_rejected(#[case] message: Value, #[case] reason: &str) {
    match read("m", &message) {
        Interpretation::Rejected(why) => assert!(why.starts_with(reason), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_that_are_not_messages_are_rejected() {
    let deep = format!("{{\"topic\":\"buildsys.tag\",\"body\":{}", "[".repeat(100_000));
    for raw in [b"".as_slice(), b"null", b"[]", br#"["m", "buildsys.tag"]"#, b"{", b"\xff\xfe", deep.as_bytes()] {
        let incoming = Incoming { id: "m", raw, sent_at: Timestamp::EPOCH };
        let read = interpret(incoming, &context(), &mut |name| PersonId::new(name));
        assert!(matches!(read, Interpretation::Rejected(_)), "{read:?}");
    }
}

/// Returns every path to a member or element of a value.
fn paths(value: &Value, at: &str, into: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect(),
        _ => return,
    };
    for (key, child) in children {
        let path = format!("{at}/{key}");
        paths(child, &path, into);
        into.push(path);
    }
}

fn remove(value: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(key)),
        Value::Array(list) => drop(list.remove(key.parse().unwrap())),
        other => panic!("{other}"),
    }
}

/// Members that are required. If one is missing or has another type, there is no fact.
const REQUIRED: [&str; 9] = ["name", "version", "release", "build_id", "tag", "package", "action", "repo_id", "new"];

/// Takes one message of each shape, and removes and replaces each member at each depth in turn.
/// There is always a result. If there is still a fact, it is of the same kind.
#[test]
fn no_member_is_trusted() {
    let mut seen = BTreeMap::new();
    for (id, message) in recorded() {
        let b = &message["body"];
        let shape = format!("{} {} {} {}", message["topic"], b["old"], b["new"], b["action"]);
        seen.entry(shape).or_insert((id, message));
    }
    assert!(seen.len() >= 20, "{}", seen.len());
    let others = [
        json!(null),
        json!(""),
        json!("text"),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"a": {}}),
    ];
    for (id, message) in seen.into_values() {
        let kind = |read: &Interpretation| match read {
            Interpretation::Facts(facts) => Some(facts[0].event.kind()),
            _ => None,
        };
        let before = kind(&read(&id, &message));
        let mut all = Vec::new();
        paths(&message, "", &mut all);
        for path in all {
            let mut changed = message.clone();
            remove(&mut changed, &path);
            let required = REQUIRED.iter().any(|r| path == format!("/body/{r}"));
            let after = read(&id, &changed);
            if before.is_some() && required {
                assert!(matches!(after, Interpretation::Rejected(_)), "{path} removed: {after:?}");
            }
            assert!(kind(&after).is_none_or(|k| Some(k) == before), "{path} removed: {after:?}");
            for other in &others {
                let mut replaced = message.clone();
                *replaced.pointer_mut(&path).unwrap() = other.clone();
                let after = read(&id, &replaced);
                assert!(kind(&after).is_none_or(|k| Some(k) == before), "{path} = {other}: {after:?}");
                if before.is_some() && required && (other.is_object() || other.is_array() || other.is_null()) {
                    assert!(matches!(after, Interpretation::Rejected(_)), "{path} = {other}: {after:?}");
                }
            }
        }
    }
}
