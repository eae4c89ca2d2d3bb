"""Kafka's own test of transactions, its TransactionalMessageCopier, and the same with other clients: what is copied is there once,
whoever is killed meanwhile.

On MinIO, with two nodes. Two copiers copy a topic into another one in small transactions, of which they abort every third by
chance; they and the nodes are killed with `kill -9` at seeded random moments and started again. At the end a reader under
read_committed must find in the output what is in the input, in its order, and the committed offsets at its end. Kafka's own has
a partition a copier; those on franz-go and confluent-kafka share the partitions as members of a group, and change what they copy.
STRANDLINE_COPIER_RUNS says how many runs of each; without it, one.
"""

import os
import signal
import threading
import time

import pytest
from confluent_kafka import KafkaException, TopicPartition

import bed
import jvm
import messages
from clientlib import bootstrap, by_partition, consume_committed, consumer, create_topic, produce_all
from copying import begin_at_first

COPIERS = 2
TRANSACTION = 40
# A copier ends by itself when it is fenced, or its transaction took too long; somebody starts it again, as an operator would.
LIVES = 12


class Copier(bed.Process):
    """One copier and its lives. What a copier makes of a value is `changed`."""

    records = 1000
    partitions = 2 * COPIERS
    # Seconds between two blows, and for how long there are any.
    pause = 0.5, 2.0
    harmed_seconds = 10

    def __init__(self, nodes, run, number, folder):
        super().__init__(f"copier {number} of run {run}", folder / f"copier-{run}-{number}.log")
        self.bootstrap, self.run, self.number = bootstrap(nodes), run, number
        self.lives, self.killed, self.inside, self.ended = 0, 0, 0, []
        self._lock = threading.Lock()

    def argv(self):
        raise NotImplementedError

    def done(self):
        """Ends it when everything is copied. One that has only just been started knows nothing of signals yet."""
        code = self.terminate()
        assert code in (0, -signal.SIGTERM), f"{self.name} ended with code {code}\n{bed.tail(self.log)}"

    @staticmethod
    def changed(value):
        return value.upper()

    def start(self):
        self.lives += 1
        self.spawn(self.argv(), bed.clean_environment())

    def kill(self):
        with self._lock:
            if self.running():
                self.kill9()
                self.killed += 1
                self.inside += self.last_word() == "began"
                self.start()

    def tend(self):
        """Starts it again if it ended by itself."""
        with self._lock:
            if not self.running() and not self.is_through():
                self.ended.append(self.child.returncode)
                assert len(self.ended) < LIVES, f"{self.name} cannot end its work\n{bed.tail(self.log)}"
                self.start()

    def is_through(self):
        return False

    def words(self):
        """The first words of the lines that it wrote, in all its lives."""
        return [line.split(b" ")[0].rstrip(b":").decode(errors="replace") for line in self.log.read_bytes().splitlines()]

    def last_word(self):
        return next((word for word in reversed(self.words()) if word in ("began", "committed", "aborted", "over")), None)


class Java(Copier):
    """Kafka's own, which has a partition of its own and ends when that is copied."""

    records = 1500
    partitions = COPIERS
    pause = 1.0, 4.0
    harmed_seconds = 15

    def argv(self):
        arguments = {
            "broker-list": self.bootstrap,
            "input-topic": f"in-{self.run}",
            "input-partition": self.number,
            "output-topic": f"out-{self.run}",
            "consumer-group": f"copiers-{self.run}",
            "transactional-id": f"copier-{self.run}-{self.number}",
            "transaction-size": TRANSACTION,
            "transaction-timeout": 15_000,
        }
        options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
        program = "org.apache.kafka.tools.TransactionalMessageCopier"
        return jvm.argv(jvm.kafka_path(), program, *options, "--enable-random-aborts", "--use-group-metadata")

    @staticmethod
    def changed(value):
        return value

    def is_through(self):
        return self.child.returncode == 0

    def done(self):
        def through():
            self.tend()
            return not self.running()

        bed.wait_until(through, 60, f"{self.name} to end", every=0.1)


class Member(Copier):
    """One that shares the partitions with the other one. The first is a dynamic member, the second a static one (KIP-345)."""

    def argv(self):
        arguments = {
            "bootstrap": self.bootstrap,
            "from": f"in-{self.run}",
            "to": f"out-{self.run}",
            "group": f"copiers-{self.run}",
            "static": f"copier-{self.number}" if self.number % 2 else "",
            "id": f"copier-{self.run}-{self.number}",
            "batch": TRANSACTION,
            "seed": f"{bed.SEED}/{self.run}/{self.number}/{self.lives}",
        }
        return [*self.program(), *(part for name, value in arguments.items() for part in (f"--{name}", value))]

    def program(self):
        raise NotImplementedError


class FranzGo(Member):
    records = 1500

    def program(self):
        return [bed.TESTBED / "go/franz", "copy"]


class Confluent(Member):
    def program(self):
        return [bed.TESTBED / "clients/bin/python", "-B", bed.ROOT / "tests/faults/confluent_copy.py"]


RUNS = int(os.environ.get("STRANDLINE_COPIER_RUNS", 1))
PROGRAMS = {"java": Java, "franz-go": FranzGo, "confluent-kafka": Confluent}


class Harm(threading.Thread):
    """Kills a copier, a node, and then one or the other every few seconds, until it is over; a node is back after a while."""

    def __init__(self, random, nodes, copiers):
        super().__init__(daemon=True)
        self.over, self.failure = threading.Event(), None
        self._random, self._nodes, self._copiers = random, nodes, copiers

    def run(self):
        try:
            first = [True, False]
            while not self.over.wait(self._random.uniform(*self._copiers[0].pause)):
                if first.pop(0) if first else self._random.random() < 0.5:
                    self._random.choice(self._copiers).kill()
                else:
                    self._strike(self._random.choice(self._nodes))
        except Exception as error:  # noqa: BLE001: whatever it is, the test must hear of it
            self.failure = error

    def _strike(self, node):
        node.kill9()
        self.over.wait(self._random.uniform(0.2, 3.0))
        node.start()
        node.times_killed = getattr(node, "times_killed", 0) + 1

    def end(self):
        self.over.set()
        self.join(60)
        assert self.failure is None, self.failure


def aborted(node, topic, partitions):
    """How many aborted transactions a reader from the beginning is told of."""
    parts = [{"partition": p, "offset": 0} for p in range(partitions)]
    answer = messages.ask(node, "Fetch", 11, isolation=1, max_bytes=50_000_000, topics=[{"name": topic, "partitions": parts}])
    return sum(len(part["aborted"]) for part in answer["topics"][0]["partitions"])


def is_copied(client, copiers, ends):
    """Whether the group has committed the ends; copiers that ended by themselves are started again."""
    for copier in copiers:
        copier.tend()
    try:
        return {of.partition: of.offset for of in client.committed(list(ends), timeout=5)} == {of.partition: of.offset for of in ends}
    except KafkaException:
        # A node is being killed. What does not pass ends the wait.
        return False


def copy_under_harm(nodes, copiers, group, ends, random):
    """Until the group has committed the ends. Returns how long it took."""
    harm, began = Harm(random, nodes, copiers), time.monotonic()
    client = consumer(nodes, group_id=group, isolation_level="read_committed")
    try:
        for copier in copiers:
            copier.start()
        harm.start()
        while not harm.failure and time.monotonic() - began < copiers[0].harmed_seconds and not is_copied(client, copiers, ends):
            time.sleep(0.1)
        harm.end()
        logs = [copier.log for copier in copiers]
        try:
            bed.wait_until(lambda: is_copied(client, copiers, ends), 120, "everything to be copied", every=0.1)
        except bed.BedError as error:
            raise bed.BedError("\n".join([str(error), *(f"{log.name}:\n{bed.tail(log)}" for log in logs)])) from None
        seconds = time.monotonic() - began
        for copier in copiers:
            copier.done()
        return seconds
    finally:
        harm.over.set()
        if harm.is_alive():
            harm.join(60)
        client.close()
        for copier in copiers:
            if copier.running():
                copier.kill9()


def judge(copiers, run, expected, found):
    """Each record of the input, changed, is in the output once, in its place in the order of its partition."""
    for partition, part in expected.items():
        wanted = [(read.key, copiers[0].changed(read.value)) for read in part]
        got = [(read.key, read.value) for read in found.get(partition, [])]
        lost, doubled = len(set(wanted) - set(got)), len(got) - len(set(got))
        assert got == wanted, f"run {run}, partition {partition}: {len(wanted)} records in, {len(got)} out, {lost} lost, {doubled} doubled"


def copy(kind, run, nodes, folder):
    count = kind.partitions
    source, target = create_topic(nodes, f"in-{run}", count), create_topic(nodes, f"out-{run}", count)
    sent = [(b"%d" % n, b"value %d of run %d" % (n, run)) for n in range(kind.records)]
    produce_all(nodes, source, sent, enable_idempotence=True)
    expected = by_partition(consume_committed(nodes, source, count))
    assert sum(map(len, expected.values())) == kind.records and len(expected) == count
    ends = [TopicPartition(source, partition, len(part)) for partition, part in expected.items()]
    begin_at_first(bootstrap(nodes), f"copiers-{run}", source, count)
    copiers = [kind(nodes, run, number, folder) for number in range(COPIERS)]
    seconds = copy_under_harm(nodes, copiers, f"copiers-{run}", ends, bed.seeded(f"copier {run}"))
    judge(copiers, run, expected, by_partition(consume_committed(nodes, target, count)))
    aborts, kills = aborted(nodes[0], target, count), sum(copier.killed for copier in copiers)
    inside, ended = sum(copier.inside for copier in copiers), sum(len(copier.ended) for copier in copiers)
    print(
        f"run {run}: {kind.records} records in {seconds:.0f} s, {aborts} aborted transactions, {kills} kills of copiers"
        f"{f', {inside} of them within a transaction' if inside else ''}; {ended} that ended by themselves"
    )
    return aborts, kills


@pytest.mark.parametrize("kind", list(PROGRAMS))
@pytest.mark.timeout(60 + 150 * RUNS)
def test_copies_under_kills(make_store, start_node, tmp_path, kind):
    print(f"seed {bed.SEED}")
    store = make_store("minio")
    nodes = [start_node(store, node_id) for node_id in (1, 2)]
    done = [copy(PROGRAMS[kind], run, nodes, tmp_path) for run in range(RUNS)]
    killed = sum(getattr(node, "times_killed", 0) for node in nodes)
    print(f"{killed} kills of nodes")
    assert killed and sum(kills for _, kills in done), "nobody was killed"
    assert sum(aborts for aborts, _ in done), "nothing was aborted"
