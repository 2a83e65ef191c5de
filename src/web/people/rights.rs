//! What people may do, and the one way from a page into the inbox.
//!
//! Who may change a package: its owners, the maintainers of a group that has it, and administrators.
//! Who may change a group: its maintainers and administrators. Koschei lets everybody who is logged in
//! change every package (D23); `everybody_edits` does, too. Everything else is for administrators. A
//! token may do what its scopes name, and no more than its person.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::who::{By, Identity, Person};
use crate::base::clock;
use crate::event::Event;
use crate::fold::{Collection, Group, State};
use crate::log::credentials::Scope;
use crate::log::{EventLog as _, LogError};
use crate::model::{Name, PersonId};
use crate::operator::{Checked, Reception, SayError, Word};
use crate::web::Site;
use crate::web::refusal::Refusal;

/// Time that a page waits until a command is taken.
const WAIT: Duration = Duration::from_secs(10);

/// Who may change a package, in words.
pub(in crate::web) fn editors(everybody: bool) -> &'static str {
    match everybody {
        true => "everybody who is logged in",
        false => "its owners, maintainers of its groups, and administrators",
    }
}

/// The package whose settings an event changes: its collection, and its name.
fn package_of(event: &Event) -> Option<(&str, &str)> {
    match event {
        Event::PackageTracked(e) => Some((&e.collection, &e.package)),
        Event::PackageUntracked(e) => Some((&e.collection, &e.package)),
        Event::PackagePrioritySet(e) => Some((&e.collection, &e.package)),
        Event::PackageArchOverrideSet(e) => Some((&e.collection, &e.package)),
        Event::PackageSkipResolutionSet(e) => Some((&e.collection, &e.package)),
        Event::PackageHoldSet(e) => Some((&e.collection, &e.package)),
        _ => None,
    }
}

/// The group that an event changes.
fn group_of(event: &Event) -> Option<&str> {
    match event {
        Event::GroupChanged(e) => Some(&e.group),
        Event::GroupDeleted(e) => Some(&e.group),
        _ => None,
    }
}

/// The packages of a person: in Koji, where the person has a stand-in, and by the list of owners.
#[derive(Clone, Debug, Default)]
pub(in crate::web) struct Owned {
    stand_in: Option<PersonId>,
    listed: Arc<HashSet<Name>>,
}

impl Owned {
    /// Finds the packages of a person.
    ///
    /// # Errors
    /// Returns a [`LogError`] if the log cannot be read.
    pub(in crate::web) async fn by(site: &Site, name: &str) -> Result<Self, LogError> {
        Ok(Self { stand_in: site.log.person(name).await?, listed: site.people.owners().packages(name) })
    }

    /// Checks whether a package of a collection is one of them.
    pub(in crate::web) fn has(&self, state: &State, c: &Collection, package: &str) -> bool {
        let owner = || state.hubs.get(&c.settings.hub).and_then(|hub| hub.owner(&c.chain, package));
        self.listed.contains(package) || (self.stand_in.is_some() && owner() == self.stand_in.as_ref())
    }

    /// Checks whether the person maintains a group.
    fn maintains(&self, group: &Group) -> bool {
        self.stand_in.as_ref().is_some_and(|person| group.maintainers.contains(person))
    }
}

/// Checks whether somebody may give the command that an event stands for.
///
/// # Errors
/// Refuses with who may.
fn may(who: Option<(&Person, &Owned)>, state: &State, everybody: bool, event: &Event) -> Result<(), Refusal> {
    let (package, group, kind) = (package_of(event), group_of(event), event.kind().name);
    let allowed = match (package, group) {
        (Some(_), _) => editors(everybody),
        (None, Some(_)) => "maintainers of the group and administrators",
        (None, None) => "administrators",
    };
    let forbidden = |why: &str| Err(Refusal::Forbidden(format!("`{kind}` is for {allowed}{why}")));
    let Some((person, owned)) = who else { return forbidden("; log in first") };
    if let By::Token { scopes } = &person.by {
        let needed = if package.is_some() || group.is_some() { Scope::Write } else { Scope::Admin };
        if !scopes.iter().any(|scope| scope == needed.as_str()) {
            return forbidden(&format!("; the token lacks the scope `{}`", needed.as_str()));
        }
    }
    let is_allowed = match (package, group) {
        _ if person.is_admin => true,
        (Some((collection, package)), _) => {
            let is_own = |c: &Collection| owned.has(state, c, package);
            let in_group = || state.groups.values().any(|g| owned.maintains(g) && g.packages.contains(package));
            everybody || state.collections.get(collection).is_some_and(is_own) || in_group()
        }
        (None, Some(group)) => state.groups.get(group).is_some_and(|group| owned.maintains(group)),
        (None, None) => false,
    };
    if is_allowed { Ok(()) } else { forbidden("") }
}

/// Gives commands for somebody, all or none. Checks the permission and the commands, puts them into
/// the inbox, and waits until the process that works on the log takes them, at most [`WAIT`].
#[cfg_attr(not(test), expect(dead_code, reason = "no page gives commands yet; the first one takes this away"))]
pub(in crate::web) async fn say(site: &Site, who: &Identity, events: Vec<Event>) -> Result<Reception, Refusal> {
    let owned = match who.person() {
        Some(person) => Owned::by(site, &person.name).await?,
        None => Owned::default(),
    };
    let (who, everybody, now) = (who.clone(), site.people.settings().everybody_edits, clock::now());
    let checked = site
        .look(move |view| {
            let person = who.person().map(|person| (person, &owned));
            events.iter().try_for_each(|event| may(person, &view.state, everybody, event))?;
            let by = person.map(|(person, _)| person.name.clone());
            let words: Vec<Word> = events.into_iter().map(|event| Word::new(event, by.clone())).collect();
            Checked::words(&view.state, &words, now).map_err(Refusal::from)
        })
        .await?;
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
    use super::*;
    use crate::event::kinds::KINDS;
    use crate::event::{Envelope, Source};
    use crate::model::{Seq, Timestamp};

    /// The example of the newest version of every kind of event.
    fn events() -> Vec<Event> {
        let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples");
        let read = |name: &str, version: u16| {
            let text = std::fs::read_to_string(examples.join(format!("{name}.v{version}.json"))).unwrap();
            Event::decode(name, version, text.trim_end()).unwrap()
        };
        KINDS.iter().map(|kind| read(kind.name, kind.version)).collect()
    }

    fn person(is_admin: bool, by: By) -> Person {
        Person { name: "alice".to_owned(), teams: Vec::new(), is_admin, by }
    }

    fn session() -> By {
        By::Session { id: "s".to_owned(), form: "f".to_owned() }
    }

    fn token(scopes: &[Scope]) -> By {
        By::Token { scopes: scopes.iter().map(|s| s.as_str().to_owned()).collect() }
    }

    /// Returns how many of the events a person may bring about packages, and others. Two of the others are
    /// about groups.
    fn permitted(who: Option<&Person>, everybody: bool) -> (usize, usize) {
        let (state, nothing) = (State::default(), Owned::default());
        let is_permitted = |e: &&Event| may(who.map(|p| (p, &nothing)), &state, everybody, e).is_ok();
        let events = events();
        let (packages, others): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|e| package_of(e).is_some());
        (packages.into_iter().filter(is_permitted).count(), others.into_iter().filter(is_permitted).count())
    }

    #[test]
    fn rights_are_those_of_the_table() {
        let events = events();
        let packages = events.iter().filter(|e| package_of(e).is_some()).count();
        let others = events.len() - packages;
        assert!(packages == 6 && others > 30);
        for everybody in [false, true] {
            assert_eq!(permitted(None, everybody), (0, 0));
            assert_eq!(permitted(Some(&person(true, session())), everybody), (packages, others));
            assert_eq!(permitted(Some(&person(true, By::Proxy)), everybody), (packages, others));
            assert_eq!(permitted(Some(&person(true, token(&[Scope::Read]))), everybody), (0, 0));
            assert_eq!(permitted(Some(&person(true, token(&[Scope::Read, Scope::Write]))), everybody), (packages, 2));
            assert_eq!(permitted(Some(&person(true, token(&Scope::ALL))), everybody), (packages, others));
        }
        assert_eq!(permitted(Some(&person(false, session())), false), (0, 0));
        assert_eq!(permitted(Some(&person(false, session())), true), (packages, 0));
        assert_eq!(permitted(Some(&person(false, token(&[Scope::Read]))), true), (0, 0));
        assert_eq!(permitted(Some(&person(false, token(&Scope::ALL))), true), (packages, 0));
    }

    /// Owners by the list may change what is theirs, in every collection that there is.
    #[test]
    fn owners_may_change_their_packages() {
        let mut state = State::default();
        let mut package = None;
        for event in events() {
            match event {
                Event::PackageTracked(e) => package = Some(e),
                Event::CollectionCreated(_) => state.apply(&Envelope {
                    seq: Seq::FIRST,
                    recorded_at: Timestamp::EPOCH,
                    occurred_at: Timestamp::EPOCH,
                    source: Source::Engine,
                    fact: None,
                    koji_event: None,
                    causation: None,
                    correlation: None,
                    event,
                }),
                _ => {}
            }
        }
        let mut tracked = package.unwrap();
        tracked.collection = state.collections.keys().next().unwrap().clone();
        let mut owned = Owned { listed: Arc::new(HashSet::from([tracked.package.clone()])), ..Owned::default() };
        let alice = person(false, session());
        let may_track = |state: &State, event: &crate::event::PackageTracked, owned: &Owned| {
            may(Some((&alice, owned)), state, false, &event.clone().into()).is_ok()
        };
        assert!(may_track(&state, &tracked, &owned));
        owned.listed = Arc::default();
        assert!(!may_track(&state, &tracked, &owned));
        // The maintainer of a group may change its packages, and the group.
        owned.stand_in = Some(PersonId::new("p-1"));
        let group = Group { packages: [tracked.package.clone()].into(), ..Group::default() };
        state.groups.insert("net".into(), group);
        assert!(!may_track(&state, &tracked, &owned));
        state.groups.get_mut("net").unwrap().maintainers.insert(PersonId::new("p-1"));
        assert!(may_track(&state, &tracked, &owned));
        let delete: Event = crate::event::GroupDeleted { group: "net".into(), reason: String::new(), by: None }.into();
        assert!(may(Some((&alice, &owned)), &state, false, &delete).is_ok());
        assert!(may(Some((&alice, &Owned::default())), &state, false, &delete).is_err());
        owned = Owned { listed: Arc::new(HashSet::from([tracked.package.clone()])), ..Owned::default() };
        tracked.collection = "nowhere".into();
        assert!(!may_track(&state, &tracked, &owned));
    }

    #[test]
    fn a_refusal_says_who_may() {
        let events = events();
        let tracked = events.iter().find(|e| e.kind().name == "package_tracked").unwrap();
        let nothing = Owned::default();
        let said = |who: Option<&Person>| match may(who.map(|p| (p, &nothing)), &State::default(), false, tracked) {
            Err(Refusal::Forbidden(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            said(None),
            "`package_tracked` is for its owners, maintainers of its groups, and administrators; log in first"
        );
        assert_eq!(
            said(Some(&person(false, session()))),
            "`package_tracked` is for its owners, maintainers of its groups, and administrators"
        );
        let small = said(Some(&person(true, token(&[Scope::Read]))));
        assert!(small.ends_with("; the token lacks the scope `write`"), "{small}");
    }

    /// Whoever may not give a command leaves nothing in the inbox.
    #[tokio::test]
    async fn what_is_not_permitted_leaves_no_trace() {
        use crate::log::{EventLog as _, Options, open};
        use crate::operator::SOURCE;
        use crate::telemetry::Metrics;
        use crate::web::{Follower, KojiLinks};

        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path().join("log.db").to_str().unwrap(), &Options::default()).await.unwrap();
        let site = Site::new(log.clone(), Follower::new(Metrics::new()), Metrics::new(), KojiLinks::default());
        let small = person(true, token(&[Scope::Read]));
        for who in
            [Identity::Unknown, Identity::Person(Arc::new(small)), Identity::Person(Arc::new(person(false, session())))]
        {
            for event in events() {
                let said = say(&site, &who, vec![event.clone()]).await;
                assert!(matches!(said, Err(Refusal::Forbidden(_))), "{}: {said:?}", event.kind());
            }
        }
        let (waiting, _) = log.pending_of(SOURCE, None, 10).await.unwrap();
        assert!(waiting.is_empty() && log.head().await.unwrap().seq.is_none(), "{waiting:?}");
        log.close().await;
    }
}
