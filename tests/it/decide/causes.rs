//! Which update broke what, from messages and repositories to `koschei causes` and `suspects`.

use std::collections::BTreeSet;

use koschei::event::TargetObserved;
use koschei::model::{Hub, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::recorded::koschei;
use crate::story::World;
use crate::tiny::{MetaFile, Pkg, pkg, primary_xml, write_repo};
use crate::web_site::Pages;

const START: i64 = 1_800_000_000;

/// A recording of the tag `f99-build` and of others, with its archive.
struct Story {
    dir: TempDir,
    /// The collections. What comes next is about the last one.
    collections: Vec<&'static str>,
    messages: String,
    count: i64,
    sources: Vec<String>,
}

/// What the program says of a story.
struct Said {
    causes: Vec<Value>,
    suspects: Vec<Value>,
    dir: TempDir,
}

fn nvr(text: &str) -> [&str; 3] {
    let (rest, release) = text.rsplit_once('-').unwrap();
    let (name, version) = rest.rsplit_once('-').unwrap();
    [name, version, release]
}

impl Story {
    /// Begins with these source packages (`name-version-release`) and what each requires.
    fn new(sources: &[(&str, &[&str])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let requires = sources.iter().map(|(nvr, requires)| format!("{}\n", json!({"nvr": nvr, "requires": requires})));
        std::fs::write(dir.path().join("buildrequires.jsonl"), requires.collect::<String>()).unwrap();
        let sources = sources.iter().map(|(nvr, _)| (*nvr).to_owned()).collect();
        let mut story = Self { dir, collections: vec!["f99"], messages: String::new(), count: 0, sources };
        for (id, source) in (1_i64..).zip(story.sources.clone()) {
            let [name, version, release] = nvr(&source);
            let build =
                json!({"build_id": id, "name": name, "version": version, "release": release, "owner": "someone"});
            let with = |more: Value| {
                let mut body = build.clone();
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                body
            };
            story.send("build.state.change", with(json!({"attribute": "state", "old": 0, "new": 1, "task_id": null})));
            story.send("tag", with(json!({"tag": "f99"})));
        }
        story
    }

    /// Goes on with another collection, into which the same sources are tagged.
    fn collection(&mut self, name: &'static str) {
        self.collections.push(name);
        for (id, source) in (1_i64..).zip(self.sources.clone()) {
            let [package, version, release] = nvr(&source);
            self.send(
                "tag",
                json!({"build_id": id, "name": package, "version": version, "release": release, "owner": "someone",
                    "tag": name}),
            );
        }
    }

    fn tag(&self) -> &'static str {
        self.collections.last().unwrap()
    }

    fn send(&mut self, topic: &str, mut body: Value) {
        self.count += 1;
        body["instance"] = "primary".into();
        let at = START + self.count * 60;
        let sent = Timestamp::from_secs(at).to_string();
        let message = json!({"topic": format!("org.example.buildsys.{topic}"), "id": format!("m{}", self.count),
            "sent-at": sent, "seen_at": at, "headers": {}, "body": body});
        self.messages += &format!("{message}\n");
    }

    fn repo(&mut self, id: i64, packages: &[Pkg]) {
        let build_tag = format!("{}-build", self.tag());
        let top = self.dir.path().join(format!("repos/{build_tag}/{id}"));
        let (arch, primary) = (top.join("x86_64"), primary_xml(packages));
        write_repo(
            &arch,
            &[MetaFile { kind: "primary", name: "primary.xml", bytes: primary.as_bytes(), open_size: None }],
        );
        let list = self.sources.iter().map(|source| {
            let [name, version, release] = nvr(source);
            format!("toplink/packages/{name}/{version}/{release}/x86_64/{source}.x86_64.rpm\n")
        });
        std::fs::write(arch.join("pkglist"), list.collect::<String>()).unwrap();
        std::fs::create_dir_all(top.join("groups")).unwrap();
        let comps =
            "<comps><group><id>build</id><packagelist><packagereq>base</packagereq></packagelist></group></comps>";
        std::fs::write(top.join("groups/comps.xml"), comps).unwrap();
        std::fs::write(top.join("repo.json"), json!({"id": id, "tag": build_tag, "event_id": id * 10}).to_string())
            .unwrap();
        self.send("repo.init", json!({"tag": build_tag, "repo_id": id}));
        self.send("repo.done", json!({"tag": build_tag, "repo_id": id}));
    }

    /// Rebuilds a source package in a repository.
    fn built(&mut self, source: &str, repo: i64, passed: bool) {
        let [name, version, release] = nvr(source);
        let id = 1000 + self.count * 10;
        let target = self.tag();
        let path = format!("../packages/{name}/{version}/{release}/src/{source}.src.rpm");
        let mut task = |old: &str, new: &str, state: i64, child: i64| {
            let children = match child {
                0 => json!([]),
                child => json!([{"id": id + 1, "method": "buildArch", "label": "x86_64", "arch": "x86_64",
                    "state": child, "parent": id, "owner": "koschei"}]),
            };
            let info = json!({"id": id, "method": "build", "state": state, "owner": "koschei", "arch": "noarch",
                "create_time": START + self.count * 60, "request": [path, target, {"scratch": true, "repo_id": repo}],
                "children": children});
            let body = json!({"info": info, "method": "build", "attribute": "state", "old": old, "new": new, "id": id,
                "owner": "koschei", "srpm": format!("{source}.src.rpm")});
            self.send("task.state.change", body);
        };
        task("FREE", "OPEN", 1, 0);
        match passed {
            true => task("OPEN", "CLOSED", 2, 2),
            false => task("OPEN", "FAILED", 5, 5),
        }
    }

    fn said(self) -> Said {
        let at = |file: &str| self.dir.path().join(file).to_str().unwrap().to_owned();
        let (events, archive, db, config) = (at("events.jsonl"), at(""), at("koschei.db"), at("koschei.toml"));
        std::fs::write(&events, &self.messages).unwrap();
        let collections = self.collections.iter().map(|c| {
            format!(
                "[[collection]]\nname = '{c}'\nbuild_tag = '{c}-build'\ndest_tag = '{c}'\ntarget = '{c}'\n\
                 track_all = true\n"
            )
        });
        std::fs::write(&config, collections.collect::<String>()).unwrap();
        let ran = |args: &[&str]| {
            let out = koschei(args);
            assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
            out.stdout
        };
        ran(&["ingest", "--from", &events, "--archive", &archive, "--config", &config, "--db", &db]);
        let list = |what: &str| -> Vec<Value> {
            serde_json::from_slice(&ran(&[what, "--all", "--json", "--db", &db])).unwrap()
        };
        let (causes, suspects) = (list("causes"), list("suspects"));
        Said { causes, suspects, dir: self.dir }
    }
}

impl Said {
    /// Returns the causes as `kind update@repo state: packages`.
    fn lines(&self) -> Vec<String> {
        let line = |c: &Value| {
            let names: BTreeSet<&str> =
                c["packages"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
            let text = |of: &Value| of.as_str().unwrap_or("-").to_owned();
            format!(
                "{} {}@{} {}: {}",
                text(&c["kind"]),
                text(&c["update"]["source"]),
                c["repo"],
                text(&c["state"]),
                names.into_iter().collect::<Vec<_>>().join(" ")
            )
        };
        self.causes.iter().map(line).collect()
    }

    /// Returns the share of an update in each failed build of a package in `f99`.
    fn shares(&self, package: &str, update: &str) -> Vec<i64> {
        let of = self.suspects.iter().filter(|f| (&f["collection"], &f["package"]) == (&json!("f99"), &json!(package)));
        of.map(|f| {
            let all = f["suspects"].as_array().unwrap();
            let found = all.iter().find(|s| s["update"]["source"] == update);
            found.map_or(0, |s| s["share"].as_i64().unwrap())
        })
        .collect()
    }
}

fn lib(name: &str, version: u8) -> Pkg {
    pkg(&format!("{name}-{version}-1.x86_64")).built_from(&format!("{name}-{version}-1"))
}

fn base() -> Pkg {
    pkg("base-1-1.x86_64").built_from("base-1-1")
}

const FAILING: [&str; 4] = ["f1-1-1", "f2-1-1", "f3-1-1", "f4-1-1"];
const PASSING: [&str; 6] = ["p1-1-1", "p2-1-1", "p3-1-1", "p4-1-1", "p5-1-1", "p6-1-1"];

/// Repository 2 brings `libx` and `liby`. Four packages that need both fail there.
fn two_updates() -> Story {
    let failing = FAILING.iter().map(|f| (*f, &["libx", "liby"][..]));
    let sources: Vec<(&str, &[&str])> = failing.chain(PASSING.iter().map(|p| (*p, &["liby"][..]))).collect();
    let mut story = Story::new(&sources);
    story.repo(1, &[base(), lib("libx", 1), lib("liby", 1)]);
    FAILING.iter().chain(&PASSING).for_each(|source| story.built(source, 1, true));
    story.repo(2, &[base(), lib("libx", 2), lib("liby", 2)]);
    FAILING.iter().for_each(|source| story.built(source, 2, false));
    story
}

#[test]
fn builds_that_pass_tell_two_updates_apart() {
    let mut story = two_updates();
    PASSING.iter().for_each(|source| story.built(source, 2, true));
    let said = story.said();
    assert_eq!(said.lines(), ["build libx-2-1@2 open: f1 f2 f3 f4"]);
    for package in ["f1", "f2", "f3", "f4"] {
        assert!(said.shares(package, "libx-2-1")[0] > 800, "{:?}", said.suspects);
    }
    for f in &said.suspects {
        let all: i64 = f["suspects"].as_array().unwrap().iter().map(|s| s["share"].as_i64().unwrap()).sum();
        assert_eq!(all + f["none"]["own"].as_i64().unwrap() + f["none"]["chance"].as_i64().unwrap(), 1000, "{f}");
        assert_eq!((&f["repo"], &f["good_repo"]), (&json!(2), &json!(1)), "{f}");
    }
    assert_eq!(said.causes[0]["update"]["was"], "libx-1-1");
    let db = said.dir.path().join("koschei.db");
    let why = koschei(&["why", "f1", "--json", "--db", db.to_str().unwrap()]);
    let why: Value = serde_json::from_slice(&why.stdout).unwrap();
    assert_eq!((&why["collection"], &why["cause"]["id"]), (&json!("f99"), &said.causes[0]["id"]));
    assert_eq!(why["suspects"][0]["update"]["source"], "libx-2-1");
}

/// The log says what it judges, and when it judges otherwise. States and pages show the last word, and
/// the audit derives each again.
#[test]
fn a_change_of_mind_is_an_event() {
    let mut story = two_updates();
    // Repositories let time pass without telling anything new of builds.
    story.repo(3, &[base(), lib("libx", 2), lib("liby", 2)]);
    PASSING.iter().for_each(|source| story.built(source, 3, true));
    story.repo(4, &[base(), lib("libx", 2), lib("liby", 2)]);
    let said = story.said();
    let db = said.dir.path().join("koschei.db");
    let ran = |args: &[&str]| {
        let out = koschei(&[args, &["--db", db.to_str().unwrap()]].concat());
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let log = ran(&["log", "export", "--no-attachments"]);
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ranked: Vec<Value> = events.filter(|e| e["type"].as_str().unwrap().contains("suspects_ranked")).collect();
    let of = |event: &Value, package: &str| -> Option<(String, u64)> {
        let data = &event["data"];
        let found = data["packages"].as_array().unwrap().iter().find(|p| p["package"] == package)?.clone();
        let update = &data["updates"][usize::try_from(found["suspects"][0][0].as_u64()?).unwrap()];
        Some((update["source"].as_str().unwrap().to_owned(), found["suspects"][0][1].as_u64().unwrap()))
    };
    let f1: Vec<(String, u64)> = ranked.iter().filter_map(|e| of(e, "f1")).collect();
    assert!(f1.len() >= 2 && f1.iter().all(|(_, share)| *share <= 1000), "{ranked:#?}");
    assert!(f1[0].1 < 600 && f1.last().unwrap().0 == "libx-2-1" && f1.last().unwrap().1 > 800, "{f1:?}");
    let audit: Value = serde_json::from_str(&ran(&["log", "audit", "--json"])).unwrap();
    assert_eq!(audit["total"], 0, "{audit}");
    let status: Value = serde_json::from_str(&ran(&["status", "--json"])).unwrap();
    let f1 = status["packages"].as_array().unwrap().iter().find(|p| p["package"] == "f1").unwrap();
    assert_eq!(f1["broken_by"][0]["update"], "libx-2-1", "{f1}");
    assert_eq!(f1["broken_by"][0]["cause"], said.causes[0]["id"], "{f1}");
}

/// Pages say of an update what the verbs say: on the overview, on the pages of the cause, the update and
/// each package, for people and for programs.
#[tokio::test(flavor = "multi_thread")]
async fn pages_name_the_update() {
    let mut story = two_updates();
    PASSING.iter().for_each(|source| story.built(source, 2, true));
    story.repo(3, &[base(), lib("libx", 2), lib("liby", 2)]);
    let said = story.said();
    let id = said.causes[0]["id"].as_str().unwrap();
    let db = said.dir.path().join("koschei.db");
    let log = koschei::log::open(db.to_str().unwrap(), &koschei::log::Options::default()).await.unwrap();
    let pages = Pages::over(&log).await;
    for address in ["/", "/causes", "/causes?collection=f99"] {
        let page = pages.page(address).await;
        assert!(page.contains(&format!("<a href=\"/cause/{id}\">libx-2-1</a>")), "{address}: {page}");
        assert!(page.contains("/package/f4?collection=f99"), "{address}: {page}");
    }
    let cause = pages.page(&format!("/cause/{id}")).await;
    for part in ["/update/libx-2-1", "was libx-1-1", "Packages it breaks (4)", "held to have broken 4 packages"] {
        assert!(cause.contains(part), "{part}: {cause}");
    }
    let update = pages.page("/update/libx-2-1").await;
    for part in ["came into buildroots with repository 2", "0 passed last time and 4 failed", id] {
        assert!(update.contains(part), "{part}: {update}");
    }
    let harmless = pages.page("/update/liby-2-1").await;
    for part in ["Nothing is known to be broken by it", "6 passed last time and 4 failed"] {
        assert!(harmless.contains(part), "{part}: {harmless}");
    }
    let package = pages.page("/package/f1").await;
    for part in ["It breaks 3 other packages, too", "What may have broken its last build", id] {
        assert!(package.contains(part), "{part}: {package}");
    }
    let why = koschei(&["why", "f1", "--json", "--db", db.to_str().unwrap()]);
    assert_eq!(pages.json("/package/f1").await, serde_json::from_slice::<Value>(&why.stdout).unwrap());
    let listed = pages.json("/causes").await;
    let names = |of: &Value| -> Vec<String> {
        of["packages"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((&listed[0]["id"], names(&listed[0])), (&said.causes[0]["id"], names(&said.causes[0])));
    assert_eq!(listed[0]["update"], said.causes[0]["update"]);
    assert_eq!(pages.json(&format!("/cause/{id}")).await["state"], "open");
    assert_eq!(pages.get("/causes?collection=f98").await.status, 404);
    assert_eq!(pages.get("/update/no").await.status, 400);
    pages.stop().await;
    koschei::log::EventLog::close(&log).await;
}

#[test]
fn without_them_both_have_equal_shares() {
    let said = two_updates().said();
    for package in ["f1", "f2", "f3", "f4"] {
        let (x, y) = (said.shares(package, "libx-2-1")[0], said.shares(package, "liby-2-1")[0]);
        assert!((x - y).abs() <= 10 && x > 300, "{x} {y}");
    }
}

/// In another collection only one of two updates breaks packages, and others pass with the other one.
/// That tells them apart here, too. The audit judges each collection with the others.
#[test]
fn another_collection_tells_two_updates_apart() {
    let mut story = two_updates();
    story.collection("e99");
    story.repo(11, &[base(), lib("libx", 1), lib("liby", 1)]);
    FAILING.iter().chain(&PASSING).for_each(|source| story.built(source, 11, true));
    // The last update comes first here, as on a branch that is older.
    story.repo(12, &[base(), lib("libx", 1), lib("liby", 2)]);
    FAILING.iter().chain(&PASSING).for_each(|source| story.built(source, 12, true));
    story.repo(13, &[base(), lib("libx", 2), lib("liby", 2)]);
    FAILING.iter().for_each(|source| story.built(source, 13, false));
    story.collections.push("f99");
    // Lets time pass, so that the log judges anew.
    story.repo(3, &[base(), lib("libx", 2), lib("liby", 2)]);
    story.collections.pop();
    let said = story.said();
    assert_eq!(said.lines(), ["build libx-2-1@13 open: f1 f2 f3 f4", "build libx-2-1@2 open: f1 f2 f3 f4"]);
    for package in ["f1", "f2", "f3", "f4"] {
        assert!(said.shares(package, "libx-2-1")[0] > 800, "{:?}", said.suspects);
    }
    let words = serde_json::to_string(&said.suspects).unwrap();
    assert!(words.contains("held to have broken 4 packages of other collections"), "{words}");
    assert!(words.contains("6 packages of other collections passed with it"), "{words}");
    let db = said.dir.path().join("koschei.db");
    let db = db.to_str().unwrap();
    let audit: Value = serde_json::from_slice(&koschei(&["log", "audit", "--json", "--db", db]).stdout).unwrap();
    assert_eq!(audit["total"], 0, "{audit}");
    let status: Value = serde_json::from_slice(&koschei(&["status", "--json", "--db", db]).stdout).unwrap();
    let f1 = |p: &&Value| (&p["collection"], &p["package"]) == (&json!("f99"), &json!("f1"));
    let f1 = status["packages"].as_array().unwrap().iter().find(f1).unwrap();
    assert_eq!(f1["broken_by"][0]["update"], "libx-2-1", "{f1}");
}

#[test]
fn a_repair_ends_a_cause() {
    let mut story = two_updates();
    PASSING.iter().for_each(|source| story.built(source, 2, true));
    story.repo(3, &[base(), lib("libx", 3), lib("liby", 2)]);
    FAILING.iter().for_each(|source| story.built(source, 3, true));
    let said = story.said();
    assert_eq!(said.lines(), ["build libx-2-1@2 over: f1 f2 f3 f4"]);
    assert!(said.causes[0]["packages"].as_array().unwrap().iter().all(|p| p["until"].is_u64()), "{:?}", said.causes);
}

/// The page of a cause stays when it is over, and says what it broke.
#[tokio::test(flavor = "multi_thread")]
async fn a_cause_that_is_over_keeps_its_page() {
    let mut story = two_updates();
    PASSING.iter().for_each(|source| story.built(source, 2, true));
    story.repo(3, &[base(), lib("libx", 3), lib("liby", 2)]);
    FAILING.iter().for_each(|source| story.built(source, 3, true));
    let said = story.said();
    let db = said.dir.path().join("koschei.db");
    let log = koschei::log::open(db.to_str().unwrap(), &koschei::log::Options::default()).await.unwrap();
    let pages = Pages::over(&log).await;
    let address = format!("/cause/{}", said.causes[0]["id"].as_str().unwrap());
    let page = pages.page(&address).await;
    for part in ["It is over: it breaks nothing any more", "was libx-1-1", "Packages it broke (4)"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let cause = pages.json(&address).await;
    let names: Vec<&str> = cause["packages"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!((&cause["state"], names), (&json!("over"), vec!["f1", "f2", "f3", "f4"]));
    assert_eq!((&cause["id"], &cause["update"]), (&said.causes[0]["id"], &said.causes[0]["update"]));
    let missing = pages.get("/cause/0123456789").await;
    assert!(missing.status == 404 && missing.body.contains("name no cause"), "{}", missing.body);
    pages.stop().await;
    koschei::log::EventLog::close(&log).await;
}

#[test]
fn a_package_that_changes_its_own_source_accuses_nobody_else() {
    let mut story = Story::new(&[("f1-1-1", &["libx"])]);
    story.repo(1, &[base(), lib("libx", 1)]);
    story.built("f1-1-1", 1, true);
    story.built("f1-2-1", 1, false);
    let said = story.said();
    assert_eq!(said.causes.len(), 0, "{:?}", said.causes);
    assert_eq!(said.suspects.len(), 1);
    assert!(said.suspects[0]["suspects"].as_array().unwrap().is_empty(), "{:?}", said.suspects);
}

/// A lost capability breaks resolution. The cause stays the same while the shown problem changes, and
/// ends with the repair. The next loss is another cause.
#[test]
fn broken_resolutions_name_their_update() {
    let mut story = Story::new(&[("f1-1-1", &["libx(1)", "liby(1)"]), ("f2-1-1", &["libx(1)"])]);
    let x = |version: u8, gives: &[&str]| lib("libx", version).provides(gives);
    let y = |version: u8, gives: &[&str]| lib("liby", version).provides(gives);
    story.repo(1, &[base(), x(1, &["libx(1)"]), y(1, &["liby(1)"])]);
    story.repo(2, &[base(), x(2, &["libx(2)"]), y(1, &["liby(1)"])]);
    story.repo(3, &[base(), x(2, &["libx(2)"]), y(2, &["liby(2)"])]);
    story.repo(4, &[base(), x(3, &["libx(1)"]), y(2, &["liby(2)"])]);
    story.repo(5, &[base(), x(4, &["libx(4)"]), y(3, &["liby(1)"])]);
    let said = story.said();
    assert_eq!(
        said.lines(),
        ["resolution libx-2-1@2 over: f1 f2", "resolution liby-2-1@3 over: f1", "resolution libx-4-1@5 open: f1 f2",]
    );
    let spells = |at: usize, name: &str| {
        let all = said.causes[at]["packages"].as_array().unwrap();
        all.iter().filter(|p| p["name"] == name).map(|p| p["until"].clone()).collect::<Vec<_>>()
    };
    assert!(spells(0, "f2").iter().all(Value::is_u64) && spells(2, "f2") == [Value::Null], "{:?}", said.causes);
}

/// What breaks the build group breaks everything.
#[test]
fn a_broken_build_group_is_a_cause() {
    let mut story = Story::new(&[("f1-1-1", &["libx"])]);
    let group = |requires: &str| pkg("base-1-1.x86_64").built_from("base-1-1").requires(&[requires]);
    let tool = |version: u8| lib("tool", version).provides(&[&format!("tool({version})")]);
    story.repo(1, &[group("tool(1)"), tool(1), lib("libx", 1)]);
    story.repo(2, &[group("tool(1)"), tool(2), lib("libx", 1)]);
    story.repo(3, &[group("tool(1)"), tool(1), lib("libx", 1)]);
    assert_eq!(story.said().lines(), ["group tool-2-1@2 over: *"]);
}

/// A target that is gone breaks everything, until it is there again. So does a tag of it.
#[test]
fn a_target_that_is_gone_is_a_cause() {
    let target = |there: bool| TargetObserved {
        hub: Hub::new("primary"),
        target: "f99".into(),
        build_tag: there.then(|| "f99-build".into()),
        dest_tag: there.then(|| "f99".into()),
    };
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    let now = |w: &World| {
        let open: Vec<String> = w.wait(state(&w.log)).into_iter().map(|c| c.what).collect();
        let told = w.wait(koschei::tools::causes::read(&w.log, None, &mut |_| {})).unwrap().0;
        let all: Vec<String> = told.causes().0.iter().map(|c| format!("{} {}", c.what, c.state)).collect();
        (open, all)
    };
    assert_eq!(now(&w), (vec![], vec![]));
    w.observe(target(false));
    let gone = "target f99 does not exist any more";
    assert_eq!(now(&w), (vec![gone.to_owned()], vec![format!("{gone} open")]));
    w.observe(target(true));
    assert_eq!(now(&w), (vec![], vec![format!("{gone} over")]));
    w.observe(target(false));
    assert_eq!(now(&w), (vec![gone.to_owned()], vec![format!("{gone} open")]), "the same cause, a second spell");
    w.sound();
}

async fn state(log: &koschei::log::SqliteLog) -> Vec<koschei::decide::causes::OpenCause> {
    let state = koschei::log::folding::from_start(log, None, &mut |_| {}).await.unwrap();
    koschei::decide::causes::open_causes(&state)
}
