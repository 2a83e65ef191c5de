//! Repositories that are wrong somewhere and are read all the same, as dnf reads them.

use std::path::Path;

use koschei::repodata::{ChecksumKind, RepoDir};
use rstest::rstest;
use tempfile::{TempDir, tempdir};

use crate::repodata_bad::pack;
use crate::resolve_cli::run;
use crate::tiny::{MetaFile, pkg, primary_xml, write_repo};

const GCC: &str = "{\"source\":\"x-1-1\",\"ok\":true,\"closure\":[\"gcc-0:1-1.noarch\"]}\n";

/// A repository whose only metadata file is this, with `repomd.xml` changed by `edit`.
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

/// Case comps-not-needed: a group file is given, so that the repository's own groups, which nobody can read, are not read.
#[rstest]
fn own_groups_are_not_needed(#[values("repo", "repo2")] repo: &str, #[values("two", "joint")] mode: &str) {
    let case = "DATA/cases/resolve/comps-not-needed";
    let line = format!(
        "--repo {case}/{repo} --group-file {case}/group.xml --buildrequires {case}/br.jsonl --mode {mode} --jsonl"
    );
    assert_eq!(run(&line).unwrap(), GCC);
}

/// Without another group the error says why the repository's own is none.
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

/// Case repomd-open-size and its kind: sizes are hints.
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

/// Old and odd checksums. One that is there is still checked.
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

/// Several streams in one file, and padding after the last; a file that is cut short is not taken for one with padding.
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

/// Case epoch0-label: a header with the epoch 0 is named as the same package in a repository.
#[test]
fn epoch_zero_is_not_said() {
    let case = "DATA/cases/resolve/epoch0-label";
    let out = run(&format!("--repo {case}/repo --srpm {case}/epoch0-1-1.src.rpm --jsonl")).unwrap();
    assert!(out.starts_with("{\"source\":\"epoch0-1-1\",\"ok\":true"), "{out}");
}
