//! Values of each language as they come back from the columns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use apache_avro::types::Value as Avro;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema,
    TimestampMicrosecondType,
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Framing, Unfold, ValueFormat};

mod hostile;
mod schemas;

fn unfolder(format: ValueFormat, schema: &str) -> Unfold {
    Unfold::new(format, schema, Framing::None).unwrap()
}

fn batch(fields: StructArray, errors: StringArray) -> RecordBatch {
    let columns = vec![
        Field::new("fields", fields.data_type().clone(), true),
        Field::new("fields_error", DataType::Utf8, true),
    ];
    let arrays: Vec<ArrayRef> = vec![std::sync::Arc::new(fields), std::sync::Arc::new(errors)];
    RecordBatch::try_new(std::sync::Arc::new(Schema::new(columns)), arrays).unwrap()
}

/// Each row's fields, or its error; null where there is neither.
fn rows(unfold: &Unfold, values: &[Option<Bytes>]) -> Vec<Value> {
    let (fields, errors) = unfold.unfold(values);
    assert_eq!((fields.len(), errors.len()), (values.len(), values.len()));
    assert_eq!(*fields.data_type(), unfold.data_type());
    let row = |at| match (cell(&fields, at), cell(&errors, at)) {
        (fields, Value::Null) => fields,
        (Value::Null, error) => error,
        both => panic!("fields and an error: {both:?}"),
    };
    (0..values.len()).map(row).collect()
}

/// Bytes as hex digits, times and decimals as whole numbers.
fn cell(array: &dyn Array, at: usize) -> Value {
    if array.is_null(at) {
        return Value::Null;
    }
    let all = |array: ArrayRef| (0..array.len()).map(|at| cell(&array, at)).collect::<Vec<_>>();
    let hex = |bytes: &[u8]| json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(at)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(at)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(at)),
        DataType::Float32 => json!(array.as_primitive::<Float32Type>().value(at)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(at)),
        DataType::Decimal128(..) => json!(array.as_primitive::<Decimal128Type>().value_as_string(at)),
        DataType::Date32 => json!(array.as_primitive::<Date32Type>().value(at)),
        DataType::Timestamp(..) => json!(array.as_primitive::<TimestampMicrosecondType>().value(at)),
        DataType::Utf8 => json!(array.as_string::<i32>().value(at)),
        DataType::Binary => hex(array.as_binary::<i32>().value(at)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(at)),
        DataType::List(_) => Value::Array(all(array.as_list::<i32>().value(at))),
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let pair = |at| json!([cell(entries.column(0), at), cell(entries.column(1), at)]);
            Value::Array((0..entries.len()).map(pair).collect())
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields
                .iter()
                .zip(columns)
                .map(|(field, column)| (field.name().clone(), cell(column, at)))
                .collect()
        }
        other => panic!("no column is of {other}"),
    }
}

fn one(unfold: &Unfold, value: impl AsRef<[u8]>) -> Value {
    rows(unfold, &[Some(Bytes::copy_from_slice(value.as_ref()))]).remove(0)
}

const JSON: &str = r##"{
  "type": "object",
  "required": ["id"],
  "properties": {
    "id": {"type": "integer"},
    "name": {"type": ["string", "null"]},
    "price": {"type": "number"},
    "ok": {"type": "boolean"},
    "at": {"type": "string", "format": "date-time"},
    "day": {"type": "string", "format": "date"},
    "colour": {"enum": ["red", "green"]},
    "extra": {},
    "tags": {"type": "array", "items": {"type": "string"}},
    "sizes": {"type": "object", "additionalProperties": {"type": "integer"}},
    "home": {"$ref": "#/$defs/address"},
    "others": {"type": "array", "items": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/address"}]}}
  },
  "$defs": {
    "address": {"type": "object", "properties": {
      "street": {"type": "string"}, "next": {"$ref": "#/$defs/address"}}}
  }
}"##;

#[test]
fn json_comes_back_from_its_columns() {
    let unfold = unfolder(ValueFormat::Json, JSON);
    let value = json!({
        "id": 9_007_199_254_740_993_i64, "name": null, "price": 2, "ok": true, "unknown": {"stays": "in the bytes"},
        "at": "2026-01-02T03:04:05.678901+01:00", "day": "1969-12-31", "colour": "red", "extra": {"b": [1, null], "a": "x"},
        "tags": ["a", "b"], "sizes": {"s": 1, "m": 2}, "home": {"street": "x", "next": {"street": "y"}},
        "others": [null, {"street": "z"}],
    });
    let expected = json!({
        "id": 9_007_199_254_740_993_i64, "name": null, "price": 2.0, "ok": true,
        "at": 1_767_319_445_678_901_i64, "day": -1, "colour": "red", "extra": r#"{"a":"x","b":[1,null]}"#,
        "tags": ["a", "b"], "sizes": [["m", 2], ["s", 1]], "home": {"street": "x", "next": r#"{"street":"y"}"#},
        "others": [null, {"street": "z", "next": null}],
    });
    assert_eq!(one(&unfold, value.to_string()), expected);
    let id_alone = one(&unfold, r#"{"id": 1.0}"#);
    assert_eq!((&id_alone["id"], &id_alone["tags"]), (&json!(1), &Value::Null));
}

#[test]
fn a_json_value_that_does_not_fit_says_where_and_never_what_it_holds() {
    let unfold = unfolder(ValueFormat::Json, JSON);
    let says = |value: &str| one(&unfold, value).as_str().unwrap().to_owned();
    assert_eq!(says(r#"{"id": "secret"}"#), "id: expected an integer of 64 bits, found string");
    assert_eq!(
        says(r#"{"id": 9223372036854775808}"#),
        "id: expected an integer of 64 bits, found another number"
    );
    assert_eq!(says(r#"{}"#), "id: it is required, and missing");
    assert_eq!(says(r#"{"id": 1, "ok": null}"#), "ok: expected boolean, found null");
    assert_eq!(
        says(r#"{"id": 1, "others": [{"street": 5}]}"#),
        "others.element.street: expected string, found number"
    );
    assert_eq!(
        says(r#"{"id": 1, "sizes": {"secret": "secret"}}"#),
        "sizes.value: expected an integer of 64 bits, found string"
    );
    assert_eq!(
        says(r#"{"id": 1, "at": "2026-01-02T03:04:05"}"#),
        "at: expected a date-time (RFC 3339), found another string"
    );
    assert_eq!(
        says(r#"{"id": 1, "day": "2026-02-30"}"#),
        "day: expected a date (yyyy-mm-dd), found another string"
    );
    assert_eq!(says("{\"id\": secret}"), "not JSON (line 1, column 8)");
    assert_eq!(says("[]"), "expected object, found array");
    assert_eq!(says(&"[".repeat(100_000)), "not JSON (line 1, column 128)");
}

const AVRO: &str = r#"{
  "type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "i", "type": "int"}, {"name": "l", "type": "long"}, {"name": "f", "type": "float"}, {"name": "d", "type": "double"},
    {"name": "b", "type": "boolean"}, {"name": "raw", "type": "bytes"}, {"name": "s", "type": "string"},
    {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 3}},
    {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "us", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
    {"name": "cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "uuid", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "maybe", "type": ["null", "E"]},
    {"name": "choice", "type": ["null", "string", "F", {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]}]},
    {"name": "list", "type": {"type": "array", "items": ["Inner", "null"]}},
    {"name": "map", "type": {"type": "map", "values": "long"}}
  ]}"#;

fn avro_order() -> Vec<(&'static str, Avro)> {
    let inner = |x| Avro::Record(vec![("x".into(), Avro::Int(x))]);
    let uuid = "9f1c1a3e-7b52-4d5e-8f6a-0123456789ab";
    vec![
        ("i", Avro::Int(-7)),
        ("l", Avro::Long(i64::MIN)),
        ("f", Avro::Float(0.5)),
        ("d", Avro::Double(-0.25)),
        ("b", Avro::Boolean(true)),
        ("raw", Avro::Bytes(vec![1, 255])),
        ("s", Avro::String("grüße".into())),
        ("fixed", Avro::Fixed(3, vec![1, 2, 3])),
        ("e", Avro::Enum(1, "B".into())),
        ("day", Avro::Date(-1)),
        ("ms", Avro::TimestampMillis(1_001)),
        ("us", Avro::LocalTimestampMicros(1_000_001)),
        ("cost", Avro::Decimal(vec![0xff, 0x85].into())),
        ("uuid", Avro::Uuid(uuid.parse().unwrap())),
        ("maybe", Avro::Union(1, Box::new(Avro::Enum(0, "A".into())))),
        ("choice", Avro::Union(3, Box::new(inner(5)))),
        ("list", Avro::Array(vec![Avro::Union(0, Box::new(inner(6))), Avro::Union(1, Box::new(Avro::Null))])),
        ("map", Avro::Map([("k".to_owned(), Avro::Long(1)), ("a".to_owned(), Avro::Long(2))].into())),
    ]
}

/// As the library encodes it.
fn avro_bytes(fields: Vec<(&str, Avro)>) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(AVRO).unwrap();
    let record = Avro::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    apache_avro::to_avro_datum(&schema, record).unwrap()
}

#[test]
fn avro_comes_back_from_its_columns() {
    let expected = json!({
        "i": -7, "l": i64::MIN, "f": 0.5, "d": -0.25, "b": true, "raw": "01ff", "s": "grüße", "fixed": "010203", "e": "B",
        "day": -1, "ms": 1_001_000, "us": 1_000_001, "cost": "-1.23",
        "uuid": "9f1c1a3e-7b52-4d5e-8f6a-0123456789ab", "maybe": "A",
        "choice": {"string": null, "F": null, "Inner": {"x": 5}}, "list": [{"x": 6}, null], "map": [["a", 2], ["k", 1]],
    });
    let found = one(&unfolder(ValueFormat::Avro, AVRO), avro_bytes(avro_order()));
    assert_eq!(found, expected);
}

#[test]
fn an_avro_value_that_does_not_fit_says_where() {
    let unfold = unfolder(ValueFormat::Avro, AVRO);
    let whole = avro_bytes(avro_order());
    for end in 0..whole.len() {
        let error = one(&unfold, &whole[..end]);
        assert!(
            error.as_str().is_some_and(|error| error.ends_with(": the value ends early")),
            "{end}: {error}"
        );
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(one(&unfold, longer).as_str().unwrap().starts_with("bytes are left after the record"));

    let small = r#"{"type": "record", "name": "R", "fields": [
        {"name": "a", "type": {"type": "array", "items": "null"}}, {"name": "u", "type": ["null", "int"]}]}"#;
    let small = unfolder(ValueFormat::Avro, small);
    assert_eq!(one(&small, [0, 2, 3]), json!({"a": [], "u": -2}));
    // A count of 2^40 elements that take no bytes.
    let endless = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0, 0];
    assert_eq!(one(&small, endless), json!("a.element: more fields than a value may have"));
    assert_eq!(one(&small, [0, 4]), json!("u: no branch of the union"));
}

#[test]
fn avro_means_what_its_bytes_say_and_no_more() {
    let unfold = |schema: &str| {
        let record =
            format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "f", "type": {schema}}}]}}"#);
        unfolder(ValueFormat::Avro, &record)
    };
    let fits = |schema: &str, bytes: &[u8], value: Value| assert_eq!(one(&unfold(schema), bytes)["f"], value);
    let not =
        |schema: &str, bytes: &[u8], why: &str| assert_eq!(one(&unfold(schema), bytes), format!("f: {why}"));
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    fits(r#""long""#, &most, json!(i64::MAX));
    not(r#""int""#, &most, "expected int, found a longer number");
    not(r#""long""#, &[0xff; 11], "a number longer than 64 bits");
    not(r#""long""#, &[[0xff; 9].as_slice(), &[2]].concat(), "a number longer than 64 bits");
    not(r#""boolean""#, &[2], "expected boolean, found another byte");
    not(r#""string""#, &[2, 0xff], "expected string, found no UTF-8");
    not(r#""bytes""#, &[1], "a negative length");
    let millis = r#"{"type": "long", "logicalType": "timestamp-millis"}"#;
    not(millis, &most, "a time beyond what microseconds reach");

    let decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 3}"#;
    fits(decimal, &[4, 0xfc, 0x19], json!("-999"));
    fits(decimal, &[0], json!("0"));
    fits(decimal, &[[40].as_slice(), &[0xff; 20]].concat(), json!("-1"));
    let zeros = [[36, 1].as_slice(), &[0; 17]].concat();
    for long in [&[4, 0xfc, 0x18][..], &[[34].as_slice(), &[0], &[0xff; 16]].concat(), &zeros] {
        not(decimal, long, "a decimal of more digits than its precision");
    }
    // A block that says its length, and one that does not.
    fits(r#"{"type": "array", "items": "int"}"#, &[3, 4, 2, 4, 2, 6, 0], json!([1, 2, 3]));
    let choice = r#"["null", "int", "string"]"#;
    fits(choice, &[0], Value::Null);
    fits(choice, &[2, 2], json!({"int": 1, "string": null}));
    let uuid = r#"{"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}"#;
    fits(uuid, &[0xab; 16], json!("abababab-abab-abab-abab-abababababab"));
}

const PROTO: &str = r#"
  syntax = "proto3"; // } " a comment
  package shop;
  import "google/protobuf/timestamp.proto";
  import "google/protobuf/wrappers.proto";
  import "google/protobuf/struct.proto";
  enum Colour { NONE = 0; RED = 1; }
  message Order {
    int32 i = 1;  sint64 l = 2;  uint32 u = 3;  fixed64 big = 4;  float f = 5;  bool b = 6;  bytes raw = 7;
    optional string s = 8;  Colour colour = 9;  repeated Colour colours = 10;
    google.protobuf.Timestamp at = 11;  google.protobuf.Int64Value wrapped = 12;
    Line first = 13;  repeated Line lines = 14;  map<string, Line> by_name = 15;
    oneof one { int64 x = 16;  string y = 17; }
    google.protobuf.Struct any = 18;  Empty empty = 19;
  }
  message Line { string what = 1;  Line below = 2; }
  message Empty {}
"#;

/// A field of a length, on the wire.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let tag = u16::from(number) << 3 | 2;
    let tag = if tag < 128 { vec![tag as u8] } else { vec![(tag & 127 | 128) as u8, (tag >> 7) as u8] };
    [tag, vec![bytes.len() as u8], bytes.to_vec()].concat()
}

#[test]
fn protocol_buffers_come_back_from_their_columns() {
    let unfold = unfolder(ValueFormat::Protobuf, PROTO);
    let line = |what: &str| field(1, what.as_bytes());
    let entry =
        |key: &str, what: &str| field(15, &[field(1, key.as_bytes()), field(2, &line(what))].concat());
    let nested = [line("deep"), field(2, &line("deeper"))].concat();
    let any = field(1, &[field(1, b"k"), field(2, &field(3, b"v"))].concat());
    let value = [
        vec![8, 7, 16, 1, 24, 255, 255, 255, 255, 15, 33, 255, 255, 255, 255, 255, 255, 255, 255],
        vec![45, 0, 0, 0, 63, 48, 1],
        field(7, &[1, 255]),
        field(8, b""),
        vec![72, 1],
        field(10, &[0, 1, 9]),
        field(11, &[8, 1, 16, 0xe8, 7]),
        field(12, &[]),
        field(13, &nested),
        field(14, &line("a")),
        field(14, &[]),
        entry("z", "1"),
        entry("b", "2"),
        field(17, b"why"),
        field(18, &any),
        field(19, &[]),
        // A field that the schema does not have.
        vec![0xf8, 7, 1],
    ]
    .concat();
    let expected = json!({
        "i": 7, "l": -1, "u": u32::MAX, "big": "18446744073709551615", "f": 0.5, "b": true, "raw": "01ff", "s": "",
        "colour": "RED", "colours": ["NONE", "RED", "9"], "at": 1_000_001, "wrapped": 0,
        "first": {"what": "deep", "below": r#"{"what":"deeper"}"#},
        "lines": [{"what": "a", "below": null}, {"what": "", "below": null}],
        "by_name": [["b", {"what": "2", "below": null}], ["z", {"what": "1", "below": null}]],
        "x": null, "y": "why", "any": r#"{"k":"v"}"#, "empty": "{}",
    });
    let found = one(&unfold, value);
    assert_eq!(found, expected);

    let absent = one(&unfold, []);
    assert_eq!((&absent["i"], &absent["colour"], &absent["lines"]), (&json!(0), &json!("NONE"), &json!([])));
    for name in ["s", "at", "wrapped", "first", "x", "empty"] {
        assert_eq!(absent[name], Value::Null, "{name}");
    }
    assert_eq!(
        one(&unfold, field(11, &[16, 255, 255, 255, 255, 15])),
        json!("at: a timestamp with a fraction outside of its second")
    );
}

#[test]
fn a_message_of_the_second_syntax_knows_what_is_required_and_what_is_absent() {
    let schema = "message A { required int32 a = 1; optional string s = 2 [default = \"x\"];
        repeated group G = 3 { optional int32 x = 4; } }";
    let unfold = unfolder(ValueFormat::Protobuf, schema);
    assert_eq!(one(&unfold, [8, 1, 0x1b, 0x20, 5, 0x1c]), json!({"a": 1, "s": null, "g": [{"x": 5}]}));
    assert_eq!(one(&unfold, []), json!("a: it is required, and missing"));
    assert_eq!(
        one(&unfold, [10, 0]),
        json!("no message A: invalid wire type: LengthDelimited (expected Varint)")
    );
    assert_eq!(
        one(&unfold, [18, 1, 0xff]),
        json!("no message A: invalid string value: data is not UTF-8 encoded")
    );
}

#[test]
fn values_that_do_not_fit_leave_their_neighbours_in_place() {
    let schema = r#"{"type": "object", "properties": {
        "a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string"}}}}}}"#;
    let unfold = unfolder(ValueFormat::Json, schema);
    let fits = |n: usize| json!({"a": n, "b": vec![json!({"c": n.to_string()}); n % 3]});
    let values: Vec<Option<Bytes>> = (0..50)
        .map(|n| match n % 5 {
            0 => None,
            // The last element does not fit, after others that would.
            1 => Some(json!({"a": n, "b": [{"c": "x"}, {"c": "y"}, {"c": n}]}).to_string().into()),
            2 => Some(Bytes::new()),
            _ => Some(fits(n).to_string().into()),
        })
        .collect();
    for (n, row) in rows(&unfold, &values).into_iter().enumerate() {
        match n % 5 {
            0 => assert_eq!(row, Value::Null),
            1 => assert_eq!(row, "b.element.c: expected string, found number"),
            2 => assert_eq!(row, "not JSON (line 1, column 0)"),
            _ => assert_eq!(row, fits(n)),
        }
    }
}

#[test]
fn the_reason_of_a_misfit_is_short_however_long_the_names_are() {
    let name = "ü".repeat(127);
    let deep = (0..12).fold(r#"{"type": "string"}"#.to_owned(), |below, _| {
        format!(r#"{{"type": "object", "properties": {{"{name}": {below}}}}}"#)
    });
    let value = (0..12).fold("1".to_owned(), |below, _| format!(r#"{{"{name}": {below}}}"#));
    let path = "ü".repeat(58);
    let expected = format!("{path}...: expected string, found number");
    assert_eq!(one(&unfolder(ValueFormat::Json, &deep), value), json!(expected));

    let message = "M".repeat(255);
    let long = unfolder(ValueFormat::Protobuf, &format!("message {message} {{ optional int32 a = 1; }}"));
    let reason = one(&long, [8]);
    assert_eq!(reason.as_str().map(str::len), Some(200), "{reason}");
    assert!(reason.as_str().unwrap().ends_with("MMM..."));
}

#[test]
fn a_long_value_keeps_its_bytes_alone() {
    let padded = |bytes: usize| r#"{"id": 1}"#.to_owned() + &" ".repeat(bytes - 9);
    let unfold = unfolder(ValueFormat::Json, JSON);
    assert_eq!(one(&unfold, padded(4 << 20))["id"], json!(1));
    assert_eq!(one(&unfold, padded((4 << 20) + 1)), json!("longer than 4 MiB"));
    let unfold = unfolder(ValueFormat::Protobuf, PROTO);
    assert_eq!(one(&unfold, [72, 1].repeat(1 << 19))["colour"], json!("RED"));
    assert_eq!(one(&unfold, vec![0; (1 << 20) + 1]), json!("longer than 1 MiB"));
}

#[test]
fn a_confluent_frame_is_taken_off() {
    let json = Unfold::new(
        ValueFormat::Json,
        r#"{"type": "object", "properties": {"a": {"type": "integer"}}}"#,
        Framing::Confluent,
    )
    .unwrap();
    assert_eq!(one(&json, b"\0\0\0\0\x05{\"a\": 1}"), json!({"a": 1}));
    for other in ["", "\0\0\0\0", "{\"a\": 1}", "\x01\0\0\0\x05{\"a\": 1}"] {
        assert_eq!(one(&json, other), json!("no Confluent frame"));
    }
    let proto = "syntax = \"proto3\"; message A { int32 a = 1; message In { int32 b = 1; } } message B {}";
    let proto = Unfold::new(ValueFormat::Protobuf, proto, Framing::Confluent).unwrap();
    assert_eq!(one(&proto, b"\0\0\0\0\x05\0\x08\x01"), json!({"a": 1}));
    assert_eq!(one(&proto, b"\0\0\0\0\x05\x02\0\x08\x01"), json!({"a": 1}));
    for other in [&b"\0\0\0\0\x05\x02\x02\x08\x01"[..], b"\0\0\0\0\x05\x04\0\0\x08\x01", b"\0\0\0\0\x05"] {
        assert_eq!(one(&proto, other), json!("not the first message of the schema"));
    }
}
