//! The calls we make of a hub: what is asked, and how the answer is read.
//!
//! There is one function for each method that is used, and its name as text stands nowhere else. A function makes a
//! [`Query`], which is asked alone ([`HubClient::ask`](super::HubClient::ask), [`Session::ask`](super::Session::ask))
//! or together with others in a [`Batch`]. Names and parameters are those of `kojihub.RootExports`. Questions about
//! what is not there are answered with nil, hence `Option`.
//!
//! Unless it says otherwise, a call changes nothing and needs no login.

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
    ListTasks, ScratchBuild, build, cancel_task, get_task_descendents, get_task_info, get_task_result, list_tasks,
};

use std::collections::BTreeMap;
use std::fmt;

use super::shape::{FromValue, ShapeError};
use super::xmlrpc::{Call, Value};
use crate::model::Timestamp;

/// A call and how its answer is read.
pub struct Query<T> {
    /// What is asked.
    pub call: Call,
    /// How the answer is read; the paths of its errors begin with the answer.
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
    /// Of a method with positional arguments.
    pub fn new(method: &str, args: Vec<Value>) -> Self {
        Self { call: Call { method: method.to_owned(), args, kwargs: [].into() }, decode: T::from_value }
    }
}

impl<T: FromValue> Query<Option<T>> {
    /// The same where nil is no answer.
    #[must_use]
    pub fn required(self) -> Query<T> {
        Query { call: self.call, decode: T::from_value }
    }
}

impl<T> Query<T> {
    /// The same with a keyword argument.
    #[must_use]
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.call = self.call.with(name, value);
        self
    }

    /// The same with a keyword argument, if there is one; the hub's default otherwise.
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
    /// [`ShapeError`] (rejected), its path beginning with the method.
    pub fn read(&self, answer: &Value) -> Result<T, ShapeError> {
        (self.decode)(answer).map_err(|error| error.in_answer_to(&self.call.method))
    }
}

/// A struct of what is there.
fn record<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let there: BTreeMap<_, _> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Value::Struct(there)
}

/// Seconds since 1970, as the hub takes times.
#[expect(clippy::cast_precision_loss, reason = "microseconds of our times fit into a double's 53 bits until 2255")]
fn seconds(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}
