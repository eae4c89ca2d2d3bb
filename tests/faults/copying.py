"""What the copiers on confluent-kafka have in common: a member of a group with a producer of transactions, which reads some
records at a time, forgets those whose partition is taken from it, goes back to what it read, and has patience.

Knows neither what a copier makes of a record nor when it aborts. The group must have committed offsets before anybody reads:
librdkafka that asks for the first offset of a partition and loses the answer (its node dies, or the group takes the partition
away) asks once more half a second later and goes back there, however far it has come meanwhile, on whatever server
(`rd_kafka_toppar_handle_Offset` in 2.x). So nobody has to ask: `begin_at_first`. Who finds no offset ends with a traceback.
"""

import os
import signal
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

PATIENCE_SECONDS = 60
# The time-out of a call, and how often a watchdog looks whether one has kept to it, and how long it waits each time.
CALL_SECONDS = 5
LOOKS, LOOK_SECONDS = 32, 0.25
CANNOT_GO_ON = 3


def begin_at_first(bootstrap, group, topic, partitions):
    """Commits the first offset of each partition."""
    first = [TopicPartition(topic, partition, 0) for partition in range(partitions)]
    client = AdminClient({"bootstrap.servers": bootstrap})
    client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, first)], request_timeout=15)[group].result(20)


class Over(Exception):
    """This instance is of no use any more."""


class Copier:
    def __init__(self, source, most, common, producer, consumer):
        """Reads at most `most` records of the topic `source` at a time. The rest are settings of both clients, and of each."""
        self.source, self._most = source, most
        self._read, self._stopping = [], False
        signal.signal(signal.SIGTERM, self._stop)
        self._producer = Producer({**common, "linger.ms": 2, **producer})
        own = {"isolation.level": "read_committed", "enable.auto.commit": False, "auto.offset.reset": "error"}
        self._consumer = Consumer({**common, **own, **consumer})

    def _stop(self, *_):
        self._stopping = True

    def work(self):
        """Until it is asked to end, or cannot go on: then its share of the group is for others at once."""
        try:
            self.run()
        except Over as over:
            self.tell_over(over)
            self._consumer.close()
            os._exit(CANNOT_GO_ON)

    def run(self):
        raise NotImplementedError

    def _taken(self, _, partitions):
        gone = {of.partition for of in partitions}
        self._read = [message for message in self._read if message.partition() not in gone]

    def _gather(self):
        self._read = []
        until = time.monotonic() + 0.2
        while len(self._read) < self._most and time.monotonic() < until and not self._stopping:
            message = self._consumer.poll(0.02)
            if message is None:
                if self._read:
                    break
            elif message.error() is None:
                self._read.append(message)
            else:
                self._hear(message.error())

    @staticmethod
    def _hear(error):
        assert error.code() != KafkaError._AUTO_OFFSET_RESET, f"the group's offset was lost: {error}"
        if error.fatal():
            raise Over(f"consumer: {error}")
        print(f"passing: {error}", flush=True)

    def _send_offsets(self, group):
        """Puts the ends of what was read into the transaction. Never returns sometimes, whatever its time-out, on Apache Kafka as
        well (librdkafka's issues 5456 and 5511): it waits for a coordinator of the group that it dropped when all nodes were
        away, and asks for no other. Only a new process helps."""
        ends = {message.partition(): message.offset() + 1 for message in self._read}
        offsets = [TopicPartition(self.source, partition, offset) for partition, offset in ends.items()]
        returned = threading.Event()
        threading.Thread(target=self._watch, args=(returned,), daemon=True).start()
        try:
            self._producer.send_offsets_to_transaction(offsets, group, CALL_SECONDS)
        finally:
            returned.set()

    def _watch(self, returned):
        # Looks are counted, not seconds: a process that was stopped meanwhile has not waited.
        if not any(returned.wait(LOOK_SECONDS) for _ in range(LOOKS)):
            self.tell_over("send_offsets_to_transaction does not return")
            os._exit(CANNOT_GO_ON)

    def tell_over(self, why):
        """From any thread. What is open is for the cluster to end, as if the process had died."""
        raise NotImplementedError

    def _rewind(self):
        """Back to what was read: nothing was taken away since, or `_taken` had been told."""
        first = {}
        for message in self._read:
            first.setdefault(message.partition(), message.offset())
        for partition, offset in first.items():
            try:
                self._consumer.seek(TopicPartition(self.source, partition, offset))
            except KafkaException as error:
                raise Over(f"seek: {error}") from None

    @staticmethod
    def _patiently(action, what):
        """Its result, or the error that no repetition helps against."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return action()
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                if time.monotonic() > until:
                    raise Over(f"{what}: {PATIENCE_SECONDS} s without success: {error}") from None

    def _patiently_or_over(self, action, what):
        """The same of what nobody can go on without."""
        try:
            return self._patiently(action, what)
        except KafkaException as error:
            raise Over(f"{what}: {error.args[0].name()}: {error}") from None
