"""The history of a topic as an Iceberg table: DuckDB, PyIceberg and Polars find in it what Kafka's clients find in the topic.

`strandline compact --once --all` makes the Parquet files and the table over them, in the same bucket and without a catalog;
`strandline table` says where it is. The readers run in a venv of their own (tests/setup/analytics.sh).
"""

import json
import pathlib
import subprocess

import pytest

import bed
from bed import run_command
from clientlib import consume_all, consumer, create_topic, produce_all, take
from confluent_kafka import TopicPartition

PARTITIONS = 2
READERS = pathlib.Path(__file__).with_name("iceberg_readers.py")
PYTHON = bed.TESTBED / "analytics/bin/python"
PARQUET = {"strandline.archive.format": "parquet"}


@pytest.fixture(params=["file", "minio", "localstack"])
def served(request, make_store, start_node):
    """A node that leaves compaction to the test."""
    return start_node(make_store(request.param), flags=["--compact", "off"])


def compact(store):
    run_command(["compact", store.url, "--once", "--all"], store)


def location(store, topic):
    told = run_command(["table", topic, "--store", store.url, "--format", "json"], store)
    return json.loads(told.stdout)["location"]


def read(store, topic):
    """What each of the readers finds."""
    env = bed.clean_environment(store.env)
    done = subprocess.run([PYTHON, READERS, location(store, topic)], env=env, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return json.loads(done.stdout)


def records(purpose, count):
    dice = bed.seeded(purpose)
    keys = [None, b"", b"\xff\x00", *(b"key %d" % n for n in range(9))]
    return [(dice.choice(keys), None if dice.random() < 0.1 else dice.randbytes(dice.randrange(0, 300))) for _ in range(count)]


def in_topic(node, topic):
    """What a client of Kafka finds, as the readers tell it."""
    client = consumer(node)
    try:
        ends = [client.get_watermark_offsets(TopicPartition(topic, p), 10)[1] for p in range(PARTITIONS)]
        client.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS) if ends[p]])
        found = take(client, sum(ends), 60)
    finally:
        client.close()
    text = lambda value: None if value is None else value.hex()
    return sorted([m.partition(), m.offset(), m.timestamp()[1], text(m.key()), text(m.value())] for m in found)


def test_every_reader_finds_what_clients_find(served, name):
    create_topic(served, name, PARTITIONS, PARQUET)
    parts = []
    for part in range(2):
        produce_all(served, name, records(f"iceberg {part}", 400))
        compact(served.store)
        parts.append(in_topic(served, name))
    found = read(served.store, name)
    for reader in ("pyiceberg", "polars", "duckdb"):
        assert found[reader] == parts[-1], reader
    assert found["filtered"] == [row for row in parts[-1] if row[0] == 1 and row[1] >= 10]
    assert found["planned"] == 0
    # What was current once can still be read as it was then.
    assert [snapshot["rows"] for snapshot in found["snapshots"]] == [len(part) for part in parts]
    assert found["columns"]["offset"] == 2


def test_what_the_log_forgets_leaves_the_table(served, name):
    create_topic(served, name, PARTITIONS, PARQUET)
    produce_all(served, name, records("iceberg forgotten", 200))
    compact(served.store)
    before = read(served.store, name)
    run_command(["topic", "delete", name, "--yes", "--store", served.store.url], served.store)
    create_topic(served, name, PARTITIONS, PARQUET)
    told = run_command(["table", name, "--store", served.store.url], served.store, check=False)
    assert told.code != 0 and "has no table" in told.stderr
    produce_all(served, name, records("iceberg anew", 50))
    compact(served.store)
    after = read(served.store, name)
    assert len(before["duckdb"]) == 200 and after["duckdb"] == in_topic(served, name)


def test_a_topic_that_is_not_kept_as_parquet_has_no_table(served, name):
    create_topic(served, name, PARTITIONS)
    produce_all(served, name, records("iceberg none", 50))
    compact(served.store)
    told = run_command(["table", name, "--store", served.store.url], served.store, check=False)
    assert told.code != 0 and "strandline.archive.format" in told.stderr
    assert len(consume_all(served, name, PARTITIONS)) == 50
