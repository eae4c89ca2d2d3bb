//! What can go wrong between bytes and messages, and the error codes that travel inside responses.
//!
//! Must not know any message. Invariant: every decode error says which rule the peer broke; none
//! of them carries bytes of the peer, so all are safe to log.

mod code;
#[cfg(test)]
mod tests;

pub use code::{ErrorCode, UnknownErrorCode};

/// The part of a request header that has the same layout in every version of every API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderPrefix {
    /// The API the peer asked for, known to us or not.
    pub api_key: i16,
    /// The version the peer asked for, served by us or not.
    pub api_version: i16,
    /// The number that a response must carry back.
    pub correlation_id: i32,
}

/// Why bytes are not a message. Except for an unsupported ApiVersions, the only answer is to close
/// the connection: after a malformed request no one knows what the peer meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A value goes on past the end of the frame.
    #[error("the frame ends in the middle of a value")]
    Truncated,
    /// A rule without a variant of its own is broken.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// The request has no length, or a length other than -1 is negative.
    #[error("{field}: length {length} is negative")]
    NegativeLength {
        /// The field whose length it is, as `Struct.field`.
        field: &'static str,
        /// The length on the wire.
        length: i32,
    },
    /// An array claims more elements than the rest of the frame can hold.
    #[error("{field}: {count} elements cannot fit into the {remaining} bytes that are left")]
    ImpossibleCount {
        /// The array, as `Struct.field`.
        field: &'static str,
        /// The number of elements on the wire.
        count: usize,
        /// Bytes after the count.
        remaining: usize,
    },
    /// A null where this version of the message does not allow one.
    #[error("{field}: null is not allowed in this version")]
    UnexpectedNull {
        /// The field, as `Struct.field`.
        field: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("{field}: not UTF-8")]
    NotUtf8 {
        /// The field, as `Struct.field`.
        field: &'static str,
    },
    /// We know this API but not this version. ApiVersions has an answer for that, see the function
    /// `encode_unsupported_api_versions` in `frame`.
    #[error("version {} of api key {} is not served", .header.api_version, .header.api_key)]
    UnsupportedVersion {
        /// What the peer asked for.
        header: HeaderPrefix,
    },
    /// We do not serve this API in any version.
    #[error("api key {} is not served", .header.api_key)]
    UnknownApi {
        /// What the peer asked for.
        header: HeaderPrefix,
    },
}

/// Why a message has no bytes. Fields that a version lacks are left out silently; these are the
/// cases in which a value that must be written cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Longer than its length field can say.
    #[error("{field}: length {length} does not fit its length field")]
    TooLong {
        /// The field, as `Struct.field`.
        field: &'static str,
        /// Its length in bytes or elements.
        length: usize,
    },
    /// A null in a version that has no way to say it.
    #[error("{field}: null cannot be written in this version")]
    UnexpectedNull {
        /// The field, as `Struct.field`.
        field: &'static str,
    },
    /// The header names an API or a version that we do not serve.
    #[error("version {api_version} of api key {api_key} is not served")]
    UnsupportedVersion {
        /// The API in the header.
        api_key: i16,
        /// The version in the header.
        api_version: i16,
    },
    /// The header names one API, the message belongs to another.
    #[error("the header is for api key {header}, the message is for {message}")]
    WrongMessage {
        /// The API in the header.
        header: i16,
        /// The API of the message.
        message: i16,
    },
}
