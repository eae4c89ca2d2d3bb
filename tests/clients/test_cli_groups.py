"""`strandline group`, straight on a store, against what clients commit through a node."""

import json
import time

import confluent_kafka
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

import bed
from bed import run_command
from clientlib import admin, consumer

RECORDS = 40


@pytest.fixture
def store(make_store):
    """A topic `orders` with 40 records in partition 0 and none in partition 1."""
    store = make_store("file")
    run_command(["topic", "create", "orders", "--partitions", "2", "--store", store.url], store)
    lines = b"".join(b"%d\n" % n for n in range(RECORDS))
    run_command(["produce", "orders", "--partition", "0", "--store", store.url, "-"], store, input=lines)
    return store


def group(store, *args, **options):
    return run_command(["group", *args, "--store", store.url], store, **options)


def described(store, name):
    return json.loads(group(store, "describe", name, "--format", "json").stdout)


def offsets(store, name):
    """Committed offset and lag by partition."""
    return {p["partition"]: (p["committed"], p["lag"]) for p in described(store, name)["partitions"]}


def reset(store, *args, **options):
    return group(store, "reset-offsets", *args, **options)


def test_nothing_changes_without_execute(store):
    assert group(store, "list").stdout == b"no groups\n"
    shown = reset(store, "billing", "--topic", "orders", "--to-latest")
    assert str(RECORDS).encode() in shown.stdout and "--execute" in shown.stderr
    reset(store, "billing", "--topic", "orders", "--to-latest", "--dry-run")
    assert group(store, "list").stdout == b"no groups\n"


def test_each_target(store):
    """One after the other, so that the shift has something to stand on."""
    before = time.time()
    for flags, expected in [
        (["--to-latest"], RECORDS),
        (["--to-earliest"], 0),
        (["--to-offset", 7], 7),
        (["--shift-by", -3], 4),
        (["--shift-by", 1000], RECORDS),
        (["--to-datetime", "2020-01-01T00:00:00Z"], 0),
        (["--to-datetime", int((before + 3600) * 1000)], RECORDS),
        (["--by-duration", "7d"], 0),
    ]:
        done = reset(store, "billing", "--topic", "orders:0", *flags, "--execute", "--format", "json")
        plan = json.loads(done.stdout)
        assert plan["executed"] and [o["new"] for o in plan["offsets"]] == [expected], (flags, plan)
        assert offsets(store, "billing") == {0: (expected, RECORDS - expected)}, flags


def test_a_plan_goes_through_a_file(store, tmp_path):
    plan = tmp_path / "plan.csv"
    reset(store, "billing", "--topic", "orders", "--to-offset", 9, "--to-file", plan)
    assert plan.read_text() == "orders,0,9\norders,1,0\n"
    reset(store, "billing", "--from-file", plan, "--execute")
    assert offsets(store, "billing") == {0: (9, RECORDS - 9), 1: (0, 0)}


def test_what_cannot_be_done_says_what_to_do(store):
    for args, says in [
        (["describe", "billing"], ["billing", "group list"]),
        (["delete", "billing", "--yes"], ["billing"]),
        (["reset-offsets", "billing", "--topic", "nowhere", "--to-latest"], ["nowhere"]),
        (["reset-offsets", "billing", "--topic", "orders:2", "--to-latest"], ["partition 2", "orders"]),
        (["reset-offsets", "billing", "--topic", "orders", "--shift-by", "1"], ["--to-earliest"]),
        (["reset-offsets", "billing", "--all-topics", "--to-latest"], ["--topic"]),
        (["reset-offsets", "billing", "--from-file", "/no/such/file"], ["/no/such/file"]),
    ]:
        refused = group(store, *args, check=False)
        assert refused.code == 1 and all(word in refused.stderr for word in says), refused
    reset(store, "billing", "--topic", "orders", "--to-latest", "--execute")
    refused = group(store, "delete", "billing", check=False, timeout=10)
    assert refused.code == 1 and "--yes" in refused.stderr, refused
    assert b"billing" in group(store, "list").stdout
    group(store, "delete", "billing", "--yes")
    assert group(store, "list").stdout == b"no groups\n"


def test_what_a_client_commits_is_shown_and_what_is_reset_a_client_finds(store, start_node):
    node = start_node(store)
    client = consumer(node, **{"group.id": "billing"})
    partition = TopicPartition("orders", 0)
    client.assign([partition])
    client.commit(offsets=[TopicPartition("orders", 0, 5, metadata="so far")], asynchronous=False)
    row = described(store, "billing")["partitions"][0]
    # The Python client sends the zero byte that ends its string, too.
    assert (row["committed"], row["lag"], row["metadata"].rstrip("\0")) == (5, RECORDS - 5, "so far")
    reset(store, "billing", "--topic", "orders:0", "--to-offset", 11, "--execute")
    assert client.committed([partition], timeout=10)[0].offset == 11
    client.close()

    tools = admin(node)
    asked = tools.list_consumer_group_offsets([ConsumerGroupTopicPartitions("billing")])
    assert [tp.offset for tp in asked["billing"].result(10).topic_partitions] == [11]
    listed = tools.list_consumer_groups(request_timeout=10).result(10)
    assert [found.group_id for found in listed.valid] == ["billing"] and not listed.errors
    tools.delete_consumer_groups(["billing"], request_timeout=10)["billing"].result(10)
    assert group(store, "list").stdout == b"no groups\n"


def test_a_group_with_members_is_left_alone(store, start_node):
    """Its members are shown with what they read; resetting and deleting wait until they are gone."""
    node = start_node(store)
    client = consumer(node, **{"group.id": "billing", "client.id": "worker-1", "auto.offset.reset": "earliest"})
    client.subscribe(["orders"])
    message = client.poll(30)
    assert message is not None and message.error() is None
    client.commit(message, asynchronous=False)
    shown = described(store, "billing")
    assert shown["state"] == "Stable" and [m["client"] for m in shown["members"]] == ["worker-1"], shown
    members = {p["partition"]: p["member"] for p in shown["partitions"]}
    assert members == dict.fromkeys([0, 1], shown["members"][0]["member"]), "also the one without an offset"
    text = group(store, "describe", "billing").stdout.decode()
    assert "worker-1" in text and "PARTITIONS" in text, text
    for args in (["reset-offsets", "billing", "--topic", "orders", "--to-latest"], ["delete", "billing", "--yes"]):
        refused = group(store, *args, check=False)
        assert refused.code == 1 and "1 member" in refused.stderr, refused
    tools = admin(node)
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        tools.delete_consumer_groups(["billing"], request_timeout=10)["billing"].result(10)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.NON_EMPTY_GROUP
    client.close()
    # Leaving is answered before it is in the bucket.
    bed.wait_until(lambda: not described(store, "billing")["members"], 10, "the group to be empty there")
    reset(store, "billing", "--topic", "orders", "--to-latest", "--execute")
    assert offsets(store, "billing") == {0: (RECORDS, 0), 1: (0, 0)}
