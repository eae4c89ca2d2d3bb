//! From record batches to lines: the value alone, key and value, or one JSON object.
//!
//! Must not know where batches come from. Runs on a thread of its own. A JSON line holds the record exactly: bytes that
//! are not UTF-8 are base64, and a field beside them says so.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use strandline_core::record::{Record, records};
use strandline_gateway::RecordJson;
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
                let line = RecordJson::new(&self.topic, partition, offset, record);
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
