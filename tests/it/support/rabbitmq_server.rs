//! Starts RabbitMQ for tests, from the distribution's package and as the user who runs the tests.
//!
//! RabbitMQ takes several seconds to start. Tests that do not disturb it share one server
//! ([`RabbitServer::shared`]), each with its own exchange and queue ([`unique`]). Tests that stop
//! it take turns with a second one ([`RabbitServer::restartable`]). All ports are on loopback, and
//! the data are in a directory of the server's own. The server is a child of a shell that waits for
//! the end of its input. So it stops when this process ends, however that happens.
//!
//! Users: `guest` may do everything. `limited` may only read [`THEIRS`]. `koschei` and `stranger`
//! log in by certificate, and the server does not know `stranger`. Virtual hosts: `/` and `/koji`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::sync::{MutexGuard, OnceCell};
use tokio::time::{Instant, timeout};

use crate::hub::ports;

/// The queue that `limited` may read.
pub(crate) const THEIRS: &str = "theirs";

/// More time than any machine needs to start the server. Only a failing test waits this long.
const LONG: Duration = Duration::from_secs(300);

/// Controls the server: reads one command per line, and prints a line when it is done.
const SHELL: &str = r#"
dir="$1"; server="$2"; pid=
export HOME="$dir" RUNNING_UNDER_SYSTEMD=true ERL_EPMD_ADDRESS=127.0.0.1 LC_ALL=C.UTF-8
unset NOTIFY_SOCKET
# A signal to the whole group ends the loop and so the server, not this shell.
trap : INT TERM HUP
while read -r word; do
    case "$word" in
        start) "$server" </dev/null >>"$dir/server.log" 2>&1 & pid=$!;;
        stop) kill -TERM "$pid"; wait "$pid";;
        kill) kill -KILL "$pid"; wait "$pid";;
        look) kill -0 "$pid" 2>/dev/null || { echo ended; continue; };;
    esac
    echo done
done
[ -z "$pid" ] || { kill -KILL "$pid"; wait "$pid"; } 2>/dev/null
# The port mapper of Erlang goes when no node is known to it any more.
for i in 1 2 3 4 5 6 7 8 9 10; do epmd -port "$ERL_EPMD_PORT" -kill >/dev/null 2>&1 && break; sleep 0.1; done
cd /; rm -rf "$dir"
"#;

/// A running server. It stops when this value is dropped. Its data are kept over restarts.
pub(crate) struct RabbitServer {
    dir: PathBuf,
    port: u16,
    tls_port: u16,
    shell: Mutex<Shell>,
}

struct Shell {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Returns a unique name for a test's queue or exchange on the shared server.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn connect(url: &str) -> lapin::Result<Connection> {
    Connection::connect(url, ConnectionProperties::default()).await
}

fn program() -> PathBuf {
    // The scripts in Debian's and Fedora's path require the package's user. These are the programs
    // they call.
    let known = ["/usr/lib/rabbitmq/bin/rabbitmq-server"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("rabbitmq-server"));
    known.into_iter().chain(on_path).find(|program| program.exists()).unwrap_or_else(|| {
        panic!("tests need RabbitMQ: apt-get install rabbitmq-server (Debian) or dnf install rabbitmq-server (Fedora)")
    })
}

impl RabbitServer {
    /// Returns the server for all tests that do not stop it.
    pub(crate) async fn shared() -> &'static Self {
        static SERVER: OnceCell<RabbitServer> = OnceCell::const_new();
        SERVER.get_or_init(Self::start).await
    }

    /// Returns the server for tests that stop it, one test at a time.
    pub(crate) async fn restartable() -> MutexGuard<'static, Self> {
        static SERVER: OnceCell<tokio::sync::Mutex<RabbitServer>> = OnceCell::const_new();
        SERVER.get_or_init(async || tokio::sync::Mutex::new(Self::start().await)).await.lock().await
    }

    /// Starts a separate server, and waits until it accepts connections. Fails the test if it does
    /// not start.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Like [`RabbitServer::start`], with a further line of the configuration.
    pub(crate) async fn start_with(line: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("koschei-rabbitmq-").tempdir().unwrap().keep();
        let [port, tls_port, epmd, distribution] = [(); 4].map(|()| ports::free());
        certificates(&dir);
        configure(&dir, port, tls_port, line);
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SHELL, "sh"])
            .args([&dir, &program()])
            .current_dir(&dir)
            .env("RABBITMQ_NODENAME", format!("koschei{port}@localhost"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
            .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("ERL_EPMD_PORT", epmd.to_string())
            // Limits the server's threads, because the machine has other work as well.
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let server = Self { dir, port, tls_port, shell: Mutex::new(Shell { _child: shell, input, output }) };
        server.restart().await;
        server
    }

    /// Returns the port for connections without TLS.
    #[allow(dead_code, reason = "for tests of cut connections")]
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the `amqp://` address of the virtual host `/`, as `guest`.
    pub(crate) fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// Like [`RabbitServer::url`], for another user (with password) and virtual host.
    pub(crate) fn url_for(&self, user: &str, vhost: &str) -> String {
        format!("amqp://{user}@127.0.0.1:{}/{}", self.port, vhost.replace('/', "%2F"))
    }

    /// Returns the `amqps://` address without a password.
    pub(crate) fn tls_url(&self) -> String {
        format!("amqps://koschei:@localhost:{}/%2Fkoji", self.tls_port)
    }

    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.port, self.tls_port)
    }

    /// Returns the certificate of the authority that issued the certificates of server and clients.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Returns certificate and key of `koschei`, `stranger`, or `forged`. `forged` is `koschei`
    /// issued by another authority.
    pub(crate) fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}.key")))
    }

    /// Stops the server cleanly.
    pub(crate) fn stop(&self) {
        self.tell("stop");
    }

    /// Kills the server. Data it has not written are lost.
    pub(crate) fn kill(&self) {
        self.tell("kill");
    }

    /// Starts the server (again) with the same data and ports, and waits until it accepts
    /// connections.
    pub(crate) async fn restart(&self) {
        self.tell("start");
        let deadline = Instant::now() + LONG;
        loop {
            // The client may wait for ever for a connection that is refused too early. So check the
            // port first.
            let why = match tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await {
                Ok(_) => match timeout(LONG, connect(&self.url())).await.unwrap() {
                    Ok(_) => return,
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            if self.tell("look") != "done" || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
                panic!("RabbitMQ does not start: {why}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Publishes a message that no client would send: any bytes as routing key and as properties
    /// (with their flags before them). Waits until the broker has it.
    pub(crate) fn publish_raw(&self, exchange: &str, routing_key: &[u8], properties: &[u8], body: &[u8]) {
        let stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let name = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
        let say = |kind: u8, channel: u8, payload: &[u8]| {
            let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
            (&stream).write_all(&[&[kind, 0, channel], size.as_slice(), payload, &[0xce]].concat()).unwrap();
        };
        let login = [b"\0\x0a\0\x0b\0\0\0\0".as_slice(), &name(b"PLAIN"), b"\0\0\0\x0c\0guest\0guest", &name(b"en_US")];
        let publish = [b"\0\x3c\0\x28\0\0".as_slice(), &name(exchange.as_bytes()), &name(routing_key), b"\0"].concat();
        let size = (body.len() as u64).to_be_bytes();
        // Each step waits for the answer to the one before: start, tune, open-ok, channel's
        // open-ok, select-ok, ack.
        let answer = || {
            let mut start = [0; 7];
            (&stream).read_exact(&mut start).unwrap();
            let size = u32::from_be_bytes(start[3..].try_into().unwrap()) as usize;
            let mut payload = vec![0; size + 1];
            (&stream).read_exact(&mut payload).unwrap();
            (payload[1], payload[3])
        };
        (&stream).write_all(b"AMQP\0\0\x09\x01").unwrap();
        assert_eq!(answer(), (10, 10));
        say(1, 0, &login.concat());
        assert_eq!(answer(), (10, 30));
        say(1, 0, b"\0\x0a\0\x1f\0\x08\0\x02\0\0\0\0");
        say(1, 0, b"\0\x0a\0\x28\x01/\0\0");
        assert_eq!(answer(), (10, 41));
        say(1, 1, b"\0\x14\0\x0a\0");
        assert_eq!(answer(), (20, 11));
        say(1, 1, b"\0\x55\0\x0a\0");
        assert_eq!(answer(), (85, 11));
        say(1, 1, &publish);
        say(2, 1, &[b"\0\x3c\0\0".as_slice(), &size, properties].concat());
        say(3, 1, body);
        assert_eq!(answer(), (60, 80));
    }

    fn tell(&self, word: &str) -> String {
        let mut shell = self.shell.lock().unwrap();
        writeln!(shell.input, "{word}").unwrap();
        let mut answer = String::new();
        shell.output.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    /// Returns a publisher that uses confirms.
    pub(crate) async fn publisher(&self) -> Publisher {
        self.publisher_in("/").await
    }

    /// Like [`RabbitServer::publisher`], in another virtual host.
    pub(crate) async fn publisher_in(&self, vhost: &str) -> Publisher {
        let url = self.url_for("guest:guest", vhost);
        let connection = connect(&url).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Publisher { channel, _connection: connection }
    }
}

/// Publishes like Koji's plugin: persistent messages with ids and headers, each confirmed by the
/// broker.
pub(crate) struct Publisher {
    pub(crate) channel: Channel,
    _connection: Connection,
}

impl Publisher {
    /// Makes a durable topic exchange.
    pub(crate) async fn exchange(&self, name: &str) {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = self.channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
        declared.await.unwrap();
    }

    /// Publishes one message, and waits until the broker has it.
    pub(crate) async fn publish(&self, exchange: &str, topic: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(exchange.into(), topic.into(), options, body, properties);
        assert!(matches!(sent.await.unwrap().await.unwrap(), Confirmation::Ack(None)));
    }

    /// Publishes a recorded line to `exchange` as it was published once.
    pub(crate) async fn line(&self, exchange: &str, line: &str) {
        let line: Value = serde_json::from_str(line).unwrap();
        let topic = line["topic"].as_str().unwrap();
        self.publish(exchange, topic, properties(&line), line["body"].to_string().as_bytes()).await;
    }

    /// Returns how many messages are in a queue once it has no consumer. Messages that a consumer
    /// held are then back in the queue: the broker notices its end a little later and redelivers
    /// them. A consumer that was cancelled may still hold some, so this waits for `at_least`
    /// messages.
    pub(crate) async fn left(&self, queue: &str, at_least: u32) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let looking = async {
            loop {
                let found = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap();
                if found.consumer_count() == 0 && found.message_count() >= at_least {
                    return found.message_count();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, looking).await.expect("somebody still takes from it, or they do not come back")
    }

    /// Waits until a queue has a consumer. Its bindings are then made. A message without a matching
    /// binding goes to no queue.
    pub(crate) async fn taker(&self, queue: &str) {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let looking = async {
            while self
                .channel
                .queue_declare(queue.into(), passive, FieldTable::default())
                .await
                .unwrap()
                .consumer_count()
                == 0
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, looking).await.expect("nobody takes from it");
    }

    pub(crate) async fn delete_queue(&self, name: &str) {
        self.channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    }
}

/// Returns the properties of a recorded line.
pub(crate) fn properties(line: &Value) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (key, value) in line["headers"].as_object().unwrap() {
        let value = match value {
            Value::Bool(truth) => AMQPValue::Boolean(*truth),
            Value::Number(number) => AMQPValue::LongLongInt(number.as_i64().unwrap()),
            Value::String(text) => AMQPValue::LongString(text.as_str().into()),
            other => panic!("{other} is not among the recorded headers"),
        };
        headers.insert(key.as_str().into(), value);
    }
    let mut properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id(line["id"].as_str().unwrap().into())
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2);
    if let Some(priority) = line["properties"]["priority"].as_u64() {
        properties = properties.with_priority(u8::try_from(priority).unwrap());
    }
    properties
}

fn configure(dir: &Path, port: u16, tls_port: u16, line: &str) {
    let at = |name: &str| dir.join(name).display().to_string();
    let (ca, certificate, key, definitions) =
        (at("ca.pem"), at("server.pem"), at("server.key"), at("definitions.json"));
    let configuration = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}
         listeners.ssl.1 = 127.0.0.1:{tls_port}
         ssl_options.cacertfile = {ca}
         ssl_options.certfile = {certificate}
         ssl_options.keyfile = {key}
         ssl_options.verify = verify_peer
         ssl_options.fail_if_no_peer_cert = false
         ssl_cert_login_from = common_name
         auth_mechanisms.1 = PLAIN
         auth_mechanisms.2 = EXTERNAL
         disk_free_limit.absolute = 1MB
         load_definitions = {definitions}\n{line}\n"
    );
    std::fs::write(dir.join("rabbitmq.conf"), configuration).unwrap();
    std::fs::write(dir.join("plugins"), "[rabbitmq_auth_mechanism_ssl].\n").unwrap();
    let all = |user: &str, vhost: &str| {
        serde_json::json!({
            "user": user, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"
        })
    };
    let definitions_of_users = serde_json::json!({
        "vhosts": [{ "name": "/" }, { "name": "/koji" }],
        "users": [
            { "name": "guest", "password": "guest", "tags": "administrator" },
            { "name": "limited", "password": "limited", "tags": "" },
            { "name": "koschei", "password": "only by certificate", "tags": "" },
        ],
        "permissions": [
            all("guest", "/"),
            all("guest", "/koji"),
            all("koschei", "/koji"),
            { "user": "limited", "vhost": "/", "configure": "^$", "write": "^$", "read": format!("^{THEIRS}$") },
        ],
    });
    std::fs::write(definitions, definitions_of_users.to_string()).unwrap();
}

fn certificates(dir: &Path) {
    let authority = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        (certificate, Issuer::new(params, key))
    };
    let (certificate, ours) = authority("authority of tests");
    std::fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
    let (certificate, others) = authority("authority of others");
    std::fs::write(dir.join("other-ca.pem"), certificate.pem()).unwrap();
    let write = |file: &str, name: &str, hosts: &[&str], issuer: &Issuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, issuer).unwrap();
        std::fs::write(dir.join(format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    };
    write("server", "broker", &["localhost"], &ours);
    write("koschei", "koschei", &[], &ours);
    write("stranger", "stranger", &[], &ours);
    write("forged", "koschei", &[], &others);
}
