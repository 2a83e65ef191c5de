//! What is told when, on a collection whose states a test sets.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::announce::koschei_messages::{COLLECTION, PACKAGE};
use crate::announce::richer::{CAUSE_GREW, CAUSE_OPENED, PACKAGE_CHANGED, REBUILD_DECIDED};
use crate::event::{
    CollectionSettings, CollectionStateChanged, PackageStateChanged, RebuildNotSubmitted, SuspectedUpdate, Tick,
};
use crate::fold::{Announced as LastState, Package, Suspects};
use crate::model::{PackageState, RebuildId, RepoId, TaskId};
use PackageState::{Blocked, Failing, Ok, Unknown, Unresolved};

const F99: &str = "f99";

/// A teller, and a state that follows what it hears.
struct Scene {
    teller: Teller,
    state: State,
    now: i64,
    seq: u64,
    /// Everything said: topic and body.
    said: Vec<(String, Value)>,
    rows: Vec<Saying>,
}

impl Scene {
    /// A collection whose buildroot is known since an hour.
    fn new(hold_back: i64) -> Self {
        let telling = Telling { theirs: true, richer: true, hold_back, site: None };
        let mut state = State::default();
        state.collections.insert(F99.into(), Collection::new(CollectionSettings::f99()));
        state.collections[0].announced = BuildrootState::Ok;
        let teller = Teller::new(telling, Said::default(), BTreeMap::new());
        Self { teller, state, now: 1_000_000, seq: 0, said: Vec::new(), rows: Vec::new() }
    }

    fn hear(&mut self, event: &Event) {
        self.seq += 1;
        let (at, seq) = (Timestamp::from_secs(self.now), Seq::new(self.seq).unwrap());
        let subject = event.subject();
        self.teller.hear(Place { seq, hash: ChainHash([7; 32]), at, subject: &subject }, event, &self.state);
        for saying in self.teller.take().sayings {
            let body = serde_json::from_str(&saying.message.body).unwrap();
            self.said.push((saying.message.topic.to_owned(), body));
            self.rows.push(saying);
        }
    }

    fn package(&mut self, name: &str) -> &mut Package {
        let packages = &mut self.state.collections[0].packages;
        let name: Name = name.into();
        if packages.get(&name).is_none() {
            packages.insert(name.clone(), Package::default());
        }
        packages.get_mut(&name).unwrap()
    }

    /// Changes the state of a package.
    fn change(&mut self, name: &str, new: PackageState) {
        let old = self.package(name).announced_state();
        let (collection, package) = (F99.into(), name.into());
        self.hear(&PackageStateChanged { collection, package, old, new, reason: String::new() }.into());
        let at = Timestamp::from_secs(self.now);
        self.package(name).announced = Some(LastState { state: new, at });
    }

    /// A package that was found long ago.
    fn is(&mut self, name: &str, state: PackageState) {
        self.package(name).announced = Some(LastState { state, at: Timestamp(0) });
    }

    /// Time passes, with a tick each minute.
    fn pass(&mut self, seconds: i64) {
        let end = self.now + seconds;
        while self.now + 60 <= end {
            self.now += 60;
            self.hear(&Tick { now: Timestamp::from_secs(self.now) }.into());
        }
        self.now = end;
    }

    /// A build of a package fails, or is good again. libfoo-2-1 is suspected.
    fn broken_by_libfoo(&mut self, name: &str, is: bool) {
        use crate::fold::{Evidence, EvidenceKind};
        self.change(name, if is { Failing } else { Ok });
        let (since_at, since) = (Timestamp::from_secs(self.now), Seq::new(self.seq).unwrap());
        let update = SuspectedUpdate {
            source: Some("libfoo-2-1".to_owned()),
            was: Some("libfoo-1-1".to_owned()),
            repo_id: Some(RepoId(5)),
            together: Vec::new(),
        };
        let package = self.package(name);
        let outcome = if is { crate::model::Outcome::GenuineFailure } else { crate::model::Outcome::Ok };
        let evidence = Evidence::good(EvidenceKind::Scratch(TaskId(1)), "1-1", since.get());
        package.evidence = vec![Evidence { outcome: Some(outcome), ..evidence }];
        let suspects = Suspects { task: TaskId(1), named: vec![(update, 900)], own: 50, chance: 50, since, since_at };
        package.suspects = is.then(|| Box::new(suspects));
    }

    /// Returns what was said under a topic, as `package old -> new`.
    fn changes(&self, topic: &str) -> Vec<String> {
        let text = |body: &Value, name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let of = self.said.iter().filter(|(t, _)| t == topic);
        let name = if topic == PACKAGE { "name" } else { "package" };
        of.map(|(_, b)| format!("{} {} -> {}", text(b, name), text(b, "old"), text(b, "new"))).collect()
    }

    /// Returns what was said about causes: the last word of the topic, the number of packages named,
    /// and of all.
    fn causes(&self) -> Vec<(String, usize, u64)> {
        let of = self.said.iter().filter(|(topic, _)| topic.starts_with("koschei.cause."));
        of.map(|(topic, body)| {
            let word = topic.split('.').nth(2).unwrap().to_owned();
            (word, body["packages"].as_array().unwrap().len(), body["count"].as_u64().unwrap())
        })
        .collect()
    }
}

#[test]
fn a_state_is_told_once_it_has_stood() {
    let mut scene = Scene::new(600);
    scene.is("curl", Ok);
    scene.change("curl", Failing);
    let changed = scene.seq;
    scene.pass(599);
    assert_eq!(scene.said, []);
    scene.pass(61);
    assert_eq!(
        (scene.changes(PACKAGE), scene.changes(PACKAGE_CHANGED)),
        (vec!["curl ok -> failing".to_owned()], vec!["curl ok -> failing".to_owned()])
    );
    let seqs: Vec<u64> = scene.rows.iter().map(|row| row.seq.get()).collect();
    assert_eq!(seqs, [changed, scene.seq], "theirs is of the change, ours of the tick");
    scene.pass(6_000);
    assert_eq!(scene.said.len(), 2, "once");
}

#[test]
fn what_flips_back_is_not_told() {
    let mut scene = Scene::new(600);
    scene.is("curl", Ok);
    for _ in 0..3 {
        scene.change("curl", Failing);
        scene.pass(500);
        scene.change("curl", Ok);
        scene.pass(300);
    }
    scene.pass(6_000);
    assert_eq!(scene.said, []);
    // Two changes in a row are told as one.
    scene.change("curl", Failing);
    scene.pass(500);
    scene.change("curl", Unresolved);
    scene.pass(500);
    assert_eq!(scene.said, [], "the second has not stood long enough");
    scene.pass(200);
    assert_eq!(scene.changes(PACKAGE), ["curl ok -> unresolved"]);
}

#[test]
fn without_holding_back_each_change_is_told_at_its_event() {
    let mut scene = Scene::new(0);
    scene.is("curl", Ok);
    for state in [Failing, Ok, Blocked, Unknown, Ok] {
        scene.change("curl", state);
    }
    let all = ["curl ok -> failing", "curl failing -> ok", "curl ok -> ignored", "curl ignored -> ok"];
    assert_eq!(scene.changes(PACKAGE), all);
    assert_eq!(scene.changes(PACKAGE_CHANGED), all);
    assert_eq!(scene.rows[0].seq.get(), 1);
}

#[test]
fn the_first_fill_is_not_told() {
    let mut scene = Scene::new(0);
    scene.state.collections[0].announced = BuildrootState::Unknown;
    scene.change("curl", Ok);
    scene.change("curl", Failing);
    let change = CollectionStateChanged {
        collection: F99.into(),
        old: BuildrootState::Unknown,
        new: BuildrootState::Ok,
        repo_id: RepoId(1),
    };
    scene.hear(&change.into());
    scene.state.collections[0].announced = BuildrootState::Ok;
    // Follows from the first look at the buildroot.
    scene.change("curl", Unresolved);
    scene.change("new", Unresolved);
    assert_eq!(scene.changes(PACKAGE), Vec::<String>::new());
    assert_eq!(scene.said.iter().filter(|(topic, _)| topic == COLLECTION).count(), 1, "the collection is new");
    scene.now += 1;
    scene.change("curl", Ok);
    assert_eq!(scene.changes(PACKAGE), ["curl unresolved -> ok"]);
}

/// One notice for the cause, its growth in at most three more, its end in one, and no message of
/// ours about any of the packages alone.
#[test]
fn a_cause_is_told_once_for_all_its_packages() {
    let mut scene = Scene::new(600);
    let names: Vec<String> = (0..60).map(|n| format!("p{n:02}")).collect();
    names.iter().for_each(|name| scene.is(name, Ok));
    for name in &names {
        scene.broken_by_libfoo(name, true);
        scene.pass(900);
    }
    scene.pass(48 * 3_600);
    let causes = scene.causes();
    assert_eq!(causes[0], ("opened".to_owned(), 2, 2));
    assert!(causes.len() > 1 && causes.len() <= 4 && causes[1..].iter().all(|c| c.0 == "grew"), "{causes:?}");
    assert_eq!(causes.iter().map(|c| c.1).sum::<usize>(), 60, "each package is named once: {causes:?}");
    // The first one broke alone, before it was known that the cause breaks others.
    assert_eq!(scene.changes(PACKAGE_CHANGED), ["p00 ok -> failing"]);
    let told = &scene.said.iter().find(|(topic, _)| topic == PACKAGE_CHANGED).unwrap().1;
    assert_eq!(told["cause"]["source"], "libfoo-2-1");
    for name in &names {
        scene.broken_by_libfoo(name, false);
        scene.pass(60);
    }
    scene.pass(3_600);
    assert_eq!(scene.causes().last(), Some(&("closed".to_owned(), 60, 0)));
    assert_eq!(scene.causes().len(), causes.len() + 1);
    assert_eq!(scene.changes(PACKAGE_CHANGED), ["p00 ok -> failing", "p00 failing -> ok"]);
    assert_eq!(scene.changes(PACKAGE).len(), 120, "theirs are one for each");
}

#[test]
fn a_cause_that_goes_and_comes_back_soon_stays_told() {
    let mut scene = Scene::new(600);
    for name in ["a", "b"] {
        scene.is(name, Ok);
        scene.broken_by_libfoo(name, true);
    }
    scene.pass(900);
    assert_eq!(scene.causes(), [("opened".to_owned(), 2, 2)]);
    for is in [false, true] {
        scene.broken_by_libfoo("a", is);
        scene.broken_by_libfoo("b", is);
        scene.pass(300);
    }
    scene.pass(3_600);
    assert_eq!(scene.causes().len(), 1);
    assert_eq!(scene.changes(PACKAGE_CHANGED), Vec::<String>::new());
}

/// What was open before announcing was switched on is no news, until more breaks.
#[test]
fn old_causes_are_not_told() {
    let mut scene = Scene::new(600);
    for name in ["a", "b", "c"] {
        scene.is(name, Ok);
    }
    scene.broken_by_libfoo("a", true);
    scene.broken_by_libfoo("b", true);
    scene.teller = Teller::default();
    scene.now += 3 * 86_400;
    scene.teller = Teller::new(
        Telling { theirs: false, richer: true, hold_back: 600, site: None },
        Said::default(),
        BTreeMap::new(),
    );
    scene.pass(3_600);
    assert_eq!(scene.said, []);
    scene.broken_by_libfoo("c", true);
    scene.pass(900);
    assert_eq!(scene.causes(), [("opened".to_owned(), 3, 3)]);
}

#[test]
fn rebuilds_are_told_at_once() {
    let mut scene = Scene::new(600);
    let closed = RebuildNotSubmitted {
        rebuild: RebuildId(4),
        collection: F99.into(),
        package: "curl".into(),
        reason: "no hub".to_owned(),
    };
    scene.hear(&closed.into());
    let (topic, body) = &scene.said[0];
    assert_eq!(topic, crate::announce::richer::REBUILD_ENDED);
    assert_eq!((&body["outcome"], &body["reason"]), (&"not_submitted".into(), &"no hub".into()));
    assert_ne!(topic, REBUILD_DECIDED);
    assert!(![CAUSE_OPENED, CAUSE_GREW].contains(&topic.as_str()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens: each subject's messages follow each other, each told state stood long
    /// enough, the last state is told in the end, and a restart at any moment changes nothing.
    #[test]
    fn what_is_told_is_a_true_story(
        changes in prop::collection::vec((0..4_u8, 0..5_u8, 0..900_i64), 1..60),
        hold_back in prop::sample::select(vec![0, 60, 600]),
        restart in 0..60_usize,
    ) {
        let states = [Ok, Failing, Unresolved, Blocked, Unknown];
        let mut scenes = [Scene::new(hold_back), Scene::new(hold_back)];
        let mut stood: Vec<(String, PackageState, i64)> = Vec::new();
        for scene in &mut scenes {
            (0..4).for_each(|n| scene.is(&format!("p{n}"), Ok));
        }
        for (i, (package, state, wait)) in changes.iter().enumerate() {
            let (name, new) = (format!("p{package}"), states[usize::from(*state)]);
            for (which, scene) in scenes.iter_mut().enumerate() {
                if which == 1 && i == restart {
                    scene.restart();
                }
                if scene.package(&name).announced_state() != Some(new) {
                    if which == 0 {
                        stood.push((name.clone(), new, scene.now));
                    }
                    scene.change(&name, new);
                }
                scene.pass(*wait);
            }
        }
        for scene in &mut scenes {
            scene.pass(3_600);
        }
        prop_assert_eq!(&scenes[0].rows, &scenes[1].rows);
        for topic in [PACKAGE, PACKAGE_CHANGED] {
            let mut last = BTreeMap::new();
            for said in scenes[0].changes(topic) {
                let words: Vec<&str> = said.split(' ').collect();
                let before = last.insert(words[0].to_owned(), words[3].to_owned());
                prop_assert_eq!(before.as_deref().unwrap_or("ok"), words[1], "{}", said);
                prop_assert_ne!(words[1], words[3]);
            }
            for n in 0..4 {
                let name = format!("p{n}");
                let now = Word::from(scenes[0].package(&name).announced_state().unwrap());
                prop_assert_eq!(last.get(&name).map_or("ok", String::as_str), now.as_str(), "{}", name);
            }
        }
        for row in scenes[0].rows.iter().filter(|row| row.message.topic == PACKAGE) {
            let name = row.subject.rsplit('/').next().unwrap().to_owned();
            let at = row.at.micros() / 1_000_000;
            let next = stood.iter().find(|(n, _, since)| *n == name && *since > at).map(|(_, _, since)| *since);
            prop_assert!(next.is_none_or(|next| next - at >= hold_back || next == at), "{} {:?}", at, next);
        }
    }
}

impl Scene {
    /// Makes another teller that knows only what a log has.
    fn restart(&mut self) {
        let mut said = Said::default();
        for row in &self.rows {
            said.hear(&row.subject, row.message.topic, row.at, &row.message.body);
        }
        let (telling, held) = (self.teller.telling.clone(), self.teller.held.clone());
        self.teller = Teller::new(telling, said, held);
    }
}
