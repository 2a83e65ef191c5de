//! The hub's tables, and lookups that all calls use.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use super::clock::Micros;
use super::fault::Fault;
use super::rows::*;
use super::spec::NewBuild;

/// A table that is cheap to copy. Savepoints are copies, and only tables that change afterwards are
/// really copied.
#[derive(Clone, Debug)]
pub struct Table<T>(Arc<Vec<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Deref for Table<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Clone> Table<T> {
    pub fn rows(&mut self) -> &mut Vec<T> {
        Arc::make_mut(&mut self.0)
    }
}

/// An index: positions of rows by key.
pub type Index<K> = Arc<HashMap<K, Vec<usize>>>;

/// See [`World::repo_names`].
pub type RepoNames = Arc<HashMap<String, i64>>;

/// Package names of a repository by tag, event and architecture.
pub type RepoNamesCache = Arc<Mutex<HashMap<(i64, i64, String), RepoNames>>>;

/// The database.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub events: Table<Event>,
    pub users: Table<User>,
    pub permissions: Table<Named>,
    pub channels: Table<Channel>,
    pub hosts: Table<Host>,
    pub host_channels: Table<HostChannel>,
    pub tags: Table<Named>,
    pub tag_config: Table<TagConfig>,
    pub tag_extra: Table<TagExtra>,
    pub tag_inheritance: Table<Inheritance>,
    pub packages: Table<Named>,
    pub tag_packages: Table<TagPackage>,
    pub tag_package_owners: Table<TagPackageOwner>,
    pub tag_listing: Table<Listing>,
    pub targets: Table<Named>,
    pub target_config: Table<TargetConfig>,
    pub groups: Table<Named>,
    pub group_config: Table<GroupConfig>,
    pub group_packages: Table<GroupPackage>,
    pub external_repos: Table<Named>,
    pub external_repo_config: Table<ExternalRepoConfig>,
    pub tag_external_repos: Table<TagExternalRepo>,
    /// External repository, and the highest time stamp seen in it.
    pub external_repo_data: Table<(i64, i64)>,
    /// Tag and event: changes of a tag that have no row of their own (content of external
    /// repositories, volumes).
    pub tag_updates: Table<(i64, i64)>,
    pub builds: Table<Build>,
    pub rpms: Table<Rpm>,
    pub repos: Table<Repo>,
    pub repo_requests: Table<RepoRequest>,
    pub tasks: Table<Task>,
    pub buildroots: Table<Buildroot>,
    pub sessions: Table<Session>,
    /// Real builds that are not finished, and what they will become.
    pub pending: Arc<HashMap<i64, NewBuild>>,
    /// Numbers of a repository's packages, by name and by full name. The content of a tag at an
    /// event does not change.
    pub repo_names: RepoNamesCache,
    pub package_names: Arc<HashMap<String, i64>>,
    pub nvrs: Arc<HashMap<String, i64>>,
    pub listing_of: Index<(i64, i64)>,
    pub tag_packages_of: Index<(i64, i64)>,
    pub owners_of: Index<(i64, i64)>,
    pub rpms_of: Index<i64>,
    pub children_of: Index<i64>,
    pub buildroots_of: Index<i64>,
}

/// Returns a row by its number. Rows are in the order of their numbers, mostly without gaps.
macro_rules! by_id {
    ($($get:ident $get_mut:ident $table:ident $row:ty;)*) => {
        $(
            pub fn $get(&self, id: i64) -> Option<&$row> {
                self.$table.binary_search_by_key(&id, |r| r.id).ok().map(|at| &self.$table[at])
            }

            pub fn $get_mut(&mut self, id: i64) -> &mut $row {
                let at = self.$table.binary_search_by_key(&id, |r| r.id);
                let at = at.unwrap_or_else(|_| panic!("no {} {id}", stringify!($row)));
                &mut self.$table.rows()[at]
            }
        )*
    };
}

fn named(table: &[Named], id: i64) -> Option<&str> {
    table.binary_search_by_key(&id, |r| r.id).ok().map(|at| table[at].name.as_str())
}

impl World {
    by_id! {
        user user_mut users User;
        host host_mut hosts Host;
        build build_mut builds Build;
        rpm rpm_mut rpms Rpm;
        repo repo_mut repos Repo;
        request request_mut repo_requests RepoRequest;
        task task_mut tasks Task;
        buildroot buildroot_mut buildroots Buildroot;
        session session_mut sessions Session;
        channel channel_mut channels Channel;
    }

    pub fn event_at(&self, id: i64) -> Option<Micros> {
        self.events.binary_search_by_key(&id, |e| e.id).ok().map(|at| self.events[at].at)
    }

    pub fn user_name(&self, id: i64) -> Option<&str> {
        self.user(id).map(|u| u.name.as_str())
    }

    pub fn user_named(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|u| u.name == name)
    }

    /// Returns the name of a tag that exists or existed.
    pub fn tag_name(&self, id: i64) -> Option<&str> {
        named(&self.tags, id)
    }

    /// Finds a tag by name, whether it exists or existed.
    pub fn tag_named(&self, name: &str) -> Option<i64> {
        self.tags.iter().find(|t| t.name == name).map(|t| t.id)
    }

    /// Finds a tag that exists at an event.
    pub fn tag(&self, name: &str, event: Option<i64>) -> Result<i64, Fault> {
        let id = self.tag_named(name).filter(|id| self.config(*id, event).is_some());
        id.ok_or_else(|| Fault::generic(format!("No such tagInfo: '{name}'")))
    }

    pub fn config(&self, tag: i64, event: Option<i64>) -> Option<&TagConfig> {
        self.tag_config.iter().rev().find(|c| c.tag == tag && c.ver.holds(event))
    }

    pub fn target_name(&self, id: i64) -> Option<&str> {
        named(&self.targets, id)
    }

    pub fn package_name(&self, id: i64) -> Option<&str> {
        named(&self.packages, id)
    }

    pub fn group_name(&self, id: i64) -> Option<&str> {
        named(&self.groups, id)
    }

    pub fn external_repo_name(&self, id: i64) -> Option<&str> {
        if id == 0 { Some("INTERNAL") } else { named(&self.external_repos, id) }
    }

    pub fn permission_name(&self, id: i64) -> Option<&str> {
        named(&self.permissions, id)
    }

    pub fn package(&self, name: &str) -> Option<i64> {
        self.package_names.get(name).copied()
    }

    pub fn build_of_nvr(&self, nvr: &str) -> Option<&Build> {
        self.nvrs.get(nvr).and_then(|id| self.build(*id))
    }

    /// Returns the rows of an index entry, in the order of the table.
    pub fn at<'a, K: Eq + std::hash::Hash, T>(
        index: &'a Index<K>,
        table: &'a Table<T>,
        key: K,
    ) -> impl Iterator<Item = &'a T> {
        index.get(&key).into_iter().flatten().map(|at| &table[*at])
    }

    pub fn listings(&self, tag: i64, package: i64) -> impl Iterator<Item = &Listing> {
        Self::at(&self.listing_of, &self.tag_listing, (tag, package))
    }

    pub fn rpms_of_build(&self, build: i64) -> impl Iterator<Item = &Rpm> {
        Self::at(&self.rpms_of, &self.rpms, build)
    }

    pub fn children(&self, task: i64) -> impl Iterator<Item = &Task> {
        Self::at(&self.children_of, &self.tasks, task)
    }

    /// Adds a row to a table and its index.
    pub fn add<K: Eq + std::hash::Hash + Clone, T: Clone>(index: &mut Index<K>, table: &mut Table<T>, key: K, row: T) {
        Arc::make_mut(index).entry(key).or_default().push(table.len());
        table.rows().push(row);
    }

    pub fn has_perm(&self, user: Option<i64>, perm: &str) -> bool {
        user.and_then(|u| self.user(u)).is_some_and(|u| u.perms.iter().any(|p| p == perm || p == "admin"))
    }
}
