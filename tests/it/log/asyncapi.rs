//! `schemas/asyncapi.json` describes every message that leaves the service, and the results that it
//! takes in. `log::schemas` compares it with the types.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use koschei::announce::TOPICS;
use koschei::decide::command;
use koschei::event::KINDS;
use koschei::message::result;
use serde_json::{Map, Value, json};

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/asyncapi.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn part<'a>(document: &'a Value, path: &str) -> &'a Map<String, Value> {
    document.pointer(path).unwrap().as_object().unwrap()
}

/// Returns what AsyncAPI's own parser says of a document, and whether it is content.
fn parsed(document: &Value) -> (bool, String) {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("asyncapi");
    // The install step writes this file last.
    let (locked, lock) = (installed.join("installed.json"), include_bytes!("../../asyncapi/package-lock.json"));
    let is_there = std::fs::read(&locked).is_ok_and(|found| found == lock);
    assert!(is_there, "there is no {} of this version: run deploy/install-deps.sh build test", installed.display());
    let check: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/asyncapi/check.mjs");
    let mut command = Command::new("node");
    command.arg(check).arg(installed).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = command.spawn().expect("there is no node: run deploy/install-deps.sh build test");
    node.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.success(), said)
}

#[test]
fn the_parser_of_asyncapi_takes_it() {
    let document = document();
    let (is_content, said) = parsed(&document);
    println!("{said}");
    assert!(is_content, "{said}");
    let of = |path: &str| part(&document, path).len();
    let counts = (of("/channels"), of("/operations"), of("/components/messages"));
    let counts = format!("{} channels, {} operations, {} messages", counts.0, counts.1, counts.2);
    assert!(said.contains(&counts), "{counts}: {said}");
}

#[test]
fn the_parser_of_asyncapi_finds_faults() {
    let state = "/components/schemas/package_state_changed.v1/properties/new/allOf/0/$ref";
    let faults = [
        ("/components/schemas/CloudEvent/properties/subject/type", json!("words"), "type"),
        (state, json!("#/components/schemas/Nothing"), "Nothing"),
        ("/operations/sendEvents/action", json!("shout"), "action"),
    ];
    for (at, fault, named) in faults {
        let mut document = document();
        *document.pointer_mut(at).unwrap() = fault;
        let (is_content, said) = parsed(&document);
        assert!(!is_content && said.contains("Error at") && said.contains(named), "{at}: {said}");
    }
}

/// Returns why an example does not match the schema at a path of the document. AsyncAPI's parser does
/// not compare them in documents of version 3.
fn mismatch(document: &Value, path: &str, example: &Value) -> Option<String> {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": format!("#{path}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(example).map(|e| format!("{}: {e}", e.instance_path())).collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}

#[test]
fn every_message_has_an_example_that_fits() {
    let document = document();
    for (name, message) in part(&document, "/components/messages") {
        let examples = message["examples"].as_array().unwrap_or_else(|| panic!("{name} has no example"));
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            for part in ["headers", "payload"].into_iter().filter(|part| message.get(part).is_some()) {
                let path = format!("/components/messages/{name}/{part}");
                assert_eq!(mismatch(&document, &path, &example[part]), None, "{part} of {name}: {example}");
                let missing = mismatch(&document, &path, &json!({}));
                assert!(missing.is_some_and(|why| why.contains("required")), "{name}: nothing at all is no {part}");
            }
        }
    }
    // A fault below references is found, too.
    let (path, name) = ("/components/messages/package_state_changed.v1/payload", "package_state_changed.v1");
    let mut example = document["components"]["messages"][name]["examples"][0]["payload"].clone();
    example["data"]["new"] = json!("in love");
    assert!(mismatch(&document, path, &example).is_some_and(|why| why.starts_with("/data")));
}

#[test]
fn everything_that_is_sent_has_a_message() {
    let document = document();
    let mut wanted: Vec<String> = TOPICS.iter().map(|topic| (*topic).to_owned()).collect();
    wanted.extend(KINDS.iter().map(|kind| kind.to_string()));
    wanted.extend(command::schemas().into_iter().map(|(file, _)| file.replace(".schema.json", "")));
    let result = result::schema().0.replace(".schema.json", "");
    wanted.push(result.clone());
    wanted.sort();
    let described: Vec<&String> = part(&document, "/components/messages").keys().collect();
    assert_eq!(described, wanted.iter().collect::<Vec<_>>());
    // Each is in a channel, and each channel has an operation that sends all of it.
    let mut sent = Vec::new();
    for operation in part(&document, "/operations").values() {
        let channel = operation["channel"]["$ref"].as_str().unwrap().strip_prefix("#/channels/").unwrap();
        for message in operation["messages"].as_array().unwrap() {
            let path = message["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            assert!(path.starts_with(&format!("/channels/{channel}/messages/")), "{path}");
            let at = document.pointer(path).unwrap()["$ref"].as_str().unwrap();
            sent.push(at.strip_prefix("#/components/messages/").unwrap().to_owned());
        }
        let address = document["channels"][channel]["address"].as_str().unwrap();
        let is_topic = TOPICS.iter().any(|topic| address == format!("{{prefix}}.{topic}"));
        let known = ["events", "commands", "commandQueue", "results"].contains(&channel);
        assert!(is_topic || known, "{channel} has the address {address}");
        assert_eq!(operation["action"], if channel == "results" { "receive" } else { "send" });
    }
    sent.sort();
    // Commands have two channels.
    sent.dedup();
    assert_eq!(sent, wanted);
}
