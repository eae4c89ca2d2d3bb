"""librdkafka's consumers of both group protocols in one group: every partition has one owner, every record is read once."""

import collections
import threading

import bed
import pytest
from confluent_kafka import Consumer, KafkaException

from clientlib import bootstrap, create_topic, produce_all

PARTITIONS = 4


class Reader(threading.Thread):
    """A member that polls, and commits what it read before it gives a partition up."""

    def __init__(self, node, topic, owners, values, **config):
        super().__init__(daemon=True)
        self.owners, self.values, self.failures = owners, values, []
        self.leaving = threading.Event()
        settings = {"group.id": f"group-{topic}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
        self.client = Consumer({"bootstrap.servers": bootstrap(node), **settings, **config})
        self.client.subscribe([topic], on_assign=self.take, on_revoke=self.give)
        self.start()

    def take(self, _, partitions):
        for partition in partitions:
            other = self.owners.setdefault(partition.partition, self)
            if other is not self:
                self.failures.append(f"{partition.partition} has another owner")

    def give(self, client, partitions):
        try:
            client.commit(asynchronous=False)
        except KafkaException as failure:
            if failure.args[0].name() != "_NO_OFFSET":
                self.failures.append(str(failure))
        for partition in partitions:
            self.owners.pop(partition.partition, None)

    def run(self):
        while not self.leaving.is_set():
            message = self.client.poll(0.05)
            if message is None:
                continue
            if message.error():
                self.failures.append(str(message.error()))
            else:
                self.values.append(message.value())
        self.client.close()

    def leave(self):
        self.leaving.set()
        self.join(20)
        assert not self.is_alive(), "it did not leave in 20 s"
        assert self.failures == []


@pytest.fixture
def shared(node, name):
    """A topic, who owns which of its partitions, what was read of it, and a way to start members."""
    create_topic(node, name, PARTITIONS)
    owners, values, readers = {}, collections.deque(), []

    def start(**config):
        readers.append(Reader(node, name, owners, values, **config))
        return readers[-1]

    yield owners, values, start
    for reader in readers:
        reader.leave()


CLASSIC = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500}


def test_members_of_both_protocols_share_a_group(node, name, shared):
    owners, values, start = shared

    def share(*counts):
        bed.wait_until(lambda: sorted(collections.Counter(owners.copy().values()).values()) == sorted(counts), 30, f"shares of {counts}")

    def read(count):
        produce_all(node, name, [(None, b"%d" % number) for number in range(count - 100, count)])
        bed.wait_until(lambda: len(values) >= count, 30, f"{count} records")

    old = start(**CLASSIC)
    share(4)
    read(100)
    new = start(**{"group.protocol": "consumer"})
    share(2, 2)
    read(200)
    start(**CLASSIC)
    share(1, 1, 2)
    old.leave()
    share(2, 2)
    read(300)
    new.leave()
    share(4)
    read(400)
    assert sorted(values) == sorted(b"%d" % number for number in range(400)), "records were lost, or read twice"
