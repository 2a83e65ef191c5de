//! Which source packages have the same buildroot in two resolutions.

use super::verdicts::{SourceResult, SourceVerdict, UnitVerdicts};
use crate::model::Name;

/// In [`Unchanged::places`]: the package is not in the earlier table.
const NEW: u32 = u32::MAX;

/// Compares results of two resolutions of a collection on an architecture.
pub(crate) struct Unchanged<'u> {
    earlier: &'u UnitVerdicts,
    /// For each package of the later table, its index in the earlier one.
    places: Vec<u32>,
}

impl<'u> Unchanged<'u> {
    /// Prepares a comparison. Cost: O(packages).
    pub(crate) fn new(earlier: &'u UnitVerdicts, later: &UnitVerdicts) -> Self {
        let mut old = (0..).zip(&earlier.packages).peekable();
        let place = |package: &String| {
            while old.next_if(|(_, before)| *before < package).is_some() {}
            old.next_if(|(_, before)| *before == package).map_or(NEW, |(at, _)| at)
        };
        Self { earlier, places: later.packages.iter().map(place).collect() }
    }

    /// Returns each result of the later resolution with the earlier one of the same source package.
    pub(crate) fn pairs<'l>(
        earlier: Option<&'l Self>,
        later: &'l UnitVerdicts,
    ) -> impl Iterator<Item = (&'l Name, &'l SourceResult, Option<&'l SourceResult>)> {
        let mut old = earlier.into_iter().flat_map(|this| &this.earlier.sources).peekable();
        later.sources.iter().map(move |(name, result)| {
            while old.next_if(|(before, _)| *before < name).is_some() {}
            (name, result, old.next_if(|(before, _)| *before == name).map(|(_, result)| result))
        })
    }

    /// Checks whether a source package resolves in both, in the same version, with the same packages
    /// at the same distances. Cost: O(packages of the buildroot).
    pub(crate) fn has(&self, before: &SourceResult, now: &SourceResult) -> bool {
        let (SourceVerdict::Ok { closure: old, distances: near, .. }, SourceVerdict::Ok { closure, distances, .. }) =
            (&before.verdict, &now.verdict)
        else {
            return false;
        };
        let place = |index: &u32| self.places.get(*index as usize).copied().filter(|at| *at != NEW);
        (&before.source, before.noarch, &before.in_repo) == (&now.source, now.noarch, &now.in_repo)
            && old.len() == closure.len()
            && near == distances
            && closure.iter().zip(&**old).all(|(now, before)| place(now) == Some(*before))
    }
}
