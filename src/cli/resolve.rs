//! `koschei resolve`: resolves source packages against a repository on disk, without a log or a
//! hub.
//!
//! Output has the order of the input, for any number of threads. With `--jsonl` it is one line per
//! source package, otherwise a summary for people. With `--jsonl`, an unresolvable package is an
//! answer, and the exit status is 0. Without it, people and scripts want to know whether everything
//! resolves, so the exit status is 5 if something does not.

mod against;
pub(super) mod args;
pub(super) mod error;
mod explain;
mod lines;
mod needers;
mod summary;
mod threads;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

pub use self::args::{ModeArg, ResolveArgs, SolverArg};
pub use self::error::ResolveCliError;
use self::lines::{Names, json_line, write_line};
use self::summary::{Stats, Summary};
use self::threads::{for_each, no_line};
use super::sources::{self, Source};
use super::{FOUND, repos};
use crate::model::arch::check_name;
use crate::repodata::{RepoContent, RepoDir, complete_merged};
use crate::resolve::Resolution;

/// Runs the command on standard output.
///
/// # Errors
/// Returns [`ResolveCliError`]; the caller maps its class to the exit status. A reader that closes
/// the pipe is not an error.
pub fn run(args: &ResolveArgs) -> Result<ExitCode, ResolveCliError> {
    let progress = io::stderr().is_terminal();
    let mut out = BufWriter::new(crate::cli::out::stdout().lock());
    let done = run_to(args, &mut out, progress);
    match done.and_then(|done| out.flush().map(|()| done).map_err(ResolveCliError::Write)) {
        Err(ResolveCliError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(false) if args.fail_unresolved || !args.jsonl => Ok(ExitCode::from(FOUND)),
        Ok(_) => Ok(ExitCode::SUCCESS),
    }
}

/// Runs the command on any writer. `progress` shows a bar on standard error. Returns `false` if a
/// source package or the build group does not resolve. For another question (`--who-needs`,
/// `--against`) it always returns `true`.
///
/// # Errors
/// [`ResolveCliError`].
pub fn run_to(args: &ResolveArgs, out: &mut impl Write, progress: bool) -> Result<bool, ResolveCliError> {
    if args.explain.is_some() {
        return explain::run(args, out);
    }
    if let Some(capability) = &args.who_needs {
        return needers::run(args, capability, out, progress).map(|()| true);
    }
    if !args.against.is_empty() {
        return against::run(args, out, progress).map(|()| true);
    }
    let mut stats = Stats::default();
    let arch = arch(args)?;
    let dirs = repos::open(args, &args.repo)?;
    let (mut sources, parts) = std::thread::scope(|scope| {
        let parts = scope.spawn(|| dirs.iter().map(RepoDir::packages).collect::<Result<Vec<_>, _>>());
        let sources = sources::read(args, &arch);
        let parts = parts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, ResolveCliError>((sources?, parts?))
    })?;
    let asked = sources.iter().flat_map(Source::requires);
    let content = complete_merged(&dirs, parts, asked)?;
    stats.read(&content);
    translate(args, &mut sources, &content, &arch);
    let group = repos::build_group(args, &args.repo, &content)?;
    let universe = repos::universe(&args.repo, content, &arch)?.with_weak_deps(args.weak_deps);
    stats.lap("index files");
    let prepared = universe.prepare_with(&group, args.mode.into(), args.solver.into())?;
    stats.lap("make rules");
    let mut summary = Summary::default();
    let bar = bar(sources.len(), progress);
    let names = Names::new(&universe);
    let line = |source: &Source, answer: Option<&Resolution>, line: &mut Vec<u8>| {
        if args.jsonl && (answer.is_some() || source.shown) {
            write_line(line, source, answer, &names, args)?;
        }
        Ok(())
    };
    let verdict = for_each(&prepared, &sources, args, line, |source, answer, line| {
        bar.inc(1);
        if let Some(answer) = answer {
            stats.add(answer);
        }
        out.write_all(line).map_err(ResolveCliError::Write)?;
        summary.add(source, answer);
        Ok(())
    })?;
    bar.finish_and_clear();
    stats.lap("resolve");
    if args.stats {
        stats.print(args.jsonl);
    }
    if !args.jsonl {
        summary.print(out, &universe, args, &verdict).map_err(ResolveCliError::Write)?;
    }
    Ok(verdict.ok && summary.all_resolve())
}

fn arch(args: &ResolveArgs) -> Result<String, ResolveCliError> {
    let Some(arch) = &args.arch else { return repos::default_arch(&args.repo) };
    check_name(arch, &[]).map_err(ResolveCliError::UnknownArch)?;
    // Koji names the family `armhfp`; its packages are `armv7hl`.
    Ok(if arch == "armhfp" { "armv7hl" } else { arch }.to_owned())
}

fn translate(args: &ResolveArgs, sources: &mut [Source], content: &RepoContent, arch: &str) {
    if args.translate_isa || !args.srpm.is_empty() {
        sources::translate(sources, content, arch);
    }
}

fn bar(total: usize, shown: bool) -> indicatif::ProgressBar {
    if !shown {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} source packages, {eta} left");
    let bar = indicatif::ProgressBar::new(total as u64);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
