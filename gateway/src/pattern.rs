//! Regular expressions that clients send, in the syntax of RE2.
//!
//! Must not know what is matched. Invariant: a pattern costs memory and time that are bounded by its length, whatever it is.

use regex::bytes::{Regex, RegexBuilder};

use crate::limits::{MAX_PATTERN_BYTES, PATTERN_CACHE_BYTES, PATTERN_PROGRAM_BYTES};

/// A pattern that must match the whole of a text. Its classes are those of ASCII.
///
/// # Errors
/// Why it is none, in words.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_PATTERN_BYTES {
        return Err(format!("it is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    let build = |text: &str| {
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(PATTERN_PROGRAM_BYTES)
            .dfa_size_limit(PATTERN_CACHE_BYTES)
            .build()
            .map_err(|error| error.to_string())
    };
    // On its own first: `a)|(b` is no pattern, but would become one.
    build(text)?;
    build(&format!("^(?:{text})$"))
}
