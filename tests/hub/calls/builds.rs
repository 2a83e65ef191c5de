//! Calls about builds, tagged builds and package lists.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, row, time, ts};
use super::super::world::World;
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "listTagged" as "RootExports.listTagged":
        "tag event= inherit= prefix= latest= package= owner= type= strict= extra= draft=" => list_tagged;
    "listTaggedRPMS" as "RootExports.listTaggedRPMS":
        "tag event= inherit= latest= package= arch= rpmsigs= owner= type= strict= extra= draft=" => list_tagged_rpms;
    "getLatestBuilds" as "RootExports.getLatestBuilds": "tag event= package= type= draft=" => latest_builds;
    "getLatestRPMS" as "RootExports.getLatestRPMS": "tag package= arch= event= rpmsigs= type= draft=" => latest_rpms;
    "getBuild" as "get_build": "buildInfo strict=" => |tx, args| {
        let info = args.get("buildInfo");
        match build_of(tx.w, info) {
            Some(build) => Ok(full(tx.w, build)),
            None if args.truth("strict") => Err(Fault::generic(format!("No such build: {}", repr(info)))),
            None => Ok(V::Nil),
        }
    };
    "listBuilds" as "RootExports.listBuilds":
        "packageID= userID= taskID= prefix= state= volumeID= source= createdBefore= createdAfter= completeBefore= \
         completeAfter= type= typeInfo= queryOpts= pattern= cgID= draft=" => list_builds;
    "getPackage" as "lookup_package": "info strict= create=" => |tx, args| {
        match package_of(tx.w, args.get("info")) {
            Some(id) => Ok(row! { "id" => id, "name" => tx.w.package_name(id) }),
            None if args.truth("strict") => Err(Fault::generic(format!("No such package: {}", repr(args.get("info"))))),
            None => Ok(V::Nil),
        }
    };
    "getPackageID" as "RootExports.getPackageID": "name strict=" => |tx, args| {
        match package_of(tx.w, args.get("name")) {
            Some(id) => Ok(id.into()),
            None if args.truth("strict") => Err(Fault::generic(format!("No such package: {}", repr(args.get("name"))))),
            None => Ok(V::Nil),
        }
    };
    "getPackageConfig" as "RootExports.getPackageConfig": "tag pkg event=" => |tx, args| {
        let tag = tag(tx, args, "tag")?;
        let package = package_of(tx.w, args.get("pkg"));
        let package = package.ok_or_else(|| Fault::generic(format!("No such package: {}", repr(args.get("pkg")))))?;
        let found = package_list(tx.w, tag, args.event(), true, Some(package)).into_iter().next();
        Ok(found.map_or(V::Nil, |(entry, owner)| package_record(tx.w, entry, owner)))
    };
    "listPackages" as "RootExports.listPackages":
        "tagID= userID= pkgID= prefix= inherited= with_dups= event= queryOpts= with_owners= \
            with_blocked=" => list_packages;
    "listPackagesSimple" as "RootExports.listPackagesSimple": "prefix= queryOpts=" => |tx, args| {
        let prefix = args.text("prefix").unwrap_or_default();
        let rows = tx.w.packages.iter().filter(|p| p.name.starts_with(prefix));
        let rows = rows.map(|p| row! { "package_id" => p.id, "package_name" => &p.name }).collect();
        Ok(query(rows, args.get("queryOpts")))
    };
    "getMavenBuild" as "get_maven_build": "buildInfo strict=" => |_, _| Ok(V::Nil);
    "getWinBuild" as "get_win_build": "buildInfo strict=" => |_, _| Ok(V::Nil);
    "getImageBuild" as "get_image_build": "buildInfo strict=" => |_, _| Ok(V::Nil);
    "getBuildType" as "get_build_type": "buildInfo strict=" => |_, _| Ok(row! { "rpm" => V::Nil });
    "listArchives" as "list_archives":
        "buildID= buildrootID= componentBuildrootID= hostID= type= filename= size= checksum= checksum_type= typeInfo= \
         queryOpts= imageID= archiveID= strict=" => |_, args| Ok(query(Vec::new(), args.get("queryOpts")));
    "queryRPMSigs" as "query_rpm_sigs": "rpm_id= sigkey= queryOpts=" => |_, args| {
        Ok(query(Vec::new(), args.get("queryOpts")))
    };
    "getChangelogEntries" as "RootExports.getChangelogEntries":
        "buildID= taskID= filepath= author= before= after= queryOpts= strict=" => |_, _| Ok(V::Array(Vec::new()));
    "listVolumes" as "RootExports.listVolumes": "" => |_, _| Ok(vec![row! { "id" => 0, "name" => "DEFAULT" }].into());
    "listBTypes" as "RootExports.listBTypes": "query= queryOpts=" => |_, _| {
        Ok(vec![row! { "id" => 1, "name" => "rpm" }].into())
    };
};

/// Returns a build in the form of the lists of tagged builds.
pub fn tagged_record(w: &World, listing: &Listing) -> V {
    let build = w.build(listing.build).unwrap();
    row! {
        "build_id" => build.id, "completion_time" => build.completion.map(time), "create_event" => listing.ver.create,
        "creation_event_id" => build.create_event, "creation_time" => time(build.create), "draft" => false,
        "epoch" => build.epoch, "id" => build.id, "name" => &build.name, "nvr" => build.nvr(),
        "owner_id" => build.owner, "owner_name" => w.user_name(build.owner), "package_id" => build.package,
        "package_name" => &build.name, "promoter_id" => V::Nil, "promoter_name" => V::Nil, "promotion_time" => V::Nil,
        "release" => &build.release, "start_time" => build.start.map(time), "state" => build.state,
        "tag_id" => listing.tag, "tag_name" => w.tag_name(listing.tag), "task_id" => build.task,
        "version" => &build.version, "volume_id" => 0, "volume_name" => "DEFAULT",
    }
}

/// Returns a build in the form of `getBuild`.
pub fn full(w: &World, build: &Build) -> V {
    row! {
        "build_id" => build.id, "cg_id" => V::Nil, "completion_time" => build.completion.map(time),
        "completion_ts" => build.completion.map(ts), "creation_event_id" => build.create_event,
        "creation_time" => time(build.create), "creation_ts" => ts(build.create), "draft" => false,
        "epoch" => build.epoch, "extra" => build.extra.clone(), "id" => build.id, "name" => &build.name,
        "nvr" => build.nvr(), "owner_id" => build.owner, "owner_name" => w.user_name(build.owner),
        "package_id" => build.package, "package_name" => &build.name, "promoter_id" => V::Nil,
        "promoter_name" => V::Nil, "promotion_time" => V::Nil, "promotion_ts" => V::Nil, "release" => &build.release,
        "source" => build.source.as_ref(), "start_time" => build.start.map(time), "start_ts" => build.start.map(ts),
        "state" => build.state, "task_id" => build.task, "version" => &build.version, "volume_id" => 0,
        "volume_name" => "DEFAULT", "cg_name" => V::Nil,
    }
}

/// Resolves the tag and selects the entries for the calls about tagged builds.
fn tagged<'a>(tx: &'a Tx<'_>, args: &Args, latest: bool) -> Result<Vec<&'a Listing>, Fault> {
    let found = tag_of(tx.w, args.get("tag"), args.event());
    let Some(tag) = found else {
        if args.has("strict") && !args.truth("strict") {
            return Ok(Vec::new());
        }
        return Err(Fault::generic(format!("No such tagInfo: {}", repr(args.get("tag")))));
    };
    let package = match args.get("package") {
        V::Nil => None,
        given => Some(package_of(tx.w, given).unwrap_or(-1)),
    };
    let inherit = args.truth("inherit");
    let mut rows = tx.w.tagged(tag, args.event(), inherit, latest, package);
    if let Some(prefix) = args.text("prefix") {
        rows.retain(|l| tx.w.build(l.build).is_some_and(|b| b.name.starts_with(prefix)));
    }
    if args.has("owner") {
        let owner = user_of(tx.w, args.get("owner")).map(|u| u.id);
        rows.retain(|l| tx.w.build(l.build).map(|b| b.owner) == owner);
    }
    Ok(rows)
}

fn list_tagged(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let rows = tagged(tx, args, args.truth("latest"))?;
    Ok(V::Array(rows.into_iter().map(|l| tagged_record(tx.w, l)).collect()))
}

fn rpms_and_builds(tx: &Tx<'_>, builds: &[&Listing], args: &Args) -> V {
    let mut ids: Vec<i64> = builds.iter().map(|l| l.build).collect();
    ids.sort_unstable();
    ids.dedup();
    let rpms =
        ids.iter().flat_map(|b| tx.w.rpms_of_build(*b)).filter(|r| among(&r.arch.as_str().into(), args.get("arch")));
    let mut rpms: Vec<&Rpm> = rpms.collect();
    rpms.sort_by_key(|r| r.id);
    let rpms: Vec<V> = rpms.into_iter().map(super::rpms::listed).collect();
    let builds: Vec<V> = builds.iter().map(|l| tagged_record(tx.w, l)).collect();
    V::Array(vec![rpms.into(), builds.into()])
}

fn list_tagged_rpms(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let rows = tagged(tx, args, args.truth("latest"))?;
    Ok(rpms_and_builds(tx, &rows, args))
}

/// Selects entries like `listTagged` with inheritance and latest.
fn latest<'a>(tx: &'a Tx<'_>, args: &Args) -> Result<Vec<&'a Listing>, Fault> {
    let tag = tag(tx, args, "tag")?;
    let package = match args.get("package") {
        V::Nil => None,
        given => Some(package_of(tx.w, given).unwrap_or(-1)),
    };
    Ok(tx.w.tagged(tag, args.event(), true, true, package))
}

fn latest_builds(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let rows = latest(tx, args)?;
    Ok(V::Array(rows.into_iter().map(|l| tagged_record(tx.w, l)).collect()))
}

fn latest_rpms(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let rows = latest(tx, args)?;
    Ok(rpms_and_builds(tx, &rows, args))
}

fn list_builds(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let owner = if args.has("userID") { Some(user_of(w, args.get("userID")).map_or(-1, |u| u.id)) } else { None };
    let package = if args.has("packageID") { Some(package_of(w, args.get("packageID")).unwrap_or(-1)) } else { None };
    let prefix = args.text("prefix").unwrap_or_default().to_lowercase();
    let (created_before, created_after) = (args.time("createdBefore"), args.time("createdAfter"));
    let (complete_before, complete_after) = (args.time("completeBefore"), args.time("completeAfter"));
    let fits = |b: &&Build| {
        package.is_none_or(|p| b.package == p)
            && owner.is_none_or(|o| b.owner == o)
            && (!args.has("taskID") || b.task.is_some_and(|t| among(&V::Int(t), args.get("taskID"))))
            && b.name.to_lowercase().starts_with(&prefix)
            && among(&V::Int(b.state), args.get("state"))
            && created_before.is_none_or(|t| b.create < t)
            && created_after.is_none_or(|t| b.create > t)
            && complete_before.is_none_or(|t| b.completion.is_some_and(|c| c < t))
            && complete_after.is_none_or(|t| b.completion.is_some_and(|c| c > t))
    };
    let rows = w.builds.iter().filter(fits).map(|b| full(w, b).without(&["id", "cg_id", "cg_name"])).collect();
    Ok(query(rows, args.get("queryOpts")))
}

/// Returns the entries that count for a tag, in order of packages, with the owner of each.
fn package_list(
    w: &World,
    tag: i64,
    event: Option<i64>,
    inherited: bool,
    package: Option<i64>,
) -> Vec<(&TagPackage, Option<i64>)> {
    let tags = if inherited { w.ancestry(tag, event) } else { vec![tag] };
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for tag in &tags {
        let rows = w
            .tag_packages
            .iter()
            .filter(|p| p.tag == *tag && p.ver.holds(event) && package.is_none_or(|id| p.package == id));
        let mut rows: Vec<&TagPackage> = rows.collect();
        rows.sort_by_key(|p| p.package);
        for entry in rows {
            if seen.insert(entry.package) {
                let owner = tags.iter().skip_while(|t| *t != tag).find_map(|t| w.list_owner(*t, entry.package, event));
                found.push((entry, owner));
            }
        }
    }
    found
}

fn package_record(w: &World, entry: &TagPackage, owner: Option<i64>) -> V {
    row! {
        "blocked" => entry.blocked, "extra_arches" => entry.extra_arches.as_ref(), "owner_id" => owner,
        "owner_name" => owner.and_then(|o| w.user_name(o)), "package_id" => entry.package,
        "package_name" => w.package_name(entry.package), "tag_id" => entry.tag, "tag_name" => w.tag_name(entry.tag),
    }
}

impl World {
    /// Returns the names of packages that are blocked for a tag.
    pub fn blocked_packages(&self, tag: i64, event: Option<i64>) -> Vec<&str> {
        let rows = package_list(self, tag, event, true, None).into_iter().filter(|(e, _)| e.blocked);
        let mut names: Vec<&str> = rows.filter_map(|(e, _)| self.package_name(e.package)).collect();
        names.sort_unstable();
        names
    }
}

fn list_packages(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let package = if args.has("pkgID") { Some(package_of(w, args.get("pkgID")).unwrap_or(-1)) } else { None };
    if !args.has("tagID") {
        if args.has("userID") || args.has("pkgID") {
            let owner = user_of(w, args.get("userID")).map(|u| u.id);
            let rows =
                w.tag_packages.iter().filter(|p| p.ver.holds(args.event()) && package.is_none_or(|id| p.package == id));
            let rows = rows.map(|p| (p, w.list_owner(p.tag, p.package, args.event())));
            let rows = rows
                .filter(|(_, o)| !args.has("userID") || *o == owner)
                .map(|(p, o)| package_record(w, p, o))
                .collect();
            return Ok(query(rows, args.get("queryOpts")));
        }
        let rows = w.packages.iter().map(|p| row! { "package_id" => p.id, "package_name" => &p.name }).collect();
        return Ok(query(rows, args.get("queryOpts")));
    }
    let tag = tag(tx, args, "tagID")?;
    let owner = user_of(w, args.get("userID")).map(|u| u.id);
    let prefix = args.text("prefix").unwrap_or_default();
    let rows = package_list(w, tag, args.event(), args.truth("inherited"), package).into_iter();
    let rows = rows.filter(|(e, o)| {
        (args.not_false("with_blocked") || !e.blocked)
            && (!args.has("userID") || *o == owner)
            && w.package_name(e.package).is_some_and(|n| n.starts_with(prefix))
    });
    let rows = rows.map(|(e, o)| {
        let record = package_record(w, e, o);
        if args.not_false("with_owners") { record } else { record.without(&["owner_id", "owner_name"]) }
    });
    Ok(query(rows.collect(), args.get("queryOpts")))
}
