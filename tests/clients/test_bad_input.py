"""Whatever a client says, the node answers with the right code or closes that connection, and nobody else notices.

On raw sockets, beside a well-behaved producer and consumer that run all the time. After each test the node lives, has
not grown, and the bystander has seen no error. The last part is the command line given stores that cannot work.
"""

import itertools
import socket
import struct
import threading
import time

import pytest
from confluent_kafka import TopicPartition

import bed
import wire
from clientlib import consumer, create_topic, end_offsets, producer, take

TOPIC = "target"
UNSUPPORTED_COMPRESSION_TYPE = 76
# A frame may be 100 MiB, so one honest client may cost that much; a lie must not.
MAY_GROW_MIB = 64


class Bystander:
    """A producer and a consumer that do nothing wrong, all the time, and note every error."""

    def __init__(self, node):
        self.node = node
        self.errors = []
        self.acknowledged = 0
        self.received = 0
        self._stop = threading.Event()
        create_topic(node, "bystander", 1)
        self._threads = [threading.Thread(target=self._guarded, args=(part,)) for part in (self._produce, self._consume)]
        for thread in self._threads:
            thread.start()

    def _guarded(self, part):
        try:
            part()
        except Exception as error:
            self.errors.append(error)

    def _produce(self):
        client = producer(self.node, linger_ms=0, error_cb=self.errors.append)

        def delivered(error, _):
            self.acknowledged += error is None
            if error:
                self.errors.append(error)

        while not self._stop.wait(0.02):
            client.produce("bystander", b"fine", partition=0, on_delivery=delivered)
            client.poll(0)
        client.flush(10)

    def _consume(self):
        client = consumer(self.node, error_cb=self.errors.append)
        client.assign([TopicPartition("bystander", 0, 0)])
        while not self._stop.is_set():
            message = client.poll(0.1)
            if message is None:
                continue
            if message.error() or message.offset() != self.received:
                self.errors.append(message.error() or f"offset {message.offset()} where {self.received} belongs")
            self.received += 1
        client.close()

    def assert_undisturbed(self):
        """Both go on, and neither has seen an error since the start."""
        acknowledged, received = self.acknowledged, self.received
        bed.wait_until(
            lambda: self.errors or (self.acknowledged > acknowledged + 5 and self.received > received + 5),
            10,
            "the bystander to go on",
        )
        assert not self.errors, f"the bystander was disturbed: {self.errors}"

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


@pytest.fixture(scope="module")
def node(make_store, start_module_node):
    node = start_module_node(make_store("file"))
    create_topic(node, TOPIC, 1)
    return node


@pytest.fixture(scope="module")
def bystander(node):
    bystander = Bystander(node)
    bystander.assert_undisturbed()
    yield bystander
    bystander.stop()


@pytest.fixture(autouse=True)
def unharmed(request):
    """What holds after every test on a raw socket, whatever it said."""
    if request.node.get_closest_marker("no_node"):
        yield
        return
    node = request.getfixturevalue("node")
    bystander = request.getfixturevalue("bystander")
    before = node.memory_mib("VmHWM")
    yield
    assert node.healthy(), f"the node is gone\n{bed.tail(node.log)}"
    bystander.assert_undisturbed()
    grown = node.memory_mib("VmHWM") - before
    assert grown < MAY_GROW_MIB, f"memory grew by {grown:.0f} MiB"
    assert not node.panics()


# --- frames ---


@pytest.mark.parametrize("length", [0x7FFFFFFF, 101 * 1024 * 1024, -1, -(1 << 31), 0, 3], ids=hex)
def test_an_impossible_frame_length_closes_the_connection(node, length):
    """Longer than the limit of 100 MiB, negative, or too short for a header. Closed, and no memory set aside."""
    with wire.Connection(node) as connection:
        connection.send_bytes(struct.pack(">i", length) + b"\0\0\0")
        assert connection.is_closed()


def test_a_frame_that_breaks_off(node):
    """The client says 1,000 bytes, sends 10 and closes: nothing comes of it."""
    with wire.Connection(node) as connection:
        connection.send_bytes(struct.pack(">i", 1000) + b"0123456789")
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.is_closed()


def test_many_clients_that_announce_much_and_send_little(node):
    """100 connections announce 100 MiB each and send ten bytes: memory is set aside for what arrives, not for what is said."""
    connections = [wire.Connection(node) for _ in range(100)]
    for connection in connections:
        connection.send_bytes(struct.pack(">ihhi", 100 * 1024 * 1024, wire.PRODUCE, 3, 1))
    time.sleep(0.5)
    for connection in connections:
        connection.socket.close()


@pytest.mark.parametrize("number", range(5))
def test_noise(node, number):
    """Random bytes, framed correctly or not at all: an answer or a closed connection, both are fine; only not harm."""
    noise = bed.seeded(f"noise {number}")
    for _ in range(20):
        with wire.Connection(node) as connection:
            body = noise.randbytes(noise.randrange(1, 2000))
            framed = noise.random() < 0.7
            known = struct.pack(">hhi", noise.choice([0, 1, 2, 3, 10, 18, 19, 20, 22, 23, 32, 60]), noise.randrange(14), 1)
            connection.send_bytes(struct.pack(">i", len(body) + 8) + known + body if framed else body)


# --- APIs and versions ---


def test_an_unknown_api_closes_the_connection(node):
    with wire.Connection(node) as connection:
        connection.send(9999, 0, b"")
        assert connection.is_closed()


@pytest.mark.parametrize("api", [wire.METADATA, wire.FETCH, wire.LIST_OFFSETS, wire.PRODUCE])
def test_an_unknown_version_closes_the_connection(node, api):
    with wire.Connection(node) as connection:
        connection.send(api, 99, b"")
        assert connection.is_closed()


def test_api_versions_of_an_unknown_version_says_which_ones_there_are(node):
    """A newer client finds out what to speak: error 35 in the body of version 0 (KIP-511), and the connection lives on."""
    with wire.Connection(node) as connection:
        error, apis = wire.api_versions_v0(connection.call(wire.API_VERSIONS, 99, b""))
        assert error == wire.UNSUPPORTED_VERSION
        low, high = apis[wire.API_VERSIONS]
        assert low == 0 and high >= 3
        error, apis = wire.api_versions_v0(connection.call(wire.API_VERSIONS, 0, b""))
        assert error == wire.NONE
        # Without 0 in this range old librdkafka gives up compression; without 7 there is no zstd.
        assert apis[wire.PRODUCE][0] == 0 and apis[wire.PRODUCE][1] >= 7
        assert apis[wire.FETCH][1] >= 11 and apis[wire.LIST_OFFSETS][0] == 0 and apis[wire.METADATA][0] == 0


# --- bodies that lie ---


def test_a_body_of_four_bytes_that_claims_two_billion_topics(node):
    with wire.Connection(node) as connection:
        connection.send(wire.METADATA, 1, struct.pack(">i", 0x7FFFFFFF))
        assert connection.is_closed()


LIES = {
    "metadata name longer than the body": (wire.METADATA, 1, struct.pack(">ih", 1, 30_000)),
    "metadata compact count": (wire.METADATA, 9, b"\0\xff\xff\xff\xff\x07"),
    "metadata endless varint": (wire.METADATA, 9, b"\0" + b"\xff" * 12),
    "produce topics": (wire.PRODUCE, 3, wire.string(None) + struct.pack(">hii", -1, 1000, 0x7FFFFFFF)),
    "produce v9 topics": (wire.PRODUCE, 9, b"\0\0" + struct.pack(">hi", -1, 1000) + b"\xff\xff\xff\xff\x07"),
    "produce record bytes": (
        wire.PRODUCE,
        3,
        wire.string(None) + struct.pack(">hi", -1, 1000) + wire.array([wire.string(TOPIC) + wire.array([struct.pack(">ii", 0, 0x7FFFFFFF)])]),
    ),
    "fetch topics": (wire.FETCH, 4, struct.pack(">iiiibi", -1, 0, 0, 1 << 20, 0, 0x7FFFFFFF)),
    "list offsets partitions": (wire.LIST_OFFSETS, 1, struct.pack(">ii", -1, 1) + wire.string(TOPIC) + struct.pack(">i", 0x7FFFFFFF)),
    "an empty body": (wire.FETCH, 4, b""),
    "a topic name that is not UTF-8": (wire.METADATA, 1, struct.pack(">ih", 1, 4) + b"\xff\xfe\xff\xfe"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=[name.replace(" ", "-") for name in LIES])
def test_a_body_that_cannot_be_read_closes_the_connection(node, lie):
    with wire.Connection(node) as connection:
        connection.send(*lie)
        assert connection.is_closed()


def test_every_prefix_of_a_good_request_is_refused(node):
    """A request cut short anywhere is never half-obeyed."""
    body = wire.string(None) + struct.pack(">hi", -1, 1000)
    body += wire.array([wire.string(TOPIC) + wire.array([struct.pack(">i", 0) + wire.data(wire.batch([b"cut"]))])])
    before = end_offsets(node, TOPIC, 1)
    for length in itertools.chain(range(0, len(body), 7), [len(body) - 1]):
        with wire.Connection(node) as connection:
            connection.send(wire.PRODUCE, 3, body[:length])
            assert connection.is_closed(), f"cut after {length} of {len(body)} bytes"
    assert end_offsets(node, TOPIC, 1) == before


# --- batches that lie ---


def try_batch(node, stored):
    with wire.Connection(node) as connection:
        return wire.produce(connection, TOPIC, 0, stored)


def test_a_good_batch_made_by_hand_is_taken(node):
    """Otherwise the refusals below would prove nothing."""
    before = end_offsets(node, TOPIC, 1)[0]
    assert try_batch(node, wire.batch([b"one", b"two", b"three"])) == (wire.NONE, before)
    assert end_offsets(node, TOPIC, 1) == [before + 3]


def test_a_batch_with_a_wrong_checksum(node):
    before = end_offsets(node, TOPIC, 1)
    assert try_batch(node, wire.batch([b"x"], crc=12345))[0] == wire.CORRUPT_MESSAGE
    assert end_offsets(node, TOPIC, 1) == before


def test_a_batch_with_one_bit_turned_over(node):
    """In each place that the checksum covers."""
    good = wire.batch([b"some bytes of a record"])
    before = end_offsets(node, TOPIC, 1)
    for at in bed.seeded("bits").sample(range(21, len(good)), 20):
        bad = good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :]
        assert try_batch(node, bad)[0] == wire.CORRUPT_MESSAGE, f"byte {at}"
    assert end_offsets(node, TOPIC, 1) == before


REFUSED = {
    "more records said than sent": (wire.batch([b"x"], count=1000, last_delta=999), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "count and last offset disagree": (wire.batch([b"x", b"y"], count=2, last_delta=7), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "no records": (wire.batch([]), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "minus one records": (wire.batch([b"x"], count=-1), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "two billion records": (wire.batch([b"x"], count=0x7FFFFFFF, last_delta=0x7FFFFFFE), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "longer than it is": (wire.batch([b"x"], length=5000), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "shorter than a header": (wire.batch([b"x"], length=20), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "of negative length": (wire.batch([b"x"], length=-5), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "eight bytes": (b"\0" * 8, {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "empty": (b"", {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "two batches": (wire.batch([b"x"]) + wire.batch([b"y"]), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "a control batch": (wire.batch([b"x"], attributes=0x20), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD}),
    "of format 1": (wire.batch([b"x"], magic=1), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD, wire.UNSUPPORTED_FOR_MESSAGE_FORMAT}),
    "of format 9": (wire.batch([b"x"], magic=9), {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD, wire.UNSUPPORTED_FOR_MESSAGE_FORMAT}),
    "of an unknown codec": (
        wire.batch([b"x"], attributes=7),
        {wire.CORRUPT_MESSAGE, wire.INVALID_RECORD, wire.UNSUPPORTED_COMPRESSION_TYPE},
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=[name.replace(" ", "-") for name in REFUSED])
def test_a_batch_that_lies_is_refused_and_not_stored(node, case):
    stored, codes = case
    before = end_offsets(node, TOPIC, 1)
    assert try_batch(node, stored)[0] in codes
    assert end_offsets(node, TOPIC, 1) == before


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_garbage_does_no_harm(node, codec):
    """A node keeps what it is sent without unpacking it, so it may take this; it refuses it by code, or hands it back
    unchanged. Either way the topic stays readable behind it."""
    garbage = wire.batch([b"x"] * 3, attributes=wire.CODEC_BITS[codec], body=b"this was never compressed" * 4)
    with wire.Connection(node) as connection:
        before = end_offsets(node, TOPIC, 1)[0]
        error, base = wire.produce(connection, TOPIC, 0, garbage)
        # zstd came with a later version of Produce than this client speaks.
        assert error in (wire.NONE, wire.CORRUPT_MESSAGE, wire.INVALID_RECORD) or (codec, error) == ("zstd", UNSUPPORTED_COMPRESSION_TYPE)
        if error == wire.NONE:
            assert base == before
            _, high, stored = wire.fetch(connection, TOPIC, 0, base)
            assert high == base + 3
            assert stored[16 : len(garbage)] == garbage[16:]
        error, after = wire.produce(connection, TOPIC, 0, wire.batch([b"behind it"]))
        assert error == wire.NONE
    client = consumer(node)
    client.assign([TopicPartition(TOPIC, 0, after)])
    assert take(client, 1)[0].value() == b"behind it"
    client.close()


def test_producing_to_what_does_not_exist(node):
    """An unknown topic, or a partition that the topic does not have: code 3, and Produce alone creates nothing."""
    with wire.Connection(node) as connection:
        assert wire.produce(connection, "never-created", 0, wire.batch([b"x"]))[0] == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.produce(connection, TOPIC, 17, wire.batch([b"x"]))[0] == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.produce(connection, TOPIC, -1, wire.batch([b"x"]))[0] == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.fetch(connection, "never-created", 0, 0)[0] == wire.UNKNOWN_TOPIC_OR_PARTITION


def test_one_bad_partition_does_not_spoil_the_request(node):
    """Good and bad batches in one request are judged one by one."""
    with wire.Connection(node) as connection:
        parts = [
            struct.pack(">i", 0) + wire.data(wire.batch([b"good"])),
            struct.pack(">i", 55) + wire.data(wire.batch([b"no such partition"])),
        ]
        body = wire.string(None) + struct.pack(">hi", -1, 10_000) + wire.array([wire.string(TOPIC) + wire.array(parts)])
        answer = connection.call(wire.PRODUCE, 3, body)
        at = 4 + 2 + len(TOPIC) + 4
        codes = [struct.unpack_from(">ih", answer, at + 22 * n) for n in range(2)]
        assert dict(codes) == {0: wire.NONE, 55: wire.UNKNOWN_TOPIC_OR_PARTITION}


# --- the command line ---


def unused_address():
    return f"127.0.0.1:{bed.free_port()}"


def serve(url, store=None, env=None):
    args = ["serve", "--store", url, "--kafka", unused_address(), "--http", unused_address()]
    return bed.run_command(args, store, env=env, timeout=25, check=False)


def topic_list(url, store=None, env=None):
    return bed.run_command(["topic", "list", "--store", url], store, env=env, timeout=25, check=False)


def assert_one_clear_sentence(done, *words):
    """Fails within 20 s, says in one short sentence what is wrong and names what to look at; no trace of the insides."""
    assert done.code != 0, done
    assert done.seconds < 20, done
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines, done
    said = lines[-1]
    assert len(said) < 500, done
    for word in words:
        assert word.lower() in said.lower(), f"{word!r} is not in: {said}"
    for leak in ("Error {", "Some(", "src/", "stack backtrace", "<?xml"):
        assert leak not in done.stderr, done


both_commands = pytest.mark.parametrize("command", [serve, topic_list])


@pytest.mark.no_node
@both_commands
@pytest.mark.parametrize("url", ["ftp://host/dir", "s3://", "not a url", "", "s3:/bucket"])
def test_a_store_url_that_is_none(command, url):
    assert_one_clear_sentence(command(url), "store")


@pytest.mark.no_node
@both_commands
def test_a_bucket_that_does_not_exist(command, minio):
    store = bed.Store("s3", "s3://no-such-bucket-here/prefix", minio.environment(), minio)
    assert_one_clear_sentence(command(store.url, store), "bucket", "no-such-bucket-here")


@pytest.mark.no_node
@both_commands
@pytest.mark.parametrize("wrong", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "nobody"}], ids=["secret", "key"])
def test_wrong_credentials(command, minio, make_store, wrong):
    store = make_store("minio")
    assert_one_clear_sentence(command(store.url, store, wrong), "credentials")


@pytest.mark.no_node
@both_commands
def test_a_store_that_cannot_be_reached(command):
    env = {
        "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{unused_address()}", "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    assert_one_clear_sentence(command("s3://bucket/prefix", env=env), "reach")


@pytest.mark.no_node
@both_commands
def test_a_store_in_a_place_that_may_not_be_written(command, tmp_path):
    """A file where the folder should be: fails for root too."""
    (tmp_path / "file").write_text("in the way")
    assert_one_clear_sentence(command(f"file://{tmp_path}/file/store"), "store")


@pytest.mark.no_node
def test_a_port_that_is_taken(make_store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        args = ["serve", "--store", "memory:", "--kafka", f"127.0.0.1:{port}", "--http", unused_address()]
        assert_one_clear_sentence(bed.run_command(args, timeout=25, check=False), str(port))


@pytest.mark.no_node
@pytest.mark.parametrize("args", [["serve", "--no-such-flag"], ["no-such-command"], ["serve", "--flush-interval", "soon"], ["topic"]])
def test_a_command_line_that_is_none(args):
    """Usage goes to standard error, exit code 2, as for any Unix program."""
    done = bed.run_command(args, timeout=20, check=False)
    assert done.code == 2 and done.stderr, done
