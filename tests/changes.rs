//! Where a change goes: CONTRIBUTING.md lists the files of each kind of change. This test plants one
//! change of each kind in a copy of the sources, writes only what a contributor writes first, and
//! asks the compiler and the tables what else there is to do. They must name exactly the files on
//! the list. A `match` that takes a new variant silently (`_`) makes a file disappear from the
//! answer, so the test fails.
//!
//! The copy is compiled once, for all kinds, with the dependencies that this test itself was
//! compiled with.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PLANTED_FACT: &str = "/// Planted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlantedFact {
    /// Planted.
    pub hub: Hub,
}
";
const PLANTED_FINDING: &str = "/// Planted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlantedFinding {
    /// Planted.
    pub hub: Hub,
}
";
const PLANTED_SETTING: &str = "/// Planted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlantedSetting {
    /// Planted.
    pub collection: Name,
    /// Planted.
    pub package: Name,
    /// Planted.
    pub by: Option<PersonId>,
}
";

/// A kind of change.
struct Change {
    /// The first cell of its row in CONTRIBUTING.md.
    row: &'static str,
    /// The word by which errors about it are told from those about others.
    word: &'static str,
    /// What a contributor writes first: the file, a text that stands in it once, and what is
    /// inserted after that text. Without such a text it goes to the end of the file.
    plants: &'static [(&'static str, &'static str, &'static str)],
    /// How often the compiler then names which file.
    named: &'static [(&'static str, usize)],
}

const CHANGES: [Change; 7] = [
    Change {
        row: "a message",
        word: "planted_message",
        plants: &[
            (
                "src/message/topics.rs",
                "pub const TOPICS: &[Topic] = &[\n",
                "    bound(\"buildsys.planted_message\", \"nothing\", |r| r.planted_message()),\n",
            ),
            (
                "src/message/koji_message.rs",
                "impl Reading<'_, '_> {\n",
                "    pub(super) fn planted_message(&mut self) -> Result<ReadOutcome, Reason> {\n\
                 self.task()\n    }\n",
            ),
        ],
        named: &[],
    },
    Change {
        row: "a fact about a hub",
        word: "planted_fact",
        plants: &[
            ("src/event/facts.rs", "", PLANTED_FACT),
            (
                "src/event/kinds.rs",
                "        TaskVanished = \"task_vanished\" v 1;\n",
                "        PlantedFact = \"planted_fact\" v 1;\n",
            ),
        ],
        named: &[("src/event/kinds.rs", 2), ("src/fold/state.rs", 1), ("src/hub/interest.rs", 1)],
    },
    Change {
        row: "a finding or a decision",
        word: "planted_finding",
        plants: &[
            ("src/event/koschei.rs", "", PLANTED_FINDING),
            (
                "src/event/kinds.rs",
                "        Tick = \"tick\" v 1;\n",
                "        PlantedFinding = \"planted_finding\" v 1;\n",
            ),
        ],
        named: &[
            ("src/event/kinds.rs", 2),
            ("src/fold/state.rs", 1),
            ("src/tools/audit.rs", 1),
            ("src/tools/broken.rs", 1),
            ("src/tools/causes/told.rs", 1),
        ],
    },
    Change {
        row: "an operator's setting of a package",
        word: "planted_setting",
        plants: &[
            ("src/event/operator.rs", "", PLANTED_SETTING),
            (
                "src/event/kinds.rs",
                "        PackageTracked = \"package_tracked\" v 1;\n",
                "        PlantedSetting = \"planted_setting\" v 1;\n",
            ),
        ],
        named: &[("src/event/kinds.rs", 2), ("src/fold/package.rs", 1)],
    },
    Change {
        row: "a hold reason",
        word: "planted_hold",
        plants: &[
            ("src/decide/hold.rs", "pub enum Hold {\n", "    /// Planted.\n    PlantedHold,\n"),
            ("src/decide/hold.rs", "        Blocked \"blocked\",\n", "        PlantedHold \"planted_hold\",\n"),
            (
                "src/decide/eligibility.rs",
                "    if package.blocked {\n",
                "        hold(Hold::PlantedHold);\n    }\n    if package.blocked {\n",
            ),
        ],
        named: &[("src/decide/hold.rs", 1)],
    },
    Change {
        row: "a metric",
        word: "planted_metric",
        plants: &[
            ("src/telemetry/pipeline.rs", "pub(super) struct Pipeline {\n", "    planted_metric: IntCounter,\n"),
            (
                "src/telemetry/pipeline.rs",
                "impl Metrics {\n",
                "    /// Planted.\n    pub fn planted(&self) -> &'static str {\n\
                 \"koschei_planted_metric_total\"\n    }\n",
            ),
        ],
        named: &[("src/telemetry/pipeline.rs", 1)],
    },
    Change {
        row: "a page",
        word: "planted_page",
        plants: &[
            ("src/web/pages/planted_page.rs", "", "pub(super) async fn show() -> &'static str {\n    \"\"\n}\n"),
            ("src/web/pages/mod.rs", "mod packages;\n", "mod planted_page;\n"),
            (
                "src/web/pages/mod.rs",
                "pub(super) const PAGES: &[(&str, Made)] = &[\n",
                "    (\"/planted_page\", |site| page(\"planted_page\", site, planted_page::show)),\n",
            ),
        ],
        named: &[],
    },
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_dir(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Makes a copy of the sources. All else that is compiled or looked up is a link to the original.
fn copy() -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("changes");
    if to.exists() {
        std::fs::remove_dir_all(&to).unwrap();
    }
    copy_dir(&root().join("src"), &to.join("src"));
    for file in ["Cargo.lock", "build.rs"] {
        std::fs::copy(root().join(file), to.join(file)).unwrap();
    }
    // It stands within the original, and is not a part of it.
    std::fs::write(to.join("Cargo.toml"), read(&root().join("Cargo.toml")) + "\n[workspace]\n").unwrap();
    for linked in ["README.md", "benches", "deploy", "grafana", "migrations", "schemas", "tests"] {
        std::os::unix::fs::symlink(root().join(linked), to.join(linked)).unwrap();
    }
    to
}

fn plant(copy: &Path, change: &Change) {
    for (file, after, text) in change.plants {
        let path = copy.join(file);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let new = match *after {
            "" => old + text,
            after => {
                assert_eq!(old.matches(after).count(), 1, "{file} does not have once: {after}");
                old.replacen(after, &format!("{after}{text}"), 1)
            }
        };
        std::fs::write(path, new).unwrap();
    }
}

/// Tells whether a text is about a change, whichever way its word is spelled in code.
fn is_about(text: &str, change: &Change) -> bool {
    let plain = |text: &str| text.to_lowercase().replace('_', "");
    plain(text).contains(&plain(change.word))
}

/// The errors of the compiler: what they say, and the file they name.
fn errors(copy: &Path) -> Vec<(String, String)> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    // The profile of this test, so that its dependencies are used again.
    let this = std::env::current_exe().unwrap();
    let profile = this.strip_prefix(target).ok().and_then(|p| p.iter().next()?.to_str()).unwrap_or("debug");
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo says of this package must not be said of the copy: build scripts of dependencies
    // look at it, and everything would be compiled again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|begin| name.starts_with(begin)) {
            cargo.env_remove(name);
        }
    }
    let out = cargo
        .args(["test", "--lib", "--no-run", "--offline", "--message-format", "json", "--profile", profile])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_compiler = messages.filter(|m| m["reason"] == "compiler-message").map(|m| m["message"].clone());
    let mut errors = Vec::new();
    for m in of_compiler.filter(|m| m["level"] == "error") {
        let Some(span) = m["spans"].as_array().unwrap().iter().find(|s| s["is_primary"] == true) else { continue };
        let said = format!("{} {}", m["message"].as_str().unwrap(), span["label"].as_str().unwrap_or_default());
        errors.push((said, span["file_name"].as_str().unwrap().to_owned()));
    }
    assert!(!errors.is_empty(), "the compiler names nothing: {}", String::from_utf8_lossy(&out.stderr));
    errors
}

/// The strings of a text.
fn strings(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// What the tables lack, which tests compare with the sources: what it is about, and the file.
fn lacking(copy: &Path) -> Vec<(String, String)> {
    let (src, of) = (copy.join("src"), |file: &str| read(&copy.join(file)));
    let mut lacking = Vec::new();
    let mut lacks = |what: &str, file: &str| lacking.push((what.to_owned(), file.to_owned()));
    // `message::topics`: the README has the same list.
    let readme = of("README.md");
    for line in of("src/message/topics.rs").lines() {
        let is_row = ["    bound(\"", "    unbound(\"", "    told(\""].iter().any(|begin| line.starts_with(begin));
        if let Some(name) = strings(line).next().filter(|_| is_row)
            && !readme.contains(&format!("| `{name}` |"))
        {
            lacks(name, "README.md");
        }
    }
    // `log::schemas`: each kind has a schema and an example. Each setting is said by a verb.
    let (kinds, verbs) = (of("src/event/kinds.rs"), of("src/cli/admin/word.rs"));
    let mut group = "";
    for line in kinds.lines() {
        if let Some(name) = line.strip_prefix("    ").and_then(|l| l.strip_suffix(" {")) {
            group = name;
        }
        let Some((variant, rest)) = line.trim().split_once(" = \"") else { continue };
        let Some((name, version)) = rest.trim_end_matches(';').split_once("\" v ") else { continue };
        for file in
            [format!("schemas/{name}.v{version}.schema.json"), format!("schemas/examples/{name}.v{version}.json")]
        {
            if !copy.join(&file).exists() {
                lacks(name, &file);
            }
        }
        if group == "package_settings" && !verbs.contains(&format!("{variant} {{")) {
            lacks(name, "src/cli/admin/word.rs");
        }
    }
    // `decide::why`: each hold reason is lifted and put in the way.
    let scene = of("tests/it/decide/why/scene.rs");
    let holds = of("src/decide/hold.rs");
    for key in strings(holds.split("\nkeys! {").nth(1).unwrap().split("\n}").next().unwrap()) {
        if !scene.contains(&format!("\"{key}\"")) {
            lacks(key, "tests/it/decide/why/scene.rs");
        }
    }
    // `net::metrics`: each metric has its snapshot.
    let metrics = of("tests/snapshots/metrics/metrics.snap");
    for entry in std::fs::read_dir(src.join("telemetry")).unwrap() {
        let code = read(&entry.unwrap().path());
        let is_metric = |s: &&str| s.starts_with("koschei_") && s.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        for name in strings(&code).filter(is_metric) {
            if !metrics.contains(&format!("# TYPE {name} ")) {
                lacks(name, "tests/snapshots/metrics/metrics.snap");
            }
        }
    }
    // `net::pages`: each address is asked for.
    let asked = of("tests/it/net/pages.rs");
    for line in of("src/web/pages/mod.rs").lines().filter(|line| line.starts_with("    (\"/")) {
        let address = strings(line).next().unwrap();
        let fixed = address.split('{').next().unwrap();
        if !asked.contains(&format!("\"{fixed}")) {
            lacks(address, "tests/it/net/pages.rs");
        }
    }
    lacking
}

/// The files of each row of the table in CONTRIBUTING.md.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let text = read(&root().join("CONTRIBUTING.md"));
    let table = text.split("| change | files |\n| --- | --- |\n").nth(1).expect("a table of changes");
    let rows = table.lines().take_while(|line| line.starts_with("| "));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 2, "{row}");
        let files = cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (cells[0].to_owned(), files)
    })
    .collect()
}

#[test]
fn the_compiler_and_the_tables_name_the_files_of_each_change() {
    let copy = copy();
    assert_eq!(lacking(&copy), [], "before anything is planted");
    CHANGES.iter().for_each(|change| plant(&copy, change));
    let (errors, lacking, listed) = (errors(&copy), lacking(&copy), listed());
    let known = |(said, _): &&(String, String)| CHANGES.iter().any(|change| is_about(said, change));
    let others: Vec<_> = errors.iter().chain(&lacking).filter(|found| !known(found)).collect();
    assert!(others.is_empty(), "about nothing that was planted: {others:#?}");
    for change in &CHANGES {
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, file) in errors.iter().filter(|(said, _)| is_about(said, change)) {
            *named.entry(file).or_default() += 1;
        }
        let expected: BTreeMap<&str, usize> = change.named.iter().copied().collect();
        assert_eq!(named, expected, "{}: what the compiler names", change.row);
        let planted = change.plants.iter().map(|(file, ..)| *file);
        let of_tables = lacking.iter().filter(|(said, _)| is_about(said, change)).map(|(_, file)| file.as_str());
        let all: BTreeSet<String> = planted.chain(named.into_keys()).chain(of_tables).map(str::to_owned).collect();
        let files = listed.get(change.row).unwrap_or_else(|| panic!("CONTRIBUTING.md has no row: {}", change.row));
        let files: BTreeSet<String> = files.iter().map(|file| file.replace("NAME", change.word)).collect();
        assert_eq!(files, all, "{}: the row in CONTRIBUTING.md, and what is to be changed", change.row);
    }
}
