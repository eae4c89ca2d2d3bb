//! Compression codecs of Kafka. Reading is bounded, so that a small batch cannot become a large allocation.
//!
//! Must not know records. Producers' bytes are never decompressed on the way in.

use std::io::{Cursor, Read, Write};

use super::BadBatch;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// Raw, or framed as snappy-java does.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// The most that one batch may unfold to.
const MAX_UNFOLDED_BYTES: usize = 256 * 1024 * 1024;
/// snappy-java's stream header: magic, version, compatible version.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// What snappy-java folds at once.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

impl Codec {
    /// The codec in the attributes of a batch.
    pub fn of(attributes: i16) -> Result<Codec, BadBatch> {
        match attributes & 0x07 {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(BadBatch::Codec(other as u8)),
        }
    }

    /// Its bits in the attributes of a batch.
    pub(super) fn bits(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// Folds `bytes`, as Kafka's clients read them.
    pub(super) fn fold(self, bytes: &[u8]) -> Result<Vec<u8>, BadBatch> {
        match self {
            Codec::None => Ok(bytes.to_vec()),
            Codec::Gzip => {
                let mut folding = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                folding.write_all(bytes).and_then(|()| folding.finish()).map_err(|e| bad(&e))
            }
            Codec::Snappy => fold_snappy(bytes),
            Codec::Lz4 => {
                let mut folding = lz4_flex::frame::FrameEncoder::new(Vec::new());
                folding.write_all(bytes).map_err(|e| bad(&e))?;
                folding.finish().map_err(|e| bad(&e))
            }
            Codec::Zstd => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                Ok(ruzstd::encoding::compress_to_vec(bytes, level))
            }
        }
    }

    /// Unfolds `bytes`, to at most 256 MiB.
    pub fn unfold(self, bytes: &[u8]) -> Result<Vec<u8>, BadBatch> {
        self.unfold_within(bytes, MAX_UNFOLDED_BYTES)
    }

    /// Unfolds `bytes`; more than `most_bytes` of them is an error.
    pub fn unfold_within(self, bytes: &[u8], most_bytes: usize) -> Result<Vec<u8>, BadBatch> {
        match self {
            Codec::None => Ok(bytes.to_vec()),
            Codec::Snappy => unfold_snappy(bytes, most_bytes),
            codec => read_bounded(codec.unfolding(bytes)?, most_bytes),
        }
    }

    /// Unfolds `bytes` as they are read, up to 256 MiB and no further. Keeps no more than the codec's own window of them,
    /// but for Snappy, which has none: there everything is held, at most 64 times the bytes.
    pub(super) fn unfolding(self, bytes: &[u8]) -> Result<Box<dyn Read + '_>, BadBatch> {
        let reader: Box<dyn Read + '_> = match self {
            Codec::None => Box::new(bytes),
            Codec::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            Codec::Snappy => Box::new(Cursor::new(unfold_snappy(bytes, MAX_UNFOLDED_BYTES)?)),
            Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(bytes)),
            Codec::Zstd => Box::new(ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|e| bad(&e))?),
        };
        Ok(Box::new(reader.take(MAX_UNFOLDED_BYTES as u64)))
    }
}

fn read_bounded(reader: impl Read, most: usize) -> Result<Vec<u8>, BadBatch> {
    let mut out = Vec::new();
    let read = reader.take(most as u64 + 1).read_to_end(&mut out).map_err(|e| bad(&e))?;
    if read > most {
        return Err(too_large());
    }
    Ok(out)
}

fn unfold_snappy(bytes: &[u8], most: usize) -> Result<Vec<u8>, BadBatch> {
    if !bytes.starts_with(XERIAL) {
        return unfold_raw_snappy(bytes, most);
    }
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).unwrap_or_default();
    let mut out = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let block = tail
            .get(..u32::from_be_bytes(*length) as usize)
            .ok_or_else(|| BadBatch::Records("a snappy block is cut off".into()))?;
        out.extend(unfold_raw_snappy(block, most - out.len())?);
        rest = tail.get(block.len()..).unwrap_or_default();
    }
    Ok(out)
}

/// Framed as snappy-java does, which all clients read.
fn fold_snappy(bytes: &[u8]) -> Result<Vec<u8>, BadBatch> {
    let mut out = XERIAL.to_vec();
    for version in [1_u32, 1] {
        out.extend(version.to_be_bytes());
    }
    for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let folded = snap::raw::Encoder::new().compress_vec(block).map_err(|e| bad(&e))?;
        out.extend((folded.len() as u32).to_be_bytes());
        out.extend(folded);
    }
    Ok(out)
}

fn unfold_raw_snappy(bytes: &[u8], most: usize) -> Result<Vec<u8>, BadBatch> {
    let length = snap::raw::decompress_len(bytes).map_err(|e| bad(&e))?;
    // Snappy cannot shrink by more than about 1:64; a larger claim is a lie, and would be allocated at once.
    if length > most || length > bytes.len().saturating_mul(64).saturating_add(64) {
        return Err(too_large());
    }
    snap::raw::Decoder::new().decompress_vec(bytes).map_err(|e| bad(&e))
}

fn bad(error: &dyn std::fmt::Display) -> BadBatch {
    BadBatch::Records(format!("the records cannot be unfolded or folded: {error}"))
}

fn too_large() -> BadBatch {
    BadBatch::Records("the records decompress to more than a batch may hold".into())
}
