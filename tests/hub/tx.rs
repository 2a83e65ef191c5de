//! One database transaction of the hub, with the messages to send after its commit.

use super::bus::{BusMessage, Sender};
use super::clock::Micros;
use super::fault::Fault;
use super::rows::{Event, Ver, Versioned};
use super::settings::Settings;
use super::world::{Table, World};

/// The transaction of a call or of a test's change.
///
/// The list of messages is not part of the database. Messages of a failed `multiCall` element stay
/// in the list, as in Koji.
pub struct Tx<'a> {
    pub w: &'a mut World,
    pub settings: &'a Settings,
    /// The user who calls. `None` without login.
    pub user: Option<i64>,
    pub session: Option<i64>,
    /// The transaction's time.
    pub now: Micros,
    pub messages: Vec<BusMessage>,
    /// Whether anything was written. Only then Koji commits.
    pub wrote: bool,
    event: Option<i64>,
}

impl<'a> Tx<'a> {
    pub fn new(w: &'a mut World, settings: &'a Settings, now: Micros, user: Option<i64>) -> Self {
        Self { w, settings, user, session: None, now, messages: Vec::new(), wrote: false, event: None }
    }

    /// Returns the event of the current call. Makes it when first needed.
    pub fn event(&mut self) -> i64 {
        if let Some(event) = self.event {
            return event;
        }
        self.wrote = true;
        let id = self.w.events.last().map_or(0, |e| e.id) + 1;
        self.w.events.rows().push(Event { id, at: self.now });
        self.event = Some(id);
        id
    }

    /// Begins another call, which makes an event of its own.
    pub fn new_call(&mut self) {
        self.event = None;
        self.now += 1;
    }

    /// Returns the user who is recorded as creator. Without a user, that is the administrator, user
    /// 1.
    pub fn actor(&self) -> i64 {
        self.user.unwrap_or(1)
    }

    /// Returns the version of a row that is made now.
    pub fn ver(&mut self) -> Ver {
        Ver { create: self.event(), creator: self.actor(), revoke: None, revoker: None }
    }

    /// Revokes rows that hold now. Returns `true` if there were any.
    pub fn revoke<T: Versioned + Clone>(
        &mut self,
        table: impl Fn(&mut World) -> &mut Table<T>,
        which: impl Fn(&T) -> bool,
    ) -> bool {
        let ended = |row: &T| row.ver().holds(None) && which(row);
        if !table(self.w).iter().any(ended) {
            return false;
        }
        let (event, actor) = (self.event(), self.actor());
        for row in table(self.w).rows().iter_mut().filter(|row| ended(row)) {
            row.ver_mut().revoke = Some(event);
            row.ver_mut().revoker = Some(actor);
        }
        true
    }

    /// Puts a message into the list.
    pub fn send(&mut self, topic: &str, severity: i64, body: serde_json::Value) {
        let mut sender = Sender::new(self.settings, self.now);
        let users: Vec<String> =
            ["user", "owner"].iter().filter_map(|f| body[*f].as_str()).map(str::to_owned).collect();
        sender.users(users);
        let message = sender.message(topic, severity, body);
        self.messages.push(message);
    }

    pub fn logged_in(&self) -> Result<i64, Fault> {
        self.user.ok_or_else(Fault::not_logged_in)
    }

    pub fn need_perm(&self, perm: &str) -> Result<(), Fault> {
        let user = self.logged_in()?;
        if self.w.has_perm(Some(user), perm) {
            return Ok(());
        }
        let name = self.w.user_name(user).unwrap_or_default();
        Err(Fault::not_allowed(format!("{perm} permission required (logged in as {name})")))
    }

    pub fn is_admin(&self) -> bool {
        self.w.has_perm(self.user, "admin")
    }
}
