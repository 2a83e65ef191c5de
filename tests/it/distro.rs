//! Our own solver against recorded answers of libsolv, for every source package of a distribution.
//!
//! The samples are in `tests/data/distro`. The whole distribution and its later generations are too large for that: with
//! `KOSCHEI_TEST_SCALE=long` they are read from the directory `KOSCHEI_DISTRO_DIR` names (`full/{binary,source,oracle}` and, unpacked,
//! `generations/NN/binary` with `generations/oracle`), and left out, loudly, when it is not set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use koschei::repodata::RepoDir;
use koschei::resolve::{Mode, Universe};
use rstest::rstest;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::feed::scale;

/// Source packages that resolve and that our own solver may leave to libsolv, of a thousand.
const HANDED_OVER_MAX: usize = 1;

fn lines(path: &Path) -> Vec<Value> {
    let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

fn digest(names: &[String]) -> String {
    Sha256::digest(names.join("\n")).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Compares every source package of `source` resolved in `binary` with the oracle.
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

/// The order in the file counts, so the same packages in another order are another question.
#[rstest]
fn medium(#[values("medium", "medium-shuffled")] set: &str, #[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let oracle = data(set).join("oracle").join(format!("{}.jsonl.zst", mode.as_str()));
    compare(&data(set).join("binary"), &data("medium/source"), &oracle, mode);
}

/// Everything, and ten later generations of it.
#[rstest]
fn the_whole(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    if scale(0, 1) == 0 {
        return;
    }
    let Some(dir) = std::env::var_os("KOSCHEI_DISTRO_DIR").map(PathBuf::from) else {
        println!("KOSCHEI_DISTRO_DIR is not set: the whole distribution is NOT tested");
        return;
    };
    let name = format!("{}.jsonl.zst", mode.as_str());
    compare(&dir.join("full/binary"), &dir.join("full/source"), &dir.join("full/oracle").join(&name), mode);
    for generation in 1..=10 {
        let (generation, oracles) = (format!("{generation:02}"), dir.join("generations/oracle"));
        let binary = dir.join("generations").join(&generation).join("binary");
        if binary.exists() {
            compare(&binary, &dir.join("full/source"), &oracles.join(format!("{generation}.{name}")), mode);
        } else {
            println!("{} does not exist: generation {generation} is NOT tested", binary.display());
        }
    }
}
