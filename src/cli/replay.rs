//! `koschei replay`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::as_of::{AsOf, Edge, settle};
use super::open::reading;
use super::{CliError, DbArgs, Done};
use crate::log::{EventLog, folding};
use crate::model::Seq;

/// Rebuild the state from the first event of a log, and print its digests.
///
/// Replaying changes nothing: no event is written and no command is delivered.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei replay --db koschei.db --until 2026-11-20T08:50:00Z --json")]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Point in the log to stop at: an event (466), a time of recording ("2026-11-20 08:45"), the
    /// end of a day (2026-11-20) or a span ("1 hour ago"); default: the end of the log
    #[arg(long, value_name = "SEQ|TIME")]
    until: Option<AsOf>,
    /// Start from the newest snapshot instead of the first event
    #[arg(long)]
    from_snapshot: bool,
    /// Print the facts, sorted, one per line, instead of a summary
    #[arg(long, conflicts_with = "json")]
    facts: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    head: u64,
    recorded_at: String,
    log_digest: String,
    facts_digest: String,
    collections: usize,
    packages: usize,
    anomalies: std::collections::BTreeMap<String, u64>,
    seconds: f64,
}

pub(super) async fn run(args: &ReplayArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let until = match args.until {
        None => None,
        Some(until) => Some(settle(&log, until, Edge::End).await?.seq(&log).await?),
    };
    let bar = match (std::io::stderr().is_terminal(), log.head().await?.seq) {
        (true, Some(head)) => ProgressBar::new(head.get()),
        _ => ProgressBar::hidden(),
    };
    let watch = crate::base::clock::Stopwatch::start();
    let mut progress = |seq: Seq| bar.set_position(seq.get());
    let state = match until {
        // The point is before the first event, so the state is empty.
        Some(None) => crate::fold::State::default(),
        Some(until) if args.from_snapshot => folding::state(&log, until, &mut progress).await?,
        None if args.from_snapshot => folding::state(&log, None, &mut progress).await?,
        until => folding::from_start(&log, until.flatten(), &mut progress).await?,
    };
    bar.finish_and_clear();
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    if args.facts {
        for line in state.facts() {
            writeln!(out, "{line}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let report = Report {
        head: state.seq.map_or(0, Seq::get),
        recorded_at: state.recorded_at.to_string(),
        log_digest: state.digest(),
        facts_digest: state.facts_digest(),
        collections: state.collections.len(),
        packages: state.collections.values().map(|c| c.packages.len()).sum(),
        anomalies: state.anomalies.clone(),
        seconds: watch.seconds(),
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report).map_err(|e| CliError::Rejected(e.to_string()))?)?;
    } else {
        writeln!(out, "folded {} events, the last recorded at {}", report.head, report.recorded_at)?;
        writeln!(out, "{} packages in {} collections", report.packages, report.collections)?;
        writeln!(out, "log digest   {}\nfacts digest {}", report.log_digest, report.facts_digest)?;
        for (what, n) in &report.anomalies {
            writeln!(out, "{n} times: {what}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
