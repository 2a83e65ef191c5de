//! An answer is only as old as the event before reading began. Later changes are not missing from
//! it.

use rstest::rstest;

use super::*;
use crate::event::{
    BuildTagged, CollectionCreated, CollectionSettings, Envelope, Event, Reconciled, RepoDeleted, RepoExpired,
    RepoInitialised, RepoReady, Source, TagObserved, TaskChanged,
};
use crate::hub::snapshot::{BuildSeen, ListedSeen, LookReason, RepoSeen, TaggedSeen};
use crate::model::koji::{BuildState, RepoState, TaskState};
use crate::model::{BuildId, Nvr, RepoId, Seq, TaskId, Timestamp};

/// Compares, and calls people by their names.
fn compared(state: &State, look: &Observation) -> News {
    differences(state, look, &mut |name| PersonId::new(format!("p-{name}")))
}

fn primary() -> Hub {
    Hub::new("primary")
}

fn apply(state: &mut State, event: impl Into<Event>, koji_event: i64) {
    let envelope = Envelope {
        seq: Seq::after(state.seq),
        recorded_at: Timestamp::EPOCH,
        occurred_at: Timestamp::EPOCH,
        source: Source::Hub,
        fact: None,
        koji_event: Some(koji_event),
        causation: None,
        correlation: None,
        event: event.into(),
    };
    state.apply(&envelope);
}

/// A collection. Its dest tag got builds 1 and 2 at Koji events 10 and 30. Its build tag got
/// repositories 1 and 2 at the same events.
fn known() -> State {
    let mut state = State::default();
    let settings = CollectionSettings {
        display_name: "f99".to_owned(),
        hub: primary(),
        target: "f99".into(),
        build_tag: "f99-build".into(),
        dest_tag: "f99".into(),
        build_group: "build".into(),
        coefficient: 1000,
        arches: vec!["x86_64".into()],
        track_all: true,
        max_builds: None,
        found: false,
        builds_on: None,
    };
    apply(&mut state, CollectionCreated { collection: "f99".into(), settings }, 1);
    for (number, event) in [(1, 10), (2, 30)] {
        let tagged = BuildTagged {
            hub: primary(),
            tag: "f99".into(),
            tag_id: None,
            build_id: BuildId(number),
            name: "foo".into(),
            version: "1".into(),
            release: number.to_string().into(),
            by: None,
        };
        apply(&mut state, tagged, event);
        let ready = RepoReady {
            hub: primary(),
            repo_id: RepoId(number),
            tag: "f99-build".into(),
            tag_id: None,
            create_event: Some(event),
            arches: None,
        };
        apply(&mut state, ready, event);
    }
    state
}

/// A look that was read after `event` and found nothing.
fn look(event: i64) -> Observation {
    let seen = vec![
        Seen::TagBuilds { tag: "f99".into(), package: None, builds: Vec::new() },
        Seen::Repos { tag: "f99-build".into(), usable: Vec::new(), from: None, later: Vec::new() },
    ];
    saw(event, seen)
}

/// A look that was read after `event`.
fn saw(event: i64, seen: Vec<Seen>) -> Observation {
    Observation {
        hub: primary(),
        event,
        why: LookReason::Hint,
        at: Timestamp::EPOCH,
        settled: None,
        fresh: std::collections::BTreeSet::new(),
        seen,
        complete: false,
    }
}

#[rstest]
#[case::before_either(5, &[])]
#[case::between(20, &[1])]
#[case::after_both(40, &[1, 2])]
fn what_came_after_we_looked_is_not_gone(#[case] event: i64, #[case] gone: &[i64]) {
    let facts = compared(&known(), &look(event)).facts;
    let untagged: Vec<i64> = facts
        .iter()
        .filter_map(|f| match &f.event {
            Event::BuildUntagged(e) => Some(e.build_id.0),
            _ => None,
        })
        .collect();
    let deleted: Vec<i64> = facts
        .iter()
        .filter_map(|f| match &f.event {
            Event::RepoDeleted(e) => Some(e.repo_id.0),
            _ => None,
        })
        .collect();
    assert_eq!((untagged.as_slice(), deleted.as_slice()), (gone, gone));
}

/// A listing says nothing about repositories with numbers below those that were asked for.
#[rstest]
#[case::all(None, &[1, 2])]
#[case::from_the_second(Some(2), &[2])]
#[case::later_ones(Some(3), &[])]
fn only_what_was_asked_for_can_be_gone(#[case] from: Option<i64>, #[case] gone: &[i64]) {
    let (tag, from) = ("f99-build".into(), from.map(RepoId));
    let look = saw(40, vec![Seen::Repos { tag, usable: Vec::new(), from, later: Vec::new() }]);
    let facts = compared(&known(), &look).facts;
    let deleted = facts.iter().filter_map(|f| match &f.event {
        Event::RepoDeleted(e) => Some(e.repo_id.0),
        _ => None,
    });
    assert_eq!(deleted.collect::<Vec<_>>(), gone);
}

/// A task that the hub does not know is gone, unless we know how it ended. A task that nobody has
/// heard of causes no fact.
#[rstest]
#[case::runs(Some(TaskState::Open), true)]
#[case::ended(Some(TaskState::Closed), false)]
#[case::never_heard_of(None, false)]
fn a_task_the_hub_does_not_know_has_vanished(#[case] task: Option<TaskState>, #[case] vanished: bool) {
    let mut state = known();
    if let Some(task) = task {
        let changed = TaskChanged {
            hub: primary(),
            task_id: TaskId(7),
            state: task,
            package: "foo".into(),
            nvr: None,
            target: Some("f99".into()),
            repo_id: None,
            arches: Vec::new(),
            decision: None,
            created_at: None,
            started_at: None,
            finished_at: None,
            children: Vec::new(),
            fault: None,
        };
        apply(&mut state, changed, 40);
    }
    let facts = compared(&state, &saw(40, vec![Seen::NoTask(TaskId(7))])).facts;
    let told: Vec<_> = facts.iter().map(|f| f.event.kind().name).collect();
    assert_eq!(told.join(" "), if vanished { "task_vanished" } else { "" });
}

/// A forced re-tag takes a build out and puts it in again at the same event. If the build is gone,
/// it was taken out after that event.
#[rstest]
#[case::looked_at_that_event(30, 31)]
#[case::looked_later(40, 40)]
fn a_build_is_taken_out_after_it_was_put_in(#[case] looked: i64, #[case] taken_out: i64) {
    let facts = compared(&known(), &look(looked)).facts;
    let second = facts.iter().find(|f| matches!(&f.event, Event::BuildUntagged(e) if e.build_id.0 == 2));
    assert_eq!(second.unwrap().koji_event, Some(taken_out));
}

/// A missing target is news only to a collection that uses it, and only once.
#[test]
fn a_target_that_is_not_there_is_told_to_whoever_builds_for_it() {
    let mut state = known();
    let told = |state: &State, target: &str| {
        let facts = compared(state, &saw(40, vec![Seen::Target(target.into(), None)])).facts;
        facts.into_iter().map(|f| f.event).collect::<Vec<_>>()
    };
    assert_eq!(told(&state, "somebody-elses"), []);
    let gone = told(&state, "f99");
    assert!(matches!(&gone[..], [Event::TargetObserved(t)] if t.build_tag.is_none()), "{gone:?}");
    for event in gone {
        apply(&mut state, event, 40);
    }
    assert_eq!(told(&state, "f99"), []);
    assert_eq!(told(&state, "somebody-elses"), []);
}

/// A build that ended without an end time ended when its record was made. If each look used another
/// time, the build would end again at each look.
#[rstest]
#[case::goes_on(BuildState::Building, None, None)]
#[case::ended(BuildState::Complete, Some(9), Some(9))]
#[case::imported(BuildState::Complete, None, Some(5))]
#[case::failed(BuildState::Failed, None, Some(5))]
fn every_end_of_a_build_has_a_time(
    #[case] state: BuildState,
    #[case] completed: Option<i64>,
    #[case] ended: Option<i64>,
) {
    let build = BuildSeen {
        build_id: BuildId(7),
        nvr: Nvr::parse("foo-1-7").unwrap(),
        epoch: None,
        state,
        task_id: None,
        created_at: Some(Timestamp::from_secs(5)),
        completed_at: completed.map(Timestamp::from_secs),
    };
    let mut known = known();
    let told = |state: &State| compared(state, &saw(40, vec![Seen::Build(build.clone())])).facts;
    let facts = told(&known);
    let [Event::BuildChanged(fact)] = &facts.iter().map(|f| f.event.clone()).collect::<Vec<_>>()[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(fact.completed_at, ended.map(Timestamp::from_secs));
    apply(&mut known, fact.clone(), 40);
    assert_eq!(told(&known).len(), 0, "seen again it is no news");
}

/// A repository goes through its states in one direction. What is news follows from the known and
/// the seen state. Known states, in order: none, initialised, ready, expired, deleted.
#[rstest]
#[case::init(RepoState::Init, ["repo_initialised", "", "", "", ""])]
#[case::ready(RepoState::Ready, ["repo_ready", "repo_ready", "", "", ""])]
#[case::expired(RepoState::Expired, ["repo_expired", "repo_expired", "repo_expired", "", ""])]
#[case::deleted(RepoState::Deleted, ["", "repo_deleted", "repo_deleted", "repo_deleted", ""])]
#[case::problem(RepoState::Problem, ["", "repo_deleted", "repo_deleted", "repo_deleted", ""])]
fn a_repository_goes_forward_only(#[case] seen: RepoState, #[case] news: [&str; 5]) {
    let (hub, repo_id, tag) = (primary(), RepoId(9), Name::from("f99-build"));
    let lives: [Vec<Event>; 5] = [
        vec![],
        vec![RepoInitialised { hub: hub.clone(), repo_id, tag: tag.clone(), tag_id: None }.into()],
        vec![ready(9, Some(35)).into()],
        vec![ready(9, Some(35)).into(), RepoExpired { hub: hub.clone(), repo_id, tag: tag.clone() }.into()],
        vec![ready(9, Some(35)).into(), RepoDeleted { hub, repo_id, tag }.into()],
    ];
    let told = lives.map(|life| {
        let mut state = known();
        for event in life {
            apply(&mut state, event, 35);
        }
        let facts = compared(&state, &saw(40, vec![Seen::Repo(repo(9, seen, Some(35)))])).facts;
        let kinds: Vec<_> = facts.iter().map(|f| f.event.kind().name).collect();
        kinds.join(" ")
    });
    assert_eq!(told, news);
}

/// A message does not say at which event a repository was made. A look does.
#[test]
fn the_event_of_a_repository_is_news() {
    let mut state = known();
    apply(&mut state, ready(9, None), 35);
    let look = saw(40, vec![Seen::Repo(repo(9, RepoState::Ready, Some(35)))]);
    let facts = compared(&state, &look).facts;
    assert!(matches!(&facts[..], [f] if matches!(&f.event, Event::RepoReady(r) if r.create_event == Some(35))));
    apply(&mut state, ready(9, Some(35)), 35);
    assert_eq!(compared(&state, &look).facts.len(), 0);
}

/// A message about something after the hub's last event of a minute ago may be on its way. A
/// message about something at that event is not.
#[rstest]
#[case::before(29, 1)]
#[case::at_it(30, 1)]
#[case::after(31, 0)]
fn only_what_is_settled_was_missed(#[case] event: i64, #[case] missed: u32) {
    let mut state = known();
    let f99 = TagObserved {
        hub: primary(),
        tag: "f99".into(),
        tag_id: Some(TagId(1)),
        gone: false,
        arches: None,
        inheritance: None,
        groups: None,
        external_repos: None,
    };
    apply(&mut state, f99, 30);
    apply(&mut state, Reconciled { hub: primary(), through: 30, missed: 0, invented: 0 }, 30);
    let look = |seen: Seen| Observation { settled: Some(30), at: Timestamp::from_secs(1000), ..saw(40, vec![seen]) };
    let of_repo = compared(&state, &look(Seen::Repo(repo(9, RepoState::Ready, Some(event)))));
    assert_eq!((of_repo.facts.len(), of_repo.missed), (1, missed));
    // The build is known, but its tagging is not.
    let build = BuildSeen {
        build_id: BuildId(1),
        nvr: Nvr::parse("foo-1-1").unwrap(),
        epoch: None,
        state: BuildState::Complete,
        task_id: None,
        created_at: None,
        completed_at: None,
    };
    for fact in compared(&state, &look(Seen::Build(build.clone()))).facts {
        apply(&mut state, fact.event, 30);
    }
    let tagged = TaggedSeen { build, create_event: event, tagged_at: None };
    let seen = Seen::TagBuilds { tag: "f99".into(), package: Some("foo".into()), builds: vec![tagged] };
    let of_tag = compared(&state, &Observation { event: 20, ..look(seen) });
    let tagged = |e: &NewEvent| matches!(&e.event, Event::BuildTagged(_));
    assert!(matches!(&of_tag.facts[..], [f] if tagged(f)), "{:?}", of_tag.facts);
    assert_eq!(of_tag.missed, missed);
}

fn ready(repo: i64, create_event: Option<i64>) -> RepoReady {
    let (hub, tag) = (primary(), "f99-build".into());
    RepoReady { hub, repo_id: RepoId(repo), tag, tag_id: None, create_event, arches: None }
}

fn repo(id: i64, state: RepoState, create_event: Option<i64>) -> RepoSeen {
    let (repo_id, tag) = (RepoId(id), "f99-build".into());
    RepoSeen { repo_id, tag, tag_id: None, state, since: None, create_event, arches: None }
}

/// The owner of a package is news, and so is another one. Who is not told stays.
#[test]
fn owners_are_read_from_package_lists() {
    let mut state = known();
    let seen = |owner: Option<&str>| {
        let listed = vec![ListedSeen { package: "foo".into(), blocked: false, owner: owner.map(str::to_owned) }];
        saw(40, vec![Seen::TagPackages { tag: "f99".into(), package: None, listed }])
    };
    let mut look = |owner: Option<&str>| {
        let news = compared(&state, &seen(owner));
        for fact in &news.facts {
            apply(&mut state, fact.event.clone(), 40);
        }
        let chain = ["f99".into()];
        let owner = state.hubs[&primary()].owner(&chain, "foo").map(|person| person.as_str().to_owned());
        (news.facts.len(), news.missed, owner)
    };
    let known = |name: &str| Some(name.to_owned());
    let (facts, _, owner) = look(Some("alice"));
    assert_eq!((facts, owner), (1, known("p-alice")));
    assert_eq!(look(Some("alice")), (0, 0, known("p-alice")));
    assert_eq!(look(None), (0, 0, known("p-alice")));
    let (facts, _, owner) = look(Some("bob"));
    assert_eq!((facts, owner), (1, known("p-bob")));
}
