//! Records become the columns that are wanted, and no others.
//!
//! Must not know batches. What nobody wants of a record is dropped before it is copied anywhere.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use strandline_archive::{ArchiveError, Column, Row, RowsBuilder, Unfold, schema};

use super::ReplayError;

/// Which columns, in which order.
#[derive(Debug, Clone)]
pub(super) struct Table {
    schema: SchemaRef,
    unfold: Option<Arc<Unfold>>,
    /// Their places among all columns.
    places: Arc<[usize]>,
    keys: bool,
    values: bool,
    headers: bool,
}

impl Table {
    /// None: all. `unfold`: how values become columns, if they do.
    pub(super) fn of(columns: &[Column], unfold: Option<Unfold>) -> Result<Table, ReplayError> {
        let wants = |column: Column| columns.is_empty() || columns.contains(&column);
        let fields = wants(Column::Fields) || wants(Column::FieldsError);
        let unfold = unfold.filter(|_| fields).map(Arc::new);
        let all = schema(unfold.as_deref());
        let place = |column: &Column| {
            all.index_of(column.name())
                .map_err(|_| ArchiveError::Invalid(format!("there is no column {}", column.name())))
        };
        let places: Arc<[usize]> = match columns {
            [] => (0..all.fields().len()).collect(),
            columns => columns.iter().map(place).collect::<Result<_, _>>()?,
        };
        let values = wants(Column::Value) || unfold.is_some();
        let (keys, headers) = (wants(Column::Key), wants(Column::Headers));
        let schema = Arc::new(all.project(&places).map_err(ArchiveError::from)?);
        Ok(Table { schema, unfold, places, keys, values, headers })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What rows of a partition are gathered in.
    pub(super) fn rows(&self, partition: u32) -> RowsBuilder {
        RowsBuilder::new(partition, self.unfold.clone())
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
