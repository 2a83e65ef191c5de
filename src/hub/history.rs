//! Finds what changed in tags since the last poll, using `queryHistory`.
//!
//! Each poll asks again for some events before the last ones it saw. A transaction takes its event
//! number when it begins. A long transaction becomes visible after others with higher events. Rows
//! that were already looked at do not cause another look.

use std::collections::BTreeSet;

use super::interest::{HubObject, Interest};
use crate::koji::calls::query_changes;
use crate::koji::records::{History, HistoryRow};
use crate::koji::{Answers, Asked, Batch};
use crate::model::Name;

/// Number of events before the last ones seen from which changes are asked for again.
pub(super) const OVERLAP: i64 = 100;
/// If more objects of one tag changed than this, the whole tag is read.
const CHANGES_MAX: usize = 500;
/// Returns which object of a tag a row of a table is about.
type About = fn(&Name, &HistoryRow) -> HubObject;
/// Tables whose changes matter (`queryHistory`). All of them name a tag.
const TABLES: [(&str, About); 10] = [
    ("tag_listing", |tag, row| HubObject::TagBuilds(tag.clone(), row.build_name.clone())),
    ("tag_packages", |tag, row| HubObject::TagPackages(tag.clone(), row.package_name.clone())),
    // Since Koji 1.20.
    ("tag_package_owners", |tag, row| HubObject::TagPackages(tag.clone(), row.package_name.clone())),
    ("tag_config", config),
    ("tag_extra", config),
    (INHERITANCE, config),
    ("tag_external_repos", config),
    ("group_config", config),
    ("group_package_listing", config),
    ("group_req_listing", config),
];
const INHERITANCE: &str = "tag_inheritance";

fn config(tag: &Name, _: &HistoryRow) -> HubObject {
    HubObject::TagConfig(tag.clone())
}

/// A row of a history table: the object it is about, and the events that created and revoked it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Row {
    table: &'static str,
    key: HubObject,
    created: i64,
    revoked: Option<i64>,
}

/// The rows of the last events that were looked at.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeSet<Row>);

impl Moves {
    /// Asks what changed after an event, with one question per tag.
    pub(super) fn ask(tags: &BTreeSet<Name>, after: i64, batch: &mut Batch) -> Vec<Asked<History>> {
        let tables = TABLES.map(|(table, _)| table);
        tags.iter().map(|tag| batch.add(query_changes(tag, &tables, after))).collect()
    }

    /// Returns the objects to look at, and the rows to note after that look.
    pub(super) fn read(
        &self,
        tags: &BTreeSet<Name>,
        asked: Vec<Asked<History>>,
        answers: &mut Answers,
        watch: &Interest,
    ) -> (BTreeSet<HubObject>, Vec<Row>) {
        let (mut keys, mut rows) = (BTreeSet::new(), Vec::new());
        for (tag, asked) in tags.iter().zip(asked) {
            let Ok(history) = answers.take(asked) else {
                // The tag is gone, or the hub cannot say what changed. Anything in it may have
                // changed.
                keys.extend(whole(&BTreeSet::from([tag.clone()])));
                continue;
            };
            let mut of_tag = BTreeSet::new();
            for (table, about) in TABLES {
                let found = history.table(table).iter().map(|row| Row::new(table, about(tag, row), row));
                for row in found.filter(|r| !self.0.contains(r)) {
                    if table == INHERITANCE {
                        // The tag and those below it now use other package lists, so other builds
                        // may be visible.
                        keys.extend(watch.below(tag).map(|t| HubObject::TagBuilds(t.clone(), None)));
                    }
                    of_tag.insert(row.key.clone());
                    rows.push(row);
                }
            }
            if of_tag.len() > CHANGES_MAX {
                of_tag = whole(&BTreeSet::from([tag.clone()]));
            }
            keys.extend(of_tag);
        }
        (keys, rows)
    }

    /// Returns the objects of these rows that changed after an event.
    pub(super) fn after(rows: &[Row], event: i64) -> BTreeSet<HubObject> {
        rows.iter().filter(|r| r.event() > event).map(|r| r.key.clone()).collect()
    }

    /// Notes rows that were looked at. Forgets rows that the next poll does not ask for.
    pub(super) fn note(&mut self, rows: Vec<Row>, after: i64) {
        self.0.extend(rows);
        self.0.retain(|r| r.event() > after);
    }
}

impl Row {
    /// Returns the last event that concerns the row.
    fn event(&self) -> i64 {
        self.revoked.unwrap_or(self.created).max(self.created)
    }

    const fn new(table: &'static str, key: HubObject, row: &HistoryRow) -> Self {
        Self { table, key, created: row.create_event, revoked: row.revoke_event }
    }
}

/// Returns the keys for everything in these tags.
pub(super) fn whole(tags: &BTreeSet<Name>) -> BTreeSet<HubObject> {
    let of = |t: &Name| {
        [
            HubObject::TagConfig(t.clone()),
            HubObject::TagPackages(t.clone(), None),
            HubObject::TagBuilds(t.clone(), None),
        ]
    };
    tags.iter().flat_map(of).collect()
}
