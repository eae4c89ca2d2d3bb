"""`kill -9` in the middle of producing, twenty times over: what was acknowledged is there, once, in its order.

On MinIO. Idempotent producers never stop and never give up; a node is killed at seeded random moments and started
again at the same address. At the end a node that has seen nothing of it reads everything back.
"""

import collections
import itertools
import threading
import time

import pytest
from confluent_kafka import KafkaException

import bed
from clientlib import assert_gapless, consume_all, create_topic, producer

TOPIC = "hammered"
PARTITIONS = 4
KILLS = 20
PADDING = b"." * 200


class Load:
    """An idempotent producer that numbers its records for each partition and remembers every acknowledgement."""

    def __init__(self, nodes, name):
        self.name = name
        self.sent = 0
        self.acknowledged = {}
        self.errors = []
        self._client = producer(
            nodes,
            enable_idempotence=True,
            linger_ms=2,
            message_timeout_ms=120_000,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=200,
            retry_backoff_ms=20,
            retry_backoff_max_ms=200,
            topic_metadata_refresh_interval_ms=2000,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _delivered(self, error, message):
        value = message.value().removesuffix(PADDING)
        if error is not None:
            self.errors.append(f"{value.decode()}: {error}")
        elif value in self.acknowledged:
            self.errors.append(f"{value.decode()} was acknowledged twice")
        else:
            self.acknowledged[value] = (message.partition(), message.offset())

    def _run(self):
        try:
            for number in itertools.count():
                if self._stop.is_set():
                    break
                for partition in range(PARTITIONS):
                    value = b"%s/%d/%d" % (self.name.encode(), partition, number)
                    self._client.produce(TOPIC, value + PADDING, partition=partition, on_delivery=self._delivered)
                    self.sent += 1
                self._client.poll(0.002)
                while len(self._client) > 20_000:
                    self._client.poll(0.1)
        except (KafkaException, BufferError) as error:
            self.errors.append(repr(error))

    def in_flight(self):
        return self.sent - len(self.acknowledged)

    def finish(self):
        """Stops, and waits until all that was sent is acknowledged."""
        self._stop.set()
        self._thread.join(60)
        left = self._client.flush(60)
        assert not self.errors, f"{len(self.errors)} errors, first: {self.errors[0]}"
        assert left == 0 and len(self.acknowledged) == self.sent, f"{left} of {self.sent} records were never acknowledged"


def kill_in_a_loop(nodes, loads, rng):
    """Kills a random one of the nodes while every load makes progress, KILLS times; returns how often records were in flight."""
    hit = 0
    for kill in range(KILLS):
        at_least = [len(load.acknowledged) + 50 for load in loads]

        def everybody_goes_on():
            errors = [error for load in loads for error in load.errors]
            assert not errors, f"kill {kill}: {errors[0]}"
            return all(len(load.acknowledged) >= n for load, n in zip(loads, at_least))

        bed.wait_until(everybody_goes_on, 30, f"acknowledgements before kill {kill}")
        time.sleep(rng.uniform(0, 0.5))
        hit += any(load.in_flight() > 0 for load in loads)
        victim = rng.choice(nodes)
        victim.kill9()
        time.sleep(rng.choice([0, 0.3]))
        victim.start()
    return hit


def assert_everything_is_there_once(reads, loads):
    assert_gapless(reads)
    at = {(r.partition, r.offset): r.value.removesuffix(PADDING) for r in reads}
    times = collections.Counter(at.values())
    doubled = [value for value, count in times.items() if count > 1]
    assert not doubled, f"{len(doubled)} records are there twice, for example {doubled[0]}"
    acknowledged = {value: place for load in loads for value, place in load.acknowledged.items()}
    lost = set(acknowledged) - set(times)
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged records are lost, for example {min(lost)}"
    assert set(times) == set(acknowledged), "records that nobody was told of"
    moved = [value for value, place in acknowledged.items() if at.get(place) != value]
    assert not moved, f"{len(moved)} records are not at the offset of their acknowledgement, for example {moved[0]}"
    last = {}
    for read in reads:
        name, partition, number = read.value.removesuffix(PADDING).split(b"/")
        assert int(partition) == read.partition
        expected = last.get((name, partition), -1) + 1
        assert int(number) == expected, f"{name.decode()} in partition {read.partition}: record {int(number)} where {expected} belongs"
        last[name, partition] = expected


def hammer(store, start_node, nodes, producers, purpose):
    print(f"seed {bed.SEED}")
    create_topic(nodes[0], TOPIC, PARTITIONS)
    loads = [Load(nodes, f"producer-{n}") for n in range(producers)]
    try:
        hit = kill_in_a_loop(nodes, loads, bed.seeded(purpose))
    finally:
        for load in loads:
            load._stop.set()
    for load in loads:
        load.finish()
    assert hit >= KILLS // 2, f"only {hit} of {KILLS} kills hit records in flight: this test proves little"
    for node in nodes:
        node.kill9()
    cold = start_node(store, node_id=9)
    assert_everything_is_there_once(consume_all(cold, TOPIC, PARTITIONS), loads)


@pytest.mark.timeout(240)
def test_one_node_killed_twenty_times(make_store, start_node):
    """The node is the whole cluster: between two of its lives there is nothing but the bucket."""
    store = make_store("minio")
    hammer(store, start_node, [start_node(store)], 1, "kill one")


@pytest.mark.timeout(240)
def test_two_nodes_on_one_prefix_killed_in_turn(make_store, start_node):
    """Two producers on two nodes; at each kill one of the two, by chance. The other one goes on meanwhile."""
    store = make_store("minio")
    hammer(store, start_node, [start_node(store, node_id=1), start_node(store, node_id=2)], 2, "kill two")
