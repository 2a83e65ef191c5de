//! Messages in the form of the plugin koji-fedoramessaging.

use serde_json::{Map, Value, json};

use super::clock::Micros;
use super::fault::Fault;
use super::rows::{Build, Repo, Rpm, Task};
use super::settings::Settings;
use super::tx::Tx;
use super::value::{V, ts};

/// A message that was published, or that would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct BusMessage {
    /// Routing key with its prefix.
    pub topic: String,
    /// The `message_id`, a random UUID.
    pub id: String,
    pub headers: Map<String, Value>,
    pub body: Value,
    /// AMQP priority. Only tag and untag messages have one.
    pub priority: Option<u8>,
}

impl BusMessage {
    /// Returns the topic without prefix, such as `buildsys.tag`.
    pub fn short_topic(&self) -> &str {
        self.topic.find("buildsys.").and_then(|at| self.topic.get(at..)).unwrap_or(&self.topic)
    }

    /// Returns the message as a line of a recording, like those of `events.jsonl`. `seen_at` is in
    /// seconds since 1970.
    pub fn line(&self, seen_at: f64) -> Value {
        json!({
            "seen_at": seen_at, "topic": self.topic, "exchange": "amq.topic", "redelivered": false, "id": self.id,
            "sent-at": self.headers["sent-at"], "headers": self.headers, "body": self.body,
            "properties": {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2},
        })
    }
}

/// Makes the headers and the id of a message.
pub struct Sender<'a> {
    settings: &'a Settings,
    now: Micros,
    users: Vec<String>,
}

impl<'a> Sender<'a> {
    pub fn new(settings: &'a Settings, now: Micros) -> Self {
        Self { settings, now, users: Vec::new() }
    }

    pub fn users(&mut self, users: Vec<String>) {
        self.users = users;
    }

    pub fn message(&mut self, topic: &str, severity: i64, mut body: Value) -> BusMessage {
        body["base_url"] = json!(self.settings.base_url);
        body["instance"] = json!("primary");
        let schema = match topic {
            "tag" => "koji_fedoramessaging.tag.TagV1",
            "untag" => "koji_fedoramessaging.tag.UntagV1",
            "repo.init" => "koji_fedoramessaging.repo.InitV1",
            "repo.done" => "koji_fedoramessaging.repo.DoneV1",
            "task.state.change" => "koji_fedoramessaging.task.TaskStateChangeV1",
            "build.state.change" => "koji_fedoramessaging.build.BuildStateChangeV1",
            "package.list.change" => "koji_fedoramessaging.package.ListChangeV1",
            _ => "base.message",
        };
        let package = if schema == "base.message" { "fedora_messaging" } else { "koji_fedoramessaging_messages" };
        let priority = matches!(topic, "tag" | "untag").then_some(2);
        let sent_at =
            jiff::Timestamp::from_microsecond(self.now).unwrap().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let mut headers = Map::new();
        headers.insert("fedora_messaging_schema".to_owned(), json!(schema));
        headers.insert("fedora_messaging_schema_package".to_owned(), json!(package));
        headers.insert("sent-at".to_owned(), json!(sent_at));
        headers.insert("fedora_messaging_severity".to_owned(), json!(severity));
        headers.insert("priority".to_owned(), json!(priority.unwrap_or(0)));
        if schema != "base.message" {
            for user in &self.users {
                headers.insert(format!("fedora_messaging_user_{user}"), json!(true));
            }
            let package =
                if topic == "task.state.change" { None } else { body["name"].as_str().or(body["package"].as_str()) };
            if let Some(package) = package {
                headers.insert(format!("fedora_messaging_rpm_{package}"), json!(true));
            }
        }
        let topic = format!("{}.buildsys.{topic}", self.settings.topic_prefix);
        BusMessage { topic, id: uuid(), headers, body, priority }
    }
}

/// Returns a random UUID (version 4).
pub fn uuid() -> String {
    let bits = rand::random::<u128>() & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
    let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12))
}

/// Returns the name of a task state.
pub fn task_state(state: i64) -> &'static str {
    ["FREE", "OPEN", "CLOSED", "CANCELED", "ASSIGNED", "FAILED"][usize::try_from(state).unwrap()]
}

fn iso(at: Option<Micros>) -> Value {
    at.map_or(Value::Null, |at| {
        let stamp = jiff::Timestamp::from_microsecond(at).unwrap();
        let whole = stamp.strftime("%Y-%m-%dT%H:%M:%S");
        match at.rem_euclid(1_000_000) {
            0 => json!(format!("{whole}+00:00")),
            fraction => json!(format!("{whole}.{fraction:06}+00:00")),
        }
    })
}

/// Returns a task's time: whole seconds, as a float.
fn seconds(at: Option<Micros>) -> Value {
    at.map_or(Value::Null, |at| json!(ts(at.div_euclid(1_000_000) * 1_000_000)))
}

impl Tx<'_> {
    fn files_base_url(&self) -> String {
        format!("{}/kojifiles/work", self.settings.base_url)
    }

    /// Returns the body for a task and its tree. Only the top task has `request`.
    pub fn task_body(&self, task: &Task, top: bool) -> Value {
        let mut children: Vec<&Task> = self.w.children(task.id).collect();
        children.sort_by(|a, b| (&a.arch, a.id).cmp(&(&b.arch, b.id)));
        let result = match &task.result {
            Some(Ok(value)) if task.parent.is_some() => value.json(),
            _ => Value::Null,
        };
        let mut body = json!({
            "arch": task.arch, "awaited": task.awaited, "channel_id": task.channel,
            "completion_time": seconds(task.completion), "create_time": seconds(Some(task.create)),
            "host_id": task.host, "id": task.id, "label": task.label, "method": task.method,
            "owner": self.w.user_name(task.owner), "parent": task.parent, "priority": task.priority,
            "start_time": seconds(task.start), "state": task.state, "waiting": task.waiting,
            "host_name": task.host.and_then(|h| self.w.host(h)).map(|h| h.name.clone()),
            "url": format!("{}/koji/taskinfo?taskID={}", self.settings.base_url, task.id), "result": result,
            "children": children.into_iter().map(|c| self.task_body(c, false)).collect::<Vec<_>>(),
        });
        if top {
            body["request"] = V::Array(task.request.clone()).json();
        }
        body
    }

    /// Sends the message of a task's state. The plugin sends it only for top-level tasks with
    /// `scratch` in their last argument.
    pub fn task_message(&mut self, id: i64, old: i64) {
        let Some(task) = self.w.task(id) else { return };
        let scratch = task.request.last().and_then(|o| o.get("scratch")).is_some_and(V::truth);
        if task.parent.is_some() || !scratch {
            return;
        }
        let srpm = task.request.first().and_then(V::as_str).and_then(|s| s.rsplit('/').next());
        let body = json!({
            "info": self.task_body(task, true), "method": task.method, "attribute": "state", "old": task_state(old),
            "new": task_state(task.state), "id": id, "owner": self.w.user_name(task.owner),
            "files_base_url": self.files_base_url(), "srpm": srpm,
        });
        self.send("task.state.change", 20, body);
    }

    pub fn build_message(&mut self, id: i64, old: Option<i64>) {
        let Some(build) = self.w.build(id) else { return };
        let task = build.task.and_then(|t| self.w.task(t));
        let body = json!({
            "name": build.name, "version": build.version, "release": build.release, "epoch": build.epoch,
            "attribute": "state", "old": old, "new": build.state, "build_id": id, "task_id": build.task,
            "owner": self.w.user_name(build.owner), "files_base_url": self.files_base_url(),
            "url": format!("{}/koji/buildinfo?buildID={id}", self.settings.base_url),
            "task": task.map(|t| self.task_body(t, true)),
            "request": task.map(|t| V::Array(t.request.clone()).json()),
            "creation_time": iso(Some(build.create)), "completion_time": iso(build.completion),
        });
        self.send("build.state.change", 20, body);
    }

    /// Sends a tag message. `topic` is `tag` or `untag`.
    pub fn tag_message(&mut self, topic: &str, tag: i64, build: &Build) {
        let body = json!({
            "tag": self.w.tag_name(tag), "tag_id": tag, "name": build.name, "version": build.version,
            "release": build.release, "build_id": build.id, "user": self.w.user_name(self.actor()),
            "owner": self.w.user_name(build.owner),
        });
        self.send(topic, 10, body);
    }

    /// Sends a repository message. `topic` is `repo.init` or `repo.done`.
    pub fn repo_message(&mut self, topic: &str, repo: &Repo) {
        let body = json!({"tag": self.w.tag_name(repo.tag), "tag_id": repo.tag, "repo_id": repo.id});
        self.send(topic, 10, body);
    }

    /// Sends a package list message. `rest` is owner, block, extra arches, force, update. All of
    /// them are null for `remove` and `unblock`.
    pub fn package_message(
        &mut self,
        tag: i64,
        package: i64,
        action: &str,
        rest: Option<(&str, bool, Option<&str>, bool, bool)>,
    ) {
        let mut body = json!({
            "tag": self.w.tag_name(tag), "package": self.w.package_name(package), "action": action,
            "owner": null, "block": null, "extra_arches": null, "force": null, "update": null,
        });
        if let Some((owner, block, extra, force, update)) = rest {
            body["owner"] = json!(owner);
            body["block"] = json!(block);
            body["extra_arches"] = json!(extra);
            body["force"] = json!(force);
            body["update"] = json!(update);
        }
        self.send("package.list.change", 10, body);
    }

    /// Sends the message of a signature. Its body never validates, so its schema is the generic
    /// one.
    pub fn sign_message(&mut self, rpm: &Rpm, sigkey: &str, sighash: &str) -> Result<(), Fault> {
        let rpm_record = super::calls::rpms::record(self.w, rpm, false).json();
        let build = rpm.build.and_then(|b| self.w.build(b)).ok_or_else(|| Fault::generic("No such build"))?;
        let record = super::calls::builds::full(self.w, build).without(&["start_ts", "completion_ts"]);
        let mut record = record.json();
        for (member, at) in
            [("start_time", build.start), ("creation_time", Some(build.create)), ("completion_time", build.completion)]
        {
            record[member] = seconds(at);
        }
        self.send("rpm.sign", 20, json!({"sigkey": sigkey, "sighash": sighash, "rpm": rpm_record, "build": record}));
        Ok(())
    }
}
