//! `koschei resolve --against`: what changed since earlier states of a repository, and which change
//! made packages unresolvable.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{ResolveArgs, ResolveCliError, bar, json_line, sources, translate};
use crate::cli::repo_arg::RepoArg;
use crate::cli::repos;
use crate::cli::sources::Source;
use crate::repodata::Member;
use crate::resolve::cause_text::{culprit, effect, path};
use crate::resolve::{
    Answers, BuildRequires, Change, Culprit, Earlier as Kept, Effect, FirstCause, Generation, PackageChange, PkgId,
    Prepared, Resolution, Resolver, Universe, changes, first_causes, group_by_cause,
};

/// Largest number of differences of a buildroot that are printed, the nearest first; `--jsonl`
/// prints all.
const CHANGES_SHOWN: usize = 5;

/// A repository that was read.
struct Loaded {
    label: String,
    universe: Universe,
    group: Vec<Member>,
    /// The source packages, with their requirements translated for this repository.
    sources: Arc<Vec<Source>>,
}

/// The outcome for a source package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Difference {
    /// It resolved in the previous generation, and no longer does.
    Broken,
    /// It did not resolve in the previous generation either, but in an earlier one.
    StillBroken,
    /// It resolves again.
    Repaired,
    /// It has another buildroot.
    Changed,
}

struct Row {
    source: usize,
    outcome: Difference,
    changes: Vec<Change>,
    /// The last generation in which it resolved, and why it no longer does.
    broken: Option<(usize, Vec<FirstCause>)>,
}

/// The result of the comparison.
struct Report<'a> {
    generations: &'a [Generation<'a>],
    sources: &'a [Source],
    rows: Vec<Row>,
    /// Number of source packages that resolve, before and now.
    resolved: (usize, usize),
    /// Number of source packages that resolve in no generation.
    never: usize,
}

pub(super) fn run(args: &ResolveArgs, out: &mut impl Write, progress: bool) -> Result<(), ResolveCliError> {
    let arch = super::arch(args)?;
    let sources = Arc::new(sources::read(args, &arch)?);
    let earlier = args.against.iter().map(|path| {
        vec![RepoArg { path: path.clone(), priority: crate::resolve::Priority::default(), module_hotfixes: false }]
    });
    let generations = earlier.chain(std::iter::once(args.repo.clone()));
    let loaded = generations.map(|repos| load(args, &repos, &sources, &arch)).collect::<Result<Vec<Loaded>, _>>()?;
    let mut prepared: Vec<Prepared<'_>> = Vec::with_capacity(loaded.len());
    for one in &loaded {
        prepared.push(one.universe.prepare_with(&one.group, args.mode.into(), args.solver.into())?);
    }
    let generations: Vec<Generation<'_>> =
        loaded.iter().zip(&prepared).map(|(l, p)| Generation::new(l.label.clone(), p)).collect();
    let lists: Vec<&[Source]> = loaded.iter().map(|l| l.sources.as_slice()).collect();
    let report = compare(args, &generations, &lists, progress);
    if args.jsonl {
        return report.lines(out);
    }
    report.print(args, out).map_err(ResolveCliError::Write)
}

fn load(
    args: &ResolveArgs,
    repos: &[RepoArg],
    sources: &Arc<Vec<Source>>,
    arch: &str,
) -> Result<Loaded, ResolveCliError> {
    let content = repos::load(args, repos, sources.iter().flat_map(Source::requires))?;
    let group = repos::build_group(args, repos, &content)?;
    let mut sources = Arc::clone(sources);
    if args.translate_isa || !args.srpm.is_empty() {
        translate(args, Arc::<Vec<Source>>::make_mut(&mut sources), &content, arch);
    }
    let universe = repos::universe(repos, content, arch)?;
    Ok(Loaded { label: repos::shown(repos), universe, group, sources })
}

fn compare<'a>(
    args: &ResolveArgs,
    generations: &'a [Generation<'a>],
    lists: &[&'a [Source]],
    progress: bool,
) -> Report<'a> {
    let last = generations.len() - 1;
    let bar = bar(lists[last].len() * 2, progress);
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = args.threads.map_or(processors, NonZeroUsize::get);
    let (before, kept) = Resolved::all(&generations[last - 1], lists[last - 1], Kept::default(), threads);
    bar.inc(lists[last].len() as u64);
    let (now, _) = Resolved::all(&generations[last], lists[last], kept, threads);
    bar.finish_and_clear();
    let mut report = Report {
        generations,
        sources: lists[last],
        rows: Vec::new(),
        resolved: (before.count(), now.count()),
        never: 0,
    };
    let mut earlier = Earlier { generations, lists, resolvers: BTreeMap::new() };
    let mut same = SamePackages::new(&generations[last - 1], &generations[last]);
    for source in 0..lists[last].len() {
        let (Some(was), Some(is)) = (before.asked[source], now.asked[source]) else { continue };
        let ok = (before.answers.is_ok(was), now.answers.is_ok(is));
        if ok == (true, true) {
            let (was, is) = (before.answers.resolution(was), now.answers.resolution(is));
            if same.equal(&was.closure, &is.closure) {
                continue;
            }
            let installed = |answer: &Resolution, at: usize| answer.installed(generations[at].prepared().universe());
            let changes = changes(&installed(&was, last - 1), &installed(&is, last));
            if !changes.is_empty() {
                report.rows.push(Row { source, outcome: Difference::Changed, changes, broken: None });
            }
        } else if ok.1 {
            report.rows.push(Row { source, outcome: Difference::Repaired, changes: Vec::new(), broken: None });
        } else {
            let outcome = if ok.0 { Difference::Broken } else { Difference::StillBroken };
            let was = before.answers.resolution(was);
            let Some((resolved, closure)) = earlier.last_resolved(source, &was) else {
                report.never += 1;
                continue;
            };
            let requires: Vec<&[String]> = lists.iter().map(|l| l[source].build.requires.as_slice()).collect();
            let causes = first_causes(generations, &requires, resolved, &closure);
            report.rows.push(Row { source, outcome, changes: Vec::new(), broken: Some((resolved, causes)) });
        }
    }
    report
}

/// The answers of one generation.
struct Resolved<'a> {
    answers: Answers<'a>,
    /// The place of each source package among those that were asked. `None` if it is not built here.
    asked: Vec<Option<usize>>,
}

impl<'a> Resolved<'a> {
    /// Resolves all source packages. `kept` is what the generation before left.
    fn all(generation: &Generation<'a>, sources: &'a [Source], kept: Kept, threads: usize) -> (Self, Kept) {
        let mut built: Vec<&'a BuildRequires> = Vec::new();
        let place = |source: &'a Source| {
            source.excluded.is_none().then(|| {
                built.push(&source.build);
                built.len() - 1
            })
        };
        let asked = sources.iter().map(place).collect();
        let (answers, kept) = generation.prepared().resolve_all(&built, kept, threads);
        (Self { answers, asked }, kept)
    }

    fn count(&self) -> usize {
        (0..self.answers.len()).filter(|&at| self.answers.is_ok(at)).count()
    }
}

/// Checks quickly whether two buildroots of two generations hold the same packages. Most do, and
/// comparing them by name takes longer than resolving them.
struct SamePackages {
    /// A number for each package of the earlier and of the later generation; equal packages share
    /// it.
    numbers: [Vec<u32>; 2],
    work: [Vec<u32>; 2],
}

impl SamePackages {
    fn new(before: &Generation<'_>, now: &Generation<'_>) -> Self {
        let mut known: FxHashMap<String, u32> = FxHashMap::default();
        let numbers = [before, now].map(|generation| {
            let universe = generation.prepared().universe();
            let number = |id| {
                let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
                *known.entry(universe.nevra(id).to_string()).or_insert(next)
            };
            universe.ids().map(number).collect()
        });
        Self { numbers, work: Default::default() }
    }

    fn equal(&mut self, before: &[PkgId], now: &[PkgId]) -> bool {
        if before.len() != now.len() {
            return false;
        }
        for (closure, (numbers, work)) in [before, now].into_iter().zip(self.numbers.iter().zip(&mut self.work)) {
            work.clear();
            work.extend(closure.iter().map(|id| numbers[id.index()]));
            work.sort_unstable();
        }
        self.work[0] == self.work[1]
    }
}

/// Resolves single source packages in earlier generations.
struct Earlier<'a> {
    generations: &'a [Generation<'a>],
    lists: &'a [&'a [Source]],
    resolvers: BTreeMap<usize, Resolver<'a>>,
}

impl Earlier<'_> {
    /// Returns the last generation in which a source package resolved, and its packages there.
    /// `before` is the answer of the last generation but one.
    fn last_resolved(&mut self, source: usize, before: &Resolution) -> Option<(usize, Vec<PkgId>)> {
        let previous = self.generations.len() - 2;
        if before.ok {
            return Some((previous, before.closure.clone()));
        }
        (0..previous).rev().find_map(|at| {
            let prepared = self.generations[at].prepared();
            let resolver = self.resolvers.entry(at).or_insert_with(|| prepared.resolver().without_texts());
            let answer = resolver.resolve_source(&self.lists[at][source].build);
            answer.ok.then_some((at, answer.closure))
        })
    }
}

#[derive(Serialize)]
struct ChangeLine<'a> {
    name: &'a str,
    arch: &'a str,
    old: Option<String>,
    new: Option<String>,
    distance: Option<u8>,
}

#[derive(Serialize)]
struct LinkLine<'a> {
    requirement: &'a str,
    package: Option<String>,
}

impl Report<'_> {
    fn lines(&self, out: &mut impl Write) -> Result<(), ResolveCliError> {
        use serde_json::json;
        for row in &self.rows {
            let source = &self.sources[row.source].label;
            let mut line = json!({ "source": source, "outcome": row.outcome });
            if row.outcome == Difference::Changed {
                line["changes"] = json!(row.changes.iter().map(change_line).collect::<Vec<_>>());
            }
            if let Some((resolved, causes)) = &row.broken {
                line["resolved_in"] = json!(self.generations[*resolved].label());
                line["cause"] = json!(causes.first().map(FirstCause::id));
                line["causes"] = json!(causes.iter().map(FirstCause::id).collect::<Vec<_>>());
                line["path"] = json!(causes.first().map_or(Vec::new(), link_lines));
            }
            json_line(out, &line)?;
        }
        for (cause, sources) in self.groups() {
            let (effect, what) = match &cause.effect {
                Effect::Lost { requirement } => ("lost", requirement.clone()),
                Effect::Requires { requirement } => ("requires", requirement.clone()),
                Effect::Provides { requirement } => ("provides", requirement.clone()),
                Effect::Conflict { with } => ("conflict", with.to_string()),
            };
            let mut line = json!({
                "cause": cause.id(), "from": self.generations[cause.step - 1].label(),
                "to": self.generations[cause.step].label(), "effect": effect, "what": what, "sources": sources.len(),
            });
            if let Culprit::Package(change) = &cause.culprit {
                let PackageChange { name, arch, old, new, source, successors } = &**change;
                let text = |evr: &Option<crate::model::Evr>| evr.as_ref().map(ToString::to_string);
                line["package"] = json!({ "name": name, "arch": arch, "old": text(old), "new": text(new) });
                if !successors.is_empty() {
                    line["successors"] = json!(successors);
                }
                if let Some((before, after)) = source {
                    let after = after.as_ref().map(ToString::to_string);
                    line["built_from"] = json!({ "old": before.to_string(), "new": after });
                }
            }
            json_line(out, &line)?;
        }
        Ok(())
    }

    /// Returns the first causes with their rows, the largest group first.
    fn groups(&self) -> Vec<(&FirstCause, Vec<&Row>)> {
        let broken: Vec<(&Row, &Vec<FirstCause>)> =
            self.rows.iter().filter_map(|row| row.broken.as_ref().map(|(_, causes)| (row, causes))).collect();
        let causes: Vec<&[FirstCause]> = broken.iter().map(|(_, causes)| causes.as_slice()).collect();
        let groups = group_by_cause(&causes);
        groups.into_iter().map(|(cause, at)| (cause, at.into_iter().map(|i| broken[i].0).collect())).collect()
    }

    fn print(&self, args: &ResolveArgs, out: &mut impl Write) -> io::Result<()> {
        let universe = |g: &Generation<'_>| (g.prepared().universe().arch().to_owned(), g.prepared().universe().len());
        let last = self.generations.len() - 1;
        let (arch, packages) = universe(&self.generations[last]);
        let mode = crate::resolve::Mode::from(args.mode).as_str();
        writeln!(out, "Repository   {} ({arch}, {packages} packages), mode {mode}", self.generations[last].label())?;
        for generation in self.generations[..last].iter().rev() {
            writeln!(out, "Against      {} ({} packages)", generation.label(), universe(generation).1)?;
        }
        let group = |at: usize| if self.generations[at].prepared().group().ok { "" } else { " (no build group)" };
        let (before, now) = self.resolved;
        writeln!(out, "Resolved     {now} source packages{}, before {before}{}", group(last), group(last - 1))?;
        let of = |outcome: Difference| self.rows.iter().filter(move |row| row.outcome == outcome);
        let count = |outcome: Difference| of(outcome).count();
        writeln!(out, "Broken       {} source packages", count(Difference::Broken))?;
        if count(Difference::StillBroken) > 0 {
            writeln!(out, "Still broken {} source packages that once resolved", count(Difference::StillBroken))?;
        }
        for (cause, rows) in self.groups() {
            self.print_cause(cause, &rows, out)?;
        }
        let unclear: Vec<&Row> =
            self.rows.iter().filter(|r| r.broken.as_ref().is_some_and(|(_, causes)| causes.is_empty())).collect();
        if !unclear.is_empty() {
            writeln!(out, "\n{:>5}  not narrowed down to one change; see the problem with --packages", unclear.len())?;
            unclear.iter().try_for_each(|row| writeln!(out, "         {}", self.sources[row.source].label))?;
        }
        if self.never > 0 {
            writeln!(out, "\n{:>5}  resolve in none of the given repositories", self.never)?;
        }
        if count(Difference::Repaired) > 0 {
            writeln!(out, "\nRepaired     {} source packages", count(Difference::Repaired))?;
            of(Difference::Repaired).try_for_each(|row| writeln!(out, "  {}", self.sources[row.source].label))?;
        }
        if count(Difference::Changed) > 0 {
            writeln!(out, "\nChanged      {} source packages with another buildroot", count(Difference::Changed))?;
            for row in of(Difference::Changed) {
                writeln!(out, "  {}: {}", self.sources[row.source].label, shown(&row.changes))?;
            }
        }
        Ok(())
    }

    fn print_cause(&self, cause: &FirstCause, rows: &[&Row], out: &mut impl Write) -> io::Result<()> {
        let (from, to) = (self.generations[cause.step - 1].label(), self.generations[cause.step].label());
        writeln!(out, "\n{:>5}  {}", rows.len(), culprit(cause))?;
        writeln!(out, "       {}", effect(&cause.effect))?;
        if self.generations.len() > 2 {
            writeln!(out, "       between {from} and {to}")?;
        }
        for row in rows {
            let causes = row.broken.as_ref().map_or(&[][..], |(_, causes)| causes);
            let path = causes.first().map(path).unwrap_or_default();
            writeln!(out, "         {}: {path}", self.sources[row.source].label)?;
            for other in causes.iter().skip(1) {
                writeln!(out, "           and {}: {}", culprit(other), effect(&other.effect))?;
            }
        }
        Ok(())
    }
}

fn change_line(change: &Change) -> ChangeLine<'_> {
    ChangeLine {
        name: &change.name,
        arch: &change.arch,
        old: change.old.as_ref().map(ToString::to_string),
        new: change.new.as_ref().map(ToString::to_string),
        distance: change.distance,
    }
}

fn link_lines(cause: &FirstCause) -> Vec<LinkLine<'_>> {
    let links = cause.path.iter();
    links
        .map(|l| LinkLine { requirement: &l.requirement, package: l.package.as_ref().map(ToString::to_string) })
        .collect()
}

/// Formats the nearest changes for people.
fn shown(changes: &[Change]) -> String {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by_key(|c| c.distance.unwrap_or(u8::MAX));
    let one = |c: &&Change| match (&c.old, &c.new) {
        (Some(old), Some(new)) if new < old => format!("{} {old} → {new} (downgraded)", c.name),
        (Some(old), Some(new)) => format!("{} {old} → {new}", c.name),
        (None, Some(new)) => format!("{} {new} added", c.name),
        (Some(old), None) => format!("{} {old} removed", c.name),
        (None, None) => String::new(),
    };
    let mut texts: Vec<String> = sorted.iter().take(CHANGES_SHOWN).map(one).collect();
    if let Some(more @ 1..) = sorted.len().checked_sub(CHANGES_SHOWN) {
        texts.push(format!("and {more} more"));
    }
    texts.join(", ")
}
