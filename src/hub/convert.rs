//! Converts commands into Koji tasks, and recognizes the tasks of a command.

use std::collections::BTreeMap;

use crate::decide::command::RebuildCommand;
use crate::event::CommandId;
use crate::koji::records;
use crate::koji::xmlrpc::Value;

/// Returns the content of `custom_user_metadata`. It identifies our tasks after any crash.
pub(super) fn metadata(command: &RebuildCommand) -> Value {
    let text = |t: &str| Value::Text(t.to_owned());
    let collection = text(&command.collection);
    let ours = BTreeMap::from([("decision".to_owned(), text(&command.id)), ("collection".to_owned(), collection)]);
    Value::Struct(BTreeMap::from([("koschei".to_owned(), Value::Struct(ours))]))
}

/// Converts an option of a `build` call from a command's JSON.
pub(super) fn option(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => n.as_i64().map_or_else(|| Value::Double(n.as_f64().unwrap_or(0.0)), Value::Int),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(all) => Value::Array(all.iter().map(option).collect()),
        serde_json::Value::Object(all) => {
            Value::Struct(all.iter().map(|(name, v)| (name.clone(), option(v))).collect())
        }
    }
}

/// Reads the command id and the collection from a task's metadata. Returns `None` for a command of
/// another log.
pub(super) fn decision<'a>(metadata: &'a Value, log_id: &str) -> Option<(&'a str, Option<&'a str>)> {
    let ours = metadata.get("koschei")?;
    let id = ours.get("decision")?.as_str()?;
    let ours = (CommandId::parse(id)?.log == log_id).then_some(ours)?;
    Some((id, ours.get("collection").and_then(Value::as_str)))
}

/// Checks whether a task is the one a command asked for. Compares command id, source, target and
/// collection.
pub(super) fn is_of(request: &records::BuildRequest, command: &RebuildCommand, log_id: &str) -> bool {
    let named = request.metadata.as_ref().and_then(|m| decision(m, log_id));
    named.is_some_and(|(id, collection)| {
        id == command.id
            && collection.is_none_or(|c| c == command.collection)
            && request.source == command.source
            && request.target.as_ref() == Some(&command.target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn options_keep_their_types() {
        let option = option(&serde_json::json!({ "b": true, "i": -5, "l": ["x", [7]] }));
        let list = Value::Array(vec![Value::Text("x".to_owned()), Value::Array(vec![Value::Int(7)])]);
        let members = [("b", Value::Bool(true)), ("i", Value::Int(-5)), ("l", list)];
        assert_eq!(option, Value::Struct(members.map(|(name, value)| (name.to_owned(), value)).into()));
    }

    fn command() -> RebuildCommand {
        serde_json::from_value(serde_json::json!({
            "id": format!("abc:17:{}", "5e".repeat(32)), "command": "rebuild", "version": 1, "collection": "f99",
            "package": "foo", "nvr": "foo-1-1", "hub": "primary", "source": "../packages/foo/1/1/src/foo-1-1.src.rpm",
            "target": "f99", "task_priority": 30, "priority": crate::event::PriorityParts::default(),
            "decided_at": Timestamp::EPOCH, "cause": { "sequence": 17 },
        }))
        .unwrap()
    }

    fn request(of: &RebuildCommand) -> records::BuildRequest {
        records::BuildRequest {
            source: of.source.clone(),
            target: Some(of.target.clone()),
            scratch: true,
            repo_id: None,
            arch_override: None,
            metadata: Some(metadata(of)),
        }
    }

    #[test]
    fn decisions_of_other_logs_are_not_ours() {
        let command = command();
        let ours = metadata(&command);
        assert_eq!(decision(&ours, "abc"), Some((command.id.as_str(), Some("f99"))));
        assert_eq!(decision(&ours, "xyz"), None);
        assert_eq!(decision(&Value::Text(command.id), "abc"), None, "people put anything there");
    }

    /// Anybody may copy our metadata into a task of another kind.
    #[test]
    fn a_task_is_a_commands_by_id_source_target_and_collection() {
        let asked = command();
        assert!(is_of(&request(&asked), &asked, "abc"));
        let bends: [fn(&mut RebuildCommand); 4] = [
            |c| c.id = c.id.replace(":17:5e", ":17:5f"),
            |c| c.source = c.source.replace("foo-1-1", "foo-1-2"),
            |c| c.target = "f98".into(),
            |c| c.collection = "f98".into(),
        ];
        for bend in bends {
            let mut other = command();
            bend(&mut other);
            assert!(!is_of(&request(&other), &asked, "abc"), "{other:?}");
        }
    }
}
