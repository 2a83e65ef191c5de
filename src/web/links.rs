//! Addresses of our own pages and of Koji's.

use std::collections::BTreeMap;

pub(super) use crate::model::address::{cause, collection, encoded, package};
pub use crate::model::weburl::BadWebUrl;
use crate::model::{BuildId, Hub, RepoId, Seq, TaskId, weburl};

/// Addresses of Koji's web pages, by hub. Without an address, numbers are shown without links.
#[derive(Clone, Debug, Default)]
pub struct KojiLinks {
    by_hub: BTreeMap<Hub, String>,
    otherwise: Option<String>,
}

impl KojiLinks {
    /// Sets the `weburl` of a hub; without a hub, that of all hubs that have none of their own.
    ///
    /// # Errors
    /// [`BadWebUrl`]: not an address a browser may be sent to.
    pub fn set(&mut self, hub: Option<Hub>, weburl: &str) -> Result<(), BadWebUrl> {
        weburl::check(weburl)?;
        let weburl = weburl.trim_end_matches('/').to_owned();
        match hub {
            Some(hub) => drop(self.by_hub.insert(hub, weburl)),
            None => self.otherwise = Some(weburl),
        }
        Ok(())
    }

    fn at(&self, hub: &Hub, page: &str, id: i64) -> Option<String> {
        let weburl = self.by_hub.get(hub).or(self.otherwise.as_ref())?;
        Some(format!("{weburl}/{page}={id}"))
    }

    pub(super) fn task(&self, hub: &Hub, task: TaskId) -> Option<String> {
        self.at(hub, "taskinfo?taskID", task.0)
    }

    pub(super) fn build(&self, hub: &Hub, build: BuildId) -> Option<String> {
        self.at(hub, "buildinfo?buildID", build.0)
    }

    /// Returns the address of a repository. Koji's web pages have it since 1.33.
    pub(super) fn repo(&self, hub: &Hub, repo: RepoId) -> Option<String> {
        self.at(hub, "repoinfo?repoID", repo.0)
    }
}

/// Checks whether an address is one of a page that shows a state, and so takes `as_of`.
pub(super) fn shows_state(address: &str) -> bool {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let below = ["/package/", "/collection/", "/cause/", "/update/", "/groups/"];
    ["/", "/packages", "/causes", "/groups"].contains(&path) || below.iter().any(|begin| path.starts_with(begin))
}

/// Lets every link and form of a page lead to the same moment as the page. `html` must be as
/// [`maud`] writes it.
pub(super) fn carried(html: &str, as_of: &str) -> String {
    let mut out = String::with_capacity(html.len() + html.len() / 16);
    let mut rest = html;
    while let Some(at) = rest.find("=\"/") {
        let (before, from) = rest.split_at(at + 2);
        out.push_str(before);
        let (address, after) = from.split_at(from.find('"').unwrap_or(from.len()));
        let is_link = before.ends_with(" href=\"");
        let is_form = before.ends_with(" action=\"");
        rest = after;
        if !(is_link || is_form) || !shows_state(address) || address.contains("as_of=") {
            out.push_str(address);
        } else if is_link {
            let (path, place) = address.split_at(address.find('#').unwrap_or(address.len()));
            let mark = if path.contains('?') { "&amp;" } else { "?" };
            out.push_str(&format!("{path}{mark}as_of={as_of}{place}"));
        } else {
            let end = after.find('>').map_or(after.len(), |end| end + 1);
            let (tag, inside) = after.split_at(end);
            out.push_str(&format!("{address}{tag}<input type=\"hidden\" name=\"as_of\" value=\"{as_of}\">"));
            rest = inside;
        }
    }
    out.push_str(rest);
    out
}

pub(super) fn update(nvr: &str) -> String {
    format!("/update/{}", encoded(nvr))
}

pub(super) fn group(name: &str) -> String {
    format!("/groups/{}", encoded(name))
}

pub(super) fn event(seq: Seq) -> String {
    format!("/event/{seq}")
}

/// Makes an address with a query. Empty values are left out.
pub(super) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (name, value) in query.iter().filter(|(_, v)| !v.is_empty()) {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(name);
        out.push('=');
        out.push_str(&encoded(value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_hostile_names_stay_addresses() {
        assert_eq!(package("f99", "gtk+/3"), "/package/gtk%2B%2F3?collection=f99");
        assert_eq!(package("\"><script>", "a&b"), "/package/a%26b?collection=%22%3E%3Cscript%3E");
        assert_eq!(with_query("/packages", &[("q", "a b"), ("state", ""), ("page", "2")]), "/packages?q=a%20b&page=2");
        assert_eq!(encoded("é"), "%C3%A9");
    }

    #[test]
    fn links_lead_to_the_same_moment() {
        let page =
            r#"<a href="/package/a?collection=f&amp;x=1#t">/x</a> <a href="/event/3">3</a> <a href="/?as_of=4">"#;
        let expected = r#"<a href="/package/a?collection=f&amp;x=1&amp;as_of=7#t">/x</a> <a href="/event/3">3</a> "#;
        assert_eq!(carried(page, "7"), format!(r#"{expected}<a href="/?as_of=4">"#));
        assert_eq!(carried(r#"<a class="home" href="/">"#, "7"), r#"<a class="home" href="/?as_of=7">"#);
        let form = r#"<form role="search" action="/packages"><input name="q">"#;
        let hidden =
            r#"<form role="search" action="/packages"><input type="hidden" name="as_of" value="7"><input name="q">"#;
        assert_eq!(carried(form, "7"), hidden);
        assert_eq!(carried("a=\"/packages\" title=\"/\"", "7"), "a=\"/packages\" title=\"/\"");
    }

    #[test]
    fn only_web_addresses_become_links() {
        let mut links = KojiLinks::default();
        for bad in ["javascript:alert(1)", "koji.example.org", "https://", "https:///", "http://x y", "https://x\"y"] {
            assert!(links.set(None, bad).is_err(), "{bad}");
        }
        let hub = Hub::new("primary");
        assert_eq!(links.task(&hub, TaskId(3)), None);
        links.set(None, "https://koji.example.org/koji/").unwrap();
        links.set(Some(Hub::new("arm")), "http://arm.example.org").unwrap();
        assert_eq!(links.task(&hub, TaskId(3)).unwrap(), "https://koji.example.org/koji/taskinfo?taskID=3");
        assert_eq!(links.build(&Hub::new("arm"), BuildId(4)).unwrap(), "http://arm.example.org/buildinfo?buildID=4");
    }
}
