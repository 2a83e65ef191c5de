//! Calls about repositories.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, row, time, ts};
use super::super::world::World;
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "repoInfo" as "repo_info": "repo_id strict=" => |tx, args| match args.int("repo_id").and_then(|id| tx.w.repo(id)) {
        Some(repo) => Ok(old_shape(tx, record(tx.w, repo))),
        None if args.truth("strict") => Err(Fault::generic("query returned no rows")),
        None => Ok(V::Nil),
    };
    "getRepo" as "RootExports.getRepo": "tag state= event= dist= min_event=" => get_repo;
    "getActiveRepos" as "get_active_repos": "" => |tx, _| {
        let rows = tx.w.repos.iter().filter(|r| r.state != 3);
        let gone = ["begin_event", "begin_ts", "creation_time", "custom_opts", "end_ts", "state_time", "task_state"];
        Ok(V::Array(rows.map(|r| record(tx.w, r).without(&gone)).collect()))
    };
    "repo.query" as "RepoExports.query": "clauses= fields= opts=" => |tx, args| {
        let rows = tx.w.repos.iter().map(|r| record(tx.w, r)).collect();
        ask(rows, args)
    };
    "repo.get" as "get_repo": "tag min_event= at_event= opts=" => |tx, args| {
        let tag = tag(tx, args, "tag")?;
        let found = find(tx.w, tag, args.int("min_event"), args.int("at_event"), &custom(args)?);
        Ok(found.map_or(V::Nil, |r| record(tx.w, r)))
    };
    "repo.request" as "request_repo": "tag min_event= at_event= opts= priority= force=" => request_repo;
    "repo.checkRequest" as "check_repo_request": "req_id" => check_request;
    "repo.queryQueue" as "RepoExports.queryQueue": "clauses= fields= opts=" => |tx, args| {
        let rows = tx.w.repo_requests.iter().map(|r| request_record(tx.w, r)).collect();
        ask(rows, args)
    };
    "repo.references" as "repo_references": "repo_id" => |tx, args| {
        let roots = tx.w.buildroots.iter().filter(|b| Some(b.repo) == args.int("repo_id") && b.state != 3);
        let root = |b: &Buildroot| row! {
            "id" => b.id, "host_id" => b.host, "create_event" => b.create_event, "state" => b.state
        };
        Ok(V::Array(roots.map(root).collect()))
    };
    "repo.getExternalRepoData" as "RepoExports.getExternalRepoData": "external_repo" => |tx, args| {
        let id = match args.get("external_repo") {
            V::Text(name) => tx.external_repo(name)?,
            other => other.as_int().unwrap_or(-1),
        };
        let newest = tx.w.external_repo_data.iter().rev().find(|(r, _)| *r == id);
        Ok(newest.map_or(V::Nil, |(_, max)| row! { "max_ts" => *max }))
    };
    "newRepo" as "RootExports.newRepo": "tag event= src= debuginfo= separate_src=" => |tx, args| {
        tx.need_perm("regen-repo")?;
        let tag = tag(tx, args, "tag")?;
        let name = tx.w.tag_name(tag).unwrap_or_default().to_owned();
        tx.begin_repo(&name).map(V::from)
    };
};

/// Returns a repository's record.
pub fn record(w: &World, repo: &Repo) -> V {
    let event = |id: Option<i64>| id.and_then(|id| w.event_at(id)).map(ts);
    row! {
        "begin_event" => repo.begin_event, "begin_ts" => event(Some(repo.begin_event)),
        "create_event" => repo.create_event, "create_ts" => event(Some(repo.create_event)),
        "creation_time" => time(repo.creation), "creation_ts" => ts(repo.creation),
        "custom_opts" => repo.custom_opts.clone(), "dist" => repo.dist, "end_event" => repo.end_event,
        "end_ts" => event(repo.end_event), "id" => repo.id, "opts" => repo.opts.clone(), "state" => repo.state,
        "state_time" => time(repo.state_time), "state_ts" => ts(repo.state_time), "tag_id" => repo.tag,
        "tag_name" => w.tag_name(repo.tag), "task_id" => repo.task,
        "task_state" => repo.task.and_then(|t| w.task(t)).map(|t| t.state),
    }
}

/// Reduces a record to what hubs before 1.35 return.
fn old_shape(tx: &Tx<'_>, record: V) -> V {
    if tx.settings.has_repo_calls() {
        return record;
    }
    record.without(&[
        "begin_event",
        "begin_ts",
        "custom_opts",
        "end_event",
        "end_ts",
        "opts",
        "state_time",
        "state_ts",
        "task_state",
    ])
}

fn get_repo(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let found = tag_of(tx.w, args.get("tag"), None).or_else(|| args.text("tag").and_then(|t| tx.w.tag_named(t)));
    let tag = found.ok_or_else(|| Fault::generic(format!("No such tagInfo: {}", repr(args.get("tag")))))?;
    let (event, state) = (args.event(), args.int("state"));
    let fits = |r: &&Repo| {
        let in_state = match (event, state) {
            (Some(event), _) => r.create_event <= event,
            (None, state) => r.state == state.unwrap_or(1),
        };
        r.tag == tag
            && in_state
            && r.dist == args.truth("dist")
            && args.int("min_event").is_none_or(|e| r.create_event >= e)
    };
    let found = tx.w.repos.iter().filter(fits).max_by_key(|r| r.create_event);
    let record = found.map_or(V::Nil, |r| record(tx.w, r));
    if tx.settings.has_repo_calls() {
        return Ok(record);
    }
    Ok(record.without(&[
        "begin_event",
        "begin_ts",
        "custom_opts",
        "end_event",
        "end_ts",
        "opts",
        "state_time",
        "state_ts",
        "task_state",
        "tag_id",
        "tag_name",
    ]))
}

/// Returns the best ready repository: the newest one with the options, if it is new enough or
/// exactly of the given event.
fn find<'a>(w: &'a World, tag: i64, min: Option<i64>, at: Option<i64>, custom: &V) -> Option<&'a Repo> {
    let fits = |r: &&Repo| {
        r.tag == tag
            && r.state == 1
            && !r.dist
            && r.custom_opts == *custom
            && min.is_none_or(|e| r.create_event >= e)
            && at.is_none_or(|e| r.create_event == e)
    };
    w.repos.iter().filter(fits).max_by_key(|r| r.create_event)
}

/// Returns the given options that differ from the defaults.
fn custom(args: &Args) -> Result<V, Fault> {
    let V::Struct(given) = args.get("opts") else { return Ok(V::Struct(Vec::new())) };
    for (name, value) in given {
        match name.as_str() {
            "maven" if value.truth() => return Err(Fault::generic("Maven support not enabled")),
            "src" | "debuginfo" | "separate_src" | "maven" => (),
            other => return Err(Fault::parameter(format!("Invalid repo option: {other}"))),
        }
    }
    Ok(V::Struct(given.iter().filter(|(_, v)| v.truth()).cloned().collect()))
}

/// Returns the rows that meet all clauses (`[field, operator, value]`), reduced to the fields.
fn ask(mut rows: Vec<V>, args: &Args) -> Result<V, Fault> {
    for clause in list(args.get("clauses")).unwrap_or_default() {
        let V::Array(parts) = &clause else {
            return Err(Fault::parameter(format!("Invalid clause: {}", repr(&clause))));
        };
        let field = parts.first().and_then(V::as_str).unwrap_or_default().to_owned();
        let (op, value) = match parts.as_slice() {
            [_, value] => ("=".to_owned(), value.clone()),
            [_, op, value] => (op.as_str().unwrap_or_default().to_uppercase(), value.clone()),
            _ => return Err(Fault::parameter(format!("Invalid clause: {}", repr(&clause)))),
        };
        if rows.first().is_some_and(|r| r.get(&field).is_none()) {
            return Err(Fault::parameter(format!("Invalid field: {field}")));
        }
        rows.retain(|row| {
            let own = row.get(&field).unwrap_or(&V::Nil);
            let order = own.as_int().zip(value.as_int()).map(|(a, b)| a.cmp(&b));
            match op.as_str() {
                "=" | "IS" => *own == value,
                "!=" | "IS NOT" => *own != value,
                "<" => order == Some(std::cmp::Ordering::Less),
                "<=" => order.is_some_and(std::cmp::Ordering::is_le),
                ">" => order == Some(std::cmp::Ordering::Greater),
                ">=" => order.is_some_and(std::cmp::Ordering::is_ge),
                "IN" => list(&value).is_some_and(|v| v.contains(own)),
                _ => false,
            }
        });
    }
    let fields = match args.get("fields") {
        V::Array(fields) => Some(fields.iter().filter_map(V::as_str).map(str::to_owned).collect::<Vec<_>>()),
        _ => None,
    };
    // Sort and count before the other fields are dropped, because a query may sort by a field it
    // does not select.
    let rows = match query(rows, args.get("opts")) {
        V::Array(rows) => rows,
        count => return Ok(count),
    };
    let reduce = |row: V| match (&fields, row) {
        (Some(fields), V::Struct(members)) => {
            V::Struct(members.into_iter().filter(|(n, _)| fields.contains(n)).collect())
        }
        (_, row) => row,
    };
    Ok(V::Array(rows.into_iter().map(reduce).collect()))
}

pub fn request_record(w: &World, r: &RepoRequest) -> V {
    row! {
        "active" => r.active, "at_event" => r.at_event, "create_time" => time(r.create), "create_ts" => ts(r.create),
        "id" => r.id, "min_event" => r.min_event, "opts" => r.opts.clone(), "owner" => r.owner,
        "owner_name" => w.user_name(r.owner), "priority" => r.priority, "repo_id" => r.repo, "tag_id" => r.tag,
        "tag_name" => w.tag_name(r.tag), "task_id" => r.task,
        "task_state" => r.task.and_then(|t| w.task(t)).map(|t| t.state), "tries" => r.tries,
        "update_time" => time(r.update), "update_ts" => ts(r.update),
    }
}

fn request_repo(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let owner = tx.logged_in()?;
    let tag = tag(tx, args, "tag")?;
    let opts = custom(args)?;
    let at = args.int("at_event");
    if args.has("min_event") && at.is_some() {
        return Err(Fault::parameter("The min_event and at_event options conflict"));
    }
    let min = match args.get("min_event") {
        V::Text(text) if text == "last" => tx.w.last_change(tag, None),
        V::Int(event) => Some(*event),
        _ if at.is_some() => None,
        _ => Some(default_min_event(tx, tag)),
    };
    for event in [min, at].into_iter().flatten() {
        if tx.w.event_at(event).is_none() {
            return Err(Fault::parameter(format!("Invalid event: {event}")));
        }
    }
    if args.int("priority").is_some_and(|p| p < 0) && !tx.is_admin() {
        return Err(Fault::not_allowed("only admins may create high-priority requests"));
    }
    let priority = 20 + args.int("priority").unwrap_or(0);
    if !args.truth("force")
        && let Some(repo) = find(tx.w, tag, min, at, &opts)
    {
        return Ok(row! { "repo" => record(tx.w, repo), "request" => V::Nil, "duplicate" => false });
    }
    let same = |r: &&RepoRequest| {
        let covers = if at.is_some() { r.at_event == at } else { r.at_event.is_none() && r.min_event >= min };
        r.active && r.tag == tag && r.opts == opts && covers
    };
    let known = tx.w.repo_requests.iter().find(same).map(|r| r.id);
    if let Some(id) = known {
        if tx.w.request(id).unwrap().priority > priority {
            tx.wrote = true;
            tx.w.request_mut(id).priority = priority;
        }
        let request = request_record(tx.w, tx.w.request(id).unwrap());
        return Ok(row! { "repo" => V::Nil, "request" => request, "duplicate" => true });
    }
    let id = tx.add_request(tag, owner, priority, min, at, opts);
    let request = request_record(tx.w, tx.w.request(id).unwrap());
    Ok(row! { "repo" => V::Nil, "request" => request, "duplicate" => false })
}

/// Returns the event a repository must have if the request does not say. The repository may be
/// older than the last change by the lag, rounded to the window.
fn default_min_event(tx: &Tx<'_>, tag: i64) -> i64 {
    let last = tx.w.last_change(tag, None).unwrap_or(1);
    let (lag, window) = (tx.settings.repo_lag.as_micros(), tx.settings.repo_lag_window.as_micros().max(1));
    if lag == 0 {
        return last;
    }
    let (lag, window) = (i64::try_from(lag).unwrap(), i64::try_from(window).unwrap());
    let base = (tx.now - lag).div_euclid(window) * window;
    if tx.w.event_at(last).is_some_and(|at| at < base) {
        return last;
    }
    tx.w.events.iter().rev().find(|e| e.at < base).map_or(1, |e| e.id)
}

fn check_request(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let request = args.int("req_id").and_then(|id| w.request(id)).ok_or_else(|| Fault::generic("No such request"))?;
    let repo = request.repo.and_then(|r| w.repo(r)).map(|r| record(w, r));
    let answer = row! { "repo" => repo, "request" => request_record(w, request) };
    // The task is shown only while there is no repository.
    match request.task.filter(|_| request.repo.is_none()).and_then(|t| w.task(t)) {
        Some(task) => Ok(answer.with("task", super::tasks::info(w, task, false))),
        None => Ok(answer),
    }
}
