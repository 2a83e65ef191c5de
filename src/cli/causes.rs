//! `koschei causes`, `koschei cause` and `koschei suspects`.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;

use clap::Args;
use indicatif::ProgressBar;

use super::as_of::AsOf;
use super::open::{known_collection, point, reading, state_as_of};
use super::out::colours;
use super::render::Table;
use super::{CliError, DbArgs, Done};
use crate::decide::causes::{Elsewhere, FailedBuild, SaidByCollection};
use crate::fold::{Collection, State};
use crate::log::EventLog;
use crate::model::Name;
use crate::model::counted::and_more;
use crate::model::nearest::did_you_mean;
use crate::tools::causes::{Cause, Told, read};
use crate::view::broken::since_good;
use crate::view::text::{one_line, percent};

/// Largest number of names before `and N more`.
const NAMES_SHOWN: usize = 12;
/// Most suspects of a build that are shown without --json.
const SUSPECTS_SHOWN: usize = 3;
/// Smallest share, in thousandths, that is shown without --json.
const SHARE_SHOWN: u32 = 10;

/// What both lists have in common.
#[derive(Args, Debug)]
pub(crate) struct Asked {
    #[command(flatten)]
    db: DbArgs,
    /// Show only this collection
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// Point in the log to show: an event (466), a time of recording ("2026-11-20 08:45"), the end
    /// of a day (2026-11-20) or a span ("1 hour ago"); default: the end of the log
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show which updates broke packages: each update once, with the packages it broke.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei causes --db demo/koschei.db\n  koschei causes --all --json")]
pub(crate) struct CausesArgs {
    #[command(flatten)]
    asked: Asked,
    /// Also show those that are over
    #[arg(long)]
    all: bool,
}

/// Show one cause, and the evidence for it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei cause 18cb3e88a7 --db demo/koschei.db")]
pub(crate) struct CauseArgs {
    /// The cause, as `koschei causes` names it, or the beginning of its name
    id: String,
    #[command(flatten)]
    asked: Asked,
}

/// Show which updates may have made builds fail, surest first.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei suspects curl --db demo/koschei.db\n  koschei suspects --all --json")]
pub(crate) struct SuspectsArgs {
    /// Show only this package
    package: Option<String>,
    #[command(flatten)]
    asked: Asked,
    /// Show every failed build, also those before the last good one
    #[arg(long)]
    all: bool,
}

impl Asked {
    /// Returns what the log tells about causes as of the point, and the state there.
    async fn told(&self) -> Result<(Told, State), CliError> {
        let log = reading(&self.db.db).await?;
        let told = match point(&log, self.as_of).await? {
            Some(None) => Default::default(),
            until => {
                let bar = match (std::io::stderr().is_terminal(), log.head().await?.seq) {
                    (true, Some(head)) => ProgressBar::new(head.get()),
                    _ => ProgressBar::hidden(),
                };
                let told = read(&log, until.flatten(), &mut |seq| bar.set_position(seq.get())).await?;
                bar.finish_and_clear();
                told
            }
        };
        log.close().await;
        self.knows_collection(&told.1)?;
        Ok(told)
    }

    /// Returns the state as of the point.
    async fn state(&self) -> Result<State, CliError> {
        let log = reading(&self.db.db).await?;
        let (state, _) = state_as_of(&log, self.as_of).await?;
        log.close().await;
        self.knows_collection(&state)?;
        Ok(state)
    }

    fn knows_collection(&self, state: &State) -> Result<(), CliError> {
        self.collection.as_ref().map_or(Ok(()), |wanted| known_collection(state, wanted))
    }

    fn is_wanted(&self, collection: &str) -> bool {
        self.collection.as_deref().is_none_or(|wanted| wanted == collection)
    }
}

pub(super) async fn causes(args: &CausesArgs) -> Done {
    let (told, _) = args.asked.told().await?;
    let (mut causes, _) = told.causes();
    causes.retain(|c| args.asked.is_wanted(&c.collection) && (args.all || c.until.is_none()));
    let mut out = crate::cli::out::stdout().lock();
    if args.asked.json {
        writeln!(out, "{}", serde_json::to_string(&causes).expect("causes are valid JSON"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if causes.is_empty() {
        let what = if args.all { "No update broke anything that is known." } else { "No update breaks anything now." };
        writeln!(out, "{what}")?;
    }
    for cause in &causes {
        people(cause, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn cause(args: &CauseArgs) -> Done {
    let (told, _) = args.asked.told().await?;
    let (causes, failed) = told.causes();
    let mut fitting =
        causes.iter().filter(|c| args.asked.is_wanted(&c.collection) && c.id.starts_with(args.id.as_str()));
    let (Some(cause), None) = (fitting.next(), fitting.next()) else {
        let hint = did_you_mean(&args.id, causes.iter().map(|c| c.id.as_str()));
        return Err(CliError::Rejected(format!("find the one cause `{}`{hint}", args.id)));
    };
    let evidence = evidence(cause, &failed);
    let mut out = crate::cli::out::stdout().lock();
    if args.asked.json {
        let mut value = serde_json::to_value(cause).expect("a cause is valid JSON");
        value["evidence"] = serde_json::to_value(&evidence).expect("sentences are valid JSON");
        writeln!(out, "{value}")?;
        return Ok(ExitCode::SUCCESS);
    }
    people(cause, &mut out)?;
    let mut table = Table::new(&["package", "share", "since event", "until event"]);
    for p in &cause.packages {
        let until = p.until.map_or_else(|| "still broken".to_owned(), |until| until.to_string());
        table.row(None, vec![p.name.to_string(), percent(p.share), p.since.to_string(), until]);
    }
    writeln!(out)?;
    write!(out, "{}", table.render(colours(), 2))?;
    writeln!(out)?;
    for sentence in &evidence {
        writeln!(out, "  {sentence}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the evidence for a cause: that of the newest failed build of each package it broke.
fn evidence(cause: &Cause, failed: &[FailedBuild]) -> Vec<String> {
    let mut said = vec![cause.what.clone()];
    for package in &cause.packages {
        let of = |f: &&FailedBuild| f.collection == cause.collection && f.package == package.name;
        let suspect = failed.iter().rev().filter(of).find_map(|f| {
            let one = f.suspects.iter().find(|s| s.update == cause.update && s.repo == cause.repo)?;
            Some((f, one))
        });
        if let Some((failed, suspect)) = suspect {
            let why = suspect.evidence.join("; ");
            said.push(format!(
                "{}, task {}: {} of its failure; {why}",
                failed.package,
                failed.task,
                percent(suspect.share)
            ));
        }
    }
    said
}

impl SuspectsArgs {
    /// Returns the state, and the failed builds: those of runs that last from the state alone, all
    /// from the whole log.
    async fn failed(&self) -> Result<(State, Vec<FailedBuild>), CliError> {
        if self.all {
            let (told, state) = self.asked.told().await?;
            return Ok((state, told.causes().1));
        }
        let state = self.asked.state().await?;
        let wanted = state.collections.iter().filter(|(name, _)| self.asked.is_wanted(name));
        let mut said = SaidByCollection::default();
        let since_good = |(name, c): (&Name, &Collection)| {
            since_good(name, &c.history, &Elsewhere::in_state(name, &state, &mut said))
        };
        let mut failed: Vec<FailedBuild> = wanted.flat_map(since_good).collect();
        failed.sort_by(|a, b| (&a.collection, a.task).cmp(&(&b.collection, b.task)));
        Ok((state, failed))
    }
}

pub(super) async fn suspects(args: &SuspectsArgs) -> Done {
    let (state, mut failed) = args.failed().await?;
    if let Some(wanted) = &args.package
        && !state.collections.values().any(|c| c.packages.contains_key(wanted.as_str()))
    {
        let hint = did_you_mean(wanted, state.collections.values().flat_map(|c| c.packages.keys().map(Name::as_str)));
        return Err(CliError::Rejected(format!("find package `{wanted}`{hint}")));
    }
    failed.retain(|f| {
        args.asked.is_wanted(&f.collection) && args.package.as_deref().is_none_or(|wanted| wanted == f.package)
    });
    let mut out = crate::cli::out::stdout().lock();
    if args.asked.json {
        writeln!(out, "{}", serde_json::to_string(&failed).expect("suspects are valid JSON"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if failed.is_empty() {
        writeln!(out, "No build failed since the last good one.")?;
    }
    for one in &failed {
        of_build(one, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn of_build(f: &FailedBuild, out: &mut impl Write) -> std::io::Result<()> {
    let since = f.good_repo.map_or_else(|| "no good build is known".to_owned(), |r| format!("last good in {r}"));
    writeln!(out, "{} in {}: task {} failed in repository {}, {since}", f.source, f.collection, f.task, f.repo)?;
    if let Some(line) = &f.line {
        writeln!(out, "         its log says: {}", one_line(line, 160))?;
    }
    for s in f.suspects.iter().take(SUSPECTS_SHOWN).filter(|s| s.share >= SHARE_SHOWN) {
        let name = s.update.source.as_deref().unwrap_or("a source package that is gone");
        let was = s.update.was.as_ref().map_or_else(String::new, |was| format!(" (was {was})"));
        writeln!(out, "  {:>5}  {name}{was}{}", percent(s.share), other_names(&s.together))?;
        for sentence in &s.evidence {
            writeln!(out, "         {sentence}")?;
        }
    }
    for (n, what) in [(f.none.own, "the package itself"), (f.none.chance, "chance")] {
        if n >= SHARE_SHOWN {
            writeln!(out, "  {:>5}  {what}", percent(n))?;
        }
    }
    Ok(())
}

fn other_names(together: &[String]) -> String {
    match together {
        [] => String::new(),
        some => format!(", or {}, which came with it", some.join(", ")),
    }
}

fn people(c: &Cause, out: &mut impl Write) -> std::io::Result<()> {
    let repo = c.repo.map_or_else(String::new, |repo| format!(" with repository {repo}"));
    let head = match (&c.update.source, &c.update.was) {
        (Some(source), Some(was)) => format!("{source} (was {was})"),
        (Some(source), None) => source.clone(),
        (None, Some(was)) => format!("{was} is gone"),
        (None, None) => c.what.clone(),
    };
    let over = if c.until.is_some() { ", over" } else { "" };
    writeln!(out, "{}  {head}{}", c.id, other_names(&c.together))?;
    writeln!(out, "  {} in {}{repo}, since {}{over}", c.kind.as_str(), c.collection, c.since_time)?;
    writeln!(out, "  {}", one_line(&c.what, 200))?;
    let mut names: Vec<&str> = match c.until {
        None => c.broken_now().map(|p| p.name.as_str()).collect(),
        Some(_) => c.packages.iter().map(|p| p.name.as_str()).collect(),
    };
    names.dedup();
    let more = and_more(names.len(), NAMES_SHOWN);
    names.truncate(NAMES_SHOWN);
    let verb = if c.until.is_some() { "broke" } else { "breaks" };
    writeln!(out, "  {verb} {}{more}", names.join(", "))
}
