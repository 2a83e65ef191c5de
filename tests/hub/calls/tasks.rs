//! Calls about tasks.

use super::super::fault::Fault;
use super::super::ops::tasks::{CANCELED, CLOSED, FAILED, NewTask};
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, fault_response, request, response, row};
use super::super::world::World;
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "getTaskInfo" as "RootExports.getTaskInfo": "task_id request= strict=" => get_info;
    "getTaskChildren" as "RootExports.getTaskChildren": "task_id request= strict=" => |tx, args| {
        let id = args.int("task_id").unwrap_or(-1);
        if tx.w.task(id).is_none() && args.truth("strict") {
            return Err(Fault::generic(format!("No such task: {id}")));
        }
        Ok(children(tx.w, id, args.truth("request")))
    };
    "getTaskDescendents" as "RootExports.getTaskDescendents": "task_id request=" => |tx, args| {
        let id = args.int("task_id").unwrap_or(-1);
        if tx.w.task(id).is_none() {
            return Err(Fault::generic(format!("No such task: {id}")));
        }
        let mut found = Vec::new();
        descendents(tx.w, id, args.truth("request"), &mut found);
        Ok(V::Struct(found))
    };
    "getTaskResult" as "RootExports.getTaskResult": "taskId raise_fault=" => get_result;
    "getTaskRequest" as "RootExports.getTaskRequest": "taskId" => |tx, args| {
        let id = args.int("taskId").unwrap_or(-1);
        tx.w.task(id).map(|t| V::Array(t.request.clone())).ok_or_else(|| Fault::generic(format!("No such task: {id}")))
    };
    "taskFinished" as "RootExports.taskFinished": "taskId" => |tx, args| {
        let state = args.int("taskId").and_then(|id| tx.w.task(id)).map(|t| t.state);
        Ok(state.is_some_and(|s| [CLOSED, CANCELED, FAILED].contains(&s)).into())
    };
    "listTasks" as "RootExports.listTasks": "opts= queryOpts=" => list_tasks;
    "listTaskOutput" as "list_task_output": "taskID stat= all_volumes= strict=" => list_output;
    "downloadTaskOutput" as "RootExports.downloadTaskOutput": "taskID fileName offset= size= volume=" => download;
    "build" as "RootExports.build": "src target opts= priority= channel=" => build;
    "cancelTask" as "RootExports.cancelTask": "task_id recurse=" => |tx, args| {
        let user = tx.logged_in()?;
        let id = args.int("task_id").unwrap_or(-1);
        let owner = tx.w.task(id).map(|t| t.owner).ok_or_else(|| Fault::generic(format!("No such task: {id}")))?;
        if owner != user && !tx.is_admin() {
            return Err(Fault::not_allowed("Cannot cancel task, not owner"));
        }
        tx.cancel(id);
        Ok(V::Nil)
    };
    "cancelTaskFull" as "RootExports.cancelTaskFull": "task_id strict=" => |tx, args| {
        tx.need_perm("admin")?;
        tx.cancel(args.int("task_id").unwrap_or(-1));
        Ok(V::Nil)
    };
    "resubmitTask" as "RootExports.resubmitTask": "taskID" => |tx, args| {
        tx.logged_in()?;
        tx.resubmit(args.int("taskID").unwrap_or(-1)).map(V::from)
    };
    "getTaskLogs" as "RootExports.getTaskLogs": "taskID" => |_, _| Ok(V::Array(Vec::new()));
};

/// Returns a task. In lists and trees, `request` and `result` are among the other members. A single
/// task has its request at the end.
fn record(w: &World, task: &Task, owner: bool, request: Option<V>, result: Option<V>) -> V {
    let mut members = vec![
        ("arch".to_owned(), task.arch.as_str().into()),
        ("awaited".to_owned(), task.awaited.into()),
        ("channel_id".to_owned(), task.channel.into()),
    ];
    push_time(&mut members, "completion", task.completion);
    push_time(&mut members, "create", Some(task.create));
    let mut push = |name: &str, value: V| members.push((name.to_owned(), value));
    push("host_id", task.host.into());
    push("id", task.id.into());
    push("label", task.label.as_ref().into());
    push("method", task.method.as_str().into());
    push("owner", task.owner.into());
    if owner {
        push("owner_name", w.user_name(task.owner).into());
        push("owner_type", w.user(task.owner).map(|u| u.usertype).into());
    }
    push("parent", task.parent.into());
    push("priority", task.priority.into());
    if let Some(request) = request {
        push("request", request);
    }
    if let Some(result) = result {
        push("result", result);
    }
    push_time(&mut members, "start", task.start);
    let mut push = |name: &str, value: V| members.push((name.to_owned(), value));
    push("state", task.state.into());
    push("waiting", task.waiting.into());
    push("weight", task.weight.into());
    V::Struct(members)
}

pub fn info(w: &World, task: &Task, request: bool) -> V {
    let record = record(w, task, false, None, None);
    if request { record.with("request", V::Array(task.request.clone())) } else { record }
}

fn get_info(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let (w, request) = (&*tx.w, args.truth("request"));
    let one = |id: &V| match id.as_int().and_then(|id| w.task(id)) {
        Some(task) => Ok(info(w, task, request)),
        None if args.truth("strict") => Err(Fault::generic(format!("No such task: {}", repr(id)))),
        None => Ok(V::Nil),
    };
    match args.get("task_id") {
        V::Array(ids) => Ok(V::Array(ids.iter().map(one).collect::<Result<_, _>>()?)),
        id => one(id),
    }
}

fn children(w: &World, id: i64, request: bool) -> V {
    let of = |t: &Task| record(w, t, false, request.then(|| V::Array(t.request.clone())), None);
    V::Array(w.children(id).map(of).collect())
}

fn descendents(w: &World, id: i64, request: bool, found: &mut Vec<(String, V)>) {
    found.push((id.to_string(), children(w, id, request)));
    for child in w.children(id) {
        descendents(w, child.id, request, found);
    }
}

fn get_result(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let id = args.int("taskId").unwrap_or(-1);
    let task = tx.w.task(id).ok_or_else(|| Fault::generic(format!("No such task: {id}")))?;
    match (task.state, &task.result) {
        (CANCELED, _) => Err(Fault::generic(format!("Task {id} is canceled"))),
        (CLOSED, Some(Ok(value))) => Ok(value.clone()),
        (FAILED, Some(Err((code, text)))) if args.not_false("raise_fault") => {
            Err(Fault { code: *code, message: text.clone() })
        }
        (FAILED, Some(Err((code, text)))) => Ok(row! { "faultCode" => *code, "faultString" => text }),
        _ => Err(Fault::generic(format!("Task {id} is not finished"))),
    }
}

fn list_tasks(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let (w, opts) = (&*tx.w, args.get("opts").clone());
    let opt = |name: &str| opts.get(name).cloned().unwrap_or(V::Nil);
    let owner = match opt("owner") {
        V::Nil => V::Nil,
        list @ V::Array(_) => list,
        other => user_of(w, &other).map_or(V::Int(-1), |u| V::Int(u.id)),
    };
    let (method, states, arch) = (opt("method"), opt("state"), opt("arch"));
    let channel = opt("channel_id");
    let times = ["create", "start", "completion"].map(|field| {
        let names = match field {
            "create" => ("createdBefore", "createdAfter"),
            "start" => ("startedBefore", "startedAfter"),
            _ => ("completeBefore", "completeAfter"),
        };
        (seconds(&opt(names.0)), seconds(&opt(names.1)))
    });
    let not = opt("not");
    let not_method = not.get("method").cloned().unwrap_or(V::Nil);
    let in_time = |at: Option<i64>, (before, after): (Option<i64>, Option<i64>)| {
        before.is_none_or(|b| at.is_some_and(|at| at < b)) && after.is_none_or(|a| at.is_some_and(|at| at > a))
    };
    let has_parent = opts.get("parent").is_some();
    let fits = |t: &&Task| {
        among(&V::Int(t.owner), &owner)
            && among(&t.method.as_str().into(), &method)
            && (not_method == V::Nil || !among(&t.method.as_str().into(), &not_method))
            && among(&V::Int(t.state), &states)
            && among(&t.arch.as_str().into(), &arch)
            && among(&V::Int(t.channel), &channel)
            && (!has_parent || V::from(t.parent) == opt("parent"))
            && (opt("host_id") == V::Nil || V::from(t.host) == opt("host_id"))
            && in_time(Some(t.create), times[0])
            && in_time(t.start, times[1])
            && in_time(t.completion, times[2])
    };
    let decode = opt("decode").truth();
    // Make records only for the selected tasks, because the table may be long.
    let mut tasks: Vec<&Task> = w.tasks.iter().filter(fits).collect();
    let query_opts = args.get("queryOpts");
    if query_opts.get("order").and_then(V::as_str) == Some("-id") {
        tasks.reverse();
        if let Some(limit) = query_opts.get("limit").and_then(V::as_int).and_then(|n| usize::try_from(n).ok()) {
            let offset =
                query_opts.get("offset").and_then(V::as_int).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            tasks.truncate(limit + offset);
        }
    }
    let of = |t: &Task| {
        let asked = if decode { V::Array(t.request.clone()) } else { request(&t.method, &t.request).into() };
        let result = match &t.result {
            None => V::Nil,
            Some(Ok(value)) if decode => V::Array(vec![value.clone()]),
            Some(Err((code, text))) if decode => row! { "faultCode" => *code, "faultString" => text },
            Some(Ok(value)) => response(value).into(),
            Some(Err((code, text))) => fault_response(*code, text).into(),
        };
        record(w, t, true, Some(asked), Some(result))
    };
    Ok(query(tasks.into_iter().map(of).collect(), query_opts))
}

#[allow(clippy::cast_precision_loss, reason = "a time")]
fn list_output(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let id = args.int("taskID").unwrap_or(-1);
    let Some(task) = tx.w.task(id) else {
        if args.truth("strict") {
            return Err(Fault::generic(format!("No such task: {id}")));
        }
        return Ok(V::Array(Vec::new()));
    };
    let at = task.completion.or(task.start).unwrap_or(task.create) as f64 / 1e6;
    let files = task.output.iter();
    if args.truth("stat") {
        let stat = |bytes: &[u8]| {
            row! {
                "st_atime" => at, "st_ctime" => at, "st_mtime" => at, "st_size" => bytes.len().to_string()
            }
        };
        return Ok(V::Struct(files.map(|(name, bytes)| (name.clone(), stat(bytes))).collect()));
    }
    if args.truth("all_volumes") {
        return Ok(V::Struct(files.map(|(name, _)| (name.clone(), vec![V::from("DEFAULT")].into())).collect()));
    }
    Ok(V::Array(files.map(|(name, _)| name.into()).collect()))
}

fn download(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let id = args.int("taskID").unwrap_or(-1);
    let name = args.text("fileName").unwrap_or_default();
    let file = tx.w.task(id).and_then(|t| t.output.iter().find(|(n, _)| n == name));
    let (_, bytes) = file.ok_or_else(|| Fault::generic(format!("no file \"{name}\" output by task {id}")))?;
    let number = |name: &str| args.int(name).and_then(|n| usize::try_from(n).ok());
    // A negative offset counts from the end. Python refuses one that is before the beginning.
    let start = match args.int("offset").unwrap_or(0) {
        from @ ..0 => {
            let from = usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX);
            bytes
                .len()
                .checked_sub(from)
                .ok_or_else(|| Fault::python("<class 'OSError'>: [Errno 22] Invalid argument"))?
        }
        _ => number("offset").unwrap_or(0).min(bytes.len()),
    };
    let end = number("size").map_or(bytes.len(), |size| (start + size).min(bytes.len()));
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::STANDARD.encode(&bytes[start..end]).into())
}

/// Checks little, and makes a free task.
fn build(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let owner = tx.logged_in()?;
    if args.get("src").as_str().is_none() {
        return Err(Fault::parameter(format!("Invalid type for source: {}", repr(args.get("src")))));
    }
    let priority = args.int("priority").unwrap_or(0);
    if priority < 0 && !tx.is_admin() {
        return Err(Fault::not_allowed("only admins may create high-priority tasks"));
    }
    let channel = match args.text("channel") {
        Some(name) => tx.channel_id(name)?,
        None => 1,
    };
    let opts = if args.has("opts") { args.get("opts").clone() } else { V::Struct(Vec::new()) };
    let request = vec![args.get("src").clone(), args.get("target").clone(), opts];
    let task = NewTask { owner, priority: 20 + priority, channel, ..NewTask::new("build", request) };
    Ok(tx.make_task(task).into())
}
