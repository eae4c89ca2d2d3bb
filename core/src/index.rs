//! stub
use ulid::Ulid;
/// Branch
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// t
    pub id: Ulid,
    /// t
    pub base_offset: i64,
    /// t
    pub end_offset: i64,
    /// t
    pub chunks: u64,
    /// t
    pub bytes: u64,
    /// t
    pub max_timestamp: i64,
}
