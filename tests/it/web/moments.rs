//! Pages as of an earlier moment: they show what was known then, and their links stay there.

use std::collections::BTreeSet;

use koschei::log::EventLog as _;
use koschei::model::Seq;

use crate::web_site::{Pages, ingested};

/// Pages that show a state.
const SHOWN: &[&str] = &[
    "/",
    "/packages?collection=f99-build&state=failing,unresolved,ok&rows=20",
    "/package/appbar?collection=f99-build",
    "/collection/f99-build",
    "/causes",
];

fn with(address: &str, more: &str) -> String {
    format!("{address}{}{more}", if address.contains('?') { '&' } else { '?' })
}

/// Returns what is within `<main>`, without what leads to other moments.
fn content(page: &str) -> String {
    let main = page.split_once("<main id=\"main\">").unwrap().1.split("</main>").next().unwrap();
    let (before, after) = main.split_once("<p class=\"notice\" role=\"status\">This page shows").unwrap_or(("", main));
    let rest = if before.is_empty() && after == main { main } else { after.split_once("</p>").unwrap().1 };
    let mut out = String::new();
    for (at, piece) in rest.split("as_of=").enumerate() {
        out.push_str(if at == 0 { piece } else { piece.trim_start_matches(|c: char| c.is_ascii_digit()) });
    }
    out.replace("?\"", "\"").replace("&amp;\"", "\"").replace("?#", "#").replace("&amp;#", "#")
}

/// A page about an earlier moment is the one that was shown then.
#[tokio::test(flavor = "multi_thread")]
async fn pages_show_what_was_known_then() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let head = log.head().await.unwrap().seq.unwrap().get();
    for seq in [head / 3, head / 2] {
        let then = Pages::up_to(&log, Seq::new(seq)).await;
        for address in SHOWN {
            let asked = pages.get(&with(address, &format!("as_of={seq}"))).await;
            assert_eq!(asked.status, 200, "{address}: {}", asked.body);
            assert!(asked.body.contains("This page shows what was known at"), "{address}");
            assert!(asked.body.contains(&format!("event {seq}</a>")), "{address}");
            let shown = then.page(address).await;
            // A form of the page carries the moment, too.
            let hidden = format!("<input type=\"hidden\" name=\"as_of\" value=\"{seq}\">");
            assert_eq!(content(&asked.body.replace(&hidden, "")), content(&shown), "{address} as of {seq}");
            let json = pages.get(&with(address, &format!("json=1&as_of={seq}"))).await;
            assert_eq!(json.body, then.get(&with(address, "json=1")).await.body, "{address} as of {seq}");
        }
        then.stop().await;
    }
    pages.stop().await;
}

/// From a page of an earlier moment, one reaches only pages of that moment, and steps to others.
#[tokio::test(flavor = "multi_thread")]
async fn links_stay_at_the_moment() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let (mut open, mut seen) = (vec!["/?as_of=600".to_owned()], BTreeSet::new());
    while let Some(address) = open.pop() {
        if !seen.insert(address.clone()) || seen.len() > 60 {
            continue;
        }
        let answer = pages.get(&address).await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.body);
        let page = &answer.body;
        let (steps, rest) = page.split_once("<nav class=\"steps\"").unwrap().1.split_once("</nav>").unwrap();
        assert!(steps.contains("as_of=599") && steps.contains("as_of=601"), "{address}: {steps}");
        let head = page.split("<nav class=\"steps\"").next().unwrap();
        for link in [head, rest].iter().flat_map(|part| part.split(" href=\"/").skip(1)) {
            let link = format!("/{}", link.split(['"', '#']).next().unwrap().replace("&amp;", "&"));
            let elsewhere = ["/event/", "/api/", "/style.css", "/icon.svg"].iter().any(|begin| link.starts_with(begin));
            assert!(elsewhere || link.contains("as_of=600"), "{address} leads to {link}");
            if !elsewhere && !link.contains("json=1") {
                open.push(link);
            }
        }
    }
    assert!(seen.len() > 40);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let day = pages.page("/?as_of=2026-11-20%2008:45").await;
    assert!(day.contains("This page shows what was known at"));
    let before = pages.page("/causes?as_of=0").await;
    assert!(before.contains("Before the first event"));
    for (address, says) in [
        ("/?as_of=99999999", "after the end of the log"),
        ("/?as_of=%3Cscript%3E", "not `&lt;script&gt;`"),
        ("/?as_of=%FF", "`as_of` must be"),
        ("/event/3?as_of=2", "no parameter `as_of`"),
    ] {
        let answer = pages.get(address).await;
        assert!(answer.status == 400 && answer.body.contains(says), "{address}: {}", answer.body);
    }
    // The present and the past have different tags, also if they are about the same event.
    let present = pages.get("/causes").await;
    let past = pages.get("/causes?as_of=now").await;
    assert_ne!(present.headers["etag"], past.headers["etag"]);
    pages.stop().await;
}
