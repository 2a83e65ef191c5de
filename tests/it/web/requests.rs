//! Pages: their content, the requests they refuse, and that nothing from a package escapes its
//! place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use koschei::event::{
    BuildTagged, BuildrootBroken, CollectionCreated, CollectionSettings, DependencyMove, Event, PackageResolved,
    PackageStateChanged, RebuildFinished, RepoNotResolved, RepoReady, RepoResolved, TaskChanged, Tick,
};
use koschei::log::{AnyLog, EventLog};
use koschei::model::koji::TaskState;
use koschei::model::{BuildId, Hub, Nvr, Outcome, PackageState, RepoId, Seq, TaskId, Timestamp};
use serde_json::Value;

use crate::feed;
use crate::web_site::{KOJI, Pages, append, ingested};

/// Returns the addresses in a page, as a browser would follow them.
fn links(page: &str) -> BTreeSet<String> {
    let hrefs = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let hrefs = hrefs.map(|h| h.replace("&amp;", "&").split('#').next().unwrap().to_owned());
    hrefs.filter(|h| !h.is_empty()).collect()
}

/// Returns the text a person reads: no tags, entities as characters.
fn text(page: &str) -> String {
    let pieces = page.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    let text = pieces.collect::<Vec<_>>().join(" ");
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_link_of_every_page_leads_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let mut seen = BTreeSet::from(["/".to_owned()]);
    let mut open = VecDeque::from(["/".to_owned()]);
    let mut outside = BTreeSet::new();
    let mut visited: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(path) = open.pop_front() {
        let kind = path.split(['/', '?']).nth(1).unwrap().to_owned();
        let visits = visited.entry(kind.clone()).or_default();
        *visits += 1;
        // Events link to more events without end, and lists to lists in other orders.
        if *visits > if kind == "package" { 200 } else { 60 } {
            continue;
        }
        let answer = pages.get(&path).await;
        if kind == "event" && answer.status == 404 {
            assert_eq!(path, format!("/event/{}", log.head().await.unwrap().seq.unwrap().next()), "only past the end");
            continue;
        }
        if answer.status == 404 && path.contains("as_of=") {
            continue; // A step back may lead to before the thing was known.
        }
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer.body));
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'"), "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        if !answer.headers["content-type"].starts_with("text/html") {
            continue;
        }
        let page = &answer.body;
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{path}");
        assert!(page.contains("<title>") && page.contains("<h1>") && page.contains("aria-label=\"Main\""), "{path}");
        assert!(page.contains("0 seconds behind") || path.contains("as_of="), "{path}");
        assert!(!page.contains("<script") && !page.contains("style=") && !page.contains(" onclick"), "{path}");
        for head in page.split("<thead>").skip(1).map(|t| t.split("</thead>").next().unwrap()) {
            assert_eq!(head.matches("<th").count(), head.matches("scope=\"col\"").count(), "{path}");
        }
        for link in links(page) {
            if let Some(koji) = link.strip_prefix(KOJI) {
                outside.insert(koji.split('=').next().unwrap().to_owned());
            } else {
                assert!(link.starts_with('/'), "{path} links to {link}");
                if seen.insert(link.clone()) {
                    open.push_back(link);
                }
            }
        }
    }
    let koji: Vec<&str> = outside.iter().map(String::as_str).collect();
    assert_eq!(koji, ["/buildinfo?buildID", "/repoinfo?repoID", "/taskinfo?taskID"]);
    assert!(visited["package"] > 50 && visited["collection"] >= 3 && visited["packages"] > 20, "{visited:?}");
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_get_what_the_command_line_prints() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let db = dir.path().join("pages.db");
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).arg("--db").arg(&db).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>()
    };
    let pages = Pages::over(&log).await;
    // Several pages of few rows together equal the whole list.
    let expected = run(&["status", "--json"]).remove(0);
    let mut listed = Vec::new();
    let states = "state=ok,failing,unresolved,unknown,untracked,blocked";
    for page in 1.. {
        let part = pages.json(&format!("/packages?{states}&rows=20&order=name&page={page}")).await;
        assert_eq!(part["collections"], expected["collections"]);
        assert_eq!((&part["seq"], &part["now"]), (&expected["seq"], &expected["now"]));
        listed.extend(part["packages"].as_array().unwrap().clone());
        assert_eq!(part["page"], page);
        if part["pages"] == page {
            // A package in both collections counts once, as on the page.
            let names: BTreeSet<String> = listed.iter().map(|p| p["package"].to_string()).collect();
            assert_eq!(part["matching"], names.len());
            let page = text(&pages.page(&format!("/packages?{states}&rows=20&order=name&page={page}")).await);
            assert!(
                page.contains(&format!("{} packages , page {} of {}", names.len(), part["page"], part["pages"]))
                    || page.contains(&format!("{} packages, page {} of {}", names.len(), part["page"], part["pages"])),
                "{page}"
            );
            break;
        }
    }
    let by_name = |packages: &[Value]| -> BTreeMap<(String, String), Value> {
        let key = |p: &Value| (p["collection"].to_string(), p["package"].to_string());
        packages.iter().map(|p| (key(p), p.clone())).collect()
    };
    assert_eq!(by_name(&listed), by_name(expected["packages"].as_array().unwrap()));
    assert_eq!(listed.len(), expected["packages"].as_array().unwrap().len(), "none twice");
    for package in ["docfoo", "sqlite", "nope", "brandnew"] {
        for answer in run(&["why", package, "--json"]) {
            assert!(answer["suspects"].is_array() && answer["collection"].is_string(), "{answer}");
            let collection = answer["why"]["collection"].as_str().unwrap();
            assert_eq!(pages.json(&format!("/package/{package}?collection={collection}")).await, answer);
        }
    }
    let event = pages.json("/event/482").await;
    let history = run(&["history", "--json", "--after", "481", "--limit", "1"]);
    assert_eq!(event, history[0]);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_package_shows_its_cause_and_every_reason() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::up_to(&log, Seq::new(482)).await;
    let page = text(&pages.page("/package/docfoo?collection=f99-build").await);
    assert!(
        page.contains("▲ unresolved on aarch64: nothing provides libfoo.so.1()(64bit) needed by appfoo-2.1-1.fc99")
    );
    assert!(page.contains("because of this: repository 5 of f99-build ready ( #474 )"), "{page}");
    assert!(page.contains("its build dependencies cannot be installed"));
    assert!(page.contains("286 points below the threshold"));
    assert!(page.contains("Time since the last build -30.0"));
    assert!(page.contains("#482") && !page.contains("#560"), "the trail ends where the state does");
    let overview = text(&pages.page("/").await);
    assert!(overview.contains("docfoo f99-build ✔ ok → ▲ unresolved on aarch64"), "{overview}");
    pages.stop().await;

    let pages = Pages::over(&log).await;
    let page = pages.page("/package/sqlite?collection=f99-build").await;
    let words = text(&page);
    assert!(words.contains("the same rebuild was turned down (no hub) and nothing has changed since"));
    assert!(words.contains("make 4.4.1-1.fc99 ↑ upgraded 4.4.1- 2.fc99 1 aarch64, x86_64"), "{words}");
    assert!(words.contains("pkgconf – + added 2.3.0-2.fc99 not reached"));
    assert!(page.contains(&format!("{KOJI}/taskinfo?taskID=124")));
    // A long history is split into pages, and no event comes twice.
    let mut seen = BTreeSet::new();
    let mut next = Some("/package/gcc?collection=f99-build".to_owned());
    while let Some(path) = next {
        let page = pages.page(&path).await;
        let (_, trail) = page.split_once("id=\"trail\"").unwrap();
        let first_cells = trail.split("<tr><td><a href=\"/event/").skip(1);
        for seq in first_cells.map(|c| c.split('"').next().unwrap().parse::<u64>().unwrap()) {
            assert!(seen.last().is_none() || seen.first() > Some(&seq), "newest first");
            assert!(seen.insert(seq));
        }
        next = links(trail).into_iter().find(|l| l.contains("before="));
    }
    let mut expected = BTreeSet::new();
    for subject in ["collection/f99-build/gcc", "primary/package/gcc"] {
        let records = log.read_subject(koschei::log::Subjects::Exactly(subject), None, 10_000).await.unwrap();
        expected.extend(records.iter().map(|r| r.seq.get()));
    }
    assert_eq!(seen, expected);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_searched_and_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let names = async |query: &str| -> Vec<String> {
        let json = pages.json(&format!("/packages?{query}")).await;
        json["packages"].as_array().unwrap().iter().map(|p| p["package"].as_str().unwrap().to_owned()).collect()
    };
    // Programs and people get the same order.
    for query in [
        "collection=f99-build&order=name",
        "collection=f99-build&order=-name&rows=7&page=3",
        "collection=f99-build&order=priority",
        "collection=f99-build&order=-priority",
        "collection=f99-build&order=built",
        "collection=f99-build&order=-state",
        "collection=f99-build&order=running&q=*foo*",
    ] {
        let page = pages.page(&format!("/packages?{query}")).await;
        let rows = page.split("<tr><th scope=\"row\">").skip(1);
        let shown: Vec<&str> = rows.map(|r| r.split('>').nth(1).unwrap().split('<').next().unwrap()).collect();
        assert_eq!(shown, names(query).await, "{query}");
        assert!(!shown.is_empty());
    }
    let sorted = names("collection=f99-build&order=name").await;
    assert!(sorted.is_sorted());
    let back: Vec<_> = names("collection=f99-build&order=-name").await.into_iter().rev().collect();
    assert_eq!(back, sorted);
    let priorities = pages.json("/packages?collection=f99-build&order=priority").await;
    let priorities = priorities["packages"].as_array().unwrap().iter();
    let priorities: Vec<i64> = priorities.filter_map(|p| p["priority"]["current"].as_i64()).collect();
    assert!(priorities.is_sorted_by(|a, b| a >= b) && priorities[0] > priorities[20], "{priorities:?}");
    assert_eq!(names("collection=f99-build").await[0], "nope", "what needs looking at comes first");
    assert_eq!(names("collection=f99-build&q=FOO&order=name").await, ["appfoo", "docfoo", "libfoo"]);
    assert_eq!(names("collection=f99-build&q=lib*foo&order=name").await, ["libfoo"]);
    assert_eq!(names("collection=f99-build&state=failing").await, ["nope"]);
    assert_eq!(names("collection=f99-build&state=blocked").await, Vec::<String>::new());
    // All collections side by side: each name once.
    let all = pages.page("/packages?q=expat").await;
    assert_eq!(all.matches("<tr><th scope=\"row\">").count(), 1);
    assert!(
        all.contains("/package/expat?collection=f99-build-side-7")
            && all.contains("/package/expat?collection=f99-build\"")
    );
    assert!(text(&pages.page("/packages?q=nothing-like-it").await).contains("0 packages matching “nothing-like-it”"));
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_in_plain_words() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let long = format!("/packages?q={}", "x".repeat(101));
    let longer = format!("/packages?q={}", "x".repeat(3_000));
    for (path, status, said) in [
        ("/nothing", 404, "There is no such page"),
        ("/package/docfo", 404, "No collection has a package `docfo`. Did you mean: docfoo"),
        ("/package/docfoo?collection=f00", 404, "There is no collection `f00`"),
        ("/package/nope?collection=f98-build", 404, "Collection `f98-build` has no package `nope`"),
        ("/package/docfoo?before=x", 400, "`x` is not the number of an event"),
        ("/package/%ff", 400, "The name in the address is not text"),
        ("/collection/f00", 404, "There is no collection `f00`. Did you mean: f99-build"),
        ("/packages?collection=f00", 404, "There is no collection `f00`"),
        ("/packages?state=broken", 400, "There is no state `broken`; the states are failing, unresolved, ok"),
        ("/packages?order=colour", 400, "Packages cannot be ordered by `colour`; the orders are name, state"),
        ("/packages?page=0", 400, "`page` must be a number from 1 to 1000000, not `0`"),
        ("/packages?page=99&collection=f99-build", 404, "There is no page 99; the last one is 1"),
        ("/packages?rows=5000", 400, "`rows` must be a number from 1 to 1000"),
        ("/packages?page=1&page=2", 400, "duplicate field `page`"),
        (&long, 400, "A search has at most 100 characters"),
        (&longer, 400, "The address is longer than 2000 bytes"),
        ("/event/0", 400, "`0` is not the number of an event"),
        ("/event/x", 400, "`x` is not the number of an event"),
        ("/event/999999", 404, "There is no event 999999; the log ends at 1"),
        ("/event/18446744073709551615", 404, "There is no event 18446744073709551615"),
    ] {
        let answer = pages.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(text(&answer.body).contains(said), "{path}: {}", text(&answer.body));
        assert_eq!(answer.headers["cache-control"], "no-store");
        let answer = pages.ask(path, "Accept: application/json\r\n").await;
        assert_eq!(answer.status, status, "{path}");
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        let (words, error) = (said.split(". ").next().unwrap().to_lowercase(), json["error"].as_str().unwrap());
        assert!(error.to_lowercase().contains(&words), "{path}: {error}");
    }
    assert_eq!(
        pages.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.status,
        405
    );
    // An endless head is refused, and the server continues.
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n", "y".repeat(60_000));
    assert_eq!(pages.raw(endless.as_bytes()).await.status, 431);
    pages.page("/").await;
    // Metric labels come from bounded sets, whatever was requested.
    let metrics = pages.page("/metrics").await;
    assert!(metrics.contains(r#"koschei_web_requests_total{page="package",status="404"}"#), "{metrics}");
    assert!(!metrics.contains("docfo"));
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changed_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    for path in ["/", "/packages", "/package/docfoo", "/event/5", "/collection/f99-build"] {
        let first = pages.get(path).await;
        let tag = &first.headers["etag"];
        assert_eq!(first.headers["cache-control"], "no-cache");
        let again = pages.ask(path, &format!("If-None-Match: \"other\", {tag}\r\n")).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(&again.headers["etag"], tag);
        let machine = pages.ask(path, &format!("If-None-Match: {tag}\r\nAccept: application/json\r\n")).await;
        assert_eq!(machine.status, 200, "a page is not the JSON of it");
    }
    let style = pages.page("/").await.split("href=\"/style.css").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let style = pages.get(&format!("/style.css{style}")).await;
    assert_eq!(style.headers["cache-control"], "public, max-age=86400");
    assert!(style.body.len() < 8_000);
    // After one more event, the page and its ETag differ.
    let tag = pages.get("/").await.headers["etag"].clone();
    let seq = append(&log, vec![Tick { now: Timestamp::from_secs(1_795_900_000) }.into()]).await;
    pages.follower.when(|s| s.seq == Some(seq)).await;
    let answer = pages.ask("/", &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains(&format!("event {seq}")));
    pages.stop().await;
}

/// Everything a package can contain, with text that would become markup, scripts or other addresses
/// if it were not escaped.
async fn hostile(log: &AnyLog) -> (&'static str, &'static str) {
    const NAME: &str = "\"><script>alert(1)</script>&amp;'/../x";
    const BAD: &str = "<img src=x onerror=alert(1)>\"'&lt;</pre></td>";
    let hub = Hub::new("<b>hub</b>");
    let nvr = Nvr { name: NAME.into(), version: BAD.into(), release: "1<i>".into() };
    let settings = CollectionSettings {
        display_name: BAD.to_owned(),
        hub: hub.clone(),
        target: BAD.into(),
        build_tag: "tag<".into(),
        dest_tag: "dest<".into(),
        build_group: BAD.into(),
        coefficient: 500,
        arches: Vec::new(),
        track_all: true,
        max_builds: None,
        found: false,
        builds_on: None,
    };
    let (collection, arch) = ("c&\"<u>", "<arch>");
    let moved = |old: Option<&str>, new: Option<&str>| DependencyMove {
        name: BAD.into(),
        arch: arch.into(),
        old: old.map(Into::into),
        new: new.map(Into::into),
    };
    let events: Vec<Event> = vec![
        CollectionCreated { collection: collection.into(), settings }.into(),
        BuildTagged {
            hub: hub.clone(),
            tag: "dest<".into(),
            tag_id: None,
            build_id: BuildId(1),
            name: NAME.into(),
            version: nvr.version.clone(),
            release: nvr.release.clone(),
            by: None,
        }
        .into(),
        RepoReady {
            hub: hub.clone(),
            repo_id: RepoId(7),
            tag: "tag<".into(),
            tag_id: None,
            create_event: Some(3),
            arches: None,
        }
        .into(),
        BuildrootBroken {
            collection: collection.into(),
            hub: hub.clone(),
            repo_id: RepoId(7),
            arch: arch.into(),
            problems: vec![BAD.repeat(400)],
        }
        .into(),
        RepoResolved {
            collection: collection.into(),
            hub: hub.clone(),
            repo_id: RepoId(7),
            arch: arch.into(),
            of_packages: Some("i686".into()),
            tracked: None,
            mode: "two".into(),
            solver: BAD.to_owned(),
            inputs: String::new(),
            weak_deps: false,
            module_hotfixes: false,
            attachment: String::new(),
            content: None,
            resolved: 0,
            unresolved: 1,
            excluded: 0,
            unknown: 0,
            moves: vec![moved(Some(BAD), Some("1:<b>-2")), moved(None, Some(BAD)), moved(Some("9-<s>"), None)],
            packages: vec![PackageResolved {
                package: NAME.into(),
                source: "<em>-1".into(),
                buildroot_has: None,
                noarch: false,
                ok: Some(false),
                problem: Some(BAD.to_owned()),
                changes: vec![(0, 1), (1, 2), (2, 0)],
                base: None,
                truth: false,
            }],
            gone: Vec::new(),
            solver_mismatches: Vec::new(),
        }
        .into(),
        TaskChanged {
            hub: hub.clone(),
            task_id: TaskId(5),
            state: TaskState::Open,
            package: NAME.into(),
            nvr: Some(nvr),
            target: Some(BAD.into()),
            repo_id: None,
            arches: Vec::new(),
            decision: None,
            created_at: None,
            started_at: None,
            finished_at: None,
            children: Vec::new(),
            fault: None,
        }
        .into(),
        RebuildFinished {
            collection: collection.into(),
            package: NAME.into(),
            hub: hub.clone(),
            task_id: TaskId(5),
            rebuild: None,
            outcome: Outcome::GenuineFailure,
            reason: BAD.to_owned(),
            fault: Some(BAD.to_owned()),
            mark: None,
            host: None,
            waits: false,
            rules: None,
        }
        .into(),
        PackageStateChanged {
            collection: collection.into(),
            package: NAME.into(),
            old: Some(PackageState::Ok),
            new: PackageState::Unresolved,
            reason: BAD.to_owned(),
        }
        .into(),
        RepoNotResolved { collection: collection.into(), hub, repo_id: RepoId(8), arch: None, reason: BAD.to_owned() }
            .into(),
    ];
    append(log, events).await;
    (collection, NAME)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_packages_stay_text() {
    let dir = tempfile::tempdir().unwrap();
    let log = feed::sqlite(dir.path(), "hostile.db").await;
    let (collection, name) = hostile(&log).await;
    let pages = Pages::over(&log).await;
    let mut open: Vec<String> = (1..=9).map(|n| format!("/event/{n}")).collect();
    open.extend(["/".into(), "/packages".into(), "/packages?q=%3Cscript%3E".into(), "/collection/%3Cu%3E".into()]);
    open.extend(["/package/%3Cscript%3Ealert(1)".into(), "/packages?state=%3Cscript%3E".into()]);
    let mut seen: BTreeSet<String> = open.iter().cloned().collect();
    let mut of_package = String::new();
    while let Some(path) = open.pop() {
        let answer = pages.get(&path).await;
        if !answer.headers["content-type"].starts_with("text/html") {
            continue;
        }
        // Only our own tags and attributes are in the page: none of these texts is unescaped.
        for raw in ["<script", "<img", "<u>", "<em>", "<s>", "<arch>", "</pre></td>\"", "onerror=alert(1)>\"", "<i>"] {
            assert!(!answer.body.contains(raw), "{path}: {raw}");
        }
        if path.starts_with("/package/") && answer.status == 200 {
            of_package = answer.body.clone();
        }
        for link in links(&answer.body) {
            assert!(link.starts_with('/') || link.starts_with(KOJI), "{path}: {link}");
            if seen.len() < 80 && link.starts_with('/') && seen.insert(link.clone()) {
                open.push(link);
            }
        }
    }
    let words = text(&of_package);
    assert!(words.contains(name), "its name is shown as it is: {words}");
    assert!(words.contains("× 0.5"), "{words}");
    let json = pages.json("/packages").await;
    assert_eq!(json["packages"][0]["collection"], collection);
    assert_eq!(json["packages"][0]["package"], name);
    assert!(pages.page(&format!("/collection/{}", "c%26%22%3Cu%3E")).await.contains("… (cut)"), "a long text is cut");
    pages.stop().await;
}
