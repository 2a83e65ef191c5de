//! Finds packages that modules hide, by what they would provide.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::overlap::overlap;
use crate::model::counted::and_more;
use crate::repodata::{DepEvr, Dependency, Op, Relation, RepoContent, Rich, RichOp};

/// Most packages named in a text.
const SHOWN_MAX: usize = 5;

/// Index of [`RepoContent::filtered`] by package names and by names of provides. It is built on
/// first use: most repositories hide nothing.
#[derive(Debug, Default)]
pub(super) struct Hidden(OnceLock<FxHashMap<SmolStr, Vec<usize>>>);

impl Hidden {
    /// Returns a text that names the hidden packages which would have provided something. Returns
    /// `None` if there is no such package. Of a rich dependency, the parts that it may require
    /// count; its conditions do not. Cost: the hidden packages with the name.
    pub(super) fn text(&self, dependency: &Dependency, content: &RepoContent) -> Option<String> {
        if content.filtered.is_empty() {
            return None;
        }
        let mut wanted = Vec::new();
        match dependency.is_rich().then(|| Rich::parse(&dependency.name)) {
            Some(rich) => parts(&rich.ok()?, &mut wanted),
            None => wanted.push(dependency.clone()),
        }
        let mut found: Vec<usize> = wanted.iter().flat_map(|one| self.providers(one, content)).collect();
        found.sort_unstable();
        found.dedup();
        let names: Vec<String> = found.iter().take(SHOWN_MAX).map(|at| content.filtered[*at].0.to_string()).collect();
        let more = and_more(found.len(), SHOWN_MAX);
        (!names.is_empty()).then(|| format!("filtered by modules: {}{more}", names.join(", ")))
    }

    fn providers(&self, one: &Dependency, content: &RepoContent) -> Vec<usize> {
        let by_name = self.0.get_or_init(|| {
            let mut by_name: FxHashMap<SmolStr, Vec<usize>> = FxHashMap::default();
            for (at, (nevra, provides)) in content.filtered.iter().enumerate() {
                for name in std::iter::once(&nevra.name).chain(provides.iter().map(|p| &p.name)) {
                    let places = by_name.entry(name.clone()).or_default();
                    if places.last() != Some(&at) {
                        places.push(at);
                    }
                }
            }
            by_name
        });
        let fits = |at: &usize| {
            let (nevra, provides) = &content.filtered[*at];
            let relation = Relation { op: Op::Eq, evr: DepEvr::from(&nevra.evr) };
            let itself = Dependency { name: nevra.name.clone(), relation: Some(relation) };
            overlap(&itself, one) || provides.iter().any(|provide| overlap(provide, one))
        };
        by_name.get(&one.name).into_iter().flatten().copied().filter(fits).collect()
    }
}

fn parts(rich: &Rich, found: &mut Vec<Dependency>) {
    match rich {
        Rich::Plain(dependency) => found.push(dependency.clone()),
        Rich::Node(RichOp::And | RichOp::Or | RichOp::With, left, right) => {
            parts(left, found);
            parts(right, found);
        }
        Rich::Node(RichOp::Without | RichOp::Else, left, _) => parts(left, found),
        Rich::Node(RichOp::If | RichOp::Unless, left, right) => {
            parts(left, found);
            if let Rich::Node(RichOp::Else, _, otherwise) = &**right {
                parts(otherwise, found);
            }
        }
    }
}
