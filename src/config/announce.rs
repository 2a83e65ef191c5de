//! Reads `[announce]`: whether, where and how changes of state are announced.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What becomes of an announcement that no queue takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoQueue {
    /// It counts as sent, because nobody listens. A metric counts it.
    #[default]
    Skip,
    /// It waits until a queue takes it, and those behind it of the same package or collection wait,
    /// too.
    Wait,
}

/// Announcing, as written in the file. Missing settings of the broker are those of `[bus]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnnounceConfig {
    /// Whether changes of state are announced.
    pub enabled: bool,
    /// Exchange to publish to.
    pub exchange: Option<String>,
    /// What comes before the topics.
    pub topic_prefix: Option<String>,
    /// What becomes of an announcement that no queue takes.
    pub no_queue: NoQueue,
    /// Address of the broker: `amqp://` or `amqps://`.
    pub amqp_url: Option<String>,
    /// Certificates to trust (PEM).
    pub ca_cert: Option<PathBuf>,
    /// Our client certificate (PEM).
    pub cert: Option<PathBuf>,
    /// Key of our client certificate (PEM).
    pub key: Option<PathBuf>,
}
