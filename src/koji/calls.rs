//! The calls we make of a hub: what is asked, and how the answer is read.
//!
//! Each function makes a [`Query`], which is asked alone ([`HubClient::ask`](super::HubClient::ask),
//! [`Session::ask`](super::Session::ask)) or together with others
//! ([`HubClient::ask_all`](super::HubClient::ask_all)). Names and parameters are those of `kojihub.RootExports`. A tag, build or
//! user is given by name or number. Questions about what is not there are answered with nil, hence `Option`.
//!
//! Unless it says otherwise, a call changes nothing and needs no login.

mod builds;
mod hub;
mod repos;
mod tags;
mod tasks;

pub use builds::{
    BuildrootsOf, ListBuilds, ListRpms, get_build, get_buildroot, get_rpm_deps, get_rpm_headers, get_task_rpm_headers,
    list_buildroots, list_builds, list_rpms,
};
pub use hub::{
    ListHosts, get_all_arches, get_api_version, get_channel, get_event, get_koji_version, get_last_event,
    get_logged_in_user, get_perms, get_user, has_perm, list_hosts,
};
pub use repos::{REPO_FIELDS, RequestRepo, check_request, get_repo, latest_repo, query_repos, repo_info, request_repo};
pub use tags::{
    ListPackages, ListTagged, ListTaggedRpms, QueryHistory, get_build_config, get_build_target, get_build_targets,
    get_external_repo_list, get_full_inheritance, get_inheritance_data, get_tag, get_tag_groups, list_packages,
    list_tagged, list_tagged_rpms, query_history, tag_last_change_event,
};
pub use tasks::{
    BuildOptions, ListTasks, build, cancel_task, get_task_children, get_task_descendents, get_task_info,
    get_task_infos, get_task_result, list_tasks,
};

use std::fmt;

use super::shape::{FromValue, ShapeError};
use super::xmlrpc::{Call, Value};

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

impl<T> Query<T> {
    /// The same with a keyword argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
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

    /// The same with a keyword argument that is true, or the hub's default, false.
    #[must_use]
    fn flag(self, name: &str, set: bool) -> Self {
        if set { self.with(name, true) } else { self }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`ShapeError`] (rejected), its path beginning with the method.
    pub fn read(&self, answer: &Value) -> Result<T, ShapeError> {
        (self.decode)(answer).map_err(|error| error.in_answer_to(&self.call.method))
    }
}

/// Order and range of long answers; those that take `queryOpts`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Columns to sort by, a minus in front for descending: `-id`, `name,-id`.
    pub order: Option<String>,
    /// How many at most.
    pub limit: Option<u32>,
    /// How many to leave out at the beginning.
    pub offset: Option<u32>,
}

impl Page {
    /// The struct that the hub takes; `None` when there is nothing in it.
    fn to_value(&self) -> Option<Value> {
        let members = [
            ("order", self.order.as_deref().map(Value::from)),
            ("limit", self.limit.map(|n| Value::Int(n.into()))),
            ("offset", self.offset.map(|n| Value::Int(n.into()))),
        ];
        record(members)
    }
}

/// A struct of what is there; `None` when nothing is.
fn record<const N: usize>(members: [(&str, Option<Value>); N]) -> Option<Value> {
    let there: std::collections::BTreeMap<_, _> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    (!there.is_empty()).then_some(Value::Struct(there))
}
