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
