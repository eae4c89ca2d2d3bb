//! InitProducerId: the id and epoch under which an idempotent or transactional producer writes.

use crate::codec::message;

message! {
    /// Asks for a producer id.
    pub struct Request {
        /// The transactional id, null for a producer that is only idempotent.
        transactional_id: Option<String> [0.., null 0..],
        /// After how long to abort an open transaction.
        transaction_timeout_ms: i32 [0..],
        /// The id the producer has, -1 for none.
        producer_id: i64 [3..] = -1,
        /// The epoch the producer has, -1 for none.
        producer_epoch: i16 [3..] = -1,
    }

    /// Carries a producer id.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if there is an id.
        error_code: i16 [0..],
        /// The id, -1 for none.
        producer_id: i64 [0..] = -1,
        /// The epoch.
        producer_epoch: i16 [0..],
    }
}
