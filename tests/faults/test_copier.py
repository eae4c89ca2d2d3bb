"""Kafka's own test of transactions, its TransactionalMessageCopier: what it copies is there once, whoever is killed meanwhile.

On MinIO, with two nodes. Two copiers, one a partition, copy a topic into another one in small transactions, of which they abort
every third by chance; they and the nodes are killed with `kill -9` at seeded random moments and started again. At the end a reader
under read_committed must find in the output what is in the input, in its order, and the committed offsets at its end.
STRANDLINE_COPIER_RUNS says how many runs; three are made if it does not.
"""

import os
import threading
import time

import pytest
from confluent_kafka import TopicPartition

import bed
import jvm
import messages
from clientlib import by_partition, consume_committed, consumer, create_topic, produce_all

RUNS = int(os.environ.get("STRANDLINE_COPIER_RUNS") or 3)
COPIERS = 2
RECORDS = 1500
TRANSACTION = 40
COPIER = "org.apache.kafka.tools.TransactionalMessageCopier"
# A copier ends by itself when it is fenced, or its transaction took too long; somebody starts it again, as an operator would.
LIVES = 12


class Copier:
    """One copier and its lives: it is started again until it says that it has copied everything."""

    def __init__(self, nodes, run, number, folder):
        self.number, self.killed, self.ended = number, 0, []
        arguments = {
            "broker-list": ",".join(node.kafka for node in nodes),
            "input-topic": f"in-{run}",
            "input-partition": number,
            "output-topic": f"out-{run}",
            "consumer-group": f"copiers-{run}",
            "transactional-id": f"copier-{run}-{number}",
            "transaction-size": TRANSACTION,
            "transaction-timeout": 15_000,
        }
        options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
        self.argv = jvm.argv(jvm.kafka_path(), COPIER, *options, "--enable-random-aborts", "--use-group-metadata")
        self.process = bed.Process(f"copier {number} of run {run}", folder / f"copier-{run}-{number}.log")

    def start(self):
        self.process.spawn(self.argv, bed.clean_environment())

    def kill(self):
        if self.process.running():
            self.process.kill9()
            self.killed += 1
            self.start()

    def finished(self):
        """True when it has copied everything; one that ended otherwise is started again."""
        if self.process.running():
            return False
        if self.process.child.returncode == 0:
            return True
        self.ended.append(self.process.child.returncode)
        assert len(self.ended) < LIVES, f"{self.process.name} cannot end its work\n{bed.tail(self.process.log)}"
        self.start()
        return False


def harm(random, nodes, copiers, over):
    """Kills something every few seconds, until it is over; a node is back after a while."""
    while not over.wait(random.uniform(1.0, 4.0)):
        if random.random() < 0.5:
            random.choice(copiers).kill()
        else:
            node = random.choice(nodes)
            node.kill9()
            over.wait(random.uniform(0.2, 3.0))
            node.start()
            node.times_killed = getattr(node, "times_killed", 0) + 1


def aborted(node, topic):
    """How many aborted transactions a reader from the beginning is told of."""
    parts = [{"partition": p, "offset": 0} for p in range(COPIERS)]
    answer = messages.ask(node, "Fetch", 11, isolation=1, max_bytes=50_000_000, topics=[{"name": topic, "partitions": parts}])
    return sum(len(part["aborted"]) for part in answer["topics"][0]["partitions"])


def committed(nodes, group, topic):
    client = consumer(nodes, group_id=group, isolation_level="read_committed")
    try:
        return [of.offset for of in client.committed([TopicPartition(topic, p) for p in range(COPIERS)], timeout=30)]
    finally:
        client.close()


def copy(run, nodes, folder):
    random = bed.seeded(f"copier {run}")
    source, target = create_topic(nodes, f"in-{run}", COPIERS), create_topic(nodes, f"out-{run}", COPIERS)
    sent = [(b"%d" % n, b"value %d of run %d" % (n, run)) for n in range(RECORDS)]
    produce_all(nodes, source, sent, enable_idempotence=True)
    copiers = [Copier(nodes, run, number, folder) for number in range(COPIERS)]
    over, failures = threading.Event(), []

    def harmful():
        try:
            harm(random, nodes, copiers, over)
        except Exception as error:  # noqa: BLE001: whatever it is, the test must hear of it
            failures.append(error)

    began = time.monotonic()
    for copier in copiers:
        copier.start()
    harming = threading.Thread(target=harmful)
    harming.start()
    try:
        # Not by `finished` alone: one that is being killed is started again by whoever kills it.
        bed.wait_until(lambda: failures or time.monotonic() - began > 15, 60, "some harm", every=0.2)
        over.set()
        harming.join(60)
        assert not failures, failures[0]
        bed.wait_until(lambda: all([copier.finished() for copier in copiers]), 120, "the copiers to finish", every=0.1)
    finally:
        over.set()
        harming.join(60)
        for copier in copiers:
            if copier.process.running():
                copier.process.kill9()
    seconds = time.monotonic() - began
    expected, found = by_partition(consume_committed(nodes, source, COPIERS)), by_partition(consume_committed(nodes, target, COPIERS))
    for partition in range(COPIERS):
        wanted = [(read.key, read.value) for read in expected[partition]]
        got = [(read.key, read.value) for read in found.get(partition, [])]
        lost, doubled = len(set(wanted) - set(got)), len(got) - len(set(got))
        assert got == wanted, f"run {run}, partition {partition}: {len(wanted)} records in, {len(got)} out, {lost} lost, {doubled} doubled"
        assert len(set(got)) == len(got)
    ends = [len(expected[partition]) for partition in range(COPIERS)]
    assert committed(nodes, f"copiers-{run}", source) == ends
    kills = sum(copier.killed for copier in copiers)
    print(
        f"run {run}: {RECORDS} records in {seconds:.0f} s, {aborted(nodes[0], target)} aborted transactions, {kills} kills of copiers,"
        f" {sum(len(copier.ended) for copier in copiers)} that ended by themselves"
    )
    return aborted(nodes[0], target), kills


@pytest.mark.timeout(60 + 150 * RUNS)
def test_copies_under_kills(make_store, start_node, tmp_path):
    store = make_store("minio")
    nodes = [start_node(store, node_id) for node_id in (1, 2)]
    done = [copy(run, nodes, tmp_path) for run in range(RUNS)]
    killed = sum(getattr(node, "times_killed", 0) for node in nodes)
    print(f"{killed} kills of nodes")
    assert killed and sum(kills for _, kills in done), "nobody was killed"
    assert sum(aborts for aborts, _ in done), "nothing was aborted"
