//! Checks of the targets, tags, architectures and build groups of collections.

use super::{Verdict, unanswered};
use crate::config::{CollectionConfig, Config, PackageConfig};
use crate::koji::records::Tag;
use crate::koji::{HubClient, HubError, calls};
use crate::model::arch::ArchOverride;
use crate::model::{Name, arch};

/// Checks the target, tags, architectures and build group of a collection. Returns the build tag if
/// it exists.
pub(super) async fn tags(client: &HubClient, c: &CollectionConfig, config: &Config) -> Verdict<Tag> {
    match tags_of(client, c, config).await {
        Ok(verdict) => verdict,
        Err(e) => unanswered(&e),
    }
}

async fn tags_of(client: &HubClient, c: &CollectionConfig, config: &Config) -> Result<Verdict<Tag>, HubError> {
    // Without a target in the configuration, the target has the name of the destination tag.
    let target = c.target.as_deref().or(c.dest_tag.as_deref()).unwrap_or(&c.name);
    let found = client.ask(calls::get_build_target(target)).await?;
    let named = |ours: &Option<String>, theirs: Option<&Name>| ours.as_deref().map(Name::from).or(theirs.cloned());
    let build = named(&c.build_tag, found.as_ref().map(|t| &t.build_tag_name));
    let dest = named(&c.dest_tag, found.as_ref().map(|t| &t.dest_tag_name));
    let mut wrong = Vec::new();
    let mut odd = Vec::new();
    match &found {
        // If another hub builds, nothing is submitted to this target. It only names tags.
        _ if c.builds_on.is_some() => {}
        None => wrong.push(format!("there is no target `{target}`, so nothing can be submitted")),
        Some(t) if build.as_ref() != Some(&t.build_tag_name) => odd.push(format!(
            "target `{target}` builds in `{}`, but the repositories of `build_tag` are resolved",
            t.build_tag_name
        )),
        Some(_) => {}
    }
    let mut tag = None;
    for (what, name) in [("build tag", &build), ("dest tag", &dest)] {
        let Some(name) = name else {
            wrong.push(format!("its {what} is not known"));
            continue;
        };
        match client.ask(calls::get_build_config(name, None)).await {
            Ok(Some(found)) if what == "build tag" => tag = Some(found),
            Ok(Some(_)) => {}
            Ok(None) => wrong.push(format!("there is no {what} `{name}`")),
            Err(HubError::Fault { .. }) => wrong.push(format!("there is no {what} `{name}`")),
            Err(e) => return Err(e),
        }
    }
    if let Some(tag) = &tag {
        let has: Vec<&str> = tag.arches().iter().map(|a| arch::canonical(a)).collect();
        if has.is_empty() {
            wrong.push(format!("build tag `{}` has no architectures: nothing can be built in it", tag.name));
        }
        let absent: Vec<&String> = c.arches.iter().filter(|a| !has.contains(&arch::canonical(a))).collect();
        if !absent.is_empty() && !has.is_empty() {
            odd.push(format!("`{}` does not have {absent:?}, only {}", tag.name, has.join(", ")));
        }
        if c.builds_on.is_none() {
            odd.extend(overridden(c, tag));
        }
        let group = c.build_group.as_deref().unwrap_or(&config.policy.build_group);
        let groups = client.ask(calls::get_tag_groups(&tag.name)).await?;
        if !groups.iter().any(|g| g.name == group && !g.blocked) {
            wrong.push(format!("`{}` has no group `{group}`: no buildroot can be resolved", tag.name));
        }
    }
    let name = |n: &Option<Name>| n.as_deref().unwrap_or("?").to_owned();
    let words = format!("target {target}, build tag {}, dest tag {}", name(&build), name(&dest));
    let verdict = if !wrong.is_empty() {
        let advice = "correct `target`, `build_tag`, `dest_tag` or `build_group` of the collection, or have it \
            created on the hub (`koji add-target`)";
        Verdict::failed(format!("{words}: {}", wrong.join("; ")), advice)
    } else if !odd.is_empty() {
        Verdict::warning(
            format!("{words}: {}", odd.join("; ")),
            "remove `build_tag` and `arches`, and correct `arch_override`, unless this is intended",
        )
    } else {
        Verdict::ok(words)
    };
    Ok(match tag {
        Some(tag) => verdict.with(tag),
        None => verdict,
    })
}

/// Finds overrides in the configuration that name an architecture that the build tag does not have.
fn overridden(c: &CollectionConfig, tag: &Tag) -> Vec<String> {
    let of = |p: &PackageConfig| {
        let over = p.arch_override.as_ref()?.parse::<ArchOverride>().ok()?;
        let absent: Vec<&str> = over.absent(tag.arches()).into_iter().map(Name::as_str).collect();
        (!absent.is_empty()).then(|| {
            format!(
                "`arch_override` of package `{}` names {}, which `{}` does not have",
                p.name,
                absent.join(", "),
                tag.name
            )
        })
    };
    c.packages.iter().filter_map(of).collect()
}

/// Checks the target, build tag, architectures and build group on a hub that builds a collection of
/// another hub.
pub(super) async fn building(client: &HubClient, c: &CollectionConfig, config: &Config) -> Verdict {
    match building_of(client, c, config).await {
        Ok(verdict) => verdict,
        Err(e) => unanswered(&e),
    }
}

async fn building_of(client: &HubClient, c: &CollectionConfig, config: &Config) -> Result<Verdict, HubError> {
    let advice = "correct `target` of `builds_on`, or have it created on the hub that builds (`koji add-target`), \
        with a build tag whose external repositories are those of the collection's hub";
    let Some(Ok(on)) = c.builds_on.as_ref().map(crate::config::BuildsOnConfig::settings) else {
        return Ok(Verdict::failed("`builds_on` names no hub and target", advice));
    };
    let Some(target) = client.ask(calls::get_build_target(&on.target)).await? else {
        let found = format!("there is no target `{}` on {}, so nothing can be submitted", on.target, on.hub);
        return Ok(Verdict::failed(found, advice));
    };
    let words = format!("target {} on {}, build tag {}", on.target, on.hub, target.build_tag_name);
    let tag = match client.ask(calls::get_build_config(&target.build_tag_name, None)).await {
        Ok(tag) => tag,
        Err(HubError::Fault { .. }) => None,
        Err(e) => return Err(e),
    };
    let Some(tag) = tag else { return Ok(Verdict::failed(format!("{words}: there is no such tag"), advice)) };
    let has: Vec<&str> = tag.arches().iter().map(|a| arch::canonical(a)).collect();
    if has.is_empty() {
        return Ok(Verdict::failed(format!("{words}: it has no architectures"), advice));
    }
    if !c.arches.is_empty() && !c.arches.iter().any(|a| has.contains(&arch::canonical(a))) {
        let found = format!("{words}: none of {:?}, only {}", c.arches, has.join(", "));
        return Ok(Verdict::failed(found, "correct `arches` of the collection, or have them added to the build tag"));
    }
    let groups = client.ask(calls::get_tag_groups(&tag.name)).await?;
    let group = c.build_group.as_deref().unwrap_or(&config.policy.build_group);
    if !groups.iter().any(|g| g.name == group && !g.blocked) {
        return Ok(Verdict::failed(format!("{words}: it has no group `{group}`"), advice));
    }
    let odd = overridden(c, &tag);
    if !odd.is_empty() {
        return Ok(Verdict::warning(
            format!("{words}: {}", odd.join("; ")),
            "correct `arch_override`, unless this is intended",
        ));
    }
    Ok(Verdict::ok(format!("{words}, {}; source packages at {}/packages", has.join(", "), on.srpm_root)))
}
