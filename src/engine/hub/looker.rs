//! Reading: from keys to what is there, in as few calls as the answers depend on each other.
//!
//! Everything of a round goes into one `multiCall`; large answers come by calls of their own. Tasks take up to three rounds: the task, its
//! steps, why they failed. A fault inside a `multiCall` is the trouble of its object alone (Koschei D32).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::convert;
use super::keys::Key;
use super::seen::{RepoSeen, Seen, TagSeen};
use crate::event::{ChildTask, TaskFault};
use crate::koji::client::At;
use crate::koji::records;
use crate::koji::shape::FromValue;
use crate::koji::xmlrpc::{Call, Fault, Value};
use crate::koji::{HubClient, HubError};
use crate::model::koji::TaskState;
use crate::model::{Class, Classified, Name, TaskId};

/// Most steps of a task that are kept.
const STEPS_MAX: usize = 64;
/// Repositories of a tag that are asked for, newest first.
const REPOS_MAX: usize = 50;
/// What is asked of each.
const REPO_FIELDS: [&str; 10] =
    ["id", "tag_id", "tag_name", "state", "state_ts", "create_event", "end_event", "task_id", "dist", "custom_opts"];

/// What a look needs to know besides the keys.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Tags whose groups and external repositories are asked for, too.
    pub build_tags: BTreeSet<Name>,
    /// Numbers of tags, as far as known; what is missing is asked for.
    pub tag_ids: BTreeMap<Name, crate::model::TagId>,
    /// Our log: decisions of other logs are not ours.
    pub log_id: String,
    /// The number of our user; a task of somebody else is none of ours.
    pub user: Option<i64>,
    /// Whether the hub has `repo.query` (1.35 and later).
    pub has_repo_query: bool,
}

/// Somebody who reads one hub.
#[derive(Clone, Debug)]
pub struct Looker {
    client: HubClient,
    answers: Arc<AtomicU64>,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Looked {
    /// The hub's last event before reading began.
    pub event: i64,
    /// What is there, in the order of the keys.
    pub seen: Vec<Seen>,
    /// Objects for which the hub gave a fault, or an answer that cannot be read. Nothing of the others is missing.
    pub failed: Vec<(Key, HubError)>,
}

impl Looked {
    /// Keeps an error to its object. A hub that is away is everybody's trouble.
    fn spare(&mut self, key: &Key, error: HubError) -> Result<(), HubError> {
        if error.class() == Class::Unavailable {
            return Err(error);
        }
        self.failed.push((key.clone(), error));
        Ok(())
    }
}

/// What a part of a call came to.
pub(super) type Answer = Result<Value, Fault>;

/// Builds a call.
pub(super) fn call(method: &str, args: Vec<Value>, kwargs: Vec<(&str, Value)>) -> Call {
    Call {
        method: method.to_owned(),
        args,
        kwargs: kwargs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

impl Looker {
    /// Reads through `client`.
    pub fn new(client: HubClient) -> Self {
        Self { client, answers: Arc::default() }
    }

    /// How often the hub answered, here or to a clone of this.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// What the hub says to all of these. Nothing asked is no answer.
    async fn multi(&self, calls: Vec<Call>) -> Result<Vec<Answer>, HubError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.client.multi(calls).await?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        Ok(answers)
    }

    /// Looks at objects. An object that is not there is no error.
    ///
    /// # Errors
    /// When the hub does not answer, or answers something else than Koji would.
    pub async fn look(&self, keys: &BTreeSet<Key>, scope: &Scope) -> Result<Looked, HubError> {
        let mut looked = Looked::default();
        let scope = &self.with_ids(keys, scope, &mut looked).await?;
        let mut small = Vec::new();
        let mut counts = Vec::new();
        for key in keys.iter().filter(|k| !is_large(k)) {
            let calls = calls_of(key, scope);
            counts.push((key, calls.len()));
            small.extend(calls);
        }
        let (event, answers) = self.since(small).await?;
        looked.event = event;
        let mut answers = answers.into_iter();
        let mut by_key: BTreeMap<&Key, Vec<Answer>> =
            counts.into_iter().map(|(key, n)| (key, answers.by_ref().take(n).collect())).collect();
        for key in keys.iter().filter(|k| is_large(k)) {
            let mut parts = Vec::new();
            for one in calls_of(key, scope) {
                match self.multi(vec![one]).await {
                    Ok(answers) => parts.extend(answers),
                    Err(e) => looked.spare(key, e)?,
                }
            }
            by_key.insert(key, parts);
        }
        let mut tasks = Vec::new();
        for key in keys {
            if looked.failed.iter().any(|(failed, _)| failed == key) {
                continue;
            }
            let parts = by_key.remove(key).unwrap_or_default();
            match read(key, parts, scope) {
                Ok(Read::Seen(seen)) => looked.seen.extend(seen),
                Ok(Read::Task(task)) => tasks.push(*task),
                Err(e) => looked.spare(key, e)?,
            }
        }
        self.with_steps(tasks, scope, &mut looked).await?;
        Ok(looked)
    }

    /// The hub's last event, and answers that are no older than it.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub(super) async fn since(&self, mut calls: Vec<Call>) -> Result<(i64, Vec<Answer>), HubError> {
        let last = call("getLastEvent", vec![], vec![]);
        let number = |answer: Option<Answer>| {
            decoded::<records::Event>("getLastEvent", answer.unwrap_or(Ok(Value::Nil))).map(|e| e.id)
        };
        if calls.len() >= self.client.settings().batch {
            // More than one request: they run beside each other, and some would be older than the event.
            let event = number(self.multi(vec![last]).await?.pop())?;
            return Ok((event, self.multi(calls).await?));
        }
        calls.insert(0, last);
        let mut answers = self.multi(calls).await?.into_iter();
        let event = number(answers.next())?;
        Ok((event, answers.collect()))
    }

    /// The scope with the numbers of all tags whose repositories are asked about.
    async fn with_ids(&self, keys: &BTreeSet<Key>, scope: &Scope, looked: &mut Looked) -> Result<Scope, HubError> {
        let mut scope = scope.clone();
        let unknown = |k: &Key| match k {
            Key::Repos(tag) if !scope.tag_ids.contains_key(tag) => Some(tag.clone()),
            _ => None,
        };
        let missing: Vec<_> = keys.iter().filter_map(unknown).collect();
        if missing.is_empty() {
            return Ok(scope);
        }
        let calls = missing.iter().map(|tag| call("getTag", vec![Value::Text(tag.to_string())], vec![])).collect();
        for (tag, answer) in missing.into_iter().zip(self.multi(calls).await?) {
            match decoded::<Option<records::Tag>>("getTag", answer) {
                Ok(Some(found)) => {
                    scope.tag_ids.insert(tag, found.id);
                }
                Ok(None) => {}
                Err(e) => looked.spare(&Key::Repos(tag), e)?,
            }
        }
        Ok(scope)
    }

    /// Whether the hub can be queried for repositories: hubs from 1.35 on can, and say their version with every answer.
    pub fn has_repo_query(&self) -> bool {
        let Some(version) = self.client.hub_version() else { return false };
        let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(1), Some(35))
    }

    /// Calls whose answers are not about objects.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn ask(&self, calls: Vec<Call>) -> Result<Vec<Answer>, HubError> {
        self.multi(calls).await
    }

    /// Adds to tasks what their steps were and why they failed. A task whose steps cannot be had is not told of: without them it would be
    /// judged wrongly.
    async fn with_steps(&self, tasks: Vec<records::Task>, scope: &Scope, looked: &mut Looked) -> Result<(), HubError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let trees = tasks
            .iter()
            .map(|t| call("getTaskDescendents", vec![Value::Int(t.id.0), Value::Bool(true)], vec![]))
            .collect();
        let mut all: Vec<(records::Task, Vec<records::Task>)> = Vec::new();
        for (answer, task) in self.multi(trees).await?.into_iter().zip(tasks) {
            match decoded::<records::TaskTree>("getTaskDescendents", answer) {
                Ok(tree) => {
                    let mut below: Vec<_> = tree.tasks().into_iter().filter(|t| t.id != task.id).cloned().collect();
                    below.truncate(STEPS_MAX);
                    all.push((task, below));
                }
                Err(e) => looked.spare(&Key::Task(task.id), e)?,
            }
        }
        let tasks = all.iter().flat_map(|(task, below)| std::iter::once(task).chain(below));
        let failed: Vec<(TaskId, Option<i64>)> =
            tasks.filter(|t| t.state == TaskState::Failed).map(|t| (t.id, t.host_id)).collect();
        let faults = self.faults(&failed).await?;
        let told = all.into_iter().filter_map(|(task, steps)| convert::task(&task, &steps, &faults, scope));
        looked.seen.extend(told.map(|task| Seen::Task(Box::new(task))));
        Ok(())
    }

    /// Why tasks failed, each with the host it ran on.
    async fn faults(&self, failed: &[(TaskId, Option<i64>)]) -> Result<BTreeMap<TaskId, TaskFault>, HubError> {
        let mut faults = BTreeMap::new();
        if failed.is_empty() {
            return Ok(faults);
        }
        let calls = failed
            .iter()
            .map(|(id, _)| call("getTaskResult", vec![Value::Int(id.0)], vec![("raise_fault", Value::Bool(false))]))
            .collect();
        for (answer, (id, host)) in self.multi(calls).await?.into_iter().zip(failed) {
            let fault = match &answer {
                Ok(value) => match records::TaskResult::from_value(value) {
                    Ok(records::TaskResult::Fault(fault)) => Some(fault),
                    _ => None,
                },
                Err(fault) => Some(fault.clone()),
            };
            if let Some(fault) = fault {
                faults.insert(*id, TaskFault { host: *host, ..TaskFault::new(fault.code, &fault.message) });
            }
        }
        Ok(faults)
    }
}

/// Answers that are long come by themselves: together they would be one document of hundreds of megabytes.
const fn is_large(key: &Key) -> bool {
    matches!(key, Key::TagBuilds(_, None) | Key::TagPackages(_, None))
}

fn calls_of(key: &Key, scope: &Scope) -> Vec<Call> {
    let text = |t: &str| Value::Text(t.to_owned());
    let no = || Value::Bool(false);
    match key {
        Key::TagConfig(tag) => {
            let mut calls = vec![
                call("getTag", vec![text(tag)], vec![]),
                call("getBuildConfig", vec![text(tag)], vec![]),
                call("getInheritanceData", vec![text(tag)], vec![]),
            ];
            if scope.build_tags.contains(tag) {
                calls.push(call("getTagGroups", vec![text(tag)], vec![]));
                calls.push(call("getExternalRepoList", vec![text(tag)], vec![]));
            }
            calls
        }
        Key::Target(target) => vec![call("getBuildTarget", vec![text(target)], vec![])],
        Key::TagPackages(tag, package) => {
            let mut kwargs = vec![("tagID", text(tag)), ("inherited", no())];
            if let Some(package) = package {
                kwargs.push(("pkgID", text(package)));
            }
            vec![call("listPackages", vec![], kwargs)]
        }
        Key::TagBuilds(tag, package) => {
            let mut kwargs = vec![("inherit", no()), ("latest", no())];
            // When each was tagged: a listing has the event only, and priorities count from the time.
            let mut since = vec![
                ("tables", Value::Array(vec![text("tag_listing")])),
                ("tag", text(tag)),
                ("active", Value::Bool(true)),
            ];
            if let Some(package) = package {
                kwargs.push(("package", text(package)));
                since.push(("package", text(package)));
            }
            vec![call("listTagged", vec![text(tag)], kwargs), call("queryHistory", vec![], since)]
        }
        Key::Build(id) => vec![call("getBuild", vec![Value::Int(id.0)], vec![])],
        Key::Repo(id) => vec![call("repoInfo", vec![Value::Int(id.0)], vec![])],
        Key::Repos(tag) if scope.has_repo_query => {
            // By number, which survives renaming; a tag without one is not there.
            let Some(id) = scope.tag_ids.get(tag) else { return Vec::new() };
            let clauses = Value::Array(vec![Value::Array(vec![text("tag_id"), text("="), Value::Int(id.0)])]);
            let fields = Value::Array(REPO_FIELDS.iter().map(|f| text(f)).collect());
            let limit = i64::try_from(REPOS_MAX).unwrap_or(i64::MAX);
            let opts = BTreeMap::from([("order".to_owned(), text("-id")), ("limit".to_owned(), Value::Int(limit))]);
            vec![call("repo.query", vec![clauses, fields, Value::Struct(opts)], vec![])]
        }
        Key::Repos(tag) => vec![call("getRepo", vec![text(tag)], vec![])],
        Key::Task(id) => vec![call("getTaskInfo", vec![Value::Int(id.0)], vec![("request", Value::Bool(true))])],
    }
}

/// One answer as a record.
///
/// # Errors
/// Its fault, or what is wrong with its shape.
pub(super) fn decoded<T: FromValue>(method: &str, answer: Answer) -> Result<T, HubError> {
    let value = answer.map_err(|fault| HubError::from_fault(at(method), fault))?;
    shaped(method, &value)
}

/// A value as a record.
///
/// # Errors
/// What is wrong with its shape.
pub(super) fn shaped<T: FromValue>(method: &str, value: &Value) -> Result<T, HubError> {
    T::from_value(value).map_err(|e| HubError::Shape { at: at(method), source: e.in_answer_to(method) })
}

fn at(method: &str) -> At {
    At { method: method.into(), hub: "the hub".into() }
}

/// What an answer comes to: something seen, or a task whose steps are to be asked for.
enum Read {
    Seen(Option<Seen>),
    Task(Box<records::Task>),
}

fn read(key: &Key, parts: Vec<Answer>, scope: &Scope) -> Result<Read, HubError> {
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap_or(Ok(Value::Nil));
    let seen = match key {
        Key::TagConfig(tag) => Some(Seen::Tag(match decoded::<Option<records::Tag>>("getTag", next())? {
            None => TagSeen { tag: tag.clone(), gone: true, ..TagSeen::default() },
            Some(info) => {
                let config: records::Tag = decoded("getBuildConfig", next())?;
                let links: Vec<records::InheritanceLink> = decoded("getInheritanceData", next())?;
                let mut tag = TagSeen {
                    tag: tag.clone(),
                    gone: false,
                    tag_id: Some(info.id),
                    arches: Some(config.arches().to_vec()),
                    inheritance: Some(convert::inheritance(links)),
                    groups: None,
                    external_repos: None,
                };
                if scope.build_tags.contains(&tag.tag) {
                    tag.groups = Some(convert::groups(decoded("getTagGroups", next())?));
                    tag.external_repos = Some(convert::external_repos(decoded("getExternalRepoList", next())?));
                }
                tag
            }
        })),
        Key::Target(name) => {
            let target: Option<records::Target> = decoded("getBuildTarget", next())?;
            Some(Seen::Target(name.clone(), target.map(|t| (t.build_tag_name, t.dest_tag_name))))
        }
        // A tag or package the hub does not know is a fault here; that it is gone is seen from its configuration.
        Key::TagPackages(tag, package) => {
            let listed: Vec<records::ListedPackage> = match next() {
                Err(fault) if convert::is_unknown(&fault) => Vec::new(),
                answer => decoded("listPackages", answer)?,
            };
            let listed = listed.into_iter().map(|p| (p.package_name, p.blocked)).collect();
            Some(Seen::TagPackages { tag: tag.clone(), package: package.clone(), listed })
        }
        Key::TagBuilds(tag, package) => {
            let builds: Vec<records::TaggedBuild> = match next() {
                Err(fault) if convert::is_unknown(&fault) => Vec::new(),
                answer => decoded("listTagged", answer)?,
            };
            // Without it (a tag that was just deleted) the time of looking stands in.
            let history: records::History = decoded("queryHistory", next()).unwrap_or_default();
            let builds = convert::tagged(builds, history.table("tag_listing"));
            Some(Seen::TagBuilds { tag: tag.clone(), package: package.clone(), builds })
        }
        Key::Build(_) => {
            let build: Option<records::Build> = decoded("getBuild", next())?;
            build.map(|b| Seen::Build(convert::build(&b)))
        }
        Key::Repo(_) => {
            let repo: Option<records::Repo> = decoded("repoInfo", next())?;
            // Dist repositories and those with other options are nothing builds are made from.
            repo.filter(|r| !r.dist && !r.is_custom()).and_then(|r| convert::repo(&r)).map(Seen::Repo)
        }
        Key::Repos(tag) if scope.has_repo_query => {
            if !scope.tag_ids.contains_key(tag) {
                return Ok(Read::Seen(None));
            }
            let repos: Vec<records::Repo> = decoded("repo.query", next())?;
            let from = if repos.len() < REPOS_MAX { None } else { repos.iter().map(|r| r.id).min() };
            Some(Seen::Repos { tag: tag.clone(), usable: usable(&repos, tag), from, later: Vec::new() })
        }
        // An older hub tells the newest one only; what it does not tell may still be there.
        Key::Repos(tag) => {
            let repo = decoded::<Option<records::Repo>>("getRepo", next())?;
            usable(repo.as_slice(), tag).pop().map(Seen::Repo)
        }
        Key::Task(id) => match decoded::<Option<records::Task>>("getTaskInfo", next())? {
            Some(task) => return Ok(Read::Task(Box::new(task))),
            None => Some(Seen::NoTask(*id)),
        },
    };
    Ok(Read::Seen(seen))
}

/// Repositories that builds of a tag can be made from.
fn usable(repos: &[records::Repo], tag: &Name) -> Vec<RepoSeen> {
    let usable = repos.iter().filter(|r| r.is_usable() && !r.dist && !r.is_custom());
    usable.filter_map(convert::repo).map(|r| r.of(tag)).collect()
}

/// The steps of a task as facts have them.
pub(super) fn steps(steps: &[records::Task], faults: &BTreeMap<TaskId, TaskFault>) -> Vec<ChildTask> {
    let step = |t: &records::Task| ChildTask {
        task_id: t.id,
        method: t.method.clone(),
        label: t.label.clone().or_else(|| t.arch.clone()).unwrap_or_default(),
        state: t.state,
        arch: t.arch.clone(),
        fault: faults.get(&t.id).cloned(),
    };
    steps.iter().map(step).collect()
}
