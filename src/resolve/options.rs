//! Options of resolution that differ between collections.

/// How a collection's repositories are resolved. Two collections with different options on one
/// repository have separate verdicts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct ResolveOptions {
    /// Whether weak dependencies of installed packages are installed, too. Builders leave them out.
    pub weak_deps: bool,
    /// Whether packages count regardless of modules (dnf's `module_hotfixes`, Koji's
    /// `mock.yum.module_hotfixes` of a build tag).
    pub module_hotfixes: bool,
}
