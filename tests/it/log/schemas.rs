//! Stored formats: schemas are generated from the types, every version ever written has an example,
//! and every example still folds.
//!
//! `KOSCHEI_UPDATE=1 cargo test --test it schemas` writes the schemas, and examples of kinds that
//! have none yet. An existing example is never overwritten, because old logs hold that form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use koschei::announce::asyncapi;
use koschei::decide::command;
use koschei::event::{ChainHash, Event, FactId, KINDS, NewEvent, Record, Source, cloudevents, schema};
use koschei::fold::State;
use koschei::message::result;
use koschei::model::{PersonId, Seq, Timestamp};
use koschei::operator;

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn updating() -> bool {
    std::env::var_os("KOSCHEI_UPDATE").is_some()
}

/// Returns the examples on disk: kind, version, text.
fn examples() -> BTreeMap<(String, u16), String> {
    std::fs::read_dir(dir().join("examples"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let (kind, version) = name.strip_suffix(".json").unwrap().rsplit_once(".v").unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            ((kind.to_owned(), version.parse().unwrap()), text.trim_end().to_owned())
        })
        .collect()
}

#[test]
fn schemas_are_those_of_the_types() {
    let mut wanted: BTreeMap<String, String> = schema::all();
    wanted.extend(command::schemas());
    wanted.extend([result::schema()]);
    let payloads = examples().into_iter().map(|((kind, version), text)| (format!("{kind}.v{version}"), text));
    wanted.insert("asyncapi.json".to_owned(), asyncapi::document(&payloads.collect()));
    wanted.insert("openapi.json".to_owned(), koschei::web::openapi());
    as_the_types_say(&dir(), &wanted);
}

/// The Python package has the schemas of our own messages.
#[test]
fn schemas_of_messages_are_those_of_the_types() {
    let dir = dir().with_file_name("deploy/koschei-messages-ng/koschei_messages_ng/schemas");
    as_the_types_say(&dir, &koschei::announce::schema::all());
}

fn as_the_types_say(dir: &Path, wanted: &BTreeMap<String, String>) {
    if updating() {
        for (name, text) in wanted {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    for (name, text) in wanted {
        assert_eq!(found.get(name), Some(text), "{name} is not what the types say: run with KOSCHEI_UPDATE=1");
    }
    let extra: Vec<_> = found.keys().filter(|n| !wanted.contains_key(*n)).collect();
    assert!(extra.is_empty(), "schemas without a type: {extra:?}");
}

/// Every operator's word records who said it, as a stand-in. Koji's own events name Koji's users.
#[test]
fn every_word_is_signed() {
    let (examples, schemas) = (examples(), schema::all());
    let koji = ["build_changed", "build_tagged", "build_untagged", "package_list_changed"];
    for kind in KINDS.iter().filter(|k| !koji.contains(&k.name)) {
        let schema: serde_json::Value = serde_json::from_str(&schemas[&schema::file_name(*kind)]).unwrap();
        let text = &examples[&(kind.name.to_owned(), kind.version)];
        let mut event = Event::decode(kind.name, kind.version, text).unwrap();
        operator::sign(&mut event, PersonId::new("p-1"));
        let payload: serde_json::Value = serde_json::from_str(&event.payload()).unwrap();
        let says = schema["properties"].get("by").map(|_| "p-1");
        assert_eq!(payload["by"].as_str(), says, "{kind}");
    }
}

#[test]
fn every_kind_and_version_has_an_example_that_fits_its_schema() {
    let examples = examples();
    let schemas = schema::all();
    for kind in KINDS {
        for version in 1..=kind.version {
            let key = (kind.name.to_owned(), version);
            let text = examples.get(&key).unwrap_or_else(|| panic!("no example of {} version {version}", kind.name));
            let event = Event::decode(kind.name, version, text).unwrap();
            assert_eq!(event.kind(), *kind, "an old version is lifted to the newest");
            if version == kind.version {
                assert_eq!(event.payload(), *text, "writing gives what was read");
                let schema: serde_json::Value = serde_json::from_str(&schemas[&schema::file_name(*kind)]).unwrap();
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                let validator = jsonschema::validator_for(&schema).unwrap();
                assert!(validator.is_valid(&value), "{kind}: {:?}", validator.iter_errors(&value).collect::<Vec<_>>());
            }
        }
    }
    let known = |(name, version): &(String, u16)| KINDS.iter().any(|k| k.name == name && *version <= k.version);
    assert!(examples.keys().all(known), "an example of a kind that is not known any more");
}

/// Returns the records of all examples, chained.
fn log_of_examples() -> Vec<Record> {
    let mut previous = ChainHash::GENESIS;
    examples()
        .into_iter()
        .enumerate()
        .map(|(i, ((kind, version), payload))| {
            let event = Event::decode(&kind, version, &payload).unwrap();
            let new = NewEvent {
                event,
                occurred_at: Timestamp::from_secs(1_795_164_252),
                source: Source::Recording,
                fact: (i % 2 == 0).then(|| FactId::of(&kind)),
                koji_event: (i % 3 == 0).then_some(241),
                causation: Seq::new(i as u64),
                correlation: Seq::new(u64::from(i > 3)),
            };
            let mut record =
                Record::new(Seq::new(i as u64 + 1).unwrap(), Timestamp::from_secs(1_795_164_253), &new, previous);
            record.kind = kind;
            record.version = version;
            record.payload = payload;
            record.hash = record.chained(previous);
            previous = record.hash;
            record
        })
        .collect()
}

#[test]
fn old_versions_still_fold() {
    let mut state = State::default();
    for record in log_of_examples() {
        state.apply(&record.decode().unwrap());
    }
    assert_eq!(state.seq.map(Seq::get), Some(examples().len() as u64));
    // `repo_ready` has two versions. Both examples are about repositories that are ready now.
    let repos: Vec<_> =
        state.hubs.values().flat_map(|h| h.repos.iter()).filter(|(_, r)| r.tag == "f99-build").collect();
    assert!(
        repos.iter().any(|(id, r)| id.0 == 4 && r.create_event.is_none()),
        "version 1 did not say the event: {repos:?}"
    );
    assert!(repos.iter().any(|(id, r)| id.0 == 26 && r.create_event == Some(588)), "version 2 does: {repos:?}");
}

#[test]
fn cloudevents_lose_nothing() {
    let mut previous = ChainHash::GENESIS;
    for record in log_of_examples() {
        let line = cloudevents::to_json(&record);
        let back = cloudevents::from_json(&line).unwrap();
        assert_eq!(back, record);
        assert_eq!(back.chained(previous), record.hash, "the hash verifies after the journey");
        previous = record.hash;
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let members = value.as_object().unwrap();
        for required in ["id", "source", "specversion", "type"] {
            assert!(members[required].as_str().is_some_and(|s| !s.is_empty()), "CloudEvents 1.0 requires {required}");
        }
        assert!(members.keys().all(|k| k.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())), "{members:?}");
    }
    assert!(cloudevents::from_json("{}").is_err());
    assert!(cloudevents::from_json(r#"{"specversion":"1.0"}"#).is_err());
}

#[test]
fn a_newer_kind_or_version_is_refused_by_name() {
    let error = Event::decode("package_teleported", 1, "{}").unwrap_err().to_string();
    assert!(error.contains("package_teleported") && error.contains("newer koschei"), "{error}");
    assert!(Event::decode("tick", 2, r#"{"now":1}"#).is_err());
    assert!(Event::decode("tick", 0, r#"{"now":1}"#).is_err());
    assert!(Event::decode("tick", 1, "{").is_err());
}
