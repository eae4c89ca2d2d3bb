"""MirrorMaker 2 carries records and positions of groups from one cluster to another, exactly once, while it and nodes are killed.

East is a Strandline of its own, or Apache Kafka itself, as for somebody who moves; west is always a Strandline.
"""

import collections
import time

import bed
import jvm
import pytest
import results
from clientlib import bootstrap, consumer, create_topic, describe_configs, produce_all, topics
from confluent_kafka import TopicPartition

PARTITIONS = 2
PER_ROUND = 400
TOPIC = "orders"
MIRROR = "east.orders"
GROUP = "billing"

pytestmark = pytest.mark.timeout(400)


class MirrorMaker(bed.Process):
    """The driver that runs Connect for a pair of clusters."""

    def __init__(self, folder, east, west):
        super().__init__("MirrorMaker", folder / "mirror.log")
        names = ("config.storage", "offset.storage", "status.storage", "offset-syncs.topic", "checkpoints.topic", "heartbeats.topic")
        settings = {
            "clusters": "east, west",
            "east.bootstrap.servers": bootstrap(east),
            "west.bootstrap.servers": bootstrap(west),
            "east->west.enabled": "true",
            "west->east.enabled": "false",
            "west->east.emit.heartbeats.enabled": "false",
            "topics": TOPIC,
            "groups": GROUP,
            # Each record is a point from which a position can be told, and all is done every second.
            "offset.lag.max": 0,
            "sync.group.offsets.enabled": "true",
            **{f"{what}.interval.seconds": 1 for what in ("emit.checkpoints", "sync.group.offsets", "refresh.topics", "refresh.groups")},
            "west.exactly.once.source.support": "enabled",
            "dedicated.mode.enable.internal.rest": "true",
            "listeners": f"http://127.0.0.1:{bed.free_port()}",
            "replication.factor": -1,
            **{f"{name}.replication.factor": -1 for name in names},
            **{f"{name}.partitions": 2 for name in names[1:3]},
            # One that was killed is missed soon, and what it left open is ended soon.
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "scheduled.rebalance.max.delay.ms": 0,
            "offset.flush.interval.ms": 500,
            "producer.override.transaction.timeout.ms": 8000,
            "metadata.max.age.ms": 2000,
        }
        file = folder / "mirror.properties"
        file.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        self.command = jvm.argv(jvm.connect_path(), "org.apache.kafka.connect.mirror.MirrorMaker", file, options=["-Xmx256m", *jvm.TIMES])

    def start(self):
        self.spawn(self.command, bed.clean_environment())


@pytest.fixture(autouse=True)
def remembered(request):
    yield
    east = {"strandline": "from Strandline", "kafka": "from Apache Kafka"}[request.node.callspec.params["east"]]
    results.record_test(request.node, "MirrorMaker 2", jvm.CONNECT, f"records and positions, exactly once, {east}")


@pytest.fixture(params=["strandline", "kafka"])
def east(request, make_store, start_node):
    """Two nodes that may be killed; of Apache Kafka there is one, which may not."""
    if request.param == "kafka":
        return [request.getfixturevalue("kafka")]
    return two_nodes(make_store, start_node)


@pytest.fixture
def west(make_store, start_node):
    return two_nodes(make_store, start_node)


def two_nodes(make_store, start_node):
    store = make_store("minio")
    return [start_node(store, node_id=1), start_node(store, node_id=2)]


@pytest.fixture
def mirror(east, west, tmp_path):
    mirror = MirrorMaker(tmp_path, east, west)
    mirror.start()
    yield mirror
    if mirror.running():
        mirror.kill9()


def fill(east, first):
    """Records of which each says where it belongs; then the group says that it has seen them all."""
    records = [(b"key %d" % (n % 50), b"order %d" % n) for n in range(first, first + PER_ROUND)]
    produce_all(east, TOPIC, records, enable_idempotence=True)


class Mirrored:
    """What a cluster shows of a topic so far, by partition; reads on, read_committed, from where it stopped."""

    def __init__(self, nodes, topic):
        self.client = consumer(nodes, isolation_level="read_committed", auto_offset_reset="earliest")
        self.client.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        self.partitions = collections.defaultdict(list)

    def until(self, total, mirror=None):
        deadline = time.monotonic() + 90
        while sum(map(len, self.partitions.values())) < total:
            for message in self.client.consume(1000, 0.2):
                assert not message.error(), message.error()
                self.partitions[message.partition()].append((message.offset(), message.key(), message.value()))
            said = bed.tail(mirror.log) if mirror else ""
            assert not mirror or mirror.running(), f"MirrorMaker ended\n{said}"
            assert time.monotonic() < deadline, f"{sum(map(len, self.partitions.values()))} of {total} records in 90 s\n{said}"

    def records(self):
        return {p: [(key, value) for _, key, value in part] for p, part in self.partitions.items()}

    def behind_last(self):
        return [self.partitions[p][-1][0] + 1 for p in range(PARTITIONS)]


def committed(nodes, topic):
    client = consumer(nodes, group_id=GROUP)
    try:
        return [at.offset for at in client.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], timeout=20)]
    finally:
        client.close()


def commit(nodes, offsets):
    client = consumer(nodes, group_id=GROUP)
    try:
        client.commit(offsets=[TopicPartition(TOPIC, p, offset) for p, offset in enumerate(offsets)], asynchronous=False)
    finally:
        client.close()


def test_records_and_positions_arrive_once(east, west, mirror):
    create_topic(east[0], TOPIC, PARTITIONS, {"retention.ms": "123456789"})
    bed.wait_until(lambda: MIRROR in topics(west[0]), 90, f"the mirrored topic\n{bed.tail(mirror.log)}", every=0.2)
    here, there = Mirrored(east, TOPIC), Mirrored(west, MIRROR)

    def follow(round):
        """Both the records and the group's position are at the end, on the other side too."""
        here.until(round * PER_ROUND)
        commit(east, here.behind_last())
        there.until(round * PER_ROUND, mirror)
        assert there.records() == here.records()
        what = f"the group's position in the mirror to be {there.behind_last()}"
        bed.wait_until(lambda: committed(west, MIRROR) == there.behind_last(), 60, f"{what}\n{bed.tail(mirror.log)}", every=0.2)

    fill(east, 0)
    follow(1)
    mirror.kill9()
    fill(east, PER_ROUND)
    mirror.start()
    follow(2)
    killed = [west[1], *east[1:]]
    for node in killed:
        node.kill9()
    fill(east, 2 * PER_ROUND)
    for node in killed:
        node.start()
    follow(3)
    config = describe_configs(west[0], "topic", MIRROR)
    assert config["retention.ms"].value == "123456789"
    here.client.close()
    there.client.close()
