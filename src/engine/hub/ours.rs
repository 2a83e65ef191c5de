//! Tasks of our user, as the hub lists them: also those no message told of, and that ended before anybody looked.

use std::collections::BTreeMap;

use super::keys::Key;
use super::looker::{Answer, call, decoded};
use crate::koji::HubError;
use crate::koji::records;
use crate::koji::xmlrpc::{Call, Value};
use crate::model::koji::TaskState;
use crate::model::{TaskId, Timestamp};

/// Tasks are listed again from so long before the last listing: clocks differ, and a transaction lasts.
const OVERLAP_SECS: i64 = 600;
/// After a long absence no more than this is listed; what ended before is history nobody decides by.
const SINCE_MAX_SECS: i64 = 14 * 86_400;
/// Most tasks of one listing.
const LISTED_MAX: i64 = 5_000;
/// Messages of what is older than this have come, if they come at all.
const SETTLED_SECS: i64 = 60;

/// The hub's last event of some time ago.
pub(super) fn settled(now: Timestamp) -> Call {
    call("getLastEvent", vec![], vec![("before", Value::Double(seconds(now.plus_secs(-SETTLED_SECS))))])
}

/// The answer to [`settled`]; a hub that was just made had none.
pub(super) fn event(answer: Option<Answer>) -> Result<i64, HubError> {
    let found: Option<records::Event> = decoded("getLastEvent", answer.unwrap_or(Ok(Value::Nil)))?;
    Ok(found.map_or(0, |e| e.id))
}

/// What to ask about tasks of ours: those made since some time, and those that have not ended.
pub(super) fn questions(user: Option<i64>, since: Option<Timestamp>) -> Vec<Call> {
    let Some(user) = user else { return Vec::new() };
    let one = |name: &str, value: Value| {
        let options = BTreeMap::from([
            ("owner".to_owned(), Value::Int(user)),
            ("method".to_owned(), Value::Text("build".to_owned())),
            (name.to_owned(), value),
        ]);
        let order = BTreeMap::from([
            ("order".to_owned(), Value::Text("id".to_owned())),
            ("limit".to_owned(), Value::Int(LISTED_MAX)),
        ]);
        call("listTasks", vec![Value::Struct(options), Value::Struct(order)], vec![])
    };
    let made = since.map(|at| one("createdAfter", Value::Double(seconds(at.plus_secs(-OVERLAP_SECS)))));
    let states = Value::Array([0, 1, 4].map(Value::Int).to_vec());
    made.into_iter().chain([one("state", states)]).collect()
}

/// Tasks a hub listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    tasks: BTreeMap<TaskId, TaskState>,
    /// All that were made up to here are among them.
    through: Option<Timestamp>,
}

impl Listed {
    /// Reads the answers to [`questions`] that were asked at `now`.
    pub(super) fn read(answers: Vec<Answer>, now: Timestamp) -> Result<Self, HubError> {
        let mut listed = Self { through: Some(now), ..Self::default() };
        for answer in answers {
            let tasks: Vec<records::Task> = decoded("listTasks", answer)?;
            if i64::try_from(tasks.len()).is_ok_and(|n| n >= LISTED_MAX) {
                // There are more: the next listing goes on here.
                let last = tasks.iter().filter_map(|t| t.created).max();
                listed.through = listed.through.min(last.map(|at| at.plus_secs(OVERLAP_SECS)));
            }
            listed.tasks.extend(tasks.into_iter().map(|t| (t.id, t.state)));
        }
        Ok(listed)
    }
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

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 with a fraction, as Koji takes them")]
fn seconds(at: Timestamp) -> f64 {
    at.micros() as f64 / 1e6
}
