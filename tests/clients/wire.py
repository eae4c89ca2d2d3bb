"""The Kafka protocol by hand, as little of it as the tests need to say wrong things and to look at raw batches.

Builds requests of old, non-flexible versions and batches of format 2, correct unless a caller makes them otherwise.
"""

import socket
import struct

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 1, 2, 3, 18, 22
OFFSET_COMMIT, OFFSET_FETCH = 8, 9

NONE = 0
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
INVALID_TOPIC = 17
UNSUPPORTED_VERSION = 35
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
UNSUPPORTED_COMPRESSION_TYPE = 76
INVALID_RECORD = 87

CODEC_BITS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class Closed(Exception):
    """The node closed the connection instead of answering."""


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(number):
    """Zig-zag, as in records."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def string(text):
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text)) + text.encode()


def data(value):
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


# --- batches ---


def records(values):
    out = b""
    for delta, value in enumerate(values):
        body = b"\0" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + varint(0)
        out += varint(len(body)) + body
    return out


def batch(
    values, *, magic=2, attributes=0, body=None, count=None, last_delta=None, length=None, crc=None,
    timestamp=1_700_000_000_000, producer=(-1, -1), sequence=-1,
):  # fmt: skip
    """A batch of format 2. `producer` is (id, epoch); most other keywords are lies that may be told about it."""
    body = records(values) if body is None else body
    count = len(values) if count is None else count
    last_delta = len(values) - 1 if last_delta is None else last_delta
    covered = struct.pack(">hiqqqhii", attributes, last_delta, timestamp, timestamp, *producer, sequence, count) + body
    checksum = crc32c(covered) if crc is None else crc
    rest = struct.pack(">ibI", 0, magic, checksum) + covered
    return struct.pack(">qi", 0, len(rest) if length is None else length) + rest


def batches(stored):
    """Header facts of the whole batches in the answer to a fetch: (base offset, codec bits, count)."""
    found, at = [], 0
    while at + 61 <= len(stored):
        base, length = struct.unpack_from(">qi", stored, at)
        if at + 12 + length > len(stored):
            break
        (attributes,) = struct.unpack_from(">h", stored, at + 21)
        (count,) = struct.unpack_from(">i", stored, at + 57)
        found.append((base, attributes & 7, count))
        at += 12 + length
    return found


# --- requests and answers ---


class Connection:
    """One TCP connection to a node, on which anything can be said."""

    def __init__(self, node, timeout=10):
        self.socket = socket.create_connection(node.address(), timeout)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send_bytes(self, raw):
        self.socket.sendall(raw)

    def send(self, api, version, body, client_id="raw"):
        self.correlation += 1
        frame = struct.pack(">hhi", api, version, self.correlation) + string(client_id) + body
        self.send_bytes(struct.pack(">i", len(frame)) + frame)

    def receive(self):
        """The next answer without its length and correlation id; raises `Closed` when there is none to come."""
        (length,) = struct.unpack(">i", self._exactly(4))
        answer = self._exactly(length)
        (correlation,) = struct.unpack_from(">i", answer)
        assert correlation == self.correlation, "the answer to another request"
        return answer[4:]

    def call(self, api, version, body):
        self.send(api, version, body)
        return self.receive()

    def is_closed(self, timeout=5):
        """True if the node closes this connection, without a word, within the time."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def _exactly(self, count):
        got = b""
        while len(got) < count:
            try:
                piece = self.socket.recv(count - len(got))
            except ConnectionResetError as error:
                raise Closed() from error
            if not piece:
                raise Closed()
            got += piece
        return got


def produce(connection, topic, partition, stored, acks=-1):
    """Produce v3 of one batch as it is; returns (error code, base offset)."""
    partition_data = struct.pack(">i", partition) + data(stored)
    body = string(None) + struct.pack(">hi", acks, 10_000) + array([string(topic) + array([partition_data])])
    answer = connection.call(PRODUCE, 3, body)
    at = 4 + 2 + len(topic) + 4 + 4
    return struct.unpack_from(">hq", answer, at)


def init_producer_id(connection):
    """InitProducerId v0 without a transaction; returns (producer id, epoch)."""
    answer = connection.call(INIT_PRODUCER_ID, 0, string(None) + struct.pack(">i", 60_000))
    _, error, producer_id, epoch = struct.unpack(">ihqh", answer)
    assert error == NONE, f"error {error}"
    return producer_id, epoch


def fetch(connection, topic, partition, offset, max_bytes=1 << 20, max_wait_ms=100):
    """Fetch v4 of one partition; returns (error code, high watermark, record bytes)."""
    part = struct.pack(">iqi", partition, offset, max_bytes)
    body = struct.pack(">iiiib", -1, max_wait_ms, 1, max_bytes, 0) + array([string(topic) + array([part])])
    answer = connection.call(FETCH, 4, body)
    at = 4 + 4 + 2 + len(topic) + 4
    _, error, high, _, aborted = struct.unpack_from(">ihqqi", answer, at)
    at += 26 + max(aborted, 0) * 16
    (length,) = struct.unpack_from(">i", answer, at)
    return error, high, answer[at + 4 : at + 4 + max(length, 0)]


def list_offset(connection, topic, partition, timestamp):
    """ListOffsets v1 of one partition; returns the offset."""
    body = struct.pack(">i", -1) + array([string(topic) + array([struct.pack(">iq", partition, timestamp)])])
    answer = connection.call(LIST_OFFSETS, 1, body)
    _, error, _, offset = struct.unpack_from(">ihqq", answer, 4 + 2 + len(topic) + 4)
    assert error == NONE, f"error {error}"
    return offset


def api_versions_v0(answer):
    """Error code and {api key: (lowest, highest)} of an ApiVersions answer with a v0 body."""
    error, count = struct.unpack_from(">hi", answer)
    assert len(answer) == 6 + 6 * count, "not a v0 body"
    return error, {k: (lo, hi) for k, lo, hi in struct.iter_unpack(">hhh", answer[6:])}


def batch_producers(stored):
    """(producer id, epoch, first sequence number) of the whole batches in the answer to a fetch."""
    found, at = [], 0
    while at + 61 <= len(stored):
        (length,) = struct.unpack_from(">i", stored, at + 8)
        if at + 12 + length > len(stored):
            break
        found.append(struct.unpack_from(">qhi", stored, at + 43))
        at += 12 + length
    return found


# --- as old clients speak ---


def pipeline(connection, requests):
    """Sends all the requests, each (api, version, body), before it reads; returns the answers, which must come in their order."""
    first = connection.correlation + 1
    for request in requests:
        connection.send(*request)
    answers = []
    for correlation in range(first, first + len(requests)):
        connection.correlation = correlation
        answers.append(connection.receive())
    return answers


def list_offsets_v0(connection, topic, partition, timestamp, most):
    """ListOffsets v0, of librdkafka before 1.8: returns (error code, at most `most` offsets, the latest first)."""
    part = struct.pack(">iqi", partition, timestamp, most)
    answer = connection.call(LIST_OFFSETS, 0, struct.pack(">i", -1) + array([string(topic) + array([part])]))
    at = 4 + 2 + len(topic) + 4
    _, error, count = struct.unpack_from(">ihi", answer, at)
    assert len(answer) == at + 10 + 8 * count, "not a v0 body"
    return error, list(struct.unpack_from(f">{count}q", answer, at + 10))


def offset_commit_v1(connection, group, topic, partition, offset, metadata):
    """OffsetCommit v1, of librdkafka before 1.3 and Sarama 1.22, without a generation; returns the error code."""
    part = struct.pack(">iqq", partition, offset, -1) + string(metadata)
    body = string(group) + struct.pack(">i", -1) + string("") + array([string(topic) + array([part])])
    answer = connection.call(OFFSET_COMMIT, 1, body)
    assert len(answer) == 4 + 2 + len(topic) + 4 + 6, "not a v1 body"
    return struct.unpack(">h", answer[-2:])[0]


def offset_fetch_v1(connection, group, topic, partition):
    """OffsetFetch v1 of one partition; returns (error code, offset, metadata)."""
    body = string(group) + array([string(topic) + array([struct.pack(">i", partition)])])
    answer = connection.call(OFFSET_FETCH, 1, body)
    at = 4 + 2 + len(topic) + 4
    _, offset, length = struct.unpack_from(">iqh", answer, at)
    metadata = answer[at + 14 : at + 14 + max(length, 0)].decode()
    return struct.unpack(">h", answer[-2:])[0], offset, metadata


def metadata_v0(answer):
    """([(node id, host, port)], {topic: (error code, number of partitions)}) of a Metadata answer with a v0 body."""
    (brokers_count,) = struct.unpack_from(">i", answer)
    at, brokers, topics = 4, [], {}
    for _ in range(brokers_count):
        node, length = struct.unpack_from(">ih", answer, at)
        host = answer[at + 6 : at + 6 + length].decode()
        brokers.append((node, host, struct.unpack_from(">i", answer, at + 6 + length)[0]))
        at += 10 + length
    (topics_count,) = struct.unpack_from(">i", answer, at)
    at += 4
    for _ in range(topics_count):
        error, length = struct.unpack_from(">hh", answer, at)
        name = answer[at + 4 : at + 4 + length].decode()
        (partitions,) = struct.unpack_from(">i", answer, at + 4 + length)
        at += 8 + length
        for _ in range(partitions):
            # Error, index and leader, then the replicas and those in sync.
            at += 10
            for _ in range(2):
                at += 4 + 4 * struct.unpack_from(">i", answer, at)[0]
        topics[name] = (error, partitions)
    assert at == len(answer), "not a v0 body"
    return brokers, topics
