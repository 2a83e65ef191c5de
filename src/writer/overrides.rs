//! Saying which overrides name architectures that cannot be had: they change nothing, and whoever set them should know.

use std::collections::BTreeSet;

use super::turn::Writer;
use crate::decide::arches::absent;
use crate::event::Event;
use crate::model::Name;

/// What was said of overrides, and whether it must be looked at again.
#[derive(Default)]
pub(crate) struct Overrides {
    /// Nothing that decides it happened since the last look.
    known: bool,
    /// Collection, package and architecture of what was said.
    said: BTreeSet<(Name, Name, Name)>,
}

impl Overrides {
    /// An event was folded. Overrides and architectures change rarely, packages are many.
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
    /// Says each architecture of an override once that the tag does not have; again when it came and went. Cost:
    /// O(packages) after something changed that decides it.
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
                                changes nothing");
                    }
                    now.insert(this);
                }
            }
        }
        self.overrides.said = now;
    }
}
