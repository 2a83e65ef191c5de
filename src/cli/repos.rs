//! The repositories of `koschei resolve`: one, or several in order with their priorities.

use std::path::Path;

use super::out::visible;
use super::repo_arg::RepoArg;
use super::resolve::args::ResolveArgs;
use super::resolve::error::ResolveCliError;
use crate::repodata::{Member, RepoContent, RepoDir, RepodataError, load_groups, load_merged};
use crate::resolve::{Priority, ResolveError, Universe};

/// Architectures that Koji names repositories after.
const ARCHES: [&str; 9] = ["aarch64", "armhfp", "i386", "i686", "ppc64le", "riscv64", "s390x", "x86_64", "noarch"];

/// Formats the directories for people.
pub(super) fn shown(repos: &[RepoArg]) -> String {
    let paths: Vec<String> = repos.iter().map(|repo| repo.path.display().to_string()).collect();
    paths.join(", ")
}

/// Opens all repositories. Their own groups are not read if a group file is given.
pub(super) fn open(args: &ResolveArgs, repos: &[RepoArg]) -> Result<Vec<RepoDir>, ResolveCliError> {
    let groups = args.group_file.is_none();
    let open = |repo: &RepoArg| {
        let dir = RepoDir::open(&repo.path)?.with_module_hotfixes(repo.module_hotfixes);
        Ok::<_, RepodataError>(if groups { dir } else { dir.without_groups() })
    };
    Ok(repos.iter().map(open).collect::<Result<_, _>>()?)
}

/// Reads all repositories as one. `paths` has the same meaning as in [`RepoDir::load`].
pub(super) fn load<'a>(
    args: &ResolveArgs,
    repos: &[RepoArg],
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<RepoContent, ResolveCliError> {
    Ok(load_merged(&open(args, repos)?, paths)?)
}

/// Prepares the packages for resolving.
pub(super) fn universe(repos: &[RepoArg], content: RepoContent, arch: &str) -> Result<Universe, ResolveError> {
    let priorities: Vec<Priority> = repos.iter().map(|repo| repo.priority).collect();
    Ok(Universe::load(content.into(), arch)?.with_priorities(&priorities))
}

/// Returns the architecture that the names of the directories give, or `x86_64` if none does.
///
/// # Errors
/// The names give different architectures.
pub(super) fn default_arch(repos: &[RepoArg]) -> Result<String, ResolveCliError> {
    let mut told: Option<(&Path, String)> = None;
    for repo in repos {
        match (named_arch(&repo.path), &told) {
            (None, _) => {}
            (Some(arch), None) => told = Some((&repo.path, arch)),
            (Some(arch), Some((_, before))) if arch == *before => {}
            (Some(second), Some((path, first))) => {
                return Err(ResolveCliError::Arches {
                    first: (*path).to_owned(),
                    second: repo.path.clone(),
                    arches: format!("{first} and {second}"),
                });
            }
        }
    }
    Ok(told.map_or_else(|| "x86_64".to_owned(), |(_, arch)| arch))
}

fn named_arch(repo: &Path) -> Option<String> {
    let name = std::path::absolute(repo).ok()?.file_name()?.to_str()?.to_owned();
    match name.as_str() {
        // Koji names 32-bit repositories after the family, not after the architecture of the packages.
        "i386" => Some("i686".to_owned()),
        "armhfp" => Some("armv7hl".to_owned()),
        known if ARCHES.contains(&known) => Some(name),
        _ => None,
    }
}

/// Returns the members of the build group: from the file that was given, otherwise from the
/// repositories, otherwise from `groups/comps.xml` beside the first repository that has one.
pub(super) fn build_group(
    args: &ResolveArgs,
    repos: &[RepoArg],
    content: &RepoContent,
) -> Result<Vec<Member>, ResolveCliError> {
    let read;
    for problem in &content.module_problems {
        let problem = visible(problem);
        eprintln!("warning: the modules of a repository are ignored: failed to {problem}");
    }
    for problem in &content.group_problems {
        let problem = visible(problem);
        eprintln!("warning: the groups of a repository are ignored: failed to {problem}");
    }
    let (groups, file) = if let Some(path) = &args.group_file {
        read = load_groups(path)?;
        (&read, path.display().to_string())
    } else if let Some(own) = &content.groups {
        (own, shown(repos))
    } else {
        let beside = |repo: &RepoArg| repo.path.join("../groups/comps.xml");
        let mut places = repos.iter().map(beside);
        let Some(path) = places.find(|path| path.exists()) else {
            let first = repos.first();
            return Err(ResolveCliError::NoGroupFile {
                repo: shown(repos),
                beside: first.map(beside).unwrap_or_default(),
                problems: content.group_problems.clone(),
            });
        };
        read = load_groups(&path)?;
        (&read, path.display().to_string())
    };
    groups.installed(&args.group).ok_or_else(|| {
        let found: Vec<&str> = groups.ids().collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        ResolveCliError::NoGroup { group: args.group.clone(), file, found }
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a/x86_64", "a/x86_64", 99)]
    #[case("a,priority=5", "a", 5)]
    #[case("a,b,priority=-1", "a,b", -1)]
    #[case("a,priority=1,priority=2", "a,priority=1", 2)]
    fn arguments(#[case] text: &str, #[case] path: &str, #[case] priority: i32) {
        let expected = RepoArg { path: path.into(), priority: Priority(priority), module_hotfixes: false };
        assert_eq!(text.parse(), Ok(expected));
    }

    #[rstest]
    #[case("a,module_hotfixes=1", 99)]
    #[case("a,module_hotfixes=1,priority=5", 5)]
    #[case("a,priority=5,module_hotfixes=true", 5)]
    fn hotfixes(#[case] text: &str, #[case] priority: i32) {
        let expected = RepoArg { path: "a".into(), priority: Priority(priority), module_hotfixes: true };
        assert_eq!(text.parse(), Ok(expected));
    }

    #[rstest]
    #[case("", "a directory is missing")]
    #[case(",priority=1", "a directory is missing")]
    #[case("a,module_hotfixes=yes", "module_hotfixes is 1 or 0, not `yes`")]
    #[case("a,priority=high", "priority `high` is not a number; the lower one wins, the default is 99")]
    fn wrong_arguments(#[case] text: &str, #[case] error: &str) {
        assert_eq!(text.parse::<RepoArg>(), Err(error.to_owned()));
    }

    #[rstest]
    #[case(&["r"], Some("x86_64"))]
    #[case(&["r", "r/aarch64"], Some("aarch64"))]
    #[case(&["r/i386", "s/i686"], Some("i686"))]
    #[case(&["r/s390x", "s/aarch64"], None)]
    fn architectures(#[case] paths: &[&str], #[case] arch: Option<&str>) {
        let repos: Vec<RepoArg> = paths.iter().map(|p| p.parse().unwrap()).collect();
        assert_eq!(default_arch(&repos).ok().as_deref(), arch);
    }
}
