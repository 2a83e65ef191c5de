//! `kill -9` around submission: whatever is lost and whichever side dies when, a decision becomes
//! one task, and none is forgotten.
//!
//! The test counts in the hub's own table of tasks. It kills the service at chosen places: while a
//! call is at the hub's gate, while the answer to an executed call is on its way, at an event of
//! the log, or when the hub has another task. Calls misbehave meanwhile. In between somebody
//! resubmits tasks, whose copies carry the same decision, or cancels decisions that wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use koschei::event::{Event, RebuildCancelRequested, Record};
use koschei::log::{AnyLog, EventLog};
use koschei::model::{RebuildId, Seq};
use koschei::operator;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::feed::scale;
use crate::hub::{Gate, Hub, Lie, NewBuild, NewWorld};
use crate::live::{Live, PATIENCE, REBUILD_ALL};

const ARCHES: [&str; 1] = ["x86_64"];
/// Packages that are rebuilt whenever the library changes.
const APPS: usize = 10;
/// Rounds on one log.
const ROUNDS: u64 = 20;

fn seed(hub: &Hub) {
    let app = |n: usize| {
        let app = NewBuild::new(&format!("app{n:02}-1.0-1.fc99")).build_requires(&["libfoo"]);
        app.binary(&format!("app{n:02}"), &ARCHES, &["libfoo"])
    };
    NewWorld::on(hub)
        .release("f99", "x86_64", &["bash"])
        .builds("f99", [NewBuild::new("bash-5.2-1.fc99").binary("bash", &ARCHES, &[])])
        .builds("f99", (0..APPS).map(app))
        .ready([]);
}

/// Makes a new version of the library and a repository with it. Every package that needs it is due.
fn bump(hub: &Hub, round: u64) {
    let library = NewBuild::new(&format!("libfoo-1.{round}-1.fc99")).binary("libfoo", &ARCHES, &[]);
    NewWorld::on(hub).builds("f99", [library]).ready(["f99-build"]);
}

/// The decisions in the log.
#[derive(Default)]
struct Ledger {
    head: Option<Seq>,
    /// Packages by decision.
    requested: BTreeMap<u64, String>,
    closed: BTreeSet<u64>,
    /// The task of each decision, from its submission or its end.
    submitted: BTreeMap<u64, i64>,
}

impl Ledger {
    async fn read_on(&mut self, log: &AnyLog) {
        loop {
            let records = log.read(self.head, 1000).await.unwrap();
            let Some(last) = records.last() else { return };
            self.head = Some(last.seq);
            records.iter().for_each(|r| self.note(r));
        }
    }

    fn note(&mut self, record: &Record) {
        match record.decode().unwrap().event {
            Event::RebuildRequested(e) => {
                self.requested.insert(record.seq.get(), e.nvr.name.to_string());
            }
            Event::RebuildNotSubmitted(e) => {
                self.closed.insert(e.rebuild.0);
            }
            Event::RebuildRefused(e) => {
                self.closed.insert(e.rebuild.0);
            }
            Event::RebuildSubmitted(e) => {
                let before = self.submitted.insert(e.rebuild.0, e.task_id.0);
                assert_eq!(before, None, "{} was submitted twice", e.rebuild.0);
            }
            // A task may have ended while we were dead, maybe before its submission was recorded.
            // The hub's list then reports it, and this is its only event.
            Event::RebuildFinished(e) => {
                let Some(rebuild) = e.rebuild else { return };
                let task = *self.submitted.entry(rebuild.0).or_insert(e.task_id.0);
                assert_eq!(task, e.task_id.0, "{} ended as another task than it was submitted as", rebuild.0);
            }
            _ => {}
        }
    }

    /// Checks whether a task of the hub runs for every package. Then nothing new is decided until one
    /// of them ends.
    fn all_run(&self, hub: &Hub) -> bool {
        let running = hub.dump().tasks.into_iter().filter(|t| matches!(t.state, 0 | 1 | 4));
        let packages: BTreeSet<_> = running.filter_map(|t| self.requested.get(&t.decided())).collect();
        packages.len() == APPS
    }

    /// Returns the decisions in the log whose result is not in the log.
    fn open(&self) -> impl Iterator<Item = u64> {
        let known = |id: &u64| self.closed.contains(id) || self.submitted.contains_key(id);
        self.requested.keys().copied().filter(move |id| !known(id))
    }
}

/// Returns the hub's tasks by the decision they carry, lowest first.
fn tasks(hub: &Hub) -> BTreeMap<u64, Vec<i64>> {
    let mut tasks: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for task in hub.dump().tasks {
        tasks.entry(task.decided()).or_default().push(task.id);
    }
    tasks
}

/// How far the service was when it died.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    NothingDecided,
    DecidedWithoutTask,
    TaskNotInLog,
    AllSubmitted,
}

/// When to kill the service.
enum Until {
    /// A call is at the gate.
    Gate(Gate),
    /// The log has this many further events, or there is nothing more to come: how many events a
    /// round has depends on where the kills before it fell.
    Events(u64),
    /// The log has a new decision, or there is nothing more to come: a kill may have left decisions
    /// about all packages, which then run.
    Decided,
    /// The log has this many further submissions.
    Submitted(usize),
    /// The hub has this many further tasks.
    Made(usize),
    /// Every decision became a task, and there was at least one more, or nothing more can come.
    Quiet,
}

/// Chooses the misbehaviour of a round, and its end.
fn choose(hub: &Hub, round: u64, rng: &mut StdRng) -> (&'static str, Until) {
    let skip = rng.random_range(0..APPS / 2);
    let gate = Gate::default();
    let lie = |lie: Lie| hub.misbehave_after(skip, "build", lie, 1);
    let searching = |l: Lie| {
        lie(l);
        hub.misbehave_after(usize::from(round > 0), "listTasks", Lie::Gate(gate.clone()), 1);
        Until::Gate(gate.clone())
    };
    match round % 10 {
        0 => {
            lie(Lie::Gate(gate.clone()));
            ("at the hub's door", Until::Gate(gate))
        }
        1 => {
            lie(Lie::GateAfter(gate.clone()));
            ("the answer on its way", Until::Gate(gate))
        }
        2 => ("an event", Until::Events(rng.random_range(1..60))),
        3 => ("a decision", Until::Decided),
        4 => ("a submission in the log", Until::Submitted(rng.random_range(1..APPS))),
        5 => ("a task of the hub", Until::Made(rng.random_range(1..APPS))),
        6 => ("searching after a cut connection", searching(Lie::CutAfter)),
        7 => ("searching after HTTP 500", searching(Lie::Commit500)),
        8 => {
            // The hub did not execute the call. The service finds that out by looking.
            lie(Lie::Fault(1009, "unable to retry call".to_owned()));
            ("1009 for nothing", Until::Quiet)
        }
        _ => {
            lie(Lie::CutAfter);
            ("the answer lost", if rng.random() { Until::Quiet } else { Until::Submitted(APPS / 2 + 1) })
        }
    }
}

/// Runs the service until the chosen time, and kills it.
async fn run(live: &mut Live, ledger: &mut Ledger, until: Until) {
    let log = live.reader(Duration::from_millis(1)).await;
    ledger.read_on(&log).await;
    let begin = (ledger.head, ledger.requested.len(), ledger.submitted.len());
    let made = live.hub.dump().tasks.len();
    live.start();
    let number = |seq: Option<Seq>| seq.map_or(0, Seq::get);
    match until {
        Until::Gate(gate) => {
            let hub = live.hub.clone();
            let standing = gate.clone();
            tokio::task::spawn_blocking(move || hub.wait_at(&standing)).await.unwrap();
            live.kill();
            gate.open();
        }
        Until::Made(n) => {
            let hub = live.hub.clone();
            let so = move |w: &crate::hub::World| {
                w.tasks.iter().filter(|t| t.parent.is_none() && t.method == "build").count() >= made + n
            };
            tokio::task::spawn_blocking(move || hub.wait_until("there are more tasks", so)).await.unwrap();
            live.kill();
        }
        log_says => {
            let reached = async {
                loop {
                    ledger.read_on(&log).await;
                    let none_waits = ledger.open().next().is_none();
                    let quiet = none_waits && (ledger.requested.len() > begin.1 || ledger.all_run(&live.hub));
                    let done = match &log_says {
                        Until::Events(n) => quiet || number(ledger.head) >= number(begin.0) + n,
                        Until::Decided => quiet || ledger.requested.len() > begin.1,
                        Until::Submitted(n) => quiet || ledger.submitted.len() >= begin.2 + n,
                        _ => quiet,
                    };
                    if done {
                        return;
                    }
                    log.changed(ledger.head).await.unwrap();
                }
            };
            let reached = tokio::time::timeout(PATIENCE, reached).await;
            if reached.is_err() {
                let (said, tail) = (live.said(), live.tail(60).await);
                panic!("waited in vain for the time to kill it; it said:\n{said}\nand the log ends with\n{tail}");
            }
            live.kill();
        }
    }
    live.hub.behave();
    ledger.read_on(&log).await;
    log.close().await;
}

/// Checks that no decision has two tasks, and no closed decision has one.
fn check(ledger: &Ledger, hub: &Hub, copies: &BTreeSet<i64>, at: &str) -> BTreeMap<u64, Vec<i64>> {
    let tasks = tasks(hub);
    for (decision, made) in &tasks {
        assert!(ledger.requested.contains_key(decision), "{at}: a task of {decision}, which is not in the log");
        let ours: Vec<i64> = made.iter().copied().filter(|t| !copies.contains(t)).collect();
        assert_eq!(ours.len(), 1, "{at}: decision {decision} became {made:?}, of which others made {copies:?}");
        assert!(!ledger.closed.contains(decision), "{at}: decision {decision} was closed and became {made:?}");
        if let Some(task) = ledger.submitted.get(decision) {
            assert_eq!([*task], ours[..], "{at}: somebody's copy of {decision} was taken for ours");
        }
    }
    for decision in ledger.submitted.keys() {
        assert!(tasks.contains_key(decision), "{at}: {decision} is said to be submitted and the hub has no such task");
    }
    tasks
}

/// Puts an operator's cancellation into the inbox.
pub(crate) async fn cancel(live: &Live, id: u64, package: &str) {
    let event = RebuildCancelRequested {
        collection: "f99".into(),
        package: package.into(),
        hub: koschei::model::Hub::new("primary"),
        task_id: None,
        rebuild: Some(RebuildId(id)),
        reason: "not worth it".to_owned(),
        by: None,
    };
    let word = operator::Word::new(event, None);
    let log = live.log().await;
    log.receive(&[operator::message(&word, koschei::base::clock::now())]).await.unwrap();
    log.close().await;
}

async fn rounds(seed_: u64, places: &mut BTreeMap<Place, Vec<&'static str>>) {
    let mut rng = StdRng::seed_from_u64(seed_);
    let mut live = Live::new();
    live.tables = REBUILD_ALL.to_owned();
    seed(&live.hub);
    let mut ledger = Ledger::default();
    // Tasks that somebody resubmitted from ours.
    let mut copies = BTreeSet::new();
    // Decisions that were cancelled before they were submitted.
    let mut cancelled = BTreeSet::new();
    for round in 0..ROUNDS {
        live.hub.work_all();
        bump(&live.hub, round);
        let requested = ledger.requested.len();
        let (what, until) = choose(&live.hub, round, &mut rng);
        run(&mut live, &mut ledger, until).await;
        let at = format!("seed {seed_}, round {round}, {what}");
        let tasks = check(&ledger, &live.hub, &copies, &at);
        let open: Vec<u64> = ledger.open().collect();
        let made = open.iter().find_map(|id| tasks.get(id)).cloned();
        let place = match (&made, open.is_empty(), ledger.requested.len() > requested) {
            (Some(_), ..) => Place::TaskNotInLog,
            (None, false, _) => Place::DecidedWithoutTask,
            (None, true, true) => Place::AllSubmitted,
            (None, true, false) => Place::NothingDecided,
        };
        places.entry(place).or_default().push(what);
        let runs = |id: i64| live.hub.see(|w| matches!(w.task(id).unwrap().state, 0 | 1 | 4));
        if let Some(made) = made.filter(|made| runs(made[0]) && (copies.is_empty() || rng.random_range(0..3) > 0)) {
            // Somebody stops a task that is not known yet, and starts it again: the same decision
            // under another number.
            let copy = live.hub.change_as("koschei", |tx| {
                tx.cancel(made[0]);
                tx.resubmit(made[0])
            });
            copies.insert(copy);
        }
        let second_thoughts = cancelled.is_empty() || rng.random_range(0..3) == 0;
        if let Some(id) = open.iter().find(|id| !tasks.contains_key(id)).filter(|_| second_thoughts) {
            // While no service runs, somebody cancels a decision that waits.
            cancel(&live, *id, &ledger.requested[id]).await;
            cancelled.insert(*id);
        }
    }
    // The last round: no kill before everything is submitted.
    live.hub.work_all();
    bump(&live.hub, ROUNDS);
    run(&mut live, &mut ledger, Until::Quiet).await;
    let at = format!("seed {seed_}, in the end");
    let tasks = check(&ledger, &live.hub, &copies, &at);
    for decision in ledger.requested.keys() {
        assert!(
            ledger.closed.contains(decision) || tasks.contains_key(decision),
            "{at}: decision {decision} is lost; the service said:\n{}",
            live.said()
        );
    }
    assert!(!cancelled.is_empty() && cancelled.is_subset(&ledger.closed), "{at}: {cancelled:?} should be closed");
    assert!(ledger.submitted.len() > APPS * 5, "{at}: there was little to submit: {}", ledger.submitted.len());
    assert!(!copies.is_empty(), "{at}: nobody resubmitted anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_decision_is_one_task_whoever_dies_when() {
    let mut places = BTreeMap::new();
    for n in 0..scale(1, 10) {
        rounds(n, &mut places).await;
    }
    let all: usize = places.values().map(Vec::len).sum();
    println!("{all} kills; where they fell:");
    for (place, kills) in &places {
        println!("{:>20} {:>4} {}", format!("{place:?}"), kills.len(), "#".repeat(kills.len()));
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        kills.iter().for_each(|k| *counted.entry(k).or_default() += 1);
        counted.iter().for_each(|(what, n)| println!("{:>25} {n}", format!("({what})")));
    }
    let between = |p: Place| places.get(&p).map_or(0, Vec::len);
    let (without, with) = (between(Place::DecidedWithoutTask), between(Place::TaskNotInLog));
    assert!(with * 4 >= all && (without + with) * 2 >= all, "too few kills fell between decision and submission");
}
