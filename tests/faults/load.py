"""Clients that never rest: writers, readers that are moved between nodes, somebody who asks for the ends, and topics that
come and go.

Each runs in a thread of its own, writes what it sees into a `History` (topics that come and go judge for themselves),
and takes the errors that a node may give while its store fails for what they are. Anything else a client is told, such
as OFFSET_OUT_OF_RANGE or UNKNOWN_TOPIC for what is there, is a violation. Must not know faults or proxies.
"""

import collections
import functools
import itertools
import threading
import time

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import bed
from clientlib import bootstrap, by_partition, consume_all, consumer, producer, watermarks

PADDING = b"."

# What a client may hear of a node that is gone, stopped or cut off from its store.
TRANSIENT = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._MSG_TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.LEADER_NOT_AVAILABLE,
    # What librdkafka says by itself, without asking, while it has no connection.
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._DESTROY_BROKER,
}
# Answers of a node after which a record may still appear; every other one is a refusal.
OPEN = {KafkaError.REQUEST_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND}

QUICK = {"reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 500, "topic_metadata_refresh_interval_ms": 2000}
NEVER_GIVES_UP = {
    "enable_idempotence": True,
    "message_timeout_ms": 120_000,
    "request_timeout_ms": 8_000,
    "retry_backoff_ms": 20,
    "retry_backoff_max_ms": 500,
}
# One attempt and no more: whatever is there twice was not sent twice.
TRIES_ONCE = {"retries": 0, "message_timeout_ms": 20_000, "request_timeout_ms": 8_000}


class Worker:
    """A thread that goes round until it is told to stop; what goes wrong in it is kept in `errors`."""

    def __init__(self, name):
        self.name = name
        self.errors = []
        self.transient = collections.Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=name)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()

    def join(self, timeout=60):
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.name} was still at work {timeout} s after it should have stopped"

    def assert_unharmed(self):
        assert not self.errors, f"{self.name}: {len(self.errors)} errors, first: {self.errors[0]}"

    def _guarded(self):
        try:
            self._run()
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def tolerate(self, error, what):
        """Notes an error of the node: counted if it may pass, kept if it must not be."""
        if error.code() in TRANSIENT:
            self.transient[error.name()] += 1
        else:
            self.errors.append(f"{what}: {error}")


class Writer(Worker):
    """A producer that numbers its records for each partition and sends one to each, `every` seconds, and now and then a burst.

    Idempotent: it never gives up, and every one of its records must be acknowledged. Plain: it tries once, and is told
    the addresses of one node only, so that the order of its records is that of one connection after the other.
    """

    def __init__(self, history, nodes, topic, partitions, name, idempotent=True, every=0.005, most_in_queue=5_000, bytes_=200):
        super().__init__(name)
        self.history, self.topic, self.partitions, self.idempotent = history, topic, partitions, idempotent
        self.sent = self.acknowledged = self.failed = 0
        self._every, self._most_in_queue, self._bytes = every, most_in_queue, bytes_
        self._rng = bed.seeded(f"writer {name}")
        if idempotent:
            history.idempotent.add(name)
        self._client = producer(nodes, linger_ms=2, **QUICK, **(NEVER_GIVES_UP if idempotent else TRIES_ONCE))

    def in_flight(self):
        return self.sent - self.acknowledged - self.failed

    def _delivered(self, send, error, message):
        if error is None:
            self.acknowledged += 1
            self.history.acknowledge(send, message.partition(), message.offset())
            if message.offset() is None and not self.idempotent:
                self.errors.append(f"{send} was acknowledged without an offset")
            return
        self.failed += 1
        self.history.fail(send, error.name(), definite=error.code() > 0 and error.code() not in OPEN)
        if self.idempotent:
            self.errors.append(f"{send}: {error}")
        else:
            self.tolerate(error, str(send))

    def _send(self, partition, number):
        value = b"%s/%d/%d/" % (self.name.encode(), partition, number)
        value += PADDING * (self._bytes * self._rng.randint(1, 3) // 2)
        send = self.history.invoke(self.name, partition, number, value)
        self._client.produce(self.topic, value, partition=partition, on_delivery=functools.partial(self._delivered, send))
        self.sent += 1

    def _run(self):
        number = 0
        while not self._stop.is_set() and not self.errors:
            for _ in range(20 if self._rng.random() < 0.01 else 1):
                for partition in range(self.partitions):
                    self._send(partition, number)
                number += 1
            self._client.poll(self._every)
            while len(self._client) > self._most_in_queue and not self._stop.is_set():
                self._client.poll(0.1)

    def finish(self, timeout):
        """Stops, and waits until every record has its answer."""
        self.stop()
        self.join()
        left = self._client.flush(timeout)
        self.assert_unharmed()
        assert left == 0 and self.in_flight() == 0, f"{self.name}: {left} of {self.sent} records had no answer after {timeout} s"


class Reader(Worker):
    """A consumer of all partitions from the first offset on, moved to another node by chance every few seconds."""

    def __init__(self, history, nodes, topic, partitions, name, stays=(1.0, 4.0)):
        super().__init__(name)
        self.history, self.topic, self._nodes, self._stays = history, topic, nodes, stays
        self.at = [0] * partitions
        self.moves = 0
        self._rng = bed.seeded(f"reader {name}")

    def _run(self):
        while not self._stop.is_set():
            client = consumer(self._rng.choice(self._nodes), **QUICK, error_cb=lambda error: self.tolerate(error, self.name))
            try:
                client.assign([TopicPartition(self.topic, p, offset) for p, offset in enumerate(self.at)])
                self._read(client, time.monotonic() + self._rng.uniform(*self._stays))
            finally:
                client.close()
            self.moves += 1

    def _read(self, client, until):
        while time.monotonic() < until and not self._stop.is_set():
            for message in client.consume(1000, 0.2):
                if message.error() is not None:
                    self.tolerate(message.error(), f"partition {message.partition()}, position {self.at}")
                    continue
                self.history.poll(self.name, message.partition(), message.offset(), message.value())
                self.at[message.partition()] = message.offset() + 1

    def finish(self, ends, timeout):
        """Waits until everything was read."""
        behind = lambda: [p for p, end in enumerate(ends) if self.at[p] < end]
        try:
            bed.wait_until(lambda: self.errors or not behind(), timeout, f"{self.name} to come from {self.at} to {ends}", 0.1)
        finally:
            self.stop()
            self.join()
        self.assert_unharmed()


class Watcher(Worker):
    """Asks for the watermarks, of one node and then of another, and expects time to go forward."""

    def __init__(self, history, nodes, topic, partitions, name="watcher"):
        super().__init__(name)
        self.history, self.topic, self.partitions, self._nodes = history, topic, partitions, nodes
        self._rng = bed.seeded(f"watcher {name}")

    def _run(self):
        clients = [consumer(node, **QUICK) for node in self._nodes]
        try:
            while not self._stop.wait(0.05):
                partition = self._rng.randrange(self.partitions)
                invoked = time.monotonic()
                try:
                    seen = self._rng.choice(clients).get_watermark_offsets(TopicPartition(self.topic, partition), timeout=5, cached=False)
                except KafkaException as error:
                    self.tolerate(error.args[0], f"watermarks of partition {partition}")
                    continue
                # None: no answer in time. librdkafka asks for the two ends in two requests; when the first fails and the second does
                # not, it gives the last offset for both, without an error. Nothing is ever deleted here.
                if seen is not None and (seen[0] == 0 or seen[0] != seen[1]):
                    self.history.saw(self.name, partition, invoked, *seen)
        finally:
            for client in clients:
                client.close()

    def finish(self):
        self.stop()
        self.join()
        self.assert_unharmed()


class Churn(Worker):
    """A topic that is created, written, read and deleted over and over, each step at another node: what was written under
    one life of the name is never there in the next.

    A record without an answer may still be on its way when the next life begins, and then belongs to that. After a
    deletion without an answer the name is not used again: it may yet hit the next life.
    """

    RECORDS = 20

    def __init__(self, nodes, name="churn"):
        super().__init__(name)
        self._nodes = nodes
        self._rng = bed.seeded(f"churn {name}")
        self._names = (f"{name}-{n}" for n in itertools.count())
        self.lives = self.read = 0

    def _run(self):
        name, unanswered = next(self._names), set()
        for life in itertools.count():
            if not self._until_done(self._create, name):
                return
            acknowledged, open_ = self._write(name, life)
            unanswered |= open_
            self._look(name, life, acknowledged, unanswered)
            deleted = self._until_done(self._delete, name)
            if deleted is None:
                return
            self.lives += 1
            if deleted == "perhaps":
                name, unanswered = next(self._names), set()

    def _until_done(self, action, name):
        """Its result; None when it is time to stop."""
        unclear = False
        while not self._stop.is_set():
            client = AdminClient({"bootstrap.servers": bootstrap(self._rng.choice(self._nodes)), "socket.timeout.ms": 6000})
            try:
                action(client, name, unclear)
                return "perhaps" if unclear else "surely"
            except KafkaException as error:
                self.tolerate(error.args[0], f"{action.__name__} {name}")
                unclear = True
                if self.errors:
                    return None
        return None

    def _create(self, client, name, unclear):
        try:
            client.create_topics([NewTopic(name, 1, -1)], request_timeout=5)[name].result(20)
        except KafkaException as error:
            # Of an earlier attempt, or of one before the last deletion that took effect only after it.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _delete(self, client, name, unclear):
        try:
            client.delete_topics([name], request_timeout=5)[name].result(20)
        except KafkaException as error:
            if not (unclear and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART):
                raise

    def _write(self, name, life):
        """{offset: value} of what was acknowledged, and the values without an answer, or without an offset in it."""
        acknowledged, open_ = {}, set()

        def delivered(error, message):
            if error is not None:
                self.tolerate(error, f"{name}, life {life}")
            elif message.offset() is not None:
                acknowledged[message.offset()] = message.value()

        client = producer(self._rng.choice(self._nodes), **QUICK, **{**NEVER_GIVES_UP, "message_timeout_ms": 10_000})
        for number in range(self.RECORDS):
            value = b"%s/%d/%d" % (name.encode(), life, number)
            open_.add(value)
            client.produce(name, value, partition=0, on_delivery=delivered)
            client.poll(self._rng.choice([0, 0.02]))
        client.flush(20)
        return acknowledged, open_ - set(acknowledged.values())

    def _look(self, name, life, acknowledged, unanswered):
        try:
            reads = consume_all(self._rng.choice(self._nodes), name, 1, timeout=8, **QUICK)
        except KafkaException as error:
            return self.tolerate(error.args[0], f"reading {name}")
        except AssertionError:
            # Not everything came in time.
            self.transient["slow"] += 1
            return
        self.read += 1
        part = by_partition(reads).get(0, [])
        if [read.offset for read in part] != list(range(len(part))):
            self.errors.append(f"{name}, life {life}: offsets {[read.offset for read in part]}")
        there = {read.offset: read.value for read in part}
        lost = {offset: value for offset, value in acknowledged.items() if there.get(offset) != value}
        if lost:
            self.errors.append(f"{name}, life {life}: acknowledged {lost}, there is {there}")
        foreign = set(there.values()) - set(acknowledged.values()) - unanswered
        if foreign:
            self.errors.append(f"{name}, life {life}: records of another life: {sorted(foreign)[:3]}")

    def finish(self):
        self.stop()
        self.join(90)
        self.assert_unharmed()
