//! The columns that a schema asks for: their names, Arrow types and ids, and how many there may be.
//!
//! Must not know the schema languages. Invariant: a column's id depends on its path and its type alone, so that equal columns of
//! two schemas have equal ids without anybody remembering any, and no two columns of one schema have the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::error::ArchiveError;

/// Columns of one schema, those that hold others among them.
pub(super) const MAX_COLUMNS: usize = 1_000;
/// Columns around a column: records, lists and maps.
pub(super) const MAX_DEPTH: usize = 16;
/// Bytes of one name in a schema: a field's, a symbol's.
pub(super) const MAX_NAME_BYTES: usize = 255;
/// Ids below belong to the columns of every file.
const FIRST_ID: u32 = 1_000;
/// One more than the greatest id; Iceberg keeps the last ones for itself.
const END_ID: u32 = (1 << 31) - 1_000;

/// The type of a column, of those that Iceberg's second format has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Date,
    /// Microseconds; of a time zone, or of none.
    Timestamp {
        utc: bool,
    },
    Text,
    Binary,
    Fixed(i32),
    List(Box<Shape>),
    /// Key and value.
    Map(Box<(Shape, Shape)>),
    Struct(Vec<(String, Shape)>),
}

impl Shape {
    /// What of the type goes into the id. A record's members do not: it stays the same column when one is added.
    fn name(&self) -> String {
        match self {
            Shape::Boolean => "boolean".to_owned(),
            Shape::Int32 => "int".to_owned(),
            Shape::Int64 => "long".to_owned(),
            Shape::Float32 => "float".to_owned(),
            Shape::Float64 => "double".to_owned(),
            Shape::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            Shape::Date => "date".to_owned(),
            Shape::Timestamp { utc: true } => "timestamptz".to_owned(),
            Shape::Timestamp { utc: false } => "timestamp".to_owned(),
            Shape::Text => "string".to_owned(),
            Shape::Binary => "binary".to_owned(),
            Shape::Fixed(size) => format!("fixed[{size}]"),
            Shape::List(_) => "list".to_owned(),
            Shape::Map(_) => "map".to_owned(),
            Shape::Struct(_) => "struct".to_owned(),
        }
    }
}

/// Counts and names columns while a schema is read, so that a short text cannot ask for many or deep ones.
#[derive(Debug, Default)]
pub(super) struct Outline {
    path: Vec<String>,
    columns: usize,
}

impl Outline {
    /// An error that says where in the schema it is.
    pub(super) fn error(&self, what: impl std::fmt::Display) -> ArchiveError {
        match self.path.is_empty() {
            true => ArchiveError::Invalid(format!("the value schema: {what}")),
            false => ArchiveError::Invalid(format!("the value schema, at {}: {what}", self.path.join("."))),
        }
    }

    /// One level down, under `name`: one column more.
    pub(super) fn enter(&mut self, name: &str) -> Result<(), ArchiveError> {
        self.check_name(name)?;
        self.columns += 1;
        if self.columns > MAX_COLUMNS {
            return Err(self.error(format_args!("more than {MAX_COLUMNS} columns")));
        }
        if self.path.len() >= MAX_DEPTH {
            return Err(self.error(format_args!("deeper than {MAX_DEPTH} levels")));
        }
        self.path.push(name.to_owned());
        Ok(())
    }

    /// One level up again.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// Names end up in every footer and in errors.
    pub(super) fn check_name(&self, name: &str) -> Result<(), ArchiveError> {
        match name.len() {
            0 => Err(self.error("an empty name")),
            1..=MAX_NAME_BYTES => Ok(()),
            _ => Err(self.error(format_args!("a name longer than {MAX_NAME_BYTES} bytes"))),
        }
    }
}

/// Arrow's fields for these members of the value, and how many columns they are.
pub(super) fn fields(members: &[(String, Shape)]) -> Result<(Fields, usize), ArchiveError> {
    let mut ids = Ids::default();
    let fields = ids.members(members)?;
    Ok((fields, ids.taken.len()))
}

/// The ids of one schema.
#[derive(Default)]
struct Ids {
    path: Vec<String>,
    /// Who has an id, for the error.
    taken: BTreeMap<u32, String>,
    /// Names as most readers compare them: joined by dots, without case.
    names: BTreeSet<String>,
}

impl Ids {
    fn members(&mut self, members: &[(String, Shape)]) -> Result<Fields, ArchiveError> {
        members.iter().map(|(name, shape)| self.field(name, shape, true)).collect()
    }

    fn field(&mut self, name: &str, shape: &Shape, nullable: bool) -> Result<FieldRef, ArchiveError> {
        self.path.push(name.to_owned());
        let dotted = self.path.join(".");
        if !self.names.insert(dotted.to_lowercase()) {
            return Err(ArchiveError::Invalid(format!(
                "the value schema has two fields {dotted} (most readers tell names apart neither by case nor by dots)"
            )));
        }
        let id = id(&self.path, &shape.name());
        if let Some(other) = self.taken.insert(id, dotted.clone()) {
            return Err(ArchiveError::Invalid(format!(
                "the fields {other} and {dotted} of the value schema get the same column id {id}: rename one of them"
            )));
        }
        let data_type = self.data_type(shape)?;
        self.path.pop();
        let metadata = [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())];
        Ok(Arc::new(Field::new(name, data_type, nullable).with_metadata(metadata.into())))
    }

    fn data_type(&mut self, shape: &Shape) -> Result<DataType, ArchiveError> {
        Ok(match shape {
            Shape::Boolean => DataType::Boolean,
            Shape::Int32 => DataType::Int32,
            Shape::Int64 => DataType::Int64,
            Shape::Float32 => DataType::Float32,
            Shape::Float64 => DataType::Float64,
            Shape::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Shape::Date => DataType::Date32,
            Shape::Timestamp { utc } => {
                DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| Arc::from("UTC")))
            }
            Shape::Text => DataType::Utf8,
            Shape::Binary => DataType::Binary,
            Shape::Fixed(size) => DataType::FixedSizeBinary(*size),
            Shape::List(element) => DataType::List(self.field("element", element, true)?),
            Shape::Map(entry) => {
                // The names that the Parquet and Iceberg formats give these; an entry has no id there.
                let key = self.field("key", &entry.0, false)?;
                let value = self.field("value", &entry.1, true)?;
                let entries = DataType::Struct(Fields::from(vec![key, value]));
                DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
            }
            Shape::Struct(members) => DataType::Struct(self.members(members)?),
        })
    }
}

/// The id of a column: a hash of its path and its type, in `FIRST_ID..END_ID`. Written into files: it must never change.
fn id(path: &[String], type_name: &str) -> u32 {
    let mut hashed = Vec::new();
    for part in path.iter().map(String::as_str).chain([type_name]) {
        // Lengths keep ["a", "b"] and ["a.b"] apart, and a name from a type.
        hashed.extend_from_slice(&(part.len() as u64).to_le_bytes());
        hashed.extend_from_slice(part.as_bytes());
    }
    FIRST_ID + crc32c::crc32c(&hashed) % (END_ID - FIRST_ID)
}
