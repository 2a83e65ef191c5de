//! `koschei ingest`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::open::resolver;
use super::out::visible;
use super::{CliError, DbArgs, Done, with_causes};
use crate::bus::{CommandSink, Recording};
use crate::config::Config;
use crate::event::Source;
use crate::intake::delivery;
use crate::intake::recording::{self, Ingested};
use crate::log::{self, EventLog, Options, folding};
use crate::model::Hub;
use crate::telemetry::Metrics;
use crate::writer::Writer;
use crate::writer::pauses::Pauses;

/// A snapshot is taken when the log has grown by this many events.
const SNAPSHOT_EVERY: u64 = 50_000;

/// Exit status after an interruption. Shells use the same one for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Read recorded Koji messages into a log, and decide what to rebuild.
///
/// A recording is a file of JSON lines, plain or compressed with gzip or zstd; `-` is standard
/// input. The same recording, or a longer one, can be ingested again: messages that are already in
/// the log are dropped by their id. No hub is asked, so every message is believed. Rebuilds are
/// decided but not submitted.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei ingest --from events.jsonl --archive recording/ --db koschei.db --commands \
        commands.jsonl"
)]
pub(crate) struct IngestArgs {
    /// Recording to read, or - for standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Directory that stands in for a hub: repos/, buildrequires.jsonl and recorded answers
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    db: DbArgs,
    /// Configuration: collections, tracked packages, rules; default: every tag with repositories is
    /// a collection
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File for rebuild commands, one JSON object per line, or - for standard output; default: they
    /// stay in the outbox
    #[arg(long, value_name = "DEST")]
    commands: Option<PathBuf>,
    /// File for metrics in Prometheus' text format, written at the end
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Number of messages per commit; does not change what is appended
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Number of threads that resolve; default: one per processor
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    messages: Ingested,
    head: u64,
    head_hash: String,
    log_digest: String,
    facts_digest: String,
    inbox_parked: u64,
    inbox_pending: u64,
    commands_delivered: usize,
    commands_waiting: u64,
    seconds: f64,
}

pub(super) async fn run(args: &IngestArgs) -> Done {
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let settings = config.settings(Source::Recording);
    let _threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, Into::into);
    // The files the caller named are opened before the log is created, so a wrong path leaves no
    // empty log.
    let mut recording = Recording::open(&args.from)?;
    if let Some(what) = recording.is_no_recording() {
        return Err(CliError::Rejected(format!(
            "ingest {}: a recording of Koji's messages has one message per line, but this is {what}; nothing was \
                ingested",
            args.from.display()
        )));
    }
    let archive = match &args.archive {
        Some(dir) => Some(super::open::archive(dir, Hub::new(&config.default_hub))?),
        None => None,
    };
    if let Some(archive) = &archive {
        for error in archive.unreadable() {
            eprintln!("koschei: warning: {}", visible(&with_causes("part of the archive is left out", error)));
        }
    }
    let mut sink =
        args.commands.as_deref().map(CommandSink::open).transpose().map_err(crate::intake::IntakeError::from)?;
    let log = log::open(&args.db.db, &Options::default()).await?;
    let stop = CancellationToken::new();
    recording.until(stop.clone());
    on_interrupt(stop.clone())?;
    let metrics = Metrics::new();
    if sink.is_some() {
        metrics.delivery_begins();
    }
    if let Some(path) = &args.metrics {
        // A path that cannot be written fails here, before the work starts.
        metrics.write_to(path).map_err(|e| CliError::Rejected(format!("write metrics to {}: {e}", path.display())))?;
    }
    let resolver = resolver(archive, &settings);
    let mut writer = Writer::open(&log, settings, resolver, metrics.clone()).await?;
    let done = feed(&mut writer, &log, recording, args, sink.as_mut(), &metrics).await;
    metrics.waiting(log.counts().await?.into());
    if let Some(path) = &args.metrics {
        metrics.write_to(path)?;
    }
    log.close().await;
    let report = done?;
    let m = &report.messages;
    if m.handled > 0 && m.parked == m.handled {
        eprintln!(
            "koschei: warning: no message of {} was understood; check that it is a recording of Koji's messages \
                (`koschei log import` reads what `koschei log export` wrote)",
            args.from.display()
        );
    }
    let to_stderr = args.commands.as_deref().is_some_and(|c| c.as_os_str() == "-");
    print(&report, args, to_stderr)?;
    if stop.is_cancelled() {
        eprintln!(
            "koschei: interrupted: {} messages of {} were ingested, and the log ends at event {}; to continue, \
                ingest the same recording again: no message is ingested twice",
            m.read,
            args.from.display(),
            report.head
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}

/// At the first Ctrl-C or SIGTERM, finishes the messages at hand and stops. Exits at the second.
fn on_interrupt(stop: CancellationToken) -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            if again {
                eprintln!(
                    "koschei: interrupted; committed messages are kept; to continue, ingest the same recording again"
                );
                std::process::exit(i32::from(INTERRUPTED));
            }
            announce(&stop);
        }
    });
    Ok(())
}

/// Stops, and prints that. The stop is set before the line appears, so a reader can rely on it. The
/// lock keeps the report at the end of the work behind this line.
fn announce(stop: &CancellationToken) {
    let mut stderr = std::io::stderr().lock();
    stop.cancel();
    // The stop holds even if standard error is closed.
    drop(writeln!(stderr, "koschei: stopping after the messages at hand; interrupt again to stop at once"));
}

async fn feed(
    writer: &mut Writer,
    log: &log::AnyLog,
    recording: Recording,
    args: &IngestArgs,
    sink: Option<&mut CommandSink>,
    metrics: &Metrics,
) -> Result<Report, CliError> {
    let watch = crate::base::clock::Stopwatch::start();
    let bar = bar();
    let before = writer.state().seq.map_or(0, crate::model::Seq::get);
    let fed = recording::feed(writer, recording, args.batch as usize, &mut |progress, done| {
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.read);
        bar.set_message(format!("{} messages", done.read));
    })
    .await;
    bar.finish_and_clear();
    // Commands are delivered even if the recording broke off later.
    let delivered = match sink {
        Some(sink) => {
            let pauses = Pauses::said(log, writer.state()).await?;
            delivery::deliver(log, &pauses, sink, metrics).await?
        }
        None => 0,
    };
    let messages = fed?;
    let head = log.head().await?;
    let state = writer.state();
    if head.seq.map_or(0, crate::model::Seq::get) >= before + SNAPSHOT_EVERY {
        folding::keep(log, state).await?;
    }
    let counts = log.counts().await?;
    Ok(Report {
        messages,
        head: head.seq.map_or(0, crate::model::Seq::get),
        head_hash: head.hash.to_string(),
        log_digest: state.digest(),
        facts_digest: state.facts_digest(),
        inbox_parked: counts.inbox_parked,
        inbox_pending: counts.inbox_pending,
        commands_delivered: delivered,
        commands_waiting: counts.outbox_pending,
        seconds: watch.seconds(),
    })
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {bytes}/{total_bytes} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn print(r: &Report, args: &IngestArgs, to_stderr: bool) -> Result<(), CliError> {
    let text = if args.json {
        format!("{}\n", serde_json::to_string(r).expect("a report is valid JSON"))
    } else {
        let m = &r.messages;
        let mut text = format!(
            "{} messages read: {} handled, {} seen before, {} set aside\nlog {} ends at event {}, hash {}\nlog \
                digest   {}\nfacts digest {}\n",
            m.read, m.handled, m.duplicates, m.parked, args.db.db, r.head, r.head_hash, r.log_digest, r.facts_digest
        );
        if m.retimed > 0 {
            text.push_str(&format!(
                "{} messages had an impossible time, which was replaced; to list them: koschei history --kind \
                    message_time_replaced --db {}\n",
                m.retimed, args.db.db
            ));
        }
        if r.inbox_parked > 0 {
            text.push_str(&format!(
                "{} messages are set aside; to list them: koschei log parked --db {}\n",
                r.inbox_parked, args.db.db
            ));
        }
        if r.commands_delivered > 0 {
            text.push_str(&format!("{} commands delivered\n", r.commands_delivered));
        }
        if r.commands_waiting > 0 {
            text.push_str(&format!(
                "{} commands wait in the outbox; to deliver them: koschei commands --db {}\n",
                r.commands_waiting, args.db.db
            ));
        }
        text
    };
    if to_stderr {
        std::io::stderr().write_all(text.as_bytes())?;
    } else {
        crate::cli::out::stdout().write_all(text.as_bytes())?;
    }
    Ok(())
}
