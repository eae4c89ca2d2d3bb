//! AddOffsetsToTxn: says that a transaction will commit offsets of a group, before it does.
//!
//! Clients of the newer transaction protocol (KIP-890) send none, since TxnOffsetCommit adds the
//! group.

use crate::codec::message;

message! {
    /// Asks to add a group.
    pub struct Request {
        /// The transactional id.
        transactional_id: String [0..],
        /// The id of the producer.
        producer_id: i64 [0..],
        /// Its epoch.
        producer_epoch: i16 [0..],
        /// The group.
        group_id: String [0..],
    }

    /// Says whether the group was added.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if it was added.
        error_code: i16 [0..],
    }
}
