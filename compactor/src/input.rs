//! Reading what is to be written anew: the batches of extents, in order, each of them checked.
//!
//! Must not know what becomes of them. Invariants: what is damaged is never passed on; at most [`read_ahead_bytes`] are held,
//! or one batch if it is larger; the offsets of the batches of an extent are exactly the extent's.
//!
//! [`read_ahead_bytes`]: crate::plan::Policy::read_ahead_bytes

use std::ops::Range;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use strandline_archive::Layout;
use strandline_core::chunk::{ChunkId, Format};
use strandline_core::limits::MIB;
use strandline_core::manifest::{Extent, Journal, Marker, ObjectId};
use strandline_core::mutation::{self, Mutation};
use strandline_core::record::{self, BatchHeader};
use strandline_core::rope::Rope;
use strandline_core::{Error, Result};

use crate::means::Means;
use crate::metrics;
use crate::pace::Pace;

/// What is read at once of a long extent.
const WINDOW_BYTES: u64 = 8 * MIB as u64;
/// The most that is read behind the row groups of a Parquet file.
const MOST_FOOTER_BYTES: u64 = 64 * MIB as u64;
/// Reads side by side.
const READS_AT_ONCE: usize = 16;

/// One batch, and where its extent says that it stands.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    /// Of its first record.
    pub(crate) base_offset: i64,
    rope: Rope,
    at: usize,
}

impl Batch {
    /// Its records, unfolded. `None`: they cannot be read; nobody checks compressed ones on their way in.
    pub(crate) fn records(&self) -> Option<Vec<record::Record>> {
        let bytes = self.rope.slice(self.at..self.at + self.header.bytes).unwrap_or_default().to_bytes();
        record::records(&bytes).ok()
    }

    /// Its bytes, with the base offset in their header.
    pub(crate) fn stamped(&self) -> Result<Vec<bytes::Bytes>> {
        let mut pieces = Vec::new();
        record::stamp(&self.rope, self.at, &self.header, self.base_offset, &mut pieces)
            .ok_or_else(|| Error::Invalid("a batch does not lie in the bytes that it was found in".into()))?;
        Ok(pieces)
    }
}

/// A part of an extent.
#[derive(Debug)]
struct Window {
    extent: usize,
    bytes: u64,
    read: Result<Rope>,
}

/// The batches of extents that follow each other.
pub(crate) struct Input {
    journal: Journal,
    pace: Pace,
    read_ahead_bytes: u64,
    extents: Vec<Extent>,
    /// What comes after the reads under way: extent, and bytes from the start of its object.
    ahead: (usize, u64),
    reads: FuturesOrdered<BoxFuture<'static, Window>>,
    /// Bytes of them.
    under_way: u64,
    /// What is read and not yet given out, and the extent that it lies in.
    rope: Rope,
    at: usize,
    extent: usize,
    next_offset: i64,
    /// The Parquet file that it lies in, and its next row group.
    rows: Option<(Layout, usize)>,
}

impl Input {
    pub(crate) fn new(means: Means<'_>, extents: Vec<Extent>) -> Input {
        let first = extents.first().copied();
        Input {
            journal: means.journal.clone(),
            pace: means.pace.clone(),
            read_ahead_bytes: means.policy.read_ahead_bytes,
            extents,
            ahead: (0, first.map_or(0, |extent| extent.at)),
            reads: FuturesOrdered::new(),
            under_way: 0,
            rope: Rope::default(),
            at: 0,
            extent: 0,
            next_offset: first.map_or(0, |extent| extent.base_offset),
            rows: None,
        }
    }

    /// The next batch; `None` behind the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Ok(header) = BatchHeader::at(&self.rope, self.at) {
                return self.take(header).map(Some);
            }
            let rest = self.rope.slice(self.at..self.rope.len()).unwrap_or_default();
            if rest.is_empty() && self.next_row_group().await? {
                continue;
            }
            self.read_ahead();
            let Some(Window { extent, bytes, read }) = self.reads.next().await else {
                return self.leave(&rest).map(|()| None);
            };
            self.under_way -= bytes;
            let mut read = read?;
            if extent != self.extent {
                self.leave(&rest)?;
                self.extent = extent;
            } else if !rest.is_empty() {
                read = Rope::new(rest.pieces().iter().chain(read.pieces()).cloned());
            }
            (self.rope, self.at) = (read, 0);
            self.open_rows().await?;
        }
    }

    /// If the extent is a Parquet file: its footer. Its row groups are read one by one, not ahead; few have to be.
    async fn open_rows(&mut self) -> Result<()> {
        let Some(extent) = self.extents.get(self.extent) else { return Ok(()) };
        let Some(chunk) = parquet(extent) else { return Ok(()) };
        let end = extent.at + u64::from(extent.bytes);
        let store = self.journal.store();
        let tail = store.get_range(&chunk.key(), end..end + MOST_FOOTER_BYTES).await?;
        let (_, layout) = strandline_archive::read_footer(&chunk, end, &tail.to_bytes())?;
        self.rows = layout.map(|layout| (layout, 0));
        Ok(())
    }

    /// Puts the next row group of a Parquet file, as batches, in the place of what was given out. `false`: there is none.
    async fn next_row_group(&mut self) -> Result<bool> {
        let Some((layout, number)) = &mut self.rows else { return Ok(false) };
        let Some(range) = layout.row_groups().get(*number).map(|group| group.range.clone()) else {
            self.rows = None;
            return Ok(false);
        };
        let Some(extent) = self.extents.get(self.extent) else { return Ok(false) };
        self.pace.spend(range.end - range.start).await;
        let bytes = read_range(&self.journal, extent.object, range).await?;
        let batches = strandline_archive::batches(layout, *number, &bytes.to_bytes())?;
        *number += 1;
        self.rope = Rope::new(batches.into_iter().map(|(_, bytes)| bytes));
        self.at = 0;
        Ok(true)
    }

    /// Starts as many reads as there is room for, and one in any case.
    fn read_ahead(&mut self) {
        while self.reads.len() < READS_AT_ONCE {
            let (index, at) = self.ahead;
            let Some(extent) = self.extents.get(index).copied() else { return };
            let end = extent.at + u64::from(extent.bytes);
            let whole = parquet(&extent).is_some();
            let upto = if whole { end } else { end.min(at + WINDOW_BYTES) };
            let bytes = if whole { 0 } else { upto - at };
            if self.under_way + bytes > self.read_ahead_bytes && !self.reads.is_empty() {
                return;
            }
            self.under_way += bytes;
            self.ahead = match upto < end {
                true => (index, upto),
                false => (index + 1, self.extents.get(index + 1).map_or(0, |next| next.at)),
            };
            let (journal, pace) = (self.journal.clone(), self.pace.clone());
            let read = async move {
                let read = read(&journal, &pace, &extent, at..upto).await;
                Window { extent: index, bytes, read }
            };
            self.reads.push_back(read.boxed());
        }
    }

    fn take(&mut self, header: BatchHeader) -> Result<Batch> {
        let Some(extent) = self.extents.get(self.extent) else {
            return Err(Error::Invalid("more was read than there are extents".into()));
        };
        let base_offset = match extent.object {
            ObjectId::Chunk(_) => header.base_offset,
            _ => self.next_offset,
        };
        let end = base_offset.checked_add(i64::from(header.offsets));
        let end = end.filter(|end| base_offset >= self.next_offset && *end <= extent.end_offset());
        let end = end.ok_or_else(|| damaged(extent, "a batch has offsets that its extent does not"))?;
        if !record::crc_holds(&self.rope, self.at, &header) && !mutation::is(Mutation::DamagedMerged) {
            return Err(damaged(extent, &format!("the checksum of the batch at offset {base_offset} fails")));
        }
        let batch = Batch { header, base_offset, rope: self.rope.clone(), at: self.at };
        self.at += header.bytes;
        self.next_offset = end;
        Ok(batch)
    }

    /// All of an extent must have been batches.
    fn leave(&mut self, rest: &Rope) -> Result<()> {
        let Some(extent) = self.extents.get(self.extent) else { return Ok(()) };
        let gaps = matches!(extent.object, ObjectId::Chunk(_));
        if !rest.is_empty() || (self.next_offset != extent.end_offset() && !gaps) {
            return Err(damaged(extent, "it does not end where its last batch does"));
        }
        self.next_offset = extent.end_offset();
        Ok(())
    }
}

/// Its chunk, if that is a Parquet file.
fn parquet(extent: &Extent) -> Option<ChunkId> {
    match extent.object {
        ObjectId::Chunk(chunk) if chunk.format == Format::Parquet => Some(chunk),
        _ => None,
    }
}

async fn read(journal: &Journal, pace: &Pace, extent: &Extent, range: Range<u64>) -> Result<Rope> {
    match extent.object {
        ObjectId::Marker(marker) => Ok(marker_batch(&marker, extent.max_timestamp)),
        // Comes row group by row group, when it is its turn.
        _ if parquet(extent).is_some() => Ok(Rope::default()),
        object => {
            pace.spend(range.end - range.start).await;
            read_range(journal, object, range).await
        }
    }
}

pub(crate) fn marker_batch(marker: &Marker, timestamp_ms: i64) -> Rope {
    let Marker { producer_id, epoch, commit } = *marker;
    Rope::from(record::marker(producer_id, epoch, commit, timestamp_ms))
}

/// Bytes of an object, from memory if this node has just written or followed it.
pub(crate) async fn read_range(journal: &Journal, object: ObjectId, range: Range<u64>) -> Result<Rope> {
    let bytes = range.end - range.start;
    let rope = match journal.tail().get(&object) {
        Some(whole) => whole.slice(range.start as usize..range.end as usize).unwrap_or_default(),
        None => journal.store().get_range(&object.key(), range).await?,
    };
    if rope.len() as u64 != bytes {
        return Err(Error::corrupt(object.key(), "it is shorter than the records that it should hold"));
    }
    metrics::READ_BYTES.inc_by(bytes);
    Ok(rope)
}

pub(crate) fn damaged(extent: &Extent, what: &str) -> Error {
    Error::corrupt(extent.object.key(), what.to_owned())
}
