//! From Koji's records to what was seen.

use std::collections::BTreeMap;

use super::looker::{Scope, steps};
use super::seen::{BuildSeen, RepoSeen, TaggedSeen, TaskSeen};
use crate::engine::command::RebuildCommand;
use crate::event::{CommandId, ExternalRepo, GroupDefinition, Inheritance, TaskFault};
use crate::koji::records;
use crate::koji::xmlrpc::{Fault, Value};
use crate::model::{Name, Nvr, TaskId, Timestamp};

/// Koji's codes for objects that are not there: 1000 (generic), 1003 (tag), 1005 (build).
const UNKNOWN: [i64; 3] = [1000, 1003, 1005];
/// Groups that hold other groups are followed so deep; comps files have two levels.
const GROUP_DEPTH_MAX: usize = 16;

/// Whether a fault says that there is no such object.
pub(super) fn is_unknown(fault: &Fault) -> bool {
    let text = fault.message.to_ascii_lowercase();
    UNKNOWN.contains(&fault.code)
        && (text.contains("no such") || text.contains("invalid tag") || text.contains("not found"))
}

pub(super) fn inheritance(links: Vec<records::InheritanceLink>) -> Vec<Inheritance> {
    let number = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
    let mut links: Vec<Inheritance> = links
        .into_iter()
        .map(|l| Inheritance {
            tag: l.name,
            priority: number(l.priority),
            max_depth: l.max_depth.map(number),
            intransitive: l.intransitive,
            no_config: l.no_config,
        })
        .collect();
    links.sort_by(|a, b| (a.priority, &a.tag).cmp(&(b.priority, &b.tag)));
    links
}

/// Groups with the members that are installed, groups in groups followed.
pub(super) fn groups(groups: Vec<records::Group>) -> Vec<GroupDefinition> {
    let by_name: BTreeMap<&Name, &records::Group> = groups.iter().map(|g| (&g.name, g)).collect();
    let mut all: Vec<GroupDefinition> = groups
        .iter()
        .filter(|g| !g.blocked)
        .map(|g| {
            let mut packages = Vec::new();
            members(g, &by_name, GROUP_DEPTH_MAX, &mut packages);
            packages.sort_unstable();
            packages.dedup();
            GroupDefinition { name: g.name.clone(), packages }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn members(group: &records::Group, by_name: &BTreeMap<&Name, &records::Group>, room: usize, packages: &mut Vec<Name>) {
    let installed =
        |m: &&records::GroupMember| !m.blocked && matches!(m.kind.as_deref(), None | Some("mandatory" | "default"));
    packages.extend(group.packages.iter().flatten().filter(installed).map(|m| m.name.clone()));
    for below in group.groups.iter().flatten().filter(|m| !m.blocked) {
        if let Some(group) = by_name.get(&below.name).filter(|g| !g.blocked && room > 0) {
            members(group, by_name, room - 1, packages);
        }
    }
}

pub(super) fn external_repos(repos: Vec<records::ExternalRepo>) -> Vec<ExternalRepo> {
    let one = |r: records::ExternalRepo| ExternalRepo {
        name: r.name,
        url: r.url,
        priority: i32::try_from(r.priority).unwrap_or(i32::MAX),
        merge_mode: r.merge_mode.unwrap_or_else(|| Name::new_static("koji")),
        arches: r.arches.map(|a| a.0),
    };
    repos.into_iter().map(one).collect()
}

/// Builds of a tag, oldest tagging first, drafts among them: Koji lets one in where a policy was made for that, and its repositories have it.
pub(super) fn tagged(builds: Vec<records::TaggedBuild>, history: &[records::HistoryRow]) -> Vec<TaggedSeen> {
    let times: BTreeMap<i64, Timestamp> = history.iter().filter_map(|r| Some((r.create_event, r.created?))).collect();

    let mut all: Vec<TaggedSeen> = builds
        .into_iter()
        .map(|b| TaggedSeen {
            create_event: b.tagged_event.or(b.creation_event).unwrap_or(0),
            tagged_at: b.tagged_event.and_then(|e| times.get(&e).copied()),
            build: BuildSeen {
                build_id: b.build_id,
                nvr: b.nvr(),
                epoch: b.epoch.filter(|e| *e != 0),
                state: b.state,
                task_id: b.task_id,
                created_at: b.created,
                completed_at: b.completed,
            },
        })
        .collect();
    all.sort_by_key(|t| (t.create_event, t.build.build_id));
    all
}

pub(super) fn build(b: &records::Build) -> BuildSeen {
    BuildSeen {
        build_id: b.build_id,
        nvr: b.nvr(),
        epoch: b.epoch.filter(|e| *e != 0),
        state: b.state,
        task_id: b.task_id,
        created_at: b.created,
        completed_at: b.completed,
    }
}

/// `None` for a repository without a tag name, of which nothing can be said.
pub(super) fn repo(r: &records::Repo) -> Option<RepoSeen> {
    Some(RepoSeen {
        repo_id: r.id,
        tag: r.tag_name.clone().unwrap_or_default(),
        tag_id: r.tag_id,
        state: r.state,
        since: r.state_since,
        create_event: Some(r.create_event),
        arches: None,
    })
}

impl RepoSeen {
    /// The same, of the tag that was asked about: a legacy answer does not name it.
    pub(super) fn of(mut self, tag: &Name) -> Self {
        if self.tag.is_empty() {
            self.tag = tag.clone();
        }
        self
    }
}

/// A scratch build of ours; `None` when it is none, or somebody else's.
pub(super) fn task(
    task: &records::Task,
    below: &[records::Task],
    faults: &BTreeMap<TaskId, TaskFault>,
    scope: &Scope,
) -> Option<TaskSeen> {
    let request = task.build_request()?;
    if !request.scratch || scope.user.is_none_or(|user| task.owner != Some(user)) {
        return None;
    }
    let file = request.source.rsplit('/').next()?;
    let nvr = Nvr::parse_srpm(file)?;
    // What the builder took in the end, where the request leaves it to Koji.
    let taken = below.iter().find_map(|t| t.build_arch_request()?.repo_id);
    Some(TaskSeen {
        task_id: task.id,
        state: task.state,
        nvr,
        target: request.target,
        repo_id: request.repo_id.or(taken),
        arches: request.arch_override.unwrap_or_default(),
        decision: request.metadata.as_ref().and_then(|m| Some(decision(m, &scope.log_id)?.0.to_owned())),
        created_at: task.created,
        started_at: task.started,
        finished_at: task.completed,
        children: steps(below, faults),
        fault: faults.get(&task.id).cloned(),
    })
}

/// What goes into `custom_user_metadata`, so that a task can be told to be ours after any crash.
pub(super) fn metadata(command: &RebuildCommand) -> Value {
    let text = |t: &str| Value::Text(t.to_owned());
    let collection = text(&command.collection);
    let ours = BTreeMap::from([("decision".to_owned(), text(&command.id)), ("collection".to_owned(), collection)]);
    Value::Struct(BTreeMap::from([("koschei".to_owned(), Value::Struct(ours))]))
}

/// An option of a `build` call, as a command has it.
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

/// The id of a command in a task's metadata, and the collection it says it was for; `None` for one of another log.
pub(super) fn decision<'a>(metadata: &'a Value, log_id: &str) -> Option<(&'a str, Option<&'a str>)> {
    let ours = metadata.get("koschei")?;
    let id = ours.get("decision")?.as_str()?;
    let ours = (CommandId::parse(id)?.log == log_id).then_some(ours)?;
    Some((id, ours.get("collection").and_then(Value::as_str)))
}

/// Whether a task is what a command asked for: its id, and its source, target and collection.
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

    #[test]
    fn options_keep_their_types() {
        let option = option(&serde_json::json!({ "b": true, "i": -5, "l": ["x", [7]] }));
        let list = Value::Array(vec![Value::Text("x".to_owned()), Value::Array(vec![Value::Int(7)])]);
        let members = [("b", Value::Bool(true)), ("i", Value::Int(-5)), ("l", list)];
        assert_eq!(option, Value::Struct(members.map(|(name, value)| (name.to_owned(), value)).into()));
    }

    fn command() -> RebuildCommand {
        serde_json::from_value(serde_json::json!({
            "id": format!("abc:17:{}", "5e".repeat(32)), "command": "rebuild", "version": 1, "collection": "f99", "package": "foo",
            "nvr": "foo-1-1", "hub": "primary", "source": "../packages/foo/1/1/src/foo-1-1.src.rpm", "target": "f99",
            "task_priority": 30, "priority": crate::event::PriorityParts::default(), "decided_at": Timestamp::EPOCH,
            "cause": { "sequence": 17 },
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
            opts: BTreeMap::new(),
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

    /// Somebody may put anything of ours into a task of another kind.
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
