//! The answers for all source packages of a repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asked::Known;
use super::earlier::{AnswerId, Entry};
use super::{Prepared, Resolution};
use crate::resolve::mode::Mode;
use crate::resolve::native::{Again, Handover, Key, Wish};
use crate::resolve::universe::PkgId;

/// What a source package asks for: its BuildRequires by number, and the packages that its
/// BuildConflicts keep out.
pub(super) type Question = (Vec<u32>, Vec<PkgId>);

/// Which questions were solved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Different questions. Source packages with equal BuildRequires ask the same one.
    pub questions: usize,
    /// Questions whose earlier answers still hold.
    pub reused: usize,
    /// Of these, those whose distances were computed again.
    pub measured: usize,
    /// Of the reused answers, those that libsolv had given.
    pub handed_over: usize,
    /// Questions that were solved, by the reason.
    pub solved: BTreeMap<Again, usize>,
}

/// The answers for all source packages, in the order in which they were asked.
pub struct Answers<'p> {
    pub(super) prepared: &'p Prepared<'p>,
    pub(super) texts: Vec<&'p str>,
    pub(super) known: Vec<Known>,
    /// The different questions with their answers, and whether the earlier answer was taken over.
    pub(super) questions: Vec<(Question, Arc<Entry>, bool)>,
    /// The question of each source package.
    pub(super) asked: Vec<u32>,
    /// The package of each key.
    pub(super) packages: Vec<Option<PkgId>>,
    /// For each package, whether it has another version than the same package had before, or was
    /// not there.
    pub(super) renewed: Vec<bool>,
    pub(super) work: Work,
}

impl Answers<'_> {
    /// Returns the BuildRequires of a question.
    pub(super) fn asked_by(&self, question: usize) -> impl Iterator<Item = (&str, &Known)> {
        let texts = self.questions[question].0.0.iter().map(|&text| text as usize);
        texts.map(|text| (self.texts[text], &self.known[text]))
    }

    pub(super) fn wishes(&self, question: usize, answer: &mut Resolution) -> Vec<&Wish> {
        self.prepared.wishes(self.asked_by(question), answer)
    }

    pub(super) fn closure_of(&self, entry: &Entry) -> Vec<PkgId> {
        let id = |key: &Key| self.packages[*key as usize].expect("the packages of an answer that holds are there");
        let mut closure: Vec<PkgId> = entry.closure().iter().map(id).collect();
        if entry.ok && !entry.whole && self.prepared.base.is_some() {
            closure.extend(&self.prepared.group.closure);
        }
        // Both parts are usually in order. A stable sort merges them.
        closure.sort();
        closure
    }

    fn entry(&self, source: usize) -> &Entry {
        &self.questions[self.asked[source] as usize].1
    }

    /// Returns the number of source packages.
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Checks whether there are no source packages.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Checks whether the BuildRequires of a source package can be installed.
    pub fn is_ok(&self, source: usize) -> bool {
        self.entry(source).ok
    }

    /// Returns the name of a source package's answer. If its answer to the same BuildRequires had
    /// this name in an earlier repository of the series, the answer is the same.
    pub fn id(&self, source: usize) -> AnswerId {
        self.entry(source).id
    }

    /// Checks whether the earlier answer for these BuildRequires was taken over, without solving.
    pub fn is_reused(&self, source: usize) -> bool {
        self.questions[self.asked[source] as usize].2
    }

    /// Returns why libsolv decided. `None` if our own solver did.
    pub fn handover(&self, source: usize) -> Option<Handover> {
        self.entry(source).handover
    }

    /// Checks whether a package has another version than the same package had in the earlier
    /// repository, or was not there. An answer with the same name as before, none of whose packages
    /// is renewed, is the same down to the versions.
    pub fn is_renewed(&self, id: PkgId) -> bool {
        self.renewed.get(id.index()).copied().unwrap_or(true)
    }

    /// Returns the answer for one source package. It has no texts of problems, beside those about
    /// BuildRequires that nothing provides. Cost: O(closure).
    pub fn resolution(&self, source: usize) -> Resolution {
        let prepared = self.prepared;
        let mut answer = Resolution::default();
        if !prepared.group.ok && prepared.mode == Mode::Two {
            answer.problems = prepared.group.problems.iter().map(|p| format!("build group: {p}")).collect();
            return answer;
        }
        let entry = self.entry(source);
        self.wishes(self.asked[source] as usize, &mut answer);
        (answer.ok, answer.handover, answer.closure) = (entry.ok, entry.handover, self.closure_of(entry));
        if entry.ok {
            answer.erased = prepared.erased(&answer.closure);
            answer.distances = entry.distances.iter().map(|&distance| Some(distance).filter(|&d| d > 0)).collect();
        }
        answer
    }

    /// Returns what was solved and what was taken over.
    pub fn work(&self) -> &Work {
        &self.work
    }
}
