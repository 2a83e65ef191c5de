//! The end of a failed build's log is read from the hub, and its telling line is kept.

use koschei::fold::State;
use rstest::rstest;
use serde_json::Value;

use crate::hub::{Hub, NewBuild, NewWorld, Outcome, Settings};
use crate::live::{Live, REBUILD_ALL};
use crate::recorded::koschei;

const ARCHES: [&str; 1] = ["x86_64"];
const LINE: &str = "app.c:7:10: fatal error: foo/old.h: No such file or directory";

fn failing(log: &str) -> Outcome {
    let end = "make: *** [Makefile:9: app.o] Error 1\n\nRPM build errors:\n    Bad exit status from \
               /var/tmp/rpm-tmp.x8 (%build)\nChild return code was: 1\n";
    Outcome::FailSaying(format!("{log}{LINE}\n{end}"))
}

fn seed(hub: &Hub) {
    let app = |name: &str| {
        let app = NewBuild::new(&format!("{name}-1.0-1.fc99")).build_requires(&["libfoo"]);
        app.binary(name, &ARCHES, &["libfoo"])
    };
    NewWorld::on(hub)
        .release("f99", "x86_64", &["bash"])
        .builds("f99", [NewBuild::new("bash-5.2-1.fc99").binary("bash", &ARCHES, &[])])
        .builds("f99", ["long", "short"].map(app))
        .ready([]);
    // The hub cannot read the last 64 KiB of a shorter file.
    hub.rule("short", None, failing("gcc -c app.c\n"));
    hub.rule("long", None, failing(&"checking for something that is not it... no error: none\n".repeat(5_000)));
}

fn line<'a>(state: &'a State, package: &str) -> Option<&'a str> {
    let builds = &state.collections["f99"].history.builds;
    builds.iter().rfind(|b| b.package == package && !b.passed)?.line.as_deref()
}

#[rstest]
#[case::given(true)]
#[case::refused(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_telling_line_of_a_log_is_kept(#[case] given: bool) {
    let mut live = Live::new();
    live.tables = REBUILD_ALL.to_owned();
    seed(&live.hub);
    if !given {
        let fault = ("downloadTaskOutput".to_owned(), 1000, "no file \"build.log\"".to_owned());
        live.hub.settings(|s: &mut Settings| s.element_fault = Some(fault));
    }
    let library = NewBuild::new("libfoo-2.0-1.fc99").binary("libfoo", &ARCHES, &[]);
    NewWorld::on(&live.hub).builds("f99", [library]).ready(["f99-build"]);
    live.start();
    live.wait("all are submitted", |s| s.rebuilds.values().filter(|r| r.task.is_some()).count() == 4).await;
    live.hub.work_all();
    let compared = |s: &State| s.collections["f99"].history.builds.iter().filter(|b| !b.passed).count() == 2;
    let state = live.wait("both were compared", compared).await;
    let expected = given.then_some(LINE);
    assert_eq!((line(&state, "short"), line(&state, "long")), (expected, expected));
    let out = koschei(&["suspects", "long", "--json", "--db", &live.db]);
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said[0]["line"].as_str(), expected, "{said}");
    live.stop();
}
