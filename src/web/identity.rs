//! Identity of a user, permissions, and the one way from a page into the inbox.
//!
//! There is no login yet, so nothing is permitted and pages only show. A page that writes takes an
//! [`Identity`] from the request and calls [`say`]. Nothing else leads from a page into the inbox.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Site;
use super::refusal::Refusal;
use crate::base::clock;
use crate::event::Event;
use crate::operator::{Checked, Reception, SayError, Word};

/// Time that a page waits until a command is taken.
const WAIT: Duration = Duration::from_secs(10);

/// The user of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Identity {
    /// An unknown user. That is every user, whatever the request claims.
    Unknown,
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::Unknown)
    }
}

impl Identity {
    /// Returns the name that is stored with a command.
    fn name(&self) -> Option<String> {
        match self {
            Self::Unknown => None,
        }
    }

    /// Checks whether the user may give the command that an event stands for.
    fn may(&self, event: &Event) -> Result<(), Refusal> {
        match self {
            Self::Unknown => Err(Refusal::Forbidden(format!(
                "`{}` is not accepted here, because nobody can log in; use `koschei admin`",
                event.kind().name
            ))),
        }
    }
}

/// Gives commands for a user, all or none. Checks the permission and the commands, puts them into
/// the inbox, and waits until the process that works on the log takes them, at most [`WAIT`].
pub(super) async fn say(site: &Site, who: &Identity, events: Vec<Event>) -> Result<Reception, Refusal> {
    events.iter().try_for_each(|event| who.may(event))?;
    let words: Vec<Word> = events.into_iter().map(|event| Word::new(event, who.name())).collect();
    let now = clock::now();
    let checked = site.look(move |view| Checked::words(&view.state, &words, now)).await?;
    Ok(checked.say(&site.log, Some(WAIT)).await?)
}

impl From<SayError> for Refusal {
    fn from(error: SayError) -> Self {
        match error {
            SayError::Refused(why) => Self::BadRequest(why),
            SayError::Log(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::event::kinds::KINDS;
    use crate::log::{EventLog, Options, open};
    use crate::operator::SOURCE;
    use crate::telemetry::Metrics;
    use crate::web::{Follower, KojiLinks};

    /// The example of the newest version of every kind of event.
    fn events() -> Vec<Event> {
        let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples");
        let read = |name: &str, version: u16| {
            let text = std::fs::read_to_string(examples.join(format!("{name}.v{version}.json"))).unwrap();
            Event::decode(name, version, text.trim_end()).unwrap()
        };
        KINDS.iter().map(|kind| read(kind.name, kind.version)).collect()
    }

    #[tokio::test]
    async fn without_identity_nothing_is_permitted() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path().join("log.db").to_str().unwrap(), &Options::default()).await.unwrap();
        let site = Site::new(log.clone(), Follower::new(Metrics::new()), Metrics::new(), KojiLinks::default());
        let request = Request::builder()
            .header("authorization", "Basic cm9vdDpyb290")
            .header("x-remote-user", "root")
            .header("cookie", "session=root")
            .body(())
            .unwrap();
        let (mut parts, ()) = request.into_parts();
        let Ok(who) = Identity::from_request_parts(&mut parts, &site).await;
        assert_eq!((&who, who.name()), (&Identity::Unknown, None));
        let events = events();
        assert!(events.len() > 40);
        for event in events {
            let said = say(&site, &who, vec![event.clone()]).await;
            assert!(matches!(said, Err(Refusal::Forbidden(_))), "{}: {said:?}", event.kind());
        }
        let (waiting, _) = log.pending_of(SOURCE, None, 10).await.unwrap();
        assert!(waiting.is_empty() && log.head().await.unwrap().seq.is_none(), "{waiting:?}");
        log.close().await;
    }
}
