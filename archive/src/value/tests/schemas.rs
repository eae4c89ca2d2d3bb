//! What a schema's text gives: ids that never change, types that Parquet keeps, and errors that say where.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Fields;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriter;

use super::*;

/// Each column's path, id and type, in order.
fn columns(fields: &Fields) -> Vec<(String, u32, DataType)> {
    let mut found = Vec::new();
    for field in fields {
        let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).map_or(0, |id| id.parse().unwrap());
        found.push((field.name().clone(), id, field.data_type().clone()));
        let below = match field.data_type() {
            DataType::Struct(fields) => columns(fields),
            DataType::List(element) => columns(&Fields::from(vec![element.clone()])),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => columns(fields),
                other => panic!("{other}"),
            },
            _ => Vec::new(),
        };
        let under = |(path, id, data_type)| (format!("{}.{path}", field.name()), id, data_type);
        found.extend(below.into_iter().map(under));
    }
    found
}

fn ids(unfold: &Unfold) -> BTreeMap<String, u32> {
    let DataType::Struct(fields) = unfold.data_type() else { panic!() };
    columns(&fields).into_iter().map(|(path, id, _)| (path, id)).collect()
}

#[test]
fn ids_never_change() {
    let schema = r#"{"type": "object", "properties": {
        "a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string"}}}},
        "m": {"type": "object", "additionalProperties": {"type": "number"}}}}"#;
    let found = ids(&unfolder(ValueFormat::Json, schema));
    let found: Vec<(&str, u32)> = found.iter().map(|(path, id)| (path.as_str(), *id)).collect();
    // These numbers are in files: a change would make other columns of them.
    let golden = [
        ("a", 1_712_932_406),
        ("b", 438_896_615),
        ("b.element", 536_281_324),
        ("b.element.c", 1_753_035_542),
        ("m", 1_553_064_578),
        ("m.key", 45_626_938),
        ("m.value", 763_959_374),
    ];
    assert_eq!(found, golden);
}

#[test]
fn equal_columns_have_equal_ids_in_every_language_and_whatever_stands_beside_them() {
    let avro = r#"{"type": "record", "name": "R", "fields": [{"name": "new", "type": "int"},
        {"name": "b", "type": {"type": "array", "items": {"type": "record", "name": "E", "fields": [
            {"name": "c", "type": ["null", "string"]}, {"name": "d", "type": "long"}]}}}, {"name": "a", "type": "int"}]}"#;
    let proto =
        "syntax = \"proto3\"; message R { repeated E b = 4; int32 a = 9; message E { string c = 1; } }";
    let (avro, proto) =
        (ids(&unfolder(ValueFormat::Avro, avro)), ids(&unfolder(ValueFormat::Protobuf, proto)));
    for (path, id) in &proto {
        assert_eq!(avro[path], *id, "{path}");
    }
    let long = ids(&unfolder(ValueFormat::Json, r#"{"properties": {"a": {"type": "integer"}}}"#));
    assert_ne!(long["a"], proto["a"], "another type is another column");
}

#[test]
fn every_column_but_a_maps_key_may_be_null_and_has_an_id() {
    for (format, schema) in
        [(ValueFormat::Json, JSON), (ValueFormat::Avro, AVRO), (ValueFormat::Protobuf, PROTO)]
    {
        let unfold = unfolder(format, schema);
        let DataType::Struct(fields) = unfold.data_type() else { panic!() };
        let columns = columns(&fields);
        assert_eq!(columns.len(), unfold.columns());
        assert!(columns.iter().all(|(_, id, _)| (1_000..(1 << 31) - 1_000).contains(id)));
        assert!(fields.iter().all(|field| field.is_nullable()));
    }
}

#[test]
fn parquet_keeps_the_columns_and_their_ids() {
    let order = avro_bytes(avro_order());
    for (format, schema, value) in [
        (ValueFormat::Json, JSON, br#"{"id": 1, "sizes": {"a": 1}, "others": [{}, null]}"#.to_vec()),
        (ValueFormat::Avro, AVRO, order),
        (ValueFormat::Protobuf, PROTO, vec![8, 7]),
    ] {
        let unfold = unfolder(format, schema);
        let (fields, errors) = unfold.unfold(&[None, Some(value.into()), Some(Bytes::from_static(b"\xff"))]);
        assert_eq!((errors.null_count(), fields.null_count()), (2, 2));
        let batch = batch(fields, errors);
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
        let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        assert_eq!(read, [batch]);
        let columns_of =
            |batch: &RecordBatch| columns(&Fields::from(vec![Arc::new(batch.schema().field(0).clone())]));
        assert_eq!(columns_of(&read[0])[1..].len(), unfold.columns());
    }
}

fn refused(format: ValueFormat, schema: &str) -> String {
    Unfold::new(format, schema, Framing::None).unwrap_err().to_string()
}

#[test]
fn a_schema_that_cannot_work_is_refused_and_says_where() {
    let json = |schema: &str| refused(ValueFormat::Json, schema);
    assert_eq!(
        json(r#"{"properties": {"a": {"type": "array", "items": {"type": "text"}}}}"#),
        "the value schema, at a.element: a type that JSON Schema does not have"
    );
    assert!(json("{").contains("it is not JSON: EOF while parsing an object at line 1 column 1"));
    assert!(json("[]").ends_with("a schema must be an object, true or false"));
    assert!(json(r#"{"type": "string"}"#).ends_with("its top must be of the type object, with properties"));
    assert!(
        json(r#"{"properties": {"a": {"$ref": "http://x/y"}}}"#)
            .contains("at a: the $ref http://x/y is no place")
    );
    assert!(
        json(r#"{"properties": {"a": {"type": "string"}, "A": {"type": "string"}}}"#)
            .contains("two fields a")
    );

    assert_eq!(
        json(r#"{"properties": {"tyxz": {"type": "string"}, "xaibnes": {"type": "string"}}}"#),
        "the fields tyxz and xaibnes of the value schema get the same column id 150811022: rename one of them"
    );

    let avro = |schema: &str| refused(ValueFormat::Avro, schema);
    let field = |schema: &str| {
        avro(&format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "f", "type": {schema}}}]}}"#))
    };
    assert_eq!(avro(&" ".repeat((256 << 10) + 1)), "the value schema is longer than 256 KiB");
    assert!(avro(r#""int""#).ends_with("its top must be a record"));
    assert!(
        field(r#"["null", "R"]"#).ends_with("at f: R contains itself: such a schema has no end of columns")
    );
    assert!(field(r#""S""#).ends_with("at f: S is neither a type of Avro nor defined before it is used"));
    assert!(field(r#"{"type": "map"}"#).ends_with("at f: values is missing"));
    assert!(
        field(r#"{"type": "record", "name": "not a name!"}"#)
            .ends_with("the record not a name! has no fields")
    );

    let proto = |schema: &str| refused(ValueFormat::Protobuf, schema);
    let wrong = proto("syntax = \"proto3\";\nmessage A {\n  Missing m = 1;\n}");
    assert!(wrong.contains("schema.proto:3:3") && wrong.contains("Missing"), "{wrong}");
    assert!(proto("import \"other.proto\"; message A { }").contains("import 'other.proto' not found"));
    assert!(proto("syntax = \"proto3\";").ends_with("it has no message"));
    assert!(proto("syntax = \"proto3\"; message A {}").ends_with("the first message, A, has no fields"));
}

#[test]
fn a_short_schema_cannot_ask_for_many_columns() {
    // Each level names the one below four times: 4^10 columns from ten definitions.
    let mut schema = r#""int""#.to_owned();
    for n in 0..10 {
        let field = |name: &str, schema: &str| format!(r#"{{"name": "{name}", "type": {schema}}}"#);
        let again = if n == 0 { r#""int""#.to_owned() } else { format!(r#""R{}""#, n - 1) };
        let fields = [field("a", &schema), field("b", &again), field("c", &again), field("d", &again)];
        schema = format!(r#"{{"type": "record", "name": "R{n}", "fields": [{}]}}"#, fields.join(","));
    }
    let error = refused(ValueFormat::Avro, &schema);
    assert!(error.contains("more than 1000 columns"), "{error}");

    let wide = |count: usize| {
        let fields: Vec<String> = (0..count).map(|n| format!(r#""f{n}": {{"type": "string"}}"#)).collect();
        format!(r#"{{"properties": {{{}}}}}"#, fields.join(","))
    };
    assert_eq!(unfolder(ValueFormat::Json, &wide(1_000)).columns(), 1_000);
    assert!(refused(ValueFormat::Json, &wide(1_001)).contains("more than 1000 columns"));

    let deep = |levels: usize| {
        let open = r#"{"type": "array", "items": "#.repeat(levels);
        format!(r#"{{"properties": {{"a": {open}{{"type": "string"}}{}}}}}"#, "}".repeat(levels))
    };
    assert_eq!(unfolder(ValueFormat::Json, &deep(15)).columns(), 16);
    assert!(refused(ValueFormat::Json, &deep(16)).contains("deeper than 16 levels"));
    let nested = |levels: usize| format!("{}{}", "message A { ".repeat(levels), "}".repeat(levels));
    assert!(refused(ValueFormat::Protobuf, &nested(20_000)).contains("more than 64 brackets"));
    let hidden = format!("{}{}", "message A { /*}*/ ".repeat(12_000), "}".repeat(12_000));
    assert!(refused(ValueFormat::Protobuf, &hidden).contains("more than 64 brackets"));
}
