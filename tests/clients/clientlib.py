"""The two real clients behind one small face: kcat and confluent-kafka, writing and reading lists of records.

A record here is `(key, value)` in bytes; what a client read is `Read(partition, offset, key, value)`. Consumers are
simple ones: they are told their partitions and offsets, and join no group.
"""

import collections
import subprocess
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

import bed

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

Read = collections.namedtuple("Read", "partition offset key value")

# One byte each, as kcat wants it, that no package description contains.
KEY_END = b"\x1f"
RECORD_END = b"\x1e"


# --- the input ---


def package_list():
    """The machine's package list: one record a stanza, keyed by the name of the package."""
    records = []
    for stanza in (bed.TESTBED / "packages.txt").read_bytes().split(b"\n\n"):
        stanza = stanza.strip(b"\n")
        if stanza.startswith(b"Package: "):
            name = stanza.split(b"\n", 1)[0].split(b" ", 1)[1]
            if KEY_END not in stanza and RECORD_END not in stanza:
                records.append((name, stanza))
    assert len(records) > 100, "the package list is empty"
    return records


# --- topics ---


def bootstrap(nodes):
    return ",".join(n.kafka for n in nodes) if isinstance(nodes, (list, tuple)) else nodes.kafka


def admin(node):
    """Whoever asks it something must hold it until the answer is there: a dropped client forgets its questions."""
    return AdminClient({"bootstrap.servers": bootstrap(node)})


def create_topic(node, name, partitions, config=None, **options):
    client = admin(node)
    client.create_topics([NewTopic(name, partitions, -1, config=config or {})], request_timeout=15, **options)[name].result(20)
    return name


def delete_topic(node, name):
    client = admin(node)
    client.delete_topics([name], operation_timeout=10, request_timeout=15)[name].result(20)


def alter(node, name, *changes, kind=ResourceType.TOPIC, **options):
    """`changes`: (operation, config, value)"""
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType[op]) for op, key, value in changes]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    client = admin(node)
    client.incremental_alter_configs([resource], request_timeout=15, **options)[resource].result(20)


def topics(node):
    """{topic name: number of partitions}"""
    return {name: len(topic.partitions) for name, topic in admin(node).list_topics(timeout=10).topics.items()}


def describe_cluster(node):
    client = admin(node)
    return client.describe_cluster(request_timeout=15).result(20)


def describe_configs(node, kind, resource):
    client = admin(node)
    asked = ConfigResource(kind, resource)
    return client.describe_configs([asked], request_timeout=15)[asked].result(20)


def error_code(action):
    """The Kafka error code with which this fails; None when it does not fail."""
    try:
        action()
    except KafkaException as error:
        return error.args[0].code()
    return None


# --- confluent-kafka ---


def dotted(config):
    """linger_ms -> linger.ms; callbacks of the Python client keep their names."""
    return {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in config.items()}


def producer(nodes, **config):
    """A producer with Kafka's settings as keywords, `_` for `.`."""
    return Producer({"bootstrap.servers": bootstrap(nodes), "message.timeout.ms": 60000, **dotted(config)})


class Acks:
    """Collects delivery reports: where each record went, or why it did not."""

    def __init__(self):
        self.places = []
        self.errors = []

    def __call__(self, error, message):
        if error is not None:
            self.errors.append(error)
        else:
            self.places.append((message.partition(), message.offset()))


def produce_all(nodes, topic, records, timeout=120, **config):
    """Produces all of them and waits for every acknowledgement; returns where they went, in order of acknowledgement."""
    settings = {"linger_ms": 20, "queue_buffering_max_messages": 1_000_000, "queue_buffering_max_kbytes": 1_000_000}
    client = producer(nodes, **{**settings, **config})
    acks = Acks()
    for number, (key, value) in enumerate(records):
        client.produce(topic, value=value, key=key, on_delivery=acks)
        if number % 1000 == 0:
            client.poll(0)
    left = client.flush(timeout)
    assert left == 0, f"{left} of {len(records)} records were not acknowledged in {timeout} s"
    assert not acks.errors, f"{len(acks.errors)} records failed: {acks.errors[0]}"
    assert len(acks.places) == len(records)
    return acks.places


def consumer(nodes, **config):
    """A simple consumer: no group is joined, nothing is committed, corrupt batches are errors."""
    settings = {
        "bootstrap.servers": bootstrap(nodes),
        "group.id": "not-joined",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "check.crcs": True,
        "fetch.wait.max.ms": 100,
    }
    return Consumer({**settings, **dotted(config)})


def watermarks(client, topic, partition):
    """(first offset, offset after the last), asked of the node and not of the client's memory."""
    return client.get_watermark_offsets(TopicPartition(topic, partition), timeout=15, cached=False)


def end_offsets(nodes, topic, partitions):
    client = consumer(nodes)
    try:
        return [watermarks(client, topic, p)[1] for p in range(partitions)]
    finally:
        client.close()


def take(client, count, timeout=60):
    """Exactly `count` messages of what is assigned."""
    messages = []
    deadline = time.monotonic() + timeout
    while len(messages) < count:
        left = deadline - time.monotonic()
        assert left > 0, f"{len(messages)} of {count} records arrived in {timeout} s"
        for message in client.consume(min(count - len(messages), 10_000), min(left, 1.0)):
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
    return messages


def consume_all(nodes, topic, partitions, timeout=60, **config):
    """Everything from the first offset to the high watermark at this moment, in order within each partition."""
    client = consumer(nodes, **config)
    try:
        ends = [watermarks(client, topic, p)[1] for p in range(partitions)]
        client.assign([TopicPartition(topic, p, 0) for p in range(partitions) if ends[p]])
        messages = take(client, sum(ends), timeout) if sum(ends) else []
        return [Read(m.partition(), m.offset(), m.key(), m.value()) for m in messages]
    finally:
        client.close()


def consume_committed(nodes, topic, partitions, timeout=60):
    """What a reader under read_committed finds up to the last stable offsets, in order within each partition."""
    client = consumer(nodes, isolation_level="read_committed", enable_partition_eof=True)
    reads, ended, deadline = [], set(), time.monotonic() + timeout
    try:
        client.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        while len(ended) < partitions:
            left = deadline - time.monotonic()
            assert left > 0, f"{partitions - len(ended)} of {partitions} partitions were not read to their end in {timeout} s"
            for m in client.consume(10_000, min(left, 0.5)):
                if m.error() is None:
                    reads.append(Read(m.partition(), m.offset(), m.key(), m.value()))
                elif m.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(m.partition())
                else:
                    raise KafkaException(m.error())
        return reads
    finally:
        client.close()


# --- kcat ---


def kcat(*args, input=None, timeout=120):
    """Runs kcat; returns its standard output in bytes. Anything but success is an error."""
    done = subprocess.run(["kcat", *map(str, args)], input=input, capture_output=True, timeout=timeout)
    complaint = done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"kcat {' '.join(map(str, args))}: exit code {done.returncode}\n{complaint[-2000:]}"
    assert "ERROR" not in complaint, complaint[-2000:]
    return done.stdout


def kcat_produce_all(nodes, topic, records, codec="none", idempotent=False):
    stream = RECORD_END.join(key + KEY_END + value for key, value in records)
    kcat(
        "-P", "-b", bootstrap(nodes), "-t", topic, "-z", codec, "-K", r"\x1f", "-D", r"\x1e",
        "-X", f"enable.idempotence={'true' if idempotent else 'false'}", "-X", "linger.ms=20",
        "-X", "queue.buffering.max.messages=1000000", input=stream,
    )  # fmt: skip


def kcat_consume_all(nodes, topic):
    """Reads to the end of every partition. Lengths come first, so that no byte of a record can end it early."""
    stream = kcat(
        "-C", "-b", bootstrap(nodes), "-t", topic, "-o", "beginning", "-e", "-q", "-X", "check.crcs=true",
        "-X", "fetch.wait.max.ms=100", "-f", r"%p %o %K %S\n%k%s",
    )  # fmt: skip
    return parse_kcat(stream)


def parse_kcat(stream):
    records, at = [], 0
    while at < len(stream):
        line_end = stream.index(b"\n", at)
        partition, offset, key_len, value_len = map(int, stream[at:line_end].split())
        at = line_end + 1
        parts = []
        for length in (key_len, value_len):
            parts.append(stream[at : at + length] if length >= 0 else None)
            at += max(length, 0)
        records.append(Read(partition, offset, *parts))
    return records


# --- judgements ---


def by_partition(reads):
    partitions = collections.defaultdict(list)
    for read in reads:
        partitions[read.partition].append(read)
    return dict(partitions)


def assert_gapless(reads):
    """In each partition the offsets are 0, 1, 2, ... in the order in which they were read."""
    for partition, part in sorted(by_partition(reads).items()):
        offsets = [r.offset for r in part]
        if offsets != list(range(len(part))):
            wrong = next(i for i, offset in enumerate(offsets) if offset != i)
            raise AssertionError(f"partition {partition}: offset {offsets[wrong]} where {wrong} belongs, of {len(part)} records")


def assert_same_records(sent, reads, partitions):
    """What was read is what was sent: no record lost, doubled or changed, each key in one partition, and within a
    partition the order in which its records were sent by their one producer."""
    assert len(reads) == len(sent), f"sent {len(sent)} records, read {len(reads)}"
    assert_gapless(reads)
    parts = by_partition(reads)
    assert set(parts) <= set(range(partitions))
    home = {}
    for read in reads:
        assert home.setdefault(read.key, read.partition) == read.partition, f"key {read.key!r} is in two partitions"
    unknown = set(home) ^ {key for key, _ in sent}
    assert not unknown, f"keys that were not sent, or not read: {sorted(unknown)[:5]}"
    expected = collections.defaultdict(list)
    for key, value in sent:
        expected[home[key]].append((key, value))
    for partition, part in parts.items():
        got = [(r.key, r.value) for r in part]
        if got != expected[partition]:
            at = next((i for i, (a, b) in enumerate(zip(got, expected[partition])) if a != b), min(len(got), len(expected[partition])))
            raise AssertionError(f"partition {partition} differs from what was sent to it, first at offset {at}")
