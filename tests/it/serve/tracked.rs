//! A collection on a hub that tracks a few of many packages: only their source packages are read,
//! and only they are resolved. Counted is what the hub serves.

use std::collections::BTreeSet;

use koschei::event::{CollectionEdited, CollectionSettings, Event, PackageTracked, PackageUntracked, RepoResolved};
use koschei::fold::State;
use koschei::hub::interest::Interest;
use koschei::log::EventLog;
use koschei::operator;

use crate::feed;
use crate::hub::{FileLie, Gate, Hub, NewBuild, NewWorld, Settings};
use crate::live::PATIENCE;
use crate::serve::inside::Inside;

const ARCHES: [&str; 1] = ["x86_64"];
/// Number of packages on the hub, besides `bash`.
const MANY: usize = 30;

const CONFIG: &str = r#"
[policy]
passive = true
load_threshold = 1000

[[collection]]
name = "f99"
target = "f99"
track_all = false
track = ["app00", "app01", "app02", "app03"]
"#;

fn seed(hub: &Hub) {
    let app = |n: usize| {
        let name = format!("app{n:02}");
        // One of them has an unavailable requirement.
        let needs = if n == 5 { "nobody-has-this" } else { "bash" };
        NewBuild::new(&format!("{name}-1-1")).build_requires(&[needs]).binary(&name, &ARCHES, &[])
    };
    NewWorld::on(hub)
        .release("f99", "x86_64", &["bash"])
        .builds("f99", [NewBuild::new("bash-5-1").binary("bash", &ARCHES, &[])])
        .builds("f99", (0..MANY).map(app))
        .ready(["f99-build"]);
}

/// Returns the packages whose source packages the hub served.
fn read(hub: &Hub) -> Vec<String> {
    let name = |path: &String| Some(path.strip_suffix(".src.rpm")?.rsplit_once('/')?.1.split('-').next()?.to_owned());
    let mut names: Vec<String> = hub.file_requests().iter().filter_map(name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

async fn resolutions(inside: &Inside) -> Vec<RepoResolved> {
    let records = inside.log.read(None, 100_000).await.unwrap();
    let all = records.iter().filter_map(|r| match r.decode().unwrap().event {
        Event::RepoResolved(r) => Some(r),
        _ => None,
    });
    all.collect()
}

/// Returns repository and number of packages of each resolution.
async fn counts(inside: &Inside) -> Vec<(i64, u32)> {
    let of = |r: &RepoResolved| (r.repo_id.0, r.resolved + r.unresolved + r.excluded + r.unknown);
    resolutions(inside).await.iter().map(of).collect()
}

async fn say(inside: &Inside, events: impl IntoIterator<Item = Event>) {
    let now = koschei::base::clock::now();
    let words: Vec<_> = events.into_iter().map(|e| operator::message(&operator::Word::new(e, None), now)).collect();
    inside.put(&words).await;
}

/// The task that fetches repositories is told the tracked packages. It is told about verdicts on
/// other packages only if there are any. Otherwise it would fetch again without need.
#[tokio::test]
async fn who_fetches_is_told_of_verdicts_for_others_only() {
    let dir = tempfile::tempdir().unwrap();
    let recorded = feed::recorded("koji");
    let log = feed::sqlite(dir.path(), "a.db").await;
    let mut writer = feed::awake(&log, feed::archive(&recorded)).await;
    let lines = feed::lines(&recorded.join("events.jsonl"));
    feed::feed(&mut writer, &lines[..290], 290).await;
    let hub = koschei::model::Hub::new(feed::HUB);
    let mut all = Interest::default();
    writer.watch_tracked(&hub, &mut all);
    assert_eq!(all, Interest::default(), "all are tracked");

    let collection = koschei::model::Name::from("f99-build");
    let known = writer.state().collections[&collection].settings.clone();
    let settings = CollectionSettings { track_all: false, ..known };
    let events: [Event; 2] = [
        CollectionEdited { collection: collection.clone(), settings }.into(),
        PackageTracked { collection: collection.clone(), package: "curl".into(), by: None }.into(),
    ];
    let word = |event| operator::message(&operator::Word::new(event, None), writer.state().recorded_at);
    log.receive(&events.map(word)).await.unwrap();
    feed::feed(&mut writer, &lines[290..291], 1).await;
    let mut few = Interest::default();
    writer.watch_tracked(&hub, &mut few);
    let c = &writer.state().collections[&collection];
    assert!(c.arches.len() == 2 && c.arches.values().all(|a| a.repo_id.is_some() && a.tracked.is_some()));
    let of_tag = &few.tracked[&c.settings.build_tag];
    assert!(!of_tag.now.is_empty() && of_tag.resolved.is_empty(), "they were resolved for these: {of_tag:?}");
    let resolved: BTreeSet<_> = few.resolved.iter().map(|(tag, repo, _)| (tag, *repo)).collect();
    assert_eq!(resolved, c.arches.values().map(|a| (&c.settings.build_tag, a.repo_id.unwrap())).collect());
    log.close().await;
}

fn track(package: &str) -> Event {
    PackageTracked { collection: "f99".into(), package: package.into(), by: None }.into()
}

/// Waits until the state satisfies `so`.
async fn until(inside: &mut Inside, what: &str, so: impl Fn(&State) -> bool) {
    let waits = async {
        while !so(inside.state().await) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waits).await.is_ok(), "never: {what}");
}

/// Waits until a request is at the gate.
async fn arrives(gate: &Gate) {
    let arrives = async {
        while gate.arrived() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrives).await.expect("the header is asked for");
}

fn verdict(state: &State, package: &str) -> Option<bool> {
    state.package("f99", package)?.resolved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_tracked_are_read_and_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    seed(&hub);
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    until(&mut inside, "four resolve", |s| verdict(s, "app03") == Some(true)).await;
    assert_eq!(read(&hub), ["app00", "app01", "app02", "app03"]);
    let first = counts(&inside).await;
    assert!(matches!(first[..], [(_, 4)]), "{first:?}");
    let repo = first[0].0;

    // A fifth package, which does not resolve: no new repository is needed, and nothing else is
    // read.
    hub.clear_log();
    say(&inside, [track("app05")]).await;
    until(&mut inside, "the fifth has a verdict", |s| verdict(s, "app05") == Some(false)).await;
    assert_eq!((counts(&inside).await, read(&hub)), (vec![(repo, 4), (repo, 5)], vec!["app05".to_owned()]));

    // The package is not tracked any more: its verdict goes.
    let untrack = PackageUntracked { collection: "f99".into(), package: "app05".into(), by: None };
    say(&inside, [untrack.into()]).await;
    let has_none = |s: &State| s.package("f99", "app05").is_some_and(|p| p.verdicts.is_empty());
    until(&mut inside, "it has no verdict", has_none).await;
    assert_eq!(counts(&inside).await.last(), Some(&(repo, 4)));

    // The next repository needs no reading, and a restart appends nothing.
    hub.clear_log();
    NewWorld::on(&hub).ready(["f99-build"]);
    inside.reconciled().await.unwrap();
    assert_eq!(read(&hub), Vec::<String>::new());
    inside.restart().await;
    inside.reconciled().await.unwrap();
    let all = counts(&inside).await;
    assert_eq!((read(&hub).len(), all.len(), all.last().unwrap().1), (0, 4, 4), "{all:?}");
    assert!(all[3].0 > repo);
    inside.stop().await;
    let audit = koschei::tools::audit::audit(&inside.log, &mut |_| {}).await.unwrap();
    assert_eq!((audit.total, audit.findings), (0, Vec::new()));
}

/// A package is tracked while the requirements of another are fetched. What was fetched is not all
/// that is tracked by then, so the repository is resolved once, when the rest is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_during_a_fetch_waits_for_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    seed(&hub);
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    until(&mut inside, "four resolve", |s| verdict(s, "app03") == Some(true)).await;
    let gate = Gate::default();
    hub.misbehave_files("app05-1-1.src.rpm", FileLie::Gate(gate.clone()), 1);
    say(&inside, [track("app05")]).await;
    arrives(&gate).await;
    say(&inside, [track("app06")]).await;
    until(&mut inside, "the other is tracked", |s| s.package("f99", "app06").is_some_and(|p| p.is_tracked(false)))
        .await;
    gate.open();
    until(&mut inside, "both have verdicts", |s| {
        (verdict(s, "app05"), verdict(s, "app06")) == (Some(false), Some(true))
    })
    .await;
    inside.stop().await;
    assert_eq!(counts(&inside).await.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [4, 6]);
}

/// The service is stopped between the word and the fetched requirements. It continues after the
/// next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_between_word_and_verdict_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    seed(&hub);
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    until(&mut inside, "four resolve", |s| verdict(s, "app03") == Some(true)).await;
    let gate = Gate::default();
    hub.misbehave_files("app05-1-1.src.rpm", FileLie::Gate(gate.clone()), 1);
    say(&inside, [track("app05"), track("app06")]).await;
    arrives(&gate).await;
    inside.stop().await;
    gate.open();
    let first = counts(&inside).await;
    assert_eq!(first.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [4], "it is not resolved yet");
    hub.clear_log();
    inside.start();
    until(&mut inside, "both have verdicts", |s| {
        (verdict(s, "app05"), verdict(s, "app06")) == (Some(false), Some(true))
    })
    .await;
    let counts = counts(&inside).await;
    assert_eq!(counts.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [4, 6]);
    assert!(read(&hub).iter().all(|p| ["app05", "app06"].contains(&p.as_str())), "{:?}", read(&hub));
    inside.stop().await;
}
