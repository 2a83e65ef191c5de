//! Finds the packages that BuildConflicts keep out of a buildroot.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::Prepared;
use crate::model::counted::and_more;
use crate::resolve::universe::{PkgId, Universe};

/// Most packages named in a text.
const SHOWN_MAX: usize = 5;

/// The packages of a universe by name. The index is made for the first source package with
/// BuildConflicts.
#[derive(Default)]
pub(super) struct KeptOut(OnceLock<FxHashMap<SmolStr, Vec<PkgId>>>);

impl KeptOut {
    /// Returns the packages whose name is one of these texts, ascending. Packages that cannot be
    /// installed anyway are left out. Cost: the look-ups; the first call also O(packages).
    pub(super) fn of(&self, conflicts: &[String], prepared: &Prepared<'_>) -> Vec<PkgId> {
        if conflicts.is_empty() {
            return Vec::new();
        }
        let by_name = self.0.get_or_init(|| {
            let universe = prepared.universe();
            let mut by_name: FxHashMap<SmolStr, Vec<PkgId>> = FxHashMap::default();
            for id in universe.ids().filter(|id| prepared.native().is_installable(*id)) {
                by_name.entry(universe.package(id).name.as_str().into()).or_default().push(id);
            }
            by_name
        });
        let mut found: Vec<PkgId> =
            conflicts.iter().filter_map(|name| by_name.get(name.as_str())).flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Returns a problem text for a source package that would resolve without its BuildConflicts.
pub(super) fn text(kept_out: &[PkgId], universe: &Universe) -> String {
    let shown: Vec<String> = kept_out.iter().take(SHOWN_MAX).map(|id| universe.nevra(*id).to_string()).collect();
    let more = and_more(kept_out.len(), SHOWN_MAX);
    format!("the source package's BuildConflicts keep out {}{more}; without them it would resolve", shown.join(", "))
}
