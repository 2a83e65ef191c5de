//! The content of pages, for people and for programs: the same numbers, consequences, breakages,
//! and no ignored parameter.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use koschei::event::{Event, NewEvent};
use koschei::log::EventLog;
use koschei::model::Seq;
use serde_json::{Value, json};

use crate::log_place;
use crate::web_site::{Pages, ingested};

#[tokio::test(flavor = "multi_thread")]
async fn parameters_nobody_knows_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    for (path, known) in [
        ("/", "takes json, as_of"),
        ("/packages", "takes collection, group, owner, state, q, order, page, rows, json"),
        ("/package/gcc", "takes collection, before, changes, json"),
        ("/collection/f99-build", "takes before, json"),
        ("/groups", "takes json, as_of"),
        ("/event/5", "takes after, content, json"),
    ] {
        for query in ["sate=failing", "json=1&sate=failing", "sate"] {
            let answer = pages.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.status, 400, "{path}?{query}");
            assert!(
                answer.body.contains("here is no parameter `sate`") && answer.body.contains(known),
                "{}",
                answer.body
            );
        }
        let answer = pages.get(&format!("{path}?json=yes")).await;
        assert!(answer.status == 400 && answer.body.contains("`json` must be 1 or absent"), "{path}: {}", answer.body);
        assert_eq!(pages.get(&format!("{path}?json=1")).await.status, 200, "{path}");
        assert_eq!(pages.get(path).await.status, 200, "{path}");
    }
    assert!(pages.get("/packages?sate=ok").await.body.contains("did you mean `state`?"));
    assert_eq!(pages.get("/package/gcc?changes=some").await.status, 400);
    assert_eq!(pages.get("/event/5?content=some").await.status, 400);
    let answer = pages.get("/collection/f99-biuld").await;
    assert!(answer.status == 404 && answer.body.contains("href=\"/collection/f99-build\""), "{}", answer.body);
    assert!(!answer.body.contains("side-7\""), "the nearest only: {}", answer.body);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_and_its_json_count_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let overview = pages.json("/?json=1").await;
    for collection in overview["collections"].as_array().unwrap() {
        let name = collection["collection"].as_str().unwrap();
        assert_eq!(*collection, pages.json(&format!("/collection/{name}")).await);
        let states = collection["states"].as_object().unwrap();
        let sum: u64 = states.values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(collection["packages"], sum);
        let page = pages.page(&format!("/collection/{name}")).await;
        for (state, n) in states {
            let listed = pages.json(&format!("/packages?collection={name}&state={state}&rows=1")).await;
            assert_eq!(
                (&listed["matching"], listed["pages"].as_u64()),
                (n, n.as_u64().map(|n| n.max(1))),
                "{name} {state}"
            );
            let link = format!("/packages?collection={name}&amp;state={state}\"");
            let shown = page.split(&link).nth(1).unwrap().split("</a>").next().unwrap();
            assert!(shown.ends_with(&format!("</span> {n}")), "{name} {state}: {shown}");
        }
    }
    // All collections together.
    for rows in [7, 100] {
        let listed = pages.json(&format!("/packages?rows={rows}")).await;
        let page = pages.page(&format!("/packages?rows={rows}")).await;
        let (count, last) = (&listed["matching"], &listed["pages"]);
        assert!(page.contains(&format!("{count} packages")), "{rows}");
        assert_eq!(page.contains(&format!("page 1 of {last}")), *last != json!(1), "{rows}");
        let shown: BTreeSet<&str> = page
            .split("<tr><th scope=\"row\">")
            .skip(1)
            .map(|r| r.split('>').nth(1).unwrap().split('<').next().unwrap())
            .collect();
        let named: BTreeSet<&str> =
            listed["packages"].as_array().unwrap().iter().map(|p| p["package"].as_str().unwrap()).collect();
        assert_eq!(shown, named, "{rows}");
    }
    pages.stop().await;
}

/// Follows the list of an event's consequences over all its pages. Returns the events, and their
/// number per page. `check` gets the text before and after the list.
async fn followed(pages: &Pages, seq: Seq, check: impl Fn(&str, &str)) -> (Vec<u64>, Vec<usize>) {
    let (mut found, mut of_page) = (Vec::new(), Vec::new());
    let mut next = Some(format!("/event/{seq}"));
    while let Some(path) = next.take() {
        let page = pages.page(&path).await;
        let (before, rest) = page.split_once("What followed from it").unwrap();
        let (followed, content) = rest.split_once("id=\"content\"").unwrap();
        check(before, content);
        let links = followed.split("<li><a href=\"/event/").skip(1);
        let here: Vec<u64> = links.map(|l| l.split('"').next().unwrap().parse().unwrap()).collect();
        of_page.push(here.len());
        found.extend(here);
        next = followed
            .split("href=\"")
            .find(|l| l.contains("?after="))
            .map(|l| l.split('"').next().unwrap().replace("&amp;", "&"));
    }
    (found, of_page)
}

/// An event with more consequences than a page shows, between other events, and one so late that a
/// page does not search that far.
#[tokio::test(flavor = "multi_thread")]
async fn what_followed_from_an_event_is_paged() {
    let dir = tempfile::tempdir().unwrap();
    let log = crate::feed::sqlite(dir.path(), "pages.db").await;
    let mut head = log_place::fill(&log, 0..10, 10).await;
    let cause = Seq::new(7).unwrap();
    // Every third event, then none for a long time, then one.
    let followers = |n: u64| (10..1360).contains(&n) && n.is_multiple_of(3) || n == 24_000;
    for part in (10..24_500).collect::<Vec<u64>>().chunks(5_000) {
        let events = part.iter().map(|n| {
            let event = log_place::event(*n);
            NewEvent { causation: followers(*n).then_some(cause), ..event }
        });
        let records = log_place::chain(head, log_place::at(1000), events);
        head = log.append(head.seq, &log_place::commit(records)).await.unwrap();
    }
    let caused: Vec<u64> = (10..24_500).filter(|n| followers(*n)).map(|n| n + 1).collect();
    assert_eq!(caused.len(), 451);
    let pages = Pages::over(&log).await;
    let (found, of_page) = followed(&pages, cause, |_, _| ()).await;
    assert_eq!(found, caused, "each once, in order");
    assert_eq!(of_page[..2], [200, 200]);
    assert_eq!(of_page.iter().sum::<usize>(), 451);
    // After the last consequence, no further page is offered. An event without consequences says
    // so.
    let last = pages.page(&format!("/event/{cause}?after=24001")).await;
    assert!(
        last.contains("After event 24001:") && last.contains("<p>Nothing.</p>") && !last.contains("?after="),
        "{last}"
    );
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_tells_all_that_followed() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let all = log.read(None, 10_000).await.unwrap();
    // The event with most consequences, one with a late consequence, and a large one.
    let caused =
        |seq: Seq| -> Vec<u64> { all.iter().filter(|r| r.causation == Some(seq)).map(|r| r.seq.get()).collect() };
    let most = all.iter().max_by_key(|r| caused(r.seq).len()).unwrap();
    let far = |r: &koschei::event::Record| caused(r.seq).last().map_or(0, |last| last - r.seq.get());
    let latest = all.iter().max_by_key(|r| far(r)).unwrap();
    let large = all.iter().max_by_key(|r| r.payload.len()).unwrap();
    assert!(
        caused(most.seq).len() > 50 && large.payload.len() > 8 << 10,
        "{} {}",
        caused(most.seq).len(),
        large.payload.len()
    );
    for record in [most, latest, large] {
        let little = record.payload.len() <= 8 << 10;
        let (found, _) = followed(&pages, record.seq, |before, content| {
            assert!(
                before.contains("<th scope=\"row\">Kind</th>") && before.contains("<th scope=\"row\">About</th>"),
                "a table comes first"
            );
            assert!(!before.contains("<pre"), "and what is stored last");
            // Small content is on the page, large content only on request.
            assert_eq!(content.contains("<pre>"), little, "event {}", record.seq);
        })
        .await;
        assert_eq!(found, caused(record.seq), "event {}", record.seq);
        let whole = pages.page(&format!("/event/{}?content=all", record.seq)).await;
        let stored: Value = serde_json::from_str(&record.payload).unwrap();
        let shown = whole.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
        let shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), stored, "event {}", record.seq);
    }
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_tells_which_repositories_were_broken_or_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let page = pages.page("/collection/f99-build").await;
    let (_, table) = page.split_once("Newest repositories").unwrap();
    let rows: Vec<&str> = table.split("</table>").next().unwrap().split("<tr>").skip(2).collect();
    let row = |id: i64| rows.iter().find(|r| r.contains(&format!("repoID={id}\"")));
    let mut told = 0;
    for record in log.read(None, 10_000).await.unwrap() {
        let (collection, id, words) = match record.decode().unwrap().event {
            Event::RepoNotResolved(e) => (e.collection, e.repo_id.0, e.reason),
            Event::BuildrootBroken(e) => (e.collection, e.repo_id.0, "the build group does not install on".to_owned()),
            _ => continue,
        };
        if let (true, Some(row)) = (collection == "f99-build", row(id)) {
            told += 1;
            assert!(
                row.contains(&format!("href=\"/event/{}\"", record.seq))
                    && row.contains(words.split('&').next().unwrap()),
                "{id}: {row}"
            );
        }
    }
    let passed = rows.iter().filter(|r| r.contains("skipped: a newer one came")).count();
    assert!(told + passed > 0, "{told} {passed}: {table}");
    let clean = rows
        .iter()
        .filter(|r| r.ends_with("<td class=\"why\"></td></tr>") || r.contains("<td class=\"why\"></td>"))
        .count();
    assert!(clean > 0, "most were well: {table}");
    pages.stop().await;
}

/// A browser, controlled through a pipe: JSON texts, each ended by a zero byte.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    sent: u64,
    session: Option<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The browser uses descriptors 3 and 4. They are our pipes.
        let script = "browser=$(command -v chromium || command -v chromium-browser) || exit 127; exec \"$browser\" \
            \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args([
                "-c",
                script,
                "sh",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
            .args(["--remote-debugging-pipe", &format!("--user-data-dir={}", profile.path().display())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self { child, to, from, sent: 0, session: None, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", json!({}));
        browser
    }

    fn receive(&mut self) -> Value {
        let mut text = Vec::new();
        self.from.read_until(0, &mut text).unwrap();
        assert_eq!(text.pop(), Some(0), "chromium can be started; install it, for example with `apt install chromium`");
        serde_json::from_slice(&text).unwrap()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all((message.to_string() + "\0").as_bytes()).unwrap();
        loop {
            let answer = self.receive();
            if answer["id"] == self.sent {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn open(&mut self, url: &str, width: u32) {
        let narrow = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": true });
        self.call("Emulation.setDeviceMetricsOverride", narrow);
        self.call("Page.navigate", json!({ "url": url }));
        while self.receive()["method"] != "Page.loadEventFired" {}
    }

    fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", asked)["result"]["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_fit_a_telephone_and_keep_what_matters() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::up_to(&log, Seq::new(482)).await;
    let at = pages.address;
    let seen = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start();
        let mut seen = Vec::new();
        for path in [
            "/",
            "/packages",
            "/packages?collection=f99-build",
            "/package/docfoo?collection=f99-build",
            "/collection/f99-build",
            "/event/474",
            "/event/482?content=all",
            "/nothing",
        ] {
            browser.open(&format!("http://{at}{path}"), 390);
            let wide = browser.value("document.scrollingElement.scrollWidth");
            // A table may scroll in itself. Its first columns must be visible without that.
            let heads = browser.value(
                "[...document.querySelectorAll('thead th')].filter(h => h.offsetWidth > 0 && \
                h.getBoundingClientRect().right <= innerWidth).map(h => h.innerText.trim()).join('|')",
            );
            seen.push((path, wide, heads.as_str().unwrap_or_default().to_owned()));
        }
        seen
    });
    let seen = seen.await.unwrap();
    for (path, wide, _) in &seen {
        assert_eq!(*wide, 390, "{path} scrolls sideways: {seen:?}");
    }
    let heads = |of: &str| seen.iter().find(|(path, ..)| *path == of).unwrap().2.as_str();
    for (path, columns) in [
        ("/", &["Collection", "Buildroot", "failing", "unresolved", "Package", "State", "Why"][..]),
        ("/packages?collection=f99-build", &["Package", "State", "Why"]),
        ("/collection/f99-build", &["Architecture", "Build group", "Repository", "State"]),
    ] {
        for column in columns {
            assert!(heads(path).contains(column), "{path} shows {}, not {column}", heads(path));
        }
    }
    pages.stop().await;
}
