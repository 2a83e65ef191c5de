//! The submitter: carries out commands on one hub. Commands are scratch builds, cancellations and
//! requests for repositories.
//!
//! There is exactly one task per decision, whatever crashes when:
//!
//! 1. The decision is in the log and its command is in the outbox before the hub hears of it.
//! 2. The command's id goes into the task's `custom_user_metadata`.
//! 3. After a start or a lost answer, the submitter cannot know whether the hub has the task. It
//!    then searches our tasks for the command's id first.
//! 4. A command leaves the outbox only after its outcome is in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::convert;
use super::to_writer::{Ending, Input, ToWriter};
use super::waiting::WaitingCommands;
use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::base::stage::stage;
use crate::base::trouble::Trouble;
use crate::decide::command::{BindRepo, CancelCommand, RebuildCommand};
use crate::decide::request::Waits;
use crate::koji::calls::{ListTasks, ScratchBuild, build, cancel_task, get_logged_in_user, list_tasks, request_repo};
use crate::koji::{HubError, Session};
use crate::log::{AnyLog, EventLog, LogError};
use crate::model::{Class, Classified, Hub, Name, TaskId, Timestamp};
use crate::telemetry::{self, Metrics};
use crate::writer::pauses::Held;
use crate::writer::submission::Submission;

/// Number of commands read from the outbox at a time.
const PAGE: usize = 500;
/// How often the submitter checks the outbox without being notified.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The search for our tasks begins this long before the oldest waiting decision, because clocks
/// differ.
const SEARCH_BEFORE_SECS: i64 = 3_600;
/// Number of tasks per page of a search.
const SEARCH_PAGE: u32 = 1_000;
/// Maximum number of pages of a search.
const SEARCH_PAGES: u32 = 50;
/// How long the submitter waits before it requests a tag's repository again.
const REQUEST_AGAIN: Duration = Duration::from_secs(3_600);
/// Maximum number of requests for repositories per hour.
const REQUESTS_MAX: usize = 20;

/// Carries out commands on one hub.
pub struct Submitter {
    /// Hub instance.
    pub hub: Hub,
    /// A logged-in session. It sends strictly one call after the other.
    pub session: Session,
    /// The queue to the writer.
    pub writer: ToWriter,
    /// The log, whose outbox has the commands.
    pub log: AnyLog,
    /// Id of our log. Decisions of other logs are not ours.
    pub log_id: String,
    /// Changes when something may be in the outbox.
    pub outbox: watch::Receiver<u64>,
    /// Build tags that changed and have no repository covering the change, with the Koji event of
    /// the change.
    pub stale: watch::Receiver<BTreeMap<Name, i64>>,
    /// What must not be submitted or requested now.
    pub held: watch::Receiver<Held>,
    /// How long a tag must be stale before its repository is requested. `None`: never.
    pub request_after: Option<Duration>,
    /// Whether builds are bound to repositories.
    pub bind: BindRepo,
    /// Counters.
    pub metrics: Metrics,
    /// Stops the submitter.
    pub stop: CancellationToken,
}

/// Why a round stopped early.
enum Stopped {
    Hub(HubError),
    Log(LogError),
    /// Our user has more tasks since the oldest waiting decision than the search reads.
    TooMany,
    /// Submissions were paused during a call for a rebuild. The call was not repeated, and the hub
    /// may have executed it.
    Paused,
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

impl<E: Into<LogError>> From<Box<E>> for Stopped {
    fn from(e: Box<E>) -> Self {
        Self::Log((*e).into())
    }
}

/// State that a submitter keeps in memory.
struct Memory {
    /// Whether waiting commands may already have been carried out.
    unsure: bool,
    user: Option<i64>,
    /// Stale tags: the event of the first change not covered, and since when.
    stale: BTreeMap<Name, (i64, Instant)>,
    /// Repositories requested in the last hour.
    requested: Vec<(Name, Instant)>,
}

impl Submitter {
    /// Works until told to stop. If the hub does not answer, waits and tries again. Commands stay
    /// in the outbox meanwhile.
    pub async fn run(mut self) {
        let mut memory = Memory { unsure: true, user: None, stale: BTreeMap::new(), requested: Vec::new() };
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
        let mut trouble = Trouble::default();
        let name = format!("submitter {}", self.hub);
        self.metrics.loop_begins(&name, Duration::from_secs(600), clock::now());
        loop {
            let round = Box::pin(self.round(&mut memory)).await;
            match round {
                Ok(()) => {
                    backoff.reset();
                    trouble.answered(Some(self.hub.as_str()));
                    self.metrics.loop_went_round(&format!("submitter {}", self.hub), clock::now());
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => return,
                        changed = self.outbox.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                }
                Err(Stopped::Ending) => return,
                Err(Stopped::Paused) => {
                    memory.unsure = true;
                    tracing::info!(hub = %self.hub, "submissions were paused while a rebuild was being submitted; \
                        the hub is asked whether it has the task");
                }
                Err(other) => {
                    let hub = Some(self.hub.as_str());
                    let waits = |remedy| format!("commands wait; {remedy}");
                    match &other {
                        Stopped::Hub(e) => trouble.failed(hub, "the hub", e, &waits(e.remedy())),
                        Stopped::Log(e) => trouble.failed(hub, "the database", e, &waits("check the database")),
                        Stopped::TooMany => {
                            let most = SEARCH_PAGE * SEARCH_PAGES;
                            let text = format!("more than {most} tasks of our user since the oldest waiting decision");
                            let remedy = "cancel waiting rebuilds (`koschei admin cancel`), or let others use another \
                                user";
                            trouble.failed_with(hub, "the hub", (Class::Broken, &text), &waits(remedy));
                        }
                        Stopped::Paused | Stopped::Ending => continue,
                    }
                    memory.unsure = true;
                    self.metrics.submission(telemetry::Submission::Failed);
                    if !backoff.wait(&self.stop).await {
                        return;
                    }
                }
            }
        }
    }

    async fn round(&mut self, memory: &mut Memory) -> Result<(), Stopped> {
        let waiting = WaitingCommands::read(&self.log, &self.hub, PAGE).await.map_err(Stopped::Log)?;
        let WaitingCommands { rebuilds, cancels, .. } = waiting;
        let known = match memory.unsure && !rebuilds.is_empty() {
            true => self.search(memory, &rebuilds).await?,
            false => BTreeMap::new(),
        };
        memory.unsure &= rebuilds.is_empty();
        for command in rebuilds {
            if self.stop.is_cancelled() {
                return Err(Stopped::Ending);
            }
            let outcome = match known.get(&command.id) {
                Some(task) => self.is_task(&command, *task),
                None => match self.writer.is_waiting(command.rebuild()).await? {
                    // The rebuild was closed while it waited (cancelled, or refused before a
                    // crash), or its task is already in the log.
                    Waits::No => {
                        self.log.mark_sent(&[command.id]).await.map_err(Box::new)?;
                        continue;
                    }
                    // The command stays in the outbox.
                    Waits::Paused => continue,
                    Waits::Yes { bound } => {
                        // Until the answer is in the log, nobody knows whether the hub has the
                        // task. After a crash or an error here the submitter searches.
                        memory.unsure = true;
                        let outcome = self.build(&command, bound).await?;
                        memory.unsure = false;
                        outcome
                    }
                },
            };
            self.metrics.submission(match &outcome {
                Submission::Submitted { .. } if known.contains_key(&command.id) => telemetry::Submission::Adopted,
                Submission::Submitted { .. } => telemetry::Submission::Submitted,
                Submission::Refused { .. } | Submission::NotSubmitted { .. } => telemetry::Submission::Refused,
            });
            stage!("submitted", command = command.id);
            self.writer.hand(Input::Submitted(outcome)).await?;
            self.log.mark_sent(&[command.id]).await.map_err(Box::new)?;
        }
        for command in cancels {
            self.cancel(&command).await?;
            self.log.mark_sent(&[command.id]).await.map_err(Box::new)?;
        }
        self.repositories(memory).await
    }

    fn is_task(&self, command: &RebuildCommand, task_id: TaskId) -> Submission {
        Submission::Submitted { rebuild: command.rebuild(), hub: self.hub.clone(), task_id }
    }

    /// Finds which of these decisions already have a task. If several tasks name one decision, the
    /// lowest is ours; people resubmitted the others.
    async fn search(
        &mut self,
        memory: &mut Memory,
        waiting: &[RebuildCommand],
    ) -> Result<BTreeMap<String, TaskId>, Stopped> {
        let user = self.user(memory).await?;
        let oldest = waiting.iter().map(|c| c.decided_at).min().unwrap_or(Timestamp::EPOCH);
        let mut found: BTreeMap<String, TaskId> = BTreeMap::new();
        for page in 0..SEARCH_PAGES {
            let which = ListTasks {
                owner: user,
                created_after: Some(oldest.plus_secs(-SEARCH_BEFORE_SECS)),
                decoded: true,
                limit: SEARCH_PAGE,
                offset: Some(page * SEARCH_PAGE),
                ..ListTasks::default()
            };
            let tasks = self.session.ask(list_tasks(&which)).await?;
            let all = tasks.len() < SEARCH_PAGE as usize;
            for task in tasks {
                let Some(request) = task.build_request() else { continue };
                if let Some(command) = waiting.iter().find(|c| convert::is_of(&request, c, &self.log_id)) {
                    let lowest = found.entry(command.id.clone()).or_insert(task.id);
                    *lowest = (*lowest).min(task.id);
                }
            }
            if all {
                return Ok(found);
            }
        }
        // No build is better than two.
        Err(Stopped::TooMany)
    }

    async fn user(&mut self, memory: &mut Memory) -> Result<i64, Stopped> {
        if let Some(user) = memory.user {
            return Ok(user);
        }
        let user = self.session.ask(get_logged_in_user().required()).await?;
        memory.user = Some(user.id);
        Ok(user.id)
    }

    /// Submits a rebuild. It is bound to its repository unless the configuration of the hub forbids
    /// it or `bound` is false.
    async fn build(&mut self, command: &RebuildCommand, bound: bool) -> Result<Submission, Stopped> {
        let what = ScratchBuild {
            source: &command.source,
            target: &command.target,
            repo_id: command.repo_id.filter(|_| self.bind.binds(bound)),
            arches: &command.arches,
            metadata: convert::metadata(command),
            further: command.build_opts.iter().map(|(name, v)| (name.clone(), convert::option(v))).collect(),
            priority: command.task_priority,
        };
        // Checked before every attempt, because a call to a silent hub is repeated for minutes.
        let held = self.held.clone();
        let go = || !held.borrow().submissions.hold(&command.collection);
        match self.session.ask_while(&go, build(what)).await {
            Ok(task) => Ok(self.is_task(command, task)),
            // The hub answered, and refuses this build only.
            Err(e) if is_refusal(&e) => {
                Ok(Submission::Refused { rebuild: command.rebuild(), reason: bounded(&e.to_string()) })
            }
            Err(_) if !go() => Err(Stopped::Paused),
            Err(e) => Err(e.into()),
        }
    }

    async fn cancel(&mut self, command: &CancelCommand) -> Result<(), Stopped> {
        match self.session.ask(cancel_task(command.task_id)).await {
            Ok(()) => Ok(()),
            // The task is not ours or does not exist. Another attempt changes nothing. The poller
            // will see what became of the task.
            Err(e) if is_refusal(&e) => {
                tracing::warn!(
                    hub = %self.hub,
                    task = %command.task_id,
                    error = %crate::model::causes::with_causes(&e),
                    "the hub refuses to cancel a task"
                );
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Requests repositories for tags that changed long ago and have no repository covering the
    /// change.
    async fn repositories(&mut self, memory: &mut Memory) -> Result<(), Stopped> {
        let Some(after) = self.request_after else { return Ok(()) };
        let now = Instant::now();
        let stale = self.stale.borrow_and_update().clone();
        memory.stale.retain(|tag, _| stale.contains_key(tag));
        for (tag, event) in &stale {
            // The time of the first uncovered change counts. With the last one, a busy tag would
            // never be due.
            memory.stale.entry(tag.clone()).or_insert((*event, now));
        }
        memory.requested.retain(|(_, at)| now.duration_since(*at) < REQUEST_AGAIN);
        let due: Vec<Name> = memory
            .stale
            .iter()
            .filter(|(tag, (_, since))| {
                now.duration_since(*since) >= after && !memory.requested.iter().any(|(t, _)| t == *tag)
            })
            .map(|(tag, _)| tag.clone())
            .collect();
        let held = self.held.borrow().tags.clone();
        for tag in due.into_iter().filter(|tag| !held.contains(tag)) {
            if memory.requested.len() >= REQUESTS_MAX {
                return Ok(());
            }
            memory.requested.push((tag.clone(), now));
            match self.session.ask(request_repo(&tag)).await {
                Ok(()) => tracing::info!(hub = %self.hub, tag = %tag, "requested a repository"),
                Err(e) if is_refusal(&e) => {
                    tracing::warn!(
                        hub = %self.hub,
                        tag = %tag,
                        error = %crate::model::causes::with_causes(&e),
                        "the hub refuses to create a repository"
                    );
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// Checks whether the hub received the call and refused only this one thing. A refused login or an
/// absent hub is something else.
fn is_refusal(error: &HubError) -> bool {
    matches!(error, HubError::Fault { .. }) && error.class() == Class::Rejected
}

fn bounded(text: &str) -> String {
    text.chars().take(500).collect()
}
