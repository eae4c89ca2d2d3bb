//! The bytes of one frame, being written.
//!
//! Knows integers, lengths and tagged fields in the plain and in the compact form; must not know
//! any message. Invariant: record bytes are never copied, all other bytes lie in one buffer.

use bytes::{BufMut, Bytes, BytesMut};

use super::Records;
use crate::error::EncodeError;

/// Room for most responses without a second allocation.
const INITIAL_CAPACITY: usize = 512;

/// Appends values to a frame.
#[derive(Debug)]
pub struct Writer {
    buffer: BytesMut,
    /// Each splice stands before the byte of `buffer` at its position; positions never decrease.
    splices: Vec<(usize, Bytes)>,
    flexible: bool,
    /// For error messages only.
    field: &'static str,
}

macro_rules! integers {
    ($($name:ident $put:ident),*) => {
        $(
            /// Appends a big-endian integer of this width.
            pub fn $name(&mut self, value: $name) {
                self.buffer.$put(value);
            }
        )*
    };
}

impl Writer {
    /// An empty writer; `flexible` says whether lengths are compact and tagged fields follow.
    pub fn new(flexible: bool) -> Self {
        Self {
            buffer: BytesMut::with_capacity(INITIAL_CAPACITY),
            splices: Vec::new(),
            flexible,
            field: "frame",
        }
    }

    /// Whether lengths are compact and tagged fields follow.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Headers need this: their own form does not always follow that of the body.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// The number of bytes written, spliced ones included.
    pub fn written(&self) -> usize {
        self.buffer.len() + self.splices.iter().map(|(_, part)| part.len()).sum::<usize>()
    }

    integers!(i8 put_i8, i16 put_i16, i32 put_i32, i64 put_i64);

    /// Appends an unsigned varint.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// Appends the length of a string: 16 bits, or compact. `None` means null.
    pub fn string_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        if self.flexible {
            return self.compact_length(length);
        }
        let length = match length {
            None => -1,
            Some(length) => i16::try_from(length).map_err(|_| self.too_long(length))?,
        };
        self.i16(length);
        Ok(())
    }

    /// Appends the length of an array, of bytes or of records: 32 bits, or compact. `None` means
    /// null.
    pub fn length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        if self.flexible {
            return self.compact_length(length);
        }
        let length = match length {
            None => -1,
            Some(length) => i32::try_from(length).map_err(|_| self.too_long(length))?,
        };
        self.i32(length);
        Ok(())
    }

    fn compact_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let length = match length {
            None => 0,
            // Readers in other languages hold the length in a signed 32-bit integer.
            Some(length) => match i32::try_from(length) {
                Ok(length) => length as u32 + 1,
                Err(_) => return Err(self.too_long(length)),
            },
        };
        self.unsigned_varint(length);
        Ok(())
    }

    /// Appends bytes by copying them.
    pub fn slice(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Appends records by reference.
    pub fn splice(&mut self, records: &Records) {
        let at = self.buffer.len();
        self.splices.extend(records.parts().iter().map(|part| (at, part.clone())));
    }

    /// Appends the tagged fields that end a flexible struct; other structs have none.
    pub fn tagged_fields(
        &mut self,
        write: impl FnOnce(&mut TaggedFields) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if !self.flexible {
            return Ok(());
        }
        let mut fields = TaggedFields { count: 0, writer: Writer::nested() };
        write(&mut fields)?;
        self.unsigned_varint(fields.count);
        self.append(fields.writer);
        Ok(())
    }

    /// A writer of a part, without memory until it is written to.
    fn nested() -> Self {
        Self { buffer: BytesMut::new(), splices: Vec::new(), flexible: true, field: "tagged field" }
    }

    fn append(&mut self, part: Writer) {
        let at = self.buffer.len();
        self.buffer.put_slice(&part.buffer);
        self.splices.extend(part.splices.into_iter().map(|(inner, part)| (at + inner, part)));
    }

    /// Writes the number of bytes that follow the first four into those four, for frames.
    pub fn set_size_prefix(&mut self) -> Result<(), EncodeError> {
        let size = self.written().saturating_sub(4);
        let size = i32::try_from(size).map_err(|_| EncodeError::TooLong { field: "frame", length: size })?;
        if let Some(mut prefix) = self.buffer.get_mut(..4) {
            prefix.put_i32(size);
        }
        Ok(())
    }

    /// All that was written, in order, as slices of which none is empty.
    pub fn into_parts(self) -> Vec<Bytes> {
        let mut parts = Vec::with_capacity(self.splices.len() * 2 + 1);
        let mut rest = self.buffer.freeze();
        let mut done = 0;
        for (at, part) in self.splices {
            // Positions were lengths of the buffer, so `at` lies in it and never before `done`.
            if at > done {
                parts.push(rest.split_to(at - done));
                done = at;
            }
            parts.push(part);
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        parts
    }

    pub(crate) fn enter(&mut self, field: &'static str) {
        self.field = field;
    }

    pub(crate) fn unexpected_null(&self) -> EncodeError {
        EncodeError::UnexpectedNull { field: self.field }
    }

    fn too_long(&self, length: usize) -> EncodeError {
        EncodeError::TooLong { field: self.field, length }
    }
}

/// The tagged fields of one struct, being written.
#[derive(Debug)]
pub struct TaggedFields {
    count: u32,
    writer: Writer,
}

impl TaggedFields {
    /// Appends one field; tags must ascend.
    pub fn add(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut value = Writer::nested();
        write(&mut value)?;
        let size = value.written();
        let size = u32::try_from(size).map_err(|_| value.too_long(size))?;
        self.count += 1;
        self.writer.unsigned_varint(tag);
        self.writer.unsigned_varint(size);
        self.writer.append(value);
        Ok(())
    }
}
