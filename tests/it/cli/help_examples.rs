//! Runs every example of every `--help` as typed. An example that does not work is worse than none.
//!
//! The test finds the verbs by running `--help`. It makes what the examples name: the demo's
//! recording and log, a hub, a broker, a database. Only addresses differ from the example's text
//! ([`World::typed`]).

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use koschei::log::EventLog;

use crate::cli::words::{Follow, koschei, open};
use crate::live::Live;
use crate::nats_server::NatsServer;
use crate::rabbitmq_server::RabbitServer;
use crate::serve::first::{COLLECTION, small};
use crate::servers::postgres_database;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");
const EVENTS: &str = include_str!("../../data/koji/events.jsonl");
/// A message that nobody understands, with the id used in the examples.
const PARKED: &str = r#"{"topic":"org.x.buildsys.tag","id":"7c8e3c70-0b6a-4d0b-9a52-5d0f3f6f2c11","body":{"tag":7}}"#;
/// Number of recorded lines after which a task of ours runs, and the task.
const RUNNING: (usize, &str) = (215, "9");

fn help(path: &[String]) -> String {
    let out = koschei(&[]).args(path).arg("--help").env("COLUMNS", "10000").output().unwrap();
    assert!(out.status.success(), "{path:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// Returns the verbs that a help text lists.
fn verbs(help: &str) -> Vec<String> {
    let listed = help.split("Commands:\n").nth(1).map_or("", |c| c.split("\n\n").next().unwrap());
    let named = |line: &str| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')).map(str::to_owned);
    let names = listed.lines().filter_map(named).filter_map(|l| l.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

/// Returns the example lines of a help text.
fn examples(help: &str) -> Vec<String> {
    let shown = help.split("Example:\n").nth(1).unwrap_or_default();
    shown.lines().map(str::trim).filter(|l| l.starts_with("koschei ")).map(str::to_owned).collect()
}

/// Everything the examples refer to.
struct World {
    dir: tempfile::TempDir,
    live: Live,
    nats: NatsServer,
    rabbit: RabbitServer,
    postgres: String,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rabbit = RabbitServer::start().await;
        let mut live = Live::new();
        small(&live.hub);
        live.tables = COLLECTION.to_owned();
        let world = Self { dir, live, nats: NatsServer::start().await, rabbit, postgres: postgres_database().await };
        let path = |name: &str| world.dir.path().join(name);
        std::fs::write(path("events.jsonl"), format!("{EVENTS}{PARKED}\n")).unwrap();
        let running: String = EVENTS.lines().take(RUNNING.0).flat_map(|l| [l, "\n"]).collect();
        std::fs::write(path("running.jsonl"), running).unwrap();
        for name in ["repos", "buildrequires.jsonl"] {
            symlink(Path::new(DATA).join(name), path(name)).unwrap();
        }
        symlink(DATA, path("recording")).unwrap();
        std::fs::create_dir_all(path("tests/data")).unwrap();
        symlink(DATA, path("tests/data/koji")).unwrap();
        std::fs::copy(world.live.config(), path("koschei.toml")).unwrap();
        let (cert, key) = world.rabbit.client("koschei");
        for (from, to) in [(world.rabbit.authority(), "ca.pem"), (cert, "koschei.pem"), (key, "koschei.key")] {
            std::fs::copy(from, path(to)).unwrap();
        }
        let file = format!(
            "amqp_url = \"{}\"\n[tls]\nca_cert = \"{}\"\ncertfile = \"{}\"\nkeyfile = \"{}\"\n[queues.of-file]\n\
             durable = true\n\
             auto_delete = false\nexclusive = false\narguments = {{}}\n",
            world.rabbit.tls_url(),
            path("ca.pem").display(),
            path("koschei.pem").display(),
            path("koschei.key").display(),
        );
        std::fs::write(path("config.toml"), file).unwrap();
        world.run("koschei ingest --from events.jsonl --archive recording/ --db made.db");
        world.run("koschei ingest --from running.jsonl --archive recording/ --db made-running.db");
        world.run("koschei log export --db made.db --to koschei.jsonl");
        world.run("koschei log verify --db made.db | sed -n 's/^head //p' > koschei.head");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the example with this machine's host names, ports and system files.
    fn typed(&self, example: &str) -> String {
        let config = self.path("koschei.toml").display().to_string();
        let file = self.path("config.toml").display().to_string();
        let (amqp, nats) = (self.rabbit.tls_url().replace("koschei:@", ""), self.nats.url());
        let instead = [
            ("/etc/koschei/koschei.toml", config.as_str()),
            ("/var/lib/koschei/koschei.db", "served.db"),
            ("/etc/fedora-messaging/config.toml", &file),
            ("amqps://mq.example.org/%2Fkoji", &amqp),
            ("nats://127.0.0.1:4222", &nats),
            ("postgres://koschei@db/koschei", &self.postgres),
            ("127.0.0.1:9464", "127.0.0.1:0"),
            ("127.0.0.1:8080", "127.0.0.1:0"),
            ("cancel 4711", &format!("cancel {}", RUNNING.1)),
        ];
        instead.iter().fold(example.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        let bin = Path::new(env!("CARGO_BIN_EXE_koschei")).parent().unwrap().display().to_string();
        let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
        command.args(["-o", "pipefail", "-c", line]).current_dir(self.dir.path()).env("PATH", path);
        for name in ["KOSCHEI_DB", "KOSCHEI_CONFIG", "SUDO_USER"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        let out = self.shell(line).output().unwrap();
        assert!(out.status.success(), "{line}: {out:?}");
        out
    }

    /// Restores the logs as an example expects them.
    fn renew(&self, example: &str) {
        let made = if example.contains("admin cancel") { "made-running.db" } else { "made.db" };
        std::fs::create_dir_all(self.path("demo")).unwrap();
        for db in ["koschei.db", "demo/koschei.db", "demo.db", "served.db"] {
            for end in ["", "-wal", "-shm"] {
                drop(std::fs::remove_file(self.path(&format!("{db}{end}"))));
            }
        }
        drop(std::fs::remove_file(self.path("commands.jsonl")));
        for db in ["koschei.db", "demo/koschei.db"] {
            std::fs::copy(self.path(made), self.path(db)).unwrap();
        }
    }

    /// Starts a process that handles operators' words in `koschei.db`.
    fn writer(&self) -> Follow {
        let (nats, db) = (self.nats.url(), self.path("koschei.db").display().to_string());
        Follow::start(&["--nats", &nats, "--stream", "WORDS", "--subject", "words.>"], &db)
    }

    /// Runs a command that runs until it is stopped: stops it once it works.
    async fn serves(&self, line: &str) {
        let mut child =
            self.shell(&format!("exec {line}")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let verb = line.split_whitespace().nth(1).unwrap();
        match verb {
            "follow" => self.takes_in(line, &mut child).await,
            "serve" | "web" => says(&mut child.stderr, "http://"),
            _ => says(&mut child.stdout, " "),
        }
        let signal = if verb == "log" { "-INT" } else { "-TERM" };
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{line}: {out:?}");
    }

    /// Publishes until a message is in the log.
    async fn takes_in(&self, line: &str, child: &mut Child) {
        let message = EVENTS.lines().next().unwrap();
        let log = open(&self.path("koschei.db").display().to_string()).await;
        let before = log.counts().await.unwrap().inbox_total;
        let publisher = self.rabbit.publisher_in("/koji").await;
        let context = async_nats::jetstream::new(async_nats::connect(self.nats.url()).await.unwrap());
        for n in 0.. {
            assert!(child.try_wait().unwrap().is_none(), "{line}: it ended");
            let new = message.replacen(r#""id": ""#, &format!(r#""id": "n{n}-"#), 1);
            assert_ne!(new, message);
            if line.contains("--nats") {
                // A message published before the stream exists is lost.
                if let Ok(ack) = context.publish("koji.x", new.into()).await {
                    drop(ack.await);
                }
            } else {
                publisher.line("amq.topic", &new).await;
            }
            if log.counts().await.unwrap().inbox_total > before {
                break;
            }
        }
        log.close().await;
    }
}

/// Waits until the output has this text. Nobody reads the rest.
fn says(from: &mut Option<impl Read + Send + 'static>, what: &str) {
    let mut lines = BufReader::new(from.take().unwrap());
    let mut line = String::new();
    while !line.contains(what) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended");
    }
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_every_help_works_as_typed() {
    let world = World::new().await;
    let (mut open, mut typed) = (vec![Vec::<String>::new()], 0);
    while let Some(path) = open.pop() {
        let help = help(&path);
        let examples = examples(&help);
        assert!(!examples.is_empty(), "`koschei {}` has no example", path.join(" "));
        for example in examples {
            typed += 1;
            let line = world.typed(&example);
            world.renew(&line);
            if ["koschei serve", "koschei web", "koschei follow"].iter().any(|v| line.starts_with(v))
                || line.contains("tail") && line.contains("--follow")
            {
                world.serves(&line).await;
                continue;
            }
            // An example that says an operator's word needs a process that handles it.
            let writer = (help.contains("--no-wait") && !line.contains("--no-wait")).then(|| world.writer());
            let line = if writer.is_some() { format!("{line} --wait 120") } else { line };
            let out = world.shell(&line).output().unwrap();
            assert!(out.status.success(), "`{example}`, typed as `{line}`: {out:?}");
        }
        open.extend(verbs(&help).into_iter().map(|verb| path.iter().cloned().chain([verb]).collect()));
    }
    assert!(typed > 35, "only {typed} examples were found");
}
