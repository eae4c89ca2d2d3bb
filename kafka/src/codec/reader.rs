//! A cursor over the bytes of one frame.
//!
//! Knows integers, lengths and tagged fields in the plain and in the compact form; must not know
//! any message. Invariant: every read checks what is left first, so none of them can panic.

use bytes::{Buf, Bytes};

use crate::error::DecodeError;

/// Reads values off the front of a frame.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    flexible: bool,
    /// For error messages only.
    field: &'static str,
}

macro_rules! integers {
    ($($name:ident $get:ident),*) => {
        $(
            /// The next big-endian integer of this width.
            pub fn $name(&mut self) -> Result<$name, DecodeError> {
                self.bytes.$get().map_err(|_| DecodeError::Truncated)
            }
        )*
    };
}

impl Reader {
    /// A reader of `bytes`; `flexible` says whether lengths are compact and tagged fields follow.
    pub fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible, field: "frame" }
    }

    /// Whether lengths are compact and tagged fields follow.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Request headers need this: the client id is never compact, what follows it may be.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// The number of bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    integers!(i8 try_get_i8, i16 try_get_i16, i32 try_get_i32, i64 try_get_i64);

    /// The next unsigned varint. Zero padding is accepted up to five bytes, as Kafka does; more
    /// than five bytes or more than 32 bits are not.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.bytes.try_get_u8().map_err(|_| DecodeError::Truncated)?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Malformed("a varint is longer than 32 bits"));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// The length of a string: 16 bits, or compact. `None` means null.
    pub fn string_length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        let length = self.i16()?;
        self.signed_length(length.into())
    }

    /// The length of an array, of bytes or of records: 32 bits, or compact. `None` means null.
    pub fn length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        let length = self.i32()?;
        self.signed_length(length)
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = self.unsigned_varint()? as usize;
        Ok(length.checked_sub(1))
    }

    fn signed_length(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        if length == -1 {
            return Ok(None);
        }
        let field = self.field;
        usize::try_from(length).map(Some).map_err(|_| DecodeError::NegativeLength { field, length })
    }

    /// How many of `count` elements to reserve memory for: no more bytes than are left, since the
    /// claim is not yet backed by elements. An impossible claim is refused at once.
    pub fn reservation<T>(&self, count: usize, min_size: usize) -> Result<usize, DecodeError> {
        if count > self.remaining() / min_size.max(1) {
            return Err(DecodeError::ImpossibleCount {
                field: self.field,
                count,
                remaining: self.remaining(),
            });
        }
        Ok(count.min(self.remaining() / size_of::<T>().max(1)))
    }

    /// The next `length` bytes, as a slice of the frame.
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.bytes.split_to(length))
    }

    /// The next `length` bytes, as a string of its own.
    pub fn string(&mut self, length: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes.get(..length).ok_or(DecodeError::Truncated)?;
        let string =
            std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8 { field: self.field })?.to_owned();
        self.bytes.advance(length);
        Ok(string)
    }

    /// Reads the tagged fields that end a flexible struct; other structs have none. `known` gets
    /// each tag with a reader of its value: it must read a tag it knows to the end and
    /// [`skip`](Self::skip) any other.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            let mut value = Reader::new(self.take(size)?, true);
            known(tag, &mut value)?;
            if value.remaining() > 0 {
                return Err(DecodeError::Malformed("a tagged field is longer than its value"));
            }
        }
        Ok(())
    }

    /// Leaves all that is left unread.
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        self.bytes.clear();
        Ok(())
    }

    pub(crate) fn enter(&mut self, field: &'static str) {
        self.field = field;
    }

    pub(crate) fn unexpected_null(&self) -> DecodeError {
        DecodeError::UnexpectedNull { field: self.field }
    }
}
