"""A cluster behind proxies, clients at work on it, and the judgement at the end.

A campaign is the same whatever goes wrong in it: nodes that each reach the bucket through a proxy of their own, writers,
readers, a watcher and a churn spread over them, some seconds of `trouble`, and then an end of all faults, after which
everything pending must finish in bounded time, every node must give out the same log as one that starts cold straight
on the server, and the history must allow that log. Must not know which faults there were.
"""

import time

import bed
import history as histories
import proxy as proxies
from clientlib import consume_all, create_topic, end_offsets
from load import Churn, Reader, Watcher, Writer

TOPIC = "troubled"
PARTITIONS = 3
# Answers that are outstanding when the faults end: ten attempts' worth on a quiet machine.
FINISH_SECONDS = 90

# Small flushes, so that there are many commits; the second node's records go into segments for the most part.
FLAGS = [["--flush-interval", "25ms"], ["--flush-interval", "25ms", "--inline-max", "2KiB"]]


class Cluster:
    """Nodes on one prefix of a MinIO, each with its proxy. A context: ends with every process that it left stopped going.

    `alone`: clients of a node hear of no other one.
    """

    def __init__(self, store, start_node, count=2, alone=True):
        self.store = store
        self._flags = ["--alone"] if alone else []
        self._start_node = start_node
        self._proxies = proxies.Proxies()
        self.proxies = []
        self.nodes = []
        try:
            for number in range(count):
                self._add(number)
        except BaseException:
            self._proxies.close()
            raise

    def _add(self, number):
        root = f"/{bed.BUCKET}/{self.store.prefix}/"
        proxy = self._proxies.add(self.store.server.port, root, f"proxy {number + 1}")
        self.proxies.append(proxy)
        env = {"AWS_ENDPOINT_URL": proxy.url}
        self.nodes.append(self._start_node(self.store, node_id=number + 1, flags=[*self._flags, *FLAGS[number % len(FLAGS)]], env=env))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._proxies.close()

    def set(self, *faults):
        for proxy in self.proxies:
            proxy.set(*faults)

    def heal(self):
        """Ends all faults and waits for what was parked; nodes that were killed are started again."""
        for proxy in self.proxies:
            proxy.clear()
            proxy.heal()
        for proxy in self.proxies:
            proxy.settle()
        for node in self.nodes:
            if not node.running():
                node.start()

    def injected(self):
        total = proxies.collections.Counter()
        for proxy in self.proxies:
            total.update(proxy.injected)
        return total

    def await_fired(self, *kinds):
        """Until each kind has struck through one of the proxies: chance decides when."""

        def silent():
            return [kind for kind in kinds if not self.injected()[kind]]

        try:
            bed.wait_until(lambda: not silent(), 60, "all faults to strike", every=0.1)
        except bed.BedError:
            raise bed.BedError(f"never injected: {', '.join(silent())}; injected: {dict(self.injected())}") from None

    def cold(self):
        """A node that has seen nothing of it, straight on the server."""
        return self._start_node(self.store, node_id=9)


class Campaign:
    """Clients at work on a cluster."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.history = histories.History()
        nodes = cluster.nodes
        create_topic(nodes[0], TOPIC, PARTITIONS)
        on_topic = {"topic": TOPIC, "partitions": PARTITIONS}
        self.writers = [
            Writer(self.history, nodes[n:] + nodes[:n], name=f"idempotent-{n + 1}", **on_topic) for n in range(len(nodes))
        ] + [Writer(self.history, node, name=f"plain-{n + 1}", idempotent=False, **on_topic) for n, node in enumerate(nodes)]
        self.watcher = Watcher(self.history, nodes, **on_topic)
        self.churn = Churn(nodes)
        self.readers = []
        self._workers = [*self.writers, self.watcher, self.churn]

    def __enter__(self):
        print(f"seed {bed.SEED}")
        for worker in self._workers:
            worker.start()
        for _ in range(2):
            self.add_reader()
        return self

    def __exit__(self, *_):
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker._thread.join(60)

    def add_reader(self):
        """One more, which begins at the first offset."""
        name = f"reader-{len(self.readers) + 1}"
        reader = Reader(self.history, self.cluster.nodes, TOPIC, PARTITIONS, name)
        self.readers.append(reader)
        self._workers.append(reader)
        return reader.start()

    def progress(self):
        return sum(writer.acknowledged for writer in self.writers)

    def assert_unharmed(self):
        for worker in self._workers:
            worker.assert_unharmed()

    def run(self, seconds):
        """Lets things go on for so long; ends at the first thing that must not be."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.assert_unharmed()
            time.sleep(0.05)

    def judge(self):
        """Ends the faults and the load, and compares what was seen with what is there."""
        self.cluster.heal()
        healed = time.monotonic()
        for writer in self.writers:
            writer.stop()
        for writer in self.writers:
            writer.finish(FINISH_SECONDS)
        self.churn.finish()
        self.watcher.finish()
        cold = self.cluster.cold()
        ends = end_offsets(cold, TOPIC, PARTITIONS)
        for reader in self.readers:
            reader.finish(ends, FINISH_SECONDS)
        finished = time.monotonic() - healed
        log = consume_all(cold, TOPIC, PARTITIONS)
        print(f"{self.history.summary()}; {len(log)} in the log; {self.churn.lives} lives of a topic, {self.churn.read} read")
        print(f"injected: {dict(self.cluster.injected())}; done {finished:.1f} s after the faults ended")
        print("passing errors:", {worker.name: dict(worker.transient) for worker in self._workers if worker.transient})
        histories.check(self.history, log)
        for node in self.cluster.nodes:
            again = consume_all(node, TOPIC, PARTITIONS)
            assert sorted(again) == sorted(log), f"{node.name} gives out another log than a node that starts cold"
        assert self.progress() > 0 and log and self.churn.read > 0, "nothing happened: this test proves nothing"
