//! Calls about tags and what belongs to them.

use super::Query;
use crate::koji::records::{ExternalRepo, Group, History, InheritanceLink, ListedPackage, Tag, TaggedBuild, Target};
use crate::model::Name;

/// Asks for a tag with its own settings.
pub fn get_tag(tag: &str) -> Query<Option<Tag>> {
    Query::new("getTag", vec![tag.into()])
}

/// Asks for a tag with inherited architectures and options, now or at a Koji event. Builds use
/// these settings.
pub fn get_build_config(tag: &str, event: Option<i64>) -> Query<Option<Tag>> {
    Query::new("getBuildConfig", vec![tag.into()]).maybe("event", event)
}

/// Asks for a build target.
pub fn get_build_target(target: &str) -> Query<Option<Target>> {
    Query::new("getBuildTarget", vec![target.into()])
}

/// Asks for all tags that a tag inherits from, in order of precedence.
pub fn get_full_inheritance(tag: &str) -> Query<Vec<InheritanceLink>> {
    Query::new("getFullInheritance", vec![tag.into()])
}

/// Asks for the tags that a tag inherits from directly.
pub fn get_inheritance_data(tag: &str) -> Query<Vec<InheritanceLink>> {
    Query::new("getInheritanceData", vec![tag.into()])
}

/// Asks for package groups, including inherited ones, without blocked ones.
pub fn get_tag_groups(tag: &str) -> Query<Vec<Group>> {
    Query::new("getTagGroups", vec![tag.into()])
}

/// Asks for external repositories, including inherited ones, in merge order.
pub fn get_external_repo_list(tag: &str) -> Query<Vec<ExternalRepo>> {
    Query::new("getExternalRepoList", vec![tag.into()])
}

/// Asks for the newest Koji event that changed a tag or anything it inherits. This is a cheap way
/// to find out whether something changed.
pub fn tag_last_change_event(tag: &str) -> Query<Option<i64>> {
    Query::new("tagLastChangeEvent", vec![tag.into()])
}

/// Asks for builds tagged directly in a tag, of one package or of all. Blocked packages are left
/// out. The answer is a fault if the tag or package does not exist.
pub fn list_tagged(tag: &str, package: Option<&Name>) -> Query<Vec<TaggedBuild>> {
    Query::new("listTagged", vec![tag.into()]).with("inherit", false).with("latest", false).maybe("package", package)
}

/// Asks for a tag's own package list, including blocked entries: of one package or of all. The
/// answer is a fault if the tag or package does not exist.
pub fn list_packages(tag: &str, package: Option<&Name>) -> Query<Vec<ListedPackage>> {
    Query::new("listPackages", Vec::new()).with("tagID", tag).with("inherited", false).maybe("pkgID", package)
}

/// Asks for the hub's history of the builds that are now in a tag: of one package or of all.
pub fn query_taggings(tag: &str, package: Option<&Name>) -> Query<History> {
    history(tag, &["tag_listing"]).with("active", true).maybe("package", package)
}

/// Asks what changed in these tables of a tag after a Koji event.
pub fn query_changes(tag: &str, tables: &[&str], after_event: i64) -> Query<History> {
    history(tag, tables).with("afterEvent", after_event)
}

/// Asks for rows of the hub's versioned tables.
fn history(tag: &str, tables: &[&str]) -> Query<History> {
    Query::new("queryHistory", Vec::new()).with("tables", tables.to_vec()).with("tag", tag)
}
