"""What clients saw of transactions that read, process and write, and whether a log can have shown it to them.

Records each transaction (who, what it read and wrote, how it was to end, what its client heard of it), what was sent
without one, what readers of both isolation levels were given, what they were told of the last stable offset. Knows no
Kafka. Each check raises `Violation` with an example; `check` runs them all and hides none behind another. Values are
unique, so that a record tells who wrote it; places are `(topic, partition)`.

Not judged: the order of records of different producers. Their transactions may lie across each other, as in Kafka.
"""

import collections
import dataclasses
import threading
import time

from history import Violation, short

COMMITTED, ABORTED, FENCED, UNKNOWN = "committed", "aborted", "fenced", "unknown"
NEVER = float("inf")

Record = collections.namedtuple("Record", "place offset value")
Write = collections.namedtuple("Write", "place value source")  # source: (place, offset) of what was read for it
Poll = collections.namedtuple("Poll", "at place offset value")
Stable = collections.namedtuple("Stable", "place stable end")  # the end was asked after the stable offset


@dataclasses.dataclass(slots=True, eq=False)
class Transaction:
    """One of an instance of a producer; instances and numbers rise. `asked` is when its client first asked to commit.

    Who was fenced, or heard nothing, may have committed if it had asked to. Who never asked has not.
    """

    producer: str
    instance: int
    number: int
    reads: list = dataclasses.field(default_factory=list)  # Poll
    writes: list = dataclasses.field(default_factory=list)  # Write
    asked: float = NEVER
    outcome: str = UNKNOWN
    why: str = "no answer"

    def __str__(self):
        return f"{self.producer}/{self.instance}/{self.number} ({self.outcome}: {self.why})"

    def key(self):
        return self.instance, self.number

    def may_be_there(self):
        return self.outcome == COMMITTED or (self.outcome in (FENCED, UNKNOWN) and self.asked != NEVER)


class History:
    """Filled by any number of threads; read when they have ended."""

    def __init__(self, inputs, clock=time.monotonic):
        # Topics of which every record is read by exactly one transaction that commits.
        self.inputs = set(inputs)
        self.transactions = []
        # Value: (place, whether it was acknowledged), of records outside transactions.
        self.sent = {}
        self.polls = {"read_committed": collections.defaultdict(list), "read_uncommitted": collections.defaultdict(list)}
        self.stable = collections.defaultdict(list)
        # What the group had committed in the end, by place.
        self.offsets = {}
        self._clock = clock
        self._lock = threading.Lock()

    def send(self, place, value, acknowledged=False):
        with self._lock:
            self.sent[value] = place, acknowledged

    def poll(self, isolation, consumer, place, offset, value):
        self.polls[isolation][consumer].append(Poll(self._clock(), place, offset, value))

    def saw(self, client, place, stable, end):
        self.stable[client].append(Stable(place, stable, end))

    def writers(self):
        """{value: its transaction}"""
        return {write.value: transaction for transaction in self.transactions for write in transaction.writes}

    def summary(self):
        outcomes = collections.Counter(transaction.outcome for transaction in self.transactions)
        unclear = sum(t.outcome in (FENCED, UNKNOWN) and t.may_be_there() for t in self.transactions)
        written = sum(len(transaction.writes) for transaction in self.transactions)
        polls = {isolation: sum(map(len, given.values())) for isolation, given in self.polls.items()}
        return (
            f"{len(self.transactions)} transactions ({dict(outcomes)}, {unclear} with a commit that nobody heard of), {written} records "
            f"written, {len(self.sent)} sent, polled {polls}, stable offsets seen {sum(map(len, self.stable.values()))} times"
        )


class Log:
    """All records as they were read in the end, under both isolation levels; within a place in the order of reading."""

    def __init__(self, committed, everything):
        self.committed, self.everything = committed, everything

    def of(self, isolation):
        records = self.committed if isolation == "read_committed" else self.everything
        places = collections.defaultdict(list)
        for record in records:
            places[record.place].append(record)
        return places


def check(history, log):
    """All of them. Raises one `Violation` that names every one."""
    found = []
    for look in CHECKS:
        try:
            look(history, log)
        except Violation as violation:
            found.append(f"{look.__name__}: {violation}")
    if found:
        raise Violation("\n".join(found))


# --- what became of a transaction ---


def nothing_aborted_is_read(history, log):
    """G1a: who reads committed records is never given one of a transaction that did not commit."""
    writers = history.writers()
    given = [("the log in the end", record) for record in log.committed]
    given += [(consumer, poll) for consumer, polls in history.polls["read_committed"].items() for poll in polls]
    given += [(str(t), poll) for t in history.transactions for poll in t.reads]
    for who, record in given:
        writer = writers.get(record.value)
        if writer is not None and not writer.may_be_there():
            raise Violation(f"{who} has {short(record.value)} at {record.place}, offset {record.offset}, of {writer}")


def nothing_committed_is_lost(history, log):
    there = {(record.place, record.value) for record in log.committed}
    for transaction in history.transactions:
        missing = [write for write in transaction.writes if (write.place, write.value) not in there]
        if transaction.outcome == COMMITTED and missing:
            raise Violation(f"{len(missing)} of {len(transaction.writes)} records of {transaction} are not there: {missing[0]}")


def nothing_acknowledged_is_lost(history, log):
    """Of what was sent outside transactions."""
    there = {(record.place, record.value) for record in log.committed}
    lost = [value for value, (place, acknowledged) in history.sent.items() if acknowledged and (place, value) not in there]
    if lost:
        raise Violation(f"{len(lost)} acknowledged records are not there: {short(lost[0])}")


def no_transaction_is_torn(history, log):
    """Whole or not at all, whatever its client heard."""
    there = {(record.place, record.value) for record in log.committed}
    for transaction in history.transactions:
        present = [write for write in transaction.writes if (write.place, write.value) in there]
        if present and len(present) != len(transaction.writes):
            missing = next(write for write in transaction.writes if write not in present)
            raise Violation(f"{len(present)} of {len(transaction.writes)} records of {transaction} are there: {present[0]}, not {missing}")


def nothing_is_there_twice(_, log):
    for name, records in (("read_committed", log.committed), ("read_uncommitted", log.everything)):
        doubled = [value for value, count in collections.Counter(record.value for record in records).items() if count > 1]
        if doubled:
            places = [(record.place, record.offset) for record in records if record.value == doubled[0]]
            raise Violation(f"{len(doubled)} records are there twice under {name}: {short(doubled[0])} at {places}")


def nothing_appears_that_nobody_wrote(history, log):
    """Nor in another place; and what is committed is a part of what is there."""
    known = {(place, value) for value, (place, _) in history.sent.items()}
    known |= {(write.place, write.value) for transaction in history.transactions for write in transaction.writes}
    for record in log.everything:
        if (record.place, record.value) not in known:
            raise Violation(f"{short(record.value)} at {record.place}, offset {record.offset}")
    extra = set(log.committed) - set(log.everything)
    if extra:
        raise Violation(f"{len(extra)} records are there under read_committed alone: {min(extra)}")


# --- reading, processing and writing ---


def transactions_read_what_is_there(history, log):
    at = {(record.place, record.offset): record.value for record in log.committed}
    for transaction in history.transactions:
        for read in transaction.reads:
            there = at.get((read.place, read.offset))
            if there != read.value:
                raise Violation(
                    f"{transaction} was given {short(read.value)} at {read.place}, offset {read.offset}; in the end there is {short(there)}"
                )


def each_input_has_one_output(history, log):
    """Exactly once."""
    writes = {write.value: write for transaction in history.transactions for write in transaction.writes}
    writers = history.writers()
    outputs = collections.defaultdict(list)
    for record in log.committed:
        if record.value in writes:
            outputs[writes[record.value].source].append(writers[record.value])
    wrong = [r for r in log.committed if r.place[0] in history.inputs and len(outputs[r.place, r.offset]) != 1]
    if wrong:
        first = wrong[0]
        by = ", ".join(map(str, outputs[first.place, first.offset])) or "nobody"
        raise Violation(f"{len(wrong)} inputs: {short(first.value)} at {first.place}, offset {first.offset} was processed by {by}")


def offsets_agree_with_the_output(history, log):
    """The group stands right behind the last record that a transaction read of which the output is there."""
    there = {record.value for record in log.committed}
    ends = collections.Counter()
    for transaction in history.transactions:
        if any(write.value in there for write in transaction.writes):
            for read in transaction.reads:
                ends[read.place] = max(ends[read.place], read.offset + 1)
    found = {place: offset for place, offset in history.offsets.items() if offset > 0}
    if found != dict(ends):
        place = min(place for place in {*found, *ends} if found.get(place) != ends.get(place))
        raise Violation(f"{place}: the group has committed {found.get(place)}, the output is that of everything before {ends.get(place)}")


# --- order ---


def every_producer_keeps_its_order(history, log):
    """G0: what one producer wrote to a place lies there in the order in which it wrote it, over all its instances and
    whether committed or not."""
    order = {write.value: (t.key(), index, t) for t in history.transactions for index, write in enumerate(t.writes)}
    last = {}
    for record in log.everything:
        if record.value not in order:
            continue
        key, index, transaction = order[record.value]
        before = last.get((transaction.producer, record.place))
        if before is not None and before[:2] > (key, index):
            raise Violation(f"{record.place}, offset {record.offset}: {transaction} lies behind {before[2]}")
        last[transaction.producer, record.place] = key, index, transaction


def no_cycle_of_reads_and_writes(history, log):
    """G1c: among those that committed, nobody depends on itself by what it read and what lies before what it wrote."""
    writers, there = history.writers(), {record.value for record in log.committed}
    done = [t for t in history.transactions if any(write.value in there for write in t.writes)]
    before = {t: {writers[read.value] for read in t.reads if read.value in writers} for t in done}
    last = {}
    for record in log.committed:
        if (writer := writers.get(record.value)) is None:
            continue
        previous = last.get((writer.producer, record.place))
        if previous is not None and previous is not writer:
            before[writer].add(previous)
        last[writer.producer, record.place] = writer
    left = dict(before)
    while ready := [t for t, needs in left.items() if not any(need in left for need in needs)]:
        for transaction in ready:
            del left[transaction]
    if left:
        raise Violation(f"{len(left)} transactions depend on each other: {', '.join(map(str, list(left)[:3]))}")


# --- readers ---


def polls_go_forward(history, _):
    for isolation, given in history.polls.items():
        for consumer, polls in given.items():
            last = {}
            for poll in polls:
                if poll.offset <= last.get(poll.place, -1):
                    raise Violation(f"{consumer} ({isolation}), {poll.place}: offset {poll.offset} after {last[poll.place]}")
                last[poll.place] = poll.offset


def readers_skip_nothing(history, log):
    """Each began at the first offset and was given what is there in the end, one record after the other, wherever it was moved."""
    for isolation, given in history.polls.items():
        places = log.of(isolation)
        for consumer, polls in given.items():
            following = collections.Counter()
            for poll in polls:
                part = places[poll.place]
                index = following[poll.place]
                there = part[index] if index < len(part) else None
                if there != Record(poll.place, poll.offset, poll.value):
                    raise Violation(f"{consumer} ({isolation}) was given {poll}, where {there} belongs")
                following[poll.place] += 1


def nothing_is_seen_before_its_commit(history, _):
    """Of a transaction, before its client asked to commit it."""
    writers = history.writers()
    given = [(consumer, poll) for consumer, polls in history.polls["read_committed"].items() for poll in polls]
    given += [(str(t), poll) for t in history.transactions for poll in t.reads]
    for who, poll in given:
        writer = writers.get(poll.value)
        if writer is not None and poll.at < writer.asked:
            raise Violation(f"{who} was given {short(poll.value)} {writer.asked - poll.at:.3f} s before the commit of {writer}")


def stable_offsets_never_go_back(history, _):
    """Nor lie beyond the end that is asked for after it."""
    for client, seen in history.stable.items():
        last = collections.Counter()
        for look in seen:
            if look.stable < last[look.place] or look.stable > look.end:
                raise Violation(f"{client}, {look.place}: stable offset {look.stable} after {last[look.place]}, end {look.end}")
            last[look.place] = look.stable


CHECKS = [
    nothing_aborted_is_read,
    nothing_committed_is_lost,
    nothing_acknowledged_is_lost,
    no_transaction_is_torn,
    nothing_is_there_twice,
    nothing_appears_that_nobody_wrote,
    transactions_read_what_is_there,
    each_input_has_one_output,
    offsets_agree_with_the_output,
    every_producer_keeps_its_order,
    no_cycle_of_reads_and_writes,
    polls_go_forward,
    readers_skip_nothing,
    nothing_is_seen_before_its_commit,
    stable_offsets_never_go_back,
]
