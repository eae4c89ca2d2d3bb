"""Kafka Connect, distributed: a file goes into a topic and out again into a file, while nodes and the worker are killed.

Without more ado Connect promises every line at least once; with exactly.once.source.support exactly once in the topic, whose
producer and offsets are one transaction. Apache Kafka itself is held to the same.
"""

import json
import time
import urllib.error
import urllib.request
import uuid

import bed
import jvm
import pytest
import results
from clientlib import bootstrap, consumer, create_topic, describe_configs
from confluent_kafka import TopicPartition

LINES = [f"line {number} of the file" for number in range(9000)]
SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"

pytestmark = pytest.mark.timeout(400)


class Worker(bed.Process):
    """One worker of a Connect cluster of its own; started again, it is the same one."""

    def __init__(self, folder, nodes, **config):
        super().__init__("the worker", folder / "worker.log")
        self.port = bed.free_port()
        self.group = f"connect-{uuid.uuid4().hex[:8]}"
        settings = {
            "bootstrap.servers": bootstrap(nodes),
            "group.id": self.group,
            "listeners": f"http://127.0.0.1:{self.port}",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "plugin.discovery": "service_load",
            # A worker that was killed is missed soon, and nobody waits for it to come back.
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "scheduled.rebalance.max.delay.ms": 0,
            "offset.flush.interval.ms": 500,
            "metadata.max.age.ms": 2000,
            # An admin client waits so long for a node that was taken off the list between two of its steps.
            **{f"{whose}default.api.timeout.ms": 12000 for whose in ("", "admin.")},
            **{f"{whose}request.timeout.ms": 8000 for whose in ("", "admin.")},
            **{f"{kind}.storage.topic": f"{self.group}-{kind}" for kind in ("config", "offset", "status")},
            **{f"{kind}.storage.replication.factor": -1 for kind in ("config", "offset", "status")},
            **config,
        }
        file = folder / "worker.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        main = "org.apache.kafka.connect.cli.ConnectDistributed"
        self.command = jvm.argv(jvm.connect_path(), main, file, options=["-Xmx256m", *jvm.TIMES])

    def start(self):
        self.spawn(self.command, bed.clean_environment())
        self.until(lambda: self.ask("GET", "/connectors")[0] == 200, "the worker to answer", 120)

    def ask(self, method, path, body=None):
        """(status, answer); a connection that fails is status 0."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                return reply.status, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def connector(self, name, **config):
        """Creates it, as often as a rebalance is in the way, and waits until it and its one task run."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        said = []

        def created():
            said[:] = self.ask("PUT", f"/connectors/{name}/config", {"tasks.max": "1", **settings})
            assert said[0] in (0, 200, 201, 409, 500), said
            return said[0] in (200, 201)

        self.until(created, f"connector {name} to be taken: {said}", 60)
        self.until(lambda: self.states(name) == ["RUNNING", "RUNNING"], f"connector {name} to run", 90)

    def states(self, name):
        status, answer = self.ask("GET", f"/connectors/{name}/status")
        return [part["state"] for part in (answer["connector"], *answer["tasks"])] if status == 200 else []

    def mend(self, name):
        """What an operator does: starts again what failed. A task does when the worker cannot reach its topics for some seconds."""
        if "FAILED" in self.states(name):
            self.ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true")

    def until(self, condition, what, timeout=90):
        def holds():
            assert self.running(), f"the worker ended with {self.child.returncode}\n{bed.tail(self.log)}"
            return condition()

        try:
            return bed.wait_until(holds, timeout, what, every=0.2)
        except bed.BedError as error:
            raise AssertionError(f"{error}\n{bed.tail(self.log)}") from None


@pytest.fixture(autouse=True)
def remembered(request):
    yield
    if request.node.callspec.params["nodes"] == "strandline":
        scenario = request.node.originalname.removeprefix("test_").replace("_", " ")
        results.record_test(request.node, "Kafka Connect", jvm.CONNECT, scenario)


@pytest.fixture(params=["strandline", "kafka"])
def nodes(request, make_store, start_node):
    """Two nodes that may be killed; of Apache Kafka there is one, which may not."""
    if request.param == "kafka":
        return [request.getfixturevalue("kafka")]
    store = make_store("minio")
    return [start_node(store, node_id=1), start_node(store, node_id=2)]


@pytest.fixture
def start_worker(nodes, tmp_path):
    started = []

    def start(**config):
        started.append(Worker(tmp_path, nodes, **{key.replace("_", "."): value for key, value in config.items()}))
        started[-1].start()
        return started[-1]

    yield start
    for worker in started:
        if worker.running():
            worker.kill9()


def append(file, lines):
    with open(file, "a") as out:
        out.writelines(f"{line}\n" for line in lines)


def lines_of(file):
    return file.read_text().splitlines() if file.exists() else []


def assert_copied(worker, source, sink):
    """A sink may write a line again, when a rebalance took it back; it may lose none, and none may overtake another."""
    worker.until(lambda: len(set(lines_of(sink))) >= len(LINES), "the sink's file to be whole")
    assert list(dict.fromkeys(lines_of(sink))) == lines_of(source) == LINES


def thirds():
    size = len(LINES) // 3
    return [LINES[at : at + size] for at in range(0, len(LINES), size)]


class without:
    """While it lasts, this node is dead; a node that may not be killed lives on."""

    def __init__(self, nodes, index):
        self.node = nodes[index] if len(nodes) > 1 else None

    def __enter__(self):
        if self.node:
            self.node.kill9()

    def __exit__(self, *_):
        if self.node:
            self.node.start()


def test_file_to_topic_to_file(nodes, start_worker, tmp_path):
    """Every line at least once, in order, whichever node dies; the three topics of Connect are compacted ones."""
    source, sink = tmp_path / "source.txt", tmp_path / "sink.txt"
    source.touch()
    worker = start_worker()
    topic = create_topic(nodes[0], f"{worker.group}-lines", 1)
    worker.connector("source", connector_class=SOURCE, file=str(source), topic=topic)
    worker.connector("sink", connector_class=SINK, file=str(sink), topics=topic)
    for kind in ("config", "offset", "status"):
        assert describe_configs(nodes[0], "topic", f"{worker.group}-{kind}")["cleanup.policy"].value == "compact"
    parts = thirds()

    def arrived(count):
        def enough():
            there = len(set(lines_of(sink))) >= count
            if not there:
                worker.mend("source")
                worker.mend("sink")
            return there

        worker.until(enough, f"{count} lines in the sink's file", 120)

    append(source, parts[0])
    arrived(len(parts[0]))
    for index, part in enumerate(parts[1:]):
        with without(nodes, index):
            append(source, part)
            arrived(len(parts[0]) * (index + 1) + 1)
    assert_copied(worker, source, sink)
    assert worker.states("source") == worker.states("sink") == ["RUNNING", "RUNNING"]


def test_compacted_topics_tell_a_worker_where_it_was(nodes, start_worker, tmp_path):
    """Its connectors and its places in the file and in the topic are the last records of their keys."""
    source, sink = tmp_path / "source.txt", tmp_path / "sink.txt"
    source.touch()
    worker = start_worker()
    topic = create_topic(nodes[0], f"{worker.group}-lines", 1)
    worker.connector("source", connector_class=SOURCE, file=str(source), topic=topic)
    worker.connector("sink", connector_class=SINK, file=str(sink), topics=topic)
    running = ["RUNNING", "RUNNING"]
    for upto in (4500, 9000):
        append(source, LINES[upto - 4500 : upto])
        worker.until(lambda: len(lines_of(sink)) >= upto, f"{upto} lines in the sink's file")
        # Places are written twice a second: with the last of them known, no line needs to come again.
        time.sleep(2)
        worker.kill9()
        if len(nodes) > 1:
            done = bed.run_command(["compact", nodes[0].store.url, "--once", "--all"], nodes[0].store)
            assert b"compacted by key" in done.stdout, done
        worker.start()
        worker.until(lambda: worker.states("source") == worker.states("sink") == running, "both connectors to run")
    assert lines_of(sink) == lines_of(source) == LINES


def test_exactly_once_source(nodes, start_worker, tmp_path):
    """Every line once in the topic, although the worker and a node die between its transactions, or in them."""
    source, sink = tmp_path / "source.txt", tmp_path / "sink.txt"
    source.touch()
    worker = start_worker(exactly_once_source_support="enabled")
    topic = create_topic(nodes[0], f"{worker.group}-lines", 1)
    # Many small transactions, so that a kill meets one. A new worker reads the offsets to their end before it does anything else, so
    # it waits for the transaction that the old one left open.
    small = {"batch_size": "100", "producer_override_transaction_timeout_ms": "8000"}
    worker.connector("source", connector_class=SOURCE, file=str(source), topic=topic, exactly_once_support="required", **small)
    parts = thirds()

    client = consumer(nodes, isolation_level="read_committed")
    client.assign([TopicPartition(topic, 0, 0)])
    read = []

    def committed(count):
        """Waits until so many records can be read."""
        deadline = time.monotonic() + 120
        while len(read) < count:
            messages = client.consume(1000, 0.2)
            read.extend(json.loads(message.value()) for message in messages if not message.error())
            if not messages:
                worker.mend("source")
            assert time.monotonic() < deadline, f"{len(read)} of {count} records in the topic\n{bed.tail(worker.log)}"

    append(source, parts[0])
    committed(len(parts[0]) // 3)
    worker.kill9()
    append(source, parts[1])
    worker.start()
    committed(len(parts[0]) + 1)
    with without(nodes, 1):
        append(source, parts[2])
        committed(len(parts[0]) * 2 + 1)
    committed(len(LINES))
    assert read == LINES
    client.close()
    worker.connector("sink", connector_class=SINK, file=str(sink), topics=topic)
    assert_copied(worker, source, sink)
