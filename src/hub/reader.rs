//! Reads objects from a hub, in as few requests as possible.
//!
//! One batch has all questions of a round. Large answers come by requests of their own. Tasks take
//! up to three rounds: the task, its steps, why they failed. A fault inside a batch concerns only
//! its own object (Koschei D32).

use std::collections::{BTreeMap, BTreeSet};

use super::interest::HubObject;
use super::objects::{self, Read, Scope, Steps};
use super::snapshot::Seen;
use crate::koji::calls::{get_last_event, get_tag};
use crate::koji::records::Task;
use crate::koji::{Batch, HubClient, HubError, Query};
use crate::model::{Class, Classified};

/// Reads one hub.
#[derive(Clone, Debug)]
pub struct Reader {
    client: HubClient,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct LookResult {
    /// The hub's last event before reading began.
    pub event: i64,
    /// Objects that were read, in the order of the keys.
    pub seen: Vec<Seen>,
    /// Objects for which the hub answered with a fault or with something unreadable. All other
    /// objects are complete.
    pub failed: Vec<(HubObject, HubError)>,
}

impl LookResult {
    /// Keeps an error with its object. If the hub is unavailable, returns the error, because it
    /// concerns all objects.
    fn spare(&mut self, key: &HubObject, error: HubError) -> Result<(), HubError> {
        if error.class() == Class::Unavailable {
            return Err(error);
        }
        self.failed.push((key.clone(), error));
        Ok(())
    }
}

impl Reader {
    /// Returns a reader that uses `client`.
    pub const fn new(client: HubClient) -> Self {
        Self { client }
    }

    /// Returns how often the hub has answered this client or a clone of it.
    pub fn answers(&self) -> u64 {
        self.client.answered()
    }

    /// Returns an empty batch for questions that are not about objects.
    pub(super) fn batch(&self) -> Batch {
        self.client.batch()
    }

    /// Asks one question that is not about an object.
    ///
    /// # Errors
    /// Returns a [`HubError`] if the request fails, the hub answers with a fault, or the answer is
    /// unreadable.
    pub async fn ask<T>(&self, query: Query<T>) -> Result<T, HubError> {
        let mut batch = self.batch();
        let asked = batch.add(query);
        batch.send().await?.take(asked)
    }

    /// Reads objects. An object that does not exist is not an error.
    ///
    /// # Errors
    /// Returns a [`HubError`] if the hub does not answer, or answers something that Koji would not.
    pub async fn look(&self, keys: &BTreeSet<HubObject>, scope: &Scope) -> Result<LookResult, HubError> {
        let mut looked = LookResult::default();
        let scope = &self.with_ids(keys, scope, &mut looked).await?;
        let mut batch = self.batch();
        let last = batch.add(get_last_event(None).required());
        let (large, small): (Vec<&HubObject>, Vec<&HubObject>) = keys.iter().partition(|key| is_large(key));
        let small: Vec<_> = small.into_iter().map(|key| (key, objects::ask(key, scope, &mut batch))).collect();
        let mut answers = batch.send_in_order().await?;
        looked.event = answers.take(last)?.id;
        let mut read: BTreeMap<&HubObject, _> =
            small.into_iter().map(|(key, reading)| (key, reading(&mut answers))).collect();
        for key in large {
            let mut batch = self.batch();
            let reading = objects::ask(key, scope, &mut batch);
            read.insert(
                key,
                match batch.send_apart().await {
                    Ok(mut answers) => reading(&mut answers),
                    Err(error) if error.class() == Class::Unavailable => return Err(error),
                    Err(error) => Err(error),
                },
            );
        }
        let mut tasks = Vec::new();
        for (key, read) in read {
            if looked.failed.iter().any(|(failed, _)| failed == key) {
                continue;
            }
            match read {
                Ok(Read::Seen(seen)) => looked.seen.extend(seen),
                Ok(Read::Task(task)) => tasks.push(*task),
                Err(error) => looked.spare(key, error)?,
            }
        }
        self.with_steps(tasks, scope, &mut looked).await?;
        Ok(looked)
    }

    /// Returns the scope with the numbers of all tags whose repositories are asked for.
    async fn with_ids(
        &self,
        keys: &BTreeSet<HubObject>,
        scope: &Scope,
        looked: &mut LookResult,
    ) -> Result<Scope, HubError> {
        let mut scope = scope.clone();
        let mut batch = self.batch();
        let mut missing = Vec::new();
        for key in keys {
            if let HubObject::Repos(tag) = key
                && !scope.tag_ids.contains_key(tag)
            {
                missing.push((key, tag, batch.add(get_tag(tag))));
            }
        }
        let mut answers = batch.send().await?;
        for (key, tag, asked) in missing {
            match answers.take(asked) {
                Ok(found) => scope.tag_ids.extend(found.map(|found| (tag.clone(), found.id))),
                Err(error) => looked.spare(key, error)?,
            }
        }
        Ok(scope)
    }

    /// Checks whether the hub has `repo.query`. Hubs have it from 1.35 on, and send their version
    /// with every answer.
    pub fn has_repo_query(&self) -> bool {
        let Some(version) = self.client.hub_version() else { return false };
        let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(1), Some(35))
    }

    /// Reads the steps of tasks and why they failed. If the steps of a task cannot be read, the
    /// task is left out, because it would be judged wrongly without them.
    async fn with_steps(&self, tasks: Vec<Task>, scope: &Scope, looked: &mut LookResult) -> Result<(), HubError> {
        let mut batch = self.batch();
        let asked: Vec<_> = tasks.iter().map(|task| Steps::ask(task, &mut batch)).collect();
        let mut answers = batch.send().await?;
        let mut all = Vec::new();
        let mut batch = self.batch();
        for (task, asked) in tasks.into_iter().zip(asked) {
            match answers.take(asked) {
                Ok(tree) => {
                    let steps = Steps::new(task, &tree);
                    let why = steps.ask_why(&mut batch);
                    all.push((steps, why));
                }
                Err(error) => looked.spare(&HubObject::Task(task.id), error)?,
            }
        }
        let mut answers = batch.send().await?;
        let mut known = Vec::new();
        for (mut steps, why) in all {
            steps.note_why(why, &mut answers);
            known.push(steps);
        }
        let short = self.read_logs(known.iter_mut().collect(), scope, false).await?;
        self.read_logs(short, scope, true).await?;
        looked.seen.extend(known.into_iter().filter_map(|steps| steps.seen(scope)));
        Ok(())
    }

    /// Reads the logs of failed tasks: the ends, or the whole ones. Returns the tasks whose logs are
    /// to be read as a whole.
    async fn read_logs<'a>(
        &self,
        tasks: Vec<&'a mut Steps>,
        scope: &Scope,
        whole: bool,
    ) -> Result<Vec<&'a mut Steps>, HubError> {
        let mut batch = self.batch();
        let asked: Vec<_> = tasks.into_iter().map(|steps| (steps.ask_log(scope, whole, &mut batch), steps)).collect();
        let mut answers = batch.send().await?;
        let mut short = Vec::new();
        for (log, steps) in asked {
            if log.is_some_and(|log| steps.note_log(log, &mut answers)) {
                short.push(steps);
            }
        }
        Ok(short)
    }
}

/// Checks whether an answer is long. Long answers are requested one by one. Together they would be
/// one document of hundreds of megabytes.
const fn is_large(key: &HubObject) -> bool {
    match key {
        HubObject::TagBuilds(_, package) | HubObject::TagPackages(_, package) => package.is_none(),
        HubObject::TagConfig(_)
        | HubObject::Target(_)
        | HubObject::Build(_)
        | HubObject::Repo(_)
        | HubObject::Repos(_)
        | HubObject::Task(_) => false,
    }
}
