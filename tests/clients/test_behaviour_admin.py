"""Topics, configs and metadata, by error codes: Apache Kafka and Strandline must answer the same."""

import pathlib

import pytest

from behaviour import DIFFERENCES, error, errors

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)


def test_every_difference_is_looked_at():
    sources = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_behaviour_*.py"))
    for what in DIFFERENCES:
        spellings = [what, *(what.partition(border)[2] for border in (": ", " with ", " of "))]
        assert any(f'"{spelling}"' in sources for spelling in spellings if spelling), f"nothing asks for {what}"


# --- creating and deleting ---


def create(broker, version=7, validate_only=False, **topic):
    """What CreateTopics says of one topic."""
    fields = {"name": broker.fresh("made"), "partitions": 1, **topic}
    return broker.ask("CreateTopics", version, topics=[fields], validate_only=validate_only)["topics"][0]


def config(name, value):
    return {"configs": [{"name": name, "value": value}]}


@pytest.mark.parametrize(
    "what,topic,expected",
    [
        ("the defaults", {"partitions": -1}, 0),
        ("no partitions", {"partitions": 0}, 37),
        ("-2 partitions", {"partitions": -2}, 37),
        ("no replicas", {"replication": 0}, 38),
        ("one replica", {"replication": 1}, 0),
        ("more replicas than nodes", {"replication": 3}, 38),
        ("an empty name", {"name": ""}, 17),
        ("the name .", {"name": "."}, 17),
        ("the name ..", {"name": ".."}, 17),
        ("a name with a space", {"name": "a b"}, 17),
        ("a name with letters of other scripts", {"name": "größe"}, 17),
        ("a name of 250 characters", {"name": "x" * 250}, 17),
        ("a config that is not known", config("no.such.config", "1"), 40),
        ("a config that is no number", config("retention.ms", "soon"), 40),
        ("a config that is too small", config("retention.ms", "-2"), 40),
        ("a config of another kind", config("cleanup.policy", "shred"), 40),
        ("an empty cleanup.policy", config("cleanup.policy", ""), 0),
        ("both policies", config("cleanup.policy", "compact,delete"), 0),
        ("a config that is null", config("retention.ms", None), 40),
        ("a config with spaces around it", config("retention.ms", " 1000 "), 0),
        ("compression.type", config("compression.type", "zstd"), 0),
        ("a compression.type that is none", config("compression.type", "brotli"), 40),
        ("an assignment", {"partitions": -1, "assignments": [{"partition": 0, "brokers": [1]}]}, 0),
        ("an assignment and a number", {"partitions": 1, "assignments": [{"partition": 0, "brokers": [1]}]}, 42),
        ("an assignment to a node that is not there", {"partitions": -1, "assignments": [{"partition": 0, "brokers": [99]}]}, 39),
        ("an assignment with a gap", {"partitions": -1, "assignments": [{"partition": 1, "brokers": [1]}]}, 39),
    ],
)
def test_create(broker, what, topic, expected):
    broker.same(f"CreateTopics with {what}", create(broker, **topic)["error"], expected)


def test_create_twice(broker):
    topic = broker.topic()
    broker.same("CreateTopics of a topic that is there", create(broker, name=topic)["error"], 36)
    name = broker.fresh("twice")
    both = broker.ask("CreateTopics", 7, topics=[{"name": name, "partitions": 1}, {"name": name, "partitions": 1}])
    broker.same("CreateTopics of one name twice", errors(both, "topics"), [42])
    dotted = broker.fresh("a.b")
    assert create(broker, name=dotted)["error"] == 0
    broker.same("CreateTopics of a name that differs in . and _", create(broker, name=dotted.replace(".", "_"))["error"], 17)


def test_what_creation_tells(broker):
    made = create(broker, partitions=-1, **config("retention.ms", "1000"))
    broker.same("the default of partitions", made["partitions"], 4)
    broker.same("replicas", made["replication"], 1)
    found = {c["name"]: (c["value"], c["source"]) for c in made["configs"]}
    broker.same("a config that was set", found.get("retention.ms"), ("1000", 1))
    broker.same("a config that was not set", found.get("max.message.bytes"), ("1048588", 5))


def test_validation_only(broker):
    tried = create(broker, validate_only=True, partitions=3)
    broker.same("CreateTopics, only validated", (tried["error"], tried["partitions"]), (0, 3))
    broker.same("it made nothing", error(broker.metadata(tried["name"]), "topics"), 3)
    broker.same("CreateTopics, only validated, of a topic that is there", create(broker, validate_only=True, name=broker.topic())["error"], 36)


def test_delete(broker):
    topic = broker.topic()
    answer = broker.ask("DeleteTopics", 5, names=[topic, broker.fresh("nothing")])
    broker.same("DeleteTopics of one and of none", sorted(errors(answer, "topics")), [0, 3])
    broker.same("DeleteTopics by an unknown id", error(broker.ask("DeleteTopics", 6, topics=[{"topic_id": b"0123456789abcdef"}]), "topics"), 100)


@pytest.mark.parametrize(
    "what,change,expected",
    [
        ("more", {"count": 5}, 0),
        ("as many", {"count": 2}, 37),
        ("fewer", {"count": 1}, 37),
        ("none", {"count": 0}, 37),
        ("assignments of each", {"count": 3, "assignments": [{"brokers": [1]}]}, 0),
        ("too few assignments", {"count": 5, "assignments": [{"brokers": [1]}]}, 39),
        ("too many assignments", {"count": 3, "assignments": [{"brokers": [1]}, {"brokers": [1]}]}, 39),
        ("an assignment to a node that is not there", {"count": 3, "assignments": [{"brokers": [99]}]}, 39),
        ("a topic that is not there", {"name": "not-there", "count": 3}, 3),
    ],
)
def test_create_partitions(broker, what, change, expected):
    topic = broker.topic(2)
    answer = broker.ask("CreatePartitions", 3, topics=[{"name": topic, **change}])
    broker.same(f"CreatePartitions: {what}", error(answer, "results"), expected)
    if expected == 0:
        broker.wait_for_partitions(topic, change["count"])


def test_create_partitions_in_other_ways(broker):
    topic = broker.topic(2)
    tried = broker.ask("CreatePartitions", 3, topics=[{"name": topic, "count": 7}], validate_only=True)
    broker.same("CreatePartitions, only validated", error(tried, "results"), 0)
    broker.same("it made nothing", len(broker.metadata(topic)["topics"][0]["partitions"]), 2)
    twice = broker.ask("CreatePartitions", 3, topics=[{"name": topic, "count": 3}, {"name": topic, "count": 4}])
    broker.same("CreatePartitions of one topic twice", errors(twice, "results"), [42])


# --- configs ---


def alter(broker, topic, *changes, kind=TOPIC, validate_only=False):
    """The error code of changes (config, operation, value)."""
    configs = [{"name": name, "operation": operation, "value": value} for name, operation, value in changes]
    answer = broker.ask("IncrementalAlterConfigs", 1, resources=[{"type": kind, "name": topic, "configs": configs}], validate_only=validate_only)
    return error(answer, "results")


def value_of(broker, topic, name):
    """(value, source) of a config."""
    answer = broker.ask("DescribeConfigs", 4, resources=[{"name": topic, "keys": [name]}])
    (found,) = answer["results"][0]["configs"]
    return found["value"], found["source"]


@pytest.mark.parametrize(
    "what,changes,expected",
    [
        ("a value", [("retention.ms", SET, "5000")], 0),
        ("a config that is not known", [("no.such.config", SET, "1")], 40),
        ("deleting a config that is not known", [("no.such.config", DELETE, None)], 0),
        ("a value that is no number", [("retention.ms", SET, "soon")], 40),
        ("a value that is null", [("retention.ms", SET, None)], 42),
        ("deleting what was not set", [("retention.ms", DELETE, None)], 0),
        ("appending to what is no list", [("retention.ms", APPEND, "1")], 40),
        ("appending to a list", [("cleanup.policy", APPEND, "compact")], 0),
        ("appending what cannot be in it", [("cleanup.policy", APPEND, "shred")], 40),
        ("subtracting from a list", [("cleanup.policy", SUBTRACT, "delete")], 0),
        ("an operation that is none", [("retention.ms", 9, "1")], -1),
        ("one config twice", [("retention.ms", SET, "1"), ("retention.ms", SET, "2")], 42),
        ("a good one and a bad one", [("retention.ms", SET, "77"), ("no.such.config", SET, "2")], 40),
        ("nothing", [], 0),
    ],
)
def test_alter(broker, what, changes, expected):
    topic = broker.topic()
    broker.same(f"IncrementalAlterConfigs: {what}", alter(broker, topic, *changes), expected)
    if what == "a good one and a bad one":
        broker.same("all or nothing", value_of(broker, topic, "retention.ms")[0], "604800000")


def test_lists(broker):
    topic = broker.topic()

    def after(*change):
        assert alter(broker, topic, ("cleanup.policy", *change)) == 0
        return value_of(broker, topic, "cleanup.policy")

    broker.same("cleanup.policy that nobody set", value_of(broker, topic, "cleanup.policy"), ("delete", 5))
    broker.same("cleanup.policy with compact appended", after(APPEND, "compact"), ("delete,compact", 1))
    broker.same("appended again", after(APPEND, "compact"), ("delete,compact", 1))
    broker.same("cleanup.policy with delete subtracted", after(SUBTRACT, "delete"), ("compact", 1))
    broker.same("subtracted again", after(SUBTRACT, "delete"), ("compact", 1))
    broker.same("cleanup.policy deleted", after(DELETE, None), ("delete", 5))


def test_alter_elsewhere(broker):
    topic = broker.topic()
    broker.same("IncrementalAlterConfigs of a topic that is not there", alter(broker, broker.fresh("nothing"), ("retention.ms", SET, "1")), 3)
    broker.same("IncrementalAlterConfigs, only validated", alter(broker, topic, ("retention.ms", SET, "1"), validate_only=True), 0)
    broker.same("it changed nothing", value_of(broker, topic, "retention.ms"), ("604800000", 5))
    broker.same("only validated, and wrong", alter(broker, topic, ("retention.ms", SET, "soon"), validate_only=True), 40)
    broker.same("IncrementalAlterConfigs of a resource of no kind", alter(broker, topic, ("retention.ms", SET, "1"), kind=77), 42)
    twice = [{"name": topic, "configs": []}, {"name": topic, "configs": []}]
    broker.same("one resource twice", errors(broker.ask("IncrementalAlterConfigs", 1, resources=twice), "results"), [42, 42])


def test_describe(broker):
    topic = broker.topic(retention_ms=1000)

    def describe(**changes):
        asked = {"name": topic, **changes.pop("resource", {})}
        return broker.ask("DescribeConfigs", 4, resources=[asked], **changes)["results"][0]

    broker.same("DescribeConfigs of a topic that is not there", describe(resource={"name": broker.fresh("nothing")})["error"], 3)
    broker.same("DescribeConfigs of a bad name", describe(resource={"name": "a b"})["error"], 17)
    broker.same("DescribeConfigs of some", [c["name"] for c in describe(resource={"keys": ["retention.ms", "no.such"]})["configs"]], ["retention.ms"])
    broker.same("DescribeConfigs of none", describe(resource={"keys": []})["configs"] == [], False)
    (plain,) = describe(resource={"keys": ["retention.ms"]})["configs"]
    broker.same("a config", (plain["value"], plain["source"], plain["type"], plain["read_only"], plain["sensitive"]), ("1000", 1, 5, False, False))
    broker.same("synonyms and documentation when nobody asked", (plain["synonyms"], plain["documentation"]), ([], None))
    (full,) = describe(resource={"keys": ["retention.ms"]}, synonyms=True, documentation=True)["configs"]
    broker.same("the first synonym", full["synonyms"][0], {"name": "retention.ms", "value": "1000", "source": 1})
    broker.same("documentation", bool(full["documentation"]), True)
    names = {c["name"] for c in describe()["configs"]}
    usual = {
        "cleanup.policy", "compression.type", "delete.retention.ms", "max.message.bytes", "message.timestamp.type", "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms", "min.insync.replicas", "retention.bytes", "retention.ms", "segment.bytes", "segment.ms",
        "message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "unclean.leader.election.enable", "max.compaction.lag.ms",
    }  # fmt: skip
    broker.same("configs that every tool expects and that are not there", sorted(usual - names), [])


DEFAULTS = {
    "cleanup.policy": "delete", "compression.type": "producer", "delete.retention.ms": "86400000", "file.delete.delay.ms": "60000",
    "flush.messages": "9223372036854775807", "flush.ms": "9223372036854775807", "index.interval.bytes": "4096",
    "max.compaction.lag.ms": "9223372036854775807", "max.message.bytes": "1048588", "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": "9223372036854775807", "message.timestamp.type": "CreateTime", "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0", "min.insync.replicas": "1", "preallocate": "false", "retention.bytes": "-1", "retention.ms": "604800000",
    "segment.bytes": "1073741824", "segment.index.bytes": "10485760", "segment.jitter.ms": "0", "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults(broker, name):
    topic = broker.topic()
    broker.same(f"the default of {name}", value_of(broker, topic, name)[0], DEFAULTS[name])


# --- metadata ---


def test_metadata(broker):
    nothing = broker.fresh("nothing")
    broker.same("Metadata of a topic that is not there", error(broker.metadata(nothing), "topics"), 3)
    broker.same("Metadata of a bad name", error(broker.metadata("a b"), "topics"), 17)
    by_id = broker.ask("Metadata", 12, topics=[{"topic_id": b"0123456789abcdef", "name": None}])
    broker.same("Metadata of an unknown id", error(by_id, "topics"), 100)
    topic = broker.topic(2)
    found = broker.ask("Metadata", 12, topics=[{"topic_id": broker.topic_id(topic), "name": None}])["topics"][0]
    broker.same("Metadata by id", (found["error"], found["name"], len(found["partitions"])), (0, topic, 2))
    broker.same("Metadata of no topics", broker.ask("Metadata", 12, topics=[])["topics"], [])
    every = broker.ask("Metadata", 12, topics=None)["topics"]
    broker.same("Metadata of all topics", topic in [t["name"] for t in every], True)
    broker.same("leader epoch and replicas", {(p["leader_epoch"], len(p["replicas"]), len(p["in_sync"])) for p in found["partitions"]}, {(0, 1, 1)})
    made = broker.ask("Metadata", 4, topics=[{"name": nothing}], auto_create=True)
    broker.same("Metadata that makes the topic", error(made, "topics") in (0, 3, 5), True)
    broker.wait_for_partitions(nothing, 4)
    bad = broker.ask("Metadata", 4, topics=[{"name": "a b"}], auto_create=True)
    broker.same("Metadata that would make a topic of a bad name", error(bad, "topics"), 17)
