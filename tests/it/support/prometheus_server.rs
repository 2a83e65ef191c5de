//! Starts a Prometheus for one test, and queries it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::hub::ports;
use crate::live::PATIENCE;

/// A running Prometheus. It stops when this value is dropped.
pub(crate) struct Prometheus {
    port: u16,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes `target` as job `koschei` every second and evaluates
    /// `rules` as often.
    pub(crate) async fn start(target: SocketAddr, rules: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: koschei, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let port = ports::free();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus can be started; install it, for example with `apt install prometheus`");
        let mut server = Self { port, child, _dir: dir };
        let deadline = Instant::now() + PATIENCE;
        while server.get("/-/ready").is_none_or(|(status, _)| status != 200) {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("prometheus ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "prometheus does not become ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    /// Sends one request. `None` while Prometheus does not listen yet.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        // HTTP/1.0: the response ends with the connection and is not chunked.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn api(&self, path: &str) -> Value {
        let (status, body) = self.get(path).unwrap();
        let value: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {status} {body}"));
        assert_eq!(value["status"], "success", "{path}: {value}");
        value["data"].clone()
    }

    /// Returns the current series of a query. Panics if Prometheus does not understand the query.
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|b| format!("%{b:02x}")).collect();
        let data = self.api(&format!("/api/v1/query?query={encoded}"));
        assert!(["vector", "scalar"].iter().any(|t| data["resultType"] == *t), "{expression}: {data}");
        data["result"].as_array().unwrap().clone()
    }

    /// Returns the names of metrics that have data.
    pub(crate) fn names(&self) -> Vec<String> {
        let data = self.api("/api/v1/label/__name__/values");
        data.as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect()
    }

    /// Returns the alerts by name, each `inactive`, `pending` or `firing`. Every rule must be
    /// healthy.
    pub(crate) fn alerts(&self) -> Vec<(String, String)> {
        let data = self.api("/api/v1/rules");
        let groups = data["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|g| g["rules"].as_array().unwrap().iter());
        rules
            .map(|r| {
                assert_ne!(r["health"], "err", "{r}");
                (r["name"].as_str().unwrap().to_owned(), r["state"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    /// Waits until `is` returns true for this Prometheus.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(Instant::now() < deadline, "waited in vain for: {what}\n{:?}", self.alerts());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
