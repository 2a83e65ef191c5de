//! Lists our user's tasks on a hub. This finds tasks that no message named, even if they have
//! already ended.

use std::collections::BTreeMap;

use super::interest::HubObject;
use crate::koji::calls::{ListTasks, get_last_event, list_tasks};
use crate::koji::records::{Event, Task};
use crate::koji::{Answers, Asked, Batch, HubError};
use crate::model::koji::TaskState;
use crate::model::{TaskId, Timestamp};

/// Each listing begins this long before the last one, because clocks differ and transactions take
/// time.
const OVERLAP_SECS: i64 = 600;
/// Maximum time before now from which tasks are listed after a long absence. No decision depends on
/// tasks that ended earlier.
const SINCE_MAX_SECS: i64 = 14 * 86_400;
/// Maximum number of tasks in one listing.
const LISTED_MAX: u32 = 5_000;
/// Messages about anything older than this have arrived, or never will.
const SETTLED_SECS: i64 = 60;

/// A question for our tasks, and for the last event whose messages have arrived.
pub(super) struct Asking {
    settled: Asked<Option<Event>>,
    lists: Vec<Asked<Vec<Task>>>,
    at: Timestamp,
}

impl Asking {
    /// Asks for the hub's last event of a minute ago, for our tasks made since some time, and for
    /// our tasks that have not ended.
    pub(super) fn new(user: Option<i64>, since: Option<Timestamp>, at: Timestamp, batch: &mut Batch) -> Self {
        let settled = batch.add(get_last_event(Some(at.plus_secs(-SETTLED_SECS))));
        let mut list = |created_after, states| {
            let owner = user?;
            let which = ListTasks { owner, created_after, states, limit: LISTED_MAX, ..ListTasks::default() };
            Some(batch.add(list_tasks(&which)))
        };
        let made = since.and_then(|at| list(Some(at.plus_secs(-OVERLAP_SECS)), Vec::new()));
        let open = list(None, vec![TaskState::Free, TaskState::Open, TaskState::Assigned]);
        Self { settled, lists: made.into_iter().chain(open).collect(), at }
    }

    /// Returns the event and the tasks. The event is 0 if the hub is new and had none.
    pub(super) fn read(self, answers: &mut Answers) -> Result<(i64, Listed), HubError> {
        let settled = answers.take(self.settled)?.map_or(0, |event| event.id);
        let mut listed = Listed { through: Some(self.at), ..Listed::default() };
        for list in self.lists {
            let tasks = answers.take(list)?;
            if tasks.len() >= LISTED_MAX as usize {
                // The listing is cut off. The next one continues here.
                let last = tasks.iter().filter_map(|t| t.created).max();
                listed.through = listed.through.min(last.map(|at| at.plus_secs(OVERLAP_SECS)));
            }
            listed.tasks.extend(tasks.into_iter().map(|t| (t.id, t.state)));
        }
        Ok((settled, listed))
    }
}

/// Tasks that a hub listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    tasks: BTreeMap<TaskId, TaskState>,
    /// All our tasks made up to this time are in the list.
    through: Option<Timestamp>,
}

/// State kept between listings.
#[derive(Debug, Default)]
pub(super) struct Ours {
    /// All our tasks made before this time are known.
    pub(super) since: Option<Timestamp>,
    /// Tasks of the last listing, and the states in which they were looked at.
    seen: BTreeMap<TaskId, TaskState>,
}

impl Ours {
    /// Returns the tasks to look at: those that were not looked at in their present state.
    pub(super) fn unseen(&self, listed: &Listed) -> Vec<HubObject> {
        let new = listed.tasks.iter().filter(|(id, state)| self.seen.get(id) != Some(state));
        new.map(|(id, _)| HubObject::Task(*id)).collect()
    }

    /// Notes a listing that was looked at.
    pub(super) fn note(&mut self, listed: Listed) {
        self.seen = listed.tasks;
        self.since = listed.through.or(self.since);
    }
}

/// Returns from which time tasks are listed after a start. `compared` is the time of the last full
/// comparison.
pub(super) fn begin(compared: Timestamp, now: Timestamp) -> Timestamp {
    compared.max(now.plus_secs(-SINCE_MAX_SECS))
}
