//! The writer: the only part of the program that appends to the log.
//!
//! [`turn`] handles each message completely and commits the result at once: the message's facts,
//! the events that follow from them, the decisions taken at that point, and the commands.
//!
//! The other modules do one part each:
//!
//! - [`consequences`] derives the events that follow from facts.
//! - `resolving` and `measuring` derive the events that follow from a repository.
//! - [`tracking`] says for which packages a repository is resolved, `own_sources` with which
//!   sources.
//! - `examining` asks libsolv what no decision waits for.
//! - `ranking` says which updates are suspected of failed builds.
//! - `announcing` says what others are told.
//! - `adopting` takes the configuration into the log.
//! - [`submission`] records the result of a command.
//! - [`hearing`] handles what operators say.
//! - [`pauses`] says which submissions are stopped.
//! - `open` opens the writer on a log, and `snapshots` stores its state now and then.

mod adopting;
pub(crate) mod ahead;
mod announcing;
mod attached;
pub mod consequences;
mod content;
mod decided;
mod differing;
mod examining;
mod explaining;
pub mod hearing;
mod measuring;
mod open;
mod overrides;
mod own_sources;
pub mod pauses;
pub mod persons;
mod policies;
mod ranking;
pub mod resolving;
pub mod results;
pub mod settings;
mod snapshots;
pub mod submission;
pub mod tracking;
pub mod turn;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

pub use consequences::HubAccess;
pub use settings::Settings;

use self::attached::ClosureCache;
use self::examining::Unexamined;
use self::overrides::Overrides;
use self::persons::Persons;
use self::snapshots::Snapshots;
use self::tracking::Tracking;
use crate::announce::Teller;
use crate::buildroot::RepoResolver;
use crate::buildroot::generations::Remembered;
use crate::decide::causes::SaidByCollection;
use crate::decide::load::ArchLoads;
use crate::event::ChainHash;
use crate::fold::{Mark, State, Touched};
use crate::log::{AnyLog, Commit, Head, LogError, Position};
use crate::message::Times;
use crate::model::{Hub, Name, RebuildId, RepoId, Seq, Timestamp};
use crate::telemetry::Metrics;

/// The writer: the folded state, and the commit that is about to be appended.
pub struct Writer {
    pub(crate) state: State,
    pub(crate) settings: Settings,
    pub(crate) log: AnyLog,
    pub(crate) resolver: Box<dyn RepoResolver>,
    pub(crate) commit: Commit,
    pub(crate) cache: ClosureCache,
    pub(crate) remembered: Remembered,
    pub(crate) overrides: Overrides,
    pub(crate) tracking: Tracking,
    pub(crate) metrics: Metrics,
    pub(crate) hub_access: HubAccess,
    log_id: String,
    hash: ChainHash,
    committed: Option<Seq>,
    now: Timestamp,
    pub(crate) begun: bool,
    /// Whether the log may hold facts whose messages the inbox never saw, because the log was
    /// imported.
    facts_unseen: bool,
    /// Requests whose commands the export did not carry.
    pub(crate) without_command: Vec<RebuildId>,
    persons: Persons,
    /// What is known about the clocks of the bus's publishers.
    pub(crate) times: Times,
    /// Number of messages since the start whose time was not believed.
    pub(crate) retimed: u64,
    /// Load of the builders per hub, as last reported.
    pub(crate) loads: HashMap<Hub, ArchLoads>,
    /// Packages whose sources must be checked once a look with many facts is appended. `None`
    /// outside such a look.
    pub(crate) sources_later: Option<BTreeSet<Touched>>,
    /// When each hub was last marked as reconciled.
    pub(crate) marks: HashMap<Hub, Timestamp>,
    /// Last recorded reason why a repository is not resolved, by collection and architecture. The
    /// same reason is not recorded again.
    pub(crate) not_resolved: HashMap<(Name, Option<Name>), (RepoId, String)>,
    /// Resolutions that libsolv has not said everything about, oldest first.
    pub(crate) unexamined: VecDeque<Unexamined>,
    /// Notified when an examiner has an answer.
    pub(crate) answered: Arc<Notify>,
    /// What each collection's suspects were last ranked by, for all collections ([`crate::fold::UpdateHistory::mark`]).
    ranked: HashMap<Name, Vec<Mark>>,
    /// What collections say of each other's updates.
    said: SaidByCollection,
    snapshots: Snapshots,
    /// Says what others are told. `None` if nothing is announced.
    teller: Option<Teller>,
    /// Inbox position up to which operators' words were read.
    pub(crate) heard: Option<Position>,
}

/// Name of the writer's loop in the metrics. Without this loop nothing is appended.
pub const HEART: &str = "brain";
/// Time after which a loop that completed no round counts as stalled.
pub(crate) const LOOP_STALE: std::time::Duration = std::time::Duration::from_secs(300);

impl From<crate::log::Counts> for crate::telemetry::QueueLengths {
    fn from(counts: crate::log::Counts) -> Self {
        Self { messages: counts.inbox_pending, parked: counts.inbox_parked, commands: counts.outbox_pending }
    }
}

impl From<crate::log::AnnouncementCounts> for crate::telemetry::AnnouncementQueue {
    fn from(counts: crate::log::AnnouncementCounts) -> Self {
        Self { waiting: counts.waiting, oldest: counts.oldest, unsendable: counts.unsendable }
    }
}

impl Writer {
    /// Makes a writer that continues after `state`, which is folded up to `head`. `log_id`
    /// identifies the log.
    ///
    /// # Errors
    /// Returns [`LogError::Broken`] if state and log do not end at the same event.
    pub(super) fn new(
        log: AnyLog,
        (mut state, log_id, head): (State, String, &Head),
        persons: Persons,
        settings: Settings,
        resolver: Box<dyn RepoResolver>,
        metrics: Metrics,
    ) -> Result<Self, LogError> {
        if state.seq != head.seq {
            return Err(LogError::Broken(format!("the state ends at {:?}, the log at {:?}", state.seq, head.seq)));
        }
        state.watch();
        let times = Times::new(settings.context.clock_tolerance_secs);
        Ok(Self {
            now: state.recorded_at,
            log_id,
            hash: head.hash,
            committed: head.seq,
            state,
            settings,
            log,
            resolver,
            commit: Commit::default(),
            cache: ClosureCache::default(),
            remembered: Remembered::default(),
            overrides: Overrides::default(),
            tracking: Tracking::default(),
            metrics,
            hub_access: HubAccess::default(),
            begun: false,
            facts_unseen: false,
            without_command: Vec::new(),
            persons,
            times,
            retimed: 0,
            loads: HashMap::new(),
            sources_later: None,
            marks: HashMap::new(),
            not_resolved: HashMap::new(),
            unexamined: VecDeque::new(),
            answered: Arc::default(),
            ranked: HashMap::new(),
            said: SaidByCollection::default(),
            snapshots: Snapshots::default(),
            teller: None,
            heard: None,
        })
    }
}
