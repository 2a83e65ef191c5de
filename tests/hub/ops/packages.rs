//! Package lists of tags.

use std::sync::Arc;

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::world::World;
use super::tags::add_named;

impl Tx<'_> {
    /// Returns the number of a package. Makes the package if needed.
    pub fn package_id(&mut self, name: &str) -> i64 {
        if let Some(id) = self.w.package(name) {
            return id;
        }
        let id = add_named(&mut self.w.packages, name);
        Arc::make_mut(&mut self.w.package_names).insert(name.to_owned(), id);
        id
    }

    fn set_package(&mut self, tag: i64, package: i64, blocked: bool, extra_arches: Option<String>) {
        self.end_package(tag, package);
        let ver = self.ver();
        let row = TagPackage { tag, package, blocked, extra_arches, ver };
        World::add(&mut self.w.tag_packages_of, &mut self.w.tag_packages, (tag, package), row);
    }

    fn end_package(&mut self, tag: i64, package: i64) -> bool {
        let rows: Vec<usize> = self.w.tag_packages_of.get(&(tag, package)).cloned().unwrap_or_default();
        let at = rows.into_iter().find(|at| self.w.tag_packages[*at].ver.holds(None));
        if let Some(at) = at {
            let (event, actor) = (self.event(), self.actor());
            let ver = &mut self.w.tag_packages.rows()[at].ver;
            (ver.revoke, ver.revoker) = (Some(event), Some(actor));
        }
        at.is_some()
    }

    fn set_owner(&mut self, tag: i64, package: i64, owner: Option<i64>) {
        let rows: Vec<usize> = self.w.owners_of.get(&(tag, package)).cloned().unwrap_or_default();
        if let Some(at) = rows.into_iter().find(|at| self.w.tag_package_owners[*at].ver.holds(None)) {
            let (event, actor) = (self.event(), self.actor());
            let ver = &mut self.w.tag_package_owners.rows()[at].ver;
            (ver.revoke, ver.revoker) = (Some(event), Some(actor));
        }
        if let Some(owner) = owner {
            let ver = self.ver();
            let row = TagPackageOwner { tag, package, owner, ver };
            World::add(&mut self.w.owners_of, &mut self.w.tag_package_owners, (tag, package), row);
        }
    }

    /// Adds a package to a tag's list. Sends `add`, or nothing if the list already has the same
    /// entry.
    pub fn package_list_add(&mut self, tag: &str, package: &str, owner: &str) -> Result<(), Fault> {
        self.package_list_edit(tag, package, Some(owner), None, None)
    }

    /// Edits like `packageListAdd`. An entry that differs in owner, block or extra arches is
    /// changed, and the message says `update`.
    pub fn package_list_edit(
        &mut self,
        tag: &str,
        package: &str,
        owner: Option<&str>,
        block: Option<bool>,
        extra_arches: Option<&str>,
    ) -> Result<(), Fault> {
        self.new_call();
        let tag_id = self.w.tag(tag, None)?;
        let package = self.package_id(package);
        let old = self.w.list_entry(tag_id, package, None).cloned();
        let old_owner = self.w.list_owner(tag_id, package, None);
        let owner_id = match owner {
            Some(owner) => self.user_id(owner)?,
            None => old_owner.unwrap_or_else(|| self.actor()),
        };
        let blocked = block.unwrap_or(old.as_ref().is_some_and(|o| o.blocked));
        let extra = extra_arches.map(str::to_owned).or(old.as_ref().and_then(|o| o.extra_arches.clone()));
        let entry = old.as_ref().is_some_and(|o| o.blocked == blocked && o.extra_arches == extra);
        if entry && old_owner == Some(owner_id) {
            return Ok(());
        }
        if !entry {
            self.set_package(tag_id, package, blocked, extra.clone());
        }
        if old_owner != Some(owner_id) {
            self.set_owner(tag_id, package, Some(owner_id));
        }
        let (action, update) = if old.is_some() { ("update", true) } else { ("add", false) };
        let owner = self.w.user_name(owner_id).unwrap_or_default().to_owned();
        self.package_message(tag_id, package, action, Some((&owner, blocked, extra.as_deref(), false, update)));
        Ok(())
    }

    pub fn package_list_block(&mut self, tag: &str, package: &str) -> Result<(), Fault> {
        self.new_call();
        let tag = self.w.tag(tag, None)?;
        let package = self.package_id(package);
        let old = self.w.list_entry(tag, package, None).cloned();
        let owner = self.w.effective_owner(tag, package).unwrap_or_else(|| self.actor());
        self.set_package(tag, package, true, old.and_then(|o| o.extra_arches));
        if self.w.list_owner(tag, package, None).is_none() {
            self.set_owner(tag, package, Some(owner));
        }
        let owner = self.w.user_name(owner).unwrap_or_default().to_owned();
        self.package_message(tag, package, "block", Some((&owner, true, None, false, false)));
        Ok(())
    }

    pub fn package_list_unblock(&mut self, tag: &str, package: &str) -> Result<(), Fault> {
        self.new_call();
        let (name, tag, package) = (tag, self.w.tag(tag, None)?, self.package_id(package));
        let old = self.w.list_entry(tag, package, None).cloned().filter(|o| o.blocked);
        let Some(old) = old else {
            let package = self.w.package_name(package).unwrap_or_default();
            return Err(Fault::generic(format!("package {package} not blocked in tag {name}")));
        };
        self.set_package(tag, package, false, old.extra_arches);
        self.package_message(tag, package, "unblock", None);
        Ok(())
    }

    pub fn package_list_remove(&mut self, tag: &str, package: &str) -> Result<(), Fault> {
        self.new_call();
        let tag_id = self.w.tag(tag, None)?;
        let id = self.package_id(package);
        if !self.end_package(tag_id, id) {
            return Err(Fault::generic(format!("package {package} not in tag {tag}")));
        }
        self.set_owner(tag_id, id, None);
        self.package_message(tag_id, id, "remove", None);
        Ok(())
    }
}

impl World {
    /// Returns the entry of the tag's own list.
    pub fn list_entry(&self, tag: i64, package: i64, event: Option<i64>) -> Option<&TagPackage> {
        Self::at(&self.tag_packages_of, &self.tag_packages, (tag, package)).find(|p| p.ver.holds(event))
    }

    pub fn list_owner(&self, tag: i64, package: i64, event: Option<i64>) -> Option<i64> {
        Self::at(&self.owners_of, &self.tag_package_owners, (tag, package))
            .find(|p| p.ver.holds(event))
            .map(|p| p.owner)
    }

    /// Returns the entry that counts for a tag, its ancestors included. The entry names its tag.
    pub fn effective_entry(&self, tag: i64, package: i64, event: Option<i64>) -> Option<&TagPackage> {
        self.ancestry(tag, event).into_iter().find_map(|t| self.list_entry(t, package, event))
    }

    fn effective_owner(&self, tag: i64, package: i64) -> Option<i64> {
        self.ancestry(tag, None).into_iter().find_map(|t| self.list_owner(t, package, None))
    }
}
