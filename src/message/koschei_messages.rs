//! What our own messages say: those of the original Koschei, as the Python package
//! `koschei-messages` 1.0.1 defines them, in the envelope of `fedora-messaging` 3.9.
//!
//! A message follows from its event and the settings of its collection alone, so the same event
//! always gives the same bytes. A change that `koschei-messages` has no words for gives no message.
//!
//! Sources: the classes `PackageStateChange` and `CollectionStateChange` of `koschei-messages`
//! (schema, topic, summary, packages), `Message._build_properties` of `fedora-messaging` (headers).
//! Neither class overrides `usernames`, so no message has a header of a user.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::{CollectionSettings, CollectionStateChanged, Event, PackageStateChanged};
use crate::model::{BuildrootState, PackageState, Timestamp};

/// Topic of a package's change, without the prefix. Also the name of its class among the entry
/// points.
pub const PACKAGE: &str = "koschei.package.state.change";
/// Topic of a collection's change, likewise.
pub const COLLECTION: &str = "koschei.collection.state.change";
/// The topics under which we publish.
pub const OURS: [&str; 2] = [PACKAGE, COLLECTION];

/// The distribution that has the classes, in the spelling of `fedora-messaging`.
const SCHEMA_PACKAGE: &str = "koschei_messages";
/// Severity `INFO`, the default that neither class overrides.
const SEVERITY: u8 = 20;

/// A message to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Topic, without the prefix.
    pub topic: &'static str,
    /// Headers: a JSON object of texts, whole numbers, and true.
    pub headers: String,
    /// Body, as JSON.
    pub body: String,
}

#[derive(Serialize)]
struct PackageBody<'a> {
    name: &'a str,
    old: &'static str,
    new: &'static str,
    koji_instance: &'a str,
    /// The collection. An old name of the field.
    repo: &'a str,
    collection: &'a str,
    collection_name: &'a str,
    /// The schema wants the field. We have no groups.
    groups: [&'a str; 0],
}

#[derive(Serialize)]
struct CollectionBody<'a> {
    old: &'static str,
    new: &'static str,
    koji_instance: &'a str,
    collection: &'a str,
    collection_name: &'a str,
    /// The schema wants a text.
    repo_id: String,
}

/// Returns the message about an event of a collection with these settings, recorded at `at`. `None`
/// if there is nothing to say.
///
/// `told` says whether a message about the same package was made before. The first state that a
/// package has is no change, so it is announced only to those who were told another one.
pub fn announced(event: &Event, of: &CollectionSettings, at: Timestamp, told: bool) -> Option<Announced> {
    match event {
        Event::PackageStateChanged(e) => package(e, of, at, told),
        Event::CollectionStateChanged(e) => collection(e, of, at),
        _ => None,
    }
}

/// Returns the collection whose settings [`announced`] needs. `None` if the event gives no message.
pub fn collection_of(event: &Event) -> Option<&str> {
    match event {
        Event::PackageStateChanged(e) => Some(&e.collection),
        Event::CollectionStateChanged(e) => Some(&e.collection),
        _ => None,
    }
}

fn package(e: &PackageStateChanged, of: &CollectionSettings, at: Timestamp, told: bool) -> Option<Announced> {
    let is_first = matches!(e.old, None | Some(PackageState::Unknown));
    if is_first && !told {
        return None;
    }
    let (old, new) = (word(e.old.unwrap_or(PackageState::Unknown)), word(e.new));
    if old == new {
        return None;
    }
    let body = PackageBody {
        name: &e.package,
        old,
        new,
        koji_instance: of.hub.as_str(),
        repo: &e.collection,
        collection: &e.collection,
        collection_name: &of.display_name,
        groups: [],
    };
    Some(message(PACKAGE, &body, &[&e.package], at))
}

/// Returns the word of `koschei-messages` for a state.
const fn word(state: PackageState) -> &'static str {
    match state {
        PackageState::Ok => "ok",
        PackageState::Failing => "failing",
        PackageState::Unresolved => "unresolved",
        PackageState::Blocked | PackageState::Untracked | PackageState::Unknown => "ignored",
    }
}

fn collection(e: &CollectionStateChanged, of: &CollectionSettings, at: Timestamp) -> Option<Announced> {
    // The class has no summary for a new state `unknown`.
    if e.old == e.new || e.new == BuildrootState::Unknown {
        return None;
    }
    let body = CollectionBody {
        old: e.old.as_str(),
        new: e.new.as_str(),
        koji_instance: of.hub.as_str(),
        collection: &e.collection,
        collection_name: &of.display_name,
        repo_id: e.repo_id.to_string(),
    };
    Some(message(COLLECTION, &body, &[], at))
}

fn message(topic: &'static str, body: &impl Serialize, packages: &[&str], at: Timestamp) -> Announced {
    let mut headers = Map::new();
    headers.insert("fedora_messaging_schema".to_owned(), topic.into());
    headers.insert("fedora_messaging_schema_package".to_owned(), SCHEMA_PACKAGE.into());
    headers.insert("fedora_messaging_severity".to_owned(), SEVERITY.into());
    headers.insert("priority".to_owned(), 0.into());
    headers.insert("sent-at".to_owned(), sent_at(at).into());
    for package in packages {
        headers.insert(format!("fedora_messaging_rpm_{package}"), true.into());
    }
    Announced {
        topic,
        headers: Value::Object(headers).to_string(),
        body: serde_json::to_string(body).expect("a body holds only what JSON can say"),
    }
}

/// Returns a time as Python's `isoformat` writes one in UTC with whole seconds.
fn sent_at(at: Timestamp) -> String {
    let seconds = Timestamp::from_secs(at.micros().div_euclid(1_000_000)).to_string();
    format!("{}+00:00", seconds.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::model::RepoId;
    use PackageState::{Blocked, Failing, Ok, Unknown, Unresolved, Untracked};

    fn of() -> CollectionSettings {
        CollectionSettings { display_name: "Fedora Rawhide".to_owned(), ..CollectionSettings::f99() }
    }

    fn change(old: Option<PackageState>, new: PackageState) -> Event {
        let (collection, package) = ("f99".into(), "bash".into());
        PackageStateChanged { collection, package, old, new, reason: "why".to_owned() }.into()
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
        let message = announced(&change(old, new), &of(), Timestamp::from_secs(0), false);
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
        let message = announced(&change(old, new), &of(), Timestamp::from_secs(0), true);
        let body = message.map(|m| json(&m.body));
        assert_eq!(body.as_ref().map(|b| b["old"].as_str().unwrap()), said.map(|_| "ignored"));
        assert_eq!(body.as_ref().map(|b| b["new"].as_str().unwrap()), said);
    }

    #[test]
    fn a_whole_message_about_a_package() {
        let at = Timestamp(1_790_000_000_999_999);
        let message = announced(&change(Some(Ok), Failing), &of(), at, false).unwrap();
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
        assert_eq!(announced(&change(Some(Ok), Failing), &of(), at, false), Some(message), "always the same");
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
        let message = announced(&event.into(), &of(), Timestamp::from_secs(0), false);
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
