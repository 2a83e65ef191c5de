//! Causes that events name, with the packages that each broke and for how long.

use std::collections::BTreeMap;

use crate::decide::causes::{CauseKind, Updated, kind_of};
use crate::event::{CausesFound, Envelope, RepoResolved};
use crate::model::{Name, RepoId, Seq, Timestamp};

/// An event: its place in the log, and its time.
pub(super) type At = (Seq, Timestamp);

/// What a cause is known by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    pub(super) kind: CauseKind,
    /// The new source package, or what vanished.
    pub(super) what: String,
    pub(super) repo: Option<RepoId>,
}

/// A package that does not resolve, or the group, on one architecture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Spell {
    pub(super) package: Name,
    arch: Name,
    pub(super) since: u64,
    pub(super) until: Option<u64>,
}

/// What is known of a cause while the log is read.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) update: Updated,
    pub(super) what: String,
    pub(super) at: Timestamp,
    pub(super) spells: Vec<Spell>,
}

/// Causes that events name, with the packages that they broke.
#[derive(Clone, Debug, Default)]
pub(super) struct Spells {
    pub(super) causes: BTreeMap<Key, Named>,
    /// The cause of each package that does not resolve, by package and architecture.
    present: BTreeMap<(Name, Name), Key>,
}

impl Spells {
    /// Takes up the causes of packages. A package whose cause was not found keeps the one before.
    pub(super) fn found(&mut self, c: &CausesFound, e: &Envelope) {
        for of in &c.packages {
            let first = of.causes.first().and_then(|at| c.causes.get(*at as usize));
            let Some(first) = first else { continue };
            let key = Key {
                kind: kind_of(first.in_group, &of.package),
                what: first.known_by(&of.package),
                repo: Some(first.repo_id),
            };
            self.begin((&of.package, &c.arch), key, (first.into(), &first.what), at(e));
        }
    }

    /// Ends the spells of packages that resolve again, or are gone.
    pub(super) fn resolved(&mut self, r: &RepoResolved, e: &Envelope) {
        for package in r.packages.iter().filter(|p| p.ok != Some(false)) {
            self.end(&package.package, &r.arch, at(e));
        }
        for package in &r.gone {
            self.end(package, &r.arch, at(e));
        }
    }

    /// Ends the spell of the build group.
    pub(super) fn group_back(&mut self, arch: &Name, e: &Envelope) {
        self.end(&CausesFound::GROUP.into(), arch, at(e));
    }

    /// Takes up which target and tags are gone since an event. All others are there.
    pub(super) fn gone(&mut self, now: &[String], at: At) {
        let all = Name::from(CausesFound::GROUP);
        let before = self.present.iter().filter(|(_, key)| key.kind == CauseKind::Target);
        let back: Vec<Name> = before.filter(|(_, key)| !now.contains(&key.what)).map(|(of, _)| of.1.clone()).collect();
        for what in back {
            self.end(&all, &what, at);
        }
        for what in now {
            let key = Key { kind: CauseKind::Target, what: what.clone(), repo: None };
            let sentence = format!("{what} does not exist any more");
            let none = Updated { source: None, was: None };
            self.begin((&all, &Name::from(what.as_str())), key, (none, &sentence), at);
        }
    }

    fn begin(&mut self, (package, arch): (&Name, &Name), key: Key, (update, what): (Updated, &str), since: At) {
        let place = (package.clone(), arch.clone());
        if self.present.get(&place) == Some(&key) {
            return;
        }
        self.end(package, arch, since);
        let (what, at) = (what.to_owned(), since.1);
        let cause = self.causes.entry(key.clone()).or_insert_with(|| Named { update, what, at, spells: Vec::new() });
        cause.spells.push(Spell { package: place.0.clone(), arch: place.1.clone(), since: since.0.get(), until: None });
        self.present.insert(place, key);
    }

    fn end(&mut self, package: &Name, arch: &Name, at: At) {
        let Some(key) = self.present.remove(&(package.clone(), arch.clone())) else { return };
        let spells = self.causes.get_mut(&key).map_or(&mut [][..], |cause| &mut cause.spells);
        let open = spells.iter_mut().find(|s| s.until.is_none() && (&s.package, &s.arch) == (package, arch));
        if let Some(spell) = open {
            spell.until = Some(at.0.get());
        }
    }
}

fn at(e: &Envelope) -> At {
    (e.seq, e.recorded_at)
}
