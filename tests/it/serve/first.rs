//! The service on a small hub: what it finds there, and what it does.

use koschei::model::PackageState;

use crate::hub::{Hub, NewBuild, NewWorld, V};
use crate::live::Live;

const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// Makes a distribution of a few packages: a build group, a library, and packages that need it.
pub(crate) fn small(hub: &Hub) {
    let app = NewBuild::new("app-1.0-1.fc99").build_requires(&["libfoo-devel", "make"]);
    let builds = [
        NewBuild::new("bash-5.2-1.fc99").binary("bash", &ARCHES, &[]),
        NewBuild::new("make-4.4-1.fc99").binary("make", &ARCHES, &["bash"]),
        libfoo("1.0"),
        app.binary("app", &ARCHES, &["libfoo.so.1"]),
        NewBuild::new("lone-1.0-1.fc99").build_requires(&["nobody-has-this"]).binary("lone", &ARCHES, &[]),
    ];
    NewWorld::on(hub).release("f99", "x86_64 aarch64", &["bash", "make"]).builds("f99", builds).ready(["f99-build"]);
}

/// Its library.
pub(crate) fn libfoo(version: &str) -> NewBuild {
    NewBuild::new(&format!("libfoo-{version}-1.fc99"))
        .build_requires(&["make"])
        .binary_with("libfoo", &ARCHES, &["libfoo.so.1"], &[])
        .binary("libfoo-devel", &ARCHES, &["libfoo"])
}

/// Checks whether every buildable package was rebuilt, and nothing is left to do.
pub(crate) fn rests(s: &koschei::fold::State) -> bool {
    let ok = |p: &str| s.package("f99", p).is_some_and(|p| p.state(true) == PackageState::Ok);
    ["bash", "make", "libfoo", "app"].into_iter().all(ok) && s.running() == 0 && s.rebuilds.is_empty()
}

pub(crate) const COLLECTION: &str = r#"
[[collection]]
name = "f99"
target = "f99"
track_all = true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn finds_what_is_there_and_rebuilds_it() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    live.start();
    let _builders = live.hub.start_builders(std::time::Duration::from_millis(20));
    let state = live
        .wait("everything is rebuilt", |s| {
            let of = |name: &str| Some(s.package("f99", name)?.state(true));
            ["bash", "make", "libfoo", "app"].iter().all(|p| of(p) == Some(PackageState::Ok))
                && of("lone") == Some(PackageState::Unresolved)
        })
        .await;
    assert_eq!(state.collections["f99"].packages.len(), 5);
    let dump = live.hub.dump();
    assert_eq!(dump.tasks.len(), 4, "one task for each that can be built: {:?}", dump.tasks);
    assert!(dump.tasks.iter().all(|t| t.scratch && t.owner == "koschei" && t.repo.is_some()), "{:?}", dump.tasks);
    live.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_configuration_go_along() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!(
        r#"
[build_opts]
fail_fast = true
skip_tag = true
{COLLECTION}
build_opts = {{ keep-srpm = true, fail_fast = false }}
"#
    );
    live.start();
    let _builders = live.hub.start_builders(std::time::Duration::from_millis(20));
    let ok = |s: &koschei::fold::State, name: &str| {
        s.package("f99", name).is_some_and(|p| p.state(true) == PackageState::Ok)
    };
    live.wait("everything is rebuilt", |s| ["bash", "make", "libfoo", "app"].iter().all(|p| ok(s, p))).await;
    let requests: Vec<Vec<V>> =
        live.hub.see(|w| w.tasks.iter().filter(|t| t.method == "build").map(|t| t.request.clone()).collect());
    assert_eq!(requests.len(), 4, "{requests:?}");
    for request in &requests {
        let [_, _, options, ..] = request.as_slice() else { panic!("{request:?}") };
        assert_eq!(options.get("keep-srpm"), Some(&V::Bool(true)), "{options:?}");
        assert_eq!(options.get("fail_fast"), Some(&V::Bool(false)), "its own goes before: {options:?}");
        assert_eq!(options.get("skip_tag"), Some(&V::Bool(true)), "the common one goes along: {options:?}");
        assert_eq!(options.get("scratch"), Some(&V::Bool(true)), "{options:?}");
        assert!(options.get("repo_id").is_some() && options.get("custom_user_metadata").is_some(), "{options:?}");
    }
    live.stop();
}

/// A transaction takes its event number when it begins. A long one becomes visible after others
/// with higher numbers. The service sees it, because it asks again from before them.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_late_is_seen() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    live.start();
    let late = NewBuild::new("make-4.5-1.fc99").binary("make", &ARCHES, &["bash"]);
    live.hub.change(|tx| tx.import_build(&late));
    // The transaction begins here, and others begin and commit after it.
    let began = live.hub.change(|tx| Ok(tx.event()));
    let other = NewBuild::new("bash-5.3-1.fc99").binary("bash", &ARCHES, &[]);
    live.hub.change(|tx| tx.import_into("f99", &other));
    let newest = |s: &koschei::fold::State, name: &str| {
        s.package("f99", name).and_then(|p| p.latest.as_ref().map(|l| l.source.to_string()))
    };
    live.wait("the others are seen", |s| newest(s, "bash").as_deref() == Some("5.3-1.fc99")).await;
    live.hub.change(|tx| {
        tx.tag_build("f99", &late.nvr(), false)?;
        let row = tx.w.tag_listing.rows().last_mut().expect("just put there");
        row.ver.create = began;
        Ok(())
    });
    live.wait("it is seen", |s| newest(s, "make").as_deref() == Some("4.5-1.fc99")).await;
    live.stop();
}
