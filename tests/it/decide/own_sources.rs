//! Which source of a package counts: the collection's own newest one, whatever its buildroot has.
//! The results of a source stay known, even if it leaves, returns, or is renamed.

use std::path::{Path, PathBuf};

use koschei::decide::Policy;
use koschei::event::Event;
use koschei::fold::{Package, State};
use koschei::log::{AnyLog, EventLog, PAGE_MAX};
use koschei::model::PackageState;
use koschei::repodata::Dependency;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::decide::cases::{OLD, f};
use crate::feed;
use crate::recorded::koschei;
use crate::story::{self, HOUR, World, ok};
use crate::tiny::{MetaFile, pkg, primary_xml, write_repo};

const START: i64 = 1_800_000_000;

/// A recording with its archive, written in the test itself. By default an hour passes with each
/// message.
struct Recorded {
    dir: TempDir,
    messages: Vec<(i64, Value)>,
    now: i64,
    count: u64,
}

impl Recorded {
    /// Makes source packages, each with its requirements.
    fn new(sources: &[(&str, &[&str])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let line = |(nvr, requires): &(&str, &[&str])| format!("{}\n", json!({"nvr": nvr, "requires": requires}));
        let lines: String = sources.iter().map(line).collect();
        std::fs::write(dir.path().join("buildrequires.jsonl"), lines).unwrap();
        Self { dir, messages: Vec::new(), now: START, count: 0 }
    }

    fn send(&mut self, topic: &str, mut body: Value) {
        (self.count, self.now) = (self.count + 1, self.now + 3600);
        body["instance"] = "primary".into();
        let sent = koschei::model::Timestamp::from_secs(self.now).to_string();
        let message = json!({"topic": format!("org.example.buildsys.{topic}"), "id": format!("m{}", self.count),
            "sent-at": sent, "seen_at": self.now, "headers": {}, "body": body});
        self.messages.push((self.now, message));
    }

    fn parts(nvr: &str) -> (String, String, String) {
        let n = koschei::model::Nvr::parse(nvr).unwrap();
        (n.name.to_string(), n.version.to_string(), n.release.to_string())
    }

    fn tag(&mut self, topic: &str, tag: &str, id: i64, nvr: &str) {
        let (name, version, release) = Self::parts(nvr);
        self.send(topic, json!({"tag": tag, "build_id": id, "name": name, "version": version, "release": release}));
    }

    /// A build of this hub succeeds and is tagged.
    fn built(&mut self, tag: &str, id: i64, nvr: &str) {
        let (name, version, release) = Self::parts(nvr);
        let body = json!({"build_id": id, "name": name, "version": version, "release": release, "attribute": "state",
            "old": 0, "new": 1, "task_id": 1000 + id, "owner": "someone"});
        self.send("build.state.change", body);
        self.tag("tag", tag, id, nvr);
    }

    /// Makes repository `id` of `f99-build` with exactly these builds, one package each.
    fn repo(&mut self, id: i64, builds: &[&str]) {
        let top = self.dir.path().join(format!("repos/f99-build/{id}"));
        let arch = top.join("x86_64");
        let mut list = String::new();
        let mut packages = Vec::new();
        for nvr in builds {
            let (name, version, release) = Self::parts(nvr);
            let plain = release.split(",draft_").next().unwrap();
            let file = format!("{name}-{version}-{plain}.x86_64");
            list += &format!("toplink/packages/{name}/{version}/{release}/x86_64/{file}.rpm\n");
            let itself = format!("{name} = {version}-{plain}");
            assert!(Dependency::parse(&itself).is_ok());
            packages.push(pkg(&file).provides(&[&itself]));
        }
        let primary = primary_xml(&packages);
        write_repo(
            &arch,
            &[MetaFile { kind: "primary", name: "primary.xml", bytes: primary.as_bytes(), open_size: None }],
        );
        std::fs::write(arch.join("pkglist"), list).unwrap();
        std::fs::create_dir_all(top.join("groups")).unwrap();
        let comps = "<comps><group><id>build</id><name>build</name><packagelist><packagereq \
            type=\"mandatory\">R</packagereq></packagelist></group></comps>";
        std::fs::write(top.join("groups/comps.xml"), comps).unwrap();
        std::fs::write(top.join("repo.json"), json!({"id": id, "tag": "f99-build", "event_id": id * 10}).to_string())
            .unwrap();
        self.send("repo.init", json!({"tag": "f99-build", "repo_id": id}));
        self.send("repo.done", json!({"tag": "f99-build", "repo_id": id}));
    }

    /// Lets some days pass, then sends a message about another tag.
    fn days(&mut self, days: i64) {
        self.now += days * 24 * 3600;
        self.tag("tag", "elsewhere", 1, "zz-1-1");
    }

    fn lines(&self) -> Vec<String> {
        self.messages.iter().map(|(_, m)| m.to_string()).collect()
    }

    async fn ingested(&self) -> Ingested {
        ingested(self.dir.path(), &self.lines()).await
    }
}

struct Ingested {
    _dir: TempDir,
    log: AnyLog,
    state: State,
}

async fn ingested(archive: &Path, lines: &[String]) -> Ingested {
    let dir = tempfile::tempdir().unwrap();
    let log = feed::sqlite(dir.path(), "log.db").await;
    let mut writer = feed::awake(&log, feed::archive(archive)).await;
    feed::feed(&mut writer, lines, 10).await;
    Ingested { _dir: dir, log, state: writer.into_state() }
}

impl Ingested {
    fn foo(&self) -> &Package {
        self.state.package("f99-build", "foo").unwrap()
    }

    fn is(&self) -> PackageState {
        self.foo().state(true)
    }

    /// Returns the source it was resolved with, whether that resolves, and what the buildroot has
    /// instead.
    fn resolved(&self) -> Option<(&str, Option<bool>, Option<&str>)> {
        let [v] = &self.foo().verdicts[..] else { return None };
        Some((v.source.as_str(), v.ok, v.buildroot_has.as_deref()))
    }

    /// Returns the requested rebuilds with their repositories.
    async fn requested(&self) -> Vec<(String, Option<i64>)> {
        let records = self.log.read(None, PAGE_MAX).await.unwrap();
        let request = |e: Event| match e {
            Event::RebuildRequested(r) => Some((r.nvr.to_string(), r.repo_id.map(|r| r.0))),
            _ => None,
        };
        records.iter().filter_map(|r| request(r.decode().unwrap().event)).collect()
    }
}

fn case(name: &str) -> (PathBuf, Vec<String>) {
    let dir = feed::recorded("cases/service").join(name);
    (dir.join("archive"), feed::lines(&dir.join("events.jsonl")))
}

/// Uses the programs themselves: ingests the case and asks why.
#[test]
fn people_are_told_that_the_buildroot_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, _) = case("buildroot-override");
    let (db, from) = (dir.path().join("koschei.db"), archive.with_file_name("events.jsonl"));
    let text = |p: &Path| p.to_str().unwrap().to_owned();
    let out = koschei(&["ingest", "--from", &text(&from), "--archive", &text(&archive), "--db", &text(&db)]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let why = String::from_utf8(koschei(&["why", "foo", "--db", &text(&db)]).stdout).unwrap();
    let said = "the buildroot has foo-2-1.fc99, which is not the collection's own; foo-1-1.fc99 is resolved and \
        rebuilt";
    assert!(why.contains(said), "{why}");
    let status = koschei(&["status", "--json", "--db", &text(&db)]).stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    let verdict =
        &status["packages"].as_array().unwrap().iter().find(|p| p["package"] == "foo").unwrap()["verdicts"][0];
    assert_eq!((&verdict["source"], &verdict["buildroot_has"]), (&json!("1-1.fc99"), &json!("2-1.fc99")));
}

/// `foo-2` is a buildroot override: in the build tag, not in the collection.
#[tokio::test]
async fn a_buildroot_override_is_not_the_collections_source() {
    let (archive, lines) = case("buildroot-override");
    let done = ingested(&archive, &lines).await;
    assert_eq!(done.is(), PackageState::Ok);
    assert_eq!(done.resolved(), Some(("1-1.fc99", Some(true), Some("2-1.fc99"))));
    assert_eq!(done.requested().await, [("foo-1-1.fc99".to_owned(), Some(3))], "when A changed");
}

#[tokio::test]
async fn a_promoted_draft_is_the_source_under_its_new_name() {
    let (archive, lines) = case("draft-promoted");
    let done = ingested(&archive, &lines).await;
    assert_eq!(done.is(), PackageState::Ok);
    assert_eq!(done.foo().latest.as_ref().unwrap().source, "1-1.fc99");
    assert_eq!(done.resolved(), Some(("1-1.fc99", Some(true), None)));
    assert_eq!(done.requested().await, [("foo-1-1.fc99".to_owned(), Some(3))], "at the first tick after a week");
    // Changes are still measured from the repository it was built in.
    assert_eq!(done.foo().base().unwrap().repo.map(|r| r.0), Some(2));
}

/// Koji sends no reliable message about a promotion. Its repository shows it.
#[tokio::test]
async fn a_promotion_nobody_told_of_is_seen_in_the_repository() {
    let (archive, mut lines) = case("draft-promoted");
    lines.retain(|l| !l.contains("build.promote"));
    let done = ingested(&archive, &lines).await;
    assert_eq!(done.foo().latest.as_ref().unwrap().source, "1-1.fc99");
    assert_eq!(done.requested().await, [("foo-1-1.fc99".to_owned(), Some(3))]);
    let told = done.state.facts();
    assert!(told.iter().any(|f| f.contains("build 31 foo-1-1.fc99 Complete")), "{told:#?}");
}

const NEEDS: [(&str, &[&str]); 3] = [("foo-1-1", &["A"]), ("foo-2-1", &["A", "newdep"]), ("foo-3-1", &["A"])];

/// An override that comes and goes, a source tagged after a repository, one that is untagged, and
/// one that was there before.
fn comings_and_goings() -> Recorded {
    let mut r = Recorded::new(&NEEDS);
    r.built("f99", 5, "foo-1-1");
    r.repo(1, &["R-1-1", "A-1-1", "foo-1-1"]);
    r.built("f99-build", 6, "foo-2-1");
    r.repo(2, &["R-1-1", "A-1-1", "foo-2-1"]);
    r.tag("untag", "f99-build", 6, "foo-2-1");
    r.repo(3, &["R-1-1", "A-2-1", "foo-1-1"]);
    r.tag("tag", "f99-build", 6, "foo-2-1");
    r.built("f99", 7, "foo-3-1");
    r.repo(4, &["R-1-1", "A-2-1", "foo-2-1"]);
    r.tag("untag", "f99", 7, "foo-3-1");
    r
}

#[tokio::test]
async fn the_repository_is_resolved_with_the_sources_of_its_time() {
    let mut r = comings_and_goings();
    let done = r.ingested().await;
    assert_eq!(
        done.resolved(),
        Some(("1-1", Some(true), Some("2-1"))),
        "the newest is foo-1 again, and was there then"
    );
    r.repo(5, &["R-1-1", "A-2-1", "foo-2-1"]);
    r.tag("tag", "f99", 7, "foo-3-1");
    let done = r.ingested().await;
    assert_eq!(done.foo().latest.as_ref().unwrap().source, "3-1");
    assert_eq!(done.resolved(), Some(("1-1", Some(true), Some("2-1"))), "foo-3 came after it: it waits for the next");
}

/// Messages come in any order, except that those about one tag's package or one repository keep
/// theirs.
#[tokio::test]
async fn sources_do_not_depend_on_the_order_of_messages() {
    let r = comings_and_goings();
    let want = r.ingested().await;
    let sources = |m: &Value| {
        let b = &m["body"];
        format!("{}/{}/{}", b["tag"], b["repo_id"], b["build_id"].as_i64().map_or(Value::Null, |_| b["name"].clone()))
    };
    let mut rng = StdRng::seed_from_u64(3);
    for n in 0..12 {
        let mut keys: Vec<String> = r.messages.iter().map(|(_, m)| sources(m)).collect();
        keys.shuffle(&mut rng);
        let mut queues: std::collections::BTreeMap<String, std::collections::VecDeque<String>> = Default::default();
        for (_, m) in &r.messages {
            queues.entry(sources(m)).or_default().push_back(m.to_string());
        }
        let lines: Vec<String> = keys.iter().filter_map(|k| queues.get_mut(k)?.pop_front()).collect();
        assert_eq!(lines.len(), r.messages.len());
        let got = ingested(r.dir.path(), &lines).await;
        assert_eq!(got.state.facts(), want.state.facts(), "order {n}: {lines:#?}");
        assert_eq!(got.resolved(), want.resolved(), "order {n}");
    }
}

/// The build tag does not inherit from the dest tag: its repositories have nothing of the
/// collection.
#[tokio::test]
async fn a_collection_beside_its_build_tag_is_resolved() {
    let mut r = Recorded::new(&NEEDS);
    r.built("f99", 5, "foo-1-1");
    r.repo(1, &["R-1-1", "A-1-1"]);
    r.repo(2, &["R-1-1", "A-2-1"]);
    r.days(14);
    let done = r.ingested().await;
    assert_eq!((done.is(), done.resolved()), (PackageState::Ok, Some(("1-1", Some(true), None))));
    assert_eq!(done.requested().await, [("foo-1-1".to_owned(), Some(2))]);
    r.repo(3, &["R-1-1"]);
    let done = r.ingested().await;
    assert_eq!((done.is(), done.resolved()), (PackageState::Unresolved, Some(("1-1", Some(false), None))));
    // A source with unknown requirements has no verdict, and not that of another source.
    r.built("f99", 8, "foo-9-1");
    r.repo(4, &["R-1-1", "A-1-1", "foo-1-1"]);
    assert_eq!(r.ingested().await.resolved(), None);
}

/// By the package list's message: Koji lists nothing of a blocked package, and neither do we.
#[tokio::test]
async fn nothing_of_a_blocked_package_comes_beside_the_repository() {
    let mut r = Recorded::new(&NEEDS);
    r.built("f99", 5, "foo-1-1");
    r.send("package.list.change", json!({"tag": "f99", "package": "foo", "action": "block", "block": true}));
    r.repo(1, &["R-1-1", "A-1-1"]);
    assert_eq!(r.ingested().await.resolved(), None);
    r.send("package.list.change", json!({"tag": "f99", "package": "foo", "action": "unblock"}));
    assert_eq!(r.ingested().await.resolved(), Some(("1-1", Some(true), None)), "as soon as it is unblocked");
}

// ---- the results of a source stay known ----

/// `foo-1-1` was built, and its rebuild failed.
fn failing() -> World {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", OLD)]);
    w.rebuild(1, "foo-1-1", "FAILED", 1);
    assert_eq!(w.is("foo"), PackageState::Failing);
    w.pass(HOUR);
    w
}

#[rstest]
#[case::untagged_and_tagged_again(&["-1", "+1"])]
#[case::moved_to_another_tag_and_back(&["-1", ">1", "<1", "+1"])]
#[case::tagged_once_more(&["+1"])]
#[case::newest_again_because_the_newer_one_left(&["2", "-2"])]
#[case::newest_again_by_being_tagged_once_more(&["2", "+1"])]
#[case::both_left_and_returned(&["2", "-2", "-1", "+1"])]
fn what_a_source_did_is_known_when_it_returns(#[case] steps: &[&str]) {
    let mut w = failing();
    for step in steps {
        match *step {
            "+1" => w.tag("f99", "foo-1-1"),
            "-1" => w.untag("f99", "foo-1-1"),
            ">1" => w.tag("f98", "foo-1-1"),
            "<1" => w.untag("f98", "foo-1-1"),
            "2" => {
                w.real("f99", "foo-2-1");
                w.repo(2, &[ok("foo-2-1", OLD)]);
                assert_eq!(w.is("foo"), PackageState::Ok, "it is another source");
            }
            _ => w.untag("f99", "foo-2-1"),
        }
        w.pass(HOUR);
    }
    w.repo(3, &[ok("foo-1-1", OLD)]);
    assert_eq!(w.is("foo"), PackageState::Failing);
    assert_eq!(
        w.package("foo").base().unwrap().repo.unwrap().0,
        1,
        "changes are measured from where it was last built"
    );
    w.sound();
}

/// The build is deleted and imported again under another number. The import says nothing; the known
/// results of the source still count.
#[test]
fn what_a_source_did_is_known_when_it_was_deleted_and_imported() {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", OLD)]);
    w.untag("f99", "foo-1-1");
    w.build_state("foo-1-1", 2);
    assert_eq!(w.is("foo"), PackageState::Unknown, "there is none of it");
    let imported = json!({
        "build_id": 4711, "name": "foo", "version": "1", "release": "1", "attribute": "state", "old": null, "new": 1,
        "task_id": null, "instance": "primary"
    });
    w.send("build.state.change", imported);
    w.send(
        "tag",
        json!({"tag": "f99", "build_id": 4711, "name": "foo", "version": "1", "release": "1", "instance": "primary"}),
    );
    let p = w.package("foo");
    assert_eq!((p.latest.as_ref().unwrap().build.0, p.base().unwrap().repo.unwrap().0), (4711, 1));
    assert_eq!(w.is("foo"), PackageState::Ok, "it was built here once");
    w.rebuild(1, "foo-1-1", "FAILED", 1);
    assert_eq!(w.is("foo"), PackageState::Failing);
    w.sound();
}

/// The results stay known, however many rebuilds another source had meanwhile.
#[test]
fn what_a_source_did_is_known_after_many_rebuilds_of_another() {
    let mut w = failing();
    w.real("f99", "foo-2-1");
    w.repo(2, &[ok("foo-2-1", OLD)]);
    for n in 10..40 {
        w.rebuild(n, "foo-2-1", if n % 2 == 0 { "FAILED" } else { "CLOSED" }, 2);
    }
    assert_eq!(w.is("foo"), PackageState::Ok);
    assert!(w.package("foo").evidence.len() <= 12, "{:#?}", w.package("foo").evidence);
    w.untag("f99", "foo-2-1");
    assert_eq!(w.is("foo"), PackageState::Failing);
    w.sound();
}

/// Newer sources come and leave, each with many rebuilds, while the old one stays tagged. The
/// results of the newer ones say nothing about it.
#[test]
fn what_a_tagged_source_did_is_known_when_many_newer_ones_left() {
    let mut w = failing();
    for n in 2..8 {
        let source = format!("foo-{n}-1");
        w.real("f99", &source);
        w.repo(n, &[ok(&source, OLD)]);
        for task in 1..8 {
            w.rebuild(n * 10 + task, &source, "CLOSED", n);
        }
    }
    assert_eq!(w.is("foo"), PackageState::Ok);
    (2..8).for_each(|n| w.untag("f99", &format!("foo-{n}-1")));
    assert_eq!(w.is("foo"), PackageState::Failing);
    assert_eq!(w.package("foo").base().unwrap().repo.unwrap().0, 1);
    w.sound();
}

/// A draft is promoted: before, while, or after its rebuild runs. Or no message says so, and it is
/// only tagged elsewhere by its new name.
#[rstest]
fn a_rename_takes_along_what_was_found_out(
    #[values(0, 1, 2)] when: u8,
    #[values(true, false)] told: bool,
    #[values("foo-1-1,draft_7", "foo-1-1")] task_says: &str,
) {
    let draft = "foo-1-1,draft_7";
    let mut w = f(Policy::default());
    w.real("f99", draft);
    w.repo(1, &[ok(draft, OLD)]);
    let rename = |w: &mut World| match told {
        true => w.promoted(draft, "foo-1-1"),
        false => {
            w.called(draft, "foo-1-1");
            w.tag("f99-candidate", "foo-1-1");
        }
    };
    for moment in 0..3 {
        if moment == when {
            rename(&mut w);
        }
        match moment {
            0 => w.task(1, task_says, "OPEN", Some(1)),
            1 => w.task_with(1, task_says, "FAILED", json!({"repo": 1, "children": [["buildArch", "x86_64", 5]]})),
            _ => {}
        }
    }
    w.tag("f98", draft);
    let p = w.package("foo");
    assert_eq!(p.latest.as_ref().unwrap().source, "1-1", "late word of its draft days changes nothing");
    assert_eq!(w.is("foo"), PackageState::Failing);
    assert!(p.evidence.iter().all(|e| e.source == "1-1"), "{:#?}", p.evidence);
    assert_eq!((p.base().unwrap().repo.unwrap().0, p.base().unwrap().assumed), (1, false));
    // The next repository has it by its new name. The changes since are seen.
    w.repo(2, &[ok("foo-1-1", "zlib-0:9-9.x86_64/1")]);
    assert!(!w.changes("foo").is_empty(), "measured from repository 1, in which it had its old name");
    // If the source is gone, so is its rebuild.
    w.untag("f99", "foo-1-1");
    assert!(w.package("foo").evidence.iter().all(|e| e.withdrawn));
    w.sound();
}

/// No draft at all: somebody renamed the build in the hub's tables.
#[rstest]
fn any_name_may_change(#[values("tag", "untag", "build")] told: &str) {
    let mut w = failing();
    w.tag("f98", "foo-1-1");
    w.called("foo-1-1", "foo-1-2");
    match told {
        "tag" => w.tag("f99-candidate", "foo-1-2"),
        "untag" => w.untag("f98", "foo-1-2"),
        _ => w.built("foo-1-2"),
    }
    assert_eq!(
        (w.package("foo").latest.as_ref().unwrap().source.as_str(), w.is("foo")),
        ("1-2", PackageState::Failing)
    );
    w.repo(2, &[ok("foo-1-2", OLD)]);
    assert_eq!(w.package("foo").base().unwrap().repo.unwrap().0, 1);
    w.rebuild(9, "foo-1-1", "CLOSED", 2);
    assert_eq!(w.is("foo"), PackageState::Ok, "a rebuild of it by its old name is one of it");
    w.sound();
}

/// The source package of a draft is in the draft's directory. Its file name has no draft suffix.
#[test]
fn a_draft_is_rebuilt_from_where_it_lies() {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1,draft_7");
    w.repo(1, &[ok("foo-1-1,draft_7", OLD)]);
    w.points("foo", koschei::event::PriorityKind::Manual, 1000);
    w.pass(story::HOUR);
    let command = w.commands().pop().unwrap();
    assert_eq!(command["source"], "../packages/foo/1/1,draft_7/src/foo-1-1.src.rpm");
}
