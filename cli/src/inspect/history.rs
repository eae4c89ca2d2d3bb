//! Swaps, index changes and expiries as JSON, and the roots of indexes.
//!
//! Must not know the store, nor how other parts of an object are shown.

use serde_json::{Value, json};
use strandline_core::chunk::Format;
use strandline_core::index::Branch;
use strandline_core::manifest::{Compacted, Expire, IndexChunks, ObjectName, Swap, SwapOutput, SwapRun};
use strandline_core::paths;
use uuid::Uuid;

use super::json::join;

pub(super) fn swap(swap: &Swap) -> Value {
    json!({ "runs": swap.runs.iter().map(run).collect::<Vec<_>>() })
}

fn run(run: &SwapRun) -> Value {
    json!({
        "topic": run.topic.to_string(),
        "partition": run.partition,
        "base_offset": run.base_offset,
        "inputs": run.inputs.iter().map(object).collect::<Vec<_>>(),
        "outputs": run.outputs.iter().map(output).collect::<Vec<_>>(),
    })
}

fn output(output: &SwapOutput) -> Value {
    let mut shown = object(&output.object);
    let place = json!({
        "at": output.at,
        "bytes": output.bytes,
        "offsets": output.offsets,
        "max_timestamp": output.max_timestamp,
    });
    join(&mut shown, place);
    shown
}

fn object(object: &ObjectName) -> Value {
    match object {
        ObjectName::Segment(id) => json!({ "segment": id.to_string() }),
        ObjectName::Slot(slot) => json!({ "slot": slot }),
        ObjectName::Marker => json!({ "marker": true }),
        ObjectName::Merged(id) => json!({ "merged": id.to_string() }),
        ObjectName::Chunk(id, Format::Batches) => json!({ "chunk": id.to_string(), "format": "batches" }),
        ObjectName::Chunk(id, Format::Parquet) => json!({ "chunk": id.to_string(), "format": "parquet" }),
    }
}

pub(super) fn index(change: &IndexChunks) -> Value {
    json!({
        "topic": change.topic.to_string(),
        "partition": change.partition,
        "replaces": change.replaces.map(|id| id.to_string()),
        "absorbs": change.absorbs.iter().map(object).collect::<Vec<_>>(),
        "root": branch(change.topic, change.partition, &change.root),
    })
}

/// A node of an index, as the one above it knows it.
pub(super) fn branch(topic: Uuid, partition: u32, branch: &Branch) -> Value {
    json!({
        "index": paths::index(topic, partition, branch.id),
        "base_offset": branch.base_offset,
        "end_offset": branch.end_offset,
        "chunks": branch.chunks,
        "bytes": branch.bytes,
        "max_timestamp": branch.max_timestamp,
    })
}

pub(super) fn compacted(compacted: &Compacted) -> Value {
    json!({
        "topic": compacted.topic.to_string(),
        "partition": compacted.partition,
        "upto": compacted.upto,
        "tombstones_ms": compacted.tombstones_ms,
    })
}

pub(super) fn expire(expire: &Expire) -> Value {
    json!({
        "topic": expire.topic.to_string(),
        "partition": expire.partition,
        "before": expire.before,
        "retention_ms": expire.retention_ms,
        "retention_bytes": expire.retention_bytes,
    })
}
