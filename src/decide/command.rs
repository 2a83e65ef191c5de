//! Commands as they leave: one JSON object a line, described by `schemas/command.*.schema.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::PriorityParts;
use crate::model::{Hub, Name, Nvr, RepoId, TaskId, Timestamp};

/// What led to a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommandCause {
    /// The event the command follows from.
    pub sequence: u64,
    /// The evaluation that decided it; absent for cancellations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<u64>,
    /// The event at the beginning of the chain of causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<u64>,
}

/// Options of Koji's `build` call besides those that are ours to set, by name: true or false, integers, texts, lists
/// and tables.
pub type BuildOptions = BTreeMap<String, serde_json::Value>;

/// Whether scratch builds are bound to the repository they were resolved in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindRepo {
    /// Until the hub refuses it (policy `build_from_repo_id`).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never: the hub takes whichever repository it has then.
    Never,
}

impl BindRepo {
    /// Whether a rebuild is bound to its repository, where the hub `may` still be asked for that.
    pub fn binds(self, may: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Auto => may,
            Self::Never => false,
        }
    }
}

/// Rebuild a source package as a scratch build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildCommand {
    /// Unique for ever, `LOG:SEQ:HASH` of the deciding event: whoever carries commands out does so once per id, and
    /// puts it into the task's `custom_user_metadata` as `{"koschei": {"decision": ID}}`, by which the task is known to
    /// be this rebuild's.
    pub id: String,
    /// `rebuild`.
    pub command: String,
    /// Version of this object: 1.
    pub version: u32,
    /// The collection it is for.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Name, version, release of the source package.
    pub nvr: String,
    /// Hub instance to build on.
    pub hub: Hub,
    /// Source as Koji's `build` call takes it, relative to its work directory.
    pub source: String,
    /// Build target.
    pub target: Name,
    /// Repository to bind the build to, where the hub's policy allows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Architectures for `arch_override`, as the tag that builds spells them; absent: leave it to Koji.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Further options of Koji's `build` call (`build_opts` of the configuration). Those that follow from the rest of
    /// this object go before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub build_opts: BuildOptions,
    /// Koji task priority.
    pub task_priority: i64,
    /// Our priority, in thousandths of a point, by part.
    pub priority: PriorityParts,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Why.
    pub cause: CommandCause,
}

/// Cancel a scratch build of ours.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CancelCommand {
    /// Unique for ever, `LOG:SEQ:HASH` of the deciding event.
    pub id: String,
    /// `cancel`.
    pub command: String,
    /// Version of this object: 1.
    pub version: u32,
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The task.
    pub task_id: TaskId,
    /// Why, in words.
    pub reason: String,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// What led to it.
    pub cause: CommandCause,
}

/// Where Koji finds a tagged source package, relative to its work directory (`ROOT/packages/N/V/R/src/…`). The root is
/// `..` for the hub's own packages, and for those of another hub wherever they are mounted there.
pub fn srpm_path(root: &str, nvr: &Nvr) -> String {
    let root = root.trim_end_matches('/');
    format!("{root}/packages/{}/{}/{}/src/{}.src.rpm", nvr.name, nvr.version, nvr.release, nvr.file_stem())
}

/// JSON Schemas of all commands: file name and text.
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
