//! Puts an operator command into the inbox of a log, and waits until the process that works on the
//! log takes it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{CliError, DbArgs, Done};
use crate::intake::recording;
use crate::log::{AnyLog, EventLog};
use crate::model::Timestamp;
use crate::operator::{self, Checked, Reception, SayError};

/// Where a command goes, and who gives it.
#[derive(Args, Debug, Clone)]
pub(crate) struct Saying {
    #[command(flatten)]
    pub(crate) db: DbArgs,
    /// Name of the operator; the log keeps a stand-in that can be forgotten
    #[arg(long, value_name = "NAME", env = "SUDO_USER")]
    pub(crate) by: Option<String>,
    /// Time to wait until the process that works on the log takes the command
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    wait: u64,
    /// Do not wait; the next process that works on the log takes the command
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Saying {
    /// Puts commands into the inbox and prints the result. `done` makes the text for commands that
    /// were taken.
    pub(crate) async fn put(&self, log: &AnyLog, said: &Checked, done: impl AsyncFnOnce() -> Text) -> Done {
        let wait = (!self.no_wait).then(|| Duration::from_secs(self.wait));
        let taken = said.say(log, wait).await? == Reception::Taken;
        let recorded = recorded_until(log).await?;
        let text = if taken { done().await? } else { String::new() };
        let mut out = crate::cli::out::stdout();
        if self.json {
            let mut report = serde_json::json!({ "said": said.count(), "taken": taken });
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
                    "this log comes from a recording: the command gets the recording's time, now {time}, not today's"
                )?;
            }
        }
        match taken || self.no_wait {
            true => Ok(ExitCode::SUCCESS),
            false => Err(CliError::Unavailable(format!(
                "run the command within {} seconds: no process works on this log, or it is busy with a long step \
                    such as resolving a new repository (the last event of the log is of {}). The command is noted, \
                    and takes effect when `koschei serve`, `follow` or `ingest` takes it; use --no-wait if you do \
                    not want to wait",
                self.wait,
                log.head().await?.recorded_at
            ))),
        }
    }
}

impl From<SayError> for CliError {
    fn from(error: SayError) -> Self {
        match error {
            SayError::Log(error) => Self::Log(error),
            refused => Self::Rejected(refused.to_string()),
        }
    }
}

/// The text for commands that were taken.
pub(crate) type Text = Result<String, CliError>;

/// Returns the time of the last event if the log comes from a recording. Such a log has no other
/// clock.
async fn recorded_until(log: &AnyLog) -> Result<Option<Timestamp>, CliError> {
    let last = log.last_received(operator::SOURCE, 1).await?;
    let recorded = last.first().is_some_and(|m| m.source == recording::SOURCE);
    Ok(if recorded { Some(log.head().await?.recorded_at) } else { None })
}
