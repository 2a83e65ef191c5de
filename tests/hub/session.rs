//! Sessions and their call numbers.

use super::calls::Args;
use super::fault::Fault;
use super::rows::{Session, User};
use super::tx::Tx;
use super::value::{V, row};

/// The session that a request claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub id: i64,
    pub key: String,
    pub callnum: Option<i64>,
}

fn key(id: i64) -> String {
    format!("{id}-{:019x}", rand::random::<u64>())
}

impl Tx<'_> {
    /// Checks the claimed session. Faults: 1002 if there is none or the key is wrong, 1007 if it
    /// has expired (unless the call renews it), 1008 and 1009 for the call number. Returns the
    /// number to be stored if the call commits.
    pub fn authenticate(&mut self, claim: &Claim, method: &str) -> Result<Option<i64>, Fault> {
        let invalid = || Fault::auth("Invalid session or bad credentials");
        let session = self.w.session(claim.id).cloned().ok_or_else(invalid)?;
        if session.closed || session.key != claim.key {
            return Err(invalid());
        }
        let since = session.renew.unwrap_or(session.start);
        let timeout = i64::try_from(self.settings.session_timeout.as_micros()).unwrap();
        if self.now - since > timeout && !session.expired {
            self.w.session_mut(session.id).expired = true;
        }
        if (session.expired || self.now - since > timeout) && method != "sslLogin" {
            return Err(Fault::expired(format!("session \"{}\" has expired", session.id)));
        }
        if let (Some(stored), Some(callnum)) = (session.callnum, claim.callnum) {
            if stored > callnum {
                return Err(Fault::sequence(format!("{stored} > {callnum} (session {})", session.id)));
            }
            if stored == callnum {
                return Err(Fault::retry(format!(
                    "unable to retry call {callnum} (method {method}) for session {}",
                    session.id
                )));
            }
        }
        let now = self.now;
        self.w.session_mut(session.id).update = now;
        self.session = Some(session.id);
        self.user = Some(session.user);
        Ok(claim.callnum)
    }

    /// Handles `sslLogin` of a user whom the web server has identified.
    pub fn login(&mut self, name: &str, authtype: i64, args: &Args) -> Result<V, Fault> {
        let user = self
            .w
            .users
            .iter()
            .find(|u| u.name == name || u.principal.as_deref() == Some(name))
            .map(|u| (u.id, u.status));
        let user = match user {
            Some((_, 1)) => return Err(Fault::auth(format!("logins by {name} are not allowed"))),
            Some((id, _)) => id,
            None if self.settings.login_creates_user => {
                let id = self.w.users.last().map_or(0, |u| u.id) + 1;
                let (plain, principal) = match name.split_once('@') {
                    Some((plain, _)) => (plain.to_owned(), Some(name.to_owned())),
                    None => (name.to_owned(), None),
                };
                self.w.users.rows().push(User {
                    id,
                    name: plain,
                    status: 0,
                    usertype: 0,
                    principal,
                    perms: Vec::new(),
                });
                id
            }
            None => return Err(Fault::auth(format!("Unknown user: {name}"))),
        };
        self.wrote = true;
        let now = self.now;
        if args.truth("renew") {
            // The session stays the same and gets another key. Its call number stays.
            let Some(id) = self.session else { return Err(Fault::auth("Invalid session or bad credentials")) };
            let session = self.w.session_mut(id);
            session.key = key(user);
            session.renew = Some(now);
            session.expired = false;
            return Ok(row! { "session-id" => id, "session-key" => &session.key, "header-auth" => true });
        }
        let id = self.w.sessions.last().map_or(0, |s| s.id) + 1;
        let key = key(user);
        let answer = row! { "session-id" => id, "session-key" => &key };
        let row = Session {
            id,
            user,
            key,
            authtype,
            callnum: None,
            start: now,
            renew: None,
            update: now,
            expired: false,
            closed: false,
        };
        self.w.sessions.rows().push(row);
        // Hubs have this member since 1.31.
        Ok(if self.settings.has_header_auth() { answer.with("header-auth", true) } else { answer })
    }
}
