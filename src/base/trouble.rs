//! Remembers an outage, so that it is logged once, and once more when it is over. The level of a
//! message follows from the class of the error, and nobody else decides it.

use std::error::Error;

use crate::model::causes::with_causes;
use crate::model::{Class, Classified};

/// The last logged error of a service that does not answer.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Option<(&'static str, String)>);

impl Trouble {
    /// Notes an error of the service `what`, and logs it if it differs from the last one: as a
    /// warning if waiting may help, else as an error. `meanwhile` says what happens until the
    /// service answers, and what a person can do. `hub` is the hub that is concerned, if one is.
    pub fn failed(
        &mut self,
        hub: Option<&str>,
        what: &'static str,
        error: &(impl Error + Classified),
        meanwhile: &str,
    ) {
        self.failed_with(hub, what, (error.class(), &with_causes(error)), meanwhile);
    }

    /// Like [`Trouble::failed`], for an error that is given as class and text.
    pub fn failed_with(
        &mut self,
        hub: Option<&str>,
        what: &'static str,
        (class, error): (Class, &str),
        meanwhile: &str,
    ) {
        match class {
            _ if !self.is_new(what, error) => tracing::debug!(hub, error, "{what} still does not answer"),
            Class::Unavailable => tracing::warn!(hub, error, "{what} does not answer; {meanwhile}"),
            Class::Rejected | Class::Broken => {
                tracing::error!(hub, error, "{what} answers with an error; {meanwhile}");
            }
        }
    }

    /// Notes an answer. Logs that the service answers again if there was an error before.
    pub fn answered(&mut self, hub: Option<&str>) {
        if let Some((what, _)) = self.0.take() {
            tracing::info!(hub, "{what} answers again");
        }
    }

    /// Notes an error. Returns `true` if it differs from the last one.
    fn is_new(&mut self, what: &'static str, error: &str) -> bool {
        let new = self.0.as_ref().is_none_or(|(_, last)| last != error);
        self.0 = Some((what, error.to_owned()));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_and_its_end() {
        let mut trouble = Trouble::default();
        assert!(trouble.is_new("the hub", "refused"));
        assert!(!trouble.is_new("the hub", "refused"));
        assert!(trouble.is_new("the hub", "timed out"));
        trouble.answered(None);
        assert!(trouble.is_new("the hub", "timed out"), "a new outage");
    }
}
