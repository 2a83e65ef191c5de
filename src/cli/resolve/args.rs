//! The arguments of `koschei resolve`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::repo_arg::RepoArg;
use crate::resolve::{Mode, Solvers};

/// Resolve source packages: which packages they are built with, or why they cannot be built.
///
/// The repository is a directory that contains `repodata/`. For a Koji repository, that is the
/// directory of one architecture. Several repositories are resolved together, as in dnf: a package
/// from a repository with a lower priority number is preferred, whatever its version. Koji's own
/// repository already contains the external repositories of a tag (mergerepo merged them), so do
/// not give them here.
///
/// The source packages come from one of three places: a repository of source packages (--source), a
/// file with their requirements (--buildrequires), or the packages themselves (--srpm). The file
/// has one JSON object per line. `nvr` names the package. `requires` lists requirements as strings,
/// or `raw` lists them in the form of the hub, `[name, version, flags]`. Optional keys are
/// `conflicts` (the BuildConflicts), `buildarchs`, `exclusivearch`, `excludearch`, and `made_on`
/// (the architecture the package was made on, which some requirements name).
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  koschei resolve --repo repos/f99-build/26/x86_64 --buildrequires buildrequires.jsonl \
        --packages bash-5.2.32-2.fc99 --jsonl\n  koschei resolve --repo repos/f99-build/5/x86_64 --against \
        repos/f99-build/4/x86_64 --buildrequires buildrequires.jsonl\n\nExit status: 0 everything resolves, or \
        --jsonl reports what does not; 3 the architecture, package or group does not exist; 5 a source package or \
        the build group does not resolve."
)]
pub struct ResolveArgs {
    /// Directory of the binary repository (it contains repodata/); may be repeated. The repository
    /// with the lowest priority number wins; the default is 99. With `module_hotfixes=1`, modules
    /// do not hide its packages
    #[arg(long, value_name = "DIR[,priority=N][,module_hotfixes=1]", required = true)]
    pub repo: Vec<RepoArg>,
    /// Directory of a repository of source packages; their requirements are the BuildRequires
    #[arg(long, value_name = "DIR", required_unless_present_any = ["buildrequires", "srpm"])]
    #[arg(conflicts_with_all = ["buildrequires", "srpm"])]
    pub source: Option<PathBuf>,
    /// File with the BuildRequires of source packages, one JSON object per line
    #[arg(long, value_name = "FILE", conflicts_with = "srpm")]
    pub buildrequires: Option<PathBuf>,
    /// Source package, of which only the header is read; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub srpm: Vec<PathBuf>,
    /// Translate requirements that name the architecture the source package was made on, such as
    /// libfoo-devel(x86-64), to the architecture that is resolved, as a real build does; always on
    /// with --srpm
    #[arg(long)]
    pub translate_isa: bool,
    /// Source packages to resolve, named as in the output; default: all
    #[arg(long, value_name = "NVR,…", value_delimiter = ',')]
    pub packages: Vec<String>,
    /// Comps file with the build group; default: that of the repositories, else groups/comps.xml
    /// beside one
    #[arg(long, value_name = "FILE")]
    pub group_file: Option<PathBuf>,
    /// Id of the build group
    #[arg(long, value_name = "ID", default_value = "build")]
    pub group: String,
    /// Architecture; default: the name of a repository's directory if it is an architecture, else
    /// `x86_64`
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// How the build group and the BuildRequires are resolved
    #[arg(long, value_enum, default_value_t)]
    pub mode: ModeArg,
    /// Ignore BuildConflicts, as dnf 4 does. By default, mode `two` excludes the packages they
    /// name, as dnf 5 does
    #[arg(long)]
    pub ignore_build_conflicts: bool,
    /// Install weak dependencies (`Recommends`, `Supplements`) where possible. Builders do not
    /// install them. libsolv then answers everything
    #[arg(long, conflicts_with_all = ["explain", "who_needs", "against"])]
    pub weak_deps: bool,
    /// Solver to use
    #[arg(long, value_enum, default_value_t)]
    pub solver: SolverArg,
    /// Source package whose buildroot is explained, named as in the output: for each package, the
    /// shortest chain of requirements
    #[arg(long, value_name = "NVR", conflicts_with_all = ["packages", "who_needs", "against", "digest", "distances"])]
    pub explain: Option<String>,
    /// Capability to look up (`libfoo.so.1()(64bit)`, `foo >= 2`, a path): what provides it, and
    /// which packages and source packages need it
    #[arg(long, value_name = "CAPABILITY", conflicts_with_all = ["against", "digest", "distances"])]
    pub who_needs: Option<String>,
    /// Earlier state of the repository to compare with: what changed since, and which change made
    /// packages unresolvable. May be repeated, oldest first
    #[arg(long, value_name = "DIR", conflicts_with_all = ["digest", "distances"])]
    pub against: Vec<PathBuf>,
    /// Print the number and a digest of the packages instead of their names
    #[arg(long)]
    pub digest: bool,
    /// Leave out the reasons why packages do not resolve, which saves some milliseconds each. The
    /// verdicts stay complete
    #[arg(long)]
    pub no_texts: bool,
    /// Print the distance of each package from the source package, counted twice: as the original
    /// Koschei counts, and along the packages that are installed
    #[arg(long)]
    pub distances: bool,
    /// Number of threads; default: one per processor
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print on standard error where the time went and which solver answered (as JSON with --jsonl)
    #[arg(long)]
    pub stats: bool,
    /// Print one line of JSON per source package
    #[arg(long)]
    pub jsonl: bool,
    /// Exit with 5 if a source package or the build group does not resolve, also with --jsonl
    #[arg(long, conflicts_with_all = ["who_needs", "against"])]
    pub fail_unresolved: bool,
}

/// [`Mode`] on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum ModeArg {
    /// First the build group, then the BuildRequires on top of it, as mock does
    #[default]
    Two,
    /// Both in one transaction, as the original Koschei does
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
    /// Our own solver; libsolv answers what it cannot
    #[default]
    Both,
    /// libsolv for everything: slow, for comparison
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
