//! Avro: a schema as JSON, and values as its binary encoding.
//!
//! Must not know columns. Invariant: nothing is allocated from a count that a value names, and a schema means what the Avro
//! specification (1.12) says. Own code, because the library reserves memory for as many elements as a value claims to have, takes a
//! string that ends early for null, and panics on a schema's malformed names; the tests hold it against the library.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cell::{Cell, Misfit, Room};
use super::shape::{Outline, Shape};
use crate::error::ArchiveError;

/// Bytes of a fixed that becomes a column of fixed width: each null takes as much.
const MAX_FIXED_BYTES: usize = 64;
/// Digits of Arrow's 128 bits.
const MAX_PRECISION: u64 = 38;

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
        let mut reader = Reader::default();
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| reader.outline.error(format_args!("it is not JSON: {error}")))?;
        match reader.kind(&schema, "")? {
            Kind::Record(fields) if !fields.is_empty() => Ok(Schema { fields }),
            Kind::Record(_) => Err(reader.outline.error("the record has no fields")),
            _ => Err(reader.outline.error("its top must be a record")),
        }
    }

    /// The columns.
    pub(super) fn members(&self) -> Vec<(String, Shape)> {
        members(&self.fields)
    }

    /// One value.
    pub(super) fn read<'a>(&'a self, bytes: &'a [u8], room: &mut Room) -> Result<Cell<'a>, Misfit> {
        let mut input = Input { bytes };
        let cells = record(&self.fields, &mut input, room)?;
        match input.bytes.is_empty() {
            true => Ok(cells),
            false => Err(Misfit::new("bytes are left after the record: it was written with another schema")),
        }
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

/// A schema on the way to [`Kind`].
#[derive(Default)]
struct Reader<'s> {
    outline: Outline,
    /// Named types by their full names, with the namespace that holds inside.
    named: BTreeMap<String, (&'s Map<String, Value>, String)>,
    symbols: BTreeMap<String, Arc<[String]>>,
    /// Records that are being read.
    open: Vec<String>,
}

impl<'s> Reader<'s> {
    fn kind(&mut self, schema: &'s Value, namespace: &str) -> Result<Kind, ArchiveError> {
        match schema {
            Value::String(name) => self.name(name, None, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => match object.get("type") {
                Some(Value::String(name)) => self.name(name, Some(object), namespace),
                Some(schema) => self.kind(schema, namespace),
                None => Err(self.outline.error("a schema without a type")),
            },
            _ => Err(self.outline.error("a schema must be a text, an array or an object")),
        }
    }

    /// A type by its name, with what stands beside the name.
    fn name(
        &mut self,
        name: &str,
        object: Option<&'s Map<String, Value>>,
        namespace: &str,
    ) -> Result<Kind, ArchiveError> {
        let logical = object.and_then(|object| object.get("logicalType")).and_then(Value::as_str);
        Ok(match (name, object) {
            ("null", _) => Kind::Null,
            ("boolean", _) => Kind::Boolean,
            ("int", _) => Kind::Int(if logical == Some("date") { Shape::Date } else { Shape::Int32 }),
            ("long", _) => long(logical),
            ("float", _) => Kind::Float,
            ("double", _) => Kind::Double,
            ("bytes", object) => decimal(object, None).unwrap_or(Kind::Bytes),
            ("string", _) => Kind::Text,
            ("array", Some(object)) => {
                let items = self.part(object, "items")?;
                let element = self.within("element", |reader| reader.kind(items, namespace))?;
                Kind::Array(Box::new(element))
            }
            ("map", Some(object)) => {
                let values = self.part(object, "values")?;
                self.within("key", |_| Ok(()))?;
                Kind::Map(Box::new(self.within("value", |reader| reader.kind(values, namespace))?))
            }
            ("record" | "error" | "enum" | "fixed", Some(object)) => self.define(object, namespace)?,
            (name, _) => {
                let full = full_name(name, namespace);
                let Some((object, namespace)) = self.named.get(&full).cloned() else {
                    let known = "is neither a type of Avro nor defined before it is used";
                    return Err(self.outline.error(format_args!("{} {known}", short(name))));
                };
                self.expand(&full, object, &namespace)?
            }
        })
    }

    /// A record, enum or fixed where it is defined.
    fn define(&mut self, object: &'s Map<String, Value>, namespace: &str) -> Result<Kind, ArchiveError> {
        let Some(name) = object.get("name").and_then(Value::as_str) else {
            return Err(self.outline.error("a record, an enum and a fixed must have a name"));
        };
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace);
        let inside = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        if self.named.insert(full.clone(), (object, inside.clone())).is_some() {
            return Err(self.outline.error(format_args!("{} is defined twice", short(&full))));
        }
        self.expand(&full, object, &inside)
    }

    fn expand(
        &mut self,
        full: &str,
        object: &'s Map<String, Value>,
        namespace: &str,
    ) -> Result<Kind, ArchiveError> {
        match object.get("type").and_then(Value::as_str) {
            Some("enum") => self.enumeration(full, object),
            Some("fixed") => {
                let size =
                    object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let Some(size) = size else {
                    return Err(self.outline.error(format_args!("the fixed {} has no size", short(full))));
                };
                let logical = object.get("logicalType").and_then(Value::as_str);
                let uuid = size == 16 && logical == Some("uuid");
                let plain = if uuid { Kind::Uuid } else { Kind::Fixed(size) };
                Ok(decimal(Some(object), Some(size)).unwrap_or(plain))
            }
            _ => self.record(full, object, namespace),
        }
    }

    fn enumeration(&mut self, full: &str, object: &Map<String, Value>) -> Result<Kind, ArchiveError> {
        if let Some(symbols) = self.symbols.get(full) {
            return Ok(Kind::Enum(symbols.clone()));
        }
        let symbols: Option<Vec<String>> = object
            .get("symbols")
            .and_then(Value::as_array)
            .and_then(|symbols| symbols.iter().map(|symbol| symbol.as_str().map(str::to_owned)).collect());
        let Some(symbols) = symbols else {
            return Err(self.outline.error(format_args!("the enum {} has no symbols", short(full))));
        };
        symbols.iter().try_for_each(|symbol| self.outline.check_name(symbol))?;
        let symbols: Arc<[String]> = symbols.into();
        self.symbols.insert(full.to_owned(), symbols.clone());
        Ok(Kind::Enum(symbols))
    }

    fn record(
        &mut self,
        full: &str,
        object: &'s Map<String, Value>,
        namespace: &str,
    ) -> Result<Kind, ArchiveError> {
        if self.open.iter().any(|open| open == full) {
            let what = format_args!("{} contains itself: such a schema has no end of columns", short(full));
            return Err(self.outline.error(what));
        }
        let Some(fields) = object.get("fields").and_then(Value::as_array) else {
            return Err(self.outline.error(format_args!("the record {} has no fields", short(full))));
        };
        self.open.push(full.to_owned());
        let mut read = Vec::new();
        for field in fields {
            let name = field.get("name").and_then(Value::as_str);
            let (Some(name), Some(schema)) = (name, field.get("type")) else {
                return Err(self.outline.error("a field must have a name and a type"));
            };
            // A logical type may stand beside the field's type by mistake; it means nothing there.
            let kind = self.within(name, |reader| reader.kind(schema, namespace))?;
            read.push((name.to_owned(), kind));
        }
        self.open.pop();
        Ok(Kind::Record(read))
    }

    fn union(&mut self, branches: &'s [Value], namespace: &str) -> Result<Kind, ArchiveError> {
        let others = branches.iter().filter(|branch| branch.as_str() != Some("null")).count();
        let mut read: Vec<(String, Kind)> = Vec::new();
        for branch in branches {
            if branch.is_array() {
                return Err(self.outline.error("a union directly inside a union"));
            }
            let full = branch_name(branch, namespace);
            let simple = full.rsplit('.').next().unwrap_or_default();
            let taken = read.iter().any(|(name, _)| name.eq_ignore_ascii_case(simple));
            let name = if taken { full.replace('.', "_") } else { simple.to_owned() };
            let kind = match others {
                0 | 1 => self.kind(branch, namespace)?,
                _ if branch.as_str() == Some("null") => Kind::Null,
                _ => self.within(&name, |reader| reader.kind(branch, namespace))?,
            };
            read.push((name, kind));
        }
        match read.is_empty() {
            true => Err(self.outline.error("a union without branches")),
            false => Ok(Kind::Union(read)),
        }
    }

    fn part(&self, object: &'s Map<String, Value>, name: &str) -> Result<&'s Value, ArchiveError> {
        object.get(name).ok_or_else(|| self.outline.error(format_args!("{name} is missing")))
    }

    fn within<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        self.outline.enter(name)?;
        let read = read(self)?;
        self.outline.leave();
        Ok(read)
    }
}

/// What a union's member is called: the type as the specification names it.
fn branch_name(branch: &Value, namespace: &str) -> String {
    let named = |object: &Map<String, Value>| {
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        object.get("name").and_then(Value::as_str).map(|name| full_name(name, namespace))
    };
    match branch {
        Value::Object(object) => match object.get("type").and_then(Value::as_str) {
            Some("record" | "error" | "enum" | "fixed") => named(object).unwrap_or_default(),
            Some(name) => name.to_owned(),
            None => String::new(),
        },
        branch => branch.as_str().unwrap_or_default().to_owned(),
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.trim_start_matches('.').to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

/// A name out of the schema, for an error.
fn short(name: &str) -> String {
    name.chars().take(100).collect()
}

fn long(logical: Option<&str>) -> Kind {
    match logical {
        Some("timestamp-millis") => Kind::Long(Shape::Timestamp { utc: true }, 1_000),
        Some("timestamp-micros") => Kind::Long(Shape::Timestamp { utc: true }, 1),
        Some("local-timestamp-millis") => Kind::Long(Shape::Timestamp { utc: false }, 1_000),
        Some("local-timestamp-micros") => Kind::Long(Shape::Timestamp { utc: false }, 1),
        _ => Kind::Long(Shape::Int64, 1),
    }
}

/// A decimal that 128 bits hold; others stay bytes.
fn decimal(object: Option<&Map<String, Value>>, size: Option<usize>) -> Option<Kind> {
    let object =
        object.filter(|object| object.get("logicalType").and_then(Value::as_str) == Some("decimal"))?;
    let precision =
        object.get("precision")?.as_u64().filter(|digits| (1..=MAX_PRECISION).contains(digits))?;
    let scale = object.get("scale").map_or(Some(0), Value::as_u64).filter(|scale| *scale <= precision)?;
    Some(Kind::Decimal { size, precision: u8::try_from(precision).ok()?, scale: i8::try_from(scale).ok()? })
}

/// What is left of a value.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Misfit> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(ends)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(ends)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn long(&mut self) -> Result<i64, Misfit> {
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            raw |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(Misfit::new("a number longer than 64 bits"))
    }

    fn int(&mut self) -> Result<i32, Misfit> {
        i32::try_from(self.long()?).map_err(|_| Misfit::new("expected int, found a longer number"))
    }

    fn sized(&mut self) -> Result<&'a [u8], Misfit> {
        let length = usize::try_from(self.long()?).map_err(|_| Misfit::new("a negative length"))?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, Misfit> {
        std::str::from_utf8(self.sized()?).map_err(|_| Misfit::new("expected string, found no UTF-8"))
    }

    /// How many elements follow; 0 at the end.
    fn block(&mut self) -> Result<u64, Misfit> {
        let count = self.long()?;
        if count < 0 {
            // The block's length, for those that skip it.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}

fn ends() -> Misfit {
    Misfit::new("the value ends early")
}

fn record<'a>(
    fields: &'a [(String, Kind)],
    input: &mut Input<'a>,
    room: &mut Room,
) -> Result<Cell<'a>, Misfit> {
    let read =
        |(name, kind): &'a (String, Kind)| decode(kind, input, room).map_err(|misfit| misfit.under(name));
    Ok(Cell::Struct(fields.iter().map(read).collect::<Result<_, _>>()?))
}

fn decode<'a>(kind: &'a Kind, input: &mut Input<'a>, room: &mut Room) -> Result<Cell<'a>, Misfit> {
    room.cell()?;
    Ok(match kind {
        Kind::Null => Cell::Null,
        Kind::Boolean => match input.array()? {
            [0] => Cell::Boolean(false),
            [1] => Cell::Boolean(true),
            _ => return Err(Misfit::new("expected boolean, found another byte")),
        },
        Kind::Int(_) => Cell::Int32(input.int()?),
        Kind::Long(_, factor) => match input.long()?.checked_mul(*factor) {
            Some(long) => Cell::Int64(long),
            None => return Err(Misfit::new("a time beyond what microseconds reach")),
        },
        Kind::Float => Cell::Float32(f32::from_le_bytes(input.array()?)),
        Kind::Double => Cell::Float64(f64::from_le_bytes(input.array()?)),
        Kind::Bytes => {
            let bytes = input.sized()?;
            room.text(bytes.len())?;
            Cell::Binary(Cow::Borrowed(bytes))
        }
        Kind::Text => {
            let text = input.text()?;
            room.text(text.len())?;
            Cell::Text(Cow::Borrowed(text))
        }
        Kind::Fixed(size) => {
            room.text(*size)?;
            Cell::Binary(Cow::Borrowed(input.take(*size)?))
        }
        Kind::Uuid => {
            room.text(36)?;
            Cell::Text(Cow::Owned(uuid(input.array()?)))
        }
        Kind::Decimal { size, precision, .. } => {
            let bytes = if let Some(size) = size { input.take(*size)? } else { input.sized()? };
            Cell::Decimal(unscaled(bytes, *precision)?)
        }
        Kind::Enum(symbols) => {
            let at = usize::try_from(input.int()?).ok();
            let symbol =
                at.and_then(|at| symbols.get(at)).ok_or_else(|| Misfit::new("no symbol of the enum"))?;
            room.text(symbol.len())?;
            Cell::Text(Cow::Borrowed(symbol))
        }
        Kind::Array(element) => {
            Cell::List(array(element, input, room).map_err(|misfit| misfit.under("element"))?)
        }
        Kind::Map(value) => map(value, input, room).map_err(|misfit| misfit.under("value"))?,
        Kind::Union(branches) => union(branches, input, room)?,
        Kind::Record(fields) if fields.is_empty() => {
            room.text(2)?;
            Cell::Text(Cow::Borrowed("{}"))
        }
        Kind::Record(fields) => record(fields, input, room)?,
    })
}

fn array<'a>(element: &'a Kind, input: &mut Input<'a>, room: &mut Room) -> Result<Vec<Cell<'a>>, Misfit> {
    let mut cells = Vec::new();
    loop {
        let count = input.block()?;
        if count == 0 {
            return Ok(cells);
        }
        for _ in 0..count {
            cells.push(decode(element, input, room)?);
        }
    }
}

/// In the order of the keys, each of which stands once: readers of Parquet refuse a map that has one twice.
fn map<'a>(value: &'a Kind, input: &mut Input<'a>, room: &mut Room) -> Result<Cell<'a>, Misfit> {
    let mut entries = BTreeMap::new();
    loop {
        let count = input.block()?;
        if count == 0 {
            let cell = |(key, value)| (Cell::Text(Cow::Borrowed(key)), value);
            return Ok(Cell::Map(entries.into_iter().map(cell).collect()));
        }
        for _ in 0..count {
            let key = input.text()?;
            room.cell()?;
            room.text(key.len())?;
            entries.insert(key, decode(value, input, room)?);
        }
    }
}

fn union<'a>(
    branches: &'a [(String, Kind)],
    input: &mut Input<'a>,
    room: &mut Room,
) -> Result<Cell<'a>, Misfit> {
    let at = usize::try_from(input.long()?).ok();
    let chosen = at.and_then(|at| branches.get(at)).ok_or_else(|| Misfit::new("no branch of the union"))?;
    if matches!(chosen.1, Kind::Null) {
        return Ok(Cell::Null);
    }
    if only(branches).is_some() {
        return decode(&chosen.1, input, room);
    }
    let mut cell = Some(decode(&chosen.1, input, room).map_err(|misfit| misfit.under(&chosen.0))?);
    let mut members = Vec::new();
    for branch in branches.iter().filter(|(_, kind)| !matches!(kind, Kind::Null)) {
        room.cell()?;
        let own = std::ptr::eq(branch, chosen);
        members.push(if own { cell.take().unwrap_or(Cell::Null) } else { Cell::Null });
    }
    Ok(Cell::Struct(members))
}

/// A number in two's complement, the most significant byte first, of no more digits than the schema allows.
fn unscaled(bytes: &[u8], precision: u8) -> Result<i128, Misfit> {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let filler = if negative { 0xff } else { 0 };
    let start = bytes.len().saturating_sub(16);
    let (front, back) = bytes.split_at(start);
    let too_long = || Misfit::new("a decimal of more digits than its precision");
    if front.iter().any(|byte| *byte != filler) {
        return Err(too_long());
    }
    let mut raw = [filler; 16];
    for (to, from) in raw.iter_mut().rev().zip(back.iter().rev()) {
        *to = *from;
    }
    let number = i128::from_be_bytes(raw);
    let bound = 10_i128.checked_pow(u32::from(precision)).ok_or_else(too_long)?;
    let fits = (number < 0) == negative && number > -bound && number < bound;
    if fits { Ok(number) } else { Err(too_long()) }
}

/// The usual text: 8-4-4-4-12 digits.
fn uuid(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    let part = |shift: u32, digits: u32| (number >> shift) & ((1 << (4 * digits)) - 1);
    let (a, b, c, d, e) = (part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}
