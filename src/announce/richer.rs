//! Our own messages, under versioned topics: causes, packages with their causes, rebuilds, and
//! buildroots. The Python package `koschei-messages-ng` (`deploy/koschei-messages-ng`) has their
//! classes, made from the schemas of these bodies.
//!
//! A topic's body may get new fields. A field is never removed and never changes its meaning; that
//! needs a topic of the next version.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;
use super::message::{Announced, Class, DEBUG, INFO, WARNING, message};
use crate::event::{CollectionSettings, RebuildFinished, RebuildRequested, RebuildSubmitted};
use crate::model::{BuildrootState, Name, RebuildId, Seq, TaskId, Timestamp, address};

/// Topic: a cause was found that breaks several packages.
pub const CAUSE_OPENED: &str = "koschei.cause.opened.v1";
/// Topic: a cause that was told breaks many more packages.
pub const CAUSE_GREW: &str = "koschei.cause.grew.v1";
/// Topic: a cause that was told breaks nothing any more.
pub const CAUSE_CLOSED: &str = "koschei.cause.closed.v1";
/// Topic: a package has another state.
pub const PACKAGE_CHANGED: &str = "koschei.package.changed.v1";
/// Topic: a collection's buildroot has another state.
pub const BUILDROOT_CHANGED: &str = "koschei.buildroot.changed.v1";
/// Topic: a rebuild was decided.
pub const REBUILD_DECIDED: &str = "koschei.rebuild.decided.v1";
/// Topic: a rebuild became a task of a hub.
pub const REBUILD_SUBMITTED: &str = "koschei.rebuild.submitted.v1";
/// Topic: a rebuild ended, or never began.
pub const REBUILD_ENDED: &str = "koschei.rebuild.ended.v1";

/// Most packages that one message names. A header of AMQP must fit into one frame, and each package
/// has one. 500 names of 100 bytes take half of RabbitMQ's smallest usual frame, 128 KiB.
pub const PACKAGES_MAX: usize = 500;

const fn class(topic: &'static str, severity: u8) -> Class {
    Class { topic, package: "koschei_messages_ng", severity }
}

/// What all messages say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// The collection.
    pub collection: Name,
    /// The collection's name for people.
    pub collection_name: String,
    /// The Koji hub whose packages these are.
    pub koji_instance: String,
    /// The page that shows it. Absent if the service does not know its own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Time at which it was recorded: RFC 3339, in UTC.
    pub at: String,
    /// The event of the log that it belongs to.
    pub event: u64,
    /// Owners of the packages in Koji's package lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usernames: Vec<String>,
}

/// The update, or the missing thing, that breaks packages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Names the cause, always the same.
    pub id: String,
    /// `resolution`: packages do not resolve. `build`: their builds fail. `group`: the build group
    /// cannot be installed. `target`: the build target or a tag of it is gone.
    pub kind: String,
    /// The new source package as `name-version-release`, or what vanished.
    pub known_by: String,
    /// The new source package. Absent if it is gone or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The one before. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// Other updates that nothing tells apart from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<String>,
    /// The repository that brought it. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<i64>,
    /// What it is, in one sentence. Empty for failed builds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
}

/// A cause was found, breaks more, or is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CauseBody {
    /// What all messages say.
    #[serde(flatten)]
    pub about: About,
    /// The cause.
    pub cause: Cause,
    /// Opened: the packages it breaks. Grew: those that no message about it named yet. Closed:
    /// those that messages about it named. At most 500. `*` stands for all packages.
    pub packages: Vec<Name>,
    /// Number of further packages that are not named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
    /// Number of all packages that it breaks now.
    pub count: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A package has another state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageBody {
    /// What all messages say.
    #[serde(flatten)]
    pub about: About,
    /// The package.
    pub package: Name,
    /// The state before: `ok`, `failing`, `unresolved`, or `ignored` (blocked, untracked, unknown).
    pub old: String,
    /// The state now, likewise.
    pub new: String,
    /// Why, in words.
    pub reason: String,
    /// What broke it. Absent if that is not known, or it is not broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// A collection's buildroot has another state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootBody {
    /// What all messages say.
    #[serde(flatten)]
    pub about: About,
    /// The state before: `ok`, `unresolved` or `unknown`.
    pub old: String,
    /// The state now: `ok` or `unresolved`.
    pub new: String,
    /// The repository.
    pub repo_id: i64,
    /// What cannot be installed, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A rebuild was decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildDecidedBody {
    /// What all messages say.
    #[serde(flatten)]
    pub about: About,
    /// The package.
    pub package: Name,
    /// The rebuild's number.
    pub rebuild: u64,
    /// The source package, as `name-version-release`.
    pub nvr: String,
    /// The hub that builds.
    pub hub: String,
    /// The build target.
    pub target: Name,
    /// The repository to build in. Absent if the hub chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<i64>,
    /// Architectures. Empty: the hub chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// The priority, in points.
    pub priority: i64,
}

/// A rebuild became a task of a hub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildSubmittedBody {
    /// What all messages say.
    #[serde(flatten)]
    pub about: About,
    /// The package.
    pub package: Name,
    /// The rebuild's number.
    pub rebuild: u64,
    /// The hub that builds.
    pub hub: String,
    /// The task.
    pub task_id: i64,
}

/// A rebuild ended, or never began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildEndedBody {
    /// What all messages say.
    #[serde(flatten)]
    pub about: About,
    /// The package.
    pub package: Name,
    /// The rebuild's number. Absent if this service did not request it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<u64>,
    /// The task. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<i64>,
    /// `ok`, `genuine_failure`, `infrastructure_fault`, `cancelled`, `timed_out`, `unclear`,
    /// `refused` (by the hub), or `not_submitted`.
    pub outcome: String,
    /// Why, in words.
    pub reason: String,
}

/// A collection, the event that a message belongs to, and the address of the site.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The collection.
    pub collection: &'a Name,
    /// Its settings.
    pub settings: &'a CollectionSettings,
    /// The event.
    pub seq: Seq,
    /// The event's time of recording.
    pub at: Timestamp,
    /// Address of our own pages, without a slash at the end.
    pub site: Option<&'a str>,
}

impl At<'_> {
    fn about(&self, page: &str) -> About {
        About {
            collection: self.collection.clone(),
            collection_name: self.settings.display_name.clone(),
            koji_instance: self.settings.hub.as_str().to_owned(),
            url: self.site.map(|site| format!("{site}{page}")),
            at: self.at.to_string(),
            event: self.seq.get(),
            usernames: Vec::new(),
        }
    }

    fn of_package(&self, package: &Name) -> About {
        self.about(&address::package(self.collection, package))
    }

    /// Returns the message of one of the three topics of a cause. `packages` are those to name.
    pub fn cause(&self, topic: &'static str, cause: Cause, packages: &[Name], count: usize) -> Announced {
        let named = &packages[..packages.len().min(PACKAGES_MAX)];
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let body = CauseBody {
            about: self.about(&address::cause(&cause.id)),
            cause,
            packages: named.to_vec(),
            more: number(packages.len() - named.len()),
            count: number(count),
        };
        let severity = if topic == CAUSE_CLOSED { INFO } else { WARNING };
        let headers = named.iter().map(Name::as_str).filter(|name| *name != crate::event::CausesFound::GROUP);
        message(&class(topic, severity), &body, headers, self.at)
    }

    /// Returns the message about a package's state.
    pub fn package(&self, package: &Name, old: Word, new: Word, reason: String, cause: Option<Cause>) -> Announced {
        let body = PackageBody {
            about: self.of_package(package),
            package: package.clone(),
            old: old.as_str().to_owned(),
            new: new.as_str().to_owned(),
            reason,
            cause,
        };
        message(&class(PACKAGE_CHANGED, INFO), &body, [package.as_str()], self.at)
    }

    /// Returns the message about a buildroot's state.
    pub fn buildroot(&self, old: Word, new: BuildrootState, repo_id: i64, problems: Vec<String>) -> Announced {
        let body = BuildrootBody {
            about: self.about(&address::collection(self.collection)),
            old: old.as_str().to_owned(),
            new: Word::from(new).as_str().to_owned(),
            repo_id,
            problems,
        };
        message(&class(BUILDROOT_CHANGED, WARNING), &body, [], self.at)
    }

    /// Returns the message about a decision.
    pub fn decided(&self, e: &RebuildRequested) -> Announced {
        let body = RebuildDecidedBody {
            about: self.of_package(&e.nvr.name),
            package: e.nvr.name.clone(),
            rebuild: self.seq.get(),
            nvr: e.nvr.to_string(),
            hub: e.hub.as_str().to_owned(),
            target: e.target.clone(),
            repo_id: e.repo_id.map(|repo| repo.0),
            arches: e.arches.clone(),
            priority: e.priority.current,
        };
        message(&class(REBUILD_DECIDED, DEBUG), &body, [e.nvr.name.as_str()], self.at)
    }

    /// Returns the message about a new task.
    pub fn submitted(&self, e: &RebuildSubmitted) -> Announced {
        let body = RebuildSubmittedBody {
            about: self.of_package(&e.package),
            package: e.package.clone(),
            rebuild: e.rebuild.0,
            hub: e.hub.as_str().to_owned(),
            task_id: e.task_id.0,
        };
        message(&class(REBUILD_SUBMITTED, DEBUG), &body, [e.package.as_str()], self.at)
    }

    /// Returns the message about the end of a task.
    pub fn finished(&self, e: &RebuildFinished) -> Announced {
        let outcome = (e.outcome.key(), e.reason.as_str());
        self.ended(&e.package, e.rebuild, Some(e.task_id), outcome)
    }

    /// Returns the message about a rebuild that ended with an outcome and a reason.
    pub fn ended(
        &self,
        package: &Name,
        rebuild: Option<RebuildId>,
        task: Option<TaskId>,
        (outcome, reason): (&str, &str),
    ) -> Announced {
        let body = RebuildEndedBody {
            about: self.of_package(package),
            package: package.clone(),
            rebuild: rebuild.map(|id| id.0),
            task_id: task.map(|task| task.0),
            outcome: outcome.to_owned(),
            reason: reason.to_owned(),
        };
        message(&class(REBUILD_ENDED, DEBUG), &body, [package.as_str()], self.at)
    }
}
