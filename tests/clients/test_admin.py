"""Topics through a real admin client: partitions, configs, records deleted, and what records of a topic must be."""

import time

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ConfigResource,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)

import wire
from clientlib import (
    CODECS,
    Acks,
    admin,
    alter,
    consume_all,
    consumer,
    create_topic,
    describe_cluster,
    describe_configs,
    error_code,
    produce_all,
    producer,
    take,
    topics,
    watermarks,
)

EARLIEST = -2
DEFAULT, TOPIC = 5, 1  # where the value of a config comes from


@pytest.fixture
def reader(node):
    client = consumer(node, auto_offset_reset="earliest")
    yield client
    client.close()


def delete_records(node, name, partition, before):
    """The low watermark that is answered."""
    client = admin(node)
    place = TopicPartition(name, partition, before)
    return client.delete_records([place], request_timeout=15)[place].result(20).low_watermark


def more_partitions(node, name, count, **options):
    client = admin(node)
    client.create_partitions([NewPartitions(name, count)], request_timeout=15, **options)[name].result(20)


def value(node, name, key):
    config = describe_configs(node, ResourceType.TOPIC, name)[key]
    return config.value, config.source


def produce_errors(node, name, records, **config):
    """The codes with which these records, a batch, are refused."""
    client, acks = producer(node, linger_ms=200, **config), Acks()
    for key, text, timestamp in records:
        client.produce(name, text, key=key, timestamp=timestamp, on_delivery=acks)
    assert client.flush(30) == 0
    return [error.code() for error in acks.errors]


def now_ms():
    return int(time.time() * 1000)


def test_more_partitions(node, name, reader):
    """They are listed, empty, and take records; fewer or as many is an error."""
    create_topic(node, name, 2)
    more_partitions(node, name, 5, validate_only=True)
    assert topics(node)[name] == 2
    more_partitions(node, name, 5)
    assert topics(node)[name] == 5
    assert watermarks(reader, name, 4) == (0, 0)
    for count in (5, 3):
        assert error_code(lambda count=count: more_partitions(node, name, count)) == KafkaError.INVALID_PARTITIONS
    assert error_code(lambda: more_partitions(node, "nowhere", 3)) == KafkaError.UNKNOWN_TOPIC_OR_PART
    produce_all(node, name, [(b"%d" % n, b"x") for n in range(200)])
    assert {read.partition for read in consume_all(node, name, 5)} == set(range(5))


def test_deleted_records(node, name, reader):
    """Below the new start nothing is read: a consumer that asks for it is sent to the start, and times are not found there."""
    create_topic(node, name, 1)
    produce_all(node, name, [(None, b"%d" % n) for n in range(100)], linger_ms=300)
    assert delete_records(node, name, 0, 57) == 57
    assert delete_records(node, name, 0, 20) == 57
    assert watermarks(reader, name, 0) == (57, 100)
    reader.assign([TopicPartition(name, 0, 3)])
    assert [int(m.value()) for m in take(reader, 43)] == list(range(57, 100))
    assert reader.offsets_for_times([TopicPartition(name, 0, 0)], timeout=15)[0].offset == 57
    # librdkafka answers for a partition that does not exist itself.
    assert error_code(lambda: delete_records(node, name, 0, 101)) == KafkaError.OFFSET_OUT_OF_RANGE
    assert delete_records(node, name, 0, -1) == 100
    assert watermarks(reader, name, 0) == (100, 100)
    assert produce_all(node, name, [(None, b"next")]) == [(0, 100)]


def test_deleted_records_are_gone_on_every_node(make_store, start_node, name):
    """Whoever asks another node for the first offset after the answer hears of the new one; configs agree, too."""
    store = make_store("file")
    nodes = [start_node(store, node_id) for node_id in (1, 2)]
    create_topic(nodes[0], name, 1)
    produce_all(nodes[0], name, [(None, b"x")] * 20)
    # Clients ask the node that leads the partition; by hand, each of them is asked.
    with wire.Connection(nodes[0]) as one, wire.Connection(nodes[1]) as other:
        for start in (5, 11, 20):
            assert delete_records(nodes[0], name, 0, start) == start
            assert wire.list_offset(one, name, 0, EARLIEST) == wire.list_offset(other, name, 0, EARLIEST) == start
    alter(nodes[0], name, ("APPEND", "cleanup.policy", "compact"))
    alter(nodes[1], name, ("SUBTRACT", "cleanup.policy", "delete"))
    assert value(nodes[1], name, "cleanup.policy") == ("compact", TOPIC)


def test_deleted_records_of_a_compacted_topic(node, name):
    """Refused: the last record of each key must stay."""
    create_topic(node, name, 1, config={"cleanup.policy": "compact"})
    assert error_code(lambda: delete_records(node, name, 0, -1)) == KafkaError.POLICY_VIOLATION


def test_configs_change(node, name):
    create_topic(node, name, 1)
    alter(node, name, ("SET", "retention.ms", "5"), validate_only=True)
    assert value(node, name, "retention.ms") == ("604800000", DEFAULT)
    alter(node, name, ("SET", "retention.ms", "5"), ("APPEND", "cleanup.policy", "compact"))
    assert value(node, name, "retention.ms") == ("5", TOPIC)
    assert value(node, name, "cleanup.policy") == ("delete,compact", TOPIC)
    alter(node, name, ("DELETE", "retention.ms", None), ("SUBTRACT", "cleanup.policy", "delete"))
    assert value(node, name, "retention.ms") == ("604800000", DEFAULT)
    assert value(node, name, "cleanup.policy") == ("compact", TOPIC)
    synonyms = describe_configs(node, ResourceType.TOPIC, name)["cleanup.policy"].synonyms
    assert {(s.name, s.value) for s in synonyms.values()} == {("cleanup.policy", "compact"), ("log.cleanup.policy", "delete")}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_configs_are_replaced(node, name):
    """The older API: what it does not name goes back to its default."""
    create_topic(node, name, 1, config={"retention.ms": "5", "segment.ms": "6"})
    resource = ConfigResource(ResourceType.TOPIC, name, set_config={"segment.ms": "7"})
    client = admin(node)
    client.alter_configs([resource], request_timeout=15)[resource].result(20)
    assert value(node, name, "retention.ms") == ("604800000", DEFAULT)
    assert value(node, name, "segment.ms") == ("7", TOPIC)


@pytest.mark.parametrize(
    "change", [("SET", "no.such", "1"), ("SET", "retention.ms", "soon"), ("APPEND", "retention.ms", "1")], ids=["unknown", "value", "list"]
)
def test_configs_that_cannot_be_are_refused(node, name, change):
    create_topic(node, name, 1)
    assert error_code(lambda: alter(node, name, change)) == KafkaError.INVALID_CONFIG


def test_brokers_take_their_configs_when_they_start(node):
    change = ("SET", "log.retention.ms", "1")
    refused = error_code(lambda: alter(node, str(node.node_id), change, kind=ResourceType.BROKER))
    assert refused == KafkaError.INVALID_REQUEST
    configs = describe_configs(node, ResourceType.BROKER, str(node.node_id))
    assert configs["node.id"].value == str(node.node_id) and configs["node.id"].is_read_only
    assert [n.id for n in describe_cluster(node).nodes] == [node.node_id]


def test_there_are_no_access_rules(node):
    """An answer that tools know: they go on without. (What librdkafka is told when it asks for rules, it keeps to itself.)"""
    rule = AclBinding(
        ResourceType.TOPIC, "t", ResourcePatternType.LITERAL, "User:a", "*", AclOperation.READ, AclPermissionType.ALLOW
    )
    client = admin(node)
    assert error_code(lambda: client.create_acls([rule], request_timeout=15)[rule].result(20)) == KafkaError.SECURITY_DISABLED


@pytest.mark.parametrize("codec", CODECS)
def test_compacted_topics_want_keys(node, name, codec):
    """However the batch is compressed; nothing of it is written. (librdkafka may send the first records alone.)"""
    create_topic(node, name, 1, config={"cleanup.policy": "compact"})
    records = [(None if n == 3 else b"k%d" % n, b"value " * 50, 0) for n in range(5)]
    errors = produce_errors(node, name, records, compression_type=codec)
    assert set(errors) == {KafkaError.INVALID_RECORD}
    produce_all(node, name, [(b"k", b"v")], compression_type=codec)
    keys = [read.key for read in consume_all(node, name, 1)]
    assert len(keys) == 6 - len(errors) and keys[-1] == b"k" and None not in keys


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_times_out_of_bounds_are_refused(node, name, codec):
    create_topic(node, name, 1, config={"message.timestamp.before.max.ms": "3600000", "message.timestamp.after.max.ms": "60000"})
    now, hour = now_ms(), 3_600_000
    late = produce_errors(node, name, [(None, b"x", now), (None, b"x", now + hour)], compression_type=codec)
    early = produce_errors(node, name, [(None, b"x", now), (None, b"x", now - 2 * hour)], compression_type=codec)
    # librdkafka may send the first record alone.
    assert set(late) == set(early) == {KafkaError.INVALID_TIMESTAMP}
    assert produce_errors(node, name, [(None, b"x", now), (None, b"x", now - hour // 2)], compression_type=codec) == []


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_the_log_gives_records_their_time(node, name, reader, codec):
    """LogAppendTime: whatever the producer says. Consumers check the checksum, and learn whose time it is."""
    create_topic(node, name, 1, config={"message.timestamp.type": "LogAppendTime"})
    before = now_ms()
    records = [(None, b"x" * 100, 1000 * n + 1000) for n in range(10)]
    assert produce_errors(node, name, records, compression_type=codec) == []
    reader.assign([TopicPartition(name, 0, 0)])
    times = [m.timestamp() for m in take(reader, 10)]
    assert {kind for kind, _ in times} == {2}, "LogAppendTime"
    assert all(before <= at <= now_ms() for _, at in times)
    found = reader.offsets_for_times([TopicPartition(name, 0, 5000)], timeout=15)[0].offset
    assert found == 0, "by the time of the log, not by that of the producer"


def test_names_that_collide(node, name):
    create_topic(node, f"{name}.x", 1)
    assert error_code(lambda: create_topic(node, f"{name}_x", 1)) == KafkaError.TOPIC_EXCEPTION
    with pytest.raises(KafkaException, match="collides with existing topic"):
        create_topic(node, f"{name}_x", 1)


def test_a_smaller_limit_holds_from_the_next_batch_on(node, name):
    create_topic(node, name, 1)
    assert produce_errors(node, name, [(None, b"x" * 2000, 0)]) == []
    alter(node, name, ("SET", "max.message.bytes", "1000"))
    assert produce_errors(node, name, [(None, b"x" * 2000, 0)]) == [KafkaError.MSG_SIZE_TOO_LARGE]
