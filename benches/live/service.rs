//! The service as a process, and its stages.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A stage that ended: `taken in messages=1`.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Seconds since 1970 by the service's clock, which is also ours.
    pub at: f64,
    pub what: String,
    /// The service's memory at that moment, in MiB.
    pub memory: f64,
}

impl Ended {
    /// Checks whether it is this stage, and of this repository if one is given.
    pub fn is(&self, stage: &str, repo: Option<i64>) -> bool {
        let Some(rest) = self.what.strip_prefix(stage) else { return false };
        match repo {
            Some(repo) => rest.split_whitespace().any(|field| field == format!("repo={repo}")),
            None => rest.is_empty() || rest.starts_with(' '),
        }
    }

    /// Returns a number among its fields.
    pub fn number(&self, field: &str) -> usize {
        let value = self.what.split_whitespace().find_map(|f| f.strip_prefix(field)?.strip_prefix('='));
        value.and_then(|v| v.parse().ok()).unwrap_or(0)
    }
}

#[derive(Default)]
struct Said {
    ended: Vec<Ended>,
    /// All other output.
    words: Vec<String>,
}

/// A running `koschei serve`.
pub struct Service {
    child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
}

/// Longest time for any wait.
const PATIENCE: Duration = Duration::from_secs(900);

impl Service {
    pub fn start(config: &Path, db: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command.arg("serve").arg("--config").arg(config).arg("--db").arg(db);
        command.env("KOSCHEI_LOG", "warn,lapin=off,koschei::stage=debug").env("NO_COLOR", "1");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said: Arc<(Mutex<Said>, Condvar)> = Arc::default();
        let (lines, heard) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&said));
        let pid = child.id();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut said = heard.0.lock().unwrap();
                match line.split_once(" DEBUG koschei::stage: ") {
                    Some((at, what)) => {
                        let at: jiff::Timestamp = at.trim().parse().unwrap();
                        let (at, what) = (at.as_duration().as_secs_f64(), what.to_owned());
                        said.ended.push(Ended { at, what, memory: memory(pid, "VmRSS:") });
                    }
                    None => {
                        eprintln!("    {line}");
                        said.words.push(line);
                    }
                }
                heard.1.notify_all();
            }
        });
        Self { child, said }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how many stages have ended so far.
    pub fn count(&self) -> usize {
        self.said.0.lock().unwrap().ended.len()
    }

    /// Waits until the stages from number `from` on satisfy `so`, and returns them.
    pub fn wait(&self, from: usize, what: &str, mut so: impl FnMut(&[Ended]) -> bool) -> Vec<Ended> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.said.0.lock().unwrap();
        loop {
            if so(&said.ended[from..]) {
                return said.ended[from..].to_vec();
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", said.ended.last());
            said = self.said.1.wait_timeout(said, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// Waits until nothing was logged for a while.
    pub fn quiet(&self, pause: Duration) {
        loop {
            let before = self.count();
            std::thread::sleep(pause);
            if self.count() == before {
                return;
            }
        }
    }

    /// Returns the seconds of processor time so far.
    pub fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Returns the peak memory so far, in MiB.
    pub fn memory(&self) -> f64 {
        memory(self.pid(), "VmHWM:")
    }
}

/// Returns what the system says of a process's memory, in MiB.
fn memory(pid: u32, which: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes =
        status.lines().find_map(|l| l.strip_prefix(which)?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
