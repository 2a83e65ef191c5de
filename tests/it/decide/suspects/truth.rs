//! What is really so in a world, beside what the program can see.

use koschei::decide::suspects::Evidence;

/// What is really behind a failed build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// The bad updates behind it.
    pub culprits: Vec<u32>,
    /// The number of packages that the widest of them breaks.
    pub size: u32,
    /// An update is behind this or another failed build of the same run.
    pub run: bool,
    /// The place of the build in the dump, where faults are listed too.
    pub order: u32,
    /// An infrastructure fault ended it, and its text tells so.
    pub fault_by_text: bool,
    /// An infrastructure fault ended it, and messages alone tell so.
    pub fault_by_message: bool,
}

/// One collection of a world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// What the program can see.
    pub evidence: Evidence,
    /// What is so, for each build.
    pub truth: Vec<Truth>,
    /// All failed builds, with those that faults ended.
    pub failures: u32,
    /// The number of repositories.
    pub repos: u32,
}
