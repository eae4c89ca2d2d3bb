//! stub
use ulid::Ulid;
use uuid::Uuid;
/// Format
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// b
    Batches,
    /// p
    Parquet,
}
/// Chunk
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// t
    pub topic: Uuid,
    /// t
    pub partition: u32,
    /// t
    pub base_offset: i64,
    /// t
    pub id: Ulid,
    /// t
    pub format: Format,
}
impl ChunkId {
    /// key
    pub fn key(&self) -> String {
        format!("chunk/{}", self.id)
    }
}
