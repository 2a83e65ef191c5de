//! Repositories with an error that can be read all the same, as dnf reads them.

use std::path::Path;
use std::sync::Arc;

use koschei::repodata::{ChecksumKind, Limits, Oddity, RICH_TREE_MAX, RepoContent, RepoDir, beyond_primary, primary};
use koschei::resolve::{Mode, Solvers, Universe};
use rstest::rstest;
use tempfile::{TempDir, tempdir};

use crate::resolve::cli::run;
use crate::resolve::repodata_bad::pack;
use crate::tiny::{MetaFile, content, pkg, primary_xml, write_repo};

const GCC: &str = "{\"source\":\"x-1-1\",\"ok\":true,\"closure\":[\"gcc-0:1-1.noarch\"]}\n";

const GCC_XML: &str = "<package><name>gcc</name><arch>noarch</arch><version ver='1' rel='1'/></package></metadata>";

fn parse(xml: &[u8]) -> RepoContent {
    let mut content = RepoContent::default();
    primary::parse(xml, "primary.xml", &Limits::default(), &mut content).unwrap();
    content
}

/// Makes a repository with this one metadata file. `edit` changes its `repomd.xml`.
fn repo(name: &str, bytes: &[u8], edit: impl Fn(String) -> String) -> TempDir {
    let dir = tempdir().unwrap();
    write_repo(dir.path(), &[MetaFile { kind: "primary", name, bytes, open_size: Some(17) }]);
    let path = dir.path().join("repodata/repomd.xml");
    std::fs::write(&path, edit(std::fs::read_to_string(&path).unwrap())).unwrap();
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let content = RepoDir::open(dir).unwrap().load([]).unwrap();
    content.packages().iter().map(|p| p.name.to_string()).collect()
}

/// Case comps-not-needed: a group file is given, so the repository's own unreadable groups are not
/// read.
#[rstest]
fn own_groups_are_not_needed(#[values("repo", "repo2")] repo: &str, #[values("two", "joint")] mode: &str) {
    let case = "DATA/cases/resolve/comps-not-needed";
    let line = format!(
        "--repo {case}/{repo} --group-file {case}/group.xml --buildrequires {case}/br.jsonl --mode {mode} --jsonl"
    );
    assert_eq!(run(&line).unwrap(), GCC);
}

/// Without another group file, the error says why the repository's own groups are unusable.
#[test]
fn own_groups_that_cannot_be_read_are_named() {
    let dir = tempdir().unwrap();
    let arch = dir.path().join("x86_64");
    let xml = primary_xml(&[pkg("gcc-1-1.noarch")]);
    let file = |kind, name, bytes| MetaFile { kind, name, bytes, open_size: None };
    write_repo(&arch, &[file("primary", "primary.xml", xml.as_bytes()), file("group", "comps.xml", b"<comps><group>")]);
    let br = dir.path().join("br.jsonl");
    std::fs::write(&br, "{\"nvr\":\"x-1-1\",\"requires\":[\"gcc\"]}\n").unwrap();
    let line = format!("--repo {} --buildrequires {} --jsonl", arch.display(), br.display());
    let error = run(&line).unwrap_err();
    assert!(
        error.contains("find the build group") && error.contains("comps.xml") && error.contains("cut short"),
        "{error}"
    );
    std::fs::create_dir(dir.path().join("groups")).unwrap();
    std::fs::write(dir.path().join("groups/comps.xml"), "<comps><group><id>build</id></group></comps>").unwrap();
    assert_eq!(run(&line).unwrap(), GCC, "Koji's own list beside it");
}

/// Case repomd-open-size and similar ones: sizes are hints.
#[rstest]
#[case::open_zero("<open-size>0</open-size>")]
#[case::open_small("<open-size>12</open-size>")]
#[case::open_negative("<open-size>-1</open-size>")]
#[case::open_words("<open-size>many</open-size>")]
#[case::empty("<size/><open-size/>")]
#[case::decimal("<size>1332.0</size><open-size>1332.5</open-size>")]
#[case::wrong("<size>3</size>")]
#[case::huge("<size>99999999999999999999999</size>")]
#[case::words("<size>many</size>")]
fn sizes_are_hints(#[case] sizes: &str, #[values("xml", "gz")] suffix: &str) {
    let packed = pack(suffix, primary_xml(&[pkg("gcc-1-1.noarch")]).as_bytes());
    let dir = repo(&format!("primary.xml.{suffix}"), &packed, |xml| xml.replace("<open-size>17</open-size>", sizes));
    assert_eq!(names(dir.path()), ["gcc"]);
}

/// Old and odd checksums. A checksum that is there is still checked.
#[rstest]
fn checksums(#[values("md5", "sha", "sha512", "")] kind: &str) {
    let xml = primary_xml(&[pkg("gcc-1-1.noarch")]);
    let dir = repo("primary.xml", xml.as_bytes(), |repomd| {
        let (before, rest) = repomd.split_once("<checksum").unwrap();
        let (_, after) = rest.split_once("<location").unwrap();
        let sum = match ChecksumKind::parse(kind) {
            Some(known) => format!("<checksum type=\"{kind}\">{}</checksum>", known.digest(xml.as_bytes())),
            None => String::new(),
        };
        format!("{before}{sum}<location{after}")
    });
    assert_eq!(names(dir.path()), ["gcc"]);
    let before = RepoDir::open(dir.path()).unwrap().primary_checksum().unwrap();
    std::fs::write(dir.path().join("repodata/primary.xml"), primary_xml(&[pkg("evil-1-1.noarch")])).unwrap();
    let changed = RepoDir::open(dir.path()).unwrap();
    if kind.is_empty() {
        assert_eq!(names(dir.path()), ["evil"]);
        assert_ne!(changed.primary_checksum().unwrap(), before, "another content has another identity");
    } else {
        assert!(changed.packages().unwrap_err().to_string().contains("but repomd.xml says"));
    }
}

/// Several streams in one file, and padding after the last. A truncated file does not pass for one
/// with padding.
#[rstest]
fn streams_and_padding(#[values("gz", "bz2", "xz", "zst")] suffix: &str) {
    let xml = primary_xml(&[pkg("gcc-1-1.noarch")]);
    let (first, second) = xml.as_bytes().split_at(100);
    let mut packed = pack(suffix, first);
    packed.extend(pack(suffix, second));
    packed.extend([0; 1000]);
    let name = format!("primary.xml.{suffix}");
    assert_eq!(names(repo(&name, &packed, |xml| xml).path()), ["gcc"]);
    let cut = &packed[..packed.len() - 1000 - 12];
    let dir = repo(&name, cut, |xml| xml);
    assert!(RepoDir::open(dir.path()).unwrap().packages().is_err());
}

/// Case epoch0-label: a header with epoch 0 gets the same name as the package in a repository.
#[test]
fn epoch_zero_is_not_said() {
    let case = "DATA/cases/resolve/epoch0-label";
    let out = run(&format!("--repo {case}/repo --srpm {case}/epoch0-1-1.src.rpm --jsonl")).unwrap();
    assert!(out.starts_with("{\"source\":\"epoch0-1-1\",\"ok\":true"), "{out}");
}

/// Case odd-epoch-refuses-repo.
#[rstest]
fn an_odd_epoch_refuses_no_repository(#[values("two", "joint")] mode: &str) {
    let case = "DATA/cases/resolve/odd-epoch-refuses-repo";
    let line = format!("--repo {case}/repo --buildrequires {case}/br.jsonl --mode {mode} --jsonl");
    assert_eq!(run(&line).unwrap(), GCC);
}

/// Similar to odd-epoch-refuses-repo: an error in one package costs only that package or
/// dependency, and is counted.
#[rstest]
#[case::epoch("<e><entry name='b' flags='LT' epoch='%1' ver='2'/></e>", Oddity::DependencyEpoch)]
#[case::negative_epoch("<e><entry name='b' flags='LT' epoch='-1' ver='2'/></e>", Oddity::DependencyEpoch)]
#[case::empty_flags("<e><entry name='b' flags='' epoch='0' ver='2'/></e>", Oddity::DependencyComparison)]
#[case::unknown_flags("<e><entry name='b' flags='&lt;&gt;' ver='2'/></e>", Oddity::DependencyComparison)]
#[case::not_equal("<e><entry name='b' flags='NE' ver='2'/></e>", Oddity::DependencyComparison)]
#[case::no_name("<e><entry flags='EQ' ver='2'/></e>", Oddity::DependencyWithoutName)]
#[case::empty_name("<e><entry name=''/></e>", Oddity::DependencyWithoutName)]
#[case::nul("<e><entry name='b\0'/></e>", Oddity::DependencyNul)]
#[case::rich("<e><entry name='(b or c and d)'/></e>", Oddity::DependencyRich)]
#[case::text("<e><entry name='(2008-06-25)\"'/></e>", Oddity::DependencyRich)]
fn odd_dependencies(
    #[case] entry: &str,
    #[case] oddity: Oddity,
    #[values("requires", "provides", "obsoletes", "conflicts", "recommends", "supplements")] list: &str,
) {
    let xml = format!(
        "<metadata><package><name>odd</name><arch>noarch</arch><version ver='1' \
            rel='1'/><format>{}</format></package>{GCC_XML}",
        entry.replace("e>", &format!("{list}>"))
    );
    let content = parse(xml.as_bytes());
    assert_eq!(content.oddities.counts().collect::<Vec<_>>(), [(oddity, 1)]);
    assert!(content.oddities.examples()[0].starts_with("package odd: "), "{:?}", content.oddities.examples());
    for mode in [Mode::Two, Mode::Joint] {
        let universe = Universe::load(Arc::new(content.clone()), "x86_64").unwrap();
        for solvers in [Solvers::Both, Solvers::Libsolv] {
            let answer = universe.prepare_with(&[""; 0], mode, solvers).unwrap().resolver().resolve(&["gcc", "odd"]);
            assert_eq!(
                universe.names(&answer.closure),
                ["gcc-0:1-1.noarch", "odd-0:1-1.noarch"],
                "{:?}",
                answer.problems
            );
        }
    }
}

/// Packages that are left out, or read with a default.
#[rstest]
#[case::no_name("<arch>noarch</arch><version ver='1' rel='1'/>", &[Oddity::PackageWithoutName], &[])]
#[case::nothing("", &[Oddity::PackageWithoutName, Oddity::PackageWithoutArch, Oddity::PackageWithoutVersion], &[])]
#[case::epoch("<name>odd</name><arch>noarch</arch><version epoch='x' ver='1' rel='1'/>", &[Oddity::PackageEpoch], &[])]
#[case::large("<name>odd</name><arch>noarch</arch><version epoch='4294967296' ver='1'/>", &[Oddity::PackageEpoch], &[])]
#[case::nul("<name>o\0d</name><arch>noarch</arch><version ver='1' rel='1'/>", &[Oddity::PackageNul], &[])]
#[case::no_arch("<name>odd</name><version ver='1' rel='1'/>", &[Oddity::PackageWithoutArch], &["odd-0:1-1.noarch"])]
#[case::no_version("<name>odd</name><arch>noarch</arch>", &[Oddity::PackageWithoutVersion], &["odd-0:-.noarch"])]
fn odd_packages(#[case] package: &str, #[case] expected: &[Oddity], #[case] there: &[&str]) {
    let content = parse(format!("<metadata><package>{package}</package>{GCC_XML}").as_bytes());
    let oddities: Vec<Oddity> = content.oddities.counts().map(|(oddity, _)| oddity).collect();
    assert_eq!(oddities, expected);
    let universe = Universe::load(Arc::new(content), "x86_64").unwrap();
    let answer = universe.prepare(&[""; 0], Mode::Two).unwrap().resolver().resolve(&["gcc"]);
    assert_eq!(universe.names(&answer.closure), ["gcc-0:1-1.noarch"]);
    let names: Vec<String> = universe.ids().map(|id| universe.nevra(id).to_string()).collect();
    assert_eq!(names.split_last().unwrap().1, there);
}

/// A document that declares ISO-8859-1 is read as ISO-8859-1.
#[test]
fn declared_latin_1() {
    let xml = format!(
        "<?xml version='1.0' encoding='ISO-8859-1'?><metadata><package><name>caf\u{e9}</name><arch>noarch</arch>\
         <version ver='1' rel='1'/></package>{GCC_XML}"
    );
    let bytes: Vec<u8> = xml.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(parse(&bytes).packages()[0].name, "caf\u{e9}");
}

/// Case rich-not-understood: a rich dependency that libsolv cannot read is dropped, all others are
/// read.
#[rstest]
#[case("p1", &["p1"])]
#[case("p2", &["p2"])]
#[case("p3", &["p3", "w7"])]
#[case("p4", &["a", "p4"])]
fn rich_requirements(
    #[case] package: &str,
    #[case] expected: &[&str],
    #[values("two", "joint")] mode: &str,
    #[values("both", "libsolv")] solver: &str,
) {
    let case = "DATA/cases/resolve/rich-not-understood";
    let line = format!(
        "--repo {case}/repo --buildrequires {case}/br.jsonl --mode {mode} --solver {solver} --packages {package}-1-1 \
            --jsonl"
    );
    let names: Vec<String> = expected.iter().map(|name| format!("\"{name}-0:1-1.noarch\"")).collect();
    assert_eq!(
        run(&line).unwrap(),
        format!("{{\"source\":\"{package}-1-1\",\"ok\":true,\"closure\":[{}]}}\n", names.join(","))
    );
}

/// Chains as long as the bounds allow, on a thread's stack, with both solvers.
#[rstest]
fn long_chains(#[values("or", "and", "with", "if", "unless", "without")] op: &str, #[values(300, 5000)] parts: usize) {
    let parts = if ["if", "unless", "without"].contains(&op) { parts.min(RICH_TREE_MAX + 1) } else { parts };
    let chain: Vec<String> = (0..parts).map(|i| format!("w{i}")).collect();
    let rich = format!("({})", chain.join(&format!(" {op} ")));
    let packages = [pkg("p-1-1.noarch").requires(&[&rich]), pkg("w0-1-1.noarch"), pkg("w7-1-1.noarch")];
    let universe = Universe::load(Arc::new(content(&packages)), "x86_64").unwrap();
    assert_eq!(universe.content().oddities.counts().count(), 0);
    for mode in [Mode::Two, Mode::Joint] {
        let answers = [Solvers::Both, Solvers::Libsolv].map(|solvers| {
            let answer = universe.prepare_with(&[""; 0], mode, solvers).unwrap().resolver().resolve(&["p"]);
            universe.names(&answer.closure)
        });
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0].is_empty(), ["and", "with"].contains(&op), "{answers:?}");
    }
}

/// libsolv reads `else` outside of a condition, and finds that nothing provides it.
#[rstest]
#[case("(a else b)", false)]
#[case("(a or (a else b))", true)]
#[case("(none or (a else b))", false)]
#[case("(none if a else b)", false)]
#[case("(none if gone else b else a)", false)]
#[case("(none if gone else b)", true)]
#[case("(a if (a else b))", true)]
fn else_without_a_condition(#[case] rich: &str, #[case] expected: bool) {
    let packages = [pkg("p-1-1.noarch").requires(&[rich, "a"]), pkg("a-1-1.noarch"), pkg("b-1-1.noarch")];
    let universe = Universe::load(Arc::new(content(&packages)), "x86_64").unwrap();
    for mode in [Mode::Two, Mode::Joint] {
        for solvers in [Solvers::Both, Solvers::Libsolv] {
            let answer = universe.prepare_with(&[""; 0], mode, solvers).unwrap().resolver().resolve(&["p"]);
            assert_eq!(answer.ok, expected, "{solvers:?} {:?}", answer.problems);
        }
    }
}

/// A path with a version is satisfied by the file's owner, whatever its version, like in libsolv.
/// That includes files that only the full list has.
#[rstest]
fn versioned_paths(#[values("/bin/sh >= 1", "/usr/share/x = 7-1", "(/usr/share/x >= 1 or none)")] path: &str) {
    let packages = [pkg("p-1-1.noarch").requires(&[path]), pkg("owner-1-1.noarch").files(&["/bin/sh", "/usr/share/x"])];
    let content = content(&packages);
    assert_eq!(beyond_primary(std::slice::from_ref(&content), []).len(), usize::from(path.contains("share")));
    let universe = Universe::load(Arc::new(content), "x86_64").unwrap();
    for mode in [Mode::Two, Mode::Joint] {
        for solvers in [Solvers::Both, Solvers::Libsolv] {
            let answer = universe.prepare_with(&[""; 0], mode, solvers).unwrap().resolver().resolve(&["p"]);
            assert_eq!(
                universe.names(&answer.closure),
                ["owner-0:1-1.noarch", "p-0:1-1.noarch"],
                "{:?}",
                answer.problems
            );
        }
    }
}
