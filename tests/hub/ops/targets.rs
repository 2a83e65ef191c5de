//! Build targets. None of these operations sends a message.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::world::World;
use super::tags::add_named;

impl Tx<'_> {
    pub fn create_target(&mut self, name: &str, build_tag: &str, dest_tag: &str) -> Result<i64, Fault> {
        self.new_call();
        let (build_tag, dest_tag) = (self.w.tag(build_tag, None)?, self.w.tag(dest_tag, None)?);
        if self.w.target(name, None).is_some() {
            return Err(Fault::generic(format!("A build target with the name '{name}' already exists")));
        }
        let known = self.w.targets.iter().find(|t| t.name == name).map(|t| t.id);
        let target = known.unwrap_or_else(|| add_named(&mut self.w.targets, name));
        let ver = self.ver();
        self.w.target_config.rows().push(TargetConfig { target, build_tag, dest_tag, ver });
        Ok(target)
    }

    pub fn edit_target(&mut self, name: &str, build_tag: &str, dest_tag: &str) -> Result<(), Fault> {
        self.new_call();
        let (build_tag, dest_tag) = (self.w.tag(build_tag, None)?, self.w.tag(dest_tag, None)?);
        let target =
            self.w.target(name, None).ok_or_else(|| Fault::generic(format!("No such build target: {name}")))?.target;
        self.revoke(|w| &mut w.target_config, |t| t.target == target);
        let ver = self.ver();
        self.w.target_config.rows().push(TargetConfig { target, build_tag, dest_tag, ver });
        Ok(())
    }

    pub fn delete_target(&mut self, name: &str) -> Result<(), Fault> {
        self.new_call();
        let target =
            self.w.target(name, None).ok_or_else(|| Fault::generic(format!("No such build target: {name}")))?.target;
        self.revoke(|w| &mut w.target_config, |t| t.target == target);
        Ok(())
    }

    /// Makes a side tag of a build tag like the plugin: a tag that inherits from it, with the same
    /// architectures and a target of its own name.
    pub fn create_side_tag(&mut self, base: &str) -> Result<String, Fault> {
        self.new_call();
        let base_id = self.w.tag(base, None)?;
        let arches = self.w.config(base_id, None).unwrap().arches.clone().unwrap_or_default();
        let owner = self.actor();
        let owner_name = self.w.user_name(owner).unwrap_or_default().to_owned();
        let name = format!("{base}-side-{}", self.w.tags.last().map_or(0, |t| t.id) + 1);
        let tag = add_named(&mut self.w.tags, &name);
        let ver = self.ver();
        let arches = Some(arches);
        let row =
            TagConfig { tag, arches, perm: None, locked: false, maven_support: false, maven_include_all: false, ver };
        self.w.tag_config.rows().push(row);
        let (priority, pkg_filter) = (0, String::new());
        let row = Inheritance {
            tag,
            parent: base_id,
            priority,
            maxdepth: None,
            intransitive: false,
            noconfig: false,
            pkg_filter,
            ver,
        };
        self.w.tag_inheritance.rows().push(row);
        let extra = [("sidetag", true.into()), ("sidetag_user", owner_name.into()), ("sidetag_user_id", owner.into())];
        for (key, value) in extra {
            self.w.tag_extra.rows().push(TagExtra { tag, key: key.to_owned(), value, ver });
        }
        let target = add_named(&mut self.w.targets, &name);
        self.w.target_config.rows().push(TargetConfig { target, build_tag: tag, dest_tag: tag, ver });
        Ok(name)
    }

    /// Deletes the side tag's target and the tag. Builds that are still in it lose their entry
    /// without a message.
    pub fn remove_side_tag(&mut self, name: &str) -> Result<(), Fault> {
        if self.w.target(name, None).is_some() {
            self.delete_target(name)?;
        }
        self.delete_tag(name)
    }
}

impl World {
    pub fn target(&self, name: &str, event: Option<i64>) -> Option<&TargetConfig> {
        let id = self.targets.iter().find(|t| t.name == name)?.id;
        self.target_by_id(id, event)
    }

    pub fn target_by_id(&self, id: i64, event: Option<i64>) -> Option<&TargetConfig> {
        self.target_config.iter().find(|c| c.target == id && c.ver.holds(event))
    }
}
