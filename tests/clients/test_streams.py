"""Kafka Streams, exactly once: a word count whose instances and nodes are killed while it counts.

Every change of a count is a record of the output: of a word that occurs n times, read_committed shows 1, 2, ... n, each once.
Apache Kafka itself is held to the same.
"""

import collections
import re
import time
import uuid

import bed
import jvm
import pytest
import results
from clientlib import consumer, create_topic, package_list, produce_all, topics
from confluent_kafka import TopicPartition

PARTITIONS = 2
LINES = 6000

pytestmark = pytest.mark.timeout(400)


class Instance(bed.Process):
    """One JVM of the word count, with a state directory that outlives it."""

    def __init__(self, number, folder, bootstrap, application, source, target):
        super().__init__(f"instance {number}", folder / f"instance-{number}.log")
        state = folder / f"state-{number}"
        arguments = (bootstrap, application, source, target, state)
        self.command = jvm.argv(jvm.streams_path(), "WordCount", *arguments, options=["-Xmx256m", *jvm.TIMES])

    def start(self):
        self.spawn(self.command, bed.clean_environment())

    def states(self):
        return [line.split()[1] for line in self.log.read_text(errors="replace").splitlines() if line.startswith("state ")]


class Counts:
    """What the output says so far: reads on, read_committed, from where it stopped."""

    def __init__(self, bootstrap, topic, instances):
        self.client = consumer(bootstrap, isolation_level="read_committed", auto_offset_reset="earliest")
        self.client.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        self.instances = instances
        self.of = collections.defaultdict(list)
        self.total = 0

    def until(self, total, timeout=90):
        deadline = time.monotonic() + timeout
        while self.total < total:
            for message in self.client.consume(5000, 0.5):
                assert not message.error(), message.error()
                self.of[message.key().decode()].append(int(message.value()))
                self.total += 1
            dead = [one for one in self.instances if not one.running()]
            said = "\n".join(f"{one.name}: {bed.tail(one.log)}" for one in self.instances)
            assert len(dead) < len(self.instances), f"no instance is left\n{said}"
            assert time.monotonic() < deadline, f"{self.total} of {total} counts in {timeout} s\n{said}"


def text():
    """Lines whose words are words for Python and for Java alike."""
    lines = (line for _, stanza in package_list() for line in stanza.decode(errors="replace").splitlines())
    plain = [line for line in lines if line.isascii() and line.strip()]
    return plain[:LINES]


@pytest.fixture(autouse=True)
def remembered(request):
    yield
    if request.node.callspec.params["nodes"] == "strandline":
        results.record_test(request.node, "Kafka Streams", jvm.KAFKA, "word count, exactly once")


@pytest.fixture(params=["strandline", "kafka"])
def nodes(request, make_store, start_node):
    """Two nodes that may be killed; of Apache Kafka there is one, which may not."""
    if request.param == "kafka":
        return [request.getfixturevalue("kafka")]
    store = make_store("minio")
    return [start_node(store, node_id=1), start_node(store, node_id=2)]


@pytest.fixture
def program(nodes, tmp_path):
    """(input topic, output topic, two instances that are not started, what they counted)"""
    unique = uuid.uuid4().hex[:8]
    source, target = (create_topic(nodes[0], f"{what}-{unique}", PARTITIONS) for what in ("lines", "counts"))
    bootstrap = ",".join(node.kafka for node in nodes)
    instances = [Instance(n, tmp_path, bootstrap, f"word-count-{unique}", source, target) for n in (1, 2)]
    counts = Counts(nodes, target, instances)
    try:
        yield source, f"word-count-{unique}", instances, counts
    finally:
        counts.client.close()
        for one in instances:
            if one.running():
                one.kill9()


def test_word_count_exactly_once(nodes, program):
    source, application, instances, counts = program
    lines = text()
    expected = collections.Counter(word for line in lines for word in re.split(r"\W+", line.lower(), flags=re.ASCII) if word)
    third, total = len(lines) // 3, sum(expected.values())
    parts = [lines[:third], lines[third : 2 * third], lines[2 * third :]]

    def feed(part):
        produce_all(nodes, source, [(None, line.encode()) for line in part], enable_idempotence=True)

    feed(parts[0])
    for one in instances:
        one.start()
    counts.until(total // 10)
    instances[0].kill9()
    feed(parts[1])
    instances[0].start()
    counts.until(total // 2)
    if len(nodes) > 1:
        nodes[1].kill9()
    feed(parts[2])
    if len(nodes) > 1:
        nodes[1].start()
    counts.until(total)
    wrong = {word: counts.of[word] for word in {*expected, *counts.of} if counts.of[word] != list(range(1, expected[word] + 1))}
    assert not wrong, f"{len(wrong)} of {len(expected)} words are miscounted: {dict(list(wrong.items())[:3])}"
    internal = {f"{application}-{name}" for name in ("words-repartition", "counts-changelog")}
    assert internal <= set(topics(nodes[0])), topics(nodes[0])
    assert not any("ERROR" in one.states() for one in instances), [one.states() for one in instances]
