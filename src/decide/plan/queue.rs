//! The packages that are due in one state, and whose turn is next.

use std::cmp::{Ordering, Reverse};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::Place;
use super::room::{self, Room};
use crate::decide::eligibility::{examine, stops};
use crate::decide::hold::Hold;
use crate::decide::load::{ArchLoads, Loads};
use crate::decide::policy::Policy;
use crate::decide::priority::{Points, TimeScale};
use crate::fold::State;
use crate::model::Timestamp;

/// Number of packages from which several threads share the work.
pub(super) const SHARED_FROM: usize = 20_000;
/// Most threads for that work. More threads would only wait for memory.
const THREADS_MAX: usize = 4;
/// Number of packages of a collection that are sorted at once. A plan seldom gets farther, and to
/// sort all would cost as much as to find them.
const SORTED: usize = 256;

/// Everything that is due in one state, at one time, under one policy. A plan takes packages from
/// it, and [`Queue::why`] answers for any number of packages. Valid only for the very state it was
/// made of.
#[derive(Debug)]
pub struct Queue {
    pub(in crate::decide) now: Timestamp,
    pub(in crate::decide) policy: Policy,
    load: Option<ArchLoads>,
    /// Number of packages examined.
    pub(super) considered: u32,
    /// Number of packages that their own state or their collection holds, by their first reason.
    pub(super) held: [u32; Hold::COUNT],
    lines: Vec<Line>,
}

/// The packages of a collection that are due, apart from reasons that hold the whole collection.
#[derive(Debug)]
struct Line {
    /// Whether something holds the whole collection.
    held: bool,
    /// The most urgent ones, in order.
    first: Vec<Due>,
    /// The others, in no order.
    others: Vec<(Points, u32)>,
    /// The others in order, once somebody needs them.
    rest: OnceLock<Vec<Due>>,
}

/// A package that is due.
#[derive(Debug)]
pub(super) struct Due {
    current: Points,
    pub(super) package: u32,
    /// Whether load holds it: 0 unknown, 1 no, 2 yes. That needs many steps and never changes.
    overloaded: AtomicU8,
}

impl Line {
    fn new(state: &State, collection: usize, held: bool, mut due: Vec<(Points, u32)>) -> Self {
        let mut others = Vec::new();
        if due.len() > SORTED {
            due.select_nth_unstable_by(SORTED, |a, b| by_urgency(state, collection, a, b));
            others = due.split_off(SORTED);
        }
        Self { held, first: sorted(state, collection, due), others, rest: OnceLock::new() }
    }

    fn len(&self) -> usize {
        self.first.len() + self.others.len()
    }

    fn get(&self, state: &State, collection: usize, at: usize) -> Option<&Due> {
        match at.checked_sub(self.first.len()) {
            None => self.first.get(at),
            Some(at) if at < self.others.len() => {
                self.rest.get_or_init(|| sorted(state, collection, self.others.clone())).get(at)
            }
            Some(_) => None,
        }
    }
}

fn by_urgency(state: &State, collection: usize, a: &(Points, u32), b: &(Points, u32)) -> Ordering {
    let rank = |due: &(Points, u32)| Ranked::new(state, (collection, due.1 as usize), due.0);
    b.0.cmp(&a.0).then_with(|| rank(b).cmp(&rank(a)))
}

fn sorted(state: &State, collection: usize, mut due: Vec<(Points, u32)>) -> Vec<Due> {
    due.sort_unstable_by(|a, b| by_urgency(state, collection, a, b));
    due.into_iter().map(|(current, package)| Due { current, package, overloaded: AtomicU8::new(0) }).collect()
}

impl Queue {
    /// Finds what is due. If `load` is absent, load limits nothing. Several threads share the work
    /// if there are many packages. Cost: O(packages).
    pub fn of(state: &State, now: Timestamp, policy: &Policy, load: Option<&ArchLoads>) -> Self {
        let all: usize = state.collections.values().map(|c| c.packages.len()).sum();
        let threads = match all {
            few if few < SHARED_FROM => 1,
            _ => std::thread::available_parallelism().map_or(1, Into::into).min(THREADS_MAX),
        };
        let share = all.div_ceil(threads).max(1);
        let part = |n: usize| due_among(state, now, policy, n * share..(n + 1) * share);
        let mut found = Found::none(state);
        std::thread::scope(|scope| {
            let begin = |n| (n, std::thread::Builder::new().spawn_scoped(scope, move || part(n)));
            let others: Vec<_> = (1..threads).map(begin).collect();
            found.add(part(0));
            for (n, other) in others {
                // If no thread can be started, this thread does the part itself.
                let of_other = other.map_or_else(|_| Ok(part(n)), std::thread::ScopedJoinHandle::join);
                found.add(of_other.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
        let line = |(index, (c, due))| Line::new(state, index, stops(c), due);
        Self {
            now,
            policy: policy.clone(),
            load: load.cloned(),
            considered: u32::try_from(all).unwrap_or(u32::MAX),
            held: found.held,
            lines: state.collections.values().zip(found.due).enumerate().map(line).collect(),
        }
    }

    /// Returns the time at which the packages are due.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns the policy under which they are due.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the packages of a collection that are due, most urgent first, by index, each with its
    /// priority. Some of them may have to wait for limits or for their collection, see [`Queue::why`].
    /// `state` must be the one it was made of.
    pub fn due<'a>(&'a self, state: &'a State, collection: usize) -> impl Iterator<Item = (usize, Points)> + 'a {
        let line = self.lines.get(collection);
        let at = move |at| line?.get(state, collection, at).map(|due| (due.package as usize, due.current));
        (0..line.map_or(0, Line::len)).map_while(at)
    }
}

/// A part of what is due.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Found {
    /// By collection, in no particular order. Reasons that hold the whole collection are ignored.
    pub(super) due: Vec<Vec<(Points, u32)>>,
    pub(super) held: [u32; Hold::COUNT],
}

impl Found {
    pub(super) fn none(state: &State) -> Self {
        Self { due: state.collections.iter().map(|_| Vec::new()).collect(), held: [0; Hold::COUNT] }
    }

    pub(super) fn add(&mut self, part: Self) {
        self.due.iter_mut().zip(part.due).for_each(|(all, part)| all.extend(part));
        self.held.iter_mut().zip(part.held).for_each(|(sum, n)| *sum += n);
    }
}

/// Finds what is due among the packages at these places, counted through all collections.
pub(super) fn due_among(state: &State, now: Timestamp, policy: &Policy, places: Range<usize>) -> Found {
    let scale = TimeScale::of(policy);
    let mut found = Found::none(state);
    let mut before = 0;
    for ((cname, collection), due) in state.collections.iter().zip(&mut found.due) {
        let count = collection.packages.len();
        let inside = |place: usize| place.saturating_sub(before).min(count);
        let (from, to) = (inside(places.start), inside(places.end));
        before += count;
        let Some(packages) = collection.packages.get_range(from..to) else { continue };
        let buildroot = collection.buildroot();
        for (pi, (pname, package)) in (from..).zip(packages) {
            let (mut first, mut own) = (None, false);
            let priority = examine((cname, collection), (pname, package), buildroot, now, (policy, scale), |hold| {
                first.get_or_insert(hold.index());
                own |= !hold.holds_collection();
            });
            match priority {
                Some(priority) if !own => due.push((priority.current, u32::try_from(pi).unwrap_or(u32::MAX))),
                // Without any known build there is no priority to rank the package by.
                None if !own => drop(first.get_or_insert(Hold::NoSource.index())),
                _ => {}
            }
            if let Some(reason) = first {
                found.held[reason] += 1;
            }
        }
    }
    found
}

/// A package that competes for its turn. The greatest is the most urgent. Ties are broken by name,
/// so that the same state always gives the same plan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ranked<'a> {
    current: Points,
    names: Reverse<(&'a str, &'a str)>,
    pub(super) collection: usize,
}

impl<'a> Ranked<'a> {
    pub(super) fn new(state: &'a State, (collection, package): Place, current: Points) -> Self {
        let (name, c) = state.collections.get_index(collection).expect("indexes are of this state");
        let (package, _) = c.packages.get_index(package).expect("indexes are of this state");
        Self { current, names: Reverse((name, package)), collection }
    }
}

/// Whose turn it is.
pub(super) enum Turn {
    /// The most urgent waiting package of this collection.
    Other(usize),
    Mine,
}

/// The packages of a queue that still wait for their turn. Cheap to clone.
#[derive(Clone)]
pub(super) struct Turns<'a> {
    state: &'a State,
    queue: &'a Queue,
    loads: Option<Loads<'a>>,
    /// How far each line has gone.
    gone: Vec<usize>,
    /// The package that is asked about, and does not wait.
    mine: Option<Place>,
}

impl<'a> Turns<'a> {
    /// Begins with everything that is due, except `mine`. If the collection of `mine` is held as a
    /// whole, that is ignored: were it no longer held, its other packages would compete, too.
    pub(super) fn new(state: &'a State, queue: &'a Queue, mine: Option<Place>) -> Self {
        let open = |c: usize, line: &Line| !line.held || mine.is_some_and(|m| m.0 == c);
        let gone = |(c, line): (usize, &Line)| if open(c, line) { 0 } else { line.len() };
        let mut turns = Self {
            state,
            queue,
            loads: queue.load.as_ref().map(ArchLoads::by_hub),
            gone: queue.lines.iter().enumerate().map(gone).collect(),
            mine,
        };
        (0..turns.gone.len()).for_each(|c| turns.pass_mine(c));
        turns
    }

    fn head(&self, collection: usize) -> Option<&'a Due> {
        self.queue.lines[collection].get(self.state, collection, self.gone[collection])
    }

    fn pass_mine(&mut self, collection: usize) {
        if let Some((c, package)) = self.mine
            && c == collection
            && self.head(c).is_some_and(|due| due.package as usize == package)
        {
            self.gone[c] += 1;
        }
    }

    /// Takes the most urgent package of a collection.
    pub(super) fn pop(&mut self, collection: usize) -> Option<&'a Due> {
        let due = self.head(collection)?;
        self.gone[collection] += 1;
        self.pass_mine(collection);
        Some(due)
    }

    /// Returns how many wait of a collection, or one more if `mine` is among them.
    pub(super) fn left(&self, collection: usize) -> usize {
        self.queue.lines[collection].len() - self.gone[collection]
    }

    /// Returns a number that is not exceeded by how many wait.
    pub(super) fn all_left(&self) -> usize {
        (0..self.gone.len()).map(|c| self.left(c)).sum()
    }

    /// Takes all packages of a collection.
    pub(super) fn close(&mut self, collection: usize) {
        self.gone[collection] = self.queue.lines[collection].len();
    }

    /// Counts the collections with something due. That of `mine` is one of them.
    pub(super) fn hungry(&self) -> usize {
        let mine = |c: usize| self.mine.is_some_and(|m| m.0 == c);
        (0..self.gone.len()).filter(|c| mine(*c) || self.head(*c).is_some()).count()
    }

    /// Returns the most urgent package among the collections that `may` admits.
    fn best(&self, may: impl Fn(usize) -> bool) -> Option<Ranked<'a>> {
        let ranked = |c: usize| self.head(c).map(|due| Ranked::new(self.state, (c, due.package as usize), due.current));
        (0..self.gone.len()).filter(|c| may(*c)).filter_map(ranked).max()
    }

    /// Returns whose turn is next: the most urgent package among the collections that are owed
    /// something, or else the most urgent of all. `mine`, if given, competes with the waiting
    /// packages.
    pub(super) fn next(&self, room: &Room, mine: Option<&Ranked<'_>>) -> Option<Turn> {
        let turn = |best: Option<Ranked<'a>>, mine: Option<&Ranked<'_>>| match (best, mine) {
            (Some(other), Some(mine)) if other > *mine => Some(Turn::Other(other.collection)),
            (_, Some(_)) => Some(Turn::Mine),
            (other, None) => other.map(|o| Turn::Other(o.collection)),
        };
        let owed = mine.filter(|m| room.is_owed(m.collection));
        turn(self.best(|c| room.is_owed(c)), owed).or_else(|| turn(self.best(|_| true), mine))
    }

    /// Returns the load that holds a package, if it does.
    pub(super) fn overload(&self, place: Place) -> Option<Hold> {
        room::overload(self.state, self.loads.as_ref()?, self.queue.policy.load_threshold, place)
    }

    /// Checks the same as [`Self::overload`], and remembers the answer.
    pub(super) fn is_overloaded(&self, collection: usize, due: &Due) -> bool {
        if due.overloaded.load(Relaxed) == 0 {
            let overloaded = self.overload((collection, due.package as usize)).is_some();
            due.overloaded.store(1 + u8::from(overloaded), Relaxed);
        }
        due.overloaded.load(Relaxed) == 2
    }
}
