//! Calls about repository generations. Methods with a dot exist since 1.35.

use super::{Query, record};
use crate::koji::records::Repo;
use crate::koji::xmlrpc::Value;
use crate::model::koji::RepoState;
use crate::model::{RepoId, TagId};

/// The fields that [`query_repos`] asks for.
const FIELDS: [&str; 10] =
    ["id", "tag_id", "tag_name", "state", "state_ts", "create_event", "end_event", "task_id", "dist", "custom_opts"];

/// Asks for a repository.
pub fn repo_info(id: RepoId) -> Query<Option<Repo>> {
    Query::new("repoInfo", vec![id.into()])
}

/// Asks for repositories of a tag, in one state or in any, highest number first. The tag is named
/// by its number, which survives renaming.
pub fn query_repos(tag: TagId, state: Option<RepoState>, limit: u32) -> Query<Vec<Repo>> {
    let equal = |column: &str, value: Value| Value::Array(vec![column.into(), "=".into(), value]);
    let mut clauses = vec![equal("tag_id", tag.into())];
    clauses.extend(state.map(|state| equal("state", state.into())));
    let order = record([("order", Some("-id".into())), ("limit", Some(i64::from(limit).into()))]);
    Query::new("repo.query", vec![Value::Array(clauses), FIELDS.to_vec().into(), order])
}

/// Asks for the newest ready repository. Hubs ≥ 1.35 also count repositories that were requested
/// with options of their own. Prefer [`query_repos`] there.
pub fn get_repo(tag: &str) -> Query<Option<Repo>> {
    Query::new("getRepo", vec![tag.into()])
}

/// Requests a repository at least as new as the tag's last change, unless there is one. Needs a
/// login. Requesting twice does no harm.
pub fn request_repo(tag: &str) -> Query<()> {
    Query::new("repo.request", vec![tag.into()]).with("min_event", "last")
}
