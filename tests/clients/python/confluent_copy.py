"""Copies a topic within transactions with confluent-kafka: reads it as a member of a group, writes what it read in capitals
to another topic, each record to the partition of the same number, the offsets with them; aborts one transaction in three.

Says on its standard output how far it is: "began", then "committed N" or "aborted", a line each. Ends with 0 when it is
asked to (SIGTERM), with 3 when it cannot go on; somebody starts it again then. The same program as `franz copy` of ../go.
"""

import argparse
import os
import random
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

PATIENCE_SECONDS = 60
# The time-out of a call, and after how long one that does not keep to it is given up.
CALL_SECONDS = 5
HANGS_AFTER = 8
CANNOT_GO_ON = 3


class Over(Exception):
    """This instance is of no use any more."""


class Copier:
    def __init__(self, options):
        self.source, self.target, self.batch = options.source, options.to, options.batch
        self._dice, self._asked = random.Random(options.seed), False
        # The records at hand, and the generation of the group in which they were read.
        self._read, self._group = [], None
        signal.signal(signal.SIGTERM, self._ask)
        common = {"bootstrap.servers": options.bootstrap, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 1000}
        self._producer = Producer({**common, "transactional.id": options.id, "transaction.timeout.ms": 15_000, "linger.ms": 2})
        member = {
            "group.id": options.group,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 300,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
        }
        if options.static:
            member["group.instance.id"] = options.static
        self._consumer = Consumer({**common, **member})

    def _ask(self, *_):
        self._asked = True

    def run(self):
        self._patiently(lambda: self._producer.init_transactions(CALL_SECONDS))
        self._consumer.subscribe([self.source], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken)
        while not self._asked:
            self._gather()
            if self._read:
                self._transaction()
        self._consumer.close()

    def leave(self):
        self._consumer.close()

    def _given(self, *_):
        # Not when it is used: a member that was thrown out has no generation, and who has none may commit to an empty group.
        self._group = self._consumer.consumer_group_metadata()

    def _taken(self, _, partitions):
        gone = {of.partition for of in partitions}
        self._read = [message for message in self._read if message.partition() not in gone]

    def _gather(self):
        self._read = []
        until = time.monotonic() + 0.2
        while len(self._read) < self.batch and time.monotonic() < until and not self._asked:
            message = self._consumer.poll(0.05)
            if message is None:
                if self._read:
                    break
            elif message.error() is None:
                self._read.append(message)
            elif message.error().fatal():
                raise Over(f"consumer: {message.error()}")
            else:
                say(f"passing: {message.error()}")

    def _transaction(self):
        say("began")
        try:
            self._producer.begin_transaction()
            for message in self._read:
                self._producer.produce(self.target, message.value().upper(), message.key(), partition=message.partition())
            # What is not sent yet when a transaction is aborted is only forgotten.
            if self._dice.randrange(4) != 0:
                self._producer.flush(PATIENCE_SECONDS)
            ends = {message.partition(): message.offset() + 1 for message in self._read}
            offsets = [TopicPartition(self.source, partition, offset) for partition, offset in ends.items()]
            self._patiently(lambda: self._send(offsets))
            if self._dice.randrange(3) == 0:
                return self._abort("wanted")
            self._patiently(lambda: self._producer.commit_transaction(CALL_SECONDS))
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            return self._abort(error.args[0])
        return say(f"committed {len(self._read)}")

    def _send(self, offsets):
        """Never returns sometimes, whatever its time-out, on Apache Kafka as well (librdkafka's issues 5456 and 5511): it waits for
        a coordinator of the group that it dropped when all nodes were away, and asks for no other. Only a new process helps."""
        watchdog = threading.Timer(HANGS_AFTER, hangs)
        watchdog.start()
        try:
            self._producer.send_offsets_to_transaction(offsets, self._group, CALL_SECONDS)
        finally:
            watchdog.cancel()

    def _abort(self, why):
        self._patiently(lambda: self._producer.abort_transaction(CALL_SECONDS))
        first = {}
        for message in self._read:
            first.setdefault(message.partition(), message.offset())
        for partition, offset in first.items():
            self._consumer.seek(TopicPartition(self.source, partition, offset))
        say(f"aborted {len(self._read)}: {why}")

    def _patiently(self, action):
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return action()
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                if time.monotonic() > until:
                    raise Over(f"{PATIENCE_SECONDS} s without success: {error}") from None


def say(line):
    print(line, flush=True)


def hangs():
    say("over: send_offsets_to_transaction does not return")
    os._exit(CANNOT_GO_ON)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--group", "--to", "--id", "--seed"):
        parser.add_argument(name, required=True)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--static", default="", help="its name as a static member (KIP-345); none makes it a dynamic one")
    parser.add_argument("--batch", type=int, default=40, help="records a transaction at most")
    copier = Copier(parser.parse_args())
    try:
        copier.run()
    except (Over, KafkaException) as error:
        say(f"over: {error}")
        copier.leave()
        sys.exit(CANNOT_GO_ON)


if __name__ == "__main__":
    main()
