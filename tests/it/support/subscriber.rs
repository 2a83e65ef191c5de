//! Subscribes like Fedora's services: with the Python packages `fedora-messaging` and
//! `koschei-messages`, which the install step puts into cargo's target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::rabbitmq_server::RabbitServer;

/// What Python says of a message.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub(crate) struct Heard {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) class: String,
    pub(crate) body: Value,
    pub(crate) headers: Map<String, Value>,
    pub(crate) severity: u8,
    /// Content type, encoding and delivery mode.
    pub(crate) content: (String, String, u8),
    pub(crate) summary: String,
    pub(crate) url: String,
    pub(crate) packages: Vec<String>,
    pub(crate) usernames: Vec<String>,
    pub(crate) groups: Vec<String>,
}

pub(crate) fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("koji-client").join("bin/python");
    assert!(python.is_file(), "there is no {}: run deploy/install-deps.sh build test", python.display());
    python
}

/// Makes a durable queue that takes the messages of an exchange with these keys.
pub(crate) async fn subscribe(server: &RabbitServer, exchange: &str, queue: &str, keys: &[&str], limit: Option<i32>) {
    let publisher = server.publisher().await;
    publisher.exchange(exchange).await;
    let mut arguments = FieldTable::default();
    if let Some(limit) = limit {
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(limit));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    publisher.channel.queue_declare(queue.into(), options, arguments).await.unwrap();
    for key in keys {
        let options = QueueBindOptions::default();
        let bound =
            publisher.channel.queue_bind(queue.into(), exchange.into(), (*key).into(), options, FieldTable::default());
        bound.await.unwrap();
    }
}

/// Returns how many messages a queue has for whoever asks next.
pub(crate) async fn waiting(server: &RabbitServer, queue: &str) -> u32 {
    let channel = server.publisher().await.channel;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
}

/// Takes everything from a queue, in its order. Fails if Python finds a message that is not valid.
pub(crate) async fn heard(server: &RabbitServer, queue: &str) -> Vec<Heard> {
    let count = waiting(server, queue).await;
    if count == 0 {
        return Vec::new();
    }
    let dir = tempfile::tempdir().unwrap();
    let (script, config) = (dir.path().join("subscriber.py"), dir.path().join("config.toml"));
    std::fs::write(&script, include_str!("subscriber.py")).unwrap();
    let text = format!(
        "amqp_url = '{}'\npassive_declares = true\nbindings = []\n[queues.{queue}]\ndurable = true\n\
         auto_delete = false\nexclusive = false\narguments = {{}}\n",
        server.url()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(python());
    command.arg(&script).arg(count.to_string()).env("FEDORA_MESSAGING_CONF", &config).env("HOME", dir.path());
    // Our own classes are those of the source tree; the installed package has the entry points.
    command.env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/koschei-messages-ng"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{said}", output.status);
    // The library reports a message that does not match its schema, and drops it.
    assert!(!said.contains("alidation") && !said.contains("misbehaving"), "{said}");
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
