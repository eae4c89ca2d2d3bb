"""A real Apache Kafka broker, one node in KRaft mode: what it answers is what the same test expects of Strandline.

It looks like a `bed.Node` as far as clients care. Its data lives in the folder that it is given, and dies with it.
"""

import os
import pathlib

import bed
import jvm
import messages
import wire

UNKNOWN_MEMBER_ID = 25
TRANSACTIONS = 1
CLUSTER_ID = "c3RyYW5kbGluZS10ZXN0cw"


class Kafka(bed.Process):
    """The broker, with the settings that a single node needs, and those defaults that are Strandline's."""

    store = "its own disk"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        super().__init__("Apache Kafka", self.folder / "kafka.log")
        self.kafka = f"127.0.0.1:{bed.free_port()}"
        self.controller = f"127.0.0.1:{bed.free_port()}"

    def address(self):
        host, port = self.kafka.split(":")
        return host, int(port)

    def settings(self):
        alone = {f"{topic}.replication.factor": 1 for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")}
        few = {"offsets.topic.num.partitions": 2, "transaction.state.log.num.partitions": 2}
        in_sync = {"transaction.state.log.min.isr": 1, "share.coordinator.state.topic.min.isr": 1}
        like_strandline = {
            "num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 5000,
        }
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.kafka},CONTROLLER://{self.controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / "data",
            "group.coordinator.rebalance.protocols": "classic,consumer",
            **alone, **few, **in_sync, **like_strandline,
        }  # fmt: skip

    def start(self, timeout=60):
        config = self.folder / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self.settings().items()))
        done = jvm.run(jvm.argv(jvm.kafka_path(), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", config))
        assert done.returncode == 0, f"kafka-storage format: {done.stdout}{done.stderr}"
        self.spawn(jvm.argv(jvm.kafka_path(), "kafka.Kafka", config, options=["-Xmx768m"]), dict(os.environ))
        bed.wait_until(self.is_warm, timeout, f"Apache Kafka to serve groups and producers\n{bed.tail(self.log)}", every=0.1)

    def is_warm(self):
        """The first group and the first transaction make topics, the first producer fetches a block of ids; the tests come after that."""
        if not self.running():
            raise bed.BedError(f"Apache Kafka exited at its start\n{bed.tail(self.log)}")
        try:
            answers = [
                messages.ask(self, "FindCoordinator", 3, key="warm-up")["error"],
                messages.ask(self, "Heartbeat", 4, group="warm-up")["error"],
                messages.ask(self, "InitProducerId", 4)["error"],
                messages.ask(self, "FindCoordinator", 3, key="warm-up", kind=TRANSACTIONS)["error"],
                messages.ask(self, "InitProducerId", 4, transactional_id="warm-up")["error"],
            ]
            return answers == [wire.NONE, UNKNOWN_MEMBER_ID, wire.NONE, wire.NONE, wire.NONE]
        except (OSError, wire.Closed):
            return False
