//! Converts records to CloudEvents 1.0 and back, without loss. The JSON payload is kept byte for
//! byte, so the hashes still verify.
//!
//! `type` is `org.fedoraproject.koschei.KIND.vN`, `source` is `/koschei/SOURCE`, and `id` is the
//! first 16 bytes of the record's hash in hex. There are these extension attributes:
//!
//! - `sequence`: decimal, zero-padded to 20 digits, so that text order is log order
//! - `recordedtime` and `occurredtime`: microseconds since 1970
//! - `causationid` and `correlationid`: sequences
//! - `factid`, `kojievent` and `chainhash`

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::envelope::{ChainHash, FactId, Record, Source};
use crate::model::{Class, Classified, Seq, Timestamp};

const TYPE_PREFIX: &str = "org.fedoraproject.koschei.";
const SOURCE_PREFIX: &str = "/koschei/";

/// An error for a `CloudEvent` that is incomplete or was not written by this program.
#[derive(Debug, thiserror::Error)]
#[error("read cloud event: {0}")]
pub struct CloudEventError(String);

impl Classified for CloudEventError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

/// An event of the log as a CloudEvent.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(title = "CloudEvent")]
struct Wire {
    /// Version of CloudEvents.
    #[schemars(extend("const" = "1.0"))]
    specversion: String,
    /// Names the event: the first 16 bytes of its chain hash, in hex.
    #[schemars(regex(pattern = "^[0-9a-f]{32}$"))]
    id: String,
    /// Where the event comes from.
    #[schemars(extend("enum" = sources()))]
    source: String,
    /// Kind and version of `data`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = r"^org\.fedoraproject\.koschei\.[a-z_]+\.v[1-9][0-9]*$"))]
    kind: String,
    /// What the event is about, as a path.
    subject: String,
    /// Time at which it happened, in UTC.
    #[schemars(extend("format" = "date-time"))]
    time: String,
    /// Media type of `data`.
    #[schemars(extend("const" = "application/json"))]
    datacontenttype: String,
    /// Number in the log, in decimal, with zeros before it, so that text order is log order.
    #[schemars(regex(pattern = "^[0-9]{20}$"))]
    sequence: String,
    /// Time of recording, in microseconds since 1970.
    #[schemars(regex(pattern = "^-?[0-9]+$"))]
    recordedtime: String,
    /// Time at which it happened, in microseconds since 1970.
    #[schemars(regex(pattern = "^-?[0-9]+$"))]
    occurredtime: String,
    /// Identity of the fact, in hex. Absent if the event is no fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    factid: Option<String>,
    /// Koji's event number. Absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    kojievent: Option<String>,
    /// Number of the event that caused this one. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    causationid: Option<String>,
    /// Number of the first event of the chain of causes. Absent if this is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    correlationid: Option<String>,
    /// Hash of the event and of all events before it, in hex.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    chainhash: String,
    /// The payload, as it is stored.
    #[schemars(with = "serde_json::Value")]
    data: Box<RawValue>,
}

/// Returns what `source` may be.
fn sources() -> Vec<String> {
    Source::ALL.iter().map(|source| format!("{SOURCE_PREFIX}{source}")).collect()
}

/// Returns the JSON Schema of what [`to_json`] writes, with any `data`.
pub fn schema() -> Schema {
    schema_for!(Wire)
}

/// Returns the `type` of a kind.
pub fn type_of(kind: &str, version: u16) -> String {
    format!("{TYPE_PREFIX}{kind}.v{version}")
}

/// Writes the record as one line of CloudEvents JSON.
pub fn to_json(record: &Record) -> String {
    to_json_with(record, &record.payload)
}

/// Writes the record as one line of CloudEvents JSON with other `data`: `null` if a transport does
/// not take as much.
pub fn to_json_without_data(record: &Record) -> String {
    to_json_with(record, "null")
}

/// Returns the `id` of the record's CloudEvent.
pub fn id_of(record: &Record) -> String {
    hex::encode(&record.hash.0[..16])
}

fn to_json_with(record: &Record, data: &str) -> String {
    let wire = Wire {
        specversion: "1.0".to_owned(),
        id: id_of(record),
        source: format!("{SOURCE_PREFIX}{}", record.source),
        kind: type_of(&record.kind, record.version),
        subject: record.subject.clone(),
        time: record.occurred_at.to_string(),
        datacontenttype: "application/json".to_owned(),
        sequence: format!("{:020}", record.seq.get()),
        recordedtime: record.recorded_at.micros().to_string(),
        occurredtime: record.occurred_at.micros().to_string(),
        factid: record.fact.map(|f| f.to_string()),
        kojievent: record.koji_event.map(|n| n.to_string()),
        causationid: record.causation.map(|s| s.to_string()),
        correlationid: record.correlation.map(|s| s.to_string()),
        chainhash: record.hash.to_string(),
        data: RawValue::from_string(data.to_owned()).expect("stored payloads are JSON"),
    };
    serde_json::to_string(&wire).expect("all members are text or JSON")
}

/// Reads a record that [`to_json`] wrote.
///
/// # Errors
/// Returns [`CloudEventError`] (rejected), which names the attribute that is missing or wrong.
pub fn from_json(line: &str) -> Result<Record, CloudEventError> {
    let wire: Wire = serde_json::from_str(line).map_err(|e| CloudEventError(e.to_string()))?;
    let bad = |attribute: &str| CloudEventError(format!("attribute `{attribute}` is not what koschei writes"));
    let seq_of =
        |text: &str, attribute: &str| text.parse::<u64>().ok().and_then(Seq::new).ok_or_else(|| bad(attribute));
    let micros = |text: &str, attribute: &str| text.parse().map(Timestamp).map_err(|_| bad(attribute));
    let kind = wire.kind.strip_prefix(TYPE_PREFIX).ok_or_else(|| bad("type"))?;
    let (kind, version) = kind.rsplit_once(".v").ok_or_else(|| bad("type"))?;
    let fact = match &wire.factid {
        None => None,
        Some(text) => {
            let mut id = [0; 16];
            hex::decode_to_slice(text, &mut id).map_err(|_| bad("factid"))?;
            Some(FactId(id))
        }
    };
    Ok(Record {
        seq: seq_of(&wire.sequence, "sequence")?,
        recorded_at: micros(&wire.recordedtime, "recordedtime")?,
        occurred_at: micros(&wire.occurredtime, "occurredtime")?,
        kind: kind.to_owned(),
        version: version.parse().map_err(|_| bad("type"))?,
        source: wire.source.strip_prefix(SOURCE_PREFIX).ok_or_else(|| bad("source"))?.to_owned(),
        fact,
        koji_event: wire.kojievent.as_deref().map(|t| t.parse().map_err(|_| bad("kojievent"))).transpose()?,
        subject: wire.subject,
        causation: wire.causationid.as_deref().map(|t| seq_of(t, "causationid")).transpose()?,
        correlation: wire.correlationid.as_deref().map(|t| seq_of(t, "correlationid")).transpose()?,
        payload: wire.data.get().to_owned(),
        hash: ChainHash::parse(&wire.chainhash).ok_or_else(|| bad("chainhash"))?,
    })
}
