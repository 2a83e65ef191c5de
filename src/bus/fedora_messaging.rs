//! Reads the configuration file of Fedora Messaging (`/etc/fedora-messaging/config.toml`). An
//! operator thus configures the broker in one place.
//!
//! It reads what a consumer needs: address, certificates, queue, bindings, prefetch, and the client
//! properties. It ignores settings of the Python program (callbacks, logging). It ignores unknown
//! settings with a warning. A value of a wrong type is an error. The caller chooses the file, by
//! default or by `FEDORA_MESSAGING_CONF`.
//!
//! Source: the documentation of fedora-messaging 3. These of its defaults are kept:
//!
//! - An empty address is `guest` on this machine.
//! - The broker names a queue without a name. That queue is exclusive and ends with the connection.
//!
//! These are changed:
//!
//! - Without bindings the queue is bound to Koji's messages, not to everything.
//! - Missing settings of a queue are those of a durable one.
//! - The default prefetch is [`PREFETCH`].

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::amqp::{AmqpSettings, Binding, EXCHANGE, PREFETCH, PREFETCH_MAX, Queue};
use crate::model::{Class, Classified};

/// Path of the file, unless `FEDORA_MESSAGING_CONF` names another.
pub const PATH: &str = "/etc/fedora-messaging/config.toml";

/// Largest file, in bytes. Fedora's example has 3 KB.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Default address: this machine.
const URL: &str = "amqp://";

/// Top-level settings that do not concern a consumer, or concern only a Python one.
const OTHERS: [&str; 7] =
    ["callback", "consumer_config", "exchanges", "log_config", "monitoring", "publish_priority", "publisher"];

/// Content of such a file.
#[derive(Clone, Debug)]
pub struct FedoraMessaging {
    /// How to get messages.
    pub amqp: AmqpSettings,
    /// Prefix of the topics of messages that this client publishes. It does not apply to other
    /// publishers' topics, so no binding uses it.
    pub topic_prefix: String,
    /// Exchange to which this client publishes.
    pub publish_exchange: String,
    /// Settings that were ignored or may not work as intended. Full sentences for the operator.
    pub warnings: Vec<String>,
}

/// Error: the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FedoraMessagingError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than a configuration may be.
    #[error("read {}: {size} bytes, more than the {FILE_BYTES_MAX} a configuration may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The file is not TOML, or a setting is wrong.
    #[error("read {}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The setting, and what it must be.
        reason: String,
    },
}

impl Classified for FedoraMessagingError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl FedoraMessaging {
    /// Reads a file. `queue` chooses one if the file has several.
    ///
    /// # Errors
    /// Returns [`FedoraMessagingError`] if the file cannot be read or used.
    pub fn read(path: &Path, queue: Option<&str>) -> Result<Self, FedoraMessagingError> {
        let failed = |source| FedoraMessagingError::Read { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > FILE_BYTES_MAX {
            return Err(FedoraMessagingError::TooLarge { path: path.to_owned(), size });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, queue).map_err(|reason| FedoraMessagingError::Wrong { path: path.to_owned(), reason })
    }

    /// Parses the text of such a file.
    ///
    /// # Errors
    /// Returns a text that names the setting and what it must be, or the line that is not TOML.
    /// It never repeats the file's text, which may have a password.
    pub fn parse(text: &str, queue: Option<&str>) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|span| text.as_bytes().get(..span.start));
            let line = before.map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count()) + 1;
            format!("line {line} is not TOML: {}", e.message())
        })?;
        let mut read = Reader { warnings: Vec::new() };
        let top = Section { path: String::new(), table: &table };
        let url = read.text(&top, "amqp_url")?.unwrap_or(URL);
        let mut amqp = AmqpSettings::new(url, "");
        let passive = read.truth(&top, "passive_declares")?.unwrap_or(false);
        let topic_prefix = read.text(&top, "topic_prefix")?.unwrap_or_default().to_owned();
        let publish_exchange = read.text(&top, "publish_exchange")?.unwrap_or(EXCHANGE).to_owned();
        read.tls(&top, &mut amqp)?;
        read.client_properties(&top, &mut amqp)?;
        amqp.queue = read.queue(&top, queue, passive)?;
        amqp.bindings = read.bindings(&top, &amqp.queue.name)?;
        amqp.prefetch = read.prefetch(&top)?;
        let known = ["amqp_url", "passive_declares", "tls", "client_properties", "queues", "bindings", "qos"];
        let publishing = ["topic_prefix", "publish_exchange"];
        read.unknown(&top, &[known.as_slice(), publishing.as_slice(), OTHERS.as_slice()].concat());
        amqp.check().map_err(|e| e.to_string())?;
        Ok(Self { amqp, topic_prefix, publish_exchange, warnings: read.warnings })
    }
}

/// A table and its place in the file.
struct Section<'a> {
    /// Path with a trailing dot. Empty for the whole file.
    path: String,
    table: &'a Table,
}

/// Reads settings, and collects warnings.
struct Reader {
    warnings: Vec<String>,
}

/// Returns the error text for a value of a wrong type.
fn wrong(section: &Section<'_>, key: &str, expected: &str, found: &Value) -> String {
    format!("`{}{key}` must be {expected}, but is {}", section.path, found.type_str())
}

fn taken<'a, T>(
    section: &Section<'a>,
    key: &str,
    expected: &str,
    take: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<Option<T>, String> {
    section.table.get(key).map(|value| take(value).ok_or_else(|| wrong(section, key, expected, value))).transpose()
}

impl Reader {
    fn text<'a>(&self, section: &Section<'a>, key: &str) -> Result<Option<&'a str>, String> {
        taken(section, key, "a text in quotes", Value::as_str)
    }

    fn truth(&self, section: &Section<'_>, key: &str) -> Result<Option<bool>, String> {
        taken(section, key, "true or false", Value::as_bool)
    }

    fn section<'a>(&self, section: &Section<'a>, key: &str) -> Result<Option<Section<'a>>, String> {
        let table = taken(section, key, "a table", Value::as_table)?;
        Ok(table.map(|table| Section { path: format!("{}{key}.", section.path), table }))
    }

    fn unknown(&mut self, section: &Section<'_>, known: &[&str]) {
        for key in section.table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.warnings.push(format!("`{}{key}` is not known and was ignored", section.path));
        }
    }

    fn tls(&mut self, top: &Section<'_>, amqp: &mut AmqpSettings) -> Result<(), String> {
        let Some(tls) = self.section(top, "tls")? else { return Ok(()) };
        let file = |key| Ok::<_, String>(self.text(&tls, key)?.filter(|path| !path.is_empty()).map(PathBuf::from));
        amqp.tls.ca_cert = file("ca_cert")?;
        amqp.tls.certificate = match (file("certfile")?, file("keyfile")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err("`tls.certfile` needs `tls.keyfile`".to_owned()),
            (None, Some(_)) => return Err("`tls.keyfile` needs `tls.certfile`".to_owned()),
        };
        if amqp.url.trim_start().starts_with("amqp:") && amqp.tls != super::amqp::Tls::default() {
            // Like in fedora-messaging, the scheme of the address decides.
            amqp.tls = super::amqp::Tls::default();
            self.warnings.push("`tls` is not used, because `amqp_url` does not begin with amqps://".to_owned());
        }
        self.unknown(&tls, &["ca_cert", "certfile", "keyfile"]);
        Ok(())
    }

    fn client_properties(&mut self, top: &Section<'_>, amqp: &mut AmqpSettings) -> Result<(), String> {
        let Some(properties) = self.section(top, "client_properties")? else { return Ok(()) };
        for (key, value) in properties.table {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => value.to_string(),
                Value::Array(list) if list.iter().all(Value::is_str) => {
                    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
                }
                other => return Err(wrong(&properties, key, "a text, a number or a list of texts", other)),
            };
            amqp.client_properties.insert(key.clone(), text);
        }
        if let Some(app) = amqp.client_properties.get("app") {
            amqp.connection_name = format!("koschei ({app})");
        }
        Ok(())
    }

    fn queue(&mut self, top: &Section<'_>, wanted: Option<&str>, passive: bool) -> Result<Queue, String> {
        let queues = self.section(top, "queues")?;
        let names: Vec<&str> = queues.iter().flat_map(|q| q.table.keys().map(String::as_str)).collect();
        let name = match (wanted, names.as_slice()) {
            (Some(wanted), names) if names.contains(&wanted) => wanted,
            // The queue was named elsewhere, and checking for it needs no settings.
            (Some(wanted), _) => {
                let mut queue = Queue::durable(wanted);
                queue.passive = passive;
                return Ok(queue);
            }
            (None, [name]) => name,
            (None, []) => "",
            (None, names) => {
                return Err(format!(
                    "choose one of the queues (`--queue`, or `queue` in `[bus]`): {}",
                    names.join(", ")
                ));
            }
        };
        let mut queue = Queue::durable(name);
        queue.passive = passive && !name.is_empty();
        if name.is_empty() {
            (queue.durable, queue.exclusive, queue.auto_delete) = (false, true, true);
        }
        if let Some(settings) = queues.as_ref().map(|q| self.section(q, name)).transpose()?.flatten() {
            queue.durable = self.truth(&settings, "durable")?.unwrap_or(queue.durable);
            queue.exclusive = self.truth(&settings, "exclusive")?.unwrap_or(queue.exclusive);
            queue.auto_delete = self.truth(&settings, "auto_delete")?.unwrap_or(queue.auto_delete);
            if let Some(arguments) = self.section(&settings, "arguments")? {
                queue.arguments = arguments.table.clone();
            }
            self.unknown(&settings, &["durable", "exclusive", "auto_delete", "arguments"]);
        }
        if !queue.passive && (!queue.durable || queue.exclusive || queue.auto_delete) {
            let name = if queue.name.is_empty() { "named by the broker" } else { &queue.name };
            self.warnings.push(format!(
                "the queue ({name}) is lost with the connection or the broker: messages that are sent meanwhile are \
                    found only by asking the hub; a durable queue keeps them"
            ));
        }
        Ok(queue)
    }

    fn bindings(&mut self, top: &Section<'_>, queue: &str) -> Result<Vec<Binding>, String> {
        let Some(list) = taken(top, "bindings", "a list of tables ([[bindings]])", Value::as_array)? else {
            return Ok(vec![Binding::koji(EXCHANGE)]);
        };
        let mut bindings = Vec::new();
        for (at, value) in list.iter().enumerate() {
            let table = value.as_table().ok_or_else(|| wrong(top, &format!("bindings[{at}]"), "a table", value))?;
            let binding = Section { path: format!("bindings[{at}]."), table };
            self.unknown(&binding, &["queue", "exchange", "routing_keys"]);
            // Without a name, the binding is for the queue without a name. If there is only one
            // queue, it is for that one. Both are ours.
            if self.text(&binding, "queue")?.is_some_and(|name| name != queue) {
                continue;
            }
            let exchange = self.text(&binding, "exchange")?.unwrap_or(EXCHANGE).to_owned();
            let keys = taken(&binding, "routing_keys", "a list of texts", Value::as_array)?;
            let keys = keys.ok_or_else(|| format!("`{}routing_keys` is missing", binding.path))?;
            let text = |key: &Value| {
                key.as_str()
                    .map(ToOwned::to_owned)
                    .ok_or_else(|| wrong(&binding, "routing_keys", "a list of texts", key))
            };
            let routing_keys = keys.iter().map(text).collect::<Result<Vec<_>, _>>()?;
            if routing_keys.iter().any(|key| key == "#") {
                self.warnings.push(format!(
                    "the routing key `#` brings every message of {exchange}; without [[bindings]], only Koji's \
                        messages are requested"
                ));
            }
            bindings.push(Binding { exchange, routing_keys });
        }
        if bindings.is_empty() {
            self.warnings.push(format!(
                "no binding is for queue {queue}: the administrators of the broker must have created its bindings"
            ));
        }
        Ok(bindings)
    }

    fn prefetch(&mut self, top: &Section<'_>) -> Result<u16, String> {
        let Some(qos) = self.section(top, "qos")? else { return Ok(PREFETCH) };
        self.unknown(&qos, &["prefetch_count", "prefetch_size"]);
        if taken(&qos, "prefetch_size", "a number", Value::as_integer)?.is_some_and(|size| size != 0) {
            self.warnings.push("`qos.prefetch_size` is not used: RabbitMQ knows no limit in bytes".to_owned());
        }
        let Some(count) = taken(&qos, "prefetch_count", "a number", Value::as_integer)? else { return Ok(PREFETCH) };
        match u16::try_from(count) {
            Ok(count @ 1..=PREFETCH_MAX) => Ok(count),
            _ if count < 0 => Err(format!("`qos.prefetch_count` must be from 1 to {PREFETCH_MAX}, but is {count}")),
            // In that file, 0 means no limit.
            _ => {
                self.warnings.push(format!(
                    "`qos.prefetch_count` is {count}, but {PREFETCH_MAX} is used, the largest possible value"
                ));
                Ok(PREFETCH_MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The settings of Fedora's documented example for an external consumer.
    const FEDORA: &str = r##"
        amqp_url = "amqps://fedora:@rabbitmq.example.org/%2Fpublic_pubsub"
        callback = "fedora_messaging.example:printer"
        [tls]
        ca_cert = "/etc/fedora-messaging/cacert.pem"
        keyfile = "/etc/fedora-messaging/fedora-key.pem"
        certfile = "/etc/fedora-messaging/fedora-cert.pem"
        [client_properties]
        app = "Koschei"
        app_contacts_email = ["a@example.org", "b@example.org"]
        [exchanges."amq.topic"]
        type = "topic"
        [[bindings]]
        exchange = "amq.topic"
        routing_keys = ["#.buildsys.tag"]
        [consumer_config]
        example_key = "for my consumer"
        [qos]
        prefetch_size = 0
        prefetch_count = 25
        [log_config]
        version = 1
    "##;

    fn read(text: &str) -> FedoraMessaging {
        FedoraMessaging::parse(text, None).unwrap()
    }

    #[test]
    fn a_file_for_fedoras_broker() {
        let file = read(FEDORA);
        let amqp = &file.amqp;
        assert_eq!(amqp.url, "amqps://fedora:@rabbitmq.example.org/%2Fpublic_pubsub");
        assert_eq!(amqp.tls.ca_cert.as_deref(), Some(Path::new("/etc/fedora-messaging/cacert.pem")));
        let pair = amqp.tls.certificate.as_ref().unwrap();
        assert!(pair.0.ends_with("fedora-cert.pem") && pair.1.ends_with("fedora-key.pem"), "{pair:?}");
        assert_eq!(amqp.prefetch, 25);
        assert_eq!(amqp.client_properties["app_contacts_email"], "a@example.org, b@example.org");
        assert_eq!(amqp.connection_name, "koschei (Koschei)");
        assert_eq!(amqp.bindings, [Binding { exchange: EXCHANGE.into(), routing_keys: vec!["#.buildsys.tag".into()] }]);
        let queue = &amqp.queue;
        assert_eq!((queue.name.as_str(), queue.durable, queue.exclusive, queue.auto_delete), ("", false, true, true));
        assert_eq!(file.warnings.len(), 1, "{:?}", file.warnings);
        assert!(file.warnings[0].contains("is lost with"), "{:?}", file.warnings);
    }

    #[test]
    fn a_durable_queue_with_its_arguments() {
        let file = read(
            r#"
            amqp_url = "amqp://koschei:secret@mq/"
            passive_declares = false
            topic_prefix = "org.example"
            publish_exchange = "out"
            [queues.koschei]
            durable = true
            auto_delete = false
            exclusive = false
            arguments = { x-max-priority = 10 }
            [[bindings]]
            queue = "koschei"
            exchange = "koji"
            routing_keys = ["a.*", "b.#"]
            [[bindings]]
            queue = "other"
            exchange = "koji"
            routing_keys = ["c"]
            "#,
        );
        assert_eq!((file.topic_prefix.as_str(), file.publish_exchange.as_str()), ("org.example", "out"));
        assert_eq!(file.amqp.queue.arguments["x-max-priority"].as_integer(), Some(10));
        let expected = Binding { exchange: "koji".into(), routing_keys: vec!["a.*".into(), "b.#".into()] };
        assert_eq!(file.amqp.bindings, [expected]);
        assert!(file.warnings.is_empty(), "{:?}", file.warnings);
        assert!(!format!("{file:?}").contains("secret"));
    }

    #[test]
    fn nothing_is_this_machine_and_koji() {
        let file = read("");
        assert_eq!((file.amqp.url.as_str(), file.amqp.prefetch), (URL, PREFETCH));
        assert_eq!(file.amqp.bindings, [Binding::koji(EXCHANGE)]);
    }

    #[test]
    fn one_of_several_queues_is_chosen() {
        let text = "[queues.a]\ndurable = false\n[queues.b]\n";
        let error = FedoraMessaging::parse(text, None).unwrap_err();
        assert_eq!(error, "choose one of the queues (`--queue`, or `queue` in `[bus]`): a, b");
        let queue = |name| FedoraMessaging::parse(text, Some(name)).unwrap().amqp.queue;
        assert!(!queue("a").durable && queue("b").durable);
        assert_eq!(queue("elsewhere"), Queue::durable("elsewhere"));
        let text = format!("passive_declares = true\n{text}");
        assert!(FedoraMessaging::parse(&text, Some("b")).unwrap().amqp.queue.passive);
    }

    #[rstest]
    #[case("surprise = 1", "`surprise` is not known")]
    #[case("[tls]\nversion = 1", "`tls.version` is not known")]
    #[case("[queues.q]\npassive = true", "`queues.q.passive` is not known")]
    #[case("[qos]\nprefetch_size = 5", "`qos.prefetch_size` is not used")]
    #[case("[qos]\nprefetch_count = 0", "1000 is used")]
    #[case("[qos]\nprefetch_count = 70000", "1000 is used")]
    #[case("[[bindings]]\nrouting_keys = ['#']", "brings every message")]
    #[case("[queues.q]\n[[bindings]]\nqueue = 'r'\nrouting_keys = ['k']", "no binding is for queue q")]
    #[case("amqp_url = 'amqp://'\n[tls]\nca_cert = 'x'", "`tls` is not used")]
    fn what_is_odd_is_warned_about(#[case] text: &str, #[case] warning: &str) {
        let file = read(text);
        assert!(file.warnings.iter().any(|w| w.contains(warning)), "{:?}", file.warnings);
    }

    #[rstest]
    #[case("amqp_url = 1", "`amqp_url` must be a text in quotes, but is integer")]
    #[case("passive_declares = 'yes'", "`passive_declares` must be true or false, but is string")]
    #[case("tls = 'x'", "`tls` must be a table, but is string")]
    #[case("[tls]\nca_cert = false", "`tls.ca_cert` must be a text in quotes, but is boolean")]
    #[case("[tls]\ncertfile = 'x'", "`tls.certfile` needs `tls.keyfile`")]
    #[case("[tls]\nkeyfile = 'x'", "`tls.keyfile` needs `tls.certfile`")]
    #[case("[queues]\nq = 1", "`queues.q` must be a table, but is integer")]
    #[case("[queues.q]\ndurable = 1", "`queues.q.durable` must be true or false, but is integer")]
    #[case("[queues.q]\narguments = []", "`queues.q.arguments` must be a table, but is array")]
    #[case("bindings = {}", "`bindings` must be a list of tables ([[bindings]]), but is table")]
    #[case("bindings = [1]", "`bindings[0]` must be a table, but is integer")]
    #[case("[[bindings]]", "`bindings[0].routing_keys` is missing")]
    #[case("[[bindings]]\nrouting_keys = 'a'", "`bindings[0].routing_keys` must be a list of texts, but is string")]
    #[case("[[bindings]]\nrouting_keys = [1]", "`bindings[0].routing_keys` must be a list of texts, but is integer")]
    #[case(
        "[client_properties]\napp = {}",
        "`client_properties.app` must be a text, a number or a list of texts, but is table"
    )]
    #[case("[qos]\nprefetch_count = 'x'", "`qos.prefetch_count` must be a number, but is string")]
    #[case("[qos]\nprefetch_count = -1", "`qos.prefetch_count` must be from 1 to 1000, but is -1")]
    #[case("amqp_url = 'https://x'", "found the scheme `https`")]
    fn what_is_wrong_is_said(#[case] text: &str, #[case] expected: &str) {
        let error = FedoraMessaging::parse(text, None).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_password_is_not_repeated() {
        let error = FedoraMessaging::parse("\namqp_url = 'amqp://me:secret@mq\n", None).unwrap_err();
        assert!(error.starts_with("line 2 is not TOML") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn files_have_a_bound() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(FILE_BYTES_MAX + 1).unwrap();
        let error = FedoraMessaging::read(file.path(), None).unwrap_err();
        assert!(matches!(error, FedoraMessagingError::TooLarge { .. }), "{error}");
        let error = FedoraMessaging::read(Path::new("/nonexistent/config.toml"), None).unwrap_err();
        assert!(matches!(error, FedoraMessagingError::Read { .. }), "{error}");
        assert_eq!(error.class(), Class::Rejected);
    }
}
