"""The client matrix: every client in several versions, put through the same scenarios against a node on an S3 server.

The scenarios are in python/, node/ and go/; what a driver claims is checked with another client where that is possible. With
STRANDLINE_MATRIX=kafka the same runs against Apache Kafka, the oracle, and is not recorded.
"""

import collections
import os

import pytest

import matrix
import messages
import results
import wire
from clientlib import CODECS, consume_all, consume_committed

# As results.py heads its columns, and names for the rest.
NAMES = {
    "consume": "group consume",
    "commit": "commit and resume",
    "kip848": "KIP-848",
    "static": "static membership",
    "cooperative": "cooperative rebalancing",
}
ON_KAFKA = os.environ.get("STRANDLINE_MATRIX") == "kafka"


@pytest.fixture(scope="module")
def broker(request, make_store, start_module_node):
    return request.getfixturevalue("kafka") if ON_KAFKA else start_module_node(make_store("minio"))


@pytest.fixture(scope="module")
def drivers(request, broker, tmp_path_factory):
    """All that were asked for run already while the first of them is looked at."""
    wanted = collections.OrderedDict()
    for item in request.session.items:
        if item.function is test_client:
            driver, scenario = item.callspec.params["driver"], item.callspec.params["scenario"]
            if driver.program.exists():
                wanted.setdefault(driver, []).append(scenario)
    running = matrix.Matrix(broker, tmp_path_factory.mktemp("matrix"), wanted)
    yield running
    running.close()


def note(driver, scenario, ok, detail):
    if not ON_KAFKA:
        results.record(driver.client, driver.version, NAMES.get(scenario, scenario), ok, detail)


@pytest.mark.parametrize("scenario", matrix.SCENARIOS)
@pytest.mark.parametrize("driver", matrix.DRIVERS, ids=repr)
def test_client(driver, scenario, drivers, broker):
    if not driver.program.exists():
        note(driver, scenario, None, "not run: this machine has no Python that this version was published for")
        pytest.skip(f"there is no {driver.program}: tests/setup/pyclients.sh says why")
    if ON_KAFKA and (driver.client, driver.version) in matrix.GONE_IN_KAFKA_4 and scenario not in ("produce", "idempotence"):
        pytest.skip("Kafka 4 has dropped versions that this client needs to consume")
    line = drivers.result(driver, scenario)
    detail = line["detail"]
    if line["ok"]:
        try:
            JUDGES.get(scenario, lambda *_: None)(broker, drivers.prefixes[driver], drivers.filled, line["facts"])
        except AssertionError as error:
            line["ok"], detail = False, str(error)
    note(driver, scenario, line["ok"], detail)
    if line["ok"] is None:
        pytest.skip(detail)
    assert line["ok"], f"{detail}\n{line['log']}:\n{matrix.bed.tail(line['log'], 30)}"


def expected(prefix, count):
    return [(f"key-{n % 7}".encode(), f"{prefix}-{n} {'x' * 40}".encode()) for n in range(count)]


def stored(broker, topic):
    """The record bytes of each partition, as the broker hands them out."""
    with wire.Connection(broker) as connection:
        for partition in range(matrix.PARTITIONS):
            error, _, found = wire.fetch(connection, topic, partition, 0)
            assert error == wire.NONE, f"error {error}"
            yield found


def check_produced(broker, prefix, filled, facts):
    """Another client reads what was written, each key in order, and the batches have the codec asked for."""
    assert facts["codecs"], "no codec"
    for codec in facts["codecs"]:
        topic = f"{prefix}-produce-{codec}"
        assert_in_order(expected(codec, 60), consume_all(broker, topic, matrix.PARTITIONS), codec)
        batches = [(bits, count) for part in stored(broker, topic) for _, bits, count in wire.batches(part)]
        # A client on a busy machine may send records one by one, and leave as it is what compression does not make smaller.
        wanted, small = wire.CODEC_BITS[codec], {wire.CODEC_BITS[codec], wire.CODEC_BITS["none"]}
        fits = any(bits == wanted for bits, _ in batches) and all(bits == wanted or count < 5 and bits in small for bits, count in batches)
        assert fits, f"{codec} is {wanted}; batches (codec, records): {batches}"


def assert_in_order(sent, reads, what):
    by_key = collections.defaultdict(list)
    for read in reads:
        by_key[read.key].append((read.partition, read.value))
    for key in {key for key, _ in sent}:
        assert len({partition for partition, _ in by_key[key]}) == 1, f"{what}: {key!r} is in several partitions, or in none"
        got, want = [value for _, value in by_key[key]], [value for k, value in sent if k == key]
        assert got == want, f"{what}: of {key!r} {len(got)} records came, {len(want)} were sent, or they changed places"
    assert len(reads) == len(sent), f"{what}: {len(reads)} records of {len(sent)}"


def check_consumed(broker, prefix, filled, facts):
    """The client read what another client reads, byte for byte."""
    read = collections.Counter((topic, *rest) for topic, *rest in facts["read"])
    topics = {topic for topic, *_ in facts["read"]}
    assert topics <= {f"{filled}-{codec}" for codec in CODECS} and topics
    there = [(topic, r) for topic in topics for r in consume_all(broker, topic, matrix.PARTITIONS)]
    text = lambda raw: None if raw is None else raw.decode()
    assert read == collections.Counter((topic, r.partition, r.offset, text(r.key), text(r.value)) for topic, r in there)


def check_idempotent(broker, prefix, filled, facts):
    """Each record once and in order, in batches with a producer id and sequence numbers."""
    sent = [record for part in range(3) for record in expected(f"idempotent-{part}", 20)]
    topic = f"{prefix}-idempotence"
    assert_in_order(sent, consume_all(broker, topic, matrix.PARTITIONS), "idempotent")
    producers = [found for part in stored(broker, topic) for found in wire.batch_producers(part)]
    assert producers and all(producer_id >= 0 and sequence >= 0 for producer_id, _, sequence in producers), producers


def check_transactions(broker, prefix, filled, facts):
    """What is committed is the input, in its order, and what the second producer wrote; its own reader found the same."""
    sent = [*expected("transactions", 120), (b"second", b"of the second producer")]
    topic = f"{prefix}-transactions-out"
    assert_in_order(sent, consume_committed(broker, topic, matrix.PARTITIONS), "transactions")
    parts = [{"partition": partition, "offset": 0} for partition in range(matrix.PARTITIONS)]
    answer = messages.ask(broker, "Fetch", 11, isolation=1, topics=[{"name": topic, "partitions": parts}])
    assert any(part["aborted"] for part in answer["topics"][0]["partitions"]), "nothing was aborted"
    assert sorted(map(tuple, facts["read"])) == sorted((key.decode(), value.decode()) for key, value in sent), "what the client itself read"
    group = source = f"{prefix}-transactions"
    asked = [{"name": source, "partitions": list(range(matrix.PARTITIONS))}]
    answer = messages.ask(broker, "OffsetFetch", 7, group=group, topics=asked, require_stable=True)
    offsets = [(part["error"], part["offset"]) for part in answer["topics"][0]["partitions"]]
    assert all(code == 0 for code, _ in offsets) and sum(offset for _, offset in offsets) == 120, f"(error, offset) committed: {offsets}"


JUDGES = {"produce": check_produced, "consume": check_consumed, "idempotence": check_idempotent, "transactions": check_transactions}
