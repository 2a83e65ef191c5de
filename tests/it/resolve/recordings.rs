//! Resolution of the recordings equals the results of libsolv's own tools, and what real builders
//! installed.
//!
//! `tests/data/koji/README.md` describes the formats and rules of the files. The test finds
//! everything in the directories: another recording of the same kind needs no change here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use koschei::repodata::{Member, RepoDir, load_arches, load_builds, load_groups, load_repo_info};
use koschei::resolve::{BuildRequires, Installed, IsaProvides, Mode, PkgId, Prepared, Resolution, Universe, changes};
use serde_json::{Value, json};

/// A change of the expected data, to check that it is found.
pub(crate) type Fault = fn(&mut Vec<Value>);

/// No change.
const NO_FAULT: Fault = |_| {};

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn json_lines(path: &Path) -> Vec<Value> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let bytes =
        if path.extension().is_some_and(|e| e == "zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// Returns the entries of a directory in order of name, numbers by value.
fn entries(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
    names
}

/// BuildRequires of every known source package, by NVR.
struct Sources {
    requires: BTreeMap<String, Vec<String>>,
}

impl Sources {
    fn read(recording: &str) -> Self {
        let lines = json_lines(&data(recording).join("buildrequires.jsonl"));
        Self {
            requires: lines.iter().map(|l| (l["nvr"].as_str().unwrap().to_owned(), strings(&l["requires"]))).collect(),
        }
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.requires.values().flatten().map(String::as_str)
    }
}

/// One recorded repository and architecture.
struct Recorded {
    universe: Universe,
    group: Vec<Member>,
    srpm_group: Option<Vec<Member>>,
}

impl Recorded {
    fn load(dir: &Path, arch: &str, sources: &Sources) -> Self {
        let content = RepoDir::open(dir.join(arch)).unwrap().load(sources.paths()).unwrap();
        let groups = content.groups.clone().unwrap();
        let beside = load_groups(&dir.join("groups/comps.xml")).unwrap();
        assert_eq!(groups.installed("build"), beside.installed("build"), "both comps files of a repository agree");
        Self {
            universe: Universe::load(Arc::new(content), arch).unwrap(),
            group: groups.installed("build").unwrap(),
            srpm_group: groups.installed("srpm-build"),
        }
    }

    fn prepare(&self, mode: Mode) -> Prepared<'_> {
        self.universe.prepare(&self.group, mode).unwrap()
    }

    /// Returns `name-[epoch:]version-release.arch`, sorted like Koji's.
    fn koji_names(&self, closure: &[PkgId]) -> Vec<String> {
        let mut names: Vec<String> = closure
            .iter()
            .map(|&id| {
                let n = self.universe.nevra(id);
                format!("{}-{}.{}", n.name, n.evr, n.arch)
            })
            .collect();
        names.sort();
        names
    }

    /// Returns the smallest distance by name, or null.
    fn distances(&self, answer: &Resolution) -> Value {
        let mut map: BTreeMap<String, Option<u8>> = BTreeMap::new();
        for (&id, &distance) in answer.closure.iter().zip(&answer.distances) {
            let known = map.entry(self.universe.package(id).name.to_string()).or_insert(distance);
            *known = [*known, distance].into_iter().flatten().min();
        }
        json!(map)
    }
}

/// Compares every line of every oracle file below `root`. Returns the numbers of files and lines.
pub(crate) fn compare(recording: &str, root: &str, mode: Mode, fault: Fault) -> (usize, usize) {
    let sources = Sources::read(recording);
    let (mut files, mut lines) = (0, 0);
    for tag in entries(&data(root)) {
        for repo in entries(&data(root).join(&tag)) {
            let oracle = data(root).join(&tag).join(&repo);
            if !oracle.is_dir() {
                continue;
            }
            for file in entries(&oracle) {
                let Some(arch) = file.strip_suffix(".jsonl") else { continue };
                let dir = data(recording).join("repos").join(&tag).join(&repo);
                let recorded = Recorded::load(&dir, arch, &sources);
                let mut expected = json_lines(&oracle.join(&file));
                fault(&mut expected);
                lines += compare_file(&recorded, &sources, &expected, mode, &format!("{tag}/{repo}/{arch}"));
                files += 1;
            }
        }
    }
    (files, lines)
}

fn compare_file(recorded: &Recorded, sources: &Sources, oracle: &[Value], mode: Mode, at: &str) -> usize {
    let prepared = recorded.prepare(mode);
    let mut resolver = prepared.resolver().with_distances();
    for line in oracle {
        let Some(package) = line["package"].as_str() else {
            let group = resolver.group();
            assert_eq!(json!(group.ok), line["ok"], "{at}: build group");
            assert_eq!(recorded.koji_names(&group.closure), strings(&line["closure"]), "{at}: build group");
            assert_eq!(group.skipped, strings(&line["skipped"]), "{at}: build group");
            continue;
        };
        let nvr = line["nvr"].as_str().unwrap();
        let answer = resolver.resolve(&sources.requires[nvr]);
        assert_eq!(json!(answer.ok), line["ok"], "{at}: {package}: {:?}", answer.problems);
        assert_eq!(recorded.koji_names(&answer.closure), strings(&line["closure"]), "{at}: {package}");
        assert_eq!(answer.problems.is_empty(), strings(&line["problems"]).is_empty(), "{at}: {package}");
        if mode == Mode::Joint {
            let skipped: BTreeSet<_> = resolver.group().skipped.iter().chain(&answer.skipped).cloned().collect();
            assert_eq!(skipped, strings(&line["skipped"]).into_iter().collect(), "{at}: {package}");
        }
        if answer.ok && !line["distance"].is_null() {
            assert_eq!(recorded.distances(&answer), line["distance"], "{at}: {package}");
        }
    }
    oracle.len()
}

#[test]
fn joint_equals_the_oracle_on_every_recorded_repo() {
    let (files, lines) = compare("koji", "koji/oracle", Mode::Joint, NO_FAULT);
    assert!(files > 0 && lines > files, "the recording is there");
}

#[test]
fn joint_equals_the_oracle_with_external_repositories() {
    let (files, lines) = compare("koji-external", "koji-external/oracle/joint", Mode::Joint, NO_FAULT);
    assert!(files > 0 && lines > files, "the recording is there");
}

#[test]
fn two_equals_the_oracle_with_external_repositories() {
    let (files, lines) = compare("koji-external", "koji-external/oracle/two", Mode::Two, NO_FAULT);
    assert!(files > 0 && lines > files, "the recording is there");
}

/// A package in one repository. `None` means that it is not there, or not on this architecture.
struct Verdict {
    nvr: String,
    answer: Resolution,
    installed: Vec<Installed>,
}

fn verdicts(sources: &Sources, tag: &str, repo: &str, arch: &str) -> BTreeMap<String, Verdict> {
    let oracle = data("koji/oracle").join(tag).join(repo);
    let recorded = Recorded::load(&data("koji/repos").join(tag).join(repo), arch, sources);
    let prepared = recorded.prepare(Mode::Joint);
    let mut resolver = prepared.resolver().with_distances();
    json_lines(&oracle.join(format!("{arch}.jsonl")))
        .iter()
        .filter_map(|line| {
            let (package, nvr) = (line["package"].as_str()?, line["nvr"].as_str()?);
            let answer = resolver.resolve(&sources.requires[nvr]);
            let installed = answer.installed(&recorded.universe);
            Some((package.to_owned(), Verdict { nvr: nvr.to_owned(), answer, installed }))
        })
        .collect()
}

#[test]
fn changes_between_repos_equal_the_oracle() {
    compare_changes(NO_FAULT);
}

pub(crate) fn compare_changes(fault: Fault) {
    let sources = Sources::read("koji");
    let mut compared = 0;
    for tag in entries(&data("koji/oracle")) {
        let repos = entries(&data("koji/oracle").join(&tag));
        for file in repos.iter().filter(|name| name.starts_with("changes-")) {
            let arch = file.trim_start_matches("changes-").trim_end_matches(".jsonl");
            let repos: Vec<&String> = repos.iter().filter(|name| name.parse::<u64>().is_ok()).collect();
            let mut rows = Vec::new();
            let mut before = verdicts(&sources, &tag, repos[0], arch);
            for pair in repos.windows(2) {
                let after = verdicts(&sources, &tag, pair[1], arch);
                let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for name in names {
                    let mut row = json!({
                        "package": name, "from_repo": pair[0].parse::<u64>().unwrap(),
                        "to_repo": pair[1].parse::<u64>().unwrap()
                    });
                    let (old, new) = (before.get(name), after.get(name));
                    row["nvr"] = json!(new.or(old).unwrap().nvr);
                    if describe(&mut row, old, new) {
                        rows.push(row);
                    }
                }
                before = after;
            }
            let key = |row: &Value| format!("{:06}{}", row["from_repo"].as_u64().unwrap(), row["package"]);
            let mut oracle = json_lines(&data("koji/oracle").join(&tag).join(file));
            fault(&mut oracle);
            oracle.sort_by_key(key);
            rows.sort_by_key(key);
            let all: BTreeSet<String> = rows.iter().chain(&oracle).map(key).collect();
            for package in all {
                let of = |rows: &[Value]| rows.iter().filter(|row| key(row) == package).cloned().collect::<Vec<_>>();
                assert_eq!(of(&rows), of(&oracle), "{tag} {arch}");
            }
            compared += rows.len();
        }
    }
    assert!(compared > 0, "the recording has changes");
}

/// Adds what changed to a row, in the oracle's form: rows by name.
fn describe(row: &mut Value, old: Option<&Verdict>, new: Option<&Verdict>) -> bool {
    let state = |v: Option<&Verdict>| v.map(|v| if v.answer.ok { "ok" } else { "unresolved" });
    if let (Some(old), Some(new)) = (old, new)
        && old.answer.ok
        && new.answer.ok
    {
        // The oracle has one row per name. In this recording no closure has a name twice. So only a
        // change of architecture (removed as one, added as the other) must be merged.
        let mut by_name: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
        let mut distance: BTreeMap<String, Option<u8>> = BTreeMap::new();
        for change in changes(&old.installed, &new.installed) {
            let sides = by_name.entry(change.name.to_string()).or_default();
            if let Some(evr) = change.old {
                sides[0] = Some(evr.to_string());
            }
            if let Some(evr) = change.new {
                sides[1] = Some(evr.to_string());
                distance.insert(change.name.to_string(), change.distance);
            }
        }
        let changes: Vec<Value> = by_name
            .iter()
            .map(|(name, [old, new])| {
                json!({
                    "name": name, "old": old, "new": new, "distance": distance.get(name).copied().flatten()
                })
            })
            .collect();
        row["changes"] = json!(changes);
        // A package with another version of its own has a line even if its closure is the same.
        return !changes.is_empty() || old.nvr != new.nvr;
    }
    row["state"] = json!([state(old), state(new)]);
    state(old) != state(new)
}

/// Checks whether a recorded buildroot's second step is complete. The hub records the packages of
/// each step after it. So either the second step has packages, or the task ended well and nothing
/// was added. In the latter case no later buildroot of the same task may show that this one was
/// abandoned.
fn is_complete(row: &Value, last_of_task: &BTreeMap<i64, i64>) -> bool {
    let last = last_of_task[&row["task_id"].as_i64().unwrap()] == row["buildroot_id"].as_i64().unwrap();
    !strings(&row["base"]).is_empty()
        && (!strings(&row["builddeps"]).is_empty() || (last && row["state"] == json!("CLOSED")))
}

#[test]
fn two_equals_the_recorded_buildroots() {
    compare_buildroots(NO_FAULT);
}

pub(crate) fn compare_buildroots(fault: Fault) {
    let sources = Sources::read("koji");
    let mut rows = json_lines(&data("koji/truth/buildroots.jsonl"));
    fault(&mut rows);
    let mut last_of_task: BTreeMap<i64, i64> = BTreeMap::new();
    for row in &rows {
        let last = last_of_task.entry(row["task_id"].as_i64().unwrap()).or_default();
        *last = (*last).max(row["buildroot_id"].as_i64().unwrap());
    }
    let mut by_repo: BTreeMap<(String, i64, String), Vec<&Value>> = BTreeMap::new();
    for row in &rows {
        let key = (
            row["tag"].as_str().unwrap().to_owned(),
            row["repo_id"].as_i64().unwrap(),
            row["arch"].as_str().unwrap().to_owned(),
        );
        by_repo.entry(key).or_default().push(row);
    }
    let (mut complete, mut bases, mut failed) = (0, 0, 0);
    for ((tag, repo, arch), rows) in by_repo {
        let dir = data("koji/repos").join(&tag).join(repo.to_string());
        if !dir.exists() {
            continue;
        }
        let recorded = Recorded::load(&dir, &arch, &sources);
        let prepared = recorded.prepare(Mode::Two);
        let mut resolver = prepared.resolver().with_distances();
        let provided = IsaProvides::of(recorded.universe.content(), &arch);
        let srpm_group = recorded.srpm_group.clone().unwrap();
        let srpm = recorded.universe.prepare(&srpm_group, Mode::Two).unwrap();
        for row in rows {
            let at = format!("{tag}/{repo}/{arch} task {} {}", row["task_id"], row["source"]);
            let base = strings(&row["base"]);
            let of_srpm = row["method"] == json!("rebuildSRPM");
            let group = if of_srpm { srpm.group() } else { resolver.group() };
            if !base.is_empty() {
                assert_eq!(sorted(base.clone()), recorded.koji_names(&group.closure), "{at}: group");
                bases += 1;
            }
            let requires = &sources.requires[row["source"].as_str().unwrap()];
            if of_srpm {
                continue;
            }
            // A builder makes requirements with an architecture in them anew from the spec file.
            let requires =
                BuildRequires::literal(requires.clone()).for_arch(&arch, None, |name| provided.contains(name)).requires;
            let answer = resolver.resolve(&requires);
            let found = strings(&row["builddeps"]);
            if is_complete(row, &last_of_task) {
                assert!(answer.ok, "{at}: {:?}", answer.problems);
                assert_eq!(sorted([base, found].concat()), recorded.koji_names(&answer.closure), "{at}");
                complete += 1;
            } else if !answer.ok {
                assert!(found.is_empty(), "{at}: a builder installed what we call impossible");
                failed += 1;
            }
        }
    }
    println!("{complete} complete buildroots, {bases} groups, {failed} builds without buildroot");
    assert!(complete > 0 && bases > complete && failed > 0, "the recording has all kinds");
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn distribution_sample_equals_the_oracle() {
    compare_sample(NO_FAULT, NO_FAULT);
}

pub(crate) fn compare_sample(fault: Fault, fault_of_distances: Fault) {
    let source = RepoDir::open(data("distro/small/source")).unwrap().load([]).unwrap();
    let content = RepoDir::open(data("distro/small/binary")).unwrap().load([]).unwrap();
    let group = content.groups.as_ref().unwrap().installed("build").unwrap();
    let universe = Universe::load(Arc::new(content), "x86_64").unwrap();
    let mut distances = json_lines(&data("distro/small/oracle/distance.jsonl.zst"));
    fault_of_distances(&mut distances);
    let distance: BTreeMap<String, Value> = distances
        .into_iter()
        .map(|mut line| (line["source"].as_str().unwrap().to_owned(), line["distance"].take()))
        .collect();
    for mode in [Mode::Joint, Mode::Two] {
        let prepared = universe.prepare(&group, mode).unwrap();
        let mut resolver = prepared.resolver().with_distances();
        let mut oracle = json_lines(&data("distro/small/oracle").join(format!("{}.jsonl.zst", mode.as_str())));
        fault(&mut oracle);
        assert_eq!(oracle.len(), source.packages().len());
        for (package, line) in source.packages().iter().zip(&oracle) {
            let label = format!("{}-{}", package.name, package.evr);
            assert_eq!(json!(label), line["source"]);
            let answer = resolver.resolve(&source.build_requires(package));
            assert_eq!(json!(answer.ok), line["ok"], "{mode:?} {label}: {:?}", answer.problems);
            if !answer.ok {
                assert_eq!(answer.problems.len(), strings(&line["problems"]).len(), "{mode:?} {label}");
                continue;
            }
            assert_eq!(universe.names(&answer.closure), strings(&line["closure"]), "{mode:?} {label}");
            let found: BTreeMap<String, u8> = answer
                .closure
                .iter()
                .zip(&answer.distances)
                .filter_map(|(&id, distance)| Some((universe.package(id).name.to_string(), (*distance)?)))
                .collect();
            assert_eq!(json!(found), distance[&label], "{mode:?} {label}");
        }
    }
}

/// `repo.json`, `pkglist` and `rpmlist.jsonl` of every recorded repository: every build has its
/// number, and the builds are those of the packages in primary that are not external.
#[test]
fn builds_of_a_repo_are_those_of_its_packages() {
    let mut seen = 0;
    for recording in ["koji", "koji-external"] {
        for tag in entries(&data(recording).join("repos")) {
            let tag_dir = data(recording).join("repos").join(&tag);
            if !tag_dir.is_dir() {
                continue;
            }
            for repo in entries(&tag_dir) {
                let dir = tag_dir.join(&repo);
                let info = load_repo_info(&dir).unwrap();
                assert_eq!((info.id.to_string(), info.tag.as_str()), (repo.clone(), tag.as_str()));
                assert!(info.event_id > 0 && info.tag_id.is_some());
                for arch in &load_arches(&dir).unwrap() {
                    let builds = load_builds(&dir.join(arch)).unwrap();
                    assert!(builds.values().all(Option::is_some), "{tag}/{repo}/{arch}");
                    let content = RepoDir::open(dir.join(arch)).unwrap().load([]).unwrap();
                    let local = content.packages().iter().filter(|p| !p.is_external());
                    let from_primary: BTreeSet<String> = local
                        .filter_map(|p| p.sourcerpm.as_deref()?.strip_suffix(".src.rpm").map(str::to_owned))
                        .collect();
                    let from_list: BTreeSet<String> = builds.keys().map(ToString::to_string).collect();
                    // Merging never drops a local package, because the local repository comes first
                    // in every mode.
                    if !info.opts.src {
                        assert_eq!(from_primary, from_list, "{tag}/{repo}/{arch}");
                    }
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 0);
}
