//! Resolves all source packages of a repository, and takes over the answers of the repository before
//! where they still hold.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Prepared;
use super::answers::{Answers, Question};
use super::current::{Current, shared_out};
use super::earlier::{AnswerId, Earlier, Entry, UNNAMED};
use crate::resolve::isa::BuildRequires;
use crate::resolve::mode::Mode;
use crate::resolve::native::{NodeKeys, ReadKeys};
use crate::resolve::sig::{Mixer, Sig};
use crate::resolve::universe::PkgId;

impl Prepared<'_> {
    /// Resolves source packages, without texts of problems, with distances. `earlier` is what
    /// this function returned for an earlier repository of the same series, or empty. Returns the
    /// answers and what to keep for the next repository.
    ///
    /// The answers do not depend on `earlier`: an earlier answer is only taken over if it is certain
    /// that solving would give it again. If the build group cannot be installed, [`Mode::Two`] has no
    /// answers, and `earlier` is returned as it was.
    ///
    /// Cost: with nothing to reuse, that of [`super::Resolver::resolve_source`] for each different
    /// question. Otherwise a pass over the repository and over what the earlier
    /// answers depend on.
    pub fn resolve_all<'p>(
        &'p self,
        sources: &[&'p BuildRequires],
        mut earlier: Earlier,
        threads: usize,
    ) -> (Answers<'p>, Earlier) {
        let threads = threads.max(1);
        let mut answers = self.ask(sources, threads);
        if !self.group.ok && self.mode == Mode::Two {
            return (answers, earlier);
        }
        earlier.bound(self.universe);
        let (keys, nevras) = earlier.number(self.universe);
        let signatures = self.native.signatures(self.base.as_ref(), &keys);
        let changes = self.native.changes(self.base.as_ref(), &keys, &earlier.signatures, &signatures);
        answers.packages = vec![None; nevras.len()];
        for id in self.universe.ids() {
            let key = keys.of(id) as usize;
            answers.packages[key] = Some(id);
            answers.renewed.push(earlier.nevras.get(key) != Some(&nevras[key]));
        }
        let context = self.context(&keys);
        let same_base = earlier.signatures.same_base(&signatures);
        let current = Current { prepared: self, keys: &keys, changes, holds: earlier.context == context };
        let old = std::mem::take(&mut earlier.entries);
        let names = current.answer(&mut answers, &old, threads);
        let mut entries: FxHashMap<Sig, Arc<Entry>> = FxHashMap::default();
        for ((_, entry, _), name) in answers.questions.iter_mut().zip(names) {
            if entry.id == UNNAMED {
                let before = old.get(&name).filter(|before| same_base && before.equals(entry));
                let id = before.map_or(AnswerId(earlier.next_id + 1), |before| before.id);
                earlier.next_id = earlier.next_id.max(id.0);
                Arc::make_mut(entry).id = id;
            }
            entries.insert(name, Arc::clone(entry));
        }
        (earlier.entries, earlier.context, earlier.nevras) = (entries, context, nevras);
        earlier.signatures = signatures.kept();
        (answers, earlier)
    }

    /// Reads what all source packages ask for. The answers are all negative at first.
    fn ask<'p>(&'p self, sources: &[&'p BuildRequires], threads: usize) -> Answers<'p> {
        let mut numbers: FxHashMap<&'p str, u32> = FxHashMap::default();
        let mut texts: Vec<&'p str> = Vec::new();
        let mut known_questions: FxHashMap<Question, u32> = FxHashMap::default();
        let mut asked = Vec::with_capacity(sources.len());
        for source in sources {
            let number = |text: &'p String| {
                *numbers.entry(text.as_str()).or_insert_with(|| {
                    texts.push(text);
                    PkgId::from_index(texts.len() - 1).0
                })
            };
            let question = (source.requires.iter().map(number).collect(), self.kept_out(source));
            let next = PkgId::from_index(known_questions.len()).0;
            asked.push(*known_questions.entry(question).or_insert(next));
        }
        let mut questions: Vec<(u32, Question)> = known_questions.into_iter().map(|(q, number)| (number, q)).collect();
        questions.sort_unstable_by_key(|(number, _)| *number);
        let nothing = Entry::new(Sig::default(), false, Vec::new(), Box::default(), &ReadKeys::default());
        let nothing = Arc::new(nothing);
        let questions: Vec<_> = questions.into_iter().map(|(_, q)| (q, Arc::clone(&nothing), false)).collect();
        let known = shared_out(texts.len(), threads, || (), |(), at| self.read(texts[at]));
        let (packages, renewed, work) = Default::default();
        Answers { prepared: self, texts, known, questions, asked, packages, renewed, work }
    }

    /// Returns the hash of everything that all answers depend on beside repository and base.
    fn context(&self, keys: &NodeKeys) -> Sig {
        let mut mixer = Mixer::default();
        mixer.add(self.mode as u64);
        mixer.add(self.solvers as u64);
        mixer.add(self.universe.has_weak_deps().into());
        mixer.text(self.universe.arch());
        if self.mode == Mode::Joint {
            for member in &self.members {
                mixer.sig(self.native.wish_sig(member.wish(), None, keys));
            }
        }
        mixer.finish()
    }
}
