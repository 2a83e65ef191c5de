//! What is read without a hint: everything of our tags, what moved since the last poll, builders'
//! loads, and what was installed.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::{Memory, Poller, Stopped};
use crate::base::clock;
use crate::decide::load::{ArchLoads, Host};
use crate::hub::history::{self, Moves, whole};
use crate::hub::installed::{self, InstalledQuery};
use crate::hub::interest::HubObject;
use crate::hub::own_tasks::{self, Asking};
use crate::hub::reader::LookResult;
use crate::hub::snapshot::{LookReason, Seen};
use crate::hub::to_writer::Input;
use crate::koji::calls::{get_channel, get_full_inheritance, get_last_event, list_hosts, tag_last_change_event};
use crate::koji::{HubError, records};
use crate::model::{Class, Classified, Name};

impl Poller {
    /// Reads everything of our tags and hands it over for comparison.
    pub(super) async fn everything(&mut self, memory: &mut Memory) -> Result<(), Stopped> {
        memory.loaded.clear();
        self.introduce(memory).await?;
        let tags = self.chains().await?;
        let began = Instant::now();
        let now = clock::now();
        let compared = self.watch.borrow().reconciled_at;
        let since = memory.ours.since.or(compared.map(|at| own_tasks::begin(at, now)));
        let mut batch = self.reader.batch();
        let asking = Asking::new(memory.scope.user, since, now, &mut batch);
        let (settled, listed) = asking.read(&mut batch.send().await?)?;
        let mut keys = self.moving();
        keys.extend(memory.ours.unseen(&listed));
        keys.extend(whole(&tags));
        let LookResult { event, seen, failed } = self.look(memory, &keys).await?;
        let complete = failed.is_empty();
        self.hand(
            memory,
            (event, LookReason::Reconciliation),
            seen,
            Vec::new(),
            complete,
            (Some(settled), BTreeSet::new()),
        )
        .await?;
        memory.ours.note(listed);
        memory.loaded = tags;
        memory.through = memory.through.max(event);
        tracing::info!(
            hub = %self.hub,
            tags = memory.loaded.len(),
            seconds = began.elapsed().as_secs_f64(),
            "compared hub and log completely"
        );
        self.load(memory).await?;
        Ok(())
    }

    /// Reads which tags our tags inherit from, and returns both.
    async fn chains(&self) -> Result<BTreeSet<Name>, HubError> {
        let mut tags: BTreeSet<Name> = {
            let watch = self.watch.borrow();
            watch.build_tags.iter().chain(&watch.dest_tags).chain(&watch.tags).cloned().collect()
        };
        let mut batch = self.reader.batch();
        let asked: Vec<_> = tags.iter().map(|tag| batch.add(get_full_inheritance(tag))).collect();
        let mut answers = batch.send().await?;
        for links in asked {
            // A tag that does not exist has no parents. Reading the tag's configuration shows later
            // that it is gone. If an answer cannot be read, the configuration also shows the
            // parents.
            tags.extend(answers.take(links).unwrap_or_default().into_iter().map(|l| l.name));
        }
        Ok(tags)
    }

    /// Returns the objects that change without a message: targets, configurations of tags that
    /// targets of other hubs' collections lead to, repositories, and our tasks.
    fn moving(&self) -> BTreeSet<HubObject> {
        let watch = self.watch.borrow();
        let targets = watch.targets.iter().cloned().map(HubObject::Target);
        let repos = watch.build_tags.iter().cloned().map(HubObject::Repos);
        let tasks = watch.tasks.iter().copied().map(HubObject::Task);
        let configs = watch.configs.iter().cloned().map(HubObject::TagConfig);
        targets.chain(configs).chain(repos).chain(tasks).collect()
    }

    /// Looks at objects that change without a message, and at what changed in our tags since the
    /// last poll.
    pub(super) async fn poll(&mut self, memory: &mut Memory) -> Result<(), Stopped> {
        if memory.through == 0 {
            return self.everything(memory).await;
        }
        let (tags, leaves) = {
            let watch = self.watch.borrow();
            let leaves: Vec<Name> = watch.build_tags.union(&watch.dest_tags).cloned().collect();
            (watch.tags.clone(), leaves)
        };
        self.introduce(memory).await?;
        let now = clock::now();
        let mut batch = self.reader.batch();
        let last = batch.add(get_last_event(None).required());
        let changed: Vec<_> = leaves.iter().map(|tag| batch.add(tag_last_change_event(tag))).collect();
        let asking = Asking::new(memory.scope.user, memory.ours.since, now, &mut batch);
        let mut answers = batch.send_in_order().await?;
        let last = answers.take(last)?.id;
        let (settled, listed) = asking.read(&mut answers)?;
        let mut keys = self.moving();
        keys.extend(memory.ours.unseen(&listed));
        keys.extend(memory.again.iter().cloned());
        let after = memory.through.saturating_sub(history::OVERLAP);
        let mut moved = false;
        let mut changes: BTreeMap<Name, i64> = BTreeMap::new();
        for (tag, changed) in leaves.iter().zip(changed) {
            match answers.take(changed) {
                Ok(event) => {
                    let event = event.unwrap_or(0);
                    moved |= event > after;
                    changes.insert(tag.clone(), event);
                }
                Err(_) => {
                    keys.insert(HubObject::TagConfig(tag.clone()));
                }
            }
        }
        // A tag that is no longer a parent is no longer followed. If it becomes a parent again, it
        // is read whole again.
        memory.loaded.retain(|t| tags.contains(t));
        let new: BTreeSet<Name> = tags.difference(&memory.loaded).cloned().collect();
        let mut rows = Vec::new();
        if moved {
            let mut batch = self.reader.batch();
            let asked = Moves::ask(&memory.loaded, after, &mut batch);
            let mut answers = batch.send().await?;
            let (of_tags, new_rows) = memory.moves.read(&memory.loaded, asked, &mut answers, &self.watch.borrow());
            keys.extend(of_tags);
            rows = new_rows;
        }
        keys.extend(whole(&new));
        let LookResult { event, seen, failed } = self.look(memory, &keys).await?;
        let event = event.min(last);
        self.uncovered(&changes, &seen);
        let fresh = Moves::after(&rows, settled);
        let complete = failed.is_empty();
        self.hand(memory, (event, LookReason::Reconciliation), seen, Vec::new(), complete, (Some(settled), fresh))
            .await?;
        memory.ours.note(listed);
        memory.moves.note(rows, after);
        memory.loaded.extend(new);
        memory.through = memory.through.max(event);
        self.load(memory).await?;
        Ok(())
    }

    /// Publishes which build tags changed and have no repository covering the change.
    fn uncovered(&self, changes: &BTreeMap<Name, i64>, seen: &[Seen]) {
        let watch = self.watch.borrow();
        let mut stale = BTreeMap::new();
        for tag in &watch.build_tags {
            let Some(change) = changes.get(tag) else { continue };
            let usable = seen.iter().find_map(|s| s.usable_of(tag));
            let newest = usable.and_then(|usable| usable.iter().filter_map(|r| r.create_event).max());
            if newest.is_none_or(|event| event < *change) {
                stale.insert(tag.clone(), *change);
            }
        }
        self.stale.send_if_modified(|old| {
            let differs = *old != stale;
            *old = stale;
            differs
        });
    }

    /// Reads how busy the builders are and tells the writer. If the hub is there but the answer is
    /// of no use, only logs the error.
    async fn load(&self, memory: &mut Memory) -> Result<(), Stopped> {
        if !self.wants_load || !self.watch.borrow().builds {
            return Ok(());
        }
        match self.read_load(memory).await {
            Ok(loads) => {
                self.writer.hand(Input::Load(self.hub.clone(), loads)).await?;
            }
            Err(e) if e.class() == Class::Unavailable => return Err(e.into()),
            Err(e) => {
                let text = crate::model::causes::with_causes(&e);
                tracing::error!(hub = %self.hub, error = %text, "the load of the builders cannot be read");
            }
        }
        Ok(())
    }

    async fn read_load(&self, memory: &mut Memory) -> Result<ArchLoads, HubError> {
        if memory.channel.is_none() {
            memory.channel = self.reader.ask(get_channel("default")).await?.map(|channel| channel.id);
        }
        let hosts: Vec<Host> = self.reader.ask(list_hosts(memory.channel)).await?.into_iter().map(host).collect();
        let mut arches: Vec<Name> = hosts.iter().flat_map(|h| h.arches.iter().cloned()).collect();
        arches.sort_unstable();
        arches.dedup();
        Ok(ArchLoads::measure(&hosts, &arches))
    }

    /// Reads what builders had installed, for a few builds at a time.
    pub(super) async fn installed(&self, memory: &mut Memory) -> Result<(), Stopped> {
        let some: Vec<InstalledQuery> = memory.unread.iter().take(installed::AT_ONCE).cloned().collect();
        if some.is_empty() {
            return Ok(());
        }
        for found in installed::read(&self.reader, &self.hub, &some).await? {
            self.writer.hand(Input::Installed(Box::new(found))).await?;
        }
        memory.unread.drain(..some.len());
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below and above first")]
fn host(h: records::Host) -> Host {
    let thousandths = |n: f64| (n.clamp(0.0, 1e6) * 1000.0).round() as u64;
    Host {
        arches: h.arches.map(|a| a.0).unwrap_or_default(),
        capacity: thousandths(h.capacity),
        task_load: thousandths(h.task_load),
        ready: h.ready,
        enabled: h.enabled,
    }
}
