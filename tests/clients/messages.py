"""Kafka's requests and answers by name and version, for tests that look at error codes: what `wire` does by hand, from a table.

    ask(node, "Heartbeat", 4, group="g", generation=1, member="m")["error"]

A message is written `name:type@versions`, fields in order. Types: i8 to i64, bool, str, bytes, uuid; `?` may be null and is by
default; `[...]` an array, of fields when it has a colon; `?{...}` a struct that may be null. A field that a caller leaves out is
0, empty or null, unless the table says `=value`. Of the tagged fields of answers those are read that the table has, as `name:type#tag`;
one that is not there is its default. The versions that flexible encoding starts with stand in the table; so does only what a test needs.
"""

import re
import struct

import wire

NUMBERS = {"i8": ">b", "i16": ">h", "i32": ">i", "i64": ">q", "bool": ">?"}

_PARTITION_ERRORS = "topics:[name:str, partitions:[partition:i32, error:i16]]"
_TOPIC_IDS = "topics:?[topic_id:uuid, partitions:[i32]]"
_NAMED_IDS = "?{topics:[topic_id:uuid, name:str, partitions:[i32]]}"
_OFFSETS = "partition:i32, offset:i64, leader_epoch:i32@5+, metadata:?str, error:i16"

# name: (api key, first flexible version, request, answer)
TABLE = {
    "Produce": (
        0, 9,
        "transactional_id:?str, acks:i16=-1, timeout:i32=10000, topics:[name:str@0-12, topic_id:uuid@13+, partitions:[partition:i32,"
        " records:?bytes]]",
        "topics:[name:str@0-12, topic_id:uuid@13+, partitions:[partition:i32, error:i16, base_offset:i64, append_time:i64@2+, log_start:i64@5+,"
        " record_errors:[index:i32, message:?str]@8+, message:?str@8+]], throttle:i32",
    ),
    "Fetch": (
        1, 12,
        "replica:i32@0-14=-1, max_wait:i32=100, min_bytes:i32=1, max_bytes:i32=1000000, isolation:i8, session:i32@7+, session_epoch:i32@7+=-1,"
        " topics:[name:str@0-12, topic_id:uuid@13+, partitions:[partition:i32, leader_epoch:i32@9+=-1, offset:i64, last_epoch:i32@12+=-1,"
        " log_start:i64@5+=-1, max_bytes:i32=1000000]], forgotten:[name:str@0-12, topic_id:uuid@13+, partitions:[i32]]@7+, rack:str@11+",
        "throttle:i32, error:i16@7+, session:i32@7+, topics:[name:str@0-12, topic_id:uuid@13+, partitions:[partition:i32, error:i16,"
        " high_watermark:i64, last_stable:i64, log_start:i64@5+, aborted:?[producer_id:i64, first_offset:i64], preferred:i32@11+, records:?bytes]]",
    ),
    "ListOffsets": (
        2, 6,
        "replica:i32=-1, isolation:i8@2+, topics:[name:str, partitions:[partition:i32, leader_epoch:i32@4+=-1, timestamp:i64]], timeout:i32@10+",
        "throttle:i32@2+, topics:[name:str, partitions:[partition:i32, error:i16, timestamp:i64, offset:i64, leader_epoch:i32@4+]]",
    ),
    "Metadata": (
        3, 9,
        "topics:?[topic_id:uuid@10+, name:?str], auto_create:bool@4+, cluster_operations:bool@8-10, topic_operations:bool@8+",
        "throttle:i32@3+, brokers:[node:i32, host:str, port:i32, rack:?str@1+], cluster:?str@2+, controller:i32@1+, topics:[error:i16, name:?str,"
        " topic_id:uuid@10+, internal:bool@1+, partitions:[error:i16, partition:i32, leader:i32, leader_epoch:i32@7+, replicas:[i32],"
        " in_sync:[i32], offline:[i32]@5+], operations:i32@8+], cluster_operations:i32@8-10, error:i16@13+",
    ),
    "OffsetCommit": (
        8, 8,
        "group:str, generation:i32=-1, member:str, instance:?str@7+, retention:i64@2-4=-1,"
        " topics:[name:str, partitions:[partition:i32, offset:i64, leader_epoch:i32@6+=-1, metadata:?str]]",
        "throttle:i32@3+, " + _PARTITION_ERRORS,
    ),
    "OffsetFetch": (
        9, 6,
        "group:str@0-7, topics:?[name:str, partitions:[i32]]@0-7, groups:[group:str, member:?str@9+, epoch:i32@9+=-1,"
        " topics:?[name:str, partitions:[i32]]]@8+, require_stable:bool@7+",
        f"throttle:i32@3+, topics:[name:str, partitions:[{_OFFSETS}]]@0-7, error:i16@2-7,"
        f" groups:[group:str, topics:[name:str, partitions:[{_OFFSETS}]], error:i16]@8+",
    ),
    "FindCoordinator": (
        10, 3, "key:str@0-3, kind:i8@1+, keys:[str]@4+",
        "throttle:i32@1+, error:i16@0-3, message:?str@1-3, node:i32@0-3, host:str@0-3, port:i32@0-3,"
        " coordinators:[key:str, node:i32, host:str, port:i32, error:i16, message:?str]@4+",
    ),
    "JoinGroup": (
        11, 6,
        "group:str, session:i32=10000, rebalance:i32@1+=10000, member:str, instance:?str@5+, type:str=consumer,"
        " protocols:[name:str, metadata:bytes], reason:?str@8+",
        "throttle:i32@2+, error:i16, generation:i32, type:?str@7+, protocol:?str, leader:str, skip_assignment:bool@9+, member:str,"
        " members:[member:str, instance:?str@5+, metadata:bytes]",
    ),
    "Heartbeat": (12, 4, "group:str, generation:i32, member:str, instance:?str@3+", "throttle:i32@1+, error:i16"),
    "LeaveGroup": (
        13, 4,
        "group:str, member:str@0-2, members:[member:str, instance:?str, reason:?str@5+]@3+",
        "throttle:i32@1+, error:i16, members:[member:str, instance:?str, error:i16]@3+",
    ),
    "SyncGroup": (
        14, 4,
        "group:str, generation:i32, member:str, instance:?str@3+, type:?str@5+, protocol:?str@5+, assignments:[member:str, assignment:bytes]",
        "throttle:i32@1+, error:i16, type:?str@5+, protocol:?str@5+, assignment:bytes",
    ),
    "DescribeGroups": (
        15, 5,
        "groups:[str], operations:bool@3+",
        "throttle:i32@1+, groups:[error:i16, message:?str@6+, group:str, state:str, type:str, protocol:str, members:[member:str,"
        " instance:?str@4+, client_id:str, client_host:str, metadata:bytes, assignment:bytes], operations:i32@3+]",
    ),
    "ListGroups": (
        16, 3, "states:[str]@4+, types:[str]@5+",
        "throttle:i32@1+, error:i16, groups:[group:str, protocol_type:str, state:str@4+, type:str@5+]",
    ),
    "ApiVersions": (
        18, 3, "software:str@3+=a-test, software_version:str@3+=1",
        "error:i16, keys:[key:i16, low:i16, high:i16], throttle:i32@1+, supported:[name:str, low:i16, high:i16]@3+#0, features_epoch:i64@3+=-1#1,"
        " finalized:[name:str, high:i16, low:i16]@3+#2",
    ),
    "CreateTopics": (
        19, 5,
        "topics:[name:str, partitions:i32=-1, replication:i16=-1, assignments:[partition:i32, brokers:[i32]],"
        " configs:[name:str, value:?str]], timeout:i32=10000, validate_only:bool",
        "throttle:i32@2+, topics:[name:str, topic_id:uuid@7+, error:i16, message:?str, partitions:i32@5+, replication:i16@5+,"
        " configs:?[name:str, value:?str, read_only:bool, source:i8, sensitive:bool]@5+]",
    ),
    "DeleteTopics": (
        20, 4, "topics:[name:?str, topic_id:uuid]@6+, names:[str]@0-5, timeout:i32=10000",
        "throttle:i32@1+, topics:[name:?str, topic_id:uuid@6+, error:i16, message:?str@5+]",
    ),
    "DeleteRecords": (
        21, 2, "topics:[name:str, partitions:[partition:i32, offset:i64]], timeout:i32=10000",
        "throttle:i32, topics:[name:str, partitions:[partition:i32, low_watermark:i64, error:i16]]",
    ),
    "InitProducerId": (
        22, 2, "transactional_id:?str, timeout:i32=60000, producer_id:i64@3+=-1, epoch:i16@3+=-1",
        "throttle:i32, error:i16, producer_id:i64, epoch:i16",
    ),
    "OffsetForLeaderEpoch": (
        23, 4, "replica:i32@3+=-1, topics:[name:str, partitions:[partition:i32, current:i32=-1, epoch:i32]]",
        "throttle:i32, topics:[name:str, partitions:[error:i16, partition:i32, epoch:i32, end:i64]]",
    ),
    "AddPartitionsToTxn": (
        24, 3, "transactional_id:str, producer_id:i64, epoch:i16, topics:[name:str, partitions:[i32]]", "throttle:i32, " + _PARTITION_ERRORS,
    ),
    "AddOffsetsToTxn": (25, 3, "transactional_id:str, producer_id:i64, epoch:i16, group:str", "throttle:i32, error:i16"),
    "EndTxn": (
        26, 3, "transactional_id:str, producer_id:i64, epoch:i16, commit:bool",
        "throttle:i32, error:i16, producer_id:i64@5+, epoch:i16@5+",
    ),
    "TxnOffsetCommit": (
        28, 3,
        "transactional_id:str, group:str, producer_id:i64, epoch:i16, generation:i32@3+=-1, member:str@3+, instance:?str@3+,"
        " topics:[name:str, partitions:[partition:i32, offset:i64, leader_epoch:i32@2+=-1, metadata:?str]]",
        "throttle:i32, " + _PARTITION_ERRORS,
    ),
    "DescribeAcls": (
        29, 2, "resource_type:i8=1, resource:?str, pattern:i8=1, principal:?str, host:?str, operation:i8=1, permission:i8=1",
        "throttle:i32, error:i16, message:?str, resources:[type:i8, name:str, pattern:i8, acls:[principal:str, host:str, operation:i8, permission:i8]]",
    ),
    "DescribeConfigs": (
        32, 4, "resources:[type:i8=2, name:str, keys:?[str]], synonyms:bool, documentation:bool@3+",
        "throttle:i32, results:[error:i16, message:?str, type:i8, name:str, configs:[name:str, value:?str, read_only:bool, source:i8,"
        " sensitive:bool, synonyms:[name:str, value:?str, source:i8], type:i8@3+, documentation:?str@3+]]",
    ),
    "AlterConfigs": (
        33, 2, "resources:[type:i8=2, name:str, configs:[name:str, value:?str]], validate_only:bool",
        "throttle:i32, results:[error:i16, message:?str, type:i8, name:str]",
    ),
    "DescribeLogDirs": (
        35, 2, "topics:?[name:str, partitions:[i32]]",
        "throttle:i32, error:i16@3+, results:[error:i16, folder:str, topics:[name:str, partitions:[partition:i32, size:i64, lag:i64, future:bool]],"
        " total:i64@4+, usable:i64@4+]",
    ),
    "CreatePartitions": (
        37, 2, "topics:[name:str, count:i32, assignments:?[brokers:[i32]]], timeout:i32=10000, validate_only:bool",
        "throttle:i32, results:[name:str, error:i16, message:?str]",
    ),
    "DeleteGroups": (42, 2, "groups:[str]", "throttle:i32, results:[group:str, error:i16]"),
    "IncrementalAlterConfigs": (
        44, 1, "resources:[type:i8=2, name:str, configs:[name:str, operation:i8, value:?str]], validate_only:bool",
        "throttle:i32, results:[error:i16, message:?str, type:i8, name:str]",
    ),
    "ListPartitionReassignments": (
        46, 0, "timeout:i32=10000, topics:?[name:str, partitions:[i32]]",
        "throttle:i32, error:i16, message:?str, topics:[name:str, partitions:[partition:i32, replicas:[i32], adding:[i32], removing:[i32]]]",
    ),
    "OffsetDelete": (47, 99, "group:str, topics:[name:str, partitions:[partition:i32]]", "error:i16, throttle:i32, " + _PARTITION_ERRORS),
    "DescribeCluster": (
        60, 0, "operations:bool, endpoint:i8@1+=1, fenced:bool@2+",
        "throttle:i32, error:i16, message:?str, endpoint:i8@1+, cluster:str, controller:i32, brokers:[node:i32, host:str, port:i32, rack:?str,"
        " fenced:bool@2+], operations:i32",
    ),
    "DescribeProducers": (
        61, 0, "topics:[name:str, partitions:[i32]]",
        "throttle:i32, topics:[name:str, partitions:[partition:i32, error:i16, message:?str, producers:[producer_id:i64, epoch:i32,"
        " last_sequence:i32, last_timestamp:i64, coordinator_epoch:i32, open_since:i64]]]",
    ),
    "DescribeTransactions": (
        65, 0, "ids:[str]",
        "throttle:i32, transactions:[error:i16, id:str, state:str, timeout:i32, began:i64, producer_id:i64, epoch:i16,"
        " topics:[name:str, partitions:[i32]]]",
    ),
    "ListTransactions": (
        66, 0, "states:[str], producers:[i64], duration:i64@1+=-1, pattern:?str@2+",
        "throttle:i32, error:i16, unknown_states:[str], transactions:[id:str, producer_id:i64, state:str]",
    ),
    "ConsumerGroupHeartbeat": (
        68, 0,
        "group:str, member:str, epoch:i32, instance:?str, rack:?str, rebalance:i32=-1, names:?[str], regex:?str@1+, assignor:?str, " + _TOPIC_IDS,
        "throttle:i32, error:i16, message:?str, member:?str, epoch:i32, interval:i32, assignment:?{" + _TOPIC_IDS.replace("?", "") + "}",
    ),
    "ConsumerGroupDescribe": (
        69, 0,
        "groups:[str], operations:bool",
        "throttle:i32, groups:[error:i16, message:?str, group:str, state:str, epoch:i32, assignment_epoch:i32, assignor:str, members:[member:str,"
        " instance:?str, rack:?str, epoch:i32, client_id:str, client_host:str, names:[str], regex:?str,"
        f" assignment:{_NAMED_IDS[1:]}, target:{_NAMED_IDS[1:]}, type:i8@1+], operations:i32]",
    ),
}  # fmt: skip


# --- the table's own language ---


def parse(text):
    """[(name, type, first version, last version, default, tag)]; the type of an array or a struct is a triple."""
    fields, rest = _fields(text.replace(" ", ""))
    assert not rest, f"cannot read {rest}"
    return fields


def _fields(text):
    fields = []
    while True:
        name, text = text.split(":", 1)
        kind, text = _type(text)
        versions, default, tag, text = re.fullmatch(r"(@\d+(?:\+|-\d+))?(=[\w.-]+)?(#\d+)?(.*)", text).groups()
        low, high = re.fullmatch(r"@(\d+)(?:\+|-(\d+))", versions or "@0+").groups()
        fields.append((name, kind, int(low), int(high or 99), default and default[1:], tag and int(tag[1:])))
        if not text.startswith(","):
            return fields, text
        text = text[1:]


def _type(text):
    null, text = text.startswith("?"), text.lstrip("?")
    if text[0] in "[{":
        simple = re.match(r"\[(\w+)\]", text)
        if simple:
            return ("array", simple[1], null), text[simple.end() :]
        inner, rest = _fields(text[1:])
        assert rest[0] in "]}", f"not closed: {rest}"
        return ("array" if text[0] == "[" else "struct", inner, null), rest[1:]
    word = re.match(r"\w+", text)[0]
    return ("?" if null else "") + word, text[len(word) :]


# --- bytes ---


def _uvarint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def _default(kind, default):
    if default is not None:
        return default if kind == "str" else int(default)
    if isinstance(kind, tuple):
        return None if kind[2] else [] if kind[0] == "array" else {}
    return {"str": "", "bytes": b"", "uuid": bytes(16)}.get(kind, None if kind[0] == "?" else 0)


def _length(count, flexible, short):
    if flexible:
        return _uvarint(0 if count is None else count + 1)
    return struct.pack(">h" if short else ">i", -1 if count is None else count)


def _encode(kind, value, version, flexible):
    if isinstance(kind, tuple):
        shape, inner, null = kind
        if shape == "struct":
            return (b"\x01" if null else b"") + encode(inner, value, version, flexible)
        items = [] if value is None else value
        each = (encode(inner, v, version, flexible) if isinstance(inner, list) else _encode(inner, v, version, flexible) for v in items)
        return _length(None if value is None else len(value), flexible, False) + b"".join(each)
    kind = kind.lstrip("?")
    if kind in NUMBERS:
        return struct.pack(NUMBERS[kind], value)
    if kind == "uuid":
        return value
    raw = value.encode() if isinstance(value, str) else value
    return _length(None if raw is None else len(raw), flexible, kind == "str") + (raw or b"")


def encode(fields, values, version, flexible):
    there = {name for name, _, low, high, _, _ in fields if low <= version <= high}
    unknown = {name for name, value in values.items() if value is not None} - there
    assert not unknown, f"version {version} has no {unknown}"
    out = b""
    for name, kind, low, high, default, _ in fields:
        if low <= version <= high:
            out += _encode(kind, values[name] if name in values else _default(kind, default), version, flexible)
    return out + (b"\0" if flexible else b"")


class Reader:
    """Takes an answer apart from its beginning."""

    def __init__(self, raw, version, flexible):
        self.raw, self.version, self.flexible, self.at = raw, version, flexible, 0

    def take(self, count):
        assert self.at + count <= len(self.raw), f"the answer ends after {len(self.raw)} bytes, in the middle of a field"
        self.at += count
        return self.raw[self.at - count : self.at]

    def number(self, code):
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def uvarint(self):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def length(self, short):
        return self.uvarint() - 1 if self.flexible else self.number(">h" if short else ">i")

    def fields(self, fields):
        there = [field for field in fields if field[2] <= self.version <= field[3]]
        values = {name: self.value(kind) for name, kind, _, _, _, tag in there if tag is None}
        tagged = {tag: (name, kind, default) for name, kind, _, _, default, tag in there if tag is not None}
        values.update({name: _default(kind, default) for name, kind, default in tagged.values()})
        values.update(self.tags(tagged))
        return values

    def tags(self, known=()):
        """Those that are known, by name; the others are skipped."""
        found = {}
        for _ in range(self.uvarint() if self.flexible else 0):
            tag, size = self.uvarint(), self.uvarint()
            end = self.at + size
            if tag in known:
                name, kind, _ = known[tag]
                found[name] = self.value(kind)
                assert self.at == end, f"the tagged field {name} is not as long as it says"
            else:
                self.take(size)
        return found

    def value(self, kind):
        if isinstance(kind, tuple):
            shape, inner, null = kind
            if shape == "struct":
                return None if null and self.number(">b") < 0 else self.fields(inner)
            count = self.length(False)
            return None if count < 0 else [self.fields(inner) if isinstance(inner, list) else self.value(inner) for _ in range(count)]
        kind = kind.lstrip("?")
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == "uuid":
            return self.take(16)
        length = self.length(kind == "str")
        raw = None if length < 0 else self.take(length)
        return raw.decode() if raw is not None and kind == "str" else raw


def ask(broker, name, version, **fields):
    """The answer as a dictionary. `broker` is a node, or a `wire.Connection` to it."""
    if not isinstance(broker, wire.Connection):
        with wire.Connection(broker, timeout=30) as connection:
            return ask(connection, name, version, **fields)
    return pipeline(broker, (name, version, fields))[0]


def pipeline(connection, *requests):
    """The answers to requests `(name, version, fields)` that are all sent before the first answer is read."""
    try:
        answers = wire.pipeline(connection, [_request(*request) for request in requests])
    except wire.Closed:
        said = ", ".join(f"{name} v{version}" for name, version, _ in requests)
        raise wire.Closed(f"{said} was answered by closing the connection") from None
    return [_answer(name, version, raw) for (name, version, _), raw in zip(requests, answers)]


def _request(name, version, fields):
    key, first_flexible, request, _ = TABLE[name]
    flexible = version >= first_flexible
    return key, version, (b"\0" if flexible else b"") + encode(parse(request), fields, version, flexible)


def _answer(name, version, raw):
    _, first_flexible, _, answer = TABLE[name]
    reader = Reader(raw, version, version >= first_flexible)
    # The header of this one has no tags in any version (KIP-511).
    if name != "ApiVersions":
        reader.tags()
    values = reader.fields(parse(answer))
    assert reader.at == len(raw), f"{len(raw) - reader.at} bytes after the end of the answer to {name} v{version}"
    return values
