//! Lenient reading of the members of a message body.

use serde_json::{Map, Value};

use crate::model::koji::NAME_BYTES_MAX;
use crate::model::{Name, Nvr};

/// Why a message cannot be understood.
pub(super) struct Reason(pub(super) String);

impl Reason {
    pub(super) fn missing(key: &str) -> Self {
        Self(format!("`{key}` is missing"))
    }

    pub(super) fn of(key: &str, expected: &str) -> Self {
        Self(format!("`{key}` is not {expected}"))
    }
}

/// The members of an object. `null` counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn given(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    pub(super) fn required(self, key: &str) -> Result<&'a Value, Reason> {
        self.given(key).ok_or_else(|| Reason::missing(key))
    }

    pub(super) fn object(self, key: &str) -> Option<Self> {
        self.given(key)?.as_object().map(Self)
    }

    pub(super) fn integer(self, key: &str) -> Result<i64, Reason> {
        integer(key, self.required(key)?)
    }

    pub(super) fn optional_integer(self, key: &str) -> Option<i64> {
        integer(key, self.given(key)?).ok()
    }

    pub(super) fn name(self, key: &str) -> Result<Name, Reason> {
        name(self.required(key)?).ok_or_else(|| Reason::of(key, "a name"))
    }

    pub(super) fn optional_name(self, key: &str) -> Option<Name> {
        name(self.given(key)?)
    }
}

/// Reads a whole number. It may be text, or a float without a fraction.
pub(super) fn integer(key: &str, value: &Value) -> Result<i64, Reason> {
    let number = match value {
        Value::Number(n) => n.as_i64().or_else(|| whole(n.as_f64()?)),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Reason::of(key, "a number"))
}

/// Converts a float to a whole number. Floats represent whole numbers exactly up to 2⁵³.
#[expect(clippy::cast_possible_truncation, reason = "range and fraction are checked")]
fn whole(float: f64) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i64)
}

/// Reads a name. Whole numbers become their digits (a version `7`). Floats are refused, because
/// `3.10` would become `3.1`.
pub(super) fn name(value: &Value) -> Option<Name> {
    match value {
        Value::String(s) => checked(s),
        Value::Number(n) if n.is_i64() || n.is_u64() => Some(n.to_string().into()),
        _ => None,
    }
}

/// Returns a text if it can be a name: not empty, not too long, no control characters, no white
/// space.
pub(super) fn checked(text: &str) -> Option<Name> {
    let bad = |c: char| c.is_control() || c.is_whitespace();
    (!text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.contains(bad)).then(|| text.into())
}

/// Checks whether all three parts can be names.
pub(super) fn is_nvr(nvr: &Nvr) -> bool {
    [&nvr.name, &nvr.version, &nvr.release].into_iter().all(|part| checked(part).is_some())
}

/// Checks whether Python considers the value true.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}
