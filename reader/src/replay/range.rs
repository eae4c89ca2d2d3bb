//! From what was asked for to offsets, of each partition.
//!
//! Must not know records. All ends are those of one moment, after the journal was read to its end.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use strandline_core::manifest::Partition;

use super::{Bound, PartitionRange, ReplayError, ReplayOptions};
use crate::error::ReadError;
use crate::plan::Isolation;
use crate::reader::Reader;
use crate::times::OffsetSpec;

/// Partitions in which a time is looked up at once.
const LOOKUPS_AT_ONCE: usize = 16;

/// What there is of one partition.
#[derive(Debug, Clone, Copy)]
struct There {
    partition: u32,
    start: i64,
    end: i64,
}

/// The wanted ranges, by partition.
pub(super) async fn resolve(
    reader: &Reader,
    options: &ReplayOptions,
) -> Result<Vec<PartitionRange>, ReplayError> {
    reader.journal().catch_up().await.map_err(|error| ReadError::from(&error))?;
    let there = there(reader, options)?;
    let found = stream::iter(there).map(|there| async move {
        let from = offset(reader, options, there, options.from).await?;
        let to = offset(reader, options, there, options.to).await?;
        Ok(PartitionRange { partition: there.partition, offsets: from..to.max(from) })
    });
    found.buffered(LOOKUPS_AT_ONCE).try_collect().await
}

fn there(reader: &Reader, options: &ReplayOptions) -> Result<Vec<There>, ReplayError> {
    let all: Vec<There> = reader.journal().view(|manifest| {
        let topic = manifest.topic(&options.topic).ok_or(ReadError::UnknownTopic)?;
        let there = |(partition, of): (u32, &Partition)| {
            let end = match options.isolation {
                Isolation::ReadUncommitted => of.high_watermark,
                Isolation::ReadCommitted => of.last_stable_offset(),
            };
            // The log may start behind what is not decided.
            There { partition, start: of.log_start, end: end.max(of.log_start) }
        };
        Ok::<_, ReadError>((0..).zip(&topic.partitions).map(there).collect())
    })?;
    let partitions = all.len();
    if let Some(partition) = options.partitions.iter().copied().find(|p| *p as usize >= partitions) {
        return Err(ReplayError::NoPartition { partition, partitions });
    }
    let wanted =
        |there: &There| options.partitions.is_empty() || options.partitions.contains(&there.partition);
    Ok(all.into_iter().filter(wanted).collect())
}

async fn offset(
    reader: &Reader,
    options: &ReplayOptions,
    there: There,
    bound: Bound,
) -> Result<i64, ReplayError> {
    let There { partition, start, end } = there;
    Ok(match bound {
        Bound::Earliest => start,
        Bound::Latest => end,
        Bound::Offset(offset) => offset.clamp(start, end),
        Bound::Timestamp(ms) => {
            let at = OffsetSpec::Timestamp(ms);
            let found = reader.offset_at(options.topic, partition, at, options.isolation).await;
            let found = found.map_err(|source| ReplayError::Read { partition, offset: start, source })?;
            if found.offset < 0 { end } else { found.offset.clamp(start, end) }
        }
    })
}
