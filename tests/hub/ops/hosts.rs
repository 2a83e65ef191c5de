//! Users, builders and channels. None of these operations sends a message.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;

impl Tx<'_> {
    pub fn create_user(&mut self, name: &str, usertype: i64) -> Result<i64, Fault> {
        self.new_call();
        if self.w.user_named(name).is_some() {
            return Err(Fault::generic(format!("user already exists: {name}")));
        }
        self.wrote = true;
        let id = self.w.users.last().map_or(0, |u| u.id) + 1;
        self.w.users.rows().push(User {
            id,
            name: name.to_owned(),
            status: 0,
            usertype,
            principal: None,
            perms: Vec::new(),
        });
        Ok(id)
    }

    pub fn grant(&mut self, user: &str, perm: &str) -> Result<(), Fault> {
        self.new_call();
        self.event();
        self.permission(perm);
        let id = self.user_id(user)?;
        let perms = &mut self.w.user_mut(id).perms;
        if !perms.iter().any(|p| p == perm) {
            perms.push(perm.to_owned());
        }
        Ok(())
    }

    pub fn user_id(&self, name: &str) -> Result<i64, Fault> {
        self.w.user_named(name).map(|u| u.id).ok_or_else(|| Fault::generic(format!("No such user: '{name}'")))
    }

    pub fn channel_id(&self, name: &str) -> Result<i64, Fault> {
        let channel = self.w.channels.iter().find(|c| c.name == name);
        channel.map(|c| c.id).ok_or_else(|| Fault::generic(format!("No such channel: {name}")))
    }

    /// Adds a builder in the channels `default` and `createrepo`, enabled and ready.
    pub fn add_host(&mut self, name: &str, arches: &str, capacity: f64) -> Result<i64, Fault> {
        let user = self.create_user(name, 1)?;
        let id = self.w.hosts.last().map_or(0, |h| h.id) + 1;
        let update = self.now;
        self.w.hosts.rows().push(Host {
            id,
            user,
            name: name.to_owned(),
            arches: arches.to_owned(),
            capacity,
            task_load: 0.0,
            ready: true,
            enabled: true,
            comment: None,
            description: None,
            update,
        });
        for channel in ["default", "createrepo"] {
            let channel = self.channel_id(channel)?;
            let ver = self.ver();
            self.w.host_channels.rows().push(HostChannel { host: id, channel, ver });
        }
        Ok(id)
    }

    pub fn set_host_load(&mut self, name: &str, load: f64) -> Result<(), Fault> {
        self.edit_host(name, |h| h.task_load = load)
    }

    pub fn enable_host(&mut self, name: &str, enabled: bool) -> Result<(), Fault> {
        self.edit_host(name, |h| h.enabled = enabled)
    }

    pub fn edit_host(&mut self, name: &str, change: impl FnOnce(&mut Host)) -> Result<(), Fault> {
        self.new_call();
        let now = self.now;
        self.wrote = true;
        let host = self.w.hosts.rows().iter_mut().find(|h| h.name == name);
        let host = host.ok_or_else(|| Fault::generic(format!("No such host: {name}")))?;
        change(host);
        host.update = now;
        Ok(())
    }
}
