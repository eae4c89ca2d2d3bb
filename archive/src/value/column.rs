//! Arrow's columns as they grow, one row at a time.
//!
//! Must not know the schema languages. Invariant: every append makes a column longer by one row, whatever the cell is; one of
//! another type than the column's is null.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int32Builder, Int64Builder, ListArray, MapArray, NullBufferBuilder,
    StringBuilder, StructArray, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::cell::Cell;

/// A column that grows.
enum Column {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Fixed(FixedSizeBinaryBuilder),
    List(Box<Repeated<Column>>),
    Map(Repeated<Members>),
    Struct(Members),
    /// Of a type that no schema asks for: nothing but nulls.
    Nothing(DataType, usize),
}

/// The rows of a list or a map: where each ends among the elements.
struct Repeated<C> {
    field: FieldRef,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
    elements: C,
    length: i32,
}

/// A struct that grows.
pub(super) struct Members {
    fields: Fields,
    columns: Vec<Column>,
    nulls: NullBufferBuilder,
}

impl Members {
    /// Without rows, and with room for so many.
    pub(super) fn new(fields: &Fields, rows: usize) -> Members {
        let columns = fields.iter().map(|field| Column::new(field.data_type(), rows)).collect();
        Members { fields: fields.clone(), columns, nulls: NullBufferBuilder::new(rows) }
    }

    /// One row more.
    pub(super) fn append(&mut self, cell: Cell<'_>) {
        let (cells, valid) = match cell {
            Cell::Struct(cells) => (cells, true),
            _ => (Vec::new(), false),
        };
        let mut cells = cells.into_iter();
        for column in &mut self.columns {
            column.append(cells.next().unwrap_or(Cell::Null));
        }
        self.nulls.append(valid);
    }

    /// What has grown.
    pub(super) fn finish(mut self) -> StructArray {
        let rows = self.nulls.len();
        let columns = self.columns.into_iter().map(Column::finish).collect();
        let nulls = self.nulls.finish();
        StructArray::try_new_with_length(self.fields.clone(), columns, nulls, rows)
            .unwrap_or_else(|_| StructArray::new_null(self.fields, rows))
    }
}

impl<C> Repeated<C> {
    fn new(field: &FieldRef, rows: usize, elements: C) -> Repeated<C> {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Repeated { field: field.clone(), ends, nulls: NullBufferBuilder::new(rows), elements, length: 0 }
    }

    fn append<E>(&mut self, elements: Option<Vec<E>>, append: impl Fn(&mut C, E)) {
        self.nulls.append(elements.is_some());
        for element in elements.into_iter().flatten() {
            append(&mut self.elements, element);
            // Who made the cell counted that it cannot come to this.
            self.length = self.length.saturating_add(1);
        }
        self.ends.push(self.length);
    }

    fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(ends))
    }
}

macro_rules! append {
    ($builder:expr, $cell:expr, $($pattern:pat => $value:expr),+) => {
        match $cell { $($pattern => $builder.append_value($value),)+ _ => $builder.append_null() }
    };
}

impl Column {
    fn new(data_type: &DataType, rows: usize) -> Column {
        match data_type {
            DataType::Boolean => Column::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int32 => Column::Int32(Int32Builder::with_capacity(rows)),
            DataType::Int64 => Column::Int64(Int64Builder::with_capacity(rows)),
            DataType::Float32 => Column::Float32(Float32Builder::with_capacity(rows)),
            DataType::Float64 => Column::Float64(Float64Builder::with_capacity(rows)),
            DataType::Decimal128(..) => {
                Column::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(data_type.clone()))
            }
            DataType::Date32 => Column::Date(Date32Builder::with_capacity(rows)),
            DataType::Timestamp(..) => Column::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(data_type.clone()),
            ),
            DataType::Utf8 => Column::Text(StringBuilder::with_capacity(rows, 0)),
            DataType::Binary => Column::Binary(BinaryBuilder::with_capacity(rows, 0)),
            DataType::FixedSizeBinary(size) => {
                Column::Fixed(FixedSizeBinaryBuilder::with_capacity(rows, *size))
            }
            DataType::List(element) => {
                Column::List(Box::new(Repeated::new(element, rows, Column::new(element.data_type(), 0))))
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => {
                    Column::Map(Repeated::new(entries, rows, Members::new(fields, 0)))
                }
                _ => Column::Nothing(data_type.clone(), 0),
            },
            DataType::Struct(fields) => Column::Struct(Members::new(fields, rows)),
            _ => Column::Nothing(data_type.clone(), 0),
        }
    }

    fn append(&mut self, cell: Cell<'_>) {
        match self {
            Column::Boolean(builder) => append!(builder, cell, Cell::Boolean(value) => value),
            Column::Int32(builder) => append!(builder, cell, Cell::Int32(value) => value),
            Column::Int64(builder) => append!(builder, cell, Cell::Int64(value) => value),
            Column::Float32(builder) => append!(builder, cell, Cell::Float32(value) => value),
            Column::Float64(builder) => append!(builder, cell, Cell::Float64(value) => value),
            Column::Decimal(builder) => append!(builder, cell, Cell::Decimal(value) => value),
            Column::Date(builder) => append!(builder, cell, Cell::Int32(value) => value),
            Column::Timestamp(builder) => append!(builder, cell, Cell::Int64(value) => value),
            Column::Text(builder) => append!(builder, cell, Cell::Text(value) => value.as_ref()),
            Column::Binary(builder) => append!(builder, cell, Cell::Binary(value) => value.as_ref()),
            Column::Fixed(builder) => {
                let fits = match cell {
                    Cell::Binary(value) => builder.append_value(value).is_ok(),
                    _ => false,
                };
                if !fits {
                    builder.append_null();
                }
            }
            Column::List(list) => {
                let cells = if let Cell::List(cells) = cell { Some(cells) } else { None };
                list.append(cells, Column::append);
            }
            Column::Map(map) => {
                let entries = if let Cell::Map(entries) = cell { Some(entries) } else { None };
                map.append(entries, |members, (key, value)| {
                    members.append(Cell::Struct(vec![key, value]));
                });
            }
            Column::Struct(members) => members.append(cell),
            Column::Nothing(_, rows) => *rows += 1,
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Column::Boolean(mut builder) => Arc::new(builder.finish()),
            Column::Int32(mut builder) => Arc::new(builder.finish()),
            Column::Int64(mut builder) => Arc::new(builder.finish()),
            Column::Float32(mut builder) => Arc::new(builder.finish()),
            Column::Float64(mut builder) => Arc::new(builder.finish()),
            Column::Decimal(mut builder) => Arc::new(builder.finish()),
            Column::Date(mut builder) => Arc::new(builder.finish()),
            Column::Timestamp(mut builder) => Arc::new(builder.finish()),
            Column::Text(mut builder) => Arc::new(builder.finish()),
            Column::Binary(mut builder) => Arc::new(builder.finish()),
            Column::Fixed(mut builder) => Arc::new(builder.finish()),
            Column::List(mut list) => {
                let (rows, elements) = (list.nulls.len(), list.elements.finish());
                let data_type = DataType::List(list.field.clone());
                let offsets = Repeated::<Column>::offsets(list.ends);
                match ListArray::try_new(list.field, offsets, elements, list.nulls.finish()) {
                    Ok(array) => Arc::new(array),
                    Err(_) => new_null_array(&data_type, rows),
                }
            }
            Column::Map(mut map) => {
                let (rows, entries) = (map.nulls.len(), map.elements.finish());
                let data_type = DataType::Map(map.field.clone(), false);
                let offsets = Repeated::<Members>::offsets(map.ends);
                match MapArray::try_new(map.field, offsets, entries, map.nulls.finish(), false) {
                    Ok(array) => Arc::new(array),
                    Err(_) => new_null_array(&data_type, rows),
                }
            }
            Column::Struct(members) => Arc::new(members.finish()),
            Column::Nothing(data_type, rows) => new_null_array(&data_type, rows),
        }
    }
}
