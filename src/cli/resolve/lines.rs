//! Answers as lines of JSON.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ResolveArgs, ResolveCliError};
use crate::cli::sources::Source;
use crate::resolve::{PkgId, Resolution, Universe};

#[derive(Serialize)]
struct Line<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_for_this_arch: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closure: Option<Vec<&'a str>>,
    /// Packages that the build group brought and that the buildroot does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    erased: Vec<&'a str>,
    /// Rich BuildRequires that were skipped, because nothing they name exists.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    skipped: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<BTreeMap<String, u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    true_distance: Option<BTreeMap<String, u16>>,
}

pub(super) fn write_line(
    out: &mut Vec<u8>,
    source: &Source,
    answer: Option<&Resolution>,
    names: &Names<'_>,
    args: &ResolveArgs,
) -> Result<(), ResolveCliError> {
    let measured = answer.filter(|a| args.distances && a.ok);
    let mut line = Line {
        source: &source.label,
        ok: answer.map(|a| a.ok),
        not_for_this_arch: source.excluded,
        closure: None,
        erased: Vec::new(),
        skipped: answer.map_or(&[], |a| &a.skipped),
        problems: None,
        count: None,
        digest: None,
        distance: measured.map(|a| by_name(&a.closure, &a.distances, names.universe)),
        true_distance: measured.map(|a| by_name(&a.closure, &a.true_distances, names.universe)),
    };
    if let Some(answer) = answer {
        if args.digest {
            line.count = Some(answer.closure.len());
            line.digest = Some(answer.ok.then(|| names.digest(&answer.closure)));
        } else if answer.ok {
            line.closure = Some(names.sorted(&answer.closure).collect());
            line.erased = names.sorted(&answer.erased).collect();
        } else {
            line.problems = Some(&answer.problems);
        }
    }
    json_line(out, &line)
}

pub(super) fn json_line(out: &mut impl Write, line: &impl Serialize) -> Result<(), ResolveCliError> {
    serde_json::to_writer(&mut *out, line).map_err(|e| ResolveCliError::Write(e.into()))?;
    out.write_all(b"\n").map_err(ResolveCliError::Write)
}

/// The names of all packages, and their sort order. It is computed once, because closures have
/// hundreds of packages and most packages are in many closures.
pub(super) struct Names<'u> {
    universe: &'u Universe,
    texts: Vec<String>,
    ranks: Vec<u32>,
}

impl<'u> Names<'u> {
    pub(super) fn new(universe: &'u Universe) -> Self {
        let texts: Vec<String> = universe.ids().map(|id| universe.nevra(id).to_string()).collect();
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_unstable_by(|&a, &b| texts[a].cmp(&texts[b]));
        let mut ranks = vec![0; texts.len()];
        for (rank, &index) in (0..).zip(&order) {
            ranks[index] = rank;
        }
        Self { universe, texts, ranks }
    }

    /// Returns the names of a closure, sorted bytewise.
    fn sorted(&self, closure: &[PkgId]) -> impl Iterator<Item = &str> {
        let mut closure = closure.to_vec();
        closure.sort_unstable_by_key(|id| self.ranks[id.index()]);
        closure.into_iter().map(|id| self.texts[id.index()].as_str())
    }

    /// Returns the first 16 bytes, in hex, of SHA-256 over the sorted names joined with newlines.
    fn digest(&self, closure: &[PkgId]) -> String {
        let mut hash = Sha256::new();
        for (i, name) in self.sorted(closure).enumerate() {
            if i > 0 {
                hash.update(b"\n");
            }
            hash.update(name);
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Returns the smallest distance of each package name. Names out of reach are left out.
fn by_name<D: Copy + Ord>(closure: &[PkgId], distances: &[Option<D>], universe: &Universe) -> BTreeMap<String, D> {
    let mut map: BTreeMap<String, D> = BTreeMap::new();
    for (&id, distance) in closure.iter().zip(distances) {
        if let Some(distance) = *distance {
            let least = map.entry(universe.package(id).name.to_string()).or_insert(distance);
            *least = distance.min(*least);
        }
    }
    map
}
