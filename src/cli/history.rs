//! `koschei history`.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::as_of::{AsOf, Edge, settle};
use super::open::{reading, state_as_of};
use super::{CliError, DbArgs, Done};
use crate::event::kinds::{collection_subject, package_subject};
use crate::event::{Record, cloudevents};
use crate::fold::State;
use crate::log::{AnyLog, EventLog, PAGE_MAX, Subjects};
use crate::model::Seq;
use crate::model::nearest::{did_you_mean, nearest};
use crate::view::text::one_line;

/// Largest number of subjects that are suggested for a name.
const PATHS_OFFERED: usize = 5;

/// List the events about a package, a collection, a repository or the whole log.
///
/// The newest events are listed, or with --after the events that follow a point. Subjects are
/// paths: HUB/package/NAME, HUB/tag/NAME, HUB/repo/ID, collection/NAME, collection/NAME/PACKAGE,
/// engine.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei history --subject primary/package/curl --db koschei.db\n  koschei history \
        --under collection/f99-build/ --kind package_state_changed"
)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    db: DbArgs,
    /// List only events about exactly this subject
    #[arg(long, value_name = "SUBJECT", conflicts_with = "under")]
    subject: Option<String>,
    /// List only events whose subject begins with this
    #[arg(long, value_name = "PREFIX")]
    under: Option<String>,
    /// List only events of these kinds
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    kind: Vec<String>,
    /// Point in the log after which to list: an event (466), a time of recording ("2026-11-20
    /// 08:45"), the beginning of a day (2026-11-20) or a span ("1 hour ago")
    #[arg(long, value_name = "SEQ|TIME")]
    after: Option<AsOf>,
    /// Largest number of events to list
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// Print CloudEvents, one per line, oldest first
    #[arg(long)]
    json: bool,
}

/// The events that match the options.
#[derive(Default)]
struct Selection {
    /// The events to print, oldest first.
    shown: VecDeque<Record>,
    /// Number of events that match.
    total: u64,
}

pub(super) async fn run(args: &HistoryArgs) -> Done {
    if let Some(bad) = args.kind.iter().find(|k| !crate::event::KINDS.iter().any(|x| x.name == k.as_str())) {
        let known: Vec<&str> = crate::event::KINDS.iter().map(|k| k.name).collect();
        let hint = did_you_mean(bad, known.iter().copied());
        return Err(CliError::Rejected(format!(
            "list events of kind `{bad}`: the kinds are {}{hint}",
            known.join(", ")
        )));
    }
    let log = reading(&args.db.db).await?;
    let after = match args.after {
        None => None,
        Some(after) => settle(&log, after, Edge::Begin).await?.seq(&log).await?,
    };
    let found = find(args, &log, after).await?;
    if found.total == 0 {
        known(args, &log).await?;
    }
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    for record in &found.shown {
        print(&mut out, record, args.json)?;
    }
    let said = summary(args, &found);
    match args.json {
        // Only events go to standard output.
        true if found.total > found.shown.len() as u64 => eprintln!("koschei: {said}"),
        true => {}
        false => writeln!(out, "{said}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(args: &HistoryArgs, found: &Selection) -> String {
    let (shown, total) = (found.shown.len() as u64, found.total);
    let after = if args.after.is_some() { " after that" } else { "" };
    match (total, args.after, found.shown.back()) {
        (0, ..) => format!("no event{after}"),
        (1, ..) if shown == 1 => format!("1 event{after}"),
        (_, Some(_), Some(last)) if shown < total => {
            format!("the first {shown} of {total} events after that; continue with --after {}", last.seq)
        }
        (_, None, _) if shown < total => {
            format!("the newest {shown} of {total} events; --limit {total} shows all, --after 0 begins with the first")
        }
        _ => format!("{total} events{after}"),
    }
}

/// Returns the matching events: with `--after` the first ones, otherwise the newest. With a subject
/// or a kind, it reads every event of that subject or kind. Without them, it reads only the events
/// that are printed.
async fn find(args: &HistoryArgs, log: &AnyLog, after: Option<Seq>) -> Result<Selection, CliError> {
    let mut found = Selection::default();
    let everything = args.subject.is_none() && args.under.is_none() && args.kind.is_empty();
    let mut at = after;
    if everything {
        let head = log.head().await?.seq.map_or(0, Seq::get);
        found.total = head.saturating_sub(after.map_or(0, Seq::get));
        if args.after.is_none() {
            at = Seq::new(head.saturating_sub(args.limit as u64));
        }
    }
    loop {
        let page = match (&args.subject, &args.under) {
            (Some(s), _) => log.read_subject(Subjects::Exactly(s), at, PAGE_MAX).await?,
            (_, Some(p)) => log.read_subject(Subjects::Under(p), at, PAGE_MAX).await?,
            _ => log.read(at, PAGE_MAX).await?,
        };
        let Some(end) = page.last().map(|r| r.seq) else { break };
        at = Some(end);
        for record in page.into_iter().filter(|r| args.kind.is_empty() || args.kind.contains(&r.kind)) {
            found.total += u64::from(!everything);
            if args.after.is_none() || found.shown.len() < args.limit {
                found.shown.push_back(record);
            }
            if found.shown.len() > args.limit {
                found.shown.pop_front();
            }
        }
        if everything && found.shown.len() >= args.limit {
            break;
        }
    }
    // The log may have grown meanwhile.
    found.total = found.total.max(found.shown.len() as u64);
    Ok(found)
}

/// Checks that the log knows the subject.
async fn known(args: &HistoryArgs, log: &AnyLog) -> Result<(), CliError> {
    let (wanted, subjects) = match (&args.subject, &args.under) {
        (Some(s), _) => (s, Subjects::Exactly(s)),
        (_, Some(p)) => (p, Subjects::Under(p)),
        _ => return Ok(()),
    };
    if !log.read_subject(subjects, None, 1).await?.is_empty() {
        return Ok(());
    }
    let (state, _) = state_as_of(log, None).await?;
    let all = subjects_of(&state);
    let hint = hint(wanted, &all);
    let what = if args.subject.is_some() { "subject" } else { "subjects that begin with" };
    Err(CliError::Rejected(format!("list {what} `{wanted}`: the log has no event about it{hint}")))
}

/// Returns `; did you mean A or B?`. For a name that is not a path, suggests the paths that end
/// with the most similar name.
fn hint(wanted: &str, all: &BTreeSet<String>) -> String {
    if wanted.contains('/') {
        return did_you_mean(wanted, all.iter().map(String::as_str));
    }
    let last = |path: &'_ str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = all.iter().map(|s| last(s)).collect();
    let near = nearest(wanted, names.iter().map(String::as_str));
    let paths = all.iter().filter(|s| near.contains(&last(s).as_str())).take(PATHS_OFFERED);
    match paths.map(|s| format!("`{s}`")).collect::<Vec<_>>() {
        paths if paths.is_empty() => String::new(),
        paths => format!("; did you mean {}?", paths.join(" or ")),
    }
}

/// Returns the subjects that a state knows.
fn subjects_of(state: &State) -> BTreeSet<String> {
    let mut all = BTreeSet::from(["engine".to_owned()]);
    for (name, c) in &state.collections {
        all.insert(collection_subject(name, None));
        for package in c.packages.keys() {
            all.insert(collection_subject(name, Some(package)));
            all.insert(package_subject(c.settings.hub.as_str(), package));
        }
    }
    for (hub, h) in &state.hubs {
        all.extend(h.tags.keys().map(|tag| format!("{hub}/tag/{tag}")));
        all.extend(h.repos.keys().map(|repo| format!("{hub}/repo/{repo}")));
    }
    all
}

/// Prints one event as a line.
pub(crate) fn print(out: &mut impl Write, record: &Record, json: bool) -> Result<(), CliError> {
    if json {
        writeln!(out, "{}", cloudevents::to_json(record))?;
        return Ok(());
    }
    let event = record.decode()?.event;
    let cause = record.causation.map_or_else(String::new, |c| format!(" <- {c}"));
    writeln!(
        out,
        "{:>8}{cause:<10} {}  {:<28} {}",
        record.seq,
        record.recorded_at,
        record.kind,
        one_line(&event.to_string(), 140)
    )?;
    Ok(())
}
