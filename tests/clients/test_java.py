"""The official Java client in three versions, and Kafka's own command-line tools, against Strandline.

The scenarios themselves are Java (tests/clients/java); here they are started, judged and recorded for RESULTS.md. With
STRANDLINE_ORACLE=1 all of it runs against Apache Kafka instead, which shows whether a test asks too much; that is not recorded.
"""

import json
import os
import re
import uuid

import bed
import jvm
import pytest
import results

ORACLE = os.environ.get("STRANDLINE_ORACLE") == "1"
CLIENT = "Java (kafka-clients)"
TOOLS = "Java (Kafka's tools)"

SCENARIOS = [
    "rebalance", "rebalance, cooperative", "static membership", "group consume", "commit and resume", "produce", "large batches",
    "idempotence", "offsets by time", "auto-created topic", "admin", "admin of groups", "transactions",
]  # fmt: skip
# Older ones are fenced, by Apache Kafka, too.
SINCE_4 = ["a transaction that takes too long"]
NEW_PROTOCOL = ["KIP-848", "KIP-848, commit and resume", "KIP-848, regular expression", "KIP-848, both protocols in one group"]

# What is known not to work yet: (version, scenario) and why. It is run and recorded all the same.
MISSING = {}

pytestmark = pytest.mark.timeout(400)


def scenarios_of(version):
    return SCENARIOS + (SINCE_4 + NEW_PROTOCOL if version >= "4" else [])


@pytest.fixture(scope="module")
def target(request):
    """The cluster that is tested: a node on S3, or the oracle."""
    if ORACLE:
        return request.getfixturevalue("kafka")
    store = request.getfixturevalue("make_store")("minio")
    return request.getfixturevalue("start_module_node")(store)


def remember(client, version, scenario, ok, detail=""):
    if not ORACLE:
        results.record(client, version, scenario, ok, detail)


# --- the client ---


@pytest.fixture(scope="module")
def matrix(target):
    """`matrix(version)[scenario]`: how it ended. One JVM for all scenarios of a version, when the first of them is asked for."""
    done = {}

    def run(version):
        if version not in done:
            command = jvm.argv(jvm.matrix_path(version), "Matrix", target.kafka, *scenarios_of(version))
            finished = jvm.run(command, timeout=360)
            lines = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
            done[version] = {line["scenario"]: line for line in lines}
            done[version][None] = finished.stderr[-3000:]
            if "KIP-848" not in scenarios_of(version):
                remember(CLIENT, version, "KIP-848", None, "the protocol came with 4.0 (in 3.9 as a preview)")
        return done[version]

    return run


@pytest.mark.parametrize("version,scenario", [(v, s) for v in jvm.CLIENTS for s in scenarios_of(v)])
def test_client(matrix, version, scenario):
    ended = matrix(version).get(scenario, {"ok": False, "detail": "the JVM ended before it"})
    missing = None if ORACLE else MISSING.get((version, scenario))
    remember(CLIENT, version, scenario, ended["ok"], missing or ended["detail"])
    if missing:
        assert not ended["ok"], "it works: take it out of MISSING"
        pytest.xfail(missing)
    assert ended["ok"], f"{ended['detail']}\n{matrix(version)[None]}"


def test_every_scenario_is_run():
    listed = jvm.run(jvm.argv(jvm.matrix_path(jvm.KAFKA), "Matrix")).stdout.splitlines()
    assert sorted(listed) == sorted(SCENARIOS + SINCE_4 + NEW_PROTOCOL)


# --- the tools ---


class Tool:
    """Kafka's command-line tools by the name of their class."""

    def __init__(self, target):
        self.bootstrap = target.kafka

    def command(self, main, *arguments):
        return jvm.argv(jvm.kafka_path(), main, *arguments)

    def __call__(self, main, *arguments, input=None, timeout=60):
        done = jvm.run(self.command(main, *arguments), input, timeout)
        assert done.returncode == 0, f"{main} {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stdout}\n{done.stderr[-2000:]}"
        return done.stdout

    def topics(self, *arguments):
        return self("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.bootstrap, *arguments)

    def configs(self, *arguments):
        return self("kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, *arguments)

    def groups(self, *arguments):
        main = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        return self(main, "--bootstrap-server", self.bootstrap, *arguments)

    def produce(self, topic, lines, *arguments):
        main = "org.apache.kafka.tools.ConsoleProducer"
        self(main, "--bootstrap-server", self.bootstrap, "--topic", topic, *arguments, input="".join(f"{line}\n" for line in lines))

    def consume(self, topic, count, *arguments):
        main = "org.apache.kafka.tools.consumer.ConsoleConsumer"
        limits = ("--max-messages", count, "--timeout-ms", 20_000)
        return self(main, "--bootstrap-server", self.bootstrap, "--topic", topic, *limits, *arguments).splitlines()


@pytest.fixture
def tool(request, target):
    """The tools; how the test ended is recorded under its name."""
    yield Tool(target)
    scenario = request.node.name.removeprefix("test_tool_").replace("_", " ")
    if not ORACLE:
        results.record_test(request.node, TOOLS, jvm.KAFKA, scenario)


@pytest.fixture
def topic():
    return f"tools-{uuid.uuid4().hex[:8]}"


def test_tool_topics(tool, topic):
    tool.topics("--create", "--topic", topic, "--partitions", 2, "--config", "retention.ms=1000000")
    assert topic in tool.topics("--list").split()
    described = tool.topics("--describe", "--topic", topic)
    assert "PartitionCount: 2" in described and "retention.ms=1000000" in described, described
    tool.topics("--alter", "--topic", topic, "--partitions", 5)
    described = tool.topics("--describe", "--topic", topic)
    assert "PartitionCount: 5" in described and described.count("Leader: ") == 5, described
    tool.topics("--delete", "--topic", topic)
    assert topic not in tool.topics("--list").split()


def test_tool_configs(tool, topic):
    tool.topics("--create", "--topic", topic, "--partitions", 1)
    entity = ("--entity-type", "topics", "--entity-name", topic)
    tool.configs("--alter", *entity, "--add-config", "retention.ms=2000000,cleanup.policy=[compact,delete]")
    described = tool.configs("--describe", *entity)
    assert "retention.ms=2000000" in described and "cleanup.policy=compact,delete" in described, described
    tool.configs("--alter", *entity, "--delete-config", "retention.ms")
    described = tool.configs("--describe", *entity)
    assert "retention.ms" not in described and "cleanup.policy=compact,delete" in described, described
    everything = tool.configs("--describe", "--all", *entity)
    assert "retention.ms=604800000" in everything and "max.message.bytes=1048588" in everything, everything


def test_tool_console_producer_and_consumer(tool, topic):
    lines = [f"key-{i}:value {i} äöü" for i in range(50)]
    properties = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    tool.produce(topic, lines, *properties, "--compression-codec", "zstd")
    printed = tool.consume(topic, 50, "--from-beginning", "--formatter-property", "print.key=true", "--formatter-property", "key.separator=:")
    assert sorted(printed) == sorted(lines)


def test_tool_consumer_groups(tool, topic):
    group = f"group-{topic}"
    tool.topics("--create", "--topic", topic, "--partitions", 1)
    tool.produce(topic, [f"line {i}" for i in range(10)])
    assert tool.consume(topic, 10, "--group", group, "--from-beginning") == [f"line {i}" for i in range(10)]
    assert group in tool.groups("--list").split()

    def positions():
        (row,) = [line.split() for line in tool.groups("--describe", "--group", group).splitlines() if topic in line]
        return row[2:6]

    assert positions() == ["0", "10", "10", "0"], "partition, committed, end, lag"
    tool.groups("--reset-offsets", "--group", group, "--topic", topic, "--to-offset", 4, "--execute")
    assert positions() == ["0", "4", "10", "6"], "after --reset-offsets --to-offset"
    assert tool.consume(topic, 6, "--group", group) == [f"line {i}" for i in range(4, 10)]
    tool.groups("--reset-offsets", "--group", group, "--all-topics", "--to-earliest", "--execute")
    assert positions() == ["0", "0", "10", "10"], "after --reset-offsets --to-earliest"
    tool.groups("--delete-offsets", "--group", group, "--topic", topic)
    tool.groups("--delete", "--group", group)
    assert group not in tool.groups("--list").split()


def test_tool_producer_perf_test(tool, topic):
    tool.topics("--create", "--topic", topic, "--partitions", 2)
    settings = ("--bootstrap-server", tool.bootstrap, "--command-property", "acks=all")
    load = ("--num-records", 20_000, "--record-size", 100, "--throughput", -1)
    said = tool("org.apache.kafka.tools.ProducerPerformance", "--topic", topic, *load, *settings)
    assert re.search(r"20000 records sent, .* 99th", said), said


def events(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_tool_verifiable_producer_and_consumer(tool, topic):
    tool.topics("--create", "--topic", topic, "--partitions", 3)
    common = ("--bootstrap-server", tool.bootstrap, "--topic", topic, "--max-messages", 300)
    produced = events(tool("org.apache.kafka.tools.VerifiableProducer", *common, "--acks", -1))
    (summary,) = [event for event in produced if event["name"] == "tool_data"]
    assert summary["sent"] == summary["acked"] == 300, summary
    begin = ("--group-id", f"group-{topic}", "--reset-policy", "earliest", "--group-protocol", "classic")
    consumed = events(tool("org.apache.kafka.tools.VerifiableConsumer", *common, *begin))
    assert sum(event["count"] for event in consumed if event["name"] == "records_consumed") == 300, consumed
    commits = [event for event in consumed if event["name"] == "offsets_committed"]
    assert commits and all(event["success"] for event in commits), commits


def test_tool_client_compatibility_test(tool, topic):
    yes = [
        "--offsets-for-times-supported", "--cluster-id-supported", "--expect-record-too-large-exception", "--num-cluster-nodes",
        "--create-topics-supported", "--describe-acls-supported", "--describe-configs-supported",
        "--idempotent-producer-supported",
    ]  # fmt: skip
    answers = {"--expect-record-too-large-exception": "False", "--num-cluster-nodes": "1", "--describe-acls-supported": "True"}
    expected = [part for flag in yes for part in (flag, answers.get(flag, "True"))]
    tool("org.apache.kafka.tools.ClientCompatibilityTest", "--bootstrap-server", tool.bootstrap, "--topic", topic, *expected, timeout=90)
