//! Resolution of repositories, compared with libsolv, dnf and real builders.

pub(crate) mod as_mock;
pub(crate) mod build_conflicts;
pub(crate) mod cases;
pub(crate) mod causes;
pub(crate) mod cli;
pub(crate) mod distro;
pub(crate) mod erasing;
pub(crate) mod explain;
pub(crate) mod first;
pub(crate) mod merged;
pub(crate) mod native;
pub(crate) mod options;
pub(crate) mod problem_texts;
pub(crate) mod recordings;
pub(crate) mod repodata_bad;
pub(crate) mod repodata_lenient;
pub(crate) mod scan;
pub(crate) mod small;
pub(crate) mod source_side;
pub(crate) mod verbs;
