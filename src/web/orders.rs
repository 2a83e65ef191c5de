//! All packages of a state, sorted once for every list that shows some of them.

use std::sync::OnceLock;

use super::params::{Order, SortKey};
use crate::decide::Policy;
use crate::decide::eligibility::priority_of;
use crate::fold::{Collection, Group, Package, State};
use crate::model::{Name, PackageState};
use crate::view::package::{STATES, rank};

/// A package and its collection.
pub(super) type Entry<'a> = ((&'a Name, &'a Collection), (&'a Name, &'a Package));

/// All packages of one state, in every order that somebody asked for.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) places: Places,
    /// By place.
    pub(super) states: Vec<PackageState>,
    /// For each collection, the number of packages in each of [`STATES`].
    counts: Vec<[usize; STATES.len()]>,
    /// Indexes of the places, for each [`Order::index`].
    orders: [OnceLock<Vec<u32>>; Order::COUNT],
}

/// Where the packages stand in a state, by name, and those of the same name by the name of the
/// collection. Packages only ever join a state, at the end of their collection.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) sorted: Vec<Place>,
    /// The different names in lower case, for searching.
    pub(super) lower: Vec<Box<str>>,
    /// The number of packages of each collection.
    of: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) collection: u32,
    package: u32,
    /// Index of its name.
    pub(super) name: u32,
}

pub(super) fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Places {
    /// Makes the places of a state from those of an earlier one. Cost: O(packages); the sorting
    /// costs only for packages that are new.
    fn of(state: &State, earlier: Self) -> Self {
        let of: Vec<usize> = state.collections.values().map(|c| c.packages.len()).collect();
        if of == earlier.of {
            return earlier;
        }
        let at = |c: usize, p: usize| {
            let (cname, collection) = state.collections.get_index(c).expect("collections stay");
            let (pname, _) = collection.packages.get_index(p).expect("packages stay");
            (pname.as_str(), cname.as_str(), c, p)
        };
        let mut all: Vec<_> = earlier.sorted.iter().map(|p| at(p.collection as usize, p.package as usize)).collect();
        for (c, count) in of.iter().enumerate() {
            let known = earlier.of.get(c).copied().unwrap_or(0);
            all.extend((known..*count).map(|p| at(c, p)));
        }
        all.sort();
        let (mut sorted, mut lower) = (Vec::with_capacity(all.len()), Vec::new());
        for same in all.chunk_by(|a, b| a.0 == b.0) {
            let place = |c, p| Place { collection: index(c), package: index(p), name: index(lower.len()) };
            sorted.extend(same.iter().map(|(_, _, c, p)| place(*c, *p)));
            lower.push(same[0].0.to_lowercase().into());
        }
        Self { sorted, lower, of }
    }
}

impl Places {
    /// Says of each different name whether it is in a group. Both are sorted. Cost: O(packages).
    pub(super) fn in_group(&self, state: &State, group: &Group) -> Vec<bool> {
        let mut found = vec![false; self.lower.len()];
        let mut members = group.packages.iter().peekable();
        for place in &self.sorted {
            let (_, (name, _)) = place.entry(state);
            while members.next_if(|member| *member < name).is_some() {}
            found[place.name as usize] = members.peek() == Some(&name);
        }
        found
    }
}

impl Place {
    pub(super) fn entry(self, state: &State) -> Entry<'_> {
        let c = state.collections.get_index(self.collection as usize).expect("places are of this state");
        (c, c.1.packages.get_index(self.package as usize).expect("places are of this state"))
    }
}

impl Listing {
    /// Makes the lists of a state. An earlier listing saves the sorting of names.
    pub(super) fn of(state: &State, earlier: Option<Self>) -> Self {
        let places = Places::of(state, earlier.map(|e| e.places).unwrap_or_default());
        let mut counts = vec![[0; STATES.len()]; state.collections.len()];
        let mut states = Vec::with_capacity(places.sorted.len());
        for place in &places.sorted {
            let ((_, c), (_, p)) = place.entry(state);
            let is = p.state(c.settings.track_all);
            counts[place.collection as usize][rank(is)] += 1;
            states.push(is);
        }
        Self { places, states, counts, orders: Default::default() }
    }

    /// Returns the packages of each name, by name, with their states. Those of a name are in the order
    /// of their collections.
    pub(super) fn by_name<'a>(
        &'a self,
        state: &'a State,
    ) -> impl Iterator<Item = impl Iterator<Item = (Entry<'a>, PackageState)>> {
        let mut from = 0;
        self.places.sorted.chunk_by(|a, b| a.name == b.name).map(move |same| {
            let states = &self.states[from..from + same.len()];
            from += same.len();
            same.iter().map(|place| place.entry(state)).zip(states.iter().copied())
        })
    }

    /// Returns the number of packages of a collection in each of [`STATES`]. Zero for an unknown one.
    pub(super) fn counts(&self, state: &State, collection: &str) -> [usize; STATES.len()] {
        let index = state.collections.get_index_of(collection);
        index.and_then(|c| self.counts.get(c)).copied().unwrap_or_default()
    }

    /// Returns all places in an order, which is made once.
    pub(super) fn order(&self, state: &State, policy: &Policy, order: Order) -> &[u32] {
        self.orders[order.index()].get_or_init(|| {
            let all = 0..self.places.sorted.len();
            if order.key == SortKey::Name {
                return if order.reversed { all.rev().map(index).collect() } else { all.map(index).collect() };
            }
            let mut keyed: Vec<(i64, u32)> =
                all.map(|at| (self.key(state, policy, order.key, at), index(at))).collect();
            // The sort is stable, so equal keys stay in the order of names.
            match order.reversed {
                false => keyed.sort_by_key(|(key, _)| *key),
                true => keyed.sort_by_key(|(key, _)| std::cmp::Reverse(*key)),
            }
            keyed.into_iter().map(|(_, at)| at).collect()
        })
    }

    /// Returns what a place is sorted by. It sorts ascending; names decide between equal keys.
    pub(super) fn key(&self, state: &State, policy: &Policy, key: SortKey, at: usize) -> i64 {
        let ((_, c), (_, p)) = self.places.sorted[at].entry(state);
        match key {
            SortKey::Name => 0,
            SortKey::State => i64::try_from(rank(self.states[at])).unwrap_or(i64::MAX),
            SortKey::Priority => priority_of(c, p, state.recorded_at, policy).map_or(i64::MAX, |p| -p.current.0),
            SortKey::Built => p.evidence.iter().map(|e| e.at).max().map_or(i64::MAX, |at| -at.micros()),
            SortKey::Running => -i64::from(u32::from(p.running) + u32::from(p.open_rebuild.is_some())),
        }
    }

    /// Returns where, in an order, the places begin that come after a key, a package and a collection.
    /// Cost: a few look-ups.
    pub(super) fn after(
        &self,
        (state, policy): (&State, &Policy),
        order: Order,
        (key, package, collection): (i64, &str, &str),
    ) -> usize {
        let name = |at: usize| {
            let ((c, _), (p, _)) = self.places.sorted[at].entry(state);
            (p.as_str(), c.as_str())
        };
        let comes_before = |at: &u32| {
            let at = *at as usize;
            let names = name(at).cmp(&(package, collection));
            let keys = self.key(state, policy, order.key, at).cmp(&key);
            let (keys, names) = match (order.key, order.reversed) {
                (_, false) => (keys, names),
                (SortKey::Name, true) => (keys, names.reverse()),
                (_, true) => (keys.reverse(), names),
            };
            keys.then(names).is_le()
        };
        self.order(state, policy, order).partition_point(comes_before)
    }
}
