//! DescribeTransactions: the state of transactions, by transactional id (KIP-664).

use crate::codec::message;

message! {
    /// Asks for transactions.
    pub struct Request {
        /// The transactional ids.
        transactional_ids: Vec<String> [0..],
    }

    /// Carries transactions.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The transactions.
        transaction_states: Vec<TransactionState> [0..],
    }

    /// One transaction.
    pub struct TransactionState {
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// The transactional id.
        transactional_id: String [0..],
        /// Its state, as Kafka names it: `Empty`, `Ongoing`, `CompleteCommit` and so on.
        transaction_state: String [0..],
        /// How long it may stay open, in milliseconds.
        transaction_timeout_ms: i32 [0..],
        /// When it began, in milliseconds since 1970, -1 if none is open.
        transaction_start_time_ms: i64 [0..],
        /// The id of the producer.
        producer_id: i64 [0..],
        /// Its epoch.
        producer_epoch: i16 [0..],
        /// The partitions that the open transaction has, by topic.
        topics: Vec<Topic> [0..],
    }

    /// What the open transaction has of one topic.
    pub struct Topic {
        /// The topic.
        topic: String [0..],
        /// The partitions.
        partitions: Vec<i32> [0..],
    }
}
