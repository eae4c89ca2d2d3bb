//! Columns out of what values hold, by a schema that the topic's configuration gives.
//!
//! Must not know files, nor the columns that every file has. Invariants: as many rows come out as values go in, each in its
//! place; a value that does not fit is null and has a reason, which names fields and types and never quotes the record; the
//! bytes of a value are not ours, so that nothing is lost whatever happens here. Nothing panics, and memory is bounded by
//! the values' lengths and the columns' number.
//!
//! What the types of the languages become (all may be null, so that schemas can change):
//!
//! | column | Avro | JSON Schema | Protocol Buffers |
//! | --- | --- | --- | --- |
//! | `Boolean` | boolean | boolean | bool |
//! | `Int32` | int, time-millis | | int32, sint32, sfixed32 |
//! | `Int64` | long, time-micros, (local-)timestamp-nanos | integer | int64, sint64, sfixed64, uint32, fixed32 |
//! | `Float32`, `Float64` | float, double | number (64) | float, double |
//! | `Decimal128` | decimal of at most 38 digits | | uint64, fixed64: of 20 digits |
//! | `Date32` | date | string, format date | |
//! | `Timestamp(us, UTC)` | timestamp-millis, -micros | string, format date-time | `google.protobuf.Timestamp` |
//! | `Timestamp(us)` | local-timestamp-millis, -micros | | |
//! | `Utf8` | string, enum, uuid | string | string, enum (or the number of an unknown one) |
//! | `Utf8`, JSON | a record without fields | several types or any, what contains itself | a message inside itself or without fields, `google.protobuf.Struct`, `Value`, `ListValue` |
//! | `Binary` | bytes, other decimals, duration and other fixed: `FixedSizeBinary` up to 64 bytes | | bytes |
//! | `List` | array | array with items | repeated |
//! | `Map`, by key | map | object with additionalProperties alone | map |
//! | `Struct` | record; a union of several types: a member for each, one of which is set | object with properties | message |
//!
//! A union with null, a `type` with null and a wrapper are the type itself. The members of a oneof are members of their message.
//! Refused with the schema: an Avro record inside itself, names that differ in nothing but case, and more than
//! 1,000 columns or 16 levels.

mod avro;
mod json;
mod protobuf;
mod column;
mod shape;
mod cell;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use arrow::array::{StringArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Fields};
use bytes::Bytes;

use crate::error::ArchiveError;
use cell::{Cell, Misfit, Room};
use column::Members;

/// Bytes of a schema's text.
const MAX_SCHEMA_BYTES: usize = 256 << 10;
/// Bytes of a value that is unfolded; what it takes in memory meanwhile may be a hundred times as much ...
const MAX_VALUE_BYTES: usize = 4 << 20;
/// ... or three hundred times, where the library for Protocol Buffers makes a map of every message in it.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Bytes of an error about a schema.
const MAX_ERROR_BYTES: usize = 1_000;
/// Bytes of text, and elements of lists, that the columns of one call may have: they count in 32 bits.
const MAX_OFFSETS: usize = i32::MAX as usize;

/// How values are encoded: `strandline.value.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFormat {
    /// JSON texts, under a JSON Schema.
    Json,
    /// Avro's binary encoding, under an Avro schema. Values do not name theirs: one of another schema may be misread.
    Avro,
    /// Protocol Buffers, under the text of a `.proto` file, whose first message the value is.
    Protobuf,
}

impl ValueFormat {
    /// Reads the config's value; `none` is no format.
    pub fn parse(text: &str) -> Result<Option<ValueFormat>, ArchiveError> {
        match text {
            "none" => Ok(None),
            "json" => Ok(Some(ValueFormat::Json)),
            "avro" => Ok(Some(ValueFormat::Avro)),
            "protobuf" => Ok(Some(ValueFormat::Protobuf)),
            _ => Err(invalid("strandline.value.format must be none, json, avro or protobuf")),
        }
    }
}

/// What stands before the value itself: `strandline.value.framing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Nothing.
    #[default]
    None,
    /// A zero byte and four bytes of a schema's id, which is not looked up; for Protocol Buffers also which message it is.
    Confluent,
}

impl FromStr for Framing {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Framing, ArchiveError> {
        match text {
            "none" => Ok(Framing::None),
            "confluent" => Ok(Framing::Confluent),
            _ => Err(invalid("strandline.value.framing must be none or confluent")),
        }
    }
}

fn invalid(what: &str) -> ArchiveError {
    ArchiveError::Invalid(what.to_owned())
}

/// A schema that is understood, in its language.
#[derive(Debug, Clone)]
enum Schema {
    Avro(avro::Schema),
    Json(json::Schema),
    Protobuf(protobuf::Schema),
}

/// How values become columns.
#[derive(Debug, Clone)]
pub struct Unfold {
    schema: Schema,
    framing: Framing,
    fields: Fields,
    columns: usize,
}

impl Unfold {
    /// Reads a schema: `strandline.value.schema`.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Invalid`] says what is wrong with it, and where.
    pub fn new(format: ValueFormat, schema: &str, framing: Framing) -> Result<Unfold, ArchiveError> {
        if schema.len() > MAX_SCHEMA_BYTES {
            return Err(invalid("the value schema is longer than 256 KiB"));
        }
        Unfold::read(format, schema, framing).map_err(|error| match error {
            ArchiveError::Invalid(mut what) => {
                let end = (0..=MAX_ERROR_BYTES).rev().find(|at| what.is_char_boundary(*at));
                what.truncate(end.unwrap_or_default());
                ArchiveError::Invalid(what)
            }
            error => error,
        })
    }

    fn read(format: ValueFormat, schema: &str, framing: Framing) -> Result<Unfold, ArchiveError> {
        let (schema, members) = match format {
            ValueFormat::Avro => {
                let schema = avro::Schema::new(schema)?;
                let members = schema.members();
                (Schema::Avro(schema), members)
            }
            ValueFormat::Json => {
                let schema = json::Schema::new(schema)?;
                let members = schema.members();
                (Schema::Json(schema), members)
            }
            ValueFormat::Protobuf => {
                let schema = protobuf::Schema::new(schema)?;
                let members = schema.members();
                (Schema::Protobuf(schema), members)
            }
        };
        let (fields, columns) = shape::fields(&members)?;
        Ok(Unfold { schema, framing, fields, columns })
    }

    /// The type of the column, a struct. Each field in it has a Parquet field id of at least 1,000.
    pub fn data_type(&self) -> DataType {
        DataType::Struct(self.fields.clone())
    }

    /// How many columns that is, those that hold others among them. A row takes at least some bytes in each outside of lists and
    /// maps, also where it is null: whoever gathers rows must count them.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The columns of these values, and why each that does not fit does not. A value that is absent is null without a reason.
    pub fn unfold(&self, values: &[Option<Bytes>]) -> (StructArray, StringArray) {
        let mut members = Members::new(&self.fields, values.len());
        let mut reasons = StringBuilder::with_capacity(values.len(), 0);
        let mut offsets = MAX_OFFSETS;
        for value in values {
            match value.as_ref().map_or(Ok(Cell::Null), |value| self.cell(value, &mut offsets)) {
                Ok(cell) => {
                    members.append(cell);
                    reasons.append_null();
                }
                Err(misfit) => {
                    members.append(Cell::Null);
                    let text = misfit.text();
                    let fits = reasons.values_slice().len() + text.len() <= MAX_OFFSETS / 2;
                    reasons.append_value(if fits { text.as_str() } else { "" });
                }
            }
        }
        (members.finish(), reasons.finish())
    }

    fn cell<'a>(&'a self, value: &'a [u8], offsets: &mut usize) -> Result<Cell<'a>, Misfit> {
        match self.schema {
            Schema::Protobuf(_) if value.len() > MAX_MESSAGE_BYTES => {
                return Err(Misfit::new("longer than 1 MiB"));
            }
            _ if value.len() > MAX_VALUE_BYTES => return Err(Misfit::new("longer than 4 MiB")),
            _ => {}
        }
        let value = self.unframed(value)?;
        let mut room = Room::new(value.len(), self.columns, *offsets);
        let cell = match &self.schema {
            Schema::Avro(schema) => schema.read(value, &mut room),
            Schema::Json(schema) => schema.read(value, &mut room),
            Schema::Protobuf(schema) => schema.read(value, &mut room),
        }?;
        *offsets = room.offsets();
        Ok(cell)
    }

    /// The value itself.
    fn unframed<'a>(&self, value: &'a [u8]) -> Result<&'a [u8], Misfit> {
        match self.framing {
            Framing::None => Ok(value),
            Framing::Confluent => {
                let [0, _, _, _, _, value @ ..] = value else {
                    return Err(Misfit::new("no Confluent frame"));
                };
                match (&self.schema, value) {
                    // Which message it is: a list of indexes, as zigzag numbers. Alone, 0 stands for the first one.
                    (Schema::Protobuf(_), [0, value @ ..] | [2, 0, value @ ..]) => Ok(value),
                    (Schema::Protobuf(_), _) => Err(Misfit::new("not the first message of the schema")),
                    _ => Ok(value),
                }
            }
        }
    }
}
