//! `koschei resolve --explain`: why each package is in the buildroot of a source package.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::{ResolveArgs, ResolveCliError, json_line, sources, translate};
use crate::cli::repos;
use crate::cli::sources::Source;
use crate::resolve::{Chain, Origin, PkgId, Prepared, Resolution, Step, Universe};

pub(super) fn run(args: &ResolveArgs, out: &mut impl Write) -> Result<bool, ResolveCliError> {
    let arch = super::arch(args)?;
    let mut sources = sources::read(args, &arch)?;
    let content = repos::load(args, &args.repo, sources.iter().flat_map(Source::requires))?;
    translate(args, &mut sources, &content, &arch);
    let group = repos::build_group(args, &args.repo, &content)?;
    let universe = repos::universe(&args.repo, content, &arch)?;
    let prepared = universe.prepare_with(&group, args.mode.into(), args.solver.into())?;
    let mut all = prepared.group().ok;
    let mut resolver = prepared.resolver().with_distances().with_true_distances();
    for source in &sources {
        let answer = source.excluded.is_none().then(|| {
            let mut answer = resolver.resolve_source(&source.build);
            answer.problems = source.build.explain(&answer.problems);
            answer
        });
        all &= answer.as_ref().is_none_or(|answer| answer.ok);
        one(args, source, answer.as_ref(), &prepared, out)?;
    }
    Ok(all)
}

fn one(
    args: &ResolveArgs,
    source: &Source,
    answer: Option<&Resolution>,
    prepared: &Prepared<'_>,
    out: &mut impl Write,
) -> Result<(), ResolveCliError> {
    let universe = prepared.universe();
    let Some(answer) = answer else {
        let reason = source.excluded.unwrap_or_default();
        return if args.jsonl {
            json_line(out, &serde_json::json!({ "source": source.label, "not_for_this_arch": reason }))
        } else {
            writeln!(out, "{} is not for {}: {reason}", source.label, universe.arch()).map_err(ResolveCliError::Write)
        };
    };
    if !answer.ok {
        return if args.jsonl {
            json_line(out, &serde_json::json!({ "source": source.label, "ok": false, "problems": answer.problems }))
        } else {
            unresolved(&source.label, universe, answer, out).map_err(ResolveCliError::Write)
        };
    }
    let mut explainer = prepared.explainer();
    let chains = explainer.chains(&source.build.requires, &answer.closure);
    let erased: Vec<(PkgId, Vec<PkgId>)> =
        answer.erased.iter().map(|&id| (id, explainer.in_the_way(id, &answer.closure))).collect();
    if args.jsonl {
        lines(prepared, answer, &chains, out)?;
        return erased.iter().try_for_each(|(id, by)| {
            let by: Vec<String> = by.iter().map(|&id| universe.nevra(id).to_string()).collect();
            json_line(out, &serde_json::json!({ "erased": universe.nevra(*id).to_string(), "in_the_way": by }))
        });
    }
    let group = answer.closure.iter().filter(|id| in_group(prepared, **id)).count();
    writeln!(
        out,
        "{} on {}: {} packages, {group} of them of the build group",
        source.label,
        universe.arch(),
        answer.closure.len()
    )
    .and_then(|()| tree(universe, &answer.closure, &chains, out))
    .and_then(|()| gone(universe, &erased, &source.build.conflicts, out))
    .map_err(ResolveCliError::Write)
}

fn in_group(prepared: &Prepared<'_>, id: PkgId) -> bool {
    prepared.group().closure.binary_search(&id).is_ok()
}

#[derive(Serialize)]
struct Line<'a> {
    package: String,
    /// Whether the build group alone also installs it.
    in_group: bool,
    origin: Option<&'static str>,
    chain: Vec<LineStep<'a>>,
    distance: Option<u8>,
    true_distance: Option<u16>,
}

#[derive(Serialize)]
struct LineStep<'a> {
    requirement: &'a str,
    package: String,
}

fn lines(
    prepared: &Prepared<'_>,
    answer: &Resolution,
    chains: &[Option<Chain>],
    out: &mut impl Write,
) -> Result<(), ResolveCliError> {
    let universe = prepared.universe();
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (place, &id) in answer.closure.iter().enumerate() {
        let steps = chains[place].iter().flat_map(|c| &c.steps);
        lines.push(Line {
            package: universe.nevra(id).to_string(),
            in_group: in_group(prepared, id),
            origin: chains[place].as_ref().map(|c| c.origin.as_str()),
            chain: steps
                .map(|s| LineStep { requirement: &s.requirement, package: universe.nevra(s.package).to_string() })
                .collect(),
            distance: answer.distances.get(place).copied().flatten(),
            true_distance: answer.true_distances.get(place).copied().flatten(),
        });
    }
    lines.sort_by(|a, b| a.package.cmp(&b.package));
    lines.iter().try_for_each(|line| json_line(out, line))
}

/// Prints each package once, under the package whose requirement brought it. That package may have
/// been erased later.
fn tree(universe: &Universe, closure: &[PkgId], chains: &[Option<Chain>], out: &mut impl Write) -> io::Result<()> {
    let mut ways: BTreeMap<PkgId, (Origin, &[Step])> = BTreeMap::new();
    let chains = || chains.iter().flatten();
    for chain in chains() {
        if let Some(last) = chain.steps.last() {
            ways.insert(last.package, (chain.origin, &chain.steps));
        }
    }
    for chain in chains() {
        for (place, step) in chain.steps.iter().enumerate() {
            ways.entry(step.package).or_insert((chain.origin, &chain.steps[..=place]));
        }
    }
    let mut roots: BTreeMap<Origin, Vec<&Step>> = BTreeMap::new();
    let mut children: BTreeMap<PkgId, Vec<&Step>> = BTreeMap::new();
    for (origin, steps) in ways.values() {
        match steps {
            [.., before, last] => children.entry(before.package).or_default().push(last),
            [only] => roots.entry(*origin).or_default().push(only),
            [] => {}
        }
    }
    for (origin, roots) in roots {
        writeln!(out, "{}", if origin == Origin::Group { "Build group" } else { "BuildRequires" })?;
        // Depth first, without recursion, because chains have no limit of length.
        let mut open: Vec<(&Step, usize)> = roots.into_iter().rev().map(|step| (step, 1)).collect();
        while let Some((step, depth)) = open.pop() {
            let erased = if closure.binary_search(&step.package).is_ok() { "" } else { " (erased)" };
            let nevra = universe.nevra(step.package);
            writeln!(out, "{:indent$}{} → {nevra}{erased}", "", step.requirement, indent = 2 * depth)?;
            let below = children.get(&step.package).into_iter().flatten().rev();
            open.extend(below.map(|&step| (step, depth + 1)));
        }
    }
    Ok(())
}

/// Prints the packages of the build group that were erased.
fn gone(
    universe: &Universe,
    erased: &[(PkgId, Vec<PkgId>)],
    conflicts: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    if !erased.is_empty() {
        writeln!(out, "Erased from the build group")?;
    }
    for (id, by) in erased {
        let by: Vec<String> = by.iter().map(|&id| universe.nevra(id).to_string()).collect();
        let why = if conflicts.iter().any(|name| *name == universe.package(*id).name) {
            ": named in the BuildConflicts".to_owned()
        } else if by.is_empty() {
            String::new()
        } else {
            format!(": cannot be installed together with {}", by.join(", "))
        };
        writeln!(out, "  {}{why}", universe.nevra(*id))?;
    }
    Ok(())
}

fn unresolved(label: &str, universe: &Universe, answer: &Resolution, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{label} cannot be resolved on {}", universe.arch())?;
    for problem in &answer.problems {
        writeln!(out, "  {}", problem.replace('\n', "\n  "))?;
    }
    writeln!(
        out,
        "To see which change caused this, give an earlier state of the repository with --against DIR instead of \
            --explain."
    )
}
