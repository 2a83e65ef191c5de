//! Requirements of source packages: from their own files on a server, from a repository of sources,
//! and into the store.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use koschei::koji::SourcePackages;
use koschei::koji::files::{FetchError, FetchSettings, Fetcher, Mirror, SourceStore, quiet};
use koschei::model::{Class, Classified as _, Name, Nvr, RepoId};
use koschei::repodata::{SourceHeader, SourcePackage, SrpmError};
use rstest::rstest;
use tempfile::{TempDir, tempdir};

use crate::files_server::{Fault, FileServer};
use crate::koji::files_fetch::settings;
use crate::tiny::{MetaFile, pkg, primary_xml, write_repo};

const SPECIMEN: &str = "specimen-1.0~rc1-2.fc99";
const PLAIN: &str = "plain-7-1";

fn specimen() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/srpm/{SPECIMEN}.src.rpm"))).unwrap()
}

fn nvr(text: &str) -> Nvr {
    Nvr::parse(text).unwrap()
}

fn place(nvr: &Nvr, arch: &str) -> String {
    format!("packages/{}/{}/{}/{arch}/{nvr}.{arch}.rpm", nvr.name, nvr.version, nvr.release)
}

struct World {
    dir: TempDir,
    server: FileServer,
    mirror: Mirror,
}

impl World {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: FetchSettings) -> Self {
        let dir = tempdir().unwrap();
        let hub = dir.path().join("hub");
        std::fs::create_dir(&hub).unwrap();
        let server = FileServer::start(&hub).await;
        let mirror = Mirror::new(&dir.path().join("cache"), &server.url, Fetcher::new(settings).unwrap()).unwrap();
        Self { dir, server, mirror }
    }

    fn hub(&self) -> PathBuf {
        self.dir.path().join("hub")
    }

    fn put(&self, package: &str, arch: &str, bytes: &[u8]) {
        let path = self.hub().join(place(&nvr(package), arch));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn store(&self) -> SourceStore {
        SourceStore::open(&self.dir.path().join("cache/buildrequires.jsonl")).unwrap()
    }

    fn ranges(&self) -> Vec<(Option<String>, u16)> {
        self.server.seen().into_iter().map(|s| (s.range, s.status)).collect()
    }
}

fn range(text: &str) -> Option<String> {
    Some(format!("bytes={text}"))
}

/// Returns a package whose header has this many kilobytes, filled with a tag that nobody reads. The
/// payload does not count.
fn with_header(kilobytes: usize) -> Vec<u8> {
    // Lead, then an empty signature, then the specimen's header with a further tag of binary data.
    let whole = specimen();
    let number = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    let signature = 96 + 16 + number(96 + 8) * 16 + number(96 + 12);
    let at = signature.next_multiple_of(8);
    let (tags, data) = (number(at + 8), number(at + 12));
    let (index, values) = (at + 16, at + 16 + tags * 16);
    let fill = vec![0x55; kilobytes << 10];
    let be = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
    let mut bytes = whole[..at].to_vec();
    bytes.extend(&whole[at..at + 8]);
    bytes.extend([be(tags + 1), be(data + fill.len())].concat());
    bytes.extend(&whole[index..values]);
    // Number, type (binary), offset, count.
    bytes.extend([be(999_999), be(7), be(data), be(fill.len())].concat());
    bytes.extend(&whole[values..values + data]);
    bytes.extend(fill);
    bytes.extend(vec![0xaa; 300_000]);
    bytes
}

#[tokio::test]
async fn a_header_by_ranges() {
    let w = World::new().await;
    w.put(SPECIMEN, "src", &specimen());
    let package = w.mirror.header(&nvr(SPECIMEN)).await.unwrap();
    let expected = SourcePackage::from_header(SourceHeader::read(specimen().as_slice(), "x").unwrap());
    assert_eq!(package, expected);
    assert!(package.requires.len() > 3 && package.epoch == Some(3), "{package:?}");
    assert_eq!(w.ranges(), [(range("0-65535"), 206)]);
}

/// The first request is a guess. The second one asks for exactly the missing bytes.
#[tokio::test]
async fn a_long_header_needs_one_more_range() {
    let w = World::new().await;
    let bytes = with_header(200);
    w.put(SPECIMEN, "src", &bytes);
    let package = w.mirror.header(&nvr(SPECIMEN)).await.unwrap();
    let needed = bytes.len() - 300_000;
    assert_eq!(w.ranges(), [(range("0-65535"), 206), (range(&format!("65536-{}", needed - 1)), 206)]);
    assert_eq!(w.mirror.fetcher().counts().bytes, needed as u64);
    assert_eq!(package.requires, w.mirror.header(&nvr(SPECIMEN)).await.unwrap().requires);
}

/// A server without ranges sends the whole file. No more of it is read than is needed.
#[rstest]
#[case::short(0)]
#[case::long(200)]
#[tokio::test]
async fn a_server_without_ranges(#[case] kilobytes: usize) {
    let w = World::new().await;
    let mut bytes = with_header(kilobytes);
    bytes.extend(vec![0; 30 << 20]);
    w.put(SPECIMEN, "src", &bytes);
    w.server.always(".src.rpm", || Fault::NoRange);
    w.mirror.header(&nvr(SPECIMEN)).await.unwrap();
    assert_eq!(w.ranges(), [(range("0-65535"), 200)]);
    assert!(w.mirror.fetcher().counts().bytes < 2 << 20, "{:?}", w.mirror.fetcher().counts());
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_again() {
    let w = World::new().await;
    w.put(SPECIMEN, "src", &with_header(200));
    w.server.fault(".src.rpm", [Fault::Cut(1000), Fault::Status(500, ""), Fault::Cut(10)]);
    w.mirror.header(&nvr(SPECIMEN)).await.unwrap();
    assert_eq!(w.ranges()[1], (range("1000-65535"), 500));
}

/// The file has changed when the rest is requested.
#[tokio::test]
async fn a_package_that_changes_in_the_middle() {
    let w = World::new().await;
    w.put(SPECIMEN, "src", &with_header(200));
    let (path, bytes) = (w.hub().join(place(&nvr(SPECIMEN), "src")), with_header(300));
    let swap = Box::new(move || std::fs::write(path, bytes).unwrap());
    w.server.fault(".src.rpm", [Fault::Cut(1000), Fault::Before(swap)]);
    w.mirror.header(&nvr(SPECIMEN)).await.unwrap();
    assert_eq!(w.ranges().iter().map(|r| r.1).collect::<Vec<_>>(), [206, 200], "all of the new one");
}

/// D18: a missing file is an error for every caller, and nothing is stored for it.
#[rstest]
#[case::missing(404, Class::Rejected)]
#[case::gone(410, Class::Rejected)]
#[case::refused(403, Class::Rejected)]
#[case::away(503, Class::Unavailable)]
#[tokio::test]
async fn d18_a_missing_source_package_is_not_one_without_requirements(#[case] status: u16, #[case] class: Class) {
    let w = World::new().await;
    w.put(PLAIN, "src", &specimen());
    w.put(SPECIMEN, "src", &specimen());
    for _ in 0..2 {
        w.server.fault(&place(&nvr(PLAIN), "src"), (0..4).map(|_| Fault::Status(status, "")));
    }
    let error = w.mirror.header(&nvr(PLAIN)).await.unwrap_err();
    assert_eq!((error.class(), error.is_not_found()), (class, matches!(status, 404 | 410)), "{error}");
    let store = w.store();
    let filled = w.mirror.fill(&store, [nvr(PLAIN), nvr(SPECIMEN)], &|_, _| ()).await.unwrap();
    assert_eq!((filled.added, filled.failed.len(), filled.left.len()), (1, 1, 0), "{filled:?}");
    assert_eq!((filled.failed[0].0.clone(), store.get(&nvr(PLAIN))), (nvr(PLAIN), None));
    assert_eq!(store.missing([nvr(PLAIN), nvr(SPECIMEN)]), [nvr(PLAIN)]);
    let path = store.path().to_owned();
    drop(store);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("plain") && text.lines().count() == 1, "{text}");
    assert_eq!(SourcePackages::load(&path).unwrap().iter().len(), 1);
}

#[tokio::test]
async fn packages_without_sources_have_another_name() {
    let w = World::new().await;
    w.put(SPECIMEN, "nosrc", &specimen());
    w.mirror.header(&nvr(SPECIMEN)).await.unwrap();
    assert_eq!(w.server.seen().iter().map(|s| s.status).collect::<Vec<_>>(), [404, 206]);
    let error = w.mirror.header(&nvr(PLAIN)).await.unwrap_err();
    assert!(matches!(&error, FetchError::NotFound { from } if from.ends_with("plain-7-1.src.rpm")), "{error:?}");
}

#[rstest]
#[case::html(b"<html>no such package</html>".to_vec(), "not an RPM package")]
#[case::empty(vec![], "ends after 0 bytes")]
#[case::cut(specimen()[..1500].to_vec(), "ends after 1500 bytes")]
#[case::damaged({ let mut b = specimen(); b[96] ^= 1; b }, "damaged")]
#[tokio::test]
async fn what_is_no_source_package(#[case] bytes: Vec<u8>, #[case] why: &str) {
    let w = World::new().await;
    w.put(SPECIMEN, "src", &bytes);
    let error = w.mirror.header(&nvr(SPECIMEN)).await.unwrap_err();
    assert!(matches!(error, FetchError::Header(_)) && error.to_string().contains(why), "{error:?}");
    assert_eq!((error.class(), w.server.seen().len()), (Class::Rejected, 1));
}

#[tokio::test]
async fn another_package_in_its_place() {
    let w = World::new().await;
    w.put(PLAIN, "src", &specimen());
    let error = w.mirror.header(&nvr(PLAIN)).await.unwrap_err();
    assert!(matches!(&error, FetchError::OtherPackage { found, .. } if *found == nvr(SPECIMEN)), "{error:?}");
}

/// A header that claims an impossible length, and a body without end.
#[tokio::test]
async fn headers_are_bounded() {
    let w = World::new().await;
    let mut bytes = specimen();
    bytes[96 + 12..96 + 16].copy_from_slice(&(200_u32 << 20).to_be_bytes());
    w.put(SPECIMEN, "src", &bytes);
    let error = w.mirror.header(&nvr(SPECIMEN)).await.unwrap_err();
    assert!(matches!(error, FetchError::Header(SrpmError::TooLarge { .. })), "{error:?}");
    w.server.always(".src.rpm", || Fault::Endless);
    let error = w.mirror.header(&nvr(SPECIMEN)).await.unwrap_err();
    assert!(matches!(error, FetchError::Header(SrpmError::NotAPackage { .. })), "{error:?}");
    assert!(w.mirror.fetcher().counts().bytes < 1 << 20);
}

#[tokio::test]
async fn headers_on_a_mounted_disk() {
    let w = World::new().await;
    w.put(SPECIMEN, "src", &specimen());
    std::fs::create_dir(w.hub().join("repos")).unwrap();
    let topurl = w.hub().display().to_string();
    let mirror = Mirror::new(&w.dir.path().join("other"), &topurl, Fetcher::new(settings()).unwrap()).unwrap();
    assert_eq!(mirror.header(&nvr(SPECIMEN)).await.unwrap(), w.mirror.header(&nvr(SPECIMEN)).await.unwrap());
    assert!(mirror.header(&nvr(PLAIN)).await.unwrap_err().is_not_found());
    std::fs::rename(w.hub(), w.dir.path().join("away")).unwrap();
    let error = mirror.header(&nvr(SPECIMEN)).await.unwrap_err();
    assert!(!error.is_not_found() && error.class() == Class::Unavailable, "{error:?}");
}

/// Many packages, a few at once. Known packages are not requested.
#[tokio::test]
async fn a_store_is_filled_a_few_at_once() {
    let w = World::new().await;
    let all: Vec<String> = (0..600).map(|n| format!("p{n}-1-1")).collect();
    w.put(SPECIMEN, "src", &specimen());
    let store = w.store();
    store.add(vec![w.mirror.header(&nvr(SPECIMEN)).await.unwrap()]).unwrap();
    w.server.forget_seen();
    let told = Mutex::new(Vec::new());
    let wanted = all.iter().map(|n| nvr(n)).chain([nvr(SPECIMEN), nvr("p1-1-1")]);
    let filled = w.mirror.fill(&store, wanted, &|done, of| told.lock().unwrap().push((done, of))).await.unwrap();
    assert_eq!((filled.added, filled.failed.len(), filled.left.len()), (0, 600, 0));
    assert!(filled.failed.iter().all(|(_, error)| error.is_not_found()) && filled.failed.is_sorted_by_key(|f| &f.0));
    assert_eq!((told.lock().unwrap().last().copied(), store.len()), (Some((600, 600)), 1));
    assert_eq!(w.server.asked(".src.rpm"), 600);
    assert!(w.server.running_max() <= 8 && w.mirror.fetcher().counts().running_max <= 8);
}

/// The futures are `Send`.
#[tokio::test]
async fn futures_can_be_sent() {
    fn is_send(_: impl Send) {}
    let w = World::new().await;
    let store = w.store();
    is_send(w.mirror.fill(&store, [nvr(PLAIN)], &|_, _| ()));
    is_send(w.mirror.header(&nvr(PLAIN)));
    is_send(w.mirror.fetch("t-build", RepoId(1), &[], &quiet));
    is_send(w.mirror.evict());
}

/// If the server is down, it is not asked for each of 24,000 packages.
#[tokio::test]
async fn filling_stops_when_the_server_does() {
    let w = World::with(FetchSettings { at_once: 2, ..settings() }).await;
    w.server.always(".src.rpm", || Fault::Status(503, ""));
    let store = w.store();
    let filled = w.mirror.fill(&store, (0..500).map(|n| nvr(&format!("p{n}-1-1"))), &|_, _| ()).await.unwrap();
    assert_eq!((filled.added, filled.failed.len(), filled.left.len()), (0, 3, 497));
    assert!(filled.failed.iter().all(|(_, error)| error.class() == Class::Unavailable));
    assert!(w.server.asked(".src.rpm") < 100 && store.is_empty());
}

fn source_repo(dir: &Path) {
    let packages = [
        pkg("foo-2:1.0-1.src").requires(&["gcc", "make >= 4", "rpmlib(FileDigests) <= 4.6.0-1"]),
        pkg("bar-7-2.src"),
        pkg("baz-1-1.src"),
        pkg("foo-2:1.0-1.x86_64"),
    ];
    let xml = primary_xml(&packages);
    // A package of an external repository is not a source here.
    let xml = xml.replace("<location href=\"baz.rpm\"/>", "<location xml:base=\"http://other/\" href=\"baz.rpm\"/>");
    assert!(xml.contains("xml:base"));
    write_repo(dir, &[MetaFile { kind: "primary", name: "primary.xml", bytes: xml.as_bytes(), open_size: None }]);
}

#[rstest]
#[case::a_repository_of_their_own("separate_src", "src")]
#[case::among_the_others("src", "x86_64")]
#[tokio::test]
async fn requirements_from_a_repository_of_sources(#[case] option: &str, #[case] place: &str) {
    let w = World::new().await;
    let repo = w.hub().join("repos/t-build/7");
    for dir in ["x86_64", place] {
        source_repo(&repo.join(dir));
        std::fs::write(repo.join(dir).join("pkglist"), "").unwrap();
    }
    let json = |opts: &str| format!("{{\"id\": 7, \"tag\": \"t-build\", \"event_id\": 1, \"opts\": {{{opts}}}}}");
    std::fs::write(repo.join("repo.json"), json(&format!("\"{option}\": true"))).unwrap();
    let fetch = async || w.mirror.fetch("t-build", RepoId(7), &[Name::from("x86_64")], &quiet).await.unwrap();
    let fetched = fetch().await;
    assert_eq!(fetched.arches, ["x86_64"]);
    let sources = w.mirror.from_source_repo(&fetched).await.unwrap().unwrap();
    let rows: Vec<_> = sources.values().map(|s| (s.nvr.to_string(), s.epoch, s.requires.join(", "))).collect();
    let foo = ("foo-1.0-1".to_owned(), Some(2), "gcc, make >= 4".to_owned());
    assert_eq!(rows, [("bar-7-2".to_owned(), None, String::new()), foo]);
    let foo = sources[&nvr("foo-1.0-1")].clone().with_arches(vec![], vec!["x86_64".into()], vec![]);
    assert_eq!((foo.exclusivearch.as_slice(), foo.made_on), (["x86_64".into()].as_slice(), None));
    // `src` is not an architecture of the repository.
    assert_eq!(fetch().await.arches, ["x86_64"]);
    drop(fetched);
    // A usual repository has no sources.
    assert!(w.mirror.forget("t-build", RepoId(7)).await.unwrap());
    std::fs::write(repo.join("repo.json"), json("\"src\": false")).unwrap();
    assert_eq!(w.mirror.from_source_repo(&fetch().await).await.unwrap(), None);
    // If `repo.json` promises sources, they must be there.
    assert!(w.mirror.forget("t-build", RepoId(7)).await.unwrap());
    std::fs::write(repo.join("repo.json"), json("\"separate_src\": true")).unwrap();
    std::fs::remove_dir_all(repo.join("src")).ok();
    assert!(w.mirror.from_source_repo(&fetch().await).await.unwrap_err().is_gone());
}
