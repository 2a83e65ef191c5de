//! The poller: watches one hub.
//!
//! It looks at objects that messages from the bus hint at, polls objects that change without a
//! message, and regularly compares everything (reconciliation).
//!
//! One task reads everything, one request after the other. It hands results to the writer in the
//! order of reading. So an older answer can never undo a newer one.

mod polls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::history::Moves;
use super::installed::{self, InstalledQuery};
use super::interest::{HubObject, Interest};
use super::objects::Scope;
use super::own_tasks::Ours;
use super::reader::{LookResult, Reader};
use super::repositories::Fetch;
use super::snapshot::{LookReason, Observation, RepoSeen, Seen};
use super::to_writer::{Ending, Input, Ticket, ToWriter};
use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::base::stage::stage;
use crate::base::trouble::Trouble;
use crate::hub::tracked::AskedFor;
use crate::koji::HubError;
use crate::koji::calls::get_user;
use crate::model::koji::RepoState;
use crate::model::{Hub, Name, RepoId, TaskId};
use crate::telemetry::Metrics;

/// Maximum number of objects read in one look after hints.
const KEYS_AT_ONCE: usize = 60;
/// How long the poller waits before it fetches a known but unresolved repository again.
const FETCH_AGAIN: Duration = Duration::from_secs(600);

/// How often the poller looks.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Interval between polls of objects that change without a message.
    pub poll: Duration,
    /// Interval between comparisons of everything.
    pub reconcile: Duration,
}

/// Watches one hub.
pub struct Poller {
    /// Hub instance.
    pub hub: Hub,
    /// Reads the hub.
    pub reader: Reader,
    /// The queue to the writer.
    pub writer: ToWriter,
    /// Hints from the inbox.
    pub hints: mpsc::UnboundedReceiver<(HubObject, Ticket)>,
    /// The objects we watch.
    pub watch: watch::Receiver<Interest>,
    /// Repositories to fetch. New ones are mirrored before the writer hears of them. Resolved ones
    /// are fetched again for the requirements of more packages.
    pub repos: mpsc::UnboundedSender<Fetch>,
    /// Build tags that changed and have no repository covering the change, with the Koji event of
    /// the change.
    pub stale: watch::Sender<BTreeMap<Name, i64>>,
    /// Notified when the bus is connected again. The poller then looks for what changed meanwhile.
    pub reconnected: Arc<Notify>,
    /// How often to look.
    pub rhythm: Rhythm,
    /// Koji user whose scratch builds are ours.
    pub user: String,
    /// Id of our event log.
    pub log_id: String,
    /// Whether decisions use the load of the builders.
    pub wants_load: bool,
    /// Counters.
    pub metrics: Metrics,
    /// Stops the poller.
    pub stop: CancellationToken,
}

/// State that a poller keeps in memory.
#[derive(Default)]
struct Memory {
    scope: Scope,
    /// Koji event up to which tags were compared.
    through: i64,
    /// Rows of the last changes in tags that were looked at.
    moves: Moves,
    /// Tags that were read whole.
    loaded: BTreeSet<Name>,
    /// Waiting hints. Each object is in here once.
    waiting: BTreeMap<HubObject, Vec<Ticket>>,
    /// Objects that could not be read. Every poll asks for them again.
    again: BTreeSet<HubObject>,
    /// When each repository that is known but not resolved was last fetched again.
    fetched_again: BTreeMap<RepoId, Instant>,
    /// Repositories that were fetched, and for which packages.
    asked_for: AskedFor,
    /// Our user's tasks that the hub listed.
    ours: Ours,
    /// Builds whose buildroots are still to be read.
    unread: Vec<InstalledQuery>,
    /// Tasks whose buildroots were read, or are in `unread`.
    asked: BTreeSet<TaskId>,
    channel: Option<i64>,
}

/// Why a step stopped early.
enum Stopped {
    Hub(HubError),
    Ending,
}

impl From<HubError> for Stopped {
    fn from(e: HubError) -> Self {
        Self::Hub(e)
    }
}

impl From<Ending> for Stopped {
    fn from(_: Ending) -> Self {
        Self::Ending
    }
}

/// When to look next without a hint.
struct Due {
    poll: Instant,
    everything: Instant,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Hints,
    Poll,
    Everything,
    Installed,
    Nothing,
    Stop,
}

impl Poller {
    /// Watches until told to stop. If the hub does not answer, waits and tries again.
    pub async fn run(mut self) {
        let mut memory = Memory::default();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
        // The first step compares everything, whatever the time is. It then sets both times.
        let mut due = Due { poll: Instant::now(), everything: Instant::now() };
        let mut begun = false;
        let mut trouble = Trouble::default();
        // Waits until the writer has said which objects we watch. Before that there is nothing to
        // compare.
        while !self.watch.borrow().told {
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.watch.changed() => if changed.is_err() { return },
            }
        }
        let compared = self.watch.borrow().reconciled_at;
        self.metrics.hub_known(self.hub.as_str(), self.rhythm.reconcile, compared);
        let stale = self.rhythm.poll * 3 + Duration::from_secs(300);
        self.metrics.loop_begins(&format!("watcher {}", self.hub), stale, clock::now());
        loop {
            let answers = self.reader.answers();
            self.complete(&mut memory);
            let next = if begun { self.next(&mut memory, &due).await } else { Next::Everything };
            let step = async {
                match next {
                    Next::Stop => Err(Stopped::Ending),
                    Next::Hints => self.hinted(&mut memory).await,
                    Next::Poll => self.poll(&mut memory).await,
                    Next::Everything => self.everything(&mut memory).await,
                    Next::Installed => self.installed(&mut memory).await,
                    Next::Nothing => Ok(()),
                }
            };
            match Box::pin(step).await {
                Ok(()) => {
                    begun = true;
                    if next == Next::Everything {
                        due.everything = Instant::now() + self.rhythm.reconcile;
                    }
                    if matches!(next, Next::Everything | Next::Poll) {
                        due.poll = Instant::now() + self.rhythm.poll;
                    }
                    // A step that sent no request does not show whether the hub answers.
                    if self.reader.answers() > answers {
                        backoff.reset();
                        trouble.answered(Some(self.hub.as_str()));
                        self.metrics.hub_up(self.hub.as_str(), true);
                    }
                    self.metrics.loop_went_round(&format!("watcher {}", self.hub), clock::now());
                }
                Err(Stopped::Ending) => return,
                Err(Stopped::Hub(e)) => {
                    // A hub that refuses or answers something unreadable is treated like one that
                    // is away. When somebody repairs the hub or the service, all hints are still
                    // waiting.
                    let meanwhile = format!("hints wait; {}", e.remedy());
                    trouble.failed(Some(self.hub.as_str()), "the hub", &e, &meanwhile);
                    self.metrics.hub_up(self.hub.as_str(), false);
                    if !backoff.wait(&self.stop).await {
                        return;
                    }
                    // Changes during the outage may have left no hint.
                    due.poll = Instant::now();
                }
            }
        }
    }

    /// Decides what to do next. Polls come in time even if hints never stop. Otherwise objects that
    /// change without a message would wait until a mass rebuild ends.
    async fn next(&mut self, memory: &mut Memory, due: &Due) -> Next {
        self.gather(memory);
        let now = Instant::now();
        if self.stop.is_cancelled() {
            return Next::Stop;
        }
        if now >= due.everything {
            return Next::Everything;
        }
        if now >= due.poll {
            return Next::Poll;
        }
        if !memory.waiting.is_empty() {
            return Next::Hints;
        }
        let unread = !memory.unread.is_empty();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Next::Stop,
            hint = self.hints.recv() => match hint {
                Some((key, ticket)) => {
                    memory.waiting.entry(key).or_default().push(ticket);
                    self.gather(memory);
                    Next::Hints
                }
                None => Next::Stop,
            },
            () = self.reconnected.notified() => Next::Poll,
            changed = self.watch.changed() => match changed {
                // A new collection or new parents of a tag can add tags that were never read.
                Ok(()) if self.has_new_tags(memory) => Next::Poll,
                Ok(()) => Next::Nothing,
                Err(_) => Next::Stop,
            },
            () = std::future::ready(()), if unread => Next::Installed,
            () = tokio::time::sleep_until(due.poll.min(due.everything)) => Next::Nothing,
        }
    }

    fn has_new_tags(&self, memory: &Memory) -> bool {
        self.watch.borrow().tags.iter().any(|t| !memory.loaded.contains(t))
    }

    /// Takes all hints that have arrived. Several hints for one object become one.
    fn gather(&mut self, memory: &mut Memory) {
        while let Ok((key, ticket)) = self.hints.try_recv() {
            memory.waiting.entry(key).or_default().push(ticket);
        }
        let waiting = memory.waiting.len();
        self.metrics.look_pending(waiting);
    }

    /// Looks at the objects that hints name.
    async fn hinted(&mut self, memory: &mut Memory) -> Result<(), Stopped> {
        let keys: BTreeSet<HubObject> = memory.waiting.keys().take(KEYS_AT_ONCE).cloned().collect();
        if keys.is_empty() {
            return Ok(());
        }
        stage!("hinted", keys = keys.len());
        let LookResult { event, seen, .. } = self.look(memory, &keys).await?;
        stage!("looked", keys = keys.len());
        let tickets = keys.iter().filter_map(|k| memory.waiting.get(k)).flatten().copied().collect();
        // Tickets of objects that could not be read are included. Every poll asks for such an
        // object again, so its messages do not have to wait.
        self.hand(memory, (event, LookReason::Hint), seen, tickets, false, Default::default()).await?;
        for key in &keys {
            memory.waiting.remove(key);
        }
        Ok(())
    }

    async fn look(&mut self, memory: &mut Memory, keys: &BTreeSet<HubObject>) -> Result<LookResult, HubError> {
        self.introduce(memory).await?;
        let keys = &{
            let watch = self.watch.borrow();
            memory.scope.build_tags = watch.build_tags.clone();
            watch.spread(keys)
        };
        let looked = self.reader.look(keys, &memory.scope).await?;
        for s in &looked.seen {
            // The number of a deleted tag stays in `tag_ids`: it is still needed to ask for the
            // tag's repositories. A tag that is created again may get another number.
            if let Seen::Tag(t) = s
                && let Some(id) = t.tag_id
            {
                memory.scope.tag_ids.insert(t.tag.clone(), id);
            }
        }
        memory.again.retain(|k| !keys.contains(k));
        for (key, error) in &looked.failed {
            let text = crate::model::causes::with_causes(error);
            tracing::error!(hub = %self.hub, object = ?key, error = %text, "an object cannot be read; it is asked for \
                again with each poll");
            memory.again.insert(key.clone());
        }
        Ok(looked)
    }

    /// Finds out the number of our user on the hub and what the hub supports.
    async fn introduce(&self, memory: &mut Memory) -> Result<(), HubError> {
        if memory.scope.user.is_some() {
            return Ok(());
        }
        memory.scope.log_id.clone_from(&self.log_id);
        let user = self.reader.ask(get_user(&self.user)).await?;
        // If the hub does not know our user yet, the user has no tasks either. The next look asks
        // again.
        memory.scope.user = user.map(|u| u.id);
        memory.scope.has_repo_query = self.reader.has_repo_query();
        Ok(())
    }

    /// Hands over what was seen. New repositories take another way: their content is fetched first.
    async fn hand(
        &self,
        memory: &mut Memory,
        (event, why): (i64, LookReason),
        mut seen: Vec<Seen>,
        tickets: Vec<Ticket>,
        complete: bool,
        (settled, fresh): (Option<i64>, BTreeSet<HubObject>),
    ) -> Result<(), Stopped> {
        self.divert(memory, &mut seen);
        installed::wanted(&seen, &mut memory.asked, &mut memory.unread);
        let look = Observation { hub: self.hub.clone(), event, why, at: clock::now(), settled, fresh, seen, complete };
        self.writer.hand(Input::Looked { look, tickets }).await?;
        Ok(())
    }

    /// Sends the newest usable repository of each build tag to be fetched, if the writer does not
    /// know it yet. Keeps the writer from hearing of it before it is fetched. Also fetches known
    /// repositories again that are not resolved.
    fn divert(&self, memory: &mut Memory, seen: &mut Vec<Seen>) {
        let watch = self.watch.borrow();
        let is_new = |r: &RepoSeen| {
            let newest = watch.repos.iter().filter(|(tag, ..)| *tag == r.tag).map(|(_, id, event)| (*event, *id)).max();
            r.state == RepoState::Ready
                && watch.build_tags.contains(&r.tag)
                && newest.is_none_or(|n| n < (r.create_event.unwrap_or(0), r.repo_id))
        };
        // Sending fails only when the service is ending.
        let fetch = |asked_for: &mut AskedFor, repo: RepoSeen| {
            asked_for.fetching(&watch, &repo.tag, repo.repo_id);
            drop(self.repos.send(Fetch { repo, resolved: false }));
        };
        seen.retain_mut(|s| match s {
            Seen::Repo(r) if is_new(r) => {
                fetch(&mut memory.asked_for, r.clone());
                false
            }
            Seen::Repos { usable, later, .. } => {
                let newest =
                    usable.iter().filter(|r| r.state == RepoState::Ready).max_by_key(|r| (r.create_event, r.repo_id));
                if let Some(newest) = newest.filter(|r| is_new(r)) {
                    // Older ready repositories are told later, too. If the writer heard of them
                    // before the newest one, it would take one of them for the newest and look in
                    // vain for its content.
                    later.extend(usable.iter().filter(|r| r.state == RepoState::Ready).map(|r| r.repo_id));
                    fetch(&mut memory.asked_for, newest.clone());
                }
                true
            }
            Seen::Repo(_)
            | Seen::Tag(_)
            | Seen::TagBuilds { .. }
            | Seen::TagPackages { .. }
            | Seen::Target(..)
            | Seen::Build(_)
            | Seen::Task(_)
            | Seen::NoTask(_) => true,
        });
        let now = Instant::now();
        memory.fetched_again.retain(|_, at| now.duration_since(*at) < FETCH_AGAIN);
        for (tag, id) in &watch.unresolved {
            if memory.fetched_again.contains_key(id) {
                continue;
            }
            if seen.iter().filter_map(|s| s.usable_of(tag)).flatten().any(|r| r.repo_id == *id) {
                let event = watch.repos.iter().find(|(_, r, _)| r == id).map(|(_, _, event)| *event);
                memory.fetched_again.insert(*id, now);
                fetch(&mut memory.asked_for, RepoSeen::ready(*id, tag.clone(), event));
            }
        }
    }

    /// Sends resolved repositories to be fetched again for the requirements of packages that are
    /// tracked only since the repository was resolved.
    fn complete(&self, memory: &mut Memory) {
        for (tag, repo_id, create_event) in memory.asked_for.open(&self.watch.borrow()) {
            let repo = RepoSeen::ready(repo_id, tag, create_event);
            // Sending fails only when the service is ending.
            drop(self.repos.send(Fetch { repo, resolved: true }));
        }
    }
}
