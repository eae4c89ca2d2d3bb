//! JSON: a schema as JSON Schema, and values as JSON texts.
//!
//! Must not know columns. Invariant: of a schema, what says which type a place has is followed (`type`, `properties`, `required`,
//! `items`, `additionalProperties`, `format`, `$ref` within the schema, and a choice between null and one other); everything
//! else (patterns, bounds, several types) restricts values that have their column all the same, as numbers, texts, or JSON.

use std::borrow::Cow;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::Date32Type;
use serde_json::{Map, Value};

use super::cell::{Cell, Misfit, Room};
use super::shape::{Outline, Shape};
use crate::error::ArchiveError;

/// References of one schema that lead to references.
const MAX_REFERENCES: usize = 32;

/// What a place in the value may hold.
#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    nullable: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    Boolean,
    Integer,
    Number,
    Text,
    Date,
    DateTime,
    /// Several types, or any: kept as JSON.
    Any,
    Array(Box<Node>),
    /// An object whose property names are data.
    Map(Box<Node>),
    Object(Vec<Property>),
}

#[derive(Debug, Clone)]
struct Property {
    name: String,
    node: Node,
    required: bool,
}

/// A schema that is understood.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    root: Node,
}

impl Schema {
    /// Reads a schema; its top must be an object with properties.
    pub(super) fn new(text: &str) -> Result<Schema, ArchiveError> {
        let mut outline = Outline::default();
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| outline.error(format_args!("it is not JSON: {error}")))?;
        let mut reader = Reader { root: &schema, outline: &mut outline, open: Vec::new() };
        let root = match schema.as_object() {
            Some(top) if !top.contains_key("type") && top.contains_key("properties") => {
                Node { kind: reader.object(top)?, nullable: false }
            }
            _ => reader.node(&schema)?,
        };
        match root.kind {
            Kind::Object(_) => Ok(Schema { root }),
            _ => Err(outline.error("its top must be of the type object, with properties")),
        }
    }

    /// The columns.
    pub(super) fn members(&self) -> Vec<(String, Shape)> {
        match self.root.kind.shape() {
            Shape::Struct(members) => members,
            _ => Vec::new(),
        }
    }

    /// One value.
    pub(super) fn read<'a>(&'a self, bytes: &'a [u8], room: &mut Room) -> Result<Cell<'a>, Misfit> {
        // The library's text may quote the value.
        let value = serde_json::from_slice(bytes).map_err(|error| {
            Misfit::new(format!("not JSON (line {}, column {})", error.line(), error.column()))
        })?;
        self.root.cell(value, room)
    }
}

impl Kind {
    fn shape(&self) -> Shape {
        match self {
            Kind::Boolean => Shape::Boolean,
            Kind::Integer => Shape::Int64,
            Kind::Number => Shape::Float64,
            Kind::Text | Kind::Any => Shape::Text,
            Kind::Date => Shape::Date,
            Kind::DateTime => Shape::Timestamp { utc: true },
            Kind::Array(element) => Shape::List(Box::new(element.kind.shape())),
            Kind::Map(value) => Shape::Map(Box::new((Shape::Text, value.kind.shape()))),
            Kind::Object(properties) => {
                let member = |property: &Property| (property.name.clone(), property.node.kind.shape());
                Shape::Struct(properties.iter().map(member).collect())
            }
        }
    }

    /// As the schema calls it.
    fn name(&self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Integer => "an integer of 64 bits",
            Kind::Number => "number",
            Kind::Text => "string",
            Kind::Date => "a date (yyyy-mm-dd)",
            Kind::DateTime => "a date-time (RFC 3339)",
            Kind::Any => "anything",
            Kind::Array(_) => "array",
            Kind::Map(_) | Kind::Object(_) => "object",
        }
    }
}

/// A schema on the way to [`Node`].
struct Reader<'s> {
    root: &'s Value,
    outline: &'s mut Outline,
    /// References that are being followed.
    open: Vec<&'s str>,
}

impl<'s> Reader<'s> {
    fn node(&mut self, schema: &'s Value) -> Result<Node, ArchiveError> {
        let any = Node { kind: Kind::Any, nullable: true };
        let object = match schema {
            Value::Object(object) => object,
            Value::Bool(_) => return Ok(any),
            _ => return Err(self.outline.error("a schema must be an object, true or false")),
        };
        if let Some(target) = object.get("$ref") {
            return self.reference(target);
        }
        let Some(types) = object.get("type") else {
            return match choice(object) {
                Some((schema, nullable)) => {
                    let node = self.node(schema)?;
                    Ok(Node { nullable: node.nullable || nullable, ..node })
                }
                None => Ok(texts(object).unwrap_or(any)),
            };
        };
        let mut names = Vec::new();
        let mut nullable = false;
        for name in types.as_array().map_or(std::slice::from_ref(types), Vec::as_slice) {
            match name.as_str() {
                Some("null") => nullable = true,
                Some(name @ ("boolean" | "integer" | "number" | "string" | "array" | "object")) => {
                    names.push(name);
                }
                _ => return Err(self.outline.error("a type that JSON Schema does not have")),
            }
        }
        names.sort_unstable();
        let kind = match names.as_slice() {
            ["boolean"] => Kind::Boolean,
            ["integer"] => Kind::Integer,
            ["number"] | ["integer", "number"] => Kind::Number,
            ["string"] => match object.get("format").and_then(Value::as_str) {
                Some("date") => Kind::Date,
                Some("date-time") => Kind::DateTime,
                _ => Kind::Text,
            },
            ["array"] => self.array(object)?,
            ["object"] => self.object(object)?,
            _ => Kind::Any,
        };
        Ok(Node { kind, nullable })
    }

    fn array(&mut self, object: &'s Map<String, Value>) -> Result<Kind, ArchiveError> {
        match object.get("items") {
            Some(items @ Value::Object(_)) if !object.contains_key("prefixItems") => {
                Ok(Kind::Array(Box::new(self.within("element", items)?)))
            }
            _ => Ok(Kind::Any),
        }
    }

    fn object(&mut self, object: &'s Map<String, Value>) -> Result<Kind, ArchiveError> {
        let properties = match object.get("properties") {
            Some(Value::Object(properties)) => Some(properties).filter(|properties| !properties.is_empty()),
            Some(_) => return Err(self.outline.error("properties must be an object")),
            None => None,
        };
        let Some(properties) = properties else {
            let values = object.get("additionalProperties").filter(|values| values.is_object());
            let Some(values) = values.filter(|_| !object.contains_key("patternProperties")) else {
                return Ok(Kind::Any);
            };
            self.outline.enter("key")?;
            self.outline.leave();
            return Ok(Kind::Map(Box::new(self.within("value", values)?)));
        };
        let required = object.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut read = Vec::new();
        for (name, schema) in properties {
            let node = self.within(name, schema)?;
            let required = required.iter().any(|required| required.as_str() == Some(name));
            read.push(Property { name: name.clone(), node, required });
        }
        // One order, whichever the library's map has.
        read.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Kind::Object(read))
    }

    fn within(&mut self, name: &str, schema: &'s Value) -> Result<Node, ArchiveError> {
        self.outline.enter(name)?;
        let node = self.node(schema)?;
        self.outline.leave();
        Ok(node)
    }

    /// A part of the same schema. One that contains itself is cut, and kept as JSON, where it comes again.
    fn reference(&mut self, target: &'s Value) -> Result<Node, ArchiveError> {
        let target = target.as_str().unwrap_or_default();
        if self.open.contains(&target) {
            return Ok(Node { kind: Kind::Any, nullable: true });
        }
        let schema = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(schema) = schema.filter(|_| self.open.len() < MAX_REFERENCES) else {
            let target: String = target.chars().take(100).collect();
            let what = "is no place of this schema (others are not looked up)";
            return Err(self.outline.error(format_args!("the $ref {target} {what}")));
        };
        self.open.push(target);
        let node = self.node(schema)?;
        self.open.pop();
        Ok(node)
    }
}

/// A choice between null and one other, or of one: the other, and whether null is in it.
fn choice(object: &Map<String, Value>) -> Option<(&Value, bool)> {
    let one_of = object.get("oneOf").or(object.get("anyOf"));
    let branches = one_of.or(object.get("allOf"))?.as_array()?;
    let null = |branch: &Value| branch.get("type").and_then(Value::as_str) == Some("null");
    match branches.as_slice() {
        [branch] => Some((branch, false)),
        [branch, other] if one_of.is_some() && null(other) => Some((branch, true)),
        [other, branch] if one_of.is_some() && null(other) => Some((branch, true)),
        _ => None,
    }
}

/// A list of texts to choose from.
fn texts(object: &Map<String, Value>) -> Option<Node> {
    let values = match object.get("enum") {
        Some(values) => values.as_array()?.as_slice(),
        None => std::slice::from_ref(object.get("const")?),
    };
    let texts = values.iter().all(|value| value.is_string() || value.is_null());
    let nullable = values.iter().any(Value::is_null);
    (texts && values.iter().any(Value::is_string)).then_some(Node { kind: Kind::Text, nullable })
}

impl Node {
    fn cell<'a>(&'a self, value: Value, room: &mut Room) -> Result<Cell<'a>, Misfit> {
        room.cell()?;
        let cell = match (&self.kind, value) {
            (_, Value::Null) if self.nullable => Some(Cell::Null),
            (Kind::Any, value) => {
                let text = value.to_string();
                room.text(text.len())?;
                Some(Cell::Text(Cow::Owned(text)))
            }
            (Kind::Boolean, Value::Bool(value)) => Some(Cell::Boolean(value)),
            (Kind::Integer, Value::Number(number)) => match integer(&number) {
                Some(integer) => Some(Cell::Int64(integer)),
                None => return Err(Misfit::new("expected an integer of 64 bits, found another number")),
            },
            (Kind::Number, Value::Number(number)) => number.as_f64().map(Cell::Float64),
            (Kind::Text, Value::String(text)) => {
                room.text(text.len())?;
                Some(Cell::Text(Cow::Owned(text)))
            }
            (kind @ (Kind::Date | Kind::DateTime), Value::String(text)) => {
                let cell = match kind {
                    Kind::Date => date(&text).map(Cell::Int32),
                    _ => microseconds(&text).map(Cell::Int64),
                };
                let what = || Misfit::new(format!("expected {}, found another string", kind.name()));
                return cell.ok_or_else(what);
            }
            (Kind::Array(element), Value::Array(values)) => Some(Cell::List(
                values
                    .into_iter()
                    .map(|value| element.cell(value, room).map_err(|misfit| misfit.under("element")))
                    .collect::<Result<_, _>>()?,
            )),
            (Kind::Map(node), Value::Object(object)) => Some(map(node, object, room)?),
            (Kind::Object(properties), Value::Object(object)) => Some(members(properties, object, room)?),
            (kind, value) => {
                let found = type_name(&value);
                return Err(Misfit::new(format!("expected {}, found {found}", kind.name())));
            }
        };
        cell.ok_or_else(|| Misfit::new(format!("expected {}", self.kind.name())))
    }
}

fn map<'a>(node: &'a Node, object: Map<String, Value>, room: &mut Room) -> Result<Cell<'a>, Misfit> {
    let mut entries: Vec<(String, Value)> = object.into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let mut cells = Vec::new();
    for (key, value) in entries {
        room.cell()?;
        room.text(key.len())?;
        let value = node.cell(value, room).map_err(|misfit| misfit.under("value"))?;
        cells.push((Cell::Text(Cow::Owned(key)), value));
    }
    Ok(Cell::Map(cells))
}

/// Properties that the schema does not name stay in the bytes.
fn members<'a>(
    properties: &'a [Property],
    mut object: Map<String, Value>,
    room: &mut Room,
) -> Result<Cell<'a>, Misfit> {
    let mut cells = Vec::new();
    for property in properties {
        let cell = match object.get_mut(&property.name).map(Value::take) {
            Some(value) => property.node.cell(value, room),
            None if property.required => Err(Misfit::new("it is required, and missing")),
            None => room.cell().map(|()| Cell::Null),
        };
        cells.push(cell.map_err(|misfit| misfit.under(&property.name))?);
    }
    Ok(Cell::Struct(cells))
}

/// JSON Schema takes 1.0 for an integer too.
fn integer(number: &serde_json::Number) -> Option<i64> {
    // 2^63: what is below has an i64, and doubles next to it are whole numbers.
    const END: f64 = 9_223_372_036_854_775_808.0;
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|_| number.is_f64())?;
        ((-END..END).contains(&float) && float.trunc() == float).then_some(float as i64)
    })
}

/// Days since 1970 of `yyyy-mm-dd`.
fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    let dashes = bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    let plain = bytes.len() == 10 && dashes && digits(0..4) && digits(5..7) && digits(8..10);
    if plain { Date32Type::parse(text) } else { None }
}

/// Microseconds since 1970 of an RFC 3339 time, which must say its time zone; what is finer is cut.
fn microseconds(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let separator = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    let offset = match bytes.last()? {
        b'Z' | b'z' => true,
        _ => {
            let sign = bytes.len().checked_sub(6).and_then(|at| bytes.get(at));
            let colon = bytes.len().checked_sub(3).and_then(|at| bytes.get(at));
            matches!(sign, Some(b'+' | b'-')) && colon == Some(&b':')
        }
    };
    let plain = text.is_ascii() && (20..=40).contains(&bytes.len()) && separator && offset;
    if !plain {
        return None;
    }
    let utc: Tz = "+00:00".parse().ok()?;
    Some(string_to_datetime(&utc, text).ok()?.timestamp_micros())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
