"""What the tests of test_behaviour_*.py share: Apache Kafka and Strandline behind one face, and where the two may differ.

A test says what Kafka answers; `Broker.same` holds both to it. Where Strandline's own answer is right as it is, DIFFERENCES has
it, by the words that the test uses, with the reason. Names of groups and topics are fresh ones each time: the brokers are shared.
"""

import concurrent.futures
import itertools
import struct

import bed
import messages
import wire

# What a test asks: (what Strandline answers instead, why that is right).
UNKNOWN_CODEC = (76, "UNSUPPORTED_COMPRESSION_TYPE says what is wrong; Kafka runs into an exception and says UNKNOWN_SERVER_ERROR")
DIFFERENCES = {
    "Produce of codec 5": UNKNOWN_CODEC,
    "Produce of codec 7": UNKNOWN_CODEC,
    "Produce of format 1": (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT says what is wrong; Kafka says INVALID_RECORD"),
    "the sixth batch from the end": (
        (46, -1),
        "the producer's records are there: a client takes DUPLICATE_SEQUENCE_NUMBER for delivered, and OUT_OF_ORDER_SEQUENCE_NUMBER for"
        " a reason to begin a new epoch and send them once more",
    ),
    "IncrementalAlterConfigs: an operation that is none": (42, "INVALID_REQUEST says what is wrong; Kafka runs into an exception"),
    "CreateTopics with more replicas than nodes": (0, "the bucket replicates: programs that ask for three replicas run on any number of nodes"),
    "JoinGroup of a consumer whose subscription cannot be read": (
        23,
        "INCONSISTENT_GROUP_PROTOCOL says what is wrong; Kafka runs into an exception and says UNKNOWN_SERVER_ERROR",
    ),
    "AddOffsetsToTxn without a group": (24, "INVALID_GROUP_ID is what TxnOffsetCommit says of it in both"),
    "TxnOffsetCommit without an id": (42, "no transaction has it: Kafka keeps the offsets for a decision that never comes"),
    "a plain batch of a transactional producer without a transaction": (
        48,
        "what a producer with a transactional id writes belongs to its transactions, or is refused: so none can hang",
    ),
    "EndTxn v5 the other way, of the epoch before": ((90, -1), "the epoch is over; either code is final"),
    "EndTxn v5 that commits too late": (90, "the same"),
    "producer of a marker that ends an epoch": ((0, -1), "no reader looks at it; the fold fences the old epoch by itself"),
    "end of the partition that was only added": (0, "there is nothing to decide, so that there is no marker"),
    "ListTransactions of what lasts an hour": ({}, "what never began does not last; Kafka counts from the year 1970"),
    "ListTransactions of what lasts": ({"open": "Ongoing"}, "what is over, or never began, does not last"),
    "coordinator's epoch of a producer before there was a marker": (0, "there are no epochs of coordinators"),
    "CreateTopics with an assignment to a node that is not there": (
        0,
        "any node serves any partition: an assignment says how many partitions there are, and nothing else",
    ),
}

_numbers = itertools.count()


def errors(answer, *path):
    """The error codes at the end of the path: errors(answer, "topics", "partitions")."""
    found = [answer]
    for part in path:
        found = [inner for outer in found for inner in outer[part]]
    return [one["error"] for one in found]


def error(answer, *path):
    """The one error code there."""
    (code,) = errors(answer, *path)
    return code


class Broker:
    """One of the two, with the requests that tests make most."""

    def __init__(self, kind, node):
        self.kind, self.node = kind, node

    def __repr__(self):
        return self.kind

    def ask(self, name, version, **fields):
        return messages.ask(self.node, name, version, **fields)

    def same(self, what, found, expected):
        """`found` is what Kafka gives, or what the table of differences has for this."""
        why = "Kafka's answer"
        if what in DIFFERENCES:
            other, reason = DIFFERENCES[what]
            assert other != expected, f"{what} is no difference any more"
            if self.kind == "strandline":
                expected, why = other, reason
        assert found == expected, f"{what}: {self.kind} answers {found!r}, expected {expected!r} ({why})"

    def fresh(self, kind):
        return f"{kind}-{next(_numbers)}"

    def topic(self, partitions=1, **configs):
        """A new topic; a config is a keyword, `_` for `.`."""
        name = self.fresh("topic")
        settings = [{"name": key.replace("_", "."), "value": str(value)} for key, value in configs.items()]
        answer = self.ask("CreateTopics", 7, topics=[{"name": name, "partitions": partitions, "configs": settings}])
        assert error(answer, "topics") == 0, answer
        self.wait_for_partitions(name, partitions)
        return name

    def wait_for_partitions(self, topic, count):
        """Kafka says that they are there before it serves them."""
        asked = [{"name": topic, "partitions": [{"partition": p, "timestamp": -1} for p in range(count)]}]

        def served():
            (found,) = self.metadata(topic)["topics"]
            known = len(found["partitions"]) == count
            return known and set(errors(self.ask("ListOffsets", 9, topics=asked), "topics", "partitions")) == {0}

        bed.wait_until(served, 10, f"{count} partitions of {topic}")

    def metadata(self, topic):
        return self.ask("Metadata", 12, topics=[{"name": topic}])

    def topic_id(self, topic):
        return self.metadata(topic)["topics"][0]["topic_id"]

    def produce(self, topic, batch, version=8, partition=0, acks=-1):
        """What the answer says about the one partition."""
        parts = [{"partition": partition, "records": batch}]
        answer = self.ask("Produce", version, acks=acks, topics=[{"name": topic, "partitions": parts}])
        return answer["topics"][0]["partitions"][0]

    def list_offset(self, topic, timestamp, version=9, partition=0):
        asked = [{"name": topic, "partitions": [{"partition": partition, "timestamp": timestamp}]}]
        return self.ask("ListOffsets", version, topics=asked)["topics"][0]["partitions"][0]

    def commit(self, group, topic, offset=1, version=8, metadata="", **member):
        """The error code of a commit; without a member it is a simple consumer's."""
        parts = [{"partition": 0, "offset": offset, "metadata": metadata}]
        answer = self.ask("OffsetCommit", version, group=group, topics=[{"name": topic, "partitions": parts}], **member)
        return error(answer, "topics", "partitions")

    def committed(self, group, topic, **more):
        """(offset, metadata, error) of partition 0."""
        answer = self.ask("OffsetFetch", 7, group=group, topics=[{"name": topic, "partitions": [0]}], **more)
        part = answer["topics"][0]["partitions"][0]
        return part["offset"], part["metadata"], part["error"]


def subscription(*topics, owned=None):
    """What the assignors of consumers put into their metadata (ConsumerProtocolSubscription v0, or v1 if the member says which
    partitions it owns: {topic: partitions})."""
    plain = wire.array([wire.string(topic) for topic in topics]) + wire.data(None)
    if owned is None:
        return struct.pack(">h", 0) + plain
    return struct.pack(">h", 1) + plain + _by_topic(owned)


def assignment(*topics, partitions=(0,), user_data=None):
    """These partitions of these topics, as the leader of a group of consumers says it (ConsumerProtocolAssignment v0)."""
    return struct.pack(">h", 0) + _by_topic(dict.fromkeys(topics, partitions)) + wire.data(user_data)


def assigned(data):
    """{topic: partitions} of such an assignment, of any version."""
    found, count, at = {}, int.from_bytes(data[2:6], "big"), 6
    for _ in range(count):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        topic, size = data[at + 2 : end].decode(), int.from_bytes(data[end : end + 4], "big")
        at = end + 4 + 4 * size
        found[topic] = list(struct.unpack(f">{size}i", data[end + 4 : at]))
    return found


def _by_topic(partitions):
    return wire.array([wire.string(topic) + wire.array([struct.pack(">i", p) for p in those]) for topic, those in partitions.items()])


class Member:
    """A member of a classic group, by hand. It has its own connection, since a join may wait."""

    def __init__(self, broker, group, instance=None, protocols=("range",), topics=(), kind="consumer"):
        self.broker, self.group, self.instance = broker, group, instance
        self.protocols = [{"name": name, "metadata": subscription(*topics)} for name in protocols]
        self.kind = kind
        self.id, self.generation, self.answer = "", -1, None

    def ask(self, name, version, **fields):
        return self.broker.ask(name, version, group=self.group, **fields)

    def join(self, version=9, **changes):
        """The answer; a member without an id gets one first, as clients do."""
        fields = dict(member=self.id, instance=self.instance, type=self.kind, protocols=self.protocols)
        answer = self.ask("JoinGroup", version, **{**fields, **changes})
        if answer["error"] == 79 and not self.id:
            self.id = answer["member"]
            return self.join(version, **changes)
        if answer["error"] == 0:
            self.id, self.generation = answer["member"], answer["generation"]
        self.answer = answer
        return answer

    def sync(self, version=5, assignments=(), **changes):
        fields = dict(member=self.id, generation=self.generation, instance=self.instance, assignments=list(assignments))
        if version >= 5:
            fields.update(type=self.kind, protocol=self.protocols[0]["name"])
        return self.ask("SyncGroup", version, **{**fields, **changes})

    def heartbeat(self, **changes):
        return self.ask("Heartbeat", 4, **{**dict(member=self.id, generation=self.generation, instance=self.instance), **changes})["error"]

    def commit(self, topic, **changes):
        return self.broker.commit(self.group, topic, **{**dict(member=self.id, generation=self.generation, instance=self.instance), **changes})

    def leave(self):
        return self.ask("LeaveGroup", 4, members=[{"member": self.id, "instance": self.instance}])


def alone(broker, group=None, topics=(), **options):
    """A group of one member that is stable."""
    member = Member(broker, group or broker.fresh("group"), topics=topics, **options)
    assert member.join()["error"] == 0, member.answer
    assert member.sync(assignments=[{"member": member.id, "assignment": assignment(*topics)}])["error"] == 0
    return member


def together(*actions):
    """Runs them side by side; their results in order."""
    with concurrent.futures.ThreadPoolExecutor(len(actions)) as pool:
        return [future.result(60) for future in [pool.submit(action) for action in actions]]


class NewMember:
    """A member by the protocol of KIP-848, by hand."""

    def __init__(self, broker, group, topics=(), member=None, **first):
        self.broker, self.group = broker, group
        self.id, self.epoch = member or broker.fresh("member"), 0
        self.first = {"names": list(topics), "rebalance": 10_000, "topics": [], **first}

    def beat(self, version=1, **changes):
        fields = dict(group=self.group, member=self.id, epoch=self.epoch)
        if self.epoch == 0 and "epoch" not in changes:
            fields.update(self.first)
        answer = self.broker.ask("ConsumerGroupHeartbeat", version, **{**fields, **changes})
        if answer["error"] == 0:
            self.epoch = answer["epoch"]
        return answer
