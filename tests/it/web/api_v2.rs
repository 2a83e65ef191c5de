//! `/api/v2`: answers as described, lists page by page, earlier moments, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use koschei::event::{Event, GroupMade, Record, Tick, cloudevents};
use koschei::log::{AnyLog, EventLog};
use koschei::model::{PersonId, Seq};
use serde_json::{Value, json};

use crate::web_site::{Answer, Pages, append, ingested};

/// Addresses with an answer, in the log of the recording.
const ASKED: &[&str] = &[
    "/api/v2/packages?limit=1000&state=failing,unresolved,ok,unknown,untracked,blocked",
    "/api/v2/packages?collection=f99-build&q=lib*&order=-priority",
    "/api/v2/packages/gcc",
    "/api/v2/collections/f99-build/packages/appbar",
    "/api/v2/changes",
    "/api/v2/collections",
    "/api/v2/collections/f99-build",
    "/api/v2/collections/f99-build/repositories",
    "/api/v2/collections/f99-build/compared-with/f99-build-side-7",
    "/api/v2/groups",
    "/api/v2/groups/net",
    "/api/v2/packages?group=net",
    "/api/v2/causes",
    "/api/v2/rebuilds/running",
    "/api/v2/rebuilds/queue",
];
/// Addresses that do not depend on a moment.
const ASKED_OF_LOG: &[&str] = &[
    "/api/v2/events?limit=1000",
    "/api/v2/events?kind=package_state_changed,tick&limit=7",
    "/api/v2/events/1",
    "/api/v2/collections/f99-build/packages/appbar/events",
    "/api/v2/collections/f99-build/events?limit=3",
    "/api/v2/status",
];

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn items(answer: &Value) -> &Vec<Value> {
    answer["items"].as_array().unwrap()
}

/// Returns the operation of an address: the one with the most parts that are written there.
fn operation<'a>(document: &'a Value, address: &str) -> (&'a str, &'a Value) {
    let parts: Vec<&str> = address.split('?').next().unwrap().split('/').collect();
    let fits = |template: &str| {
        let of: Vec<&str> = template.split('/').collect();
        let same = of.len() == parts.len() && of.iter().zip(&parts).all(|(t, p)| t.starts_with('{') || t == p);
        same.then(|| of.iter().filter(|t| !t.starts_with('{')).count())
    };
    let paths = document["paths"].as_object().unwrap();
    let found = paths.iter().filter_map(|(template, of)| Some((fits(template)?, template, of)));
    let (_, template, of) = found.max_by_key(|(written, ..)| *written).unwrap_or_else(|| panic!("{address}"));
    (template, &of["get"])
}

/// Checks an answer against the description.
fn conforms(document: &Value, address: &str, answer: &Answer) {
    let (_, operation) = operation(document, address);
    let mut response = &operation["responses"][answer.status.to_string()];
    if let Some(named) = response["$ref"].as_str() {
        response = document.pointer(named.trim_start_matches('#')).unwrap();
    }
    let kind = answer.headers["content-type"].as_str();
    let schema = &response["content"][kind]["schema"];
    assert!(schema.is_object(), "{address}: {} {kind} is not described", answer.status);
    let whole = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema],
        "components": document["components"] });
    let validator = jsonschema::validator_for(&whole).unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let faults: Vec<String> =
        validator.iter_errors(&body).take(3).map(|e| format!("{} at {}", e, e.instance_path())).collect();
    assert!(faults.is_empty(), "{address}: {}", faults.join("\n").chars().take(800).collect::<String>());
}

/// A group of packages.
fn net() -> Event {
    let packages = vec!["appbar".into(), "not-known".into()];
    let (maintainers, reason) = (vec![PersonId::new("p-0000000000000001")], "r".to_owned());
    GroupMade { group: "net".into(), packages, maintainers, configured: false, reason, by: None }.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    append(&log, vec![net()]).await;
    let pages = Pages::over(&log).await;
    let document = document();
    let mut asked = BTreeSet::new();
    let then = ["/api/v2/causes/18cb3e88a7", "/api/v2/updates/libfoo-2.0-1.fc99"]
        .map(|address| format!("{address}?as_of=2026-11-20T08:45:00Z"));
    for address in ASKED.iter().chain(ASKED_OF_LOG).map(|a| (*a).to_owned()).chain(then) {
        let answer = pages.get(&address).await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.body);
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        conforms(&document, &address, &answer);
        asked.insert(operation(&document, &address).0.to_owned());
    }
    // The stream and the description have tests of their own.
    asked.extend(["/api/v2/events/stream", "/api/v2/openapi.json"].map(str::to_owned));
    let all: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(asked, all);
    assert_eq!(pages.json("/api/v2/openapi.json").await, document);
    pages.stop().await;
}

/// The check of answers finds what it must find.
#[tokio::test(flavor = "multi_thread")]
async fn another_description_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let address = "/api/v2/collections/f99-build/packages/appbar";
    let answer = pages.get(address).await;
    let mut document = document();
    document["components"]["schemas"]["PackageDetail"]["properties"]["threshold"] = json!({ "type": "string" });
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| conforms(&document, address, &answer)));
    assert!(noticed.is_err());
    pages.stop().await;
}

/// Every list has every item once, however it is cut into pages.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_lists_join_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let orders = ["name", "state", "priority", "built", "running"];
    let orders = orders.iter().flat_map(|word| [(*word).to_owned(), format!("-{word}")]);
    let lists = orders.map(|order| format!("/api/v2/packages?order={order}")).chain([
        "/api/v2/packages?state=untracked,ok&q=a".to_owned(),
        "/api/v2/collections/f99-build/repositories?".to_owned(),
        "/api/v2/collections/f99-build/compared-with/f99-build-side-7?".to_owned(),
        "/api/v2/rebuilds/queue?".to_owned(),
        "/api/v2/causes?as_of=2026-11-20T08:45:00Z".to_owned(),
        "/api/v2/events?kind=package_state_changed".to_owned(),
        "/api/v2/collections/f99-build/packages/appbar/events?".to_owned(),
    ]);
    for list in lists {
        let whole = pages.json(&format!("{list}&limit=1000")).await;
        assert!(!items(&whole).is_empty() || list.contains("queue"), "{list}");
        for limit in [1, 7] {
            let (mut joined, mut cursor, mut asked) = (Vec::new(), String::new(), 0);
            loop {
                let page = pages.json(&format!("{list}&limit={limit}{cursor}")).await;
                assert!(items(&page).len() <= limit, "{list}");
                assert_eq!(page["matching"], whole["matching"], "{list}");
                joined.extend(items(&page).iter().cloned());
                asked += 1;
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
                assert!(asked < 5_000, "{list} has no end");
            }
            assert_eq!(joined, *items(&whole), "{list} by {limit}");
        }
        if let Some(matching) = whole["matching"].as_u64().filter(|_| whole["next"].is_null()) {
            assert_eq!(matching, items(&whole).len() as u64, "{list}");
        }
    }
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_those_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let then = "as_of=2026-11-20T08:45:00Z&limit=1000";
    let all = pages.json(&format!("/api/v2/packages?{then}")).await;
    let of =
        |of: &Value, fits: &dyn Fn(&Value) -> bool| items(of).iter().filter(|p| fits(p)).cloned().collect::<Vec<_>>();
    let asked = async |query: &str| pages.json(&format!("/api/v2/packages?{then}&{query}")).await["items"].take();
    let unresolved = of(&all, &|p| p["state"] == "unresolved");
    assert!(!unresolved.is_empty() && unresolved.len() < items(&all).len());
    assert_eq!(asked("state=unresolved").await, json!(unresolved));
    let lib = of(&all, &|p| p["collection"] == "f99-build" && p["package"].as_str().unwrap().starts_with("lib"));
    assert!(!lib.is_empty());
    assert_eq!(asked("collection=f99-build&q=lib*").await, json!(lib));
    let broken = of(&all, &|p| p["broken_by"].as_array().unwrap().iter().any(|b| b["cause"] == "18cb3e88a7"));
    assert!(!broken.is_empty());
    assert_eq!(asked("cause=18cb3e88a7").await, json!(broken));
    assert_eq!(asked("unresolved_on=x86_64").await, json!(unresolved), "the recording has one architecture");
    assert_eq!(asked("unresolved_on=s390x").await, json!([]));
    // One package in full says the same as the list.
    let name = broken[0]["package"].as_str().unwrap();
    let collection = broken[0]["collection"].as_str().unwrap();
    let one = pages.json(&format!("/api/v2/collections/{collection}/packages/{name}?as_of=2026-11-20T08:45:00Z")).await;
    assert_eq!(
        (&one["state"], &one["cause"]["id"], &one["chosen"]),
        (&json!("unresolved"), &json!("18cb3e88a7"), &json!(false))
    );
    assert!(one["held_by"].as_array().unwrap().iter().any(|r| r["reason"] == "unresolved"), "{}", one["held_by"]);
    pages.stop().await;
}

/// An answer about an earlier moment is the one that was given then.
#[tokio::test(flavor = "multi_thread")]
async fn earlier_moments_are_what_was_known_then() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let head = log.head().await.unwrap().seq.unwrap().get();
    let mut differ = 0;
    for seq in [head / 3, head / 2, head - 1] {
        let then = Pages::up_to(&log, Seq::new(seq)).await;
        for address in ASKED {
            let mark = if address.contains('?') { '&' } else { '?' };
            let asked = pages.get(&format!("{address}{mark}as_of={seq}")).await;
            let answered = then.get(address).await;
            assert_eq!((asked.status, &asked.body), (answered.status, &answered.body), "{address} as of {seq}");
            if asked.status == 200 {
                let moment: Value = serde_json::from_str(&asked.body).unwrap();
                assert_eq!(moment["as_of"]["seq"], seq, "{address}");
                differ += usize::from(asked.headers["etag"] != pages.get(address).await.headers["etag"]);
            }
        }
        then.stop().await;
    }
    assert!(differ > 5, "{differ} answers differ from the present ones");
    // Times, days and spans are moments, too. Before the first event, nothing is known.
    let at = async |as_of: &str| pages.json(&format!("/api/v2/collections?as_of={as_of}")).await["as_of"]["seq"].take();
    let time = log.read(Seq::new(head / 2 - 1), 1).await.unwrap()[0].recorded_at;
    let expected = log.seq_at(time).await.unwrap().unwrap().get();
    assert_eq!(at(&time.to_string().replace(':', "%3A")).await, expected);
    assert_eq!(at("2026-11-30").await, head, "the day after the end");
    assert!(at("1%20hour%20ago").await.as_u64().unwrap() < head);
    assert_eq!(at("now").await, head);
    assert_eq!(at("0").await, 0);
    assert_eq!(items(&pages.json("/api/v2/collections?as_of=0").await).len(), 0);
    pages.stop().await;
}

/// An answer has the same tag until it says something else, whatever else happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_names_an_answer_and_not_its_moment() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let address = "/api/v2/collections";
    let answer = pages.get(address).await;
    let same = format!("If-None-Match: \"other\", {}\r\n", answer.headers["etag"]);
    let last = log.read(None, 10_000).await.unwrap().last().unwrap().recorded_at;
    let end = append(&log, vec![Tick { now: last }.into()]).await;
    pages.follower.when(|s| s.seq == Some(end)).await;
    let again = pages.ask(address, &same).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.headers["etag"], answer.headers["etag"]);
    assert_eq!(pages.ask("/api/v2/packages", &same).await.status, 200, "another answer");
    let answer: Value = serde_json::from_str(&pages.get(address).await.body).unwrap();
    assert_eq!(answer["as_of"]["seq"], end.get());
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let document = document();
    let cursor = pages.json("/api/v2/packages?limit=1").await["next"].as_str().unwrap().to_owned();
    let far = format!("/api/v2/collections?as_of={}", u64::MAX);
    let long = format!("/api/v2/packages?q={}", "a".repeat(3_000));
    let of_another = format!("/api/v2/packages?order=name&cursor={cursor}");
    let elsewhere = format!("/api/v2/causes?cursor={cursor}");
    let cases = [
        ("/api/v2/packages?sate=failing", 400, "unknown field `sate`"),
        ("/api/v2/packages?state=broken", 400, "the states are failing, unresolved"),
        ("/api/v2/packages?order=size", 400, "the orders are name"),
        ("/api/v2/packages?limit=0", 400, "from 1 to 1000"),
        ("/api/v2/packages?limit=1001", 400, "from 1 to 1000"),
        ("/api/v2/packages?limit=many", 400, "the parameters of the address are not understood"),
        ("/api/v2/packages?q=a&q=b", 400, "duplicate field"),
        ("/api/v2/packages?collection=f99-biuld", 404, "did you mean"),
        ("/api/v2/packages?cause=0123456789", 404, "no cause `0123456789`"),
        ("/api/v2/packages?cursor=nonsense", 400, "the `next` of a page"),
        (of_another.as_str(), 400, "of a list in another order"),
        (elsewhere.as_str(), 400, "the `next` of a page"),
        (long.as_str(), 400, "more than 2000 bytes"),
        ("/api/v2/collections?as_of=yesterday", 400, "1 hour ago"),
        ("/api/v2/collections?as_of=1&as_of=2", 400, "given twice"),
        ("/api/v2/collections?as_of=99999999", 400, "after the end of the log"),
        (far.as_str(), 400, "after the end of the log"),
        ("/api/v2/packages/apbar", 404, "appbar"),
        ("/api/v2/collections/f99-build/packages/nothing-like-it", 404, "there is no package `nothing-like-it`"),
        ("/api/v2/updates/nothing", 400, "name-version-release"),
        ("/api/v2/updates/nothing-1-1", 404, "no repository that is remembered"),
        ("/api/v2/causes/nope", 404, "no cause `nope`"),
        ("/api/v2/events/0", 400, "the first event is 1"),
        ("/api/v2/events/99999999", 404, "the log ends at"),
        ("/api/v2/events?kind=nothing", 400, "there is no kind of events `nothing`"),
        ("/api/v2/events?after=18446744073709551615", 400, "larger than any event's number"),
        ("/api/v2/events?as_of=1", 400, "unknown field `as_of`"),
        ("/api/v2/events/stream?kind=nothing", 400, "there is no kind of events"),
        ("/api/v2/collections/%FF", 400, "not text"),
    ];
    for (address, status, says) in cases {
        let answer = pages.get(address).await;
        assert_eq!(answer.status, status, "{address}: {}", answer.body);
        assert!(answer.body.contains(says), "{address}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{address}");
        conforms(&document, address, &answer);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], status);
    }
    let nothing = pages.get("/api/v2/nothing").await;
    assert_eq!((nothing.status, nothing.headers["content-type"].as_str()), (404, "application/problem+json"));
    pages.stop().await;
    // A log that is not read yet has no answers.
    let pages = Pages::idle(&log).await;
    let answer = pages.get("/api/v2/collections").await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "2"));
    conforms(&document, "/api/v2/collections", &answer);
    pages.stop().await;
}

async fn whole(log: &AnyLog) -> Vec<Record> {
    log.read(None, 100_000).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_those_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let records = whole(&log).await;
    let event = |r: &Record| serde_json::from_str::<Value>(&cloudevents::to_json(r)).unwrap();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = pages.json(&format!("/api/v2/events?limit=100{cursor}")).await;
        found.extend(items(&page).iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found.len(), records.len());
    assert!(found.iter().zip(&records).all(|(found, r)| *found == event(r)));
    let rest = pages.json(&format!("/api/v2/events?after={}&limit=1000", records.len() - 5)).await;
    assert_eq!(items(&rest).len(), 5);
    let subject = "collection/f99-build/appbar";
    let about: Vec<Value> = records.iter().filter(|r| r.subject == subject).map(event).collect();
    assert!(about.len() > 3);
    let asked = pages.json(&format!("/api/v2/events?subject={subject}&limit=1000")).await;
    assert_eq!(*items(&asked), about);
    let newest = pages.json("/api/v2/collections/f99-build/packages/appbar/events?limit=1000").await;
    assert!(items(&newest).iter().rev().eq(about.iter()));
    let one = pages.json("/api/v2/events/3").await;
    assert_eq!(one["event"], event(&records[2]));
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for r in &records {
        *kinds.entry(&r.kind).or_default() += 1;
    }
    let ticks = pages.json("/api/v2/events?kind=tick&limit=1000").await;
    assert_eq!(items(&ticks).len(), kinds["tick"].min(1_000));
    pages.stop().await;
}
