"""A process that copies within transactions: reads the ring in a group, writes each record on, commits or aborts by dice.

A program of its own, so that it can be killed and stopped. What it does is in a journal, one JSON document a line,
each written before the thing that it announces: the journal of a process that was killed tells how far it came. A record
that has been round often enough leaves the ring for the other topic. Ends with code 0 when it is asked to (SIGTERM),
with 3 when it cannot go on: fenced, or out of its client's good states; it leaves judgement to whoever reads the journal.
"""

import json
import os
import random
import sys
import time

from confluent_kafka import KafkaException

import copying

RING, OUT = "ring", "out"
RING_PARTITIONS, OUT_PARTITIONS = 4, 2
HOPS = 3
ABORTS = 0.15
MOST_AT_ONCE = 60
CANNOT_GO_ON = copying.CANNOT_GO_ON


class Copier(copying.Copier):
    def __init__(self, bootstrap, name, instance, journal, seed, protocol, timeout_ms):
        self.name, self.instance = name, instance
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._rng = random.Random(f"{seed}/{name}/{instance}")
        self._number = 0
        common = {
            "bootstrap.servers": bootstrap,
            "client.id": f"{name}-{instance}",
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.interval.ms": 2000,
            "socket.timeout.ms": 4000,
        }
        producer = {"transactional.id": name, "transaction.timeout.ms": timeout_ms, "retry.backoff.ms": 20}
        member = {
            "group.id": "copiers",
            "group.protocol": "consumer" if protocol == "consumer" else "classic",
            "fetch.wait.max.ms": 50,
        }
        if protocol != "consumer":
            member |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        if protocol == "static":
            member["group.instance.id"] = name
        super().__init__(RING, MOST_AT_ONCE, common, producer, member)

    def note(self, event, **what):
        line = json.dumps({"event": event, "at": time.monotonic(), "number": self._number, **what})
        os.write(self._journal, line.encode() + b"\n")

    def tell_over(self, why):
        self.note("over", why=str(why))

    def run(self):
        self.note("started", pid=os.getpid())
        self._patiently_or_over(lambda: self._producer.init_transactions(10), "init")
        self.note("ready")
        # With a call for what is taken away, a generation follows only when that was taken note of.
        self._consumer.subscribe([self.source], on_revoke=self._taken, on_lost=self._taken)
        while not self._stopping:
            # Before the records: whatever the group does meanwhile makes it too old, never too new.
            group = self._consumer.consumer_group_metadata()
            member = self._consumer.memberid()
            self._gather()
            if self._read and member:
                self._transaction(group)
            elif self._read:
                self._rewind()
        self._consumer.close()
        self.note("stopped")

    def _transaction(self, group):
        self._number += 1
        reads = [[m.partition(), m.offset(), m.value().decode()] for m in self._read]
        writes = [self._output(index, message) for index, message in enumerate(self._read)]
        self.note("began", reads=reads, writes=writes)
        try:
            self._producer.begin_transaction()
            for topic, partition, value, *_ in writes:
                self._producer.produce(topic, value.encode(), partition=partition)
                if self._rng.random() < 0.1:
                    self._producer.poll(self._rng.choice([0, 0.01]))
            if self._rng.random() < 0.5:
                self._producer.flush(self._rng.choice([0.01, 1]))
            self._patiently(lambda: self._send_offsets(group), "offsets")
            if self._rng.random() < ABORTS:
                return self._abort("dice")
            self.note("commit")
            self._patiently(lambda: self._producer.commit_transaction(10), "commit")
        except KafkaException as error:
            cause = error.args[0]
            if not cause.txn_requires_abort():
                raise copying.Over(f"{cause.name()}: {cause}") from None
            return self._abort(f"{cause.name()}: {cause}")
        self.note("ended", outcome="committed", why="answered")
        return None

    def _output(self, index, message):
        """Topic, partition, value, and where that comes from."""
        hop, origin, _ = message.value().decode().split(" ")
        topic, partitions = (RING, RING_PARTITIONS) if int(hop) + 1 < HOPS else (OUT, OUT_PARTITIONS)
        value = f"{int(hop) + 1} {origin} {self.name}/{self.instance}/{self._number}/{index}"
        return topic, self._rng.randrange(partitions), value, message.partition(), message.offset()

    def _abort(self, why):
        self.note("abort", why=why)
        self._patiently_or_over(lambda: self._producer.abort_transaction(10), "abort")
        self.note("ended", outcome="aborted", why=why)
        self._rewind()


def main():
    """`protocol` is that of the group: classic, static (classic, with an instance id) or consumer (KIP-848)."""
    bootstrap, name, instance, journal, seed, protocol, timeout_ms = sys.argv[1:]
    Copier(bootstrap, name, int(instance), journal, seed, protocol, int(timeout_ms)).work()


if __name__ == "__main__":
    main()
