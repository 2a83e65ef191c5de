//! The stored form of verdicts: whole, or only what differs from an earlier resolution of the same
//! collection and architecture.
//!
//! Most repositories change a few packages of some buildroots, and every repository of every
//! architecture leads to an attachment. One that says what differs names the attachment it starts
//! from, so reading goes back over a bounded number of attachments to a whole one ([`STEPS_MAX`]).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::verdicts::{Closures, FORMAT, SourceResult, SourceVerdict, UnitVerdicts, VerdictsError, bad, parse_nevra};
use crate::model::{Name, RepoId};

/// Layout of what differs. It increases when the layout changes.
const FORMAT_DIFFERS: u32 = 2;
/// Most attachments that are read on the way to a whole one.
pub const STEPS_MAX: u32 = 20;

/// What differs from an earlier resolution.
#[derive(Debug, Serialize, Deserialize)]
pub struct Differs {
    format: u32,
    /// Digest of the attachment it starts from.
    base: String,
    /// Number of attachments to a whole one, this one included.
    steps: u32,
    repo: RepoId,
    arch: Name,
    mode: Name,
    solver: String,
    inputs: String,
    /// Digest of the whole.
    content: String,
    group_problems: Vec<String>,
    /// As in the whole: indexes of the new table of packages.
    group: Vec<u32>,
    /// Packages of the base's table that are not in the new one.
    removed: Vec<String>,
    /// Packages of the new table that are not in the base's.
    added: Vec<String>,
    /// Indexes of the new table whose package is not in the base's, or was built from another source
    /// package there, each with its source package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    built_from: Vec<(u32, SmolStr)>,
    /// Source packages of the base that are not here.
    gone: Vec<Name>,
    /// The source packages whose results are not those of the base, with indexes of the new table. A
    /// result is that of the base if the same packages are installed, or others of the same name
    /// and architecture that replaced them.
    sources: BTreeMap<Name, SourceResult>,
}

/// An attachment as it was stored.
#[derive(Debug)]
pub enum Stored {
    /// The whole.
    Whole(Box<UnitVerdicts>),
    /// What differs from another attachment.
    Differs(Box<Differs>),
}

impl Stored {
    /// Reads an attachment.
    ///
    /// # Errors
    /// Returns [`VerdictsError`] (broken) if the bytes are not valid verdicts of a known layout.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VerdictsError> {
        // The layout comes first, as it is written. Looking for it anywhere would read everything
        // twice.
        let begins = |format: u32| bytes.starts_with(format!("{{\"format\":{format},").as_bytes());
        let fail = |e: serde_json::Error| bad(e.to_string());
        if begins(FORMAT) {
            serde_json::from_slice(bytes).map(Self::Whole).map_err(fail)
        } else if begins(FORMAT_DIFFERS) {
            serde_json::from_slice(bytes).map(Self::Differs).map_err(fail)
        } else {
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(30)]);
            Err(bad(format!("the layout is not known to this program: {begin}")))
        }
    }
}

impl Differs {
    /// Returns the digest of the attachment this one starts from.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the digest of the whole ([`UnitVerdicts::content`]).
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Returns the whole. Does not compare its content with the digest.
    ///
    /// # Errors
    /// Returns [`VerdictsError`] (broken) if `base` is not the resolution this was made from.
    pub fn applied(self, base: &Closures) -> Result<Closures, VerdictsError> {
        if self.steps != base.steps() + 1 || self.steps > STEPS_MAX {
            return Err(bad("it starts from another number of attachments than it says"));
        }
        let old = &base.unit.packages;
        let mut packages: Vec<String> =
            old.iter().filter(|p| self.removed.binary_search(p).is_err()).cloned().chain(self.added).collect();
        packages.sort_unstable();
        let places = Places::new(old, &packages)?;
        let mut sources = BTreeMap::new();
        for (name, result) in &base.unit.sources {
            if self.gone.binary_search(name).is_err() && !self.sources.contains_key(name) {
                let carried = places.carried(result);
                let carried = carried.ok_or_else(|| bad(format!("the buildroot of {name} lacks a package")))?;
                sources.insert(name.clone(), carried);
            }
        }
        sources.extend(self.sources);
        let built_from = told(&base.unit, &packages, self.built_from)?;
        let unit = UnitVerdicts {
            format: FORMAT,
            repo: self.repo,
            arch: self.arch,
            mode: self.mode,
            solver: self.solver,
            inputs: self.inputs,
            group_problems: self.group_problems,
            group: self.group,
            packages,
            built_from,
            sources,
            of_packages: None,
            solvers: Default::default(),
        };
        Ok(Closures::new(unit)?.after(self.steps))
    }
}

/// Verdicts with the attachment they are stored in.
#[derive(Debug)]
pub struct Kept {
    /// The attachment's content.
    pub stored: Vec<u8>,
    /// Digest of the whole ([`UnitVerdicts::content`]).
    pub content: String,
    /// The verdicts.
    pub closures: Arc<Closures>,
}

/// Makes the attachment of verdicts. With an earlier resolution and its digest, only what differs is
/// stored if that is less than half. Closures that did not change are then shared with it.
///
/// # Errors
/// Returns [`VerdictsError`] (broken) if the verdicts do not hold together.
pub fn store(mut unit: UnitVerdicts, base: Option<(&str, &Closures)>) -> Result<Kept, VerdictsError> {
    let content = unit.content();
    let mut differs = None;
    if let Some((digest, base)) = base
        && base.steps() < STEPS_MAX
    {
        differs = differing(&mut unit, &content, (digest, base))?;
    }
    let (stored, steps) = match differs {
        Some(d) => (serde_json::to_vec(&d).expect("verdicts hold only what JSON can say"), d.steps),
        None => (unit.to_bytes(), 0),
    };
    Ok(Kept { stored, content, closures: Arc::new(Closures::new(unit)?.after(steps)) })
}

/// Returns what differs. `None` if that is more than half of the source packages.
fn differing(
    unit: &mut UnitVerdicts,
    content: &str,
    (digest, base): (&str, &Closures),
) -> Result<Option<Differs>, VerdictsError> {
    let old = &base.unit.packages;
    let places = Places::new(old, &unit.packages)?;
    let mut sources = BTreeMap::new();
    for (name, result) in &mut unit.sources {
        let before = base.unit.sources.get(name);
        if before.is_some_and(|before| places.is_carried(before, result)) {
            places.share(before, result);
        } else {
            sources.insert(name.clone(), result.clone());
        }
    }
    if sources.len() * 2 > unit.sources.len() {
        return Ok(None);
    }
    let missing = |list: &[String], other: &[String]| -> Vec<String> {
        list.iter().filter(|p| other.binary_search(p).is_err()).cloned().collect()
    };
    Ok(Some(Differs {
        format: FORMAT_DIFFERS,
        base: digest.to_owned(),
        steps: base.steps() + 1,
        repo: unit.repo,
        arch: unit.arch.clone(),
        mode: unit.mode.clone(),
        solver: unit.solver.clone(),
        inputs: unit.inputs.clone(),
        content: content.to_owned(),
        group_problems: unit.group_problems.clone(),
        group: unit.group.clone(),
        removed: missing(old, &unit.packages),
        added: missing(&unit.packages, old),
        built_from: untold(&base.unit, unit),
        gone: base.unit.sources.keys().filter(|name| !unit.sources.contains_key(*name)).cloned().collect(),
        sources,
    }))
}

/// Returns the source packages of a table: those of the base, except where told otherwise.
fn told(base: &UnitVerdicts, packages: &[String], news: Vec<(u32, SmolStr)>) -> Result<Vec<SmolStr>, VerdictsError> {
    if base.built_from.is_empty() && news.is_empty() {
        return Ok(Vec::new());
    }
    let (mut all, mut at) = (vec![SmolStr::default(); packages.len()], 0);
    for (package, source) in packages.iter().zip(&mut all) {
        while base.packages.get(at).is_some_and(|old| old < package) {
            at += 1;
        }
        if base.packages.get(at) == Some(package) {
            *source = base.built_from.get(at).cloned().unwrap_or_default();
        }
    }
    for (index, source) in news {
        *all.get_mut(index as usize).ok_or_else(|| bad("a source package is of no package"))? = source;
    }
    Ok(all)
}

/// Returns what [`told`] has to be told.
fn untold(base: &UnitVerdicts, unit: &UnitVerdicts) -> Vec<(u32, SmolStr)> {
    let known = told(base, &unit.packages, Vec::new()).unwrap_or_default();
    let was = |at: usize| known.get(at).map_or("", SmolStr::as_str);
    let news = (0..).zip(&unit.built_from).filter(|(at, source)| was(*at as usize) != source.as_str());
    let mut news: Vec<(u32, SmolStr)> = news.map(|(at, source)| (at, source.clone())).collect();
    // If the base has none and nothing is told, it is read as a table without source packages.
    if let (true, true, Some(first)) = (news.is_empty(), base.built_from.is_empty(), unit.built_from.first()) {
        news.push((0, first.clone()));
    }
    news
}

/// Where the packages of one table are in another one.
struct Places {
    /// The new index of each old one. `None` if the package is gone and nothing replaced it.
    new: Vec<Option<u32>>,
    /// Whether every index stays.
    same: bool,
}

impl Places {
    /// Finds the places of the packages of `old` in `new`. Both are sorted. A package that is gone
    /// was replaced by the one that came with the same name and architecture, if there is one of
    /// each.
    fn new(old: &[String], new: &[String]) -> Result<Self, VerdictsError> {
        let mut places: Vec<Option<u32>> = vec![None; old.len()];
        let (mut gone, mut came) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (0, 0);
        loop {
            let order = match (old.get(a), new.get(b)) {
                (Some(x), Some(y)) => x.cmp(y),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match order {
                Ordering::Less => gone.push(a),
                Ordering::Greater => came.push(b),
                Ordering::Equal => places[a] = u32::try_from(b).ok(),
            }
            a += usize::from(order.is_le());
            b += usize::from(order.is_ge());
        }
        let mut kin: FxHashMap<(Name, Name), (Vec<usize>, Vec<usize>)> = FxHashMap::default();
        let of = |text: &String| parse_nevra(text).map(|nevra| (nevra.name, nevra.arch));
        for at in gone {
            kin.entry(of(&old[at])?).or_default().0.push(at);
        }
        for at in came {
            kin.entry(of(&new[at])?).or_default().1.push(at);
        }
        for (gone, came) in kin.values() {
            if let ([from], [to]) = (gone.as_slice(), came.as_slice()) {
                places[*from] = u32::try_from(*to).ok();
            }
        }
        let stays = |(at, place): (usize, &Option<u32>)| place.is_some_and(|place| place as usize == at);
        let same = places.iter().enumerate().all(stays);
        Ok(Self { new: places, same })
    }

    /// Checks whether a result follows from the one before.
    fn is_carried(&self, before: &SourceResult, result: &SourceResult) -> bool {
        let (SourceVerdict::Ok { closure: old, .. }, SourceVerdict::Ok { closure, .. }) =
            (&before.verdict, &result.verdict)
        else {
            return before == result;
        };
        if old.len() != closure.len() {
            return false;
        }
        if self.same {
            return before == result;
        }
        self.carried(before).as_ref() == Some(result)
    }

    /// Returns a result with the indexes of the new table. `None` if a package is gone.
    fn carried(&self, before: &SourceResult) -> Option<SourceResult> {
        let SourceVerdict::Ok { closure, distances, erased } = &before.verdict else { return Some(before.clone()) };
        if self.same {
            return Some(before.clone());
        }
        let place = |old: &u32| self.new[*old as usize];
        let mut moved: Vec<u32> = closure.iter().map(place).collect::<Option<_>>()?;
        let mut distances = Arc::clone(distances);
        if !moved.is_sorted() {
            let mut pairs: Vec<(u32, u8)> = moved.into_iter().zip(distances.iter().copied()).collect();
            pairs.sort_unstable();
            let (indexes, by_index): (_, Vec<u8>) = pairs.into_iter().unzip();
            (moved, distances) = (indexes, by_index.into());
        }
        let mut erased: Vec<u32> = erased.iter().map(place).collect::<Option<_>>()?;
        erased.sort_unstable();
        let verdict = SourceVerdict::Ok { closure: moved.into(), distances, erased };
        Some(SourceResult { verdict, ..before.clone() })
    }

    /// Takes equal lists from the result before, so that memory holds them once.
    fn share(&self, before: Option<&SourceResult>, result: &mut SourceResult) {
        if let (
            Some(SourceVerdict::Ok { closure: old, distances: near, .. }),
            SourceVerdict::Ok { closure, distances, .. },
        ) = (before.map(|before| &before.verdict), &mut result.verdict)
        {
            if closure == old {
                *closure = Arc::clone(old);
            }
            if distances == near {
                *distances = Arc::clone(near);
            }
        }
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
