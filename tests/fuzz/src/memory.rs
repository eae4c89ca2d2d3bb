//! Memory that a decoder may take, measured on the thread that runs it.
//!
//! Must not know any decoder. The allocator counts what is asked for, so that a reservation that is never written to
//! counts too; a growing vector counts with its old and its new buffer.

/// How much may be held at once, beyond what was held before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// Bytes whatever the input.
    pub(crate) fixed: usize,
    /// Bytes for each byte of input.
    pub(crate) per_byte: usize,
}

impl Bound {
    /// Runs `decode` on `input` bytes, and panics if it held more.
    pub(crate) fn hold<T>(self, what: &str, input: usize, decode: impl FnOnce() -> T) -> T {
        let mut decoded = None;
        let info = allocation_counter::measure(|| decoded = Some(decode()));
        let most = self.fixed + self.per_byte * input;
        let held = info.bytes_max;
        assert!(held <= most as u64, "{what}: {held} bytes held for {input} bytes of input, at most {most}");
        decoded.unwrap()
    }
}
