//! The test's handle on a hub.

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
    /// Fault of the whole call.
    pub fault: Option<i64>,
}

/// The hub's mutable state.
pub struct Inner {
    pub world: World,
    pub settings: Settings,
    pub clock: Clock,
    /// Messages that were published and not taken yet.
    pub bus: Vec<BusMessage>,
    /// `false` means that the broker is down and messages are dropped.
    pub broker_up: bool,
    /// Messages that were dropped while the broker was down.
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
    /// Runs a function in a transaction, and commits if it succeeds. With `savepoint`, a failed
    /// transaction is rolled back. That costs a copy of every table it writes to.
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

/// State shared by requests and tests.
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

/// A running hub. A clone is another handle on the same hub. Dropping the last handle stops the
/// hub.
#[derive(Clone)]
pub struct Hub {
    pub core: Arc<Core>,
    server: Arc<Server>,
}

impl Hub {
    /// Starts a hub over plain HTTP on a free port. It has an administrator (`kojiadmin`, user 1),
    /// `kojira`, `koschei`, `alice`, `bob`, a builder for both architectures, and Koji's channels.
    /// `sslLogin` logs in `koschei`, or the user in the header `Koji-Test-User`.
    pub fn start(settings: Settings) -> Self {
        let settings =
            Settings { trusted_user: settings.trusted_user.or_else(|| Some("koschei".to_owned())), ..settings };
        let hub = Self::start_empty(settings, Login::Trusted);
        hub.change(super::seed::basics);
        hub.take_messages();
        hub
    }

    /// Like [`Hub::start`], but with another [`Login`]: by certificate over TLS, or by the closure.
    pub fn start_with(settings: Settings, login: Login) -> Self {
        let hub = Self::start_empty(settings, login);
        hub.change(super::seed::basics);
        hub.take_messages();
        hub
    }

    /// Starts a hub with empty tables, for tests that seed everything.
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

    /// Returns the hub's address, ending in `/kojihub`.
    pub fn url(&self) -> String {
        format!("{}/kojihub", self.server.base())
    }

    /// Returns the address of its files, ending in `/kojifiles`.
    pub fn topurl(&self) -> String {
        format!("{}/kojifiles", self.server.base())
    }

    pub fn weburl(&self) -> String {
        format!("{}/koji", self.server.base())
    }

    /// Stops answering: new connections are refused, open ones are closed. The tables stay.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Answers again, at the same address.
    pub fn restart(&self) {
        self.server.resume();
    }

    /// Runs a change as the administrator, in one transaction. Panics if the hub refuses.
    pub fn change<T>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> T {
        self.run(None, false, f).unwrap_or_else(|fault| panic!("the hub refuses: {fault:?}"))
    }

    /// Like [`Hub::change`], as another user.
    pub fn change_as<T>(&self, user: &str, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> T {
        self.run(Some(user), false, f).unwrap_or_else(|fault| panic!("the hub refuses: {fault:?}"))
    }

    /// Like [`Hub::change_as`]. If the hub refuses, rolls back and returns the fault.
    pub fn try_as<T>(&self, user: &str, f: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.run(Some(user), true, f)
    }

    /// Like [`Hub::change`]. If the hub refuses, rolls back and returns the fault.
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

    /// Publishes messages about something that did not happen: the change is rolled back, its
    /// messages are sent.
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

    /// Returns a profile for `koji.conf`: with a user's certificate and the authority's, or without
    /// login.
    pub fn profile(&self, name: &str, login: Option<(&std::path::Path, &std::path::Path)>) -> String {
        let login = login.map_or_else(String::new, |(cert, ca)| {
            format!("authtype = ssl\ncert = {}\nserverca = {}\n", cert.display(), ca.display())
        });
        format!("[{name}]\nserver = {}\nweburl = {}\ntopurl = {}\n{login}", self.url(), self.weburl(), self.topurl())
    }

    /// Reads the tables.
    pub fn see<T>(&self, f: impl FnOnce(&World) -> T) -> T {
        f(&self.core.lock().world)
    }

    pub fn dump(&self) -> Dump {
        self.see(World::dump)
    }

    /// Changes settings while the hub runs.
    pub fn settings(&self, f: impl FnOnce(&mut Settings)) {
        f(&mut self.core.lock().settings);
    }

    /// Returns the messages published since the last call.
    pub fn take_messages(&self) -> Vec<BusMessage> {
        std::mem::take(&mut self.core.lock().bus)
    }

    /// Like [`Hub::take_messages`], but waits until there is one, at most `patience`.
    pub fn wait_messages(&self, patience: Duration) -> Vec<BusMessage> {
        let inner = self.core.lock();
        let waited = self.core.changed.wait_timeout_while(inner, patience, |inner| inner.bus.is_empty());
        let mut inner = waited.map_or_else(|p| p.into_inner().0, |w| w.0);
        std::mem::take(&mut inner.bus)
    }

    /// Switches the broker off or on. While it is off, messages are dropped. Returns the messages
    /// dropped so far.
    pub fn broker(&self, up: bool) -> Vec<BusMessage> {
        let mut inner = self.core.lock();
        inner.broker_up = up;
        std::mem::take(&mut inner.dropped)
    }

    /// Waits until the tables satisfy `so`. Fails after minutes in which nothing happens.
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

    /// The next `times` calls of a method (`*`: any, also a login) misbehave.
    pub fn misbehave(&self, method: &str, lie: Lie, times: usize) {
        self.misbehave_after(0, method, lie, times);
    }

    /// Like [`Hub::misbehave`], but lets the next `skip` calls pass first.
    pub fn misbehave_after(&self, skip: usize, method: &str, lie: Lie, times: usize) {
        self.core.lock().troubles.push(Trouble { method: method.to_owned(), lie, skip, times });
    }

    /// The next call of a method waits until the gate opens.
    pub fn gate(&self, method: &str) -> Gate {
        let gate = Gate::default();
        self.misbehave(method, Lie::Gate(gate.clone()), 1);
        gate
    }

    /// Waits until a request is at the gate.
    pub fn wait_at(&self, gate: &Gate) {
        self.wait("a request is at the gate", |_| gate.arrived() > 0);
    }

    /// The next `times` requests for files whose path contains this text misbehave.
    pub fn misbehave_files(&self, path: &str, lie: FileLie, times: usize) {
        self.core.lock().file_troubles.push(FileTrouble { path: path.to_owned(), lie, times });
    }

    /// Ends all misbehaviour.
    pub fn behave(&self) {
        let mut inner = self.core.lock();
        inner.troubles.clear();
        inner.file_troubles.clear();
    }

    /// Returns the calls since the log was cleared.
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

    /// Returns how often each method was called, including those inside a `multiCall`.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for logged in &self.core.lock().log {
            for method in std::iter::once(&logged.method).chain(&logged.elements) {
                *counts.entry(method.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// Returns the number of HTTP requests to the hub itself (not for files).
    pub fn http_requests(&self) -> usize {
        self.core.lock().http_requests
    }

    /// Returns the paths of requested files.
    pub fn file_requests(&self) -> Vec<String> {
        self.core.lock().file_requests.clone()
    }

    /// Returns the largest number of file requests answered at once.
    pub fn files_at_once(&self) -> usize {
        self.core.lock().files_open_max
    }

    /// Waits until a method was called this often since the log was cleared.
    pub fn wait_calls(&self, method: &str, times: usize) {
        self.wait(&format!("{method} was called {times} times"), |inner| {
            let of = |l: &&Logged| l.method == method || l.elements.iter().any(|e| e == method);
            inner.log.iter().filter(of).count() >= times
        });
    }

    /// Makes future builds of a package (`*`: all) end with this outcome, on one architecture or on
    /// all.
    pub fn rule(&self, package: &str, arch: Option<&str>, outcome: Outcome) {
        let rule = Rule { package: package.to_owned(), arch: arch.map(str::to_owned), outcome };
        self.core.lock().settings.plan.rules.push(rule);
    }

    /// Runs one round of kojira, newRepo tasks and scratch builds, each one stage further. Returns
    /// how many tasks moved.
    pub fn work(&self) -> usize {
        self.change(|tx| {
            tx.kojira()?;
            Ok(tx.work_repos()? + tx.step_tasks()?)
        })
    }

    /// Runs rounds until nothing moves any more.
    pub fn work_all(&self) {
        while self.work() > 0 {}
    }

    /// Runs rounds in the background with this pause, until the returned guard is dropped.
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

    /// Returns the tasks whose `custom_user_metadata`, as JSON text, contains this text.
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
