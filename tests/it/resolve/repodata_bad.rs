//! Broken or hostile repositories: a clear error, never a panic, never unbounded memory.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use koschei::model::{Class, Classified};
use koschei::repodata::{Limits, Oddity, RICH_DEPTH_MAX, RepoContent, RepoDir, RepodataError, primary};
use koschei::resolve::{Mode, Universe};
use rstest::rstest;
use tempfile::tempdir;

use crate::tiny::{MetaFile, content, pkg, primary_xml, write_repo};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn pack(suffix: &str, bytes: &[u8]) -> Vec<u8> {
    match suffix {
        "gz" => gzip(bytes),
        "bz2" => bzip2(bytes),
        "xz" => xz(bytes),
        "zst" => zstd::encode_all(bytes, 19).unwrap(),
        _ => bytes.to_vec(),
    }
}

fn write_primary(dir: &Path, name: &str, bytes: &[u8], open_size: Option<u64>) {
    write_repo(dir, &[MetaFile { kind: "primary", name, bytes, open_size }]);
}

fn load(dir: &Path) -> Result<RepoContent, RepodataError> {
    RepoDir::open(dir)?.load([])
}

fn error_of(dir: &Path) -> String {
    let error = load(dir).unwrap_err();
    assert_eq!(error.class(), Class::Rejected, "{error}");
    error.to_string()
}

fn parse(xml: &str) -> Result<RepoContent, RepodataError> {
    let mut content = RepoContent::default();
    primary::parse(xml.as_bytes(), "primary.xml", &Limits::default(), &mut content).map(|()| content)
}

#[rstest]
fn every_compression_is_read(#[values("xml", "gz", "bz2", "xz", "zst")] suffix: &str) {
    let dir = tempdir().unwrap();
    let xml = primary_xml(&[pkg("a-1-1.noarch"), pkg("b-1:2-3.x86_64").requires(&["a >= 1"])]);
    let name = format!("primary.xml.{suffix}");
    write_primary(dir.path(), name.trim_end_matches(".xml"), &pack(suffix, xml.as_bytes()), Some(xml.len() as u64));
    let content = load(dir.path()).unwrap();
    assert_eq!(
        content.packages().iter().map(|p| p.nevra().to_string()).collect::<Vec<_>>(),
        ["a-0:1-1.noarch", "b-1:2-3.x86_64"]
    );
    assert_eq!(content.build_requires(&content.packages()[1]), ["a >= 1"]);
}

#[test]
fn wrong_checksum() {
    let dir = tempdir().unwrap();
    write_primary(dir.path(), "primary.xml", primary_xml(&[]).as_bytes(), None);
    std::fs::write(dir.path().join("repodata/primary.xml"), primary_xml(&[pkg("evil-1-1.noarch")])).unwrap();
    let error = error_of(dir.path());
    assert!(error.contains("its sha256 is") && error.contains("but repomd.xml says"), "{error}");
}

#[rstest]
#[case::checksum_kind("type=\"sha256\"", "type=\"crc32\"", "checksum type `crc32` is not supported")]
#[case::outside("href=\"repodata/primary.xml\"", "href=\"../../primary.xml\"", "outside the repository")]
#[case::absolute("href=\"repodata/primary.xml\"", "href=\"/etc/passwd\"", "outside the repository")]
#[case::lzma(
    "href=\"repodata/primary.xml\"",
    "href=\"repodata/primary.xml.lzma\"",
    "compression `lzma` is not supported"
)]
#[case::no_primary("type=\"primary\"", "type=\"primary_db\"", "find `primary` metadata")]
#[case::root("repomd", "repository", "its root element is <repository>, not <repomd>")]
fn wrong_repomd(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
    let dir = tempdir().unwrap();
    write_primary(dir.path(), "primary.xml", primary_xml(&[]).as_bytes(), None);
    std::fs::copy(dir.path().join("repodata/primary.xml"), dir.path().join("repodata/primary.xml.lzma")).unwrap();
    let path = dir.path().join("repodata/repomd.xml");
    let repomd = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, repomd.replace(from, to)).unwrap();
    let error = error_of(dir.path());
    assert!(error.contains(expected), "{error}");
}

#[test]
fn no_repository() {
    let dir = tempdir().unwrap();
    assert!(error_of(dir.path()).contains("does not exist; name the directory that holds repodata/"));
    write_primary(dir.path(), "primary.xml", b"", None);
    std::fs::remove_file(dir.path().join("repodata/primary.xml")).unwrap();
    assert_eq!(
        load(dir.path()).unwrap_err().class(),
        Class::Unavailable,
        "a file that is missing now may be there later"
    );
}

/// Returns well-formed XML with so many elements that only its size is wrong.
fn long_xml(bytes: usize) -> Vec<u8> {
    let mut xml = b"<metadata>".to_vec();
    while xml.len() < bytes {
        xml.extend_from_slice(b"<x/>");
    }
    xml.extend_from_slice(b"</metadata>");
    xml
}

#[rstest]
fn decompression_bomb_against_the_bound(#[values("xml", "gz", "bz2", "xz", "zst")] suffix: &str) {
    let dir = tempdir().unwrap();
    let name = format!("primary.{suffix}");
    let packed = pack(suffix, &long_xml(1 << 20));
    assert!(suffix == "xml" || packed.len() < 16 << 10, "it is a bomb");
    write_primary(dir.path(), &name, &packed, None);
    let limits = Limits { unpacked_bytes: 100_000, ..Limits::default() };
    let error = RepoDir::open_with(dir.path(), limits).unwrap().load([]).unwrap_err().to_string();
    assert!(error.contains("more than 100000 bytes"), "{error}");
    assert!(load(dir.path()).is_ok(), "the same file is fine within the bound");
}

#[test]
fn file_larger_than_the_bound() {
    let dir = tempdir().unwrap();
    write_primary(dir.path(), "primary.xml", &long_xml(1000), None);
    let limits = Limits { file_bytes: 999, ..Limits::default() };
    let error = RepoDir::open_with(dir.path(), limits).unwrap().load([]).unwrap_err().to_string();
    assert!(error.contains("larger than 999 bytes"), "{error}");
}

/// Half a file, with the right checksum of that half.
#[rstest]
fn truncated(#[values("xml", "gz", "bz2", "xz", "zst")] suffix: &str) {
    let dir = tempdir().unwrap();
    let packages: Vec<_> = (0..500).map(|i| pkg(&format!("package{i}-1-{}.noarch", i * 7919 % 1000))).collect();
    let mut packed = pack(suffix, primary_xml(&packages).as_bytes());
    packed.truncate(packed.len() / 2);
    write_primary(dir.path(), &format!("primary.{suffix}"), &packed, None);
    let error = error_of(dir.path());
    assert!(error.contains("cut short") || error.contains("end of input"), "{error}");
    write_primary(dir.path(), &format!("primary.{suffix}"), b"", None);
    assert!(load(dir.path()).is_err(), "an empty file is no metadata");
}

#[rstest]
fn garbage_instead_of_packed_data(#[values("gz", "bz2", "xz", "zst")] suffix: &str) {
    let dir = tempdir().unwrap();
    write_primary(dir.path(), &format!("primary.xml.{suffix}"), primary_xml(&[]).as_bytes(), None);
    let error = error_of(dir.path());
    assert!(error.contains("damaged"), "{error}");
}

#[rstest]
#[case::not_xml("just some text", "not XML")]
#[case::html("<html><body>404</body></html>", "its root element is <html>, not <metadata>")]
#[case::unclosed("<metadata><package>", "cut short")]
#[case::mismatch("<metadata><package></metadata></package>", "at byte")]
#[case::two_roots("<metadata/><metadata/>", "second root")]
#[case::entity_unknown("<metadata><package><name>&lol;</name></package></metadata>", "entity `&lol;` is not known")]
#[case::billion_laughs(
    "<!DOCTYPE m [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><metadata>&b;</metadata>",
    "document type with declarations of its own"
)]
#[case::duplicate_attribute(
    "<metadata><package><name>a</name><version ver=\"1\" ver=\"2\" rel=\"1\"/></package></metadata>",
    "duplicated"
)]
fn wrong_primary(#[case] xml: &str, #[case] expected: &str) {
    let error = parse(xml).unwrap_err();
    assert_eq!(error.class(), Class::Rejected);
    let text = error.to_string();
    assert!(text.contains(expected), "{text}");
}

#[test]
fn xml_depth_bomb() {
    let deep = format!("<metadata>{}{}</metadata>", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let error = parse(&deep).unwrap_err().to_string();
    assert!(error.contains("nested deeper than 32"), "{error}");
}

#[rstest]
#[case::text("<metadata><package><name>", "a", "</name></package></metadata>")]
#[case::skipped_text("<metadata><package><description>", "a", "</description></package></metadata>")]
#[case::attribute("<metadata x=\"", "a", "\"></metadata>")]
#[case::comment("<metadata><!-- ", "a", " --></metadata>")]
#[case::many_pieces("<metadata><package><name>", "aaaa&amp;", "</name></package></metadata>")]
fn xml_token_bomb(#[case] before: &str, #[case] piece: &str, #[case] after: &str) {
    let xml = format!("{before}{}{after}", piece.repeat((3 << 20) / piece.len()));
    let error = parse(&xml).unwrap_err().to_string();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
}

#[test]
fn too_many_packages() {
    let xml = primary_xml(&[pkg("a-1-1.noarch"), pkg("b-1-1.noarch"), pkg("c-1-1.noarch")]);
    let limits = Limits { packages: 2, ..Limits::default() };
    let error = primary::parse(xml.as_bytes(), "primary.xml", &limits, &mut RepoContent::default()).unwrap_err();
    assert!(error.to_string().contains("more than 2 packages"), "{error}");
}

/// An empty repository is valid: the group has nothing, and every requirement is missing.
#[rstest]
fn empty_repository(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = Universe::load(Arc::new(content(&[])), "x86_64").unwrap();
    assert!(universe.is_empty());
    let prepared = universe.prepare(&["bash".to_owned()], mode).unwrap();
    let mut resolver = prepared.resolver().with_distances();
    assert!(resolver.group().ok && resolver.group().closure.is_empty());
    assert_eq!(resolver.group().skipped, ["bash"]);
    let answer = resolver.resolve(&["gcc"]);
    assert!(!answer.ok && answer.problems[0].contains("gcc"));
    assert!(resolver.resolve(&[] as &[&str]).ok);
}

/// Mode `simple` of an external repository gives this: both packages are there, one is installed.
#[rstest]
fn two_packages_with_one_nevra(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let packages = [pkg("sed-1-1.x86_64").provides(&["first"]), pkg("sed-1-1.x86_64").provides(&["second"])];
    let universe = Universe::load(Arc::new(content(&packages)), "x86_64").unwrap();
    let prepared = universe.prepare(&["sed".to_owned()], mode).unwrap();
    let mut resolver = prepared.resolver().with_distances();
    let answer = resolver.resolve(&["sed"]);
    assert_eq!(universe.names(&answer.closure), ["sed-0:1-1.x86_64"]);
    assert_eq!(answer.distances, [Some(1)]);
    assert_eq!(answer.closure[0].index(), 0, "the first in the file");
}

fn nested(depth: usize) -> String {
    let mut text = "a".to_owned();
    for level in 0..depth {
        text = format!("({text} or b{level})");
    }
    text
}

/// A rich dependency beyond the bound makes its package uninstallable, with a message, and affects
/// no other package. A malformed one is dropped.
#[rstest]
fn rich_dependency_nested_200_deep(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let at_bound = nested(RICH_DEPTH_MAX);
    let packages = [
        pkg("a-1-1.noarch"),
        pkg("deep-1-1.noarch").requires(&[&nested(200)]),
        pkg("fine-1-1.noarch").requires(&[&at_bound]),
        pkg("unclosed-1-1.noarch").requires(&["(a or"]),
    ];
    let universe = Universe::load(Arc::new(content(&packages)), "x86_64").unwrap();
    let prepared = universe.prepare(&[""; 0], mode).unwrap();
    let mut resolver = prepared.resolver().with_distances();
    let answer = resolver.resolve(&["deep"]);
    assert!(!answer.ok && answer.problems[0].contains("nothing provides ("), "{:?}", answer.problems);
    assert_eq!(universe.names(&resolver.resolve(&["unclosed"]).closure), ["unclosed-0:1-1.noarch"]);
    let counts: Vec<(Oddity, u64)> = universe.content().oddities.counts().collect();
    assert_eq!(counts, [(Oddity::DependencyRich, 1), (Oddity::DependencyTooLarge, 1)]);
    assert_eq!(universe.names(&resolver.resolve(&["fine"]).closure), ["a-0:1-1.noarch", "fine-0:1-1.noarch"]);
    let answer = resolver.resolve(&[nested(200)]);
    assert!(!answer.ok && answer.problems[0].contains("nested too deep"), "{:?}", answer.problems);
}

/// BuildRequires come from a hub: odd ones are problems of their source package.
#[rstest]
#[case::nul("gcc\0", "not understood")]
#[case::two_words("gcc make", "neither a name")]
#[case::operator("gcc ~ 1", "neither a name")]
#[case::epoch("gcc >= x:1", "epoch `x` is not a number")]
#[case::empty("", "neither a name")]
#[case::rich("(gcc or", "rich dependency")]
fn odd_build_requires(#[case] text: &str, #[case] expected: &str, #[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = Universe::load(Arc::new(content(&[pkg("gcc-1-1.x86_64")])), "x86_64").unwrap();
    let answer = universe.prepare(&[""; 0], mode).unwrap().resolver().resolve(&["gcc", text]);
    assert_eq!(answer.problems.len(), 1);
    assert!(answer.problems[0].contains(expected), "{:?}", answer.problems);
}
