//! Finds the packages that need a capability and the packages that provide it.

use super::Prepared;
use crate::repodata::{Dependency, Rich, RichOp};
use crate::resolve::need::{owners, rich};
use crate::resolve::overlap::overlap;
use crate::resolve::universe::PkgId;

/// The providers and requirers of a capability in a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needers {
    /// Packages that provide the capability or own the file, ascending.
    pub providers: Vec<PkgId>,
    /// Packages that require it directly, ascending, with the requirements that name it.
    pub requirers: Vec<(PkgId, Vec<String>)>,
}

/// Looks up a capability in a repository: `foo`, `foo >= 2`, `/usr/bin/foo`, `pkgconfig(foo)`. A
/// requirement counts if it [`names`] the capability. Source packages in the repository do not
/// count. Cost: O(dependencies + requirements of the repository).
pub fn needers(prepared: &Prepared<'_>, capability: &Dependency) -> Needers {
    let (universe, native) = (prepared.universe(), prepared.native());
    let content = universe.content();
    let mut providers = rich(capability).and_then(|rich| native.providers(&rich)).unwrap_or_default();
    if let (true, Some(path)) = (providers.is_empty(), capability.path()) {
        providers = owners(path, native, universe);
    }
    let named: Vec<bool> = content.dependencies().map(|d| names(d, capability)).collect();
    let mut requirers = Vec::new();
    for (index, package) in content.packages().iter().enumerate().filter(|(_, p)| !p.is_source()) {
        let about = package.requires.iter().filter(|r| named[r.dep.index()]);
        let mut texts: Vec<String> = about.map(|r| content.dependency(r.dep).to_string()).collect();
        texts.dedup();
        if !texts.is_empty() {
            requirers.push((PkgId::from_index(index), texts));
        }
    }
    Needers { providers, requirers }
}

/// Checks whether a requirement asks for a capability. It does if the requirement or a part of it
/// has the capability's name and a matching version. The condition of a conditional requirement
/// asks for nothing. Only a requirement with the same text asks for a rich capability.
pub fn names(requirement: &Dependency, capability: &Dependency) -> bool {
    if !requirement.is_rich() || capability.is_rich() {
        return overlap(requirement, capability);
    }
    rich(requirement).is_some_and(|rich| asks(&rich, capability))
}

fn asks(rich: &Rich, capability: &Dependency) -> bool {
    match rich {
        Rich::Plain(plain) => overlap(plain, capability),
        Rich::Node(RichOp::If | RichOp::Unless, then, condition) => {
            let otherwise = match &**condition {
                Rich::Node(RichOp::Else, _, otherwise) => asks(otherwise, capability),
                _ => false,
            };
            asks(then, capability) || otherwise
        }
        Rich::Node(RichOp::Without, left, _) => asks(left, capability),
        Rich::Node(_, left, right) => asks(left, capability) || asks(right, capability),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::same("foo", "foo", true)]
    #[case::other("foobar", "foo", false)]
    #[case::any_version("foo >= 2", "foo", true)]
    #[case::version_fits("foo >= 2", "foo = 3", true)]
    #[case::version_does_not("foo >= 2", "foo = 1", false)]
    #[case::alternative("(bar or foo >= 2)", "foo", true)]
    #[case::alternative_version("(bar or foo >= 2)", "foo < 2", false)]
    #[case::wanted("(foo if bar)", "foo", true)]
    #[case::condition("(foo if bar)", "bar", false)]
    #[case::otherwise("(foo if bar else baz)", "baz", true)]
    #[case::unless("(foo unless bar)", "bar", false)]
    #[case::without("(foo without bar)", "bar", false)]
    #[case::with("(foo with bar)", "bar", true)]
    #[case::path("/bin/sh", "/bin/sh", true)]
    #[case::rich_as_it_stands("(a or b)", "(a or b)", true)]
    #[case::not_understood("(a or", "a", false)]
    fn asks_for(#[case] requirement: &str, #[case] capability: &str, #[case] expected: bool) {
        let parse = |text| Dependency::parse(text).unwrap();
        assert_eq!(names(&parse(requirement), &parse(capability)), expected);
    }
}
