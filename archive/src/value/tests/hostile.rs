//! Whatever comes, as a value or as a schema: a row comes out, or an error, and nothing panics.

use super::*;

const SEED: u64 = 0x5712_a4d1;

fn sources() -> Vec<(ValueFormat, &'static str, Vec<u8>)> {
    let json = r#"{"id": 1, "name": null, "at": "2026-01-02T03:04:05Z", "tags": ["a"], "sizes": {"s": 1}, "home": {"next": {}}}"#;
    let proto = [field(13, &field(1, b"x")), field(15, &field(1, b"k")), field(18, &field(1, b""))].concat();
    vec![
        (ValueFormat::Json, JSON, json.into()),
        (ValueFormat::Avro, AVRO, avro_bytes(avro_order())),
        (ValueFormat::Protobuf, PROTO, proto),
    ]
}

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 => bytes.insert(at, random.u8(..)),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                let (from, to) = (random.usize(0..=at), at);
                let piece = bytes[from..to].to_vec();
                let into = random.usize(0..=bytes.len());
                bytes.splice(into..into, piece);
            }
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn any_bytes_give_a_row() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    for framing in [Framing::None, Framing::Confluent] {
        for (format, schema, value) in sources() {
            let unfold = Unfold::new(format, schema, framing).unwrap();
            let mut values = Vec::new();
            for _ in 0..1_000 {
                let length = random.usize(0..80);
                let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
                values.push(Some(Bytes::from(noise)));
                let mut near = value.clone();
                mutate(&mut random, &mut near);
                if framing == Framing::Confluent {
                    let message = (format == ValueFormat::Protobuf).then_some(0);
                    near.splice(0..0, [0, 0, 0, 0, 1].into_iter().chain(message));
                }
                values.push(Some(Bytes::from(near)));
            }
            let (fields, errors) = unfold.unfold(&values);
            assert_eq!((fields.len(), errors.len()), (values.len(), values.len()));
            for row in 0..values.len() {
                assert_ne!(fields.is_null(row), errors.is_null(row), "row {row}");
                assert!(errors.value(row).len() <= 200);
            }
            assert!(fields.null_count() > 0 && fields.null_count() < values.len(), "{format:?}");
        }
    }
}

#[test]
fn any_text_gives_a_schema_or_an_error() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    for (format, schema, value) in sources() {
        let mut understood = 0;
        for _ in 0..600 {
            let mut text = schema.as_bytes().to_vec();
            mutate(&mut random, &mut text);
            match Unfold::new(format, &String::from_utf8_lossy(&text), Framing::None) {
                Ok(unfold) => {
                    understood += 1;
                    let (fields, _) = unfold.unfold(&[Some(Bytes::from(value.clone()))]);
                    assert_eq!(fields.len(), 1);
                }
                Err(error) => assert!(error.to_string().len() <= 1_000),
            }
        }
        assert!(understood > 0, "{format:?}");
    }
}
