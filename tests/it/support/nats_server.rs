//! Starts a nats-server with JetStream for one test.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::context::GetStreamErrorKind;
use tokio::time::Instant;

use crate::hub::ports;

/// A running server. It stops when this value is dropped. Its store is kept over restarts.
pub(crate) struct NatsServer {
    port: u16,
    store: tempfile::TempDir,
    child: Option<Child>,
    /// Lines of its configuration file.
    config: String,
    login: ConnectOptions,
}

impl NatsServer {
    /// Starts a server on a free port. Fails the test if it does not start.
    pub(crate) async fn start() -> Self {
        Self::start_with("", ConnectOptions::new()).await
    }

    /// Starts a server with these configuration lines. They accept only this login.
    pub(crate) async fn start_with(config: &str, login: ConnectOptions) -> Self {
        let port = ports::free();
        let mut server =
            Self { port, store: tempfile::tempdir().unwrap(), child: None, config: config.to_owned(), login };
        server.restart().await;
        server
    }

    /// Returns the server's address with a login.
    pub(crate) fn url_with(&self, login: &str) -> String {
        format!("nats://{login}@127.0.0.1:{}", self.port)
    }

    /// Connects to JetStream as the server's operator.
    pub(crate) async fn jetstream(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(self.login.clone().connect(self.url()).await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts the server again with the same store and port, and waits until JetStream answers.
    pub(crate) async fn restart(&mut self) {
        // Debian installs nats-server in a directory that is only on root's path.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let config = self.store.path().join("nats.conf");
        std::fs::write(&config, &self.config).unwrap();
        let child = Command::new("nats-server")
            .env("PATH", path)
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.store.path())
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server can be started; install it, for example with `apt install nats-server`");
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("nats-server ended at once: {status}");
            }
            let url = format!("nats://127.0.0.1:{}", self.port);
            let why = match self.login.clone().connect(url).await {
                // A server of 2.9 answers account queries in a form that this client does not know.
                Ok(client) => match async_nats::jetstream::new(client).get_stream("NONE").await {
                    Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) => return,
                    other => format!("{:?}", other.err()),
                },
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < deadline, "nats-server does not answer: {why}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the server cleanly, so that everything it acknowledged is in its store.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let killed = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
        assert!(killed.success());
        child.wait().unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
