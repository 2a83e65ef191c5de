//! Keeps the stand-ins of people in memory, because messages name the same few people again and
//! again.

use std::collections::HashMap;

use crate::log::{Commit, EventLog, LogError};
use crate::model::PersonId;

/// Stand-ins by name, valid until the next erasure.
#[derive(Debug, Default)]
pub struct Persons {
    known: HashMap<String, PersonId>,
    pub(crate) as_of: u64,
}

impl Persons {
    /// Reads the stand-ins of all people that the log knows.
    ///
    /// # Errors
    /// Fails if the log cannot be read.
    pub async fn read(log: &impl EventLog) -> Result<Self, LogError> {
        // The number of erasures is read first. An erasure between the two reads is then noticed
        // later.
        let as_of = log.erasures().await?;
        let known = log.all_persons().await?.into_iter().map(|(id, name)| (name, id)).collect();
        Ok(Self { known, as_of })
    }

    /// Returns the stand-in of a person, if there is one.
    pub(crate) fn known(&self, name: &str) -> Option<PersonId> {
        self.known.get(name).cloned()
    }

    /// Returns the stand-in of a person for the events of `commit`, and makes one if there is none.
    /// The log refuses the commit if somebody was erased meanwhile.
    pub(crate) fn stand_in(&mut self, name: &str, commit: &mut Commit) -> PersonId {
        commit.persons_as_of = Some(self.as_of);
        let new = &mut commit.persons;
        let make = || {
            let id = PersonId::new(format!("p-{:016x}", rand::random::<u64>()));
            new.push((id.clone(), name.to_owned()));
            id
        };
        self.known.entry(name.to_owned()).or_insert_with(make).clone()
    }
}
