//! Groups of packages on pages and in the API. Both and the command agree.

use std::collections::BTreeMap;

use koschei::event::GroupMade;
use koschei::log::EventLog as _;
use serde_json::Value;

use crate::cli::groups::Desk;
use crate::recorded::{self, koschei};
use crate::web_site::{Pages, append};

const ALL_STATES: &str = "ok,failing,unresolved,unknown,untracked,blocked";

#[tokio::test(flavor = "multi_thread")]
async fn pages_api_and_command_agree() {
    let desk = Desk::new();
    desk.ok(&["net", "--add", "appbar", "libfoo", "curl", "--maintainer", "ursula", "--reason", "of the net"]);
    desk.ok(&["net", "--add", "not-known", "--force", "--reason", "of the net"]);
    desk.ok(&["lib", "--add", "libfoo", "--reason", "r"]);
    let log = koschei::log::open(desk.db(), &koschei::log::Options::default()).await.unwrap();
    let pages = Pages::over(&log).await;
    let listed = pages.json(&format!("/api/v2/packages?group=net&state={ALL_STATES}&limit=1000")).await;
    let of_api: Vec<(String, String)> = pairs(&listed["items"]);
    let of_page = pairs(&pages.json(&format!("/packages?group=net&state={ALL_STATES}&json=1")).await["packages"]);
    let out = koschei(&["status", "--db", desk.db(), "--group", "net", "--json"]);
    let of_command = pairs(&serde_json::from_slice::<Value>(&out.stdout).unwrap()["packages"]);
    assert!(of_api.iter().any(|(_, package)| package == "appbar") && of_api.len() >= 3, "{of_api:?}");
    assert_eq!(of_api, of_page);
    assert_eq!(of_api, of_command);
    // The numbers are those of the lists.
    let groups = pages.json("/api/v2/groups").await;
    assert_eq!(groups["matching"], 2);
    let net = &groups["items"][1];
    assert_eq!((&net["group"], &net["packages"], &net["maintainers"]), (&"net".into(), &4.into(), &1.into()));
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for item in listed["items"].as_array().unwrap() {
        *states.entry(item["state"].as_str().unwrap()).or_default() += 1;
    }
    for (state, n) in net["states"].as_object().unwrap() {
        assert_eq!(n.as_u64(), Some(states.get(state.as_str()).copied().unwrap_or(0)), "{state}");
    }
    let one = pages.json("/api/v2/groups/net?collection=f99-build").await;
    assert_eq!(one["names"], serde_json::json!(["appbar", "curl", "libfoo", "not-known"]));
    let of_one = of_api.iter().filter(|(c, _)| c == "f99-build").count() as u64;
    assert_eq!(one["states"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), of_one);
    // Page by page.
    let first = pages.json("/api/v2/groups?limit=1").await;
    let rest = pages.json(&format!("/api/v2/groups?limit=1&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((&first["items"][0]["group"], &rest["items"][0]["group"]), (&"lib".into(), &"net".into()));
    assert!(rest["next"].is_null());
    // Nobody is named.
    for address in ["/groups", "/groups/net", "/groups/net?json=1", "/groups?json=1", "/api/v2/groups/net"] {
        let answer = pages.page(address).await;
        assert!(!answer.contains("ursula") && !answer.contains("p-"), "{address}: {answer}");
    }
    let page = pages.page("/groups/net").await;
    assert!(page.contains("not-known (not known)") && page.contains("href=\"/package/curl\""), "{page}");
    assert!(page.contains("group net made with 3 packages: of the net"), "{page}");
    let package = pages.page("/package/libfoo").await;
    assert!(package.contains("<a href=\"/groups/lib\">lib</a>, <a href=\"/groups/net\">net</a>"), "{package}");
    for (address, status) in [
        ("/groups/nte", 404),
        ("/groups/%3Cb%3E", 404),
        ("/packages?group=nte", 404),
        ("/api/v2/groups/nte", 404),
        ("/api/v2/packages?group=nte", 404),
        ("/api/v2/groups?collection=nte", 404),
        ("/api/v2/groups?sate=x", 400),
    ] {
        let answer = pages.get(address).await;
        assert_eq!(answer.status, status, "{address}");
        assert!(!answer.body.contains("<b>nte") && !answer.body.contains("`<b>`"), "{address}: {}", answer.body);
        assert!(
            !address.ends_with("nte") || address.contains("collection") || answer.body.contains("net"),
            "{address}"
        );
    }
    pages.stop().await;
    log.close().await;
}

fn pairs(packages: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let mut pairs: Vec<_> =
        packages.as_array().unwrap().iter().map(|p| (text(&p["collection"]), text(&p["package"]))).collect();
    pairs.sort();
    pairs
}

/// A log may hold what today's checks refuse. Pages escape it.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let db = recorded::copy(dir.path());
    let log = koschei::log::open(db.to_str().unwrap(), &koschei::log::Options::default()).await.unwrap();
    let hostile = GroupMade {
        group: "<script>x</script>/..".into(),
        packages: vec!["\"><img>".into(), "libfoo".into()],
        maintainers: Vec::new(),
        configured: true,
        reason: "<i>".to_owned(),
        by: None,
    };
    append(&log, vec![hostile.into()]).await;
    let pages = Pages::over(&log).await;
    let address = "/groups/%3Cscript%3Ex%3C%2Fscript%3E%2F..";
    for asked in ["/groups", address, "/package/libfoo", "/packages?group=%3Cscript%3Ex%3C%2Fscript%3E%2F.."] {
        let page = pages.page(asked).await;
        assert!(page.contains("&lt;script&gt;"), "{asked}");
        assert!(!page.contains("<script") && !page.contains("<img"), "{asked}");
        assert!(asked == address || asked.starts_with("/packages") || page.contains(&format!("href=\"{address}\"")));
    }
    pages.stop().await;
    log.close().await;
}
