//! Every topic config of Kafka 4, and those of Strandline, by name.
//!
//! Must not know how values are checked or sent. Invariant: sorted by name; the defaults are Kafka's.

use super::Rule::{Any, AtLeast, Between, OneOf, Ratio};
use super::{TopicConfig, Type};

const FOREVER: &str = "9223372036854775807";
const UNUSED: &str = "Kept for tools that set it. Has no effect: there are no log files on disks here.";
const UNTIERED: &str = "Kept for tools that set it. Has no effect: all records live in object storage.";
const UNREPLICATED: &str = "Kept for tools that set it. Has no effect: the object store replicates.";
const RECOMPRESSED: &str =
    "Kept for tools that set it. Has no effect: batches stay as producers compressed them.";

const fn config(
    name: &'static str,
    default: &'static str,
    kind: Type,
    rule: super::Rule,
    doc: &'static str,
) -> TopicConfig {
    TopicConfig { name, default, kind, rule, doc }
}

/// Names that differ between a topic and a broker: the topic's, then the broker's. Sorted.
pub(super) static SYNONYMS: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("local.retention.bytes", "log.local.retention.bytes"),
    ("local.retention.ms", "log.local.retention.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("preallocate", "log.preallocate"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("segment.jitter.ms", "log.roll.jitter.ms"),
    ("segment.ms", "log.roll.ms"),
];

/// The table.
pub(crate) static TOPIC_CONFIGS: &[TopicConfig] = &[
    config(
        "cleanup.policy",
        "delete",
        Type::List,
        OneOf(&["delete", "compact"]),
        "What becomes of old records: deleted after retention, compacted to the last of each key, both, or (empty) nothing. \
         A compacted topic takes no record without a key.",
    ),
    config("compression.gzip.level", "-1", Type::Int, Between(-1, 9), RECOMPRESSED),
    config("compression.lz4.level", "9", Type::Int, Between(1, 17), RECOMPRESSED),
    config(
        "compression.type",
        "producer",
        Type::String,
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "How batches are compressed. Whatever is set, they stay as producers compressed them.",
    ),
    config("compression.zstd.level", "3", Type::Int, Between(-131_072, 22), RECOMPRESSED),
    config(
        "delete.retention.ms",
        "86400000",
        Type::Long,
        AtLeast(0),
        "How long a tombstone of a compacted topic can be read, at least, after the compaction that removes what it deletes.",
    ),
    config("file.delete.delay.ms", "60000", Type::Long, AtLeast(0), UNUSED),
    config("flush.messages", FOREVER, Type::Long, AtLeast(1), UNUSED),
    config("flush.ms", FOREVER, Type::Long, AtLeast(0), UNUSED),
    config("follower.replication.throttled.replicas", "", Type::List, Any, UNREPLICATED),
    config("index.interval.bytes", "4096", Type::Int, AtLeast(0), UNUSED),
    config("leader.replication.throttled.replicas", "", Type::List, Any, UNREPLICATED),
    config("local.retention.bytes", "-2", Type::Long, AtLeast(-2), UNTIERED),
    config("local.retention.ms", "-2", Type::Long, AtLeast(-2), UNTIERED),
    config(
        "max.compaction.lag.ms",
        FOREVER,
        Type::Long,
        AtLeast(1),
        "Age from which on a record of a compacted topic is compacted in any case.",
    ),
    config(
        "max.message.bytes",
        "1048588",
        Type::Int,
        AtLeast(0),
        "The largest record batch, as compressed, that the topic takes.",
    ),
    config(
        "message.timestamp.after.max.ms",
        "3600000",
        Type::Long,
        AtLeast(0),
        "How far a record's time may lie ahead of the node's, or of the newest commit's if that is later. Batches beyond it \
         are refused, by the largest time that their headers tell. Not for LogAppendTime.",
    ),
    config(
        "message.timestamp.before.max.ms",
        FOREVER,
        Type::Long,
        AtLeast(0),
        "How far a record's time may lie behind the node's. Records beyond it are refused; if this is set, each record is \
         looked at when it comes. Not for LogAppendTime.",
    ),
    config(
        "message.timestamp.type",
        "CreateTime",
        Type::String,
        OneOf(&["CreateTime", "LogAppendTime"]),
        "Whose time a record carries: the producer's, or that of the node which took it in.",
    ),
    config(
        "min.cleanable.dirty.ratio",
        "0.5",
        Type::Double,
        Ratio,
        "The share of uncompacted bytes from which on a compacted topic is compacted, if they are many or older than segment.ms.",
    ),
    config(
        "min.compaction.lag.ms",
        "0",
        Type::Long,
        AtLeast(0),
        "How long a record of a compacted topic stays uncompacted, at least.",
    ),
    config("min.insync.replicas", "1", Type::Int, AtLeast(1), UNREPLICATED),
    config("preallocate", "false", Type::Boolean, Any, UNUSED),
    config("remote.log.copy.disable", "false", Type::Boolean, Any, UNTIERED),
    config("remote.log.delete.on.disable", "false", Type::Boolean, Any, UNTIERED),
    config("remote.storage.enable", "false", Type::Boolean, Any, UNTIERED),
    config(
        "retention.bytes",
        "-1",
        Type::Long,
        AtLeast(-1),
        "Bytes of a partition beyond which its oldest records are deleted, whole extents at a time; -1: no bound.",
    ),
    config(
        "retention.ms",
        "604800000",
        Type::Long,
        AtLeast(-1),
        "Age beyond which records are deleted, by their own times, whole extents at a time; -1: no bound.",
    ),
    config("segment.bytes", "1073741824", Type::Int, AtLeast(14), UNUSED),
    config("segment.index.bytes", "10485760", Type::Int, AtLeast(4), UNUSED),
    config("segment.jitter.ms", "0", Type::Long, AtLeast(0), UNUSED),
    config(
        "segment.ms",
        "604800000",
        Type::Long,
        AtLeast(1),
        "Age of records from which on a compacted topic is compacted, however few they are. There are no log files here.",
    ),
    config(
        "strandline.archive.format",
        "batches",
        Type::String,
        OneOf(&["batches", "parquet"]),
        "How old records are kept: as the batches that producers sent, or as Parquet files that analytics tools read in place, \
         too. Records that were aborted are left out of Parquet files. Not for compacted topics.",
    ),
    config(
        "strandline.value.format",
        "none",
        Type::String,
        OneOf(&["none", "json", "avro", "protobuf"]),
        "What the values of a topic with Parquet files are: their fields become columns beside the raw bytes, by \
         strandline.value.schema.",
    ),
    config(
        "strandline.value.framing",
        "none",
        Type::String,
        OneOf(&["none", "confluent"]),
        "What stands before each value: nothing, or the five bytes and more that clients of a schema registry write.",
    ),
    config(
        "strandline.value.schema",
        "",
        Type::String,
        Any,
        "The schema of the values: JSON Schema, Avro's JSON, or the text of a .proto file.",
    ),
    config("unclean.leader.election.enable", "false", Type::Boolean, Any, UNREPLICATED),
];
