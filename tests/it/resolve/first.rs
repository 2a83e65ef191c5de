//! Verdicts first, libsolv's words later: together they are what a resolution at once gives.

use std::path::Path;
use std::sync::Arc;

use koschei::buildroot::ArchiveResolver;
use koschei::buildroot::repo_resolver::{Examiner, OwnSources, Question, RepoResolver, Said, Unit};
use koschei::buildroot::verdicts::{SourceVerdict, UnitVerdicts};
use koschei::buildroot::{RepoStore, StoredRepo};
use koschei::event::Event;
use koschei::koji::archive::Archive;
use koschei::model::{Hub, Name, Nvr, RepoId};
use koschei::repodata::{KnownPackages, Limits, SourcePackage};
use koschei::resolve::{Mode, ResolveOptions};
use tokio::sync::Notify;

/// Returns the packages that do not resolve, with their problems.
fn problems(unit: &UnitVerdicts) -> Vec<(Name, Vec<String>)> {
    let one = |(name, result): (&Name, &_)| match result {
        SourceVerdict::Unresolved { problems } => Some((name.clone(), problems.clone())),
        _ => None,
    };
    unit.sources.iter().filter_map(|(name, result)| one((name, &result.verdict))).collect()
}

/// Asks, and waits for the answer.
fn ask(examiner: &mut dyn Examiner, question: Question) -> Said {
    let done = Arc::new(Notify::new());
    examiner.ask(question, &done);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(done.notified());
    examiner.answer().expect("it said that it is done").unwrap()
}

/// Every repository of the recording, in both modes, with one thread and with several, units alone
/// and side by side. One resolver takes answers over from one repository to the next. The whole comes
/// from a new resolver for each repository, which has nothing to take over.
#[test]
fn verdicts_first_and_the_rest_later_are_the_whole() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/koji");
    let hub = Hub::new("primary");
    let (mut units, mut described) = (0, 0);
    for (mode, threads) in [(Mode::Two, 1), (Mode::Two, 4), (Mode::Joint, 2)] {
        let new = || ArchiveResolver::new(Archive::open(&dir, hub.clone()).unwrap(), mode, threads).checking(100);
        let resolver = new();
        for repo in (1..40).map(RepoId) {
            let own = OwnSources::default();
            let tag = "f99-build";
            let arches = resolver.repo(&hub, tag, repo).arches.unwrap_or_default();
            let unit = |arch| Unit {
                collection: "f99",
                hub: &hub,
                tag,
                repo,
                arch,
                group: "build",
                own: &own,
                options: ResolveOptions::default(),
            };
            let all: Vec<Unit<'_>> = arches.iter().map(|arch| unit(arch.as_str())).collect();
            for (unit, first) in all.iter().zip(resolver.resolve_first(&all)) {
                let (first, whole) = match (first, new().resolve(unit)) {
                    (Ok(first), Ok(whole)) => (first, whole),
                    (first, whole) => {
                        assert_eq!(first.err(), whole.err());
                        continue;
                    }
                };
                let mut examiner = first.examiner.expect("a directory's resolver leaves the rest for later");
                let Said::Checked(checked) = ask(&mut *examiner, Question::Check) else { panic!("it was to check") };
                // Answers of libsolv that were taken over are checked as well.
                assert!(checked.answers >= whole.solvers.checked && checked.corrected.is_none());
                let mut told = first.verdicts;
                let open: Vec<Name> =
                    problems(&told).into_iter().filter(|(_, texts)| texts.is_empty()).map(|(name, _)| name).collect();
                let Said::Problems(texts) = ask(&mut *examiner, Question::Problems(open)) else {
                    panic!("it was to say problems")
                };
                for (name, texts) in texts {
                    described += 1;
                    told.sources.get_mut(&name).unwrap().verdict = SourceVerdict::Unresolved { problems: texts };
                }
                assert_eq!((problems(&told), told.counts()), (problems(&whole), whole.counts()), "{repo} {mode:?}");
                told.solvers = whole.solvers.clone();
                assert!(told == whole, "{repo} of {tag} on {} in {mode:?}", unit.arch);
                units += 1;
            }
        }
    }
    assert!(units > 30 && described > 0, "{units} units, {described} described");
}

/// A store of one repository. Somebody else can see that it is in use.
#[derive(Debug)]
struct Watched {
    repo: StoredRepo,
    _used: Arc<()>,
}

impl RepoStore for Watched {
    fn dir(&self) -> &Path {
        &self.repo.dir
    }

    fn repo(&self, _: &Hub, _: &str, _: RepoId) -> Result<Option<StoredRepo>, String> {
        Ok(Some(self.repo.clone()))
    }

    fn source(&self, _: &Nvr) -> Option<Arc<SourcePackage>> {
        None
    }

    fn observations(&self) -> Vec<Event> {
        Vec::new()
    }

    fn known_packages(&self) -> KnownPackages {
        KnownPackages::new(Limits::default(), [1, 2, 3, 4])
    }
}

/// What is left to ask libsolv does not keep the store in use: a service that ends may be followed by
/// another one at once.
#[test]
fn an_examiner_does_not_hold_the_store() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/koji/repos/f99-build/10");
    let (hub, used, own) = (Hub::new("primary"), Arc::new(()), OwnSources::default());
    let repo = StoredRepo { dir, create_event: None, arches: vec!["x86_64".into()] };
    let resolver = ArchiveResolver::new(Watched { repo, _used: Arc::clone(&used) }, Mode::Two, 2);
    let unit = Unit {
        collection: "f99",
        hub: &hub,
        tag: "f99-build",
        repo: RepoId(10),
        arch: "x86_64",
        group: "build",
        own: &own,
        options: ResolveOptions::default(),
    };
    let mut resolved = resolver.resolve_first(&[unit]);
    assert_eq!(Arc::strong_count(&used), 2);
    drop(resolver);
    assert_eq!(Arc::strong_count(&used), 1);
    let examiner = resolved[0].as_mut().unwrap().examiner.as_mut().unwrap();
    assert!(matches!(ask(&mut **examiner, Question::Check), Said::Checked(_)));
    // Its thread gives way: it has a low priority (proc(5): the 19th value of `stat`).
    let nice = |stat: String| stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse::<i32>().ok();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = threads.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("stat")).ok());
    assert!(stats.filter_map(nice).any(|nice| nice == 15));
}

/// A repository that is not there fails alike, for each unit.
#[test]
fn what_is_not_there_fails_for_each_unit() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/koji");
    let hub = Hub::new("primary");
    let resolver = ArchiveResolver::new(Archive::open(&dir, hub.clone()).unwrap(), Mode::Two, 2);
    let own = OwnSources::default();
    let unit = |arch| Unit {
        collection: "f99",
        hub: &hub,
        tag: "f99-build",
        repo: RepoId(999),
        arch,
        group: "build",
        own: &own,
        options: ResolveOptions::default(),
    };
    let units = [unit("x86_64"), unit("aarch64"), unit("s390x")];
    let errors: Vec<_> = resolver.resolve_first(&units).into_iter().map(|r| r.err().unwrap()).collect();
    assert_eq!(errors, vec![resolver.resolve(&units[0]).unwrap_err(); 3]);
}
