//! `/api/v1`, as programs know it from the original Koschei.

use std::collections::BTreeMap;

use koschei::fold::EvidenceKind;
use koschei::log::folding;
use serde_json::{Value, json};

use crate::web_site::{Pages, ingested};

fn list(answer: &Value) -> &Vec<Value> {
    answer.as_array().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_those_of_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let state = folding::state(&log, None, &mut |_| {}).await.unwrap();
    let pages = Pages::over(&log).await;
    let all = pages.json("/api/v1/packages").await;
    let known: usize = state.collections.values().map(|c| c.packages.len()).sum();
    assert_eq!(list(&all).len(), known, "untracked and blocked ones as well");
    let names: Vec<&str> = list(&all).iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted());
    let (mut built, mut failed) = (0, 0);
    for p in list(&all) {
        let keys: Vec<&String> = p.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["collection", "last_complete_build", "name", "state"]);
        let c = &state.collections[p["collection"].as_str().unwrap()];
        let known = &c.packages[p["name"].as_str().unwrap()];
        assert_eq!(p["state"], known.state(c.settings.track_all).as_str());
        let Some(last) = known.complete().next() else {
            assert_eq!(p["last_complete_build"], Value::Null);
            continue;
        };
        let said = &p["last_complete_build"];
        let source = format!("{}-{}", said["version"].as_str().unwrap(), said["release"].as_str().unwrap());
        assert_eq!(source, last.source.as_str());
        built += 1;
        if let EvidenceKind::Scratch(task) = last.kind {
            let task = &state.hubs[&c.settings.hub].tasks[&task];
            assert_eq!(format!("{}Z", said["time_started"].as_str().unwrap()), task.created_at.to_string());
            assert_eq!(format!("{}Z", said["time_finished"].as_str().unwrap()), task.finished_at.unwrap().to_string());
            failed += usize::from(p["state"] == "failing");
        }
    }
    assert!(built > 5 && failed > 0, "{built} built, {failed} failed");
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_mean_what_they_meant() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let asked = async |query: &str| {
        let all = pages.json(&format!("/api/v1/packages{query}")).await;
        let pair = |p: &Value| (p["name"].as_str().unwrap().to_owned(), p["collection"].as_str().unwrap().to_owned());
        list(&all).iter().map(pair).collect::<Vec<_>>()
    };
    let of = |name: &str, collection: &str| (name.to_owned(), collection.to_owned());
    let (main, side) = ("f99-build", "f99-build-side-7");
    assert_eq!(asked("?name=gcc&collection=f99-build").await, [of("gcc", main)]);
    assert_eq!(asked("?name=gcc").await, [of("gcc", main), of("gcc", side)]);
    let both = "?name=make&name=gcc&name=nope&collection=f99-build-side-7&collection=nope&untracked=1&order_by=x";
    assert_eq!(asked(both).await, [of("gcc", side), of("make", side)], "what is not known later is ignored");
    assert_eq!(asked("?name=gc").await, [], "names are whole");
    assert_eq!(asked("?collection=f99-build,f99-build-side-7").await, [], "a list is taken, and fits nothing");
    for unknown in ["?collection=nope", "?collection=nope&collection=f99-build", "?collection=f99-build,nope"] {
        let answer = pages.get(&format!("/api/v1/packages{unknown}")).await;
        assert!(answer.status == 404 && answer.body.contains("there is no collection `nope`"), "{}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    // The answer stays the same until the log does.
    let answer = pages.get("/api/v1/packages?name=gcc").await;
    let again = pages.ask("/api/v1/packages?name=gcc", &format!("If-None-Match: {}\r\n", answer.headers["etag"])).await;
    assert_eq!(again.status, 304);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_differ_where_their_packages_do() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let (one, other) = ("f99-build", "f99-build-side-7");
    let all = pages.json("/api/v1/packages").await;
    let mut states: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for p in list(&all) {
        let [name, collection, state] = ["name", "collection", "state"].map(|key| p[key].as_str().unwrap());
        if [one, other].contains(&collection) {
            states.entry(name).or_default().insert(collection, state);
        }
    }
    let differ = |(_, by): &(&&str, &BTreeMap<&str, &str>)| by.len() == 2 && by[one] != by[other];
    let expected: Vec<Value> =
        states.iter().filter(differ).map(|(name, by)| json!({ "name": name, "state": by })).collect();
    assert!(!expected.is_empty());
    for path in [format!("{one}/{other}"), format!("{other}/{one}")] {
        assert_eq!(list(&pages.json(&format!("/api/v1/collections/diff/{path}")).await), &expected);
    }
    assert_eq!(pages.json(&format!("/api/v1/collections/diff/{one}/{one}")).await, json!([]));
    for path in ["nope/f99-build", "f99-build/nope"] {
        assert_eq!(pages.get(&format!("/api/v1/collections/diff/{path}")).await.status, 404);
    }
    pages.stop().await;
}
