//! What the cache keeps: what was interrupted, what is asked for at once, what goes when there is too much.

use koschei::koji::files::{CacheLimits, FetchError, Fetcher, Mirror, Trouble, quiet};
use koschei::model::{Class, Classified as _, RepoId};
use rstest::rstest;
use tempfile::tempdir;

use super::{World, base, files, names, write_generation};
use crate::files_server::{Fault, FileServer};
use crate::koji::files_fetch::settings;
use crate::tiny::{Pkg, pkg};

/// The connection breaks in the middle of primary in all attempts. The next fetch continues from
/// there.
#[tokio::test]
async fn an_interrupted_generation_is_gone_on_with() {
    let w = World::new().await;
    let many: Vec<Pkg> = (0..5000).map(|n| pkg(&format!("p{n}-1-1.noarch"))).collect();
    write_generation(&w.hub(), "t-build", 7, &many);
    let length = std::fs::metadata(w.hub().join("repos/t-build/7/x86_64/repodata/primary.xml")).unwrap().len();
    let arch = names(&["x86_64"]);
    let broken = [Fault::Cut(100_000), Fault::Status(500, ""), Fault::Status(500, ""), Fault::Status(500, "")];
    w.server.fault("primary.xml", broken);
    let error = w.mirror.fetch("t-build", RepoId(7), &arch, &quiet).await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { source: Trouble::Status(500), .. }), "{error:?}");
    assert_eq!(w.cached(), [""; 0]);
    // Like after a restart.
    let World { dir, server, mirror } = w;
    drop(mirror);
    server.forget_seen();
    let mirror = Mirror::new(&dir.path().join("cache"), &server.url, Fetcher::new(settings()).unwrap()).unwrap();
    mirror.fetch("t-build", RepoId(7), &arch, &quiet).await.unwrap();
    let primary: Vec<_> = server.seen().into_iter().filter(|s| s.path.ends_with("primary.xml")).collect();
    assert_eq!(primary.iter().map(|s| s.range.as_deref()).collect::<Vec<_>>(), [Some("bytes=100000-")]);
    assert!(mirror.fetcher().counts().bytes < length);
    let cache = files(&dir.path().join("cache"));
    assert!(cache.iter().all(|f| !f.contains(".part")), "{cache:?}");
}

/// A hub that was set up anew counts from 1 again. Nothing of the old hub gets into the new one's
/// repository.
#[tokio::test]
async fn what_was_begun_is_not_mixed_with_another_repository() {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    w.server.always("aarch64/repodata/primary.xml", || Fault::Status(500, ""));
    w.fetch(7).await.unwrap_err();
    w.server.heal();
    w.generation(7, "2");
    std::fs::write(hub.join("x86_64/pkglist"), "toplink/packages/base/2/1/noarch/base-2-1.noarch.rpm\n").unwrap();
    let repo = w.fetch(7).await.unwrap();
    for file in ["x86_64/pkglist", "x86_64/repodata/primary.xml", "aarch64/repodata/primary.xml"] {
        assert_eq!(std::fs::read(hub.join(file)).unwrap(), std::fs::read(repo.dir.join(file)).unwrap(), "{file}");
    }
}

/// Several callers want the same repository at once: it is fetched once, and all get the same
/// result.
#[rstest]
#[case::success(false)]
#[case::failure(true)]
#[tokio::test]
async fn the_same_at_once_is_fetched_once(#[case] fails: bool) {
    let dir = tempdir().unwrap();
    let hub = write_generation(&dir.path().join("hub"), "t-build", 7, &base("1"));
    if fails {
        std::fs::remove_file(hub.join("repo.json")).unwrap();
        std::fs::remove_dir_all(hub.join("x86_64")).unwrap();
    }
    let server = FileServer::gated(&dir.path().join("hub")).await;
    let fetcher = Fetcher::new(settings()).unwrap();
    let mirror = Mirror::new(&dir.path().join("cache"), &server.url, fetcher).unwrap();
    let arch = names(&["x86_64"]);
    let one = || mirror.fetch("t-build", RepoId(7), &arch, &quiet);
    let release = async {
        server.until_running(1).await;
        server.open(1000);
    };
    let (a, b, c, ()) = tokio::join!(one(), one(), one(), release);
    for result in [a, b, c] {
        assert_eq!(result.err().map(|e| e.is_gone()), fails.then_some(true));
    }
    assert_eq!((server.asked("repo.json"), server.asked("groups/comps.xml")), (1, 1));
    // The next caller fetches for itself.
    server.forget_seen();
    assert_eq!(one().await.is_err(), fails);
    assert_eq!(server.asked("repo.json"), usize::from(fails));
}

/// The fetching caller is stopped. The waiting caller fetches itself.
#[tokio::test]
async fn who_waits_takes_over() {
    let dir = tempdir().unwrap();
    write_generation(&dir.path().join("hub"), "t-build", 7, &base("1"));
    let server = FileServer::gated(&dir.path().join("hub")).await;
    let mirror = Mirror::new(&dir.path().join("cache"), &server.url, Fetcher::new(settings()).unwrap()).unwrap();
    let spawn = || {
        let mirror = mirror.clone();
        tokio::spawn(async move { mirror.fetch("t-build", RepoId(7), &names(&["x86_64"]), &quiet).await })
    };
    let first = spawn();
    server.until_running(1).await;
    let second = spawn();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    server.open(1000);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cache_serves_one() {
    let w = World::new().await;
    let again = Mirror::new(&w.cache(), &w.server.url, Fetcher::new(settings()).unwrap());
    assert!(matches!(again, Err(FetchError::InUse { .. })));
}

#[tokio::test]
async fn the_oldest_in_use_goes_last() {
    let limits = CacheLimits { generations_per_tag: 2, ..CacheLimits::default() };
    let w = World::with(limits).await;
    for id in 1..=6 {
        w.generation(id, &id.to_string());
    }
    write_generation(&w.hub(), "u-build", 9, &base("9"));
    std::fs::write(w.cache().join("buildrequires.jsonl"), "").unwrap();
    let ids = || {
        let cached = w.cached();
        let ids = cached.iter().filter_map(|f| f.strip_prefix("t-build/")?.split('/').next()?.parse::<i64>().ok());
        ids.collect::<Vec<_>>()
    };
    w.mirror.fetch("u-build", RepoId(9), &names(&["x86_64"]), &quiet).await.unwrap();
    let first = w.fetch(1).await.unwrap();
    w.fetch(2).await.unwrap();
    w.fetch(3).await.unwrap();
    assert_eq!(ids(), [1, 3], "the first is in use");
    let another = first.clone();
    drop(first);
    w.fetch(4).await.unwrap();
    assert_eq!(ids(), [1, 4], "a clone of it is");
    drop(another);
    w.fetch(4).await.unwrap();
    w.fetch(5).await.unwrap();
    assert_eq!(ids(), [4, 5]);
    // The last use counts, also over restarts.
    w.fetch(4).await.unwrap();
    let (server, dir) = (w.server, w.dir);
    drop(w.mirror);
    let fetcher = Fetcher::new(settings()).unwrap();
    let mirror = Mirror::with_limits(&dir.path().join("cache"), &server.url, fetcher, limits).unwrap();
    let w = World { dir, server, mirror };
    w.fetch(6).await.unwrap();
    let cached = w.cached();
    assert_eq!(cached, ["t-build/4/repo.json", "t-build/6/repo.json", "u-build/9/repo.json"]);
    assert!(w.cache().join("buildrequires.jsonl").is_file());
    assert!(!w.cache().join(".trash").read_dir().is_ok_and(|mut d| d.next().is_some()));
}

/// A file that two generations share counts once, and goes with the last of them.
#[tokio::test]
async fn bytes_are_bounded() {
    let w = World::new().await;
    let many: Vec<Pkg> = (0..2000).map(|n| pkg(&format!("p{n}-1-1.noarch"))).collect();
    for id in [1, 2] {
        write_generation(&w.hub(), "t-build", id, &many);
    }
    w.generation(3, "3");
    let arch = names(&["x86_64"]);
    let mut kept = Vec::new();
    for id in [1, 2, 3] {
        kept.push(w.mirror.fetch("t-build", RepoId(id), &arch, &quiet).await.unwrap());
    }
    let primary = std::fs::metadata(kept[0].dir.join("x86_64/repodata/primary.xml")).unwrap().len();
    let all = w.mirror.evict().await.unwrap();
    assert!(all.bytes > primary && all.bytes < primary * 3 / 2 && all.generations.is_empty(), "{all:?}");
    let (dir, server) = (w.dir, w.server);
    drop(w.mirror);
    let open = |bytes| {
        let limits = CacheLimits { bytes, ..CacheLimits::default() };
        Mirror::with_limits(&dir.path().join("cache"), &server.url, Fetcher::new(settings()).unwrap(), limits)
    };
    // Guards of a dropped mirror keep its lock.
    assert!(matches!(open(0), Err(FetchError::InUse { .. })));
    drop(kept);
    let mirror = open(primary).unwrap();
    let held = mirror.fetch("t-build", RepoId(2), &arch, &quiet).await.unwrap();
    let evicted = mirror.evict().await.unwrap();
    let ids: Vec<i64> = evicted.generations.iter().map(|(_, id)| id.0).collect();
    assert_eq!((ids, evicted.over), (vec![1, 3], true), "{evicted:?}");
    drop(held);
    let evicted = mirror.evict().await.unwrap();
    assert_eq!((evicted.generations.len(), evicted.over, evicted.bytes), (1, false, 0), "{evicted:?}");
}

/// A damaged repository is fetched again.
#[tokio::test]
async fn damaged_generations_go() {
    let w = World::new().await;
    w.generation(7, "1");
    let repo = w.fetch(7).await.unwrap();
    assert!(!w.mirror.forget("t-build", RepoId(7)).await.unwrap(), "it is in use");
    let primary = repo.dir.join("x86_64/repodata/primary.xml");
    drop(repo);
    assert!(w.mirror.forget("t-build", RepoId(7)).await.unwrap());
    assert!(!primary.exists());
    w.fetch(7).await.unwrap();
    // Missing and unreadable files are noticed without help.
    std::fs::remove_file(&primary).unwrap();
    w.fetch(7).await.unwrap();
    assert!(primary.is_file());
    std::fs::write(w.cache().join("repos/t-build/7/repo.json"), "{").unwrap();
    let repo = w.fetch(7).await.unwrap();
    assert_eq!(repo.create_event, Some(70));
    std::fs::remove_file(&primary).unwrap();
    let error = w.fetch(7).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "somebody uses it: {error}");
}
