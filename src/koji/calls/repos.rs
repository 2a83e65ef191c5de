//! Repository generations. Methods with a dot exist since 1.35.

use super::{Query, record};
use crate::koji::records::Repo;
use crate::koji::xmlrpc::Value;
use crate::model::koji::RepoState;
use crate::model::{RepoId, TagId};

/// What [`query_repos`] asks of each repository.
const FIELDS: [&str; 10] =
    ["id", "tag_id", "tag_name", "state", "state_ts", "create_event", "end_event", "task_id", "dist", "custom_opts"];

/// A repository.
pub fn repo_info(id: RepoId) -> Query<Option<Repo>> {
    Query::new("repoInfo", vec![id.into()])
}

/// Repositories of a tag by its number, which survives renaming, in one state or in any; highest number first.
pub fn query_repos(tag: TagId, state: Option<RepoState>, limit: u32) -> Query<Vec<Repo>> {
    let equal = |column: &str, value: Value| Value::Array(vec![column.into(), "=".into(), value]);
    let mut clauses = vec![equal("tag_id", tag.into())];
    clauses.extend(state.map(|state| equal("state", state.into())));
    let order = record([("order", Some("-id".into())), ("limit", Some(i64::from(limit).into()))]);
    Query::new("repo.query", vec![Value::Array(clauses), FIELDS.to_vec().into(), order])
}

/// The newest ready repository. On hubs ≥ 1.35 one that was asked for with options of its own counts, too; prefer
/// [`query_repos`] there.
pub fn get_repo(tag: &str) -> Query<Option<Repo>> {
    Query::new("getRepo", vec![tag.into()])
}

/// Asks for a repository at least as new as the tag's last change, unless there is one. Needs a login; asking twice
/// does no harm.
pub fn request_repo(tag: &str) -> Query<()> {
    Query::new("repo.request", vec![tag.into()]).with("min_event", "last")
}
