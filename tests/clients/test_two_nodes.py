"""Two nodes that share nothing but a prefix in a bucket (MinIO) are one cluster, whichever of them a client talks to, and
find each other there."""

import os
import signal
import threading
import time
import types

import pytest
from confluent_kafka.admin import AdminClient

import bed
import messages
import wire
from clientlib import (
    assert_gapless,
    assert_same_records,
    consume_all,
    create_topic,
    delete_topic,
    describe_cluster,
    end_offsets,
    kcat_consume_all,
    package_list,
    produce_all,
    topics,
)

PARTITIONS = 12


@pytest.fixture(scope="module")
def nodes(make_store, start_module_node):
    store = make_store("minio")
    return [start_module_node(store, node_id=1), start_module_node(store, node_id=2)]


@pytest.fixture
def wires(nodes):
    """A raw connection to each node: what is said on it is answered by that node and no other."""
    with wire.Connection(nodes[0], timeout=30) as one, wire.Connection(nodes[1], timeout=30) as two:
        yield [one, two]


def what_a_node_hands_out(connection, topic, partition):
    """(base offset, codec, count) of every batch, read from this node alone."""
    found, offset = [], 0
    while True:
        error, high, stored = wire.fetch(connection, topic, partition, offset)
        assert error == wire.NONE
        found += wire.batches(stored)
        if offset == high:
            return found
        offset = found[-1][0] + found[-1][2]


def test_both_nodes_say_that_they_are_one_cluster(nodes):
    """One cluster id; each node names itself, and nobody else but the other one."""
    seen = [describe_cluster(node) for node in nodes]
    assert len({cluster.cluster_id for cluster in seen}) == 1
    for node, cluster in zip(nodes, seen):
        assert node.node_id in {n.id for n in cluster.nodes} <= {1, 2}


@pytest.mark.parametrize("idempotent", [False, True], ids=["plain", "idempotent"])
def test_four_producers_on_two_nodes_at_once(nodes, wires, name, idempotent):
    """Every record is there once, offsets have no gaps, and both nodes hand out the very same batches."""
    create_topic(nodes[0], name, PARTITIONS)
    records = package_list()[:6000]
    shares = [[(b"%d " % n + key, value) for key, value in records[n::4]] for n in range(4)]
    failures = []

    def write(n):
        try:
            produce_all(nodes[n % 2], name, shares[n], enable_idempotence=idempotent, compression_type="lz4")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures

    reads = consume_all(nodes[0], name, PARTITIONS)
    assert len(reads) == len(records)
    assert_gapless(reads)
    for n in range(4):
        # Each producer's records are in its own order, though others' lie between them.
        own = {}
        for read in reads:
            if read.key.startswith(b"%d " % n):
                own.setdefault(read.partition, []).append(read)
        renumbered = [r._replace(offset=at) for part in own.values() for at, r in enumerate(part)]
        assert_same_records(shares[n], renumbered, PARTITIONS)
    assert sorted(kcat_consume_all(nodes[1], name)) == sorted(reads)
    for partition in range(PARTITIONS):
        one, two = (what_a_node_hands_out(w, name, partition) for w in wires)
        assert one == two and sum(count for _, _, count in one) == sum(r.partition == partition for r in reads)


def test_both_nodes_take_records_for_one_partition(nodes, wires, name):
    """No node owns a partition: whoever is asked writes, and the other one's records are seen at once."""
    create_topic(nodes[0], name, 1)
    for n in range(20):
        assert wire.produce(wires[n % 2], name, 0, wire.batch([b"%d" % n])) == (wire.NONE, n)
        assert wire.fetch(wires[(n + 1) % 2], name, 0, n)[:2] == (wire.NONE, n + 1)
    assert [r.value for r in consume_all(nodes[1], name, 1)] == [b"%d" % n for n in range(20)]


@pytest.mark.parametrize("writer", [0, 1])
def test_a_reader_waiting_at_the_other_node_is_woken(nodes, wires, name, writer):
    """Its fetch may wait for 10 s at one node; what is produced through the other ends the wait."""
    create_topic(nodes[0], name, 1)
    answer = {}

    def wait():
        answer["fetched"] = wire.fetch(wires[1 - writer], name, 0, 0, max_wait_ms=10_000)
        answer["at"] = time.monotonic()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(1.0)
    assert thread.is_alive(), "the fetch did not wait"
    assert wire.produce(wires[writer], name, 0, wire.batch([b"news"])) == (wire.NONE, 0)
    acknowledged = time.monotonic()
    thread.join()
    error, high, stored = answer["fetched"]
    assert (error, high) == (wire.NONE, 1) and b"news" in stored
    assert answer["at"] - acknowledged < 1.5, f"{answer['at'] - acknowledged:.2f} s after the acknowledgement"


def test_a_topic_created_on_one_is_there_on_the_other(nodes, wires, name):
    for n in range(4):
        topic = f"{name}-{n}"
        create_topic(nodes[n % 2], topic, 1)
        assert wire.produce(wires[(n + 1) % 2], topic, 0, wire.batch([b"x"])) == (wire.NONE, 0)
        assert end_offsets(nodes[n % 2], topic, 1) == [1]


def test_a_topic_deleted_on_one_is_gone_on_the_other(nodes, wires, name):
    create_topic(nodes[0], name, 1)
    assert wire.produce(wires[1], name, 0, wire.batch([b"x"])) == (wire.NONE, 0)
    delete_topic(nodes[0], name)
    assert wire.produce(wires[1], name, 0, wire.batch([b"x"]))[0] == wire.UNKNOWN_TOPIC_OR_PARTITION
    assert name not in topics(nodes[1])


def test_a_retry_that_lands_on_the_other_node_is_recognised(nodes, wires, name):
    """An idempotent batch sent again gets its first offset and is stored once, whichever node hears it; one that
    skips a sequence number is refused by both."""
    create_topic(nodes[0], name, 1)
    who = wire.init_producer_id(wires[0])
    first = wire.batch([b"a", b"b"], producer=who, sequence=0)
    second = wire.batch([b"c"], producer=who, sequence=2)
    assert wire.produce(wires[0], name, 0, first) == (wire.NONE, 0)
    assert wire.produce(wires[1], name, 0, first) == (wire.NONE, 0)
    assert wire.produce(wires[1], name, 0, second) == (wire.NONE, 2)
    assert wire.produce(wires[0], name, 0, second) == (wire.NONE, 2)
    for w in wires:
        gap = wire.batch([b"z"], producer=who, sequence=9)
        assert wire.produce(w, name, 0, gap)[0] == wire.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert [r.value for r in consume_all(nodes[1], name, 1)] == [b"a", b"b", b"c"]


def test_producer_ids_are_given_once(wires):
    ids = [wire.init_producer_id(wires[n % 2])[0] for n in range(50)]
    assert len(set(ids)) == 50


def test_clients_go_on_when_one_node_dies(make_store, start_node):
    """Clients that know both addresses lose nothing: what the dead one acknowledged is there, new records are taken."""
    store = make_store("minio")
    nodes = [start_node(store, node_id=1), start_node(store, node_id=2)]
    create_topic(nodes[0], "survivor", 4)
    before = [(b"%d" % n, b"before") for n in range(500)]
    after = [(b"%d" % n, b"after") for n in range(500)]
    produce_all(nodes, "survivor", before)
    nodes[0].kill9()
    produce_all(nodes[::-1], "survivor", after, timeout=60, reconnect_backoff_max_ms=500, topic_metadata_refresh_interval_ms=1000)
    assert_same_records(before + after, consume_all(nodes[1], "survivor", 4), 4)


def brokers(node, client_id="rdkafka"):
    """Ids of the brokers that this node alone lists."""
    client = AdminClient({"bootstrap.servers": node.kafka, "client.id": client_id})
    return set(client.list_topics(timeout=10).brokers)


def seconds_until(node, expected, timeout):
    began = time.monotonic()
    bed.wait_until(lambda: brokers(node) == expected, timeout, f"{node.name} to list {expected}", every=0.2)
    return time.monotonic() - began


@pytest.fixture
def pair(make_store, start_node):
    """Two nodes in different zones that list each other."""
    store = make_store("minio")
    nodes = [start_node(store, node_id=1, flags=["--rack", "a"]), start_node(store, node_id=2, flags=["--rack", "b"])]
    for node in nodes:
        seconds_until(node, {1, 2}, 10)
    return nodes


def test_nodes_find_each_other_and_a_killed_one_is_dropped_at_once(pair):
    """It refuses connections, and nobody is sent there any more; that it said nothing is noticed later."""
    assert all(node.metrics()["strandline_nodes_live"] == 2 for node in pair)
    pair[0].kill9()
    assert seconds_until(pair[1], {2}, 20) < 5
    assert pair[1].metrics()["strandline_nodes_live"] == 1


def test_a_node_that_says_nothing_is_dropped_until_it_does_again(pair):
    """A process that stands still takes connections, or the kernel does: only the store's stamps tell."""
    os.kill(pair[0].pid, signal.SIGSTOP)
    took = seconds_until(pair[1], {2}, 21)
    # It was not forgotten at the first beat that it missed.
    assert 5 < took < 20.5, took
    os.kill(pair[0].pid, signal.SIGCONT)
    seconds_until(pair[1], {1, 2}, 12)


def test_a_node_that_stops_is_off_the_list_before_its_clients_are_cut(pair):
    """While a client is connected, it is served until the other nodes have noticed; the end still takes less than 10 s."""
    create_topic(pair[0], "left", 1)
    ended = []
    with wire.Connection(pair[0], timeout=30) as client:
        assert wire.produce(client, "left", 0, wire.batch([b"w"]))[0] == wire.NONE
        thread = threading.Thread(target=lambda: ended.append(pair[0].terminate(10)))
        thread.start()
        assert seconds_until(pair[1], {2}, 7) < 6.5
        assert wire.produce(client, "left", 0, wire.batch([b"x"]))[0] == wire.NONE
        thread.join()
    assert ended == [0]
    assert [r.value for r in consume_all(pair[1], "left", 1)] == [b"w", b"x"]


def test_partitions_are_shared_out_and_a_client_gets_the_zone_that_it_names(pair):
    create_topic(pair[0], "spread", 32)

    def leaders(node, client_id):
        client = AdminClient({"bootstrap.servers": node.kafka, "client.id": client_id})
        topic = client.list_topics("spread", timeout=10).topics["spread"]
        assert all(sorted(p.replicas) == sorted(p.isrs) == [1, 2] for p in topic.partitions.values())
        return [topic.partitions[n].leader for n in range(32)]

    first = leaders(pair[0], "plain")
    assert first == leaders(pair[1], "plain") and 6 <= first.count(1) <= 26
    for node in pair:
        assert set(leaders(node, "app,strandline_az=a")) == {1}
        assert set(leaders(node, "app,strandline_az=b")) == {2}
        assert leaders(node, "app,strandline_az=c") == first


def test_listeners_have_addresses_of_their_own(make_store, start_node):
    """Who comes in on a listener is told the addresses of that listener, of all nodes; an id follows the address."""
    store = make_store("minio")
    further = [f"127.0.0.1:{bed.free_port()}" for _ in range(2)]
    nodes = [start_node(store, node_id=n + 1, flags=["--listener", f"public={further[n]}=node-{n}.example.net:9092"]) for n in range(2)]
    seconds_until(nodes[0], {1, 2}, 10)

    def told(address):
        """By hand: a client would go on to the addresses that it is told, and nobody answers there."""
        host, port = address.rsplit(":", 1)
        listener = types.SimpleNamespace(address=lambda: (host, int(port)))
        return {f"{b['host']}:{b['port']}" for b in messages.ask(listener, "Metadata", 12, topics=[])["brokers"]}

    for n in range(2):
        assert told(nodes[n].kafka) == {node.kafka for node in nodes}
        assert told(further[n]) == {"node-0.example.net:9092", "node-1.example.net:9092"}


def test_a_node_id_that_is_taken_is_refused(make_store, start_node):
    store = make_store("minio")
    first = start_node(store, node_id=4)
    second = start_node(store, node_id=4)
    bed.wait_until(lambda: not second.running(), 25, "the second node to end")
    assert second.child.returncode == 1
    log = second.log.read_text()
    assert "--node-id" in log and first.kafka in log and not second.panics()
    assert first.healthy() and brokers(first) == {4}
