//! Folds what a hub's own policies refuse.
//!
//! Koji does not publish its policies. It accepts a submission, and then the task fails. So the
//! policies are known only from the last tasks that they made fail.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::PolicyRefused;
use crate::model::{Name, RebuildId, TaskId, Timestamp};

/// A policy of a hub that does not allow what was asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Name of the hub's policy, such as `build_from_repo_id`.
    pub policy: Name,
    /// Time at which it was first seen to refuse.
    pub since: Timestamp,
    /// Time of the last try. It is the epoch if somebody asked for another try.
    pub tried_at: Timestamp,
    /// The last task that the policy made fail.
    pub task_id: TaskId,
    /// The hub's message, at most [`Refusal::WORDS_CHARS_MAX`] characters.
    pub words: SmolStr,
    /// The rebuild that tests whether the policy still refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<RebuildId>,
}

impl Refusal {
    /// Most characters of a hub's message kept in state. The log has the whole message.
    pub const WORDS_CHARS_MAX: usize = 200;

    /// Notes that `e` was refused at `at`. Only the rebuild made as a test moves the time of the
    /// next try. Rebuilds that were already under way at the first refusal do not.
    pub(super) fn note(known: &mut Option<Self>, e: &PolicyRefused, at: Timestamp) {
        let known = match known {
            Some(known) if known.policy == e.policy => known,
            _ => known.insert(Self {
                policy: e.policy.clone(),
                since: at,
                tried_at: at,
                task_id: e.task_id,
                words: SmolStr::default(),
                trial: None,
            }),
        };
        if known.trial == Some(e.rebuild) {
            (known.trial, known.tried_at) = (None, at);
        }
        known.task_id = e.task_id;
        known.words = e.words.chars().take(Self::WORDS_CHARS_MAX).collect();
    }
}
