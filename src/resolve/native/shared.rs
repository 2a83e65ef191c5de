//! Finds names that several packages provide in some version. The policy compares candidates by
//! them.

use std::borrow::Cow;

use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::Shared;
use super::provides::Names;
use super::sets::Rows;
use super::{Node, SYSTEM, index32, node};
use crate::model::rpmvercmp;
use crate::repodata::{DepEvr, DepId, Op};
use crate::resolve::sig::{Mixer, Sig};
use crate::resolve::universe::Universe;

/// Checks whether a version looks like a hash. Such versions do not say which is newer.
fn is_hash(evr: &DepEvr) -> bool {
    let text = evr.to_string();
    text.len() >= 4 && text.bytes().all(|b| matches!(b, b'a'..=b'f' | b'0'..=b'9'))
}

/// Returns for each package the names that it shares with other packages by `=`, `<=` or `<`, and
/// how their versions compare. Also returns the hash of each of these names.
pub(super) fn shared_provides(
    universe: &Universe,
    names: &Names,
    dead: &[bool],
) -> (Rows<Shared>, FxHashMap<u32, Sig>) {
    struct Entry<'e> {
        name: u32,
        node: Node,
        evr: Cow<'e, DepEvr>,
        below: bool,
    }
    const NOBODY: Node = 0;
    let content = universe.content();
    // For each name, the only package that has it, or SYSTEM if several have it.
    let mut holder: Vec<Node> = vec![NOBODY; names.count];
    let mut seen = |name: u32, p: Node| {
        let holder = &mut holder[name as usize];
        *holder = if *holder == NOBODY || *holder == p { p } else { SYSTEM };
    };
    let counts = |op: Op, evr: &DepEvr| match op {
        Op::Eq => !is_hash(evr),
        Op::Le | Op::Lt => true,
        Op::Ge | Op::Gt => false,
    };
    let alive = || content.packages().iter().enumerate().filter(|(i, _)| !dead[i + 2]);
    for (index, p) in alive() {
        let own = names.of_packages[index];
        seen(own, node(index));
        for &dep in &p.provides {
            let name = names.of_dependencies[dep.index()];
            if name != own && content.dependency(dep).relation.is_some() {
                seen(name, node(index));
            }
        }
    }
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut once: FxHashSet<DepId> = FxHashSet::default();
    for (index, p) in alive() {
        let own_name = names.of_packages[index];
        let node = node(index);
        let is_shared = |name: u32| holder[name as usize] == SYSTEM;
        let own = DepEvr::from(&p.evr);
        let mut listed = false;
        // libsolv drops repetitions when it reads the list.
        once.clear();
        for &dep in p.provides.iter().filter(|dep| once.insert(**dep)) {
            let name = names.of_dependencies[dep.index()];
            if !is_shared(name) {
                continue;
            }
            if let Some(r) = &content.dependency(dep).relation {
                listed |= name == own_name && r.op == Op::Eq && r.evr == own;
                if counts(r.op, &r.evr) {
                    entries.push(Entry { name, node, evr: Cow::Borrowed(&r.evr), below: r.op == Op::Lt });
                }
            }
        }
        if is_shared(own_name) && !listed && !is_hash(&own) {
            entries.push(Entry { name: own_name, node, evr: Cow::Owned(own), below: false });
        }
    }
    let mut order: Vec<u32> = (0..index32(entries.len())).collect();
    let full = |a: &DepEvr, b: &DepEvr| {
        (a.epoch.unwrap_or(0).cmp(&b.epoch.unwrap_or(0)))
            .then_with(|| rpmvercmp(&a.version, &b.version))
            .then_with(|| a.release.is_some().cmp(&b.release.is_some()))
            .then_with(|| rpmvercmp(a.release.as_deref().unwrap_or(""), b.release.as_deref().unwrap_or("")))
    };
    order.sort_by(|&a, &b| {
        let (a, b) = (&entries[a as usize], &entries[b as usize]);
        a.name.cmp(&b.name).then_with(|| full(&a.evr, &b.evr))
    });
    let mut ranked: Vec<Shared> = vec![Shared::default(); entries.len()];
    for group in order.chunk_by(|&a, &b| entries[a as usize].name == entries[b as usize].name) {
        let mut rank = 0;
        let mut unclear = false;
        for pair in group.windows(2) {
            let (a, b) = (&entries[pair[0] as usize].evr, &entries[pair[1] as usize].evr);
            let same = a.epoch.unwrap_or(0) == b.epoch.unwrap_or(0) && rpmvercmp(&a.version, &b.version).is_eq();
            unclear |= same && a.release.is_some() != b.release.is_some();
        }
        for (i, &e) in group.iter().enumerate() {
            if i > 0 && full(&entries[group[i - 1] as usize].evr, &entries[e as usize].evr).is_ne() {
                rank += 1;
            }
            let entry = &entries[e as usize];
            ranked[e as usize] = Shared { name: entry.name, rank, below: entry.below, unclear };
        }
    }
    let pairs: Vec<(u32, Shared)> = entries.iter().zip(&ranked).map(|(e, s)| (e.node, *s)).collect();
    let mut sigs: FxHashMap<u32, Sig> = FxHashMap::default();
    let mut remember = |number: u32, name: &str| {
        if holder[number as usize] == SYSTEM {
            sigs.entry(number).or_insert_with(|| {
                let mut mixer = Mixer::default();
                mixer.text(name);
                mixer.finish()
            });
        }
    };
    content.packages().iter().zip(&names.of_packages).for_each(|(p, number)| remember(*number, &p.name));
    content.dependencies().zip(&names.of_dependencies).for_each(|(d, number)| remember(*number, &d.name));
    (Rows::from_pairs(dead.len(), &pairs), sigs)
}
