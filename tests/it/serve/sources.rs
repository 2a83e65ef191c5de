//! The service on a hub whose build tags have other builds than its collections: each collection's
//! own sources are resolved.

use koschei::fold::State;

use crate::hub::{Hub, NewBuild, NewWorld, Settings};
use crate::live::PATIENCE;
use crate::serve::inside::Inside;

const ARCHES: [&str; 1] = ["x86_64"];

const CONFIG: &str = r#"
[policy]
passive = true
load_threshold = 1000

[[collection]]
name = "f99"
target = "f99"
track_all = true

[[collection]]
name = "beside"
target = "beside"
track_all = true
"#;

fn build(nvr: &str, requires: &[&str]) -> NewBuild {
    let name = nvr.split('-').next().unwrap();
    NewBuild::new(nvr).build_requires(requires).binary(name, &ARCHES, &[])
}

/// `f99` inherits from `base`, and its build tag from `f99`. The build tag has nothing of `beside`.
fn tags(hub: &Hub) {
    NewWorld::on(hub)
        .release("f99", "x86_64", &["bash"])
        .tag("base", "")
        .tag("beside", "")
        .inherits("f99", &["base"])
        .target("beside", "f99-build", "beside")
        .builds("base", [build("bash-5-1", &[])])
        .ready([]);
}

/// Returns the source that was resolved, whether it resolves, and what the buildroot has instead.
fn resolved(state: &State, collection: &str, package: &str) -> Option<(String, Option<bool>, Option<String>)> {
    let [v] = &state.package(collection, package)?.verdicts[..] else { return None };
    Some((v.source.to_string(), v.ok, v.buildroot_has.as_ref().map(ToString::to_string)))
}

fn said(source: &str, ok: bool, has: Option<&str>) -> Option<(String, Option<bool>, Option<String>)> {
    Some((source.to_owned(), Some(ok), has.map(str::to_owned)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_collections_own_sources_are_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    tags(&hub);
    let overrides = ["own-2-1", "inherited-2-1"].map(|nvr| build(nvr, &["nobody-has-this"]));
    NewWorld::on(&hub)
        .builds("f99", [build("own-1-1", &["bash"])])
        .builds("base", [build("inherited-1-1", &["bash"])])
        .builds("beside", [build("alone-1-1", &["bash"])])
        .builds("f99-build", overrides)
        .ready(["f99-build"]);
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    let state = inside.reconciled().await.unwrap();
    assert_eq!(resolved(state, "f99", "own"), said("1-1", true, Some("2-1")));
    assert_eq!(resolved(state, "f99", "inherited"), said("1-1", true, Some("2-1")));
    assert_eq!(resolved(state, "beside", "alone"), said("1-1", true, None));
    assert_eq!(resolved(state, "beside", "own"), said("2-1", false, None), "of which it has none of its own");

    // The override ends, and the collection gets a newer source. Both happen before the repository
    // is made.
    hub.change(|tx| tx.untag_build("f99-build", "own-2-1"));
    hub.change(|tx| tx.import_into("f99", &build("own-3-1", &["nobody-has-this"])));
    hub.change(|tx| tx.new_repo("f99-build"));
    // This source comes after the repository, so it waits for the next one.
    hub.change(|tx| tx.import_into("f99", &build("own-4-1", &["bash"])));
    hub.take_messages();
    let state = inside.reconciled().await.unwrap();
    assert_eq!(resolved(state, "f99", "own"), said("3-1", false, None));
    assert_eq!(state.package("f99", "own").unwrap().latest.as_ref().unwrap().source, "4-1");
    inside.stop().await;
}

/// Koji sends no message about the promotion of a draft, and no event of its tags shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_draft_is_seen_in_the_next_repository() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    tags(&hub);
    let draft = "own-1-1,draft_7";
    NewWorld::on(&hub).builds("f99", [build(draft, &["bash"])]).ready(["f99-build"]);
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    let state = inside.reconciled().await.unwrap();
    assert_eq!(resolved(state, "f99", "own"), said("1-1,draft_7", true, None));

    hub.change(|tx| tx.promote_build(draft));
    hub.change(|tx| tx.new_repo("f99-build"));
    hub.take_messages();
    // Only the build's name differs until the repository is here.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(left) = inside.reconciled().await {
        let of_it = left.iter().all(|l| l.contains(" build ") || l.contains(" repo "));
        assert!(of_it && tokio::time::Instant::now() < deadline, "{left:#?}");
    }
    let state = inside.state().await;
    let own = state.package("f99", "own").unwrap();
    assert_eq!(own.latest.as_ref().unwrap().source, "1-1");
    assert_eq!(resolved(state, "f99", "own"), said("1-1", true, None));
    assert_eq!(own.evidence.len(), 1, "{:#?}", own.evidence);
    inside.stop().await;
}

/// A source package's conflicts are read from its header. If no header can be read, the hub returns
/// them. Nothing else explains why this package does not resolve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_of_a_source_package_are_heeded() {
    let off = "build_conflicts = false\n";
    let cases = [
        ("", true, false),
        ("", false, false),
        (off, true, true),
        (off, false, true),
        ("resolve_mode = \"joint\"\n", true, true),
    ];
    for (setting, readable, ok) in cases {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start(Settings::new(dir.path().join("koji")));
        tags(&hub);
        hub.change(|tx| tx.import_into("f99", &build("tool-1-1", &["bash"])));
        let own = build("own-1-1", &["tool"]).build_conflicts(&["tool"]);
        hub.change(|tx| tx.import_into("f99", &own));
        if !readable {
            let place = dir.path().join("koji/packages/own/1/1/src");
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("own-1-1.src.rpm"), "no package").unwrap();
        }
        hub.change(|tx| tx.new_repo("f99-build"));
        hub.take_messages();
        let mut inside = Inside::new(hub.clone(), dir.path(), &format!("{setting}{CONFIG}")).await;
        inside.start();
        let state = inside.reconciled().await.unwrap();
        assert_eq!(resolved(state, "f99", "own"), said("1-1", ok, None), "{setting:?} {readable}");
        inside.stop().await;
    }
}

/// A cache that was filled before BuildConflicts counted does not have them. They are read once
/// more, and kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_are_heeded_with_a_cache_that_does_not_know_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    tags(&hub);
    hub.change(|tx| tx.import_into("f99", &build("tool-1-1", &["bash"])));
    hub.change(|tx| tx.import_into("f99", &build("own-1-1", &["tool"]).build_conflicts(&["tool"])));
    hub.change(|tx| tx.new_repo("f99-build"));
    hub.take_messages();
    let cache = dir.path().join("cache");
    std::fs::create_dir_all(&cache).unwrap();
    let old =
        r#"{"nvr":"own-1-1","epoch":null,"requires":["tool"],"buildarchs":[],"exclusivearch":[],"excludearch":[]}"#;
    std::fs::write(cache.join("buildrequires.jsonl"), format!("{old}\n")).unwrap();
    let mut inside = Inside::new(hub.clone(), dir.path(), CONFIG).await;
    inside.start();
    let state = inside.reconciled().await.unwrap();
    assert_eq!(resolved(state, "f99", "own"), said("1-1", false, None));
    inside.stop().await;
    let lines = std::fs::read_to_string(cache.join("buildrequires.jsonl")).unwrap();
    let of_own = lines.lines().filter(|l| l.contains("\"own-1-1\"")).collect::<Vec<_>>();
    assert!(of_own.len() == 2 && of_own[1].contains(r#""conflicts":["tool"]"#), "{of_own:#?}");
}
