//! How requirements are combined, and which solver answers.

/// How the build group and the BuildRequires are combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Two transactions, as in mock and a real build: the group is resolved alone and installed,
    /// then the BuildRequires are resolved on top of it (`dnf install @build`, `dnf builddep`, both
    /// with `--allowerasing`). Packages of the group stay unless they prevent a BuildRequires; then
    /// they are replaced or erased.
    #[default]
    Two,
    /// One transaction for both, as in Koschei. It gives other closures for some packages (3 in
    /// 1,000 of a distribution). Never compare results of the two modes.
    Joint,
}

impl Mode {
    /// Returns `two` or `joint`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Two => "two",
            Self::Joint => "joint",
        }
    }
}

/// Which solver answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Solvers {
    /// Our own solver. libsolv answers if ours hands over.
    #[default]
    Both,
    /// Always libsolv, as the reference.
    Libsolv,
    /// Always our own solver, even if it would hand over; the answer is then wrong. This shows that
    /// handing over is needed.
    NativeAlone,
}
