//! What a hub's answers say, as records.
//!
//! Named after what they are, with the members we use; Koji's own names stand where they differ. A field is optional
//! when some hub, method or state leaves it out. Numbers of people, hosts and channels stay plain numbers; so do Koji
//! events, which are global, increasing integers.

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
pub use tasks::{Task, TaskResult, TaskTree};
