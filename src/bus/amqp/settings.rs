//! Settings of the message broker, checked before anything connects.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};

use super::error::AmqpError;
use super::guard::FRAME_MAX;
use crate::message::TOPICS;

/// Exchange to which Koji's plugin publishes by default.
pub const EXCHANGE: &str = "amq.topic";

/// Default name of the queue.
pub const QUEUE: &str = "koschei";

/// Default prefetch: messages that the broker sends before it hears that they are committed.
pub const PREFETCH: u16 = 100;

/// Largest prefetch. Together with [`crate::message::entry::MAX_MESSAGE`] it bounds memory: longer
/// messages are cut on arrival.
pub const PREFETCH_MAX: u16 = 1000;

/// Default heartbeat interval in seconds. The broker's own interval counts if it is shorter. A
/// connection is lost after two intervals without a heartbeat.
pub const HEARTBEAT: u16 = 30;

/// Timeout for connecting and logging in, and for one request.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Longest name of a queue, exchange, routing key or argument in bytes: the limit of AMQP's short
/// strings.
const NAME_BYTES_MAX: usize = 255;

/// Most routing keys of a queue, over all its bindings.
const ROUTING_KEYS_MAX: usize = 1000;

/// Most arguments of a queue, and most client properties that we show to the broker.
const ENTRIES_MAX: usize = 100;

/// Deepest table in the arguments of a queue.
const DEPTH_MAX: usize = 8;

/// Most channels of a connection. We use two.
const CHANNELS_MAX: u16 = 16;

/// Settings of an AMQP source. [`Self::new`] gives the defaults.
#[derive(Clone)]
pub struct AmqpSettings {
    /// Address: `amqp://` or `amqps://USER:PASSWORD@HOST:PORT/VHOST`.
    ///
    /// Missing parts default to `guest`, `guest`, `localhost`, 5672 or 5671, and the virtual host
    /// `/` (written `%2F`). Like in Python's pika, an empty path means the virtual host `/` too.
    /// `?heartbeat=SECONDS` overrides [`Self::heartbeat`]. User and password never appear in
    /// errors.
    pub url: String,
    /// Certificates for `amqps`.
    pub tls: Tls,
    /// The queue to take messages from.
    pub queue: Queue,
    /// What the queue receives. No binding is ever removed. Empty if the broker's operator binds
    /// the queue.
    pub bindings: Vec<Binding>,
    /// Most messages in transit or in our hands without an acknowledgement, 1 to [`PREFETCH_MAX`].
    pub prefetch: u16,
    /// Name of this connection in the broker's own lists.
    pub connection_name: String,
    /// Other properties that the broker is told about us, such as `app` and `app_contacts_email`.
    pub client_properties: BTreeMap<String, String>,
    /// Heartbeat interval in seconds, see [`HEARTBEAT`].
    pub heartbeat: u16,
    /// Timeout for connecting and logging in, and for one request.
    pub timeout: Duration,
}

/// Certificates. Each connection reads them again, so they can be replaced while the service runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// File with the certificates to trust (PEM), instead of the system's.
    pub ca_cert: Option<PathBuf>,
    /// Our certificate and its key (PEM). With them and no password in the URL, the login is by
    /// certificate (`EXTERNAL`), as Fedora's broker requires.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Settings of a queue.
#[derive(Clone, PartialEq, Debug)]
pub struct Queue {
    /// Name. If empty, the broker names the queue anew for each connection, and messages sent while
    /// we are away are lost.
    pub name: String,
    /// Only check that the queue exists, and use it as it is. The other settings then have no
    /// effect.
    pub passive: bool,
    /// Whether the queue outlives a restart of the broker.
    pub durable: bool,
    /// Whether only this connection may use the queue. It then ends with the connection.
    pub exclusive: bool,
    /// Whether the queue ends with its last consumer.
    pub auto_delete: bool,
    /// Further arguments, such as `x-max-priority = 10`. Dates are not allowed.
    pub arguments: toml::Table,
}

/// A binding: what a queue receives from an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Name of the exchange. It must exist.
    pub exchange: String,
    /// Routing keys. `*` stands for one word, `#` for any number of words.
    pub routing_keys: Vec<String>,
}

impl Binding {
    /// Returns the binding for all Koji messages that we understand, with any prefix of their
    /// topics.
    pub fn koji(exchange: &str) -> Self {
        let bound = TOPICS.iter().filter(|topic| topic.is_bound);
        let routing_keys = bound.map(|topic| format!("#.{}", topic.name)).collect();
        Self { exchange: exchange.to_owned(), routing_keys }
    }
}

impl Queue {
    /// Returns a durable queue that several connections may use.
    pub fn durable(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: toml::Table::new(),
        }
    }
}

impl AmqpSettings {
    /// Returns the settings for Koji's messages on [`EXCHANGE`], in a durable queue.
    pub fn new(url: &str, queue: &str) -> Self {
        Self {
            url: url.to_owned(),
            tls: Tls::default(),
            queue: Queue::durable(queue),
            bindings: vec![Binding::koji(EXCHANGE)],
            prefetch: PREFETCH,
            connection_name: "koschei".to_owned(),
            client_properties: BTreeMap::new(),
            heartbeat: HEARTBEAT,
            timeout: TIMEOUT,
        }
    }

    /// Checks everything that can be checked without a broker.
    ///
    /// # Errors
    /// Returns [`AmqpError::Settings`], which names the setting and says what it should be.
    pub fn check(&self) -> Result<(), AmqpError> {
        self.plan().map(drop)
    }

    /// Returns the checked settings in the form the client needs.
    pub(super) fn plan(&self) -> Result<Plan, AmqpError> {
        let (mut uri, has_password) = parse(&self.url).map_err(|reason| bad("amqp_url", reason))?;
        let external = uri.query.auth_mechanism == Some(SASLMechanism::External);
        if uri.query.auth_mechanism.is_none() && self.tls.certificate.is_some() && !has_password {
            uri.query.auth_mechanism = Some(SASLMechanism::External);
        }
        if external && self.tls.certificate.is_none() {
            return Err(bad(
                "amqp_url",
                "auth_mechanism=external needs a client certificate (tls certfile and keyfile)",
            ));
        }
        if uri.query.auth_mechanism == Some(SASLMechanism::External) && uri.scheme == AMQPScheme::AMQP {
            return Err(bad("amqp_url", "logging in by certificate needs TLS: amqps://… instead of amqp://…"));
        }
        uri.query.heartbeat = Some(uri.query.heartbeat.unwrap_or(self.heartbeat));
        uri.query.frame_max = Some(uri.query.frame_max.unwrap_or(FRAME_MAX).min(FRAME_MAX));
        uri.query.channel_max = Some(CHANNELS_MAX);
        if !(1..=PREFETCH_MAX).contains(&self.prefetch) {
            return Err(bad("prefetch", format!("{} is not between 1 and {PREFETCH_MAX}", self.prefetch)));
        }
        if self.queue.name.is_empty() && self.queue.passive {
            return Err(bad("queue", "a queue that is only looked for needs a name"));
        }
        let queue = short("queue", &self.queue.name)?;
        let mut bindings = Vec::new();
        for binding in &self.bindings {
            for key in &binding.routing_keys {
                bindings.push((short("exchange", &binding.exchange)?, short("routing key", key)?));
            }
        }
        if bindings.len() > ROUTING_KEYS_MAX {
            return Err(bad("bindings", format!("{} routing keys, at most {ROUTING_KEYS_MAX}", bindings.len())));
        }
        let arguments = table(&self.queue.arguments, 0)?;
        let mut client_properties = vec![
            ("product".to_owned(), "Koschei".to_owned()),
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        client_properties.extend(self.client_properties.iter().map(|(k, v)| (k.clone(), v.clone())));
        if client_properties.len() > ENTRIES_MAX {
            return Err(bad("client_properties", format!("more than {ENTRIES_MAX}")));
        }
        let client_properties = client_properties
            .into_iter()
            .map(|(key, value)| Ok((short("client property", &key)?, value)))
            .collect::<Result<_, AmqpError>>()?;
        Ok(Plan { shown: shown(&uri), uri, queue, bindings, arguments, client_properties })
    }
}

/// Checked settings.
pub(super) struct Plan {
    pub(super) uri: AMQPUri,
    /// The address without user and password, for errors.
    pub(super) shown: String,
    pub(super) queue: ShortString,
    /// Exchange and routing key.
    pub(super) bindings: Vec<(ShortString, ShortString)>,
    pub(super) arguments: FieldTable,
    pub(super) client_properties: Vec<(ShortString, String)>,
}

impl Plan {
    /// Checks whether the login is by certificate.
    pub(super) fn external(&self) -> bool {
        self.uri.query.auth_mechanism == Some(SASLMechanism::External)
    }
}

pub(super) fn bad(setting: &'static str, reason: impl Into<String>) -> AmqpError {
    AmqpError::Settings { setting, reason: reason.into() }
}

/// Parses an address in pika's dialect, and tells whether it has a password. Error texts never
/// repeat the address.
fn parse(url: &str) -> Result<(AMQPUri, bool), String> {
    const FORM: &str = "expected amqps://USER:PASSWORD@HOST:PORT/VHOST";
    let parsed = reqwest::Url::parse(url.trim()).map_err(|e| format!("{FORM}: {e}"))?;
    if !matches!(parsed.scheme(), "amqp" | "amqps") {
        return Err(format!("{FORM}, found the scheme `{}`", parsed.scheme()));
    }
    let mut uri: AMQPUri =
        url.trim().parse().map_err(|e: String| format!("{FORM}: {}", e.replace(url.trim(), "it")))?;
    if let Some(host) = parsed.host_str() {
        // The client's own parser takes an IPv6 address for `localhost`.
        host.trim_start_matches('[').trim_end_matches(']').clone_into(&mut uri.authority.host);
    }
    if uri.authority.host.is_empty() {
        "localhost".clone_into(&mut uri.authority.host);
    }
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    let has_password = parsed.password().is_some_and(|p| !p.is_empty());
    if !has_password && !parsed.username().is_empty() {
        uri.authority.userinfo.password.clear();
    }
    Ok((uri, has_password))
}

fn shown(uri: &AMQPUri) -> String {
    let host = &uri.authority.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    format!("{}://{host}:{}/{}", uri.scheme, uri.authority.port, uri.vhost.replace('/', "%2F"))
}

pub(super) fn short(what: &'static str, text: &str) -> Result<ShortString, AmqpError> {
    ShortString::try_new(text)
        .map_err(|_| bad(what, format!("{} bytes long, AMQP allows {NAME_BYTES_MAX}", text.len())))
}

fn table(from: &toml::Table, depth: usize) -> Result<FieldTable, AmqpError> {
    if depth > DEPTH_MAX || from.len() > ENTRIES_MAX {
        return Err(bad("queue arguments", format!("more than {DEPTH_MAX} levels or {ENTRIES_MAX} entries")));
    }
    let mut to = FieldTable::default();
    for (key, value) in from {
        to.insert(short("queue argument", key)?, argument(key, value, depth)?);
    }
    Ok(to)
}

fn argument(key: &str, from: &toml::Value, depth: usize) -> Result<AMQPValue, AmqpError> {
    Ok(match from {
        toml::Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        toml::Value::Integer(number) => AMQPValue::LongLongInt(*number),
        toml::Value::Float(number) => AMQPValue::Double(*number),
        toml::Value::Boolean(truth) => AMQPValue::Boolean(*truth),
        toml::Value::Datetime(_) => {
            return Err(bad("queue arguments", format!("`{key}` is a date, which no queue takes")));
        }
        toml::Value::Array(list) if depth < DEPTH_MAX => {
            let values = list.iter().take(ENTRIES_MAX).map(|v| argument(key, v, depth + 1));
            AMQPValue::FieldArray(values.collect::<Result<Vec<_>, _>>()?.into())
        }
        toml::Value::Array(_) => return Err(bad("queue arguments", format!("`{key}` is nested too deeply"))),
        toml::Value::Table(inner) => AMQPValue::FieldTable(table(inner, depth + 1)?),
    })
}

impl fmt::Debug for AmqpSettings {
    /// Leaves out user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = parse(&self.url).map_or_else(|_| "(not an address)".to_owned(), |(uri, _)| shown(&uri));
        f.debug_struct("AmqpSettings")
            .field("url", &url)
            .field("tls", &self.tls)
            .field("queue", &self.queue)
            .field("bindings", &self.bindings)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn plan(url: &str) -> Plan {
        AmqpSettings::new(url, "q").plan().unwrap()
    }

    #[rstest]
    #[case("amqp://", "amqp://localhost:5672/%2F")]
    #[case("amqp://?connection_attempts=3&retry_delay=5", "amqp://localhost:5672/%2F")]
    #[case("amqp://host/", "amqp://host:5672/%2F")]
    #[case("amqp://127.0.0.1:1234", "amqp://127.0.0.1:1234/%2F")]
    #[case("amqps://me:sec%40ret@host/%2Fpublic_pubsub", "amqps://host:5671/%2Fpublic_pubsub")]
    #[case("amqp://[::1]:7/v", "amqp://[::1]:7/v")]
    fn addresses_are_read_as_pika_does_and_shown_without_password(#[case] url: &str, #[case] shown: &str) {
        let plan = plan(url);
        assert_eq!(plan.shown, shown);
        assert!(!plan.external());
        assert!(!format!("{:?}", AmqpSettings::new(url, "q")).contains("sec"));
    }

    #[test]
    fn who_we_are_stands_in_the_address() {
        let user = |url| {
            let user = plan(url).uri.authority.userinfo;
            (user.username, user.password)
        };
        let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
        assert_eq!(user("amqp://host"), pair("guest", "guest"));
        assert_eq!(user("amqp://me:p%2Fw@host"), pair("me", "p/w"));
        assert_eq!(user("amqp://me@host"), pair("me", ""));
    }

    #[rstest]
    #[case("amqps://fedora:@host", true)]
    #[case("amqps://host", true)]
    #[case("amqps://fedora:secret@host", false)]
    #[case("amqps://fedora:secret@host?auth_mechanism=external", true)]
    #[case("amqps://fedora:@host?auth_mechanism=plain", false)]
    fn a_certificate_without_password_is_the_login(#[case] url: &str, #[case] external: bool) {
        let mut settings = AmqpSettings::new(url, "q");
        settings.tls.certificate = Some(("c".into(), "k".into()));
        assert_eq!(settings.plan().unwrap().external(), external);
    }

    #[rstest]
    #[case("amqp//:secret@nowhere", "expected amqps://")]
    #[case("http://me:secret@host", "found the scheme `http`")]
    #[case("amqp://me:secret@host?heartbeat=soon", "expected amqps://")]
    #[case("amqps://me:secret@host?auth_mechanism=external", "needs a client certificate")]
    fn what_is_no_address_is_said_without_repeating_it(#[case] url: &str, #[case] reason: &str) {
        let error = AmqpSettings::new(url, "q").check().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_certificate_needs_tls() {
        let mut settings = AmqpSettings::new("amqp://fedora:@host", "q");
        settings.tls.certificate = Some(("c".into(), "k".into()));
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains("amqps://"), "{error}");
    }

    #[test]
    fn bounds_hold() {
        let good = AmqpSettings::new("amqp://", "q");
        let long = "x".repeat(256);
        let argument = |value: &str| toml::from_str::<toml::Table>(value).unwrap();
        let queue = |arguments| Queue { arguments, ..good.queue.clone() };
        let deep = format!("a = {}1{}", "[".repeat(20), "]".repeat(20));
        let tables = format!("a = {}1{}", "{ a = ".repeat(20), "}".repeat(20));
        let bad = [
            AmqpSettings { prefetch: 0, ..good.clone() },
            AmqpSettings { prefetch: PREFETCH_MAX + 1, ..good.clone() },
            AmqpSettings { queue: Queue { name: long.clone(), ..good.queue.clone() }, ..good.clone() },
            AmqpSettings { queue: Queue { name: String::new(), passive: true, ..good.queue.clone() }, ..good.clone() },
            AmqpSettings { queue: queue(argument("when = 2026-01-01")), ..good.clone() },
            AmqpSettings { queue: queue(argument(&deep)), ..good.clone() },
            AmqpSettings { queue: queue(argument(&tables)), ..good.clone() },
            AmqpSettings { bindings: vec![Binding::koji(&long)], ..good.clone() },
            AmqpSettings {
                bindings: vec![Binding {
                    exchange: "x".into(),
                    routing_keys: vec!["k".to_owned(); ROUTING_KEYS_MAX + 1],
                }],
                ..good.clone()
            },
            AmqpSettings { client_properties: [(long, String::new())].into(), ..good.clone() },
        ];
        for settings in bad {
            let error = settings.check().unwrap_err();
            assert!(matches!(error, AmqpError::Settings { .. }), "{error}");
        }
        good.check().unwrap();
        let fine =
            queue(argument("x-max-priority = 10\nx-queue-mode = 'lazy'\nlist = [1, 'a', true, 0.5]\nt = { a = 1 }"));
        AmqpSettings { queue: fine, ..good }.check().unwrap();
    }
}
