//! Protocol Buffers: a schema as the text of a `.proto` file, and values as its binary encoding.
//!
//! Must not know columns. Invariant: the schema is this one text and the types that come with the language (`google/protobuf/*`):
//! no file is opened. The value is the first message of the text; a message inside itself is cut, and kept as JSON.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind as Type, MapKey, MessageDescriptor,
    Value,
};
use protox::file::{File, FileResolver, GoogleFileResolver};

use super::cell::{Cell, Misfit, Room};
use super::shape::{Outline, Shape};
use crate::error::ArchiveError;

/// What the text is called in errors.
const FILE_NAME: &str = "schema.proto";
/// Brackets inside brackets of a text: the parser's stack.
const MAX_BRACKETS: usize = 64;

/// What becomes of a field's value.
#[derive(Debug, Clone)]
enum Kind {
    Boolean,
    /// Of 32 bits, signed.
    Int,
    /// Of 64 bits, signed.
    Long,
    /// Of 32 bits, unsigned.
    Unsigned,
    /// Of 64 bits, unsigned.
    UnsignedLong,
    Float,
    Double,
    Text,
    Bytes,
    /// The name, or the number of one that the schema does not name.
    Enum(EnumDescriptor),
    Timestamp,
    /// A message around one value, which is null without it.
    Wrapper(FieldDescriptor, Box<Kind>),
    /// A message without an end of columns, or without any.
    Json,
    Message(Vec<Member>),
    List(Box<Kind>),
    Map(Box<(Kind, Kind)>),
}

#[derive(Debug, Clone)]
struct Member {
    field: FieldDescriptor,
    kind: Kind,
}

/// A schema that is understood.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    message: MessageDescriptor,
    members: Vec<Member>,
}

impl Schema {
    /// Reads a schema.
    pub(super) fn new(text: &str) -> Result<Schema, ArchiveError> {
        let mut outline = Outline::default();
        check_brackets(text).map_err(|what| outline.error(what))?;
        let pool = compile(text).map_err(|what| outline.error(what))?;
        let first = pool.get_file_by_name(FILE_NAME).and_then(|file| file.messages().next());
        let Some(message) = first else { return Err(outline.error("it has no message")) };
        let mut reader = Reader { outline: &mut outline, open: Vec::new() };
        match reader.message(&message)? {
            Kind::Message(members) => Ok(Schema { message, members }),
            _ => Err(outline.error(format_args!("the first message, {}, has no fields", message.name()))),
        }
    }

    /// The columns.
    pub(super) fn members(&self) -> Vec<(String, Shape)> {
        shapes(&self.members)
    }

    /// One value.
    pub(super) fn read<'a>(&'a self, bytes: &'a [u8], room: &mut Room) -> Result<Cell<'a>, Misfit> {
        let message = DynamicMessage::decode(self.message.clone(), bytes).map_err(|error| {
            // Of wire types and lengths alone, after some words that say what ours do.
            let error = error.to_string();
            let error = error.strip_prefix("failed to decode Protobuf message: ").unwrap_or(&error);
            Misfit::new(format!("no message {}: {error}", self.message.name()))
        })?;
        members(&self.members, message, room)
    }
}

fn shapes(members: &[Member]) -> Vec<(String, Shape)> {
    members.iter().map(|member| (member.field.name().to_owned(), member.kind.shape())).collect()
}

impl Kind {
    fn shape(&self) -> Shape {
        match self {
            Kind::Boolean => Shape::Boolean,
            Kind::Int => Shape::Int32,
            Kind::Long | Kind::Unsigned => Shape::Int64,
            Kind::UnsignedLong => Shape::Decimal { precision: 20, scale: 0 },
            Kind::Float => Shape::Float32,
            Kind::Double => Shape::Float64,
            Kind::Text | Kind::Enum(_) | Kind::Json => Shape::Text,
            Kind::Bytes => Shape::Binary,
            Kind::Timestamp => Shape::Timestamp { utc: true },
            Kind::Wrapper(_, inner) => inner.shape(),
            Kind::Message(members) => Shape::Struct(shapes(members)),
            Kind::List(element) => Shape::List(Box::new(element.shape())),
            Kind::Map(entry) => Shape::Map(Box::new((entry.0.shape(), entry.1.shape()))),
        }
    }
}

fn compile(text: &str) -> Result<DescriptorPool, String> {
    let mut compiler = protox::Compiler::with_file_resolver(Source { text: text.to_owned() });
    // Of some malformed texts the library asserts that it never sees them.
    let compiled = catch_unwind(AssertUnwindSafe(|| match compiler.open_file(FILE_NAME) {
        Ok(compiler) => Ok(compiler.descriptor_pool()),
        // With `{:?}` the library says where.
        Err(error) => Err(format!("{error:?}")),
    }));
    compiled.unwrap_or_else(|_| Err("it cannot be read as a .proto file".to_owned()))
}

/// The text, and the types of the language.
struct Source {
    text: String,
}

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            FILE_NAME => File::from_source(name, &self.text),
            _ => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// Refuses what would take the parser deep, seen as its lexer sees it: outside of comments and strings.
fn check_brackets(text: &str) -> Result<(), &'static str> {
    let mut depth = 0_usize;
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'/', [b'/', tail @ ..]) | (b'#', tail) => after_line(tail),
            (b'/', [b'*', tail @ ..]) => after_comment(tail)?,
            (b'"' | b'\'', tail) => after_string(tail, *byte)?,
            (b'{' | b'[' | b'(' | b'<', tail) => {
                depth += 1;
                tail
            }
            (b'}' | b']' | b')' | b'>', tail) => {
                depth = depth.saturating_sub(1);
                tail
            }
            (_, tail) => tail,
        };
        if depth > MAX_BRACKETS {
            return Err("more than 64 brackets inside each other");
        }
    }
    Ok(())
}

fn after_line(mut rest: &[u8]) -> &[u8] {
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte == b'\n' {
            break;
        }
    }
    rest
}

fn after_comment(mut rest: &[u8]) -> Result<&[u8], &'static str> {
    loop {
        match rest {
            [b'*', b'/', tail @ ..] => return Ok(tail),
            [b'/', b'*', ..] => return Err("a comment inside a comment"),
            [_, tail @ ..] => rest = tail,
            [] => return Err("a comment without an end"),
        }
    }
}

fn after_string(mut rest: &[u8], quote: u8) -> Result<&[u8], &'static str> {
    loop {
        match rest {
            [b'\\', escaped, tail @ ..] if b"abfnrtv?\\'\"xX01234567uU".contains(escaped) => rest = tail,
            [b'\\', ..] => return Err("an escape in a string that the language does not have"),
            [] | [b'\n' | 0, ..] => return Err("a string without an end"),
            [byte, tail @ ..] if *byte == quote => return Ok(tail),
            [_, tail @ ..] => rest = tail,
        }
    }
}

/// A descriptor on the way to [`Kind`].
struct Reader<'o> {
    outline: &'o mut Outline,
    /// Messages that are being read.
    open: Vec<String>,
}

impl Reader<'_> {
    fn message(&mut self, message: &MessageDescriptor) -> Result<Kind, ArchiveError> {
        let name = message.full_name();
        let endless =
            matches!(name, "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue");
        if endless || message.fields().len() == 0 || self.open.iter().any(|open| open == name) {
            return Ok(Kind::Json);
        }
        if name == "google.protobuf.Timestamp" {
            return Ok(Kind::Timestamp);
        }
        if let Some(value) = wrapped(message) {
            let kind = self.kind(&value)?;
            return Ok(Kind::Wrapper(value, Box::new(kind)));
        }
        self.open.push(name.to_owned());
        let mut members = Vec::new();
        for field in message.fields() {
            let kind = self.within(field.name(), |reader| reader.field(&field))?;
            members.push(Member { field, kind });
        }
        self.open.pop();
        Ok(Kind::Message(members))
    }

    fn field(&mut self, field: &FieldDescriptor) -> Result<Kind, ArchiveError> {
        if let (true, Type::Message(entry)) = (field.is_map(), field.kind()) {
            let key = self.within("key", |reader| reader.kind(&entry.map_entry_key_field()))?;
            let value = self.within("value", |reader| reader.kind(&entry.map_entry_value_field()))?;
            return Ok(Kind::Map(Box::new((key, value))));
        }
        if field.is_list() {
            return Ok(Kind::List(Box::new(self.within("element", |reader| reader.kind(field))?)));
        }
        self.kind(field)
    }

    /// Of one value of a field.
    fn kind(&mut self, field: &FieldDescriptor) -> Result<Kind, ArchiveError> {
        Ok(match field.kind() {
            Type::Bool => Kind::Boolean,
            Type::Int32 | Type::Sint32 | Type::Sfixed32 => Kind::Int,
            Type::Int64 | Type::Sint64 | Type::Sfixed64 => Kind::Long,
            Type::Uint32 | Type::Fixed32 => Kind::Unsigned,
            Type::Uint64 | Type::Fixed64 => Kind::UnsignedLong,
            Type::Float => Kind::Float,
            Type::Double => Kind::Double,
            Type::String => Kind::Text,
            Type::Bytes => Kind::Bytes,
            Type::Enum(names) => {
                names.values().try_for_each(|value| self.outline.check_name(value.name()))?;
                Kind::Enum(names)
            }
            Type::Message(message) => self.message(&message)?,
        })
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

/// The value in one of the language's wrappers.
fn wrapped(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    const WRAPPERS: [&str; 9] =
        ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"];
    let name = message.full_name().strip_prefix("google.protobuf.")?.strip_suffix("Value")?;
    if WRAPPERS.contains(&name) { message.get_field(1) } else { None }
}

fn members<'a>(
    members: &'a [Member],
    mut message: DynamicMessage,
    room: &mut Room,
) -> Result<Cell<'a>, Misfit> {
    let mut cells = Vec::new();
    for Member { field, kind } in members {
        let value = match message.take_field(field) {
            None if field.is_required() => Err(Misfit::new("it is required, and missing")),
            // What cannot be told from its default is its default.
            None if !field.supports_presence() => Ok(Some(Value::default_value_for_field(field))),
            value => Ok(value),
        };
        let cell = value.and_then(|value| match value {
            Some(value) => cell(kind, value, room),
            None => room.cell().map(|()| Cell::Null),
        });
        cells.push(cell.map_err(|misfit| misfit.under(field.name()))?);
    }
    Ok(Cell::Struct(cells))
}

fn cell<'a>(kind: &'a Kind, value: Value, room: &mut Room) -> Result<Cell<'a>, Misfit> {
    room.cell()?;
    Ok(match (kind, value) {
        (Kind::Boolean, Value::Bool(value)) => Cell::Boolean(value),
        (Kind::Int, Value::I32(value)) => Cell::Int32(value),
        (Kind::Long, Value::I64(value)) => Cell::Int64(value),
        (Kind::Unsigned, Value::U32(value)) => Cell::Int64(value.into()),
        (Kind::UnsignedLong, Value::U64(value)) => Cell::Decimal(value.into()),
        (Kind::Float, Value::F32(value)) => Cell::Float32(value),
        (Kind::Double, Value::F64(value)) => Cell::Float64(value),
        (Kind::Text, Value::String(text)) => self::text(text, room)?,
        (Kind::Bytes, Value::Bytes(bytes)) => {
            room.text(bytes.len())?;
            Cell::Binary(Cow::Owned(bytes.into()))
        }
        (Kind::Enum(names), Value::EnumNumber(number)) => match names.get_value(number) {
            Some(value) => text(value.name().to_owned(), room)?,
            None => text(number.to_string(), room)?,
        },
        (Kind::Timestamp, Value::Message(message)) => timestamp(&message)?,
        (Kind::Wrapper(field, inner), Value::Message(mut message)) => {
            let value = message.take_field(field);
            cell(inner, value.unwrap_or_else(|| Value::default_value_for_field(field)), room)?
        }
        (Kind::Json, Value::Message(message)) => {
            let json = serde_json::to_value(&message);
            text(json.map_err(|_| Misfit::new("it has no form as JSON"))?.to_string(), room)?
        }
        (Kind::Message(fields), Value::Message(message)) => members(fields, message, room)?,
        (Kind::List(element), Value::List(values)) => Cell::List(
            values
                .into_iter()
                .map(|value| cell(element, value, room).map_err(|misfit| misfit.under("element")))
                .collect::<Result<_, _>>()?,
        ),
        (Kind::Map(entry), Value::Map(values)) => {
            let mut values: Vec<(MapKey, Value)> = values.into_iter().collect();
            values.sort_by(|a, b| a.0.cmp(&b.0));
            let mut cells = Vec::new();
            for (key, value) in values {
                let key = cell(&entry.0, key.into(), room)?;
                cells.push((key, cell(&entry.1, value, room).map_err(|misfit| misfit.under("value"))?));
            }
            Cell::Map(cells)
        }
        _ => return Err(Misfit::new("another type than the schema's")),
    })
}

fn text<'a>(text: String, room: &mut Room) -> Result<Cell<'a>, Misfit> {
    room.text(text.len())?;
    Ok(Cell::Text(Cow::Owned(text)))
}

/// Microseconds since 1970; nanoseconds are cut.
fn timestamp<'a>(message: &DynamicMessage) -> Result<Cell<'a>, Misfit> {
    let seconds = message.get_field_by_number(1).and_then(|value| value.as_i64()).unwrap_or_default();
    let nanos = message.get_field_by_number(2).and_then(|value| value.as_i32()).unwrap_or_default();
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(Misfit::new("a timestamp with a fraction outside of its second"));
    }
    let micros =
        seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(i64::from(nanos / 1_000)));
    micros.map(Cell::Int64).ok_or_else(|| Misfit::new("a time beyond what microseconds reach"))
}
