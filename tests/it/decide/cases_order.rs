//! Facts of a hub may arrive in any order: their Koji events decide what came first. Also, the
//! facts of a reconciled hub equal a dump of its tables.

use std::collections::BTreeMap;

use koschei::event::{
    BuildChanged, BuildTagged, BuildUntagged, ChainHash, CollectionCreated, Envelope, Event, Inheritance,
    PackageListAction, PackageListChanged, RebuildFinished, Reconciled, RepoDeleted, RepoExpired, RepoReady, Source,
    TagObserved, TargetObserved, TaskChanged,
};
use koschei::fold::hub_facts::{BuildFacts, HubFacts, RepoFacts, TagFacts, Watched, digest_of};
use koschei::fold::{EvidenceKind, State, TaggedBuild};
use koschei::model::koji::{BuildState, RepoState, TaskState};
use koschei::model::{BuildId, Hub, Name, Nvr, Outcome, PackageState, RepoId, Seq, TaskId, Timestamp};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rstest::rstest;

use crate::story::settings;

fn hub() -> Hub {
    Hub::new("primary")
}

/// A fact and its Koji event. Events are ten seconds apart.
type Fact = (Event, Option<i64>);

fn at(event: i64) -> Timestamp {
    Timestamp::from_secs(1_795_132_800 + 10 * event)
}

/// Folds facts read from the hub, in the order of reading. Each was true when it was read.
fn apply(state: &mut State, facts: impl IntoIterator<Item = Fact>) {
    fold(state, facts, Source::Hub);
}

/// Folds facts from messages, with the hub's events, in any order.
fn apply_told(state: &mut State, facts: impl IntoIterator<Item = Fact>) {
    fold(state, facts, Source::Bus);
}

fn fold(state: &mut State, facts: impl IntoIterator<Item = Fact>, source: Source) {
    for (event, koji_event) in facts {
        let seq = Seq::after(state.seq);
        state.apply(&Envelope {
            seq,
            recorded_at: at(100_000),
            occurred_at: at(koji_event.unwrap_or(100_000)),
            source,
            fact: None,
            koji_event,
            causation: None,
            correlation: None,
            event,
        });
    }
}

fn nvr(build: i64) -> Nvr {
    Nvr { name: "foo".into(), version: build.to_string().into(), release: "1".into() }
}

fn tagged(tag: &str, build: i64, event: impl Into<Option<i64>>) -> Fact {
    let Nvr { name, version, release } = nvr(build);
    let e = BuildTagged {
        hub: hub(),
        tag: tag.into(),
        tag_id: None,
        build_id: BuildId(build),
        name,
        version,
        release,
        by: None,
    };
    (e.into(), event.into())
}

fn untagged(tag: &str, build: i64, event: impl Into<Option<i64>>) -> Fact {
    let Nvr { name, version, release } = nvr(build);
    let e = BuildUntagged {
        hub: hub(),
        tag: tag.into(),
        tag_id: None,
        build_id: BuildId(build),
        name,
        version,
        release,
        by: None,
    };
    (e.into(), event.into())
}

fn built(build: i64, state: BuildState, task: Option<i64>) -> Fact {
    let Nvr { name, version, release } = nvr(build);
    let e = BuildChanged {
        hub: hub(),
        build_id: BuildId(build),
        name,
        epoch: None,
        version,
        release,
        old: None,
        state,
        task_id: task.map(TaskId),
        created_at: None,
        completed_at: None,
        by: None,
    };
    (e.into(), None)
}

fn inherits(tag: &str, parents: &[&str]) -> TagObserved {
    let link = |(priority, tag): (usize, &&str)| Inheritance {
        tag: Name::from(*tag),
        priority: i32::try_from(priority).unwrap(),
        max_depth: None,
        intransitive: false,
        no_config: false,
    };
    TagObserved {
        hub: hub(),
        tag: tag.into(),
        tag_id: None,
        arches: None,
        inheritance: Some(parents.iter().enumerate().map(link).collect()),
        groups: None,
        external_repos: None,
        gone: false,
    }
}

/// A collection `f99` whose dest tag inherits from `f98`, on a hub that was reconciled.
fn collection() -> State {
    let mut state = State::default();
    let created = CollectionCreated { collection: "f99".into(), settings: settings("f99") };
    let facts: [Event; 4] = [
        created.into(),
        inherits("f99", &["f98"]).into(),
        inherits("f99-build", &["f99"]).into(),
        Reconciled { hub: hub(), through: 1, missed: 0, invented: 0 }.into(),
    ];
    apply(&mut state, facts.map(|e| (e, None)));
    state
}

/// Returns the builds of `foo` in a tag, oldest tagging first.
fn builds(state: &State, tag: &str) -> Vec<i64> {
    let tag = state.hubs[&hub()].tags.get(tag);
    tag.and_then(|t| t.packages.get("foo")).map(|p| p.builds.iter().map(|b| b.build.0).collect()).unwrap_or_default()
}

#[rstest]
#[case::in_order(vec![tagged("f99", 1, 10), tagged("f99", 2, 20)], &[1, 2])]
#[case::heard_of_late(vec![tagged("f99", 2, 20), tagged("f99", 1, 10)], &[1, 2])]
#[case::an_older_one_on_top(vec![tagged("f99", 2, 10), tagged("f99", 1, 20)], &[2, 1])]
#[case::tagged_again(vec![tagged("f99", 1, 10), tagged("f99", 2, 20), tagged("f99", 1, 30)], &[2, 1])]
#[case::tagged_again_heard_of_first(vec![tagged("f99", 1, 30), tagged("f99", 2, 20), tagged("f99", 1, 10)], &[2, 1])]
#[case::told_twice(vec![tagged("f99", 1, 10), tagged("f99", 2, 20), tagged("f99", 1, 10)], &[1, 2])]
#[case::late_revocation(vec![tagged("f99", 1, 30), untagged("f99", 1, 20)], &[1])]
#[case::late_tagging(vec![untagged("f99", 1, 20), tagged("f99", 1, 10)], &[])]
#[case::tagged_after_it(vec![untagged("f99", 1, 20), tagged("f99", 1, 30)], &[1])]
#[case::forced_retag(
    vec![tagged("f99", 1, 10), tagged("f99", 2, 15), untagged("f99", 1, 20), tagged("f99", 1, 20)], &[2, 1]
)]
#[case::forced_retag_backwards(vec![tagged("f99", 1, 20), untagged("f99", 1, 20), tagged("f99", 2, 15)], &[2, 1])]
#[case::one_event_by_number(vec![tagged("f99", 2, 10), tagged("f99", 1, 10)], &[1, 2])]
#[case::not_known_is_last(vec![tagged("f99", 1, None), tagged("f99", 2, None), tagged("f99", 1, None)], &[2, 1])]
#[case::known_does_not_pass_unknown(vec![tagged("f99", 1, None), tagged("f99", 2, 10)], &[1, 2])]
#[case::correction_without_event(vec![tagged("f99", 1, 10), untagged("f99", 1, None)], &[])]
fn tagging_order(#[case] facts: Vec<Fact>, #[case] expected: &[i64]) {
    let mut state = collection();
    apply_told(&mut state, facts);
    assert_eq!(builds(&state, "f99"), expected);
    let latest = state.package("f99", "foo").and_then(|p| p.latest.as_ref()).map(|l| l.build.0);
    assert_eq!(latest, expected.last().copied());
}

/// Contradictions are counted, such as an untagging without a tagging. Late facts are not.
#[test]
fn what_is_counted() {
    let mut state = collection();
    apply(&mut state, [tagged("f99", 1, 30), untagged("f99", 1, 20)]);
    assert!(state.anomalies.is_empty(), "{:?}", state.anomalies);
    apply(&mut state, [untagged("f99", 2, 40)]);
    assert_eq!(state.anomalies["untagged a build that was not in the tag"], 1);
}

/// A hub with random taggings, untaggings and re-taggings, one event each: its real state, and the
/// facts about it.
#[derive(Default)]
struct Model {
    event: i64,
    /// Builds in the order of tagging, by tag.
    tags: BTreeMap<&'static str, Vec<i64>>,
    facts: Vec<Fact>,
}

impl Model {
    fn step(&mut self, rng: &mut impl Rng) {
        self.event += 1;
        let tag = ["f99", "f98", "f99-build"][rng.random_range(0..3)];
        let build = rng.random_range(1..6);
        let list = self.tags.entry(tag).or_default();
        let there = list.contains(&build);
        list.retain(|b| *b != build);
        if there && rng.random_bool(0.6) {
            self.facts.push(untagged(tag, build, self.event));
        } else {
            list.push(build);
            // A forced re-tag revokes and tags at the same event.
            if there && rng.random_bool(0.5) {
                self.facts.push(untagged(tag, build, self.event));
            }
            self.facts.push(tagged(tag, build, self.event));
        }
    }
}

proptest! {
    /// Facts in any order and with any repetitions give the same state: tags, latest builds, and
    /// the digest of the facts.
    #[test]
    fn order_and_repetition_do_not_matter(seed: u64, steps in 1..40_usize) {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut model = Model::default();
        (0..steps).for_each(|_| model.step(&mut rng));
        let mut want = collection();
        apply_told(&mut want, model.facts.clone());
        for (tag, builds_of) in &model.tags {
            prop_assert_eq!(&builds(&want, tag), builds_of, "in order: {}", tag);
        }
        for _ in 0..3 {
            let mut facts = model.facts.clone();
            let again = facts.iter().filter(|_| rng.random_bool(0.2)).cloned().collect::<Vec<_>>();
            facts.extend(again);
            facts.shuffle(&mut rng);
            let mut got = collection();
            apply_told(&mut got, facts);
            prop_assert_eq!(got.facts(), want.facts());
            prop_assert_eq!(got.facts_digest(), want.facts_digest());
            let latest = |s: &State| s.package("f99", "foo").and_then(|p| Some(p.latest.as_ref()?.build));
            prop_assert_eq!(latest(&got), latest(&want));
        }
    }

    /// Real builds and rebuilds give the same package state in any order of hearing.
    #[test]
    fn evidence_stands_by_the_hubs_time(seed: u64, count in 1..8_i64) {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut facts: Vec<Vec<Fact>> = Vec::new();
        for n in 1..=count {
            if rng.random_bool(0.5) {
                facts.push(vec![built(n, BuildState::Complete, Some(1000 + n)), tagged("f99", n, 10 * n)]);
            } else {
                let outcome = if rng.random_bool(0.5) { Outcome::Ok } else { Outcome::GenuineFailure };
                facts.push(rebuilt(n, outcome));
            }
        }
        let told = |order: &[Vec<Fact>]| {
            let mut state = collection();
            apply(&mut state, order.iter().flatten().cloned());
            let p = state.package("f99", "foo").unwrap();
            (p.base().map(|e| e.kind), p.complete().map(|e| e.kind).next(), p.state(true))
        };
        let want = told(&facts);
        facts.shuffle(&mut rng);
        prop_assert_eq!(told(&facts), want);
    }
}

/// Returns the facts of an ended rebuild of ours, made at Koji event `10 n`.
fn rebuilt(n: i64, outcome: Outcome) -> Vec<Fact> {
    let state = if outcome == Outcome::Ok { TaskState::Closed } else { TaskState::Failed };
    let changed = TaskChanged {
        hub: hub(),
        task_id: TaskId(n),
        state,
        package: "foo".into(),
        nvr: None,
        target: Some("f99".into()),
        repo_id: None,
        arches: Vec::new(),
        decision: None,
        created_at: Some(at(10 * n)),
        started_at: None,
        finished_at: None,
        children: Vec::new(),
        fault: None,
    };
    let finished = RebuildFinished {
        collection: "f99".into(),
        package: "foo".into(),
        hub: hub(),
        task_id: TaskId(n),
        rebuild: None,
        outcome,
        reason: String::new(),
        fault: None,
        mark: None,
        host: None,
        waits: false,
        rules: None,
    };
    vec![(changed.into(), None), (finished.into(), None)]
}

/// #361: a tagging found by comparison days later keeps its place in time. A rebuild made after the
/// tagging counts for more.
#[test]
fn found_late() {
    let mut state = collection();
    apply(&mut state, [built(1, BuildState::Complete, Some(900)), tagged("f99", 1, 10)]);
    apply(&mut state, rebuilt(3, Outcome::GenuineFailure));
    assert_eq!(state.package("f99", "foo").unwrap().state(true), PackageState::Failing);
    apply(&mut state, [built(2, BuildState::Complete, Some(901)), tagged("f99", 2, 20)]);
    let p = state.package("f99", "foo").unwrap();
    assert_eq!(p.latest.as_ref().unwrap().build, BuildId(2));
    assert_eq!((p.base().unwrap().kind, p.state(true)), (EvidenceKind::Scratch(TaskId(3)), PackageState::Failing));
}

/// The hub's answer about a build replaces everything known: an imported build has no task, a
/// retried one is building again.
#[test]
fn a_look_replaces_what_was_told() {
    let mut state = collection();
    apply(&mut state, [built(1, BuildState::Failed, Some(900)), tagged("f99", 1, 10)]);
    apply(&mut state, [built(1, BuildState::Building, Some(900))]);
    assert_eq!(state.hubs[&hub()].builds[&BuildId(1)].state, Some(BuildState::Building), "the same NVR is tried again");
    apply(&mut state, [built(1, BuildState::Complete, Some(900))]);
    assert_eq!(state.package("f99", "foo").unwrap().state(true), PackageState::Ok);
    apply(&mut state, [built(1, BuildState::Complete, None)]);
    assert_eq!(state.package("f99", "foo").unwrap().state(true), PackageState::Unknown, "imported: it says nothing");
}

/// If a tag is gone, its builds and package list are gone too. Only the collections that need it
/// stop. It may come back.
#[rstest]
#[case::dest_tag("f99", &["f99"], None)]
#[case::build_tag("f99-build", &["f99-build"], Some(1))]
#[case::parent("f98", &[], Some(1))]
fn a_tag_is_gone(#[case] tag: &str, #[case] stops: &[&str], #[case] latest: Option<i64>) {
    let mut state = collection();
    let other = CollectionCreated { collection: "f98".into(), settings: settings("f98-other") };
    apply(&mut state, [(other.into(), None), tagged("f98", 7, 5), tagged("f99", 1, 10)]);
    let gone = TagObserved { inheritance: None, gone: true, ..inherits(tag, &[]) };
    apply(&mut state, [(gone.into(), Some(50))]);
    let c = &state.collections["f99"];
    assert_eq!(c.tags_gone, stops);
    assert!(state.collections["f98"].tags_gone.is_empty(), "none of its tags");
    assert_eq!(builds(&state, tag), [0_i64; 0]);
    let found = c.packages["foo"].latest.as_ref().map(|l| l.build.0);
    assert_eq!(found, latest, "inheritance is gone with the tag");
    assert!(!state.facts().iter().any(|f| f.contains(&format!("tag {tag} "))), "{:#?}", state.facts());
    apply(&mut state, [(inherits(tag, &[]).into(), Some(60)), tagged(tag, 8, 70)]);
    assert!(state.collections["f99"].tags_gone.is_empty());
    assert_eq!(builds(&state, tag), [8]);
}

fn repo(id: i64, tag: &str, event: i64) -> Fact {
    let e = RepoReady {
        hub: hub(),
        repo_id: RepoId(id),
        tag: tag.into(),
        tag_id: None,
        create_event: Some(event),
        arches: None,
    };
    (e.into(), Some(event))
}

fn listed(tag: &str, package: &str, action: PackageListAction) -> Fact {
    let e =
        PackageListChanged { hub: hub(), tag: tag.into(), package: package.into(), action, blocked: None, by: None };
    (e.into(), None)
}

/// The digest of a reconciled hub equals that of its tables. It covers exactly what the hub can be
/// asked for.
#[test]
fn a_dump_of_the_hub_gives_the_same_digest() {
    let mut state = collection();
    let target = TargetObserved {
        hub: hub(),
        target: "f99".into(),
        build_tag: Some("f99-build".into()),
        dest_tag: Some("f99".into()),
    };
    let other = TargetObserved { target: "elsewhere".into(), ..target.clone() };
    let arches = TagObserved {
        arches: Some(vec!["x86_64".into(), "aarch64".into()]),
        inheritance: None,
        ..inherits("f99-build", &[])
    };
    let (expired, deleted) = (
        RepoExpired { hub: hub(), repo_id: RepoId(4), tag: "f99-build".into() },
        RepoDeleted { hub: hub(), repo_id: RepoId(1), tag: "f99-build".into() },
    );
    apply(
        &mut state,
        [
            (target.into(), None),
            (other.into(), None),
            (arches.into(), None),
            listed("f99", "foo", PackageListAction::Add),
            listed("f98", "foo", PackageListAction::Block),
            listed("f97", "foo", PackageListAction::Add),
            built(1, BuildState::Complete, Some(900)),
            tagged("f99", 2, 20),
            tagged("f99", 1, 10),
            tagged("f98", 3, 5),
            tagged("f99", 5, 12),
            untagged("f99", 5, 13),
            tagged("f97", 6, 12),
            repo(1, "f99-build", 10),
            repo(2, "f99-build", 20),
            repo(3, "f99-build", 15),
            repo(4, "f99-build", 30),
            repo(5, "f97-build", 30),
            (expired.into(), None),
            (deleted.into(), None),
        ],
    );
    let (facts, watched) = dump();
    assert_eq!(state.facts(), facts.lines("primary", &watched));
    assert_eq!(state.facts_digest(), digest_of(&facts.lines("primary", &watched)));
    let (ours, looked_at) = state.hub_facts(&hub());
    assert_eq!((ours.lines("primary", &looked_at), looked_at), (facts.lines("primary", &watched), watched));

    // Missing, wrong and surplus facts all change the digest.
    let mut missing = state.clone();
    apply(&mut missing, [untagged("f99", 1, 40)]);
    assert_ne!(missing.facts_digest(), state.facts_digest());
    let mut older = state.clone();
    apply(&mut older, [tagged("f99", 1, 50)]);
    assert_ne!(older.facts_digest(), state.facts_digest(), "tagging order counts");
    let mut told = state.clone();
    told.hubs[&hub()].reconciled_through = None;
    assert!(told.facts().len() > state.facts().len(), "of a hub never compared with everything told counts");
}

/// Returns the tables behind that story.
fn dump() -> (HubFacts, Vec<Watched>) {
    let link = |tag: &str| inherits("", &[tag]).inheritance.unwrap();
    let mut facts = HubFacts::default();
    let build = |n: i64| (BuildId(n), BuildFacts { nvr: nvr(n), state: (n == 1).then_some(BuildState::Complete) });
    // A dump has everything. Builds that no collection watches give no line.
    facts.builds = [1, 2, 3, 5, 6].map(build).into();
    let tag = |inheritance: Vec<Inheritance>, listed: Option<bool>, builds: &[i64]| TagFacts {
        arches: None,
        inheritance,
        listed: listed.map(|blocked| ("foo".into(), blocked)).into_iter().collect(),
        builds: [("foo".into(), builds.iter().map(|b| BuildId(*b)).collect())].into(),
    };
    facts.tags.insert("f99".into(), tag(link("f98"), Some(false), &[1, 2]));
    facts.tags.insert("f98".into(), tag(Vec::new(), Some(true), &[3]));
    facts.tags.insert("f97".into(), tag(Vec::new(), Some(false), &[6]));
    let arches = Some(vec!["x86_64".into(), "aarch64".into()]);
    facts.tags.insert("f99-build".into(), TagFacts { arches, ..tag(link("f99"), None, &[]) });
    facts.targets.insert("f99".into(), ("f99-build".into(), "f99".into()));
    facts.targets.insert("elsewhere".into(), ("f99-build".into(), "f99".into()));
    for (id, tag, event, state) in [
        (1, "f99-build", 10, RepoState::Deleted),
        (2, "f99-build", 20, RepoState::Ready),
        (3, "f99-build", 15, RepoState::Ready),
        (4, "f99-build", 30, RepoState::Expired),
        (5, "f97-build", 30, RepoState::Ready),
    ] {
        facts.repos.insert(RepoId(id), RepoFacts { tag: tag.into(), state, create_event: Some(event) });
    }
    (facts, vec![Watched::by(&settings("f99"))])
}

/// Lines do not depend on the order of queries, and a collection seen twice gives each line once.
#[test]
fn two_collections_on_the_same_tags_give_each_line_once() {
    let (facts, watched) = dump();
    let once = facts.lines("primary", &watched);
    assert_eq!(facts.lines("primary", &[watched.clone(), watched].concat()), once);
    assert!(once.iter().any(|l| l == "primary tag f99 builds foo 1 2"), "{once:#?}");
    assert!(once.iter().any(|l| l == "primary tag f99 inherits 0 f98"), "{once:#?}");
    assert_eq!(
        once.iter().filter(|l| l.contains(" repo ")).count(),
        2,
        "the newest and the expired one after it: {once:#?}"
    );
}

/// A snapshot keeps the place of a tagging.
#[test]
fn snapshots_keep_the_order() {
    let mut state = collection();
    apply_told(&mut state, [tagged("f99", 2, 20), untagged("f99", 3, 30)]);
    let (mut back, _) = State::from_bytes(&state.to_bytes(ChainHash::GENESIS)).unwrap();
    assert_eq!(back.digest(), state.digest());
    apply_told(&mut back, [tagged("f99", 1, 10), tagged("f99", 3, 25)]);
    assert_eq!(builds(&back, "f99"), [1, 2]);
    let TaggedBuild { event, .. } = back.hubs[&hub()].tags["f99"].packages["foo"].builds[0];
    assert_eq!(event, Some(10));
}
