//! Bytes in several pieces that are never joined: a segment as its batches arrived, a block as the store sent it.
//!
//! Must not know what the bytes mean. Every range is checked; what lies outside is `None`, never a panic.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// A cheaply cloned sequence of byte slices that reads as one.
#[derive(Debug, Clone, Default)]
pub struct Rope {
    pieces: Arc<[Bytes]>,
    /// `ends[i]`: bytes up to and with piece `i`.
    ends: Arc<[usize]>,
}

impl Rope {
    /// A rope of these pieces; empty ones are left out.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Rope {
        let pieces: Arc<[Bytes]> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let mut end = 0;
        let ends = pieces
            .iter()
            .map(|piece| {
                end += piece.len();
                end
            })
            .collect();
        Rope { pieces, ends }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Appends the pieces of `range` to `into`, without copying bytes. `None` if the range is not all there.
    pub fn slice_into(&self, range: Range<usize>, into: &mut Vec<Bytes>) -> Option<()> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let mut at = self.ends.partition_point(|end| *end <= range.start);
        let mut from = range.start;
        while from < range.end {
            let piece = self.pieces.get(at)?;
            let start = self.ends.get(at)? - piece.len();
            let upto = range.end.min(start + piece.len());
            into.push(piece.slice(from - start..upto - start));
            from = upto;
            at += 1;
        }
        Some(())
    }

    /// The part of the rope in `range`, without copying. `None` if the range is not all there.
    pub fn slice(&self, range: Range<usize>) -> Option<Rope> {
        let mut pieces = Vec::new();
        self.slice_into(range, &mut pieces)?;
        Some(Rope::new(pieces))
    }

    /// Copies `N` bytes from `at`. `None` if they are not all there.
    pub fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let end = at.checked_add(N)?;
        if end > self.len() {
            return None;
        }
        let mut out = [0; N];
        let mut index = self.ends.partition_point(|end| *end <= at);
        let mut done = 0;
        while done < N {
            let piece = self.pieces.get(index)?;
            let start = (at + done) - (self.ends.get(index)? - piece.len());
            let part = piece.get(start..)?;
            let n = part.len().min(N - done);
            out.get_mut(done..done + n)?.copy_from_slice(part.get(..n)?);
            done += n;
            index += 1;
        }
        Some(out)
    }

    /// One contiguous slice; copies only when there are several pieces.
    pub fn to_bytes(&self) -> Bytes {
        match &*self.pieces {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many
                .iter()
                .fold(Vec::with_capacity(self.len()), |mut all, piece| {
                    all.extend_from_slice(piece);
                    all
                })
                .into(),
        }
    }

    /// CRC32C over all pieces.
    pub fn crc32c(&self) -> u32 {
        self.pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece))
    }
}

/// The same bytes, however they are cut.
impl PartialEq for Rope {
    fn eq(&self, other: &Rope) -> bool {
        self.len() == other.len() && self.pieces.iter().flatten().eq(other.pieces.iter().flatten())
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Rope {
        Rope::new([bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every range of every way of cutting reads the same as the joined bytes.
    #[test]
    fn reads_as_one_however_it_is_cut() {
        let whole: Vec<u8> = (0..40).collect();
        for cut in 1..whole.len() {
            let rope = Rope::new(whole.chunks(cut).map(Bytes::copy_from_slice));
            assert_eq!(rope.to_bytes(), whole);
            assert_eq!(rope.crc32c(), crc32c::crc32c(&whole));
            for start in 0..=whole.len() {
                for end in start..=whole.len() {
                    assert_eq!(
                        rope.slice(start..end).map(|r| r.to_bytes()).as_deref(),
                        whole.get(start..end)
                    );
                }
                assert_eq!(rope.array::<7>(start).as_ref().map(|a| &a[..]), whole.get(start..start + 7));
            }
            assert!(rope.slice(3..41).is_none() && rope.array::<2>(usize::MAX).is_none());
        }
    }
}
