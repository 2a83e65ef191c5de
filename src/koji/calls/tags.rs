//! Tags and what belongs to them, now or at a Koji event.

use super::{Page, Query};
use crate::koji::records::{
    ExternalRepo, Group, History, InheritanceLink, ListedPackage, Tag, TaggedBuild, TaggedRpms, Target,
};
use crate::koji::xmlrpc::Value;
use crate::model::{BuildId, Name, TagId};

/// A tag with what is its own.
pub fn get_tag(tag: impl Into<Value>, event: Option<i64>) -> Query<Option<Tag>> {
    Query::new("getTag", vec![tag.into()]).maybe("event", event)
}

/// A tag with architectures and options inherited: what is built with.
pub fn get_build_config(tag: impl Into<Value>, event: Option<i64>) -> Query<Option<Tag>> {
    Query::new("getBuildConfig", vec![tag.into()]).maybe("event", event)
}

/// A target.
pub fn get_build_target(target: impl Into<Value>, event: Option<i64>) -> Query<Option<Target>> {
    Query::new("getBuildTarget", vec![target.into()]).maybe("event", event)
}

/// All targets, or those that build in one tag.
pub fn get_build_targets(build_tag: Option<TagId>) -> Query<Vec<Target>> {
    Query::new("getBuildTargets", Vec::new()).maybe("buildTagID", build_tag)
}

/// All tags a tag inherits from, in the order in which they count.
pub fn get_full_inheritance(tag: impl Into<Value>, event: Option<i64>) -> Query<Vec<InheritanceLink>> {
    Query::new("getFullInheritance", vec![tag.into()]).maybe("event", event)
}

/// The tags a tag inherits from directly.
pub fn get_inheritance_data(tag: impl Into<Value>, event: Option<i64>) -> Query<Vec<InheritanceLink>> {
    Query::new("getInheritanceData", vec![tag.into()]).maybe("event", event)
}

/// Groups of packages, inherited ones included, blocked ones not.
pub fn get_tag_groups(tag: impl Into<Value>, event: Option<i64>) -> Query<Vec<Group>> {
    Query::new("getTagGroups", vec![tag.into()]).maybe("event", event)
}

/// External repositories, inherited ones included, in the order in which they are merged.
pub fn get_external_repo_list(tag: impl Into<Value>, event: Option<i64>) -> Query<Vec<ExternalRepo>> {
    Query::new("getExternalRepoList", vec![tag.into()]).maybe("event", event)
}

/// The newest Koji event that changed a tag or anything it inherits: the cheap question whether there is anything to ask.
pub fn tag_last_change_event(tag: impl Into<Value>) -> Query<Option<i64>> {
    Query::new("tagLastChangeEvent", vec![tag.into()])
}

/// Which builds of a tag to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListTagged {
    /// As of this Koji event instead of now.
    pub event: Option<i64>,
    /// Those of the tags it inherits from as well.
    pub inherit: bool,
    /// Only the most recently tagged of each package, which need not be the highest version.
    pub latest: bool,
    /// Only this package.
    pub package: Option<Name>,
    /// Only packages whose names begin so.
    pub prefix: Option<String>,
    /// Only builds of this user.
    pub owner: Option<Name>,
    /// Only builds of this type: `maven`, `image`, …
    pub kind: Option<Name>,
}

/// Builds in a tag. Blocked packages are left out. A fault for a tag that is not there.
pub fn list_tagged(tag: impl Into<Value>, which: &ListTagged) -> Query<Vec<TaggedBuild>> {
    Query::new("listTagged", vec![tag.into()])
        .maybe("event", which.event)
        .flag("inherit", which.inherit)
        .flag("latest", which.latest)
        .maybe("package", which.package.as_ref())
        .maybe("prefix", which.prefix.as_deref())
        .maybe("owner", which.owner.as_ref())
        .maybe("type", which.kind.as_ref())
}

/// Which packages of a tag to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListTaggedRpms {
    /// As of this Koji event instead of now.
    pub event: Option<i64>,
    /// Those of the tags it inherits from as well.
    pub inherit: bool,
    /// Only of the most recently tagged build of each package.
    pub latest: bool,
    /// Only of this source package.
    pub package: Option<Name>,
    /// Only of these architectures, as packages have them; `src` for source packages. All when empty.
    pub arches: Vec<Name>,
}

/// Packages in a tag. Of a whole distribution the answer has tens of megabytes.
pub fn list_tagged_rpms(tag: impl Into<Value>, which: &ListTaggedRpms) -> Query<TaggedRpms> {
    Query::new("listTaggedRPMS", vec![tag.into()])
        .maybe("event", which.event)
        .flag("inherit", which.inherit)
        .flag("latest", which.latest)
        .maybe("package", which.package.as_ref())
        .maybe("arch", (!which.arches.is_empty()).then(|| which.arches.clone()))
}

/// Which entries of package lists to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListPackages {
    /// Only of this package.
    pub package: Option<Name>,
    /// As of this Koji event instead of now.
    pub event: Option<i64>,
    /// Without the names of owners, which is cheaper; hubs before 1.25 do not know this.
    pub without_owners: bool,
    /// Order and range.
    pub page: Page,
}

/// A tag's package list, inherited entries included, blocked ones, too.
pub fn list_packages(tag: impl Into<Value>, which: &ListPackages) -> Query<Vec<ListedPackage>> {
    Query::new("listPackages", Vec::new())
        .with("tagID", tag)
        .with("inherited", true)
        .maybe("pkgID", which.package.as_ref())
        .maybe("event", which.event)
        .maybe("with_owners", which.without_owners.then_some(false))
        .maybe("queryOpts", which.page.to_value())
}

/// Which history to ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueryHistory {
    /// Only these tables; all when empty.
    pub tables: Vec<Name>,
    /// Only what belongs to this tag.
    pub tag: Option<Name>,
    /// Only what belongs to this package.
    pub package: Option<Name>,
    /// Only what belongs to this build.
    pub build: Option<BuildId>,
    /// Only what was made or revoked after this Koji event.
    pub after_event: Option<i64>,
    /// Only what was made or revoked before this Koji event.
    pub before_event: Option<i64>,
    /// Only what holds, or does not hold, now.
    pub active: Option<bool>,
}

/// Rows of the hub's versioned tables: with `after_event` exactly what was missed.
pub fn query_history(which: &QueryHistory) -> Query<History> {
    Query::new("queryHistory", Vec::new())
        .maybe("tables", (!which.tables.is_empty()).then(|| which.tables.clone()))
        .maybe("tag", which.tag.as_ref())
        .maybe("package", which.package.as_ref())
        .maybe("build", which.build)
        .maybe("afterEvent", which.after_event)
        .maybe("beforeEvent", which.before_event)
        .maybe("active", which.active)
}
