//! Encodes and decodes Koji's dialect of XML-RPC.
//!
//! The dialect has these peculiarities:
//!
//! - `<nil/>` anywhere, also with a prefix (`<ex:nil/>`);
//! - `<i8>` for integers beyond 32 bits;
//! - times as text;
//! - bare text in `<value>`;
//! - keyword arguments as a last struct with a true `__starstar` member;
//! - several calls in one as `multiCall` ([`multi`]).
//!
//! Requests and answers are both decoded and encoded. An archive has both, and tests stand in for a
//! hub.
//!
//! Depth, size and number of values are limited in both directions. Document type declarations are
//! refused, so nobody can define entities.

use std::collections::BTreeMap;

mod decode;
mod encode;
pub mod multi;

pub use decode::{XmlRpcError, decode_request, decode_response};
pub use encode::{EncodeError, encode_request, encode_response};

/// Maximum size of a document, in bytes. `listTaggedRPMS` of a distribution has some tens of
/// megabytes.
pub const MAX_DOCUMENT: usize = 256 << 20;

/// Maximum nesting of arrays and structs. Task trees are the deepest answers, with about ten
/// levels.
pub const MAX_DEPTH: usize = 64;

/// Maximum number of values in one document. The largest answers have a few million.
pub const MAX_VALUES: usize = 32_000_000;

/// A value of a call or an answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// No value.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer of any type.
    Int(i64),
    /// A float.
    Double(f64),
    /// Text. Koji also sends times as text.
    Text(String),
    /// Binary content.
    Bytes(Vec<u8>),
    /// A list of values.
    Array(Vec<Self>),
    /// Named members, ordered by name. If a name occurs twice, the last member counts.
    Struct(BTreeMap<String, Self>),
}

impl Value {
    /// Returns a member of a struct. `None` if it is absent or nil, or this is not a struct.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(members) => members.get(name).filter(|v| **v != Self::Nil),
            _ => None,
        }
    }

    /// Returns the text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the number. Koji sends some numbers as text.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Returns the elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Checks whether this value, as the last parameter, has keyword arguments.
    fn is_keywords(&self) -> bool {
        self.get(STARSTAR).is_some_and(Self::truth)
    }

    /// Checks whether Python considers the value true.
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
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(elements: Vec<T>) -> Self {
        Self::Array(elements.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// A call.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Method name.
    pub method: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: BTreeMap<String, Value>,
}

impl Call {
    /// Makes a call from the parameters as they were sent. A last struct with a true `__starstar`
    /// becomes keyword arguments.
    pub fn new(method: String, mut args: Vec<Value>) -> Self {
        let mut kwargs = BTreeMap::new();
        if args.last().is_some_and(Value::is_keywords)
            && let Some(Value::Struct(members)) = args.pop()
        {
            kwargs = members;
            kwargs.remove(STARSTAR);
        }
        Self { method, args, kwargs }
    }

    /// Returns the same call with one more keyword argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.kwargs.insert(name.to_owned(), value.into());
        self
    }
}

const STARSTAR: &str = "__starstar";

/// An error that the hub answered with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("fault {code}: {message}")]
pub struct Fault {
    /// Koji's fault code (`faultCode` of the exceptions in `koji/__init__.py`).
    pub code: i64,
    /// Koji's message.
    pub message: String,
}

impl Fault {
    /// Returns the struct that represents the fault.
    pub fn to_value(&self) -> Value {
        let members = [("faultCode", Value::Int(self.code)), ("faultString", Value::from(self.message.as_str()))];
        Value::Struct(members.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

/// Reads a fault from a value: a top-level answer or an element of a `multiCall` answer.
pub fn fault(value: &Value) -> Option<Fault> {
    Some(Fault {
        code: value.get("faultCode")?.as_int()?,
        message: value.get("faultString").and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}
