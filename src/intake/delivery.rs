//! Delivers decided commands: reads them from the outbox, hands them to the sink, marks them as
//! sent.
//!
//! If the process crashes after the hand-over and before the mark, the command is handed over again
//! with the same id, and the sink recognises it. Paused commands stay in the outbox.

use super::error::IntakeError;
use crate::bus::{CommandSink, OutgoingCommand};
use crate::log::{EventLog, OutboxCommand, PAGE_MAX};
use crate::telemetry::Metrics;
use crate::writer::pauses::Pauses;

/// Number of commands handed over at once, if that is one write.
const BATCH: usize = 100;

/// Returns the commands that may leave now, oldest first: as many as one hand-over takes.
///
/// # Errors
/// Fails if the log cannot be read.
pub async fn ready(
    log: &impl EventLog,
    pauses: &Pauses,
    sink: &CommandSink,
) -> Result<Vec<OutboxCommand>, IntakeError> {
    // A stream takes one command after the other. A pause must be able to take effect between any
    // two.
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

/// Hands commands to the sink and marks them as sent.
///
/// # Errors
/// Fails if the sink does not take them (then the error is the sink's), or if the log does not take
/// the mark. The commands then stay in the outbox.
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
        tracing::info!(
            commands = sent.repeated,
            "these commands were delivered before that was stored; the receiver has each of them once"
        );
    }
    let ids: Vec<String> = commands.into_iter().map(|c| c.id).collect();
    log.mark_sent(&ids).await?;
    metrics.sent(sent.new, sent.repeated);
    Ok(())
}

/// Delivers all commands that wait and are not paused. Returns how many were marked as sent.
///
/// # Errors
/// Fails like [`hand_over`].
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
