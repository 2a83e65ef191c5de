//! `koschei why`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use super::as_of::AsOf;
use super::open::{known_collection, reading, state_as_of};
use super::{CliError, DbArgs, Done};
use crate::decide::Policy;
use crate::decide::causes::{Elsewhere, SaidByCollection};
use crate::log::{EventLog, LogError, trail};
use crate::model::Name;
use crate::model::nearest::did_you_mean;
use crate::view::answer::{self, Answer};
use crate::view::broken::{Broken, since_good};
use crate::view::package::{self as package_view, PackageView};
use crate::view::text::{one_line, points};
use clap::Args;

/// Largest number of suspects that are printed without --json.
const SUSPECTS_SHOWN: usize = 3;
/// Largest number of dependency changes that are printed without --json.
const CHANGES_SHOWN: usize = 20;

/// Explain why a package is in its state, and why it is or is not rebuilt.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei why curl --db koschei.db --as-of 2026-11-20T08:46:00Z")]
pub(crate) struct WhyArgs {
    /// Name of the source package
    package: String,
    #[command(flatten)]
    db: DbArgs,
    /// Explain only in this collection
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// Point in the log to show: an event (466), a time of recording ("2026-11-20 08:45"), the end
    /// of a day (2026-11-20) or a span ("1 hour ago"); default: the end of the log
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
    /// Print JSON, one line per collection
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &WhyArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let (state, now) = state_as_of(&log, args.as_of).await?;
    let policy = Policy::in_force(&state);
    let wanted = |name: &str| args.collection.as_deref().is_none_or(|w| w == name);
    let queue = answer::queue(&state, now, &policy);
    let mut answers = Vec::new();
    let mut said = SaidByCollection::default();
    for (cname, c) in state.collections.iter().filter(|(n, _)| wanted(n)) {
        let failed = || {
            let elsewhere = Elsewhere::in_state(cname, &state, &mut said);
            Arc::new(since_good(cname, &c.history, &elsewhere))
        };
        let Some(answer) = answer::answer(&state, &queue, (cname, c), &args.package, failed) else { continue };
        let events = trail::newest_with_causes(&log, &answer.subject(), state.seq, answer::STEPS).await?;
        answers.push(answer.with_trail(&events).map_err(LogError::from)?);
    }
    log.close().await;
    if let Some(wanted) = &args.collection {
        known_collection(&state, wanted)?;
    }
    if answers.is_empty() {
        let place = args.collection.as_deref().map_or("any collection".to_owned(), |c| format!("collection `{c}`"));
        let packages = state.collections.iter().filter(|(n, _)| wanted(n)).flat_map(|(_, c)| c.packages.keys());
        let hint = did_you_mean(&args.package, packages.map(Name::as_str));
        return Err(CliError::Rejected(format!("find package `{}` in {place}{hint}", args.package)));
    }
    let mut out = crate::cli::out::stdout().lock();
    for a in &answers {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(a).expect("an answer is valid JSON"))?;
        } else {
            people(a, &mut out)?;
            broken(&a.broken, &mut out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what broke the package.
fn broken(broken: &Broken, out: &mut impl Write) -> std::io::Result<()> {
    if let Some(cause) = &broken.cause {
        let what = one_line(&cause.what, 160);
        writeln!(out, "  broken by {}: {what} (`koschei cause {}`)", cause.update, cause.id)?;
    }
    if let Some(line) = &broken.line {
        writeln!(out, "  its log says: {}", one_line(line, 160))?;
    }
    for s in broken.suspects.iter().take(SUSPECTS_SHOWN).filter(|s| s.share > 0) {
        let why = s.evidence.first().map_or("", String::as_str);
        writeln!(out, "  suspect, {} of 1000: {}; {why}", s.share, s.update)?;
    }
    Ok(())
}

fn people(a: &Answer, out: &mut impl Write) -> std::io::Result<()> {
    let (w, p) = (&a.why, &a.package);
    writeln!(out, "{} in {}: {}", w.package, w.collection, w.state)?;
    writeln!(out, "  {}", one_line(&p.reason, 200))?;
    for remark in &p.remarks {
        writeln!(out, "  {remark}")?;
    }
    writeln!(out, "  {}", a.answer)?;
    if let Some(stale) = &a.stale {
        writeln!(
            out,
            "  verdicts are of an older repository; the newest could not be resolved: {}",
            one_line(stale, 160)
        )?;
    }
    if let Some(another) = package_view::another_in_buildroot(p) {
        writeln!(out, "  {another}")?;
    }
    if !p.override_absent.is_empty() {
        let (over, absent) = (p.arch_override.as_deref().unwrap_or_default(), p.override_absent.join(", "));
        writeln!(out, "  its architectures are overridden (`{over}`), and its build tag has no {absent}")?;
    }
    if let Some(unbound) = &a.unbound {
        writeln!(out, "  {unbound}")?;
    }
    if let Some(x) = &w.priority {
        writeln!(
            out,
            "  priority {} of {}: static {}, manual {}, builds {}, dependencies {}, time {}",
            points(x.current),
            points(w.threshold),
            points(x.r#static),
            points(x.manual),
            points(x.build),
            points(x.dependency),
            points(x.time)
        )?;
    }
    if let Some(at) = w.due_at {
        writeln!(out, "  due by time alone at {at}")?;
    }
    for v in p.verdicts.iter().filter(|v| v.ok == Some(false)) {
        writeln!(
            out,
            "  on {}: {}",
            v.arch,
            v.problem.as_deref().unwrap_or("does not resolve").replace('\n', "\n      ")
        )?;
    }
    let changed = changed(p);
    if !changed.is_empty() {
        writeln!(out, "  changed since its last build, closest first:")?;
        for line in changed.iter().take(CHANGES_SHOWN) {
            writeln!(out, "    {line}")?;
        }
        if changed.len() > CHANGES_SHOWN {
            writeln!(out, "    and {} more (--json has all)", changed.len() - CHANGES_SHOWN)?;
        }
    }
    for b in &p.last_builds {
        let id = b.task_id.or(b.build_id).unwrap_or_default();
        writeln!(out, "  {} {id} of {} at {}: {}", b.kind, b.nvr, b.at, b.result())?;
    }
    writeln!(out, "  last events:")?;
    for s in &a.trail {
        let causes: Vec<String> = s.causes.iter().map(ToString::to_string).collect();
        let because = if causes.is_empty() { String::new() } else { format!(" <- {}", causes.join(" <- ")) };
        writeln!(out, "    {}{because}  {}", s.seq, one_line(&s.what, 120))?;
    }
    writeln!(out, "  as of event {}, {}", a.seq, a.now)
}

/// Formats the dependency changes as lines, closest first.
fn changed(p: &PackageView) -> Vec<String> {
    let line = |c: package_view::Grouped<'_>| {
        let far = c.distance.map_or_else(|| "not reached".to_owned(), |d| format!("distance {d}"));
        let arches: Vec<&str> = c.arches.into_iter().collect();
        format!(
            "{} {} -> {}, {far} (on {})",
            c.name,
            package_view::version(c.old),
            package_view::version(c.new),
            arches.join(", ")
        )
    };
    package_view::grouped(p).into_iter().map(line).collect()
}
