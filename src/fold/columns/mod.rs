//! A compact binary form of values that serde can take apart: every place in the type of a value has
//! a column of its own, and each name is stored once.
//!
//! A place is a path such as "the source of an evidence of a package of a collection". What stands
//! at one place is alike, so numbers are stored as differences to the one before, and a general
//! compressor finds little variety in each column. Formats of libraries store
//! records one after another and need several times the space
//! (docs/decisions/048-snapshots-by-the-service.md).
//!
//! # Layout
//!
//! Numbers are unsigned LEB128; a signed one is first folded into an unsigned one (zigzag).
//!
//! - The number of columns, and for each: its [`Kind`] (a byte), the number of its parent (0 for the
//!   first, which has none), its name (length and bytes), the length of its data, and that of its
//!   texts. A child stands after its parent, in the order in which the parent counts its children.
//! - The data of all columns, then the texts of all columns.
//!
//! | kind | data of one value |
//! |---|---|
//! | unit | nothing |
//! | flag | a byte, 0 or 1 |
//! | small | the number (up to 16 bits) |
//! | number | the difference to the number before it in this column, zigzag |
//! | text | 0, and the text (length and bytes) among the texts; or 1 + the zigzag described below |
//! | option | a byte, 0 or 1 |
//! | list | the number of elements |
//! | map | the number of entries |
//! | tuple | nothing |
//! | record | a bit for each of its fields, set if the field is there |
//! | choice | the number of the variant among the children |
//!
//! A text that was stored before is named by its number: the zigzag is of the difference to the
//! number of the text before it in this column. Texts are numbered through the whole file, in the
//! order in which a reader meets them.
//!
//! # What it does not do
//!
//! It says nothing of the version of what is stored, and has no checksum: [`super::snapshot`] adds
//! both. Values whose type only the bytes can say (`deserialize_any`) are refused.

pub(super) mod any_json;
mod bytes;
mod read;
mod write;

use std::fmt;

pub(super) use read::read;
pub(super) use write::write;

/// Most columns of a file. The state has about 300.
const COLUMNS_MAX: usize = 10_000;
/// Most fields of a record.
const FIELDS_MAX: usize = 64;
/// Longest name of a column, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// An error for bytes that are not of this form, or a value that it cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ColumnError(String);

impl ColumnError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ColumnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ColumnError {}

impl serde::ser::Error for ColumnError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }
}

impl serde::de::Error for ColumnError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }
}

/// What stands in a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Nothing was stored yet.
    Unknown,
    Unit,
    Flag,
    Small,
    Number,
    Text,
    Option,
    List,
    Map,
    Tuple,
    Record,
    Choice,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Unknown,
        Self::Unit,
        Self::Flag,
        Self::Small,
        Self::Number,
        Self::Text,
        Self::Option,
        Self::List,
        Self::Map,
        Self::Tuple,
        Self::Record,
        Self::Choice,
    ];
}

const fn zigzag(n: i64) -> u64 {
    (n.cast_unsigned() << 1) ^ (n >> 63).cast_unsigned()
}

const fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// Appends a number, seven bits in a byte, lowest first.
fn put(to: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        to.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    to.push(n.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum Shape {
        Point,
        Line(i64),
        Area(u8, String),
        Body { high: Option<u32>, name: String },
    }

    /// Something of every kind that columns hold.
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Thing {
        flag: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        far: Option<i64>,
        big: u64,
        little: (u16, u8),
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        texts: Vec<String>,
        shapes: Vec<Shape>,
        map: BTreeMap<String, Vec<i32>>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        last: String,
        unit: (),
    }

    fn shape() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Point),
            any::<i64>().prop_map(Shape::Line),
            (any::<u8>(), "[a-c]{0,3}").prop_map(|(n, text)| Shape::Area(n, text)),
            (any::<Option<u32>>(), "[a-c]{0,3}").prop_map(|(high, name)| Shape::Body { high, name }),
        ]
    }

    prop_compose! {
        fn thing()(
            flag in any::<bool>(),
            far in any::<Option<i64>>(),
            big in any::<u64>(),
            little in any::<(u16, u8)>(),
            texts in prop::collection::vec("[a-cé]{0,4}", 0..4),
            shapes in prop::collection::vec(shape(), 0..4),
            map in prop::collection::btree_map("[a-c]{0,2}", prop::collection::vec(any::<i32>(), 0..3), 0..3),
            last in "[a-c]{0,30}",
        ) -> Thing {
            Thing { flag, far, big, little, texts, shapes, map, last, unit: () }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(things in prop::collection::vec(thing(), 0..6)) {
            let bytes = write(&things).unwrap();
            prop_assert_eq!(read::<Vec<Thing>>(&bytes).unwrap(), things);
        }

        /// Whatever the bytes are, reading ends, without a panic and without much memory.
        #[test]
        fn changed_bytes_are_read_or_refused(
            things in prop::collection::vec(thing(), 0..6),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = write(&things).unwrap();
            let cut = end.index(bytes.len());
            prop_assert!(read::<Vec<Thing>>(&bytes[..cut]).is_err(), "cut at {}", cut);
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            drop(read::<Vec<Thing>>(&bytes));
        }
    }

    #[test]
    fn numbers_at_their_limits() {
        let all = vec![0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, 0, i64::MIN, i64::MAX];
        assert_eq!(read::<Vec<i64>>(&write(&all).unwrap()).unwrap(), all);
        let all = vec![u64::MAX, 0, u64::MAX / 2, u64::MAX / 2 + 1];
        assert_eq!(read::<Vec<u64>>(&write(&all).unwrap()).unwrap(), all);
        assert!(read::<Vec<u32>>(&write(&all).unwrap()).is_err(), "too large for the type");
        assert!(read::<Vec<i64>>(&write(&vec![true]).unwrap()).is_err(), "of another kind");
    }

    /// A list that claims to be long is no reason to make room.
    #[test]
    fn a_length_is_bounded_by_the_data() {
        let mut bytes = write(&vec![1_i64, 2]).unwrap();
        let at = bytes.len() - 3;
        assert_eq!(bytes[at..], [2, 2, 2], "the length, and two differences");
        bytes.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0x7f]);
        // The column of the length has four bytes more.
        let data = bytes.iter().position(|b| *b == 1).unwrap();
        bytes[data] = 5;
        assert_eq!(read::<Vec<i64>>(&bytes).unwrap_err().to_string(), "a column ends too early");
    }

    #[test]
    fn what_no_column_holds_is_refused() {
        assert!(write(&1.5_f64).is_err());
        assert!(write(&'a').is_err());
        assert!(write(&vec![serde_json::json!(1), serde_json::json!("a")]).is_err(), "two kinds at one place");
        assert!(read::<serde_json::Value>(&write(&1_i64).unwrap()).is_err(), "the bytes do not say the type");
    }
}
