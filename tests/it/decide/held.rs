//! A package that an operator holds until a time: when it is rebuilt, and where that is shown.

use koschei::decide::Policy;
use koschei::event::{PackageHoldSet, PriorityKind};
use koschei::log::EventLog;
use koschei::model::Timestamp;
use koschei::operator;

use crate::cli::words::{koschei, open};
use crate::decide::cases::f;
use crate::story::{HOUR, World, ok};
use crate::web_site::Pages;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

fn hold(w: &mut World, until: Option<Timestamp>) {
    let (collection, package) = ("f99".into(), "foo".into());
    w.operator(PackageHoldSet { collection, package, until, reason: "a bootstrap".to_owned(), by: None });
}

/// It has points enough, and waits for its time: not a second less, and not a second more.
#[test]
fn it_waits_for_its_time_and_then_as_before() {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", "A-0:1-1.x86_64/1")]);
    let until = w.now().plus_secs(3 * HOUR);
    hold(&mut w, Some(until));
    w.points("foo", PriorityKind::Static, 1_000);
    assert_eq!(w.held("foo"), ["held_by_operator"]);
    let words = format!("held by an operator until {until}: a bootstrap");
    assert_eq!(w.why("foo").deciding[0].to_string(), words);
    w.pass(3 * HOUR - 1);
    assert_eq!((w.requested().as_slice(), w.held("foo")), ([].as_slice(), vec!["held_by_operator"]));
    w.pass(1);
    assert_eq!(w.held("foo"), [""; 0]);
    // The next tick decides as before.
    w.pass(HOUR);
    assert_eq!(w.requested(), ["foo"]);
    w.sound();
    w.audited();
}

/// One that is lifted holds no longer, another time replaces the first, and what was decided before goes on.
#[test]
fn it_is_lifted_and_replaced() {
    let mut w = f(Policy::default());
    w.submits();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", "A-0:1-1.x86_64/1")]);
    let (soon, late) = (w.now().plus_secs(HOUR), w.now().plus_secs(9 * HOUR));
    w.points("foo", PriorityKind::Static, 1_000);
    hold(&mut w, Some(soon));
    hold(&mut w, Some(late));
    w.pass(2 * HOUR);
    assert_eq!(w.held("foo"), ["held_by_operator"]);
    hold(&mut w, None);
    assert_eq!(w.held("foo"), [""; 0]);
    w.pass(HOUR);
    assert_eq!(w.requested(), ["foo"]);
    hold(&mut w, Some(late));
    assert_eq!(w.held("foo"), ["rebuild_open", "held_by_operator"]);
    assert_eq!(w.state().rebuilds.len(), 1, "what was decided before goes on");
    w.sound();
    w.audited();
}

#[test]
fn a_time_that_has_passed_is_refused() {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1");
    let hold = |until| {
        let (collection, package) = ("f99".into(), "foo".into());
        PackageHoldSet { collection, package, until: Some(until), reason: String::new(), by: None }.into()
    };
    let now = w.state().recorded_at;
    let refused = operator::check(w.state(), &hold(now)).unwrap_err();
    assert_eq!(refused, format!("it would be held until {now}, and it is {now} already"));
    assert_eq!(operator::check(w.state(), &hold(Timestamp(now.0 + 1))), Ok(()));
}

/// Said on the command line, taken with the next messages, and shown wherever the package is.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_by_why_history_and_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let text = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let lines = |n: usize| text.lines().take(n).map(|l| format!("{l}\n")).collect::<String>();
    let db = path("a.db");
    let run = |args: &[&str]| {
        let out = koschei(args).args(["--db", &db]).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    std::fs::write(path("some.jsonl"), lines(580)).unwrap();
    std::fs::write(path("all.jsonl"), lines(593)).unwrap();
    run(&["ingest", "--from", &path("some.jsonl"), "--archive", DATA]);
    let word = ["admin", "hold", "-c", "f99-build", "--until", "2099-02-01 08:00", "--reason", "bootstrap", "curl"];
    run(&[word.as_slice(), &["--no-wait", "--by", "alice"]].concat());
    run(&["ingest", "--from", &path("all.jsonl"), "--archive", DATA]);
    let words = "held by an operator until 2099-02-01T08:00:00Z: bootstrap";
    for args in [["why", "curl"].as_slice(), &["history", "--kind", "package_hold_set"]] {
        let said = run(args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&run(&["why", "curl", "--collection", "f99-build", "--json"])).unwrap();
    let holds = json["why"]["deciding"].as_array().unwrap();
    let hold = serde_json::json!({
        "reason": "held_by_operator", "until": 4073616000000000_i64, "because": "bootstrap"
    });
    assert!(holds.contains(&hold), "{json}");
    run(&["log", "audit"]);
    let log = open(&db).await;
    let pages = Pages::over(&log).await;
    let page = pages.page("/package/curl").await;
    assert_eq!(page.matches(words).count(), 2, "as what decides, and as what happened: {page}");
    pages.stop().await;
    log.close().await;
    run(&["admin", "unhold", "-c", "f99-build", "curl", "--no-wait"]);
    run(&["ingest", "--from", &path("all.jsonl"), "--archive", DATA]);
    let json: serde_json::Value =
        serde_json::from_str(&run(&["why", "curl", "--collection", "f99-build", "--json"])).unwrap();
    assert!(!json["why"]["deciding"].as_array().unwrap().contains(&hold), "{json}");
    assert!(run(&["history", "--kind", "package_hold_set"]).contains("curl no longer held"));
}
