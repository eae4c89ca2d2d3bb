//! What can go wrong in the log, sorted by what the caller must do.
//!
//! Must not know Kafka's codes: the gateway maps [`Kind`] to them. The source of an error is always kept.

use std::borrow::Cow;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller must do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Change the request or the configuration: it can never succeed as it is.
    Invalid,
    /// Nothing is there.
    NotFound,
    /// Try again later: the store did not answer, or not in time. Nothing was decided.
    Unavailable,
    /// Ask for rights: the store refused the credentials or the operation.
    Denied,
    /// Upgrade this program, or use another store.
    Unsupported,
    /// Look at the bucket: an object is not what it should be.
    Corrupt,
    /// Try again with the same content: it may or may not have taken effect.
    Unknown,
    /// This process is shutting down.
    Closed,
}

/// An error of the log. `Display` is one sentence that says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A URL, name or setting that cannot work.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The object is not in the bucket.
    #[error("{0} is not in the store")]
    NotFound(String),
    /// The store could not be reached or answered with an error that may pass.
    #[error("the store does not answer ({action} {key}): {source}")]
    Unavailable {
        /// What was asked of the store.
        action: &'static str,
        /// The object concerned.
        key: String,
        /// What the client library said.
        source: std::sync::Arc<object_store::Error>,
    },
    /// The credentials were refused.
    #[error(
        "the store refused access ({action} {key}): check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or those of your cloud) and that the bucket allows it: {source}"
    )]
    Denied {
        /// What was asked of the store.
        action: &'static str,
        /// The object concerned.
        key: String,
        /// What the client library said.
        source: std::sync::Arc<object_store::Error>,
    },
    /// The bucket was written by a newer Strandline, or the store lacks what the log needs.
    #[error("{0}")]
    Unsupported(Cow<'static, str>),
    /// An object does not hold what its frame or checksum promises.
    #[error(
        "{key} is damaged: {what}; restore it from a copy, or run `strandline inspect` on it to see more"
    )]
    Corrupt {
        /// The object concerned.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The outcome of a write is not known.
    #[error(
        "it is not known whether the write took effect ({0}); it is safe to try again with an idempotent producer"
    )]
    Unknown(Cow<'static, str>),
    /// The journal is closed.
    #[error("this node is shutting down")]
    Closed,
}

impl Error {
    /// What the caller must do.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Invalid(_) => Kind::Invalid,
            Error::NotFound(_) => Kind::NotFound,
            Error::Unavailable { .. } => Kind::Unavailable,
            Error::Denied { .. } => Kind::Denied,
            Error::Unsupported(_) => Kind::Unsupported,
            Error::Corrupt { .. } => Kind::Corrupt,
            Error::Unknown(_) => Kind::Unknown,
            Error::Closed => Kind::Closed,
        }
    }

    /// A damaged object.
    pub fn corrupt(key: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Corrupt { key: key.into(), what: what.into() }
    }
}
