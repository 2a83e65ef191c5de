//! Delivering decided commands: read from the outbox, hand to the sink, note as sent.
//!
//! A crash between handing over and noting leads to a second hand-over with the same id, which the sink recognises.

use super::error::EngineError;
use crate::bus::{CommandSink, OutgoingCommand};
use crate::log::EventLog;
use crate::telemetry::Metrics;

/// Commands handed over at once.
const BATCH: usize = 500;

/// Delivers everything that waits; returns how many commands were noted as sent.
///
/// # Errors
/// Unavailable when the sink does not take them; they stay in the outbox.
pub async fn deliver(log: &impl EventLog, sink: &mut CommandSink, metrics: &Metrics) -> Result<usize, EngineError> {
    let mut total = 0;
    loop {
        let waiting = log.pending_commands(BATCH).await?;
        if waiting.is_empty() {
            return Ok(total);
        }
        let out: Vec<OutgoingCommand> =
            waiting.iter().map(|c| OutgoingCommand { id: c.id.clone(), json: c.payload.clone() }).collect();
        sink.send(&out).await?;
        let ids: Vec<String> = waiting.into_iter().map(|c| c.id).collect();
        log.mark_sent(&ids).await?;
        metrics.sent(ids.len());
        total += ids.len();
    }
}
