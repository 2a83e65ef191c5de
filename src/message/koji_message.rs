//! Reads the bodies of Koji's messages.
//!
//! The shapes come from the message plugin `koji-fedoramessaging` and from messages it was seen to
//! send. Bodies are read leniently. Only ids, names and the new state are required. Numbers may be
//! text and the other way round. Unknown members are ignored.

use serde_json::Value;

use super::fields::{self, Fields, Reason};
use super::reading::{ReadOutcome, Reading};
use crate::event::facts;
use crate::model::koji::{self, BuildState, TaskState};
use crate::model::nevra::without_draft;
use crate::model::{BuildId, Name, Nvr, RepoId, TagId, TaskId, Timestamp};

/// Maximum number of steps kept of one task. A build has one per architecture and one for its
/// source package.
const MAX_CHILDREN: usize = 64;

/// Maximum number of architectures that a build can be limited to.
const MAX_ARCHES: usize = 64;

/// Maximum length of a decision id, in bytes.
const MAX_DECISION: usize = 128;

/// Maximum age of a task when a message about it is sent, in microseconds: a month. Koji gives up a
/// task after days.
const TASK_AGE_MAX: i64 = 31 * 86_400 * 1_000_000;

impl Reading<'_, '_> {
    /// Checks whether the message is about another attribute than the state. Koji sends no such
    /// messages today.
    fn other_attribute(&self) -> bool {
        self.body.given("attribute").is_some_and(|a| a.as_str() != Some("state"))
    }

    /// Returns a time of a task. It cannot be long ago either. The engine gives up a task by its start
    /// time, so a wrong clock would end it.
    fn task_moment(&mut self, value: Option<&Value>) -> Option<Timestamp> {
        let said = self.moment(value)?;
        if self.sent_at.since(said) <= TASK_AGE_MAX {
            return Some(said);
        }
        self.doubted.get_or_insert(said);
        None
    }

    pub(super) fn build(&mut self) -> Result<ReadOutcome, Reason> {
        if self.other_attribute() {
            return Ok(ReadOutcome::Nothing("not a change of state"));
        }
        let b = self.body;
        let state = build_state(b.required("new")?).ok_or_else(|| Reason::of("new", "a build state"))?;
        let completed_at = self.moment(b.given("completion_time"));
        let created_at = self.moment(b.given("creation_time"));
        let occurred_at = match state {
            BuildState::Building => created_at,
            BuildState::Complete | BuildState::Failed | BuildState::Canceled => completed_at,
            // The body has only the times of the build, not the time of its deletion.
            BuildState::Deleted | BuildState::Unknown(_) => None,
        };
        let event = facts::BuildChanged {
            hub: self.hub.clone(),
            build_id: BuildId(b.integer("build_id")?),
            name: b.name("name")?,
            epoch: b.optional_integer("epoch").and_then(|e| u32::try_from(e).ok()).filter(|e| *e != 0),
            version: b.name("version")?,
            release: b.name("release")?,
            old: b.given("old").and_then(build_state),
            state,
            task_id: b.optional_integer("task_id").map(TaskId),
            created_at,
            completed_at,
            by: self.person("owner"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), occurred_at))
    }

    /// Reads that a draft got its final name (Koji: `postBuildPromotion`). The record in the
    /// message may still be that of the draft.
    pub(super) fn promoted(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body.object("build").ok_or_else(|| Reason::missing("build"))?;
        let id = b.given("id").or_else(|| b.given("build_id")).ok_or_else(|| Reason::missing("build.id"))?;
        let release = match self.body.optional_name("target_release") {
            Some(release) => release,
            None => b.name("release").map(|r| without_draft(&r).into())?,
        };
        let event = facts::BuildChanged {
            hub: self.hub.clone(),
            build_id: BuildId(fields::integer("build.id", id)?),
            name: b
                .optional_name("name")
                .or_else(|| b.optional_name("package_name"))
                .ok_or_else(|| Reason::missing("build.name"))?,
            epoch: b.optional_integer("epoch").and_then(|e| u32::try_from(e).ok()).filter(|e| *e != 0),
            version: b.name("version")?,
            release,
            // Only a complete build can be promoted, and it stays complete.
            old: Some(BuildState::Complete),
            state: BuildState::Complete,
            task_id: b.optional_integer("task_id").map(TaskId),
            created_at: None,
            completed_at: None,
            by: None,
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    pub(super) fn tagged(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::BuildTagged {
            hub: self.hub.clone(),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
            build_id: BuildId(b.integer("build_id")?),
            name: b.name("name")?,
            version: b.name("version")?,
            release: b.name("release")?,
            by: self.person("user"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    pub(super) fn untagged(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::BuildUntagged {
            hub: self.hub.clone(),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
            build_id: BuildId(b.integer("build_id")?),
            name: b.name("name")?,
            version: b.name("version")?,
            release: b.name("release")?,
            by: self.person("user"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    pub(super) fn package_list(&mut self) -> Result<ReadOutcome, Reason> {
        use facts::PackageListAction::{Add, Block, Remove, Unblock, Update};
        let b = self.body;
        let action = match b.name("action")?.as_str() {
            "add" => Add,
            "update" => Update,
            "block" => Block,
            "unblock" => Unblock,
            "remove" => Remove,
            _ => return Err(Reason::of("action", "add, update, block, unblock or remove")),
        };
        let event = facts::PackageListChanged {
            hub: self.hub.clone(),
            tag: b.name("tag")?,
            package: b.name("package")?,
            action,
            blocked: b.given("block").and_then(Value::as_bool),
            by: self.person("owner"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    pub(super) fn repo_init(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::RepoInitialised {
            hub: self.hub.clone(),
            repo_id: RepoId(b.integer("repo_id")?),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    pub(super) fn repo_done(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::RepoReady {
            hub: self.hub.clone(),
            repo_id: RepoId(b.integer("repo_id")?),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
            // The message does not have these. The part that has the repository or the hub adds
            // them.
            create_event: None,
            arches: None,
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    pub(super) fn task(&mut self) -> Result<ReadOutcome, Reason> {
        if self.other_attribute() {
            return Ok(ReadOutcome::Nothing("not a change of state"));
        }
        let b = self.body;
        let info = b.object("info");
        let find = |key| b.given(key).or_else(|| info?.given(key));
        if find("owner").and_then(Value::as_str) != Some(self.context.service_user.as_str()) {
            return Ok(ReadOutcome::Nothing("scratch build of somebody else"));
        }
        if find("method").is_some_and(|m| m.as_str() != Some("build")) {
            return Ok(ReadOutcome::Nothing("not a build task"));
        }
        let request = info.and_then(|i| i.given("request")).and_then(Value::as_array);
        let argument = |at: usize| request?.get(at).filter(|v| !v.is_null());
        let options = argument(2).and_then(Value::as_object).map(Fields);
        // Koji publishes this topic only for scratch tasks. So a message without its request is
        // one, too.
        if options.is_some_and(|o| o.given("scratch").is_none_or(|s| !fields::truth(s))) {
            return Ok(ReadOutcome::Nothing("not a scratch build"));
        }
        let state = task_state(b.required("new")?).ok_or_else(|| Reason::of("new", "a task state"))?;
        let sources = [b.given("srpm"), argument(0)].map(|s| s.and_then(Value::as_str));
        let nvr = sources.iter().flatten().find_map(|s| Nvr::parse_srpm(s)).filter(fields::is_nvr);
        let package = match &nvr {
            Some(nvr) => nvr.name.clone(),
            None => sources
                .iter()
                .flatten()
                .rev()
                .find_map(|s| repository_name(s))
                .ok_or_else(|| Reason::of("srpm", "the name of a source package"))?,
        };
        let mut moment = |key| self.task_moment(info?.given(key));
        let created_at = moment("create_time");
        let (started_at, finished_at) = (moment("start_time"), moment("completion_time"));
        let occurred_at = match state {
            state if state.is_final() => finished_at,
            TaskState::Open => started_at,
            // The body does not say when a task was assigned or put back.
            _ => None,
        };
        let event = facts::TaskChanged {
            hub: self.hub.clone(),
            task_id: TaskId(find("id").ok_or_else(|| Reason::missing("id")).and_then(|id| fields::integer("id", id))?),
            state,
            package,
            nvr,
            target: argument(1).and_then(fields::name),
            repo_id: options.and_then(|o| o.optional_integer("repo_id")).map(RepoId),
            arches: options.and_then(|o| o.given("arch_override")).map(arches).unwrap_or_default(),
            decision: options.and_then(|o| o.given("custom_user_metadata")).and_then(decision),
            created_at,
            started_at,
            finished_at,
            children: match info.and_then(|i| i.given("children")).and_then(Value::as_array) {
                Some(children) if state.is_final() => children.iter().take(MAX_CHILDREN).filter_map(child).collect(),
                _ => Vec::new(),
            },
            // Messages do not say why a task failed.
            fault: None,
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), occurred_at))
    }
}

/// Reads a build state. Build messages have numbers. Names are accepted, too.
fn build_state(value: &Value) -> Option<BuildState> {
    match value.as_str().and_then(BuildState::from_wire_name) {
        Some(state) => Some(state),
        None => fields::integer("", value).ok().map(BuildState::from),
    }
}

/// Reads a task state. Task messages have names, task records have numbers.
fn task_state(value: &Value) -> Option<TaskState> {
    match value.as_str().and_then(TaskState::from_wire_name) {
        Some(state) => Some(state),
        None => fields::integer("", value).ok().map(TaskState::from),
    }
}

/// Reads `arch_override`: architectures separated by spaces. Koji also accepts commas. A list is
/// accepted, too.
fn arches(value: &Value) -> Vec<Name> {
    let words: Vec<&str> = match value {
        Value::String(text) => koji::words(text).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    words.into_iter().filter_map(fields::checked).take(MAX_ARCHES).collect()
}

/// Reads our decision id from `custom_user_metadata`: `{"koschei": {"decision": ID}}`, or a text
/// member `koschei_decision`. Koji stores whatever a user puts there, so anything else is not a
/// decision of ours.
fn decision(metadata: &Value) -> Option<String> {
    let nested = metadata.get("koschei").and_then(|k| k.get("decision"));
    let id = nested.or_else(|| metadata.get("koschei_decision"))?.as_str()?;
    (!id.is_empty() && id.len() <= MAX_DECISION && !id.contains(char::is_control)).then(|| id.to_owned())
}

/// Reads one entry of `info.children`. Returns `None` without an id, because nothing can be said
/// about it then.
fn child(value: &Value) -> Option<facts::ChildTask> {
    let c = value.as_object().map(Fields)?;
    Some(facts::ChildTask {
        task_id: TaskId(c.optional_integer("id")?),
        method: c.optional_name("method").unwrap_or_default(),
        label: c.optional_name("label").or_else(|| c.optional_name("arch")).unwrap_or_default(),
        state: task_state(c.given("state")?)?,
        arch: None,
        fault: None,
    })
}

/// Returns the package name from a source repository, such as
/// `git+https://src.example.org/rpms/foo.git#abc`: the last component of its path. Our own builds
/// use source packages. This is for builds that a person submitted under our name.
fn repository_name(source: &str) -> Option<Name> {
    let (_, address) = source.split_once("://")?;
    let path = address.split(['#', '?']).next()?.trim_end_matches('/');
    let (_, last) = path.rsplit_once('/')?;
    fields::checked(last.strip_suffix(".git").unwrap_or(last))
}

#[cfg(test)]
mod tests;
