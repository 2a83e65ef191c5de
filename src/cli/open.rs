//! Opening a log, and finding a point in it.

use std::str::FromStr;

use super::CliError;
use crate::engine::replay;
use crate::fold::State;
use crate::log::{self, AnyLog, EventLog, Options};
use crate::model::{Seq, Timestamp};

/// A point in a log: a sequence or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsOf {
    /// After this event; 0: before the first.
    Seq(u64),
    /// After everything recorded up to then.
    Time(Timestamp),
}

impl FromStr for AsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        text.parse()
            .map(Self::Time)
            .map_err(|_| format!("`{text}` is neither a sequence number nor a time such as 2026-11-20T08:45:00Z"))
    }
}

/// Opens a log that must exist.
pub(crate) async fn existing(url: &str) -> Result<AnyLog, CliError> {
    Ok(log::open(url, &Options { create: false, ..Options::default() }).await?)
}

/// Opens a log to read only.
pub(crate) async fn reading(url: &str) -> Result<AnyLog, CliError> {
    Ok(log::open(url, &Options { create: false, read_only: true, ..Options::default() }).await?)
}

/// The last event that counts as of a point: `None`, all do; `Some(None)`, none does.
pub(crate) async fn point(log: &AnyLog, as_of: Option<AsOf>) -> Result<Option<Option<Seq>>, CliError> {
    let until = match as_of {
        None => None,
        Some(AsOf::Seq(n)) => Some(Seq::new(n)),
        Some(AsOf::Time(t)) => Some(log.seq_at(t).await?),
    };
    if let (Some(u), head) = (until.flatten(), log.head().await?)
        && head.seq.is_none_or(|h| u > h)
    {
        let end = head.seq.map_or(0, Seq::get);
        return Err(CliError::Rejected(format!("look at event {u}: the log ends at {end}")));
    }
    Ok(until)
}

/// The state as of a point, and the time to judge it by: that point, or that of the last event.
pub(crate) async fn state_as_of(log: &AnyLog, as_of: Option<AsOf>) -> Result<(State, Timestamp), CliError> {
    let until = point(log, as_of).await?;
    if until == Some(None) {
        let now = if let Some(AsOf::Time(t)) = as_of { t } else { Timestamp::EPOCH };
        return Ok((State::default(), now));
    }
    let until = until.flatten();
    let state = replay::state(log, until, &mut |_| {}).await?;
    let now = match as_of {
        Some(AsOf::Time(t)) => t.max(state.recorded_at),
        _ => state.recorded_at,
    };
    Ok((state, now))
}
