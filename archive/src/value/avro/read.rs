//! An Avro schema's text becomes [`Kind`]s.
//!
//! Must not know values. Invariant: named types are expanded wherever they are used, which ends because no record may contain itself
//! and columns are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Kind;
use crate::error::ArchiveError;
use crate::value::shape::{Outline, Shape};

/// Digits of Arrow's 128 bits.
const MAX_PRECISION: u64 = 38;

/// The fields of the record at the top.
pub(super) fn record(text: &str) -> Result<Vec<(String, Kind)>, ArchiveError> {
    let mut reader = Reader::default();
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| reader.outline.error(format_args!("it is not JSON: {error}")))?;
    match reader.kind(&schema, "")? {
        Kind::Record(fields) if !fields.is_empty() => Ok(fields),
        Kind::Record(_) => Err(reader.outline.error("the record has no fields")),
        _ => Err(reader.outline.error("its top must be a record")),
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
        // What holds the definition may be read more than once.
        let before = self.named.insert(full.clone(), (object, inside.clone()));
        if before.is_some_and(|(before, _)| !std::ptr::eq(before, object)) {
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
