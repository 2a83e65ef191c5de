//! `queryHistory`, and the last change of a tag.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, ts};
use super::super::world::{Table, World};
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "queryHistory" as "query_history": "*" => query_history;
    "tagLastChangeEvent" as "tag_last_change_event": "tag before= inherit=" => |tx, args| {
        let tag = tag(tx, args, "tag")?;
        Ok(tx.w.last_change(tag, args.time("before")).into())
    };
    "tagFirstChangeEvent" as "tag_first_change_event": "tag after= inherit=" => |tx, args| {
        let tag = tag(tx, args, "tag")?;
        Ok(tx.w.first_change(tag, args.int("after").unwrap_or(0)).into())
    };
    "tagChangedSinceEvent" as "tag_changed_since_event": "event taglist" => |tx, args| {
        let named = list(args.get("taglist")).unwrap_or_default();
        let tags: Vec<i64> = named.iter().filter_map(|t| tag_of(tx.w, t, None)).collect();
        Ok(tx.w.changed_since(args.event().unwrap_or(0), &tags).into())
    };
};

/// Members of a table's rows in addition to those that all rows have, by name.
type Fields = Vec<(&'static str, V)>;

/// The filters of a query.
struct Ask {
    tag: Option<i64>,
    package: Option<i64>,
    build: Option<i64>,
    user: Option<i64>,
    active: Option<bool>,
    after: Option<i64>,
    before: Option<i64>,
}

fn query_history(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let tables = list(args.get("tables")).or_else(|| args.rest.first().and_then(list));
    let w = &*tx.w;
    let optional = |name: &str, found: Option<i64>, what: &str| -> Result<Option<i64>, Fault> {
        if args.has(name) && found.is_none() {
            return Err(Fault::generic(format!("No such {what}: {}", repr(args.get(name)))));
        }
        Ok(found)
    };
    // A deleted tag has a history as well.
    let tag = match args.get("tag") {
        V::Text(name) => w.tag_named(name),
        other => other.as_int(),
    };
    let event_before =
        |name: &str| args.time(name).and_then(|at| w.events.iter().rev().find(|e| e.at <= at).map(|e| e.id));
    let ask = Ask {
        tag: optional("tag", tag, "tag")?,
        package: optional("package", package_of(w, args.get("package")), "package")?,
        build: optional("build", build_of(w, args.get("build")).map(|b| b.id), "build")?,
        user: optional("editor", user_of(w, args.get("editor")).map(|u| u.id), "user")?,
        active: args.has("active").then(|| args.truth("active")),
        after: args.int("afterEvent").or_else(|| event_before("after")),
        before: args.int("beforeEvent").or_else(|| event_before("before").map(|e| e + 1)),
    };
    let wanted = |name: &str| tables.as_ref().is_none_or(|t| t.contains(&V::from(name)));
    let mut answer: Vec<(String, V)> = Vec::new();
    for name in NAMES.iter().filter(|n| wanted(n)) {
        if let Some(rows) = table(w, name, &ask) {
            let rows = query(rows, args.get("queryOpts"));
            // A table requested by name is in the answer even if it is empty. Any other table is
            // there only if the query fits it.
            answer.push(((*name).to_owned(), rows));
        }
    }
    if let Some(tables) = tables {
        answer.sort_by_key(|(name, _)| tables.iter().position(|t| t.as_str() == Some(name)));
    }
    Ok(V::Struct(answer))
}

/// The tables in the order of an answer to a query that names no tables.
const NAMES: &[&str] = &[
    "build_target_config",
    "external_repo_config",
    "group_config",
    "group_package_listing",
    "host_channels",
    "tag_config",
    "tag_external_repos",
    "tag_extra",
    "tag_inheritance",
    "tag_listing",
    "tag_package_owners",
    "tag_packages",
];

/// Returns the rows of one table, oldest first. `None` if the query does not fit the table.
fn table(w: &World, name: &str, ask: &Ask) -> Option<Vec<V>> {
    let tag = |id: i64| vec![("tag.name", V::from(w.tag_name(id))), ("tag_id", id.into())];
    let package = |id: i64| vec![("package.name", V::from(w.package_name(id))), ("package_id", id.into())];
    let only_tag = ask.package.is_none() && ask.build.is_none();
    let listing = |r: &Listing| {
        let build = w.build(r.build).unwrap();
        let mut fields = vec![
            ("build.state", V::from(build.state)),
            ("build_id", build.id.into()),
            ("epoch", build.epoch.into()),
            ("name", build.name.as_str().into()),
            ("release", build.release.as_str().into()),
            ("version", build.version.as_str().into()),
        ];
        fields.extend(tag(r.tag));
        fields
    };
    let in_tag = |t: i64| ask.tag.is_none_or(|tag| tag == t);
    Some(match name {
        "tag_listing" => rows(w, &w.tag_listing, ask, listing, |r| {
            in_tag(r.tag)
                && ask.build.is_none_or(|b| r.build == b)
                && ask.package.is_none_or(|p| w.build(r.build).is_some_and(|b| b.package == p))
        }),
        "tag_packages" if ask.build.is_none() => {
            let fields = |r: &TagPackage| {
                let own = vec![("blocked", r.blocked.into()), ("extra_arches", V::from(r.extra_arches.as_ref()))];
                [own, package(r.package), tag(r.tag)].concat()
            };
            rows(w, &w.tag_packages, ask, fields, |r| in_tag(r.tag) && ask.package.is_none_or(|p| r.package == p))
        }
        "tag_package_owners" if ask.build.is_none() => {
            let fields = |r: &TagPackageOwner| {
                let own = vec![("owner", r.owner.into()), ("owner.name", w.user_name(r.owner).into())];
                [own, package(r.package), tag(r.tag)].concat()
            };
            rows(w, &w.tag_package_owners, ask, fields, |r| in_tag(r.tag) && ask.package.is_none_or(|p| r.package == p))
        }
        "group_package_listing" if ask.build.is_none() => {
            let named = ask.package.and_then(|p| w.package_name(p));
            let fields = |r: &GroupPackage| {
                let own = vec![
                    ("basearchonly", r.basearchonly.into()),
                    ("blocked", r.blocked.into()),
                    ("group.name", w.group_name(r.group).into()),
                    ("group_id", r.group.into()),
                    ("package", r.package.as_str().into()),
                    ("requires", r.requires.as_ref().into()),
                    ("type", r.kind.as_str().into()),
                ];
                [own, tag(r.tag)].concat()
            };
            rows(w, &w.group_packages, ask, fields, |r| {
                in_tag(r.tag) && (ask.package.is_none() || named == Some(&r.package))
            })
        }
        _ if !only_tag => return None,
        "tag_inheritance" => {
            let fields = |r: &Inheritance| {
                let own = vec![
                    ("intransitive", r.intransitive.into()),
                    ("maxdepth", r.maxdepth.into()),
                    ("noconfig", r.noconfig.into()),
                    ("parent.name", w.tag_name(r.parent).into()),
                    ("parent_id", r.parent.into()),
                    ("pkg_filter", r.pkg_filter.as_str().into()),
                    ("priority", r.priority.into()),
                ];
                [own, tag(r.tag)].concat()
            };
            rows(w, &w.tag_inheritance, ask, fields, |r| in_tag(r.tag) || ask.tag == Some(r.parent))
        }
        "tag_config" => {
            let fields = |r: &TagConfig| {
                let own = vec![
                    ("arches", V::from(r.arches.as_ref())),
                    ("locked", r.locked.into()),
                    ("maven_include_all", r.maven_include_all.into()),
                    ("maven_support", r.maven_support.into()),
                    ("perm_id", r.perm.into()),
                    ("permission.name", r.perm.and_then(|p| w.permission_name(p)).into()),
                ];
                [own, tag(r.tag)].concat()
            };
            rows(w, &w.tag_config, ask, fields, |r| in_tag(r.tag))
        }
        "tag_extra" => {
            let fields = |r: &TagExtra| {
                let value = r.value.json().to_string();
                [vec![("key", V::from(&r.key)), ("value", value.into())], tag(r.tag)].concat()
            };
            rows(w, &w.tag_extra, ask, fields, |r| in_tag(r.tag))
        }
        "tag_external_repos" => {
            let fields = |r: &TagExternalRepo| {
                let own = vec![
                    ("arches", r.arches.as_ref().into()),
                    ("external_repo.name", w.external_repo_name(r.repo).into()),
                    ("external_repo_id", r.repo.into()),
                    ("merge_mode", r.merge_mode.as_str().into()),
                    ("priority", r.priority.into()),
                ];
                [own, tag(r.tag)].concat()
            };
            rows(w, &w.tag_external_repos, ask, fields, |r| in_tag(r.tag))
        }
        "build_target_config" => {
            let fields = |r: &TargetConfig| {
                vec![
                    ("build_tag", r.build_tag.into()),
                    ("build_tag.name", w.tag_name(r.build_tag).into()),
                    ("build_target.name", w.target_name(r.target).into()),
                    ("build_target_id", r.target.into()),
                    ("dest_tag", r.dest_tag.into()),
                    ("dest_tag.name", w.tag_name(r.dest_tag).into()),
                ]
            };
            rows(w, &w.target_config, ask, fields, |r| in_tag(r.build_tag) || in_tag(r.dest_tag))
        }
        "group_config" => {
            let fields = |r: &GroupConfig| {
                let own = vec![
                    ("biarchonly", r.biarchonly.into()),
                    ("blocked", r.blocked.into()),
                    ("description", V::from(r.description.as_ref())),
                    ("display_name", r.display_name.as_str().into()),
                    ("exported", r.exported.into()),
                    ("group.name", w.group_name(r.group).into()),
                    ("group_id", r.group.into()),
                    ("is_default", r.is_default.into()),
                    ("langonly", V::from(r.langonly.as_ref())),
                    ("uservisible", r.uservisible.into()),
                ];
                [own, tag(r.tag)].concat()
            };
            rows(w, &w.group_config, ask, fields, |r| in_tag(r.tag))
        }
        "external_repo_config" if ask.tag.is_none() => {
            let fields = |r: &ExternalRepoConfig| {
                let name = w.external_repo_name(r.repo);
                vec![
                    ("external_repo.name", name.into()),
                    ("external_repo_id", r.repo.into()),
                    ("url", r.url.as_str().into()),
                ]
            };
            rows(w, &w.external_repo_config, ask, fields, |_| true)
        }
        "host_channels" if ask.tag.is_none() => {
            let fields = |r: &HostChannel| {
                let (host, channel) =
                    (w.host(r.host).map(|h| h.name.as_str()), w.channel(r.channel).map(|c| c.name.as_str()));
                let names = vec![("host.name", V::from(host)), ("channels.name", channel.into())];
                [names, vec![("host_id", r.host.into()), ("channel_id", r.channel.into())]].concat()
            };
            rows(w, &w.host_channels, ask, fields, |_| true)
        }
        _ => return None,
    })
}

/// Returns the rows that fit, with creation and revocation. Members are sorted by name.
fn rows<T: Versioned + Clone>(
    w: &World,
    table: &Table<T>,
    ask: &Ask,
    fields: impl Fn(&T) -> Fields,
    fits: impl Fn(&T) -> bool,
) -> Vec<V> {
    let in_time = |v: &Ver| {
        ask.active.is_none_or(|active| v.revoke.is_none() == active)
            && ask.user.is_none_or(|u| v.creator == u || v.revoker == Some(u))
            && ask.after.is_none_or(|after| v.create > after || v.revoke.is_some_and(|r| r > after))
            && ask.before.is_none_or(|before| v.create < before || v.revoke.is_some_and(|r| r < before))
    };
    let mut found: Vec<&T> = table.iter().filter(|r| in_time(r.ver()) && fits(r)).collect();
    found.sort_by_key(|r| r.ver().create);
    let record = |r: &&T| {
        let v = *r.ver();
        let at = |event: Option<i64>| event.and_then(|e| w.event_at(e)).map(ts);
        let mut members: Vec<(&str, V)> = vec![
            ("active", v.revoke.is_none().then_some(true).into()),
            ("create_event", v.create.into()),
            ("create_ts", at(Some(v.create)).into()),
            ("creator_id", v.creator.into()),
            ("creator_name", w.user_name(v.creator).into()),
            ("revoke_event", v.revoke.into()),
            ("revoke_ts", at(v.revoke).into()),
            ("revoker_id", v.revoker.into()),
            ("revoker_name", v.revoker.and_then(|r| w.user_name(r)).into()),
        ];
        if let Some(after) = ask.after {
            members.push(("_created_after_event", (v.create > after).into()));
            members.push(("_revoked_after_event", v.revoke.map(|r| r > after).into()));
        }
        if let Some(before) = ask.before {
            members.push(("_created_before_event", (v.create < before).into()));
            members.push(("_revoked_before_event", v.revoke.map(|r| r < before).into()));
        }
        members.extend(fields(r));
        members.sort_by_key(|(name, _)| *name);
        V::Struct(members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
    };
    found.iter().map(record).collect()
}
