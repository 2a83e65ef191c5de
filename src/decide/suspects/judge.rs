//! What a set of bad updates means for packages and suppositions: ratios, sums, scores.

use super::history::HITS;
use super::index::{Entry, narrow};
use super::maths::exp;
use super::search::{Case, Search};
use super::selectivity::Sums;
use super::text::{self, Signature};

/// The most members that are told apart within one package.
const MEMBERS: usize = 4;
/// A ratio that changes by a smaller part stays as it was.
const SAME: f64 = 5e-3;
/// The logarithm of odds that are too small for a closer look.
const HOPELESS: f64 = -10.0;
/// The steps of a score: a 65,536th.
const COARSE: f64 = 65536.0;

impl Search<'_> {
    /// Tells the texts of failed builds. See [`text::texts`].
    pub(super) fn know_texts(&mut self, texts: Vec<Vec<(usize, u64)>>) {
        self.texts = texts;
    }

    /// Finds the text of each member of the set, and judges everything anew with it.
    pub(super) fn read_texts(&mut self) {
        let broken: Vec<f64> = (0..narrow(self.index.entries.len()))
            .map(|e| if self.is_member(self.index.entries[e as usize].supposed) { self.broken(e) } else { 0.0 })
            .collect();
        self.signature = text::signatures(self.index, &self.texts, &broken);
        for entry in 0..narrow(self.index.entries.len()) {
            let signature = self.signature[self.index.entries[entry as usize].supposed as usize];
            self.text[entry as usize] = self.text_ratio(entry, signature);
        }
        for package in 0..self.packages.len() {
            self.judge(package);
        }
        self.score_all();
    }

    /// See [`Signature::ratio`].
    pub(crate) fn text_ratio(&self, entry: u32, signature: Option<Signature>) -> f64 {
        let e = &self.index.entries[entry as usize];
        signature.map_or(1.0, |s| s.ratio(&self.model, &self.texts[e.package as usize], e.reached))
    }

    /// Lends a signature to what could explain a package instead of the member that had it, or takes it back.
    pub(crate) fn lend(&mut self, package: usize, signature: Option<Signature>) {
        let (from, to) = self.index.packages[package].entries;
        for entry in from..to {
            if self.signature[self.index.entries[entry as usize].supposed as usize].is_none() {
                self.text[entry as usize] = self.text_ratio(entry, signature);
            }
        }
    }

    /// The probability that an update breaks a package, if it is bad.
    pub(super) fn broken(&self, entry: u32) -> f64 {
        let e = &self.index.entries[entry as usize];
        let (hits, spares) = self.without(entry);
        let ratio = self.ratio[entry as usize];
        let breaks: f64 = (0..HITS).map(|h| hits[h] * ratio[h]).sum();
        if e.reached == 0 { 0.0 } else { breaks / (breaks + spares) }
    }

    /// See [`Sums::without`].
    fn without(&self, entry: u32) -> ([f64; HITS], f64) {
        let e = &self.index.entries[entry as usize];
        let now = &self.now[e.supposed as usize];
        let none = [1.0; HITS];
        let (sums, ratio) = match self.model.ignore_others {
            true => (&Sums::ONE, none),
            false => (&now.sums, self.ratio[entry as usize]),
        };
        sums.without(&self.model, &self.selectivity, now.odds, e.class, ratio)
    }

    /// The weight of an entry that is no member: that the update breaks the package, relative to that it does not,
    /// with the package's own results.
    pub(super) fn weight(&self, entry: u32) -> f64 {
        let score = self.now[self.index.entries[entry as usize].supposed as usize].score;
        if score < HOPELESS && !self.model.ignore_others {
            return exp(score) * 0.1;
        }
        let (hits, spares) = self.without(entry);
        let ratio = self.ratio[entry as usize];
        (0..HITS).map(|h| hits[h] * ratio[h]).sum::<f64>() / (1.0 + spares)
    }

    /// The odds that a member breaks a package, without the package's own results.
    pub(super) fn prior(&self, entry: u32) -> f64 {
        let (hits, spares) = self.without(entry);
        let breaks: f64 = hits.iter().sum();
        breaks
            / (spares + if self.now[self.index.entries[entry as usize].supposed as usize].member { 0.0 } else { 1.0 })
    }

    /// Whether a supposition belongs to the set.
    pub(super) fn is_member(&self, supposed: u32) -> bool {
        self.now[supposed as usize].member
    }

    /// The members that may break a package, as entries.
    pub(super) fn members_of(&self, package: usize) -> &[u32] {
        &self.packages[package].members
    }

    /// The entries of the packages that a member may break.
    pub(super) fn active(&self, supposed: u32) -> &[u32] {
        &self.now[supposed as usize].active
    }

    /// Brings the scores up to date whose sums have changed.
    pub(crate) fn score_all(&mut self) {
        for supposed in std::mem::take(&mut self.touched) {
            if !self.now[supposed as usize].stale {
                continue;
            }
            let evidence = self.now[supposed as usize].sums.evidence(&self.model, &self.selectivity);
            let now = &mut self.now[supposed as usize];
            // A coarse number: what cannot be told apart has the same.
            now.score = ((now.odds + evidence) * COARSE).floor() / COARSE;
            now.stale = false;
        }
    }

    /// The likelihood of a package's results.
    pub(super) fn likelihood(&mut self, package: usize, reached: u64) -> [f64; HITS] {
        let history = &self.index.packages[package].history;
        let model = &self.model;
        *self.packages[package].known.entry(reached).or_insert_with(|| history.likelihood(model, reached))
    }

    /// The sets of members that may break a package, with their odds before the package's own results, without one
    /// entry. The first case is that none does.
    pub(super) fn cases(&self, package: usize, without: Option<u32>) -> Vec<Case> {
        let mut odds: Vec<(f64, u32)> = self.packages[package]
            .members
            .iter()
            .filter(|e| Some(**e) != without)
            .map(|e| (self.prior(*e) * self.text[*e as usize], *e))
            .collect();
        odds.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        odds.truncate(MEMBERS);
        let mut cases = vec![Case { reached: 0, odds: 1.0, entries: Vec::new() }];
        for (odds, entry) in odds {
            for case in 0..cases.len() {
                let mut case = cases[case].clone();
                case.reached |= self.index.entries[entry as usize].reached;
                case.odds *= odds;
                case.entries.push(entry);
                cases.push(case);
            }
        }
        cases
    }

    /// Judges a package anew: the ratio of each of its entries.
    pub(crate) fn judge(&mut self, package: usize) {
        let (from, to) = self.index.packages[package].entries;
        let cases = self.cases(package, None);
        let index = self.index;
        let mut ratios = Vec::with_capacity(index.packages[package].reached.len());
        let without = self.sum_of(package, &cases, 0);
        let divide =
            |with: [f64; HITS], by: [f64; HITS]| std::array::from_fn(|h| with[h] / by[h].max(f64::MIN_POSITIVE));
        for reached in &index.packages[package].reached {
            ratios.push(divide(self.sum_of(package, &cases, *reached), without));
        }
        for number in from..to {
            let entry: Entry = self.index.entries[number as usize];
            let ratio = if self.packages[package].members.contains(&number) {
                let cases = self.cases(package, Some(number));
                let without = self.sum_of(package, &cases, 0);
                divide(self.sum_of(package, &cases, entry.reached), without)
            } else {
                ratios[usize::from(entry.set)]
            };
            let text = self.text[number as usize];
            let ratio: [f64; HITS] = ratio.map(|r: f64| (r * text).clamp(1e-12, 1e12));
            let old = self.ratio[number as usize];
            // What hardly changes is left as it is: most entries of a package.
            if (0..HITS).all(|h| (ratio[h] - old[h]).abs() <= SAME * old[h]) {
                continue;
            }
            self.ratio[number as usize] = ratio;
            let now = &mut self.now[entry.supposed as usize];
            now.sums.replace(&self.selectivity, entry.class, old, ratio);
            now.stale = true;
            self.touched.push(entry.supposed);
        }
    }

    /// The likelihood of a package's results in all cases, with an update that reaches `reached` besides.
    fn sum_of(&mut self, package: usize, cases: &[Case], reached: u64) -> [f64; HITS] {
        let mut with = [0.0; HITS];
        for case in cases {
            let likelihood = self.likelihood(package, case.reached | reached);
            for level in 0..HITS {
                with[level] += case.odds * likelihood[level];
            }
        }
        with
    }
}
