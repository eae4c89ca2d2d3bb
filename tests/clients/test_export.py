"""`strandline export`: the columns that pyarrow, Polars and DuckDB read are the records that Kafka's clients read.

Clients write and read through a node; the export opens the bucket beside it. What reads the columns runs as a program of its
own (columns.py), in a venv of its own.
"""

import base64
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, TopicPartition

import bed
from bed import run_command
from clientlib import consume_all, consume_committed, consumer, create_topic, produce_all, producer, take
from test_compaction import CODECS, PARTITIONS, compact, offsets_for_times, read, read_compacted, records, transact, write

COLUMNS = pathlib.Path(__file__).parent / "columns.py"
READERS = ["pyarrow", "polars", "duckdb"]


@pytest.fixture(params=["file", "minio"])
def served(request, make_store, start_node):
    """A node that leaves compaction to the test, with small segments and small inline commits beside each other."""
    node = start_node(make_store(request.param), flags=["--inline-max", "8KiB", "--compact", "off"])
    yield node
    assert node.healthy() and not node.panics()


def export(node, topic, *flags, check=True):
    return run_command(["export", topic, "--store", node.store.url, *flags], node.store, check=check)


def analytics(*args, check=True):
    """Runs a program of the venv that reads columns."""
    done = subprocess.run([str(bed.TESTBED / "analytics/bin/python"), "-B", *map(str, args)], capture_output=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def columns(kind, *files):
    """The records that all readers of columns find: by partition and offset what a Kafka client says of them."""
    lines = analytics(COLUMNS, ",".join(READERS), kind, *files).stdout.splitlines()
    found = {}
    for partition, offset, time_ms, time_type, key, value, headers in map(json.loads, lines):
        bytes_of = lambda text: None if text is None else base64.b64decode(text)
        headers = [(name, bytes_of(value)) for name, value in headers] or None
        assert (partition, offset) not in found
        # Kafka's clients number the types of timestamps from 1.
        found[partition, offset] = (bytes_of(key), bytes_of(value), headers, (time_type + 1, time_ms))
    assert list(found) == sorted(found), "partition after partition, ascending offsets"
    return found


def exported(node, topic, tmp_path, *flags):
    """The same, of a Parquet file and of a stream; all readers of columns must agree."""
    parquet, stream = tmp_path / "export.parquet", tmp_path / "export.arrows"
    export(node, topic, "-o", parquet, *flags)
    stream.write_bytes(export(node, topic, *flags).stdout)
    found = columns("parquet", parquet)
    assert columns("stream", stream) == found
    assert not list(tmp_path.glob("*.partial"))
    return found


def keys_and_values(found):
    return {place: (key, value) for place, (key, value, *_) in found.items()}


def by_place(reads):
    return {(r.partition, r.offset): (r.key, r.value) for r in reads}


def test_columns_are_what_clients_read(served, tmp_path):
    """All codecs, headers twice and without a value, both types of timestamps; in chunks, merged segments and the live tail."""
    create_topic(served, "t", PARTITIONS)
    create_topic(served, "stamped", 1, {"message.timestamp.type": "LogAppendTime"})
    written = write(served, "t", "first", 1_500)
    assert keys_and_values(exported(served, "t", tmp_path)) == written
    assert "written anew" in compact(served, "--all")
    for purpose in ("second", "third"):
        written |= write(served, "t", purpose, 500)
        before = read(served, "t")
        assert exported(served, "t", tmp_path) == before
        compact(served, "--all")
        assert exported(served, "t", tmp_path, "--batch-rows", 17) == before
    assert keys_and_values(before) == written

    produce_all(served, "stamped", [(None, None), (b"", b""), (b"key", None), (None, b"value")])
    [*stamped] = exported(served, "stamped", tmp_path).values()
    assert [one[:2] for one in stamped] == [(None, None), (b"", b""), (b"key", None), (None, b"value")]
    assert all(kind == TIMESTAMP_LOG_APPEND_TIME and abs(at - time.time() * 1e3) < 60_000 for *_, (kind, at) in stamped)


def test_what_was_aborted_stays_out(served, tmp_path):
    create_topic(served, "t", PARTITIONS)
    transact(served, "one", "t", "one", 15)
    produce_all(served, "t", records("between", 200))
    for again in ("two", "three"):
        transact(served, again, "t", again, 10)
        committed = by_place(consume_committed(served, "t", PARTITIONS))
        everything = by_place(consume_uncommitted(served, "t"))
        assert len(committed) < len(everything)
        assert keys_and_values(exported(served, "t", tmp_path)) == committed
        assert keys_and_values(exported(served, "t", tmp_path, "--isolation", "uncommitted")) == everything
        compact(served, "--all")
        assert keys_and_values(exported(served, "t", tmp_path)) == committed
    open_one = producer(served, transactional_id="open")
    open_one.init_transactions(30)
    open_one.begin_transaction()
    open_one.produce("t", b"undecided", partition=0)
    open_one.flush(30)
    produce_all(served, "t", [(None, b"behind it")])
    assert keys_and_values(exported(served, "t", tmp_path, "--partitions", "0")) == {
        place: record for place, record in committed.items() if place[0] == 0
    }
    open_one.abort_transaction(30)


def consume_uncommitted(node, topic):
    """All records of transactions, whatever became of them; how many there are only their ends tell."""
    client = consumer(node, isolation_level="read_uncommitted", enable_partition_eof=True)
    reads, ended = [], set()
    try:
        client.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        deadline = time.monotonic() + 60
        while len(ended) < PARTITIONS and time.monotonic() < deadline:
            for m in client.consume(1_000, 0.5):
                if m.error() is None:
                    read = Place(m)
                    reads.append(read)
                elif m.error().name() == "_PARTITION_EOF":
                    ended.add(m.partition())
        assert len(ended) == PARTITIONS
        return reads
    finally:
        client.close()


class Place:
    def __init__(self, message):
        self.partition, self.offset, self.key, self.value = message.partition(), message.offset(), message.key(), message.value()


def test_a_compacted_topic(served, tmp_path):
    create_topic(served, "state", 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"})
    dice = bed.seeded("state")
    for _ in range(3):
        sent = [(b"k%d" % dice.randrange(40), None if dice.random() < 0.2 else dice.randbytes(100)) for _ in range(400)]
        produce_all(served, "state", sent, compression_type=dice.choice(CODECS))
        compact(served, "--all")
        there = {(0, one.offset): (one.key, one.value) for one in read_compacted(served, "state")}
        assert keys_and_values(exported(served, "state", tmp_path)) == there
    assert len(there) < 400


def test_ranges_and_columns(served, tmp_path):
    create_topic(served, "t", PARTITIONS)
    write(served, "t", "ranges", 500)
    time.sleep(0.05)
    write(served, "t", "later", 500)
    compact(served, "--all")
    write(served, "t", "live", 200)
    everything = read(served, "t")
    times = sorted({at for *_, (_, at) in everything.values()})
    begin, end = times[len(times) // 3], times[2 * len(times) // 3]
    by_partition = lambda at: dict(enumerate(offsets_for_times(served, "t", [at])))
    first, last = by_partition(begin), by_partition(end)
    assert exported(served, "t", tmp_path, "--from", f"@{begin}", "--to", f"@{end}") == {
        place: record for place, record in everything.items() if first[place[0]] <= place[1] < last[place[0]]
    }
    some = exported(served, "t", tmp_path, "--partitions", "0,2", "--from", 100, "--to", 200)
    assert some == {place: record for place, record in everything.items() if place[0] != 1 and 100 <= place[1] < 200}
    assert exported(served, "t", tmp_path, "--from", "-1h") == everything
    assert exported(served, "t", tmp_path, "--to", "-1h") == {}, "a schema, and no records"

    beyond = export(served, "t", "-o", tmp_path / "x", "--from", 10_000, check=False)
    assert beyond.code == 1 and "no offset 10000 yet" in beyond.stderr and not (tmp_path / "x").exists()

    folder = f"{tmp_path}/folder/"
    export(served, "t", "-o", folder, "--from", 100)
    files = sorted(pathlib.Path(folder).iterdir())
    assert [path.name for path in files] == [f"t-{p:05}.parquet" for p in range(PARTITIONS)]
    assert columns("parquet", *files) == {place: record for place, record in everything.items() if place[1] >= 100}
    refused = export(served, "t", "-o", folder, check=False)
    assert refused.code == 1 and "is not empty" in refused.stderr

    chosen = tmp_path / "chosen.parquet"
    export(served, "t", "-o", chosen, "--columns", "value,offset")
    says = "import pyarrow.parquet, sys; table = pyarrow.parquet.read_table(sys.argv[1]); print(table.column_names, table.num_rows)"
    assert analytics("-c", says, chosen).stdout.decode().split("\n")[0] == f"['value', 'offset'] {len(everything)}"


def test_damage_is_said_and_nothing_appears(make_store, start_node, tmp_path):
    """Neither a file nor a stream that looks whole comes of a topic that is not."""
    node = start_node(make_store("file"), flags=["--compact", "off"])
    create_topic(node, "t", 1)
    dice = bed.seeded("damage")
    produce_all(node, "t", [(None, dice.randbytes(1_000)) for _ in range(3_000)], batch_size=20_000)
    compact(node, "--all")
    [chunk] = pathlib.Path(node.store.url.removeprefix("file://")).glob("chunk/*/0/*.*")
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    target = tmp_path / "t.parquet"
    target.write_bytes(b"what was there before")
    failed = export(node, "t", "-o", target, check=False)
    assert failed.code == 1 and chunk.name in failed.stderr and "offset" in failed.stderr, failed
    assert list(tmp_path.iterdir()) == [target] and target.read_bytes() == b"what was there before"
    stream = tmp_path / "t.arrows"
    failed = export(node, "t", "--batch-rows", "100", check=False)
    stream.write_bytes(failed.stdout)
    assert failed.code == 1 and len(failed.stdout) > 1_000_000
    for reader in READERS:
        read = analytics(COLUMNS, reader, "stream", stream, check=False)
        assert read.returncode != 0, f"{reader} takes half a topic for all of it"


def test_a_pipe_that_ends_and_ctrl_c(make_store, start_node, tmp_path):
    node = start_node(make_store("file"), flags=["--compact", "off"])
    create_topic(node, "t", 1)
    dice = bed.seeded("pipe")
    produce_all(node, "t", [(None, dice.randbytes(10_000)) for _ in range(2_000)])
    argv = [str(bed.BINARY), "export", "t", "--store", node.store.url]
    environment = bed.clean_environment(node.store.env)
    for end in ("pipe", "signal"):
        child = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert len(child.stdout.read(100)) == 100
        if end == "pipe":
            child.stdout.close()
        else:
            # It cannot go on: nobody takes what it writes.
            time.sleep(0.5)
            child.send_signal(signal.SIGINT)
        assert child.wait(10) == (0 if end == "pipe" else 130)
        said = child.stderr.read().decode()
        assert said == "" if end == "pipe" else "Ctrl-C" in said, said
    fifo, target = tmp_path / "fifo", tmp_path / "t.parquet"
    os.mkfifo(fifo)
    done = subprocess.Popen([*argv, "-o", str(fifo), "--format", "parquet"], env=environment)
    target.write_bytes(fifo.read_bytes())
    assert done.wait(30) == 0 and fifo.is_fifo()
    assert len(columns("parquet", target)) == 2_000 == len(consume_all(node, "t", 1))
