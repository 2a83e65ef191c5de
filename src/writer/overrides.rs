//! Warns about architecture overrides that name an architecture the build tag does not have.
//!
//! That part of an override changes nothing. The operator who set it should know.

use std::collections::BTreeSet;

use super::Writer;
use crate::decide::arches::absent;
use crate::event::Event;
use crate::model::Name;

/// The overrides already warned about, and whether they must be checked again.
#[derive(Default)]
pub(crate) struct Overrides {
    /// Whether no relevant event happened since the last check.
    known: bool,
    /// Collection, package and architecture of each warning given.
    said: BTreeSet<(Name, Name, Name)>,
}

impl Overrides {
    /// Notes a folded event. Overrides and architectures change rarely, and packages are many, so
    /// the check runs only after a relevant event.
    pub(crate) fn folded(&mut self, event: &Event) {
        self.known &= !matches!(
            event,
            Event::PackageArchOverrideSet(_)
                | Event::TagObserved(_)
                | Event::TargetObserved(_)
                | Event::CollectionCreated(_)
                | Event::CollectionEdited(_)
                | Event::RepoResolved(_)
        );
    }
}

impl Writer {
    /// Warns once about each overridden architecture that the tag does not have. Warns again if the
    /// architecture came and went.
    ///
    /// Cost: O(packages) after a relevant event, else nothing.
    pub(crate) fn look_at_overrides(&mut self) {
        if std::mem::replace(&mut self.overrides.known, true) {
            return;
        }
        let mut now = BTreeSet::new();
        for (cname, c) in &self.state.collections {
            for (pname, p) in c.packages.iter().filter(|(_, p)| p.arch_override.is_some()) {
                for arch in absent(c, p) {
                    let this = (cname.clone(), pname.clone(), arch.clone());
                    if !self.overrides.said.contains(&this) {
                        let has = c.known_arches().join(" ");
                        tracing::warn!(collection = %cname, package = %pname, arch = %arch, has = %has,
                            "the override of a package names an architecture its build tag does not have; that part \
                                has no effect");
                    }
                    now.insert(this);
                }
            }
        }
        self.overrides.said = now;
    }
}
