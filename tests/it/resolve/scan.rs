//! The scanner of `primary.xml` compared with the parser: on all repositories there are, on each
//! thing that the scanner does not know, and (`scan/mutations.rs`) on random changes of real files.

mod mutations;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use koschei::repodata::pieces::{NotScanned, PIECE, Scanned, scan};
use koschei::repodata::{Compression, DepId, KnownPackages, Limits, Package, RepoContent, RepodataError, primary};
use rstest::rstest;

use crate::feed::scale;
use crate::resolve::distro::{patched, whole};

fn parse(xml: &[u8], limits: &Limits) -> Result<RepoContent, RepodataError> {
    let mut content = RepoContent::default();
    primary::parse(xml, "primary.xml", limits, &mut content).map(|()| content)
}

/// Panics if the two contents differ anywhere. A field that is added does not compile here.
fn assert_same(scanned: &RepoContent, parsed: &RepoContent, what: &dyn Fn() -> String) {
    let differs = |a: &Package, b: &Package| {
        let Package {
            name,
            evr,
            arch,
            pkgid,
            provides,
            requires,
            conflicts,
            obsoletes,
            recommends,
            suggests,
            supplements,
            enhances,
            files,
            sourcerpm,
            base,
        } = a;
        (name, arch, pkgid, sourcerpm, base) != (&b.name, &b.arch, &b.pkgid, &b.sourcerpm, &b.base)
            || (evr.epoch, &evr.version, &evr.release) != (b.evr.epoch, &b.evr.version, &b.evr.release)
            || (provides, requires, conflicts, obsoletes) != (&b.provides, &b.requires, &b.conflicts, &b.obsoletes)
            || (recommends, suggests, supplements, enhances)
                != (&b.recommends, &b.suggests, &b.supplements, &b.enhances)
            || files != &b.files
    };
    if let Some((a, b)) = scanned.packages().iter().zip(parsed.packages()).find(|(a, b)| differs(a, b)) {
        panic!("scanned {a:?}, parsed {b:?}: {}", what());
    }
    assert_eq!(scanned.packages().len(), parsed.packages().len(), "{}", what());
    assert!(scanned.dependencies().eq(parsed.dependencies()), "dependencies differ: {}", what());
    assert_eq!(scanned.oddities, parsed.oddities, "{}", what());
    let rest = |c: &RepoContent| {
        let (groups, filtered) = (format!("{:?}", c.groups), format!("{:?}", c.filtered));
        (groups, filtered, c.group_problems.clone(), c.module_problems.clone(), c.repositories().collect::<Vec<_>>())
    };
    assert_eq!(rest(scanned), rest(parsed), "{}", what());
}

/// A content as text. Numbers of dependencies do not matter.
fn meaning(content: &RepoContent) -> String {
    let text = |dep: DepId| content.dependency(dep).to_string();
    let package = |p: &Package| {
        let requires: Vec<_> = p.requires.iter().map(|r| (text(r.dep), r.pre)).collect();
        let lists = [&p.provides, &p.conflicts, &p.obsoletes, &p.recommends, &p.suggests, &p.supplements, &p.enhances];
        let lists = lists.map(|list| list.iter().map(|dep| text(*dep)).collect::<Vec<_>>());
        let rest = (&p.files, &p.sourcerpm, &p.base, &p.pkgid);
        format!("{} {requires:?} {lists:?} {rest:?}", p.nevra())
    };
    let packages: Vec<String> = content.packages().iter().map(package).collect();
    format!("{packages:#?} {:?}", content.oddities)
}

/// Reads `xml` as packages that may be known from the files before it, and once more when all are.
fn compare_known(
    xml: &[u8],
    piece: usize,
    known: &KnownPackages,
    scanned: Option<&RepoContent>,
    what: &dyn Fn() -> String,
) {
    for _ in 0..2 {
        let read = known.read(xml, piece, "this").is_ok();
        // What hides the end of a package is left to the parser.
        assert!(scanned.is_some() || !read, "read, but not scanned: {}", what());
        if let (Some(scanned), true) = (scanned, read) {
            assert_eq!(meaning(&known.content("this").unwrap()), meaning(scanned), "{}", what());
        }
    }
}

const KEY: [u64; 4] = [1, 2, 3, 4];

thread_local! {
    /// The packages of all files that were compared.
    static KNOWN: KnownPackages = KnownPackages::new(Limits::default(), KEY);
}

/// Scans `xml` in pieces. If the scanner has an answer, it must be the parser's.
fn compare(xml: &[u8], limits: &Limits, piece: usize) -> Result<Scanned, NotScanned> {
    let scanned = scan(xml, limits, piece);
    let known = if *limits == Limits::default() { KNOWN.with(Clone::clone) } else { KnownPackages::new(*limits, KEY) };
    let shown = || String::from_utf8_lossy(xml).into_owned();
    compare_known(xml, piece, &known, scanned.as_ref().ok().map(|s| &s.content), &shown);
    let scanned = scanned?;
    let what = || format!("in pieces of {piece}, with {limits:?}:\n{}", String::from_utf8_lossy(xml));
    match parse(xml, limits) {
        Ok(parsed) => assert_same(&scanned.content, &parsed, &what),
        Err(error) => panic!("scanned, but the parser says {error}: {}", what()),
    }
    Ok(scanned)
}

fn primaries(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            primaries(&path, found);
        } else if name.contains("primary.xml") {
            found.push(path);
        }
    }
}

/// Returns the text of every `primary.xml` below `dir`, in the order of their paths.
fn texts(dir: &Path) -> impl Iterator<Item = (PathBuf, Vec<u8>)> + use<> {
    let mut paths = Vec::new();
    primaries(dir, &mut paths);
    paths.sort();
    paths.into_iter().map(|path| {
        let packed = std::fs::read(&path).unwrap();
        let name = path.display().to_string();
        let mut text = Vec::new();
        let reader = Compression::of(&name).unwrap().reader(&packed, u64::MAX, &name);
        reader.unwrap().read_to_end(&mut text).unwrap();
        (path, text)
    })
}

/// Compares a real file. The scanner knows the form of every package in it.
fn compare_real(text: &[u8], name: &dyn Fn() -> String) {
    let parsed = parse(text, &Limits::default()).unwrap();
    for piece in [PIECE, 256 << 10, 1 << 30] {
        let scanned = scan(text, &Limits::default(), piece).unwrap_or_else(|_| panic!("{}: not scanned", name()));
        assert_same(&scanned.content, &parsed, name);
        assert_eq!(scanned.handed_over, 0, "{}", name());
    }
    let known = KNOWN.with(Clone::clone);
    for _ in 0..2 {
        known.read(text, PIECE, &name()).unwrap_or_else(|_| panic!("{}: not read", name()));
        assert_same(&known.content(&name()).unwrap(), &parsed, name);
    }
}

/// Hand-written repositories of `tests/data/cases` are not in the form that the scanner knows. They
/// are compared, too.
#[test]
fn every_repository_here() {
    let (mut real, mut others) = (0, 0);
    for (path, text) in texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")) {
        if path.display().to_string().contains("/cases/") {
            others += u32::from(compare(&text, &Limits::default(), PIECE).is_ok());
        } else {
            compare_real(&text, &|| path.display().to_string());
            real += 1;
        }
    }
    assert!(real > 30 && others > 10, "{real} {others}");
}

/// The whole distribution, its ten generations, the smaller sets and the recordings beside them.
#[test]
fn every_repository_of_the_distribution() {
    if scale(0, 1) == 0 {
        return;
    }
    let Some(dir) = whole() else {
        println!("there is no KOSCHEI_DISTRO_DIR: the whole distribution is NOT scanned");
        return;
    };
    let mut full = None;
    let recordings = ["../koji", "../koji-external"].map(|name| dir.join(name)).into_iter().filter(|dir| dir.is_dir());
    for (path, text) in std::iter::once(dir.clone()).chain(recordings).flat_map(|dir| texts(&dir)) {
        compare_real(&text, &|| path.display().to_string());
        if path.ends_with("full/binary/repodata/primary.xml.zst") {
            full = Some(text);
        }
    }
    let mut old = full.unwrap();
    for generation in 1..=10 {
        old = patched(&old, &dir.join("generations").join(format!("{generation:02}.patch.zst")));
        compare_real(&old, &|| format!("generation {generation}"));
    }
}

/// What the scanner does with a file.
#[derive(PartialEq, Eq, Debug)]
enum Way {
    /// It knows every package.
    Scans,
    /// The parser reads this many packages for it.
    Hands(usize),
    /// The parser must read the file.
    Gives,
}

const FILE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="2">
<package type="rpm">
  <name>a</name>
  <arch>noarch</arch>
  <version epoch="0" ver="1" rel="2"/>
  <checksum type="sha256" pkgid="YES">0123</checksum>
  <summary>Sum</summary>
  <location href="a.rpm"/>
  <format>
    <rpm:license>MIT</rpm:license>
    <rpm:sourcerpm>a.src.rpm</rpm:sourcerpm>
    <rpm:provides>
      <rpm:entry name="a" flags="EQ" epoch="0" ver="1" rel="2"/>
    </rpm:provides>
    <rpm:requires>
      <rpm:entry name="c" pre="1"/>
      <rpm:entry name="(b or c)"/>
    </rpm:requires>
    <file>/usr/bin/a</file>
  </format>
</package>
<package type="rpm">
  <name>b</name>
  <arch>x86_64</arch>
  <version epoch="1" ver="1" rel="2"/>
  <format>
    <rpm:requires>
      <rpm:entry name="c" flags="GE" ver="1"/>
      <rpm:entry name="c"/>
    </rpm:requires>
  </format>
</package>
</metadata>
"#;

const COMMENT: &str = "</package>\n<!-- </package> --><package type=\"rpm\">";

/// Each case changes one place of [`FILE`].
#[rstest]
#[case::nothing("Sum", "Sum", Way::Scans)]
#[case::entity("Sum", "&lt;&gt;&amp;&quot;&apos;", Way::Scans)]
#[case::entity_of_a_name("<name>a<", "<name>a&amp;b&gt;<", Way::Scans)]
#[case::entity_of_a_dependency("name=\"c\"/", "name=\"(c &gt;= 1 or d)\"/", Way::Scans)]
#[case::own_element("<summary>Sum</summary>", "<x y=\"&z;>\">S</x>", Way::Scans)]
#[case::space_before_slash("name=\"c\"/", "name=\"c\" /", Way::Scans)]
#[case::other_order("flags=\"GE\" ver=\"1\"", "ver=\"1\" flags=\"GE\"", Way::Scans)]
#[case::base("href=\"a.rpm\"", "xml:base=\"http://x/\" href=\"a.rpm\"", Way::Scans)]
#[case::two_lists("</rpm:provides>", "</rpm:provides><rpm:provides><rpm:entry name=\"z\"/></rpm:provides>", Way::Scans)]
#[case::empty_list("</rpm:provides>", "</rpm:provides><rpm:conflicts/><rpm:enhances></rpm:enhances>", Way::Scans)]
#[case::empty_text("<rpm:sourcerpm>a.src.rpm</rpm:sourcerpm>", "<rpm:sourcerpm/>", Way::Scans)]
#[case::two_names("<name>a<", "<name>z</name><name>a<", Way::Scans)]
#[case::no_declaration("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "", Way::Scans)]
#[case::utf_8("Sum", "\u{e9}\u{1f40e}", Way::Scans)]
#[case::character("Sum", "&#65;", Way::Hands(1))]
#[case::character_in_a_dependency("name=\"c\"/", "name=\"&#99;\"/", Way::Hands(1))]
#[case::carriage_return("<name>a<", "<name>a\r\nb<", Way::Hands(1))]
#[case::tab("name=\"c\"/", "name=\"c\td\"/", Way::Hands(1))]
#[case::cdata("Sum", "<![CDATA[</x>]]>", Way::Hands(1))]
#[case::comment("<summary>", "<!-- x --><summary>", Way::Hands(1))]
#[case::instruction("<summary>", "<?x y?><summary>", Way::Hands(1))]
#[case::element_in_text("Sum", "<b>S</b>", Way::Hands(1))]
#[case::text_between("<summary>", "x<summary>", Way::Hands(1))]
#[case::no_prefix("<rpm:sourcerpm>a.src.rpm</rpm:sourcerpm>", "<sourcerpm>a.src.rpm</sourcerpm>", Way::Hands(1))]
#[case::no_prefix_of_a_list("</rpm:provides>", "</rpm:provides><provides></provides>", Way::Hands(1))]
#[case::other_prefix("<name>a</name>", "<x:name>a</x:name>", Way::Hands(1))]
#[case::other_prefix_of_a_file("<file>/usr/bin/a</file>", "<rpm:file>/usr/bin/a</rpm:file>", Way::Hands(1))]
#[case::single_quotes("ver=\"1\" rel", "ver='1' rel", Way::Hands(1))]
#[case::other_attribute("name=\"c\"/", "name=\"c\" x=\"1\"/", Way::Hands(1))]
#[case::entry_with_an_end("name=\"c\"/>", "name=\"c\"></rpm:entry>", Way::Hands(1))]
#[case::greater_in_a_quote("name=\"c\"/", "name=\"c/>d\"/", Way::Hands(1))]
#[case::no_name("name=\"c\"/", "name=\"\"/", Way::Hands(1))]
#[case::comparison("flags=\"GE\"", "flags=\"NE\"", Way::Hands(1))]
#[case::rich("name=\"c\"/", "name=\"(c or\"/", Way::Hands(1))]
#[case::epoch(
    "epoch=\"0\" ver=\"1\" rel=\"2\"/>\n  <check",
    "epoch=\"x\" ver=\"1\" rel=\"2\"/>\n  <check",
    Way::Hands(1)
)]
#[case::no_arch("<arch>noarch</arch>", "", Way::Hands(1))]
#[case::zero_byte("<name>a<", "<name>a\0<", Way::Hands(1))]
#[case::package_inside("<summary>", "<x><package/></x><summary>", Way::Hands(1))]
#[case::end_with_a_space("</package>\n<package", "</package >\n<package", Way::Hands(1))]
#[case::comment_with_an_end("Sum", "<!-- </package> -->", Way::Gives)]
#[case::cdata_with_an_end("Sum", "<![CDATA[</package>]]>", Way::Gives)]
#[case::attribute_with_an_end("<summary>", "<summary x=\"</package>\">", Way::Gives)]
#[case::comment_between("</package>\n<package type=\"rpm\">", COMMENT, Way::Gives)]
#[case::comment_before("<metadata", "<!-- <package type=\"rpm\"> --><metadata", Way::Gives)]
#[case::open_comment_before("packages=\"2\">", "packages=\"2\"><!-- <package type=\"rpm\"> -->", Way::Gives)]
#[case::document_type("<metadata", "<!DOCTYPE metadata><metadata", Way::Gives)]
#[case::encoding("UTF-8", "ISO-8859-1", Way::Gives)]
#[case::byte_order_mark("<?xml", "\u{feff}<?xml", Way::Gives)]
#[case::other_element("</metadata>", "<x/></metadata>", Way::Gives)]
#[case::second_root("</metadata>", "</metadata><metadata/>", Way::Gives)]
#[case::cut_short("</metadata>", "", Way::Gives)]
#[case::text_after("</metadata>", "</metadata>x", Way::Gives)]
#[case::unknown_entity("Sum", "&x;", Way::Gives)]
#[case::lone_ampersand("Sum", "a & b", Way::Gives)]
#[case::wrong_end("<summary>Sum</summary>", "<summary>S</sumary>", Way::Gives)]
#[case::attribute_twice("name=\"c\"/", "name=\"c\" name=\"c\"/", Way::Gives)]
fn a_changed_file(#[case] from: &str, #[case] to: &str, #[case] expected: Way, #[values(PIECE, 1000)] piece: usize) {
    assert!(FILE.contains(from));
    let xml = FILE.replacen(from, to, 1);
    let way = match compare(xml.as_bytes(), &Limits::default(), piece) {
        Ok(Scanned { handed_over: 0, .. }) => Way::Scans,
        Ok(Scanned { handed_over, .. }) => Way::Hands(handed_over),
        Err(NotScanned) => Way::Gives,
    };
    assert_eq!(way, expected);
}

/// At each bound the scanner does what the parser does.
#[test]
fn bounds() {
    let way = |limits: Limits| match compare(FILE.as_bytes(), &limits, PIECE) {
        Ok(scanned) => Way::Hands(scanned.handed_over),
        Err(NotScanned) => Way::Gives,
    };
    let limits = Limits::default();
    assert_eq!(way(Limits { packages: 2, ..limits }), Way::Hands(0));
    assert_eq!(way(Limits { packages: 1, ..limits }), Way::Gives);
    assert_eq!(way(Limits { xml_depth: 5, ..limits }), Way::Hands(0));
    assert_eq!(way(Limits { xml_depth: 4, ..limits }), Way::Gives);
    assert!(parse(FILE.as_bytes(), &Limits { xml_depth: 4, ..limits }).is_err());
    // A package longer than one token may be may have a token that is too long.
    let first = FILE.find("</package>").unwrap() + 10 - FILE.find("<package").unwrap();
    assert_eq!(way(Limits { xml_token: first, ..limits }), Way::Hands(0));
    assert_eq!(way(Limits { xml_token: first - 1, ..limits }), Way::Hands(1));
    // The scanner takes declaration and root tag for one token.
    let prolog = FILE.find("<package").unwrap();
    for xml_token in 0..first {
        let limits = Limits { xml_token, ..limits };
        let (gives, fails) = (way(limits) == Way::Gives, parse(FILE.as_bytes(), &limits).is_err());
        assert!(gives == fails || xml_token < prolog, "{xml_token}");
    }
    assert!(compare(FILE.as_bytes(), &limits, 300).is_err(), "a package longer than a piece");
}

/// Every cut of the file is an error of both, or none of either.
#[test]
fn every_cut() {
    for end in 0..FILE.len() {
        let (head, _) = FILE.split_at(end);
        assert_eq!(scan(head.as_bytes(), &Limits::default(), PIECE).is_ok(), end + 1 >= FILE.len(), "{end}");
        assert_eq!(parse(head.as_bytes(), &Limits::default()).is_ok(), end + 1 >= FILE.len(), "{end}");
    }
}
