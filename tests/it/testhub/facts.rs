//! Puts facts of a recorded hub into the tables of the test hub, row by row.

use std::sync::Arc;

use serde_json::Value as J;

use crate::hub::V;
use crate::hub::rows::*;
use crate::hub::world::{Table, World};

/// A fact: a row of a table, valid from an exchange on.
#[derive(serde::Deserialize, Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) at: u32,
    pub(crate) table: String,
    pub(crate) row: J,
}

/// Returns the facts of a recording, in order.
pub(crate) fn facts(recording: &str) -> Vec<Fact> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(recording).join("facts.jsonl.zst");
    let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    std::str::from_utf8(&text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A row's members. A missing member has a default.
struct Row<'a>(&'a J);

impl Row<'_> {
    fn get(&self, name: &str) -> Option<&J> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    fn maybe(&self, name: &str) -> Option<i64> {
        self.get(name).map(|v| v.as_i64().unwrap_or_else(|| panic!("{name} in {:?}", self.0)))
    }

    fn int(&self, name: &str) -> i64 {
        self.maybe(name).unwrap_or(0)
    }

    fn text(&self, name: &str) -> String {
        self.words(name).unwrap_or_default()
    }

    fn words(&self, name: &str) -> Option<String> {
        self.get(name).map(|v| v.as_str().unwrap().to_owned())
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v.as_bool().unwrap())
    }

    fn truth(&self, name: &str) -> Option<bool> {
        self.get(name).map(|v| v.as_bool().unwrap())
    }

    fn double(&self, name: &str) -> f64 {
        self.get(name).map_or(0.0, |v| v.as_f64().unwrap())
    }

    fn value(&self, name: &str) -> V {
        self.get(name).map_or(V::Nil, V::from_json)
    }

    fn ver(&self) -> Ver {
        let (create, creator) = (self.maybe("create").unwrap_or(1), self.maybe("creator").unwrap_or(1));
        Ver { create, creator, revoke: self.maybe("revoke"), revoker: self.maybe("revoker") }
    }
}

/// Inserts a row by its number, or replaces the existing one.
fn put<T: Clone>(table: &mut Table<T>, id: i64, of: impl Fn(&T) -> i64, row: T) {
    let rows = table.rows();
    match rows.binary_search_by_key(&id, &of) {
        Ok(at) => rows[at] = row,
        Err(at) => rows.insert(at, row),
    }
}

fn named(table: &mut Table<Named>, row: &Row<'_>) {
    put(table, row.int("id"), |r| r.id, Named { id: row.int("id"), name: row.text("name") });
}

/// Applies one fact.
pub(crate) fn apply(w: &mut World, fact: &Fact) {
    let row = Row(&fact.row);
    let id = row.int("id");
    let tag_named = row.words("tag_named").and_then(|name| w.tag_named(&name));
    match fact.table.as_str() {
        "events" => put(&mut w.events, id, |e| e.id, Event { id, at: row.int("at") }),
        "users" => {
            let perms: Option<Vec<String>> = row.get("perms").map(|p| serde_json::from_value(p.clone()).unwrap());
            let known = w.user(id).cloned();
            let user = User {
                id,
                name: row.text("name"),
                status: 0,
                usertype: row.int("usertype"),
                principal: row.words("principal").or(known.as_ref().and_then(|k| k.principal.clone())),
                perms: perms.or(known.map(|k| k.perms)).unwrap_or_default(),
            };
            put(&mut w.users, id, |r| r.id, user);
        }
        "channels" => {
            put(&mut w.channels, id, |r| r.id, Channel { id, name: row.text("name"), enabled: row.flag("enabled") })
        }
        "hosts" => put(
            &mut w.hosts,
            id,
            |r| r.id,
            Host {
                id,
                user: row.int("user"),
                name: row.text("name"),
                arches: row.text("arches"),
                capacity: row.double("capacity"),
                task_load: row.double("task_load"),
                ready: row.flag("ready"),
                enabled: row.flag("enabled"),
                comment: row.words("comment"),
                description: row.words("description"),
                update: row.int("update"),
            },
        ),
        "tags" => named(&mut w.tags, &row),
        "targets" => named(&mut w.targets, &row),
        "groups" => named(&mut w.groups, &row),
        "packages" => {
            named(&mut w.packages, &row);
            Arc::make_mut(&mut w.package_names).insert(row.text("name"), id);
        }
        "builds" => {
            let build = Build {
                id,
                package: row.maybe("package").or_else(|| w.package(&row.text("name"))).unwrap_or(0),
                name: row.text("name"),
                version: row.text("version"),
                release: row.text("release"),
                epoch: row.maybe("epoch"),
                state: row.int("state"),
                task: row.maybe("task"),
                owner: row.maybe("owner").unwrap_or(1),
                create_event: row.int("create_event"),
                create: row.int("create"),
                start: row.maybe("start"),
                completion: row.maybe("completion"),
                source: row.words("source"),
                extra: row.value("extra"),
            };
            Arc::make_mut(&mut w.nvrs).insert(build.nvr(), id);
            put(&mut w.builds, id, |r| r.id, build);
        }
        "repos" => put(
            &mut w.repos,
            id,
            |r| r.id,
            Repo {
                id,
                tag: row.maybe("tag").or(tag_named).unwrap_or(0),
                create_event: row.int("create_event"),
                creation: row.int("creation"),
                state: row.int("state"),
                state_time: row.int("state_time"),
                begin_event: row.int("begin_event"),
                end_event: row.maybe("end_event"),
                dist: row.flag("dist"),
                opts: row.value("opts"),
                custom_opts: row.get("custom_opts").map_or(V::Struct(Vec::new()), V::from_json),
                task: row.maybe("task"),
            },
        ),
        "repo_requests" => put(
            &mut w.repo_requests,
            id,
            |r| r.id,
            RepoRequest {
                id,
                tag: row.int("tag"),
                owner: row.int("owner"),
                priority: row.int("priority"),
                active: row.flag("active"),
                min_event: row.maybe("min_event"),
                at_event: row.maybe("at_event"),
                opts: row.value("opts"),
                repo: row.maybe("repo"),
                task: row.maybe("task"),
                tries: row.int("tries"),
                create: row.int("create"),
                update: row.int("update"),
            },
        ),
        "sessions" => {
            let known = w.session(id).cloned();
            let session = Session {
                id,
                user: row.int("user"),
                key: "key".to_owned(),
                authtype: row.int("authtype"),
                callnum: known.as_ref().and_then(|k| k.callnum),
                start: row.int("create"),
                renew: known.and_then(|k| k.renew),
                update: row.int("create"),
                expired: row.flag("expired"),
                closed: row.flag("closed"),
            };
            put(&mut w.sessions, id, |r| r.id, session);
        }
        _ => apply_versioned(w, fact, &row),
    }
}

fn apply_versioned(w: &mut World, fact: &Fact, row: &Row<'_>) {
    let (id, ver, tag) = (row.int("id"), row.ver(), row.int("tag"));
    match fact.table.as_str() {
        "tag_config" => {
            let (perm, locked) = (row.maybe("perm"), row.flag("locked"));
            let arches = Some(row.text("arches"));
            let config = TagConfig { tag, arches, perm, locked, maven_support: false, maven_include_all: false, ver };
            w.tag_config.rows().push(config);
        }
        "tag_extra" => w.tag_extra.rows().push(TagExtra { tag, key: row.text("key"), value: row.value("value"), ver }),
        "tag_inheritance" => w.tag_inheritance.rows().push(Inheritance {
            tag,
            parent: row.int("parent"),
            priority: row.int("priority"),
            maxdepth: row.maybe("maxdepth"),
            intransitive: row.flag("intransitive"),
            noconfig: row.flag("noconfig"),
            pkg_filter: row.text("pkg_filter"),
            ver,
        }),
        "target_config" => {
            let config = TargetConfig {
                target: row.int("target"),
                build_tag: row.int("build_tag"),
                dest_tag: row.int("dest_tag"),
                ver,
            };
            w.target_config.rows().push(config);
        }
        "group_config" => w.group_config.rows().push(GroupConfig {
            group: row.int("group"),
            tag,
            blocked: row.flag("blocked"),
            exported: row.flag("exported"),
            display_name: row.text("display_name"),
            is_default: row.truth("is_default"),
            uservisible: row.flag("uservisible"),
            description: row.words("description"),
            langonly: row.words("langonly"),
            biarchonly: row.flag("biarchonly"),
            ver,
        }),
        "group_packages" => w.group_packages.rows().push(GroupPackage {
            group: row.int("group"),
            tag,
            package: row.text("package"),
            blocked: row.flag("blocked"),
            kind: row.text("kind"),
            basearchonly: row.truth("basearchonly"),
            requires: row.words("requires"),
            ver,
        }),
        "tag_packages" => {
            let package = row.int("package");
            let entry =
                TagPackage { tag, package, blocked: row.flag("blocked"), extra_arches: row.words("extra_arches"), ver };
            World::add(&mut w.tag_packages_of, &mut w.tag_packages, (tag, package), entry);
        }
        "tag_package_owners" => {
            let package = row.int("package");
            let entry = TagPackageOwner { tag, package, owner: row.int("owner"), ver };
            World::add(&mut w.owners_of, &mut w.tag_package_owners, (tag, package), entry);
        }
        "tag_listing" => {
            let build = row.int("build");
            let package = w.build(build).unwrap().package;
            World::add(&mut w.listing_of, &mut w.tag_listing, (tag, package), Listing { tag, build, ver });
        }
        "tag_updates" => w.tag_updates.rows().push((tag, row.int("event"))),
        "external_repo_data" => {
            let repo = w.external_repos.iter().find(|r| r.name == row.text("name")).unwrap().id;
            w.external_repo_data.rows().push((repo, row.int("max_ts")));
        }
        "rpms" => add_rpm(w, row),
        "deps" => {
            let dep = Row(&fact.row["dep"]);
            let dep = Dep {
                name: dep.text("name"),
                version: dep.text("version"),
                flags: dep.int("flags"),
                kind: dep.int("type"),
            };
            let named =
                row.words("rpm_named").and_then(|file| w.rpms.iter().find(|r| r.file_name() == file)).map(|r| r.id);
            Arc::make_mut(&mut w.rpm_mut(row.maybe("rpm").or(named).unwrap()).deps).push(dep);
        }
        "files" => {
            w.rpm_mut(row.int("rpm")).files = Arc::new(serde_json::from_value(fact.row["files"].clone()).unwrap())
        }
        "tasks" => put_task(w, row),
        "task_state" => w.task_mut(id).state = row.int("state"),
        "output" => {
            for file in fact.row["files"].as_array().unwrap() {
                let size = usize::try_from(file[1].as_i64().unwrap()).unwrap();
                w.task_mut(row.int("task")).output.push((file[0].as_str().unwrap().to_owned(), vec![b'.'; size]));
            }
        }
        "content" => {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.decode(row.text("content")).unwrap();
            let output = &mut w.task_mut(row.int("task")).output;
            let (_, bytes) = output.iter_mut().find(|(name, _)| *name == row.text("file")).unwrap();
            bytes[..text.len()].copy_from_slice(&text);
        }
        "buildroots" => {
            let (task, retire_event) = (row.int("task"), row.maybe("retire_event"));
            let root = Buildroot {
                id,
                host: row.int("host"),
                repo: row.int("repo"),
                task,
                arch: row.text("arch"),
                state: row.int("state"),
                create_event: row.int("create_event"),
                retire_event,
                listing: Vec::new(),
            };
            put(&mut w.buildroots, id, |r| r.id, root);
        }
        "contents" => {
            // A buildroot of which only the contents were recorded.
            if w.buildroot(id).is_none() {
                let root = Buildroot {
                    id,
                    host: 1,
                    repo: 0,
                    task: 0,
                    arch: String::new(),
                    state: 3,
                    create_event: 1,
                    retire_event: None,
                    listing: Vec::new(),
                };
                put(&mut w.buildroots, id, |r| r.id, root);
            }
            w.buildroot_mut(id).listing = serde_json::from_value(fact.row["listing"].clone()).unwrap();
        }
        "next" => next(w, &row.text("table"), id),
        other => panic!("no table {other}"),
    }
}

fn add_rpm(w: &mut World, row: &Row<'_>) {
    let rpm = Rpm {
        id: row.int("id"),
        build: row.maybe("build"),
        name: row.text("name"),
        version: row.text("version"),
        release: row.text("release"),
        epoch: row.maybe("epoch"),
        arch: row.text("arch"),
        payloadhash: row.text("payloadhash"),
        size: row.int("size"),
        buildtime: row.int("buildtime"),
        buildroot: row.maybe("buildroot"),
        external_repo: row.int("external_repo"),
        deps: Arc::default(),
        files: Arc::default(),
        arches: Arc::default(),
    };
    assert!(
        w.rpms.last().is_none_or(|last| last.id < rpm.id),
        "facts about packages come in the order of their numbers"
    );
    World::add(&mut w.rpms_of, &mut w.rpms, rpm.build.unwrap_or(0), rpm);
}

fn put_task(w: &mut World, row: &Row<'_>) {
    let result = row.get("result").map(|r| match r.get("ok") {
        Some(value) => Ok(V::from_json(value)),
        None => Err((r["fault"][0].as_i64().unwrap(), r["fault"][1].as_str().unwrap().to_owned())),
    });
    let id = row.int("id");
    let known = w.task(id).cloned();
    let request = row.get("request").map(|r| r.as_array().unwrap().iter().map(V::from_json).collect());
    let task = Task {
        id,
        state: row.int("state"),
        create: row.int("create"),
        start: row.maybe("start"),
        completion: row.maybe("completion"),
        channel: row.int("channel"),
        host: row.maybe("host"),
        parent: row.maybe("parent"),
        label: row.words("label"),
        waiting: row.truth("waiting"),
        awaited: row.truth("awaited"),
        owner: row.int("owner"),
        method: row.text("method"),
        request: request.or(known.as_ref().map(|k| k.request.clone())).unwrap_or_default(),
        result,
        arch: row.text("arch"),
        priority: row.int("priority"),
        weight: row.double("weight"),
        output: Vec::new(),
    };
    match w.tasks.binary_search_by_key(&id, |t| t.id) {
        Ok(at) => w.tasks.rows()[at] = task,
        Err(at) => {
            w.tasks.rows().insert(at, task);
            // The index counts positions.
            let mut children = std::collections::HashMap::<i64, Vec<usize>>::new();
            for (at, task) in w.tasks.iter().enumerate() {
                children.entry(task.parent.unwrap_or(0)).or_default().push(at);
            }
            w.children_of = Arc::new(children);
        }
    }
}

/// Makes the table's next row get this number. Rows that were not recorded have lower numbers.
fn next(w: &mut World, table: &str, id: i64) {
    let before = Fact {
        at: 0,
        table: table.to_owned(),
        row: serde_json::json!({"id": id - 1, "owner": 2, "method": "not recorded"}),
    };
    let last = match table {
        "events" => w.events.last().map(|r| r.id),
        "tasks" => w.tasks.last().map(|r| r.id),
        "repo_requests" => w.repo_requests.last().map(|r| r.id),
        "sessions" => w.sessions.last().map(|r| r.id),
        other => panic!("no numbers for {other}"),
    };
    assert!(last.is_none_or(|last| last < id), "{table} {id} is to be made, and there is {last:?}");
    if last != Some(id - 1) {
        let row = match table {
            "events" => {
                let at = w.events.last().map_or(0, |e| e.at) + 1;
                Fact { row: serde_json::json!({"id": id - 1, "at": at}), ..before }
            }
            _ => before,
        };
        apply(w, &row);
    }
}

/// Gives tags that are known only by name a configuration, so that they exist.
pub(crate) fn complete(w: &mut World) {
    let missing: Vec<i64> = w.tags.iter().map(|t| t.id).filter(|t| !w.tag_config.iter().any(|c| c.tag == *t)).collect();
    for tag in missing {
        apply(w, &Fact { at: 0, table: "tag_config".to_owned(), row: serde_json::json!({"tag": tag}) });
    }
}
