//! Groups of packages, from the command and from the configuration into the log and out again.

use std::path::PathBuf;
use std::process::Output;

use koschei::event::{Event, GROUP_PACKAGES_MAX, GroupChanged, GroupMade, Record};
use koschei::fold::{Group, State};
use koschei::log::{EventLog, PAGE_MAX, folding};
use koschei::model::{Name, PersonId, Seq, Timestamp};
use koschei::operator::{self, Maintainers, Word};
use serde_json::Value;

use crate::recorded::{copy, koschei, open};

/// A copy of the recording's log, and a process that reads what waits in its inbox.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
    db: PathBuf,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = copy(dir.path());
        std::fs::write(dir.path().join("nothing.jsonl"), "").unwrap();
        Self { dir, db }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn db(&self) -> &str {
        self.db.to_str().unwrap()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn group(&self, args: &[&str]) -> Output {
        koschei(&[&["admin", "group"], args, &["--db", self.db(), "--no-wait"]].concat())
    }

    /// Says a word that must be accepted, and lets it take effect.
    pub(crate) fn ok(&self, args: &[&str]) {
        let out = self.group(args);
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        self.take(&[]);
    }

    /// Runs the process that reads words.
    fn take(&self, more: &[&str]) {
        let args = ["ingest", "--from", &self.path("nothing.jsonl"), "--db", self.db()];
        let out = koschei(&[&args, more].concat());
        assert!(out.status.success(), "{}", said(&out));
    }

    fn configured(&self, text: &str) {
        let config = self.write("koschei.toml", text);
        self.take(&["--config", &config]);
    }

    /// The events of groups, with their payloads.
    async fn events(&self) -> Vec<Record> {
        let log = open(&self.db).await;
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = log.read(after, PAGE_MAX).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.seq);
            all.extend(page.into_iter().filter(|r| r.kind.starts_with("group_")));
        }
        log.close().await;
        all
    }

    async fn state(&self) -> State {
        let log = open(&self.db).await;
        let state = folding::from_start(&log, None, &mut |_| {}).await.unwrap();
        log.close().await;
        state
    }

    async fn head(&self) -> (Option<Seq>, u64) {
        let log = open(&self.db).await;
        let head = (log.head().await.unwrap().seq, log.counts().await.unwrap().inbox_total);
        log.close().await;
        head
    }
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn names(group: &Group) -> Vec<&str> {
    group.packages.iter().map(Name::as_str).collect()
}

#[tokio::test]
async fn a_group_is_made_changed_and_deleted() {
    let desk = Desk::new();
    desk.ok(&[
        "net",
        "--add",
        "curl",
        "zlib",
        "--maintainer",
        "ursula",
        "viktor",
        "--reason",
        "of the net",
        "--by",
        "ursula",
    ]);
    let made = desk.state().await;
    assert_eq!(names(&made.groups["net"]), ["curl", "zlib"]);
    assert_eq!((made.groups["net"].maintainers.len(), made.groups["net"].configured), (2, false));
    desk.ok(&["net", "--add", "curl", "gcc", "--remove", "zlib", "--not-maintainer", "viktor", "--reason", "another"]);
    let changed = desk.state().await;
    assert_eq!(names(&changed.groups["net"]), ["curl", "gcc"]);
    assert_eq!(changed.groups["net"].maintainers.len(), 1);
    // What is so already appends nothing.
    for args in [
        ["net", "--add", "curl", "--reason", "x"].as_slice(),
        &["net", "--set", "gcc", "curl", "curl", "--reason", "x"],
        &["net", "--maintainer", "ursula", "--reason", "x"],
    ] {
        let out = desk.group(args);
        assert!(out.status.success() && said(&out).contains("nothing changes"), "{args:?}: {}", said(&out));
    }
    let list = desk.write("list", "# two\nlibfoo\n\ncurl # and this\n");
    desk.ok(&["net", "--from", &list, "--reason", "a list"]);
    assert_eq!(names(&desk.state().await.groups["net"]), ["curl", "libfoo"]);
    desk.ok(&["net", "--delete", "--reason", "over"]);
    assert!(desk.state().await.groups.is_empty());
    let events = desk.events().await;
    let kinds: Vec<&str> = events.iter().map(|r| r.kind.as_str()).collect();
    assert_eq!(kinds, ["group_made", "group_changed", "group_changed", "group_deleted"]);
    assert!(events.iter().all(|r| r.subject == "group/net" && r.source == "operator"));
    assert!(!events.iter().any(|r| r.payload.contains("ursula") || r.payload.contains("viktor")));
    let Event::GroupChanged(e) = events[1].decode().unwrap().event else { panic!("{:?}", events[1]) };
    assert_eq!((&e.added[..], &e.removed[..]), (&["gcc".into()][..], &["zlib".into()][..]), "only what changed");
}

/// The process that reads words judges them again: the inbox may hold anything.
#[tokio::test]
async fn what_makes_no_sense_changes_nothing() {
    let desk = Desk::new();
    desk.ok(&["net", "--add", "curl", "--maintainer", "ursula", "--reason", "r"]);
    let (before, digest) = (desk.head().await, desk.state().await.digest());
    let long = "x".repeat(101);
    for (args, why) in [
        (["../x", "--add", "curl"].as_slice(), "no name for a group"),
        (&["<b>", "--add", "curl"], "no name for a group"),
        (&["a\nb", "--add", "curl"], "no name for a group"),
        (&["alice/net", "--add", "curl"], "no name for a group"),
        (&[&long, "--add", "curl"], "no name for a group"),
        (&["web", "--add", "a b"], "cannot be a source package"),
        (&["web", "--add", "crul"], "did you mean `curl`?"),
        (&["nett", "--add", "curl"], "did you mean `net`?"),
        (&["nett", "--remove", "curl"], "did you mean `net`?"),
        (&["web", "--maintainer", "ursula"], "A new one needs packages"),
        (&["web", "--delete"], "there is no group `web`"),
        (&["net", "--remove", "zlib"], "`zlib` is not in it"),
        (&["net", "--remove", "curl"], "delete it instead"),
        (&["net", "--add", "zlib", "--remove", "zlib"], "both --add and --remove"),
        (&["net", "--maintainer", "a b"], "cannot be the name of a person"),
        (&["net", "--not-maintainer", "viktor"], "no maintainer of it"),
        (&["net", "--from", "/nonexistent"], "read `/nonexistent`"),
        (&["net"], "no option says what to change"),
    ] {
        let out = desk.group(&[args, &["--reason", "r"]].concat());
        assert_eq!(out.status.code(), Some(3), "{args:?}: {}", said(&out));
        assert!(said(&out).contains(why), "{args:?}: {}", said(&out));
        assert!(!said(&out).trim_end().contains("\nb"), "{args:?}");
    }
    let out = desk.group(&["net", "--add", "zlib", "--reason", " "]);
    assert!(said(&out).contains("say why with --reason"), "{}", said(&out));
    assert_eq!(desk.head().await, before, "nothing was said");

    let made = |group: &str, packages: &[&str]| GroupMade {
        group: group.into(),
        packages: packages.iter().copied().map(Name::from).collect(),
        maintainers: Vec::new(),
        configured: false,
        reason: "r".to_owned(),
        by: None,
    };
    let change = Group::default().change_to(&"net".into(), &["zlib".into()].into(), &[].into());
    let change = GroupChanged { reason: "r".to_owned(), ..change };
    let person = PersonId::new("p-0000000000000001");
    let nobody = Maintainers::default();
    let words: Vec<(Event, Maintainers)> = vec![
        (made("net", &["curl"]).into(), nobody.clone()),
        (made("a/b", &["curl"]).into(), nobody.clone()),
        (made("web", &[]).into(), nobody.clone()),
        (made("web", &["b", "a"]).into(), nobody.clone()),
        (made("web", &["<script>"]).into(), nobody.clone()),
        (GroupMade { configured: true, ..made("web", &["a"]) }.into(), nobody.clone()),
        (GroupMade { reason: "x".repeat(2_001), ..made("web", &["a"]) }.into(), nobody.clone()),
        (GroupMade { maintainers: vec![person.clone()], ..made("web", &["a"]) }.into(), nobody.clone()),
        (made("web", &["a"]).into(), Maintainers { add: vec!["a b".into()], remove: Vec::new() }),
        (GroupChanged { added: vec!["curl".into()], ..change.clone() }.into(), nobody.clone()),
        (GroupChanged { removed: vec!["gcc".into()], ..change.clone() }.into(), nobody.clone()),
        (GroupChanged { group: "web".into(), ..change.clone() }.into(), nobody.clone()),
        (GroupChanged { added: Vec::new(), ..change.clone() }.into(), nobody.clone()),
        (GroupChanged { maintainers_added: vec![person], ..change.clone() }.into(), nobody.clone()),
        // Somebody who is a maintainer already.
        (
            GroupChanged { added: Vec::new(), ..change.clone() }.into(),
            Maintainers { add: vec!["ursula".into()], remove: vec!["viktor".into()] },
        ),
        (Event::from(koschei::event::SubmissionsResumed { collection: None, by: None }), {
            Maintainers { add: vec!["ursula".into()], remove: Vec::new() }
        }),
    ];
    let log = open(&desk.db).await;
    for (event, maintainers) in words.clone() {
        let word = Word { maintainers, ..Word::new(event, None) };
        log.receive(&[operator::message(&word, Timestamp::from_secs(1_795_164_251))]).await.unwrap();
    }
    let parked = log.counts().await.unwrap().inbox_parked;
    log.close().await;
    desk.take(&[]);
    let log = open(&desk.db).await;
    let counts = log.counts().await.unwrap();
    assert_eq!((counts.inbox_parked - parked, counts.inbox_pending), (words.len() as u64, 0));
    log.close().await;
    assert_eq!(desk.head().await.0, before.0, "nothing was appended");
    assert_eq!(desk.state().await.digest(), digest);
}

#[tokio::test]
async fn the_configuration_is_adopted_once() {
    let desk = Desk::new();
    desk.ok(&["own", "--add", "gcc", "--reason", "r"]);
    desk.ok(&["net", "--add", "gcc", "--reason", "r"]);
    desk.write("more.txt", "zlib\n");
    let net = "[[group]]\nname = 'net'\npackages = ['curl']\npackages_file = 'more.txt'\nmaintainers = ['ursula']\n";
    let lib = "[[group]]\nname = 'lib'\npackages = ['libfoo']\n";
    let both = format!("{net}{lib}");
    desk.configured(&both);
    let state = desk.state().await;
    assert_eq!(names(&state.groups["net"]), ["curl", "zlib"]);
    assert_eq!(names(&state.groups["own"]), ["gcc"], "not touched");
    assert!(state.groups["net"].configured && state.groups["lib"].configured && !state.groups["own"].configured);
    let events = desk.events().await;
    let kinds: Vec<&str> = events[2..].iter().map(|r| r.kind.as_str()).collect();
    assert_eq!(kinds, ["group_changed", "group_made"]);
    assert!(events.iter().all(|r| !r.payload.contains("ursula")));
    let head = desk.head().await;
    desk.configured(&both);
    assert_eq!(desk.head().await, head, "the second time appends nothing");
    // A group that left stays.
    desk.configured(net);
    assert_eq!(desk.head().await, head);
    // An operator's change lasts until the next start.
    desk.ok(&["net", "--remove", "zlib", "--reason", "r"]);
    assert!(!desk.state().await.groups["net"].configured);
    desk.configured(net);
    assert_eq!(names(&desk.state().await.groups["net"]), ["curl", "zlib"]);
    let config = desk.path("koschei.toml");
    let shown = koschei(&["check-config", &config]);
    assert!(shown.status.success() && said(&shown).contains("zlib"), "{}", said(&shown));
}

/// An export, a snapshot and `koschei status` know groups.
#[tokio::test]
async fn groups_are_kept() {
    let desk = Desk::new();
    desk.ok(&["net", "--add", "curl", "zlib", "--maintainer", "ursula", "--reason", "r"]);
    let state = desk.state().await;
    let log = open(&desk.db).await;
    let hash = log.head().await.unwrap().hash;
    log.close().await;
    let (again, _) = State::from_bytes(&state.to_bytes(hash)).unwrap();
    assert_eq!((&again.groups, again.digest()), (&state.groups, state.digest()));
    let (export, other) = (desk.path("export.jsonl"), desk.path("other.db"));
    for args in [
        ["log", "export", "--db", desk.db(), "--to", &export].as_slice(),
        &["log", "import", "--from", &export, "--db", &other],
        &["log", "verify", "--db", &other],
    ] {
        let out = koschei(args);
        assert!(out.status.success(), "{args:?}: {}", said(&out));
    }
    let log = open(other.as_ref()).await;
    let imported = folding::from_start(&log, None, &mut |_| {}).await.unwrap();
    log.close().await;
    assert_eq!(imported.digest(), state.digest());
    let out = koschei(&["status", "--db", desk.db(), "--group", "nte"]);
    assert!(said(&out).contains("did you mean `net`?"), "{}", said(&out));
    let out = koschei(&["status", "--db", desk.db(), "--group", "net", "--json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let shown: Vec<&str> =
        report["packages"].as_array().unwrap().iter().map(|p| p["package"].as_str().unwrap()).collect();
    assert!(!shown.is_empty() && shown.iter().all(|name| ["curl", "zlib"].contains(name)), "{shown:?}");
}

#[tokio::test]
async fn a_group_may_have_fifty_thousand_packages() {
    let desk = Desk::new();
    let mut text: String = (0..GROUP_PACKAGES_MAX).map(|i| format!("rust-some-crate-{i:05}\n")).collect();
    let list = desk.write("list", &text);
    let out = desk.group(&["all", "--from", &list, "--reason", "r"]);
    assert!(said(&out).contains("50000 packages are not known in any collection"), "{}", said(&out));
    desk.ok(&["all", "--from", &list, "--reason", "r", "--force"]);
    assert_eq!(desk.state().await.groups["all"].packages.len(), GROUP_PACKAGES_MAX);
    text.push_str("one-more\n");
    let list = desk.write("list", &text);
    let out = desk.group(&["all", "--from", &list, "--reason", "r", "--force"]);
    assert!(said(&out).contains("would have 50001 packages"), "{}", said(&out));
    desk.ok(&["all", "--set", "curl", "--reason", "r"]);
    assert_eq!(names(&desk.state().await.groups["all"]), ["curl"]);
}
