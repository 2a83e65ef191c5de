//! A new repository whose files are not available for a while: what a failed first attempt saw does
//! not become a fact.

use std::path::Path;

use koschei::fold::State;
use koschei::log::{EventLog, Options, PAGE_MAX};
use koschei::model::{Hub, RepoId};
use rstest::rstest;

use crate::bus::follow_trouble::{Running, publish, stream};
use crate::files_server::copy_dir;
use crate::hub::FileLie;
use crate::live::{Follower, Live, PATIENCE};
use crate::nats_server::NatsServer;
use crate::serve::first::{COLLECTION, small};
use crate::{feed, recorded};

const EVENTS: &str = include_str!("../../data/koji/events.jsonl");

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

/// The files of one architecture come a little later than those of the other.
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

/// Without a hub, the files come by another way than the message. They may come later: all at once,
/// or one architecture after the other.
#[rstest]
#[case::whole(&[""], false)]
#[case::whole_after_a_restart(&[""], true)]
#[case::one_architecture_after_the_other(&["x86_64", "aarch64"], false)]
#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_an_archive_after_its_message_is_resolved(#[case] parts: &[&str], #[case] restart: bool) {
    let (server, dir) = (NatsServer::start().await, tempfile::tempdir().unwrap());
    let (archive, db) = (dir.path().join("archive"), dir.path().join("a.db"));
    copy_dir(&feed::recorded("koji"), &archive);
    let (repo, away) = (archive.join("repos/f99-build/26"), dir.path().join("26"));
    let part_of = |base: &Path, part: &str| if part.is_empty() { base.to_owned() } else { base.join(part) };
    for part in parts {
        if !part.is_empty() {
            std::fs::create_dir_all(&away).unwrap();
        }
        std::fs::rename(part_of(&repo, part), part_of(&away, part)).unwrap();
    }
    let context = stream(&server).await;
    // All messages up to the one about the repository.
    publish(&context, EVENTS.lines().take(490)).await;
    let (url, path, place) = (server.url(), db.to_str().unwrap().to_owned(), archive.to_str().unwrap().to_owned());
    let args = ["--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--archive", &place, "--db", &path];
    let mut follow = Running::start(&args);
    follow.until("all messages are handled", |f| f.settled() == 490).await;
    if restart {
        follow.terminate();
        follow = Running::start(&args);
        follow.ready().await;
    }
    let log = koschei::log::open(&path, &Options { create: false, ..Options::default() }).await.unwrap();
    let mut folded = Follower::default();
    folded.follow(&log).await;
    let resolved = |s: &State| {
        let of_it = s.collections["f99-build"].arches.values().filter(|a| a.repo_id == Some(RepoId(26)));
        of_it.count()
    };
    assert_eq!(resolved(&folded.state), 0, "it is not there yet");
    for (n, part) in parts.iter().enumerate() {
        std::fs::rename(part_of(&away, part), part_of(&repo, part)).unwrap();
        let wanted = if part.is_empty() { 2 } else { n + 1 };
        let waiting = tokio::time::timeout(PATIENCE, async {
            while resolved(&folded.state) < wanted {
                log.changed(folded.state.seq).await.unwrap();
                folded.follow(&log).await;
            }
        });
        assert!(waiting.await.is_ok(), "it is never resolved:\n{}", follow.said());
    }
    let c = &folded.state.collections["f99-build"];
    assert!(c.newest_repo == Some(RepoId(26)) && c.stale.is_none(), "{:?} {:?}", c.newest_repo, c.stale);
    follow.terminate();
    log.close().await;
    for check in ["verify", "audit"] {
        let out = recorded::koschei(&["log", check, "--db", &path]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
}

/// An architecture that cannot be read is tried again and again, and recorded once. This holds for
/// each of two architectures.
#[tokio::test]
async fn what_stays_away_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("archive");
    copy_dir(&feed::recorded("koji"), &place);
    for arch in ["x86_64", "aarch64"] {
        let damaged = place.join(format!("repos/f99-build/26/{arch}/repodata/repomd.xml"));
        std::fs::write(damaged, format!("<repomd {arch}")).unwrap();
    }
    let log = feed::sqlite(dir.path(), "a.db").await;
    let mut writer = feed::awake(&log, feed::archive(&place)).await;
    let lines: Vec<&str> = EVENTS.lines().take(490).collect();
    feed::feed(&mut writer, &lines, 100).await;
    for _ in 0..3 {
        let now = writer.state().recorded_at;
        writer.content(&Hub::new(feed::HUB), RepoId(26), None, now).await.unwrap();
        writer.flush().await.unwrap();
    }
    let all = log.read(None, PAGE_MAX).await.unwrap();
    let said = all.iter().filter(|r| r.kind == "repo_not_resolved" && r.payload.contains("\"repo_id\":26"));
    assert_eq!(said.count(), 2, "one for each architecture");
    log.close().await;
}
