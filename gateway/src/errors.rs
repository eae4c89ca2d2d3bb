//! From our errors to Kafka's codes. A handler changes one only where the clients of its API die of it.
//!
//! Must not know requests. Invariant: what may have taken effect, or may work later, gets a code that clients retry;
//! a final code is given only where nothing was written.

use strandline_core::manifest::Void;
use strandline_core::{Error, Kind};
use strandline_ingest::AppendError;
use strandline_kafka::error::ErrorCode;
use strandline_reader::ReadError;
use tracing::debug;

/// For a change of topics, or a look at the end of the journal, that did not come through.
pub(crate) fn journal(error: &Error) -> ErrorCode {
    match error.kind() {
        // The outcome is open or nothing was decided; admin clients and producers try again on this code.
        Kind::Unavailable | Kind::Unknown | Kind::Closed => ErrorCode::RequestTimedOut,
        // The operator must act; until then every retry meets the same.
        Kind::Denied | Kind::NotFound | Kind::Corrupt | Kind::Unsupported => ErrorCode::KafkaStorageError,
        Kind::Invalid => ErrorCode::InvalidRequest,
    }
}

/// The same in words. What the store said is for the operator's log: it may name hosts and keys.
pub(crate) fn journal_text(error: &Error) -> String {
    debug!(%error, "a request failed at the store");
    let text = match error.kind() {
        Kind::Unavailable => "the object store does not answer; try again",
        Kind::Unknown => "it is not known whether the change took effect; look, and try again",
        Kind::Closed => "the node is shutting down; try again at another",
        Kind::Denied | Kind::NotFound | Kind::Corrupt | Kind::Unsupported => {
            "the object store refuses or its content cannot be used; the node's log says more"
        }
        Kind::Invalid => return error.to_string(),
    };
    text.to_owned()
}

/// For a change that the fold refused.
pub(crate) fn void(void: &Void) -> ErrorCode {
    match void {
        Void::TopicExists => ErrorCode::TopicAlreadyExists,
        Void::UnknownTopic | Void::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        Void::InvalidTopicName => ErrorCode::InvalidTopicException,
        Void::InvalidPartitions => ErrorCode::InvalidPartitions,
        Void::LimitReached => ErrorCode::PolicyViolation,
        Void::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        Void::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        Void::DuplicateSequence => ErrorCode::DuplicateSequenceNumber,
        // Nothing was written and the same request may hold the next time.
        Void::Stale | Void::SeenBefore => ErrorCode::RequestTimedOut,
        Void::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        Void::UnknownGroup => ErrorCode::GroupIdNotFound,
        Void::GroupNotEmpty => ErrorCode::NonEmptyGroup,
        // Another node looks after the group now: whoever asks again is told which.
        Void::GroupChanged => ErrorCode::NotCoordinator,
        Void::UnknownMember => ErrorCode::UnknownMemberId,
        Void::FencedInstance => ErrorCode::FencedInstanceId,
        Void::IllegalGeneration => ErrorCode::IllegalGeneration,
        Void::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
        Void::UnknownProducerId => ErrorCode::InvalidProducerIdMapping,
        Void::ProducerFenced => ErrorCode::ProducerFenced,
        Void::InvalidTransactionState | Void::NotDue => ErrorCode::InvalidTxnState,
        Void::TransactionOver => ErrorCode::ConcurrentTransactions,
        // Of changes that no client asks for.
        Void::ExtentsChanged | Void::Undecided | Void::RetentionChanged | Void::Malformed => {
            ErrorCode::InvalidRequest
        }
    }
}

/// For a change of groups or offsets whose outcome is open, or a look at them that did not come through. Java, librdkafka,
/// Sarama and kafkajs all look for the coordinator again on this code and retry; Kafka's own coordinator says it, too, when
/// its log does not answer. On REQUEST_TIMED_OUT, Sarama tells its user that the commit failed.
pub(crate) fn group(error: &Error) -> ErrorCode {
    match error.kind() {
        Kind::Invalid => ErrorCode::InvalidRequest,
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}

/// For a change of groups or offsets that the fold refused.
pub(crate) fn group_void(refused: &Void) -> ErrorCode {
    match refused {
        // Nothing was written and the same request may hold the next time.
        Void::Stale | Void::SeenBefore => ErrorCode::CoordinatorNotAvailable,
        refused => void(refused),
    }
}

/// For a change of a transaction whose outcome is open, or a look at one that did not come through: all producers look for
/// the coordinator again and retry.
pub(crate) fn transaction(error: &Error) -> ErrorCode {
    group(error)
}

/// For a change of a transaction that the fold refused.
pub(crate) fn transaction_void(refused: &Void) -> ErrorCode {
    match refused {
        // Nothing was written. Whoever asks again means what is open then; a request that came late is never asked again.
        Void::TransactionOver | Void::Stale | Void::SeenBefore => ErrorCode::CoordinatorNotAvailable,
        refused => void(refused),
    }
}

/// For a batch that was not acknowledged. `unknown` is the code for a topic that is gone.
pub(crate) fn append(error: &AppendError, unknown: ErrorCode) -> ErrorCode {
    match error {
        AppendError::UnknownTopic => unknown,
        AppendError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        AppendError::Corrupt(_) => ErrorCode::CorruptMessage,
        AppendError::Invalid(_) => ErrorCode::InvalidRecord,
        AppendError::Keyless(_) => ErrorCode::InvalidRecord,
        AppendError::InvalidTimestamp(_) => ErrorCode::InvalidTimestamp,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::UnsupportedMagic(_) => ErrorCode::UnsupportedForMessageFormat,
        AppendError::UnsupportedCodec(_) => ErrorCode::UnsupportedCompressionType,
        AppendError::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        AppendError::DuplicateSequence => ErrorCode::DuplicateSequenceNumber,
        AppendError::UnknownProducerId => ErrorCode::InvalidProducerIdMapping,
        AppendError::InvalidTransactionState => ErrorCode::InvalidTxnState,
        // As Kafka: nobody may write in the name of nobody.
        AppendError::NotTransactional => ErrorCode::TransactionalIdAuthorizationFailed,
        // Never NOT_LEADER_OR_FOLLOWER: clients without retries lose the record on it.
        AppendError::Unavailable(_) | AppendError::Closed => ErrorCode::RequestTimedOut,
    }
}

/// The same in words, without what the store said.
pub(crate) fn append_text(error: &AppendError) -> String {
    match error {
        AppendError::Unavailable(why) => {
            debug!(why, "a batch is not known to be written");
            "the batch is not known to be written; try again".to_owned()
        }
        error => error.to_string(),
    }
}

/// For a partition that could not be read. `unknown` is the code for a topic that is gone.
pub(crate) fn read(error: &ReadError, unknown: ErrorCode) -> ErrorCode {
    match error {
        ReadError::UnknownTopic => unknown,
        ReadError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        // Damage in the bucket is for the operator. CORRUPT_MESSAGE would blame the network, and consumers fail on it.
        ReadError::Corrupt(_) | ReadError::Unavailable(_) => ErrorCode::KafkaStorageError,
    }
}
