"""The command line: the same doors as the Kafka protocol, straight on a store with no node running; and `serve` itself."""

import collections
import json
import signal
import subprocess
import threading
import time

import pytest

import bed
from bed import run_command
from clientlib import Acks, assert_gapless, consume_all, create_topic, produce_all, producer

STORES = ["file", "localstack", "minio"]


@pytest.fixture(params=STORES)
def store(request, make_store):
    return make_store(request.param)


@pytest.fixture
def file_store(make_store):
    return make_store("file")


def topic(store, *args, **options):
    return run_command(["topic", *args, "--store", store.url], store, **options)


def produce_lines(store, name, lines, *flags, **options):
    return run_command(
        ["produce", name, "--store", store.url, *flags, "-"], store, input=b"".join(line + b"\n" for line in lines), **options
    )


def consume(store, name, *flags, **options):
    return run_command(["consume", name, "--store", store.url, *flags], store, **options).stdout


def consume_json(store, name, *flags):
    return [json.loads(line) for line in consume(store, name, "--format", "json", *flags).splitlines()]


# --- topics ---


def test_topics_are_created_listed_described_and_deleted(store):
    """And the errors: created twice, deleted or described when not there; each says the name of the topic."""
    assert b"orders" not in topic(store, "list").stdout
    topic(store, "create", "orders", "--partitions", 3, "--config", "retention.ms=3600000")
    topic(store, "create", "clicks", "--partitions", 1)
    listed = topic(store, "list").stdout.decode()
    assert "orders" in listed and "clicks" in listed
    described = topic(store, "describe", "orders").stdout.decode()
    assert "orders" in described and "retention.ms" in described and "3600000" in described

    again = topic(store, "create", "orders", "--partitions", 3, check=False)
    assert again.code != 0 and "orders" in again.stderr
    topic(store, "delete", "orders", "--yes")
    assert "orders" not in topic(store, "list").stdout.decode()
    for action in (["describe", "orders"], ["delete", "orders", "--yes"]):
        gone = topic(store, *action, check=False)
        assert gone.code != 0 and "orders" in gone.stderr, gone


def test_topics_as_json(file_store):
    """For programs: the list is an array of objects, the description is one."""
    topic(file_store, "create", "orders", "--partitions", 3, "--config", "retention.ms=3600000")
    topic(file_store, "create", "clicks", "--partitions", 1)
    listed = json.loads(topic(file_store, "list", "--format", "json").stdout)
    assert [(t["name"], t["partitions"]) for t in sorted(listed, key=lambda t: t["name"])] == [("clicks", 1), ("orders", 3)]
    described = json.loads(topic(file_store, "describe", "orders", "--format", "json").stdout)
    assert described["name"] == "orders" and len(described["partitions"]) == 3
    assert described["config"]["retention.ms"] == "3600000"


def test_a_topic_is_altered(store):
    """More partitions and other configs, in one go; what the description shows afterwards is what was asked for."""
    topic(store, "create", "orders", "--partitions", 2, "--config", "retention.ms=3600000", "--config", "segment.ms=5")
    done = topic(
        store, "alter", "orders", "--partitions", 5, "--config", "cleanup.policy=compact", "--config", "retention.ms=7200000",
        "--delete-config", "segment.ms",
    )  # fmt: skip
    assert "5 partitions" in done.stdout.decode()
    described = json.loads(topic(store, "describe", "orders", "--format", "json").stdout)
    assert len(described["partitions"]) == 5
    assert described["config"] == {"cleanup.policy": "compact", "retention.ms": "7200000"}
    altered = json.loads(topic(store, "alter", "orders", "--delete-config", "cleanup.policy", "--format", "json").stdout)
    assert (altered["partitions"], altered["config"]) == (5, {"retention.ms": "7200000"})
    assert "retention.ms=7200000" in topic(store, "describe", "orders").stdout.decode()


def test_a_topic_is_not_altered_to_what_cannot_be(file_store):
    """Each refusal names the topic and the reason, and nothing of the same command line is done."""
    topic(file_store, "create", "orders", "--partitions", 4)
    for arguments, reason in [
        (["--partitions", 4], "4 partitions"),
        (["--partitions", 3, "--config", "retention.ms=5"], "4 partitions"),
        (["--partitions", 8, "--config", "retention.ms=soon"], "retention.ms"),
        (["--config", "no.such=1"], "no.such"),
        (["--delete-config", "no.such"], "no.such"),
        (["--config", "retention.ms=5", "--delete-config", "retention.ms"], "twice"),
        ([], "nothing to alter"),
    ]:
        done = topic(file_store, "alter", "orders", *arguments, check=False)
        assert done.code == 1 and reason in done.stderr, done
    gone = topic(file_store, "alter", "nowhere", "--partitions", 5, check=False)
    assert gone.code == 1 and "nowhere" in gone.stderr, gone
    described = json.loads(topic(file_store, "describe", "orders", "--format", "json").stdout)
    assert (len(described["partitions"]), described["config"]) == (4, {})


def test_names_that_differ_only_in_dots_and_underscores_collide(file_store):
    """As in Kafka: in the names of metrics they would be the same."""
    topic(file_store, "create", "a.b", "--partitions", 1)
    refused = topic(file_store, "create", "a_b", "--partitions", 1, check=False)
    assert refused.code == 1 and "a.b" in refused.stderr and "a_b" in refused.stderr, refused


def test_a_compacted_topic_takes_no_line_without_a_key(file_store):
    topic(file_store, "create", "keyed", "--partitions", 1, "--config", "cleanup.policy=compact")
    refused = produce_lines(file_store, "keyed", [b"no key"], check=False)
    assert refused.code == 1 and "key" in refused.stderr, refused
    produce_lines(file_store, "keyed", [b"k:v"], "--key-separator", ":")
    assert consume(file_store, "keyed") == b"v\n"


def test_deleting_without_a_terminal_needs_a_yes(file_store):
    """A script that did not say so deletes nothing, and does not wait for an answer that cannot come."""
    topic(file_store, "create", "orders", "--partitions", 1)
    refused = topic(file_store, "delete", "orders", check=False, timeout=10)
    assert refused.code != 0 and "--yes" in refused.stderr, refused
    assert b"orders" in topic(file_store, "list").stdout


@pytest.mark.parametrize("bad", ["with/slash", "with space", "..", "x" * 250], ids=["slash", "space", "dots", "long"])
def test_an_invalid_topic_name_is_refused(file_store, bad):
    done = topic(file_store, "create", bad, "--partitions", 1, check=False)
    assert done.code != 0 and "name" in done.stderr.lower()


# --- records without a node ---


def test_lines_go_in_and_come_out(store):
    """One record a line, in their order."""
    topic(store, "create", "lines", "--partitions", 1)
    lines = [b"line %d" % n for n in range(2000)]
    produce_lines(store, "lines", lines)
    assert consume(store, "lines", "--offset", "earliest").splitlines() == lines


def test_a_file_is_produced_like_standard_input(file_store, tmp_path):
    topic(file_store, "create", "lines", "--partitions", 1)
    (tmp_path / "input").write_bytes(b"one\ntwo\nlast line without an end")
    run_command(["produce", "lines", "--store", file_store.url, tmp_path / "input"], file_store)
    assert consume(file_store, "lines", "--offset", "earliest") == b"one\ntwo\nlast line without an end\n"


def test_keys_are_split_off_and_stay_together(store):
    """Records of one key are in one partition, in their order."""
    topic(store, "create", "keyed", "--partitions", 4)
    produce_lines(store, "keyed", [b"k%d:value %d:with colon" % (n % 20, n) for n in range(200)], "--key-separator", ":")
    records = consume_json(store, "keyed", "--offset", "earliest")
    assert len(records) == 200
    by_key = collections.defaultdict(list)
    for record in records:
        by_key[record["key"]].append(record)
    for n in range(20):
        of_key = by_key[f"k{n}"]
        assert len({r["partition"] for r in of_key}) == 1
        assert [r["value"] for r in sorted(of_key, key=lambda r: r["offset"])] == [f"value {m}:with colon" for m in range(n, 200, 20)]
    assert len({r["partition"] for r in records}) > 1


def test_a_partition_can_be_named(file_store):
    topic(file_store, "create", "parts", "--partitions", 3)
    for partition in range(3):
        produce_lines(file_store, "parts", [b"in %d" % partition] * (partition + 1), "--partition", partition)
    for partition in range(3):
        flags = ["--offset", "earliest", "--partition", partition]
        assert consume(file_store, "parts", *flags).splitlines() == [b"in %d" % partition] * (partition + 1)


def test_json_says_where_each_record_was(file_store):
    began = int(time.time() * 1000)
    topic(file_store, "create", "t", "--partitions", 1)
    produce_lines(file_store, "t", [b"a=1", b"b=2"], "--key-separator", "=")
    records = consume_json(file_store, "t", "--offset", "earliest")
    assert [(r["partition"], r["offset"], r["key"], r["value"]) for r in records] == [(0, 0, "a", "1"), (0, 1, "b", "2")]
    assert all(began <= r["timestamp"] <= time.time() * 1000 for r in records)


def test_reading_from_an_offset(file_store):
    topic(file_store, "create", "t", "--partitions", 1)
    lines = [b"%d" % n for n in range(100)]
    produce_lines(file_store, "t", lines)
    assert consume(file_store, "t", "--offset", 0).splitlines() == lines
    assert consume(file_store, "t", "--offset", 57).splitlines() == lines[57:]
    assert consume(file_store, "t", "--offset", 57, "--max-records", 3).splitlines() == lines[57:60]
    assert consume(file_store, "t", "--offset", "latest") == b""


def test_reading_from_a_time(file_store, start_node):
    """`@` and milliseconds since 1970: from the first record of that time or later on."""
    node = start_node(file_store)
    create_topic(node, "timed", 1)
    client = producer(node)
    for n in range(1, 11):
        client.produce("timed", b"%d" % n, partition=0, timestamp=1_700_000_000_000 + 1000 * n)
    assert client.flush(30) == 0
    read = consume(file_store, "timed", "--offset", "@1700000003500").splitlines()
    assert read == [b"%d" % n for n in range(4, 11)]


def test_following_shows_records_as_they_come(store):
    """A reader that follows is a process of its own; it sees what another process appends, within seconds."""
    topic(store, "create", "t", "--partitions", 1)
    produce_lines(store, "t", [b"old"])
    argv = [bed.BINARY, "consume", "t", "--store", store.url, "--offset", "earliest", "--follow", "--max-records", "3"]
    reader = subprocess.Popen(argv, env=bed.clean_environment(store.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert reader.stdout.readline() == b"old\n"
        produce_lines(store, "t", [b"new", b"newer"])
        out, errors = reader.communicate(timeout=20)
    finally:
        reader.kill()
        reader.wait()
    assert out == b"new\nnewer\n", errors
    assert reader.returncode == 0, errors


def test_reading_an_unknown_topic_says_so(file_store):
    done = run_command(["consume", "nothing-here", "--store", file_store.url], file_store, check=False)
    assert done.code != 0 and "nothing-here" in done.stderr


# --- with a node beside it ---


def test_what_the_command_line_wrote_a_kafka_client_reads_and_the_other_way_round(store, start_node):
    """Both while a node serves the same store, and neither knows of the other."""
    node = start_node(store)
    topic(store, "create", "both", "--partitions", 1)
    produce_lines(store, "both", [b"k%d=from the command line" % n for n in range(50)], "--key-separator", "=")
    produce_all(node, "both", [(b"c%d" % n, b"from a client") for n in range(50)], compression_type="zstd")
    reads = consume_all(node, "both", 1)
    assert_gapless(reads)
    expected = [(b"k%d" % n, b"from the command line") for n in range(50)] + [(b"c%d" % n, b"from a client") for n in range(50)]
    assert [(r.key, r.value) for r in reads] == expected
    records = consume_json(store, "both", "--offset", "earliest")
    assert [(r["key"].encode(), r["value"].encode()) for r in records] == expected


def test_keys_can_be_printed(file_store):
    topic(file_store, "create", "t", "--partitions", 1)
    produce_lines(file_store, "t", [b"a=1", b"b=2"], "--key-separator", "=")
    assert consume(file_store, "t", "--key-separator", " -> ") == b"a -> 1\nb -> 2\n"


def test_producing_creates_the_topic_unless_told_not_to(file_store):
    refused = produce_lines(file_store, "new", [b"x"], "--no-create", check=False)
    assert refused.code != 0 and "new" in refused.stderr, refused
    produce_lines(file_store, "new", [b"x"], "--partitions", 2)
    assert len(json.loads(topic(file_store, "describe", "new", "--format", "json").stdout)["partitions"]) == 2
    assert consume(file_store, "new") == b"x\n"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_the_command_line_unpacks_every_codec(file_store, start_node, codec):
    """Nodes pass compressed batches on; this reader has to open them itself."""
    node = start_node(file_store)
    create_topic(node, "packed", 1)
    produce_all(node, "packed", [(None, b"value %d " % n * 20) for n in range(300)], compression_type=codec)
    assert consume(file_store, "packed", "--offset", "earliest").splitlines() == [b"value %d " % n * 20 for n in range(300)]


# --- looking into a store ---


def test_doctor_finds_a_good_store_safe(store):
    said = run_command(["doctor", store.url], store).stdout.decode()
    assert "safe" in said.lower()


def test_inspect_prints_every_object_as_json(file_store):
    """Whatever lies under the prefix; and without a key, the store as a whole."""
    topic(file_store, "create", "t", "--partitions", 1)
    produce_lines(file_store, "t", [b"x" * 1000] * 3000)
    root = bed.pathlib.Path(file_store.url.removeprefix("file://"))
    keys = [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()]
    kinds = {key.split("/")[0] for key in keys}
    assert {"strandline.json", "journal"} <= kinds
    for key in keys:
        shown = run_command(["inspect", file_store.url, key], file_store).stdout
        assert isinstance(json.loads(shown), dict), key
    assert json.loads(run_command(["inspect", file_store.url], file_store).stdout)
    missing = run_command(["inspect", file_store.url, "journal/no-such-object"], file_store, check=False)
    assert missing.code != 0 and "journal/no-such-object" in missing.stderr


# --- serve ---


@pytest.mark.parametrize("kind", ["file", "minio"])
def test_sigterm_loses_nothing_that_was_acknowledged(make_store, start_node, kind):
    """Stopped in the middle of producing: exit code 0 within 10 s, and every acknowledged record is in the store."""
    store = make_store(kind)
    node = start_node(store)
    create_topic(node, "t", 4)
    client = producer(node, linger_ms=1, message_timeout_ms=5000)
    acks = Acks()
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            client.produce("t", b"%d" % number, key=b"%d" % number, on_delivery=acks)
            client.poll(0)
            number += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=write)
    thread.start()
    bed.wait_until(lambda: len(acks.places) > 300, 20, "acknowledgements")
    began = time.monotonic()
    code = node.terminate(timeout=12)
    took = time.monotonic() - began
    stop.set()
    thread.join()
    client.flush(10)
    assert code == 0, bed.tail(node.log)
    assert took < 10
    reads = consume_all(start_node(store, node_id=2), "t", 4)
    assert_gapless(reads)
    there = {(r.partition, r.offset) for r in reads}
    lost = [place for place in acks.places if place not in there]
    assert not lost, f"{len(lost)} of {len(acks.places)} acknowledged records are gone, for example {lost[0]}"


def test_sigint_stops_it_too(file_store, start_node):
    """Ctrl-C in a terminal is a graceful end."""
    assert start_node(file_store).signal_and_wait(signal.SIGINT, 10) == 0


def test_settings_from_the_environment(file_store):
    """Each flag is also STRANDLINE_ and its name; a flag wins over the variable."""
    kafka, http = (f"127.0.0.1:{bed.free_port()}" for _ in range(2))
    run_command(["topic", "create", "t", "--partitions", "2"], env={"STRANDLINE_STORE": file_store.url})
    assert b"t" in topic(file_store, "list", env={"STRANDLINE_STORE": "file:///nonexistent"}).stdout
    node = bed.Node(file_store, file_store.url.removeprefix("file://") + "/..")
    node.kafka, node.http, node.node_id = kafka, http, 7
    node.argv = lambda: [bed.BINARY, "serve"]
    node.env = bed.clean_environment(
        {"STRANDLINE_STORE": file_store.url, "STRANDLINE_KAFKA": kafka, "STRANDLINE_HTTP": http, "STRANDLINE_NODE_ID": "7"}
    )
    try:
        node.start()
        produce_all(node, "t", [(b"k", b"v")])
        assert len(consume_all(node, "t", 2)) == 1
    finally:
        node.kill9()
    assert not node.panics()


def test_the_default_store_is_a_folder_here(tmp_path):
    """`strandline serve` with nothing said keeps its store in ./strandline-data."""
    store = bed.Store("file", f"file://{tmp_path}/strandline-data")
    node = bed.Node(store, tmp_path)
    args = [bed.BINARY, "serve", "--kafka", node.kafka, "--http", node.http]
    node.spawn(args, bed.clean_environment(), cwd=tmp_path)
    try:
        node.wait_for(f"http://{node.http}/readyz", 20)
        produce_all(node, "t", [(b"k", b"v")])
    finally:
        node.kill9()
    assert b"v" in consume(store, "t", "--offset", "earliest")


def test_logs_as_json(file_store, start_node):
    """Every line of the log is one JSON object."""
    node = start_node(file_store, flags=["--log-format", "json"])
    produce_all(node, "t", [(b"k", b"v")])
    assert node.terminate() == 0
    lines = node.log.read_text().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_health_and_metrics(file_store, start_node):
    """Load balancers and Prometheus find what they ask for; requests to the store are counted and priced."""
    node = start_node(file_store)
    assert bed.http_get(f"http://{node.http}/healthz")[0] == 200
    assert bed.http_get(f"http://{node.http}/readyz")[0] == 200
    assert bed.http_get(f"http://{node.http}/no-such-page")[0] == 404
    before = node.metrics()["strandline_store_requests_total"]
    produce_all(node, "t", [(b"k", b"v")])
    after = node.metrics()
    assert after["strandline_store_requests_total"] > before
    assert "strandline_store_cost_dollars" in after
