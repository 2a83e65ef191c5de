//! Runs `koschei serve` against the test hub as a process: starts it, kills it, and follows its
//! log.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use koschei::fold::State;
use koschei::log::{AnyLog, EventLog, Options, folding};
use koschei::model::Seq;

use crate::hub::{Gate, Hub, Login, Pki, Settings};

/// Timeout of every wait in a test. Only a hang takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Tables of a configuration that rebuilds every package of the collection `f99` that is due, at once.
pub(crate) const REBUILD_ALL: &str = r#"
[policy]
max_builds = 1000
build_threshold = 100
load_threshold = 1000
tick_interval_secs = 1

[[collection]]
name = "f99"
target = "f99"
track_all = true
"#;

/// A hub, and a service that works with it.
pub(crate) struct Live {
    pub(crate) hub: Hub,
    pub(crate) pki: Pki,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) db: String,
    /// Further lines of the configuration, before the first table.
    pub(crate) top: String,
    /// Further tables of the configuration.
    pub(crate) tables: String,
    /// Seconds between polls for changes that send no message.
    pub(crate) poll_secs: u64,
    /// How the service logs in at the hub.
    pub(crate) auth: &'static str,
    /// Further lines of the configuration of the hub.
    pub(crate) of_hub: &'static str,
    child: Option<Child>,
}

impl Live {
    /// Makes a hub with only users and builders. Does not start the service.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(&dir.path().join("pki"));
        // The hub is configured as we ask its operators to do. A test of Koji's own default undoes
        // this.
        let settings = Settings { may_use_repo_id: true, ..Settings::new(dir.path().join("koji")) };
        let hub = Hub::start_with(settings, Login::Certificate(pki.clone()));
        let db = dir.path().join("koschei.db").to_str().unwrap().to_owned();
        Self {
            hub,
            pki,
            dir,
            db,
            top: String::new(),
            tables: String::new(),
            poll_secs: 1,
            auth: "certificate",
            of_hub: "",
            child: None,
        }
    }

    /// Writes the configuration file and returns its path.
    pub(crate) fn config(&self) -> PathBuf {
        let path = self.dir.path().join("koschei.toml");
        let text = format!(
            r#"
{top}
[serve]
cache_dir = "{cache}"
listen = "127.0.0.1:0"

[[hub]]
name = "primary"
server = "{server}"
topurl = "{topurl}"
weburl = "{weburl}"
auth = "{auth}"
cert = "{cert}"
serverca = "{ca}"
poll_secs = {poll_secs}
reconcile_secs = 3600
requests_per_second = 1000
{of_hub}
{tables}
"#,
            top = self.top,
            poll_secs = self.poll_secs,
            auth = self.auth,
            of_hub = self.of_hub,
            cache = self.dir.path().join("cache").display(),
            server = self.hub.url(),
            topurl = self.hub.topurl(),
            weburl = self.hub.weburl(),
            cert = self.pki.user("koschei").display(),
            ca = self.pki.ca().display(),
            tables = self.tables,
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the service. Its output goes to a file that a failing test shows.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let config = self.config();
        let said = std::fs::OpenOptions::new().create(true).append(true).open(self.said_path()).unwrap();
        writeln!(&said, "---- start").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command.arg("serve").arg("--config").arg(config).arg("--db").arg(&self.db);
        command.env("KOSCHEI_LOG", "info").env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        self.child = Some(command.spawn().unwrap());
    }

    fn said_path(&self) -> PathBuf {
        self.dir.path().join("said.txt")
    }

    /// Returns the output of the service so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.said_path()).unwrap_or_default()
    }

    /// Waits until the output has this text.
    pub(crate) async fn says(&self, what: &str) {
        let said = tokio::time::timeout(PATIENCE, async {
            while !self.said().contains(what) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(said.await.is_ok(), "it never says `{what}`, but:\n{}", self.said());
    }

    /// Starts the service, and waits until it calls this method. The hub holds that call.
    pub(crate) async fn start_until_at(&mut self, method: &str) -> Gate {
        let gate = self.hub.gate(method);
        self.start();
        let (hub, standing) = (self.hub.clone(), gate.clone());
        tokio::task::spawn_blocking(move || hub.wait_at(&standing)).await.unwrap();
        gate
    }

    /// Kills the service, like a power failure.
    #[allow(dead_code, reason = "for tests of crashes")]
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Tells the service to stop, and waits until it has stopped.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
        self.says_only_its_own();
    }

    /// At the log level of the systemd unit, the journal has only our own messages and none of a
    /// library.
    fn says_only_its_own(&self) {
        const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
        for line in self.said().lines() {
            let mut words = line.split_whitespace().skip(1);
            if words.next().is_some_and(|w| LEVELS.contains(&w)) {
                assert!(words.next().is_some_and(|target| target.starts_with("koschei")), "{line}");
            }
        }
    }

    /// Opens the log for reading.
    pub(crate) async fn log(&self) -> AnyLog {
        self.reader(Duration::from_millis(20)).await
    }

    /// Like [`Live::log`], with another poll interval.
    pub(crate) async fn reader(&self, poll_interval: Duration) -> AnyLog {
        let options = Options { create: true, poll_interval, ..Options::default() };
        koschei::log::open(&self.db, &options).await.unwrap()
    }

    /// Waits until the state satisfies `so`, and returns it.
    pub(crate) async fn wait(&mut self, what: &str, mut so: impl FnMut(&State) -> bool) -> State {
        let log = self.log().await;
        let mut follower = Follower::default();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                follower.follow(&log).await;
                if so(&follower.state) {
                    return;
                }
                let after = follower.state.seq;
                log.changed(after).await.unwrap();
            }
        });
        let done = waited.await;
        log.close().await;
        if done.is_err() {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().unwrap());
            let (said, tail) = (self.said(), self.tail(40).await);
            panic!("waited in vain until {what}; the service {ended:?} said:\n{said}\nand the log ends with\n{tail}");
        }
        follower.state
    }

    /// Returns the last events, one line each, for the message of a failed test.
    pub(crate) async fn tail(&self, events: usize) -> String {
        let log = self.log().await;
        let head = log.head().await.unwrap().seq.map_or(0, Seq::get);
        let after = Seq::new(head.saturating_sub(events as u64));
        let records = log.read(after, events).await.unwrap();
        log.close().await;
        let line = |r: &koschei::event::Record| {
            let payload: String = r.payload.chars().take(300).collect();
            format!("{} {} {} {payload}\n", r.seq, r.kind, r.source)
        };
        records.iter().map(line).collect()
    }

    /// Returns the current state.
    #[allow(dead_code, reason = "for tests of crashes")]
    pub(crate) async fn state(&self) -> State {
        let log = self.log().await;
        let state = folding::state(&log, None, &mut |_| {}).await.unwrap();
        log.close().await;
        state
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

/// Folds a growing log.
#[derive(Default)]
pub(crate) struct Follower {
    pub(crate) state: State,
}

impl Follower {
    /// Folds the new events.
    pub(crate) async fn follow(&mut self, log: &AnyLog) {
        loop {
            let after: Option<Seq> = self.state.seq;
            let records = log.read(after, 1000).await.unwrap();
            if records.is_empty() {
                return;
            }
            for r in records {
                self.state.apply(&r.decode().unwrap());
            }
        }
    }
}
