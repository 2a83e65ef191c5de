//! Tags and what belongs to them.

use super::Query;
use crate::koji::records::{ExternalRepo, Group, History, InheritanceLink, ListedPackage, Tag, TaggedBuild, Target};
use crate::model::Name;

/// A tag with what is its own.
pub fn get_tag(tag: &str) -> Query<Option<Tag>> {
    Query::new("getTag", vec![tag.into()])
}

/// A tag with architectures and options inherited, now or at a Koji event: what is built with.
pub fn get_build_config(tag: &str, event: Option<i64>) -> Query<Option<Tag>> {
    Query::new("getBuildConfig", vec![tag.into()]).maybe("event", event)
}

/// A target.
pub fn get_build_target(target: &str) -> Query<Option<Target>> {
    Query::new("getBuildTarget", vec![target.into()])
}

/// All tags a tag inherits from, in the order in which they count.
pub fn get_full_inheritance(tag: &str) -> Query<Vec<InheritanceLink>> {
    Query::new("getFullInheritance", vec![tag.into()])
}

/// The tags a tag inherits from directly.
pub fn get_inheritance_data(tag: &str) -> Query<Vec<InheritanceLink>> {
    Query::new("getInheritanceData", vec![tag.into()])
}

/// Groups of packages, inherited ones included, blocked ones not.
pub fn get_tag_groups(tag: &str) -> Query<Vec<Group>> {
    Query::new("getTagGroups", vec![tag.into()])
}

/// External repositories, inherited ones included, in the order in which they are merged.
pub fn get_external_repo_list(tag: &str) -> Query<Vec<ExternalRepo>> {
    Query::new("getExternalRepoList", vec![tag.into()])
}

/// The newest Koji event that changed a tag or anything it inherits: the cheap question whether there is anything to
/// ask.
pub fn tag_last_change_event(tag: &str) -> Query<Option<i64>> {
    Query::new("tagLastChangeEvent", vec![tag.into()])
}

/// Builds in a tag itself, of one package or of all. Blocked packages are left out. A fault for a tag or package that
/// is not there.
pub fn list_tagged(tag: &str, package: Option<&Name>) -> Query<Vec<TaggedBuild>> {
    Query::new("listTagged", vec![tag.into()]).with("inherit", false).with("latest", false).maybe("package", package)
}

/// A tag's own package list, blocked entries, too: of one package or of all. A fault for a tag or package that is not
/// there.
pub fn list_packages(tag: &str, package: Option<&Name>) -> Query<Vec<ListedPackage>> {
    Query::new("listPackages", Vec::new()).with("tagID", tag).with("inherited", false).maybe("pkgID", package)
}

/// The hub's history of what is in a tag now: of one package or of all.
pub fn query_taggings(tag: &str, package: Option<&Name>) -> Query<History> {
    history(tag, &["tag_listing"]).with("active", true).maybe("package", package)
}

/// What changed in these tables of a tag after a Koji event: exactly what was missed.
pub fn query_changes(tag: &str, tables: &[&str], after_event: i64) -> Query<History> {
    history(tag, tables).with("afterEvent", after_event)
}

/// Rows of the hub's versioned tables.
fn history(tag: &str, tables: &[&str]) -> Query<History> {
    Query::new("queryHistory", Vec::new()).with("tables", tables.to_vec()).with("tag", tag)
}
