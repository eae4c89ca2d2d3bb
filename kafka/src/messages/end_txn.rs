//! EndTxn: commits or aborts a transaction.
//!
//! v5 has the layout of v4 in the request, but is the newer transaction protocol (KIP-890): every
//! end of a transaction raises the epoch, and the response says the one to go on with.

use crate::codec::message;

message! {
    /// Asks to end a transaction.
    pub struct Request {
        /// The transactional id.
        transactional_id: String [0..],
        /// The id of the producer.
        producer_id: i64 [0..],
        /// Its epoch.
        producer_epoch: i16 [0..],
        /// Whether to commit; if not, to abort.
        committed: bool [0..],
    }

    /// Says whether the transaction has ended.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if it has ended as asked.
        error_code: i16 [0..],
        /// The id to go on with, another one once the epochs are used up; -1 with an error.
        producer_id: i64 [5..] = -1,
        /// The epoch to go on with, -1 with an error.
        producer_epoch: i16 [5..] = -1,
    }
}
