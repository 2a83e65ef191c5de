//! One database transaction of the hub, with the list of messages to be sent after its commit.

use super::bus::{BusMessage, Sender};
use super::clock::Micros;
use super::fault::Fault;
use super::rows::{Event, Ver, Versioned};
use super::settings::Settings;
use super::world::{Table, World};

/// What a call or a change of a test runs in.
///
/// The list of messages is no part of the database: what a failed element of a `multiCall` put there stays, as in Koji.
pub struct Tx<'a> {
    pub w: &'a mut World,
    pub settings: &'a Settings,
    /// Who asks; nobody without login.
    pub user: Option<i64>,
    pub session: Option<i64>,
    /// The transaction's time.
    pub now: Micros,
    pub messages: Vec<BusMessage>,
    /// Whether anything was written, which makes Koji commit.
    pub wrote: bool,
    event: Option<i64>,
}

impl<'a> Tx<'a> {
    pub fn new(w: &'a mut World, settings: &'a Settings, now: Micros, user: Option<i64>) -> Self {
        Self { w, settings, user, session: None, now, messages: Vec::new(), wrote: false, event: None }
    }

    /// The event of the current call, made when first needed.
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

    /// Another call begins: it makes an event of its own.
    pub fn new_call(&mut self) {
        self.event = None;
        self.now += 1;
    }

    /// Who is noted as creator; test set-up without a user counts as the administrator, who is user 1.
    pub fn actor(&self) -> i64 {
        self.user.unwrap_or(1)
    }

    /// The version of a row that is made now.
    pub fn ver(&mut self) -> Ver {
        Ver { create: self.event(), creator: self.actor(), revoke: None, revoker: None }
    }

    /// Ends rows that hold now; true if there were any.
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
