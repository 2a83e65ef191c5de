use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::buildroot::verdicts::SolverCounts;

/// A repository: the version of each package, and what each source package has installed. Packages
/// are named by a letter. A source package without any does not resolve.
#[derive(Clone, Debug, Default)]
struct World {
    versions: BTreeMap<char, u8>,
    sources: BTreeMap<char, (u8, BTreeMap<char, u8>)>,
}

/// The source package of a binary package. Some names are built from another one in every second
/// repository. One is built from an unknown one.
fn source_of(nevra: &str, repo: i64) -> SmolStr {
    match nevra.split("-0:").next().unwrap() {
        "a" => SmolStr::default(),
        "b" | "d" => smol_str::format_smolstr!("{nevra}-{}", repo % 2),
        name => smol_str::format_smolstr!("{name}-1-1"),
    }
}

fn unit(world: &World, repo: i64) -> UnitVerdicts {
    // Versions are written so that the order of names changes with them.
    let nevra = |p: &char| format!("{p}-0:{}-1.noarch", world.versions.get(p).copied().unwrap_or(1));
    let packages: BTreeSet<String> = world.sources.values().flat_map(|(_, of)| of.keys().map(nevra)).collect();
    let packages: Vec<String> = packages.into_iter().collect();
    let place = |p: &char| u32::try_from(packages.binary_search(&nevra(p)).unwrap()).unwrap();
    let sources = world.sources.iter().map(|(name, (version, of))| {
        let pairs: BTreeMap<u32, u8> = of.iter().map(|(p, distance)| (place(p), *distance)).collect();
        let verdict = if of.is_empty() {
            SourceVerdict::Unresolved { problems: vec![format!("nothing provides what {name} needs")] }
        } else {
            let erased = pairs.keys().copied().filter(|at| at % 3 == 0).collect();
            SourceVerdict::Ok {
                closure: pairs.keys().copied().collect(),
                distances: pairs.values().copied().collect(),
                erased,
            }
        };
        let source = smol_str::format_smolstr!("{version}-1");
        (Name::from(name.to_string()), SourceResult { source, noarch: false, in_repo: Default::default(), verdict })
    });
    UnitVerdicts {
        format: FORMAT,
        repo: RepoId(repo),
        arch: "x86_64".into(),
        mode: "two".into(),
        solver: "solver 1".into(),
        inputs: format!("inputs {repo}"),
        group_problems: Vec::new(),
        group: (0..).take(packages.len().min(2)).collect(),
        sources: sources.collect(),
        built_from: packages.iter().map(|p| source_of(p, repo)).collect(),
        packages,
        of_packages: None,
        solvers: SolverCounts::default(),
    }
}

/// Attachments by digest, as a log has them.
#[derive(Default)]
struct Log(BTreeMap<String, Vec<u8>>);

impl Log {
    fn read(&self, digest: &str) -> Result<(Closures, usize), VerdictsError> {
        match Stored::from_bytes(&self.0[digest])? {
            Stored::Whole(unit) => Ok((Closures::new(*unit)?, 1)),
            Stored::Differs(differs) => {
                let (base, read) = self.read(differs.base())?;
                Ok((differs.applied(&base)?, read + 1))
            }
        }
    }
}

fn digest(stored: &[u8]) -> String {
    blake3::hash(stored).to_hex().to_string()
}

/// A change: kind, package or source, version or distance.
type Change = (u8, Index, Index, u8);

fn changed(world: &mut World, (kind, source, package, n): &Change) {
    let letter = |index: &Index, first: u8| char::from(first + u8::try_from(index.index(16)).unwrap());
    let (source, package) = (letter(source, b'A'), letter(package, b'a'));
    match kind % 6 {
        0 | 1 => drop(world.versions.insert(package, n % 12)),
        2 => drop(world.sources.entry(source).or_default().1.insert(package, n % 5)),
        3 => drop(world.sources.entry(source).or_default().1.remove(&package)),
        4 => world.sources.entry(source).or_default().0 = *n,
        _ => drop(world.sources.remove(&source)),
    }
}

fn changes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec((any::<u8>(), any::<Index>(), any::<Index>(), any::<u8>()), count)
}

proptest! {
    /// Whatever changes, what was stored is read again. No chain is longer than it may be.
    #[test]
    fn what_is_stored_is_read(first in changes(20..200), steps in proptest::collection::vec(changes(0..6), 1..60)) {
        let mut world = World::default();
        first.iter().for_each(|change| changed(&mut world, change));
        let mut log = Log::default();
        let mut before: Option<(String, Arc<Closures>)> = None;
        for (repo, step) in (1..).zip(&steps) {
            step.iter().for_each(|change| changed(&mut world, change));
            let unit = unit(&world, repo);
            let base = before.as_ref().map(|(digest, base)| (digest.as_str(), &**base));
            let Kept { stored, content, closures: made } = store(unit.clone(), base).unwrap();
            prop_assert_eq!(content, made.unit.content());
            prop_assert_eq!(&made.unit, &unit);
            let digest = digest(&stored);
            log.0.insert(digest.clone(), stored);
            let (read, count) = log.read(&digest).unwrap();
            prop_assert_eq!(&read.unit, &unit);
            prop_assert_eq!(read.steps(), made.steps());
            prop_assert!(count <= STEPS_MAX as usize + 1, "{} were read", count);
            before = Some((digest, made));
        }
    }
}

/// The first package after an empty table may have an unknown source.
#[test]
fn unknown_sources_after_an_empty_table_are_read() {
    let mut world = World::default();
    for source in 'A'..='F' {
        world.sources.insert(source, (1, BTreeMap::new()));
    }
    let Kept { stored: first, closures: base, .. } = store(unit(&world, 1), None).unwrap();
    world.sources.insert('A', (1, BTreeMap::from([('a', 1)])));
    let with_package = unit(&world, 2);
    assert_eq!((base.unit.built_from.len(), &with_package.built_from[..]), (0, &[SmolStr::default()][..]));
    let Kept { stored, .. } = store(with_package.clone(), Some((&digest(&first), &base))).unwrap();
    let Stored::Differs(differs) = Stored::from_bytes(&stored).unwrap() else { panic!("little differs") };
    assert_eq!(differs.applied(&base).unwrap().unit, with_package);
}

fn distribution() -> World {
    let mut world = World::default();
    for source in 'A'..='Z' {
        let of = ('a'..='z').zip((0..=4).cycle()).skip(source as usize % 3).step_by(1 + source as usize % 4);
        world.sources.insert(source, (1, of.collect()));
    }
    world
}

#[test]
fn an_update_of_a_package_is_a_few_bytes_and_no_memory() {
    let mut world = distribution();
    let Kept { stored: first, closures: base, .. } = store(unit(&world, 1), None).unwrap();
    world.versions.insert('m', 2);
    let Kept { stored: second, closures: made, .. } = store(unit(&world, 2), Some((&digest(&first), &base))).unwrap();
    assert!(second.len() < 500, "{}", String::from_utf8_lossy(&second));
    for (name, result) in &made.unit.sources {
        let (SourceVerdict::Ok { closure, .. }, SourceVerdict::Ok { closure: before, .. }) =
            (&result.verdict, &base.unit.sources[name].verdict)
        else {
            panic!("{name} resolves");
        };
        assert!(Arc::ptr_eq(closure, before), "{name} is in memory twice");
    }
    // The package is gone from half of the buildroots, and nothing replaces it.
    for (_, of) in world.sources.values_mut() {
        of.clear();
    }
    let Kept { stored: third, closures: made, .. } = store(unit(&world, 3), Some((&digest(&second), &made))).unwrap();
    assert!(matches!(Stored::from_bytes(&third).unwrap(), Stored::Whole(_)), "most of it differs");
    assert_eq!(made.steps(), 0);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut world = distribution();
    let Kept { stored: first, closures: base, .. } = store(unit(&world, 1), None).unwrap();
    world.versions.insert('m', 2);
    let Kept { stored: second, closures: made, .. } = store(unit(&world, 2), Some((&digest(&first), &base))).unwrap();
    let text = String::from_utf8(second).unwrap();
    let read = |text: &str| match Stored::from_bytes(text.as_bytes()).map_err(|e| e.to_string())? {
        Stored::Differs(differs) => differs.applied(&base).map(|c| c.unit).map_err(|e| e.to_string()),
        Stored::Whole(_) => Err("it is whole".to_owned()),
    };
    assert_eq!(read(&text).as_ref(), Ok(&made.unit));
    for (from, to, expected) in [
        ("\"format\":2", "\"format\":3", "layout is not known"),
        ("\"format\":2", "\"format\":1", "invalid type"),
        ("\"steps\":1", "\"steps\":2", "another number of attachments"),
        ("\"steps\":1", "\"steps\":4000000000", "another number of attachments"),
        ("\"added\":[\"m-0:2-1.noarch\"]", "\"added\":[]", "lacks a package"),
        ("\"added\":[\"m-0:2-1.noarch\"]", "\"added\":[\"m\"]", "is not a package"),
        ("\"built_from\":[[1,", "\"built_from\":[[99,", "of no package"),
        ("\"group\":[0,1]", "\"group\":[0,99]", "outside the table"),
    ] {
        let broken = text.replace(from, to);
        assert_ne!(broken, text, "{from} is there");
        let why = read(&broken).expect_err(to);
        assert!(why.contains(expected), "{to}: {why}");
    }
    assert!(Stored::from_bytes(b"{}").is_err() && Stored::from_bytes(b"").is_err());
    // Another base.
    let Stored::Differs(differs) = Stored::from_bytes(text.as_bytes()).unwrap() else { panic!("it is not whole") };
    assert!(differs.applied(&made).is_err(), "it starts from the first one");
}
