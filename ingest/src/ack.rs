//! Who hears what the fold decided.
//!
//! Must not know how a batch got into the journal. An acknowledgement goes out only after the fold; an outcome that is not
//! known is reported as such, never as a refusal.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use strandline_core::Error;
use strandline_core::manifest::{BatchMeta, Change, GroupMember, Outcome, TransactionOffsets, Void};
use strandline_core::record::BadBatch;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::admit::Admission;
use crate::metrics;

/// Why what was taken in is given up without another word.
pub(crate) const STOOD_STILL: &str = "this node stood still since the request came";

/// Where a batch came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// First offset of the partition.
    pub log_start: i64,
    /// The time that its records got; -1: they keep the one that their producer gave them. Of a batch that was appended
    /// before it is the time of the repetition.
    pub log_append_time_ms: i64,
}

/// Why a batch was not appended, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No such topic.
    #[error("the topic does not exist")]
    UnknownTopic,
    /// The topic has fewer partitions.
    #[error("the partition does not exist")]
    UnknownPartition,
    /// The bytes changed on the way, or are cut off.
    #[error("the batch is damaged: {0}")]
    Corrupt(String),
    /// The batch contradicts itself or asks for what a producer may not do.
    #[error("the batch is invalid: {0}")]
    Invalid(String),
    /// Records without a key, on a topic that is compacted.
    #[error("one or more records have no key, and the topic is compacted: nothing would tell them apart")]
    Keyless(Refused),
    /// Records whose time is too far from now.
    #[error("one or more records have a timestamp outside of what the topic takes")]
    InvalidTimestamp(Refused),
    /// Above the topic's `max.message.bytes`.
    #[error("a batch of {bytes} bytes, the topic takes {max} (max.message.bytes)")]
    TooLarge {
        /// What came.
        bytes: usize,
        /// What is taken.
        max: usize,
    },
    /// Not RecordBatch v2.
    #[error("message format v{0} is not taken, only v2")]
    UnsupportedMagic(i8),
    /// Not one of Kafka's codecs.
    #[error("unknown compression codec {0}")]
    UnsupportedCodec(u8),
    /// Batches of this producer before this one are missing.
    #[error("out of order sequence number")]
    OutOfOrderSequence,
    /// A newer instance of the producer is at work.
    #[error("the producer's epoch is over")]
    InvalidProducerEpoch,
    /// No transactional id has this producer id.
    #[error("the producer id is not that of a transactional id")]
    UnknownProducerId,
    /// It says that it is part of a transaction, and nobody else does.
    #[error("a transactional batch in a request without a transactional id")]
    NotTransactional,
    /// It is part of no transaction that is open.
    #[error("there is no open transaction that the batch belongs to")]
    InvalidTransactionState,
    /// It was appended before, so long ago that its offset is forgotten.
    #[error("duplicate sequence number")]
    DuplicateSequence,
    /// The store is out of reach, or the outcome is not known: try again.
    #[error("not known to be appended, try again: {0}")]
    Unavailable(String),
    /// The node is shutting down.
    #[error("this node is shutting down")]
    Closed,
}

/// The records for which a batch was refused, counted from its first; the first hundred of them. None: the batch as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refused {
    /// Which.
    pub records: Vec<i32>,
    /// What is wrong with each of them.
    pub why: String,
}

impl AppendError {
    /// The records that are to blame.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            AppendError::Keyless(refused) | AppendError::InvalidTimestamp(refused) => Some(refused),
            _ => None,
        }
    }

    /// A short name for metrics.
    fn name(&self) -> &'static str {
        match self {
            AppendError::UnknownTopic | AppendError::UnknownPartition => "unknown",
            AppendError::Corrupt(_) => "corrupt",
            AppendError::Invalid(_) | AppendError::UnsupportedMagic(_) | AppendError::UnsupportedCodec(_) => {
                "invalid"
            }
            AppendError::Keyless(_) => "keyless",
            AppendError::InvalidTimestamp(_) => "timestamp",
            AppendError::TooLarge { .. } => "too_large",
            AppendError::OutOfOrderSequence => "out_of_order",
            AppendError::InvalidProducerEpoch => "fenced",
            AppendError::UnknownProducerId
            | AppendError::NotTransactional
            | AppendError::InvalidTransactionState => "transaction",
            AppendError::DuplicateSequence => "duplicate",
            AppendError::Unavailable(_) => "unavailable",
            AppendError::Closed => "closed",
        }
    }
}

impl From<Void> for AppendError {
    fn from(void: Void) -> AppendError {
        match void {
            Void::UnknownTopic => AppendError::UnknownTopic,
            Void::UnknownPartition => AppendError::UnknownPartition,
            Void::OutOfOrderSequence => AppendError::OutOfOrderSequence,
            Void::InvalidProducerEpoch => AppendError::InvalidProducerEpoch,
            Void::DuplicateSequence => AppendError::DuplicateSequence,
            Void::UnknownProducerId => AppendError::UnknownProducerId,
            Void::InvalidTransactionState | Void::TransactionOver => AppendError::InvalidTransactionState,
            Void::Stale => {
                AppendError::Unavailable("the segment became too old before its commit".to_owned())
            }
            Void::SeenBefore => AppendError::Unavailable("its commit was folded twice".to_owned()),
            Void::TopicExists
            | Void::InvalidTopicName
            | Void::InvalidPartitions
            | Void::LimitReached
            | Void::OffsetOutOfRange
            | Void::UnknownGroup
            | Void::GroupNotEmpty
            | Void::GroupChanged
            | Void::UnknownMember
            | Void::FencedInstance
            | Void::IllegalGeneration
            | Void::StaleMemberEpoch
            | Void::ProducerFenced
            | Void::NotDue
            | Void::ExtentsChanged
            | Void::Undecided
            | Void::RetentionChanged
            | Void::Malformed => AppendError::Invalid(void.to_string()),
        }
    }
}

impl From<BadBatch> for AppendError {
    fn from(bad: BadBatch) -> AppendError {
        match bad {
            BadBatch::Magic(magic) => AppendError::UnsupportedMagic(magic),
            BadBatch::Codec(codec) => AppendError::UnsupportedCodec(codec),
            BadBatch::Length(_) | BadBatch::Crc { .. } => AppendError::Corrupt(bad.to_string()),
            BadBatch::Inconsistent(_) | BadBatch::Records(_) => AppendError::Invalid(bad.to_string()),
        }
    }
}

impl From<Error> for AppendError {
    fn from(error: Error) -> AppendError {
        match error {
            Error::Closed => AppendError::Closed,
            other => AppendError::Unavailable(other.to_string()),
        }
    }
}

/// One batch on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) meta: BatchMeta,
    pub(crate) bytes: Bytes,
    pub(crate) waiter: Waiter,
}

/// Changes without record bytes, which ride in the commit of the next flush.
#[derive(Debug)]
pub(crate) struct Rider {
    pub(crate) changes: Vec<Change>,
    /// About what it takes, in memory and in a commit.
    pub(crate) bytes: usize,
    pub(crate) begun: Instant,
    reply: oneshot::Sender<Result<Vec<Outcome>, Error>>,
}

impl Rider {
    /// With the answer to come.
    pub(crate) fn new(changes: Vec<Change>) -> (Rider, oneshot::Receiver<Result<Vec<Outcome>, Error>>) {
        let (reply, answer) = oneshot::channel();
        let bytes = changes.iter().map(bytes_of).sum();
        (Rider { changes, bytes, begun: Instant::now(), reply }, answer)
    }

    /// Nobody knows what becomes of it, or it was never put.
    pub(crate) fn give_up(self, why: &'static str) {
        // Whoever asked may be gone.
        let _ = self.reply.send(Err(Error::Unknown(why.into())));
    }
}

fn bytes_of(change: &Change) -> usize {
    const EACH: usize = 128;
    EACH + match change {
        Change::CommitOffsets(commit) | Change::TransactionOffsets(TransactionOffsets { commit, .. }) => {
            commit.offsets.iter().map(|offset| EACH + offset.metadata.len()).sum::<usize>()
        }
        Change::UpdateGroup(update) => {
            let members = update.put.iter();
            let held = |member: &GroupMember| EACH + member.subscription.len() + member.assignment.len();
            update.state.len() + members.map(held).sum::<usize>() + update.remove.len() * EACH
        }
        Change::DeleteOffsets { partitions, .. } => partitions.len() * EACH,
        Change::AddToTransaction(add) => (add.partitions.len() + add.groups.len()) * EACH,
        _ => 0,
    }
}

/// Whoever waits for one batch.
#[derive(Debug)]
pub(crate) struct Waiter {
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    /// See [`Appended::log_append_time_ms`].
    append_time_ms: i64,
    begun: Instant,
    _admission: Admission,
}

/// The answer to one append, to come.
#[derive(Debug)]
#[must_use = "an append is acknowledged only to whoever waits for it"]
pub struct Append(State);

#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<Result<Appended, AppendError>>),
    Refused(Option<AppendError>),
}

impl Append {
    pub(crate) fn waiting(admission: Admission, append_time_ms: i64) -> (Append, Waiter) {
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter { reply, append_time_ms, begun: Instant::now(), _admission: admission };
        (Append(State::Waiting(answer)), waiter)
    }

    /// Why the batch was not even taken in; `None` if it was.
    pub fn refusal(&self) -> Option<&AppendError> {
        match &self.0 {
            State::Refused(error) => error.as_ref(),
            State::Waiting(_) => None,
        }
    }

    pub(crate) fn refused(error: AppendError) -> Append {
        metrics::REFUSED.with_label_values(&[error.name()]).inc();
        Append(State::Refused(Some(error)))
    }
}

impl Future for Append {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(AppendError::Closed))),
            State::Waiting(answer) => Pin::new(answer).poll(context).map(|answer| {
                answer.unwrap_or_else(|_| Err(AppendError::Unavailable("the node stopped".to_owned())))
            }),
        }
    }
}

impl Waiter {
    pub(crate) fn answer(self, result: Result<Appended, AppendError>) {
        match &result {
            Ok(_) => metrics::ACK_SECONDS.observe(self.begun.elapsed().as_secs_f64()),
            Err(error) => metrics::REFUSED.with_label_values(&[error.name()]).inc(),
        }
        // The client may be gone.
        let _ = self.reply.send(result);
    }
}

/// Tells the waiters of each change, in order, what became of it.
pub(crate) fn answer(waiters: Vec<Vec<Waiter>>, decided: Result<Vec<Outcome>, Error>) {
    let mut outcomes = match decided {
        Ok(outcomes) => outcomes.into_iter(),
        Err(error) => return refuse(waiters.into_iter().flatten(), &error.into()),
    };
    for waiters in waiters {
        match outcomes.next() {
            Some(Outcome::Appended(placed)) => {
                for (waiter, placed) in waiters.into_iter().zip(placed) {
                    let log_append_time_ms = waiter.append_time_ms;
                    waiter.answer(match placed {
                        Ok(place) => Ok(Appended {
                            base_offset: place.base_offset,
                            log_start: place.log_start,
                            log_append_time_ms,
                        }),
                        Err(void) => Err(void.into()),
                    });
                }
            }
            Some(Outcome::Void(void)) => refuse(waiters.into_iter(), &void.into()),
            Some(
                Outcome::Applied
                | Outcome::Swapped(_)
                | Outcome::ProducerIds(_)
                | Outcome::Producer(_)
                | Outcome::GroupVersion(_),
            )
            | None => {
                refuse(
                    waiters.into_iter(),
                    &AppendError::Unavailable("the fold gave another answer".to_owned()),
                );
            }
        }
    }
}

/// Tells the riders of a flush, whose changes stand behind those of `appends`.
pub(crate) fn answer_riders(riders: Vec<Rider>, appends: usize, decided: &Result<Vec<Outcome>, Error>) {
    let mut at = appends;
    for rider in riders {
        let end = at + rider.changes.len();
        let own = match decided {
            Ok(outcomes) => outcomes
                .get(at..end)
                .map(<[Outcome]>::to_vec)
                .ok_or(Error::Unknown("the fold gave another answer".into())),
            Err(error) => Err(error.clone()),
        };
        at = end;
        // Whoever asked may be gone.
        let _ = rider.reply.send(own);
    }
}

pub(crate) fn refuse(waiters: impl Iterator<Item = Waiter>, error: &AppendError) {
    for waiter in waiters {
        waiter.answer(Err(error.clone()));
    }
}
