//! Stores any JSON as it is in a form for people, and as a text in columns, whose reader must know
//! all types.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;

pub(in crate::fold) fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        return value.serialize(to);
    }
    to.serialize_str(&serde_json::to_string(value).map_err(S::Error::custom)?)
}

pub(in crate::fold) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    if from.is_human_readable() {
        return Value::deserialize(from);
    }
    serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
}
