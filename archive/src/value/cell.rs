//! One value on its way from its bytes to the columns, and why it does not get there.
//!
//! Must not know the schema languages, nor Arrow. Invariant: a [`Misfit`] names fields and types of the schema, never what
//! the record holds; and what a value takes in memory is counted before it is taken.

use std::borrow::Cow;
use std::fmt::Write;

/// What one value may take in memory: so many bytes for each of its own ...
const BYTES_PER_BYTE: usize = 128;
/// ... and so many for each column of the schema, since absent fields take room too ...
const BYTES_PER_COLUMN: usize = 512;
/// ... but no more than this in all.
const MAX_ROOM_BYTES: usize = 256 << 20;
/// The longest text of a misfit, in bytes.
const MAX_REASON_BYTES: usize = 200;
/// What of that is left for the field's path.
const MAX_PATH_BYTES: usize = 120;

/// The content of one column in one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Boolean(bool),
    /// Also days since 1970.
    Int32(i32),
    /// Also microseconds since 1970.
    Int64(i64),
    Float32(f32),
    Float64(f64),
    /// The unscaled value.
    Decimal(i128),
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    List(Vec<Cell<'a>>),
    Map(Vec<(Cell<'a>, Cell<'a>)>),
    /// As many as the record has members, in their order.
    Struct(Vec<Cell<'a>>),
}

/// Why a value does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// From the value inwards, as far as it is known.
    path: Vec<String>,
    what: Cow<'static, str>,
}

impl Misfit {
    /// A reason; it must hold nothing of the record.
    pub(super) fn new(what: impl Into<Cow<'static, str>>) -> Misfit {
        Misfit { path: Vec::new(), what: what.into() }
    }

    /// The same, one level further out.
    pub(super) fn under(mut self, name: &str) -> Misfit {
        self.path.insert(0, name.to_owned());
        self
    }

    /// What stands in `fields_error`.
    pub(super) fn text(&self) -> String {
        let mut text = self.path.join(".");
        shorten(&mut text, MAX_PATH_BYTES);
        if !text.is_empty() {
            text.push_str(": ");
        }
        // Writing to a text cannot fail.
        let _ = write!(text, "{}", self.what);
        shorten(&mut text, MAX_REASON_BYTES);
        text
    }
}

/// Cuts a text, at the border of a character, and shows that something was cut.
fn shorten(text: &mut String, most: usize) {
    const CUT: &str = "...";
    if text.len() > most {
        let end = (0..=most - CUT.len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(CUT);
    }
}

/// What one value may still take: of memory, and of the columns that count in 32 bits.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    /// Bytes of text and elements of lists that all values together may still have.
    offsets: usize,
}

impl Room {
    /// For a value of so many bytes, under a schema of so many columns, beside others.
    pub(super) fn new(value_bytes: usize, columns: usize, offsets: usize) -> Room {
        let bytes = value_bytes.saturating_mul(BYTES_PER_BYTE);
        let bytes = bytes.saturating_add(columns.saturating_add(1).saturating_mul(BYTES_PER_COLUMN));
        Room { bytes: bytes.min(MAX_ROOM_BYTES), offsets }
    }

    /// What the values after this one may have.
    pub(super) fn offsets(&self) -> usize {
        self.offsets
    }

    /// One more cell.
    pub(super) fn cell(&mut self) -> Result<(), Misfit> {
        self.take(size_of::<Cell<'_>>(), 1)
    }

    /// The bytes of a text.
    pub(super) fn text(&mut self, bytes: usize) -> Result<(), Misfit> {
        self.take(bytes, bytes)
    }

    fn take(&mut self, bytes: usize, offsets: usize) -> Result<(), Misfit> {
        let left = self.bytes.checked_sub(bytes).zip(self.offsets.checked_sub(offsets));
        let (bytes, offsets) = left.ok_or_else(|| Misfit::new("more fields than a value may have"))?;
        self.bytes = bytes;
        self.offsets = offsets;
        Ok(())
    }
}
