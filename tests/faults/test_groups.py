"""A consumer group outlives its coordinator: `kill -9` of one node of three, twenty members, no commit and no record lost.

On MinIO. A producer never stops; twenty consumers commit what they have processed. The node that looks after the group
is killed in the middle of it. Histories are judged at the end: every acknowledged record was processed, no offset that
a member was told is committed moved back, and every partition went on within the session time-out.
"""

import itertools
import threading
import time

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition

import bed
from clientlib import admin, bootstrap, create_topic, dotted, producer

TOPIC, GROUP = "watched", "watchers"
PARTITIONS = 40
MEMBERS = 20
SESSION_MS = 20_000


class Member(threading.Thread):
    """Processes records and commits the offset behind each batch, synchronously."""

    def __init__(self, nodes, protocol, number):
        super().__init__(name=f"member-{number}")
        settings = {"session_timeout_ms": SESSION_MS, "heartbeat_interval_ms": 1_000} if protocol == "classic" else {}
        self._client = Consumer(
            dotted(
                {
                    "bootstrap_servers": bootstrap(nodes),
                    "client_id": self.name,
                    "group_id": GROUP,
                    "group_protocol": protocol,
                    "enable_auto_commit": False,
                    "auto_offset_reset": "earliest",
                    "reconnect_backoff_ms": 20,
                    "reconnect_backoff_max_ms": 200,
                    "fetch_wait_max_ms": 100,
                    "topic_metadata_refresh_interval_ms": 2_000,
                    **settings,
                }
            )
        )
        self.processed = []  # (moment, partition, offset, value)
        self.committed = []  # (moment, partition, offset)
        self.refused = []
        self.errors = []
        self.share = []
        self._ended = threading.Event()
        self._client.subscribe([TOPIC])

    def run(self):
        try:
            while not self._ended.is_set():
                self._round()
        except Exception as error:  # noqa: BLE001: whatever it is, the test must hear of it
            self.errors.append(repr(error))
        finally:
            self._client.close()

    def _round(self):
        ends = {}
        # Asked in this thread alone: the client answers others late.
        self.share = [of.partition for of in self._client.assignment()]
        for message in self._client.consume(200, 0.2):
            if message.error():
                # The member goes on at another node; anything final ends it.
                if message.error().fatal():
                    raise KafkaException(message.error())
                continue
            self.processed.append((time.monotonic(), message.partition(), message.offset(), message.value()))
            ends[message.partition()] = message.offset() + 1
        if not ends:
            return
        try:
            done = self._client.commit(offsets=[TopicPartition(TOPIC, p, o) for p, o in ends.items()], asynchronous=False)
        except KafkaException as error:
            # Not known, or not a member any more: it is not counted as committed.
            self.refused.append((time.monotonic(), str(error)))
            return
        self.committed += [(time.monotonic(), of.partition, of.offset) for of in done if of.error is None]

    def stop(self):
        self._ended.set()


class Numbers(threading.Thread):
    """Produces numbers, round robin, and remembers those that were acknowledged."""

    def __init__(self, nodes):
        super().__init__(name="producer")
        self._client = producer(nodes, enable_idempotence=True, linger_ms=5, message_timeout_ms=120_000, reconnect_backoff_max_ms=200)
        self.acknowledged, self.errors = set(), []
        self._ended = threading.Event()

    def _delivered(self, error, message):
        if error is not None:
            self.errors.append(str(error))
        else:
            self.acknowledged.add(message.value())

    def run(self):
        for number in itertools.count():
            if self._ended.is_set():
                break
            self._client.produce(TOPIC, b"%d" % number, partition=number % PARTITIONS, on_delivery=self._delivered)
            self._client.poll(0)
            if number % 40 == 39:
                self._ended.wait(0.1)
        left = self._client.flush(60)
        if left:
            self.errors.append(f"{left} records were never acknowledged")

    def stop(self):
        self._ended.set()


def coordinator_of(nodes):
    client = admin(nodes)
    return client.describe_consumer_groups([GROUP], request_timeout=10)[GROUP].result(15).coordinator.id


def committed_offsets(node):
    client = admin(node)
    asked = ConsumerGroupTopicPartitions(GROUP, [TopicPartition(TOPIC, p) for p in range(PARTITIONS)])
    found = client.list_consumer_group_offsets([asked], request_timeout=15)[GROUP].result(20)
    return {of.partition: of.offset for of in found.topic_partitions}


def everybody_has_a_share(members):
    errors = [error for member in members for error in member.errors]
    assert not errors, errors[0]
    shares = [member.share for member in members]
    return sorted(p for share in shares for p in share) == list(range(PARTITIONS)) and all(shares)


def longest_silence(members, since, until):
    """The longest time in which nothing of a partition was processed, over all partitions, from `since` on."""
    moments = {p: [since] for p in range(PARTITIONS)}
    for at, partition, _, _ in sorted(entry for member in members for entry in member.processed):
        if since <= at <= until:
            moments[partition].append(at)
    return max(b - a for at in moments.values() for a, b in zip(at, [*at[1:], until]))


def assert_committed_only_forward(members, found):
    last = {}
    for member in members:
        for _, partition, offset in member.committed:
            last[partition] = max(offset, last.get(partition, -1))
    behind = {p: (found.get(p), offset) for p, offset in last.items() if found.get(p, -1) < offset}
    assert not behind, f"commits that were acknowledged are lost: partition: (found, acknowledged) {behind}"
    assert last, "nobody committed anything"


def assert_nothing_is_skipped(members, found, acknowledged):
    processed = {value for member in members for _, _, _, value in member.processed}
    lost = acknowledged - processed
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged records were never processed, for example {min(lost)}"
    offsets = {(p, o) for member in members for _, p, o, _ in member.processed}
    skipped = [(p, o) for p, end in found.items() for o in range(end) if (p, o) not in offsets]
    assert not skipped, f"{len(skipped)} records lie before a committed offset and were never processed, for example {skipped[0]}"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_the_coordinator_is_killed(make_store, start_node, protocol):
    store = make_store("minio")
    nodes = [start_node(store, node_id=number) for number in (1, 2, 3)]
    create_topic(nodes[0], TOPIC, PARTITIONS)
    numbers, members = Numbers(nodes), [Member(nodes, protocol, number) for number in range(MEMBERS)]
    for thread in [numbers, *members]:
        thread.start()
    try:
        bed.wait_until(lambda: everybody_has_a_share(members), 60, "all members to have partitions", every=0.2)
        time.sleep(5)
        victim = next(node for node in nodes if node.node_id == coordinator_of(nodes))
        before = time.monotonic()
        victim.kill9()
        told = max((offset for member in members for at, _, offset in member.committed if at < before), default=0)
        assert told > 0, "nothing was committed before the kill: this test proves little"
        time.sleep(SESSION_MS / 1000 + 5)
        until = time.monotonic()
        commits = [at for member in members for at, _, _ in member.committed if at > before]
        assert commits, "nothing was committed after the kill"
        silence = longest_silence(members, before, until)
        print(f"{protocol}: first commit {min(commits) - before:.1f} s after the kill, longest silence of a partition {silence:.1f} s")
        assert silence < SESSION_MS / 1000, f"a partition was silent for {silence:.1f} s"
        numbers.stop()
        numbers.join(90)
        assert not numbers.errors, numbers.errors[0]
        processed = lambda: {value for member in members for _, _, _, value in member.processed}  # noqa: E731
        bed.wait_until(lambda: numbers.acknowledged <= processed(), 60, "the group to reach the end", every=0.5)
        bed.wait_until(lambda: everybody_has_a_share(members), 60, "all partitions to be owned again", every=0.2)
        time.sleep(1)
    finally:
        for thread in [numbers, *members]:
            thread.stop()
        for thread in [numbers, *members]:
            thread.join(60)
    errors = [error for member in members for error in member.errors]
    assert not errors, errors[0]
    cold = start_node(store, node_id=9)
    found = committed_offsets([cold, *(node for node in nodes if node is not victim)])
    assert_committed_only_forward(members, found)
    assert_nothing_is_skipped(members, found, numbers.acknowledged)
