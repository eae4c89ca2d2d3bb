//! One immutable object that holds the batches of many partitions, written once by an ingest node.
//!
//! Must not know the manifest. The header lists every run with its checksum, so that equal headers mean equal segments:
//! that is how an unclear PUT is decided, and how a scrubber reads a segment alone.

use bytes::Bytes;
use ulid::Ulid;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::object::{self, Shape};
use crate::paths;
use crate::rope::Rope;
use crate::store::Store;

/// The batches of one partition that lie side by side in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// Where the run begins, in bytes from the start of the object.
    pub at: u64,
    /// Bytes.
    pub bytes: u32,
    /// CRC32C of them.
    pub crc: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RunWire {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(uint32, tag = "3")]
    bytes: u32,
    #[prost(fixed32, tag = "4")]
    crc: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderWire {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(message, repeated, tag = "2")]
    runs: Vec<RunWire>,
}

/// A segment ready to be written.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its name and its time.
    pub id: Ulid,
    /// What it holds.
    pub runs: Vec<Run>,
    /// The whole object.
    pub body: Rope,
    header_bytes: usize,
}

impl Segment {
    /// Lays the runs side by side behind a header. Each run is its partition and its batches in order.
    pub fn new(id: Ulid, runs: impl IntoIterator<Item = (Uuid, u32, Vec<Bytes>)>) -> Segment {
        let mut header = HeaderWire { id: Bytes::copy_from_slice(&id.to_bytes()), runs: Vec::new() };
        let mut placed = Vec::new();
        let mut payload = Vec::new();
        for (topic, partition, batches) in runs {
            let bytes = batches.iter().map(|batch| batch.len() as u32).sum();
            let crc = batches.iter().fold(0, |crc, batch| crc32c::crc32c_append(crc, batch));
            header.runs.push(RunWire {
                topic: Bytes::copy_from_slice(topic.as_bytes()),
                partition,
                bytes,
                crc,
            });
            placed.push(Run { topic, partition, at: 0, bytes, crc });
            payload.extend(batches);
        }
        let header = object::encode(Shape::Segment, &header);
        let mut at = header.len() as u64;
        for run in &mut placed {
            run.at = at;
            at += u64::from(run.bytes);
        }
        let header_bytes = header.len();
        Segment { id, runs: placed, body: Rope::new(std::iter::once(header).chain(payload)), header_bytes }
    }

    /// Writes it, put-if-absent. On "already there" the header that is there decides whether it is ours.
    ///
    /// [`Error::Invalid`] means that another segment has this name: take another one.
    pub async fn write(&self, store: &Store) -> Result<()> {
        let key = paths::segment(self.id);
        if store.create(&key, &self.body).await? {
            return Ok(());
        }
        let there = store.get_range(&key, 0..self.header_bytes as u64).await?;
        let ours = self.body.slice(0..self.header_bytes).unwrap_or_default();
        if there.to_bytes() == ours.to_bytes() {
            return Ok(());
        }
        Err(Error::Invalid(format!("{key} exists and holds something else").into()))
    }
}

/// Reads the header of a segment from its first bytes.
pub fn read_header(key: &str, bytes: &[u8]) -> Result<(Ulid, Vec<Run>)> {
    let (header, mut at): (HeaderWire, usize) = object::decode(key, Shape::Segment, bytes)?;
    let id = header
        .id
        .first_chunk()
        .map(|id| Ulid::from_bytes(*id))
        .ok_or_else(|| Error::corrupt(key, "it has no id"))?;
    let mut runs = Vec::new();
    for run in header.runs {
        let topic =
            Uuid::from_slice(&run.topic).map_err(|_| Error::corrupt(key, "a topic id is not 16 bytes"))?;
        runs.push(Run { topic, partition: run.partition, at: at as u64, bytes: run.bytes, crc: run.crc });
        at = at.saturating_add(run.bytes as usize);
    }
    Ok((id, runs))
}

#[cfg(test)]
mod tests;
