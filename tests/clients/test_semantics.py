"""What a Kafka client may rely on beyond bytes in, bytes out: offsets, times, topics, configs, errors, waiting."""

import threading
import time

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ResourceType

from clientlib import (
    Acks,
    bootstrap,
    consume_all,
    consumer,
    create_topic,
    delete_topic,
    describe_cluster,
    describe_configs,
    end_offsets,
    error_code,
    kcat,
    produce_all,
    producer,
    take,
    topics,
    watermarks,
)

LATEST, EARLIEST, NO_OFFSET = -1, -2, -1


@pytest.fixture
def reader(node):
    client = consumer(node)
    yield client
    client.close()


def offset_for_time(client, topic, timestamp):
    return client.offsets_for_times([TopicPartition(topic, 0, timestamp)], timeout=15)[0].offset


def produce_at(node, topic, times):
    """One record for each time, in batches of three."""
    client = producer(node, linger_ms=0)
    acks = Acks()
    for at, timestamp in enumerate(times):
        client.produce(topic, f"at {timestamp}", partition=0, timestamp=timestamp, on_delivery=acks)
        if at % 3 == 2:
            assert client.flush(30) == 0
    assert client.flush(30) == 0
    assert not acks.errors and len(acks.places) == len(times)


# --- offsets and times ---


def test_offsets_by_timestamp(node, name, reader):
    """The first record at or after a time; between two, the later one; after all of them, none."""
    create_topic(node, name, 1)
    produce_at(node, name, [1000 * n for n in range(1, 11)])
    assert offset_for_time(reader, name, 0) == 0
    assert offset_for_time(reader, name, 1000) == 0
    assert offset_for_time(reader, name, 1001) == 1
    assert [offset_for_time(reader, name, 1000 * n) for n in range(1, 11)] == list(range(10))
    assert offset_for_time(reader, name, 5500) == 5
    assert offset_for_time(reader, name, 10_001) == NO_OFFSET


def test_offsets_by_timestamp_when_times_go_backwards(node, name, reader):
    """Times need not rise: the answer is the first offset whose record is late enough, within batches and across them."""
    create_topic(node, name, 1)
    produce_at(node, name, [5000, 1000, 3000, 2000, 7000, 6000, 4000, 9000, 8000])
    for wanted, offset in [(1000, 0), (5000, 0), (5001, 4), (6500, 4), (7001, 7), (9000, 7), (9001, NO_OFFSET)]:
        assert offset_for_time(reader, name, wanted) == offset, f"time {wanted}"


def test_timestamps_come_back(node, name, reader):
    """The time that a producer gave a record is the time that a consumer sees."""
    create_topic(node, name, 1)
    produce_at(node, name, [1_600_000_000_000, 1_500_000_000_123])
    reader.assign([TopicPartition(name, 0, 0)])
    assert [m.timestamp()[1] for m in take(reader, 2)] == [1_600_000_000_000, 1_500_000_000_123]


def test_watermarks_follow_what_is_produced(node, name, reader):
    """Empty is (0, 0); the high watermark counts every acknowledged record, at once."""
    create_topic(node, name, 2)
    assert watermarks(reader, name, 0) == (0, 0)
    produce_all(node, name, [(None, b"x")] * 25, partitioner="random")
    assert sum(watermarks(reader, name, p)[1] for p in range(2)) == 25
    assert {watermarks(reader, name, p)[0] for p in range(2)} == {0}


def test_seek_into_the_middle_of_a_batch(node, name, reader):
    """A reader that starts inside a batch gets that record first, not the beginning of the batch, and then the rest."""
    create_topic(node, name, 1)
    produce_all(node, name, [(None, b"record %d" % n) for n in range(100)], linger_ms=500)
    reader.assign([TopicPartition(name, 0, 57)])
    assert [m.value() for m in take(reader, 43)] == [b"record %d" % n for n in range(57, 100)]
    reader.seek(TopicPartition(name, 0, 3))
    first = take(reader, 1)[0]
    assert (first.offset(), first.value()) == (3, b"record 3")


def test_earliest_and_latest(node, name, reader):
    """Starting at `earliest` reads from 0; starting at `latest` reads only what comes after."""
    create_topic(node, name, 1)
    produce_all(node, name, [(None, b"old")] * 5)
    reader.assign([TopicPartition(name, 0, EARLIEST)])
    assert take(reader, 5)[0].offset() == 0
    late = consumer(node)
    late.assign([TopicPartition(name, 0, LATEST)])
    assert late.poll(1.0) is None
    produce_all(node, name, [(None, b"new")])
    message = take(late, 1)[0]
    late.close()
    assert (message.offset(), message.value()) == (5, b"new")


def test_an_offset_that_does_not_exist_is_out_of_range(node, name):
    """Beyond the high watermark: OFFSET_OUT_OF_RANGE, which the client turns into its reset policy (here: an error)."""
    create_topic(node, name, 1)
    produce_all(node, name, [(None, b"x")] * 3)
    client = consumer(node)
    client.assign([TopicPartition(name, 0, 1000)])
    message = client.poll(15)
    client.close()
    assert message is not None and message.error().code() == KafkaError._AUTO_OFFSET_RESET
    assert "out of range" in message.error().str().lower()


# --- records ---


def test_keys_values_and_headers_come_back_as_they_were(node, name, reader):
    """Null and empty are two things; header names may repeat, header values may be null or any bytes."""
    create_topic(node, name, 1)
    sent = [
        (b"key", b"value", [("a", b"1"), ("a", b"2"), ("none", None), ("bytes", bytes(range(256)))]),
        (None, b"no key", None),
        (b"tombstone", None, None),
        (b"", b"", [("", b"")]),
    ]
    client = producer(node)
    for key, value, headers in sent:
        client.produce(name, value=value, key=key, headers=headers, partition=0)
    assert client.flush(30) == 0
    reader.assign([TopicPartition(name, 0, 0)])
    assert [(m.key(), m.value(), m.headers()) for m in take(reader, 4)] == sent


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_every_acks_setting_stores_the_record(node, name, acks):
    """0 is not answered but stored all the same; 1 and all mean the same here: in the bucket."""
    create_topic(node, name, 1)
    client = producer(node, acks=acks)
    for n in range(10):
        client.produce(name, b"%d" % n, partition=0)
    assert client.flush(30) == 0
    deadline = time.monotonic() + 10
    while end_offsets(node, name, 1) != [10]:
        assert time.monotonic() < deadline, f"acks={acks}: {end_offsets(node, name, 1)} of 10 records were stored"
    assert [r.value for r in consume_all(node, name, 1)] == [b"%d" % n for n in range(10)]


# --- topics ---


def test_producing_to_an_unknown_topic_creates_it(node, name):
    assert name not in topics(node)
    produce_all(node, name, [(b"k", b"first")])
    partitions = topics(node)[name]
    assert partitions >= 1
    assert [r.value for r in consume_all(node, name, partitions)] == [b"first"]


def test_a_reader_that_may_not_create_topics_is_told_that_it_is_unknown(node, name):
    client = consumer(node, allow_auto_create_topics=False)
    assert error_code(lambda: watermarks(client, name, 0)) in (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    )
    # librdkafka tells an assigned consumer nothing of it: it goes on looking, and must not create the topic by that.
    client.assign([TopicPartition(name, 0, 0)])
    assert client.poll(1) is None
    client.close()
    assert name not in topics(node)


def test_create_and_delete_a_topic(node, name):
    """Created: listed with its partitions. Twice: an error. Deleted: gone. Deleted twice: an error."""
    create_topic(node, name, 3)
    assert topics(node)[name] == 3
    assert error_code(lambda: create_topic(node, name, 3)) == KafkaError.TOPIC_ALREADY_EXISTS
    delete_topic(node, name)
    assert name not in topics(node)
    assert error_code(lambda: delete_topic(node, name)) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_validate_only_creates_nothing(node, name):
    create_topic(node, name, 1, validate_only=True)
    assert name not in topics(node)


def test_a_topic_deleted_and_created_again_is_empty(node, name, reader):
    """It starts at offset 0 with nothing in it, and takes new records: it is another topic of the same name."""
    create_topic(node, name, 1)
    produce_all(node, name, [(None, b"old")] * 10)
    delete_topic(node, name)
    create_topic(node, name, 2)
    assert [watermarks(reader, name, p) for p in range(2)] == [(0, 0), (0, 0)]
    produce_all(node, name, [(b"k", b"new")])
    assert [(r.offset, r.value) for r in consume_all(node, name, 2)] == [(0, b"new")]


@pytest.mark.parametrize("bad", ["with/slash", "with space", "..", "", "x" * 250], ids=["slash", "space", "dots", "empty", "long"])
def test_an_invalid_topic_name_is_refused(node, bad):
    """By CreateTopics with INVALID_TOPIC, and nothing is created."""
    before = topics(node)
    if bad == "":
        # librdkafka refuses this one itself.
        with pytest.raises((ValueError, KafkaException)):
            create_topic(node, bad, 1)
    else:
        assert error_code(lambda: create_topic(node, bad, 1)) == KafkaError.TOPIC_EXCEPTION
    assert topics(node) == before


def test_a_topic_needs_at_least_one_partition(node, name):
    assert error_code(lambda: create_topic(node, name, 0)) == KafkaError.INVALID_PARTITIONS
    assert name not in topics(node)


def test_default_partition_count_is_the_brokers_choice(node, name):
    """-1 partitions, -1 replicas: what Kafka Streams asks for."""
    create_topic(node, name, -1)
    assert topics(node)[name] >= 1


# --- configs and cluster ---


def test_describe_configs_of_a_topic(node, name):
    """All that Kafka users look at is there, with defaults; what was set at creation shows, and as set."""
    create_topic(node, name, 1, {"retention.ms": "3600000"})
    entries = describe_configs(node, ResourceType.TOPIC, name)
    assert entries["retention.ms"].value == "3600000" and not entries["retention.ms"].is_default
    assert entries["max.message.bytes"].value == "1048588" and entries["max.message.bytes"].is_default
    assert entries["cleanup.policy"].value == "delete"
    assert entries["compression.type"].value == "producer"


def test_describe_configs_of_an_unknown_topic(node, name):
    assert error_code(lambda: describe_configs(node, ResourceType.TOPIC, name)) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_describe_configs_of_the_broker(node):
    assert describe_configs(node, ResourceType.BROKER, str(node.node_id))


def test_an_unknown_or_senseless_config_is_refused(node, name):
    assert error_code(lambda: create_topic(node, name, 1, {"no.such.setting": "1"})) == KafkaError.INVALID_CONFIG
    assert error_code(lambda: create_topic(node, name, 1, {"retention.ms": "soon"})) == KafkaError.INVALID_CONFIG
    assert name not in topics(node)


def test_describe_cluster(node):
    """One node, at the address that clients reach it by; a controller among the nodes; a cluster id that stays."""
    cluster = describe_cluster(node)
    assert [f"{n.host}:{n.port}" for n in cluster.nodes] == [node.kafka]
    assert [n.id for n in cluster.nodes] == [node.node_id]
    assert cluster.controller.id == node.node_id
    assert cluster.cluster_id and cluster.cluster_id == describe_cluster(node).cluster_id


# --- size ---


def test_a_message_over_the_topics_limit_is_refused(node, name):
    """By the topic's own limit; the largest that fits is taken; the refused one leaves no trace."""
    create_topic(node, name, 1, {"max.message.bytes": "10000"})
    client = producer(node)
    acks = Acks()
    client.produce(name, b"x" * 20_000, partition=0, on_delivery=acks)
    client.flush(30)
    assert [e.code() for e in acks.errors] == [KafkaError.MSG_SIZE_TOO_LARGE]
    client.produce(name, b"y" * 9_000, partition=0, on_delivery=acks)
    client.flush(30)
    assert acks.places == [(0, 0)]


def test_a_message_over_the_default_limit_is_refused(node, name):
    """1 MiB, as in Kafka."""
    create_topic(node, name, 1)
    client = producer(node, message_max_bytes=8_000_000)
    acks = Acks()
    client.produce(name, b"x" * 1_100_000, partition=0, on_delivery=acks)
    client.produce(name, b"x" * 1_000_000, partition=0, on_delivery=acks)
    client.flush(60)
    assert [e.code() for e in acks.errors] == [KafkaError.MSG_SIZE_TOO_LARGE]
    assert acks.places == [(0, 0)]


# --- waiting ---


def test_a_waiting_reader_sees_a_record_at_once(node, name):
    """The reader's fetch may wait for 10 s at the node; a record produced meanwhile ends the wait."""
    create_topic(node, name, 1)
    client = consumer(node, fetch_wait_max_ms=10_000)
    client.assign([TopicPartition(name, 0, 0)])
    assert client.poll(1.5) is None  # by now its fetch is waiting
    arrived = {}

    def wait():
        arrived["message"] = client.poll(8)
        arrived["at"] = time.monotonic()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    produce_all(node, name, [(None, b"news")], linger_ms=0)
    acknowledged = time.monotonic()
    thread.join()
    client.close()
    assert arrived["message"] is not None and arrived["message"].value() == b"news"
    assert arrived["at"] - acknowledged < 0.7, f"{arrived['at'] - acknowledged:.2f} s after the acknowledgement"


def test_a_waiting_reader_is_answered_when_its_time_is_up(node, name):
    """With nothing to read the fetch ends when the client said it should, so that the connection stays alive."""
    create_topic(node, name, 1)
    client = consumer(node, fetch_wait_max_ms=300, enable_partition_eof=True)
    client.assign([TopicPartition(name, 0, 0)])
    message = client.poll(5)
    client.close()
    assert message is not None and message.error().code() == KafkaError._PARTITION_EOF


# --- kcat ---


def test_kcat_lists(node, name):
    create_topic(node, name, 4)
    listing = kcat("-L", "-b", bootstrap(node)).decode()
    assert f"broker {node.node_id} at {node.kafka}" in listing
    assert f'topic "{name}" with 4 partitions' in listing
    alone = kcat("-L", "-b", bootstrap(node), "-t", name).decode()
    assert alone.count("partition ") == 4 and "leader" in alone and "error" not in alone.lower()


def test_kcat_queries_offsets_by_time(node, name):
    create_topic(node, name, 1)
    produce_at(node, name, [1000, 2000, 3000])
    for asked, offset in [(1500, 1), (3000, 2), (-2, 0), (-1, 3)]:
        answer = kcat("-Q", "-b", bootstrap(node), "-t", f"{name}:0:{asked}").decode()
        assert answer.strip() == f"{name} [0] offset {offset}", f"asked for {asked}"


def test_kcat_reads_the_last_records(node, name):
    create_topic(node, name, 1)
    produce_all(node, name, [(None, b"%d" % n) for n in range(20)])
    assert kcat("-C", "-b", bootstrap(node), "-t", name, "-p", 0, "-o", -3, "-e", "-q", "-f", "%o=%s ") == b"17=17 18=18 19=19 "
