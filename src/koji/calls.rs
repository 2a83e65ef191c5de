//! The calls that we make to a hub: what is asked, and how to read the answer.
//!
//! There is one function for each method we use. The name of a method appears only in its function.
//! A function returns a [`Query`], which is asked alone ([`HubClient::ask`](super::HubClient::ask),
//! [`Session::ask`](super::Session::ask)) or together with others in a [`Batch`]. Names and
//! parameters are those of `kojihub.RootExports`. If the object does not exist, the hub answers
//! with nil, hence `Option`.
//!
//! Unless its comment says otherwise, a call changes nothing and needs no login.

mod batch;
mod builds;
mod hub;
mod recorded;
mod repos;
mod tags;
mod tasks;

pub use batch::{Answers, Asked, Batch};
pub use builds::{get_build, get_source_headers, list_buildroots, list_rpms};
pub(crate) use hub::LOGIN;
pub use hub::{
    get_channel, get_koji_version, get_last_event, get_logged_in_user, get_perms, get_user, list_hosts, logout,
    ssl_login,
};
pub use recorded::{Recorded, TagRef};
pub use repos::{get_repo, query_repos, repo_info, request_repo};
pub use tags::{
    get_build_config, get_build_target, get_external_repo_list, get_full_inheritance, get_inheritance_data, get_tag,
    get_tag_groups, list_packages, list_tagged, query_changes, query_taggings, tag_last_change_event,
};
pub use tasks::{
    ListTasks, ScratchBuild, build, cancel_task, download_task_output, get_task_descendents, get_task_info,
    get_task_result, list_tasks,
};

use std::collections::BTreeMap;
use std::fmt;

use super::shape::{FromValue, ShapeError};
use super::xmlrpc::{Call, Value};
use crate::model::Timestamp;

/// A call, and how to read its answer.
pub struct Query<T> {
    /// The call.
    pub call: Call,
    /// Reads the answer. Paths in its errors begin at the answer.
    pub decode: fn(&Value) -> Result<T, ShapeError>,
}

impl<T> Clone for Query<T> {
    fn clone(&self) -> Self {
        Self { call: self.call.clone(), decode: self.decode }
    }
}

impl<T> fmt::Debug for Query<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Query").field(&self.call).finish()
    }
}

impl<T: FromValue> Query<T> {
    /// Returns a query for a method with positional arguments.
    pub fn new(method: &str, args: Vec<Value>) -> Self {
        Self { call: Call { method: method.to_owned(), args, kwargs: [].into() }, decode: T::from_value }
    }
}

impl<T: FromValue> Query<Option<T>> {
    /// Returns the same query, but nil becomes an error.
    #[must_use]
    pub fn required(self) -> Query<T> {
        Query { call: self.call, decode: T::from_value }
    }
}

impl<T> Query<T> {
    /// Adds a keyword argument.
    #[must_use]
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.call = self.call.with(name, value);
        self
    }

    /// Adds a keyword argument, if it has a value. Otherwise the hub's default applies.
    #[must_use]
    fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// Returns a [`ShapeError`] (rejected) if the answer has another shape. Its path begins with
    /// the method.
    pub fn read(&self, answer: &Value) -> Result<T, ShapeError> {
        (self.decode)(answer).map_err(|error| error.in_answer_to(&self.call.method))
    }
}

/// Returns a struct with the members that have a value.
fn record<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let there: BTreeMap<_, _> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Value::Struct(there)
}

/// Returns seconds since 1970, the hub's form of a time.
#[expect(clippy::cast_precision_loss, reason = "microseconds of our times fit into a double's 53 bits until 2255")]
fn seconds(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}
