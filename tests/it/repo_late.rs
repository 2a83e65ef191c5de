//! A new repository whose files cannot be had for a while: what a failed first attempt saw is not a fact.

use koschei::model::RepoId;
use rstest::rstest;

use crate::hub::FileLie;
use crate::live::Live;
use crate::serve_first::{COLLECTION, small};

#[rstest]
#[case::not_there(FileLie::Status(404), false)]
#[case::not_there_when_it_starts_again(FileLie::Status(404), true)]
#[case::out_of_order(FileLie::Status(503), false)]
#[case::another_content(FileLie::Corrupt, false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_repository_is_resolved_once_its_content_can_be_had(#[case] lie: FileLie, #[case] restart: bool) {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[policy]\nbuild_threshold = 100\n{COLLECTION}");
    live.start();
    let all_of = |s: &koschei::fold::State, id: i64| {
        let arches = &s.collections.get("f99").map(|c| c.arches.clone()).unwrap_or_default();
        arches.len() == 2 && arches.values().all(|a| a.repo_id == Some(RepoId(id)))
    };
    let first = live.hub.see(|w| w.newest_repo(w.tag("f99-build", None).unwrap()).unwrap());
    live.wait("the first repository is resolved", |s| all_of(s, first)).await;
    let id = first + 1;
    live.hub.misbehave_files(&format!("f99-build/{id}/"), lie, 1_000_000);
    assert_eq!(live.hub.change(|tx| tx.new_repo("f99-build")), id);
    live.wait("it is known that it cannot be had", |s| {
        s.collections["f99"].stale.as_ref().is_some_and(|(repo, _)| *repo == RepoId(id))
    })
    .await;
    if restart {
        live.stop();
    }
    live.hub.behave();
    if restart {
        live.start();
    }
    let state = live.wait("the newest repository is resolved", |s| all_of(s, id)).await;
    assert_eq!(state.collections["f99"].stale, None);
    live.stop();
    let audited =
        std::process::Command::new(env!("CARGO_BIN_EXE_koschei")).args(["log", "audit", "--db", &live.db]).output();
    let audited = audited.unwrap();
    assert!(audited.status.success(), "{}", String::from_utf8_lossy(&audited.stdout));
}

/// The files of one architecture are there a little later than those of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_architecture_that_comes_later_is_waited_for() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[policy]\nbuild_threshold = 100\n{COLLECTION}");
    live.start();
    let first = live.hub.see(|w| w.newest_repo(w.tag("f99-build", None).unwrap()).unwrap());
    live.wait("the first repository is resolved", |s| s.collections.get("f99").is_some_and(|c| c.arches.len() == 2))
        .await;
    let id = first + 1;
    live.hub.misbehave_files(&format!("f99-build/{id}/aarch64"), FileLie::Status(404), 2);
    assert_eq!(live.hub.change(|tx| tx.new_repo("f99-build")), id);
    live.wait("both architectures are resolved", |s| {
        s.collections["f99"].arches.values().all(|a| a.repo_id == Some(RepoId(id)))
    })
    .await;
    assert!(live.said().contains("has no metadata for aarch64 yet"), "{}", live.said());
    live.stop();
}
