//! A resolver that sees what the test wrote down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use koschei::buildroot::repo_resolver::{
    CannotResolve, Checked, Examiner, Question, RepoLayout, RepoResolver, Resolved, Said, Unit,
};
use koschei::buildroot::verdicts::{FORMAT, SourceResult, SourceVerdict, UnitVerdicts};
use koschei::event::Event;
use koschei::model::{Hub, Name, Nvr, RepoId};
use tokio::sync::Notify;

/// A source package in a scripted repository.
#[derive(Clone)]
pub(crate) struct Src {
    nvr: Nvr,
    noarch: bool,
    verdict: Script,
    /// What our own solver says first, if that is wrong.
    wrong: Option<Script>,
}

#[derive(Clone)]
enum Script {
    Ok(Vec<(String, u8)>),
    Broken(String),
    Excluded,
    Unknown,
}

/// A source that resolves. The closure is a list of words like `zlib-0:1-1.x86_64/1`; the last
/// number is the distance.
pub(crate) fn ok(nvr: &str, closure: &str) -> Src {
    let word = |w: &str| match w.rsplit_once('/') {
        Some((nevra, distance)) => (nevra.to_owned(), distance.parse().unwrap()),
        None => (w.to_owned(), 0),
    };
    source(nvr, Script::Ok(closure.split_whitespace().map(word).collect()))
}

/// A source that does not resolve. Several problems are separated by `|`.
pub(crate) fn broken(nvr: &str, problem: &str) -> Src {
    source(nvr, Script::Broken(problem.to_owned()))
}

/// A source that is not for this architecture.
pub(crate) fn excluded(nvr: &str) -> Src {
    source(nvr, Script::Excluded)
}

/// A source with unknown build requirements.
pub(crate) fn unknown(nvr: &str) -> Src {
    source(nvr, Script::Unknown)
}

fn source(nvr: &str, verdict: Script) -> Src {
    Src { nvr: Nvr::parse(nvr).unwrap(), noarch: false, verdict, wrong: None }
}

impl Src {
    /// Our own solver says this first, and libsolv corrects it.
    pub(crate) fn but_first(mut self, wrong: Self) -> Self {
        self.wrong = Some(wrong.verdict);
        self
    }

    pub(crate) fn noarch(mut self) -> Self {
        self.noarch = true;
        self
    }
}

#[derive(Clone, Default)]
pub(super) struct FakeRepo {
    pub(super) create_event: Option<i64>,
    /// Per architecture: the problem of the build group, and the sources.
    pub(super) arches: BTreeMap<Name, (Option<String>, Vec<Src>)>,
    pub(super) lost: bool,
}

#[derive(Clone, Default)]
pub(super) struct Scripted {
    pub(super) repos: BTreeMap<(String, i64), FakeRepo>,
    pub(super) observations: Vec<Event>,
    pub(super) solver: String,
    /// libsolv still works on what it was asked.
    pub(super) libsolv_works: bool,
    /// The units that were asked for at once: collection and architecture.
    pub(super) asked: Vec<Vec<String>>,
}

/// A resolver that returns what the test has scripted.
#[derive(Clone, Default)]
pub(crate) struct FakeEyes(pub(super) Arc<Mutex<Scripted>>);

impl RepoResolver for FakeEyes {
    fn observations(&self) -> Vec<Event> {
        self.0.lock().unwrap().observations.clone()
    }

    fn repo(&self, _: &Hub, tag: &str, repo: RepoId) -> RepoLayout {
        match self.0.lock().unwrap().repos.get(&(tag.to_owned(), repo.0)) {
            Some(r) if !r.lost => {
                RepoLayout { create_event: r.create_event, arches: Some(r.arches.keys().cloned().collect()) }
            }
            _ => RepoLayout::default(),
        }
    }

    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        self.told(unit, |s| &s.verdict)
    }

    fn resolve_first(&self, units: &[Unit<'_>]) -> Vec<Result<Resolved, CannotResolve>> {
        let asked = units.iter().map(|unit| format!("{} {}", unit.collection, unit.arch)).collect();
        self.0.lock().unwrap().asked.push(asked);
        let first = |unit: &Unit<'_>| {
            let right = self.resolve(unit)?;
            let mut verdicts = self.told(unit, |s| s.wrong.as_ref().unwrap_or(&s.verdict))?;
            for source in verdicts.sources.values_mut() {
                if let SourceVerdict::Unresolved { problems } = &mut source.verdict {
                    problems.clear();
                }
            }
            let wrong = |(name, source): (&Name, &SourceResult)| {
                let said = std::mem::discriminant(&source.verdict);
                (said != std::mem::discriminant(&right.sources[name].verdict)).then(|| name.clone())
            };
            let wrong = verdicts.sources.iter().filter_map(wrong).collect();
            let examiner: Box<dyn Examiner> = Box::new(Later { right, wrong, asked: None, eyes: self.clone() });
            Ok(Resolved { verdicts, examiner: Some(examiner) })
        };
        units.iter().map(first).collect()
    }
}

/// Says what the test has scripted, later.
struct Later {
    right: UnitVerdicts,
    wrong: Vec<Name>,
    asked: Option<Question>,
    eyes: FakeEyes,
}

impl Examiner for Later {
    fn ask(&mut self, question: Question, done: &Arc<Notify>) {
        assert!(self.asked.replace(question).is_none(), "one question after the other");
        done.notify_one();
    }

    fn answer(&mut self) -> Option<Result<Said, CannotResolve>> {
        if self.eyes.0.lock().unwrap().libsolv_works {
            return None;
        }
        Some(Ok(match self.asked.take()? {
            Question::Check => {
                let mut right = self.right.clone();
                right.solvers.mismatches.clone_from(&self.wrong);
                let corrected = (!self.wrong.is_empty()).then_some(right);
                Said::Checked(Box::new(Checked { answers: 7, corrected }))
            }
            Question::Problems(packages) => {
                let problems = |name: Name| match &self.right.sources.get(&name)?.verdict {
                    SourceVerdict::Unresolved { problems } => Some((name, problems.clone())),
                    _ => None,
                };
                Said::Problems(packages.into_iter().filter_map(problems).collect())
            }
        }))
    }
}

impl FakeEyes {
    fn told(&self, unit: &Unit<'_>, said: impl Fn(&Src) -> &Script) -> Result<UnitVerdicts, CannotResolve> {
        let script = self.0.lock().unwrap();
        let lost = || CannotResolve(format!("repository {} of {} is gone", unit.repo, unit.tag));
        let repo = script.repos.get(&(unit.tag.to_owned(), unit.repo.0)).filter(|r| !r.lost).ok_or_else(lost)?;
        let (group, sources) = repo.arches.get(unit.arch).ok_or_else(lost)?;
        let mut table: Vec<String> = Vec::new();
        for s in sources {
            if let Script::Ok(closure) = said(s) {
                table.extend(closure.iter().map(|(n, _)| n.clone()));
            }
        }
        table.sort();
        table.dedup();
        let verdict = |s: &Src| match said(s) {
            Script::Ok(closure) => {
                let mut pairs: Vec<(u32, u8)> = closure
                    .iter()
                    .map(|(n, d)| (u32::try_from(table.binary_search(n).unwrap()).unwrap(), *d))
                    .collect();
                pairs.sort_unstable();
                let (closure, distances): (Vec<u32>, Vec<u8>) = pairs.into_iter().unzip();
                SourceVerdict::Ok { closure: closure.into(), distances: distances.into(), erased: Vec::new() }
            }
            Script::Broken(p) => SourceVerdict::Unresolved { problems: p.split('|').map(str::to_owned).collect() },
            Script::Excluded => SourceVerdict::Excluded { reason: "is not in ExclusiveArch".to_owned() },
            Script::Unknown => SourceVerdict::Unknown,
        };
        let result = |s: &Src| {
            let source = format!("{}-{}", s.nvr.version, s.nvr.release).into();
            (
                s.nvr.name.clone(),
                SourceResult { source, noarch: s.noarch, in_repo: Default::default(), verdict: verdict(s) },
            )
        };
        Ok(UnitVerdicts {
            of_packages: None,
            solvers: Default::default(),
            format: FORMAT,
            repo: unit.repo,
            arch: unit.arch.into(),
            mode: "two".into(),
            solver: format!("scripted {}", script.solver),
            inputs: format!("{}/{}/{}", unit.tag, unit.repo, unit.arch),
            group_problems: group.iter().cloned().collect(),
            group: Vec::new(),
            sources: match group {
                None => sources.iter().filter(|s| unit.own.tracked().has(&s.nvr.name)).map(result).collect(),
                Some(_) => BTreeMap::new(),
            },
            packages: table,
            built_from: Vec::new(),
        })
    }
}
