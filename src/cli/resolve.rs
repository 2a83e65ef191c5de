//! `koschei resolve`: resolve source packages against a repository on disk, without any log or hub.
//!
//! Output is in the order of the input whatever the number of threads. One line per source package with `--jsonl`, else
//! a summary for people. With `--jsonl` that a package cannot be resolved is an answer, and the exit status is 0;
//! people and scripts that ask without it want to know whether it can, so that the exit status is 5 when it cannot.

mod against;
mod explain;
mod needers;
mod summary;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use clap::{Args, ValueEnum};
use serde::Serialize;
use sha2::{Digest, Sha256};

use self::summary::{Stats, Summary};
use super::FOUND;
use super::repos::{self, RepoArg};
use super::sources::{self, Source};
use crate::koji::SourcesError;
use crate::model::arch::{UnknownArch, check_name};
use crate::model::{Class, Classified};
use crate::repodata::{DependencyError, RepoContent, RepoDir, RepodataError, SrpmError, complete_merged};
use crate::resolve::{GroupVerdict, Mode, PkgId, Prepared, Resolution, ResolveError, Solvers, Universe};

/// Source packages a thread takes at a time.
const BATCH: usize = 32;
/// Batches that may wait for an earlier one of another thread before their threads pause.
const WAITING_MAX: usize = 32;

/// Find out which packages a source package would be built with, or why it cannot be.
///
/// The repository is a directory with `repodata/` in it; of a Koji repository that is the directory of one
/// architecture. Several are resolved against together, their packages in the order of the repositories, as dnf does
/// with several in its configuration: one with a lower priority number is preferred to the others whatever the
/// versions. (External repositories of a Koji tag are in Koji's own repository already, merged by its mergerepo, and
/// are not given here.) The source packages come from an rpm-md repository of source packages, from a file with one
/// JSON object per line (`nvr`, and `requires` as strings or `raw` as the hub's `[name, version, flags]`; optionally
/// `conflicts`, the BuildConflicts, `buildarchs`, `exclusivearch`, `excludearch`, and `made_on`, the architecture
/// requirements with one in them are of), or are given themselves.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  koschei resolve --repo repos/f99-build/26/x86_64 --buildrequires buildrequires.jsonl \
        --packages bash-5.2.32-2.fc99 --jsonl\n  koschei resolve --repo repos/f99-build/5/x86_64 --against \
        repos/f99-build/4/x86_64 --buildrequires buildrequires.jsonl\n\nExit status 0: everything that was asked for \
        resolves, or --jsonl says what does not; 5: something does not, or the build group does not; 3: there is no \
        such architecture, package, or group."
)]
pub struct ResolveArgs {
    /// Directory of the binary repository (the one that holds repodata/); may be repeated. Of several the one with the
    /// lower priority wins; the default is 99. With `module_hotfixes=1` its packages count whatever modules say
    #[arg(long, value_name = "DIR[,priority=N][,module_hotfixes=1]", required = true)]
    pub repo: Vec<RepoArg>,
    /// Directory of a repository of source packages; their requires are the BuildRequires
    #[arg(long, value_name = "DIR", required_unless_present_any = ["buildrequires", "srpm"])]
    #[arg(conflicts_with_all = ["buildrequires", "srpm"])]
    pub source: Option<PathBuf>,
    /// File with the BuildRequires of source packages, one JSON object per line
    #[arg(long, value_name = "FILE", conflicts_with = "srpm")]
    pub buildrequires: Option<PathBuf>,
    /// Source package; may be repeated. Of each only the header is read
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub srpm: Vec<PathBuf>,
    /// Resolve requirements that name the architecture a source package was made on, such as libfoo-devel(x86-64), as
    /// the real build on this one would ask for them; always done with --srpm
    #[arg(long)]
    pub translate_isa: bool,
    /// Only these source packages, as they are named in the output
    #[arg(long, value_name = "NVR,…", value_delimiter = ',')]
    pub packages: Vec<String>,
    /// comps file with the build group; default: those in the repositories, else groups/comps.xml beside one
    #[arg(long, value_name = "FILE")]
    pub group_file: Option<PathBuf>,
    /// Id of the build group
    #[arg(long, value_name = "ID", default_value = "build")]
    pub group: String,
    /// Architecture; default: the name of a repository's directory if that is one, else `x86_64`
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// How build group and BuildRequires are put together
    #[arg(long, value_enum, default_value_t)]
    pub mode: ModeArg,
    /// Pass over BuildConflicts, as dnf 4 does; in mode `two` packages they name are kept out else, as by dnf 5
    #[arg(long)]
    pub ignore_build_conflicts: bool,
    /// Install weak dependencies (`Recommends`, `Supplements`), too, where they can be; builders do not. libsolv
    /// answers then
    #[arg(long, conflicts_with_all = ["explain", "who_needs", "against"])]
    pub weak_deps: bool,
    /// Which solver answers
    #[arg(long, value_enum, default_value_t)]
    pub solver: SolverArg,
    /// Why each package is in the buildroot of this source package, named as in the output: the shortest chain of
    /// requirements
    #[arg(long, value_name = "NVR", conflicts_with_all = ["packages", "who_needs", "against", "digest", "distances"])]
    pub explain: Option<String>,
    /// Which packages and source packages need this (`libfoo.so.1()(64bit)`, `foo >= 2`, a path), and which provide it
    #[arg(long, value_name = "CAPABILITY", conflicts_with_all = ["against", "digest", "distances"])]
    pub who_needs: Option<String>,
    /// An earlier state of the repository: what changed since, and which change made packages unresolvable. May be
    /// repeated, oldest first
    #[arg(long, value_name = "DIR", conflicts_with_all = ["digest", "distances"])]
    pub against: Vec<PathBuf>,
    /// Print number and digest of the packages instead of their names
    #[arg(long)]
    pub digest: bool,
    /// Leave out why something cannot be resolved: libsolv needs some milliseconds for each text. Verdicts are complete
    /// without
    #[arg(long)]
    pub no_texts: bool,
    /// Also print how far each package is from the source package: as Koschei counts, and over the packages that are
    /// there
    #[arg(long)]
    pub distances: bool,
    /// Threads; default: one per processor
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Afterwards tell on standard error where the time went and which solver answered (as JSON with --jsonl)
    #[arg(long)]
    pub stats: bool,
    /// Print one line of JSON per source package
    #[arg(long)]
    pub jsonl: bool,
    /// Exit with 5 when a source package or the build group does not resolve, also with --jsonl
    #[arg(long, conflicts_with_all = ["who_needs", "against"])]
    pub fail_unresolved: bool,
}

/// [`Mode`] on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum ModeArg {
    /// Group first, then BuildRequires on top of it: what mock does
    #[default]
    Two,
    /// Both in one transaction: what the original Koschei does
    Joint,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Two => Self::Two,
            ModeArg::Joint => Self::Joint,
        }
    }
}

/// [`Solvers`] on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum SolverArg {
    /// Our own, libsolv where it hands over
    #[default]
    Both,
    /// libsolv for everything: slow, to compare with
    Libsolv,
}

impl From<SolverArg> for Solvers {
    fn from(arg: SolverArg) -> Self {
        match arg {
            SolverArg::Both => Self::Both,
            SolverArg::Libsolv => Self::Libsolv,
        }
    }
}

/// Why `koschei resolve` gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveCliError {
    /// A repository or comps file.
    #[error(transparent)]
    Repodata(#[from] RepodataError),
    /// The solver did not take the repository.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// There is no build group anywhere.
    #[error(
        "find the build group: neither repodata/repomd.xml of {repo} names a group file{} nor is there {beside}; give \
            one with --group-file",
        if problems.is_empty() { String::new() } else { format!(" that can be used (failed to \
            {})", problems.join("; failed to ")) }
    )]
    NoGroupFile {
        /// The repositories.
        repo: String,
        /// Where Koji would have put it.
        beside: PathBuf,
        /// Why those that are named cannot be used.
        problems: Vec<String>,
    },
    /// The groups do not have the wanted one.
    #[error("find group `{group}` in {file}: it has {found}; choose one with --group")]
    NoGroup {
        /// The wanted one.
        group: String,
        /// Where it was looked for.
        file: String,
        /// Those that are there.
        found: String,
    },
    /// Repositories that look as if they were for different architectures.
    #[error("choose the architecture: {} and {} are for {arches} by their names; say which with \
        --arch", first.display(), second.display())]
    Arches {
        /// One repository.
        first: PathBuf,
        /// Another.
        second: PathBuf,
        /// Both architectures.
        arches: String,
    },
    /// `--arch` names none.
    #[error("choose the architecture: {0}")]
    UnknownArch(UnknownArch),
    /// The file with the BuildRequires.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// A source package.
    #[error(transparent)]
    Srpm(#[from] SrpmError),
    /// `--packages` names something that is not there.
    #[error("find source package {}: not in {path}{}", names.join(", "), or_else(near))]
    NoPackage {
        /// Those not found.
        names: Vec<String>,
        /// Those that look like the first.
        near: Vec<String>,
        /// Where they were looked for.
        path: PathBuf,
    },
    /// `--who-needs` is no capability.
    #[error("read the capability of --who-needs: {0}; write it as a spec file would")]
    Capability(DependencyError),
    /// Standard output.
    #[error("write the answers")]
    Write(#[source] io::Error),
}

fn or_else(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

impl Classified for ResolveCliError {
    fn class(&self) -> Class {
        match self {
            Self::Repodata(error) => error.class(),
            Self::Resolve(error) => error.class(),
            Self::Sources(error) => error.class(),
            Self::Srpm(error) => error.class(),
            Self::Write(_) => Class::Unavailable,
            Self::NoGroupFile { .. }
            | Self::NoGroup { .. }
            | Self::Arches { .. }
            | Self::UnknownArch(_)
            | Self::NoPackage { .. }
            | Self::Capability(_) => Class::Rejected,
        }
    }
}

/// Runs the command on standard output.
///
/// # Errors
/// [`ResolveCliError`]; the caller maps its class to the exit status. A reader that closes the pipe is no error.
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

/// Runs the command on any writer; `progress` shows a bar on standard error. `false`: a source package, or the build
/// group, does not resolve; where another question was asked (`--who-needs`, `--against`) it is always `true`.
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
    // Koji's name of the family; packages of it are armv7hl.
    Ok(if arch == "armhfp" { "armv7hl" } else { arch }.to_owned())
}

fn translate(args: &ResolveArgs, sources: &mut [Source], content: &RepoContent, arch: &str) {
    if args.translate_isa || !args.srpm.is_empty() {
        sources::translate(sources, content, arch);
    }
}

/// Resolves all sources on several threads, writes each answer's line there, and hands the answers over in order.
fn for_each(
    prepared: &Prepared<'_>,
    sources: &[Source],
    args: &ResolveArgs,
    line: impl Fn(&Source, Option<&Resolution>, &mut Vec<u8>) -> Result<(), ResolveCliError> + Sync,
    mut take: impl FnMut(&Source, Option<&Resolution>, &[u8]) -> Result<(), ResolveCliError>,
) -> Result<GroupVerdict, ResolveCliError> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = args.threads.map_or(processors, NonZeroUsize::get).min(sources.len().max(1));
    let next = AtomicUsize::new(0);
    let resolver = || {
        let mut resolver = prepared.resolver();
        if args.distances {
            resolver = resolver.with_distances();
        }
        if args.distances && args.jsonl {
            resolver = resolver.with_true_distances();
        }
        if args.digest || args.no_texts { resolver.without_texts() } else { resolver }
    };
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel(WAITING_MAX);
        for _ in 0..threads {
            let (send, next, resolver, line) = (send.clone(), &next, &resolver, &line);
            scope.spawn(move || {
                let mut resolver = resolver();
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    let Some(batch) = sources.get(first..).filter(|rest| !rest.is_empty()) else { return };
                    let answers = batch.iter().take(BATCH).map(|source| {
                        let answer = source.excluded.is_none().then(|| {
                            let mut answer = resolver.resolve_source(&source.build);
                            answer.problems = source.build.explain(&answer.problems);
                            answer
                        });
                        let mut bytes = Vec::new();
                        line(source, answer.as_ref(), &mut bytes).map(|()| (answer, bytes))
                    });
                    // The receiver is gone when writing failed: then nobody wants the rest.
                    if send.send((first, answers.collect::<Result<Vec<_>, _>>())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut expected = 0;
        for (first, answers) in receive {
            waiting.insert(first, answers?);
            while let Some(answers) = waiting.remove(&expected) {
                for (answer, line) in answers {
                    take(&sources[expected], answer.as_ref(), &line)?;
                    expected += 1;
                }
            }
        }
        Ok(prepared.group().clone())
    })
}

#[derive(Serialize)]
struct Line<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_for_this_arch: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closure: Option<Vec<&'a str>>,
    /// What the build group brought and the buildroot does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    erased: Vec<&'a str>,
    /// Rich BuildRequires that were passed over, as nothing they name exists.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    skipped: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<BTreeMap<String, u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    true_distance: Option<BTreeMap<String, u16>>,
}

fn write_line(
    out: &mut Vec<u8>,
    source: &Source,
    answer: Option<&Resolution>,
    names: &Names<'_>,
    args: &ResolveArgs,
) -> Result<(), ResolveCliError> {
    let measured = answer.filter(|a| args.distances && a.ok);
    let mut line = Line {
        source: &source.label,
        ok: answer.map(|a| a.ok),
        not_for_this_arch: source.excluded,
        closure: None,
        erased: Vec::new(),
        skipped: answer.map_or(&[], |a| &a.skipped),
        problems: None,
        count: None,
        digest: None,
        distance: measured.map(|a| by_name(&a.closure, &a.distances, names.universe)),
        true_distance: measured.map(|a| by_name(&a.closure, &a.true_distances, names.universe)),
    };
    if let Some(answer) = answer {
        if args.digest {
            line.count = Some(answer.closure.len());
            line.digest = Some(answer.ok.then(|| names.digest(&answer.closure)));
        } else if answer.ok {
            line.closure = Some(names.sorted(&answer.closure).collect());
            line.erased = names.sorted(&answer.erased).collect();
        } else {
            line.problems = Some(&answer.problems);
        }
    }
    json_line(out, &line)
}

/// For who wants the answers themselves.
fn no_line(_: &Source, _: Option<&Resolution>, _: &mut Vec<u8>) -> Result<(), ResolveCliError> {
    Ok(())
}

fn json_line(out: &mut impl Write, line: &impl Serialize) -> Result<(), ResolveCliError> {
    serde_json::to_writer(&mut *out, line).map_err(|e| ResolveCliError::Write(e.into()))?;
    out.write_all(b"\n").map_err(ResolveCliError::Write)
}

/// The names of all packages, and how they sort: closures have hundreds, and most packages are in many.
struct Names<'u> {
    universe: &'u Universe,
    texts: Vec<String>,
    ranks: Vec<u32>,
}

impl<'u> Names<'u> {
    fn new(universe: &'u Universe) -> Self {
        let texts: Vec<String> = universe.ids().map(|id| universe.nevra(id).to_string()).collect();
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_unstable_by(|&a, &b| texts[a].cmp(&texts[b]));
        let mut ranks = vec![0; texts.len()];
        for (rank, &index) in (0..).zip(&order) {
            ranks[index] = rank;
        }
        Self { universe, texts, ranks }
    }

    /// The names of a closure, sorted bytewise.
    fn sorted(&self, closure: &[PkgId]) -> impl Iterator<Item = &str> {
        let mut closure = closure.to_vec();
        closure.sort_unstable_by_key(|id| self.ranks[id.index()]);
        closure.into_iter().map(|id| self.texts[id.index()].as_str())
    }

    /// First 16 bytes, in hex, of SHA-256 over the sorted names joined with newlines.
    fn digest(&self, closure: &[PkgId]) -> String {
        let mut hash = Sha256::new();
        for (i, name) in self.sorted(closure).enumerate() {
            if i > 0 {
                hash.update(b"\n");
            }
            hash.update(name);
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The smallest distance of each package name; names out of reach are left out.
fn by_name<D: Copy + Ord>(closure: &[PkgId], distances: &[Option<D>], universe: &Universe) -> BTreeMap<String, D> {
    let mut map: BTreeMap<String, D> = BTreeMap::new();
    for (&id, distance) in closure.iter().zip(distances) {
        if let Some(distance) = *distance {
            let least = map.entry(universe.package(id).name.to_string()).or_insert(distance);
            *least = distance.min(*least);
        }
    }
    map
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
