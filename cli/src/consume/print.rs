//! From record batches to lines: the value alone, key and value, or one JSON object.
//!
//! Must not know where batches come from. Runs on a thread of its own. A JSON line holds the record exactly: bytes that
//! are not UTF-8 are base64, and a field beside them says so.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use strandline_core::record::{Record, records};
use tokio::sync::mpsc::Receiver;

use super::Piece;
use crate::args::ConsumeArgs;
use crate::output::Format;
use crate::progress::Progress;
use crate::units::show_count;

/// Written at once.
const BUFFER_BYTES: usize = 256 * 1_024;

/// How printing ended.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) records: u64,
    /// As many records as were asked for: more would not be printed.
    pub(super) complete: bool,
}

pub(super) struct Printer {
    topic: String,
    format: Format,
    key_separator: Option<String>,
    left: u64,
    progress: Progress,
}

impl Printer {
    pub(super) fn new(args: &ConsumeArgs, progress: Progress) -> Printer {
        Printer {
            topic: args.topic.clone(),
            format: args.format,
            key_separator: args.key_separator.clone(),
            left: args.max_records.unwrap_or(u64::MAX),
            progress,
        }
    }

    /// Prints until there are no more rounds or enough records. Each round is flushed: a follower sees it at once.
    pub(super) fn run(mut self, mut rounds: Receiver<Vec<Piece>>) -> Result<Printed> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        let mut printed = 0;
        while self.left > 0 {
            let Some(round) = rounds.blocking_recv() else {
                return Ok(Printed { records: printed, complete: false });
            };
            for piece in round {
                let count = self.piece(&piece, &mut out)?;
                printed += count;
                self.progress.add(count);
                let rate = printed as f64 / self.progress.seconds().max(1e-6);
                self.progress.message(|| format!("{}/s", show_count(rate as u64)));
            }
            out.flush().context("cannot write to standard output")?;
        }
        Ok(Printed { records: printed, complete: true })
    }

    fn piece(&mut self, piece: &Piece, out: &mut impl Write) -> Result<u64> {
        let mut printed = 0;
        for batch in piece.batches.iter().filter(|batch| !batch.header.control()) {
            let base = batch.header.base_offset;
            let place =
                || format!("the records at offset {base} of partition {} are damaged", piece.partition);
            let found = records(&batch.bytes()).with_context(place)?;
            for record in found {
                let offset = base.saturating_add(i64::from(record.offset_delta));
                if !piece.offsets.contains(&offset) {
                    continue;
                }
                if self.left == 0 {
                    return Ok(printed);
                }
                self.record(piece.partition, offset, &record, out)
                    .context("cannot write to standard output")?;
                self.left -= 1;
                printed += 1;
            }
        }
        Ok(printed)
    }

    fn record(&self, partition: u32, offset: i64, record: &Record, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Json => {
                let line = Line::new(&self.topic, partition, offset, record);
                serde_json::to_writer(&mut *out, &line)?;
            }
            Format::Text => {
                if let Some(separator) = &self.key_separator {
                    out.write_all(record.key.as_deref().unwrap_or_default())?;
                    out.write_all(separator.as_bytes())?;
                }
                out.write_all(record.value.as_deref().unwrap_or_default())?;
            }
        }
        out.write_all(b"\n")
    }
}

/// One record as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: u32,
    offset: i64,
    timestamp: i64,
    key: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
    value: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<&'static str>,
    headers: Vec<HeaderLine>,
}

/// A header; there may be several of one name, and their order counts.
#[derive(Debug, Serialize)]
struct HeaderLine {
    key: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
    value: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<&'static str>,
}

/// Bytes that serialise as text.
#[derive(Debug)]
struct Text(Bytes);

impl Text {
    fn encoding(&self) -> Option<&'static str> {
        std::str::from_utf8(&self.0).is_err().then_some("base64")
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_str(&STANDARD.encode(&self.0)),
        }
    }
}

impl Line<'_> {
    fn new<'a>(topic: &'a str, partition: u32, offset: i64, record: &Record) -> Line<'a> {
        let (key, value) = (record.key.clone().map(Text), record.value.clone().map(Text));
        let headers = record.headers.iter().map(|(key, value)| {
            let (key, value) = (Text(key.clone()), value.clone().map(Text));
            let (key_encoding, value_encoding) = (key.encoding(), value.as_ref().and_then(Text::encoding));
            HeaderLine { key, key_encoding, value, value_encoding }
        });
        Line {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_json_object() {
        let record = Record {
            offset_delta: 0,
            timestamp: 5,
            key: None,
            value: Some(Bytes::from_static(b"\xff\x00")),
            headers: vec![
                (Bytes::from_static(b"h"), Some(Bytes::from_static(b"v"))),
                (Bytes::from_static(b"h"), None),
            ],
        };
        let line = serde_json::to_string(&Line::new("t", 1, 7, &record)).unwrap();
        assert_eq!(
            line,
            r#"{"topic":"t","partition":1,"offset":7,"timestamp":5,"key":null,"value":"/wA=","value_encoding":"base64","headers":[{"key":"h","value":"v"},{"key":"h","value":null}]}"#
        );
    }
}
