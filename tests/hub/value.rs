//! Values as the hub writes them. Structs keep the order of their members. The encoder is
//! independent of ours, so that it checks ours.

use std::fmt::Write as _;

use base64::Engine as _;
use koschei::koji::xmlrpc::Value;

use super::clock::Micros;

/// A value of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum V {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<V>),
    Struct(Vec<(String, V)>),
}

/// Makes a struct: `row! { "id" => 1, "name" => "x" }`.
macro_rules! row {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::hub::value::V::Struct(vec![$(($name.to_string(), $crate::hub::value::V::from($value))),*])
    };
}
pub(crate) use row;

impl V {
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Sets a member, at its place or at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Self>) {
        if let Self::Struct(members) = self {
            let value = value.into();
            match members.iter_mut().find(|(n, _)| n == name) {
                Some(member) => member.1 = value,
                None => members.push((name.to_owned(), value)),
            }
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<Self>) -> Self {
        self.set(name, value);
        self
    }

    pub fn without(mut self, names: &[&str]) -> Self {
        if let Self::Struct(members) = &mut self {
            members.retain(|(name, _)| !names.contains(&name.as_str()));
        }
        self
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Bool(b) => Some(i64::from(*b)),
            _ => None,
        }
    }

    /// Checks whether Python counts the value as true.
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Double(d) => *d != 0.0,
            Self::Text(t) => !t.is_empty(),
            Self::Bytes(b) => !b.is_empty(),
            Self::Array(a) => !a.is_empty(),
            Self::Struct(s) => !s.is_empty(),
        }
    }

    /// Converts the value to JSON, for messages.
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value as J;
        match self {
            Self::Nil => J::Null,
            Self::Bool(b) => J::Bool(*b),
            Self::Int(n) => J::from(*n),
            Self::Double(d) => J::from(*d),
            Self::Text(t) => J::from(t.as_str()),
            Self::Bytes(b) => J::from(base64::engine::general_purpose::STANDARD.encode(b)),
            Self::Array(a) => J::Array(a.iter().map(Self::json).collect()),
            Self::Struct(s) => J::Object(s.iter().map(|(n, v)| (n.clone(), v.json())).collect()),
        }
    }

    /// Converts a value from JSON. Members are sorted by name.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as J;
        match json {
            J::Null => Self::Nil,
            J::Bool(b) => Self::Bool(*b),
            J::Number(n) => n.as_i64().map_or_else(|| Self::Double(n.as_f64().unwrap()), Self::Int),
            J::String(t) => Self::Text(t.clone()),
            J::Array(a) => Self::Array(a.iter().map(Self::from_json).collect()),
            J::Object(o) => Self::Struct(o.iter().map(|(n, v)| (n.clone(), Self::from_json(v))).collect()),
        }
    }
}

/// Converts a value of a decoded request. Members are sorted by name.
impl From<&Value> for V {
    fn from(value: &Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(n) => Self::Int(*n),
            Value::Double(d) => Self::Double(*d),
            Value::Text(t) => Self::Text(t.clone()),
            Value::Bytes(b) => Self::Bytes(b.clone()),
            Value::Array(a) => Self::Array(a.iter().map(Self::from).collect()),
            Value::Struct(s) => Self::Struct(s.iter().map(|(n, v)| (n.clone(), Self::from(v))).collect()),
        }
    }
}

macro_rules! from {
    ($($from:ty => |$x:ident| $to:expr;)*) => {
        $(impl From<$from> for V { fn from($x: $from) -> Self { $to } })*
    };
}
from! {
    bool => |x| Self::Bool(x);
    i64 => |x| Self::Int(x);
    i32 => |x| Self::Int(i64::from(x));
    u32 => |x| Self::Int(i64::from(x));
    f64 => |x| Self::Double(x);
    &str => |x| Self::Text(x.to_owned());
    String => |x| Self::Text(x);
    &String => |x| Self::Text(x.clone());
    Vec<V> => |x| Self::Array(x);
}

impl<T: Into<V>> From<Option<T>> for V {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// Returns a time in the form of the fields `*_time`.
pub fn time(at: Micros) -> String {
    let stamp = jiff::Timestamp::from_microsecond(at).unwrap();
    let whole = stamp.strftime("%Y-%m-%d %H:%M:%S");
    match at.rem_euclid(1_000_000) {
        0 => format!("{whole}+00:00"),
        fraction => format!("{whole}.{fraction:06}+00:00"),
    }
}

/// Returns a time in the form of the fields `*_ts`.
#[allow(clippy::cast_precision_loss, reason = "53 bits hold the microseconds of three centuries")]
pub fn ts(at: Micros) -> f64 {
    at as f64 / 1e6
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

fn encode(out: &mut String, value: &V) {
    out.push_str("<value>");
    match value {
        V::Nil => out.push_str("<nil/>"),
        V::Bool(b) => write!(out, "<boolean>{}</boolean>", i32::from(*b)).unwrap(),
        V::Int(n) if i32::try_from(*n).is_ok() => write!(out, "<int>{n}</int>").unwrap(),
        V::Int(n) => write!(out, "<i8>{n}</i8>").unwrap(),
        V::Double(d) => write!(out, "<double>{d:?}</double>").unwrap(),
        V::Text(text) => {
            out.push_str("<string>");
            escape(out, text);
            out.push_str("</string>");
        }
        V::Bytes(bytes) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            write!(out, "<base64>\n{text}\n</base64>").unwrap();
        }
        V::Array(elements) => {
            out.push_str("<array><data>\n");
            for element in elements {
                encode(out, element);
            }
            out.push_str("</data></array>");
        }
        V::Struct(members) => {
            out.push_str("<struct>\n");
            for (name, value) in members {
                out.push_str("<member>\n<name>");
                escape(out, name);
                out.push_str("</name>\n");
                encode(out, value);
                out.push_str("</member>\n");
            }
            out.push_str("</struct>");
        }
    }
    out.push_str("</value>\n");
}

/// Encodes an answer.
pub fn response(value: &V) -> String {
    let mut out = String::from("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n");
    encode(&mut out, value);
    out.push_str("</param>\n</params>\n</methodResponse>\n");
    out
}

/// Encodes a fault.
pub fn fault_response(code: i64, message: &str) -> String {
    let mut out = String::from("<?xml version='1.0'?>\n<methodResponse>\n<fault>\n");
    encode(&mut out, &row! { "faultCode" => code, "faultString" => message });
    out.push_str("</fault>\n</methodResponse>\n");
    out
}

/// Encodes a call in the form in which the hub stores it in its table of tasks.
pub fn request(method: &str, params: &[V]) -> String {
    let mut out = format!("<?xml version='1.0'?>\n<methodCall>\n<methodName>{method}</methodName>\n<params>\n");
    for param in params {
        out.push_str("<param>\n");
        encode(&mut out, param);
        out.push_str("</param>\n");
    }
    out.push_str("</params>\n</methodCall>\n");
    out
}
