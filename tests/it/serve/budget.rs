//! The number of hub requests: for a whole distribution at first, and when nothing happens.

use std::collections::{BTreeMap, BTreeSet};

use koschei::config::HubConfig;
use koschei::fold::State;
use koschei::model::Name;

use crate::feed::scale;
use crate::hub::value::row;
use crate::hub::{FileLie, Hub, Logged, NewBuild, NewWorld};
use crate::live::Live;
use crate::serve::first::COLLECTION;

/// Number of packages in a distribution.
const WHOLE: usize = 24_000;
/// Most hub requests until the service knows a distribution and has requested as many builds as it
/// may.
const BOOTSTRAP_MAX: usize = 400;
/// Most requests a minute for a collection when nothing happens.
const STEADY_MAX: f64 = 10.0;
/// Most files fetched at a time.
const FILES_MAX: usize = 8;
/// Default number of rebuilds that may run at a time.
const REBUILDS: usize = 30;
/// Number of polls that are counted.
const POLLS: usize = 5;
/// Methods that the service calls for single source packages if it must.
const PER_PACKAGE: [&str; 2] = ["getRPMHeaders", "getRPMDeps"];

/// Where build requirements come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sources {
    /// From the source packages' own files.
    Files,
    /// From the repository. The packages' architectures must be asked for.
    Repository,
    /// Only the hub can read them.
    Hub,
}

/// Makes a distribution like Fedora's: builds in a tag from which the build tag inherits through
/// some others.
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

/// Checks whether everything is known and resolved, and as many rebuilds as allowed were requested.
fn begun(state: &State, packages: usize) -> bool {
    let Some(c) = state.collections.get(&Name::from("f99")) else { return false };
    let resolved = c.newest_repo.is_some() && c.arches.values().all(|a| a.repo_id == c.newest_repo);
    let verdicts = c.packages.values().filter(|p| !p.verdicts.is_empty()).count();
    let submitted = state.rebuilds.values().filter(|r| r.task.is_some()).count();
    resolved && verdicts == packages && submitted == REBUILDS.min(packages)
}

/// Returns how often each set of methods was called, for readers of the output.
fn summary(log: &[Logged]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for l in log {
        let methods: BTreeSet<&str> = l.elements.iter().map(String::as_str).collect();
        let methods: Vec<&str> = methods.into_iter().collect();
        *counts.entry(format!("{} {}", l.method, methods.join(" "))).or_default() += 1;
    }
    counts
}

/// Makes a hub with this many packages and a service that knows all of them. Returns the calls to
/// the hub.
async fn bootstrap(packages: usize, sources: Sources) -> (Live, Vec<Logged>) {
    let mut live = Live::new();
    distribution(&live.hub, packages, sources);
    live.tables = COLLECTION.to_owned();
    // Polls must not depend on the machine's speed, so there are none.
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

/// Returns the number of requests about single source packages, and of all others.
fn parted(log: &[Logged]) -> (usize, usize) {
    let per_package = log.iter().filter(|l| l.elements.iter().any(|e| PER_PACKAGE.contains(&e.as_str()))).count();
    (per_package, log.len() - per_package)
}

/// A small part of a distribution is enough: requests about single packages are multiplied, and no
/// other requests may grow.
async fn within_budget(sources: Sources) {
    let small = 100;
    let large = usize::try_from(scale(500, WHOLE as u64)).unwrap();
    let (_, of_small) = bootstrap(small, sources).await;
    let (_, of_large) = bootstrap(large, sources).await;
    let (per_package, others) = parted(&of_large);
    let (_, few_others) = parted(&of_small);
    // One request for each hundred packages would make four more.
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

/// Checks whether this call belongs to a poll. A poll calls this for each tag whose content counts,
/// and nothing else does.
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
    // The requested builds are never taken by a builder, so each poll looks at them. The call comes
    // twice a poll, for two tags.
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
    // Everything is compared again once a day, which costs no more than the first time.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let a_minute = per_poll * polls_a_minute + bootstrap.len() as f64 * comparisons_a_minute;
    println!("{per_poll} requests a poll, {polls_a_minute} polls a minute: {a_minute:.2} requests a minute");
    assert!(a_minute <= STEADY_MAX, "{a_minute} requests a minute");
    assert!(per_poll >= 1.0, "nothing was counted");
    live.stop();
}
