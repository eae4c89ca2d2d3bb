//! Every bound of the log, in one place. Units stand last in the names.
//!
//! Must not know anything else. Relations that the code relies on are asserted when it is compiled.

use std::time::Duration;

/// One Kafka request on the wire, Kafka's `socket.request.max.bytes`.
pub const MAX_FRAME_BYTES: usize = 100 * MIB;
/// Kafka's default for `max.message.bytes`: the largest record batch that a topic takes.
pub const MAX_MESSAGE_BYTES_DEFAULT: usize = 1_048_588;
/// Kafka's default for `message.timestamp.after.max.ms`: how far a record's time may lie ahead of now.
pub const TIMESTAMP_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Kafka's default for `retention.ms`.
pub const RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// Kafka's default for `delete.retention.ms`.
pub const DELETE_RETENTION: Duration = Duration::from_secs(86_400);
/// Partitions that a topic gets when nobody says how many.
pub const DEFAULT_PARTITIONS: u32 = 4;
/// Partitions of one topic.
pub const MAX_PARTITIONS_PER_TOPIC: u32 = 10_000;
/// Topics of one cluster.
pub const MAX_TOPICS: usize = 100_000;
/// Partitions of one cluster.
pub const MAX_PARTITIONS: usize = 200_000;
/// Characters of a topic name (Kafka's `Topic.MAX_NAME_LENGTH`).
pub const MAX_TOPIC_NAME_CHARS: usize = 249;
/// Configs of one topic.
pub const MAX_TOPIC_CONFIGS: usize = 64;
/// Bytes of the name of a topic's config; below feature level 4 of its value, too.
pub const MAX_CONFIG_CHARS: usize = 1_024;
/// Bytes of the value of a topic's config: a schema is one.
pub const MAX_CONFIG_VALUE_CHARS: usize = 32 * KIB;
/// Records of one batch.
pub const MAX_RECORDS_PER_BATCH: u32 = 10_000_000;
/// Producers remembered for one partition; the one that was silent longest makes room, but for those that have a transaction
/// open there.
pub const MAX_PRODUCERS_PER_PARTITION: usize = 10_000;
/// How long a silent producer is remembered (Kafka's `producer.id.expiration.ms`), in journal time.
pub const PRODUCER_EXPIRATION: Duration = Duration::from_secs(86_400);
/// Producer ids that one change hands to a node.
pub const PRODUCER_ID_BLOCK: u32 = 1_000;

/// Transactional ids of one cluster.
pub const MAX_TRANSACTIONAL_IDS: usize = 100_000;
/// Partitions and groups that take part in open transactions, all together.
pub const MAX_TRANSACTION_PARTS: usize = 500_000;
/// Offsets that open transactions are going to commit, all together.
pub const MAX_PENDING_OFFSETS: usize = 1_000_000;
/// Bytes of the metadata of these, and of the names of groups that take part in open transactions.
pub const MAX_PENDING_BYTES: usize = 64 * MIB;
/// How long a transactional id that nobody uses is remembered (Kafka's `transactional.id.expiration.ms`), in journal time.
pub const TRANSACTIONAL_ID_EXPIRATION: Duration = Duration::from_secs(7 * 86_400);
/// How long one that nobody uses is remembered at least, when there are as many as there may be. Longer than a transaction
/// may take.
pub const TRANSACTIONAL_ID_MAKES_ROOM: Duration = Duration::from_secs(3_600);

/// Consumer groups of one cluster.
pub const MAX_GROUPS: usize = 100_000;
/// Bytes of a group's name, a member's id, client id or instance id.
pub const MAX_GROUP_NAME_BYTES: usize = 1_024;
/// Members of one group.
pub const MAX_GROUP_MEMBERS: usize = 10_000;
/// Bytes of all members of one group, their subscriptions and assignments included.
pub const MAX_GROUP_BYTES: usize = 8 * MIB;
/// Bytes of all members and of the metadata of all offsets of all groups: they are part of the manifest.
pub const MAX_GROUPS_BYTES: usize = 512 * MIB;
/// Committed offsets of all groups.
pub const MAX_GROUP_OFFSETS: usize = 4_000_000;
/// Bytes of what a client may leave beside an offset (Kafka's `offset.metadata.max.bytes`).
pub const MAX_OFFSET_METADATA_BYTES: usize = 4_096;
/// How long the offsets of a group without members are kept (Kafka's `offsets.retention.minutes`), in journal time.
pub const OFFSETS_RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// Journal time between two looks for what has expired.
pub const EXPIRE_EVERY: Duration = Duration::from_secs(3_600);

/// Bytes of records that may ride in a commit itself.
pub const INLINE_MAX_BYTES_DEFAULT: usize = MIB;
/// The most that `--inline-max` may be set to: a commit is one PUT and one GET.
pub const INLINE_MAX_BYTES_LIMIT: usize = 32 * MIB;
/// What a segment aims at. A flush of twice as much goes out without waiting; more is cut, and uploaded side by side.
pub const SEGMENT_BYTES_DEFAULT: usize = 8 * MIB;
/// The smallest and the largest `--segment-bytes`.
pub const SEGMENT_BYTES_MIN: usize = 64 * KIB;
/// The largest `--segment-bytes`.
pub const SEGMENT_BYTES_LIMIT: usize = 256 * MIB;
/// Record bytes that a node holds between the socket and the acknowledgement.
pub const INFLIGHT_BYTES_DEFAULT: usize = 96 * MIB;
/// Time between paid flushes on stores that charge for requests.
pub const FLUSH_INTERVAL_DEFAULT: Duration = Duration::from_millis(100);
/// Flushes that may go out at once after a quiet time.
pub const FLUSH_BURST: u32 = 8;
/// Bytes that the caches of a node hold, the tail's and the history's together.
pub const CACHE_BYTES_DEFAULT: usize = 192 * MIB;
/// One part in so many of the cache is the tail's, the rest the history's.
pub const TAIL_PART: usize = 3;

/// Changes of one commit.
pub const MAX_CHANGES_PER_COMMIT: usize = 20_000;
/// Batches of one commit: its header must stay well below [`MAX_HEADER_BYTES`].
pub const MAX_BATCHES_PER_COMMIT: usize = 2_000_000;
/// The header of any object: commit, segment or checkpoint.
pub const MAX_HEADER_BYTES: usize = 1_024 * MIB;
/// The highest slot that a checkpoint may stand for: a journal never gets there, and the slots after it must still fit the
/// 61 bits that a swap has for one.
pub const MAX_SLOT: u64 = 1 << 60;
/// Slots that a proposer may have in flight.
pub const PIPELINE_SLOTS: usize = 16;
/// Proposals that may wait for a slot before the proposer's callers wait too.
pub const MAX_WAITING_PROPOSALS: usize = 1_024;
/// Commit ids that the fold remembers below the highest of an incarnation.
pub const COMMIT_WINDOW: u64 = 64;
/// Slots that a node reads side by side when it catches up.
pub const CATCH_UP_SLOTS: usize = 32;
/// Commits between two checkpoints of a small manifest.
pub const CHECKPOINT_EVERY_COMMITS: u64 = 512;
/// A larger manifest is written less often: one commit more for each so many bytes.
pub const CHECKPOINT_BYTES_PER_COMMIT: u64 = 16 * KIB as u64;

/// Bytes of a chunk between two positions of its footer, from which a lookup may begin.
pub const CHUNK_BLOCK_BYTES: u64 = MIB as u64;
/// Chunks of one leaf of the index.
pub const INDEX_LEAF_CHUNKS: usize = 128;
/// Leaves below one inner node of the index.
pub const INDEX_INNER_BRANCHES: usize = 65_536;
/// A part of a large object that is written in several requests; S3 takes none below 5 MiB but the last.
pub const UPLOAD_PART_BYTES: usize = 8 * MIB;
/// Parts of one object that are under way side by side.
pub const UPLOAD_PARTS_AT_ONCE: usize = 3;
/// Parts of one object, as S3 takes them.
pub const UPLOAD_PARTS_MAX: usize = 10_000;

/// Requests that a scrub makes side by side when nobody says how many.
pub const SCRUB_REQUESTS: usize = 16;
/// Bytes of objects that a scrub holds at a time; one object that is larger is held alone.
pub const SCRUB_BYTES: usize = 64 * MIB;
/// What a scrub reads of a segment at once.
pub const SCRUB_WINDOW_BYTES: usize = 4 * MIB;
/// References to objects that a scrub holds at a time, unless one of the 256 shards alone has more.
pub const SCRUB_REFERENCES: usize = 1_000_000;
/// Findings of each kind of list in a scrub's report; what lies beyond is only counted.
pub const SCRUB_FINDINGS: usize = 1_000;
/// Objects that the store may fail to give before a scrub stops asking.
pub const SCRUB_FAILURES: usize = 64;

/// How old a checkpoint is before the floor moves to it: who is behind by less still finds all that it knows of.
pub const FLOOR_LAG: Duration = Duration::from_secs(3_600);
/// Time between two moves of the floor: its objects are never deleted.
pub const FLOOR_EVERY: Duration = Duration::from_secs(4 * 3_600);
/// Objects that a sweep deletes side by side.
pub const SWEEP_DELETES: usize = 16;
/// Index nodes that could not be read, of which a sweep's report tells.
pub const SWEEP_UNJUDGED: usize = 100;

/// How long a node may trust what it knows of the tail.
pub const LEASE: Duration = Duration::from_secs(3_600);
/// How often a process looks at its clocks, at least, to notice that it stood still for a [`LEASE`].
pub const STANDSTILL_LOOK: Duration = Duration::from_secs(600);
/// How long after the floor passed it a slot may be deleted, an append's segment may be old, a commit id is remembered.
pub const DAY: Duration = Duration::from_secs(86_400);
/// One attempt to write or read a slot.
pub const SLOT_ATTEMPT: Duration = Duration::from_secs(10);
/// Pause before a slot is tried again after an unclear answer: first and longest.
pub const SLOT_RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// Pause of a follower that waits for somebody else's commits: first and longest.
pub const FOLLOW_POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Attempts of every other request to the store.
pub const STORE_ATTEMPTS: u32 = 6;
/// Reads of an object that is damaged, before it is called so.
pub const DAMAGED_ATTEMPTS: u32 = 4;
/// Pause between two attempts: first and longest.
pub const STORE_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// One request to the store, body included.
pub const STORE_REQUEST: Duration = Duration::from_secs(30);
/// Objects of one page of a listing, as the clouds give them out.
pub const LIST_PAGE: u64 = 1_000;
/// Writers that race for one key in the start-up probe.
pub const PROBE_RACERS: usize = 32;

/// 1,024 bytes.
pub const KIB: usize = 1_024;
/// 1,024 KiB.
pub const MIB: usize = 1_024 * KIB;

// The fold can only recognise a late commit while its id is inside the window.
const _: () = assert!((PIPELINE_SLOTS as u64) < COMMIT_WINDOW);
const _: () = assert!(INLINE_MAX_BYTES_DEFAULT < INLINE_MAX_BYTES_LIMIT);
const _: () =
    assert!(SEGMENT_BYTES_MIN <= SEGMENT_BYTES_DEFAULT && SEGMENT_BYTES_DEFAULT <= SEGMENT_BYTES_LIMIT);
// A node must notice that its lease is over before anything it relies on may be deleted.
const _: () = assert!(LEASE.as_secs() * 2 < DAY.as_secs());
