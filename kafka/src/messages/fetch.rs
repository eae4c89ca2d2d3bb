//! Fetch: reads record batches, long-polling at the ends of partitions.
//!
//! Topics go by name up to v12 and by id from v13. Record bytes go out by reference.

use crate::codec::{Records, Uuid, message};

message! {
    /// Asks for record batches.
    pub struct Request {
        /// The cluster the client believes to talk to.
        cluster_id: Option<String> [12.., null 12.., tag 0],
        /// -1 for a consumer, up to v14.
        replica_id: i32 [..=14] = -1,
        /// The replica that asks, from v15; the default for a consumer.
        replica_state: ReplicaState [15.., tag 1],
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32 [0..],
        /// The fewest bytes to answer with before `max_wait_ms` is over.
        min_bytes: i32 [0..],
        /// The most bytes to answer with, except that the first batch always goes out.
        max_bytes: i32 [3..] = i32::MAX,
        /// 0: read uncommitted; 1: read committed.
        isolation_level: i8 [4..],
        /// The fetch session, 0 for none.
        session_id: i32 [7..],
        /// The epoch of the fetch session, -1 for none.
        session_epoch: i32 [7..] = -1,
        /// What to read, by topic.
        topics: Vec<FetchTopic> [0..],
        /// What to drop from the fetch session.
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        /// The rack (zone) of the consumer.
        rack_id: String [11..],
    }

    /// The replica that asks.
    pub struct ReplicaState {
        /// Its id, -1 for a consumer.
        replica_id: i32 [0..] = -1,
        /// Its epoch.
        replica_epoch: i64 [0..] = -1,
    }

    /// What to read from one topic.
    pub struct FetchTopic {
        /// The topic, up to v12.
        topic: String [..=12],
        /// The topic, from v13.
        topic_id: Uuid [13..],
        /// What to read, by partition.
        partitions: Vec<FetchPartition> [0..],
    }

    /// What to read from one partition.
    pub struct FetchPartition {
        /// The partition.
        partition: i32 [0..],
        /// The leader epoch the client knows, -1 for none.
        current_leader_epoch: i32 [9..] = -1,
        /// The offset to start at.
        fetch_offset: i64 [0..],
        /// The epoch of the last record the client has, -1 for none.
        last_fetched_epoch: i32 [12..] = -1,
        /// The first offset of a follower's log, -1 for a consumer.
        log_start_offset: i64 [5..] = -1,
        /// The most bytes to answer with for this partition.
        partition_max_bytes: i32 [0..],
        /// The directory of a follower's replica.
        replica_directory_id: Uuid [17.., tag 0],
    }

    /// Partitions to drop from the fetch session.
    pub struct ForgottenTopic {
        /// The topic, up to v12.
        topic: String [..=12],
        /// The topic, from v13.
        topic_id: Uuid [13..],
        /// The partitions.
        partitions: Vec<i32> [7..],
    }

    /// Carries record batches.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// An error of the whole request.
        error_code: i16 [7..],
        /// The fetch session, 0 for none.
        session_id: i32 [7..],
        /// The results, by topic; without a session every partition asked for, even if empty.
        responses: Vec<TopicResponse> [0..],
        /// Where the leaders in `current_leader` can be reached.
        node_endpoints: Vec<NodeEndpoint> [16.., tag 0],
    }

    /// The results of one topic.
    pub struct TopicResponse {
        /// The topic, up to v12.
        topic: String [..=12],
        /// The topic, from v13.
        topic_id: Uuid [13..],
        /// The results, by partition.
        partitions: Vec<PartitionResponse> [0..],
    }

    /// The result of one partition.
    pub struct PartitionResponse {
        /// The partition.
        partition_index: i32 [0..],
        /// 0 if it could be read.
        error_code: i16 [0..],
        /// The offset after the last record that is readable everywhere.
        high_watermark: i64 [0..],
        /// The offset up to which all transactions have ended.
        last_stable_offset: i64 [4..] = -1,
        /// The first offset of the partition.
        log_start_offset: i64 [5..] = -1,
        /// Where the client's log and ours part.
        diverging_epoch: EpochEndOffset [12.., tag 0],
        /// The leader, if it is another broker.
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        /// The snapshot to load instead; brokers only.
        snapshot_id: SnapshotId [12.., tag 2],
        /// Transactions to skip in the records; null for read uncommitted.
        aborted_transactions: Option<Vec<AbortedTransaction>> [4.., null 4..],
        /// The replica to read from next time, -1 for this one.
        preferred_read_replica: i32 [11..] = -1,
        /// The record batches.
        records: Option<Records> [0.., null 0..],
    }

    /// The end of an epoch in our log.
    pub struct EpochEndOffset {
        /// The epoch.
        epoch: i32 [0..] = -1,
        /// The offset after its last record.
        end_offset: i64 [0..] = -1,
    }

    /// The leader of a partition.
    pub struct LeaderIdAndEpoch {
        /// Its id, -1 if unknown.
        leader_id: i32 [0..] = -1,
        /// Its epoch, -1 if unknown.
        leader_epoch: i32 [0..] = -1,
    }

    /// A snapshot of the metadata log.
    pub struct SnapshotId {
        /// The offset after its last record.
        end_offset: i64 [0..] = -1,
        /// The epoch of its last record.
        epoch: i32 [0..] = -1,
    }

    /// A transaction whose records the client must skip.
    pub struct AbortedTransaction {
        /// The producer.
        producer_id: i64 [4..],
        /// The first offset of the transaction.
        first_offset: i64 [4..],
    }

    /// Where a broker can be reached.
    pub struct NodeEndpoint {
        /// The broker.
        node_id: i32 [0..],
        /// Its host name or address.
        host: String [0..],
        /// Its port.
        port: i32 [0..],
        /// Its rack (zone).
        rack: Option<String> [0.., null 0..],
    }
}
