//! The test hub's messages have the form of recorded ones: topic, headers, members, types.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::hub::value::row;
use crate::hub::{BusMessage, Caller, Hub, NewBuild, NewWorld, Outcome, Settings};

/// The members of the messages of one kind.
#[derive(Default, Debug)]
struct Shape {
    /// Every path with the types seen there.
    types: BTreeMap<String, BTreeSet<&'static str>>,
    /// Paths that are in each message. For lists: in each element.
    always: Option<BTreeSet<String>>,
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Collects paths and types of a message. Children of tasks are tasks. A request is the client's,
/// and the files and logs in a result are the builder's, so these are not compared.
fn walk(path: &str, value: &Value, out: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    out.entry(path.to_owned()).or_default().insert(kind(value));
    match value {
        _ if path.ends_with(".request") => (),
        Value::Object(members) => members.iter().for_each(|(name, v)| walk(&format!("{path}.{name}"), v, out)),
        Value::Array(elements) => elements.iter().for_each(|v| walk(&format!("{path}[]"), v, out)),
        _ => (),
    }
}

/// The name of a person or package in a header is not a member name.
fn header(name: &str) -> String {
    let prefixes = ["fedora_messaging_user_", "fedora_messaging_rpm_"];
    prefixes.iter().find(|p| name.starts_with(**p)).map_or_else(|| name.to_owned(), |p| format!("{p}NAME"))
}

impl Shape {
    fn add(&mut self, headers: &serde_json::Map<String, Value>, body: &Value) {
        let mut found = BTreeMap::new();
        walk("body", body, &mut found);
        for (name, value) in headers {
            walk(&format!("headers.{}", header(name)), value, &mut found);
        }
        let paths: BTreeSet<String> = found.keys().cloned().collect();
        self.always =
            Some(self.always.take().map_or_else(|| paths.clone(), |a| a.intersection(&paths).cloned().collect()));
        for (path, types) in found {
            self.types.entry(path).or_default().extend(types);
        }
    }
}

/// Returns the kind of a message: topic, and the state or action.
fn of(topic: &str, body: &Value) -> String {
    let topic = topic.get(topic.find("buildsys.").unwrap()..).unwrap();
    let what =
        ["new", "action"].iter().find_map(|m| body.get(*m)).map(|v| v.to_string().replace('"', "")).unwrap_or_default();
    let imported = if topic == "buildsys.build.state.change" && body["task_id"].is_null() { " of no task" } else { "" };
    format!("{topic} {what}{imported}").trim().to_owned()
}

fn recorded() -> BTreeMap<String, Shape> {
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    for recording in ["koji", "koji-external"] {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(recording).join("events.jsonl");
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let message: Value = serde_json::from_str(line).unwrap();
            let kind = of(message["topic"].as_str().unwrap(), &message["body"]);
            shapes.entry(kind).or_default().add(message["headers"].as_object().unwrap(), &message["body"]);
        }
    }
    shapes
}

/// Returns the messages of a story with every kind of message.
fn story() -> Vec<BusMessage> {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings { may_use_repo_id: true, ..Settings::new(dir.path()) });
    let both = &["x86_64", "aarch64"];
    NewWorld::on(&hub).release("f99", "x86_64 aarch64", &[]).ready([]);
    hub.change(|tx| {
        tx.package_list_add("f99", "app", "alice")?;
        tx.package_list_edit("f99", "app", Some("bob"), None, None)?;
        tx.package_list_add("f99", "doc", "alice")?;
        tx.package_list_block("f99", "doc")?;
        tx.package_list_unblock("f99", "doc")?;
        tx.package_list_remove("f99", "doc")?;
        tx.import_build(&NewBuild::new("app-1-1.fc99").binary("app", both, &[]))?;
        tx.tag_build("f99", "app-1-1.fc99", false)?;
        tx.import_build(&NewBuild::new("app-1-2.fc99").binary("app", both, &[]))?;
        tx.sign_rpm("app-1-2.fc99.src.rpm", "2c6cc360")?;
        tx.tag_build("f99", "app-1-2.fc99", false)?;
        tx.untag_build("f99", "app-1-2.fc99")?;
        tx.delete_build("app-1-2.fc99")
    });
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    hub.change(|tx| tx.start_build("alice", "f99", &NewBuild::new("app-2-1.fc99").binary("app", both, &[])));
    hub.change(|tx| tx.complete_build("app-2-1.fc99"));
    hub.change(|tx| tx.start_build("alice", "f99", &NewBuild::new("app-3-1.fc99").binary("app", both, &[])));
    hub.change(|tx| tx.fail_build("app-3-1.fc99", 1005, "error building package"));
    hub.change(|tx| tx.start_build("alice", "f99", &NewBuild::new("app-3-1.fc99").binary("app", both, &[])));
    hub.change(|tx| tx.cancel_build("app-3-1.fc99"));
    let mut koschei = Caller::login(&hub, "koschei");
    let mut submit = || {
        let opts = row! {
            "scratch" => true, "repo_id" => repo,
            "custom_user_metadata" => row! { "koschei" => row! { "decision" => "r1" } }
        };
        let source = "../packages/app/1/1.fc99/src/app-1-1.fc99.src.rpm";
        koschei.call("build", &[source.into(), "f99".into(), opts]).unwrap().as_int().unwrap()
    };
    submit();
    hub.work_all();
    hub.rule("app", Some("aarch64"), Outcome::FailBuild);
    submit();
    hub.work_all();
    hub.rule("app", None, Outcome::Hang);
    let id = submit();
    hub.work_all();
    hub.change(|tx| tx.free_task(id));
    hub.change(|tx| tx.run_task(id));
    koschei.call("cancelTask", &[id.into()]).unwrap();
    hub.take_messages()
}

#[test]
fn messages_have_the_recorded_shape() {
    let recorded = recorded();
    let mut children: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, types) in recorded.values().flat_map(|shape| &shape.types) {
        if let Some((_, rest)) = path.split_once("children[]") {
            children.entry(rest).or_default().extend(types);
        }
    }
    let mut said = BTreeSet::new();
    for message in story() {
        let kind = of(&message.topic, &message.body);
        let shape =
            recorded.get(&kind).unwrap_or_else(|| panic!("nothing like `{kind}` was recorded: {}", message.body));
        let mut ours = Shape::default();
        ours.add(&message.headers, &message.body);
        for (path, types) in &ours.types {
            // Children are tasks in every message.
            let known = match path.split_once("children[]") {
                Some((_, rest)) => children.get(rest),
                None => shape.types.get(path),
            };
            let Some(known) = known else { panic!("{kind}: {path} is not in recorded messages") };
            assert!(types.is_subset(known), "{kind}: {path} is {types:?}, recorded {known:?}");
        }
        for path in shape.always.iter().flatten().filter(|p| !p.contains("[]")) {
            assert!(ours.types.contains_key(path), "{kind}: {path} is missing");
        }
        said.insert(kind);
    }
    let unsaid: Vec<&String> = recorded.keys().filter(|k| !said.contains(*k)).collect();
    assert_eq!(unsaid, Vec::<&String>::new(), "recorded, and not said");
}
