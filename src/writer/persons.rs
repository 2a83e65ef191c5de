//! Stand-ins of people, known by heart: messages name the same few again and again.

use std::collections::HashMap;

use crate::log::{Commit, EventLog, LogError};
use crate::model::PersonId;

/// Stand-ins by name, as of one erasure.
#[derive(Debug, Default)]
pub struct Persons {
    known: HashMap<String, PersonId>,
    pub(crate) as_of: u64,
}

impl Persons {
    /// Everyone the log knows.
    ///
    /// # Errors
    /// Those of reading the log.
    pub async fn read(log: &impl EventLog) -> Result<Self, LogError> {
        // Asked first: who is erased between the two is noticed later.
        let as_of = log.erasures().await?;
        let known = log.all_persons().await?.into_iter().map(|(id, name)| (name, id)).collect();
        Ok(Self { known, as_of })
    }

    /// The stand-in of a person, made when there is none yet, for events of `commit`. The log refuses the commit when
    /// somebody was erased meanwhile.
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
