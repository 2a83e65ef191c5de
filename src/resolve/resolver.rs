//! Resolves one source package after the other.

mod all;
pub(super) mod answers;
mod asked;
mod current;
pub(super) mod earlier;
pub(super) mod explain;
mod kept_out;
pub(super) mod needers;
mod problem;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use self::asked::Known;
use self::explain::Explainer;
use self::kept_out::KeptOut;
use super::change::Installed;
use super::distance::Distances;
use super::error::ResolveError;
use super::isa::BuildRequires;
use super::member::GroupMember;
use super::mode::{Mode, Solvers};
use super::native::{Handover, Native, NativeAnswer, NativeBase, NativeSearch, Wish};
use super::said::{self, Asker};
use super::solv::Solver;
use super::universe::{PkgId, Universe};
use crate::repodata::{Dependency, Member};

/// Whether the build group can be installed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupVerdict {
    /// Whether the group can be installed. If not, no package of the collection can be built.
    pub ok: bool,
    /// The packages of an empty buildroot, ascending. Empty if not `ok`.
    pub closure: Vec<PkgId>,
    /// Why the group cannot be installed: one text per problem. Further lines after the first begin
    /// with ` - `.
    pub problems: Vec<String>,
    /// Members that do not exist. In [`Mode::Two`] no package has that name; in [`Mode::Joint`]
    /// nothing provides it. They are ignored, as in mock and Koschei.
    pub skipped: Vec<String>,
}

/// The answer for one source package.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolution {
    /// Whether the BuildRequires can be installed.
    pub ok: bool,
    /// All packages of the buildroot, ascending, including those of the group. Empty if not `ok`.
    pub closure: Vec<PkgId>,
    /// Packages of the group that are not in `closure`, ascending. They were erased or replaced,
    /// possibly by another version. Only in [`Mode::Two`].
    pub erased: Vec<PkgId>,
    /// Why the BuildRequires cannot be installed: one text per problem. Further lines after the
    /// first begin with ` - `. The wording is libsolv's and may differ between its versions. Empty
    /// if `ok`, and with [`Resolver::without_texts`].
    pub problems: Vec<String>,
    /// Distance of each package of `closure`. Empty without [`Resolver::with_distances`].
    pub distances: Vec<Option<u8>>,
    /// Distance of each package of `closure` when only packages of `closure` count
    /// ([`Explainer::distances`]). Empty without [`Resolver::with_true_distances`].
    pub true_distances: Vec<Option<u16>>,
    /// Rich BuildRequires none of whose parts exists. [`Mode::Joint`] ignores them, as Koschei
    /// does.
    pub skipped: Vec<String>,
    /// Why libsolv decided this. `None` if our own solver did.
    pub handover: Option<Handover>,
}

impl Resolution {
    /// Returns the closure with names and distances, for [`super::changes`].
    pub fn installed(&self, universe: &Universe) -> Vec<Installed> {
        let distance = |index: usize| self.distances.get(index).copied().flatten();
        let packages = self.closure.iter().enumerate();
        packages.map(|(i, &id)| Installed { nevra: universe.nevra(id), distance: distance(i) }).collect()
    }
}

/// A universe with a build group: what all source packages of one repository and architecture
/// share. It is immutable and shared by threads. Each thread makes its own [`Resolver`].
pub struct Prepared<'u> {
    universe: &'u Universe,
    native: Native<'u>,
    mode: Mode,
    solvers: Solvers,
    group: GroupVerdict,
    /// The members of the group that exist.
    members: Vec<GroupMember>,
    base: Option<NativeBase>,
    kept_out: KeptOut,
}

impl<'u> Prepared<'u> {
    pub(super) fn new(
        universe: &'u Universe,
        group: &[Member],
        mode: Mode,
        solvers: Solvers,
    ) -> Result<Self, ResolveError> {
        let native = Native::new(universe)?;
        let mut verdict = GroupVerdict::default();
        let (members, skipped) = GroupMember::all(group, mode, universe, &native);
        verdict.skipped = skipped;
        let answer = match solvers {
            Solvers::Libsolv => NativeAnswer::Handover(Handover::Wanted),
            Solvers::Both | Solvers::NativeAlone if universe.has_weak_deps() => {
                NativeAnswer::Handover(Handover::WeakDeps)
            }
            Solvers::Both | Solvers::NativeAlone => native.search(None).solve(members.iter().map(GroupMember::wish)),
        };
        match answer {
            NativeAnswer::Closure(closure) => {
                verdict.ok = true;
                verdict.closure = closure;
            }
            NativeAnswer::Unsolvable | NativeAnswer::Handover(_) => {
                let mut solver = Solver::new(universe)?;
                let (mut wishes, mut askers) = (Vec::new(), Vec::new());
                for member in &members {
                    if let Some(wish) = member.for_libsolv(&mut solver, universe) {
                        wishes.push(wish);
                        askers.push(Asker::Member(member.name()));
                    }
                }
                match solver.solve(wishes) {
                    Ok(closure) => {
                        verdict.ok = true;
                        verdict.closure = closure;
                    }
                    Err(problems) => verdict.problems = said::texts(problems, &askers, universe),
                }
            }
        }
        let base = (mode == Mode::Two && verdict.ok).then(|| native.base(&verdict.closure));
        Ok(Self { universe, native, mode, solvers, group: verdict, members, base, kept_out: KeptOut::default() })
    }

    /// Returns the verdict on the build group alone.
    pub fn group(&self) -> &GroupVerdict {
        &self.group
    }

    /// Returns the universe.
    pub fn universe(&self) -> &'u Universe {
        self.universe
    }

    /// Makes a resolver for this thread. Cost: some megabytes of memory. libsolv is loaded on first
    /// use (0.2 s for 63,000 packages).
    pub fn resolver(&self) -> Resolver<'_> {
        Resolver {
            prepared: self,
            search: self.native.search(self.base.as_ref()),
            solver: None,
            known: FxHashMap::default(),
            distances: None,
            explainer: None,
            texts: true,
        }
    }

    /// Makes an explainer for this thread. Cost: some bytes per dependency of the repository.
    pub fn explainer(&self) -> Explainer<'_> {
        Explainer::new(self)
    }

    pub(super) fn native(&self) -> &Native<'u> {
        &self.native
    }

    /// Returns how build group and BuildRequires are combined.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Checks whether libsolv answers everything.
    pub fn leaves_all_to_libsolv(&self) -> bool {
        self.solvers == Solvers::Libsolv || self.solvers == Solvers::Both && self.universe.has_weak_deps()
    }

    /// Returns the members of the group that exist.
    pub(super) fn members(&self) -> &[GroupMember] {
        &self.members
    }

    /// Returns the packages of the base that are members of the group, not merely required by
    /// others.
    fn members_of_base(&self) -> Vec<PkgId> {
        let is_member = |id: &PkgId| self.members.iter().any(|member| member.is(*id, self.universe));
        self.group.closure.iter().copied().filter(is_member).collect()
    }

    /// Returns the packages of the base that a closure lacks. Closures of our own solver lack none.
    fn erased(&self, closure: &[PkgId]) -> Vec<PkgId> {
        let base = if self.base.is_some() { self.group.closure.as_slice() } else { &[] };
        base.iter().copied().filter(|id| closure.binary_search(id).is_err()).collect()
    }

    /// Makes a libsolv solver with the repository loaded and the base installed.
    fn libsolv(&self) -> Solver {
        let loaded = Solver::new(self.universe).and_then(|mut solver| {
            if self.base.is_some() {
                solver.install(&self.group.closure, self.universe)?;
            }
            Ok(solver)
        });
        loaded.expect("Universe::load has checked what libsolv may refuse")
    }
}

/// Most wishes kept per resolver. A distribution has some 60,000 different BuildRequires.
const KNOWN_MAX: usize = 200_000;

/// Resolves source packages against one universe and one build group. It is bound to its thread
/// (neither `Send` nor `Sync`). An answer does not depend on earlier ones.
pub struct Resolver<'p> {
    prepared: &'p Prepared<'p>,
    search: NativeSearch<'p>,
    solver: Option<Solver>,
    known: FxHashMap<String, Known>,
    distances: Option<Distances>,
    explainer: Option<Explainer<'p>>,
    texts: bool,
}

impl Resolver<'_> {
    /// Makes the resolver compute distances, too.
    #[must_use]
    pub fn with_distances(mut self) -> Self {
        self.distances = Some(Distances::default());
        self
    }

    /// Makes the resolver compute distances over the packages of the closure alone, too.
    #[must_use]
    pub fn with_true_distances(mut self) -> Self {
        self.explainer = Some(self.prepared.explainer());
        self
    }

    /// Makes the resolver leave out problem texts if our own solver knows that there is no answer.
    /// The texts cost libsolv some milliseconds per source package. Verdicts are complete without
    /// them.
    #[must_use]
    pub fn without_texts(mut self) -> Self {
        self.texts = false;
        self
    }

    /// Sets whether the resolver gives texts ([`Resolver::without_texts`]).
    pub(crate) fn give_texts(&mut self, given: bool) {
        self.texts = given;
    }

    /// Returns the verdict on the build group alone. O(1): the group was resolved when the universe
    /// was prepared.
    pub fn group(&self) -> &GroupVerdict {
        &self.prepared.group
    }

    /// Resolves one source package. `build_requires` are in the order of the source package, in the
    /// form of a spec file.
    ///
    /// A plain BuildRequires is a problem if nothing provides it and, for a path, no package
    /// owns it either. A BuildRequires that cannot be parsed is a problem, too. A rich one without provider
    /// is left to the solver in [`Mode::Two`], as in `dnf builddep`, and ignored in
    /// [`Mode::Joint`]. Cost: some microseconds. If libsolv is asked: about 1 ms, more on large
    /// repositories.
    pub fn resolve(&mut self, build_requires: &[impl AsRef<str>]) -> Resolution {
        self.resolve_by(build_requires, &[], self.prepared.solvers)
    }

    /// Resolves one source package with its BuildConflicts. [`Mode::Two`] applies them like the
    /// builddep command of dnf 5. Packages they name are kept out. If such a package is in the
    /// base, it is erased, together with packages of the base that only it needs and that are not
    /// members of the group. dnf 5 compares the text with package names. A BuildConflicts with a
    /// version (`foo < 2`), a capability or a path therefore keeps out nothing. [`Mode::Joint`]
    /// ignores them, as Koschei does.
    pub fn resolve_source(&mut self, build: &BuildRequires) -> Resolution {
        let kept_out = self.prepared.kept_out(build);
        self.resolve_by(&build.requires, &kept_out, self.prepared.solvers)
    }

    /// Like [`Resolver::resolve_source`], but returns `None` if that would ask libsolv, for a verdict
    /// or for texts. libsolv is not loaded for this.
    pub fn resolve_without_libsolv(&mut self, build: &BuildRequires) -> Option<Resolution> {
        let kept_out = self.prepared.kept_out(build);
        self.try_by(&build.requires, &kept_out, self.prepared.solvers, false)
    }

    /// Checks an answer of our own solver with libsolv. Returns `None` if both agree in verdict and
    /// packages. Otherwise returns libsolv's answer, which counts. An answer that libsolv itself
    /// gave is not checked again, so BuildConflicts that matter never come here. Cost: that of
    /// libsolv, about 1 ms.
    pub fn check(&mut self, build_requires: &[impl AsRef<str>], answer: &Resolution) -> Option<Resolution> {
        if answer.handover.is_some() {
            return None;
        }
        let expected = self.resolve_by(build_requires, &[], Solvers::Libsolv);
        (expected.ok != answer.ok || expected.closure != answer.closure).then_some(expected)
    }

    fn resolve_by(&mut self, build_requires: &[impl AsRef<str>], kept_out: &[PkgId], solvers: Solvers) -> Resolution {
        self.try_by(build_requires, kept_out, solvers, true).expect("libsolv may be asked")
    }

    /// Returns `None` if libsolv has to be asked and `may_ask` is not set.
    fn try_by(
        &mut self,
        build_requires: &[impl AsRef<str>],
        kept_out: &[PkgId],
        solvers: Solvers,
        may_ask: bool,
    ) -> Option<Resolution> {
        let prepared = self.prepared;
        let mut answer = Resolution::default();
        if !prepared.group.ok && prepared.mode == Mode::Two {
            answer.problems = prepared.group.problems.iter().map(|p| format!("build group: {p}")).collect();
            return Some(answer);
        }
        let known: Vec<Known> = build_requires.iter().map(|text| self.known(text.as_ref())).collect();
        let wishes = prepared.wishes(build_requires.iter().map(AsRef::as_ref).zip(&known), &mut answer);
        if self.decide(&mut answer, wishes, solvers, !kept_out.is_empty()) {
            if !may_ask {
                return None;
            }
            self.decide_by_libsolv(&mut answer, (build_requires, &known), kept_out);
        }
        if !answer.ok && self.texts {
            self.name_rich(&mut answer, build_requires, &known);
        }
        if answer.ok
            && let Some(distances) = &mut self.distances
        {
            let matches = known.iter().filter_map(|k| k.as_ref().as_ref().ok()).flat_map(|(_, wish)| wish.matches());
            answer.distances = distances.of(&answer.closure, matches, prepared.universe, &prepared.native);
        }
        if answer.ok
            && let Some(explainer) = &mut self.explainer
        {
            answer.true_distances = explainer.distances(build_requires, &answer.closure);
        }
        Some(answer)
    }

    /// Lets our own solver decide. Returns whether libsolv has to be asked.
    fn decide(&mut self, answer: &mut Resolution, wishes: Vec<&Wish>, solvers: Solvers, has_conflicts: bool) -> bool {
        let failed = !answer.problems.is_empty();
        if failed && !self.texts {
            return false;
        }
        let native = match solvers {
            Solvers::Libsolv => NativeAnswer::Handover(Handover::Wanted),
            Solvers::Both | Solvers::NativeAlone if failed => NativeAnswer::Unsolvable,
            Solvers::Both | Solvers::NativeAlone if self.prepared.universe.has_weak_deps() => {
                NativeAnswer::Handover(Handover::WeakDeps)
            }
            Solvers::Both | Solvers::NativeAlone if has_conflicts => NativeAnswer::Handover(Handover::BuildConflicts),
            Solvers::Both | Solvers::NativeAlone => self.search.solve(wishes),
        };
        match native {
            NativeAnswer::Closure(closure) => {
                answer.ok = true;
                answer.closure = closure;
                false
            }
            NativeAnswer::Unsolvable => self.texts,
            NativeAnswer::Handover(_) if solvers == Solvers::NativeAlone => false,
            NativeAnswer::Handover(reason) => {
                answer.handover = Some(reason);
                true
            }
        }
    }

    fn decide_by_libsolv(
        &mut self,
        answer: &mut Resolution,
        asked: (&[impl AsRef<str>], &[Known]),
        kept_out: &[PkgId],
    ) {
        let failed = !answer.problems.is_empty();
        match self.ask_libsolv(asked, kept_out) {
            Ok(_) if failed => {}
            Ok(closure) => {
                answer.ok = true;
                answer.erased = self.prepared.erased(&closure);
                answer.closure = closure;
            }
            Err(problems) => {
                // Name BuildConflicts only if they are the reason: without them there is an answer.
                if !kept_out.is_empty() && !failed && self.texts && self.ask_libsolv(asked, &[]).is_ok() {
                    answer.problems.push(kept_out::text(kept_out, self.prepared.universe));
                }
                answer.problems.extend(problems);
            }
        }
    }

    /// Replaces problem texts that name nothing by texts about what rich BuildRequires lack.
    fn name_rich(&self, answer: &mut Resolution, build_requires: &[impl AsRef<str>], known: &[Known]) {
        let read = |(text, known): (_, &'_ Known)| (text, Arc::clone(known));
        let read: Vec<(&str, Known)> = build_requires.iter().map(AsRef::as_ref).zip(known).map(read).collect();
        let asked: Vec<(&str, &Dependency)> = read
            .iter()
            .filter(|(text, _)| !answer.skipped.iter().any(|skipped| skipped == text))
            .filter_map(|(text, known)| known.as_ref().as_ref().ok().map(|(dependency, _)| (*text, dependency)))
            .collect();
        let named = problem::of_rich(&asked, self.prepared);
        if !named.is_empty() {
            answer.problems.retain(|text| !problem::says_nothing(text, &named));
            answer.problems.extend(named.into_iter().map(|(_, problem)| problem));
        }
    }

    fn known(&mut self, text: &str) -> Known {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        let known = self.prepared.read(text);
        if self.known.len() < KNOWN_MAX {
            self.known.insert(text.to_owned(), Arc::clone(&known));
        }
        known
    }

    /// Asks libsolv. The first argument are the BuildRequires, as text and parsed.
    fn ask_libsolv(
        &mut self,
        (texts, known): (&[impl AsRef<str>], &[Known]),
        kept_out: &[PkgId],
    ) -> Result<Vec<PkgId>, Vec<String>> {
        let prepared = self.prepared;
        let solver = self.solver.get_or_insert_with(|| prepared.libsolv());
        let mut wishes = Vec::new();
        let mut askers = Vec::new();
        if prepared.mode == Mode::Joint {
            for member in &prepared.members {
                if let Some(wish) = member.for_libsolv(solver, prepared.universe) {
                    wishes.push(wish);
                    askers.push(Asker::Member(member.name()));
                }
            }
        }
        for (text, known) in texts.iter().zip(known) {
            let Ok((dependency, _)) = &**known else { continue };
            let wish = match solver.select(dependency, prepared.universe) {
                Ok((Some(wish), _)) => wish,
                Ok((None, _)) if dependency.is_rich() && prepared.mode == Mode::Two => {
                    let Ok(wish) = solver.insist(dependency) else { continue };
                    wish
                }
                Ok((None, _)) | Err(_) => continue,
            };
            wishes.push(wish);
            askers.push(Asker::Requirement(text.as_ref()));
        }
        if !kept_out.is_empty() {
            wishes.push(solver.none_of(kept_out));
            askers.push(Asker::Conflicts);
            wishes.push(solver.kept(&prepared.members_of_base()));
        }
        solver.solve(wishes).map_err(|problems| said::texts(problems, &askers, prepared.universe))
    }
}

impl Universe {
    /// Resolves the build group. `group` are its members in order: those of
    /// [`Groups::installed`](crate::repodata::Groups::installed), or names.
    ///
    /// # Errors
    /// Returns [`ResolveError::Nul`] if libsolv cannot hold a text. A group that cannot be
    /// installed is not an error: [`Prepared::group`] says so. Cost: turning the repository into
    /// rules (0.3 s for 63,000 packages).
    pub fn prepare<M: Clone + Into<Member>>(&self, group: &[M], mode: Mode) -> Result<Prepared<'_>, ResolveError> {
        self.prepare_with(group, mode, Solvers::default())
    }

    /// Like [`Universe::prepare`], but with a choice of solvers.
    ///
    /// # Errors
    /// See [`Universe::prepare`].
    pub fn prepare_with<M: Clone + Into<Member>>(
        &self,
        group: &[M],
        mode: Mode,
        solvers: Solvers,
    ) -> Result<Prepared<'_>, ResolveError> {
        let group: Vec<Member> = group.iter().cloned().map(Into::into).collect();
        Prepared::new(self, &group, mode, solvers)
    }
}
