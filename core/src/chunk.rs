//! One object of the compactor: a long run of one partition, and in its footer the places from which a lookup may begin.
//!
//! Must not know the manifest, nor when chunks are made. A chunk can be read from its key and its bytes alone, and equal
//! inputs give equal bytes: names are derived from inputs, so that a cloned process can only write the same object again.
//!
//! ```text
//! header frame | batches back to back, with their real base offsets | footer frame | footer length | magic
//! ```
//! The last two are four bytes each, big-endian: whoever has only the object finds the footer from its end.

pub(crate) mod columns;

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use ulid::Ulid;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::object::{self, Shape};
use crate::paths;
use crate::record::BatchHeader;

use columns::{AbortedWire, Extent, PositionsWire};

/// Bytes of the trailer, the last ones of the object.
pub const TRAILER_BYTES: usize = 8;
const TRAILER_MAGIC: [u8; 4] = *b"SLtr";
/// What a Parquet file begins with is no part of any row group.
const PARQUET_MAGIC_BYTES: u64 = 4;
/// The largest timestamp of a run without batches, as Kafka has it.
const NO_TIMESTAMP: i64 = -1;

/// How the records lie in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Kafka's record batches, back to back.
    Batches,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// How keys of such chunks end.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Batches => "batches",
            Format::Parquet => "parquet",
        }
    }

    fn from_extension(extension: &str) -> Option<Format> {
        [Format::Batches, Format::Parquet].into_iter().find(|format| format.extension() == extension)
    }

    pub(crate) fn to_wire(self) -> u32 {
        match self {
            Format::Batches => 0,
            Format::Parquet => 1,
        }
    }

    pub(crate) fn from_wire(wire: u32) -> Option<Format> {
        [Format::Batches, Format::Parquet].into_iter().find(|format| format.to_wire() == wire)
    }
}

/// Names a chunk, and all that its key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The first offset that it stands for, whether or not a record has it.
    pub base_offset: i64,
    /// Its name among those that begin there.
    pub id: Ulid,
    /// How its records lie in it.
    pub format: Format,
}

impl ChunkId {
    /// Its key in the bucket.
    pub fn key(&self) -> String {
        paths::chunk(self.topic, self.partition, self.base_offset, self.id, self.format.extension())
    }

    /// The chunk of a key; `None` if no chunk has this key.
    pub fn from_key(key: &str) -> Option<ChunkId> {
        let (topic, partition, base_offset, id, extension) = paths::chunk_parts(key)?;
        Some(ChunkId { topic, partition, base_offset, id, format: Format::from_extension(extension)? })
    }

    fn header(&self) -> Bytes {
        let header = HeaderWire {
            topic: Bytes::copy_from_slice(self.topic.as_bytes()),
            partition: self.partition,
            base_offset: self.base_offset,
            id: Bytes::copy_from_slice(&self.id.to_bytes()),
            format: self.format.to_wire(),
        };
        object::encode(Shape::Chunk, &header)
    }

    /// Where the run of the chunk begins, in bytes from the start of the object.
    pub fn run_at(&self) -> u64 {
        match self.format {
            Format::Batches => self.header().len() as u64,
            Format::Parquet => PARQUET_MAGIC_BYTES,
        }
    }
}

/// A batch border inside a chunk, from which a lookup may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Base offset of the batch there.
    pub offset: i64,
    /// Bytes from the start of the object.
    pub at: u64,
    /// Largest timestamp of the batches from here to the next position, milliseconds.
    pub max_timestamp: i64,
    /// CRC32C of these batches.
    pub crc: u32,
}

/// A transaction that was aborted and has offsets in the chunk; may begin before it and end behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedSpan {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: i64,
    /// Its last offset. No two transactions of a partition have the same.
    pub last_offset: i64,
}

/// What the footer says of the run before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// One past the last offset that the chunk stands for, whether or not a record has it.
    pub end_offset: i64,
    /// Of the run.
    pub bytes: u64,
    /// In the run.
    pub records: u64,
    /// Largest of the run, milliseconds; -1 if it has no batches.
    pub max_timestamp: i64,
    /// In order. The first is the start of the run; none only if there are no batches.
    pub positions: Vec<Position>,
    /// By their last offsets.
    pub aborted: Vec<AbortedSpan>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderWire {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(int64, tag = "3")]
    base_offset: i64,
    #[prost(bytes = "bytes", tag = "4")]
    id: Bytes,
    #[prost(uint32, tag = "5")]
    format: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FooterWire {
    /// Repeats the header: a footer of another chunk is noticed.
    #[prost(int64, tag = "1")]
    base_offset: i64,
    #[prost(int64, tag = "2")]
    end_offset: i64,
    #[prost(uint64, tag = "3")]
    bytes: u64,
    #[prost(uint64, tag = "4")]
    records: u64,
    #[prost(sint64, tag = "5")]
    max_timestamp: i64,
    #[prost(message, required, tag = "6")]
    positions: PositionsWire,
    #[prost(message, required, tag = "7")]
    aborted: AbortedWire,
}

impl Footer {
    fn extent(&self, chunk: &ChunkId) -> Extent {
        Extent {
            format: chunk.format,
            base_offset: chunk.base_offset,
            end_offset: self.end_offset,
            at: chunk.run_at(),
            bytes: self.bytes,
            max_timestamp: self.max_timestamp,
        }
    }

    fn holds(&self, chunk: &ChunkId) -> bool {
        let extent = self.extent(chunk);
        let offsets = self.end_offset.checked_sub(chunk.base_offset).and_then(|n| u64::try_from(n).ok());
        let empty = self.bytes == 0 && self.records > 0;
        extent.holds(&self.positions, &self.aborted)
            && !empty
            && offsets.is_some_and(|most| self.records <= most)
    }

    /// The footer's frame and the trailer.
    fn encode(&self, chunk: &ChunkId) -> Bytes {
        let extent = self.extent(chunk);
        let wire = FooterWire {
            base_offset: chunk.base_offset,
            end_offset: self.end_offset,
            bytes: self.bytes,
            records: self.records,
            max_timestamp: self.max_timestamp,
            positions: PositionsWire::new(&extent, &self.positions, true),
            aborted: AbortedWire::new(&extent, &self.aborted),
        };
        let frame = object::encode(Shape::Footer, &wire);
        let mut out = BytesMut::with_capacity(frame.len() + TRAILER_BYTES);
        out.put_slice(&frame);
        out.put_u32(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        out.put_slice(&TRAILER_MAGIC);
        out.freeze()
    }
}

/// Lays out a chunk of batches: what comes back is to be written in order, with the batches in between. Does no I/O.
#[derive(Debug)]
pub struct Writer {
    chunk: ChunkId,
    block_bytes: u64,
    /// Bytes from the start of the object: header and batches so far.
    at: u64,
    run_at: u64,
    /// One past the last offset of the batches so far.
    next_offset: i64,
    records: u64,
    positions: Vec<Position>,
}

impl Writer {
    /// Begins a chunk; also gives its first bytes. There is a position every `block_bytes`, or at the next border of a batch.
    pub fn new(chunk: ChunkId, block_bytes: u64) -> (Writer, Bytes) {
        let header = chunk.header();
        let run_at = header.len() as u64;
        let (next_offset, positions) = (chunk.base_offset, Vec::new());
        (Writer { chunk, block_bytes, at: run_at, run_at, next_offset, records: 0, positions }, header)
    }

    /// Bytes of the batches so far.
    pub fn bytes(&self) -> u64 {
        self.at - self.run_at
    }

    /// Accounts for a batch that is written next. Its real base offset stands in its header and in `pieces`, its bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the two contradict each other or the batches are out of order: such a chunk must not be finished.
    pub fn push(&mut self, batch: &BatchHeader, pieces: &[Bytes]) -> Result<()> {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let stamped = pieces.iter().flatten().take(8).eq(batch.base_offset.to_be_bytes().iter());
        let end = batch.base_offset.checked_add(i64::from(batch.offsets));
        let end = end.filter(|_| stamped && bytes == batch.bytes && batch.base_offset >= self.next_offset);
        let end = end.ok_or_else(|| self.refused("a batch is not what its header says, or out of order"))?;
        let whole = self.positions.last().is_none_or(|block| self.at - block.at >= self.block_bytes);
        if whole {
            let (offset, max_timestamp) = (batch.base_offset, batch.max_timestamp);
            self.positions.push(Position { offset, at: self.at, max_timestamp, crc: 0 });
        }
        if let Some(block) = self.positions.last_mut() {
            block.crc = pieces.iter().fold(block.crc, |crc, piece| crc32c::crc32c_append(crc, piece));
            block.max_timestamp = block.max_timestamp.max(batch.max_timestamp);
        }
        self.at += bytes as u64;
        self.next_offset = end;
        self.records += u64::from(batch.records);
        Ok(())
    }

    /// Ends the chunk: what its footer says, and its last bytes. `aborted` in any order; `end_offset` may lie behind the last
    /// batch, where compaction left nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if nobody could read the footer: the end lies before the batches, or an aborted transaction outside.
    pub fn finish(self, mut aborted: Vec<AbortedSpan>, end_offset: i64) -> Result<(Footer, Bytes)> {
        aborted.sort_unstable_by_key(|span| span.last_offset);
        let max_timestamp = self.positions.iter().map(|block| block.max_timestamp).max();
        let footer = Footer {
            end_offset,
            bytes: self.bytes(),
            records: self.records,
            max_timestamp: max_timestamp.unwrap_or(NO_TIMESTAMP),
            positions: self.positions,
            aborted,
        };
        if end_offset < self.next_offset || !footer.holds(&self.chunk) {
            let key = self.chunk.key();
            return Err(Error::Invalid(format!("{key} cannot be written: its footer contradicts it").into()));
        }
        let bytes = footer.encode(&self.chunk);
        Ok((footer, bytes))
    }

    fn refused(&self, why: &str) -> Error {
        Error::Invalid(format!("{} cannot be written: {why}", self.chunk.key()).into())
    }
}

/// Reads the header of a chunk from its first bytes; also gives where its run begins.
pub fn read_header(key: &str, bytes: &[u8]) -> Result<(ChunkId, u64)> {
    let (wire, run_at): (HeaderWire, usize) = object::decode(key, Shape::Chunk, bytes)?;
    let chunk = chunk_of(key)?;
    let same = wire.topic.as_ref() == chunk.topic.as_bytes()
        && wire.partition == chunk.partition
        && wire.base_offset == chunk.base_offset
        && wire.id.as_ref() == chunk.id.to_bytes()
        && wire.format == chunk.format.to_wire();
    if !same {
        return Err(Error::corrupt(key, "its header names another chunk than its key"));
    }
    Ok((chunk, run_at as u64))
}

/// Reads the footer of a chunk of batches from all of the bytes behind its run.
pub fn read_footer(key: &str, tail: &[u8]) -> Result<Footer> {
    let chunk = chunk_of(key)?;
    let range = footer_range(key, tail.len() as u64, tail)?;
    let frame = tail.get(..tail.len() - TRAILER_BYTES).filter(|_| range.start == 0);
    let frame = frame.ok_or_else(|| Error::corrupt(key, "its footer is not where its run ends"))?;
    let (wire, end): (FooterWire, usize) = object::decode(key, Shape::Footer, frame)?;
    let contradiction = || Error::corrupt(key, "the fields of its footer contradict each other");
    if end != frame.len() || wire.base_offset != chunk.base_offset {
        return Err(contradiction());
    }
    let mut footer = Footer {
        end_offset: wire.end_offset,
        bytes: wire.bytes,
        records: wire.records,
        max_timestamp: wire.max_timestamp,
        positions: Vec::new(),
        aborted: Vec::new(),
    };
    let extent = footer.extent(&chunk);
    footer.positions = wire.positions.positions(&extent, true).ok_or_else(contradiction)?;
    footer.aborted = wire.aborted.spans(&extent).ok_or_else(contradiction)?;
    if !footer.holds(&chunk) {
        return Err(contradiction());
    }
    Ok(footer)
}

/// Where the footer of an object of `size` bytes lies, trailer left out, from its last bytes, [`TRAILER_BYTES`] or more.
pub fn footer_range(key: &str, size: u64, end: &[u8]) -> Result<Range<u64>> {
    let trailer = end.last_chunk::<TRAILER_BYTES>();
    let trailer = trailer.ok_or_else(|| Error::corrupt(key, "it is shorter than the trailer of a chunk"))?;
    let [l0, l1, l2, l3, magic @ ..] = *trailer;
    if magic != TRAILER_MAGIC {
        return Err(Error::corrupt(key, "it does not end as a chunk does"));
    }
    let upto = size.checked_sub(TRAILER_BYTES as u64);
    let range =
        upto.and_then(|upto| Some(upto.checked_sub(u64::from(u32::from_be_bytes([l0, l1, l2, l3])))?..upto));
    range.ok_or_else(|| Error::corrupt(key, "its footer is longer than itself"))
}

fn chunk_of(key: &str) -> Result<ChunkId> {
    ChunkId::from_key(key).ok_or_else(|| Error::corrupt(key, "no chunk has this key"))
}

#[cfg(test)]
mod tests;
