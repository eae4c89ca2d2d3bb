//! ListTransactions: the transactional ids that this broker coordinates (KIP-664); clients ask every
//! broker and add up.

use crate::codec::message;

message! {
    /// Asks for transactional ids.
    pub struct Request {
        /// The states to list, empty for all.
        state_filters: Vec<String> [0..],
        /// The ids of the producers to list, empty for all.
        producer_id_filters: Vec<i64> [0..],
        /// List only transactions that have been open for longer, in milliseconds; negative for all.
        duration_filter: i64 [1..] = -1,
        /// The regular expression (RE2) that a whole transactional id must match; null or empty for all.
        transactional_id_pattern: Option<String> [2.., null 2..],
    }

    /// Carries transactional ids.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if the list is complete.
        error_code: i16 [0..],
        /// The names in `state_filters` that are no states.
        unknown_state_filters: Vec<String> [0..],
        /// The transactional ids.
        transaction_states: Vec<TransactionState> [0..],
    }

    /// One transactional id.
    pub struct TransactionState {
        /// The transactional id.
        transactional_id: String [0..],
        /// The id of the producer.
        producer_id: i64 [0..],
        /// Its state, as Kafka names it.
        transaction_state: String [0..],
    }
}
