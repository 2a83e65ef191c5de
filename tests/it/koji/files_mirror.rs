//! A cache of a hub's repositories: what is fetched, what is not, and what happens when the hub
//! removes a repository in the middle.

mod cache;
mod contents;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use koschei::koji::files::{CacheLimits, FetchError, Fetcher, Mirror, MirroredRepo, quiet};
use koschei::model::{Class, Classified as _, Name, RepoId};
use rstest::rstest;
use tempfile::{TempDir, tempdir};

use crate::files_server::{Fault, FileServer};
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
