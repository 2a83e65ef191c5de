//! `koschei broken`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::as_of::AsOf;
use super::open::{known_collection, point, reading, state_as_of};
use super::out::colours;
use super::render::{Table, style};
use super::{CliError, DbArgs, Done};
use crate::buildroot::archive_resolver::ArchiveResolver;
use crate::buildroot::repo_resolver::Unit;
use crate::log::EventLog;
use crate::model::counted::and_more;
use crate::model::{Hub, Name, PackageState};
use crate::resolve::Mode;
use crate::resolve::cause_text::{culprit, effect, path};
use crate::tools::broken::{Breakages, FoundCause, Rebuilt, Spell, breakages};
use crate::view::text::{clock, one_line, span};

/// Largest number of names before `and N more`.
const NAMES_SHOWN: usize = 12;

/// Show what broke, since when and why, what was rebuilt, and what recovered.
///
/// With --archive, it also names the update that made a package unresolvable.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei broken --db demo/koschei.db --archive tests/data/koji\n  koschei broken --db \
        koschei.db --now"
)]
pub(crate) struct BrokenArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Show only this collection
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// Directory with the repositories of the log: `repos/TAG/ID/ARCH/repodata` and
    /// `buildrequires.jsonl`
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Hub that the archive comes from
    #[arg(long, value_name = "HUB", default_value = "primary", requires = "archive")]
    hub: String,
    /// How the build group and the BuildRequires are resolved
    #[arg(long, value_enum, default_value_t, requires = "archive")]
    mode: super::resolve::ModeArg,
    /// Ignore BuildConflicts, like a service with `build_conflicts = false`
    #[arg(long, requires = "archive")]
    ignore_build_conflicts: bool,
    /// Show only what is still broken
    #[arg(long)]
    now: bool,
    /// Point in the log to show: an event (466), a time of recording ("2026-11-20 08:45"), the end
    /// of a day (2026-11-20) or a span ("1 hour ago"); default: the end of the log
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &BrokenArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let until = point(&log, args.as_of).await?;
    let mut told = if until == Some(None) { Breakages::default() } else { tell(args, &log, until.flatten()).await? };
    if let Some(wanted) = &args.collection
        && told.spells.iter().all(|s| s.collection.as_str() != wanted)
    {
        known_collection(&state_as_of(&log, None).await?.0, wanted)?;
    }
    log.close().await;
    told.spells.retain(|s| {
        args.collection.as_deref().is_none_or(|c| c == s.collection.as_str()) && !(args.now && s.until.is_some())
    });
    let mut out = crate::cli::out::stdout().lock();
    if args.json {
        writeln!(out, "{}", as_json(&told))?;
    } else {
        people(&told, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell(
    args: &BrokenArgs,
    log: &crate::log::AnyLog,
    until: Option<crate::model::Seq>,
) -> Result<Breakages, CliError> {
    let Some(dir) = &args.archive else { return Ok(breakages(log, until, None).await?) };
    let archive = super::open::archive(dir, Hub(args.hub.as_str().into()))?;
    let resolver =
        ArchiveResolver::new(archive, Mode::from(args.mode), 1).with_build_conflicts(!args.ignore_build_conflicts);
    let mut explain = |units: &[Unit<'_>], packages: &[Name]| resolver.first_causes(units, packages);
    Ok(breakages(log, until, Some(&mut explain)).await?)
}

fn people(told: &Breakages, out: &mut impl Write) -> std::io::Result<()> {
    let broken = told.spells.iter().filter(|s| s.until.is_none()).count();
    if told.spells.is_empty() {
        return writeln!(out, "Nothing broke.");
    }
    writeln!(
        out,
        "{} broke, {} of them recovered or are no longer tracked, {broken} broken now",
        told.spells.len(),
        told.spells.len() - broken
    )?;
    for (at, found) in told.causes.iter().enumerate() {
        let spells: Vec<&Spell> = told.spells.iter().filter(|s| s.cause == Some(at)).collect();
        if !spells.is_empty() {
            cause(found, &spells, out)?;
        }
    }
    let others: Vec<&Spell> = told.spells.iter().filter(|s| s.cause.is_none()).collect();
    if !others.is_empty() {
        writeln!(out, "\nNot traced to an update")?;
        table(&others, out)?;
    }
    for why in &told.unexplained {
        writeln!(out, "\nsome causes could not be searched for: {}", one_line(why, 160))?;
    }
    Ok(())
}

fn cause(found: &FoundCause, spells: &[&Spell], out: &mut impl Write) -> std::io::Result<()> {
    let arches: Vec<&str> = found.arches.iter().map(|a| a.as_str()).collect();
    writeln!(out, "\n{}", culprit(&found.cause))?;
    writeln!(out, "  {}: {}", effect(&found.cause.effect), path(&found.cause))?;
    writeln!(
        out,
        "  since repository {} of {}, {}, on {}",
        found.repo,
        found.collection,
        clock(found.since.at),
        arches.join(", ")
    )?;
    table(spells, out)?;
    let mut names: Vec<&str> = found.rebuilt_for.iter().map(|(_, package)| package.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        let more = and_more(names.len(), NAMES_SHOWN);
        names.truncate(NAMES_SHOWN);
        writeln!(out, "  rebuilds decided for it: {}{more}", names.join(", "))?;
    }
    Ok(())
}

fn table(spells: &[&Spell], out: &mut impl Write) -> std::io::Result<()> {
    let mut table = Table::new(&["package", "now", "broke", "recovered", "rebuilds meanwhile", "last reason"]);
    for s in spells {
        let (now, recovered) = match &s.until {
            Some((end, state, _)) => {
                (*state, format!("{} ({})", clock(end.at), span(end.at.since(s.since.at) / 1_000_000)))
            }
            None => (s.state, "-".to_owned()),
        };
        table.row(
            Some(style(now)),
            vec![
                s.package.to_string(),
                now.to_string(),
                clock(s.since.at),
                recovered,
                s.rebuilt.iter().map(rebuilt).collect::<Vec<_>>().join(", "),
                one_line(&s.reason, 100),
            ],
        );
    }
    table.render(colours(), 1).lines().try_for_each(|line| writeln!(out, "  {line}"))
}

fn rebuilt(r: &Rebuilt) -> String {
    format!("{} {}", r.task, r.outcome.as_str())
}

fn as_json(told: &Breakages) -> Value {
    let spell = |s: &Spell| {
        json!({
            "collection": s.collection, "package": s.package, "state": s.state.as_str(), "reason": s.reason,
            "since": s.since.seq, "since_time": s.since.at.to_string(),
            "until": s.until.as_ref().map(|(p, ..)| p.seq),
            "until_time": s.until.as_ref().map(|(p, ..)| p.at.to_string()),
            "then": s.until.as_ref().map(|(_, state, reason)| json!({ "state": state.as_str(), "reason": reason })),
            "cause": s.cause,
            "lost": s.lost.iter().map(|l| json!({
                "arch": l.arch, "repo": l.repo, "resolved_in": l.resolved,
            })).collect::<Vec<_>>(),
            "rebuilt": s.rebuilt.iter().map(|r| json!({
                "rebuild": r.rebuild.map(|r| r.to_string()), "task": r.task, "outcome": r.outcome.as_str(),
            })).collect::<Vec<_>>(),
        })
    };
    let cause = |c: &FoundCause| {
        json!({
            "collection": c.collection, "change": culprit(&c.cause), "effect": effect(&c.cause.effect),
            "path": path(&c.cause), "repo": c.repo, "before": c.before, "arches": c.arches, "since": c.since.seq,
            "since_time": c.since.at.to_string(),
            "rebuilt_for": c.rebuilt_for.iter().map(|(r, package)| json!({
                "rebuild": r.to_string(), "package": package,
            })).collect::<Vec<_>>(),
        })
    };
    json!({
        "spells": told.spells.iter().map(spell).collect::<Vec<_>>(),
        "causes": told.causes.iter().map(cause).collect::<Vec<_>>(),
        "unexplained": told.unexplained,
        "broken_now": told.spells.iter().filter(|s| s.until.is_none()).count(),
        "failing_now": told.spells.iter().filter(|s| s.until.is_none() && s.state == PackageState::Failing).count(),
    })
}
