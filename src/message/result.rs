//! What an outside executor says about a command that it took from the work queue.
//!
//! The message has the envelope of all messages: an object with `id`, `topic` and `body`
//! ([`super::entry`]). Here is its body.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::Wire;
use crate::model::TaskId;

/// Topic of results.
pub const RESULT_TOPIC: &str = "koschei.command.result.v1";
/// Name of the stream of results in the inbox. A result that comes any other way is not believed.
pub const RESULT_SOURCE: &str = "results";
/// Largest number of a task. Koji counts tasks in 32 bits.
const TASK_MAX: i64 = i32::MAX as i64;
/// Longest text of a refusal that is kept, in characters.
const REASON_MAX: usize = 500;

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommandResult {
    /// Id of the command.
    pub command: String,
    /// What became of it.
    #[serde(flatten)]
    pub became: Became,
}

/// What can become of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Became {
    /// A rebuild became a task. The service looks at it on the hub: it must be a scratch build of our
    /// user for the command's source and target, and carry the command's id.
    Submitted {
        /// The task.
        task_id: TaskId,
    },
    /// The hub did not take the command, and will not: there is no task. Not for a hub that does not
    /// answer; an executor waits for that.
    Refused {
        /// The hub's own words.
        reason: String,
    },
    /// A task was told to stop.
    Done,
}

impl CommandResult {
    /// Reads the text of a message.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    pub fn read(raw: &[u8]) -> Result<Self, String> {
        let wire: Wire<serde_json::Value> = Wire::parse(raw)?;
        let topic = wire.topic().unwrap_or_default();
        if topic != RESULT_TOPIC {
            return Err(format!("the topic of a result is `{RESULT_TOPIC}`, but this is `{topic}`"));
        }
        let mut read: Self =
            serde_json::from_value(wire.body).map_err(|e| format!("not the result of a command: {e}"))?;
        match &mut read.became {
            Became::Submitted { task_id } if !(1..=TASK_MAX).contains(&task_id.0) => {
                Err(format!("`task_id` is {task_id}, which is not the number of a task"))
            }
            Became::Refused { reason } if reason.trim().is_empty() => Err("`reason` is empty".to_owned()),
            Became::Refused { reason } => {
                *reason = reason.chars().take(REASON_MAX).collect();
                Ok(read)
            }
            Became::Submitted { .. } | Became::Done => Ok(read),
        }
    }
}

/// Returns the JSON Schema of a result's body, as a file name and a text.
pub fn schema() -> (String, String) {
    let file = "command.result.v1.schema.json".to_owned();
    let mut schema = schemars::schema_for!(CommandResult);
    schema.insert("$id".to_owned(), format!("https://koschei.fedoraproject.org/schemas/{file}").into());
    let mut text = serde_json::to_string_pretty(&schema).expect("schemas are JSON");
    text.push('\n');
    (file, text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn raw(body: &str) -> Vec<u8> {
        format!(r#"{{"id": "a", "topic": "{RESULT_TOPIC}", "body": {body}}}"#).into_bytes()
    }

    #[rstest]
    #[case(r#"{"command": "l:1:h", "result": "submitted", "task_id": 7}"#, Became::Submitted { task_id: TaskId(7) })]
    #[case(r#"{"command": "l:1:h", "result": "done", "more": []}"#, Became::Done)]
    #[case(r#"{"command": "l:1:h", "result": "refused", "reason": "no"}"#, Became::Refused { reason: "no".to_owned() })]
    fn results_are_read(#[case] body: &str, #[case] became: Became) {
        assert_eq!(CommandResult::read(&raw(body)), Ok(CommandResult { command: "l:1:h".to_owned(), became }));
    }

    #[rstest]
    #[case(r#"{"result": "done"}"#, "missing field `command`")]
    #[case(r#"{"command": "c", "result": "maybe"}"#, "unknown variant `maybe`")]
    #[case(r#"{"command": "c", "result": "submitted"}"#, "missing field `task_id`")]
    #[case(r#"{"command": "c", "result": "submitted", "task_id": -7}"#, "not the number of a task")]
    #[case(r#"{"command": "c", "result": "submitted", "task_id": 4294967296}"#, "not the number of a task")]
    #[case(r#"{"command": "c", "result": "refused", "reason": " "}"#, "`reason` is empty")]
    #[case("[]", "not the result of a command")]
    fn nonsense_is_refused(#[case] body: &str, #[case] said: &str) {
        let error = CommandResult::read(&raw(body)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn another_topic_is_none() {
        let other = br#"{"id": "a", "topic": "buildsys.tag", "body": {"command": "c", "result": "done"}}"#;
        assert!(CommandResult::read(other).unwrap_err().contains("topic of a result"));
        assert!(CommandResult::read(b"[1]").is_err());
    }

    #[test]
    fn long_reasons_are_cut() {
        let body = format!(r#"{{"command": "c", "result": "refused", "reason": "{}"}}"#, "é".repeat(REASON_MAX + 1));
        let Became::Refused { reason } = CommandResult::read(&raw(&body)).unwrap().became else { panic!() };
        assert_eq!(reason.chars().count(), REASON_MAX);
    }
}
