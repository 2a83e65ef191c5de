//! Calls about tags, targets, inheritance, groups and external repositories.

use std::collections::BTreeMap;

use super::super::fault::Fault;
use super::super::ops::tags::Link;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, row};
use super::super::world::World;
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "getTag" as "get_tag": "tagInfo strict= event= blocked=" => |tx, args| {
        match tag_of(tx.w, args.get("tagInfo"), args.event()) {
            Some(tag) => Ok(full(tx.w, tag, args.event())),
            None if args.truth("strict") => tag(tx, args, "tagInfo").map(V::from),
            None => Ok(V::Nil),
        }
    };
    "getTagID" as "get_tag_id": "info strict= create=" => |tx, args| match tag_of(tx.w, args.get("info"), None) {
        Some(tag) => Ok(tag.into()),
        None if args.truth("strict") => Err(Fault::generic(format!("No such tag: {}", repr(args.get("info"))))),
        None => Ok(V::Nil),
    };
    "getBuildConfig" as "RootExports.getBuildConfig": "tag event=" => build_config;
    "listTags" as "list_tags": "build= package= perms= queryOpts= pattern=" => list_tags;
    "getBuildTarget" as "get_build_target": "info event= strict=" => |tx, args| {
        let found = targets(tx.w, args.get("info"), args.event(), |_| true).pop();
        match found {
            Some(found) => Ok(found),
            None if args.truth("strict") => Err(Fault::generic(format!("No such build target: \
                {}", repr(args.get("info"))))),
            None => Ok(V::Nil),
        }
    };
    "getBuildTargets" as "get_build_targets": "info= event= buildTagID= destTagID= queryOpts=" => |tx, args| {
        let build = args.has("buildTagID").then(|| tag_of(tx.w, args.get("buildTagID"), None).unwrap_or(-1));
        let dest = args.has("destTagID").then(|| tag_of(tx.w, args.get("destTagID"), None).unwrap_or(-1));
        let fits = |t: &TargetConfig| build.is_none_or(|b| t.build_tag == b) && dest.is_none_or(|d| t.dest_tag == d);
        Ok(query(targets(tx.w, args.get("info"), args.event(), fits), args.get("queryOpts")))
    };
    "getInheritanceData" as "RootExports.getInheritanceData": "tag event=" => |tx, args| {
        let tag = tag(tx, args, "tag")?;
        Ok(V::Array(tx.w.parents(tag, args.event()).into_iter().map(|i| inheritance(tx.w, i)).collect()))
    };
    "getFullInheritance" as "RootExports.getFullInheritance": "tag event= reverse=" => |tx, args| {
        let tag = tag(tx, args, "tag")?;
        Ok(V::Array(tx.w.inheritance(tag, args.event()).iter().map(|l| link(tx.w, l)).collect()))
    };
    "getTagGroups" as "readTagGroups": "tag event= inherit= incl_pkgs= incl_reqs= incl_blocked=" => |tx, args| {
        let tag = tag(tx, args, "tag")?;
        Ok(V::Array(tx.w.tag_groups(tag, args.event()).iter().map(|g| group(tx.w, g)).collect()))
    };
    "getExternalRepoList" as "get_external_repo_list": "tag_info event=" => |tx, args| {
        let tag = tag(tx, args, "tag_info")?;
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for tag in tx.w.ancestry(tag, args.event()) {
            for repo in tag_external(tx.w, Some(tag), args.event()) {
                let id = repo.get("external_repo_id").cloned();
                if !seen.contains(&id) {
                    seen.push(id);
                    found.push(repo);
                }
            }
        }
        Ok(V::Array(found))
    };
    "getTagExternalRepos" as "get_tag_external_repos": "tag_info= repo_info= event=" => |tx, args| {
        let tag = if args.has("tag_info") { Some(tag(tx, args, "tag_info")?) } else { None };
        Ok(V::Array(tag_external(tx.w, tag, args.event())))
    };
    "listExternalRepos" as "get_external_repos": "info= url= event= queryOpts=" => |tx, args| {
        Ok(query(external(tx.w, args.get("info"), args.event()), args.get("queryOpts")))
    };
    "getExternalRepo" as "get_external_repo": "info strict= event=" => |tx, args| {
        match external(tx.w, args.get("info"), args.event()).pop() {
            Some(found) => Ok(found),
            None if args.truth("strict") => Err(Fault::generic(format!("No such external repo: \
                {}", repr(args.get("info"))))),
            None => Ok(V::Nil),
        }
    };
};

/// Returns a tag without its extra.
pub fn record(w: &World, config: &TagConfig) -> V {
    row! {
        "arches" => config.arches.as_ref(), "id" => config.tag, "locked" => config.locked,
        "maven_include_all" => config.maven_include_all, "maven_support" => config.maven_support,
        "name" => w.tag_name(config.tag), "perm" => config.perm.and_then(|p| w.permission_name(p)),
        "perm_id" => config.perm,
    }
}

fn full(w: &World, tag: i64, event: Option<i64>) -> V {
    let config = w.config(tag, event).unwrap();
    let record = record(w, config).with("extra", V::Struct(w.extra(tag, event)));
    match event {
        Some(event) => record.with("query_event", event),
        None => record,
    }
}

fn build_config(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let (tag, event, w) = (tag(tx, args, "tag")?, args.event(), &*tx.w);
    let mut record = full(w, tag, event);
    let mut arches = w.config(tag, event).and_then(|c| c.arches.clone()).filter(|a| !a.is_empty());
    let mut extra = w.extra(tag, event);
    let (mut from, mut arches_from) = (Vec::new(), V::Nil);
    for link in w.inheritance(tag, event).into_iter().filter(|l| !l.row.noconfig) {
        let parent = link.row.parent;
        let source = || row! { "id" => parent, "name" => w.tag_name(parent) };
        let theirs = w.config(parent, event).and_then(|c| c.arches.clone()).filter(|a| !a.is_empty());
        if arches.is_none() && theirs.is_some() {
            arches = theirs;
            arches_from = source();
        }
        for (key, value) in w.extra(parent, event) {
            if !extra.iter().any(|(known, _)| *known == key) {
                from.push((key.clone(), source()));
                extra.push((key, value));
            }
        }
    }
    if arches.is_some() {
        record.set("arches", arches);
    }
    record.set("extra", V::Struct(extra));
    Ok(record.with("config_inheritance", row! { "extra" => V::Struct(from), "arches" => arches_from }))
}

fn list_tags(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let mut tags: Vec<i64> = w.tags.iter().map(|t| t.id).collect();
    if args.has("build") {
        let build = build_of(w, args.get("build")).map(|b| b.id);
        let build = build.ok_or_else(|| Fault::generic(format!("No such build: {}", repr(args.get("build")))))?;
        let of_build = w.tags_of_build(build, None);
        tags.retain(|t| of_build.contains(t));
    }
    if args.has("package") {
        let package = package_of(w, args.get("package"));
        let package =
            package.ok_or_else(|| Fault::generic(format!("No such package: {}", repr(args.get("package")))))?;
        tags.retain(|t| w.list_entry(*t, package, None).is_some());
    }
    if let Some(pattern) = args.text("pattern") {
        let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        tags.retain(|t| w.tag_name(*t).is_some_and(|n| n.starts_with(start) && n.ends_with(end)));
    }
    let rows = tags.iter().filter_map(|t| w.config(*t, None)).map(|c| record(w, c)).collect();
    Ok(query(rows, args.get("queryOpts")))
}

fn targets(w: &World, info: &V, event: Option<i64>, fits: impl Fn(&TargetConfig) -> bool) -> Vec<V> {
    let wanted = |t: &TargetConfig| match info {
        V::Nil => true,
        V::Int(id) => t.target == *id,
        other => w.target_name(t.target) == other.as_str(),
    };
    let mut rows: Vec<&TargetConfig> =
        w.target_config.iter().filter(|t| t.ver.holds(event) && wanted(t) && fits(t)).collect();
    rows.sort_by_key(|t| t.target);
    let record = |t: &TargetConfig| {
        row! {
            "build_tag" => t.build_tag, "build_tag_name" => w.tag_name(t.build_tag), "dest_tag" => t.dest_tag,
            "dest_tag_name" => w.tag_name(t.dest_tag), "id" => t.target, "name" => w.target_name(t.target),
        }
    };
    rows.into_iter().map(record).collect()
}

fn inheritance(w: &World, row: &Inheritance) -> V {
    row! {
        "intransitive" => row.intransitive, "maxdepth" => row.maxdepth, "name" => w.tag_name(row.parent),
        "noconfig" => row.noconfig, "parent_id" => row.parent, "pkg_filter" => &row.pkg_filter,
        "priority" => row.priority, "child_id" => row.tag,
    }
}

fn link(w: &World, link: &Link) -> V {
    let filter: Vec<V> = link.filter.iter().map(V::from).collect();
    let record = inheritance(w, &link.row);
    record.with("nextdepth", link.nextdepth).with("currdepth", link.depth).with("filter", filter)
}

/// A group of a tag, inheritance included.
#[derive(Clone, Debug)]
pub struct TagGroup<'a> {
    pub config: &'a GroupConfig,
    pub packages: Vec<&'a GroupPackage>,
}

impl World {
    /// Returns the unblocked groups of a tag, by name. Each has its unblocked packages in the order
    /// they were added.
    pub fn tag_groups(&self, tag: i64, event: Option<i64>) -> Vec<TagGroup<'_>> {
        let mut configs: BTreeMap<&str, &GroupConfig> = BTreeMap::new();
        let mut packages: Vec<&GroupPackage> = Vec::new();
        for tag in self.ancestry(tag, event) {
            for config in self.group_config.iter().filter(|g| g.tag == tag && g.ver.holds(event)) {
                configs.entry(self.group_name(config.group).unwrap_or_default()).or_insert(config);
            }
            let own = self.group_packages.iter().filter(|p| p.tag == tag && p.ver.holds(event));
            let mut own: Vec<&GroupPackage> = own.collect();
            own.sort_by_key(|p| p.ver.create);
            for package in own {
                if !packages.iter().any(|p| p.group == package.group && p.package == package.package) {
                    packages.push(package);
                }
            }
        }
        let of = |group: i64| packages.iter().filter(|p| p.group == group && !p.blocked).copied().collect();
        configs
            .into_values()
            .filter(|c| !c.blocked)
            .map(|config| TagGroup { config, packages: of(config.group) })
            .collect()
    }
}

fn group(w: &World, group: &TagGroup<'_>) -> V {
    let config = group.config;
    let package = |p: &&GroupPackage| {
        row! {
            "basearchonly" => p.basearchonly, "blocked" => p.blocked, "group_id" => p.group, "package" => &p.package,
            "requires" => p.requires.as_ref(), "tag_id" => p.tag, "type" => &p.kind,
        }
    };
    row! {
        "biarchonly" => config.biarchonly, "blocked" => config.blocked, "description" => config.description.as_ref(),
        "display_name" => &config.display_name, "exported" => config.exported, "group_id" => config.group,
        "is_default" => config.is_default, "langonly" => config.langonly.as_ref(), "name" => w.group_name(config.group),
        "tag_id" => config.tag, "uservisible" => config.uservisible,
        "packagelist" => group.packages.iter().map(package).collect::<Vec<_>>(), "grouplist" => Vec::new(),
    }
}

fn tag_external(w: &World, tag: Option<i64>, event: Option<i64>) -> Vec<V> {
    let mut rows: Vec<&TagExternalRepo> =
        w.tag_external_repos.iter().filter(|r| r.ver.holds(event) && tag.is_none_or(|t| r.tag == t)).collect();
    rows.sort_by_key(|r| r.priority);
    let record = |r: &TagExternalRepo| {
        let url = w.external_repo_config.iter().find(|c| c.repo == r.repo && c.ver.holds(event)).map(|c| &c.url);
        row! {
            "arches" => r.arches.as_ref(), "external_repo_id" => r.repo,
            "external_repo_name" => w.external_repo_name(r.repo), "merge_mode" => &r.merge_mode,
            "priority" => r.priority, "tag_id" => r.tag, "tag_name" => w.tag_name(r.tag), "url" => url,
        }
    };
    rows.into_iter().map(record).collect()
}

fn external(w: &World, info: &V, event: Option<i64>) -> Vec<V> {
    let fits = |c: &ExternalRepoConfig| match info {
        V::Nil => true,
        V::Int(id) => c.repo == *id,
        other => w.external_repo_name(c.repo) == other.as_str(),
    };
    let rows = w.external_repo_config.iter().filter(|c| c.ver.holds(event) && fits(c));
    rows.map(|c| row! { "id" => c.repo, "name" => w.external_repo_name(c.repo), "url" => &c.url }).collect()
}
