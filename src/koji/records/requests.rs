//! The parameters of tasks, as somebody submitted them.
//!
//! The hub stores the parameters of a `build` without reading them, so they may be anything. Parts
//! that cannot be understood are left out.

use std::collections::BTreeMap;

use crate::koji::shape::{FromValue, Words};
use crate::koji::xmlrpc::{Call, Value};
use crate::model::{Name, RepoId};

/// Build option that takes any struct and stores it unchanged. We put the id of our decision into
/// it.
pub const METADATA: &str = "custom_user_metadata";

/// The parameters of a `build` task: source, target and options.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BuildRequest {
    /// An SCM URL, an uploaded file, or `../packages/…/N-V-R.src.rpm`.
    pub source: String,
    /// The build target. Nil if only a repository was given.
    pub target: Option<Name>,
    /// Whether this is a scratch build, whose result is discarded.
    pub scratch: bool,
    /// The repository to build in.
    pub repo_id: Option<RepoId>,
    /// Architectures to build on instead of the tag's.
    pub arch_override: Option<Vec<Name>>,
    /// What the submitter noted. It is a struct, unless somebody made a mistake.
    pub metadata: Option<Value>,
}

impl BuildRequest {
    /// Reads the parameters. Returns `None` if there is no source.
    pub fn of(parameters: &[Value]) -> Option<Self> {
        let call = Call::new(String::new(), parameters.to_vec());
        let parameter = |place: usize, name: &str| call.args.get(place).or_else(|| call.kwargs.get(name));
        let opts = match parameter(2, "opts") {
            Some(Value::Struct(opts)) => opts.clone(),
            _ => BTreeMap::new(),
        };
        let words =
            |value: &Value| Words::from_value(value).ok().map(|words| words.0).filter(|words| !words.is_empty());
        Some(Self {
            source: parameter(0, "src")?.as_str()?.to_owned(),
            target: parameter(1, "target").and_then(|target| Name::from_value(target).ok()),
            scratch: opts.get("scratch").is_some_and(Value::truth),
            repo_id: opts.get("repo_id").and_then(Value::as_int).map(RepoId),
            arch_override: opts.get("arch_override").and_then(words),
            metadata: opts.get(METADATA).filter(|value| value.truth()).cloned(),
        })
    }
}

/// Returns the repository that a `buildArch` or `rebuildSRPM` task builds in. Reads it from the
/// parameters. Returns `None` for other methods, or if the parameters do not name it.
pub fn repo_of_step(method: &str, parameters: &[Value]) -> Option<RepoId> {
    let call = Call::new(String::new(), parameters.to_vec());
    let place = match method {
        "buildArch" => 4,
        "rebuildSRPM" => 2,
        _ => return None,
    };
    let opts = call.args.get(place).or_else(|| call.kwargs.get("opts"))?;
    opts.get("repo_id").and_then(Value::as_int).map(RepoId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(members: &[(&str, Value)]) -> Value {
        Value::Struct(members.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn a_build_request_is_read_positional_or_by_keyword() {
        let opts = record(&[
            ("scratch", true.into()),
            ("repo_id", 28.into()),
            ("arch_override", "x86_64 aarch64".into()),
            (METADATA, record(&[("koschei", "r5".into())])),
            ("unheard_of", Value::Nil),
        ]);
        let expected = BuildRequest {
            source: "../packages/a.src.rpm".to_owned(),
            target: Some("f99".into()),
            scratch: true,
            repo_id: Some(RepoId(28)),
            arch_override: Some(vec!["x86_64".into(), "aarch64".into()]),
            metadata: Some(record(&[("koschei", "r5".into())])),
        };
        let positional = [Value::from("../packages/a.src.rpm"), "f99".into(), opts.clone()];
        assert_eq!(BuildRequest::of(&positional), Some(expected.clone()));
        let keyword = record(&[
            ("src", "../packages/a.src.rpm".into()),
            ("target", "f99".into()),
            ("opts", opts),
            ("__starstar", true.into()),
        ]);
        assert_eq!(BuildRequest::of(&[keyword]), Some(expected));
    }

    #[test]
    fn nonsense_is_left_out() {
        let opts = record(&[("repo_id", "none".into()), ("arch_override", 5.into()), (METADATA, "".into())]);
        let request = BuildRequest::of(&["a".into(), Value::Nil, opts]).unwrap();
        assert_eq!((request.target, request.repo_id, request.arch_override), (None, None, None));
        assert_eq!((request.scratch, request.metadata), (false, None));
        assert_eq!(BuildRequest::of(&["a".into(), Value::Nil, 7.into()]).map(|r| r.scratch), Some(false));
        assert_eq!(BuildRequest::of(&[]), None);
        assert_eq!(BuildRequest::of(&[5.into()]), None);
    }

    #[test]
    fn tasks_of_one_architecture_say_their_repository() {
        let opts = record(&[("repo_id", 45.into())]);
        let arch = ["tasks/1/1/a.src.rpm".into(), 3.into(), "x86_64".into(), true.into(), opts.clone()];
        assert_eq!(repo_of_step("buildArch", &arch), Some(RepoId(45)));
        let srpm = ["a.src.rpm".into(), 3.into(), opts];
        assert_eq!(repo_of_step("rebuildSRPM", &srpm), Some(RepoId(45)));
        assert_eq!(repo_of_step("newRepo", &srpm), None);
    }
}
