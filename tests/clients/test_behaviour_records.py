"""Producing, deleting and finding records, by error codes: Apache Kafka and Strandline must answer the same."""

import time

import pytest
import wire

from behaviour import error

HOUR_MS = 3_600_000


def batch(values=(b"v",), key=b"k", **more):
    """One batch of records that have a key."""
    body = b""
    for delta, value in enumerate(values):
        keyed = wire.varint(-1) if key is None else wire.varint(len(key)) + key
        record = b"\0" + wire.varint(0) + wire.varint(delta) + keyed + wire.varint(len(value)) + value + wire.varint(0)
        body += wire.varint(len(record)) + record
    return wire.batch(values, body=body, **more)


class Producer:
    """An idempotent producer, by hand."""

    def __init__(self, broker, topic, epoch=0):
        self.broker, self.topic, self.epoch = broker, topic, epoch
        self.id = broker.ask("InitProducerId", 4)["producer_id"]

    def send(self, sequence, count=1, epoch=None):
        """(error, base offset) of a batch of so many records."""
        producer = (self.id, self.epoch if epoch is None else epoch)
        found = self.broker.produce(self.topic, batch([b"v"] * count, producer=producer, sequence=sequence))
        return found["error"], found["base_offset"]


# --- idempotence ---


def test_duplicates_and_gaps(broker):
    producer = Producer(broker, broker.topic())
    broker.same("the first batch", producer.send(0, 3), (0, 0))
    broker.same("the second batch", producer.send(3, 2), (0, 3))
    broker.same("the first batch again", producer.send(0, 3), (0, 0))
    broker.same("the second batch again", producer.send(3, 2), (0, 3))
    broker.same("a gap", producer.send(6), (45, -1))
    broker.same("half of a batch that is there", producer.send(0, 2), (45, -1))
    broker.same("a batch that overlaps the last one", producer.send(4, 2), (45, -1))
    broker.same("the next batch after all that", producer.send(5), (0, 5))


def test_only_five_batches_are_remembered(broker):
    producer = Producer(broker, broker.topic())
    for sequence in range(6):
        broker.same(f"batch {sequence}", producer.send(sequence), (0, sequence))
    broker.same("the fifth batch from the end", producer.send(1), (0, 1))
    broker.same("the sixth batch from the end", producer.send(0), (45, -1))


def test_producer_epochs(broker):
    producer = Producer(broker, broker.topic())
    producer.send(0)
    broker.same("a new epoch that does not start at 0", producer.send(1, epoch=1), (45, -1))
    broker.same("a new epoch", producer.send(0, epoch=1), (0, 1))
    broker.same("the epoch before", producer.send(1, epoch=0), (47, -1))
    broker.same("a duplicate of the epoch before", producer.send(0, epoch=0), (47, -1))
    broker.same("the new epoch goes on", producer.send(1, epoch=1), (0, 2))


def test_sequences_wrap(broker):
    producer = Producer(broker, broker.topic())
    last = 2**31 - 1
    broker.same("an unknown producer starts anywhere", producer.send(last - 2), (0, 0))
    broker.same("a batch across the end of the numbers", producer.send(last - 1, 4), (0, 1))
    broker.same("it has the numbers ..., MAX, 0, 1", producer.send(2), (0, 5))
    broker.same("the batch across the end again", producer.send(last - 1, 4), (0, 1))
    other = Producer(broker, broker.topic())
    other.send(last)
    broker.same("0 follows the last number", other.send(0), (0, 1))


def test_partitions_have_sequences_of_their_own(broker):
    one, two = broker.topic(), broker.topic()
    producer = Producer(broker, one)
    producer.send(0)
    producer.topic = two
    broker.same("the first batch of another partition", producer.send(0), (0, 0))


def test_producer_ids(broker):
    first, second = broker.ask("InitProducerId", 4), broker.ask("InitProducerId", 4)
    broker.same("InitProducerId", (first["error"], first["epoch"], first["producer_id"] != second["producer_id"]), (0, 0, True))
    again = broker.ask("InitProducerId", 4, producer_id=first["producer_id"], epoch=0)
    broker.same("InitProducerId of one that has an id", (again["error"], again["epoch"]), (0, 0))


# --- what is refused ---


def now_ms():
    return int(time.time() * 1000)


@pytest.mark.parametrize(
    "what,configs,make,expected",
    [
        ("a batch larger than max.message.bytes", {"max_message_bytes": 1000}, lambda: batch([b"x" * 2000]), 10),
        ("a batch as large as max.message.bytes", {"max_message_bytes": 1000}, lambda: batch([b"x" * 900]), 0),
        ("a batch larger than the default of max.message.bytes", {}, lambda: batch([b"x" * 1_048_600]), 10),
        ("a record without a key on a compacted topic", {"cleanup_policy": "compact"}, lambda: batch(key=None), 87),
        ("a record with a key on a compacted topic", {"cleanup_policy": "compact"}, batch, 0),
        ("a record without a key on a topic of both policies", {"cleanup_policy": "compact,delete"}, lambda: batch(key=None), 87),
        ("a time two hours ahead", {}, lambda: batch(timestamp=now_ms() + 2 * HOUR_MS), 32),
        ("a time long ago", {}, lambda: batch(timestamp=1), 0),
        ("a time before message.timestamp.before.max.ms", {"message_timestamp_before_max_ms": HOUR_MS}, lambda: batch(timestamp=now_ms() - 2 * HOUR_MS), 32),
        ("a time within message.timestamp.after.max.ms", {"message_timestamp_after_max_ms": 3 * HOUR_MS}, lambda: batch(timestamp=now_ms() + 2 * HOUR_MS), 0),
        ("a time two hours ahead, with LogAppendTime", {"message_timestamp_type": "LogAppendTime"}, lambda: batch(timestamp=now_ms() + 2 * HOUR_MS), 0),
        ("a time of -1", {}, lambda: batch(timestamp=-1), 0),
        ("a wrong checksum", {}, lambda: batch(crc=1), 2),
        ("format 1", {}, lambda: batch(magic=1), 87),
        ("two batches", {}, lambda: batch() + batch(), 87),
        ("a control batch", {}, lambda: batch(attributes=0x20), 87),
        ("fewer records than it says", {}, lambda: batch(count=2, last_delta=1), 87),
        ("a count of 0", {}, lambda: batch([], count=0, last_delta=-1), 87),
        ("codec 5", {}, lambda: batch(attributes=5), -1),
        ("codec 7", {}, lambda: batch(attributes=7), -1),
    ],
)
def test_produce(broker, what, configs, make, expected):
    topic = broker.topic(**configs)
    found = broker.produce(topic, make())
    broker.same(f"Produce of {what}", found["error"], expected)
    if expected == 87 and "key" in what:
        broker.same(f"record errors of {what}", [e["index"] for e in found["record_errors"]], [0])


def test_produce_elsewhere(broker):
    topic = broker.topic()
    broker.same("Produce to a partition that is not there", broker.produce(topic, batch(), partition=7)["error"], 3)
    broker.same("Produce to a topic that is not there", broker.produce(broker.fresh("nothing"), batch())["error"], 3)
    broker.same("Produce with acks=2", broker.produce(topic, batch(), acks=2)["error"], 21)
    broker.same("Produce with acks=1", broker.produce(topic, batch(), acks=1)["error"], 0)
    broker.same("Produce v6 of zstd", broker.produce(topic, batch(attributes=4), version=6)["error"], 76)
    broker.same("what the answer says of times", broker.produce(topic, batch())["append_time"], -1)
    stamped = broker.topic(message_timestamp_type="LogAppendTime")
    broker.same("append time with LogAppendTime", abs(broker.produce(stamped, batch())["append_time"] - now_ms()) < 60_000, True)
    found = broker.list_offset(stamped, -3)
    broker.same("the time of the record is the broker's", abs(found["timestamp"] - now_ms()) < 60_000, True)


# --- where records are ---


def test_offsets(broker):
    topic = broker.topic()
    for timestamp in (1000, 3000, 2000):
        broker.produce(topic, batch(timestamp=timestamp))

    def at(timestamp, version=9):
        found = broker.list_offset(topic, timestamp, version)
        return found["error"], found["offset"], found["timestamp"]

    broker.same("latest", at(-1), (0, 3, -1))
    broker.same("earliest", at(-2), (0, 0, -1))
    broker.same("latest, v1", at(-1, 1), (0, 3, -1))
    broker.same("the largest time", at(-3), (0, 1, 3000))
    broker.same("the earliest that is local", at(-4), (0, 0, -1))
    broker.same("the latest that is tiered", at(-5), (0, -1, -1))
    broker.same("a time before all", at(0), (0, 0, 1000))
    broker.same("a time between", at(1001), (0, 1, 3000))
    broker.same("the time of the last one", at(3000), (0, 1, 3000))
    broker.same("a time after all", at(3001), (0, -1, -1))
    empty = broker.list_offset(broker.topic(), -3)
    broker.same("the largest time of nothing", (empty["error"], empty["offset"], empty["timestamp"]), (0, -1, -1))
    broker.same("ListOffsets of a partition that is not there", broker.list_offset(topic, -1, partition=7)["error"], 3)
    broker.same("ListOffsets of a topic that is not there", broker.list_offset(broker.fresh("nothing"), -1)["error"], 3)
    broker.same("a time of -9", at(-9)[0], 35)


def delete_records(broker, topic, offset, partition=0):
    """(error, low watermark)"""
    asked = [{"name": topic, "partitions": [{"partition": partition, "offset": offset}]}]
    found = broker.ask("DeleteRecords", 2, topics=asked)["topics"][0]["partitions"][0]
    return found["error"], found["low_watermark"]


def test_deleted_records(broker):
    topic = broker.topic()
    for _ in range(5):
        broker.produce(topic, batch())
    broker.same("DeleteRecords beyond the end", delete_records(broker, topic, 6), (1, -1))
    broker.same("DeleteRecords below 0", delete_records(broker, topic, -2), (1, -1))
    broker.same("DeleteRecords", delete_records(broker, topic, 2), (0, 2))
    broker.same("DeleteRecords of what is deleted", delete_records(broker, topic, 1), (0, 2))
    broker.same("the first offset", broker.list_offset(topic, -2)["offset"], 2)
    broker.same("a time before all finds the first that is left", broker.list_offset(topic, 0)["offset"], 2)
    with wire.Connection(broker.node) as connection:
        broker.same("Fetch below the first offset", wire.fetch(connection, topic, 0, 1)[0], 1)
        found = wire.fetch(connection, topic, 0, 2)
        broker.same("Fetch of the first offset", (found[0], found[1], wire.batches(found[2])[0][0]), (0, 5, 2))
        broker.same("Fetch at the end", wire.fetch(connection, topic, 0, 5)[::2], (0, b""))
        broker.same("Fetch beyond the end", wire.fetch(connection, topic, 0, 6)[0], 1)
    broker.same("DeleteRecords of everything", delete_records(broker, topic, -1), (0, 5))
    broker.same("the end is where it was", broker.list_offset(topic, -1)["offset"], 5)
    broker.same("the next record", broker.produce(topic, batch())["base_offset"], 5)
    broker.same("DeleteRecords of a partition that is not there", delete_records(broker, topic, 0, 7)[0], 3)
    compacted = broker.topic(cleanup_policy="compact")
    broker.produce(compacted, batch())
    broker.same("DeleteRecords of a compacted topic", delete_records(broker, compacted, 1)[0], 44)


def test_topic_ids(broker):
    """A topic that is deleted and made again is another one."""
    topic = broker.topic()
    old = broker.topic_id(topic)
    deleted = broker.ask("DeleteTopics", 6, topics=[{"topic_id": old}])
    broker.same("DeleteTopics by id", (error(deleted, "topics"), deleted["topics"][0]["name"]), (0, topic))
    # Apache Kafka's broker hears of it from its controller, a moment later.
    deadline = time.monotonic() + 10
    while (found := error(broker.ask("Metadata", 12, topics=[{"topic_id": old, "name": None}]), "topics")) == 0:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    broker.same("Metadata by an id that is gone", found, 100)
    broker.ask("CreateTopics", 7, topics=[{"name": topic, "partitions": 1}])
    broker.wait_for_partitions(topic, 1)
    broker.same("a new topic of the same name has another id", broker.topic_id(topic) != old, True)
