"""What clients did that are too old to be installed, byte for byte: versions that Kafka 4 has dropped, and habits of first contact.

Each test names the clients that need it. The ones that can be installed are in test_matrix.py.
"""

import struct

import pytest

import wire
from clientlib import create_topic

LATEST, EARLIEST = -1, -2
ALL_TOPICS = wire.array([])


@pytest.fixture(scope="module")
def node(make_store, start_module_node):
    return start_module_node(make_store("minio"))


@pytest.fixture(scope="module")
def topic(node):
    """Two partitions; the first has 12 records in 4 batches, each batch a second later."""
    name = create_topic(node, "of-old", 2)
    with wire.Connection(node) as connection:
        for at in range(4):
            batch = wire.batch([b"one", b"two", b"three"], timestamp=1000 * (at + 1))
            assert wire.produce(connection, name, 0, batch) == (wire.NONE, 3 * at)
    return name


@pytest.fixture
def connection(node):
    with wire.Connection(node) as opened:
        yield opened


def test_bytes_behind_an_api_versions_request(connection):
    """librdkafka 1.0 sends four bytes more than ApiVersions v0 has."""
    error, versions = wire.api_versions_v0(connection.call(wire.API_VERSIONS, 0, struct.pack(">i", 0)))
    assert error == wire.NONE
    assert versions[wire.PRODUCE][0] == 0, "librdkafka before 2.11.1 would turn gzip, snappy and lz4 off"
    assert versions[wire.LIST_OFFSETS][0] == 0
    assert versions[wire.OFFSET_COMMIT][0] == 1
    assert wire.metadata_v0(connection.call(wire.METADATA, 0, ALL_TOPICS))[0], "the connection is of no use afterwards"


def test_nobody_has_to_ask_for_versions(connection, topic):
    """Sarama 1.22 and the fetch connections of platformatic begin with what they want."""
    error, high, stored = wire.fetch(connection, topic, 0, 0)
    assert (error, high) == (wire.NONE, 12)
    assert [count for _, _, count in wire.batches(stored)] == [3, 3, 3, 3]


def test_producing_first_of_all(connection, topic):
    assert wire.produce(connection, topic, 1, wire.batch([b"first of all"]))[0] == wire.NONE


def test_metadata_and_api_versions_at_once(connection, topic, node):
    """kafka-python 2.0 and aiokafka 0.10 find out who they talk to by sending both before they read."""
    brokers, versions = wire.pipeline(connection, [(wire.METADATA, 0, ALL_TOPICS), (wire.API_VERSIONS, 0, b"")])
    nodes, topics = wire.metadata_v0(brokers)
    assert nodes == [(1, *node.address())]
    assert topics[topic] == (wire.NONE, 2)
    assert wire.api_versions_v0(versions)[0] == wire.NONE


def test_api_versions_and_metadata_at_once(connection, topic):
    """The other way round, as kafka-python's version probe has it."""
    versions, brokers = wire.pipeline(connection, [(wire.API_VERSIONS, 0, b""), (wire.METADATA, 0, ALL_TOPICS)])
    assert wire.api_versions_v0(versions)[0] == wire.NONE
    assert topic in wire.metadata_v0(brokers)[1]


def produce_body(topic, partition, batch):
    part = struct.pack(">i", partition) + wire.data(batch)
    return wire.string(None) + struct.pack(">hi", -1, 10_000) + wire.array([wire.string(topic) + wire.array([part])])


def test_five_produce_requests_in_flight(connection, node):
    """kafka-python's default; without idempotence only the order of arrival keeps them apart."""
    name = create_topic(node, "pipelined", 1)
    requests = [(wire.PRODUCE, 3, produce_body(name, 0, wire.batch([b"%d" % n]))) for n in range(5)]
    answers = wire.pipeline(connection, requests)
    bases = [struct.unpack_from(">hq", answer, 4 + 2 + len(name) + 4 + 4) for answer in answers]
    assert bases == [(wire.NONE, n) for n in range(5)]
    stored = wire.fetch(connection, name, 0, 0)[2]
    assert [base for base, _, _ in wire.batches(stored)] == list(range(5))
    places = [stored.index(b"\x02%d" % n) for n in range(5)]
    assert places == sorted(places)


@pytest.mark.parametrize("timestamp, offset", [(LATEST, 12), (EARLIEST, 0)], ids=["latest", "earliest"])
def test_list_offsets_as_before_timestamps(connection, topic, timestamp, offset):
    """librdkafka 1.0 to 1.7 resets offsets with version 0; without it every such consumer fails at its start."""
    assert wire.list_offsets_v0(connection, topic, 0, timestamp, 1) == (wire.NONE, [offset])


def test_list_offsets_of_what_does_not_exist(connection, topic):
    assert wire.list_offsets_v0(connection, topic, 9, LATEST, 1) == (wire.UNKNOWN_TOPIC_OR_PARTITION, [])


def test_commits_with_a_timestamp(connection, topic):
    """OffsetCommit v1 of librdkafka 1.0 to 1.2 and Sarama 1.22: a time beside each offset, which nobody looks at any more."""
    assert wire.offset_fetch_v1(connection, "of-old", topic, 0) == (wire.NONE, -1, "")
    assert wire.offset_commit_v1(connection, "of-old", topic, 0, 7, "a note") == wire.NONE
    assert wire.offset_fetch_v1(connection, "of-old", topic, 0) == (wire.NONE, 7, "a note")
    assert wire.offset_commit_v1(connection, "of-old", topic, 0, 3, "back again") == wire.NONE
    assert wire.offset_fetch_v1(connection, "of-old", topic, 0) == (wire.NONE, 3, "back again")
