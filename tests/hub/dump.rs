//! The hub's tables as plain facts, to compare with Koschei's state.

use std::collections::BTreeMap;

use super::rows::Versioned;
use super::world::World;

/// Everything Koschei can know about the hub now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    pub tags: BTreeMap<String, DumpTag>,
    /// Build tag and destination tag by target name.
    pub targets: BTreeMap<String, (String, String)>,
    /// Builds by `name-version-release`.
    pub builds: BTreeMap<String, DumpBuild>,
    /// Usable repositories by tag, oldest event first.
    pub repos: BTreeMap<String, Vec<DumpRepo>>,
    pub tasks: Vec<DumpTask>,
    pub last_event: i64,
}

/// A tag that exists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DumpTag {
    pub id: i64,
    pub arches: Vec<String>,
    pub locked: bool,
    /// Direct parents by priority.
    pub parents: Vec<(i64, String)>,
    /// The tag's own package list: owner, and whether the package is blocked.
    pub packages: BTreeMap<String, (String, bool)>,
    /// Builds of the tag itself, with the event of their tagging, oldest first.
    pub builds: Vec<(i64, String)>,
    /// Groups with their packages, inheritance included.
    pub groups: BTreeMap<String, Vec<String>>,
    pub last_change: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DumpBuild {
    pub id: i64,
    pub epoch: Option<i64>,
    pub state: i64,
    pub task: Option<i64>,
    pub owner: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DumpRepo {
    pub id: i64,
    pub create_event: i64,
    pub state: i64,
}

/// A top-level `build` task.
#[derive(Clone, Debug, PartialEq)]
pub struct DumpTask {
    pub id: i64,
    pub state: i64,
    pub owner: String,
    pub source: String,
    pub scratch: bool,
    pub repo: Option<i64>,
    pub priority: i64,
    /// The `custom_user_metadata` as JSON.
    pub metadata: serde_json::Value,
}

impl DumpTask {
    /// Returns the id of the command that the task carries, `LOG:SEQ:HASH`.
    pub fn command(&self) -> &str {
        self.metadata["koschei"]["decision"].as_str().expect("a task of ours carries its command's id")
    }

    /// Returns the number of the event that decided the task.
    pub fn decided(&self) -> u64 {
        self.command().split(':').nth(1).expect("LOG:SEQ:HASH").parse().expect("a sequence")
    }
}

impl World {
    pub fn dump(&self) -> Dump {
        let name = |tag: i64| self.tag_name(tag).unwrap_or_default().to_owned();
        let mut dump = Dump { last_event: self.events.last().map_or(0, |e| e.id), ..Dump::default() };
        for tag in self.tags.iter() {
            let Some(config) = self.config(tag.id, None) else { continue };
            let mut listings: Vec<_> =
                self.tag_listing.iter().filter(|l| l.tag == tag.id && l.ver().holds(None)).collect();
            listings.sort_by_key(|l| (l.ver.create, l.build));
            let packages = self.tag_packages.iter().filter(|p| p.tag == tag.id && p.ver.holds(None));
            let packages = packages.map(|p| {
                let owner = self.list_owner(tag.id, p.package, None).and_then(|o| self.user_name(o));
                (
                    self.package_name(p.package).unwrap_or_default().to_owned(),
                    (owner.unwrap_or_default().to_owned(), p.blocked),
                )
            });
            let groups = self.tag_groups(tag.id, None).into_iter().map(|g| {
                let packages = g.packages.iter().map(|p| p.package.clone()).collect();
                (self.group_name(g.config.group).unwrap_or_default().to_owned(), packages)
            });
            let entry = DumpTag {
                id: tag.id,
                arches: config.arches.iter().flat_map(|a| a.split_whitespace()).map(str::to_owned).collect(),
                locked: config.locked,
                parents: self.parents(tag.id, None).into_iter().map(|p| (p.priority, name(p.parent))).collect(),
                packages: packages.collect(),
                builds: listings.into_iter().map(|l| (l.ver.create, self.build(l.build).unwrap().nvr())).collect(),
                groups: groups.collect(),
                last_change: self.last_change(tag.id, None),
            };
            dump.tags.insert(tag.name.clone(), entry);
        }
        for target in self.target_config.iter().filter(|t| t.ver.holds(None)) {
            let target_name = self.target_name(target.target).unwrap_or_default().to_owned();
            dump.targets.insert(target_name, (name(target.build_tag), name(target.dest_tag)));
        }
        for build in self.builds.iter() {
            let owner = self.user_name(build.owner).unwrap_or_default().to_owned();
            let entry = DumpBuild { id: build.id, epoch: build.epoch, state: build.state, task: build.task, owner };
            dump.builds.insert(build.nvr(), entry);
        }
        let mut repos: Vec<_> = self.repos.iter().filter(|r| r.state == 1 || r.state == 2).collect();
        repos.sort_by_key(|r| r.create_event);
        for repo in repos {
            let entry = DumpRepo { id: repo.id, create_event: repo.create_event, state: repo.state };
            dump.repos.entry(name(repo.tag)).or_default().push(entry);
        }
        for task in self.tasks.iter().filter(|t| t.parent.is_none() && t.method == "build") {
            let opts = task.request.last().cloned();
            let opt = |name: &str| opts.as_ref().and_then(|o| o.get(name)).cloned();
            dump.tasks.push(DumpTask {
                id: task.id,
                state: task.state,
                owner: self.user_name(task.owner).unwrap_or_default().to_owned(),
                source: task.request.first().and_then(|s| s.as_str()).unwrap_or_default().to_owned(),
                scratch: opt("scratch").is_some_and(|s| s.truth()),
                repo: opt("repo_id").and_then(|r| r.as_int()),
                priority: task.priority,
                metadata: opt("custom_user_metadata").map_or(serde_json::Value::Null, |m| m.json()),
            });
        }
        dump
    }
}
