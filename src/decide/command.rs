//! Commands for executors: one JSON object a line, described by `schemas/command.*.schema.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::PriorityParts;
use crate::model::{Hub, Name, Nvr, RebuildId, RepoId, TaskId, Timestamp};

/// What led to a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommandCause {
    /// The event that caused the command.
    pub sequence: u64,
    /// The evaluation that decided the rebuild. Absent for cancellations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<u64>,
    /// The first event of the chain of causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<u64>,
}

/// Options of Koji's `build` call that an operator may set, by name. The options this program sets
/// itself are not among them. Values are booleans, integers, strings, lists and tables.
pub type BuildOptions = BTreeMap<String, serde_json::Value>;

/// Says whether scratch builds are bound to the repository they were resolved in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindRepo {
    /// Bound until the hub refuses it (Koji policy `build_from_repo_id`).
    #[default]
    Auto,
    /// Always bound.
    Always,
    /// Never bound. The hub takes the repository that is current when the task runs.
    Never,
}

impl BindRepo {
    /// Returns whether a rebuild is bound to its repository. `may` is false while the hub refuses
    /// bound builds.
    pub fn binds(self, may: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Auto => may,
            Self::Never => false,
        }
    }
}

/// A command to rebuild a source package as a scratch build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildCommand {
    /// Id that is never used again: `LOG:SEQ:HASH` of the deciding event. An executor carries out
    /// each id once. It writes the id into the task's `custom_user_metadata` as `{"koschei":
    /// {"decision": ID}}`, so that the task can be matched to this rebuild.
    pub id: String,
    /// Always `rebuild`.
    pub command: String,
    /// Version of this object's format: 1.
    pub version: u32,
    /// The collection to rebuild for.
    pub collection: Name,
    /// The package to rebuild.
    pub package: Name,
    /// Name, version and release of the source package.
    pub nvr: String,
    /// Hub instance that builds.
    pub hub: Hub,
    /// Path of the source package as Koji's `build` call takes it, relative to Koji's work
    /// directory.
    pub source: String,
    /// Build target.
    pub target: Name,
    /// Repository to bind the build to. Present only if the hub's policy allows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Architectures for `arch_override`, spelled as in the build tag. If absent, Koji chooses the
    /// architectures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Further options of Koji's `build` call (`build_opts` of the configuration). Options that
    /// follow from other fields of this object take precedence over these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub build_opts: BuildOptions,
    /// Koji task priority.
    pub task_priority: i64,
    /// Priority of the rebuild in this program, by part, in thousandths of a point.
    pub priority: PriorityParts,
    /// Time of the decision.
    pub decided_at: Timestamp,
    /// What led to the command.
    pub cause: CommandCause,
}

/// A command to cancel a scratch build that this program submitted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CancelCommand {
    /// Id that is never used again: `LOG:SEQ:HASH` of the deciding event.
    pub id: String,
    /// Always `cancel`.
    pub command: String,
    /// Version of this object's format: 1.
    pub version: u32,
    /// The collection of the rebuild.
    pub collection: Name,
    /// The package of the rebuild.
    pub package: Name,
    /// Hub instance that runs the task.
    pub hub: Hub,
    /// The task to cancel.
    pub task_id: TaskId,
    /// Reason, in words.
    pub reason: String,
    /// Time of the decision.
    pub decided_at: Timestamp,
    /// What led to the command.
    pub cause: CommandCause,
}

/// A command of either kind. Its JSON is that of the command.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// Rebuild a package.
    Rebuild(Box<RebuildCommand>),
    /// Cancel a task.
    Cancel(CancelCommand),
}

impl Command {
    /// Reads a command from its kind and its JSON. Returns `None` for a kind that is no hub's.
    ///
    /// # Errors
    /// Fails if the JSON is not a command of that kind.
    pub fn read(kind: &str, json: &str) -> Result<Option<Self>, serde_json::Error> {
        Ok(match kind {
            "rebuild" => Some(Self::Rebuild(serde_json::from_str(json)?)),
            "cancel" => Some(Self::Cancel(serde_json::from_str(json)?)),
            _ => None,
        })
    }
}

impl RebuildCommand {
    /// Returns the rebuild that it is for.
    pub const fn rebuild(&self) -> RebuildId {
        RebuildId(self.cause.sequence)
    }
}

/// Returns the path of a tagged source package, relative to Koji's work directory
/// (`ROOT/packages/N/V/R/src/…`). `root` is `..` for the hub's own packages. For packages of
/// another hub, it is the directory where they are mounted on the building hub.
pub fn srpm_path(root: &str, nvr: &Nvr) -> String {
    let root = root.trim_end_matches('/');
    format!("{root}/packages/{}/{}/{}/src/{}.src.rpm", nvr.name, nvr.version, nvr.release, nvr.file_stem())
}

/// Returns the JSON Schemas of all commands, as file names and texts.
pub fn schemas() -> Vec<(String, String)> {
    let render = |name: &str, schema: schemars::Schema| {
        let mut schema = schema;
        let file = format!("command.{name}.v1.schema.json");
        schema.insert("$id".to_owned(), format!("https://koschei.fedoraproject.org/schemas/{file}").into());
        let mut text = serde_json::to_string_pretty(&schema).expect("schemas are JSON");
        text.push('\n');
        (file, text)
    };
    vec![
        render("rebuild", schemars::schema_for!(RebuildCommand)),
        render("cancel", schemars::schema_for!(CancelCommand)),
    ]
}
