//! Avro: a schema as JSON, and values as its binary encoding.
//!
//! Must not know columns. Invariant: nothing is allocated from a count that a value names, and a schema means what the Avro
//! specification (1.12) says. Own code, because the library reserves memory for as many elements as a value claims to have, takes a
//! string that ends early for null, and panics on a schema's malformed names; the tests hold it against the library.

mod read;
mod decode;

use std::sync::Arc;

use super::cell::{Cell, Misfit, Room};
use super::shape::Shape;
use crate::error::ArchiveError;

/// Bytes of a fixed that becomes a column of fixed width: each null takes as much.
const MAX_FIXED_BYTES: usize = 64;

/// How a value is encoded, and what becomes of it.
#[derive(Debug, Clone)]
enum Kind {
    Null,
    Boolean,
    /// Also a date and a time of the day.
    Int(Shape),
    /// With what it is multiplied by: 1,000 for milliseconds that become microseconds.
    Long(Shape, i64),
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    /// A fixed of 16 bytes, which becomes the text of a UUID.
    Uuid,
    /// In so many bytes, or in as many as each value says.
    Decimal {
        size: Option<usize>,
        precision: u8,
        scale: i8,
    },
    Enum(Arc<[String]>),
    Array(Box<Kind>),
    Map(Box<Kind>),
    /// One branch beside null: nothing but a column that may be null. Several: one member each. With their names.
    Union(Vec<(String, Kind)>),
    Record(Vec<(String, Kind)>),
}

/// A schema that is understood.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    fields: Vec<(String, Kind)>,
}

impl Schema {
    /// Reads a schema; its top must be a record.
    pub(super) fn new(text: &str) -> Result<Schema, ArchiveError> {
        Ok(Schema { fields: read::record(text)? })
    }

    /// The columns.
    pub(super) fn members(&self) -> Vec<(String, Shape)> {
        members(&self.fields)
    }

    /// One value.
    pub(super) fn read<'a>(&'a self, bytes: &'a [u8], room: &mut Room) -> Result<Cell<'a>, Misfit> {
        decode::record(&self.fields, bytes, room)
    }
}

fn members(fields: &[(String, Kind)]) -> Vec<(String, Shape)> {
    fields.iter().map(|(name, kind)| (name.clone(), kind.shape())).collect()
}

impl Kind {
    fn shape(&self) -> Shape {
        match self {
            Kind::Boolean => Shape::Boolean,
            Kind::Int(shape) | Kind::Long(shape, _) => shape.clone(),
            Kind::Float => Shape::Float32,
            Kind::Double => Shape::Float64,
            Kind::Bytes => Shape::Binary,
            Kind::Fixed(size) => match i32::try_from(*size) {
                Ok(width) if (1..=MAX_FIXED_BYTES).contains(size) => Shape::Fixed(width),
                _ => Shape::Binary,
            },
            Kind::Decimal { precision, scale, .. } => Shape::Decimal { precision: *precision, scale: *scale },
            // What can only be null, and a record without fields, are columns that readers of Parquet cannot have.
            Kind::Null | Kind::Text | Kind::Uuid | Kind::Enum(_) => Shape::Text,
            Kind::Array(element) => Shape::List(Box::new(element.shape())),
            Kind::Map(value) => Shape::Map(Box::new((Shape::Text, value.shape()))),
            Kind::Union(branches) => match only(branches) {
                Some(branch) => branch.shape(),
                None => Shape::Struct(
                    members(branches).into_iter().filter(|(name, _)| name.as_str() != "null").collect(),
                ),
            },
            Kind::Record(fields) if fields.is_empty() => Shape::Text,
            Kind::Record(fields) => Shape::Struct(members(fields)),
        }
    }
}

/// The branch beside null, if there is but one.
fn only(branches: &[(String, Kind)]) -> Option<&Kind> {
    let mut others = branches.iter().filter(|(_, kind)| !matches!(kind, Kind::Null));
    match (others.next(), others.next()) {
        (Some((_, kind)), None) => Some(kind),
        (None, _) => branches.first().map(|(_, kind)| kind),
        _ => None,
    }
}
