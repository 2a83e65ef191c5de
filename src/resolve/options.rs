//! How repositories are resolved, as far as collections differ in it.

/// How a collection's repositories are resolved, as far as collections may differ in it. Two collections on one
/// repository have verdicts of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct ResolveOptions {
    /// Weak dependencies of what is installed are installed, too. Builders leave them out.
    pub weak_deps: bool,
    /// Packages count whatever modules say (dnf's `module_hotfixes`, Koji's `mock.yum.module_hotfixes` of a build tag).
    pub module_hotfixes: bool,
}
