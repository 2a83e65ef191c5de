//! A cache of a hub's repositories: what is fetched, what is not, and what happens when the hub
//! removes a repository in the middle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use koschei::buildroot::RepoResolver as _;
use koschei::buildroot::archive_resolver::ArchiveResolver;
use koschei::buildroot::repo_resolver::{OwnSources, Unit};
use koschei::buildroot::verdicts::UnitVerdicts;
use koschei::koji::Archive;
use koschei::koji::files::{CacheLimits, FetchError, Fetcher, Mirror, MirroredRepo, SourceStore, Trouble, quiet};
use koschei::model::{Class, Classified as _, Hub, Name, Nvr, RepoId};
use koschei::repodata::SourcePackage;
use koschei::resolve::{Mode, ResolveOptions};
use rstest::rstest;
use tempfile::{TempDir, tempdir};

use crate::files_server::{Fault, FileServer, copy_dir};
use crate::koji::files_fetch::settings;
use crate::tiny::{MetaFile, Pkg, pkg, primary_xml, write_repo};

const COMPS: &str = "<comps><group><id>build</id><packagelist><packagereq \
    type=\"mandatory\">base</packagereq></packagelist></group></comps>";

fn data(recording: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(recording)
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|n| Name::from(*n)).collect()
}

/// A hub's files in a directory of the test, a server for them, and a cache.
struct World {
    dir: TempDir,
    server: FileServer,
    mirror: Mirror,
}

/// Writes a repository of these packages for `x86_64` and one more architecture.
fn write_generation(top: &Path, tag: &str, id: i64, packages: &[Pkg]) -> PathBuf {
    let dir = top.join("repos").join(tag).join(id.to_string());
    for arch in ["x86_64", "aarch64"] {
        let primary = primary_xml(packages);
        let filelists = "<filelists></filelists>";
        let file = |kind, name, bytes| MetaFile { kind, name, bytes, open_size: None };
        let files = [
            file("primary", "primary.xml", primary.as_bytes()),
            file("group", "comps.xml", COMPS.as_bytes()),
            file("filelists", "filelists.xml", filelists.as_bytes()),
            file("other", "other.xml", b"<other/>"),
        ];
        write_repo(&dir.join(arch), &files);
        let list = format!("toplink/packages/base/1/1/{arch}/base-1-1.{arch}.rpm\n");
        std::fs::write(dir.join(arch).join("pkglist"), list).unwrap();
        std::fs::write(dir.join(arch).join("rpmlist.jsonl"), "").unwrap();
    }
    std::fs::create_dir_all(dir.join("groups")).unwrap();
    std::fs::write(dir.join("groups/comps.xml"), COMPS).unwrap();
    let json = format!("{{\"id\": {id}, \"tag\": \"{tag}\", \"event_id\": {}}}", id * 10);
    std::fs::write(dir.join("repo.json"), json).unwrap();
    dir
}

fn base(version: &str) -> Vec<Pkg> {
    vec![pkg(&format!("base-{version}-1.noarch"))]
}

impl World {
    async fn new() -> Self {
        Self::with(CacheLimits::default()).await
    }

    async fn with(limits: CacheLimits) -> Self {
        let dir = tempdir().unwrap();
        std::fs::create_dir(dir.path().join("hub")).unwrap();
        let server = FileServer::start(&dir.path().join("hub")).await;
        let fetcher = Fetcher::new(settings()).unwrap();
        let mirror = Mirror::with_limits(&dir.path().join("cache"), &server.url, fetcher, limits).unwrap();
        Self { dir, server, mirror }
    }

    fn hub(&self) -> PathBuf {
        self.dir.path().join("hub")
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn generation(&self, id: i64, version: &str) -> PathBuf {
        write_generation(&self.hub(), "t-build", id, &base(version))
    }

    async fn fetch(&self, id: i64) -> Result<MirroredRepo, FetchError> {
        self.mirror.fetch("t-build", RepoId(id), &names(&["x86_64", "aarch64"]), &quiet).await
    }

    /// Returns the generations that are visible in the cache.
    fn cached(&self) -> Vec<String> {
        files(&self.cache().join("repos")).into_iter().filter(|f| f.ends_with("/repo.json")).collect()
    }

    /// Returns the files that are being fetched.
    fn incoming(&self) -> Vec<String> {
        files(&self.cache().join(".incoming")).into_iter().filter(|f| f != "lock").collect()
    }
}

/// Returns all files below a directory.
fn files(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() { walk(&entry.path(), &format!("{name}/"), found) } else { found.push(name) }
        }
    }
    let mut found = Vec::new();
    walk(dir, "", &mut found);
    found.sort();
    found
}

#[tokio::test]
async fn only_what_is_needed_comes() {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    let told = Mutex::new(Vec::new());
    let arches = names(&["aarch64", "i686", "x86_64"]);
    let on_progress = |p: &koschei::koji::files::MirrorProgress| told.lock().unwrap().push((p.files, p.bytes));
    let repo = w.mirror.fetch("t-build", RepoId(7), &arches, &on_progress).await.unwrap();
    assert_eq!(
        (repo.create_event, repo.arches, repo.absent),
        (Some(70), names(&["aarch64", "x86_64"]), names(&["i386"]))
    );
    let mut expected: Vec<String> = files(&hub);
    expected.retain(|f| !f.ends_with("filelists.xml") && !f.ends_with("other.xml"));
    let mut got = files(&repo.dir);
    got.retain(|f| !f.starts_with('.'));
    assert_eq!(got, expected);
    for file in &got {
        assert_eq!(std::fs::read(hub.join(file)).unwrap(), std::fs::read(repo.dir.join(file)).unwrap(), "{file}");
    }
    assert_eq!(repo.dir, w.cache().join("repos/t-build/7"));
    assert_eq!(w.incoming(), [""; 0]);
    let told = told.into_inner().unwrap();
    let (count, bytes) = *told.last().unwrap();
    let sizes = got.iter().map(|f| std::fs::metadata(hub.join(f)).unwrap().len());
    assert_eq!((count, bytes, told.len()), (got.len() as u64, sizes.sum(), got.len()));
    // Both architectures have the same files here. One of each or both were fetched, and nothing
    // else.
    assert!(w.server.seen().iter().all(|s| !s.path.contains("other") && !s.path.contains("filelists")));
    // The repository is in the cache now.
    w.server.forget_seen();
    assert_eq!(w.fetch(7).await.unwrap().absent, names(&[]));
    assert_eq!(w.server.seen(), []);
}

/// The next generation has the same packages: they are linked, not downloaded.
#[tokio::test]
async fn what_another_generation_has_is_not_fetched_again() {
    let w = World::new().await;
    for (tag, id, version) in [("t-build", 1, "1"), ("t-build", 2, "1"), ("u-build", 3, "1"), ("t-build", 4, "2")] {
        write_generation(&w.hub(), tag, id, &base(version));
    }
    let arch = names(&["x86_64"]);
    let first = w.mirror.fetch("t-build", RepoId(1), &arch, &quiet).await.unwrap();
    for (tag, id, new) in [("t-build", 2, 0), ("u-build", 3, 0), ("t-build", 4, 1)] {
        w.server.forget_seen();
        let repo = w.mirror.fetch(tag, RepoId(id), &arch, &quiet).await.unwrap();
        assert_eq!((w.server.asked("primary.xml"), w.server.asked("comps.xml")), (new, 1), "{tag} {id}");
        let hub = w.hub().join("repos").join(tag).join(id.to_string());
        for file in ["x86_64/repodata/primary.xml", "x86_64/repodata/comps.xml"] {
            assert_eq!(std::fs::read(hub.join(file)).unwrap(), std::fs::read(repo.dir.join(file)).unwrap());
        }
    }
    assert_eq!(w.mirror.fetcher().counts().reused, 5);
    // A file that is damaged in the cache is not reused.
    let damaged = first.dir.join("x86_64/repodata/primary.xml");
    std::fs::write(&damaged, std::fs::read_to_string(&damaged).unwrap().replace("base", "bose")).unwrap();
    write_generation(&w.hub(), "t-build", 5, &base("1"));
    w.server.forget_seen();
    let repo = w.mirror.fetch("t-build", RepoId(5), &arch, &quiet).await.unwrap();
    assert_eq!(w.server.asked("primary.xml"), 1);
    assert!(std::fs::read_to_string(repo.dir.join("x86_64/repodata/primary.xml")).unwrap().contains("base"));
}

/// A tag without architectures: the repository is ready and empty.
#[tokio::test]
async fn a_repository_without_architectures_is_a_result() {
    let w = World::new().await;
    let dir = w.generation(7, "1");
    for arch in ["x86_64", "aarch64"] {
        std::fs::remove_dir_all(dir.join(arch)).unwrap();
    }
    let repo = w.fetch(7).await.unwrap();
    assert_eq!((repo.create_event, repo.arches.len(), repo.absent.len()), (Some(70), 0, 2));
    assert_eq!(w.mirror.fetch("t-build", RepoId(7), &[], &quiet).await.unwrap().absent.len(), 0);
}

#[tokio::test]
async fn an_architecture_more_is_fetched_later() {
    let w = World::new().await;
    w.generation(7, "1");
    let one = w.mirror.fetch("t-build", RepoId(7), &names(&["x86_64"]), &quiet).await.unwrap();
    assert_eq!(one.arches, names(&["x86_64"]));
    w.server.forget_seen();
    let both = w.fetch(7).await.unwrap();
    assert_eq!((both.arches, both.dir), (names(&["aarch64", "x86_64"]), one.dir));
    assert_eq!(w.server.asked("x86_64/pkglist"), 0);
    assert_eq!(w.incoming(), [""; 0]);
}

#[tokio::test]
async fn a_repository_that_is_not_there() {
    let w = World::new().await;
    w.generation(7, "1");
    let error = w.fetch(8).await.unwrap_err();
    assert!(matches!(&error, FetchError::Gone { repo: RepoId(8), what, .. } if what == "repo.json"), "{error:?}");
    assert_eq!(error.class(), Class::Rejected);
    assert_eq!((w.cached(), w.incoming()), (vec![], vec![]));
}

/// Koji removes repositories without a message. Whatever is gone first, no part of it counts as a
/// repository.
#[rstest]
#[case::before_the_index("x86_64/repodata/repomd.xml")]
#[case::before_primary("x86_64/repodata/primary.xml")]
#[case::before_the_groups("aarch64/repodata/comps.xml")]
#[case::before_the_lists("aarch64/pkglist")]
#[case::before_the_tags_groups("groups/comps.xml")]
#[tokio::test]
async fn a_repository_deleted_in_the_middle(#[case] at: &str) {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    let gone = hub.clone();
    w.server.fault(at, [Fault::Before(Box::new(move || std::fs::remove_dir_all(gone).unwrap()))]);
    let error = w.fetch(7).await.unwrap_err();
    assert!(error.is_gone(), "{error:?}");
    assert_eq!((w.cached(), w.incoming()), (vec![], vec![]));
}

/// The files of a directory that is being removed disappear in any order.
#[rstest]
#[case("x86_64/pkglist")]
#[case("x86_64/repodata/repomd.xml")]
#[case("x86_64/repodata/primary.xml")]
#[case("x86_64/repodata/comps.xml")]
#[tokio::test]
async fn a_repository_half_deleted(#[case] missing: &str) {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    std::fs::remove_file(hub.join(missing)).unwrap();
    let error = w.fetch(7).await.unwrap_err();
    assert!(matches!(&error, FetchError::Gone { what, .. } if what == missing), "{error:?}");
    assert_eq!((w.cached(), w.incoming()), (vec![], vec![]));
}

/// Older hubs write no repo.json; some write no rpmlist.jsonl or blocklist.
#[tokio::test]
async fn what_older_hubs_do_not_write() {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    std::fs::remove_file(hub.join("repo.json")).unwrap();
    std::fs::remove_file(hub.join("groups/comps.xml")).unwrap();
    std::fs::remove_file(hub.join("x86_64/rpmlist.jsonl")).unwrap();
    let repo = w.fetch(7).await.unwrap();
    assert_eq!((repo.create_event, repo.arches.len()), (None, 2));
    assert!(repo.dir.join("x86_64/repodata/comps.xml").is_file());
}

#[tokio::test]
async fn another_repository_in_its_place() {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    std::fs::write(hub.join("repo.json"), "{\"id\": 9, \"tag\": \"t-build\", \"event_id\": 1}").unwrap();
    assert!(matches!(w.fetch(7).await.unwrap_err(), FetchError::OtherRepo { found: 9, .. }));
    std::fs::write(hub.join("repo.json"), "<html>").unwrap();
    assert!(matches!(w.fetch(7).await.unwrap_err(), FetchError::Metadata(_)));
    assert_eq!(w.cached(), [""; 0]);
    w.generation(7, "1");
    w.fetch(7).await.unwrap();
}

#[rstest]
#[case("../x")]
#[case("..")]
#[case("a/b")]
#[case("")]
#[tokio::test]
async fn names_that_lead_elsewhere(#[case] name: &str) {
    let w = World::new().await;
    w.generation(7, "1");
    let error = w.mirror.fetch(name, RepoId(7), &[], &quiet).await.unwrap_err();
    assert!(matches!(error, FetchError::NotAName { .. }), "{error:?}");
    let error = w.mirror.fetch("t-build", RepoId(7), &names(&[name]), &quiet).await.unwrap_err();
    assert!(matches!(error, FetchError::NotAName { .. }), "{error:?}");
    assert_eq!(w.server.seen(), []);
}

/// An index that names a file outside its repository.
#[tokio::test]
async fn an_index_that_leads_elsewhere() {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    let index = hub.join("x86_64/repodata/repomd.xml");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("repodata/primary.xml", "../../../../secret")).unwrap();
    std::fs::write(w.hub().join("secret"), "x").unwrap();
    assert!(matches!(w.fetch(7).await.unwrap_err(), FetchError::NotAName { .. }));
    assert_eq!(w.server.asked("secret"), 0);
}

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

/// D18: an unknown source gives no verdict. Once it becomes known, it counts, in the archive that
/// is already open.
#[tokio::test]
async fn d18_sources_that_are_learnt_later() {
    let w = World::new().await;
    w.generation(7, "1");
    let repo = w.fetch(7).await.unwrap();
    let hub = Hub::new("primary");
    let store = SourceStore::open(&w.cache().join("buildrequires.jsonl")).unwrap();
    let archive = Archive::open_with(&w.cache(), hub.clone(), store.clone()).unwrap();
    let resolver = ArchiveResolver::new(archive, Mode::Two, 1);
    let own = &OwnSources::default();
    let options = ResolveOptions::default();
    let unit = Unit { hub: &hub, tag: "t-build", repo: repo.id, arch: "x86_64", group: "build", own, options };
    assert_eq!(resolver.resolve(&unit).unwrap().counts(), [0, 0, 0, 1]);
    let nvr = Nvr::parse("base-1-1").unwrap();
    let none: [(&str, &str, u64); 0] = [];
    SourcePackage::from_hub(nvr.clone(), None, &none, vec![], vec![], vec![]).unwrap_err();
    assert_eq!(resolver.resolve(&unit).unwrap().counts(), [0, 0, 0, 1]);
    let rpm = [("rpmlib(FileDigests)", "4.6.0-1", 16_777_226)];
    store.add(vec![SourcePackage::from_hub(nvr, None, &rpm, vec![], vec![], vec![]).unwrap()]).unwrap();
    assert_eq!(resolver.resolve(&unit).unwrap().counts(), [1, 0, 0, 0]);
}

#[rstest]
#[case::nobody_asks(&[], &[], false)]
#[case::in_primary(&["/usr/bin/x", "/etc/x"], &[], false)]
#[case::required_for_a_build(&["/usr/share/x"], &[], true)]
#[case::required_in_the_repository(&[], &["/usr/share/x"], true)]
#[case::in_a_rich_dependency(&[], &["(a if /usr/lib/x)"], true)]
#[tokio::test]
async fn file_lists_where_they_are_needed(#[case] build: &[&str], #[case] package: &[&str], #[case] needed: bool) {
    let w = World::new().await;
    let packages = [base("1"), vec![pkg("user-1-1.noarch").requires(package)]].concat();
    write_generation(&w.hub(), "t-build", 7, &packages);
    let repo = w.fetch(7).await.unwrap();
    for _ in 0..2 {
        assert_eq!(w.mirror.ensure_filelists(&repo, "x86_64", build.iter().copied()).await.unwrap(), needed);
        assert_eq!(w.server.asked("filelists.xml"), usize::from(needed));
    }
    // The reader's own view of the files that are there.
    let dir = koschei::repodata::RepoDir::open(repo.dir.join("x86_64")).unwrap();
    dir.load(build.iter().copied()).unwrap();
    assert_eq!(repo.dir.join("x86_64/repodata/filelists.xml").exists(), needed);
    // The tag's next generation gets them from the start. The same file needs no further request.
    write_generation(&w.hub(), "t-build", 8, &packages);
    let next = w.fetch(8).await.unwrap();
    assert_eq!(next.dir.join("x86_64/repodata/filelists.xml").exists(), needed);
    assert_eq!(w.server.asked("filelists.xml"), usize::from(needed));
}

#[tokio::test]
async fn file_lists_of_a_deleted_repository() {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    let repo = w.fetch(7).await.unwrap();
    std::fs::remove_dir_all(hub).unwrap();
    assert!(!w.mirror.ensure_filelists(&repo, "x86_64", ["make"]).await.unwrap());
    let error = w.mirror.ensure_filelists(&repo, "x86_64", ["/usr/share/x"]).await.unwrap_err();
    assert!(error.is_gone(), "{error:?}");
}

/// From a mounted disk: small files are copied, large ones linked, none changed, and no HTTP is
/// used.
#[rstest]
#[case::path("")]
#[case::url("file://")]
#[tokio::test]
async fn from_a_mounted_disk(#[case] scheme: &str) {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempdir().unwrap();
    let hub = dir.path().join("hub");
    let many: Vec<Pkg> = (0..8000).map(|n| pkg(&format!("p{n}-1-1.noarch"))).collect();
    let from = write_generation(&hub, "t-build", 7, &many);
    let topurl = format!("{scheme}{}", hub.display());
    let mirror = Mirror::new(&dir.path().join("cache"), &topurl, Fetcher::new(settings()).unwrap()).unwrap();
    let repo = mirror.fetch("t-build", RepoId(7), &names(&["x86_64", "s390x"]), &quiet).await.unwrap();
    assert_eq!((repo.arches.clone(), repo.absent.clone()), (names(&["x86_64"]), names(&["s390x"])));
    for (file, linked) in
        [("x86_64/repodata/primary.xml", true), ("x86_64/repodata/repomd.xml", false), ("repo.json", false)]
    {
        let (a, b) = (std::fs::metadata(from.join(file)).unwrap(), std::fs::metadata(repo.dir.join(file)).unwrap());
        assert_eq!((a.ino() == b.ino(), a.len()), (linked, b.len()), "{file}");
    }
    assert_eq!(mirror.fetcher().counts().requests, 0);
    // A damaged file on the disk.
    let other = write_generation(&hub, "t-build", 8, &base("1"));
    let primary = other.join("x86_64/repodata/primary.xml");
    std::fs::write(&primary, std::fs::read_to_string(&primary).unwrap().replace("base", "bose")).unwrap();
    let error = mirror.fetch("t-build", RepoId(8), &names(&["x86_64"]), &quiet).await.unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error:?}");
    assert!(mirror.fetch("t-build", RepoId(9), &[], &quiet).await.unwrap_err().is_gone());
    // An unmounted disk says nothing about the repository.
    std::fs::rename(&hub, dir.path().join("away")).unwrap();
    let error = mirror.fetch("t-build", RepoId(9), &[], &quiet).await.unwrap_err();
    assert!(!error.is_gone() && error.class() == Class::Unavailable, "{error:?}");
}

/// Verdicts from recorded repositories, served and fetched through the cache, equal those from the
/// recording itself, byte for byte.
#[rstest]
#[case::koji("koji")]
#[case::external("koji-external")]
#[tokio::test]
async fn verdicts_from_the_cache_are_those_of_the_archive(#[case] recording: &str) {
    let hub = Hub::new("primary");
    let dir = tempdir().unwrap();
    // Serve a copy, so that nothing unserved can be used.
    copy_dir(&data(recording).join("repos"), &dir.path().join("hub/repos"));
    let server = FileServer::start(&dir.path().join("hub")).await;
    let cache = dir.path().join("cache");
    let mirror = Mirror::new(&cache, &server.url, Fetcher::new(settings()).unwrap()).unwrap();
    let store = SourceStore::open(&cache.join("buildrequires.jsonl")).unwrap();
    let recorded = ArchiveResolver::new(Archive::open(&data(recording), hub.clone()).unwrap(), Mode::Two, 1);
    // Opened while it is still empty, like in a service.
    let archive = Archive::open_with(&cache, hub.clone(), store.clone()).unwrap();
    let cached = ArchiveResolver::new(archive, Mode::Two, 1);
    let sources = SourcePackage::load_all(&data(recording).join("buildrequires.jsonl")).unwrap();
    store.add(sources.clone()).unwrap();
    let mut units = BTreeMap::new();
    for tag in std::fs::read_dir(data(recording).join("repos")).unwrap().filter_map(Result::ok) {
        let Ok(generations) = std::fs::read_dir(tag.path()) else { continue };
        let tag = tag.file_name().into_string().unwrap();
        for id in generations {
            let id = RepoId(id.unwrap().file_name().to_str().unwrap().parse().unwrap());
            let arches = names(&["x86_64", "aarch64", "i686"]);
            let repo = mirror.fetch(&tag, id, &arches, &quiet).await.unwrap();
            let seen = recorded.repo(&hub, &tag, id);
            assert_eq!((repo.create_event, Some(repo.arches.clone())), (seen.create_event, seen.arches), "{tag} {id}");
            assert_eq!(cached.repo(&hub, &tag, id), recorded.repo(&hub, &tag, id));
            for arch in &repo.arches {
                let requirements = sources.iter().flat_map(|s| s.requires.iter().map(String::as_str));
                mirror.ensure_filelists(&repo, arch, requirements).await.unwrap();
                let (own, options) = (&OwnSources::default(), ResolveOptions::default());
                let unit = Unit { hub: &hub, tag: &tag, repo: id, arch, group: "build", own, options };
                let (found, expected) = (cached.resolve(&unit), recorded.resolve(&unit));
                let digest = |v: UnitVerdicts| blake3::hash(&v.to_bytes()).to_hex();
                if let Ok(found) = &found {
                    units.insert((tag.clone(), id, arch.clone()), found.counts());
                }
                assert_eq!(found.map(digest), expected.map(digest), "{tag} {id} {arch}");
            }
        }
    }
    assert!(units.len() >= 10 && units.values().all(|counts| counts[0] > 40), "{units:?}");
    let counts = mirror.fetcher().counts();
    assert!(counts.reused > 0 && counts.retries == 0, "{counts:?}");
}

/// D33: a collection's repository is deleted. It cannot be fetched any more, but who has it keeps
/// it.
#[tokio::test]
async fn d33_a_deleted_repository_stays_where_it_is() {
    let w = World::new().await;
    let hub = w.generation(7, "1");
    drop(w.fetch(7).await.unwrap());
    std::fs::remove_dir_all(hub).unwrap();
    w.server.forget_seen();
    let repo = w.fetch(7).await.unwrap();
    assert_eq!((repo.arches.len(), w.server.seen().len()), (2, 0));
    let error = w.mirror.fetch("t-build", RepoId(7), &names(&["s390x"]), &quiet).await.unwrap_err();
    assert!(error.is_gone(), "{error:?}");
    assert_eq!(w.fetch(7).await.unwrap().arches.len(), 2, "what is there is not touched");
}

/// Sizes in the index are hints. The groups in the metadata are not needed if Koji's own ones are
/// there. A generation that is wrong in both is mirrored, and needs no repair the second time.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_sizes_and_wrong_groups() {
    let w = World::new().await;
    let dir = w.generation(7, "1");
    for arch in ["x86_64", "aarch64"] {
        let path = dir.join(arch).join("repodata/repomd.xml");
        let repomd = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, repomd.replace("</data>", "<size>3</size><open-size>1</open-size></data>")).unwrap();
        std::fs::write(dir.join(arch).join("repodata/comps.xml"), "<other/>").unwrap();
    }
    let repo = w.fetch(7).await.unwrap();
    let content = koschei::repodata::RepoDir::open(repo.dir.join("x86_64")).unwrap().load([]).unwrap();
    assert_eq!(content.packages().len(), 1);
    let asked = w.server.asked("primary.xml");
    w.fetch(7).await.unwrap();
    assert_eq!(w.server.asked("primary.xml"), asked);
    std::fs::remove_file(dir.join("groups/comps.xml")).unwrap();
    std::fs::rename(&dir, w.hub().join("repos/t-build/8")).unwrap();
    let json = "{\"id\": 8, \"tag\": \"t-build\", \"event_id\": 80}";
    std::fs::write(w.hub().join("repos/t-build/8/repo.json"), json).unwrap();
    let error = w.fetch(8).await.unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "there are no others: {error:?}");
}

/// The modules file is fetched too. It is required for a complete architecture, and counts like in
/// the repository itself.
#[tokio::test]
async fn modules_come_along() {
    let w = World::new().await;
    let dir = w.generation(7, "1");
    let packages = [base("1"), base("2")].concat();
    let (primary, modules) = (
        primary_xml(&packages),
        "---\ndocument: modulemd\nversion: 2\ndata: {name: m, stream: s, version: 1, context: c, artifacts: {rpms: \
            [\"base-0:2-1.noarch\"]}}\n...\n",
    );
    let file = |kind, name, bytes| MetaFile { kind, name, bytes, open_size: None };
    let files =
        [file("primary", "primary.xml", primary.as_bytes()), file("modules", "modules.yaml", modules.as_bytes())];
    ["x86_64", "aarch64"].iter().for_each(|arch| write_repo(&dir.join(arch), &files));
    let repo = w.fetch(7).await.unwrap();
    let here = repo.dir.join("x86_64/repodata/modules.yaml");
    assert_eq!(std::fs::read_to_string(&here).unwrap(), modules);
    let hub = Hub::new("primary");
    let group = |options: ResolveOptions| {
        let resolver = ArchiveResolver::new(Archive::open(&w.cache(), hub.clone()).unwrap(), Mode::Two, 1);
        let own = &OwnSources::default();
        let unit = Unit { hub: &hub, tag: "t-build", repo: repo.id, arch: "x86_64", group: "build", own, options };
        resolver.resolve(&unit).unwrap().packages
    };
    assert_eq!(group(ResolveOptions::default()), ["base-0:1-1.noarch"]);
    let hotfixes = ResolveOptions { module_hotfixes: true, ..ResolveOptions::default() };
    assert_eq!(group(hotfixes), ["base-0:2-1.noarch"]);
    drop(repo);
    std::fs::remove_file(&here).unwrap();
    let again = w.fetch(7).await.unwrap();
    assert_eq!(std::fs::read_to_string(again.dir.join("x86_64/repodata/modules.yaml")).unwrap(), modules);
}
