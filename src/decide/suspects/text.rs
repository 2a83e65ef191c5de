//! What the last lines of failed builds say for and against each supposition.

use std::collections::BTreeMap;

use super::index::{Index, narrow};
use super::input::Evidence;
use super::model::Model;

/// A text that fewer packages than this share says nothing of a supposition.
const SHARED: f64 = 1.5;

/// The texts of a package's failed builds, as (build, text). The same text again is left out: it tells nothing new.
pub(super) fn texts(evidence: &Evidence, index: &Index) -> Vec<Vec<(usize, u64)>> {
    let mut out = Vec::new();
    for package in &index.packages {
        let mut own: Vec<(usize, u64)> = Vec::new();
        for (bit, build) in package.builds.iter().enumerate() {
            let build = &evidence.builds[*build as usize];
            if let Some(text) = build.text
                && !build.passed
                && own.iter().all(|o| o.1 != text)
            {
                own.push((bit, text));
            }
        }
        out.push(own);
    }
    out
}

/// The text that an update's failed builds end in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Signature {
    /// The text.
    pub text: u64,
    /// The share of other failed builds that end in it.
    pub common: f64,
}

impl Signature {
    /// How much likelier the texts of the builds in `reached` are if this is what they end in.
    pub(super) fn ratio(&self, model: &Model, texts: &[(usize, u64)], reached: u64) -> f64 {
        let same = model.same_text + (1.0 - model.same_text) * self.common;
        let mut ratio = 1.0;
        for (_, text) in texts.iter().filter(|t| reached >> t.0 & 1 == 1) {
            ratio *= if *text == self.text { same / self.common } else { 1.0 - model.same_text };
        }
        ratio.clamp(1e-3, 1e3)
    }
}

/// The text of each supposition: the one that most of the packages it breaks ended in, if some share it.
///
/// `broken` is the probability that the update of an entry breaks the package, as far as it is known.
pub(super) fn signatures(index: &Index, texts: &[Vec<(usize, u64)>], broken: &[f64]) -> Vec<Option<Signature>> {
    let mut packages: BTreeMap<u64, u32> = BTreeMap::new();
    for (_, text) in texts.iter().flatten() {
        *packages.entry(*text).or_default() += 1;
    }
    let all = f64::from(packages.values().sum::<u32>()) + f64::from(narrow(packages.len()));
    let mut count: Vec<(u64, f64)> = Vec::new();
    let mut out = Vec::with_capacity(index.supposed.len());
    for supposed in &index.supposed {
        count.clear();
        for entry in &supposed.entries {
            let weight = broken[*entry as usize];
            let e = &index.entries[*entry as usize];
            if weight > 0.01 {
                let reached = texts[e.package as usize].iter().filter(|t| e.reached >> t.0 & 1 == 1);
                count.extend(reached.map(|t| (t.1, weight)));
            }
        }
        count.sort_by_key(|c| c.0);
        let mut best: Option<(f64, Signature)> = None;
        for group in count.chunk_by(|a, b| a.0 == b.0) {
            let text = group[0].0;
            let within: f64 = group.iter().map(|g| g.1).sum();
            let elsewhere = f64::from(packages.get(&text).copied().unwrap_or(0)) - within;
            let common = ((elsewhere + 1.0) / all).min(0.9);
            // A text that is common everywhere needs more packages to stand for an update.
            let gain = within * (1.0 - common);
            if within >= SHARED && best.is_none_or(|b| gain > b.0) {
                best = Some((gain, Signature { text, common }));
            }
        }
        out.push(best.map(|b| b.1));
    }
    out
}
