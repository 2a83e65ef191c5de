//! What a hub held after the recorded actions, and what a reader of its messages can know: a small
//! model of a hub, driven only by `actions.jsonl`. It shares no code with the fold.
//!
//! The model keeps two views. `truth` is the hub. `seen` is the hub as its messages show it. They
//! differ only by these rules:
//!
//! - If a call took 30 seconds or fell between `broker-down` and `broker-up`, it changed the hub
//!   and its message was dropped.
//! - A removed tag loses its builds and a renamed one keeps them, without any message.
//! - In a multicall with a fault, the message of the failed call is sent although the call was
//!   rolled back.
//!
//! `actions.jsonl` leaves out what the session did not do or did not record. The model completes it
//! as follows:
//!
//! - The content before the first action comes from the messages before it (and the recording's
//!   oracle agrees, see `truth.rs`). The initial content of a created tag comes from the messages
//!   about it before its `tag-created`, which is written when the tag is complete.
//! - Source and target of a real build are in its request, which every message about its task
//!   quotes.
//! - If it is not recorded who resubmitted a task, it is the owner in any message about the new
//!   task.
//! - A mass tagging goes to the tag where all its packages already have builds. A move goes from
//!   the candidate tag to the tag of that name.
//! - The calls of a multicall are not recorded. Each call that succeeded has one message, and the
//!   remaining message is the phantom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::feed;

/// Koji waits this long for the broker before it drops a message, in seconds.
const PUBLISH_TIMEOUT: f64 = 30.0;
/// A message may be seen this long after the line that records its call, in seconds. States are
/// compared only if the hub was left alone for this long.
const SETTLED: f64 = 1.0;

/// Tags, blocked packages and real builds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// Builds in a tag by tag and package, oldest tagging first.
    pub tags: BTreeMap<(String, String), Vec<String>>,
    /// Blocked packages by tag.
    pub blocked: BTreeSet<(String, String)>,
    /// Real builds: state by name-version-release.
    pub builds: BTreeMap<String, String>,
}

/// A scratch rebuild of the service user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuild {
    /// State of the task, if the actions show it.
    pub state: Option<String>,
    /// The outcome that follows from it.
    pub outcome: Option<&'static str>,
}

/// A moment at which no message was on its way.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Seconds since 1970.
    pub at: f64,
    /// The hub as its messages show it.
    pub seen: View,
    /// Packages with a real build in progress.
    pub open: BTreeSet<String>,
}

/// Everything that the actions show.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The hub at the end.
    pub truth: View,
    /// The hub at the end, as its messages show it.
    pub seen: View,
    /// Our rebuilds by task.
    pub rebuilds: BTreeMap<i64, Rebuild>,
    /// Moments to compare at.
    pub moments: Vec<Moment>,
    /// Why `truth` and `seen` differ, one line each time.
    pub exceptions: Vec<String>,
}

/// Returns `name` of name-version-release.
pub fn name_of(nvr: &str) -> String {
    nvr.rsplitn(3, '-').nth(2).unwrap_or_else(|| panic!("`{nvr}` is no name-version-release")).to_owned()
}

impl View {
    fn tag(&mut self, tag: &str, nvr: &str) {
        let builds = self.tags.entry((tag.to_owned(), name_of(nvr))).or_default();
        builds.retain(|b| b != nvr);
        builds.push(nvr.to_owned());
    }

    fn untag(&mut self, tag: &str, nvr: &str) {
        let key = (tag.to_owned(), name_of(nvr));
        if let Some(builds) = self.tags.get_mut(&key) {
            builds.retain(|b| b != nvr);
            if builds.is_empty() {
                self.tags.remove(&key);
            }
        }
    }

    fn block(&mut self, tag: &str, package: &str, blocked: bool) {
        let key = (tag.to_owned(), package.to_owned());
        if blocked {
            self.blocked.insert(key)
        } else {
            self.blocked.remove(&key)
        };
    }

    fn build(&mut self, nvr: &str, state: &str) {
        self.builds.insert(nvr.to_owned(), state.to_owned());
    }

    /// Returns the tags a build is in.
    fn tags_of(&self, nvr: &str) -> Vec<String> {
        self.tags.iter().filter(|(_, b)| b.iter().any(|b| b == nvr)).map(|((tag, _), _)| tag.clone()).collect()
    }

    fn drop_tag(&mut self, tag: &str) {
        self.tags.retain(|(t, _), _| t != tag);
        self.blocked.retain(|(t, _)| t != tag);
    }

    fn rename_tag(&mut self, old: &str, new: &str) {
        let name = |t: String| if t == old { new.to_owned() } else { t };
        self.tags = std::mem::take(&mut self.tags).into_iter().map(|((t, p), b)| ((name(t), p), b)).collect();
        self.blocked = std::mem::take(&mut self.blocked).into_iter().map(|(t, p)| (name(t), p)).collect();
    }

    /// Applies a message directly. Used for what no action shows.
    fn message(&mut self, m: &Value) {
        let b = &m["body"];
        match topic(m) {
            "tag" => self.tag(text(b, "tag"), &nvr(b)),
            "untag" => self.untag(text(b, "tag"), &nvr(b)),
            "build.state.change" => {
                let state = ["BUILDING", "COMPLETE", "DELETED", "FAILED", "CANCELED"];
                self.build(&nvr(b), state[usize::try_from(b["new"].as_i64().unwrap()).unwrap()]);
            }
            "package.list.change" => match text(b, "action") {
                "block" => self.block(text(b, "tag"), text(b, "package"), true),
                "unblock" | "remove" => self.block(text(b, "tag"), text(b, "package"), false),
                _ => {
                    if let Some(blocked) = b["block"].as_bool() {
                        self.block(text(b, "tag"), text(b, "package"), blocked);
                    }
                }
            },
            _ => {}
        }
    }
}

/// Returns the differences between `want` and `got`, one line each.
pub fn differences(want: &View, got: &View) -> Vec<String> {
    let mut lines = Vec::new();
    let keys: BTreeSet<_> = want.tags.keys().chain(got.tags.keys()).collect();
    for key in keys {
        let (w, g) = (want.tags.get(key), got.tags.get(key));
        if w != g {
            lines.push(format!("{} in {}: {w:?} by the actions, {g:?} by the log", key.1, key.0));
        }
    }
    for (tag, package) in want.blocked.difference(&got.blocked) {
        lines.push(format!("{package} is blocked in {tag}, the log does not know"));
    }
    for (tag, package) in got.blocked.difference(&want.blocked) {
        lines.push(format!("{package} is not blocked in {tag}, the log says it is"));
    }
    let keys: BTreeSet<_> = want.builds.keys().chain(got.builds.keys()).collect();
    for key in keys {
        let (w, g) = (want.builds.get(key), got.builds.get(key));
        if w != g {
            lines.push(format!("build {key}: {w:?} by the actions, {g:?} by the log"));
        }
    }
    lines
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {v}"))
}

/// Returns the topic without its prefix.
pub fn topic(m: &Value) -> &str {
    text(m, "topic").split_once("buildsys.").map_or("", |(_, topic)| topic)
}

fn nvr(body: &Value) -> String {
    format!("{}-{}-{}", text(body, "name"), text(body, "version"), text(body, "release"))
}

fn seconds(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {v}"))
}

fn task(v: &Value, key: &str) -> i64 {
    v[key].as_i64().unwrap_or_else(|| panic!("no id `{key}` in {v}"))
}

/// Requested builds by task: name-version-release and target.
type Requests = BTreeMap<i64, (String, String)>;

fn requests(messages: &[Value]) -> Requests {
    let mut found = Requests::new();
    for b in messages.iter().map(|m| &m["body"]) {
        let (id, request) = match &b["task_id"] {
            Value::Null => (&b["id"], &b["info"]["request"]),
            id => (id, &b["request"]),
        };
        let (Some(id), Some(source)) = (id.as_i64(), request[0].as_str()) else { continue };
        let file = source.rsplit('/').next().unwrap_or(source);
        if let (Some(nvr), Some(target)) = (file.strip_suffix(".src.rpm"), request[1].as_str()) {
            found.insert(id, (nvr.to_owned(), target.to_owned()));
        }
    }
    found
}

struct Reader<'a> {
    messages: &'a [Value],
    actions: &'a [Value],
    requests: Requests,
    /// Dest tag by target, if it differs from the target's name.
    targets: &'a BTreeMap<String, String>,
    history: History,
    /// Whether the broker is down.
    broker_down: bool,
    /// Real builds in progress: task and source.
    open: BTreeMap<i64, String>,
    last_change: f64,
}

/// Plays the actions of the recording in `dir`. `targets` is the dest tag by target.
pub fn history(dir: &Path, targets: &BTreeMap<String, String>) -> History {
    let messages = feed::json_lines(&dir.join("events.jsonl"));
    let actions = feed::json_lines(&dir.join("actions.jsonl"));
    let first = seconds(&actions[0], "at");
    let mut reader = Reader {
        messages: &messages,
        actions: &actions,
        requests: requests(&messages),
        targets,
        history: History::default(),
        broker_down: false,
        open: BTreeMap::new(),
        last_change: 0.0,
    };
    for m in messages.iter().take_while(|m| seconds(m, "seen_at") < first) {
        reader.history.truth.message(m);
        reader.history.seen.message(m);
    }
    for (at, action) in actions.iter().enumerate() {
        reader.moment(action);
        reader.action(at, action);
    }
    reader.rebuilds();
    reader.history
}

impl Reader<'_> {
    fn moment(&mut self, a: &Value) {
        let at = seconds(a, "at");
        if ["section", "repo", "repo-used", "end"].contains(&text(a, "what")) && at - self.last_change > SETTLED {
            let open = self.open.values().map(|nvr| name_of(nvr)).collect();
            self.history.moments.push(Moment { at, seen: self.history.seen.clone(), open });
        }
    }

    /// Changes the hub, and also `seen` unless the message was lost.
    fn change(&mut self, a: &Value, change: impl Fn(&mut View)) {
        self.last_change = seconds(a, "at");
        change(&mut self.history.truth);
        if self.broker_down || a["call_seconds"].as_f64().is_some_and(|s| s >= PUBLISH_TIMEOUT) {
            self.history.exceptions.push(format!("message lost: {a}"));
        } else {
            change(&mut self.history.seen);
        }
    }

    fn action(&mut self, index: usize, a: &Value) {
        match text(a, "what") {
            "import" => self.change(a, |v| v.build(text(a, "nvr"), "COMPLETE")),
            "tag" => self.change(a, |v| v.tag(text(a, "tag"), text(a, "nvr"))),
            "untag" => self.change(a, |v| v.untag(text(a, "tag"), text(a, "nvr"))),
            "block" => self.change(a, |v| v.block(text(a, "tag"), text(a, "package"), true)),
            "unblock" | "pkg-remove" | "pkg-add" => {
                self.change(a, |v| v.block(text(a, "tag"), text(a, "package"), false));
            }
            "mass-tag" | "tag-together" => self.mass_tag(a),
            "move" => self.moved(a),
            "build" => {
                if let Some((nvr, _)) = self.requests.get(&task(a, "task_id")).cloned() {
                    self.change(a, |v| v.build(&nvr, "BUILDING"));
                    self.open.insert(task(a, "task_id"), nvr);
                }
            }
            "task-end" => self.ended(a),
            "cancel-build" => self.change(a, |v| v.build(text(a, "nvr"), "CANCELED")),
            "delete-build" => {
                let nvr = text(a, "nvr");
                let tags = self.history.truth.tags_of(nvr);
                self.change(a, |v| {
                    tags.iter().for_each(|t| v.untag(t, nvr));
                    v.build(nvr, "DELETED");
                });
            }
            "tag-created" => self.created(a),
            "sidetag-removed" => {
                self.history.truth.drop_tag(text(a, "tag"));
                self.history.exceptions.push(format!("no message: {a}"));
            }
            "rename-tag" => {
                self.history.truth.rename_tag(text(a, "old"), text(a, "new"));
                self.history.exceptions.push(format!("no message: {a}"));
            }
            "multicall-partial" | "phantom" => self.multicall(index, a),
            "broker-down" => self.broker_down = true,
            "broker-up" => self.broker_down = false,
            _ => {}
        }
    }

    fn mass_tag(&mut self, a: &Value) {
        let nvrs: Vec<&str> = a["nvrs"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        let tag = a["tag"].as_str().map_or_else(
            || {
                let with = |name: String| -> BTreeSet<String> {
                    self.history.truth.tags.keys().filter(|(_, p)| *p == name).map(|(t, _)| t.clone()).collect()
                };
                let mut common = with(name_of(nvrs[0]));
                for nvr in &nvrs {
                    let here = with(name_of(nvr));
                    common.retain(|t| here.contains(t));
                }
                assert_eq!(common.len(), 1, "{a}: it does not say where to, and all of them are in {common:?}");
                common.pop_first().unwrap()
            },
            str::to_owned,
        );
        self.change(a, |v| nvrs.iter().for_each(|n| v.tag(&tag, n)));
    }

    fn moved(&mut self, a: &Value) {
        let (id, nvr) = (task(a, "task_id"), text(a, "nvr"));
        let closed = |e: &&Value| e["what"] == "task-end" && e["task_id"] == id && e["state"] == "CLOSED";
        if self.actions.iter().find(closed).is_none() {
            return;
        }
        let from = self.history.truth.tags_of(nvr).into_iter().find(|t| t.ends_with("-candidate")).unwrap();
        let to = from.strip_suffix("-candidate").unwrap().to_owned();
        self.change(a, |v| {
            v.untag(&from, nvr);
            v.tag(&to, nvr);
        });
    }

    /// Handles the end of a real build. [`Reader::rebuilds`] handles the ends of rebuilds.
    fn ended(&mut self, a: &Value) {
        let id = task(a, "task_id");
        let Some(nvr) = self.open.remove(&id) else { return };
        let target = &self.requests[&id].1;
        let dest = self.targets.get(target).unwrap_or(target).clone();
        match text(a, "state") {
            "CLOSED" => self.change(a, |v| {
                v.build(&nvr, "COMPLETE");
                v.tag(&dest, &nvr);
            }),
            state => self.change(a, |v| v.build(&nvr, state)),
        }
    }

    fn created(&mut self, a: &Value) {
        let about = |m: &&Value| topic(m) == "package.list.change" && m["body"]["tag"] == a["tag"];
        for m in self.messages.iter().take_while(|m| seconds(m, "seen_at") <= seconds(a, "at")).filter(about) {
            self.history.truth.message(m);
            self.history.seen.message(m);
        }
    }

    fn multicall(&mut self, index: usize, a: &Value) {
        let results = a["result"].as_array().unwrap();
        let failed = |r: &Value| r.get("faultCode").is_some() || r.as_str().is_some_and(|t| t.contains("'faultCode'"));
        let Some(fault) = results.iter().position(failed) else { return };
        assert_eq!(results.iter().filter(|r| failed(r)).count(), 1, "{a}: whose is the phantom?");
        let before = seconds(&self.actions[index - 1], "at");
        let sent: Vec<&Value> = self
            .messages
            .iter()
            .filter(|m| ["tag", "untag", "package.list.change"].contains(&topic(m)))
            .filter(|m| (before..seconds(a, "at")).contains(&seconds(m, "seen_at")))
            .collect();
        let phantoms = sent.len() + 1 - results.len();
        for (at, m) in sent.into_iter().enumerate() {
            if (fault..fault + phantoms).contains(&at) {
                self.history.exceptions.push(format!("phantom: {}", m["body"]));
            } else {
                self.history.truth.message(m);
            }
            self.history.seen.message(m);
        }
        self.last_change = seconds(a, "at");
    }

    /// Collects our scratch rebuilds: made by `scratch` and `resubmit`, and ended as the hub
    /// answered.
    fn rebuilds(&mut self) {
        let repos: BTreeSet<&str> =
            self.messages.iter().filter(|m| topic(m).starts_with("repo.")).map(|m| text(&m["body"], "tag")).collect();
        for a in self.actions {
            let id = match text(a, "what") {
                "scratch" => task(a, "task_id"),
                "resubmit" if a.get("by").is_none() => {
                    let id = task(a, if a.get("new").is_some() { "new" } else { "task_id" });
                    let owner = |m: &Value| m["body"]["id"] == id && m["body"]["owner"] == feed::SERVICE_USER;
                    if !self.messages.iter().any(owner) {
                        continue;
                    }
                    id
                }
                _ => continue,
            };
            // A task without any message cannot be known.
            let Some((_, target)) = self.requests.get(&id) else { continue };
            let state = self.end_of(id);
            let followed = repos.contains(target.as_str()) || repos.contains(format!("{target}-build").as_str());
            let outcome = state.as_deref().filter(|_| followed).map(|s| self.outcome(id, s));
            self.history.rebuilds.insert(id, Rebuild { state, outcome });
        }
    }

    fn end_of(&self, id: i64) -> Option<String> {
        let mut state = None;
        for a in self.actions.iter().filter(|a| a["task_id"] == id) {
            match text(a, "what") {
                "cancel" | "cancel-full" => state = Some("CANCELED".to_owned()),
                "task-end" => state = Some(text(a, "state").to_owned()),
                _ => {}
            }
        }
        state
    }

    /// Returns the outcome of a rebuild. A build says nothing about its package in two cases: hub
    /// or builder refused it before any step, or it waited in vain for a repository.
    fn outcome(&self, id: i64, state: &str) -> &'static str {
        let refused = |a: &Value| {
            let why = ["result", "fault"].iter().find_map(|k| a[k].as_str()).unwrap_or_default();
            a["task_id"] == id
                && [
                    "Bad repo:",
                    "No such repo:",
                    "Repo/Target mismatch:",
                    "No matching arches",
                    "Repo request no longer active",
                ]
                .iter()
                .any(|r| why.contains(r))
        };
        match state {
            "CLOSED" => "Ok",
            "CANCELED" => "Cancelled",
            "FAILED" if self.actions.iter().any(refused) => "InfrastructureFault",
            "FAILED" => "GenuineFailure",
            other => panic!("task {id} ended {other}"),
        }
    }
}
