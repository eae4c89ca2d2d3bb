"""What clients see of compaction: nothing, but for what was to go.

`strandline compact --once --all` runs beside a live node, so that one read from offset 0 passes chunks, merged segments and
the live tail. Clients that read before, between and after must find the same.
"""

import base64
import json
import pathlib
import re
import subprocess
import sys
import time

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaException,
    TopicPartition,
)

import bed
from bed import run_command
from clientlib import (
    Acks,
    alter,
    assert_gapless,
    bootstrap,
    consume_all,
    consume_committed,
    consumer,
    create_topic,
    kcat_consume_all,
    produce_all,
    producer,
    take,
    watermarks,
)

PARTITIONS = 3
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture(params=["file", "minio"])
def served(request, make_store, start_node):
    """A node that leaves compaction to the test, with small segments and small inline commits beside each other."""
    node = start_node(make_store(request.param), flags=["--inline-max", "8KiB", "--compact", "off"])
    yield node
    assert node.healthy() and not node.panics()


@pytest.fixture(params=["batches", "parquet"])
def kept(request):
    """How a topic's chunks are: its configs."""
    return {"strandline.archive.format": request.param}


def compact(node, *flags):
    done = run_command(["compact", node.store.url, "--once", *flags], node.store)
    return done.stdout.decode()


def inspect_checkpoint(node, topic):
    """The partitions of a topic as the manifest has them."""
    listing = run_command(["topic", "describe", topic, "--store", node.store.url, "--format", "json"], node.store)
    return json.loads(listing.stdout)["partitions"]


def records(purpose, count):
    dice = bed.seeded(purpose)
    return [(b"key %d" % dice.randrange(50), dice.randbytes(dice.randrange(0, 1500))) for _ in range(count)]


def write(node, topic, purpose, count):
    """Records of all codecs; returns what is to be read of each partition, by offset."""
    written = {}
    for codec in CODECS:
        sent = records(f"{purpose}/{codec}", count // len(CODECS))
        client = producer(node, linger_ms=5, compression_type=codec)
        acks = Acks()
        for at, (key, value) in enumerate(sent):
            headers = [("twice", b"%d" % at), ("twice", None)]
            reports = lambda error, message, record=(key, value): (acks(error, message), keep(written, message, record))
            client.produce(topic, value, key, headers=headers, on_delivery=reports)
        assert client.flush(60) == 0 and not acks.errors
    return written


def keep(written, message, record):
    written[message.partition(), message.offset()] = record


def read(node, topic):
    """Everything there is, by partition and offset, with headers and times."""
    client = consumer(node)
    try:
        client.list_topics(topic, timeout=15)
        ends = [watermarks(client, topic, p) for p in range(PARTITIONS)]
        client.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        messages = take(client, sum(end - start for start, end in ends))
        return {(m.partition(), m.offset()): (m.key(), m.value(), m.headers(), m.timestamp()) for m in messages}
    finally:
        client.close()


def offsets_for_times(node, topic, times):
    client = consumer(node)
    try:
        asked = [TopicPartition(topic, p, at) for p in range(PARTITIONS) for at in times]
        return [client.offsets_for_times([one], timeout=15)[0].offset for one in asked]
    finally:
        client.close()


def test_history_and_live_tail_are_one_log(served, kept):
    """Read from offset 0 through chunks, merged segments and what has just come, by librdkafka and by kcat."""
    create_topic(served, "t", PARTITIONS, kept)
    written = write(served, "t", "first", 1_500)
    before = read(served, "t")
    times = sorted({at for *_, (_, at) in before.values()})[::100]
    looked_up = offsets_for_times(served, "t", times)
    assert "written anew" in compact(served, "--all")
    assert read(served, "t") == before
    assert offsets_for_times(served, "t", times) == looked_up
    for part in inspect_checkpoint(served, "t"):
        assert part["extents"] == 0 and part["indexed_chunks"] >= 1, part
    written |= write(served, "t", "second", 500)
    compact(served, "--all")
    written |= write(served, "t", "third", 500)
    after = read(served, "t")
    assert {place: found[:2] for place, found in after.items()} == written
    assert {place: after[place] for place in before} == before
    assert all(found[2][0][0] == "twice" and found[2][1] == ("twice", None) for found in after.values())
    reads = kcat_consume_all(served, "t")
    assert_gapless(reads)
    assert {(r.partition, r.offset): (r.key, r.value) for r in reads} == written
    assert compact(served, "--all") and "nothing is due" in compact(served)


def test_a_cold_node_reads_history(served, start_node, kept):
    create_topic(served, "t", PARTITIONS, kept)
    write(served, "t", "cold", 1_000)
    before = read(served, "t")
    compact(served, "--all")
    other = start_node(served.store, node_id=2, flags=["--compact", "off"])
    assert read(other, "t") == before


def test_chunks_of_both_formats_and_both_kinds_of_time_are_one_log(served):
    """A topic goes over to Parquet and back; times that the log stamps stay times that the log stamped."""
    create_topic(served, "t", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    for archive, kind in (("batches", "CreateTime"), ("parquet", "LogAppendTime"), ("parquet", "CreateTime"), ("batches", "CreateTime")):
        write(served, "t", f"{archive}/{kind}", 300)
        alter(served, "t", ("SET", "strandline.archive.format", archive), ("SET", "message.timestamp.type", kind))
        before = read(served, "t")
        compact(served, "--all")
        assert read(served, "t") == before
    assert {kind for *_, (kind, _) in before.values()} == {TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME}
    assert chunk_formats(served) == {"batches", "parquet"}
    run_command(["scrub", served.store.url], served.store)


def test_a_compacted_topic_keeps_batches(served):
    create_topic(served, "t", 1, {"strandline.archive.format": "parquet"})
    with pytest.raises(KafkaException, match="keeps batches"):
        alter(served, "t", ("SET", "cleanup.policy", "compact"))
    write(served, "t", "keyed", 300)
    compact(served, "--all")
    settings = {"strandline.archive.format": "batches", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}
    alter(served, "t", *(("SET", name, value) for name, value in settings.items()))
    before = {read.offset: (read.key, read.value) for read in read_compacted(served, "t")}
    assert "1 partition compacted by key" in compact(served, "--all")
    after = read_compacted(served, "t")
    assert all(before[read.offset] == (read.key, read.value) for read in after)
    assert len(after) == len({key for key, _ in before.values()})
    assert "parquet" in chunk_formats(served), "what was replaced is not deleted at once"


def chunk_formats(node):
    return {key.rsplit(".", 1)[1] for key in node.store.keys("chunk/")}


def transact(node, name, topic, purpose, transactions):
    client = producer(node, transactional_id=name)
    client.init_transactions(30)
    dice = bed.seeded(purpose)
    for number in range(transactions):
        client.begin_transaction()
        for key, value in records(f"{purpose}/{number}", dice.randrange(1, 20)):
            client.produce(topic, value, key, partition=dice.randrange(PARTITIONS))
        client.flush(30)
        if dice.random() < 0.4:
            client.abort_transaction(30)
        else:
            client.commit_transaction(30)


def committed_of(node, topic):
    """By partition, in order; which partition comes first is not for the log to say."""
    return sorted(consume_committed(node, topic, PARTITIONS), key=lambda read: read.partition)


def test_transactions_stay_what_they_were(served, kept):
    create_topic(served, "t", PARTITIONS, kept)
    transact(served, "one", "t", "one", 15)
    produce_all(served, "t", records("between", 200))
    transact(served, "two", "t", "two", 15)
    committed = committed_of(served, "t")
    compact(served, "--all")
    assert committed_of(served, "t") == committed
    transact(served, "one", "t", "three", 5)
    more = committed_of(served, "t")
    compact(served, "--all")
    assert committed_of(served, "t") == more and len(more) > len(committed)


def latest(reads):
    """Of each key the last record, as a cache that reads a compacted topic from its beginning ends up with."""
    last = {read.key: read.value for read in reads}
    return {key: value for key, value in last.items() if value is not None}


def read_compacted(node, topic):
    """From the first offset to the end, where offsets may be missing."""
    client = consumer(node, enable_partition_eof=True)
    reads = []
    try:
        client.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for m in client.consume(1_000, 0.5):
                if m.error() is None:
                    reads.append(bed_read(m))
                elif m.error().name() == "_PARTITION_EOF":
                    return reads
                else:
                    raise KafkaException(m.error())
        raise AssertionError(f"{len(reads)} records, and no end in 30 s")
    finally:
        client.close()


class bed_read:
    """A record, with the offset that it must keep."""

    def __init__(self, message):
        self.offset, self.key, self.value = message.offset(), message.key(), message.value()


def test_a_compacted_topic_keeps_the_last_of_each_key(served):
    """As a schema registry or the offsets of connectors use one: many writes to few keys, read from the beginning at a start."""
    create_topic(served, "state", 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "500"})
    dice = bed.seeded("state")
    expected = {}
    for round in range(4):
        sent = [(b"k%d" % dice.randrange(40), None if dice.random() < 0.2 else dice.randbytes(100)) for _ in range(400)]
        places = produce_all(served, "state", sent, acks="all", enable_idempotence=True, compression_type=dice.choice(CODECS))
        expected.update(dict(sent))
        before = {read.offset: (read.key, read.value) for read in read_compacted(served, "state")}
        said = compact(served, "--all")
        assert re.search(r"1 partition compacted by key", said), said
        reads = read_compacted(served, "state")
        assert latest(reads) == {key: value for key, value in expected.items() if value is not None}
        assert all(before[read.offset] == (read.key, read.value) for read in reads), "a record keeps its offset"
        assert len(reads) <= 2 * 40 and places
    # Tombstones have had their time: whoever reads now needs to hear of no deletion.
    time.sleep(1)
    produce_all(served, "state", [(b"last", b"one")])
    compact(served, "--all")
    compact(served, "--all")
    values = [read.value for read in read_compacted(served, "state")]
    assert None not in values and len(values) == len([v for v in expected.values() if v is not None]) + 1


def test_records_expire_by_age_and_by_bytes(served):
    create_topic(served, "age", 1, {"retention.ms": "2000"})
    create_topic(served, "bytes", 1, {"retention.bytes": "100000"})
    create_topic(served, "kept", 1, {"retention.ms": "-1"})
    for topic in ("age", "bytes", "kept"):
        for part in range(8):
            produce_all(served, topic, [(None, b"x" * 1_000)] * 50)
    time.sleep(3)
    fresh = produce_all(served, "age", [(b"k", b"young")])
    said = compact(served)
    assert "2 partitions with expired records" in said, said
    client = consumer(served)
    try:
        assert watermarks(client, "age", 0) == (400, 401) and fresh == [(0, 400)]
        start, end = watermarks(client, "bytes", 0)
        assert end == 400 and 250 <= start <= 300, start
        assert watermarks(client, "kept", 0) == (0, 400)
        client.assign([TopicPartition("age", 0, OFFSET_BEGINNING)])
        assert [m.value() for m in take(client, 1)] == [b"young"]
    finally:
        client.close()
    assert bootstrap(served) and len(consume_all(served, "kept", 1)) == 400


def test_garbage_is_collected_no_sooner_than_it_may_be(served):
    """What was replaced a moment ago stays for a day, and what is none of ours for ever; `--dry-run` changes nothing."""
    create_topic(served, "t", PARTITIONS)
    write(served, "t", "garbage", 500)
    before = read(served, "t")
    compact(served, "--all")
    for flags in (["--dry-run"], [], ["--dry-run"]):
        report = json.loads(run_command(["gc", served.store.url, *flags, "--format", "json"], served.store).stdout)
        assert report["dry_run"] == bool(flags) and report["unjudged"] == []
        assert all(report[kind]["gone"]["objects"] == 0 for kind in ("slots", "segments", "chunks", "index_nodes"))
    assert read(served, "t") == before
    run_command(["scrub", served.store.url], served.store)


def test_memory_stays_within_its_setting(make_store):
    """However much there is: what a process holds beyond what it holds for doing nothing."""
    store = make_store("file")
    line = base64.b64encode(bed.seeded("memory").randbytes(640 << 10)) + b"\n"
    run_command(["topic", "create", "large", "--partitions", "1", "--store", store.url], store)
    run_command(["produce", "large", "--store", store.url], store, input=line * 300)

    def most_held(*arguments):
        code = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]).returncode;"
        code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done)"
        command = [sys.executable, "-c", code, bed.BINARY, *arguments]
        env = bed.clean_environment(store.env)
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, timeout=100)
        return int(done.stdout.split()[-1]) << 10

    nothing = most_held("topic", "list", "--store", store.url)
    held = most_held("compact", store.url, "--once", "--all", "--memory", "64MiB")
    assert held - nothing <= 64 << 20


def test_a_node_compacts_by_itself(make_store, start_node):
    """With nothing configured, what is enough for a chunk goes into one."""
    node = start_node(make_store("file"))
    create_topic(node, "t", 1)
    dice = bed.seeded("itself")
    sent = [(b"%d" % number, dice.randbytes(900_000)) for number in range(160)]
    produce_all(node, "t", sent, linger_ms=0)
    chunks = lambda: list(pathlib.Path(node.store.url.removeprefix("file://")).glob("chunk/*/0/*.batches"))
    bed.wait_until(chunks, 60, "a chunk", every=0.5)
    assert [(read.key, read.value) for read in consume_all(node, "t", 1)] == sent
