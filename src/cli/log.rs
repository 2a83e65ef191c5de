//! `koschei log …`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::log_import::{self, AttachmentLine, ImportArgs, attachment_of};
use super::open::{existing, reading};
use super::parked::{self, DismissArgs, ParkedArgs, RetryArgs};
use super::{CliError, DbArgs, Done, FOUND, history};
use crate::event::{ChainHash, cloudevents};
use crate::fold::spacing::Spacing;
use crate::log::folding::Keeping;
use crate::log::{self, EventLog, Head, LogError, PAGE_MAX, VerifyError, folding};
use crate::model::{Class, Classified, Seq};
use crate::tools::audit;

/// The commands of `koschei log`.
#[derive(Subcommand, Debug)]
pub(crate) enum LogVerb {
    Verify(VerifyArgs),
    Audit(AuditArgs),
    Tail(TailArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Parked(ParkedArgs),
    RetryParked(RetryArgs),
    DismissParked(DismissArgs),
    Stats(StatsArgs),
    Snapshot(SnapshotArgs),
    Prune(super::prune::PruneArgs),
}

/// Verify a log: recompute the hash chain, check the outbox, and look for duplicate facts.
///
/// The first damaged event is reported. Without --head, a tail that was cut off or a log that was
/// rewritten as a whole cannot be noticed: keep the printed head elsewhere.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log verify --db koschei.db --head \"$(cat koschei.head)\"")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Head that this command printed earlier and that was kept elsewhere
    #[arg(long, value_name = "SEQ:HASH", value_parser = parse_head)]
    head: Option<(Seq, ChainHash)>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Derive every decision again from the log, and list decisions that break the rules.
///
/// Snapshots are compared with the state that the log gives.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log audit --db koschei.db --json")]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show the last events, and with --follow also new ones.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log tail -n 20 --follow --db koschei.db")]
pub(crate) struct TailArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Number of events
    #[arg(short = 'n', long, default_value_t = 10)]
    lines: u64,
    /// Print new events until interrupted
    #[arg(long)]
    follow: bool,
    /// Print CloudEvents, one per line
    #[arg(long)]
    json: bool,
}

/// Export the whole log as CloudEvents, one per line.
///
/// An attachment precedes the first event that names it. The hashes still verify after an import.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log export --db koschei.db --to koschei.jsonl")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    db: DbArgs,
    /// File to write, or - for standard output
    #[arg(long, value_name = "DEST", default_value = "-")]
    to: PathBuf,
    /// Leave out attachments, which events name by digest; the imported log then cannot resolve or
    /// verify them
    #[arg(long)]
    no_attachments: bool,
}

/// Count the events by kind, the messages and the commands.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log stats --db koschei.db")]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Store the folded state at the end of the log and at points before, so that later commands start
/// there.
///
/// Every event is folded again, and earlier snapshots are replaced. `koschei serve`, `follow` and
/// `ingest` store snapshots by themselves, one at every 100,000 events.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log snapshot --db koschei.db")]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    db: DbArgs,
}

fn parse_head(text: &str) -> Result<(Seq, ChainHash), String> {
    let (seq, hash) = text.split_once(':').ok_or("a head is SEQ:HASH, as `koschei log verify` prints it")?;
    let seq = seq.parse().ok().and_then(Seq::new).ok_or("the sequence of a head is a number from 1")?;
    let hash = ChainHash::parse(hash).ok_or("the hash of a head is 64 hex digits")?;
    Ok((seq, hash))
}

pub(super) async fn run(verb: &LogVerb) -> Done {
    match verb {
        LogVerb::Verify(a) => verify(a).await,
        LogVerb::Audit(a) => run_audit(a).await,
        LogVerb::Tail(a) => tail(a).await,
        LogVerb::Export(a) => export(a).await,
        LogVerb::Import(a) => Box::pin(log_import::run(a)).await,
        LogVerb::Parked(a) => parked::list(a).await,
        LogVerb::RetryParked(a) => Box::pin(parked::retry(a)).await,
        LogVerb::DismissParked(a) => Box::pin(parked::dismiss(a)).await,
        LogVerb::Stats(a) => stats(a).await,
        LogVerb::Snapshot(a) => snapshot(a).await,
        LogVerb::Prune(a) => super::prune::run(a).await,
    }
}

fn bar(length: Option<Seq>) -> ProgressBar {
    match length {
        Some(seq) if std::io::stderr().is_terminal() => ProgressBar::new(seq.get()),
        _ => ProgressBar::hidden(),
    }
}

async fn verify(args: &VerifyArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let bar = bar(log.head().await?.seq);
    let result = log::verify(&log, args.head, &mut |n| bar.set_position(n)).await;
    bar.finish_and_clear();
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    match result {
        Ok(r) => {
            if args.json {
                let report = serde_json::json!({
                    "ok": true, "events": r.events, "attachments": r.attachments, "commands": r.commands,
                    "announcements": r.announcements,
                    "head": r.head.to_string(), "head_trusted": r.head_trusted,
                });
                writeln!(out, "{report}")?;
            } else {
                writeln!(out, "{} events and {} attachments are unchanged", r.events, r.attachments)?;
                writeln!(out, "{} commands match the events that decided them; no fact is stored twice", r.commands)?;
                if r.announcements > 0 {
                    writeln!(out, "{} announcements belong to their events", r.announcements)?;
                }
                writeln!(out, "head {}", r.head)?;
                if r.head_trusted {
                    writeln!(out, "the log contains the trusted head")?;
                } else {
                    writeln!(
                        out,
                        "keep this head elsewhere and give it with --head next time; only then can a cut-off tail be \
                            noticed"
                    )?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(VerifyError::Damaged { seq, damage }) => {
            if args.json {
                let report = serde_json::json!({ "ok": false, "event": seq.get(), "damage": damage.to_string() });
                writeln!(out, "{report}")?;
            } else {
                writeln!(out, "the log is damaged at event {seq}: {damage}")?;
                writeln!(
                    out,
                    "everything before event {seq} is unchanged; restore the database from a backup, or import an \
                        export"
                )?;
            }
            Ok(ExitCode::from(FOUND))
        }
        Err(e) => Err(LogError::from(e).into()),
    }
}

async fn run_audit(args: &AuditArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let bar = bar(log.head().await?.seq);
    let audit = audit::audit(&log, &mut |seq| bar.set_position(seq.get())).await?;
    bar.finish_and_clear();
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&audit).expect("an audit is valid JSON"))?;
    } else {
        writeln!(
            out,
            "{} events: {} evaluations, {} requests, {} judgements derived again, {} snapshots compared",
            audit.events, audit.evaluations, audit.requests, audit.judgements, audit.snapshots
        )?;
        if audit.announcements > 0 {
            writeln!(out, "{} announcements derived again", audit.announcements)?;
        }
        for f in &audit.findings {
            let by = f.program.as_ref().map_or_else(String::new, |p| format!(" (written by {p})"));
            writeln!(out, "event {} {}{by}: {}", f.seq, f.kind, f.what)?;
        }
        let word = if audit.total == 0 {
            "every decision follows the rules".to_owned()
        } else {
            format!("{} do not follow the rules", audit.total)
        };
        writeln!(out, "{word}")?;
    }
    Ok(if audit.total == 0 { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

async fn tail(args: &TailArgs) -> Done {
    let stop = CancellationToken::new();
    if args.follow {
        // Signals are caught before anything is printed, so a caller that sees output can stop the
        // command.
        crate::service::signals::stop_on_signals(stop.clone())?;
    }
    let log = reading(&args.db.db).await?;
    let end = log.head().await?.seq.map_or(0, Seq::get);
    let mut after = Seq::new(end.saturating_sub(args.lines));
    loop {
        let page = log.read(after, PAGE_MAX).await?;
        {
            let mut out = crate::cli::out::stdout().lock();
            for record in &page {
                history::print(&mut out, record, args.json)?;
            }
            out.flush()?;
        }
        if let Some(last) = page.last() {
            after = Some(last.seq);
        } else if args.follow {
            tokio::select! {
                changed = log.changed(after) => { changed?; }
                () = stop.cancelled() => break,
            }
        } else {
            break;
        }
    }
    log.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn export(args: &ExportArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let mut out: Box<dyn Write + Send> = if args.to == Path::new("-") {
        // A program gets every payload unchanged, because the hash depends on it. On a terminal,
        // control characters are made visible.
        match std::io::stdout().is_terminal() {
            true => Box::new(BufWriter::new(crate::cli::out::stdout())),
            false => Box::new(BufWriter::new(std::io::stdout())),
        }
    } else {
        let file = File::create(&args.to).map_err(|source| LogError::Write { path: args.to.clone(), source })?;
        Box::new(BufWriter::new(file))
    };
    let bar = bar(log.head().await?.seq);
    let mut after = None;
    let mut written = std::collections::BTreeSet::new();
    loop {
        let page = log.read(after, PAGE_MAX).await?;
        let Some(last) = page.last().map(|r| r.seq) else { break };
        after = Some(last);
        for record in &page {
            if !args.no_attachments
                && let Some(digest) = attachment_of(&record.decode()?.event).filter(|d| !written.contains(*d))
            {
                let content = log.attachment(digest).await?.ok_or_else(|| LogError::no_attachment(digest))?;
                let content = String::from_utf8(content)
                    .map_err(|_| LogError::Broken(format!("attachment {digest} is not text")))?;
                let line = AttachmentLine { koschei_attachment: digest.to_owned(), content };
                writeln!(out, "{}", serde_json::to_string(&line).expect("text is JSON"))?;
                written.insert(digest.to_owned());
            }
            writeln!(out, "{}", cloudevents::to_json(record))?;
        }
        bar.set_position(last.get());
    }
    out.flush()?;
    bar.finish_and_clear();
    log.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn stats(args: &StatsArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let info = log.info().await?;
    let counts = log.counts().await?;
    let head: Head = log.head().await?;
    let bar = bar(head.seq);
    let mut kinds: std::collections::BTreeMap<String, (u64, u64)> = std::collections::BTreeMap::new();
    let mut after = None;
    loop {
        let page = log.read(after, PAGE_MAX).await?;
        let Some(last) = page.last().map(|r| r.seq) else { break };
        after = Some(last);
        bar.set_position(last.get());
        for r in &page {
            let entry = kinds.entry(format!("{}.v{}", r.kind, r.version)).or_default();
            entry.0 += 1;
            entry.1 += r.payload.len() as u64;
        }
    }
    bar.finish_and_clear();
    let dismissed = parked::dismissed(&log).await?;
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    if args.json {
        let kinds: serde_json::Map<String, serde_json::Value> = kinds
            .iter()
            .map(|(k, (n, b))| (k.clone(), serde_json::json!({ "events": n, "payload_bytes": b })))
            .collect();
        let report = serde_json::json!({
            "log_id": info.log_id, "backend": info.backend, "schema_version": info.schema_version,
            "min_reader": info.min_reader, "head": head.to_string(), "events": head.seq.map_or(0, Seq::get),
            "kinds": kinds, "inbox_total": counts.inbox_total, "inbox_pending": counts.inbox_pending,
            "inbox_parked": counts.inbox_parked, "inbox_dismissed": dismissed, "outbox_pending": counts.outbox_pending,
        });
        writeln!(out, "{report}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{} log {}, schema {}, made {}", info.backend, info.log_id, info.schema_version, info.created_at)?;
    let mut table = super::render::Table::new(&["kind", "events", "payload bytes"]);
    for (kind, (n, bytes)) in &kinds {
        table.row(None, vec![kind.clone(), n.to_string(), bytes.to_string()]);
    }
    write!(out, "{}", table.render(super::out::colours(), 0))?;
    writeln!(
        out,
        "{} messages ever received, {} waiting, {} set aside, {dismissed} dismissed; {} commands in the outbox",
        counts.inbox_total, counts.inbox_pending, counts.inbox_parked, counts.outbox_pending
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn snapshot(args: &SnapshotArgs) -> Done {
    let log = existing(&args.db.db).await?;
    let bar = bar(log.head().await?.seq);
    // Earlier snapshots may be wrong. That is why people ask for new ones.
    log.drop_snapshots().await?;
    let failed = std::sync::Mutex::new(None);
    let told = |kept: Result<_, LogError>| {
        if let (Err(e), Ok(mut failed)) = (kept, failed.lock()) {
            failed.get_or_insert(e);
        }
    };
    let keeping = Keeping { spacing: Spacing::default(), told: &told };
    let state = folding::from_start_keeping(&log, &keeping, &mut |seq| bar.set_position(seq.get())).await?;
    bar.finish_and_clear();
    if let Ok(Some(e)) = failed.into_inner() {
        return Err(e.into());
    }
    folding::keep(&log, &state).await?;
    log.close().await;
    writeln!(crate::cli::out::stdout(), "state as of event {} stored", state.seq.map_or(0, Seq::get))?;
    Ok(ExitCode::SUCCESS)
}

/// Errors of verification keep their class.
impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        debug_assert!(matches!(error.class(), Class::Broken | Class::Unavailable | Class::Rejected));
        Self::Log(error.into())
    }
}
