"""A process that copies within transactions: reads the ring in a group, writes each record on, commits or aborts by dice.

A program of its own, so that it can be killed and stopped. What it does is in a journal, one JSON document a line,
each written before the thing that it announces: the journal of a process that was killed tells how far it came. A record
that has been round often enough leaves the ring for the other topic. Ends with code 0 when it is asked to (SIGTERM),
with 3 when it cannot go on: fenced, or out of its client's good states; it leaves judgement to whoever reads the journal.
"""

import json
import os
import random
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

RING, OUT = "ring", "out"
RING_PARTITIONS, OUT_PARTITIONS = 4, 2
HOPS = 3
ABORTS = 0.15
MOST_AT_ONCE = 60
PATIENCE_SECONDS = 60
CANNOT_GO_ON = 3


class Over(Exception):
    """This instance is of no use any more."""


class Copier:
    def __init__(self, bootstrap, name, instance, journal, seed, protocol, timeout_ms):
        self.name, self.instance = name, instance
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._rng = random.Random(f"{seed}/{name}/{instance}")
        self._number = 0
        self._read = []
        self._stopping = False
        signal.signal(signal.SIGTERM, self._stop)
        common = {
            "bootstrap.servers": bootstrap,
            "client.id": f"{name}-{instance}",
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.interval.ms": 2000,
            "socket.timeout.ms": 4000,
        }
        self._producer = Producer(
            {**common, "transactional.id": name, "transaction.timeout.ms": timeout_ms, "linger.ms": 2, "retry.backoff.ms": 20}
        )
        own = {} if protocol == "consumer" else {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        if protocol == "static":
            own["group.instance.id"] = name
        self._consumer = Consumer(
            {
                **common,
                "group.id": "copiers",
                "group.protocol": "consumer" if protocol == "consumer" else "classic",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                **own,
            }
        )

    def _stop(self, *_):
        self._stopping = True

    def note(self, event, **what):
        line = json.dumps({"event": event, "at": time.monotonic(), "number": self._number, **what})
        os.write(self._journal, line.encode() + b"\n")

    def run(self):
        self.note("started", pid=os.getpid())
        self._patiently(lambda: self._producer.init_transactions(10), "init")
        self.note("ready")
        # With a call for what is taken away, a generation follows only when that was taken note of.
        self._consumer.subscribe([RING], on_revoke=self._taken, on_lost=self._taken)
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

    def leave(self):
        """Its share is for others, at once."""
        self._consumer.close()

    def _taken(self, _, partitions):
        gone = {of.partition for of in partitions}
        self._read = [message for message in self._read if message.partition() not in gone]

    def _gather(self):
        self._read = []
        until = time.monotonic() + 0.2
        while len(self._read) < MOST_AT_ONCE and time.monotonic() < until:
            message = self._consumer.poll(0.02)
            if message is None:
                if self._read:
                    break
                continue
            if message.error() is None:
                self._read.append(message)
            elif message.error().fatal():
                raise Over(f"consumer: {message.error()}")

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
            ends = {m.partition(): m.offset() + 1 for m in self._read}
            offsets = [TopicPartition(RING, partition, offset) for partition, offset in ends.items()]
            self._patiently(lambda: self._producer.send_offsets_to_transaction(offsets, group, 10), "offsets")
            if self._rng.random() < ABORTS:
                return self._abort("dice")
            self.note("commit")
            self._patiently(lambda: self._producer.commit_transaction(10), "commit")
        except KafkaException as error:
            cause = error.args[0]
            if not cause.txn_requires_abort():
                raise Over(f"{cause.name()}: {cause}") from None
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
        self._patiently(lambda: self._producer.abort_transaction(10), "abort")
        self.note("ended", outcome="aborted", why=why)
        self._rewind()

    def _rewind(self):
        """Back to what was read: nothing was taken away since, or `_taken` had been told."""
        first = {}
        for message in self._read:
            first.setdefault(message.partition(), message.offset())
        for partition, offset in first.items():
            try:
                self._consumer.seek(TopicPartition(RING, partition, offset))
            except KafkaException as error:
                raise Over(f"seek: {error}") from None

    def _patiently(self, action, what):
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return action()
            except KafkaException as error:
                if not error.args[0].retriable():
                    if what in ("init", "abort"):
                        raise Over(f"{what}: {error.args[0].name()}: {error}") from None
                    raise
                if time.monotonic() > until:
                    raise Over(f"{what}: {PATIENCE_SECONDS} s without success: {error}") from None


def main():
    """`protocol` is that of the group: classic, static (classic, with an instance id) or consumer (KIP-848)."""
    bootstrap, name, instance, journal, seed, protocol, timeout_ms = sys.argv[1:]
    copier = Copier(bootstrap, name, int(instance), journal, seed, protocol, int(timeout_ms))
    try:
        copier.run()
    except Over as over:
        copier.note("over", why=str(over))
        copier.leave()
        # What is open is for the cluster to end, as if the process had died.
        os._exit(CANNOT_GO_ON)


if __name__ == "__main__":
    main()
