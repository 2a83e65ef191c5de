//! Our own solver compared with recorded answers of libsolv, for every source package of a
//! distribution.
//!
//! The samples are in `tests/data/distro`. The whole distribution and its later generations are too
//! large for that. With `KOSCHEI_TEST_SCALE=long` they are read from the directory in
//! `KOSCHEI_DISTRO_DIR`, by default `../shared/data/distro` (`full/{binary,source,oracle}`,
//! `generations/NN.patch.zst` and `generations/oracle`). If there is none, the test is skipped with
//! a message.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use koschei::repodata::RepoDir;
use koschei::resolve::{BuildRequires, Earlier, Mode, Universe};
use rstest::rstest;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::feed::scale;

/// Largest share of resolving source packages that our own solver may hand over to libsolv, in
/// thousandths.
const HANDED_OVER_MAX: usize = 1;

fn lines(path: &Path) -> Vec<Value> {
    let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

fn digest(names: &[String]) -> String {
    Sha256::digest(names.join("\n")).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Compares every source package of `source`, resolved in `binary`, with the oracle.
fn compare(binary: &Path, source: &Path, oracle: &Path, mode: Mode) {
    let source = RepoDir::open(source).unwrap().load([]).unwrap();
    let content = RepoDir::open(binary).unwrap().load([]).unwrap();
    let group = content.groups.as_ref().unwrap().installed("build").unwrap();
    let universe = Universe::load(Arc::new(content), "x86_64").unwrap();
    let prepared = universe.prepare(&group, mode).unwrap();
    let oracle = lines(oracle);
    assert_eq!(oracle.len(), source.packages().len());
    let work: Vec<_> = source.packages().iter().zip(&oracle).collect();
    let half = |part: &[(&koschei::repodata::Package, &Value)]| {
        let mut resolver = prepared.resolver().without_texts();
        let mut handed_over = 0;
        for (package, line) in part {
            let label = line["source"].as_str().unwrap();
            assert!(label.starts_with(package.name.as_str()), "{label}");
            let answer = resolver.resolve(&source.build_requires(package));
            assert_eq!(answer.ok, line["ok"], "{mode:?} {label}");
            let names = universe.names(&answer.closure);
            match (line["closure"].as_array(), line["digest"].as_str()) {
                (Some(closure), _) => assert!(closure.iter().eq(&names), "{mode:?} {label}: {names:?}"),
                (None, Some(expected)) => assert_eq!(digest(&names), expected, "{mode:?} {label}"),
                (None, None) => assert!(!answer.ok, "{mode:?} {label}"),
            }
            handed_over += usize::from(answer.ok && answer.handover.is_some());
        }
        handed_over
    };
    let handed_over = std::thread::scope(|scope| {
        let (first, second) = work.split_at(work.len() / 2);
        let first = scope.spawn(|| half(first));
        half(second) + first.join().unwrap()
    });
    assert!(handed_over * 1000 <= work.len() * HANDED_OVER_MAX, "{handed_over} of {} handed over", work.len());
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/distro").join(path)
}

/// The order in the file matters, so the same packages in another order are another case.
#[rstest]
fn medium(#[values("medium", "medium-shuffled")] set: &str, #[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let oracle = data(set).join("oracle").join(format!("{}.jsonl.zst", mode.as_str()));
    compare(&data(set).join("binary"), &data("medium/source"), &oracle, mode);
}

/// Returns the directory of the whole distribution: `KOSCHEI_DISTRO_DIR`, or the default beside the
/// checkout. `None` if neither exists.
pub(crate) fn whole() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("KOSCHEI_DISTRO_DIR") {
        let dir = PathBuf::from(dir);
        assert!(dir.join("full/binary").is_dir(), "KOSCHEI_DISTRO_DIR: {} has no full/binary", dir.display());
        return Some(dir);
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/distro");
    beside.join("full/binary").is_dir().then_some(beside)
}

/// Returns the next generation's `primary.xml`: a patch against the previous one, made by `zstd
/// --patch-from`.
pub(crate) fn patched(old: &[u8], patch: &Path) -> Vec<u8> {
    let file = std::io::BufReader::new(std::fs::File::open(patch).unwrap());
    let mut decoder = zstd::Decoder::with_ref_prefix(file, old).unwrap();
    decoder.window_log_max(31).unwrap();
    let mut new = Vec::with_capacity(old.len() + old.len() / 8);
    std::io::Read::read_to_end(&mut decoder, &mut new).unwrap();
    new
}

/// Writes a repository with this `primary.xml` and the groups of `base`.
fn write_repo(dir: &Path, base: &Path, primary: &[u8]) {
    let repodata = dir.join("repodata");
    std::fs::create_dir_all(&repodata).unwrap();
    let group = std::fs::read(base.join("repodata/comps.xml")).unwrap();
    let packed = zstd::encode_all(primary, 1).unwrap();
    let data = |kind: &str, name: &str, bytes: &[u8]| {
        std::fs::write(repodata.join(name), bytes).unwrap();
        let sum: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{sum}</checksum><location \
                href=\"repodata/{name}\"/></data>"
        )
    };
    let text = format!(
        "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">{}{}</repomd>",
        data("primary", "primary.xml.zst", &packed),
        data("group", "comps.xml", &group)
    );
    std::fs::write(repodata.join("repomd.xml"), text).unwrap();
}

/// The whole distribution and ten later generations, each in both modes: 22 times 34,230 source
/// packages.
#[test]
fn the_whole() {
    if scale(0, 1) == 0 {
        return;
    }
    let Some(dir) = whole() else {
        println!(
            "there is no ../shared/data/distro and KOSCHEI_DISTRO_DIR is not set: the whole distribution is NOT tested"
        );
        return;
    };
    let base = dir.join("full/binary");
    let source = dir.join("full/source");
    let check = |binary: &Path, oracles: &Path, prefix: &str| {
        for mode in [Mode::Joint, Mode::Two] {
            compare(binary, &source, &oracles.join(format!("{prefix}{}.jsonl.zst", mode.as_str())), mode);
        }
        println!("{}: no difference", binary.display());
    };
    check(&base, &dir.join("full/oracle"), "");
    let scratch = tempfile::tempdir().unwrap();
    let mut old = zstd::decode_all(std::fs::File::open(base.join("repodata/primary.xml.zst")).unwrap()).unwrap();
    for generation in 1..=10 {
        let number = format!("{generation:02}");
        let new = patched(&old, &dir.join("generations").join(format!("{number}.patch.zst")));
        let binary = scratch.path().join(&number);
        write_repo(&binary, &base, &new);
        check(&binary, &dir.join("generations/oracle"), &format!("{number}."));
        std::fs::remove_dir_all(&binary).unwrap();
        old = new;
    }
}

/// Puts the packages of a `primary.xml` in another order, the same one for equal names.
fn shuffled(primary: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(primary).unwrap();
    let (head, rest) = text.split_at(text.find("<package ").unwrap());
    let (packages, foot) = rest.split_at(rest.rfind("</metadata>").unwrap());
    let mut packages: Vec<&str> = packages.split_inclusive("</package>").collect();
    let place = |package: &&str| {
        let name = package.split("<name>").nth(1).map_or("", |rest| rest.split('<').next().unwrap());
        Sha256::digest(name)
    };
    packages.sort_by_cached_key(place);
    [head, &packages.concat(), foot].concat().into_bytes()
}

/// Answers of one series of repositories, in both modes.
#[derive(Default)]
struct Series {
    earlier: [Earlier; 2],
}

impl Series {
    /// Resolves the next repository with what is known of the one before, and anew. Both must give
    /// the same answers.
    fn next(&mut self, binary: &Path, sources: &[BuildRequires]) {
        let content = RepoDir::open(binary).unwrap().load([]).unwrap();
        let group = content.groups.as_ref().unwrap().installed("build").unwrap();
        let universe = Universe::load(Arc::new(content), "x86_64").unwrap();
        let asked: Vec<&BuildRequires> = sources.iter().collect();
        for (mode, earlier) in [Mode::Joint, Mode::Two].into_iter().zip(&mut self.earlier) {
            let prepared = universe.prepare(&group, mode).unwrap();
            let (answers, kept) = prepared.resolve_all(&asked, std::mem::take(earlier), 2);
            *earlier = kept;
            let half = |range: std::ops::Range<usize>| {
                let mut resolver = prepared.resolver().without_texts().with_distances();
                for at in range {
                    let (got, mut expected) = (answers.resolution(at), resolver.resolve_source(&sources[at]));
                    expected.handover = got.handover;
                    // libsolv's texts come with its answers. Answers that are kept have none of them.
                    if got.handover.is_some() {
                        expected.problems.retain(|problem| got.problems.contains(problem));
                    }
                    assert_eq!(got, expected, "{mode:?} {:?}", sources[at]);
                }
            };
            std::thread::scope(|scope| {
                let first = scope.spawn(|| half(0..sources.len() / 2));
                half(sources.len() / 2..sources.len());
                first.join().unwrap();
            });
            println!("{} {mode:?}: {:?}, {} bytes kept", binary.display(), answers.work(), earlier.bytes());
        }
    }
}

fn build_requires(source: &Path) -> Vec<BuildRequires> {
    let source = RepoDir::open(source).unwrap().load([]).unwrap();
    source.packages().iter().map(|package| BuildRequires::literal(source.build_requires(package))).collect()
}

/// The sample of a distribution, with some packages gone, some moved, and back. Answers are taken
/// over from one to the next.
#[test]
fn a_series_of_the_sample() {
    let base = data("medium/binary");
    let sources = build_requires(&data("medium/source"));
    let primary = zstd::decode_all(std::fs::File::open(base.join("repodata/primary.xml.zst")).unwrap()).unwrap();
    let text = String::from_utf8(primary).unwrap();
    let packages: Vec<&str> = text.split_inclusive("</package>").collect();
    let without = |n: usize| {
        let kept = packages.iter().enumerate().filter(|(at, _)| n == 0 || *at == 0 || at % n != n / 2);
        kept.map(|(_, package)| *package).collect::<String>().into_bytes()
    };
    let mut series = Series::default();
    let scratch = tempfile::tempdir().unwrap();
    for (number, primary) in [without(0), without(2000), without(700), without(2000), without(0)].iter().enumerate() {
        let binary = scratch.path().join(number.to_string());
        write_repo(&binary, &base, primary);
        series.next(&binary, &sources);
    }
}

/// The whole distribution and ten later generations, in the order of the files and in another.
#[test]
fn a_series_of_the_whole() {
    if scale(0, 1) == 0 {
        return;
    }
    let Some(dir) = whole() else {
        println!("no whole distribution: see `the_whole`; its series is NOT tested");
        return;
    };
    let (base, sources) = (dir.join("full/binary"), build_requires(&dir.join("full/source")));
    let mut series: [Series; 2] = Default::default();
    let mut primary = zstd::decode_all(std::fs::File::open(base.join("repodata/primary.xml.zst")).unwrap()).unwrap();
    for generation in 0..=10 {
        if generation > 0 {
            primary = patched(&primary, &dir.join("generations").join(format!("{generation:02}.patch.zst")));
        }
        for (order, series) in series.iter_mut().enumerate() {
            let scratch = tempfile::tempdir().unwrap();
            let binary = scratch.path().join(format!("{generation:02}"));
            let primary = if order == 0 { primary.clone() } else { shuffled(&primary) };
            write_repo(&binary, &base, &primary);
            series.next(&binary, &sources);
        }
    }
}
