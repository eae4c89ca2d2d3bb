"""What real clients write, real clients read back, exactly: the machine's package list, on every store.

kcat and confluent-kafka each produce with every codec, idempotent and not, to 12 partitions, and each reads what the
other wrote. Most combinations send a slice of the list; one on each store sends the whole of it.
"""

import pytest

import bed
import wire
from clientlib import (
    CODECS,
    assert_same_records,
    consume_all,
    create_topic,
    kcat_consume_all,
    kcat_produce_all,
    package_list,
    produce_all,
)

PARTITIONS = 12
SLICE = 3000


@pytest.fixture(scope="module")
def packages():
    return package_list()


@pytest.fixture(scope="module")
def packages_slice(packages):
    """A run of the list from a seeded place on, in its own order."""
    start = bed.seeded("roundtrip slice").randrange(max(1, len(packages) - SLICE))
    return packages[start : start + SLICE]


def write(client, node, topic, records, codec, idempotent):
    if client == "kcat":
        kcat_produce_all(node, topic, records, codec, idempotent)
    else:
        produce_all(node, topic, records, compression_type=codec, enable_idempotence=idempotent)


def stored_codecs(node, topic, at_least):
    """The codecs of the batches of `at_least` records or more, as the node hands them out."""
    seen = set()
    with wire.Connection(node) as connection:
        for partition in range(PARTITIONS):
            error, high, stored = wire.fetch(connection, topic, partition, 0)
            assert error == wire.NONE
            found = wire.batches(stored)
            assert bool(found) == (high > 0), f"partition {partition} has {high} records and hands out {len(found)} batches"
            seen |= {codec for _, codec, count in found if count >= at_least}
    return seen


@pytest.mark.parametrize("idempotent", [False, True], ids=["plain", "idempotent"])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("client", ["kcat", "confluent"])
def test_both_clients_read_back_what_one_wrote(node_on_each_store, packages_slice, client, codec, idempotent):
    """The same records, in the order of their producer; offsets from 0 without gaps; stored in the codec asked for."""
    node = node_on_each_store
    topic = create_topic(node, f"slice-{client}-{codec}-{idempotent}", PARTITIONS)
    write(client, node, topic, packages_slice, codec, idempotent)
    assert_same_records(packages_slice, consume_all(node, topic, PARTITIONS), PARTITIONS)
    assert_same_records(packages_slice, kcat_consume_all(node, topic), PARTITIONS)
    # librdkafka sends a batch uncompressed when compression would not make it smaller: only tiny ones.
    assert stored_codecs(node, topic, at_least=5) == {wire.CODEC_BITS[codec]}


WHOLE_LIST = {
    "memory": ("confluent", "none", False),
    "file": ("kcat", "snappy", False),
    "localstack": ("kcat", "lz4", True),
    "minio": ("confluent", "zstd", True),
}


@pytest.mark.timeout(300)
def test_the_whole_list_survives(node_on_each_store, packages):
    """Every package the machine knows; written by one client, read by the other."""
    node = node_on_each_store
    client, codec, idempotent = WHOLE_LIST[node.store.kind]
    topic = create_topic(node, "whole-list", PARTITIONS)
    write(client, node, topic, packages, codec, idempotent)
    reads = consume_all(node, topic, PARTITIONS) if client == "kcat" else kcat_consume_all(node, topic)
    assert_same_records(packages, reads, PARTITIONS)


@pytest.mark.parametrize("kind", ["file", "localstack", "minio"])
def test_a_new_node_on_the_same_store_has_it_all(make_store, start_node, packages_slice, kind):
    """The node is killed and one with another id, other ports and no memory takes over: nothing but the store is left."""
    store = make_store(kind)
    first = start_node(store, node_id=1)
    topic = create_topic(first, "kept", PARTITIONS)
    produce_all(first, topic, packages_slice, compression_type="lz4")
    first.kill9()
    second = start_node(store, node_id=2)
    assert_same_records(packages_slice, consume_all(second, topic, PARTITIONS), PARTITIONS)
