//! Examples of messages, made by the code that makes the real ones.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::announce::richer::{self, At, Cause};
use crate::announce::{Announced, Word, koschei_messages};
use crate::decide::command::{CancelCommand, RebuildCommand};
use crate::event::{ChainHash, CollectionSettings, CommandId, Event, Kind, NewEvent, Record, Source, cloudevents};
use crate::model::{BuildrootState, Name, Seq, Timestamp};

/// 1 March 2026, 12:00 UTC.
const NOON: Timestamp = Timestamp::from_secs(1_772_366_400);

/// Returns at least one message of each topic of Fedora Messaging.
pub(super) fn announced() -> Vec<Announced> {
    let settings: CollectionSettings = typed(json!({
        "display_name": "Fedora 99", "hub": "primary", "target": "f99", "build_tag": "f99-build", "dest_tag": "f99",
        "build_group": "build", "coefficient": 1000,
    }));
    let (collection, curl) = (Name::from("f99"), Name::from("curl"));
    let after = |seconds: i64, seq: u64| At {
        collection: &collection,
        settings: &settings,
        seq: position(seq),
        at: NOON.plus_secs(seconds),
        site: Some("https://koschei.example.org"),
    };
    let update = Cause {
        id: "0c1d2e3f".to_owned(),
        kind: "resolution".to_owned(),
        known_by: "libfoo-2-1.fc99".to_owned(),
        source: Some("libfoo-2-1.fc99".to_owned()),
        was: Some("libfoo-1-4.fc99".to_owned()),
        together: Vec::new(),
        repo_id: Some(815),
        what: "libfoo-libs no longer provides libfoo.so.1".to_owned(),
    };
    let gone = Cause {
        id: "8e9f0a1b".to_owned(),
        kind: "target".to_owned(),
        known_by: "tag f99-build".to_owned(),
        source: None,
        was: None,
        repo_id: None,
        what: "tag f99-build does not exist any more".to_owned(),
        ..update.clone()
    };
    let names = |names: &[&str]| -> Vec<Name> { names.iter().map(|name| Name::from(*name)).collect() };
    let reason = "nothing provides libfoo.so.1 needed by curl-libs".to_owned();
    let problems = vec!["nothing provides libc.so.6 needed by bash".to_owned()];
    let changed = typed(json!({
        "collection": "f99", "package": "curl", "old": "ok", "new": "unresolved", "reason": reason,
    }));
    let broken = typed(json!({ "collection": "f99", "old": "ok", "new": "unresolved", "repo_id": 815 }));
    let requested = typed(json!({
        "collection": "f99", "hub": "primary", "target": "f99", "repo_id": 825, "arches": ["x86_64", "aarch64"],
        "nvr": { "name": "curl", "version": "8.1", "release": "1.fc99" }, "task_priority": 30,
        "priority": { "dependency": 512, "time": -256, "current": 256 },
        "inputs": { "source": "8.1-1.fc99", "base": 310, "changes": "00000000deadbeef", "points": [0, 0, 0] },
    }));
    let submitted = typed(json!({
        "rebuild": 4900, "collection": "f99", "package": "curl", "hub": "primary", "task_id": 123,
    }));
    let (failed, refused) = ("genuine_failure", "refused");
    let (task, rebuild) = (typed(json!(123)), typed(json!(4900)));
    let ended = |task, outcome| after(8_400, 4950).ended(&curl, Some(rebuild), task, outcome);
    let theirs = [
        koschei_messages::package(&changed, &settings, NOON, None),
        koschei_messages::collection(&broken, &settings, NOON, None),
    ];
    let ours = [
        after(0, 4711).cause(richer::CAUSE_OPENED, update.clone(), &names(&["curl", "wget"]), 2),
        after(3_600, 4812).cause(richer::CAUSE_GREW, update.clone(), &names(&["bash", "zsh"]), 5),
        after(77_400, 5120).cause(richer::CAUSE_CLOSED, update.clone(), &names(&["curl", "wget"]), 0),
        after(77_400, 5121).cause(richer::CAUSE_CLOSED, gone, &names(&["*"]), 0),
        after(600, 4730).package(&curl, Word::Ok, Word::Unresolved, reason, Some(update)),
        after(0, 4712).buildroot(Word::Ok, BuildrootState::Unresolved, 815, problems),
        after(7_200, 4900).decided(&requested),
        after(7_205, 4901).submitted(&submitted),
        ended(Some(task), (failed, "build.log: error")),
        ended(None, (refused, "policy violation (build_from_srpm)")),
    ];
    theirs.into_iter().flatten().chain(ours).collect()
}

/// Returns a stored payload as a CloudEvent, with its id.
pub(super) fn cloud_event(kind: Kind, payload: &str) -> (Value, Value) {
    let event = Event::decode(kind.name, kind.version, payload).expect("a stored payload can be read");
    let new = NewEvent {
        event,
        occurred_at: NOON,
        source: Source::Engine,
        fact: None,
        koji_event: None,
        causation: Seq::new(4710),
        correlation: Seq::new(4700),
    };
    let record = Record::new(position(4711), NOON.plus_secs(1), &new, ChainHash::GENESIS);
    let event: Value = serde_json::from_str(&cloudevents::to_json(&record)).expect("CloudEvents are JSON");
    (event["id"].clone(), event)
}

/// Returns a command to rebuild a package.
pub(super) fn rebuild() -> RebuildCommand {
    typed(json!({
        "id": command_id(4900), "command": "rebuild", "version": 1, "collection": "f99",
        "package": "curl", "nvr": "curl-8.1-1.fc99", "hub": "primary",
        "source": "../packages/curl/8.1/1.fc99/src/curl-8.1-1.fc99.src.rpm", "target": "f99", "repo_id": 825,
        "arches": ["x86_64", "aarch64"], "task_priority": 30, "decided_at": NOON,
        "priority": { "dependency": 512, "time": -256, "current": 256 },
        "cause": { "sequence": 4900, "evaluation": 4899, "correlation": 4711 },
    }))
}

/// Returns a command to cancel a task.
pub(super) fn cancel() -> CancelCommand {
    typed(json!({
        "id": command_id(4960), "command": "cancel", "version": 1, "collection": "f99",
        "package": "curl", "hub": "primary", "task_id": 123, "reason": "by an operator", "decided_at": NOON,
        "cause": { "sequence": 4960, "correlation": 4959 },
    }))
}

fn command_id(seq: u64) -> String {
    let hash = ChainHash(*blake3::hash(&seq.to_le_bytes()).as_bytes());
    CommandId { log: "0123456789abcdef0123456789abcdef".to_owned(), seq: position(seq), hash }.to_string()
}

fn position(seq: u64) -> Seq {
    Seq::new(seq).expect("positions begin at 1")
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the examples of this file fit their types")
}
