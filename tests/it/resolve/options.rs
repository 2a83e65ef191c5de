//! Resolve options that each collection may set for itself. Two collections on one repository get
//! different results in the log, and nothing of one is used for the other.

use std::path::Path;

use koschei::buildroot::repo_resolver::Unit;
use koschei::buildroot::stored::Stored;
use koschei::buildroot::verdicts::Closures;
use koschei::event::{Event, RepoResolved};
use koschei::log::{EventLog, PAGE_MAX, SqliteLog};
use koschei::model::Name;
use koschei::resolve::ResolveOptions;
use koschei::tools::broken::breakages;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::recorded::{koschei, open};
use crate::tiny::{MetaFile, Pkg, pkg, primary_xml, write_repo};

const START: i64 = 1_800_000_000;

/// A recording of the tag `f99-build` with its archive. Its one source package `foo` needs `tool`.
struct Recorded {
    dir: TempDir,
    messages: String,
    count: i64,
}

impl Recorded {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("buildrequires.jsonl"), "{\"nvr\":\"foo-1-1\",\"requires\":[\"tool\"]}\n")
            .unwrap();
        let mut recorded = Self { dir, messages: String::new(), count: 0 };
        let build = |more: Value| {
            let mut body = json!({"build_id": 1, "name": "foo", "version": "1", "release": "1", "owner": "someone"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        recorded.send("build.state.change", build(json!({"attribute": "state", "old": 0, "new": 1, "task_id": 1001})));
        recorded.send("tag", build(json!({"tag": "f99"})));
        recorded
    }

    fn send(&mut self, topic: &str, mut body: Value) {
        self.count += 1;
        body["instance"] = "primary".into();
        let at = START + self.count * 3600;
        let sent = koschei::model::Timestamp::from_secs(at).to_string();
        let message = json!({"topic": format!("org.example.buildsys.{topic}"), "id": format!("m{}", self.count),
            "sent-at": sent, "seen_at": at, "headers": {}, "body": body});
        self.messages += &format!("{message}\n");
    }

    fn repo(&mut self, id: i64, packages: &[Pkg]) {
        self.modular_repo(id, packages, None);
    }

    /// Adds a repository, with a modules file if given.
    fn modular_repo(&mut self, id: i64, packages: &[Pkg], modules: Option<&str>) {
        let top = self.dir.path().join(format!("repos/f99-build/{id}"));
        let (arch, primary) = (top.join("x86_64"), primary_xml(packages));
        let primary = MetaFile { kind: "primary", name: "primary.xml", bytes: primary.as_bytes(), open_size: None };
        let modules = modules.map(|yaml| MetaFile {
            kind: "modules",
            name: "modules.yaml",
            bytes: yaml.as_bytes(),
            open_size: None,
        });
        let files: Vec<MetaFile<'_>> = std::iter::once(primary).chain(modules).collect();
        write_repo(&arch, &files);
        std::fs::write(arch.join("pkglist"), "toplink/packages/foo/1/1/x86_64/foo-1-1.x86_64.rpm\n").unwrap();
        std::fs::create_dir_all(top.join("groups")).unwrap();
        let comps =
            "<comps><group><id>build</id><packagelist><packagereq>base</packagereq></packagelist></group></comps>";
        std::fs::write(top.join("groups/comps.xml"), comps).unwrap();
        let info = json!({"id": id, "tag": "f99-build", "event_id": id * 10});
        std::fs::write(top.join("repo.json"), info.to_string()).unwrap();
        self.send("repo.init", json!({"tag": "f99-build", "repo_id": id}));
        self.send("repo.done", json!({"tag": "f99-build", "repo_id": id}));
    }

    /// Ingests the recording under a name, with the collections `plain` and `own`. `own` has this
    /// line in its configuration.
    fn ingested(&self, name: &str, own: &str) -> Ingested {
        let at = |file: &str| self.dir.path().join(file).to_str().unwrap().to_owned();
        let (events, config, db) = (at("events.jsonl"), at("koschei.toml"), at(&format!("{name}.db")));
        std::fs::write(&events, &self.messages).unwrap();
        let one = |name: &str, own: &str| {
            format!(
                "[[collection]]\nname = '{name}'\nbuild_tag = 'f99-build'\ndest_tag = 'f99'\ntrack_all = true\n{own}\n"
            )
        };
        std::fs::write(&config, one("plain", "") + &one("own", own)).unwrap();
        let archive = self.dir.path().to_str().unwrap().to_owned();
        let (from, metrics) = (["ingest", "--from", &events, "--archive", &archive], at(&format!("{name}.prom")));
        let told = asked(&[&from[..], &["--config", &config, "--db", &db, "--metrics", &metrics]].concat());
        Ingested { archive, db, told, metrics: std::fs::read_to_string(metrics).unwrap() }
    }
}

struct Ingested {
    archive: String,
    db: String,
    told: Value,
    metrics: String,
}

fn asked(args: &[&str]) -> Value {
    let done = koschei(&[args, &["--json"]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

impl Ingested {
    /// Asserts that the audit finds nothing, and that folding the log again gives the same state.
    fn is_sound(&self) {
        assert_eq!(asked(&["log", "audit", "--db", &self.db])["total"], 0);
        assert_eq!(asked(&["replay", "--db", &self.db])["log_digest"], self.told["log_digest"]);
    }

    /// Returns all resolutions, each with its attachment.
    async fn resolutions(&self) -> Vec<(RepoResolved, Value)> {
        let log: SqliteLog = open(Path::new(&self.db)).await;
        let mut found = Vec::new();
        for record in log.read(None, PAGE_MAX).await.unwrap() {
            if let Event::RepoResolved(r) = record.decode().unwrap().event {
                let kept = serde_json::from_slice(&whole(&log, &r.attachment).await.unit.to_bytes()).unwrap();
                found.push((r, kept));
            }
        }
        found
    }
}

/// Returns a resolution, put together from all attachments that it starts from.
async fn whole(log: &SqliteLog, digest: &str) -> Closures {
    let mut open = Vec::new();
    let mut next = digest.to_owned();
    let mut closures = loop {
        match Stored::from_bytes(&log.attachment(&next).await.unwrap().unwrap()).unwrap() {
            Stored::Whole(unit) => break Closures::new(*unit).unwrap(),
            Stored::Differs(differs) => {
                next = differs.base().to_owned();
                open.push(differs);
            }
        }
    };
    for differs in open.into_iter().rev() {
        closures = differs.applied(&closures).unwrap();
    }
    closures
}

/// Three generations: a weak dependency moves, then a needed package breaks.
fn weak() -> Recorded {
    let mut recorded = Recorded::new();
    let base = || pkg("base-1-1.x86_64").recommends(&["extra"]);
    recorded.repo(1, &[base(), pkg("extra-1-1.x86_64"), pkg("tool-1-1.x86_64")]);
    recorded.repo(2, &[base(), pkg("extra-2-1.x86_64"), pkg("tool-1-1.x86_64")]);
    recorded.repo(3, &[base(), pkg("extra-2-1.x86_64"), pkg("tool-2-1.x86_64").requires(&["gone"])]);
    recorded
}

#[tokio::test]
async fn two_collections_on_one_repository() {
    let recorded = weak();
    let both = recorded.ingested("both", "ignore_weak_deps = false");
    both.is_sound();
    let all = both.resolutions().await;
    let said = |collection: &str| -> Vec<(i64, bool, Vec<String>, usize, u32)> {
        let own = all.iter().filter(|(r, _)| r.collection == collection);
        let row = |(r, kept): &(RepoResolved, Value)| {
            let names = kept["packages"].as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_owned());
            (r.repo_id.0, r.weak_deps, names.collect(), r.moves.len(), r.unresolved)
        };
        own.map(row).collect()
    };
    let row = |repo: i64, weak: bool, names: &str, moves: usize, broken: u32| {
        let names = names.split_whitespace().map(|n| n.replacen('-', "-0:", 1) + ".x86_64").collect();
        (repo, weak, names, moves, broken)
    };
    let plain = [
        row(1, false, "base-1-1 tool-1-1", 0, 0),
        row(2, false, "base-1-1 tool-1-1", 0, 0),
        row(3, false, "base-1-1", 0, 1),
    ];
    assert_eq!(said("plain"), plain);
    let own = [
        row(1, true, "base-1-1 extra-1-1 tool-1-1", 0, 0),
        row(2, true, "base-1-1 extra-2-1 tool-1-1", 1, 0),
        row(3, true, "base-1-1 extra-2-1", 0, 1),
    ];
    assert_eq!(said("own"), own);
    // Neither has the inputs of the other. The collection without its own option has the same
    // inputs as alone.
    let inputs = |all: &[(RepoResolved, Value)], name: &str| -> Vec<String> {
        all.iter().filter(|(r, _)| r.collection == name).map(|(r, _)| r.inputs.clone()).collect()
    };
    assert!(inputs(&all, "plain").iter().all(|digest| !inputs(&all, "own").contains(digest)));
    let usual = recorded.ingested("usual", "").resolutions().await;
    assert_eq!(inputs(&usual, "plain"), inputs(&all, "plain"));
    assert_eq!(inputs(&usual, "own"), inputs(&usual, "plain"));
    assert!(usual.iter().all(|(r, _)| !r.weak_deps && !serde_json::to_string(r).unwrap().contains("weak")));
}

/// Causes are looked for with the options with which each collection was resolved.
#[tokio::test]
async fn causes_are_looked_for_as_it_was_resolved() {
    let recorded = weak();
    let both = recorded.ingested("both", "ignore_weak_deps = false");
    let told = asked(&["broken", "--db", &both.db, "--archive", &both.archive]);
    let causes = told["causes"].as_array().unwrap();
    let mut of: Vec<&str> = causes.iter().map(|c| c["collection"].as_str().unwrap()).collect();
    of.sort_unstable();
    assert_eq!((of.as_slice(), &told["unexplained"]), (&["own", "plain"][..], &json!([])), "{told}");
    assert!(causes.iter().all(|c| c["change"].as_str().unwrap().contains("tool.x86_64 1-1 → 2-1")), "{told}");
    let mut seen = Vec::new();
    let mut explain = |units: &[Unit<'_>], _: &[Name]| {
        let [resolved, unit] = units else { panic!("two repositories are compared") };
        seen.push((resolved.repo.0, unit.repo.0, resolved.options, unit.options));
        Ok(Vec::new())
    };
    breakages(&open(Path::new(&both.db)).await, None, Some(&mut explain)).await.unwrap();
    let (plain, own) = (ResolveOptions::default(), ResolveOptions { weak_deps: true, ..ResolveOptions::default() });
    assert_eq!(seen, [(2, 3, own, own), (2, 3, plain, plain)]);
}

/// Three generations: only the modules file changes, then a needed package breaks.
fn modular() -> Recorded {
    let stream = |module: &str, stream: u8, rpm: &str| {
        format!(
            "---\ndocument: modulemd\nversion: 2\ndata: {{name: {module}, stream: \"{stream}\", version: 1, context: \
                c, artifacts: {{rpms: [{rpm}]}}}}\n...\n"
        )
    };
    let streams = stream("web", 1, "tool-0:1-1.x86_64")
        + &stream("web", 2, "tool-0:2-1.x86_64")
        + &stream("side", 1, "side-0:1-1.x86_64");
    let default = "---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: web, stream: \"1\"}\n...\n";
    let both = ["base", "side", "tool"].map(|name| pkg(&format!("{name}-1-1.x86_64")));
    let both = [&both[..], &[pkg("tool-2-1.x86_64")]].concat();
    let mut recorded = Recorded::new();
    recorded.modular_repo(1, &both, Some(&format!("{streams}{default}")));
    recorded.modular_repo(2, &both, Some(&streams));
    let broken = [both[0].clone(), both[1].clone(), pkg("tool-3-1.x86_64").requires(&["gone"])];
    recorded.modular_repo(3, &broken, Some(&streams));
    recorded
}

#[tokio::test]
async fn modules_count_for_one_collection_and_not_for_the_other() {
    let recorded = modular();
    let both = recorded.ingested("both", "module_hotfixes = true");
    both.is_sound();
    let all = both.resolutions().await;
    let said = |collection: &str| -> Vec<(i64, bool, u32, String)> {
        let own = all.iter().filter(|(r, _)| r.collection == collection);
        let tool = |kept: &Value| {
            let packages = kept["packages"].as_array().unwrap().iter().map(|p| p.as_str().unwrap());
            packages.filter(|p| !p.starts_with("base-")).collect::<Vec<_>>().join(" ")
        };
        own.map(|(r, kept)| (r.repo_id.0, r.module_hotfixes, r.resolved, tool(kept))).collect()
    };
    let row = |repo: i64, hotfixes: bool, resolved: u32, tool: &str| (repo, hotfixes, resolved, tool.to_owned());
    assert_eq!(said("plain"), [row(1, false, 1, "tool-0:1-1.x86_64"), row(2, false, 0, ""), row(3, false, 0, "")]);
    let newest = "tool-0:2-1.x86_64";
    assert_eq!(said("own"), [row(1, true, 1, newest), row(2, true, 1, newest), row(3, true, 0, "")]);
    // The modules file is one of the inputs exactly where verdicts depend on it.
    let inputs = |name: &str, repo: i64| {
        let of = |(r, _): &&(RepoResolved, Value)| r.collection == name && r.repo_id.0 == repo;
        all.iter().find(of).unwrap().0.inputs.clone()
    };
    assert_ne!(inputs("plain", 1), inputs("plain", 2));
    assert_eq!(inputs("own", 1), inputs("own", 2));
    let hidden = |collection: &str, n: u8| {
        let labels = format!("arch=\"x86_64\",collection=\"{collection}\",reason=\"package_hidden_by_modules\"");
        format!("koschei_repository_passed_over{{{labels}}} {n}\n")
    };
    assert!(both.metrics.contains(&hidden("plain", 1)) && both.metrics.contains(&hidden("own", 0)), "{}", both.metrics);
    let told = asked(&["broken", "--db", &both.db, "--archive", &both.archive]);
    let causes = told["causes"].as_array().unwrap();
    let own = causes.iter().find(|c| c["collection"] == "own").unwrap_or_else(|| panic!("{told}"));
    assert_eq!((&own["change"], &own["before"]), (&json!("tool.x86_64 2-1 → 3-1"), &json!(2)), "{told}");
    let plain = causes.iter().find(|c| c["collection"] == "plain").unwrap_or_else(|| panic!("{told}"));
    assert_eq!(&plain["before"], &json!(1), "{told}");
}
