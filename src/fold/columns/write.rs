//! Takes a value apart into columns.

use serde::ser::{self, Serialize};
use smol_str::SmolStr;

use super::{ColumnError, FIELDS_MAX, Kind, put, zigzag};
use crate::fold::Map;

/// Returns the value as columns. The same value gives the same bytes. Cost: O(value).
///
/// # Errors
/// Returns [`ColumnError`] if the value has something that no column can hold: bytes, floating-point
/// numbers, numbers of 128 bits, characters, or two kinds of values at one place.
pub(in crate::fold) fn write(value: &impl Serialize) -> Result<Vec<u8>, ColumnError> {
    let mut columns = Columns::default();
    columns.add(0, "");
    value.serialize(At { columns: &mut columns, column: 0 })?;
    Ok(columns.finish())
}

#[derive(Default)]
struct Column {
    kind: Option<Kind>,
    name: &'static str,
    parent: usize,
    children: Vec<usize>,
    data: Vec<u8>,
    texts: Vec<u8>,
    /// The last number, or the number of the last text.
    last: i64,
}

#[derive(Default)]
struct Columns {
    all: Vec<Column>,
    /// Texts by number.
    texts: Map<SmolStr, ()>,
}

impl Columns {
    fn add(&mut self, parent: usize, name: &'static str) -> usize {
        self.all.push(Column { name, parent, ..Column::default() });
        self.all.len() - 1
    }

    /// Returns a child by name. `guess` is its likely place among the children.
    fn child(&mut self, parent: usize, guess: usize, name: &'static str) -> (usize, usize) {
        let same = |&at: &usize| std::ptr::eq(self.all[at].name, name) || self.all[at].name == name;
        let children = &self.all[parent].children;
        if let Some(&at) = children.get(guess).filter(|at| same(at)) {
            return (guess, at);
        }
        if let Some(place) = children.iter().position(same) {
            return (place, children[place]);
        }
        let at = self.add(parent, name);
        self.all[parent].children.push(at);
        (self.all[parent].children.len() - 1, at)
    }

    fn finish(self) -> Vec<u8> {
        let to = &mut Vec::new();
        // Children stand after their parents in the order in which the parent counts them, because
        // both are made together.
        put(to, self.all.len() as u64);
        for c in &self.all {
            to.push(c.kind.unwrap_or(Kind::Unknown) as u8);
            put(to, c.parent as u64);
            put(to, c.name.len() as u64);
            to.extend_from_slice(c.name.as_bytes());
            put(to, c.data.len() as u64);
            put(to, c.texts.len() as u64);
        }
        to.reserve(self.all.iter().map(|c| c.data.len() + c.texts.len()).sum());
        self.all.iter().for_each(|c| to.extend_from_slice(&c.data));
        self.all.iter().for_each(|c| to.extend_from_slice(&c.texts));
        std::mem::take(to)
    }
}

/// A place to write a value at.
struct At<'a> {
    columns: &'a mut Columns,
    column: usize,
}

impl<'a> At<'a> {
    /// Returns the column if it holds values of this kind.
    fn of(&mut self, kind: Kind) -> Result<&mut Column, ColumnError> {
        let column = &mut self.columns.all[self.column];
        match *column.kind.get_or_insert(kind) {
            known if known == kind => Ok(column),
            known => Err(ColumnError::new(format!("`{}` holds both {known:?} and {kind:?}", column.name))),
        }
    }

    fn number(mut self, n: i64) -> Result<(), ColumnError> {
        let column = self.of(Kind::Number)?;
        put(&mut column.data, zigzag(n.wrapping_sub(column.last)));
        column.last = n;
        Ok(())
    }

    fn small(mut self, n: u16) -> Result<(), ColumnError> {
        put(&mut self.of(Kind::Small)?.data, n.into());
        Ok(())
    }

    fn child(self, name: &'static str) -> Self {
        let (_, column) = self.columns.child(self.column, 0, name);
        Self { columns: self.columns, column }
    }

    fn many(mut self, kind: Kind) -> Result<Many<'a>, ColumnError> {
        self.of(kind)?;
        Ok(Many { at: self, next: 0, mask: 0 })
    }

    /// Writes which variant follows, and returns the place of its content.
    fn variant(mut self, name: &'static str) -> Result<Self, ColumnError> {
        self.of(Kind::Choice)?;
        let (place, column) = self.columns.child(self.column, 0, name);
        put(&mut self.columns.all[self.column].data, place as u64);
        Ok(Self { columns: self.columns, column })
    }
}

fn unsupported<T>(what: &str) -> Result<T, ColumnError> {
    Err(ColumnError::new(format!("there is no column for {what}")))
}

impl<'a> ser::Serializer for At<'a> {
    type Ok = ();
    type Error = ColumnError;
    type SerializeSeq = Many<'a>;
    type SerializeTuple = Many<'a>;
    type SerializeTupleStruct = Many<'a>;
    type SerializeTupleVariant = Many<'a>;
    type SerializeMap = Many<'a>;
    type SerializeStruct = Many<'a>;
    type SerializeStructVariant = Many<'a>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(mut self, v: bool) -> Result<(), ColumnError> {
        self.of(Kind::Flag)?.data.push(v.into());
        Ok(())
    }

    fn serialize_i8(self, v: i8) -> Result<(), ColumnError> {
        self.number(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<(), ColumnError> {
        self.number(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<(), ColumnError> {
        self.number(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<(), ColumnError> {
        self.number(v)
    }

    fn serialize_u8(self, v: u8) -> Result<(), ColumnError> {
        self.small(v.into())
    }

    fn serialize_u16(self, v: u16) -> Result<(), ColumnError> {
        self.small(v)
    }

    fn serialize_u32(self, v: u32) -> Result<(), ColumnError> {
        self.number(v.into())
    }

    fn serialize_u64(self, v: u64) -> Result<(), ColumnError> {
        self.number(v.cast_signed())
    }

    fn serialize_f32(self, _: f32) -> Result<(), ColumnError> {
        unsupported("floating-point numbers")
    }

    fn serialize_f64(self, _: f64) -> Result<(), ColumnError> {
        unsupported("floating-point numbers")
    }

    fn serialize_char(self, _: char) -> Result<(), ColumnError> {
        unsupported("characters")
    }

    fn serialize_str(self, v: &str) -> Result<(), ColumnError> {
        let known = self.columns.texts.get_index_of(v);
        let number = match known {
            Some(number) => number,
            None => self.columns.texts.insert_full(v.into(), ()).0,
        };
        let number = i64::try_from(number).map_err(|_| ColumnError::new("too many texts"))?;
        let mut this = self;
        let column = this.of(Kind::Text)?;
        if known.is_some() {
            put(&mut column.data, 1 + zigzag(number - column.last));
        } else {
            column.data.push(0);
            put(&mut column.texts, v.len() as u64);
            column.texts.extend_from_slice(v.as_bytes());
        }
        column.last = number;
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), ColumnError> {
        unsupported("bytes")
    }

    fn serialize_none(mut self) -> Result<(), ColumnError> {
        self.of(Kind::Option)?.data.push(0);
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(mut self, value: &T) -> Result<(), ColumnError> {
        self.of(Kind::Option)?.data.push(1);
        value.serialize(self.child(""))
    }

    fn serialize_unit(mut self) -> Result<(), ColumnError> {
        self.of(Kind::Unit).map(drop)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), ColumnError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), ColumnError> {
        self.variant(variant)?.serialize_unit()
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), ColumnError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), ColumnError> {
        value.serialize(self.variant(variant)?)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Many<'a>, ColumnError> {
        self.many(Kind::List)
    }

    fn serialize_tuple(self, _: usize) -> Result<Many<'a>, ColumnError> {
        self.many(Kind::Tuple)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Many<'a>, ColumnError> {
        self.many(Kind::Tuple)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Many<'a>, ColumnError> {
        self.variant(variant)?.many(Kind::Tuple)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Many<'a>, ColumnError> {
        self.many(Kind::Map)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Many<'a>, ColumnError> {
        self.many(Kind::Record)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Many<'a>, ColumnError> {
        self.variant(variant)?.many(Kind::Record)
    }
}

/// Several values under one place: a list, a tuple, a map or a record.
struct Many<'a> {
    at: At<'a>,
    /// How many there were.
    next: usize,
    /// The fields that are there.
    mask: u64,
}

/// Names of the members of a tuple. No tuple in use has more.
const MEMBERS: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

impl Many<'_> {
    fn put<T: ?Sized + Serialize>(
        &mut self,
        guess: usize,
        name: &'static str,
        value: &T,
    ) -> Result<usize, ColumnError> {
        let (place, column) = self.at.columns.child(self.at.column, guess, name);
        value.serialize(At { columns: self.at.columns, column })?;
        Ok(place)
    }

    fn element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), ColumnError> {
        self.put(0, "", value)?;
        self.next += 1;
        Ok(())
    }

    fn member<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), ColumnError> {
        let name = MEMBERS.get(self.next).ok_or_else(|| ColumnError::new("a tuple has too many members"))?;
        self.put(self.next, name, value)?;
        self.next += 1;
        Ok(())
    }

    fn field(&mut self, place: usize) -> Result<(), ColumnError> {
        if place >= FIELDS_MAX {
            return Err(ColumnError::new("a record has too many fields"));
        }
        self.mask |= 1 << place;
        self.next = place + 1;
        Ok(())
    }

    fn skip(&mut self, name: &'static str) {
        self.next = self.at.columns.child(self.at.column, self.next, name).0 + 1;
    }

    fn counted(self) -> Result<(), ColumnError> {
        put(&mut self.at.columns.all[self.at.column].data, self.next as u64);
        Ok(())
    }

    fn masked(self) -> Result<(), ColumnError> {
        put(&mut self.at.columns.all[self.at.column].data, self.mask);
        Ok(())
    }
}

impl ser::SerializeSeq for Many<'_> {
    type Ok = ();
    type Error = ColumnError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), ColumnError> {
        self.element(value)
    }

    fn end(self) -> Result<(), ColumnError> {
        self.counted()
    }
}

impl ser::SerializeTuple for Many<'_> {
    type Ok = ();
    type Error = ColumnError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), ColumnError> {
        self.member(value)
    }

    fn end(self) -> Result<(), ColumnError> {
        Ok(())
    }
}

impl ser::SerializeTupleStruct for Many<'_> {
    type Ok = ();
    type Error = ColumnError;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), ColumnError> {
        self.member(value)
    }

    fn end(self) -> Result<(), ColumnError> {
        Ok(())
    }
}

impl ser::SerializeTupleVariant for Many<'_> {
    type Ok = ();
    type Error = ColumnError;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), ColumnError> {
        self.member(value)
    }

    fn end(self) -> Result<(), ColumnError> {
        Ok(())
    }
}

impl ser::SerializeMap for Many<'_> {
    type Ok = ();
    type Error = ColumnError;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), ColumnError> {
        self.put(0, "key", key).map(drop)
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), ColumnError> {
        self.put(1, "value", value)?;
        self.next += 1;
        Ok(())
    }

    fn end(self) -> Result<(), ColumnError> {
        self.counted()
    }
}

impl ser::SerializeStruct for Many<'_> {
    type Ok = ();
    type Error = ColumnError;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), ColumnError> {
        let place = self.put(self.next, name, value)?;
        self.field(place)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), ColumnError> {
        self.skip(name);
        Ok(())
    }

    fn end(self) -> Result<(), ColumnError> {
        self.masked()
    }
}

impl ser::SerializeStructVariant for Many<'_> {
    type Ok = ();
    type Error = ColumnError;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), ColumnError> {
        let place = self.put(self.next, name, value)?;
        self.field(place)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), ColumnError> {
        self.skip(name);
        Ok(())
    }

    fn end(self) -> Result<(), ColumnError> {
        self.masked()
    }
}
