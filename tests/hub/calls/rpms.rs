//! Calls about RPMs, their headers, and buildroots.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, row, time, ts};
use super::super::world::World;
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "listBuildRPMs" as "RootExports.listBuildRPMs": "build" => |tx, args| {
        let build = build_of(tx.w, args.get("build")).map(|b| b.id);
        let build = build.ok_or_else(|| Fault::generic(format!("No such build: {}", repr(args.get("build")))))?;
        Ok(V::Array(tx.w.rpms_of_build(build).map(|r| with_nvr(tx.w, r)).collect()))
    };
    "listRPMs" as "RootExports.listRPMs":
        "buildID= buildrootID= imageID= componentBuildrootID= hostID= arches= queryOpts= draft=" => list_rpms;
    "getRPM" as "get_rpm": "rpminfo strict= multi=" => get_rpm;
    "getRPMDeps" as "RootExports.getRPMDeps": "rpmID depType= queryOpts= strict=" => get_deps;
    "getRPMHeaders" as "RootExports.getRPMHeaders": "rpmID= taskID= filepath= headers= strict=" => get_headers;
    "getRPMChecksums" as "RootExports.getRPMChecksums": "rpm_id checksum_types= \
        cacheonly=" => |_, _| Ok(V::Struct(Vec::new()));
    "listRPMFiles" as "RootExports.listRPMFiles": "rpmID queryOpts= strict=" => list_files;
    "listBuildroots" as "query_buildroots":
        "hostID= tagID= state= rpmID= archiveID= taskID= buildrootID= repoID= type= queryOpts=" => list_buildroots;
    "getBuildroot" as "RootExports.getBuildroot": "buildrootID strict=" => |tx, args| {
        let root = args.int("buildrootID").and_then(|id| tx.w.buildroot(id));
        match root {
            Some(root) => Ok(buildroot(tx.w, root)),
            None if args.truth("strict") => {
                Err(Fault::generic(format!("No such buildroot: {}", repr(args.get("buildrootID")))))
            }
            None => Ok(V::Nil),
        }
    };
};

/// Returns an RPM in the form of the lists for tags.
pub fn listed(rpm: &Rpm) -> V {
    row! {
        "arch" => &rpm.arch, "build_id" => rpm.build, "buildroot_id" => rpm.buildroot, "buildtime" => rpm.buildtime,
        "draft" => rpm.build.map(|_| false), "epoch" => rpm.epoch, "extra" => V::Nil, "id" => rpm.id,
        "metadata_only" => false, "name" => &rpm.name, "payloadhash" => &rpm.payloadhash, "release" => &rpm.release,
        "size" => rpm.size, "version" => &rpm.version,
    }
}

/// Returns an RPM in the form of `getRPM`, or of `listRPMs` for a buildroot.
pub fn record(w: &World, rpm: &Rpm, nvr: bool) -> V {
    let V::Struct(members) = listed(rpm) else { unreachable!() };
    let mut all = Vec::new();
    for (name, value) in members {
        if name == "payloadhash" && nvr {
            all.push(("nvr".to_owned(), rpm.nvr().into()));
        }
        let after_epoch = name == "epoch";
        all.push((name, value));
        if after_epoch {
            all.push(("external_repo_id".to_owned(), rpm.external_repo.into()));
            all.push(("external_repo_name".to_owned(), w.external_repo_name(rpm.external_repo).into()));
        }
    }
    V::Struct(all)
}

fn with_nvr(w: &World, rpm: &Rpm) -> V {
    record(w, rpm, true)
}

/// Returns an RPM in a buildroot.
fn component(w: &World, rpm: &Rpm, root: i64, update: bool) -> V {
    let V::Struct(members) = record(w, rpm, true) else { unreachable!() };
    let mut all = Vec::new();
    for (name, value) in members {
        let here = name.clone();
        all.push((name, value));
        match here.as_str() {
            "buildtime" => all.push(("component_buildroot_id".to_owned(), root.into())),
            "id" => all.push(("is_update".to_owned(), update.into())),
            _ => (),
        }
    }
    V::Struct(all)
}

fn list_rpms(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let fits = |r: &Rpm| among(&r.arch.as_str().into(), args.get("arches"));
    let rows: Vec<V> = if args.has("componentBuildrootID") {
        let roots = list(args.get("componentBuildrootID")).unwrap_or_default();
        let roots = roots.iter().filter_map(V::as_int).filter_map(|id| w.buildroot(id));
        let of = |b: &Buildroot| {
            let mut listing = b.listing.clone();
            listing.sort_unstable();
            let rpms = listing.into_iter().filter_map(|(id, update)| w.rpm(id).map(|r| (r, update)));
            rpms.filter(|(r, _)| fits(r)).map(|(r, update)| component(w, r, b.id, update)).collect::<Vec<_>>()
        };
        roots.flat_map(of).collect()
    } else if args.has("buildID") {
        let build = build_of(w, args.get("buildID")).map_or(-1, |b| b.id);
        w.rpms_of_build(build).filter(|r| fits(r)).map(|r| with_nvr(w, r)).collect()
    } else {
        let root = args.int("buildrootID");
        w.rpms.iter().filter(|r| r.buildroot == root && root.is_some() && fits(r)).map(|r| with_nvr(w, r)).collect()
    };
    Ok(query(rows, args.get("queryOpts")))
}

/// Finds RPMs by number or by `name-version-release.arch`, those of this hub first.
fn find_rpms<'a>(w: &'a World, info: &V) -> Vec<&'a Rpm> {
    match info {
        V::Int(id) => w.rpm(*id).into_iter().collect(),
        V::Text(text) => {
            let file = format!("{}.rpm", text.strip_suffix(".rpm").unwrap_or(text));
            let mut found: Vec<&Rpm> = w.rpms.iter().filter(|r| r.file_name() == file).collect();
            found.sort_by_key(|r| (r.external_repo, r.id));
            found
        }
        V::Struct(_) => match info.get("id") {
            Some(id) => find_rpms(w, id),
            None => {
                let part = |name: &str| info.get(name).and_then(V::as_str).unwrap_or_default().to_owned();
                let (name, version, release, arch) = (part("name"), part("version"), part("release"), part("arch"));
                // A source package has the name of its build. The build is found without a search
                // through all RPMs.
                let build = w.build_of_nvr(&format!("{name}-{version}-{release}")).filter(|_| arch == "src");
                match build {
                    Some(build) => w.rpms_of_build(build.id).filter(|r| r.arch == arch).collect(),
                    None => find_rpms(w, &format!("{name}-{version}-{release}.{arch}").into()),
                }
            }
        },
        _ => Vec::new(),
    }
}

fn get_rpm(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let found = find_rpms(tx.w, args.get("rpminfo"));
    if args.truth("multi") {
        return Ok(V::Array(found.into_iter().map(|r| record(tx.w, r, false)).collect()));
    }
    match found.first() {
        Some(rpm) => Ok(record(tx.w, rpm, false)),
        None if args.truth("strict") => Err(Fault::generic(format!("No such rpm: {}", repr(args.get("rpminfo"))))),
        None => Ok(V::Nil),
    }
}

fn get_deps(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let rpm = find_rpms(tx.w, args.get("rpmID")).first().copied();
    let Some(rpm) = rpm.filter(|r| r.external_repo == 0) else { return Ok(V::Array(Vec::new())) };
    let kind = args.int("depType");
    let rows = rpm.deps.iter().filter(|d| kind.is_none_or(|k| d.kind == k));
    let rows = rows
        .map(|d| row! { "name" => &d.name, "version" => &d.version, "flags" => d.flags, "type" => d.kind })
        .collect();
    Ok(query(rows, args.get("queryOpts")))
}

fn header(rpm: &Rpm, name: &str) -> V {
    let requires = || rpm.deps.iter().filter(|d| d.kind == 0);
    let conflicts = || rpm.deps.iter().filter(|d| d.kind == 3);
    let [buildarchs, exclusive, exclude] = &*rpm.arches;
    let texts = |list: &[String]| V::Array(list.iter().map(V::from).collect());
    match name.to_uppercase().as_str() {
        "NAME" => rpm.name.as_str().into(),
        "VERSION" => rpm.version.as_str().into(),
        "RELEASE" => rpm.release.as_str().into(),
        "EPOCH" => rpm.epoch.into(),
        "ARCH" => if rpm.arch == "src" { "x86_64" } else { rpm.arch.as_str() }.into(),
        "REQUIRENAME" => V::Array(requires().map(|d| V::from(&d.name)).collect()),
        "REQUIREVERSION" => V::Array(requires().map(|d| V::from(&d.version)).collect()),
        "REQUIREFLAGS" => V::Array(requires().map(|d| V::Int(d.flags)).collect()),
        "CONFLICTNAME" => V::Array(conflicts().map(|d| V::from(&d.name)).collect()),
        "CONFLICTVERSION" => V::Array(conflicts().map(|d| V::from(&d.version)).collect()),
        "CONFLICTFLAGS" => V::Array(conflicts().map(|d| V::Int(d.flags)).collect()),
        "BUILDARCHS" => texts(buildarchs),
        "EXCLUSIVEARCH" => texts(exclusive),
        "EXCLUDEARCH" => texts(exclude),
        _ => V::Nil,
    }
}

fn get_headers(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let rpm = if args.has("rpmID") {
        find_rpms(w, args.get("rpmID")).first().copied()
    } else {
        let file = args.text("filepath").unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        find_rpms(w, &V::from(file)).first().copied()
    };
    let Some(rpm) = rpm else { return Ok(V::Struct(Vec::new())) };
    let names = list(args.get("headers")).unwrap_or_default();
    let names = names.iter().filter_map(V::as_str);
    Ok(V::Struct(names.map(|n| (n.to_owned(), header(rpm, n))).collect()))
}

fn list_files(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let Some(rpm) = args.int("rpmID").and_then(|id| tx.w.rpm(id)) else { return Ok(V::Array(Vec::new())) };
    let file = |name: &String| {
        let digest = blake3::hash(name.as_bytes()).to_hex().to_string();
        row! {
            "name" => name, "digest" => &digest, "digest_algo" => "sha256", "md5" => &digest, "size" => 11,
            "flags" => 2, "user" => "root", "group" => "root", "mtime" => rpm.buildtime, "mode" => 33188,
        }
    };
    Ok(query(rpm.files.iter().map(file).collect(), args.get("queryOpts")))
}

/// Returns a buildroot in the form of the lists.
pub fn buildroot(w: &World, root: &Buildroot) -> V {
    let repo = w.repo(root.repo);
    let event = |id: Option<i64>| id.and_then(|id| w.event_at(id));
    let (created, retired) = (event(Some(root.create_event)), event(root.retire_event));
    let repo_event = repo.map(|r| r.create_event);
    row! {
        "arch" => &root.arch, "br_type" => 0, "cg_id" => V::Nil, "cg_name" => V::Nil, "cg_version" => V::Nil,
        "container_arch" => &root.arch, "container_type" => "chroot", "create_event_id" => root.create_event,
        "create_event_time" => created.map(time), "create_ts" => created.map(ts), "extra" => V::Nil,
        "host_arch" => V::Nil, "host_id" => root.host, "host_name" => w.host(root.host).map(|h| h.name.as_str()),
        "host_os" => V::Nil, "id" => root.id, "repo_create_event_id" => repo_event,
        "repo_create_event_time" => event(repo_event).map(time), "repo_id" => root.repo,
        "repo_state" => repo.map(|r| r.state), "retire_event_id" => root.retire_event,
        "retire_event_time" => retired.map(time), "retire_ts" => retired.map(ts), "state" => root.state,
        "tag_id" => repo.map(|r| r.tag), "tag_name" => repo.and_then(|r| w.tag_name(r.tag)), "task_id" => root.task,
    }
}

fn list_buildroots(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let rpm = args.int("rpmID");
    let fits = |b: &&Buildroot| {
        among(&V::Int(b.task), args.get("taskID"))
            && among(&V::Int(b.id), args.get("buildrootID"))
            && among(&V::Int(b.repo), args.get("repoID"))
            && among(&V::Int(b.host), args.get("hostID"))
            && among(&V::Int(b.state), args.get("state"))
            && (!args.has("tagID") || w.repo(b.repo).is_some_and(|r| among(&V::Int(r.tag), args.get("tagID"))))
            && rpm.is_none_or(|rpm| b.listing.iter().any(|(id, _)| *id == rpm))
    };
    let rows = w.buildroots.iter().filter(fits).map(|b| buildroot(w, b)).collect();
    Ok(query(rows, args.get("queryOpts")))
}
