//! The keys of the bucket, relative to the cluster's prefix.
//!
//! Must not know the store. Keys hold slots, ULIDs and topic ids, never a name that a user chose.

use ulid::Ulid;
use uuid::Uuid;

/// Format version and cluster id; put-if-absent on first open.
pub const CLUSTER: &str = "strandline.json";
/// A hint at the newest checkpoint.
pub const LATEST: &str = "checkpoint/latest";
/// All checkpoints.
pub const CHECKPOINTS: &str = "checkpoint";

/// Where nodes say that they live.
pub const NODES: &str = "node";

/// `node/<node id>`
pub fn node(id: i32) -> String {
    format!("node/{id}")
}

/// The node of a key; `None` if no node has this key.
pub fn node_id(key: &str) -> Option<i32> {
    let id = key.strip_prefix("node/")?.parse().ok()?;
    (id > 0 && node(id) == key).then_some(id)
}

/// `journal/<slot, 20 digits>`
pub fn slot(slot: u64) -> String {
    format!("journal/{slot:020}")
}

/// `checkpoint/<slot>`
pub fn checkpoint(slot: u64) -> String {
    format!("checkpoint/{slot:020}")
}

/// The slot of a checkpoint's key; `None` for the hint and for anything foreign.
pub fn checkpoint_slot(key: &str) -> Option<u64> {
    let digits = key.rsplit('/').next()?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// `floor/<k>`
pub fn floor(k: u64) -> String {
    format!("floor/{k:020}")
}

/// `segment/<2 hex of entropy>/<ulid>`: the entropy spreads the load over the store's key ranges.
pub fn segment(id: Ulid) -> String {
    format!("segment/{:02x}/{id}", id.0 as u8)
}

/// The slot, count or number of a key that is `folder` and 20 digits; `None` for anything foreign.
pub fn numbered(key: &str, folder: &str) -> Option<u64> {
    let digits = key.strip_prefix(folder)?.strip_prefix('/')?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|c| c.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// The shards of the segments, as in their keys.
pub(crate) fn shard(shard: u8) -> String {
    format!("segment/{shard:02x}")
}

/// The segment of a key; `None` if no segment has this key.
pub fn segment_id(key: &str) -> Option<Ulid> {
    let id = Ulid::from_string(key.rsplit('/').next()?).ok()?;
    (segment(id) == key).then_some(id)
}

/// `chunk/<topic id>/<partition>/<base offset, 20 digits>-<ulid>.<extension>`
pub fn chunk(topic: Uuid, partition: u32, base_offset: i64, id: Ulid, extension: &str) -> String {
    format!("chunk/{topic}/{partition}/{base_offset:020}-{id}.{extension}")
}

/// Topic, partition, base offset, name and extension of a chunk's key; `None` for anything foreign.
pub fn chunk_parts(key: &str) -> Option<(Uuid, u32, i64, Ulid, &str)> {
    let mut parts = key.strip_prefix("chunk/")?.splitn(3, '/');
    let (topic, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (name, extension) = parts.next()?.split_once('.')?;
    let (base_offset, id) = name.split_once('-')?;
    let (base_offset, id) = (base_offset.parse().ok()?, Ulid::from_string(id).ok()?);
    let ours = base_offset >= 0 && chunk(topic, partition, base_offset, id, extension) == key;
    ours.then_some((topic, partition, base_offset, id, extension))
}

/// `index/<topic id>/<partition>/<ulid>`
pub fn index(topic: Uuid, partition: u32, id: Ulid) -> String {
    format!("index/{topic}/{partition}/{id}")
}

/// Topic, partition and name of the key of an index node; `None` for anything foreign.
pub fn index_parts(key: &str) -> Option<(Uuid, u32, Ulid)> {
    let mut parts = key.strip_prefix("index/")?.splitn(3, '/');
    let (topic, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let id = Ulid::from_string(parts.next()?).ok()?;
    (index(topic, partition, id) == key).then_some((topic, partition, id))
}

/// Iceberg tables over the chunks of topics.
pub const TABLES: &str = "table";

/// `table/<topic id>`
pub fn table(topic: Uuid) -> String {
    format!("table/{topic}")
}

/// `table/<topic id>/metadata/<name>`
pub fn table_file(topic: Uuid, name: &str) -> String {
    format!("table/{topic}/metadata/{name}")
}

/// The table of a key, and the name of the file in it; `None` for anything foreign.
pub fn table_parts(key: &str) -> Option<(Uuid, &str)> {
    let (topic, name) = key.strip_prefix("table/")?.split_once("/metadata/")?;
    let topic = topic.parse().ok()?;
    (!name.contains('/') && table_file(topic, name) == key).then_some((topic, name))
}

/// `table/<topic id>/metadata/v<N>.metadata.json`
pub fn table_version(topic: Uuid, version: u64) -> String {
    table_file(topic, &format!("v{version}.metadata.json"))
}

/// The version of a file name; `None` if it is another file of a table.
pub fn table_version_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('v')?.strip_suffix(".metadata.json")?;
    let version = digits.parse().ok()?;
    (format!("v{version}.metadata.json") == name).then_some(version)
}

/// A scratch key of the start-up probe.
pub fn probe(id: Ulid, name: &str) -> String {
    format!("probe/{id}/{name}")
}

/// Whether this is the key of a scratch object.
pub fn is_probe(key: &str) -> bool {
    let parts = key.strip_prefix("probe/").and_then(|rest| rest.split_once('/'));
    let parts = parts.and_then(|(id, name)| Some((Ulid::from_string(id).ok()?, name)));
    parts.is_some_and(|(id, name)| !name.contains('/') && probe(id, name) == key)
}
