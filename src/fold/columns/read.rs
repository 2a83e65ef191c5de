//! Puts a value together from columns.

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::bytes::Bytes;
use super::{COLUMNS_MAX, ColumnError, FIELDS_MAX, Kind, NAME_BYTES_MAX, unzigzag};

/// Most elements that are made room for before they are read, if they have no data of their own.
const ROOM_WITHOUT_DATA: usize = 4_096;

/// Returns the value in `bytes`. Every byte must be used. Room is made only for as many elements as
/// there are bytes for. Cost: O(value).
///
/// # Errors
/// Returns [`ColumnError`] if the bytes are not of this form, or not of this type.
pub(in crate::fold) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ColumnError> {
    let mut columns = Columns::of(bytes)?;
    let value = T::deserialize(At { columns: &mut columns, column: 0 })?;
    if columns.all.iter().any(|c| !c.data.rest.is_empty() || !c.texts.rest.is_empty()) {
        return Err(ColumnError::new("something is left over"));
    }
    Ok(value)
}

struct Column<'b> {
    kind: Kind,
    name: &'b str,
    children: Vec<usize>,
    data: Bytes<'b>,
    texts: Bytes<'b>,
    last: i64,
    /// For each child, its index among the fields or variants of the type.
    indexes: Vec<u64>,
}

struct Columns<'b> {
    all: Vec<Column<'b>>,
    /// Texts by number.
    texts: Vec<&'b str>,
}

impl<'b> Columns<'b> {
    fn of(bytes: &'b [u8]) -> Result<Self, ColumnError> {
        let mut bytes = Bytes { rest: bytes };
        let number = bytes.length()?;
        if number == 0 || number > COLUMNS_MAX {
            return Err(ColumnError::new(format!("{number} columns: there are 1 to {COLUMNS_MAX}")));
        }
        let mut all: Vec<Column<'b>> = Vec::new();
        let mut lengths = Vec::new();
        for at in 0..number {
            let kind = Kind::ALL.get(usize::from(bytes.byte()?)).copied();
            let kind = kind.ok_or_else(|| ColumnError::new("a column of an unknown kind"))?;
            let parent = bytes.length()?;
            if at > 0 {
                let parent = all.get_mut(parent).ok_or_else(|| ColumnError::new("a child before its parent"))?;
                parent.children.push(at);
            }
            let name = bytes.text()?;
            if name.len() > NAME_BYTES_MAX {
                return Err(ColumnError::new("the name of a column is too long"));
            }
            lengths.push((bytes.length()?, bytes.length()?));
            let (children, indexes) = (Vec::new(), Vec::new());
            let (data, texts) = (Bytes::default(), Bytes::default());
            all.push(Column { kind, name, children, data, texts, last: 0, indexes });
        }
        for (column, (data, _)) in all.iter_mut().zip(&lengths) {
            column.data.rest = bytes.take(*data)?;
        }
        for (column, (_, texts)) in all.iter_mut().zip(&lengths) {
            column.texts.rest = bytes.take(*texts)?;
        }
        if !bytes.rest.is_empty() {
            return Err(ColumnError::new("something stands behind the last column"));
        }
        Ok(Self { all, texts: Vec::new() })
    }

    /// Returns for how many values a column has data, at most.
    fn room(&self, mut column: usize) -> usize {
        // A child stands after its parent, so this ends.
        loop {
            let c = &self.all[column];
            match (c.kind, c.children.first()) {
                (Kind::Tuple, Some(first)) => column = *first,
                (Kind::Tuple | Kind::Unit, _) => return ROOM_WITHOUT_DATA,
                _ => return c.data.rest.len(),
            }
        }
    }
}

/// A place to read a value at.
struct At<'c, 'b> {
    columns: &'c mut Columns<'b>,
    column: usize,
}

impl<'b> At<'_, 'b> {
    fn at(&mut self, column: usize) -> At<'_, 'b> {
        At { columns: self.columns, column }
    }

    /// Returns the column if it holds values of this kind.
    fn of(&mut self, kind: Kind) -> Result<&mut Column<'b>, ColumnError> {
        let column = &mut self.columns.all[self.column];
        if column.kind != kind {
            return Err(ColumnError::new(format!("`{}` holds {:?}, not {kind:?}", column.name, column.kind)));
        }
        Ok(column)
    }

    fn child(&self, place: usize) -> Result<usize, ColumnError> {
        let column = &self.columns.all[self.column];
        let child = column.children.get(place).copied();
        child.ok_or_else(|| ColumnError::new(format!("`{}` has no column {place}", column.name)))
    }

    fn number(&mut self) -> Result<i64, ColumnError> {
        let column = self.of(Kind::Number)?;
        let n = column.last.wrapping_add(unzigzag(column.data.number()?));
        column.last = n;
        Ok(n)
    }

    fn small(&mut self) -> Result<u64, ColumnError> {
        self.of(Kind::Small)?.data.number()
    }

    fn text(&mut self) -> Result<&'b str, ColumnError> {
        let number = self.columns.texts.len();
        let column = self.of(Kind::Text)?;
        match column.data.number()? {
            0 => {
                let text = column.texts.text()?;
                column.last = i64::try_from(number).map_err(|_| ColumnError::new("too many texts"))?;
                self.columns.texts.push(text);
                Ok(text)
            }
            difference => {
                let number = column.last.wrapping_add(unzigzag(difference - 1));
                column.last = number;
                let text = usize::try_from(number).ok().and_then(|n| self.columns.texts.get(n).copied());
                text.ok_or_else(|| ColumnError::new("a text is named that was not stored"))
            }
        }
    }

    /// Returns how many elements or entries follow, and for how many of them room may be made.
    fn count(&mut self, kind: Kind) -> Result<(usize, usize), ColumnError> {
        let count = self.of(kind)?.data.length()?;
        if count == 0 {
            return Ok((0, 0));
        }
        let room = self.columns.room(self.child(0)?);
        Ok((count, count.min(room)))
    }

    /// Finds the children of a record or choice among the names that the type has.
    fn index(&mut self, kind: Kind, names: &'static [&'static str]) -> Result<(), ColumnError> {
        let column = self.of(kind)?;
        if column.indexes.len() == column.children.len() {
            return Ok(());
        }
        let children = column.children.clone();
        let index = |child: &usize| {
            let name = self.columns.all[*child].name;
            let found = names.iter().position(|n| *n == name);
            found.map(|n| n as u64).ok_or_else(|| ColumnError::new(format!("`{name}` is not known")))
        };
        let indexes = children.iter().map(index).collect::<Result<_, _>>()?;
        self.columns.all[self.column].indexes = indexes;
        Ok(())
    }

    fn record<V: Visitor<'b>>(mut self, names: &'static [&'static str], visitor: V) -> Result<V::Value, ColumnError> {
        self.index(Kind::Record, names)?;
        let column = self.of(Kind::Record)?;
        let mask = column.data.number()?;
        if column.children.len() > FIELDS_MAX
            || mask.checked_shr(u32::try_from(column.children.len()).unwrap_or(u32::MAX)).is_some_and(|m| m != 0)
        {
            return Err(ColumnError::new(format!("`{}` has fields without a column", column.name)));
        }
        visitor.visit_map(Fields { at: self, mask, place: 0 })
    }

    fn tuple<V: Visitor<'b>>(mut self, members: usize, visitor: V) -> Result<V::Value, ColumnError> {
        self.of(Kind::Tuple)?;
        visitor.visit_seq(Members { at: self, place: 0, members })
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty, $read:ident;)*) => {
        $(fn $method<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
            let n = <$type>::try_from(self.$read()?).map_err(|_| ColumnError::new("a number is too large"))?;
            visitor.$visit(n)
        })*
    };
}

macro_rules! refused {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'b>>(self, _: V) -> Result<V::Value, ColumnError> {
            Err(ColumnError::new(concat!("there is no column for ", stringify!($method))))
        })*
    };
}

impl<'b> de::Deserializer<'b> for At<'_, 'b> {
    type Error = ColumnError;

    fn is_human_readable(&self) -> bool {
        false
    }

    numbers! {
        deserialize_i8 visit_i8 i8, number;
        deserialize_i16 visit_i16 i16, number;
        deserialize_i32 visit_i32 i32, number;
        deserialize_i64 visit_i64 i64, number;
        deserialize_u8 visit_u8 u8, small;
        deserialize_u16 visit_u16 u16, small;
        deserialize_u32 visit_u32 u32, number;
    }

    refused! {
        deserialize_any deserialize_ignored_any deserialize_f32 deserialize_f64 deserialize_char deserialize_bytes
        deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_u64<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
        visitor.visit_u64(self.number()?.cast_unsigned())
    }

    fn deserialize_bool<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
        match self.of(Kind::Flag)?.data.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(ColumnError::new("a flag is neither 0 nor 1")),
        }
    }

    fn deserialize_str<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'b>>(self, visitor: V) -> Result<V::Value, ColumnError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
        match self.of(Kind::Option)?.data.byte()? {
            0 => visitor.visit_none(),
            1 => {
                let column = self.child(0)?;
                visitor.visit_some(self.at(column))
            }
            _ => Err(ColumnError::new("an option is neither 0 nor 1")),
        }
    }

    fn deserialize_unit<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
        self.of(Kind::Unit)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'b>>(self, _: &'static str, visitor: V) -> Result<V::Value, ColumnError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'b>>(self, _: &'static str, visitor: V) -> Result<V::Value, ColumnError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
        let (left, room) = self.count(Kind::List)?;
        visitor.visit_seq(Elements { at: self, left, room })
    }

    fn deserialize_tuple<V: Visitor<'b>>(self, members: usize, visitor: V) -> Result<V::Value, ColumnError> {
        self.tuple(members, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'b>>(
        self,
        _: &'static str,
        members: usize,
        visitor: V,
    ) -> Result<V::Value, ColumnError> {
        self.tuple(members, visitor)
    }

    fn deserialize_map<V: Visitor<'b>>(mut self, visitor: V) -> Result<V::Value, ColumnError> {
        let (left, room) = self.count(Kind::Map)?;
        visitor.visit_map(Entries { at: self, left, room })
    }

    fn deserialize_struct<V: Visitor<'b>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ColumnError> {
        self.record(names, visitor)
    }

    fn deserialize_enum<V: Visitor<'b>>(
        mut self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ColumnError> {
        self.index(Kind::Choice, names)?;
        let place = self.of(Kind::Choice)?.data.length()?;
        let column = self.child(place)?;
        let index = self.columns.all[self.column].indexes[place];
        visitor.visit_enum(Variant { at: self.at(column), index })
    }
}

struct Elements<'c, 'b> {
    at: At<'c, 'b>,
    left: usize,
    room: usize,
}

impl<'b> de::SeqAccess<'b> for Elements<'_, 'b> {
    type Error = ColumnError;

    fn next_element_seed<T: DeserializeSeed<'b>>(&mut self, seed: T) -> Result<Option<T::Value>, ColumnError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let column = self.at.child(0)?;
        seed.deserialize(self.at.at(column)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.room))
    }
}

struct Members<'c, 'b> {
    at: At<'c, 'b>,
    place: usize,
    members: usize,
}

impl<'b> de::SeqAccess<'b> for Members<'_, 'b> {
    type Error = ColumnError;

    fn next_element_seed<T: DeserializeSeed<'b>>(&mut self, seed: T) -> Result<Option<T::Value>, ColumnError> {
        if self.place == self.members {
            return Ok(None);
        }
        let column = self.at.child(self.place)?;
        self.place += 1;
        seed.deserialize(self.at.at(column)).map(Some)
    }
}

struct Entries<'c, 'b> {
    at: At<'c, 'b>,
    left: usize,
    room: usize,
}

impl<'b> de::MapAccess<'b> for Entries<'_, 'b> {
    type Error = ColumnError;

    fn next_key_seed<K: DeserializeSeed<'b>>(&mut self, seed: K) -> Result<Option<K::Value>, ColumnError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let column = self.at.child(0)?;
        seed.deserialize(self.at.at(column)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'b>>(&mut self, seed: V) -> Result<V::Value, ColumnError> {
        let column = self.at.child(1)?;
        seed.deserialize(self.at.at(column))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.room))
    }
}

struct Fields<'c, 'b> {
    at: At<'c, 'b>,
    mask: u64,
    place: usize,
}

impl<'b> de::MapAccess<'b> for Fields<'_, 'b> {
    type Error = ColumnError;

    fn next_key_seed<K: DeserializeSeed<'b>>(&mut self, seed: K) -> Result<Option<K::Value>, ColumnError> {
        if self.mask == 0 {
            return Ok(None);
        }
        self.place = self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        let index = self.at.columns.all[self.at.column].indexes[self.place];
        seed.deserialize(IntoDeserializer::<ColumnError>::into_deserializer(index)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'b>>(&mut self, seed: V) -> Result<V::Value, ColumnError> {
        let column = self.at.child(self.place)?;
        seed.deserialize(self.at.at(column))
    }
}

struct Variant<'c, 'b> {
    at: At<'c, 'b>,
    index: u64,
}

impl<'c, 'b> de::EnumAccess<'b> for Variant<'c, 'b> {
    type Error = ColumnError;
    type Variant = At<'c, 'b>;

    fn variant_seed<V: DeserializeSeed<'b>>(self, seed: V) -> Result<(V::Value, At<'c, 'b>), ColumnError> {
        let variant = seed.deserialize(IntoDeserializer::<ColumnError>::into_deserializer(self.index))?;
        Ok((variant, self.at))
    }
}

impl<'b> de::VariantAccess<'b> for At<'_, 'b> {
    type Error = ColumnError;

    fn unit_variant(mut self) -> Result<(), ColumnError> {
        self.of(Kind::Unit).map(drop)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'b>>(self, seed: T) -> Result<T::Value, ColumnError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'b>>(self, members: usize, visitor: V) -> Result<V::Value, ColumnError> {
        self.tuple(members, visitor)
    }

    fn struct_variant<V: Visitor<'b>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ColumnError> {
        self.record(names, visitor)
    }
}
