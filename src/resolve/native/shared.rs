//! Finds names that several packages provide in some version. The policy compares candidates by
//! them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::Shared;
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
pub(super) fn shared_provides(universe: &Universe, dead: &[bool]) -> (Rows<Shared>, FxHashMap<u32, Sig>) {
    struct Entry {
        name: u32,
        node: Node,
        evr: DepEvr,
        below: bool,
    }
    let content = universe.content();
    let mut names: FxHashMap<&str, u32> = FxHashMap::default();
    // For each name, the only package that has it, or SYSTEM if several have it.
    let mut holder: Vec<Node> = Vec::new();
    let mut seen = |names: &mut FxHashMap<_, u32>, name, p: Node| {
        let next = index32(holder.len());
        let id = *names.entry(name).or_insert(next);
        if id == next {
            holder.push(p);
        } else if holder[id as usize] != p {
            holder[id as usize] = SYSTEM;
        }
    };
    let counts = |op: Op, evr: &DepEvr| match op {
        Op::Eq => !is_hash(evr),
        Op::Le | Op::Lt => true,
        Op::Ge | Op::Gt => false,
    };
    let alive = || content.packages().iter().enumerate().filter(|(i, _)| !dead[i + 2]);
    for (index, p) in alive() {
        seen(&mut names, p.name.as_str(), node(index));
        for &dep in &p.provides {
            let dependency = content.dependency(dep);
            if dependency.relation.is_some() && dependency.name != p.name {
                seen(&mut names, dependency.name.as_str(), node(index));
            }
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut once: FxHashSet<DepId> = FxHashSet::default();
    for (index, p) in alive() {
        let mut add = |name: &str, op: Op, evr: &DepEvr, own: bool| {
            let id = names[name];
            if holder[id as usize] == SYSTEM && (own || counts(op, evr)) {
                entries.push(Entry { name: id, node: node(index), evr: evr.clone(), below: op == Op::Lt });
            }
        };
        let own = DepEvr::from(&p.evr);
        let mut listed = false;
        // libsolv drops repetitions when it reads the list.
        once.clear();
        for &dep in p.provides.iter().filter(|dep| once.insert(**dep)) {
            let dependency = content.dependency(dep);
            if let Some(r) = &dependency.relation {
                listed |= dependency.name == p.name && r.op == Op::Eq && r.evr == own;
                add(&dependency.name, r.op, &r.evr, false);
            }
        }
        if !listed && !is_hash(&own) {
            add(&p.name, Op::Eq, &own, true);
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
    let shared = names.iter().filter(|(_, id)| holder[**id as usize] == SYSTEM);
    let sigs = shared.map(|(name, &id)| {
        let mut mixer = Mixer::default();
        mixer.text(name);
        (id, mixer.finish())
    });
    (Rows::from_pairs(dead.len(), &pairs), sigs.collect())
}
