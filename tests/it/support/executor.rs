//! Executors that are not ours: `executor.py`, which takes commands from the work queue.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::live::Live;
use crate::nats_server::NatsServer;
use crate::subscriber::python;

/// Lines of the configuration of a hub whose commands go to such an executor.
pub(crate) const OUTSIDE: &str = "executor = \"jetstream\"";

/// Returns the table of the configuration that names the server.
pub(crate) fn table(nats: &NatsServer) -> String {
    format!("\n[jetstream]\nurl = \"{}\"\n", nats.url())
}

/// An executor that starts again whenever it ends, as systemd would have it. Ends when this value is
/// dropped.
pub(crate) struct Executor {
    /// Whether it is to end, and the process that runs.
    running: Arc<Mutex<(bool, Child)>>,
    keeper: Option<JoinHandle<()>>,
}

impl Executor {
    /// Starts an executor for the hub of a service. What it says goes to the file `executor.txt`.
    pub(crate) fn start(live: &Live, nats: &NatsServer) -> Self {
        let script = live.dir.path().join("executor.py");
        std::fs::write(&script, include_str!("executor.py")).unwrap();
        let said = live.dir.path().join("executor.txt");
        let arguments = [script, nats.url().into(), "primary".into(), live.hub.url().into()];
        let arguments: Vec<PathBuf> = arguments.into_iter().chain([live.pki.user("koschei"), live.pki.ca()]).collect();
        let spawn = move || {
            let said = OpenOptions::new().create(true).append(true).open(&said).unwrap();
            let mut command = Command::new(python());
            command.args(&arguments).stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
            command.spawn().unwrap()
        };
        let running = Arc::new(Mutex::new((false, spawn())));
        let kept = Arc::clone(&running);
        let keeper = std::thread::spawn(move || {
            loop {
                {
                    let (ends, child) = &mut *kept.lock().unwrap();
                    match (*ends, child.try_wait().unwrap()) {
                        (true, Some(_)) => return,
                        (false, Some(_)) => *child = spawn(),
                        (_, None) => {}
                    }
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        Self { running, keeper: Some(keeper) }
    }

    /// Kills it, whatever it is doing. It starts again.
    pub(crate) fn kill(&self) {
        self.running.lock().unwrap().1.kill().unwrap();
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        {
            let (ends, child) = &mut *self.running.lock().unwrap_or_else(PoisonError::into_inner);
            *ends = true;
            drop(child.kill());
        }
        drop(self.keeper.take().map(JoinHandle::join));
    }
}

/// Returns what the executors of a service said.
pub(crate) fn said(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("executor.txt")).unwrap_or_default()
}
