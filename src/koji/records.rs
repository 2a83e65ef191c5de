//! A hub's answers as records.
//!
//! Records and fields have our names. Members we do not use are left out. Koji's own names are in
//! the code where they differ. A field is optional if some hub, method or state leaves it out.
//! Numbers of users, hosts and channels are plain integers. So are Koji events, which are global
//! and increase.

mod builds;
mod history;
mod hub;
mod repos;
mod requests;
mod rpms;
mod tags;
mod tasks;

pub use builds::{Build, TaggedBuild};
pub use history::{History, HistoryRow};
pub use hub::{Channel, Event, Host, SessionGrant, User};
pub use repos::Repo;
pub use requests::{BuildRequest, METADATA, repo_of_step};
pub use rpms::{Buildroot, Rpm, RpmHeaders};
pub use tags::{ExternalRepo, Group, GroupMember, InheritanceLink, ListedPackage, Tag, Target};
pub use tasks::{FileBytes, Task, TaskResult, TaskTree};
