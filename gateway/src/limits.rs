//! Every bound of the sockets, in one place. Units stand last in the names.
//!
//! Must not know anything else; the bounds of the log itself are in `strandline_core::limits`. Relations that the
//! code relies on are asserted when it is compiled.

use std::time::Duration;

use strandline_core::limits::{KIB, MAX_CHANGES_PER_COMMIT, MAX_FRAME_BYTES, MIB};

/// Kafka connections open at the same time; further ones are closed as soon as they are accepted.
pub(crate) const MAX_CONNECTIONS: usize = 4_096;
/// Pause after the operating system refused to accept (out of file descriptors).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection on which no request starts for so long is closed, as Kafka does.
pub(crate) const IDLE: Duration = Duration::from_secs(600);
/// A frame that has begun must have arrived whole by then. Waiting for admission does not count.
pub(crate) const FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes no byte of its answers for so long is cut off: its answers hold memory of the node.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(60);
/// How long the answers in flight may take once no more requests are read.
pub(crate) const DRAIN: Duration = Duration::from_secs(8);
/// What the whole node takes to shut down, at most.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(9);
/// HTTP connections open at the same time.
pub(crate) const HTTP_CONNECTIONS: usize = 2_048;
/// Between two requests on an HTTP connection, and for the head of one.
pub(crate) const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// HTTP requests that are worked on at the same time.
pub(crate) const HTTP_REQUESTS: usize = 1_024;
/// Streams of events that are open at the same time.
pub(crate) const HTTP_FOLLOWERS: usize = 512;
/// What a stream of events holds of a partition.
pub(crate) const HTTP_FOLLOW_BYTES: usize = 128 * KIB;
/// Partitions that one stream of events follows.
pub(crate) const HTTP_FOLLOWED_PARTITIONS: usize = 100;
/// A body that is taken as a whole, after it was unpacked.
pub(crate) const HTTP_BODY_BYTES: usize = 8 * MIB;
/// What is still read of a body that was refused, and how long: a client that sends does not look for an answer, and a
/// connection that is closed under it takes the answer along.
pub(crate) const HTTP_DRAIN_BYTES: usize = 64 * MIB;
pub(crate) const HTTP_DRAIN_BODY: Duration = Duration::from_secs(2);
/// A line of NDJSON.
pub(crate) const HTTP_LINE_BYTES: usize = 8 * MIB;
/// Lines that are cut into batches together.
pub(crate) const HTTP_WINDOW_BYTES: usize = MIB;
/// Batches of one body of lines that may wait for their acknowledgements.
pub(crate) const HTTP_BATCHES_IN_FLIGHT: usize = 128;
/// Batches of one partition that a request with an idempotency key may have: so many are remembered of a producer.
pub(crate) const HTTP_KEYED_BATCHES: usize = 5;
/// Records of a list, and of a page.
pub(crate) const HTTP_RECORDS: usize = 10_000;
/// Records of a page, and about its bytes, unless more are asked for.
pub(crate) const HTTP_READ_RECORDS: usize = 1_000;
pub(crate) const HTTP_READ_BYTES: usize = MIB;
/// The longest that a read takes beside its waiting, whatever the store does.
pub(crate) const HTTP_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a read waits for records.
pub(crate) const HTTP_WAIT: Duration = Duration::from_secs(60);
/// Topics or groups of one page of a list, unless more are asked for; and the most.
pub(crate) const HTTP_LISTED: usize = 1_000;
pub(crate) const HTTP_LISTED_MOST: usize = 10_000;
/// How long HTTP answers may take once nothing is worked on.
pub(crate) const HTTP_DRAIN: Duration = Duration::from_millis(500);

/// The fixed part of every request header: API key, version, correlation id.
pub(crate) const MIN_FRAME_BYTES: usize = 8;
/// Frames up to this size are cut out of the connection's read buffer; larger ones get a buffer of their own.
pub(crate) const SMALL_FRAME_BYTES: usize = 8 * KIB;
/// The read buffer of a connection.
pub(crate) const READ_BUFFER_BYTES: usize = 16 * KIB;
/// Below this much room in the read buffer a new one is taken, so that reads do not become tiny.
pub(crate) const READ_ROOM_BYTES: usize = 4 * KIB;

/// The largest frame of any API but Produce. Their many small fields grow when they are decoded.
pub(crate) const MAX_OTHER_FRAME_BYTES: usize = 8 * MIB;
/// Requests of one connection between reading and writing. A producer may pipeline that many.
pub(crate) const MAX_REQUESTS_IN_FLIGHT: usize = 1_024;
/// Requests other than Produce up to this size do not wait for the producers' budget, so that a store which takes no
/// writes does not stop readers.
pub(crate) const UNADMITTED_FRAME_BYTES: usize = 64 * KIB;
/// Bytes of such requests in flight on one connection.
pub(crate) const CONNECTION_REQUEST_BYTES: usize = 256 * KIB;

/// Parts of answers handed to the kernel in one call.
pub(crate) const WRITE_PARTS: usize = 64;
/// Answers that are ready are gathered up to this size before they are written.
pub(crate) const WRITE_BATCH_BYTES: usize = 256 * KIB;

/// Record bytes of Fetch answers between the reader and the sockets, all connections together.
pub(crate) const FETCH_BUDGET_BYTES: usize = 64 * MIB;
/// The most that one Fetch answer holds, whatever the client allows. The first batch is never cut.
pub(crate) const FETCH_RESPONSE_BYTES: usize = 16 * MIB;
/// The most that a Fetch answer holds which had to wait for records. Kept small, since waiting holds no budget; a
/// client that is behind asks again at once and gets the larger share.
pub(crate) const FETCH_WAITED_BYTES: usize = MIB;
/// Fetches of one connection that run side by side. Clients send one at a time.
pub(crate) const FETCHES_PER_CONNECTION: usize = 4;
/// The longest that a Fetch waits, whatever the client allows.
pub(crate) const FETCH_WAIT: Duration = Duration::from_secs(300);
/// How long a Produce waits for its acknowledgement when the client names no time.
pub(crate) const PRODUCE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest that a Produce waits, whatever the client allows.
pub(crate) const PRODUCE_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest that a request waits for a look at what other nodes did that it can do without.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that a request waits for the journal to be read to its end, and a commit of offsets to be decided.
pub(crate) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two looks for transactions that take too long (Kafka's
/// `transaction.abort.timed.out.transaction.cleanup.interval.ms`).
pub(crate) const TRANSACTION_SWEEP: Duration = Duration::from_secs(5);
/// Transactions that one commit aborts because they take too long.
pub(crate) const ABORTED_TOGETHER: usize = 1_000;
/// The longest `transaction.timeout.ms` of a producer (Kafka's `transaction.max.timeout.ms`).
pub(crate) const TRANSACTION_TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// Changes of topics, and lookups of offsets, that one request runs side by side.
pub(crate) const SIDE_BY_SIDE: usize = 32;
/// Topics that one CreateTopics request may name: each is answered with all its configs.
pub(crate) const CREATED_PER_REQUEST: usize = 1_000;
/// Resources that one DescribeConfigs request may name.
pub(crate) const DESCRIBED_PER_REQUEST: usize = 10_000;
/// Topics, brokers or partitions that one request may change: all of it goes into one commit.
pub(crate) const CHANGED_PER_REQUEST: usize = 10_000;
/// Topics that one Metadata request may create.
pub(crate) const AUTO_CREATED_PER_REQUEST: usize = 100;
/// Groups that one commit deletes.
pub(crate) const GROUPS_PER_COMMIT: usize = 1_000;
/// What one answer holds of members, or of committed offsets with their metadata.
pub(crate) const GROUP_ANSWER_BYTES: usize = 64 * MIB;

/// Groups that are active on one node: those that have members, or clients that are about to be.
pub(crate) const MAX_ACTIVE_GROUPS: usize = 50_000;
/// How long an id that was given to a new member waits for its second JoinGroup, at most, and what it counts for.
pub(crate) const GROUP_PENDING: Duration = Duration::from_secs(60);
/// See [`GROUP_PENDING`]; the client's name is the largest part of it.
pub(crate) const GROUP_PENDING_BYTES: usize = KIB;
/// Requests that wait for the task of one group.
pub(crate) const GROUP_INBOX: usize = 4_096;
/// Bytes of the members of all groups that are active here; beyond it nobody joins until some have left.
pub(crate) const ACTIVE_GROUP_BYTES: usize = 256 * MIB;
/// Protocols (assignors) that one member may name.
pub(crate) const MAX_GROUP_PROTOCOLS: usize = 100;
/// The shortest and the longest session of a member (Kafka's `group.min.session.timeout.ms` and its `max`).
pub(crate) const SESSION_TIMEOUT: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(1_800));
/// How long the first generation of a group waits for more members after each that came, and altogether (Kafka's
/// `group.initial.rebalance.delay.ms` is 3 s at once): one member alone waits for the first only, and members that start
/// together get into one generation.
pub(crate) const INITIAL_REBALANCE_DELAY: (Duration, Duration) =
    (Duration::from_millis(150), Duration::from_secs(3));
/// A timer that is later than this tells of a node that stood still, not of members that are silent.
pub(crate) const GROUP_TIMER_LATE: Duration = Duration::from_secs(1);
/// How often a group that keeps requests waiting looks whether their clients are still there, and whether it is still ours.
pub(crate) const GROUP_WATCH: Duration = Duration::from_secs(1);
/// A coordinator that has not read the journal to its end for so long does so before it answers.
pub(crate) const GROUP_VERIFY: Duration = Duration::from_secs(5);
/// How long an answer waits for that: well below the shortest session.
pub(crate) const GROUP_VERIFY_WAIT: Duration = Duration::from_secs(2);
/// How long a coordinator goes on without it while the store does not answer.
pub(crate) const GROUP_UNVERIFIED: Duration = Duration::from_secs(45);
/// How often a node looks for groups with members whose coordinator it has become.
pub(crate) const GROUP_SWEEP: Duration = Duration::from_secs(10);

/// Topics that one member may subscribe to by name.
pub(crate) const MAX_SUBSCRIBED_NAMES: usize = 10_000;
/// The longest that a member may take to give partitions up.
pub(crate) const MAX_REBALANCE_TIMEOUT: Duration = Duration::from_secs(86_400);
/// Bytes of a pattern of topic names.
pub(crate) const MAX_PATTERN_BYTES: usize = KIB;
/// Different patterns of one group: each is matched with all topics.
pub(crate) const MAX_PATTERNS_PER_GROUP: usize = 32;
/// Memory that a compiled pattern takes.
pub(crate) const PATTERN_PROGRAM_BYTES: usize = 256 * KIB;
/// Memory that matching a pattern takes.
pub(crate) const PATTERN_CACHE_BYTES: usize = 256 * KIB;
/// How often the topics that the members of a group name are looked at.
pub(crate) const GROUP_LOOK: Duration = Duration::from_secs(1);
/// The same where there are patterns: all topics are looked at.
pub(crate) const GROUP_PATTERN_LOOK: Duration = Duration::from_secs(5);

/// A node that is busy, or knows one that is, says so often that it lives, and looks who else does.
pub(crate) const NODE_BEAT: Duration = Duration::from_secs(5);
/// A node that has said nothing for so long, by the store's clock, is taken for dead.
pub(crate) const NODE_DEAD: Duration = Duration::from_secs(15);
/// A node counts as busy for so long after its last request or connection, and beats for so long after its start.
pub(crate) const NODE_BUSY: Duration = Duration::from_secs(60);
/// The same where no other node says that it lives: there is nobody to be missed by, and the next client wakes it at once.
/// Two beats, so that another node with the same id shows itself.
pub(crate) const NODE_BUSY_ALONE: Duration = Duration::from_secs(10);
/// An idle node that has met others looks for busy ones this often.
pub(crate) const NODE_PEEK: Duration = Duration::from_secs(300);
/// What nobody has written for so long is neither looked for nor kept.
pub(crate) const NODE_FORGOTTEN: Duration = Duration::from_secs(86_400);
/// What a node says is read again after this time although it seems not to have changed.
pub(crate) const NODE_READ_AGAIN: Duration = Duration::from_secs(600);
/// One look, or one beat, with the retries of the store.
pub(crate) const NODE_REQUEST: Duration = Duration::from_secs(5);
/// How long a request waits for a look at the nodes when the last one is old.
pub(crate) const NODE_REFRESH: Duration = Duration::from_secs(1);
/// How long it may take to connect to another node, to see whether it is there.
pub(crate) const NODE_DIAL: Duration = Duration::from_millis(300);
/// A client that asks who lives has the other nodes dialled if that was not done for so long.
pub(crate) const NODE_DIAL_EVERY: Duration = Duration::from_secs(1);
/// In larger clusters a client's question alone does not have them dialled.
pub(crate) const NODES_DIALLED: usize = 32;
/// Of two nodes with one id the younger ends if it is younger than this; else both only complain.
pub(crate) const NODE_SETTLED: Duration = Duration::from_secs(25);
/// How long a node that is stopping tries to take its name off the list.
pub(crate) const NODE_LEAVE: Duration = Duration::from_secs(1);
/// How long it goes on serving after that, until the others have looked again.
pub(crate) const NODE_LINGER: Duration = Duration::from_millis(5_500);
/// Objects of nodes, dead ones included, that one look sees.
pub(crate) const NODES_LISTED: usize = 1_000;
/// Objects of nodes that are read side by side.
pub(crate) const NODES_READ_SIDE_BY_SIDE: usize = 16;
/// Forgotten nodes' objects that one look removes.
pub(crate) const NODES_SWEPT: usize = 16;
/// What a node says of itself.
pub(crate) const NODE_BYTES: u64 = 8 * KIB as u64;
/// Listeners of one node.
pub(crate) const NODE_LISTENERS: usize = 8;
/// The name of a listener, host or rack.
pub(crate) const NODE_NAME_BYTES: usize = 255;

// A node is dead only after it missed a beat, and is looked at more than once until then.
const _: () = assert!(NODE_BEAT.as_secs() * 3 <= NODE_DEAD.as_secs());
const _: () =
    assert!(NODE_DEAD.as_secs() < NODE_BUSY.as_secs() && NODE_BEAT.as_millis() < NODE_LINGER.as_millis());
// Enough is left for the answers in flight.
const _: () = assert!(NODE_LEAVE.as_secs() + NODE_LINGER.as_secs() + 2 < SHUTDOWN.as_secs());
// Whatever a request waits for is over before its connection counts as idle.
const _: () = assert!(FETCH_WAIT.as_secs() < IDLE.as_secs() && PRODUCE_TIMEOUT.as_secs() < IDLE.as_secs());
const _: () = assert!(DRAIN.as_secs() < SHUTDOWN.as_secs() && SHUTDOWN.as_secs() < 10);
const _: () = assert!(SESSION_TIMEOUT.0.as_secs() < SESSION_TIMEOUT.1.as_secs());
// The change of the feature level may stand in front.
const _: () = assert!(CHANGED_PER_REQUEST < MAX_CHANGES_PER_COMMIT);
// A member that waits for the store to answer stays a member.
const _: () = assert!(GROUP_VERIFY_WAIT.as_secs() * 2 < SESSION_TIMEOUT.0.as_secs());
// A small frame always fits into a fresh read buffer, its length included.
const _: () = assert!(SMALL_FRAME_BYTES + 4 <= READ_BUFFER_BYTES);
const _: () =
    assert!(MIN_FRAME_BYTES <= SMALL_FRAME_BYTES && UNADMITTED_FRAME_BYTES < CONNECTION_REQUEST_BYTES);
// Semaphores count in `u32`.
const _: () = assert!(FETCH_RESPONSE_BYTES <= FETCH_BUDGET_BYTES && FETCH_BUDGET_BYTES < u32::MAX as usize);
const _: () = assert!(MAX_OTHER_FRAME_BYTES <= MAX_FRAME_BYTES && MAX_FRAME_BYTES < i32::MAX as usize);
