//! Record bytes on their way through: a rope of slices that nobody copies.
//!
//! Must not know what a record batch is. Invariant: no part is empty.

use bytes::Bytes;

/// Record bytes in one or more slices, in order. A clone shares the bytes.
///
/// A slice that came out of a request keeps its whole frame in memory: copy it if it shall outlive
/// the request by long.
#[derive(Debug, Clone, Default)]
pub struct Records {
    parts: Vec<Bytes>,
}

impl Records {
    /// The total number of bytes.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The slices, in order, none of them empty.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The slices, in order, none of them empty.
    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// Adds a slice at the end.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts.push(part);
        }
    }
}

impl From<Bytes> for Records {
    fn from(part: Bytes) -> Self {
        let mut records = Self::default();
        records.push(part);
        records
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(mut parts: Vec<Bytes>) -> Self {
        parts.retain(|part| !part.is_empty());
        Self { parts }
    }
}

/// Equal bytes, however they are cut into slices.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |records: &'_ Self| records.parts.clone().into_iter().flatten();
        self.len() == other.len() && bytes(self).eq(bytes(other))
    }
}

impl Eq for Records {}
