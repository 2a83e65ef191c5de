//! Scratch builds of our service user, as Koji sees them.

use serde::{Deserialize, Serialize};

use crate::model::koji::TaskState;
use crate::model::{Name, Nvr, Outcome, RebuildId, RepoId, Seq, Timestamp};

/// A scratch build task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Source package name.
    pub package: Name,
    /// What is rebuilt.
    pub nvr: Option<Nvr>,
    /// Build target.
    pub target: Option<Name>,
    /// Repository it is bound to.
    pub repo_id: Option<RepoId>,
    /// State; may go back to `Free`.
    pub state: TaskState,
    /// First event that spoke of it: its place among a package's builds.
    pub first_seen: Seq,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The collection it counts for, once that is known.
    pub collection: Option<Name>,
    /// The rebuild we had requested.
    pub rebuild: Option<RebuildId>,
    /// Children that failed: method and label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_children: Vec<(Name, Name)>,
    /// What the hub recorded as its buildroots: architecture and attachment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildroots: Vec<(Name, String)>,
    /// How it ended, once judged.
    pub outcome: Option<Outcome>,
    /// Why it is called that.
    pub reason: Option<String>,
    /// Cancelling it was decided.
    #[serde(default)]
    pub cancel_requested: bool,
}
