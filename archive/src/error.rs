//! What can go wrong with columns.
//!
//! Must not know objects: who reads from the bucket names the object in an error of the log.

/// Shorthand for results of this crate.
pub type Result<T, E = ArchiveError> = std::result::Result<T, E>;

/// Why rows cannot become columns, or columns rows.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A schema or an option that cannot work: it must be changed.
    #[error("{0}")]
    Invalid(String),
    /// The columns are not those of a partition, or contradict each other.
    #[error("these columns are not records: {0}")]
    Columns(&'static str),
    /// The rows cannot stand in one file in this order or size.
    #[error("these records cannot be written: {0}")]
    Rows(&'static str),
    /// What the library for Arrow said.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// What the library for Parquet said.
    #[error("Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl From<ArchiveError> for strandline_core::Error {
    fn from(error: ArchiveError) -> strandline_core::Error {
        strandline_core::Error::Invalid(error.to_string().into())
    }
}
