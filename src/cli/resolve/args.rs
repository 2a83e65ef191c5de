//! What is typed after `koschei resolve`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::repos::RepoArg;
use crate::resolve::{Mode, Solvers};

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
