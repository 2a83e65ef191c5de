//! What comes with a repository besides its packages, and that verdicts from the cache are those of the archive.

use std::collections::BTreeMap;

use koschei::buildroot::RepoResolver as _;
use koschei::buildroot::archive_resolver::ArchiveResolver;
use koschei::buildroot::repo_resolver::{OwnSources, Unit};
use koschei::buildroot::verdicts::UnitVerdicts;
use koschei::koji::Archive;
use koschei::koji::files::{FetchError, Fetcher, Mirror, SourceStore, quiet};
use koschei::model::{Class, Classified as _, Hub, Nvr, RepoId};
use koschei::repodata::SourcePackage;
use koschei::resolve::{Mode, ResolveOptions};
use rstest::rstest;
use tempfile::tempdir;

use super::{World, base, data, names, write_generation};
use crate::files_server::{FileServer, copy_dir};
use crate::koji::files_fetch::settings;
use crate::tiny::{MetaFile, Pkg, pkg, primary_xml, write_repo};

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
    let unit = Unit {
        collection: "t",
        hub: &hub,
        tag: "t-build",
        repo: repo.id,
        arch: "x86_64",
        group: "build",
        own,
        options,
    };
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
        let there = w.mirror.ensure_filelists(&repo, build.iter().copied()).await.unwrap();
        assert_eq!(there.contains("x86_64"), needed);
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
    assert!(w.mirror.ensure_filelists(&repo, ["make"]).await.unwrap().is_empty());
    let error = w.mirror.ensure_filelists(&repo, ["/usr/share/x"]).await.unwrap_err();
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
            let requirements = sources.iter().flat_map(|s| s.requires.iter().map(String::as_str));
            mirror.ensure_filelists(&repo, requirements).await.unwrap();
            for arch in &repo.arches {
                let (own, options) = (&OwnSources::default(), ResolveOptions::default());
                let unit = Unit { collection: "t", hub: &hub, tag: &tag, repo: id, arch, group: "build", own, options };
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
        let unit = Unit {
            collection: "t",
            hub: &hub,
            tag: "t-build",
            repo: repo.id,
            arch: "x86_64",
            group: "build",
            own,
            options,
        };
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
