"""Transactions by hand, by error codes and bytes: Apache Kafka and Strandline must answer the same.

Kafka writes its markers after it has answered EndTxn, and says CONCURRENT_TRANSACTIONS until that is done: `Txn` waits for it, as
all clients do.
"""

import struct
import time

import bed
import messages
import pytest
import wire

from behaviour import NewMember, alone, error, errors, together
from test_behaviour_records import batch as a_batch
from test_behaviour_records import now_ms

COMMITTED = 1
CONCURRENT = 51
# Attributes of a batch.
TRANSACTIONAL, CONTROL = 0x10, 0x20
# The newest version whose clients add partitions themselves, and the first whose clients leave that to the batches (KIP-890).
ADDED, ADDS = 11, 12


def batch(*values, **more):
    """With the time of the markers: Kafka begins a new segment for one that is a week younger, and a fetch ends with its segment."""
    return a_batch(*values, **{"timestamp": now_ms(), **more})


def settled(ask):
    """The answer, as soon as it is another one than that the last transaction is not quite over."""
    deadline = time.monotonic() + 10
    while True:
        answer = ask()
        codes = [answer["error"]] if "error" in answer else errors(answer, "topics", "partitions")
        if CONCURRENT not in codes or time.monotonic() > deadline:
            return answer
        time.sleep(0.02)


class Txn:
    """A transactional producer, by hand."""

    def __init__(self, broker, name=None, timeout=60_000):
        self.broker, self.name, self.timeout = broker, name or broker.fresh("transactional"), timeout
        self.id, self.epoch, self.sequences = -1, -1, {}

    def init(self, version=5, **changes):
        fields = dict(transactional_id=self.name, timeout=self.timeout)
        answer = settled(lambda: self.broker.ask("InitProducerId", version, **{**fields, **changes}))
        if answer["error"] == 0:
            self.id, self.epoch, self.sequences = answer["producer_id"], answer["epoch"], {}
        return answer

    def who(self, **changes):
        return {**dict(transactional_id=self.name, producer_id=self.id, epoch=self.epoch), **changes}

    def add(self, *topics, version=3, partitions=(0,), **changes):
        """The codes of the partitions."""
        asked = [{"name": topic, "partitions": list(partitions)} for topic in topics]
        answer = settled(lambda: self.broker.ask("AddPartitionsToTxn", version, topics=asked, **self.who(**changes)))
        return errors(answer, "topics", "partitions")

    def add_group(self, group, version=3, **changes):
        return settled(lambda: self.broker.ask("AddOffsetsToTxn", version, group=group, **self.who(**changes)))["error"]

    def commit_offset(self, group, topic, offset=7, version=3, member=None, **changes):
        asked = [{"name": topic, "partitions": [{"partition": 0, "offset": offset, "metadata": "m"}]}]
        fields = dict(group=group, topics=asked, **(member or {}), **self.who(**changes))
        return error(settled(lambda: self.broker.ask("TxnOffsetCommit", version, **fields)), "topics", "partitions")

    def send(self, topic, version=ADDED, values=(b"v",), name=True, attributes=TRANSACTIONAL, epoch=None, sequence=None, partition=0):
        """(error, base offset) of a batch."""
        at = (topic, partition)
        sequence = self.sequences.get(at, 0) if sequence is None else sequence
        producer = (self.id, self.epoch if epoch is None else epoch)
        records = batch(values, producer=producer, sequence=sequence, attributes=attributes)
        asked = [{"name": topic, "partitions": [{"partition": partition, "records": records}]}]
        named = self.name if name else None
        answer = settled(lambda: self.broker.ask("Produce", version, transactional_id=named, topics=asked))
        found = answer["topics"][0]["partitions"][0]
        if found["error"] == 0:
            self.sequences[at] = sequence + len(values)
        return found["error"], found["base_offset"]

    def end(self, commit=True, version=3, **changes):
        """The whole answer; from version 5 on the producer goes on as it says."""
        answer = settled(lambda: self.broker.ask("EndTxn", version, commit=commit, **self.who(**changes)))
        if answer["error"] == 0 and version >= 5:
            self.id, self.epoch, self.sequences = answer["producer_id"], answer["epoch"], {}
        return answer

    def described(self):
        return self.broker.ask("DescribeTransactions", 0, ids=[self.name])["transactions"][0]

    def until(self, state):
        bed.wait_until(lambda: self.described()["state"] == state, 20, f"{self.name} to be {state}", every=0.05)


def begun(broker, topic=None, **options):
    """One with an open transaction, in which one record was written, as clients before KIP-890 do."""
    txn = Txn(broker, **options)
    assert txn.init()["error"] == 0
    if topic:
        assert txn.add(topic) == [0]
        code, _ = txn.send(topic)
        assert code == 0, code
    return txn


def ended(txn, topic, commit):
    """Ends the open transaction and waits for its marker."""
    high = txn.broker.list_offset(topic, -1)["offset"]
    assert txn.end(commit)["error"] == 0
    bed.wait_until(lambda: txn.broker.list_offset(topic, -1)["offset"] > high, 10, "the marker")
    txn.until("CompleteCommit" if commit else "CompleteAbort")


def fetch(broker, topic, offset=0, isolation=COMMITTED, version=11):
    parts = [{"partition": 0, "offset": offset}]
    answer = broker.ask("Fetch", version, isolation=isolation, topics=[{"name": topic, "partitions": parts}])
    return answer["topics"][0]["partitions"][0]


def batches(stored):
    """Of each whole batch: (base offset, last offset, attributes, producer id, epoch, sequence, records)."""
    found, at = [], 0
    while at + 61 <= len(stored):
        base, length = struct.unpack_from(">qi", stored, at)
        attributes, delta = struct.unpack_from(">hi", stored, at + 21)
        producer, epoch, sequence, _ = struct.unpack_from(">qhii", stored, at + 43)
        found.append((base, base + delta, attributes, producer, epoch, sequence, stored[at + 61 : at + 12 + length]))
        at += 12 + length
    return found


def shapes(stored):
    return [(base, last, attributes) for base, last, attributes, *_ in batches(stored)]


def end_offset(broker, topic, isolation, version=9, timestamp=-1):
    asked = [{"name": topic, "partitions": [{"partition": 0, "timestamp": timestamp}]}]
    found = broker.ask("ListOffsets", version, isolation=isolation, topics=asked)["topics"][0]["partitions"][0]
    return found["offset"]


# --- who a producer is ---


def test_init(broker):
    txn = Txn(broker)
    first = txn.init()
    broker.same("InitProducerId of a new id", (first["error"], first["epoch"], first["producer_id"] >= 0), (0, 0, True))
    second = txn.init()
    broker.same("InitProducerId again", (second["error"], second["epoch"], second["producer_id"]), (0, 1, first["producer_id"]))
    known = txn.init(producer_id=txn.id, epoch=1)
    broker.same("InitProducerId of one that knows itself", (known["error"], known["epoch"]), (0, 2))
    again = txn.init(producer_id=txn.id, epoch=1)
    broker.same("the same once more, as if the answer was lost", (again["error"], again["epoch"]), (0, 2))
    old = txn.init(producer_id=txn.id, epoch=0)
    broker.same("InitProducerId of an older epoch", (old["error"], old["producer_id"], old["epoch"]), (90, -1, -1))
    broker.same("InitProducerId v3 of an older epoch", txn.init(version=3, producer_id=txn.id, epoch=0)["error"], 47)
    broker.same("InitProducerId of an epoch that is still to come", txn.init(producer_id=txn.id, epoch=9)["error"], 90)
    broker.same("InitProducerId of another producer id", txn.init(producer_id=txn.id + 99_999, epoch=2)["error"], 90)
    other = Txn(broker)
    broker.same("two ids have two producers", other.init()["producer_id"] != txn.id, True)


@pytest.mark.parametrize(
    "what,changes,expected",
    [
        ("an empty id", {"transactional_id": ""}, 42),
        ("a time-out of 0", {"timeout": 0}, 50),
        ("a negative time-out", {"timeout": -1}, 50),
        ("the longest time-out", {"timeout": 900_000}, 0),
        ("a time-out longer than transaction.max.timeout.ms", {"timeout": 900_001}, 50),
        ("a producer id without an epoch", {"producer_id": 1}, 42),
        ("an epoch without a producer id", {"epoch": 1}, 42),
        ("a producer id that nobody has", {"producer_id": 999_999, "epoch": 0}, 0),
    ],
)
def test_init_with(broker, what, changes, expected):
    broker.same(f"InitProducerId with {what}", Txn(broker).init(**changes)["error"], expected)


def test_init_aborts_what_is_open(broker):
    topic = broker.topic()
    txn = begun(broker, topic)
    again = Txn(broker, txn.name)
    answer = again.init()
    broker.same("InitProducerId while a transaction is open", (answer["error"], answer["producer_id"]), (0, txn.id))
    broker.same("its epoch is a later one", answer["epoch"] > txn.epoch, True)
    bed.wait_until(lambda: end_offset(broker, topic, COMMITTED) == 2, 10, "the marker")
    broker.same("the record was aborted", [a["first_offset"] for a in fetch(broker, topic)["aborted"]], [0])
    broker.same("its state", again.described()["state"], "Empty")


# --- what takes part ---


def test_partitions_that_are_not_there(broker):
    topic, nothing = broker.topic(), broker.fresh("nothing")
    txn = begun(broker)
    broker.same("AddPartitionsToTxn of a topic that is not there", txn.add(nothing), [3])
    both = {c for c in txn.add(nothing, topic)}
    broker.same("AddPartitionsToTxn of one that is there, too", both, {3, 55})
    too_many = {c for c in txn.add(topic, partitions=(0, 7))}
    broker.same("AddPartitionsToTxn of a partition too many", too_many, {3, 55})
    broker.same("nothing was added", txn.described()["state"], "Empty")
    broker.same("a batch to what was not added", txn.send(topic)[0], 120)


def test_who_adds(broker):
    topic, group = broker.topic(), broker.fresh("group")
    txn = begun(broker)
    broker.same("AddPartitionsToTxn of an id that is not there", txn.add(topic, transactional_id=broker.fresh("nobody")), [49])
    broker.same("AddPartitionsToTxn of another producer id", txn.add(topic, producer_id=txn.id + 99_999), [49])
    broker.same("AddPartitionsToTxn of an epoch to come", txn.add(topic, epoch=5), [90])
    broker.same("AddPartitionsToTxn without an id", txn.add(topic, transactional_id=""), [42])
    broker.same("AddOffsetsToTxn of an id that is not there", txn.add_group(group, transactional_id=broker.fresh("nobody")), 49)
    broker.same("AddOffsetsToTxn of another producer id", txn.add_group(group, producer_id=txn.id + 99_999), 49)
    broker.same("AddOffsetsToTxn without an id", txn.add_group(group, transactional_id=""), 42)
    broker.same("AddOffsetsToTxn without a group", txn.add_group(""), 0)
    broker.same("EndTxn of an id that is not there", txn.end(transactional_id=broker.fresh("nobody"))["error"], 49)
    broker.same("EndTxn of another producer id", txn.end(producer_id=txn.id + 99_999)["error"], 49)
    broker.same("EndTxn without an id", txn.end(transactional_id="")["error"], 42)


def test_batches_of_clients_that_add(broker):
    topic, other = broker.topic(), broker.topic()
    txn = begun(broker)
    broker.same("a batch without a transaction", txn.send(topic)[0], 120)
    broker.same("AddPartitionsToTxn", txn.add(topic), [0])
    broker.same("a batch to a partition that was added", txn.send(topic), (0, 0))
    broker.same("the next one", txn.send(topic), (0, 1))
    broker.same("the same again", txn.send(topic, sequence=1), (0, 1))
    broker.same("one that comes too early", txn.send(topic, sequence=7)[0], 45)
    broker.same("a batch to another partition", txn.send(other)[0], 120)
    broker.same("a transactional batch in a request that names none", txn.send(topic, name=False)[0], 53)
    broker.same("a plain batch of a transactional producer", txn.send(topic, name=False, attributes=0)[0], 48)
    broker.same("AddPartitionsToTxn again", txn.add(topic, other), [0, 0])
    broker.same("a batch to the other partition", txn.send(other), (0, 0))
    broker.same("EndTxn", txn.end()["error"], 0)
    txn.until("CompleteCommit")
    broker.same("a batch after it", txn.send(topic)[0], 120)


def test_batches_that_add_by_themselves(broker):
    topic = broker.topic()
    txn = begun(broker)
    broker.same("a batch of version 12", txn.send(topic, ADDS), (0, 0))
    broker.same("it began a transaction", (txn.described()["state"], txn.described()["topics"]), ("Ongoing", [{"name": topic, "partitions": [0]}]))
    before = txn.epoch
    answer = txn.end(version=5)
    broker.same("EndTxn v5 raises the epoch", (answer["error"], answer["producer_id"], answer["epoch"]), (0, txn.id, before + 1))
    # Kafka takes it until it has written the marker.
    txn.until("CompleteCommit")
    broker.same("a batch of the epoch before", txn.send(topic, ADDS, epoch=before, sequence=1)[0], 47)
    broker.same("a batch of version 11 of the epoch before", txn.send(topic, epoch=before, sequence=1)[0], 47)
    broker.same("a batch of the new epoch", txn.send(topic, ADDS), (0, 2))
    broker.same("EndTxn v5 that aborts", txn.end(False, version=5)["epoch"], before + 2)
    txn.until("CompleteAbort")
    plain = txn.send(topic, ADDS, name=False, attributes=0)[0]
    broker.same("a plain batch of a transactional producer without a transaction", plain, 0)


def test_sequences_of_an_epoch_begin_at_zero(broker):
    topic = broker.topic()
    txn = begun(broker)
    txn.send(topic, ADDS)
    txn.end(version=5)
    broker.same("the first batch of an epoch at another sequence", txn.send(topic, ADDS, sequence=1)[0], 45)


def test_a_producer_without_an_id(broker):
    """An idempotent producer that says its batches are transactional."""
    topic = broker.topic()
    txn = Txn(broker)
    plain = broker.ask("InitProducerId", 5)
    txn.id, txn.epoch = plain["producer_id"], plain["epoch"]
    broker.same("a transactional batch of a producer that has no transactional id", txn.send(topic)[0], 49)
    broker.same("the same of version 12", txn.send(topic, ADDS)[0], 49)


# --- the end ---


def test_end_of_nothing(broker):
    for commit in (True, False):
        word = "commits" if commit else "aborts"
        txn = begun(broker)
        broker.same(f"EndTxn v4 that {word} when there was none", txn.end(commit, version=4)["error"], 48)
        before = txn.epoch
        answer = txn.end(commit, version=5)
        broker.same(f"EndTxn v5 that {word} when there was none", (answer["error"], txn.epoch - before), (48, 0) if commit else (0, 1))
    topic = broker.topic()
    txn = begun(broker, topic)
    ended(txn, topic, True)
    before = txn.epoch
    broker.same("EndTxn v5 that aborts after a commit", (txn.end(False, version=5)["error"], txn.epoch - before), (0, 1))


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_end_twice(broker, commit):
    topic = broker.topic()
    txn = begun(broker, topic)
    broker.same("EndTxn", txn.end(commit)["error"], 0)
    broker.same("EndTxn again", txn.end(commit)["error"], 0)
    broker.same("EndTxn the other way", txn.end(not commit)["error"], 48)


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_end_twice_with_new_epochs(broker, commit):
    topic = broker.topic()
    txn = begun(broker)
    txn.send(topic, ADDS)
    before = txn.epoch
    txn.end(commit, version=5)
    broker.same("EndTxn v5", txn.epoch, before + 1)
    again = txn.end(commit, version=5, epoch=before)
    broker.same("EndTxn v5 again, of the epoch before", (again["error"], again["producer_id"], again["epoch"]), (0, txn.id, before + 1))
    other = txn.end(not commit, version=5, epoch=before)
    broker.same("EndTxn v5 the other way, of the epoch before", (other["error"], other["epoch"]), (48, -1))
    txn.send(topic, ADDS)
    late = txn.end(commit, version=5, epoch=before)
    broker.same("EndTxn v5 of the epoch before while the next one is open", late["error"], 90)
    broker.same("EndTxn v4 of the epoch before while the next one is open", txn.end(commit, version=4, epoch=before)["error"], 90)
    broker.same("it is open", txn.described()["state"], "Ongoing")


# --- what is read ---


def test_fetch_of_an_open_transaction(broker):
    topic = broker.topic()
    broker.produce(topic, batch([b"before"]))
    txn = begun(broker, topic)
    broker.produce(topic, batch([b"after"]))
    everything = fetch(broker, topic, isolation=0)
    broker.same("Fetch of all", (shapes(everything["records"]), everything["aborted"]), ([(0, 0, 0), (1, 1, TRANSACTIONAL), (2, 2, 0)], None))
    broker.same("offsets of an open transaction", (everything["high_watermark"], everything["last_stable"]), (3, 1))
    committed = fetch(broker, topic)
    broker.same("Fetch of what is committed", (shapes(committed["records"]), committed["aborted"]), ([(0, 0, 0)], []))
    broker.same("its offsets", (committed["high_watermark"], committed["last_stable"]), (3, 1))
    beyond = fetch(broker, topic, offset=2)
    broker.same("Fetch between the last stable offset and the end", (beyond["error"], beyond["records"]), (0, b""))
    broker.same("ListOffsets of what is committed", end_offset(broker, topic, COMMITTED), 1)
    broker.same("ListOffsets v2 of what is committed", end_offset(broker, topic, COMMITTED, version=2), 1)
    broker.same("ListOffsets of all", end_offset(broker, topic, 0), 3)
    broker.same("the first offset", end_offset(broker, topic, COMMITTED, timestamp=-2), 0)
    ended(txn, topic, True)
    broker.same("ListOffsets when it is over", end_offset(broker, topic, COMMITTED), 4)


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_markers(broker, commit):
    topic = broker.topic()
    txn = begun(broker, topic)
    txn.send(topic, values=[b"a", b"b"])
    ended(txn, topic, commit)
    found = fetch(broker, topic)
    expected = [(0, 0, TRANSACTIONAL), (1, 2, TRANSACTIONAL), (3, 3, TRANSACTIONAL | CONTROL)]
    broker.same("batches and marker", shapes(found["records"]), expected)
    broker.same("offsets behind the marker", (found["high_watermark"], found["last_stable"]), (4, 4))
    aborted = [] if commit else [{"producer_id": txn.id, "first_offset": 0}]
    broker.same("aborted transactions", found["aborted"], aborted)
    *_, producer, epoch, sequence, record = batches(found["records"])[-1]
    broker.same("producer of the marker", (producer, epoch - txn.epoch, sequence), (txn.id, 0, -1))
    # Length, attributes, both deltas, then key and value: of each a version, the kind, and the epoch of the coordinator.
    key, value = struct.pack(">hh", 0, 1 if commit else 0), struct.pack(">hi", 0, 0)
    body = b"\0" + wire.varint(0) + wire.varint(0) + wire.varint(4) + key + wire.varint(6) + value + wire.varint(0)
    broker.same("the marker's record", record, wire.varint(len(body)) + body)
    alone_ = fetch(broker, topic, offset=3)
    broker.same("Fetch of the marker alone", (shapes(alone_["records"]), alone_["aborted"]), (expected[2:], aborted))
    everything = fetch(broker, topic, isolation=0)
    broker.same("Fetch of all has the marker, too", (shapes(everything["records"]), everything["aborted"]), (expected, None))
    broker.same("the next record", broker.produce(topic, batch())["base_offset"], 4)


def test_markers_of_new_epochs(broker):
    """Under KIP-890 a marker has the epoch of what comes after it."""
    topic = broker.topic()
    txn = begun(broker)
    txn.send(topic, ADDS)
    before = txn.epoch
    txn.end(version=5)
    bed.wait_until(lambda: end_offset(broker, topic, COMMITTED) == 2, 10, "the marker")
    *_, producer, epoch, sequence, _ = batches(fetch(broker, topic)["records"])[-1]
    broker.same("producer of a marker that ends an epoch", (epoch - before, sequence), (1, -1))
    broker.same("its id", producer, txn.id)


def test_transactions_side_by_side(broker):
    """Which are named to a reader depends on where it reads."""
    topic = broker.topic()
    one, two = begun(broker, topic), begun(broker, topic)
    one.send(topic)
    ended(two, topic, False)
    open_still = fetch(broker, topic)
    broker.same("Fetch while the first is open", (open_still["records"], open_still["last_stable"], open_still["high_watermark"]), (b"", 0, 4))
    ended(one, topic, True)
    found = fetch(broker, topic)
    broker.same("batches of both", [(b[0], b[3] == one.id, b[2]) for b in batches(found["records"])], [
        (0, True, TRANSACTIONAL), (1, False, TRANSACTIONAL), (2, True, TRANSACTIONAL),
        (3, False, TRANSACTIONAL | CONTROL), (4, True, TRANSACTIONAL | CONTROL),
    ])  # fmt: skip
    broker.same("the aborted one", found["aborted"], [{"producer_id": two.id, "first_offset": 1}])
    broker.same("behind its marker nobody needs it", fetch(broker, topic, offset=4)["aborted"], [])
    broker.same("ListOffsets by time", end_offset(broker, topic, COMMITTED, timestamp=0), 0)


def test_partitions_without_records(broker):
    """A partition that was added and in which nothing was written."""
    topic = broker.topic(2)
    txn = begun(broker)
    broker.same("AddPartitionsToTxn of two", txn.add(topic, partitions=(0, 1)), [0, 0])
    txn.send(topic)
    broker.same("EndTxn", txn.end()["error"], 0)
    txn.until("CompleteCommit")
    broker.same("end of the partition that was written", broker.list_offset(topic, -1)["offset"], 2)
    broker.same("end of the partition that was only added", broker.list_offset(topic, -1, partition=1)["offset"], 1)


# --- offsets ---


def test_offsets_of_a_transaction(broker):
    topic, group = broker.topic(), broker.fresh("group")
    broker.commit(group, topic, 3)
    txn = begun(broker)
    broker.same("TxnOffsetCommit of a group that was not added", txn.commit_offset(group, topic), 48)
    broker.same("AddOffsetsToTxn", txn.add_group(group), 0)
    broker.same("TxnOffsetCommit", txn.commit_offset(group, topic), 0)
    broker.same("OffsetFetch while it is open", broker.committed(group, topic), (3, "", 0))
    broker.same("OffsetFetch of what is stable", broker.committed(group, topic, require_stable=True), (-1, "", 88))
    broker.same("EndTxn", txn.end()["error"], 0)
    bed.wait_until(lambda: broker.committed(group, topic, require_stable=True)[2] == 0, 10, "the offset to be stable")
    broker.same("OffsetFetch after it", broker.committed(group, topic, require_stable=True), (7, "m", 0))
    txn.until("CompleteCommit")
    broker.same("AddOffsetsToTxn of the next", txn.add_group(group), 0)
    broker.same("TxnOffsetCommit of the next", txn.commit_offset(group, topic, 9), 0)
    broker.same("EndTxn that aborts", txn.end(False)["error"], 0)
    bed.wait_until(lambda: broker.committed(group, topic, require_stable=True)[2] == 0, 10, "the offset to be stable")
    broker.same("OffsetFetch after an abort", broker.committed(group, topic), (7, "m", 0))


def test_a_plain_commit_beside_a_transaction(broker):
    """Of two commits the later one stands, though it is the other one that is decided later."""
    topic, group = broker.topic(), broker.fresh("group")
    txn = begun(broker)
    assert txn.add_group(group) == 0
    assert txn.commit_offset(group, topic, 7) == 0
    broker.same("a plain commit while a transaction has one", broker.commit(group, topic, 4), 0)
    assert txn.end()["error"] == 0
    bed.wait_until(lambda: broker.committed(group, topic, require_stable=True)[2] == 0, 10, "the offset to be stable")
    broker.same("OffsetFetch after a plain commit and the end of a transaction", broker.committed(group, topic)[0], 4)


def test_offsets_that_add_their_group(broker):
    topic, group = broker.topic(), broker.fresh("group")
    txn = begun(broker)
    broker.same("TxnOffsetCommit v5", txn.commit_offset(group, topic, version=5), 0)
    broker.same("it began a transaction", txn.described()["state"], "Ongoing")
    broker.same("OffsetFetch of a group that has nothing yet", broker.committed(group, topic), (-1, "", 0))
    broker.same("OffsetFetch of what is stable", broker.committed(group, topic, require_stable=True), (-1, "", 88))
    broker.same("EndTxn v5", txn.end(version=5)["error"], 0)
    bed.wait_until(lambda: broker.committed(group, topic, require_stable=True)[2] == 0, 10, "the offset to be stable")
    broker.same("OffsetFetch after it", broker.committed(group, topic), (7, "m", 0))


def test_who_commits_offsets(broker):
    topic = broker.topic()
    member = alone(broker)
    group, me = member.group, dict(member=member.id, generation=member.generation)
    txn = begun(broker)
    assert txn.add_group(group) == 0
    broker.same("TxnOffsetCommit of a member", txn.commit_offset(group, topic, member=me), 0)
    broker.same("TxnOffsetCommit of another generation", txn.commit_offset(group, topic, member={**me, "generation": 9}), 22)
    broker.same("TxnOffsetCommit of a stranger", txn.commit_offset(group, topic, member={**me, "member": "stranger"}), 25)
    broker.same("TxnOffsetCommit of nobody in particular", txn.commit_offset(group, topic), 0)
    broker.same("TxnOffsetCommit v0", txn.commit_offset(group, topic, version=0), 0)
    broker.same("TxnOffsetCommit to a topic that is not there", txn.commit_offset(group, broker.fresh("nothing")), 3)
    broker.same("TxnOffsetCommit without an id", txn.commit_offset(group, topic, transactional_id=""), 0)
    broker.same("TxnOffsetCommit without a group", txn.commit_offset("", topic), 24)
    empty = broker.fresh("group")
    assert txn.add_group(empty) == 0
    broker.same("TxnOffsetCommit of a member of a group that is not there", txn.commit_offset(empty, topic, member=me), 22)


def test_offsets_of_members_of_new_groups(broker):
    """Java's producers know no STALE_MEMBER_EPOCH here: they would be over."""
    topic, group = broker.topic(), broker.fresh("group")
    member = NewMember(broker, group, [topic])
    assert member.beat()["error"] == 0
    txn = begun(broker)
    assert txn.add_group(group) == 0
    me = dict(member=member.id, generation=member.epoch)
    broker.same("TxnOffsetCommit of an epoch that is over", txn.commit_offset(group, topic, member={**me, "generation": 0}), 22)
    broker.same("TxnOffsetCommit of an epoch to come", txn.commit_offset(group, topic, member={**me, "generation": 99}), 22)
    broker.same("TxnOffsetCommit of a member that is not there", txn.commit_offset(group, topic, member={**me, "member": "nobody"}), 25)
    broker.same("TxnOffsetCommit of a member", txn.commit_offset(group, topic, member=me), 0)
    assert txn.end()["error"] == 0
    bed.wait_until(lambda: broker.committed(group, topic, require_stable=True)[2] == 0, 10, "the offset to be stable")
    broker.same("what it committed", broker.committed(group, topic, require_stable=True), (7, "m", 0))


# --- fencing ---


def test_a_second_producer_fences_the_first(broker):
    topic, group = broker.topic(), broker.fresh("group")
    old = begun(broker, topic)
    assert old.add_group(group) == 0
    new = Txn(broker, old.name)
    assert new.init()["error"] == 0
    broker.same("a batch of the first", old.send(topic)[0], 47)
    broker.same("a batch of the first of version 12", old.send(topic, ADDS)[0], 47)
    broker.same("AddPartitionsToTxn v3 of the first", old.add(topic), [90])
    broker.same("AddPartitionsToTxn v1 of the first", old.add(topic, version=1), [47])
    broker.same("AddOffsetsToTxn v3 of the first", old.add_group(group), 90)
    broker.same("AddOffsetsToTxn v1 of the first", old.add_group(group, version=1), 47)
    broker.same("TxnOffsetCommit v3 of the first", old.commit_offset(group, topic), 47)
    broker.same("TxnOffsetCommit v2 of the first", old.commit_offset(group, topic, version=2), 47)
    broker.same("TxnOffsetCommit v5 of the first", old.commit_offset(group, topic, version=5), 47)
    for commit in (True, False):
        broker.same(f"EndTxn v5 of the first (commit: {commit})", old.end(commit, version=5)["error"], 90)
        broker.same(f"EndTxn v3 of the first (commit: {commit})", old.end(commit)["error"], 90)
        broker.same(f"EndTxn v1 of the first (commit: {commit})", old.end(commit, version=1)["error"], 47)
    broker.same("InitProducerId of the first", old.init(producer_id=old.id, epoch=old.epoch)["error"], 90)
    assert new.add(topic) == [0]
    broker.same("a batch of the second", new.send(topic)[0], 0)
    broker.same("EndTxn of the second", new.end()["error"], 0)


def too_late(broker, topic):
    """A producer whose transaction was aborted because it took too long."""
    txn = begun(broker, topic, timeout=1_000)
    bed.wait_until(lambda: end_offset(broker, topic, COMMITTED) == 2, 20, "the abort", every=0.1)
    txn.until("CompleteAbort")
    return txn


def test_a_transaction_takes_too_long(broker):
    topic = broker.topic()
    before = time.monotonic()
    txn = too_late(broker, topic)
    broker.same("it was given its time", time.monotonic() - before > 0.9, True)
    found = fetch(broker, topic)
    broker.same("what took too long is aborted", found["aborted"], [{"producer_id": txn.id, "first_offset": 0}])
    broker.same("its producer has another epoch", txn.described()["epoch"], txn.epoch + 1)
    broker.same("a batch that comes too late", txn.send(topic)[0], 47)
    broker.same("a batch of version 12 that comes too late", txn.send(topic, ADDS)[0], 47)
    broker.same("AddPartitionsToTxn that comes too late", txn.add(topic), [90])
    broker.same("EndTxn v4 that comes too late", [txn.end(commit, version=4)["error"] for commit in (True, False)], [90, 90])
    broker.same("EndTxn v5 that commits too late", txn.end(version=5)["error"], 48)


def test_a_producer_that_took_too_long_asks_for_an_epoch(broker):
    """So do clients that know KIP-588: they go on as if they had aborted by themselves."""
    topic = broker.topic()
    txn = too_late(broker, topic)
    known = txn.init(producer_id=txn.id, epoch=txn.epoch)
    broker.same("InitProducerId of one that took too long", (known["error"], known["epoch"]), (0, 1))
    if known["error"] == 0:
        assert txn.add(topic) == [0]
        broker.same("it goes on", txn.send(topic), (0, 2))


def test_a_producer_that_took_too_long_aborts(broker):
    """So do clients that know KIP-890: the abort was theirs, too."""
    topic = broker.topic()
    txn = too_late(broker, topic)
    answer = txn.end(False, version=5)
    broker.same("EndTxn v5 that aborts too late", (answer["error"], answer["epoch"]), (0, 1))
    if answer["error"] == 0:
        broker.same("it goes on under the new epoch", txn.send(topic, ADDS), (0, 2))


# --- looking at them ---


def test_describe_transactions(broker):
    topic, group = broker.topic(2), broker.fresh("group")
    txn = begun(broker, timeout=12_345)
    found = txn.described()
    broker.same("an id without a transaction", (found["error"], found["state"], found["timeout"], found["topics"]), (0, "Empty", 12_345, []))
    broker.same("it did not begin", found["began"], -1)
    broker.same("its producer", (found["producer_id"], found["epoch"]), (txn.id, txn.epoch))
    txn.add(topic, partitions=(0, 1))
    found = txn.described()
    parts = [(t["name"], sorted(t["partitions"])) for t in found["topics"]]
    broker.same("an open transaction", (found["state"], parts), ("Ongoing", [(topic, [0, 1])]))
    broker.same("when it began", abs(time.time() * 1000 - found["began"]) < 10_000, True)
    txn.add_group(group)
    broker.same("topics of an open transaction with a group", topic in [t["name"] for t in txn.described()["topics"]], True)
    txn.end()
    txn.until("CompleteCommit")
    found = txn.described()
    broker.same("one that was committed", (found["error"], found["topics"]), (0, []))
    broker.same("when it began, once it is over", found["began"] > 0, True)
    missing = broker.ask("DescribeTransactions", 0, ids=[broker.fresh("nobody")])["transactions"][0]
    broker.same("DescribeTransactions of an id that is not there", (missing["error"], missing["state"], missing["producer_id"]), (105, "", 0))
    broker.same("DescribeTransactions of nothing", broker.ask("DescribeTransactions", 0, ids=[])["transactions"], [])
    broker.same("DescribeTransactions of an empty id", broker.ask("DescribeTransactions", 0, ids=[""])["transactions"][0]["error"], 42)


def test_list_transactions(broker):
    topic = broker.topic()
    empty, open_, over = begun(broker), begun(broker, topic), begun(broker, topic)
    assert over.end(False)["error"] == 0
    over.until("CompleteAbort")
    mine = {empty.name: "empty", open_.name: "open", over.name: "over"}

    def listed(version=2, **filters):
        answer = broker.ask("ListTransactions", version, **filters)
        assert answer["error"] == 0, answer
        return {mine[t["id"]]: t["state"] for t in answer["transactions"] if t["id"] in mine}

    broker.same("ListTransactions", listed(), {"empty": "Empty", "open": "Ongoing", "over": "CompleteAbort"})
    broker.same("ListTransactions of a state", listed(0, states=["Ongoing"]), {"open": "Ongoing"})
    broker.same("ListTransactions of a producer", listed(0, producers=[over.id]), {"over": "CompleteAbort"})
    broker.same("ListTransactions of a state and a producer", listed(0, producers=[over.id], states=["Ongoing"]), {})
    unknown = broker.ask("ListTransactions", 0, states=["NoSuchState", "Ongoing"])
    broker.same("a state that does not exist", (unknown["error"], unknown["unknown_states"]), (0, ["NoSuchState"]))
    broker.same("only states that do not exist", broker.ask("ListTransactions", 0, states=["NoSuchState"])["transactions"], [])
    broker.same("ListTransactions of what lasts an hour", listed(1, duration=3_600_000), {"empty": "Empty"})
    broker.same("ListTransactions of what lasts", listed(1, duration=0), {"open": "Ongoing", "over": "CompleteAbort", "empty": "Empty"})
    broker.same("ListTransactions by a pattern", listed(2, pattern=open_.name), {"open": "Ongoing"})
    broker.same("ListTransactions by a pattern that is none", broker.ask("ListTransactions", 2, pattern="(")["error"], 128)


def test_describe_producers(broker):
    topic = broker.topic(2)
    txn = begun(broker, topic)
    txn.send(topic, values=[b"a", b"b"])

    def described():
        answer = broker.ask("DescribeProducers", 0, topics=[{"name": topic, "partitions": [0, 1, 7]}])
        return {p["partition"]: p for p in answer["topics"][0]["partitions"]}

    found = described()
    (producer,) = found[0]["producers"]
    who = (producer["producer_id"], producer["epoch"], producer["last_sequence"], producer["open_since"])
    broker.same("a producer with an open transaction", who, (txn.id, txn.epoch, 2, 0))
    broker.same("a partition without producers", (found[1]["error"], found[1]["producers"]), (0, []))
    broker.same("DescribeProducers of a partition that is not there", found[7]["error"], 3)
    broker.same("coordinator's epoch of a producer before there was a marker", producer["coordinator_epoch"], -1)
    ended(txn, topic, True)
    (producer,) = described()[0]["producers"]
    broker.same("a producer without an open transaction", (producer["last_sequence"], producer["open_since"]), (2, -1))
    broker.same("its coordinator's epoch", producer["coordinator_epoch"], 0)


# --- versions ---


def test_features(broker):
    answer = broker.ask("ApiVersions", 4)
    finalized = {f["name"]: (f["low"], f["high"]) for f in answer["finalized"]}
    supported = {f["name"]: f["high"] for f in answer["supported"]}
    broker.same("transaction.version is finalized", finalized["transaction.version"], (2, 2))
    broker.same("transaction.version is supported", supported["transaction.version"], 2)
    broker.same("what is finalized has an epoch", answer["features_epoch"] >= 0, True)
    broker.same("ApiVersions v2 has no features", "finalized" in broker.ask("ApiVersions", 2), False)


VERSIONS = {
    "InitProducerId": 5, "AddPartitionsToTxn": 3, "AddOffsetsToTxn": 4, "EndTxn": 5, "TxnOffsetCommit": 5,
}  # fmt: skip


@pytest.mark.parametrize("step", range(6))
def test_the_life_of_a_transaction(broker, step):
    """Each request at one of its versions."""
    at = {name: min(step, last) for name, last in VERSIONS.items()}
    topic, group = broker.topic(), broker.fresh("group")
    txn = Txn(broker)
    broker.same(f"InitProducerId v{at['InitProducerId']}", txn.init(at["InitProducerId"])["error"], 0)
    broker.same(f"AddPartitionsToTxn v{at['AddPartitionsToTxn']}", txn.add(topic, version=at["AddPartitionsToTxn"]), [0])
    broker.same("Produce", txn.send(topic)[0], 0)
    broker.same(f"AddOffsetsToTxn v{at['AddOffsetsToTxn']}", txn.add_group(group, at["AddOffsetsToTxn"]), 0)
    broker.same(f"TxnOffsetCommit v{at['TxnOffsetCommit']}", txn.commit_offset(group, topic, version=at["TxnOffsetCommit"]), 0)
    broker.same(f"EndTxn v{at['EndTxn']}", txn.end(version=at["EndTxn"])["error"], 0)
    bed.wait_until(lambda: end_offset(broker, topic, COMMITTED) == 2, 10, "the marker")
    bed.wait_until(lambda: broker.committed(group, topic, require_stable=True)[0] == 7, 10, "the offset")
    for version in range(4, 18):
        asked = {"name": topic} if version < 13 else {"topic_id": broker.topic_id(topic)}
        parts = [{"partition": 0, "offset": 0}]
        answer = broker.ask("Fetch", version, isolation=COMMITTED, topics=[{**asked, "partitions": parts}])
        found = answer["topics"][0]["partitions"][0]
        broker.same(f"Fetch v{version}", (found["last_stable"], found["aborted"], len(batches(found["records"]))), (2, [], 2))


def test_the_coordinator_of_transactions(broker):
    for version in range(1, 7):
        asked = {"keys": ["an id"], "kind": 1} if version >= 4 else {"key": "an id", "kind": 1}
        answer = broker.ask("FindCoordinator", version, **asked)
        found = answer["coordinators"][0] if version >= 4 else answer
        broker.same(f"FindCoordinator v{version} of transactions", (found["error"], found["port"]), (0, broker.node.address()[1]))


def test_producers_do_not_wait_for_one_another(broker):
    """Many transactions at once, each in the same partition."""
    topic = broker.topic()

    def one():
        txn = begun(broker, topic)
        return [txn.end()["error"]]

    broker.same("EndTxn of many", together(*[one] * 8), [[0]] * 8)
    bed.wait_until(lambda: end_offset(broker, topic, COMMITTED) == 16, 10, "all markers")
