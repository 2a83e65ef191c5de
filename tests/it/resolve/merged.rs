//! Resolution against several repositories together: several versions of one name, priorities that
//! contradict the versions, files and groups across repositories. The oracle is libsolv with one
//! repository for each of ours.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use koschei::repodata::{Limits, Member, RepoContent, RepoDir, RepodataError, load_merged, primary};
use koschei::resolve::{Mode, Priority, Resolution, Solvers, Universe};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::Value;

use crate::feed::scale;
use crate::resolve::cli::run;
use crate::tiny::{MetaFile, Pkg, content, pkg, primary_xml, write_repo};

fn merge(parts: Vec<RepoContent>) -> RepoContent {
    let named = parts.into_iter().enumerate().map(|(i, part)| (format!("repository {i}"), part));
    RepoContent::merge(named, &Limits::default()).unwrap()
}

fn universe(parts: &[(&[Pkg], i32)]) -> Universe {
    let priorities: Vec<Priority> = parts.iter().map(|(_, priority)| Priority(*priority)).collect();
    let merged = merge(parts.iter().map(|(packages, _)| content(packages)).collect());
    Universe::load(Arc::new(merged), "x86_64").unwrap().with_priorities(&priorities)
}

/// Asks both solvers everything in both modes. Returns the answers of the first mode, and how many
/// were handed over.
fn compare(
    universe: &Universe,
    group: &[Member],
    questions: &[Vec<String>],
) -> Result<(Vec<Resolution>, usize), String> {
    let (mut answers, mut handed) = (Vec::new(), 0);
    for mode in [Mode::Joint, Mode::Two] {
        let ours = universe.prepare_with(group, mode, Solvers::Both).unwrap();
        let oracle = universe.prepare_with(group, mode, Solvers::Libsolv).unwrap();
        if ours.group() != oracle.group() {
            return Err(format!("{mode:?}, group: {:?}, libsolv {:?}", ours.group(), oracle.group()));
        }
        let (mut ask, mut ask_oracle) = (ours.resolver(), oracle.resolver());
        for question in questions {
            let (answer, expected) = (ask.resolve(question), ask_oracle.resolve(question));
            if (answer.ok, &answer.closure) != (expected.ok, &expected.closure) {
                let (ours, theirs) = (universe.names(&answer.closure), universe.names(&expected.closure));
                return Err(format!("{mode:?}, {question:?}: {ours:?} ({:?}), libsolv {theirs:?}", answer.handover));
            }
            handed += usize::from(answer.ok && answer.handover.is_some());
            answers.push(answer);
        }
    }
    answers.truncate(questions.len());
    Ok((answers, handed))
}

fn members(text: &str) -> Vec<Member> {
    words(text).into_iter().map(Member::from).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(", ").filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// One of two repositories. Together they have three versions of `a`, two of `b` and two of a
/// virtual provider.
fn own() -> Vec<Pkg> {
    vec![
        pkg("a-1-1.x86_64"),
        pkg("a-3-1.x86_64").requires(&["b >= 2"]),
        pkg("b-1-1.x86_64"),
        pkg("same-1-1.noarch").provides(&["of-own"]),
        pkg("tool-own-1-1.x86_64").provides(&["tool = 9"]),
        pkg("user-1-1.x86_64").requires(&["b = 1-1"]),
    ]
}

fn external() -> Vec<Pkg> {
    vec![
        pkg("a-2-1.x86_64").requires(&["b"]),
        pkg("b-2-1.x86_64"),
        pkg("same-1-1.noarch").provides(&["of-external"]),
        pkg("tool-ext-1-1.x86_64").provides(&["tool = 1"]),
        pkg("z-1-1.x86_64").conflicts(&["a < 3"]),
    ]
}

#[rstest]
#[case::newest_wherever_it_is(99, 99, "", "a", "a-0:3-1 b-0:2-1")]
#[case::preferred_although_older(99, 1, "", "a", "a-0:2-1 b-0:2-1")]
#[case::preferred_and_its_newest(1, 99, "", "a", "a-0:3-1 b-0:2-1")]
#[case::exact_wherever_it_is(99, 1, "", "a = 1", "a-0:1-1")]
#[case::a_name_only_one_has(1, 99, "", "z", "z-0:1-1")]
#[case::priority_gives_way(99, 1, "", "a, z", "a-0:3-1 b-0:2-1 z-0:1-1")]
#[case::provider_by_version(99, 99, "", "tool", "tool-own-0:1-1")]
#[case::provider_by_priority(99, 98, "", "tool", "tool-ext-0:1-1")]
#[case::negative_is_stronger(0, -1, "", "tool", "tool-ext-0:1-1")]
#[case::old_version_in_base(1, 99, "user", "tool", "b-0:1-1 tool-own-0:1-1 user-0:1-1")]
fn priorities(
    #[case] own_priority: i32,
    #[case] external_priority: i32,
    #[case] group: &str,
    #[case] requires: &str,
    #[case] expected: &str,
) {
    let universe = universe(&[(&own(), own_priority), (&external(), external_priority)]);
    let (answers, _) = compare(&universe, &members(group), &[words(requires)]).unwrap();
    let names = universe.names(&answers[0].closure).join(" ").replace(".x86_64", "");
    assert_eq!(names, expected);
}

/// The same package in both: the one of the preferred repository counts, else that of the first.
#[rstest]
#[case(99, 99, 0)]
#[case(1, 2, 0)]
#[case(2, 1, 1)]
fn one_nevra_twice(#[case] first: i32, #[case] second: i32, #[case] chosen: usize) {
    let (own, external) = (own(), external());
    let universe = universe(&[(&own, first), (&external, second)]);
    let (answers, handed) = compare(&universe, &[], &[words("same")]).unwrap();
    let package = answers[0].closure[0];
    assert_eq!((answers[0].closure.len(), universe.content().repository_of(package.index())), (1, chosen));
    assert_eq!(handed, 0, "our own solver decides this");
    let (answers, _) =
        compare(&universe, &[], &[words("of-own"), words("of-external"), words("of-own, of-external")]).unwrap();
    assert_eq!(answers.iter().map(|a| a.ok).collect::<Vec<_>>(), [true, true, false]);
}

/// Another repository has a newer version of a package of the group. Priorities decide what libsolv
/// considers an update.
#[rstest]
fn updates_of_the_base(#[values(-1, 0, 1, 99)] first: i32, #[values(-1, 0, 1, 99)] second: i32) {
    let base = [pkg("m-1-1.x86_64").provides(&["cap"]), pkg("n-1-1.x86_64").provides(&["virt"])];
    let other = [
        pkg("m-2-1.x86_64").provides(&["cap", "virt = 2"]),
        pkg("o-1-1.x86_64").provides(&["virt = 1", "cap"]),
        pkg("m-3-1.i686").provides(&["virt", "new"]),
        pkg("p-1-1.noarch").provides(&["new"]),
    ];
    let universe = universe(&[(&base, first), (&other, second)]);
    let questions = ["virt", "virt >= 1", "virt = 2", "new", "m > 1", "m, virt", "o, new", "cap, virt"].map(words);
    compare(&universe, &members("m = 1"), &questions).unwrap();
}

/// Found by `random_repositories_and_priorities`: a candidate for an update of the base that can
/// never be installed still makes libsolv add a rule. Here that rule excludes the first `n3`.
#[test]
fn a_broken_update_of_the_base_counts() {
    let first = [
        pkg("n3-1-1.x86_64").provides(&["c2"]).requires(&["c3"]),
        pkg("n3-1-1.x86_64").provides(&["c2"]),
        pkg("n5-1-1.x86_64").provides(&["c3"]),
    ];
    let second = [pkg("n2-1-1.x86_64").provides(&["c3"]).requires(&["nothing"]), pkg("n2-1-1.x86_64")];
    let universe = universe(&[(&first, 99), (&second, 99)]);
    compare(&universe, &members("n2"), &[words("c2")]).unwrap();
}

/// Found by `random_repositories_and_priorities`: a provide that is written twice counts once when
/// candidates are compared.
#[test]
fn a_provide_written_twice_counts_once() {
    let twice =
        [pkg("n0-1-1.x86_64").provides(&["c = 1", "c = 1"]), pkg("n1-1-1.x86_64").provides(&["c = 2", "c = 1"])];
    let user = [pkg("n2-1-1.x86_64").requires(&["c"])];
    let universe = universe(&[(&twice, 99), (&user, 99)]);
    let (answers, _) = compare(&universe, &[], &[words("n2")]).unwrap();
    assert_eq!(universe.names(&answers[0].closure), ["n0-0:1-1.x86_64", "n2-0:1-1.x86_64"]);
}

/// Merging with equal priorities gives the same as one file with the packages of all.
#[test]
fn merged_is_one_file_after_the_other() {
    let parts = [own(), external(), vec![], vec![pkg("late-1-1.noarch").requires(&["tool", "(a if z)", "new"])]];
    let merged = merge(parts.iter().map(|p| content(p)).collect());
    let together: Vec<Pkg> = parts.iter().flatten().cloned().collect();
    let one = content(&together);
    let ranges: Vec<_> = merged.repositories().collect();
    assert_eq!(ranges, [0..6, 6..11, 11..11, 11..12]);
    assert_eq!((0..12).map(|p| merged.repository_of(p)).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 3]);
    assert_eq!((one.repositories().len(), one.repositories().next()), (1, Some(0..12)));
    assert_eq!(merged.packages().len(), one.packages().len());
    for (a, b) in merged.packages().iter().zip(one.packages()) {
        let lists = |c: &RepoContent, p: &koschei::repodata::Package| {
            let all: Vec<_> = p.provides.iter().copied().chain(p.dependencies()).collect();
            all.into_iter().map(|id| c.dependency(id).clone()).collect::<Vec<_>>()
        };
        assert_eq!((a.nevra(), lists(&merged, a)), (b.nevra(), lists(&one, b)));
    }
    assert!(merged.dependencies().eq(one.dependencies()), "each dependency once, in order of appearance");
}

#[test]
fn bounds_name_the_repository() {
    let part = |name: &str| (name.to_owned(), content(&own()));
    let limits = Limits { packages: 100, repositories: 2, ..Limits::default() };
    let error = |parts: Vec<_>, limits| RepoContent::merge(parts, limits).unwrap_err().to_string();
    let few = Limits { packages: 10, ..limits };
    let text = error(vec![part("x"), part("y")], &few);
    assert_eq!(text, "merge y with the repositories before it: they have more than 10 packages together");
    let text = error(vec![part("x"), part("y"), part("z")], &limits);
    assert_eq!(text, "merge z with the repositories before it: these are more than 2 repositories");
    assert_eq!(RepoContent::merge([], &limits).unwrap().packages().len(), 0);
}

fn write(dir: &Path, packages: &[Pkg], more: &[(&str, &str, &str)]) {
    let primary = primary_xml(packages);
    let mut files = vec![MetaFile { kind: "primary", name: "primary.xml", bytes: primary.as_bytes(), open_size: None }];
    files.extend(more.iter().map(|(kind, name, text)| MetaFile {
        kind,
        name,
        bytes: text.as_bytes(),
        open_size: None,
    }));
    write_repo(dir, &files);
}

/// Makes two repositories on disk. The second owns a file that the first needs, and both have a
/// part of the build group.
fn on_disk() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let comps = |name: &str| {
        format!(
            "<comps><group><id>build</id><packagelist><packagereq>{name}</packagereq></packagelist></group></comps>"
        )
    };
    let first = [pkg("a-1-1.noarch").requires(&["/usr/share/of-b"]), pkg("tool-1-1.noarch")];
    let second = [pkg("b-1-1.noarch"), pkg("tool-2-1.noarch")];
    let files = format!(
        "<filelists><package pkgid=\"{:064x}\"><file>/usr/share/of-b</file><file>/usr/share/other</file></package>\
         </filelists>",
        0
    );
    write(&dir.path().join("1"), &first, &[("group", "comps.xml", &comps("tool"))]);
    let more = [("group", "comps.xml", comps("b")), ("filelists", "filelists.xml", files)];
    let more: Vec<_> = more.iter().map(|(kind, name, text)| (*kind, *name, text.as_str())).collect();
    write(&dir.path().join("2"), &second, &more);
    std::fs::write(dir.path().join("br.jsonl"), "{\"nvr\":\"s-1-1\",\"requires\":[\"a\"]}\n").unwrap();
    dir
}

#[test]
fn files_and_groups_across_repositories() {
    let dir = on_disk();
    let open = |names: &[&str]| names.iter().map(|n| RepoDir::open(dir.path().join(n)).unwrap()).collect::<Vec<_>>();
    let merged = load_merged(&open(&["1", "2"]), ["/usr/share/other"]).unwrap();
    assert_eq!(merged.packages()[2].files, ["/usr/share/of-b", "/usr/share/other"]);
    assert_eq!(merged.groups.as_ref().unwrap().installed("build").unwrap(), ["tool", "b"].map(Member::from));
    let broken = dir.path().join("2/repodata/primary.xml");
    std::fs::write(&broken, "<metadata/>").unwrap();
    let error = load_merged(&open(&["1", "2"]), []).unwrap_err();
    assert!(matches!(&error, RepodataError::Checksum { file, .. } if *file == broken.display().to_string()), "{error}");
}

#[rstest]
#[case::newest("--repo DIR/1 --repo DIR/2", "tool-0:2-1.noarch")]
#[case::preferred("--repo DIR/1,priority=10 --repo DIR/2", "tool-0:1-1.noarch")]
#[case::preferred_the_other_way_round("--repo DIR/2,priority=20 --repo DIR/1,priority=10", "tool-0:1-1.noarch")]
#[case::not_preferred("--repo DIR/1,priority=100 --repo DIR/2", "tool-0:2-1.noarch")]
fn on_the_command_line(#[case] repos: &str, #[case] tool: &str, #[values("two", "joint")] mode: &str) {
    let dir = on_disk();
    let line =
        format!("{repos} --buildrequires DIR/br.jsonl --mode {mode}").replace("DIR", dir.path().to_str().unwrap());
    let answer: Value = serde_json::from_str(&run(&format!("{line} --jsonl")).unwrap()).unwrap();
    assert_eq!(answer["closure"], serde_json::json!(["a-0:1-1.noarch", "b-0:1-1.noarch", tool]), "{answer}");
    let summary = run(&line).unwrap();
    let shown = |n: &str| summary.contains(dir.path().join(n).to_str().unwrap());
    assert!(shown("1") && shown("2") && summary.contains("4 packages"), "{summary}");
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// The packages of a primary as texts, and the texts before and after them.
struct Primary {
    head: String,
    packages: Vec<String>,
}

impl Primary {
    fn read(repo: &Path) -> Self {
        let dir = std::fs::read_dir(repo.join("repodata")).unwrap();
        let path = dir.map(|e| e.unwrap().path()).find(|p| p.to_str().unwrap().contains("primary.xml")).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let text = match path.extension().unwrap().to_str().unwrap() {
            "zst" => String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap(),
            _ => {
                let mut text = String::new();
                flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
                text
            }
        };
        let (head, rest) = text.split_at(text.find("<package").unwrap());
        let packages = rest.split_inclusive("</package>").filter(|p| p.contains("<name>")).map(str::to_owned);
        Self { head: head.to_owned(), packages: packages.collect() }
    }

    fn content(&self, packages: impl IntoIterator<Item = impl AsRef<str>>) -> RepoContent {
        let mut text = self.head.clone();
        packages.into_iter().for_each(|package| text.push_str(package.as_ref()));
        text.push_str("</metadata>");
        let mut content = RepoContent::default();
        primary::parse(text.as_bytes(), "primary.xml", &Limits::default(), &mut content).unwrap();
        content
    }
}

/// Returns the text of a package with another release. Its provides stay.
fn with_release(package: &str, release: &str) -> String {
    let at = package.find(" rel=\"").unwrap() + " rel=\"".len();
    let end = at + package.get(at..).unwrap().find('"').unwrap();
    format!("{}{release}{}", package.get(..at).unwrap(), package.get(end..).unwrap())
}

/// A distribution's packages divided among two repositories. A third of them is in both, newer or
/// older in the second.
#[rstest]
#[case::equal(99, 99)]
#[case::first(10, 99)]
#[case::second(99, 10)]
fn halves_of_a_distribution(#[case] first: i32, #[case] second: i32) {
    let primary = Primary::read(&data("distro/small/binary"));
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for (i, package) in primary.packages.iter().enumerate() {
        match i % 6 {
            0 => {
                one.push(package.clone());
                two.push(with_release(package, "0.1"));
            }
            1 => {
                one.push(with_release(package, "99"));
                two.push(package.clone());
            }
            2 | 3 => one.push(package.clone()),
            _ => two.push(package.clone()),
        }
    }
    let merged = merge(vec![primary.content(&one), primary.content(&two)]);
    let universe = Universe::load(Arc::new(merged), "x86_64").unwrap();
    let universe = universe.with_priorities(&[Priority(first), Priority(second)]);
    let group =
        RepoDir::open(data("distro/small/binary")).unwrap().groups().unwrap().unwrap().installed("build").unwrap();
    let sources = RepoDir::open(data("distro/small/source")).unwrap().load([]).unwrap();
    let questions: Vec<Vec<String>> = sources.packages().iter().step_by(3).map(|p| sources.build_requires(p)).collect();
    let (answers, handed) = compare(&universe, &group, &questions).unwrap();
    let solved = answers.iter().filter(|a| a.ok).count();
    assert!(solved > 90, "{solved} of {}", answers.len());
    println!("{handed} of {} handed over", 2 * questions.len());
}

/// The recorded repositories with external packages, divided again into Koji's own packages and the
/// external ones. Each has several versions of some names.
#[rstest]
fn koji_and_its_external_repositories(
    #[values("f99-ext-build/50", "f99-ext-build/71", "f99-extbare-build/56", "f99-extsimple-build/48")] repo: &str,
    #[values("x86_64", "aarch64")] arch: &str,
    #[values((99, 99), (10, 99), (99, 5))] priorities: (i32, i32),
) {
    let dir = data("koji-external/repos").join(repo).join(arch);
    let primary = Primary::read(&dir);
    let (external, own): (Vec<&String>, Vec<&String>) = primary.packages.iter().partition(|p| p.contains("xml:base"));
    assert!(!external.is_empty() && !own.is_empty());
    let merged = merge(vec![primary.content(own), primary.content(external)]);
    let universe = Universe::load(Arc::new(merged), arch).unwrap();
    let universe = universe.with_priorities(&[Priority(priorities.0), Priority(priorities.1)]);
    let group = RepoDir::open(&dir).unwrap().groups().unwrap().unwrap().installed("build").unwrap();
    let text = std::fs::read_to_string(data("koji-external/buildrequires.jsonl")).unwrap();
    let requires = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["requires"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let questions: Vec<Vec<String>> = text.lines().map(requires).collect();
    let (answers, _) = compare(&universe, &group, &questions).unwrap();
    assert!(answers.iter().filter(|a| a.ok).count() > 60);
}

/// Repositories with their priorities, a build group, and questions.
#[derive(Clone, Debug)]
struct World {
    parts: Vec<(Vec<Pkg>, i32)>,
    group: Vec<String>,
    questions: Vec<Vec<String>>,
}

/// Random repositories: up to four, with few names, several versions of each, and priorities on
/// both sides of libsolv's 0. (`native` tests everything else a repository can contain.)
fn worlds() -> impl Strategy<Value = World> {
    let capability = || (0..5u8).prop_map(|n| format!("c{n}"));
    let wanted = || {
        prop_oneof![
            3 => capability(),
            2 => (0..6u8).prop_map(|n| format!("n{n}")),
            1 => (0..6u8, prop::sample::select(vec!["=", "<", ">="]), 1..4u8)
                .prop_map(|(n, op, v)| format!("n{n} {op} {v}")),
        ]
    };
    let provided =
        || prop_oneof![2 => capability(), 1 => (capability(), 1..4u8).prop_map(|(c, v)| format!("{c} = {v}"))];
    let nevra = (0..6u8, 1..4u8, prop::sample::select(vec!["x86_64", "x86_64", "x86_64", "noarch"]));
    let list = |max: usize| prop::collection::vec(wanted(), 0..=max);
    let seldom = || prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(wanted(), 1..2)];
    let package = (nevra, prop::collection::vec(provided(), 0..3), list(2), seldom(), seldom(), seldom()).prop_map(
        |((name, version, arch), provides, requires, conflicts, obsoletes, recommends)| {
            fn refs(texts: &[String]) -> Vec<&str> {
                texts.iter().map(String::as_str).collect()
            }
            pkg(&format!("n{name}-{version}-1.{arch}"))
                .provides(&refs(&provides))
                .requires(&refs(&requires))
                .conflicts(&refs(&conflicts))
                .obsoletes(&refs(&obsoletes))
                .recommends(&refs(&recommends))
        },
    );
    let priority = prop::sample::select(vec![-1, 0, 1, 50, 99, 99]);
    let repository = (prop::collection::vec(package, 0..10), priority);
    let questions = prop::collection::vec(list(3), 1..4);
    (prop::collection::vec(repository, 2..5), list(2), questions).prop_map(|(parts, group, questions)| World {
        parts,
        group,
        questions,
    })
}

/// Both solvers give the same answers for any repositories and priorities.
#[test]
fn random_repositories_and_priorities() {
    let cases = u32::try_from(scale(1_000, 50_000)).unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let counts = std::cell::Cell::new((0, 0));
    proptest!(config, |(World { parts, group, questions } in worlds())| {
        let parts: Vec<(&[Pkg], i32)> =
            parts.iter().map(|(packages, priority)| (packages.as_slice(), *priority)).collect();
        let universe = universe(&parts);
        let group: Vec<Member> = group.into_iter().map(Member::from).collect();
        match compare(&universe, &group, &questions) {
            Ok((answers, handed)) => {
                let (solved, all) = counts.get();
                counts.set((solved + answers.iter().filter(|a| a.ok).count(), all + handed));
            }
            Err(difference) => return Err(TestCaseError::fail(difference)),
        }
    });
    let (solved, handed) = counts.get();
    println!("{solved} answers in one mode, {handed} of twice as many handed over");
    assert!(solved > handed, "our own solver decides too little for this to test it");
}
