//! Opens the writer: folds the log and finds what an earlier writer left open.

use super::HEART;
use super::Writer;
use super::announcing;
use super::persons::Persons;
use super::settings::Settings;
use super::snapshots::{self, Snapshots};
use crate::base::clock;
use crate::buildroot::RepoResolver;
use crate::event::Source;
use crate::log::folding::Keeping;
use crate::log::{AnyLog, EventLog, LogError, folding};
use crate::message::times::NEIGHBOURS;
use crate::message::{Context, MessageTimes, Times};
use crate::operator;
use crate::telemetry::Metrics;

impl Writer {
    /// Opens the writer on a log and folds the events in it.
    ///
    /// # Errors
    /// Fails if the log cannot be read or folded, see [`LogError`].
    pub async fn open(
        log: &AnyLog,
        settings: Settings,
        resolver: impl RepoResolver,
        metrics: Metrics,
    ) -> Result<Self, LogError> {
        let head = log.head().await?;
        // After an outage the whole log is folded again. That may take longer than a loop may stand
        // still.
        let mut folding = |_| metrics.loop_waits(HEART, clock::now());
        let told = |kept| snapshots::told(&metrics, kept);
        let keeping = Keeping { spacing: settings.spacing, told: &told };
        let state = folding::state_keeping(log, &keeping, &mut folding).await?;
        let snapshots = Snapshots::of(log, &metrics).await?;
        let teller = announcing::teller(log, settings.telling.clone()).await?;
        let persons = Persons::read(log).await?;
        let unseen = state.facts_taken > log.counts().await?.inbox_total;
        let log_id = log.info().await?.log_id;
        let mut writer =
            Self::new(log.clone(), (state, log_id, &head), persons, settings, Box::new(resolver), metrics)?;
        writer.snapshots = snapshots;
        writer.teller = teller;
        if writer.settings.context.source == Source::Bus {
            writer.times = live_times(log, &writer.settings.context).await?;
        }
        writer.find_unexamined();
        if unseen {
            writer.expect_known_facts();
        }
        let waiting = writer.without_task();
        if !waiting.is_empty() {
            let asked = log.commands_of(&waiting).await?;
            writer.never_asked(waiting.into_iter().filter(|request| !asked.contains(request)));
        }
        Ok(writer)
    }
}

/// Learns the publishers' clocks from the last messages in the inbox. Our own clock says when those
/// came in.
async fn live_times(log: &impl EventLog, context: &Context) -> Result<Times, LogError> {
    let mut times = Times::new(context.clock_tolerance_secs);
    for past in log.last_received(operator::SOURCE, NEIGHBOURS).await? {
        times.take_live(past.body.as_deref().map_or(MessageTimes::default(), MessageTimes::of), past.received_at);
    }
    Ok(times)
}
