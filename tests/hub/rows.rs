//! The rows of the hub's tables, with the names of Koji's database.

use std::sync::Arc;

use super::clock::Micros;
use super::value::V;

/// Creation and revocation of a row of a versioned table: event numbers and users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ver {
    pub create: i64,
    pub creator: i64,
    pub revoke: Option<i64>,
    pub revoker: Option<i64>,
}

impl Ver {
    /// Checks whether the row holds at an event, or now.
    pub fn holds(&self, event: Option<i64>) -> bool {
        match event {
            None => self.revoke.is_none(),
            Some(event) => self.create <= event && self.revoke.is_none_or(|revoke| revoke > event),
        }
    }
}

/// A row of a versioned table.
pub trait Versioned {
    fn ver(&self) -> &Ver;
    fn ver_mut(&mut self) -> &mut Ver;
}

macro_rules! versioned {
    ($($(#[$meta:meta])* pub struct $name:ident { $(pub $field:ident: $ty:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug)]
            pub struct $name { $(pub $field: $ty,)* pub ver: Ver }
            impl Versioned for $name {
                fn ver(&self) -> &Ver { &self.ver }
                fn ver_mut(&mut self) -> &mut Ver { &mut self.ver }
            }
        )*
    };
}

versioned! {
    pub struct TagConfig {
        pub tag: i64,
        pub arches: Option<String>,
        pub perm: Option<i64>,
        pub locked: bool,
        pub maven_support: bool,
        pub maven_include_all: bool,
    }
    pub struct TagExtra { pub tag: i64, pub key: String, pub value: V }
    pub struct Inheritance {
        pub tag: i64,
        pub parent: i64,
        pub priority: i64,
        pub maxdepth: Option<i64>,
        pub intransitive: bool,
        pub noconfig: bool,
        pub pkg_filter: String,
    }
    pub struct TagPackage { pub tag: i64, pub package: i64, pub blocked: bool, pub extra_arches: Option<String> }
    pub struct TagPackageOwner { pub tag: i64, pub package: i64, pub owner: i64 }
    pub struct Listing { pub tag: i64, pub build: i64 }
    pub struct TargetConfig { pub target: i64, pub build_tag: i64, pub dest_tag: i64 }
    pub struct GroupConfig {
        pub group: i64,
        pub tag: i64,
        pub blocked: bool,
        pub exported: bool,
        pub display_name: String,
        pub is_default: Option<bool>,
        pub uservisible: bool,
        pub description: Option<String>,
        pub langonly: Option<String>,
        pub biarchonly: bool,
    }
    pub struct GroupPackage {
        pub group: i64,
        pub tag: i64,
        pub package: String,
        pub blocked: bool,
        pub kind: String,
        pub basearchonly: Option<bool>,
        pub requires: Option<String>,
    }
    pub struct ExternalRepoConfig { pub repo: i64, pub url: String }
    pub struct TagExternalRepo {
        pub tag: i64,
        pub repo: i64,
        pub priority: i64,
        pub merge_mode: String,
        pub arches: Option<String>,
    }
    pub struct HostChannel { pub host: i64, pub channel: i64 }
}

#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub id: i64,
    pub at: Micros,
}

#[derive(Clone, Debug)]
pub struct User {
    pub id: i64,
    pub name: String,
    /// 0 normal, 1 blocked.
    pub status: i64,
    /// 0 normal, 1 host, 2 group.
    pub usertype: i64,
    pub principal: Option<String>,
    pub perms: Vec<String>,
}

/// A row that is a number and a name: tags, targets, packages, groups, external repositories,
/// permissions.
#[derive(Clone, Debug)]
pub struct Named {
    pub id: i64,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct Channel {
    pub id: i64,
    pub name: String,
    pub enabled: bool,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub id: i64,
    pub user: i64,
    pub name: String,
    pub arches: String,
    pub capacity: f64,
    pub task_load: f64,
    pub ready: bool,
    pub enabled: bool,
    pub comment: Option<String>,
    pub description: Option<String>,
    pub update: Micros,
}

#[derive(Clone, Debug)]
pub struct Build {
    pub id: i64,
    pub package: i64,
    pub name: String,
    pub version: String,
    pub release: String,
    pub epoch: Option<i64>,
    /// 0 building, 1 complete, 2 deleted, 3 failed, 4 cancelled.
    pub state: i64,
    pub task: Option<i64>,
    pub owner: i64,
    pub create_event: i64,
    pub create: Micros,
    pub start: Option<Micros>,
    pub completion: Option<Micros>,
    pub source: Option<String>,
    pub extra: V,
}

impl Build {
    pub fn nvr(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.release)
    }
}

/// One dependency: name, `[e:]v[-r]`, rpm's sense bits, and Koji's type (0 requires, 1 provides, 2
/// obsoletes, 3 conflicts, …).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dep {
    pub name: String,
    pub version: String,
    pub flags: i64,
    pub kind: i64,
}

#[derive(Clone, Debug)]
pub struct Rpm {
    pub id: i64,
    /// `None` for a package of an external repository.
    pub build: Option<i64>,
    pub name: String,
    pub version: String,
    pub release: String,
    pub epoch: Option<i64>,
    pub arch: String,
    pub payloadhash: String,
    pub size: i64,
    pub buildtime: i64,
    pub buildroot: Option<i64>,
    /// 0 for this hub.
    pub external_repo: i64,
    pub deps: Arc<Vec<Dep>>,
    pub files: Arc<Vec<String>>,
    /// For source packages: `BuildArch`, `ExclusiveArch`, `ExcludeArch`.
    pub arches: Arc<[Vec<String>; 3]>,
}

impl Rpm {
    pub fn nvr(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.release)
    }

    pub fn file_name(&self) -> String {
        format!("{}.{}.rpm", self.nvr(), self.arch)
    }
}

#[derive(Clone, Debug)]
pub struct Repo {
    pub id: i64,
    pub tag: i64,
    pub create_event: i64,
    pub creation: Micros,
    /// 0 init, 1 ready, 2 expired, 3 deleted, 4 problem.
    pub state: i64,
    pub state_time: Micros,
    pub begin_event: i64,
    pub end_event: Option<i64>,
    pub dist: bool,
    pub opts: V,
    pub custom_opts: V,
    pub task: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct RepoRequest {
    pub id: i64,
    pub tag: i64,
    pub owner: i64,
    pub priority: i64,
    pub active: bool,
    pub min_event: Option<i64>,
    pub at_event: Option<i64>,
    pub opts: V,
    pub repo: Option<i64>,
    pub task: Option<i64>,
    pub tries: i64,
    pub create: Micros,
    pub update: Micros,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: i64,
    /// 0 free, 1 open, 2 closed, 3 cancelled, 4 assigned, 5 failed.
    pub state: i64,
    pub create: Micros,
    pub start: Option<Micros>,
    pub completion: Option<Micros>,
    pub channel: i64,
    pub host: Option<i64>,
    pub parent: Option<i64>,
    pub label: Option<String>,
    pub waiting: Option<bool>,
    pub awaited: Option<bool>,
    pub owner: i64,
    pub method: String,
    pub request: Vec<V>,
    /// The result, or the fault.
    pub result: Option<Result<V, (i64, String)>>,
    pub arch: String,
    pub priority: i64,
    pub weight: f64,
    /// Files in its directory: name and content.
    pub output: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub struct Buildroot {
    pub id: i64,
    pub host: i64,
    pub repo: i64,
    pub task: i64,
    pub arch: String,
    /// 0 init, 1 waiting, 2 building, 3 expired.
    pub state: i64,
    pub create_event: i64,
    pub retire_event: Option<i64>,
    /// Packages in it, and whether the second step installed them.
    pub listing: Vec<(i64, bool)>,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub id: i64,
    pub user: i64,
    pub key: String,
    /// 2 certificate, 3 GSSAPI.
    pub authtype: i64,
    pub callnum: Option<i64>,
    pub start: Micros,
    pub renew: Option<Micros>,
    pub update: Micros,
    pub expired: bool,
    pub closed: bool,
}
