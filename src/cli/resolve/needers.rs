//! `koschei resolve --who-needs`: which packages need a capability, which provide it, and which
//! buildroots contain a provider.

use std::io::{self, Write};

use super::{ResolveArgs, ResolveCliError, bar, for_each, json_line, no_line, sources, translate};
use crate::cli::repos;
use crate::cli::sources::Source;
use crate::repodata::Dependency;
use crate::resolve::{Needers, PkgId, Universe, names, needers};

/// The source packages that need the capability.
#[derive(Default)]
struct Users {
    /// Labels, with the requirements that name the capability.
    asking: Vec<(String, Vec<String>)>,
    /// Labels, with the providers in the buildroot.
    having: Vec<(String, Vec<PkgId>)>,
    resolved: usize,
}

pub(super) fn run(
    args: &ResolveArgs,
    capability: &str,
    out: &mut impl Write,
    progress: bool,
) -> Result<(), ResolveCliError> {
    let capability = Dependency::parse(capability).map_err(ResolveCliError::Capability)?;
    let arch = super::arch(args)?;
    let mut sources = sources::read(args, &arch)?;
    let paths = sources.iter().flat_map(Source::requires).chain(capability.path());
    let content = repos::load(args, &args.repo, paths)?;
    translate(args, &mut sources, &content, &arch);
    let group = repos::build_group(args, &args.repo, &content)?;
    let universe = repos::universe(&args.repo, content, &arch)?;
    let prepared = universe.prepare_with(&group, args.mode.into(), args.solver.into())?;
    let found = needers(&prepared, &capability);
    let mut users = Users::default();
    let bar = bar(sources.len(), progress);
    // Problem texts are not needed, so they are left out.
    let quick = ResolveArgs { digest: true, ..args.clone() };
    for_each(&prepared, &sources, &quick, no_line, |source, answer, _| {
        bar.inc(1);
        let about = |text: &&str| Dependency::parse(text).is_ok_and(|d| names(&d, &capability));
        let texts: Vec<String> = source.requires().filter(about).map(str::to_owned).collect();
        if !texts.is_empty() {
            users.asking.push((source.label.clone(), texts));
        }
        let Some(answer) = answer.filter(|a| a.ok) else { return Ok(()) };
        users.resolved += 1;
        let there = |id: &&PkgId| answer.closure.binary_search(id).is_ok();
        let providers: Vec<PkgId> = found.providers.iter().filter(there).copied().collect();
        if !providers.is_empty() {
            users.having.push((source.label.clone(), providers));
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    if args.jsonl {
        return lines(&universe, &found, &users, out);
    }
    print(&capability, &universe, &found, &users, out).map_err(ResolveCliError::Write)
}

fn lines(universe: &Universe, found: &Needers, users: &Users, out: &mut impl Write) -> Result<(), ResolveCliError> {
    use serde_json::json;
    let name = |id: &PkgId| universe.nevra(*id).to_string();
    for id in &found.providers {
        json_line(out, &json!({ "kind": "provides", "package": name(id) }))?;
    }
    for (id, requirements) in &found.requirers {
        json_line(out, &json!({ "kind": "requires", "package": name(id), "requirements": requirements }))?;
    }
    for (source, requirements) in &users.asking {
        json_line(out, &json!({ "kind": "build_requires", "source": source, "requirements": requirements }))?;
    }
    for (source, providers) in &users.having {
        let providers: Vec<String> = providers.iter().map(name).collect();
        json_line(out, &json!({ "kind": "in_buildroot", "source": source, "packages": providers }))?;
    }
    Ok(())
}

fn print(
    capability: &Dependency,
    universe: &Universe,
    found: &Needers,
    users: &Users,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "Capability     {capability} ({})", universe.arch())?;
    writeln!(out, "Provided by    {} packages", found.providers.len())?;
    for &id in &found.providers {
        writeln!(out, "  {}", universe.nevra(id))?;
    }
    writeln!(out, "Required by    {} packages", found.requirers.len())?;
    for (id, requirements) in &found.requirers {
        writeln!(out, "  {}: {}", universe.nevra(*id), requirements.join(", "))?;
    }
    writeln!(out, "BuildRequires  of {} source packages", users.asking.len())?;
    for (source, requirements) in &users.asking {
        writeln!(out, "  {source}: {}", requirements.join(", "))?;
    }
    writeln!(out, "In buildroots  of {} source packages of {} that resolve", users.having.len(), users.resolved)?;
    for (source, providers) in &users.having {
        let providers: Vec<String> = providers.iter().map(|&id| universe.nevra(id).to_string()).collect();
        writeln!(out, "  {source}: {}", providers.join(", "))?;
    }
    if found.providers.is_empty() && found.requirers.is_empty() && users.asking.is_empty() {
        writeln!(
            out,
            "No package knows it. Write it as in a spec file: `libfoo.so.1()(64bit)`, `pkgconfig(foo)`, or a whole \
                path."
        )?;
    }
    Ok(())
}
