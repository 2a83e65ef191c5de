//! How much is asked of a hub: for a whole distribution at first, and when nothing happens.

use std::collections::{BTreeMap, BTreeSet};

use koschei::config::HubConfig;
use koschei::fold::State;
use koschei::model::Name;

use crate::feed::scale;
use crate::hub::value::row;
use crate::hub::{FileLie, Hub, Logged, NewBuild, NewWorld};
use crate::live::Live;
use crate::serve::first::COLLECTION;

/// Packages of a distribution.
const WHOLE: usize = 24_000;
/// Requests of the hub a service may need until it knows a distribution and has asked for as many builds as it may.
const BOOTSTRAP_MAX: usize = 400;
/// Requests a minute for a collection when nothing happens.
const STEADY_MAX: f64 = 10.0;
/// Files fetched at a time.
const FILES_MAX: usize = 8;
/// Rebuilds that may run at a time, by default.
const REBUILDS: usize = 30;
/// Polls that are counted.
const POLLS: usize = 5;
/// What the service asks about source packages one by one, where it has to.
const PER_PACKAGE: [&str; 2] = ["getRPMHeaders", "getRPMDeps"];

/// Where build requirements are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sources {
    /// In files of their own.
    Files,
    /// In the repository; for which architectures packages are has to be asked.
    Repository,
    /// Only the hub can read them.
    Hub,
}

/// A distribution as Fedora has it: builds in a tag that a build tag inherits from over some others.
fn distribution(hub: &Hub, packages: usize, sources: Sources) {
    let package = |n: usize| {
        let (name, needs) = (format!("pkg{n:05}"), format!("pkg{:05}", n / 2));
        NewBuild::new(&format!("{name}-1.0-1.fc99")).build_requires(&[&needs]).binary(&name, &["x86_64"], &[])
    };
    let with_sources = (sources == Sources::Repository).then(|| row! { "src" => true });
    NewWorld::on(hub)
        .tag("f99", "")
        .tag("f99-updates", "")
        .tag("f99-override", "")
        .tag("f99-build", "x86_64")
        .inherits("f99-updates", &["f99"])
        .inherits("f99-override", &["f99-updates"])
        .inherits("f99-build", &["f99-override"])
        .target("f99", "f99-build", "f99")
        .build_group("f99-build", &["pkg00000"])
        .and(|tx| with_sources.map_or(Ok(()), |opts| tx.edit_tag_extra("f99-build", "repo.opts", Some(opts))))
        .builds("f99", (0..packages).map(package))
        .ready(["f99-build"]);
    if sources == Sources::Hub {
        hub.misbehave_files("packages/", FileLie::Status(404), usize::MAX);
    }
}

/// Everything is known and resolved, and as many rebuilds as may run were asked for.
fn begun(state: &State, packages: usize) -> bool {
    let Some(c) = state.collections.get(&Name::from("f99")) else { return false };
    let resolved = c.newest_repo.is_some() && c.arches.values().all(|a| a.repo_id == c.newest_repo);
    let verdicts = c.packages.values().filter(|p| !p.verdicts.is_empty()).count();
    let submitted = state.rebuilds.values().filter(|r| r.task.is_some()).count();
    resolved && verdicts == packages && submitted == REBUILDS.min(packages)
}

/// How often each set of methods was asked for, for who reads the output.
fn summary(log: &[Logged]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for l in log {
        let methods: BTreeSet<&str> = l.elements.iter().map(String::as_str).collect();
        let methods: Vec<&str> = methods.into_iter().collect();
        *counts.entry(format!("{} {}", l.method, methods.join(" "))).or_default() += 1;
    }
    counts
}

/// A hub with so many packages, and a service that knows all of them: what was asked of the hub.
async fn bootstrap(packages: usize, sources: Sources) -> (Live, Vec<Logged>) {
    let mut live = Live::new();
    distribution(&live.hub, packages, sources);
    live.tables = COLLECTION.to_owned();
    // How slow this machine is must not decide how often is polled meanwhile.
    live.poll_secs = 3600;
    live.start();
    live.wait("the distribution is known", |s| begun(s, packages)).await;
    let log = live.hub.log();
    let files = live.hub.file_requests().len();
    println!("{packages} packages, sources from {sources:?}: {} requests, {files} files", log.len());
    println!("{:#?}", summary(&log));
    assert_eq!(live.hub.http_requests(), log.len(), "every request was understood");
    let at_once = live.hub.files_at_once();
    assert!(at_once <= FILES_MAX, "{at_once} files at once");
    (live, log)
}

/// Requests that are about single source packages, and all others.
fn parted(log: &[Logged]) -> (usize, usize) {
    let per_package = log.iter().filter(|l| l.elements.iter().any(|e| PER_PACKAGE.contains(&e.as_str()))).count();
    (per_package, log.len() - per_package)
}

/// A small part of a distribution will do: what is asked about single packages is multiplied, and nothing else may
/// grow.
async fn within_budget(sources: Sources) {
    let small = 100;
    let large = usize::try_from(scale(500, WHOLE as u64)).unwrap();
    let (_, of_small) = bootstrap(small, sources).await;
    let (_, of_large) = bootstrap(large, sources).await;
    let (per_package, others) = parted(&of_large);
    let (_, few_others) = parted(&of_small);
    // A request about each hundred packages would make four more.
    assert!(others <= few_others + 2, "{few_others} other requests for {small} packages, {others} for {large}");
    let whole = (per_package * WHOLE).div_ceil(large) + others;
    println!("for {WHOLE} packages: {whole} requests");
    assert!(whole <= BOOTSTRAP_MAX, "{whole} requests for {WHOLE} packages");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_is_learned_with_few_requests() {
    within_budget(Sources::Files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_with_a_source_repository_is_learned_with_few_requests() {
    within_budget(Sources::Repository).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_without_files_of_sources_is_learned_with_few_requests() {
    within_budget(Sources::Hub).await;
}

/// A poll asks this of each tag whose content counts, and nothing else does.
fn is_poll(l: &Logged) -> bool {
    l.elements.iter().any(|e| e == "tagLastChangeEvent")
}

#[tokio::test(flavor = "multi_thread")]
async fn little_is_asked_when_nothing_happens() {
    let packages = 60;
    let (mut live, bootstrap) = bootstrap(packages, Sources::Files).await;
    live.stop();
    live.hub.clear_log();
    live.poll_secs = 1;
    live.start();
    // Builds have been asked for and nobody takes them: they are looked at with every poll. Twice in a poll, for two
    // tags.
    live.hub.wait_calls("tagLastChangeEvent", 2 * (POLLS + 2));
    let log = live.hub.log();
    let polls: Vec<usize> = log.iter().enumerate().filter(|(_, l)| is_poll(l)).map(|(at, _)| at).collect();
    let (first, last) = (polls[0], polls[polls.len() - 1]);
    println!("{:#?}", summary(&log[first..last]));
    #[expect(clippy::cast_precision_loss, reason = "a few requests")]
    let per_poll = (last - first) as f64 / (polls.len() - 1) as f64;
    let usual: HubConfig = toml::from_str("server = 'x'").unwrap();
    #[expect(clippy::cast_precision_loss, reason = "seconds of a day")]
    let (polls_a_minute, comparisons_a_minute) = (60.0 / usual.poll_secs as f64, 60.0 / usual.reconcile_secs as f64);
    // All is compared again once a day, which costs no more than the first time.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let a_minute = per_poll * polls_a_minute + bootstrap.len() as f64 * comparisons_a_minute;
    println!("{per_poll} requests a poll, {polls_a_minute} polls a minute: {a_minute:.2} requests a minute");
    assert!(a_minute <= STEADY_MAX, "{a_minute} requests a minute");
    assert!(per_poll >= 1.0, "nothing was counted");
    live.stop();
}
