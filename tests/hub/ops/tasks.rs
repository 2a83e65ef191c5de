//! Tasks: their states, cancelling, resubmission.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, row};
use super::super::world::World;

pub const FREE: i64 = 0;
pub const OPEN: i64 = 1;
pub const CLOSED: i64 = 2;
pub const CANCELED: i64 = 3;
pub const ASSIGNED: i64 = 4;
pub const FAILED: i64 = 5;

/// A task to be made.
#[derive(Clone, Debug)]
pub struct NewTask {
    pub method: String,
    pub request: Vec<V>,
    pub owner: i64,
    pub parent: Option<i64>,
    pub label: Option<String>,
    pub arch: String,
    pub priority: i64,
    pub channel: i64,
    pub waiting: Option<bool>,
}

impl NewTask {
    pub fn new(method: &str, request: Vec<V>) -> Self {
        Self {
            method: method.to_owned(),
            request,
            owner: 1,
            parent: None,
            label: None,
            arch: "noarch".to_owned(),
            priority: 20,
            channel: 1,
            waiting: None,
        }
    }
}

impl Tx<'_> {
    /// Makes a free task. Sends no message.
    pub fn make_task(&mut self, new: NewTask) -> i64 {
        self.wrote = true;
        self.now += 1;
        let id = self.w.tasks.last().map_or(0, |t| t.id) + 1;
        let row = Task {
            id,
            state: FREE,
            create: self.now,
            start: None,
            completion: None,
            channel: new.channel,
            host: None,
            parent: new.parent,
            label: new.label,
            waiting: new.waiting,
            awaited: new.parent.map(|_| true),
            owner: new.owner,
            method: new.method,
            request: new.request,
            result: None,
            arch: new.arch,
            priority: new.priority,
            weight: 1.0,
            output: Vec::new(),
        };
        World::add(&mut self.w.children_of, &mut self.w.tasks, new.parent.unwrap_or(0), row);
        id
    }

    /// Sets a task's state, and sends its message if it is a scratch build.
    pub fn set_task_state(&mut self, id: i64, state: i64) {
        self.wrote = true;
        self.now += 1;
        let now = self.now;
        let host = self.w.hosts.first().map(|h| h.id);
        let task = self.w.task_mut(id);
        let old = std::mem::replace(&mut task.state, state);
        match state {
            FREE => task.host = None,
            ASSIGNED => task.host = host,
            OPEN => {
                task.host = host;
                task.start = Some(now);
            }
            _ => {
                task.completion = Some(now);
                if state != CANCELED {
                    task.awaited = task.parent.map(|_| false);
                }
            }
        }
        self.task_message(id, old);
    }

    pub fn open_task(&mut self, id: i64, weight: f64) {
        self.set_task_state(id, OPEN);
        self.w.task_mut(id).weight = weight;
    }

    /// Sets the waiting flag of a task.
    pub fn set_waiting(&mut self, id: i64, waiting: bool) {
        self.wrote = true;
        self.w.task_mut(id).waiting = Some(waiting);
    }

    pub fn close_task(&mut self, id: i64, result: V) {
        self.w.task_mut(id).result = Some(Ok(result));
        self.set_task_state(id, CLOSED);
    }

    pub fn fail_task(&mut self, id: i64, code: i64, text: &str) {
        self.w.task_mut(id).result = Some(Err((code, text.to_owned())));
        self.set_task_state(id, FAILED);
    }

    /// Frees a task again, like an administrator's `freeTask` or a restarted builder.
    pub fn free_task(&mut self, id: i64) -> Result<(), Fault> {
        self.new_call();
        match self.w.task(id).map(|t| t.state) {
            Some(OPEN | ASSIGNED) => {
                self.set_task_state(id, FREE);
                Ok(())
            }
            _ => Err(Fault::generic(format!("Cannot free task {id}, it is not open or assigned"))),
        }
    }

    /// Cancels a task and its children, nearest first. The task's message is sent before its
    /// children are cancelled. Does nothing to a finished task.
    pub fn cancel(&mut self, id: i64) -> bool {
        let Some(task) = self.w.task(id) else { return false };
        if [CLOSED, CANCELED, FAILED].contains(&task.state) {
            return false;
        }
        self.set_task_state(id, CANCELED);
        let builds: Vec<i64> =
            self.w.builds.iter().filter(|b| b.task == Some(id) && b.state == 0).map(|b| b.id).collect();
        for build in builds {
            let now = self.now;
            let row = self.w.build_mut(build);
            (row.state, row.completion) = (4, Some(now));
            self.build_message(build, Some(0));
        }
        let children: Vec<i64> = self.w.children(id).map(|t| t.id).collect();
        for child in children {
            self.cancel(child);
        }
        true
    }

    /// Makes a new task with the same request and priority, owned by the caller. Only for failed or
    /// cancelled tasks.
    pub fn resubmit(&mut self, id: i64) -> Result<i64, Fault> {
        let task = self.w.task(id).cloned().ok_or_else(|| Fault::generic(format!("No such task: {id}")))?;
        if ![CANCELED, FAILED].contains(&task.state) {
            return Err(Fault::generic("only canceled or failed tasks may be resubmitted"));
        }
        let user = self.logged_in()?;
        if task.owner != user && !self.is_admin() {
            return Err(Fault::generic("only the task owner or an admin may resubmit a task"));
        }
        if task.parent.is_some() {
            return Err(Fault::generic("only top level tasks may be resubmitted"));
        }
        let new = NewTask {
            owner: user,
            priority: task.priority,
            channel: task.channel,
            ..NewTask::new(&task.method, task.request)
        };
        Ok(self.make_task(new))
    }

    /// Returns what `rebuildSRPM` returns, and puts its files into the task's directory.
    pub fn srpm_result(&mut self, task: i64, nvr: &str, root: Option<i64>) -> V {
        let file = format!("{nvr}.src.rpm");
        let logs = self.write_logs(task, &[file.as_str()]);
        let source = row! { "source" => &file, "url" => &file };
        row! { "srpm" => format!("{}/{file}", task_dir(task)), "logs" => logs, "brootid" => root, "source" => source }
    }

    /// Returns what `buildArch` returns, and puts its files into the task's directory.
    pub fn arch_result(&mut self, task: i64, nvr: &str, rpms: Vec<String>, root: Option<i64>) -> V {
        let source = format!("{nvr}.src.rpm");
        let files: Vec<&str> = rpms.iter().map(String::as_str).chain(std::iter::once(source.as_str())).collect();
        let logs = self.write_logs(task, &files);
        let dir = task_dir(task);
        let rpms: Vec<V> = rpms.iter().map(|r| format!("{dir}/{r}").into()).collect();
        row! { "rpms" => rpms, "srpms" => vec![V::from(format!("{dir}/{source}"))], "logs" => logs, "brootid" => root }
    }

    /// Writes the logs of a build step and its other files. Returns the paths of the logs.
    pub fn write_logs(&mut self, task: i64, files: &[&str]) -> V {
        let output = &mut self.w.task_mut(task).output;
        for log in ["build.log", "root.log", "state.log"] {
            output.push((log.to_owned(), format!("{log} of task {task}\n").into_bytes()));
        }
        for file in files {
            output.push(((*file).to_owned(), file.as_bytes().to_vec()));
        }
        let dir = task_dir(task);
        V::Array(["build.log", "root.log", "state.log"].iter().map(|log| format!("{dir}/{log}").into()).collect())
    }
}

/// Returns the directory of a task's files, below `work`.
pub fn task_dir(task: i64) -> String {
    format!("tasks/{}/{task}", task % 10_000)
}
