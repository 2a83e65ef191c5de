//! `koschei why`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::open::{AsOf, reading, state_as_of};
use super::package_view::{self, PackageView};
use super::render::{one_line, points};
use super::{CliError, DbArgs, Done};
use crate::decide::Why;
use crate::decide::load::ArchLoads;
use crate::event::Record;
use crate::log::{AnyLog, EventLog, Subjects};
use crate::model::Seq;

/// Events shown of a package's trail.
const TRAIL: usize = 12;
/// Causes followed from one event.
const CAUSES_MAX: usize = 8;
/// Dependency changes shown to people.
const CHANGES_SHOWN: usize = 20;

/// Say why a package is in its state, and why it is rebuilt or not.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei why curl --db koschei.db --as-of 2026-11-20T08:46:00Z")]
pub(crate) struct WhyArgs {
    /// Source package name
    package: String,
    #[command(flatten)]
    db: DbArgs,
    /// Only in this collection
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// As things were after this event, or at this (recorded) time
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
    /// Print JSON, one line per collection
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Step {
    seq: u64,
    recorded_at: String,
    kind: String,
    what: String,
    /// Sequences of its causes, nearest first.
    causes: Vec<u64>,
}

#[derive(Serialize)]
struct Answer {
    seq: u64,
    now: String,
    /// One sentence.
    answer: String,
    why: Why,
    /// The verdicts are of an older repository, because the newest could not be resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<String>,
    package: PackageView,
    trail: Vec<Step>,
}

pub(super) async fn run(args: &WhyArgs) -> Done {
    let log = reading(&args.db.db).await?;
    let (state, now) = state_as_of(&log, args.as_of).await?;
    let policy = package_view::policy(&state);
    let wanted = |name: &str| args.collection.as_deref().is_none_or(|w| w == name);
    let mut answers = Vec::new();
    for (cname, c) in state.collections.iter().filter(|(n, _)| wanted(n)) {
        let Some((pname, p)) = c.packages.get_key_value(args.package.as_str()) else { continue };
        let load = state.load.as_ref().map(ArchLoads::from_recorded);
        let Some(why) = crate::decide::why(&state, cname, pname, now, &policy, load.as_ref()) else { continue };
        let view = package_view::package(&state, (cname, c), (pname, p), now, &policy);
        let trail = trail(&log, cname, pname, state.seq).await?;
        answers.push(Answer {
            seq: state.seq.map_or(0, Seq::get),
            now: now.to_string(),
            answer: sentence(&why),
            why,
            stale: package_view::collection(&state, cname, c).stale,
            package: view,
            trail,
        });
    }
    log.close().await;
    if let Some(unknown) = args.collection.as_ref().filter(|c| !state.collections.contains_key(c.as_str())) {
        return Err(CliError::Rejected(format!("find collection `{unknown}`")));
    }
    if answers.is_empty() {
        let near: Vec<String> = state
            .collections
            .values()
            .flat_map(|c| c.packages.keys())
            .filter(|n| n.contains(args.package.as_str()) || args.package.contains(n.as_str()))
            .map(ToString::to_string)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .take(5)
            .collect();
        let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) };
        return Err(CliError::Rejected(format!("find package `{}` in any collection{hint}", args.package)));
    }
    let mut out = std::io::stdout().lock();
    for a in &answers {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(a).expect("an answer holds only what JSON can say"))?;
        } else {
            people(a, &mut out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn sentence(why: &Why) -> String {
    if why.chosen {
        return "the next evaluation rebuilds it: its priority reaches the threshold and nothing holds it".to_owned();
    }
    let reasons: Vec<String> = why.deciding.iter().map(ToString::to_string).collect();
    format!("it is not rebuilt now, because {}", reasons.join(", and "))
}

/// The package's last events in the collection, newest first, each with its causes.
async fn trail(log: &AnyLog, collection: &str, package: &str, until: Option<Seq>) -> Result<Vec<Step>, CliError> {
    let subject = crate::event::kinds::collection_subject(collection, Some(package));
    let mut last: std::collections::VecDeque<Record> = std::collections::VecDeque::new();
    let mut after = None;
    'pages: loop {
        let page = log.read_subject(Subjects::Exactly(&subject), after, crate::log::PAGE_MAX).await?;
        let Some(end) = page.last().map(|r| r.seq) else { break };
        after = Some(end);
        for record in page {
            if until.is_some_and(|u| record.seq > u) {
                break 'pages;
            }
            last.push_back(record);
            if last.len() > TRAIL {
                last.pop_front();
            }
        }
    }
    let mut steps = Vec::new();
    for record in last.into_iter().rev() {
        let mut causes = Vec::new();
        let mut cause = record.causation;
        while let Some(seq) = cause.filter(|_| causes.len() < CAUSES_MAX) {
            causes.push(seq.get());
            let before = Seq::new(seq.get() - 1);
            cause = log.read(before, 1).await?.first().and_then(|r| r.causation);
        }
        steps.push(Step {
            seq: record.seq.get(),
            recorded_at: record.recorded_at.to_string(),
            kind: record.kind.clone(),
            what: super::history::describe(&record.decode()?.event),
            causes,
        });
    }
    Ok(steps)
}

fn people(a: &Answer, out: &mut impl Write) -> std::io::Result<()> {
    let (w, p) = (&a.why, &a.package);
    writeln!(out, "{} in {}: {}", w.package, w.collection, w.state)?;
    writeln!(out, "  {}", one_line(&p.reason, 200))?;
    writeln!(out, "  {}", a.answer)?;
    if let Some(stale) = &a.stale {
        writeln!(out, "  its verdicts are stale: {}", one_line(stale, 160))?;
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
        let outcome = b.outcome.map_or(if b.running { "running" } else { "imported" }, |o| o.as_str());
        writeln!(out, "  {} {id} of {} at {}: {outcome}", b.kind, b.nvr, b.at)?;
    }
    writeln!(out, "  last events:")?;
    for s in &a.trail {
        let causes: Vec<String> = s.causes.iter().map(ToString::to_string).collect();
        let because = if causes.is_empty() { String::new() } else { format!(" <- {}", causes.join(" <- ")) };
        writeln!(out, "    {}{because}  {}", s.seq, one_line(&s.what, 120))?;
    }
    writeln!(out, "  as of event {}, {}", a.seq, a.now)
}

/// Dependency changes as lines, the same change on several architectures once, closest first.
fn changed(p: &PackageView) -> Vec<String> {
    let mut groups: BTreeMap<(u8, &str, String), Vec<&str>> = BTreeMap::new();
    for c in &p.dependency_changes {
        let side = |s: &Option<smol_str::SmolStr>| s.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        let what = format!("{} -> {}", side(&c.moved.old), side(&c.moved.new));
        groups.entry((c.distance.unwrap_or(u8::MAX), &c.moved.name, what)).or_default().push(&c.arch_of_build);
    }
    groups
        .into_iter()
        .map(|((distance, name, what), mut arches)| {
            arches.sort_unstable();
            arches.dedup();
            let far = if distance == u8::MAX { "not reached".to_owned() } else { format!("distance {distance}") };
            format!("{name} {what}, {far} (on {})", arches.join(", "))
        })
        .collect()
}
