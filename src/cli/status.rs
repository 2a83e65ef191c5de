//! `koschei status`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::as_of::AsOf;
use super::open::{known_collection, reading, state_as_of};
use super::out::colours;
use super::render::{Table, line_width, style};
use super::{CliError, DbArgs, Done};
use crate::decide::Policy;
use crate::event::kinds::collection_subject;
use crate::log::{AnyLog, EventLog, trail};
use crate::model::{PackageState, Seq};
use crate::view::package::{self as package_view, PackageView, Report};
use crate::view::text::{minute, one_line, points};

/// Largest table for which the time of the last state change is looked up for every row. In a
/// longer table, only broken packages get it.
const SINCE_ROWS: usize = 500;
/// Width of the column "why" if the width of the terminal is unknown, in characters.
const WHY_CHARS: usize = 90;

/// Show every package: its state and since when, why, its priority and last builds.
///
/// The table is as wide as the terminal, or as COLUMNS says; --json prints everything. Priorities
/// are those of the point in the log that is shown.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei status --db koschei.db --collection f99-build --state failing,unresolved")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Show only this collection
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// Show only packages in these states: ok, failing, unresolved, unknown, untracked, blocked
    #[arg(long, value_name = "STATE,…", value_delimiter = ',')]
    state: Vec<String>,
    /// Point in the log to show: an event (466), a time of recording ("2026-11-20 08:45"), the end
    /// of a day (2026-11-20) or a span ("1 hour ago"); default: the end of the log
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
    /// List also packages known only from a repository; by default they are only counted
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &StatusArgs) -> Done {
    let words = package_view::STATES.map(|s| s.as_str());
    if let Some(bad) = args.state.iter().find(|s| !words.contains(&s.as_str())) {
        return Err(CliError::Rejected(format!("show packages in state `{bad}`: the states are {}", words.join(", "))));
    }
    let log = reading(&args.db.db).await?;
    let (state, now) = state_as_of(&log, args.as_of).await?;
    let policy = Policy::in_force(&state);
    if let Some(wanted) = &args.collection {
        known_collection(&state, wanted)?;
    }
    let mut report = Report::of(&state, now);
    for (cname, c) in
        state.collections.iter().filter(|(n, _)| args.collection.as_deref().is_none_or(|w| w == n.as_str()))
    {
        report.collections.push(package_view::collection(&state, (cname, c), package_view::counts(c)));
        let mut packages: Vec<PackageView> =
            c.packages.iter().map(|p| package_view::package(&state, (cname, c), p, now, &policy)).collect();
        packages.retain(|p| args.state.is_empty() || args.state.iter().any(|s| s == p.state.as_str()));
        packages
            .sort_by(|a, b| (package_view::rank(a.state), &a.package).cmp(&(package_view::rank(b.state), &b.package)));
        report.packages.extend(packages);
    }
    // A caller that asks for a state wants to see its packages.
    let all = args.all || !args.state.is_empty();
    let since = match args.json {
        true => Vec::new(),
        false => since(&report, all, &log, state.seq).await?,
    };
    log.close().await;
    let mut out = crate::cli::out::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report).expect("a report is valid JSON"))?;
    } else {
        people(&report, all, &since, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks whether a package is counted but not listed.
fn is_counted(p: &PackageView, all: bool) -> bool {
    !all && p.from_repository_only && p.state == PackageState::Unknown
}

/// Returns since when each package is in its state. An empty text means that it always was, or that
/// it was not looked up.
async fn since(r: &Report, all: bool, log: &AnyLog, until: Option<Seq>) -> Result<Vec<String>, CliError> {
    let shown = r.packages.iter().filter(|p| !is_counted(p, all)).count();
    let mut since = Vec::with_capacity(r.packages.len());
    for p in &r.packages {
        let broken = matches!(p.state, PackageState::Failing | PackageState::Unresolved);
        since.push(match !is_counted(p, all) && (broken || shown <= SINCE_ROWS) {
            true => {
                let subject = collection_subject(&p.collection, Some(&p.package));
                let last = trail::last_of(log, &subject, "package_state_changed", until.map(Seq::next)).await?;
                let at = last.map(|record| record.decode()).transpose()?;
                at.map_or_else(String::new, |envelope| minute(envelope.recorded_at))
            }
            false => String::new(),
        });
    }
    Ok(since)
}

fn people(r: &Report, all: bool, since: &[String], out: &mut impl Write) -> std::io::Result<()> {
    let (colours, width) = (colours(), line_width());
    for c in &r.collections {
        let resolved: Vec<String> = c.resolved.iter().map(|(a, r)| format!("{a} {r}")).collect();
        writeln!(
            out,
            "{}  buildroot {}, {} packages, {} running, repository resolved: {}",
            c.collection,
            c.buildroot,
            c.packages,
            c.running,
            if resolved.is_empty() { "none".to_owned() } else { resolved.join(", ") }
        )?;
        if let Some(on) = &c.builds_on {
            writeln!(out, "  built on hub {}, target {}", on.hub, on.target)?;
        }
        for stopped in &c.stopped {
            writeln!(out, "  nothing is rebuilt: {}", one_line(stopped, 400))?;
        }
        if let Some(unbound) = &c.unbound {
            writeln!(out, "  {}", one_line(unbound, 400))?;
        }
        if let Some(stale) = &c.stale {
            let which = if resolved.is_empty() { "the newest" } else { "verdicts are of the one above; the newest" };
            writeln!(out, "  {which} could not be resolved: {}", one_line(stale, 160))?;
        }
        let mut table = Table::new(&["package", "state", "since", "priority", "last build", "changed since", "why"]);
        let mut counted: Vec<&PackageView> = Vec::new();
        for (p, since) in r.packages.iter().zip(since).filter(|(p, _)| p.collection == c.collection) {
            if is_counted(p, all) {
                counted.push(p);
                continue;
            }
            let last = p.last_build().map_or_else(String::new, |b| format!("{} {}", b.kind, b.result()));
            table.row(
                Some(style(p.state)),
                vec![
                    p.latest.clone().unwrap_or_else(|| p.package.to_string()),
                    p.state.to_string(),
                    since.clone(),
                    p.priority.map_or_else(|| "-".to_owned(), |x| points(x.current)),
                    last,
                    package_view::closest_change(p),
                    one_line(&p.reasons(), width.map_or(WHY_CHARS, |w| w.max(WHY_CHARS))),
                ],
            );
        }
        if let Some(width) = width {
            let squeeze = [("why", 40), ("changed since", 20), ("why", 16), ("package", 24)];
            table.fit(width.saturating_sub(2), &squeeze, &["changed since", "priority", "last build", "since", "why"]);
        }
        for line in table.render(colours, 1).lines() {
            writeln!(out, "  {line}")?;
        }
        if let Some(first) = counted.first() {
            let why = first.remarks.last().map_or("", String::as_str);
            writeln!(out, "  and {} known only from a repository (--all lists them): {why}", counted.len())?;
        }
        writeln!(out)?;
    }
    writeln!(out, "as of event {}, {}", r.seq, r.now)
}
