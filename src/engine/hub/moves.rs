//! What moved in tags since the last time, by `queryHistory`.
//!
//! Changes are asked for again from somewhat before the last ones that were seen: a transaction takes its event when it begins, and one that
//! lasts is seen after others with higher events. Rows that led to a look before lead to none again.

use std::collections::BTreeSet;

use super::keys::{Key, Watch};
use super::looker::{Answer, call, decoded};
use crate::koji::records::{self, HistoryRow};
use crate::koji::xmlrpc::{Call, Value};
use crate::model::Name;

/// Changes are asked for again from so many events before those that were seen.
pub(super) const OVERLAP: i64 = 100;
/// More changed objects of one tag than this, and the whole tag is read.
const CHANGES_MAX: usize = 500;
/// Tables whose changes matter (`queryHistory`), all of them with a tag.
const TABLES: [&str; 9] = [
    "tag_listing",
    "tag_packages",
    "tag_config",
    "tag_extra",
    "tag_inheritance",
    "tag_external_repos",
    "group_config",
    "group_package_listing",
    "group_req_listing",
];

/// A row of a table: what it is about, made and revoked when.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Row {
    table: String,
    key: Key,
    created: i64,
    revoked: Option<i64>,
}

/// The rows of the last events that were looked at.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeSet<Row>);

impl Moves {
    /// The questions, one for each tag.
    pub(super) fn questions(tags: &BTreeSet<Name>, after: i64) -> Vec<Call> {
        let tables = Value::Array(TABLES.iter().map(|t| Value::Text((*t).to_owned())).collect());
        let one = |tag: &Name| {
            let kwargs = vec![
                ("tables", tables.clone()),
                ("tag", Value::Text(tag.to_string())),
                ("afterEvent", Value::Int(after)),
            ];
            call("queryHistory", vec![], kwargs)
        };
        tags.iter().map(one).collect()
    }

    /// What to look at after the answers, and the rows to be noted when that was done.
    pub(super) fn read(&self, tags: &BTreeSet<Name>, answers: Vec<Answer>, watch: &Watch) -> (BTreeSet<Key>, Vec<Row>) {
        let (mut keys, mut rows) = (BTreeSet::new(), Vec::new());
        for (tag, answer) in tags.iter().zip(answers) {
            let Ok(history) = decoded::<records::History>("queryHistory", answer) else {
                // Not there any more, or nobody can say what changed: then all of it may have.
                keys.extend(whole(&BTreeSet::from([tag.clone()])));
                continue;
            };
            let mut of_tag = BTreeSet::new();
            for (table, found) in &history.0 {
                for row in found.iter().map(|r| Row::new(table, r, tag)).filter(|r| !self.0.contains(r)) {
                    if table == "tag_inheritance" {
                        // Other lists count for it and those below it, so that other builds may be visible.
                        keys.extend(watch.below(tag).map(|t| Key::TagBuilds(t.clone(), None)));
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

    /// Objects among those of these rows that changed after an event.
    pub(super) fn after(rows: &[Row], event: i64) -> BTreeSet<Key> {
        rows.iter().filter(|r| r.event() > event).map(|r| r.key.clone()).collect()
    }

    /// Notes rows that were looked at; forgets those nobody asks for any more.
    pub(super) fn note(&mut self, rows: Vec<Row>, after: i64) {
        self.0.extend(rows);
        self.0.retain(|r| r.event() > after);
    }
}

impl Row {
    /// The last event that concerns it.
    fn event(&self) -> i64 {
        self.revoked.unwrap_or(self.created).max(self.created)
    }

    fn new(table: &str, row: &HistoryRow, tag: &Name) -> Self {
        let key = match table {
            "tag_listing" => Key::TagBuilds(tag.clone(), row.build().ok().map(|(_, nvr)| nvr.name)),
            "tag_packages" => Key::TagPackages(tag.clone(), row.package_name().ok()),
            _ => Key::TagConfig(tag.clone()),
        };
        Self { table: table.to_owned(), key, created: row.create_event, revoked: row.revoke_event }
    }
}

/// Everything of some tags.
pub(super) fn whole(tags: &BTreeSet<Name>) -> BTreeSet<Key> {
    let of = |t: &Name| [Key::TagConfig(t.clone()), Key::TagPackages(t.clone(), None), Key::TagBuilds(t.clone(), None)];
    tags.iter().flat_map(of).collect()
}
