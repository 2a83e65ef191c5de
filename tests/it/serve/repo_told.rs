//! When a repository is reported. A ready repository newer than the known one is reported once its
//! content is here, or is known to be unavailable. Every other repository is reported at once.

use std::time::Duration;

use koschei::model::RepoId;
use koschei::model::koji::RepoState;

use crate::hub::{FileLie, Gate, Hub, NewBuild, NewWorld, Settings};
use crate::live::PATIENCE;
use crate::serve::facts::primary;
use crate::serve::inside::{Inside, ONE_COLLECTION};

fn bash(vr: &str) -> NewBuild {
    NewBuild::new(&format!("bash-{vr}")).binary("bash", &["x86_64"], &[])
}

/// Makes a hub with one package, and a service that has seen it. Returns the first repository.
async fn one_package(dir: &tempfile::TempDir) -> (Inside, Hub, i64) {
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    let world = NewWorld::on(&hub).release("f99", "x86_64", &["bash"]);
    let [first] = world.builds("f99", [bash("5-1")]).ready(["f99-build"]);
    let mut inside = Inside::new(hub.clone(), dir.path(), ONE_COLLECTION).await;
    inside.start();
    assert_eq!(inside.reconciled().await.err(), None);
    (inside, hub, first)
}

async fn state_of(inside: &mut Inside, repo: i64) -> Option<RepoState> {
    inside.state().await.hubs[&primary()].repos.get(&RepoId(repo)).map(|r| r.state)
}

/// Returns how often files of a repository with this text in their names were requested.
fn asked(hub: &Hub, repo: i64, file: &str) -> usize {
    let dir = format!("f99-build/{repo}/");
    hub.file_requests().iter().filter(|path| path.contains(&dir) && path.contains(file)).count()
}

/// Waits until the verdicts are marked as older than an unavailable repository.
async fn told(inside: &mut Inside, repo: i64) {
    let stale = async {
        while inside.state().await.collections["f99"].stale.as_ref().is_none_or(|(of, _)| *of != RepoId(repo)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stale).await.expect("nobody is told that it cannot be had");
}

/// The repository has no files yet, or has lost them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ready_is_told_at_once_and_not_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inside, hub, _) = one_package(&dir).await;
    hub.clear_log();
    let begun = hub.change(|tx| tx.begin_repo("f99-build"));
    inside.deliver(&hub.take_messages()).await;
    inside.looked().await;
    assert_eq!(state_of(&mut inside, begun).await, Some(RepoState::Init));
    // Its message comes after the repository has already expired.
    hub.change(|tx| {
        tx.finish_repo(begun)?;
        tx.expire_repo(begun)
    });
    inside.deliver(&hub.take_messages()).await;
    inside.looked().await;
    assert_eq!(state_of(&mut inside, begun).await, Some(RepoState::Expired));
    assert_eq!(asked(&hub, begun, ""), 0, "{:?}", hub.file_requests());
    inside.stop().await;
}

/// Makes a repository with a new build, so that its files are new.
fn new_repo(hub: &Hub) -> i64 {
    hub.change(|tx| tx.import_into("f99", &bash("5-2")));
    hub.change(|tx| tx.new_repo("f99-build"))
}

/// A server may be away for a moment: it is tried three times before the repository is reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_pass_is_tried_again_before_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inside, hub, first) = one_package(&dir).await;
    let at_once = asked(&hub, first, "repomd.xml");
    hub.misbehave_files("primary.xml", FileLie::Corrupt, 1_000_000);
    let repo = new_repo(&hub);
    inside.deliver(&hub.take_messages()).await;
    told(&mut inside, repo).await;
    assert!(asked(&hub, repo, "repomd.xml") >= 3 * at_once, "{:?}", hub.file_requests());
    hub.behave();
    inside.stop().await;
}

/// A file is missing although the hub says that the repository is ready: verdicts are marked before
/// the next attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_will_not_pass_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inside, hub, _) = one_package(&dir).await;
    let gate = Gate::default();
    hub.misbehave_files("primary.xml", FileLie::Status(404), 1);
    hub.misbehave_files("primary.xml", FileLie::Gate(gate.clone()), 1_000_000);
    let repo = new_repo(&hub);
    inside.deliver(&hub.take_messages()).await;
    // The second attempt gets no response.
    told(&mut inside, repo).await;
    gate.open();
    hub.behave();
    inside.stop().await;
}
