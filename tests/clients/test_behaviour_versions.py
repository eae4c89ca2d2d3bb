"""Every version of every request that both brokers know: the answer has the layout of its version, and says the same.

`messages.ask` takes an answer apart to its last byte, so that a field too many or too few fails here.
"""

import pytest

from behaviour import assignment, error, errors, subscription
from test_behaviour_records import batch

# Which versions Strandline promises and Kafka 4 still knows.
VERSIONS = {
    "Produce": (3, 13), "Fetch": (4, 17), "ListOffsets": (1, 10), "Metadata": (0, 13), "OffsetForLeaderEpoch": (2, 4), "CreateTopics": (2, 7),
    "DeleteTopics": (1, 6), "CreatePartitions": (0, 3), "DeleteRecords": (0, 2), "DescribeConfigs": (1, 4), "AlterConfigs": (0, 2),
    "IncrementalAlterConfigs": (0, 1), "InitProducerId": (0, 5), "DescribeCluster": (0, 2), "DescribeLogDirs": (1, 4),
    "ListPartitionReassignments": (0, 0), "FindCoordinator": (0, 6), "DescribeGroups": (0, 6), "ListGroups": (0, 5), "DeleteGroups": (0, 2),
    "DescribeAcls": (1, 3),
}  # fmt: skip


def versions(name):
    low, high = VERSIONS[name]
    return pytest.mark.parametrize("version", range(low, high + 1))


@versions("Produce")
def test_produce(broker, version):
    topic = broker.topic()
    asked = {"name": topic} if version < 13 else {"topic_id": broker.topic_id(topic)}
    answer = broker.ask("Produce", version, topics=[{**asked, "partitions": [{"partition": 0, "records": batch()}]}])
    broker.same(f"Produce v{version}", error(answer, "topics", "partitions"), 0)
    # Version 13 knows a topic by its id alone.
    missing = {"name": broker.fresh("nothing")} if version < 13 else {"topic_id": b"0123456789abcdef"}
    answer = broker.ask("Produce", version, topics=[{**missing, "partitions": [{"partition": 0, "records": batch()}]}])
    broker.same(f"Produce v{version} to nothing", error(answer, "topics", "partitions"), 3 if version < 13 else 100)


@versions("Fetch")
def test_fetch(broker, version):
    topic = broker.topic(2)
    broker.produce(topic, batch())
    parts = [{"partition": 0, "offset": 0}, {"partition": 1, "offset": 0}]
    asked = {"name": topic} if version < 13 else {"topic_id": broker.topic_id(topic)}
    answer = broker.ask("Fetch", version, topics=[{**asked, "partitions": parts}])
    found = {p["partition"]: (p["error"], p["high_watermark"], p["last_stable"], bool(p["records"])) for p in answer["topics"][0]["partitions"]}
    broker.same(f"Fetch v{version}", found, {0: (0, 1, 1, True), 1: (0, 0, 0, False)})
    broker.same(f"aborted transactions of Fetch v{version}", [p["aborted"] for p in answer["topics"][0]["partitions"]], [None, None])
    if version >= 7:
        broker.same(f"Fetch v{version} outside a session", (answer["error"], answer["session"]), (0, 0))
        strange = broker.ask("Fetch", version, session=12345, session_epoch=3)
        broker.same(f"Fetch v{version} of a session that is not there", strange["error"], 70)
    if version >= 13:
        missing = broker.ask("Fetch", version, topics=[{"topic_id": b"0123456789abcdef", "partitions": parts[:1]}])
        broker.same(f"Fetch v{version} of an unknown id", error(missing, "topics", "partitions"), 100)


@versions("ListOffsets")
def test_list_offsets(broker, version):
    topic = broker.topic()
    broker.produce(topic, batch(timestamp=1000))
    found = broker.list_offset(topic, 500, version)
    broker.same(f"ListOffsets v{version}", (found["error"], found["offset"], found["timestamp"]), (0, 0, 1000))
    # The special times came one after the other; before its version each is an unknown one.
    for since, timestamp in ((7, -3), (8, -4), (9, -5)):
        code = broker.list_offset(topic, timestamp, version)["error"]
        broker.same(f"ListOffsets v{version} of {timestamp}", code, 0 if version >= since else 35)


@versions("Metadata")
def test_metadata(broker, version):
    topic = broker.topic(2)
    (found,) = broker.ask("Metadata", version, topics=[{"name": topic}])["topics"]
    broker.same(f"Metadata v{version}", (found["error"], found["name"], len(found["partitions"])), (0, topic, 2))
    every = broker.ask("Metadata", version, topics=[] if version == 0 else None)
    broker.same(f"Metadata v{version} of all", topic in [t["name"] for t in every["topics"]], True)


@versions("OffsetForLeaderEpoch")
def test_offset_for_leader_epoch(broker, version):
    topic = broker.topic()
    broker.produce(topic, batch())
    asked = [{"name": topic, "partitions": [{"partition": 0, "epoch": 0}]}]
    found = broker.ask("OffsetForLeaderEpoch", version, topics=asked)["topics"][0]["partitions"][0]
    broker.same(f"OffsetForLeaderEpoch v{version}", (found["error"], found["epoch"], found["end"]), (0, 0, 1))


@versions("CreateTopics")
def test_create_topics(broker, version):
    name = broker.fresh("made")
    topics = [{"name": name, "partitions": 2, "replication": 1}, {"name": "a b", "partitions": 1, "replication": 1}]
    answer = broker.ask("CreateTopics", version, topics=topics)
    broker.same(f"CreateTopics v{version}", {t["name"]: t["error"] for t in answer["topics"]}, {name: 0, "a b": 17})


@versions("DeleteTopics")
def test_delete_topics(broker, version):
    topic = broker.topic()
    asked = {"topics": [{"name": topic}]} if version >= 6 else {"names": [topic]}
    broker.same(f"DeleteTopics v{version}", error(broker.ask("DeleteTopics", version, **asked), "topics"), 0)


@versions("CreatePartitions")
def test_create_partitions(broker, version):
    answer = broker.ask("CreatePartitions", version, topics=[{"name": broker.topic(), "count": 2}])
    broker.same(f"CreatePartitions v{version}", error(answer, "results"), 0)


@versions("DeleteRecords")
def test_delete_records(broker, version):
    topic = broker.topic()
    broker.produce(topic, batch())
    answer = broker.ask("DeleteRecords", version, topics=[{"name": topic, "partitions": [{"partition": 0, "offset": 1}]}])
    broker.same(f"DeleteRecords v{version}", error(answer, "topics", "partitions"), 0)


@versions("DescribeConfigs")
def test_describe_configs(broker, version):
    topic = broker.topic(retention_ms=1000)
    answer = broker.ask("DescribeConfigs", version, resources=[{"name": topic, "keys": ["retention.ms"]}], synonyms=True)
    found = [(c["name"], c["value"], c["source"]) for c in answer["results"][0]["configs"]]
    broker.same(f"DescribeConfigs v{version}", found, [("retention.ms", "1000", 1)])


@versions("AlterConfigs")
def test_alter_configs(broker, version):
    """The old request sets everything: what it does not name goes back to its default."""
    topic = broker.topic(retention_ms=1000)

    def alter(name, value):
        return error(broker.ask("AlterConfigs", version, resources=[{"name": topic, "configs": [{"name": name, "value": value}]}]), "results")

    broker.same(f"AlterConfigs v{version}", alter("max.message.bytes", "2000"), 0)
    answer = broker.ask("DescribeConfigs", 4, resources=[{"name": topic, "keys": ["retention.ms", "max.message.bytes"]}])
    found = {c["name"]: c["value"] for c in answer["results"][0]["configs"]}
    broker.same("configs after AlterConfigs", found, {"retention.ms": "604800000", "max.message.bytes": "2000"})
    broker.same(f"AlterConfigs v{version} of a config that is not known", alter("no.such.config", "1"), 40)


@versions("IncrementalAlterConfigs")
def test_incremental_alter_configs(broker, version):
    configs = [{"name": "retention.ms", "operation": 0, "value": "1"}]
    answer = broker.ask("IncrementalAlterConfigs", version, resources=[{"name": broker.topic(), "configs": configs}])
    broker.same(f"IncrementalAlterConfigs v{version}", error(answer, "results"), 0)


@versions("InitProducerId")
def test_init_producer_id(broker, version):
    answer = broker.ask("InitProducerId", version)
    broker.same(f"InitProducerId v{version}", (answer["error"], answer["producer_id"] >= 0, answer["epoch"]), (0, True, 0))


@versions("DescribeCluster")
def test_describe_cluster(broker, version):
    answer = broker.ask("DescribeCluster", version)
    here = [("127.0.0.1", broker.node.address()[1])]
    broker.same(f"DescribeCluster v{version}", (answer["error"], [(b["host"], b["port"]) for b in answer["brokers"]]), (0, here))


@versions("DescribeLogDirs")
def test_describe_log_dirs(broker, version):
    topic = broker.topic(2)
    answer = broker.ask("DescribeLogDirs", version, topics=[{"name": topic, "partitions": [0, 1]}])
    (folder,) = answer["results"]
    found = sorted(p["partition"] for t in folder["topics"] for p in t["partitions"])
    broker.same(f"DescribeLogDirs v{version}", (folder["error"], found), (0, [0, 1]))


@versions("ListPartitionReassignments")
def test_list_partition_reassignments(broker, version):
    answer = broker.ask("ListPartitionReassignments", version)
    broker.same(f"ListPartitionReassignments v{version}", (answer["error"], answer["topics"]), (0, []))


@versions("FindCoordinator")
def test_find_coordinator(broker, version):
    answer = broker.ask("FindCoordinator", version, **({"keys": ["group"]} if version >= 4 else {"key": "group"}))
    found = answer["coordinators"][0] if version >= 4 else answer
    broker.same(f"FindCoordinator v{version}", (found["error"], found["port"]), (0, broker.node.address()[1]))


@versions("DescribeAcls")
def test_describe_acls(broker, version):
    broker.same(f"DescribeAcls v{version} without an authorizer", broker.ask("DescribeAcls", version)["error"], 54)


# --- groups ---


@versions("DescribeGroups")
def test_describe_groups(broker, version):
    topic, group = broker.topic(), broker.fresh("group")
    broker.commit(group, topic)
    answer = broker.ask("DescribeGroups", version, groups=[group])
    broker.same(f"DescribeGroups v{version}", [(g["error"], g["state"]) for g in answer["groups"]], [(0, "Empty")])


@versions("ListGroups")
def test_list_groups(broker, version):
    topic, group = broker.topic(), broker.fresh("group")
    broker.commit(group, topic)
    answer = broker.ask("ListGroups", version)
    broker.same(f"ListGroups v{version}", (answer["error"], group in [g["group"] for g in answer["groups"]]), (0, True))


@versions("DeleteGroups")
def test_delete_groups(broker, version):
    topic, group = broker.topic(), broker.fresh("group")
    broker.commit(group, topic)
    answer = broker.ask("DeleteGroups", version, groups=[group, broker.fresh("nothing")])
    broker.same(f"DeleteGroups v{version}", sorted(errors(answer, "results")), [0, 69])


def at(step, low, high):
    return min(max(step, low), high)


@pytest.mark.parametrize("step", range(10))
def test_the_life_of_a_member(broker, step):
    """Joins, gets its share, beats, commits, fetches and leaves, each request at one of its versions."""
    topic, group = broker.topic(), broker.fresh("group")
    protocols = [{"name": "range", "metadata": subscription(topic)}]
    join = at(step, 0, 9)
    answer = broker.ask("JoinGroup", join, group=group, protocols=protocols)
    broker.same(f"JoinGroup v{join}", answer["error"], 79 if join >= 4 else 0)
    member = answer["member"]
    if answer["error"] == 79:
        answer = broker.ask("JoinGroup", join, group=group, member=member, protocols=protocols)
        broker.same(f"JoinGroup v{join} with an id", answer["error"], 0)
    generation = answer["generation"]
    mine = {"group": group, "generation": generation, "member": member}

    sync = at(step, 0, 5)
    named = {"type": "consumer", "protocol": "range"} if sync >= 5 else {}
    share = [{"member": member, "assignment": assignment(topic)}]
    answer = broker.ask("SyncGroup", sync, **mine, **named, assignments=share)
    broker.same(f"SyncGroup v{sync}", (answer["error"], answer["assignment"]), (0, assignment(topic)))
    beat = at(step, 0, 4)
    broker.same(f"Heartbeat v{beat}", broker.ask("Heartbeat", beat, **mine)["error"], 0)

    commit = at(step, 2, 9)
    broker.same(f"OffsetCommit v{commit}", broker.commit(group, topic, 5, version=commit, generation=generation, member=member), 0)
    fetch = at(step, 1, 9)
    wanted = {"group": group, "topics": [{"name": topic, "partitions": [0]}]}
    answer = broker.ask("OffsetFetch", fetch, **({"groups": [wanted]} if fetch >= 8 else wanted))
    found = (answer["groups"][0] if fetch >= 8 else answer)["topics"][0]["partitions"][0]
    broker.same(f"OffsetFetch v{fetch}", (found["offset"], found["error"]), (5, 0))

    leave = at(step, 0, 5)
    who = {"members": [{"member": member}]} if leave >= 3 else {"member": member}
    broker.same(f"LeaveGroup v{leave}", broker.ask("LeaveGroup", leave, group=group, **who)["error"], 0)
