//! Commands for executors on NATS JetStream, and what they say about them.

use serde_json::{Value, json};

use super::examples;
use super::parts::{Message, Parts};
use super::streams::{SERVER, read};
use crate::decide::command;
use crate::message::{RESULT_TOPIC, result};

/// Describes the commands: those of `serve` in a work queue, and those that `follow` writes into a
/// stream.
pub(super) fn describe_commands(parts: &mut Parts) {
    let queue = json!({
        "title": "Work queue of commands",
        "address": "koschei.commands.{hub}.{id}",
        "description": "Commands for the executors of a hub with `executor = \"jetstream\"`, in the stream \
            `KOSCHEI_COMMANDS` (`commands_stream` and `commands_subject` of `[jetstream]`). Executors take them from \
            the durable consumer `executor-HUB`, which the service makes. A command may come again: before an \
            executor makes a task, it looks for one with the command's id. It publishes the result, and then \
            acknowledges the command.",
        "servers": [{ "$ref": format!("#/servers/{SERVER}") }],
        "parameters": {
            "hub": { "description": "The hub that builds.", "examples": ["primary"] },
            "id": { "description": "The command's `id`.", "examples": ["0123456789abcdef0123456789abcdef:4900:5e5e"] },
        },
    });
    let operation = json!({
        "title": "Give commands to executors",
        "description": "Puts each command that waits into the queue, and again if its outcome does not come. A command \
            that must not be carried out any more is taken out.",
    });
    let described = messages(parts);
    parts.sends("commandQueue", queue, operation, described);
    let stream = json!({
        "title": "Stream of commands",
        "address": "{subject}",
        "description": "Commands for executors, from `koschei follow`, which calls no hub. The stream is \
            `--commands-stream`. It remembers ids for a day at least.",
        "servers": [{ "$ref": format!("#/servers/{SERVER}") }],
        "parameters": { "subject": {
            "description": "`--commands-subject`.",
            "examples": ["koschei.commands"],
        } },
    });
    let operation = json!({
        "title": "Publish commands",
        "description": "Sends each command until the stream has it, each time with the same `Nats-Msg-Id`.",
    });
    let described = messages(parts);
    parts.sends("commands", stream, operation, described);
}

fn messages(parts: &mut Parts) -> Vec<Message> {
    let messages = command::schemas().into_iter().map(|(file, text)| {
        let name = file.trim_end_matches(".schema.json").to_owned();
        let schema = read(&text);
        let what = schema.get("description").cloned().unwrap_or_default();
        let payload = parts.schema(&name, schema);
        let (title, example) = match name.as_str() {
            "command.rebuild.v1" => ("Rebuild a package", serde_json::to_value(examples::rebuild())),
            _ => ("Cancel a task", serde_json::to_value(examples::cancel())),
        };
        let example = example.expect("commands are JSON");
        let object = json!({
            "name": name,
            "title": title,
            "summary": what,
            "headers": {
                "type": "object",
                "properties": {
                    "Koschei-Command": {
                        "description": "The command's `id`. Carry out each id once.",
                        "type": "string",
                    },
                    "Nats-Msg-Id": {
                        "description": "The command's `id`, in a stream that keeps each id once.",
                        "type": "string",
                    },
                },
                "required": ["Koschei-Command"],
            },
            "payload": payload,
            "examples": [{ "headers": { "Koschei-Command": example["id"] }, "payload": example }],
        });
        Message { name, object }
    });
    messages.collect()
}

/// Describes what executors say.
pub(super) fn describe_results(parts: &mut Parts) {
    let (file, text) = result::schema();
    let name = file.trim_end_matches(".schema.json").to_owned();
    let body = parts.schema(&name, read(&text));
    let command = examples::rebuild().id;
    let example = |id: &str, mut body: Value| {
        body["command"] = command.as_str().into();
        json!({ "payload": { "id": id, "topic": RESULT_TOPIC, "body": body } })
    };
    let object = json!({
        "name": name,
        "title": "Result of a command",
        "summary": "What became of a command.",
        "payload": {
            "type": "object",
            "properties": {
                "id": {
                    "description": "Id of this message. One with an id that came before is dropped.",
                    "type": "string",
                    "maxLength": 255,
                },
                "topic": { "const": RESULT_TOPIC },
                "body": body,
            },
            "required": ["id", "topic", "body"],
        },
        "examples": [
            example("5b2f", json!({ "result": "submitted", "task_id": 123 })),
            example("5b30", json!({ "result": "refused", "reason": "policy violation (build_from_srpm)" })),
            example("5b31", json!({ "result": "done" })),
        ],
    });
    let about = json!({
        "title": "Results of commands",
        "address": "koschei.results",
        "description": "What executors say about commands from the work queue, in the stream `KOSCHEI_RESULTS` \
            (`results_stream` and `results_subject` of `[jetstream]`). The service believes no task number: it \
            looks at the task on the hub. A result that makes no sense is set aside (`koschei log parked`).",
        "servers": [{ "$ref": format!("#/servers/{SERVER}") }],
    });
    let operation = json!({
        "title": "Take in results",
        "description": "Acknowledges a result once it is stored.",
    });
    parts.receives("results", about, operation, vec![Message { name, object }]);
}
