//! The frame that every object of ours starts with: magic, format version, header length, checksum, header.
//!
//! ```text
//! 0..4 magic | 4..6 version | 6..8 zero | 8..12 header length | 12..16 CRC32C of the header | header | payload
//! ```
//! All numbers big-endian. Must not know what the headers mean. Nothing is parsed before its checksum holds.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::error::{Error, Result};
use crate::limits::MAX_HEADER_BYTES;

/// Bytes before the header.
pub const PREFIX_BYTES: usize = 16;

/// What an object is, by its first four bytes, and the newest version of it that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A slot of the journal.
    Commit,
    /// Batches of many partitions.
    Segment,
    /// The manifest as of a slot.
    Checkpoint,
    /// A move of the floor.
    Floor,
    /// A long run of one partition.
    Chunk,
    /// The end of a chunk: a frame inside an object, never an object of its own.
    Footer,
    /// A node of the index over the chunks of a partition.
    Index,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 7] = [
        Shape::Commit,
        Shape::Segment,
        Shape::Checkpoint,
        Shape::Floor,
        Shape::Chunk,
        Shape::Footer,
        Shape::Index,
    ];

    /// The first four bytes.
    pub fn magic(self) -> [u8; 4] {
        match self {
            Shape::Commit => *b"SLcm",
            Shape::Segment => *b"SLsg",
            Shape::Checkpoint => *b"SLcp",
            Shape::Floor => *b"SLfl",
            Shape::Chunk => *b"SLch",
            Shape::Footer => *b"SLft",
            Shape::Index => *b"SLix",
        }
    }

    /// The newest format version that this program reads and the one that it writes.
    pub fn version(self) -> u16 {
        1
    }
}

/// Writes prefix and header. The payload follows as it is.
pub fn encode(shape: Shape, header: &impl Message) -> Bytes {
    let length = header.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
    out.put_slice(&shape.magic());
    out.put_u16(shape.version());
    out.put_u16(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_u32(0);
    // `BytesMut` grows on demand, so that encoding into it cannot run out of room.
    let _ = header.encode(&mut out);
    let crc = crc32c::crc32c(out.get(PREFIX_BYTES..).unwrap_or_default());
    if let Some(at) = out.get_mut(12..16) {
        at.copy_from_slice(&crc.to_be_bytes());
    }
    out.freeze()
}

/// Where the header of an object ends, from its first [`PREFIX_BYTES`] bytes.
pub fn header_end(key: &str, shape: Shape, bytes: &[u8]) -> Result<usize> {
    let prefix: &[u8; PREFIX_BYTES] = bytes.first_chunk().ok_or_else(|| {
        Error::corrupt(key, format!("{} bytes, shorter than any object of ours", bytes.len()))
    })?;
    let [m0, m1, m2, m3, v0, v1, z0, z1, l0, l1, l2, l3, ..] = *prefix;
    if [m0, m1, m2, m3] != shape.magic() {
        return Err(Error::corrupt(key, format!("it does not start as a {shape:?} does")));
    }
    let version = u16::from_be_bytes([v0, v1]);
    if version == 0 || version > shape.version() {
        return Err(Error::Unsupported(
            format!("{key} has format version {version}, this program knows up to {}: upgrade Strandline on this node", shape.version()).into(),
        ));
    }
    if [z0, z1] != [0, 0] {
        return Err(Error::corrupt(key, "its bytes 6 and 7 are zero in every version that there is"));
    }
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX_HEADER_BYTES {
        return Err(Error::corrupt(key, format!("a header of {length} bytes")));
    }
    Ok(PREFIX_BYTES + length)
}

/// Checks the frame and decodes the header; also gives the offset at which the payload begins.
pub fn decode<H: Message + Default>(key: &str, shape: Shape, bytes: &[u8]) -> Result<(H, usize)> {
    let end = header_end(key, shape, bytes)?;
    let header = bytes.get(PREFIX_BYTES..end).ok_or_else(|| {
        Error::corrupt(key, format!("{} bytes, its header alone should have {end}", bytes.len()))
    })?;
    let stored = bytes.get(12..16).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b));
    if stored != Some(crc32c::crc32c(header)) {
        return Err(Error::corrupt(key, "the checksum of its header does not match"));
    }
    let header =
        H::decode(header).map_err(|e| Error::corrupt(key, format!("its header does not decode: {e}")))?;
    Ok((header, end))
}
