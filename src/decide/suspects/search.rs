//! The search for the set of bad updates that makes everything seen most likely.
//!
//! The odds of each supposition are kept up to date, given the set found so far. The search adds the likeliest
//! supposition while its odds are above 1. Then it takes each member out in turn and puts the best one in its place.
//! Only packages that a member breaks are judged anew.

use std::collections::BTreeMap;

use super::history::HITS;
use super::index::{Index, narrow};
use super::input::{DISTANCES, Evidence, SeenElsewhere};
use super::maths::ln;
use super::model::Model;
use super::selectivity::{Selectivity, Sums};
use super::text::Signature;

/// A package that a member breaks with a smaller probability is not judged anew.
const SLIGHT: f64 = 0.03;

/// What is known of one supposition now.
#[derive(Debug, Clone)]
pub(crate) struct Now {
    /// The logarithm of its odds before any evidence.
    pub(crate) odds: f64,
    /// The sums over the packages.
    pub(crate) sums: Sums,
    /// The logarithm of its odds given the set.
    pub(crate) score: f64,
    /// The score does not follow the sums.
    pub(crate) stale: bool,
    /// It belongs to the set.
    pub(crate) member: bool,
    /// The entries of the packages that it may break, since it was last added.
    pub(crate) active: Vec<u32>,
}

/// What is known of one package now.
#[derive(Debug, Default)]
pub(crate) struct Package {
    /// The members of the set that may break it, as entries.
    pub(crate) members: Vec<u32>,
    /// The likelihoods that were computed, by the set of builds reached.
    pub(crate) known: BTreeMap<u64, [f64; HITS]>,
}

/// The set of bad updates, and what follows from it.
pub(super) struct Search<'a> {
    /// The numbers of the model.
    pub model: Model,
    /// The tables.
    pub index: &'a Index,
    pub(crate) selectivity: Selectivity,
    pub(crate) now: Vec<Now>,
    pub(crate) packages: Vec<Package>,
    /// How much likelier a package's results are if the update breaks it, for each entry.
    pub(crate) ratio: Vec<[f64; HITS]>,
    /// How much likelier the texts of its failed builds are then, for each entry.
    pub text: Vec<f64>,
    /// The members in the order in which they were added.
    pub members: Vec<u32>,
    /// The members of each chain.
    pub(crate) by_chain: Vec<Vec<u32>>,
    pub(crate) texts: Vec<Vec<(usize, u64)>>,
    pub(crate) signature: Vec<Option<Signature>>,
    /// The packages that a signature is lent to, and the signature.
    pub(crate) lent: Option<(Vec<u32>, Signature)>,
    /// The packages whose members have changed since the last round.
    pub(crate) moved: Vec<bool>,
    pub(crate) touched: Vec<u32>,
}

/// A set of bad updates that break one package.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// The builds that one of them reached.
    pub reached: u64,
    /// The odds before the package's own results, relative to that none breaks it.
    pub odds: f64,
    /// The updates, as entries.
    pub entries: Vec<u32>,
}

/// What a supposition would be, were it in a member's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alternative {
    /// The supposition.
    pub supposed: u32,
    /// The logarithm of its odds without the member.
    pub score: f64,
}

/// The packages that passed with an update here, and the part of those elsewhere that counts.
fn passed_with(model: &Model, here: &[[u32; DISTANCES]; 2], there: Option<&SeenElsewhere>) -> [[u32; DISTANCES]; 2] {
    let mut passed = *here;
    if let Some(seen) = there.filter(|_| !model.ignore_passes) {
        for (sums, more) in passed.iter_mut().zip(&seen.passed) {
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum += more / model.passed_elsewhere.max(1);
            }
        }
    }
    passed
}

impl<'a> Search<'a> {
    /// Starts with no bad update.
    pub(super) fn new(evidence: &Evidence, index: &'a Index, model: &'a Model) -> Self {
        let selectivity = Selectivity::new(model);
        let mut now = Vec::with_capacity(index.supposed.len());
        for supposed in &index.supposed {
            let chain = &index.chains[supposed.chain as usize];
            let update = &evidence.updates[chain[supposed.from as usize] as usize];
            let bad = if update.version_changed { model.bad_version } else { model.bad_release };
            let there = evidence.elsewhere.get(&update.id).filter(|_| !model.ignore_others);
            let bad = if there.is_some_and(|seen| seen.broken > 0) { model.bad_elsewhere } else { bad };
            let mut odds = ln(bad / (1.0 - bad));
            for _ in supposed.from + 1..supposed.to.min(narrow(chain.len())) {
                odds += ln(1.0 - model.repair);
            }
            if (supposed.to as usize) < chain.len() {
                odds += ln(model.repair);
            }
            let sums = Sums::passed(model, &selectivity, &passed_with(model, &supposed.passed, there));
            now.push(Now { odds, sums, score: 0.0, stale: true, member: false, active: Vec::new() });
        }
        let mut packages = Vec::new();
        packages.resize_with(index.packages.len(), Package::default);
        let ratio = vec![[1.0; HITS]; index.entries.len()];
        let text = vec![1.0; index.entries.len()];
        let touched = (0..narrow(index.supposed.len())).collect();
        let signature = vec![None; index.supposed.len()];
        let members = Vec::new();
        let moved = vec![false; index.packages.len()];
        let mut search = Self {
            model: model.clone(),
            index,
            selectivity,
            now,
            packages,
            ratio,
            text,
            members,
            by_chain: vec![Vec::new(); index.chains.len()],
            texts: Vec::new(),
            signature,
            lent: None,
            moved,
            touched,
        };
        for package in 0..index.packages.len() {
            search.judge(package);
        }
        search.score_all();
        search
    }

    /// Finds the set.
    pub(super) fn run(&mut self) {
        if self.model.ignore_others {
            return;
        }
        self.add_all();
        for round in 0..self.model.rounds {
            let before = self.sorted_members();
            let mut moved = vec![false; self.packages.len()];
            std::mem::swap(&mut moved, &mut self.moved);
            for member in self.members.clone() {
                let touched = |e: &u32| {
                    let package = self.index.entries[*e as usize].package as usize;
                    moved[package] || self.moved[package]
                };
                if self.now[member as usize].member
                    && (round == 0 || self.now[member as usize].active.iter().any(touched))
                {
                    self.exchange(member);
                }
            }
            self.add_all();
            if self.sorted_members() == before {
                break;
            }
        }
    }

    /// The members in the order of their numbers.
    fn sorted_members(&self) -> Vec<u32> {
        let mut members = self.members.clone();
        members.sort_unstable();
        members
    }

    /// Adds the likeliest supposition while one is likelier than not.
    fn add_all(&mut self) {
        loop {
            let mut best: Option<u32> = None;
            for (number, now) in self.now.iter().enumerate() {
                if now.score > 0.0 && !now.member && best.is_none_or(|b| now.score > self.now[b as usize].score) {
                    let number = narrow(number);
                    if !self.overlaps(number) {
                        best = Some(number);
                    }
                }
            }
            let Some(best) = best else { return };
            self.add(best);
            self.mark(best);
            if self.members.len() > self.index.supposed.len() {
                return;
            }
        }
    }

    /// Whether a member is about the same source at the same time.
    fn overlaps(&self, number: u32) -> bool {
        let new = &self.index.supposed[number as usize];
        self.by_chain[new.chain as usize].iter().any(|m| {
            let old = &self.index.supposed[*m as usize];
            old.from < new.to && new.from < old.to
        })
    }

    /// Takes a member out and puts the best supposition in its place, if one is likelier than not.
    fn exchange(&mut self, member: u32) {
        self.remove(member);
        let best = self.rivals(member).into_iter().next();
        if best.is_none_or(|b| b.supposed != member || b.score <= 0.0) {
            self.mark(member);
        }
        if let Some(best) = best
            && best.score > 0.0
        {
            self.add(best.supposed);
            if best.supposed != member {
                self.mark(best.supposed);
            }
        } else if self.lent.is_some() {
            self.take_back(None);
            self.score_all();
        }
    }

    /// Notes that the packages of a supposition have other members now.
    fn mark(&mut self, supposed: u32) {
        for entry in &self.now[supposed as usize].active {
            self.moved[self.index.entries[*entry as usize].package as usize] = true;
        }
    }

    /// The suppositions about the packages that a supposition outside the set may break, likeliest first.
    fn rivals(&self, out: u32) -> Vec<Alternative> {
        let mut found = Vec::new();
        for entry in &self.now[out as usize].active {
            if self.broken(*entry) > 0.05 {
                let package = self.index.entries[*entry as usize].package;
                let (from, to) = self.index.packages[package as usize].entries;
                for e in from..to {
                    found.push(self.index.entries[e as usize].supposed);
                }
            }
        }
        found.push(out);
        found.sort_unstable();
        found.dedup();
        found.retain(|s| !self.now[*s as usize].member && !self.overlaps(*s));
        let mut out: Vec<Alternative> = found
            .into_iter()
            .map(|supposed| Alternative { supposed, score: self.now[supposed as usize].score })
            .collect();
        out.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.supposed.cmp(&b.supposed)));
        out
    }

    /// Calls `f` with what could stand in a member's place, likeliest first, while the member is out of the set.
    pub(super) fn in_place_of(&mut self, member: u32, mut f: impl FnMut(&Self, &[Alternative])) {
        self.remove(member);
        let rivals = self.rivals(member);
        f(self, &rivals);
        self.add(member);
    }

    fn add(&mut self, supposed: u32) {
        self.members.push(supposed);
        self.take_back(Some(supposed));
        let mut changed = Vec::new();
        for entry in &self.index.supposed[supposed as usize].entries {
            if self.broken(*entry) > SLIGHT {
                changed.push(*entry);
            }
        }
        self.now[supposed as usize].member = true;
        self.by_chain[self.index.supposed[supposed as usize].chain as usize].push(supposed);
        for entry in &changed {
            let entry = *entry;
            let package = self.index.entries[entry as usize].package as usize;
            self.packages[package].members.push(entry);
            self.judge(package);
        }
        self.now[supposed as usize].active = changed;
        self.score_all();
    }

    /// Takes a lent signature back. What is added now keeps it.
    fn take_back(&mut self, keeps: Option<u32>) {
        let Some((packages, signature)) = self.lent.take() else { return };
        let index = self.index;
        let keeps = keeps.filter(|k| self.signature[*k as usize].is_none());
        if let Some(keeps) = keeps {
            self.signature[keeps as usize] = Some(signature);
            for entry in &index.supposed[keeps as usize].entries {
                self.text[*entry as usize] = self.text_ratio(*entry, Some(signature));
                self.judge(index.entries[*entry as usize].package as usize);
            }
        }
        for package in packages {
            self.lend(package as usize, None);
            self.judge(package as usize);
        }
    }

    fn remove(&mut self, supposed: u32) {
        if let Some(signature) = self.signature[supposed as usize] {
            let index = self.index;
            let mut packages = Vec::new();
            for entry in &self.now[supposed as usize].active.clone() {
                if self.broken(*entry) > 0.05 {
                    let package = index.entries[*entry as usize].package;
                    packages.push(package);
                    self.lend(package as usize, Some(signature));
                }
            }
            self.lent = Some((packages, signature));
        }
        self.members.retain(|m| *m != supposed);
        self.now[supposed as usize].member = false;
        self.by_chain[self.index.supposed[supposed as usize].chain as usize].retain(|m| *m != supposed);
        for entry in &self.now[supposed as usize].active.clone() {
            let package = self.index.entries[*entry as usize].package as usize;
            self.packages[package].members.retain(|e| e != entry);
            self.judge(package);
        }
        self.score_all();
    }
}
