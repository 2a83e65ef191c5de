//! Converts XML-RPC values to records.
//!
//! Reading is lenient. Absent members count as nil, and unknown members are ignored. Numbers may be
//! text, as Koji sends some of them. Nil is false. A wrong type is an error that names the place:
//! `[3].build_id: expected a number, got text`.

use std::collections::BTreeMap;

use super::xmlrpc::Value;
use crate::model::koji::{self, BuildState, NAME_BYTES_MAX, RepoState, TaskState};
use crate::model::{BuildId, Class, Classified, Name, RepoId, TagId, TaskId, Timestamp};

/// An answer, or a part of one, that does not have the shape that Koji documents.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: expected {expected}, got {found}")]
pub struct ShapeError {
    /// The place: numbers of elements, names of members.
    pub path: String,
    /// What was expected.
    pub expected: &'static str,
    /// What was found.
    pub found: String,
}

impl Classified for ShapeError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl ShapeError {
    /// Makes an error about a value itself.
    pub fn new(expected: &'static str, found: &Value) -> Self {
        Self { path: String::new(), expected, found: kind(found).to_owned() }
    }

    /// Returns the same error, seen from the struct that has the value as a member.
    #[must_use]
    pub fn in_member(mut self, name: &str) -> Self {
        let name: String = name.chars().take(80).flat_map(char::escape_default).collect();
        self.path = format!(".{name}{}", self.path);
        self
    }

    /// Returns the same error, seen from the array that has the value as an element.
    #[must_use]
    pub fn in_element(mut self, number: usize) -> Self {
        self.path = format!("[{number}]{}", self.path);
        self
    }

    /// Returns the same error, seen from the call.
    #[must_use]
    pub fn in_answer_to(mut self, method: &str) -> Self {
        self.path = format!("{method}{}", self.path);
        self
    }
}

/// Returns a word for the type of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Int(_) => "a number",
        Value::Double(_) => "a fraction",
        Value::Text(_) => "text",
        Value::Bytes(_) => "binary content",
        Value::Array(_) => "a list",
        Value::Struct(_) => "a record",
    }
}

/// A type that can be read from a value.
pub trait FromValue: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// Returns a [`ShapeError`] (rejected) if the value has another shape. Its path is relative to
    /// the value.
    fn from_value(value: &Value) -> Result<Self, ShapeError>;
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        Ok(value.clone())
    }
}

impl FromValue for () {
    /// Accepts any value.
    fn from_value(_: &Value) -> Result<Self, ShapeError> {
        Ok(())
    }
}

impl FromValue for bool {
    /// Reads nil as false.
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        match value {
            Value::Nil | Value::Bool(_) | Value::Int(_) => Ok(value.truth()),
            other => Err(ShapeError::new("a truth value", other)),
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        value.as_int().ok_or_else(|| ShapeError::new("a number", value))
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let number = i64::from_value(value)?;
        Self::try_from(number)
            .map_err(|_| ShapeError { found: number.to_string(), ..ShapeError::new("a number from 0 to 2^32", value) })
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        match value {
            Value::Double(d) if d.is_finite() => Ok(*d),
            // Whole numbers come as integers. Loads and weights are small, so larger integers are
            // refused.
            Value::Int(n) => i32::try_from(*n).map(Self::from).map_err(|_| ShapeError::new("a small number", value)),
            other => Err(ShapeError::new("a number", other)),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        value.as_str().map(str::to_owned).ok_or_else(|| ShapeError::new("text", value))
    }
}

impl FromValue for Name {
    /// Reads at most [`NAME_BYTES_MAX`] bytes, without control characters. Also accepts numbers,
    /// because a version may look like one.
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        match value {
            Value::Text(text) if text.len() > NAME_BYTES_MAX => Err(ShapeError {
                found: format!("{} bytes", text.len()),
                ..ShapeError::new("a name of at most 1024 bytes", value)
            }),
            Value::Text(text) if text.contains(char::is_control) => Err(ShapeError {
                found: "some".to_owned(),
                ..ShapeError::new("a name without control characters", value)
            }),
            Value::Text(text) => Ok(text.as_str().into()),
            Value::Int(number) => Ok(number.to_string().into()),
            other => Err(ShapeError::new("a name", other)),
        }
    }
}

impl FromValue for Timestamp {
    /// Reads seconds since 1970, or Koji's `YYYY-MM-DD HH:MM:SS.ffffff+00:00`.
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let time = match value {
            Value::Double(seconds) => Self::from_secs_f64(*seconds),
            Value::Int(seconds) => Some(Self::from_secs(*seconds)),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        time.ok_or_else(|| ShapeError::new("a time", value))
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        if *value == Value::Nil { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let elements = value.as_array().ok_or_else(|| ShapeError::new("a list", value))?;
        elements.iter().enumerate().map(|(n, e)| T::from_value(e).map_err(|error| error.in_element(n))).collect()
    }
}

impl<T: FromValue, U: FromValue> FromValue for (T, U) {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        match value.as_array() {
            Some([first, second, ..]) => Ok((
                T::from_value(first).map_err(|error| error.in_element(0))?,
                U::from_value(second).map_err(|error| error.in_element(1))?,
            )),
            _ => Err(ShapeError::new("a list of two", value)),
        }
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let Value::Struct(members) = value else { return Err(ShapeError::new("a record", value)) };
        let read = |(name, member)| match T::from_value(member) {
            Ok(read) => Ok((String::clone(name), read)),
            Err(error) => Err(error.in_member(name)),
        };
        members.iter().map(read).collect()
    }
}

macro_rules! numbers {
    ($($id:ty),*) => {$(
        impl FromValue for $id {
            fn from_value(value: &Value) -> Result<Self, ShapeError> {
                i64::from_value(value).map(Self)
            }
        }

        impl From<$id> for Value {
            fn from(id: $id) -> Self {
                Self::Int(id.0)
            }
        }
    )*};
}
numbers!(BuildId, RepoId, TagId, TaskId);

macro_rules! states {
    ($($state:ty),*) => {$(
        impl FromValue for $state {
            fn from_value(value: &Value) -> Result<Self, ShapeError> {
                i64::from_value(value).map(Self::from)
            }
        }

        impl From<$state> for Value {
            fn from(state: $state) -> Self {
                Self::Int(state.wire_number())
            }
        }
    )*};
}
states!(BuildState, RepoState, TaskState);

impl From<&Name> for Value {
    fn from(name: &Name) -> Self {
        Self::from(name.as_str())
    }
}

impl From<Name> for Value {
    fn from(name: Name) -> Self {
        Self::from(name.as_str())
    }
}

/// Words of a text, in the form of Koji's architectures (`"x86_64 aarch64"`). An empty text has
/// none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words(pub Vec<Name>);

impl FromValue for Words {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let text = value.as_str().ok_or_else(|| ShapeError::new("words", value))?;
        koji::words(text).map(|word| Name::from_value(&word.into())).collect::<Result<_, _>>().map(Self)
    }
}

/// The members of a struct.
pub struct Fields<'a>(&'a BTreeMap<String, Value>);

impl<'a> Fields<'a> {
    /// Returns the members of a value.
    ///
    /// # Errors
    /// Returns a [`ShapeError`] if the value is not a struct.
    pub fn of(value: &'a Value) -> Result<Self, ShapeError> {
        match value {
            Value::Struct(members) => Ok(Self(members)),
            other => Err(ShapeError::new("a record", other)),
        }
    }

    /// Reads a member. An absent member counts as nil.
    ///
    /// # Errors
    /// Returns a [`ShapeError`] if the member has another type.
    pub fn take<T: FromValue>(&self, name: &str) -> Result<T, ShapeError> {
        T::from_value(self.0.get(name).unwrap_or(&Value::Nil)).map_err(|error| error.in_member(name))
    }

    /// Reads the first of several members that is present and not nil. Koji uses different names
    /// for the same thing.
    ///
    /// # Errors
    /// Returns a [`ShapeError`] if the member has another type.
    pub fn any<T: FromValue>(&self, names: &[&str]) -> Result<T, ShapeError> {
        let there = |name: &&&str| self.0.get(**name).is_some_and(|value| *value != Value::Nil);
        let name = names.iter().find(there).or_else(|| names.first()).copied().unwrap_or_default();
        self.take(name)
    }
}

/// Declares a record: a struct, and how to read it. Each field has the name of its member. If it
/// has several names, the first one present counts. `Option` makes a field optional.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $kind:ty = $($member:literal)|+;)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $name {
            $($(#[$fdoc])* pub $field: $kind,)*
        }

        impl $crate::koji::shape::FromValue for $name {
            fn from_value(
                value: &$crate::koji::xmlrpc::Value,
            ) -> Result<Self, $crate::koji::shape::ShapeError> {
                let fields = $crate::koji::shape::Fields::of(value)?;
                Ok(Self { $($field: fields.any(&[$($member),+])?,)* })
            }
        }
    };
}
pub(crate) use record;

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro declares public records")]
mod tests {
    use rstest::rstest;

    use super::*;

    record! {
        /// For these tests.
        Thing {
            /// Needed.
            id: i64 = "build_id" | "id";
            /// Not needed.
            arches: Option<Words> = "arches";
            /// Nil is false.
            waiting: bool = "waiting";
        }
    }

    fn thing(members: &[(&str, Value)]) -> Value {
        Value::Struct(members.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn absent_and_nil_are_the_same() {
        let bare = Thing { id: 7, arches: None, waiting: false };
        assert_eq!(Thing::from_value(&thing(&[("id", 7.into())])), Ok(bare.clone()));
        let nil = thing(&[("build_id", Value::Nil), ("id", "7".into()), ("arches", Value::Nil), ("new", 1.into())]);
        assert_eq!(Thing::from_value(&nil), Ok(bare), "a number may be text, and what is new does not matter");
        let both = thing(&[("build_id", 8.into()), ("id", 7.into()), ("arches", "a, b  c".into())]);
        let words = Words(["a", "b", "c"].map(Name::from).into());
        assert_eq!(Thing::from_value(&both), Ok(Thing { id: 8, arches: Some(words), waiting: false }));
    }

    #[rstest]
    #[case::missing(vec![thing(&[("id", 1.into())]), thing(&[])], "m[1].build_id: expected a number, got nothing")]
    #[case::kind(vec![thing(&[("id", "x".into())])], "m[0].id: expected a number, got text")]
    #[case::optional(vec![thing(&[("id", 1.into()), ("arches", 5.into())])], "m[0].arches: expected words, got a \
        number")]
    #[case::no_record(vec![Value::Nil], "m[0]: expected a record, got nothing")]
    fn errors_name_the_place(#[case] answer: Vec<Value>, #[case] message: &str) {
        let error = Vec::<Thing>::from_value(&Value::Array(answer)).unwrap_err();
        assert_eq!(error.in_answer_to("m").to_string(), message);
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(Name::from_value(&"x".repeat(NAME_BYTES_MAX).into()).map(|n| n.len()), Ok(NAME_BYTES_MAX));
        for bad in ["x".repeat(NAME_BYTES_MAX + 1), "a\nb".to_owned()] {
            assert!(Name::from_value(&bad.into()).is_err());
        }
    }

    #[test]
    fn times_come_in_two_forms() {
        let text = Timestamp::from_value(&"2026-11-20 08:51:59.896991+00:00".into());
        assert_eq!(text, Timestamp::from_value(&1_795_164_719.896_991.into()));
        assert_eq!(text, Ok(Timestamp(1_795_164_719_896_991)));
        assert!(Timestamp::from_value(&Value::Double(f64::INFINITY)).is_err());
    }
}
