//! `koschei log parked`, `retry-parked` and `dismiss-parked`.

use std::collections::HashSet;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::open::{existing, reading};
use super::saying::Saying;
use super::{CliError, DbArgs, Done};
use crate::base::clock;
use crate::event::kinds::DISMISSED;
use crate::log::{AnyLog, EventLog, PAGE_MAX, Parked, Subjects};
use crate::model::nearest::did_you_mean;
use crate::operator::{self, Checked};

/// List messages that were set aside because they were not understood.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log parked --db koschei.db")]
pub(crate) struct ParkedArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Print JSON, one line per message
    #[arg(long)]
    json: bool,
}

/// Try messages that were set aside again, for example after an upgrade.
///
/// The process that works on the log (`serve`, `follow` or `ingest`) tries them.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log retry-parked --db koschei.db\n  koschei log retry-parked \
        7c8e3c70-0b6a-4d0b-9a52-5d0f3f6f2c11 --no-wait")]
pub(crate) struct RetryArgs {
    /// Ids of the messages; default: all that are set aside
    ids: Vec<String>,
    #[command(flatten)]
    saying: Saying,
}

/// Dismiss messages that were set aside; the reason is kept in the log.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei log dismiss-parked 7c8e3c70-0b6a-4d0b-9a52-5d0f3f6f2c11 --reason 'a test of the \
                  bus' --db koschei.db\n  koschei log dismiss-parked --all --reason 'of another instance' --no-wait"
)]
pub(crate) struct DismissArgs {
    /// Ids of the messages
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// Dismiss all messages that are set aside
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Reason, kept in the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    saying: Saying,
}

/// Returns every message that is set aside.
async fn all(log: &AnyLog) -> Result<Vec<Parked>, CliError> {
    let mut all: Vec<Parked> = Vec::new();
    loop {
        let page = log.parked(all.last().map(|p| p.position), PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Checks that the given ids are set aside, and returns them. Without ids, returns all that are set
/// aside.
async fn chosen(log: &AnyLog, ids: &[String]) -> Result<Vec<String>, CliError> {
    let parked = all(log).await?;
    if ids.is_empty() {
        return Ok(parked.into_iter().map(|p| p.id).collect());
    }
    let known: HashSet<&str> = parked.iter().map(|p| p.id.as_str()).collect();
    match ids.iter().find(|id| !known.contains(id.as_str())) {
        None => Ok(ids.to_vec()),
        Some(unknown) => Err(CliError::Rejected(format!(
            "find message {unknown}: it is not set aside{}; see `koschei log parked`",
            did_you_mean(unknown, known)
        ))),
    }
}

/// Counts the messages that were ever dismissed.
pub(super) async fn dismissed(log: &AnyLog) -> Result<usize, CliError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = log.read_subject(Subjects::Exactly(DISMISSED), after, PAGE_MAX).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.seq);
        count += page.len();
    }
}

pub(super) async fn list(args: &ParkedArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let parked = all(&log).await?;
    let dismissed = dismissed(&log).await?;
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    for p in &parked {
        if args.json {
            let line = serde_json::json!({
                "id": p.id, "position": p.position.0, "source": p.source, "topic": p.topic,
                "received_at": p.received_at.to_string(), "reason": p.reason,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}  {}  {}\n    {}", p.id, p.received_at, p.topic, p.reason)?;
        }
    }
    if !args.json {
        let db = &args.db.db;
        writeln!(out, "{} messages are set aside, {dismissed} were dismissed", parked.len())?;
        if !parked.is_empty() {
            writeln!(out, "to try them again, for example after an upgrade: koschei log retry-parked --db {db}")?;
            writeln!(out, "to dismiss one: koschei log dismiss-parked ID --reason TEXT --db {db}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn retry(args: &RetryArgs) -> Done {
    let log = existing(&args.saying.db.db).await?;
    let done = retry_in(args, &log).await;
    log.close().await;
    done
}

async fn retry_in(args: &RetryArgs, log: &AnyLog) -> Done {
    let ids = chosen(log, &args.ids).await?;
    if ids.is_empty() {
        writeln!(crate::cli::out::stdout(), "no message is set aside")?;
        return Ok(ExitCode::SUCCESS);
    }
    let tried = async || {
        let left: HashSet<String> = all(log).await?.into_iter().map(|p| p.id).collect();
        let still = ids.iter().filter(|id| left.contains(*id)).count();
        Ok(format!("{} messages tried again, {still} still not understood", ids.len()))
    };
    args.saying.put(log, &Checked::retries(&ids, clock::now()), tried).await
}

pub(super) async fn dismiss(args: &DismissArgs) -> Done {
    let log = existing(&args.saying.db.db).await?;
    let done = dismiss_in(args, &log).await;
    log.close().await;
    done
}

async fn dismiss_in(args: &DismissArgs, log: &AnyLog) -> Done {
    operator::reason(&args.reason).map_err(|why| CliError::Rejected(format!("dismiss messages: {why}")))?;
    let ids = chosen(log, &args.ids).await?;
    if ids.is_empty() {
        writeln!(crate::cli::out::stdout(), "no message is set aside")?;
        return Ok(ExitCode::SUCCESS);
    }
    let checked = Checked::dismissals(&ids, &args.reason, args.saying.by.as_deref(), clock::now())?;
    args.saying.put(log, &checked, async || Ok(format!("{} messages dismissed", ids.len()))).await
}
