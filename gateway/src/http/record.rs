//! A record as JSON, on its way out and on its way in.
//!
//! Must not know requests. Invariant: what comes out is the record exactly, and may be sent in again as it is: bytes that are
//! not UTF-8 are base64, and a field beside them says so.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use strandline_core::record::Record;
use utoipa::ToSchema;

/// One record with its place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Record)]
pub struct RecordJson<'a> {
    topic: &'a str,
    #[schema(minimum = 0)]
    partition: u32,
    #[schema(minimum = 0)]
    offset: i64,
    /// Milliseconds since 1970.
    timestamp: i64,
    #[schema(value_type = Option<String>)]
    key: Option<Text<'a>>,
    /// Only there if `key` is base64 of what is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Encoding>, nullable = false)]
    key_encoding: Option<&'static str>,
    #[schema(value_type = Option<String>)]
    value: Option<Text<'a>>,
    /// Only there if `value` is base64 of what is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Encoding>, nullable = false)]
    value_encoding: Option<&'static str>,
    headers: Vec<HeaderJson<'a>>,
}

/// A header; there may be several of one name, and their order counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Header)]
struct HeaderJson<'a> {
    #[schema(value_type = String)]
    key: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Encoding>, nullable = false)]
    key_encoding: Option<&'static str>,
    #[schema(value_type = Option<String>)]
    value: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Encoding>, nullable = false)]
    value_encoding: Option<&'static str>,
}

/// How a string stands for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// RFC 4648, with padding.
    Base64,
}

const BASE64: &str = "base64";

/// Bytes that serialise as text.
#[derive(Debug, Clone, Copy)]
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn encoding(&self) -> Option<&'static str> {
        std::str::from_utf8(self.0).is_err().then_some(BASE64)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_str(&STANDARD.encode(self.0)),
        }
    }
}

impl<'a> RecordJson<'a> {
    /// A record of this place.
    pub fn new(topic: &'a str, partition: u32, offset: i64, record: &'a Record) -> RecordJson<'a> {
        let text = |bytes: &'a Option<Bytes>| bytes.as_deref().map(Text);
        let (key, value) = (text(&record.key), text(&record.value));
        let headers = record.headers.iter().map(|(key, value)| {
            let (key, value) = (Text(key), text(value));
            let (key_encoding, value_encoding) = (key.encoding(), value.as_ref().and_then(Text::encoding));
            HeaderJson { key, key_encoding, value, value_encoding }
        });
        RecordJson {
            topic,
            partition,
            offset,
            timestamp: record.timestamp,
            key_encoding: key.as_ref().and_then(Text::encoding),
            value_encoding: value.as_ref().and_then(Text::encoding),
            key,
            value,
            headers: headers.collect(),
        }
    }
}

/// A record to append. What was read may be sent as it is: `topic` and `offset` are not looked at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRecord)]
pub(super) struct NewRecord<'a> {
    /// A string stands for its UTF-8 bytes, other JSON for its text; null or nothing: the record has no key.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    key: Option<&'a RawValue>,
    /// How `key` stands for bytes, if it is not the text itself.
    #[serde(default)]
    key_encoding: Option<Encoding>,
    /// As `key`; null or nothing: the record has no value, which deletes its key where the topic is compacted.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    value: Option<&'a RawValue>,
    /// How `value` stands for bytes, if it is not the text itself.
    #[serde(default)]
    value_encoding: Option<Encoding>,
    /// In this order, names may come again.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Vec<NewHeader>>)]
    headers: Option<Vec<NewHeader<'a>>>,
    /// Milliseconds since 1970; nothing: now.
    #[serde(default)]
    #[schema(minimum = 0)]
    timestamp: Option<i64>,
    /// Where it goes; nothing: where its key belongs, or one partition for all such records of the request.
    #[serde(default)]
    #[schema(minimum = 0)]
    partition: Option<u32>,
    #[serde(default, rename = "topic")]
    #[schema(ignore)]
    _topic: IgnoredAny,
    #[serde(default, rename = "offset")]
    #[schema(ignore)]
    _offset: IgnoredAny,
}

/// A header of a record to append.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHeader<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    key: Cow<'a, str>,
    #[serde(default)]
    key_encoding: Option<Encoding>,
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    value: Option<Cow<'a, str>>,
    #[serde(default)]
    value_encoding: Option<Encoding>,
}

/// Bytes that may lie in the body.
type Part<'a> = Cow<'a, [u8]>;

/// A record that is about to be written.
#[derive(Debug, Default)]
pub(super) struct Incoming<'a> {
    pub(super) key: Option<Part<'a>>,
    pub(super) value: Option<Part<'a>>,
    pub(super) headers: Vec<(Part<'a>, Option<Part<'a>>)>,
    pub(super) timestamp: Option<i64>,
    pub(super) partition: Option<u32>,
}

impl<'a> Incoming<'a> {
    /// Reads one [`NewRecord`]. The error says what is wrong.
    pub(super) fn read(json: &'a [u8]) -> Result<Incoming<'a>, String> {
        // To the parser a list is a struct, too, of which the names are left out.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err("a record is a JSON object".to_owned());
        }
        // It is one line, and whoever reads it says which.
        let unread = |error: serde_json::Error| error.to_string().replace(" at line 1 column", " at column");
        let record: NewRecord<'a> = serde_json::from_slice(json).map_err(unread)?;
        let NewRecord { key, key_encoding, value, value_encoding, headers, timestamp, partition, .. } =
            record;
        if timestamp.is_some_and(|at| at < 0) {
            return Err("timestamp: milliseconds since 1970, not a negative number".to_owned());
        }
        let header = |header: NewHeader<'a>| {
            let name =
                bytes_of(header.key, header.key_encoding).map_err(|why| format!("headers.key: {why}"))?;
            let value = header.value.map(|value| bytes_of(value, header.value_encoding)).transpose();
            Ok((name, value.map_err(|why| format!("headers.value: {why}"))?))
        };
        Ok(Incoming {
            key: part(key, key_encoding).map_err(|why| format!("key: {why}"))?,
            value: part(value, value_encoding).map_err(|why| format!("value: {why}"))?,
            headers: headers.into_iter().flatten().map(header).collect::<Result<_, String>>()?,
            timestamp,
            partition,
        })
    }
}

fn part(json: Option<&RawValue>, encoding: Option<Encoding>) -> Result<Option<Part<'_>>, String> {
    let Some(json) = json.map(RawValue::get).filter(|json| *json != "null") else { return Ok(None) };
    match (json.starts_with('"'), encoding) {
        (true, encoding) => {
            let Borrowed(text) = serde_json::from_str(json).map_err(|error| error.to_string())?;
            bytes_of(text, encoding).map(Some)
        }
        (false, None) => Ok(Some(Cow::Borrowed(json.as_bytes()))),
        (false, Some(Encoding::Base64)) => Err("base64 is a string".to_owned()),
    }
}

/// A string that is copied only where it has escapes.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

fn bytes_of(text: Cow<'_, str>, encoding: Option<Encoding>) -> Result<Part<'_>, String> {
    match (encoding, text) {
        (Some(Encoding::Base64), text) => {
            STANDARD.decode(text.as_bytes()).map(Cow::Owned).map_err(|error| format!("no base64: {error}"))
        }
        (None, Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        (None, Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Incoming<'_>, String> {
        Incoming::read(json.as_bytes())
    }

    #[test]
    fn a_record_is_one_json_object_and_comes_in_as_it_went_out() {
        let record = Record {
            offset_delta: 0,
            timestamp: 5,
            key: None,
            value: Some(Bytes::from_static(b"\xff\x00")),
            headers: vec![
                (Bytes::from_static(b"h"), Some(Bytes::from_static(b"v\"\n"))),
                (Bytes::from_static(b"h"), None),
            ],
        };
        let line = serde_json::to_string(&RecordJson::new("t", 1, 7, &record)).unwrap();
        assert_eq!(
            line,
            r#"{"topic":"t","partition":1,"offset":7,"timestamp":5,"key":null,"value":"/wA=","value_encoding":"base64","headers":[{"key":"h","value":"v\"\n"},{"key":"h","value":null}]}"#
        );
        let again = read(&line).unwrap();
        assert_eq!((again.timestamp, again.partition, again.key), (Some(5), Some(1), None));
        assert_eq!(again.value.as_deref(), record.value.as_deref());
        let headers: Vec<_> = again.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        let expected: Vec<_> =
            record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn strings_are_text_and_other_json_is_itself() {
        for (json, key, value) in [
            (r#"{"key":"a\u00e4","value":{"b" : [1, 2.50]}}"#, Some("aä"), Some(r#"{"b" : [1, 2.50]}"#)),
            (r#"{"key":1,"value":true}"#, Some("1"), Some("true")),
            (r#"{"key":"","value":null}"#, Some(""), None),
            ("{}", None, None),
        ] {
            let read = read(json).unwrap();
            assert_eq!(read.key.as_deref(), key.map(str::as_bytes), "{json}");
            assert_eq!(read.value.as_deref(), value.map(str::as_bytes), "{json}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for json in [
            r#"{"vlaue":1}"#,
            r#"{"value":"%","value_encoding":"base64"}"#,
            r#"{"value":1,"value_encoding":"base64"}"#,
            r#"{"value":"a","value_encoding":"hex"}"#,
            r#"{"partition":-1}"#,
            r#"{"timestamp":-1}"#,
            r#"{"headers":[{"value":"no name"}]}"#,
            "7",
            "[]",
            r#"[null, null, null, null, [], 1, 1, "t", 7]"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
