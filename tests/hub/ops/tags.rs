//! Tags: configuration, inheritance, groups, external repositories. None of these operations sends
//! a message.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::V;
use super::super::world::World;

/// How a tag inherits from another.
#[derive(Clone, Debug, Default)]
pub struct Inherit {
    pub priority: i64,
    pub maxdepth: Option<i64>,
    pub intransitive: bool,
    pub noconfig: bool,
    pub pkg_filter: String,
}

/// Adds a row to a table of names, and returns its number.
pub fn add_named(table: &mut super::super::world::Table<Named>, name: &str) -> i64 {
    let id = table.last().map_or(0, |r| r.id) + 1;
    table.rows().push(Named { id, name: name.to_owned() });
    id
}

impl Tx<'_> {
    /// Creates a tag. `arches` is separated by spaces; if empty, nothing is built for the tag.
    pub fn create_tag(&mut self, name: &str, arches: &str) -> Result<i64, Fault> {
        self.new_call();
        if self.w.tag(name, None).is_ok() {
            return Err(Fault::generic(format!("A tag with the name '{name}' already exists")));
        }
        let tag = self.w.tag_named(name).unwrap_or_else(|| add_named(&mut self.w.tags, name));
        let arches = Some(arches.to_owned());
        let ver = self.ver();
        let row =
            TagConfig { tag, arches, perm: None, locked: false, maven_support: false, maven_include_all: false, ver };
        self.w.tag_config.rows().push(row);
        Ok(tag)
    }

    fn edit_config(&mut self, name: &str, change: impl FnOnce(&mut TagConfig)) -> Result<(), Fault> {
        self.new_call();
        let tag = self.w.tag(name, None)?;
        let mut row = self.w.config(tag, None).unwrap().clone();
        self.revoke(|w| &mut w.tag_config, |c| c.tag == tag);
        change(&mut row);
        row.ver = self.ver();
        self.w.tag_config.rows().push(row);
        Ok(())
    }

    pub fn edit_tag_arches(&mut self, name: &str, arches: &str) -> Result<(), Fault> {
        self.edit_config(name, |c| c.arches = Some(arches.to_owned()))
    }

    pub fn lock_tag(&mut self, name: &str, locked: bool) -> Result<(), Fault> {
        self.edit_config(name, |c| c.locked = locked)
    }

    pub fn edit_tag_perm(&mut self, name: &str, perm: Option<&str>) -> Result<(), Fault> {
        let perm = perm.map(|p| self.permission(p));
        self.edit_config(name, |c| c.perm = perm)
    }

    /// Returns the number of a permission. Makes the permission if needed.
    pub fn permission(&mut self, name: &str) -> i64 {
        let known = self.w.permissions.iter().find(|p| p.name == name).map(|p| p.id);
        known.unwrap_or_else(|| add_named(&mut self.w.permissions, name))
    }

    /// Sets a key of the tag's `extra`, or removes it with `None`.
    pub fn edit_tag_extra(&mut self, name: &str, key: &str, value: Option<V>) -> Result<(), Fault> {
        self.new_call();
        let tag = self.w.tag(name, None)?;
        self.revoke(|w| &mut w.tag_extra, |e| e.tag == tag && e.key == key);
        if let Some(value) = value {
            let ver = self.ver();
            self.w.tag_extra.rows().push(TagExtra { tag, key: key.to_owned(), value, ver });
        }
        Ok(())
    }

    pub fn rename_tag(&mut self, old: &str, new: &str) -> Result<(), Fault> {
        self.new_call();
        let tag = self.w.tag(old, None)?;
        self.event();
        self.w.tags.rows().iter_mut().find(|t| t.id == tag).unwrap().name = new.to_owned();
        Ok(())
    }

    /// Deletes a tag. The entries of its builds vanish without untag messages. Targets stay and
    /// point nowhere.
    pub fn delete_tag(&mut self, name: &str) -> Result<(), Fault> {
        self.new_call();
        let tag = self.w.tag(name, None)?;
        self.revoke(|w| &mut w.tag_config, |r| r.tag == tag);
        self.revoke(|w| &mut w.tag_extra, |r| r.tag == tag);
        self.revoke(|w| &mut w.tag_inheritance, |r| r.tag == tag || r.parent == tag);
        self.revoke(|w| &mut w.target_config, |r| r.build_tag == tag || r.dest_tag == tag);
        self.revoke(|w| &mut w.tag_listing, |r| r.tag == tag);
        self.revoke(|w| &mut w.tag_packages, |r| r.tag == tag);
        self.revoke(|w| &mut w.tag_package_owners, |r| r.tag == tag);
        self.revoke(|w| &mut w.group_config, |r| r.tag == tag);
        self.revoke(|w| &mut w.group_packages, |r| r.tag == tag);
        self.revoke(|w| &mut w.tag_external_repos, |r| r.tag == tag);
        Ok(())
    }

    pub fn add_inheritance(&mut self, child: &str, parent: &str, how: Inherit) -> Result<(), Fault> {
        self.new_call();
        let (tag, parent) = (self.w.tag(child, None)?, self.w.tag(parent, None)?);
        self.revoke(|w| &mut w.tag_inheritance, |i| i.tag == tag && i.parent == parent);
        let ver = self.ver();
        self.w.tag_inheritance.rows().push(Inheritance {
            tag,
            parent,
            priority: how.priority,
            maxdepth: how.maxdepth,
            intransitive: how.intransitive,
            noconfig: how.noconfig,
            pkg_filter: how.pkg_filter,
            ver,
        });
        Ok(())
    }

    pub fn remove_inheritance(&mut self, child: &str, parent: &str) -> Result<(), Fault> {
        self.new_call();
        let (tag, parent) = (self.w.tag(child, None)?, self.w.tag(parent, None)?);
        self.revoke(|w| &mut w.tag_inheritance, |i| i.tag == tag && i.parent == parent);
        Ok(())
    }

    fn group(&mut self, tag: i64, name: &str) -> i64 {
        let group = self.w.groups.iter().find(|g| g.name == name).map(|g| g.id);
        let group = group.unwrap_or_else(|| add_named(&mut self.w.groups, name));
        if !self.w.group_config.iter().any(|g| g.tag == tag && g.group == group && g.ver.holds(None)) {
            let ver = self.ver();
            self.w.group_config.rows().push(GroupConfig {
                group,
                tag,
                blocked: false,
                exported: true,
                display_name: name.to_owned(),
                is_default: None,
                uservisible: true,
                description: None,
                langonly: None,
                biarchonly: false,
                ver,
            });
        }
        group
    }

    /// Adds packages to a group of a tag (`build`, `srpm-build`), one event each. Makes the group
    /// if needed.
    pub fn add_group_packages(&mut self, tag: &str, group: &str, packages: &[&str]) -> Result<(), Fault> {
        self.edit_group(tag, group, packages, false)
    }

    /// Removes packages from a group by blocking them, as for inherited ones.
    pub fn block_group_packages(&mut self, tag: &str, group: &str, packages: &[&str]) -> Result<(), Fault> {
        self.edit_group(tag, group, packages, true)
    }

    fn edit_group(&mut self, tag: &str, group: &str, packages: &[&str], blocked: bool) -> Result<(), Fault> {
        for package in packages {
            self.new_call();
            let tag = self.w.tag(tag, None)?;
            let group = self.group(tag, group);
            self.revoke(|w| &mut w.group_packages, |p| p.tag == tag && p.group == group && p.package == *package);
            let (ver, package) = (self.ver(), (*package).to_owned());
            let kind = "mandatory".to_owned();
            let row = GroupPackage { group, tag, package, blocked, kind, basearchonly: None, requires: None, ver };
            self.w.group_packages.rows().push(row);
        }
        Ok(())
    }

    pub fn remove_group_package(&mut self, tag: &str, group: &str, package: &str) -> Result<(), Fault> {
        self.new_call();
        let tag = self.w.tag(tag, None)?;
        let group = self.group(tag, group);
        self.revoke(|w| &mut w.group_packages, |p| p.tag == tag && p.group == group && p.package == package);
        Ok(())
    }

    pub fn create_external_repo(&mut self, name: &str, url: &str) -> Result<i64, Fault> {
        self.new_call();
        if self.w.external_repos.iter().any(|r| r.name == name) {
            return Err(Fault::generic(format!("An external repo named \"{name}\" already exists")));
        }
        let repo = add_named(&mut self.w.external_repos, name);
        let url = if url.ends_with('/') { url.to_owned() } else { format!("{url}/") };
        let ver = self.ver();
        self.w.external_repo_config.rows().push(ExternalRepoConfig { repo, url, ver });
        Ok(repo)
    }

    pub fn external_repo(&self, name: &str) -> Result<i64, Fault> {
        let known = self.w.external_repos.iter().find(|r| r.name == name).map(|r| r.id);
        known.ok_or_else(|| Fault::generic(format!("No such repo: {name}")))
    }

    /// Adds an external repository. `merge_mode` is `koji`, `simple` or `bare`.
    pub fn add_external_repo(
        &mut self,
        tag: &str,
        repo: &str,
        priority: i64,
        merge_mode: &str,
        arches: Option<&str>,
    ) -> Result<(), Fault> {
        self.new_call();
        let (tag, repo_id, name) = (self.w.tag(tag, None)?, self.external_repo(repo)?, tag);
        if !["koji", "simple", "bare"].contains(&merge_mode) {
            return Err(Fault::generic(format!("No such merge mode: {merge_mode}")));
        }
        let now: Vec<&TagExternalRepo> =
            self.w.tag_external_repos.iter().filter(|r| r.tag == tag && r.ver.holds(None)).collect();
        if now.iter().any(|r| r.repo == repo_id) {
            return Err(Fault::generic(format!("tag {name} already associated with external repo {repo}")));
        }
        if now.iter().any(|r| r.priority == priority) {
            return Err(Fault::generic(format!(
                "tag {name} already associated with an external repo at priority {priority}"
            )));
        }
        let (ver, merge_mode) = (self.ver(), merge_mode.to_owned());
        let row = TagExternalRepo { tag, repo: repo_id, priority, merge_mode, arches: arches.map(str::to_owned), ver };
        self.w.tag_external_repos.rows().push(row);
        Ok(())
    }

    pub fn remove_external_repo(&mut self, tag: &str, repo: &str) -> Result<(), Fault> {
        self.new_call();
        let (tag_id, repo_id) = (self.w.tag(tag, None)?, self.external_repo(repo)?);
        if self.revoke(|w| &mut w.tag_external_repos, |r| r.tag == tag_id && r.repo == repo_id) {
            return Ok(());
        }
        Err(Fault::generic(format!("external repo {repo} not associated with tag {tag}")))
    }
}

/// One step of a tag's inheritance.
#[derive(Clone, Debug)]
pub struct Link {
    pub row: Inheritance,
    pub depth: i64,
    pub nextdepth: Option<i64>,
    pub filter: Vec<String>,
}

impl World {
    /// Returns the direct parents, by priority.
    pub fn parents(&self, tag: i64, event: Option<i64>) -> Vec<&Inheritance> {
        let mut parents: Vec<&Inheritance> =
            self.tag_inheritance.iter().filter(|i| i.tag == tag && i.ver.holds(event)).collect();
        parents.sort_by_key(|i| i.priority);
        parents
    }

    /// Returns all ancestors in the order of `getFullInheritance`.
    pub fn inheritance(&self, tag: i64, event: Option<i64>) -> Vec<Link> {
        let mut links = Vec::new();
        self.walk(tag, event, 1, None, &[], false, &mut links, &mut vec![tag]);
        links
    }

    #[allow(clippy::too_many_arguments, reason = "the state of a recursion")]
    fn walk(
        &self,
        tag: i64,
        event: Option<i64>,
        depth: i64,
        left: Option<i64>,
        filter: &[String],
        below_first: bool,
        links: &mut Vec<Link>,
        path: &mut Vec<i64>,
    ) {
        for parent in self.parents(tag, event) {
            // A priority below zero means that the link is switched off.
            let seen = links.iter().any(|l| l.row.parent == parent.parent);
            if parent.priority < 0 || path.contains(&parent.parent) || (parent.intransitive && below_first) {
                continue;
            }
            let own = parent.maxdepth;
            let next = match (left, own) {
                (None, own) => own,
                (Some(left), None) => Some(left - 1),
                (Some(left), Some(own)) => Some(own.min(left - 1)),
            };
            if next.is_some_and(|next| next < 0) {
                continue;
            }
            let mut filter = filter.to_vec();
            if !parent.pkg_filter.is_empty() {
                filter.push(parent.pkg_filter.clone());
            }
            if !seen {
                links.push(Link { row: parent.clone(), depth, nextdepth: next, filter: filter.clone() });
            }
            path.push(parent.parent);
            self.walk(parent.parent, event, depth + 1, next, &filter, true, links, path);
            path.pop();
        }
    }

    /// Returns the tag and its ancestors.
    pub fn ancestry(&self, tag: i64, event: Option<i64>) -> Vec<i64> {
        let mut tags = vec![tag];
        tags.extend(self.inheritance(tag, event).into_iter().map(|l| l.row.parent));
        tags
    }

    /// Returns the tag's own extra.
    pub fn extra(&self, tag: i64, event: Option<i64>) -> Vec<(String, V)> {
        let rows = self.tag_extra.iter().filter(|e| e.tag == tag && e.ver.holds(event));
        rows.map(|e| (e.key.clone(), e.value.clone())).collect()
    }

    /// Returns the architectures of a build tag. They are inherited if it has none of its own.
    pub fn build_arches(&self, tag: i64, event: Option<i64>) -> Vec<String> {
        let own = self.config(tag, event).and_then(|c| c.arches.clone()).filter(|a| !a.is_empty());
        let links = self.inheritance(tag, event);
        let mut inherited = links.iter().filter(|l| !l.row.noconfig);
        let arches = own.or_else(|| {
            inherited
                .find_map(|l| self.config(l.row.parent, event).and_then(|c| c.arches.clone()).filter(|a| !a.is_empty()))
        });
        arches.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}
