//! Delivering decided commands: read from the outbox, hand to the sink, note as sent.
//!
//! A crash between handing over and noting leads to a second hand-over with the same id, which the sink recognises.
//! What is paused stays.

use super::error::IntakeError;
use crate::bus::{CommandSink, OutgoingCommand};
use crate::log::{EventLog, OutboxCommand, PAGE_MAX};
use crate::telemetry::Metrics;
use crate::writer::pauses::Pauses;

/// Commands handed over at once, where that is one write.
const BATCH: usize = 100;

/// Commands that may leave now, oldest first: as many as one hand-over takes.
///
/// # Errors
/// Those of reading the log.
pub async fn ready(
    log: &impl EventLog,
    pauses: &Pauses,
    sink: &CommandSink,
) -> Result<Vec<OutboxCommand>, IntakeError> {
    // A stream takes one after the other: a pause is to come between any two.
    let most = if matches!(sink, CommandSink::Stream(_)) { 1 } else { BATCH };
    for limit in [BATCH, PAGE_MAX] {
        let waiting = log.pending_commands(limit).await?;
        let whole = waiting.len() < limit;
        let mut free: Vec<OutboxCommand> = waiting.into_iter().filter(|c| !pauses.hold_command(c)).collect();
        if whole || !free.is_empty() {
            free.truncate(most);
            return Ok(free);
        }
    }
    Ok(Vec::new())
}

/// Hands commands over and notes them as sent.
///
/// # Errors
/// Unavailable when the sink does not take them; they stay in the outbox.
pub async fn hand_over(
    log: &impl EventLog,
    sink: &mut CommandSink,
    commands: Vec<OutboxCommand>,
    metrics: &Metrics,
) -> Result<(), IntakeError> {
    let out: Vec<OutgoingCommand> =
        commands.iter().map(|c| OutgoingCommand { id: c.id.clone(), json: c.payload.clone() }).collect();
    let sent = sink.send(&out).await?;
    if sent.repeated > 0 {
        tracing::info!(commands = sent.repeated, "these had left before it was noted; the receiver has them once");
    }
    let ids: Vec<String> = commands.into_iter().map(|c| c.id).collect();
    log.mark_sent(&ids).await?;
    metrics.sent(sent.new, sent.repeated);
    Ok(())
}

/// Delivers everything that waits and is not paused; returns how many commands were noted as sent.
///
/// # Errors
/// As [`hand_over`].
pub async fn deliver(
    log: &impl EventLog,
    pauses: &Pauses,
    sink: &mut CommandSink,
    metrics: &Metrics,
) -> Result<usize, IntakeError> {
    let mut total = 0;
    loop {
        let commands = ready(log, pauses, sink).await?;
        if commands.is_empty() {
            return Ok(total);
        }
        total += commands.len();
        hand_over(log, sink, commands, metrics).await?;
    }
}
