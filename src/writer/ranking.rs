//! Says which updates are suspected of failed builds, whenever the judgement on that changes.
//!
//! This is done at ticks, after the decisions, so no command waits for it. When it is done follows
//! from the log alone, so that a restart changes nothing.

use super::Writer;
use crate::base::stage::stage;
use crate::decide::causes::{Elsewhere, changed_mind};
use crate::event::Source;
use crate::fold::UpdateHistory;
use crate::model::{Seq, Timestamp};

/// Compared builds for each second of the interval at which builds that passed and new repositories
/// are taken into account. Each ranking reads all builds.
const BUILDS_PER_SECOND: usize = 20;
/// Longest interval, in seconds.
const INTERVAL_MAX: i64 = 3_600;

/// Checks whether a ranking is due at a tick: after a failed build at once, else at intervals. A
/// passing build only makes shares more exact.
fn is_due(history: &UpdateHistory, (before, now): (Timestamp, Timestamp)) -> bool {
    let news = history.builds.iter().rev().take_while(|b| b.at >= before);
    let interval = i64::try_from(history.builds.len() / BUILDS_PER_SECOND).unwrap_or(INTERVAL_MAX);
    let interval = interval.clamp(1, INTERVAL_MAX) * 1_000_000;
    news.into_iter().any(|b| !b.passed) || before.micros() / interval != now.micros() / interval
}

impl Writer {
    /// Appends a change of mind for each collection for which a ranking is due. `before` is the time
    /// of the tick before. Cost: tenths of a second for thousands of failing packages.
    pub(super) fn rank_suspects(&mut self, before: Timestamp, cause: Seq) {
        for index in 0..self.state.collections.len() {
            let name = self.collection_name(index);
            let collection = &self.state.collections[index];
            let mark: Vec<_> = self.state.collections.values().map(|c| c.history.mark()).collect();
            // What was ranked already would give the same.
            if !is_due(&collection.history, (before, self.now())) || self.ranked.get(&name) == Some(&mark) {
                continue;
            }
            let elsewhere = Elsewhere::in_state(&name, &self.state, &mut self.said);
            let event = changed_mind(&name, collection, &elsewhere);
            stage!("ranked", collection = name.as_str(), builds = collection.history.builds.len());
            self.ranked.insert(name, mark);
            if let Some(event) = event {
                self.push(event.into(), Source::Engine, Some(cause), Some(cause));
            }
        }
    }
}
