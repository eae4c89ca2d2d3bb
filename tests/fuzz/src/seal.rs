//! Makes damaged bytes look whole: lengths and checksums set right, so that what lies behind them is reached.
//!
//! Must not know what headers and records mean.

use arbitrary::Unstructured;
use strandline_core::object::{PREFIX_BYTES, Shape};
use strandline_core::record::BATCH_HEADER_BYTES;

use crate::trees::{self, Field};

/// Bytes behind a header that was made up.
const PAYLOAD_BYTES: usize = 256;

/// The bytes as an object of ours: magic and version set, the header as long as it says or as there are bytes, its
/// checksum right.
pub(crate) fn object(shape: Shape, bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    sealed.resize(sealed.len().max(PREFIX_BYTES), 0);
    let claimed = u32::from_be_bytes(sealed[8..12].try_into().unwrap()) as usize;
    let length = claimed.min(sealed.len() - PREFIX_BYTES);
    let crc = crc32c::crc32c(&sealed[PREFIX_BYTES..PREFIX_BYTES + length]);
    sealed[..4].copy_from_slice(&shape.magic());
    sealed[4..6].copy_from_slice(&shape.version().to_be_bytes());
    sealed[6..8].fill(0);
    sealed[8..12].copy_from_slice(&(length as u32).to_be_bytes());
    sealed[12..16].copy_from_slice(&crc.to_be_bytes());
    sealed
}

/// The same, and all of it is header.
pub(crate) fn frame(shape: Shape, bytes: &[u8]) -> Vec<u8> {
    let mut whole = bytes.to_vec();
    whole.resize(whole.len().max(PREFIX_BYTES), 0);
    let length = (whole.len() - PREFIX_BYTES) as u32;
    whole[8..12].copy_from_slice(&length.to_be_bytes());
    object(shape, &whole)
}

/// An object whose header the bytes choose, with some payload behind it. `None` if they look like an object themselves.
pub(crate) fn tree(shape: Shape, fields: &[Field], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = tree_frame(shape, fields, bytes)?;
    whole.resize(whole.len() + PAYLOAD_BYTES, 0);
    Some(whole)
}

/// The same without payload.
pub(crate) fn tree_frame(shape: Shape, fields: &[Field], bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.starts_with(b"SL") {
        return None;
    }
    let header = trees::message(&mut Unstructured::new(bytes), fields).ok()?;
    Some(frame(shape, &[vec![0; PREFIX_BYTES], header].concat()))
}

/// The bytes as one record batch: length, magic and checksum right. `None` if they are too few.
pub(crate) fn batch(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = bytes.get(..BATCH_HEADER_BYTES).map(|_| bytes.to_vec())?;
    let length = i32::try_from(sealed.len() - 12).ok()?;
    sealed[8..12].copy_from_slice(&length.to_be_bytes());
    sealed[16] = 2;
    let crc = crc32c::crc32c(&sealed[21..]);
    sealed[17..21].copy_from_slice(&crc.to_be_bytes());
    Some(sealed)
}
