//! Putting something into the inbox of a log for whoever works on it, and waiting until it is heard.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{CliError, DbArgs, Done};
use crate::intake::recording;
use crate::log::LogError;
use crate::log::{AnyLog, Disposition, EventLog, Fate, Incoming};
use crate::model::{Seq, Timestamp};
use crate::writer::operator;

/// How often it is looked whether a word was taken, when nothing is appended: one that is refused leads to no event.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where the word goes, and who says it.
#[derive(Args, Debug, Clone)]
pub(crate) struct Saying {
    #[command(flatten)]
    pub(crate) db: DbArgs,
    /// Who says so; kept as a stand-in that can be forgotten
    #[arg(long, value_name = "NAME", env = "SUDO_USER")]
    pub(crate) by: Option<String>,
    /// How long to wait for whoever works on the log to take it
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    wait: u64,
    /// Do not wait, and do not mind if nobody works on the log: whoever does next takes it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Saying {
    /// Puts messages into the inbox, and says what became of them: `done` in words where they were taken.
    pub(crate) async fn put(&self, log: &AnyLog, messages: &[Incoming], done: impl AsyncFnOnce() -> Text) -> Done {
        let after = log.head().await?.seq;
        log.receive(messages).await.map_err(LogError::from)?;
        let taken = match self.no_wait {
            true => false,
            false => self.taken(log, messages, after).await?,
        };
        let recorded = recorded_until(log).await?;
        let text = if taken { done().await? } else { String::new() };
        let mut out = crate::cli::out::stdout();
        if self.json {
            let mut report = serde_json::json!({ "said": messages.len(), "taken": taken });
            if let Some(time) = recorded {
                report["recording_until"] = time.to_string().into();
            }
            writeln!(out, "{report}")?;
        } else {
            if taken {
                writeln!(out, "{text}")?;
            } else if self.no_wait {
                writeln!(out, "noted; it takes effect when `koschei serve`, `follow` or `ingest` works on this log")?;
            }
            if let Some(time) = recorded {
                writeln!(
                    out,
                    "this log is of a recording: what `ingest` takes has the recording's time, now {time}, not today's"
                )?;
            }
        }
        match taken || self.no_wait {
            true => Ok(ExitCode::SUCCESS),
            false => Err(CliError::Unavailable(format!(
                "be heard within {} seconds: nobody works on this log, or whoever does is in the middle of a long \
                 step, such as resolving a new repository (the log's last event is of {}). It is noted, and takes \
                 effect when `koschei serve`, `follow` or `ingest` takes it (`--no-wait` where that is meant)",
                self.wait,
                log.head().await?.recorded_at
            ))),
        }
    }

    /// Whether whoever works on the log took the messages within the time given. What is appended with them wakes us.
    async fn taken(&self, log: &AnyLog, messages: &[Incoming], mut after: Option<Seq>) -> Result<bool, CliError> {
        let ids: Vec<&str> = messages.iter().map(|m| m.id.as_str()).collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(self.wait);
        loop {
            let fates = log.fates(&ids).await?;
            let refused = fates.iter().find_map(|fate| match fate {
                Some(Fate::Settled(Disposition::Parked { reason })) => Some(reason),
                _ => None,
            });
            if let Some(why) = refused {
                return Err(CliError::Rejected(format!("say that: {why}")));
            }
            if fates.iter().all(|fate| matches!(fate, Some(Fate::Settled(_)))) {
                return Ok(true);
            }
            let now = tokio::time::Instant::now();
            if now >= deadline {
                return Ok(false);
            }
            if let Ok(head) = tokio::time::timeout_at(deadline.min(now + LOOK_AGAIN), log.changed(after)).await {
                after = head?.seq;
            }
        }
    }
}

/// What is said of words that were taken.
pub(crate) type Text = Result<String, CliError>;

/// The time a log ends with, where all it knows comes from a recording: such a log has no other clock.
async fn recorded_until(log: &AnyLog) -> Result<Option<Timestamp>, CliError> {
    let last = log.last_received(operator::SOURCE, 1).await?;
    let recorded = last.first().is_some_and(|m| m.source == recording::SOURCE);
    Ok(if recorded { Some(log.head().await?.recorded_at) } else { None })
}
