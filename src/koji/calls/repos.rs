//! Repository generations. Methods with a dot exist since 1.35.

use super::{Page, Query, record};
use crate::koji::records::{Repo, RepoAnswer};
use crate::koji::xmlrpc::Value;
use crate::model::koji::RepoState;
use crate::model::{RepoId, TagId};

/// What [`query_repos`] asks of each repository.
pub const REPO_FIELDS: [&str; 14] = [
    "id",
    "state",
    "tag_id",
    "tag_name",
    "create_event",
    "creation_ts",
    "state_ts",
    "begin_event",
    "end_event",
    "task_id",
    "task_state",
    "dist",
    "opts",
    "custom_opts",
];

/// A repository.
pub fn repo_info(id: RepoId) -> Query<Option<Repo>> {
    Query::new("repoInfo", vec![id.into()])
}

/// Repositories of a tag, `dist` ones left out, in one state or in any; newest event first.
pub fn query_repos(tag: TagId, state: Option<RepoState>, limit: Option<u32>) -> Query<Vec<Repo>> {
    let equal = |column: &str, value: Value| Value::Array(vec![column.into(), "=".into(), value]);
    let mut clauses = vec![equal("tag_id", tag.into()), equal("dist", false.into())];
    clauses.extend(state.map(|state| equal("state", state.into())));
    let page = Page { order: Some("-create_event".to_owned()), limit, offset: None };
    let arguments = vec![Value::Array(clauses), REPO_FIELDS.to_vec().into(), page.to_value().into()];
    Query::new("repo.query", arguments)
}

/// The newest ready repository; with an event the newest that is not newer, in whatever state. On hubs ≥ 1.35 one that was asked
/// for with options of its own counts, too; prefer [`latest_repo`] there.
pub fn get_repo(tag: impl Into<Value>, event: Option<i64>) -> Query<Option<Repo>> {
    Query::new("getRepo", vec![tag.into()]).maybe("event", event)
}

/// The best ready repository with the tag's own options, at least as new as an event.
pub fn latest_repo(tag: impl Into<Value>, min_event: Option<i64>) -> Query<Option<Repo>> {
    Query::new("repo.get", vec![tag.into()]).maybe("min_event", min_event)
}

/// What repository to ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestRepo {
    /// At least as new as this Koji event.
    pub min_event: Option<i64>,
    /// At least as new as the tag's last change; ignored when there is a `min_event`.
    pub last: bool,
    /// With source packages, in repositories of their own.
    pub separate_src: bool,
    /// Lower comes sooner, the hub's default is 20; only admins may ask for less than that.
    pub priority: Option<i64>,
}

/// Asks for a repository to be made, unless a fitting one is there. Needs a login; asking twice does no harm.
pub fn request_repo(tag: impl Into<Value>, what: &RequestRepo) -> Query<RepoAnswer> {
    let last = what.last.then(|| Value::from("last"));
    Query::new("repo.request", vec![tag.into()])
        .maybe("min_event", what.min_event.map(Value::from).or(last))
        .maybe("opts", record([("separate_src", what.separate_src.then_some(true.into()))]))
        .maybe("priority", what.priority)
}

/// What became of a request.
pub fn check_request(id: i64) -> Query<RepoAnswer> {
    Query::new("repo.checkRequest", vec![id.into()])
}
