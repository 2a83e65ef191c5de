//! The handle of a test.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::bus::BusMessage;
use super::clock::Clock;
use super::dump::Dump;
use super::fault::Fault;
use super::ops::exec::{Outcome, Rule};
use super::server::{Login, Server};
use super::settings::Settings;
use super::trouble::{FileLie, FileTrouble, Gate, Lie, Trouble};
use super::tx::Tx;
use super::world::World;

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// A call that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub method: String,
    /// The methods inside a `multiCall`.
    pub elements: Vec<String>,
    pub user: Option<String>,
    /// Of the call as a whole.
    pub fault: Option<i64>,
}

/// All that changes.
pub struct Inner {
    pub world: World,
    pub settings: Settings,
    pub clock: Clock,
    /// Published and not taken yet.
    pub bus: Vec<BusMessage>,
    /// False: the broker is down, messages are dropped.
    pub broker_up: bool,
    /// Messages dropped because of that.
    pub dropped: Vec<BusMessage>,
    pub troubles: Vec<Trouble>,
    pub file_troubles: Vec<FileTrouble>,
    pub log: Vec<Logged>,
    pub http_requests: usize,
    pub file_requests: Vec<String>,
    pub files_open: usize,
    pub files_open_max: usize,
}

impl Inner {
    /// Runs something in a transaction, committed when it succeeds. With `savepoint` it is rolled back when not; that
    /// costs a copy of every table it writes to.
    pub fn transact<T>(
        &mut self,
        user: Option<i64>,
        savepoint: bool,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let now = self.clock.now();
        let savepoint = savepoint.then(|| self.world.clone());
        let mut tx = Tx::new(&mut self.world, &self.settings, now, user);
        let result = f(&mut tx);
        let (messages, last) = (std::mem::take(&mut tx.messages), tx.now);
        self.clock.passed(last);
        match result {
            Ok(value) => {
                self.publish(messages);
                Ok(value)
            }
            Err(fault) => {
                if let Some(savepoint) = savepoint {
                    self.world = savepoint;
                }
                Err(fault)
            }
        }
    }

    pub fn publish(&mut self, messages: Vec<BusMessage>) {
        if self.broker_up { self.bus.extend(messages) } else { self.dropped.extend(messages) }
    }
}

/// What requests and tests share.
pub struct Core {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Core {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn notify(&self) {
        self.changed.notify_all();
    }
}

/// A running hub. Cloning gives another handle of the same hub; the last one that goes stops it.
#[derive(Clone)]
pub struct Hub {
    pub core: Arc<Core>,
    server: Arc<Server>,
}

impl Hub {
    /// A hub with an administrator (`kojiadmin`, user 1), `kojira`, `koschei`, `alice`, `bob`, a builder for both
    /// architectures, and Koji's channels; plain HTTP on a free port, whoever calls `sslLogin` is `koschei` or whom the
    /// header `Koji-Test-User` names.
    pub fn start(settings: Settings) -> Self {
        let settings =
            Settings { trusted_user: settings.trusted_user.or_else(|| Some("koschei".to_owned())), ..settings };
        let hub = Self::start_empty(settings, Login::Trusted);
        hub.change(super::seed::basics);
        hub.take_messages();
        hub
    }

    /// The same over TLS: users log in with a certificate, or as the closure of [`Login`] says.
    pub fn start_with(settings: Settings, login: Login) -> Self {
        let hub = Self::start_empty(settings, login);
        hub.change(super::seed::basics);
        hub.take_messages();
        hub
    }

    /// Without any row, for who seeds everything.
    pub fn start_empty(settings: Settings, login: Login) -> Self {
        std::fs::create_dir_all(settings.topdir.join("work")).unwrap();
        let mut clock = Clock::default();
        if let Some(begin) = settings.begin {
            clock.fix(begin);
        }
        let inner = Inner {
            world: World::default(),
            settings,
            clock,
            bus: Vec::new(),
            broker_up: true,
            dropped: Vec::new(),
            troubles: Vec::new(),
            file_troubles: Vec::new(),
            log: Vec::new(),
            http_requests: 0,
            file_requests: Vec::new(),
            files_open: 0,
            files_open_max: 0,
        };
        let core = Arc::new(Core { inner: Mutex::new(inner), changed: Condvar::new() });
        let server = Arc::new(Server::start(Arc::clone(&core), login));
        Self { core, server }
    }

    /// The hub's address, ending in `/kojihub`.
    pub fn url(&self) -> String {
        format!("{}/kojihub", self.server.base())
    }

    /// Where its files are, ending in `/kojifiles`.
    pub fn topurl(&self) -> String {
        format!("{}/kojifiles", self.server.base())
    }

    pub fn weburl(&self) -> String {
        format!("{}/koji", self.server.base())
    }

    /// Nobody answers: connections are refused, those that are open are closed. Tables stay.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Answers again, at the same address.
    pub fn restart(&self) {
        self.server.resume();
    }

    /// Does something as the administrator, in one transaction; panics when the hub refuses.
    pub fn change<T>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> T {
        self.run(None, false, f).unwrap_or_else(|fault| panic!("the hub refuses: {fault:?}"))
    }

    /// The same as another user.
    pub fn change_as<T>(&self, user: &str, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> T {
        self.run(Some(user), false, f).unwrap_or_else(|fault| panic!("the hub refuses: {fault:?}"))
    }

    /// The same; when the hub refuses, with the fault and as if nothing had been done.
    pub fn try_as<T>(&self, user: &str, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.run(Some(user), true, f)
    }

    /// Does something as the administrator; when the hub refuses, with the fault and as if nothing had been done.
    pub fn try_change<T>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.run(None, true, f)
    }

    fn run<T>(
        &self,
        user: Option<&str>,
        savepoint: bool,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut inner = self.core.lock();
        let user = user.map(|name| inner.world.user_named(name).unwrap_or_else(|| panic!("no user {name}")).id);
        let result = inner.transact(user, savepoint, f);
        drop(inner);
        self.core.notify();
        result
    }

    /// Messages about something that did not happen: what is done is rolled back, what it says is published.
    pub fn phantom<T>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) {
        let mut inner = self.core.lock();
        let now = inner.clock.now();
        let inner = &mut *inner;
        let mut nowhere = inner.world.clone();
        let mut tx = Tx::new(&mut nowhere, &inner.settings, now, None);
        f(&mut tx).unwrap_or_else(|fault| panic!("the hub refuses: {fault:?}"));
        let messages = std::mem::take(&mut tx.messages);
        inner.publish(messages);
        self.core.notify();
    }

    /// A profile for `koji.conf`: with a user's certificate and the authority's, or without login.
    pub fn profile(&self, name: &str, login: Option<(&std::path::Path, &std::path::Path)>) -> String {
        let login = login.map_or_else(String::new, |(cert, ca)| {
            format!("authtype = ssl\ncert = {}\nserverca = {}\n", cert.display(), ca.display())
        });
        format!("[{name}]\nserver = {}\nweburl = {}\ntopurl = {}\n{login}", self.url(), self.weburl(), self.topurl())
    }

    /// Looks at the tables.
    pub fn see<T>(&self, f: impl FnOnce(&World) -> T) -> T {
        f(&self.core.lock().world)
    }

    pub fn dump(&self) -> Dump {
        self.see(World::dump)
    }

    /// Switches settings while it runs.
    pub fn settings(&self, f: impl FnOnce(&mut Settings)) {
        f(&mut self.core.lock().settings);
    }

    /// Messages published since the last time.
    pub fn take_messages(&self) -> Vec<BusMessage> {
        std::mem::take(&mut self.core.lock().bus)
    }

    /// The same; waits until there is one, or for a while.
    pub fn wait_messages(&self, patience: Duration) -> Vec<BusMessage> {
        let inner = self.core.lock();
        let waited = self.core.changed.wait_timeout_while(inner, patience, |inner| inner.bus.is_empty());
        let mut inner = waited.map_or_else(|p| p.into_inner().0, |w| w.0);
        std::mem::take(&mut inner.bus)
    }

    /// From now on messages are dropped, or published again. What was dropped is kept for the test to see.
    pub fn broker(&self, up: bool) -> Vec<BusMessage> {
        let mut inner = self.core.lock();
        inner.broker_up = up;
        std::mem::take(&mut inner.dropped)
    }

    /// Waits until the tables are so; fails after minutes in which nothing happens.
    pub fn wait_until(&self, what: &str, mut so: impl FnMut(&World) -> bool) {
        self.wait(what, |inner| so(&inner.world));
    }

    fn wait(&self, what: &str, mut so: impl FnMut(&Inner) -> bool) {
        let mut left = PATIENCE;
        let mut inner = self.core.lock();
        while !so(&inner) {
            assert!(!left.is_zero(), "waited in vain until {what}");
            let waited = self.core.changed.wait_timeout(inner, Duration::from_millis(100));
            let (again, waited) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
            inner = again;
            if waited.timed_out() {
                left = left.saturating_sub(Duration::from_millis(100));
            }
        }
    }

    /// The next calls of a method (`*`: any, also a login) are lied about.
    pub fn misbehave(&self, method: &str, lie: Lie, times: usize) {
        self.misbehave_after(0, method, lie, times);
    }

    /// The same, from the call after the next `skip` ones.
    pub fn misbehave_after(&self, skip: usize, method: &str, lie: Lie, times: usize) {
        self.core.lock().troubles.push(Trouble { method: method.to_owned(), lie, skip, times });
    }

    /// The next call of a method waits until the gate is opened.
    pub fn gate(&self, method: &str) -> Gate {
        let gate = Gate::default();
        self.misbehave(method, Lie::Gate(gate.clone()), 1);
        gate
    }

    /// Waits until a request stands at the gate.
    pub fn wait_at(&self, gate: &Gate) {
        self.wait("a request is at the gate", |_| gate.arrived() > 0);
    }

    /// The next requests for files whose path contains a text are lied about.
    pub fn misbehave_files(&self, path: &str, lie: FileLie, times: usize) {
        self.core.lock().file_troubles.push(FileTrouble { path: path.to_owned(), lie, times });
    }

    /// No more lies.
    pub fn behave(&self) {
        let mut inner = self.core.lock();
        inner.troubles.clear();
        inner.file_troubles.clear();
    }

    /// Calls that came in since the log was cleared.
    pub fn log(&self) -> Vec<Logged> {
        self.core.lock().log.clone()
    }

    pub fn clear_log(&self) {
        let mut inner = self.core.lock();
        inner.log.clear();
        inner.http_requests = 0;
        inner.file_requests.clear();
        inner.files_open_max = inner.files_open;
    }

    /// How often each method was called; those inside a `multiCall` are counted, too.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for logged in &self.core.lock().log {
            for method in std::iter::once(&logged.method).chain(&logged.elements) {
                *counts.entry(method.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// HTTP requests to the hub itself (not for files).
    pub fn http_requests(&self) -> usize {
        self.core.lock().http_requests
    }

    /// Paths of files that were asked for.
    pub fn file_requests(&self) -> Vec<String> {
        self.core.lock().file_requests.clone()
    }

    /// Most requests for files that were being answered at once.
    pub fn files_at_once(&self) -> usize {
        self.core.lock().files_open_max
    }

    /// Waits until a method was called that often since the log was cleared.
    pub fn wait_calls(&self, method: &str, times: usize) {
        self.wait(&format!("{method} was called {times} times"), |inner| {
            let of = |l: &&Logged| l.method == method || l.elements.iter().any(|e| e == method);
            inner.log.iter().filter(of).count() >= times
        });
    }

    /// From now on builds of a package (`*`: all) end so, on an architecture or on all.
    pub fn rule(&self, package: &str, arch: Option<&str>, outcome: Outcome) {
        let rule = Rule { package: package.to_owned(), arch: arch.map(str::to_owned), outcome };
        self.core.lock().settings.plan.rules.push(rule);
    }

    /// One round of everybody: kojira, newRepo tasks and scratch builds a stage further. How many tasks moved.
    pub fn work(&self) -> usize {
        self.change(|tx| {
            tx.kojira()?;
            Ok(tx.work_repos()? + tx.step_tasks()?)
        })
    }

    /// Rounds until nothing moves any more.
    pub fn work_all(&self) {
        while self.work() > 0 {}
    }

    /// Rounds in the background, this far apart, until the returned guard is dropped.
    pub fn start_builders(&self, pause: Duration) -> Builders {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (hub, stopped) = (self.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
                hub.work();
                std::thread::sleep(pause);
            }
        });
        Builders { stop, thread: Some(thread) }
    }

    /// Tasks whose `custom_user_metadata`, as JSON text, contains a text.
    pub fn tasks_with(&self, text: &str) -> Vec<i64> {
        let tasks = self.dump().tasks;
        tasks.into_iter().filter(|t| t.metadata.to_string().contains(text)).map(|t| t.id).collect()
    }
}

/// Builders in the background.
pub struct Builders {
    stop: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Builders {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a builder failed");
        }
    }
}
