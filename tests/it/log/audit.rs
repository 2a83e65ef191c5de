//! `log audit`: every decision of the recording follows from the log before it. Each planted wrong
//! decision is found, and nothing else.

use koschei::decide::request::request_of;
use koschei::decide::{Policy, plan};
use koschei::event::{
    Chosen, CollectionStateChanged, EvaluationMade, Event, NewEvent, PackageReasonChanged, PackageStateChanged,
    PackageSuspects, PackageUntracked, RebuildCancelRequested, RebuildFinished, RebuildNotSubmitted, RebuildRequested,
    Record, Source, SuspectedUpdate, SuspectsRanked, TaskChanged, Tick, Trigger,
};
use koschei::fold::State;
use koschei::log::{Commit, EventLog, Head, folding};
use koschei::model::koji::TaskState;
use koschei::model::{BuildrootState, Hub, Outcome, PROGRAM, PackageState, RebuildId, RepoId, Seq, TaskId, Timestamp};
use koschei::tools::audit::{Audit, audit};
use rstest::rstest;

use crate::recorded::{copy, koschei, open, recorded};

/// Appends events to the recording's log.
struct Forger {
    state: State,
    head: Head,
    now: Timestamp,
    records: Vec<Record>,
}

impl Forger {
    fn add(&mut self, event: impl Into<Event>, cause: Option<Seq>) -> Seq {
        let seq = Seq::after(self.head.seq);
        let new = NewEvent {
            event: event.into(),
            occurred_at: self.now,
            source: Source::Engine,
            fact: None,
            koji_event: None,
            causation: cause,
            correlation: None,
        };
        let record = Record::new(seq, self.now, &new, self.head.hash);
        self.state.apply(&record.decode().unwrap());
        self.head = Head::of(&record);
        self.records.push(record);
        seq
    }

    fn policy(&self) -> Policy {
        serde_json::from_value(self.state.policy.as_ref().unwrap().policy.clone()).unwrap()
    }

    /// Returns the evaluation that the rules give here.
    fn evaluation(&self) -> EvaluationMade {
        let plan = plan(&self.state, self.now, &self.policy(), None);
        EvaluationMade {
            saw: self.state.seq.unwrap().get(),
            now: self.now,
            trigger: Trigger::Tick,
            policy: self.state.policy.as_ref().unwrap().digest.clone(),
            program: PROGRAM.to_owned(),
            load: None,
            running: self.state.running(),
            considered: plan.considered,
            held: plan.held.clone(),
            chosen: plan.chosen_names(&self.state),
        }
    }

    fn request_of(&self, c: &Chosen) -> RebuildRequested {
        let (at, _, collection) = self.state.collections.get_full(&c.collection).unwrap();
        let package = collection.packages.get_index_of(&c.package).unwrap();
        request_of(&self.state, (at, package), c.priority, self.now, &self.policy()).unwrap()
    }

    fn request(&mut self, r: RebuildRequested, cause: Option<Seq>) -> Seq {
        let (collection, package) = (r.collection.clone(), r.nvr.name.clone());
        let seq = self.add(r, cause);
        let reason = "no hub".to_owned();
        self.add(RebuildNotSubmitted { rebuild: RebuildId(seq.get()), collection, package, reason }, Some(seq));
        seq
    }

    /// Appends the evaluation, changed by `bend`, and its requests without those whose indexes are
    /// in `skip`.
    fn decide(&mut self, bend: impl FnOnce(&mut EvaluationMade), skip: &[usize]) -> Seq {
        let mut made = self.evaluation();
        assert!(made.chosen.len() >= 3, "so late many are due");
        bend(&mut made);
        let chosen = made.chosen.clone();
        let seq = self.add(made, None);
        for (n, c) in chosen.iter().enumerate() {
            if !skip.contains(&n) {
                self.request(self.request_of(c), Some(seq));
            }
        }
        seq
    }

    /// Returns a package with a source that the rules do not choose.
    fn not_due(&self) -> Chosen {
        let chosen = self.evaluation().chosen;
        let mut all = self.state.collections.iter().flat_map(|(c, x)| x.packages.iter().map(move |(p, y)| (c, p, y)));
        let (collection, package, _) = all
            .find(|(c, p, y)| y.latest.is_some() && !chosen.iter().any(|x| (&x.collection, &x.package) == (*c, *p)))
            .unwrap();
        Chosen { collection: collection.clone(), package: package.clone(), priority: chosen[0].priority }
    }

    /// Returns a judged task of a package, with its outcome.
    fn ended(&self) -> RebuildFinished {
        let (id, t) = self.state.hubs[&Hub::new("primary")]
            .tasks
            .iter()
            .find(|(_, t)| t.state == TaskState::Closed && t.collection.is_some())
            .unwrap();
        RebuildFinished {
            collection: t.collection.clone().unwrap(),
            package: t.package.clone(),
            hub: Hub::new("primary"),
            task_id: *id,
            rebuild: None,
            outcome: Outcome::Ok,
            reason: String::new(),
            fault: None,
            mark: None,
            host: None,
            waits: false,
            rules: None,
        }
    }
}

/// A forgery. Returns its place and a part of the expected finding.
type Forgery = fn(&mut Forger) -> (Seq, &'static str);

fn wrong_choice(f: &mut Forger) -> (Seq, &'static str) {
    let wrong = f.not_due();
    (f.decide(|made| *made.chosen.last_mut().unwrap() = wrong, &[]), "the rules choose")
}

fn wrong_priority(f: &mut Forger) -> (Seq, &'static str) {
    (f.decide(|made| made.chosen[1].priority.current += 1, &[]), "the rules choose")
}

fn wrong_order(f: &mut Forger) -> (Seq, &'static str) {
    (f.decide(|made| made.chosen.swap(0, 1), &[]), "chose nothing else")
}

fn forgotten_request(f: &mut Forger) -> (Seq, &'static str) {
    let evaluation = f.decide(|_| {}, &[1]);
    let now = f.now;
    f.add(Tick { now }, None);
    (evaluation, "no request followed")
}

fn forgotten_request_at_the_end(f: &mut Forger) -> (Seq, &'static str) {
    (f.decide(|_| {}, &[0]), "no request followed")
}

fn request_out_of_nowhere(f: &mut Forger) -> (Seq, &'static str) {
    let r = f.request_of(&f.evaluation().chosen[0]);
    let now = f.now;
    f.add(Tick { now }, None);
    (f.request(r, None), "outside an evaluation")
}

fn request_nobody_chose(f: &mut Forger) -> (Seq, &'static str) {
    let r = f.request_of(&f.not_due());
    let evaluation = f.decide(|_| {}, &[]);
    (f.request(r, Some(evaluation)), "did not choose")
}

fn request_without_its_cause(f: &mut Forger) -> (Seq, &'static str) {
    let first = f.evaluation().chosen[0].clone();
    let made = f.evaluation();
    let rest = made.chosen[1..].to_vec();
    let evaluation = f.add(made, None);
    let seq = f.request(f.request_of(&first), Seq::new(1));
    for c in rest {
        f.request(f.request_of(&c), Some(evaluation));
    }
    (seq, "its cause is not evaluation")
}

fn request_out_of_turn(f: &mut Forger) -> (Seq, &'static str) {
    let made = f.evaluation();
    let mut chosen = made.chosen.clone();
    let evaluation = f.add(made, None);
    chosen.swap(0, 1);
    let requests: Vec<Seq> = chosen.iter().map(|c| f.request(f.request_of(c), Some(evaluation))).collect();
    (requests[1], "out of turn")
}

/// Changes the first request after an evaluation.
fn bent_request(f: &mut Forger, bend: fn(&mut RebuildRequested)) -> (Seq, &'static str) {
    let made = f.evaluation();
    let chosen = made.chosen.clone();
    let evaluation = f.add(made, None);
    let mut requests = Vec::new();
    for (n, c) in chosen.iter().enumerate() {
        let mut r = f.request_of(c);
        if n == 0 {
            bend(&mut r);
        }
        requests.push(f.request(r, Some(evaluation)));
    }
    (requests[0], "what it asks for")
}

fn request_for_another_target(f: &mut Forger) -> (Seq, &'static str) {
    bent_request(f, |r| r.target = "f98".into())
}

fn request_of_another_version(f: &mut Forger) -> (Seq, &'static str) {
    bent_request(f, |r| r.nvr.version = "0".into())
}

fn request_from_other_inputs(f: &mut Forger) -> (Seq, &'static str) {
    bent_request(f, |r| r.inputs.points.0 += 1)
}

fn wrong_state(f: &mut Forger) -> (Seq, &'static str) {
    let (c, p) = f
        .state
        .collections
        .iter()
        .find_map(|(c, x)| {
            let found = x.packages.iter().find(|(_, p)| p.announced_state() == Some(PackageState::Ok))?;
            Some((c.clone(), found.0.clone()))
        })
        .unwrap();
    let changed = PackageStateChanged {
        collection: c,
        package: p,
        old: Some(PackageState::Ok),
        new: PackageState::Failing,
        reason: String::new(),
    };
    (f.add(changed, None), "says failing, the state is ok")
}

fn wrong_reason(f: &mut Forger) -> (Seq, &'static str) {
    let is_ok = |p: &koschei::fold::Package| p.announced_state() == Some(PackageState::Ok);
    let with_one = f.state.collections.iter().find_map(|(c, x)| Some((c, x.packages.iter().find(|(_, p)| is_ok(p))?)));
    let (collection, (package, _)) = with_one.unwrap();
    let changed = PackageReasonChanged {
        collection: collection.clone(),
        package: package.clone(),
        state: PackageState::Ok,
        reason: "a guess".to_owned(),
    };
    (f.add(changed, None), "says ok because a guess, it is ok")
}

fn forgotten_state(f: &mut Forger) -> (Seq, &'static str) {
    let Chosen { collection, package, .. } = f.not_due();
    f.add(PackageUntracked { collection, package, by: None }, None);
    (f.decide(|_| {}, &[]), "never written down")
}

fn forgotten_outcome(f: &mut Forger) -> (Seq, &'static str) {
    let ended = f.ended();
    let task = &f.state.hubs[&ended.hub].tasks[&ended.task_id];
    let (nvr, target) = (task.nvr.clone(), task.target.clone());
    f.add(
        TaskChanged {
            hub: ended.hub,
            task_id: TaskId(999_999),
            state: TaskState::Canceled,
            package: ended.package,
            nvr,
            target,
            repo_id: None,
            arches: Vec::new(),
            decision: None,
            created_at: None,
            started_at: None,
            finished_at: None,
            children: Vec::new(),
            fault: None,
        },
        None,
    );
    (f.decide(|_| {}, &[]), "task 999999 ended")
}

fn wrong_buildroot(f: &mut Forger) -> (Seq, &'static str) {
    let (collection, old) = f.state.collections.iter().map(|(n, c)| (n.clone(), c.announced)).next().unwrap();
    let new = if old == BuildrootState::Unresolved { BuildrootState::Ok } else { BuildrootState::Unresolved };
    (f.add(CollectionStateChanged { collection, old, new, repo_id: RepoId(1) }, None), "the state says")
}

fn wrong_outcome(f: &mut Forger) -> (Seq, &'static str) {
    let ended = RebuildFinished { outcome: Outcome::GenuineFailure, ..f.ended() };
    (f.add(ended, None), "says genuine failure, the rules say ok")
}

fn given_up_too_late(f: &mut Forger) -> (Seq, &'static str) {
    let ended = f.ended();
    let (collection, package, hub) = (ended.collection.clone(), ended.package.clone(), ended.hub.clone());
    f.add(
        RebuildCancelRequested {
            collection,
            package,
            hub,
            task_id: Some(ended.task_id),
            rebuild: None,
            reason: String::new(),
            by: None,
        },
        None,
    );
    (f.add(RebuildFinished { outcome: Outcome::TimedOut, ..ended }, None), "says timed out, the rules say ok")
}

fn outcome_of_an_unknown_task(f: &mut Forger) -> (Seq, &'static str) {
    let ended = RebuildFinished { task_id: TaskId(999_999), ..f.ended() };
    (f.add(ended, None), "the rules say not ended")
}

fn wrong_policy(f: &mut Forger) -> (Seq, &'static str) {
    (f.decide(|made| made.policy = "0".repeat(64), &[]), "not the one in force")
}

fn wrong_view(f: &mut Forger) -> (Seq, &'static str) {
    (f.decide(|made| made.saw -= 1, &[]), "it follows on")
}

fn wrong_reasons(f: &mut Forger) -> (Seq, &'static str) {
    (f.decide(|made| *made.held.values_mut().next().unwrap() += 1, &[]), "held back")
}

/// Somebody accuses a package of having broken another one.
fn wrong_suspects(f: &mut Forger) -> (Seq, &'static str) {
    let (collection, of) = f.state.collections.iter().find(|(_, c)| !c.packages.is_empty()).unwrap();
    let source = Some("accused-1-1".to_owned());
    let update = SuspectedUpdate { source, was: None, repo_id: Some(RepoId(1)), together: Vec::new() };
    let ranked = SuspectsRanked {
        collection: collection.clone(),
        rules: koschei::decide::causes::RULES,
        updates: vec![update],
        packages: vec![PackageSuspects {
            package: of.packages.keys().next().unwrap().clone(),
            task_id: TaskId(1),
            suspects: vec![(0, 900)],
            own: 50,
            chance: 50,
        }],
    };
    (f.add(ranked, None), "give other shares")
}

async fn forge(
    db: &std::path::Path,
    forgery: impl FnOnce(&mut Forger) -> (Seq, &'static str),
) -> (Audit, Seq, &'static str) {
    let log = open(db).await;
    let state = folding::from_start(&log, None, &mut |_| {}).await.unwrap();
    let head = log.head().await.unwrap();
    // A month later, the time points alone make most packages due.
    let mut forger = Forger { now: state.recorded_at.plus_secs(30 * 86_400), state, head, records: Vec::new() };
    let (seq, said) = forgery(&mut forger);
    log.append(head.seq, &Commit { records: forger.records, ..Commit::default() }).await.unwrap();
    let found = audit(&log, &mut |_| {}).await.unwrap();
    log.close().await;
    (found, seq, said)
}

#[tokio::test]
async fn the_recording_is_sound() {
    let log = open(recorded()).await;
    let found = audit(&log, &mut |_| {}).await.unwrap();
    assert_eq!(found.findings, []);
    assert!(found.evaluations > 10 && found.requests > 100 && found.judgements > 100, "{found:?}");
    assert_eq!(found.events, log.head().await.unwrap().seq.unwrap().get());
    let out = koschei(&["log", "audit", "--json", "--db", recorded().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&said["total"], &said["evaluations"]), (&0.into(), &found.evaluations.into()));
}

/// The forger writes a right decision.
#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (found, ..) = forge(&copy(dir.path()), |f| (f.decide(|_| {}, &[]), "")).await;
    assert_eq!(found.findings, []);
}

#[rstest]
#[case(wrong_choice)]
#[case(wrong_priority)]
#[case(wrong_order)]
#[case(forgotten_request)]
#[case(forgotten_request_at_the_end)]
#[case(request_out_of_nowhere)]
#[case(request_nobody_chose)]
#[case(request_without_its_cause)]
#[case(request_out_of_turn)]
#[case(request_for_another_target)]
#[case(request_of_another_version)]
#[case(request_from_other_inputs)]
#[case(wrong_state)]
#[case(wrong_reason)]
#[case(forgotten_state)]
#[case(forgotten_outcome)]
#[case(wrong_buildroot)]
#[case(wrong_outcome)]
#[case(given_up_too_late)]
#[case(outcome_of_an_unknown_task)]
#[case(wrong_policy)]
#[case(wrong_view)]
#[case(wrong_reasons)]
#[case(wrong_suspects)]
#[tokio::test]
async fn what_is_planted_is_found_and_nothing_else(#[case] forgery: Forgery) {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let (found, seq, said) = forge(&db, forgery).await;
    let [finding] = &found.findings[..] else { panic!("{:#?}", found.findings) };
    assert_eq!((finding.seq, found.total), (seq.get(), 1), "{finding:?}");
    assert!(finding.what.contains(said), "{finding:?}");
    let out = koschei(&["log", "audit", "--json", "--db", db.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(5), "{}", String::from_utf8_lossy(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["findings"][0]["seq"], seq.get());
}
