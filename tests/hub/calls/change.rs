//! Calls that change tags and package lists, for users with the permission.

use super::super::fault::Fault;
use super::super::tx::Tx;
use super::super::value::{V, row};
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "createTag" as "create_tag": "name parent= arches= perm= locked= maven_support= maven_include_all= \
        extra=" => |tx, args| {
        tx.need_perm("tag")?;
        let id = tx.create_tag(args.text("name").unwrap_or_default(), args.text("arches").unwrap_or_default())?;
        Ok(id.into())
    };
    "tagBuildBypass" as "RootExports.tagBuildBypass": "tag build force= notify=" => |tx, args| {
        tx.need_perm("tag")?;
        let (tag, nvr) = names(tx, args)?;
        tx.tag_build(&tag, &nvr, args.truth("force"))?;
        Ok(V::Nil)
    };
    "untagBuildBypass" as "RootExports.untagBuildBypass": "tag build strict= force= notify=" => |tx, args| {
        tx.need_perm("tag")?;
        let (tag, nvr) = names(tx, args)?;
        tx.untag_build(&tag, &nvr)?;
        Ok(V::Nil)
    };
    "untagBuild" as "RootExports.untagBuild": "tag build strict= force=" => |tx, args| {
        tx.logged_in()?;
        let (tag, nvr) = names(tx, args)?;
        tx.untag_build(&tag, &nvr)?;
        Ok(V::Nil)
    };
    "massTag" as "RootExports.massTag": "tag builds" => |tx, args| {
        tx.need_perm("tag")?;
        let tag = tag(tx, args, "tag")?;
        let tag = tx.w.tag_name(tag).unwrap_or_default().to_owned();
        let nvrs = list(args.get("builds")).unwrap_or_default();
        let nvrs: Vec<&str> = nvrs.iter().filter_map(V::as_str).collect();
        tx.mass_tag(&tag, &nvrs)?;
        Ok(V::Nil)
    };
    "packageListAdd" as "pkglist_add": "taginfo pkginfo owner= block= extra_arches= force= update=" => |tx, args| {
        tx.need_perm("tag")?;
        let (tag, package) = list_names(tx, args)?;
        let owner = user_of(tx.w, args.get("owner")).map(|u| u.name.clone());
        let block = args.has("block").then(|| args.truth("block"));
        tx.package_list_edit(&tag, &package, owner.as_deref(), block, args.text("extra_arches"))?;
        Ok(V::Nil)
    };
    "packageListBlock" as "pkglist_block": "taginfo pkginfo force=" => |tx, args| {
        tx.need_perm("tag")?;
        let (tag, package) = list_names(tx, args)?;
        tx.package_list_block(&tag, &package)?;
        Ok(V::Nil)
    };
    "createExternalRepo" as "create_external_repo": "name url" => |tx, args| {
        tx.need_perm("admin")?;
        let id = tx.create_external_repo(args.text("name").unwrap_or_default(), args.text("url").unwrap_or_default())?;
        let url = tx.w.external_repo_config.last().map(|c| c.url.clone());
        Ok(row! { "id" => id, "name" => args.text("name"), "url" => url })
    };
    "addExternalRepoToTag" as "add_external_repo_to_tag": "tag_info repo_info priority merge_mode= \
        arches=" => |tx, args| {
        tx.need_perm("tag")?;
        let tag = tag(tx, args, "tag_info")?;
        let tag = tx.w.tag_name(tag).unwrap_or_default().to_owned();
        let repo = args.text("repo_info").unwrap_or_default();
        let (priority, mode) = (args.int("priority").unwrap_or(0), args.text("merge_mode").unwrap_or("koji"));
        tx.add_external_repo(&tag, repo, priority, mode, args.text("arches"))?;
        Ok(V::Nil)
    };
    "removeExternalRepoFromTag" as "remove_external_repo_from_tag": "tag_info repo_info" => |tx, args| {
        tx.need_perm("tag")?;
        let tag = tag(tx, args, "tag_info")?;
        let tag = tx.w.tag_name(tag).unwrap_or_default().to_owned();
        tx.remove_external_repo(&tag, args.text("repo_info").unwrap_or_default())?;
        Ok(V::Nil)
    };
    "createSideTag" as "createSideTag": "basetag debuginfo= suffix=" => |tx, args| {
        tx.logged_in()?;
        let tag = tag(tx, args, "basetag")?;
        let name = tx.w.tag_name(tag).unwrap_or_default().to_owned();
        let side = tx.create_side_tag(&name)?;
        let id = tx.w.tag_named(&side);
        Ok(row! { "name" => side, "id" => id })
    };
    "cancelBuild" as "RootExports.cancelBuild": "buildID strict=" => |tx, args| {
        let user = tx.logged_in()?;
        let build = build_of(tx.w, args.get("buildID")).cloned();
        let build = build.ok_or_else(|| Fault::generic(format!("No such build: {}", repr(args.get("buildID")))))?;
        if build.owner != user && !tx.is_admin() {
            return Err(Fault::not_allowed("Cannot cancel build, not owner"));
        }
        if build.state != 0 {
            return Ok(false.into());
        }
        tx.cancel_build(&build.nvr())?;
        Ok(true.into())
    };
};

/// Returns the names of the tag and the build of a call.
fn names(tx: &Tx<'_>, args: &Args) -> Result<(String, String), Fault> {
    let tag = tag(tx, args, "tag")?;
    let build = build_of(tx.w, args.get("build"));
    let build = build.ok_or_else(|| Fault::generic(format!("No such build: {}", repr(args.get("build")))))?;
    Ok((tx.w.tag_name(tag).unwrap_or_default().to_owned(), build.nvr()))
}

fn list_names(tx: &Tx<'_>, args: &Args) -> Result<(String, String), Fault> {
    let tag = tag(tx, args, "taginfo")?;
    let package = match args.get("pkginfo") {
        V::Text(name) => name.clone(),
        other => package_of(tx.w, other).and_then(|p| tx.w.package_name(p)).unwrap_or_default().to_owned(),
    };
    Ok((tx.w.tag_name(tag).unwrap_or_default().to_owned(), package))
}
