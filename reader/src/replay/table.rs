//! Records become the columns that are wanted, and no others.
//!
//! Must not know batches. What nobody wants of a record is dropped before it is copied anywhere.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use strandline_archive::{ArchiveError, Column, Row, RowsBuilder, schema};

use super::ReplayError;

/// Which columns, in which order.
#[derive(Debug, Clone)]
pub(super) struct Table {
    schema: SchemaRef,
    /// Their places among all columns.
    places: Arc<[usize]>,
    keys: bool,
    values: bool,
    headers: bool,
}

impl Table {
    /// None: all.
    pub(super) fn of(columns: &[Column]) -> Result<Table, ReplayError> {
        let all = schema(None);
        let place = |column: &Column| {
            all.index_of(column.name())
                .map_err(|_| ArchiveError::Invalid(format!("there is no column {}", column.name())))
        };
        let places: Arc<[usize]> = match columns {
            [] => (0..all.fields().len()).collect(),
            columns => columns.iter().map(place).collect::<Result<_, _>>()?,
        };
        let wants = |column: Column| columns.is_empty() || columns.contains(&column);
        let (keys, values, headers) = (wants(Column::Key), wants(Column::Value), wants(Column::Headers));
        let schema = Arc::new(all.project(&places).map_err(ArchiveError::from)?);
        Ok(Table { schema, places, keys, values, headers })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The row with nothing in it that is not wanted.
    pub(super) fn cut(&self, mut row: Row) -> Row {
        row.key.take_if(|_| !self.keys);
        row.value.take_if(|_| !self.values);
        if !self.headers {
            row.headers = Vec::new();
        }
        row
    }

    /// What was gathered, in the wanted columns. Starts anew.
    pub(super) fn finish(&self, rows: &mut RowsBuilder) -> Result<RecordBatch, ReplayError> {
        let all = rows.finish()?;
        Ok(all.project(&self.places).map_err(ArchiveError::from)?)
    }
}
