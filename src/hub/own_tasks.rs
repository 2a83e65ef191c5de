//! Tasks of our user, as the hub lists them: also those no message told of, and that ended before anybody looked.

use std::collections::BTreeMap;

use super::interest::Key;
use crate::koji::calls::{ListTasks, get_last_event, list_tasks};
use crate::koji::records::{Event, Task};
use crate::koji::{Answers, Asked, Batch, HubError};
use crate::model::koji::TaskState;
use crate::model::{TaskId, Timestamp};

/// Tasks are listed again from so long before the last listing: clocks differ, and a transaction lasts.
const OVERLAP_SECS: i64 = 600;
/// After a long absence no more than this is listed; what ended before is history nobody decides by.
const SINCE_MAX_SECS: i64 = 14 * 86_400;
/// Most tasks of one listing.
const LISTED_MAX: u32 = 5_000;
/// Messages of what is older than this have come, if they come at all.
const SETTLED_SECS: i64 = 60;

/// What was asked about our tasks, and of which events messages have come.
pub(super) struct Asking {
    settled: Asked<Option<Event>>,
    lists: Vec<Asked<Vec<Task>>>,
    at: Timestamp,
}

impl Asking {
    /// Asks for the hub's last event of some time ago, and for tasks of ours: those made since some time, and those
    /// that have not ended.
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

    /// The event, 0 of a hub that was just made and had none, and the tasks.
    pub(super) fn read(self, answers: &mut Answers) -> Result<(i64, Listed), HubError> {
        let settled = answers.take(self.settled)?.map_or(0, |event| event.id);
        let mut listed = Listed { through: Some(self.at), ..Listed::default() };
        for list in self.lists {
            let tasks = answers.take(list)?;
            if tasks.len() >= LISTED_MAX as usize {
                // There are more: the next listing goes on here.
                let last = tasks.iter().filter_map(|t| t.created).max();
                listed.through = listed.through.min(last.map(|at| at.plus_secs(OVERLAP_SECS)));
            }
            listed.tasks.extend(tasks.into_iter().map(|t| (t.id, t.state)));
        }
        Ok((settled, listed))
    }
}

/// Tasks a hub listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    tasks: BTreeMap<TaskId, TaskState>,
    /// All that were made up to here are among them.
    through: Option<Timestamp>,
}

/// What is remembered of listings.
#[derive(Debug, Default)]
pub(super) struct Ours {
    /// All tasks made before are known.
    pub(super) since: Option<Timestamp>,
    /// Those of the last listing, which were looked at in these states.
    seen: BTreeMap<TaskId, TaskState>,
}

impl Ours {
    /// What is to be looked at: all that were not looked at in this state.
    pub(super) fn unseen(&self, listed: &Listed) -> Vec<Key> {
        let new = listed.tasks.iter().filter(|(id, state)| self.seen.get(id) != Some(state));
        new.map(|(id, _)| Key::Task(*id)).collect()
    }

    /// Notes a listing that was looked at.
    pub(super) fn note(&mut self, listed: Listed) {
        self.seen = listed.tasks;
        self.since = listed.through.or(self.since);
    }
}

/// From when on tasks are listed after a start, when everything was compared last at `compared`.
pub(super) fn begin(compared: Timestamp, now: Timestamp) -> Timestamp {
    compared.max(now.plus_secs(-SINCE_MAX_SECS))
}
