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

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::envelope::{ChainHash, FactId, Record};
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

#[derive(Serialize, Deserialize)]
struct Wire {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: String,
    sequence: String,
    recordedtime: String,
    occurredtime: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    factid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kojievent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlationid: Option<String>,
    chainhash: String,
    data: Box<RawValue>,
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
        kind: format!("{TYPE_PREFIX}{}.v{}", record.kind, record.version),
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
