//! The messages of the original Koschei, as the Python package `koschei-messages` 1.0.1 defines them.
//!
//! A change that `koschei-messages` has no words for gives no message.
//!
//! Sources: the classes `PackageStateChange` and `CollectionStateChange` of `koschei-messages`
//! (schema, topic, summary, packages). Neither class overrides `severity` or `usernames`.

use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use super::Word;
use super::message::{Announced, Class, INFO, message};
use crate::event::{CollectionSettings, CollectionStateChanged, PackageStateChanged};
use crate::model::{PackageState, Timestamp};

/// Topic of a package's change, without the prefix. Also the name of its class among the entry
/// points.
pub const PACKAGE: &str = "koschei.package.state.change";
/// Topic of a collection's change, likewise.
pub const COLLECTION: &str = "koschei.collection.state.change";

const fn class(topic: &'static str) -> Class {
    Class { topic, package: "koschei_messages", severity: INFO }
}

/// The state of a package changed.
#[derive(Serialize, JsonSchema)]
struct PackageBody<'a> {
    /// The package.
    name: &'a str,
    /// The state before. `ignored`: blocked, untracked, or unknown.
    #[schemars(extend("enum" = ["ok", "failing", "unresolved", "ignored"]))]
    old: &'static str,
    /// The state now, likewise.
    #[schemars(extend("enum" = ["ok", "failing", "unresolved", "ignored"]))]
    new: &'static str,
    /// The Koji hub whose package it is.
    koji_instance: &'a str,
    /// The collection. An old name of the field.
    repo: &'a str,
    /// The collection.
    collection: &'a str,
    /// The collection's name for people.
    collection_name: &'a str,
    /// Always empty: groups of packages are not told. The schema of the original wants the field.
    groups: [&'a str; 0],
}

/// The state of a collection's buildroot changed.
#[derive(Serialize, JsonSchema)]
struct CollectionBody<'a> {
    /// The state before.
    #[schemars(extend("enum" = ["ok", "unresolved", "unknown"]))]
    old: &'static str,
    /// The state now.
    #[schemars(extend("enum" = ["ok", "unresolved"]))]
    new: &'static str,
    /// The Koji hub of the collection.
    koji_instance: &'a str,
    /// The collection.
    collection: &'a str,
    /// The collection's name for people.
    collection_name: &'a str,
    /// The repository's number. The schema of the original wants a text.
    repo_id: String,
}

/// Returns the schemas of what we send, by topic. They say more than those of `koschei-messages`.
pub fn schemas() -> [(&'static str, Schema); 2] {
    [(PACKAGE, schema_for!(PackageBody<'static>)), (COLLECTION, schema_for!(CollectionBody<'static>))]
}

/// Returns the message about a change of a package whose collection has these settings, recorded at
/// `at`. `None` if there is nothing to say.
///
/// `told` is what a message about the package last said. The first state that a package has is no
/// change, so it is announced only to those who were told another one.
pub fn package(
    e: &PackageStateChanged,
    of: &CollectionSettings,
    at: Timestamp,
    told: Option<Word>,
) -> Option<Announced> {
    let (old, new) = (package_before(e, told)?, Word::from(e.new));
    if old == new {
        return None;
    }
    let body = PackageBody {
        name: &e.package,
        old: old.as_str(),
        new: new.as_str(),
        koji_instance: of.hub.as_str(),
        repo: &e.collection,
        collection: &e.collection,
        collection_name: &of.display_name,
        groups: [],
    };
    Some(message(&class(PACKAGE), &body, [e.package.as_str()], at))
}

/// Returns what subscribers believe of a package before a change. `None` if they know nothing of
/// it.
pub fn package_before(e: &PackageStateChanged, told: Option<Word>) -> Option<Word> {
    let before = e.old.filter(|old| *old != PackageState::Unknown);
    told.or(before.map(Word::from))
}

/// Returns the message about a change of a collection's buildroot, likewise.
pub fn collection(
    e: &CollectionStateChanged,
    of: &CollectionSettings,
    at: Timestamp,
    told: Option<Word>,
) -> Option<Announced> {
    let (old, new) = (told.unwrap_or(e.old.into()), Word::from(e.new));
    // The class has no summary for a new state `unknown`.
    if old == new || new == Word::Unknown {
        return None;
    }
    let body = CollectionBody {
        old: old.as_str(),
        new: new.as_str(),
        koji_instance: of.hub.as_str(),
        collection: &e.collection,
        collection_name: &of.display_name,
        repo_id: e.repo_id.to_string(),
    };
    Some(message(&class(COLLECTION), &body, [], at))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{BuildrootState, RepoId};
    use PackageState::{Blocked, Failing, Ok, Unknown, Unresolved, Untracked};

    fn of() -> CollectionSettings {
        CollectionSettings { display_name: "Fedora Rawhide".to_owned(), ..CollectionSettings::f99() }
    }

    fn change(old: Option<PackageState>, new: PackageState) -> PackageStateChanged {
        let (collection, package) = ("f99".into(), "bash".into());
        PackageStateChanged { collection, package, old, new, reason: "why".to_owned() }
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// The words of old and new, of each change that says something.
    #[rstest]
    #[case(Some(Ok), Failing, Some(("ok", "failing")))]
    #[case(Some(Failing), Ok, Some(("failing", "ok")))]
    #[case(Some(Ok), Unresolved, Some(("ok", "unresolved")))]
    #[case(Some(Unresolved), Failing, Some(("unresolved", "failing")))]
    #[case(Some(Ok), Blocked, Some(("ok", "ignored")))]
    #[case(Some(Failing), Untracked, Some(("failing", "ignored")))]
    #[case(Some(Unresolved), Unknown, Some(("unresolved", "ignored")))]
    #[case(Some(Blocked), Ok, Some(("ignored", "ok")))]
    #[case(Some(Untracked), Unresolved, Some(("ignored", "unresolved")))]
    #[case::no_word_of_theirs(Some(Blocked), Untracked, None)]
    #[case::nor_here(Some(Untracked), Unknown, None)]
    #[case::a_new_package(None, Failing, None)]
    #[case::its_first_result(Some(Unknown), Ok, None)]
    #[case::nothing_yet(None, Unknown, None)]
    fn changes_of_packages(
        #[case] old: Option<PackageState>,
        #[case] new: PackageState,
        #[case] said: Option<(&str, &str)>,
    ) {
        let message = package(&change(old, new), &of(), Timestamp::from_secs(0), None);
        let body = message.as_ref().map(|m| json(&m.body));
        let words = body.as_ref().map(|b| (b["old"].as_str().unwrap(), b["new"].as_str().unwrap()));
        assert_eq!(words, said);
    }

    /// Who was told that a package is ignored must hear when it is not.
    #[rstest]
    #[case(Some(Unknown), Failing, Some("failing"))]
    #[case(None, Ok, Some("ok"))]
    #[case(Some(Unknown), Blocked, None)]
    fn a_first_state_is_said_to_those_who_were_told_another(
        #[case] old: Option<PackageState>,
        #[case] new: PackageState,
        #[case] said: Option<&str>,
    ) {
        let message = package(&change(old, new), &of(), Timestamp::from_secs(0), Some(Word::Ignored));
        let body = message.map(|m| json(&m.body));
        assert_eq!(body.as_ref().map(|b| b["old"].as_str().unwrap()), said.map(|_| "ignored"));
        assert_eq!(body.as_ref().map(|b| b["new"].as_str().unwrap()), said);
    }

    #[test]
    fn a_whole_message_about_a_package() {
        let at = Timestamp(1_790_000_000_999_999);
        let message = package(&change(Some(Ok), Failing), &of(), at, None).unwrap();
        assert_eq!(message.topic, "koschei.package.state.change");
        let body = json!({
            "name": "bash", "old": "ok", "new": "failing", "koji_instance": "primary", "repo": "f99",
            "collection": "f99", "collection_name": "Fedora Rawhide", "groups": [],
        });
        assert_eq!(json(&message.body), body);
        let headers = json!({
            "fedora_messaging_schema": "koschei.package.state.change",
            "fedora_messaging_schema_package": "koschei_messages",
            "fedora_messaging_severity": 20,
            "fedora_messaging_rpm_bash": true,
            "priority": 0,
            "sent-at": "2026-09-21T14:13:20+00:00",
        });
        assert_eq!(json(&message.headers), headers);
        assert_eq!(package(&change(Some(Ok), Failing), &of(), at, None), Some(message), "always the same");
    }

    #[rstest]
    #[case(BuildrootState::Unknown, BuildrootState::Ok, true)]
    #[case(BuildrootState::Unknown, BuildrootState::Unresolved, true)]
    #[case(BuildrootState::Ok, BuildrootState::Unresolved, true)]
    #[case(BuildrootState::Unresolved, BuildrootState::Ok, true)]
    #[case::no_summary_for_it(BuildrootState::Ok, BuildrootState::Unknown, false)]
    #[case::no_change(BuildrootState::Ok, BuildrootState::Ok, false)]
    fn changes_of_collections(#[case] old: BuildrootState, #[case] new: BuildrootState, #[case] is_said: bool) {
        let event = CollectionStateChanged { collection: "f99".into(), old, new, repo_id: RepoId(17) };
        let message = collection(&event, &of(), Timestamp::from_secs(0), None);
        assert_eq!(message.is_some(), is_said);
        let Some(message) = message else { return };
        let body = json!({
            "old": old.as_str(), "new": new.as_str(), "koji_instance": "primary", "collection": "f99",
            "collection_name": "Fedora Rawhide", "repo_id": "17",
        });
        assert_eq!((message.topic, json(&message.body)), (COLLECTION, body));
        assert!(!message.headers.contains("_rpm_"), "it is about no package");
    }
}
