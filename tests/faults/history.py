"""What clients saw, and whether a log can have shown it to them.

Records every send with the time at which it began and the time at which it was answered, every record that a consumer
was given, every watermark. Knows no Kafka: the log, as somebody read it at the end, is a list of things with
`partition`, `offset` and `value`. Each check raises `Violation` with an example; `check` runs them all and hides none
behind another. Values are unique: no two sends are alike, so that a record tells whose it is.
"""

import collections
import dataclasses
import threading
import time

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"


class Violation(AssertionError):
    """Something that no log may show."""


@dataclasses.dataclass(slots=True, eq=False)
class Send:
    """One record on its way: when it began, and what its producer heard of it.

    Acknowledged without an offset (`None`): it is there, the client was not told where. Refused: it must never appear. Unknown, as is every send without an answer: it may appear, once.
    """

    producer: str
    partition: int
    number: int
    value: bytes
    invoked: float
    returned: float = float("inf")
    outcome: str = UNKNOWN
    offset: int | None = None
    why: str = "no answer"

    def __str__(self):
        return f"{self.producer}/{self.partition}/{self.number}"


@dataclasses.dataclass(slots=True)
class Poll:
    """One record as a consumer was given it."""

    partition: int
    offset: int
    value: bytes


@dataclasses.dataclass(slots=True)
class Watermarks:
    """First offset and the one after the last, as a client was told them."""

    partition: int
    invoked: float
    low: int
    high: int


class History:
    """Filled by any number of threads; read when they have ended."""

    def __init__(self, clock=time.monotonic):
        self.sends = []
        self.polls = collections.defaultdict(list)
        self.watermarks = collections.defaultdict(list)
        # Producers whose records have to be there all, once, in the order in which they were sent.
        self.idempotent = set()
        self._clock = clock
        self._lock = threading.Lock()
        self._twice = []

    def invoke(self, producer, partition, number, value):
        """A send begins. The caller ends it with `acknowledge` or `fail`, or never."""
        send = Send(producer, partition, number, value, self._clock())
        self.sends.append(send)
        return send

    def acknowledge(self, send, partition, offset):
        self._end(send, ACKNOWLEDGED, "acknowledged")
        send.offset = offset
        if partition != send.partition:
            self._twice.append(f"{send} was acknowledged in partition {partition}")

    def fail(self, send, why, definite):
        self._end(send, REFUSED if definite else UNKNOWN, why)

    def _end(self, send, outcome, why):
        with self._lock:
            if send.returned != float("inf"):
                self._twice.append(f"{send} was answered twice: {send.why}, then {why}")
            send.returned, send.outcome, send.why = self._clock(), outcome, why

    def poll(self, consumer, partition, offset, value):
        self.polls[consumer].append(Poll(partition, offset, value))

    def saw(self, client, partition, invoked, low, high):
        """`invoked`: when the client asked."""
        self.watermarks[client].append(Watermarks(partition, invoked, low, high))

    def acknowledged(self):
        return [send for send in self.sends if send.outcome == ACKNOWLEDGED]

    def placed(self):
        """Those acknowledged at an offset."""
        return [send for send in self.acknowledged() if send.offset is not None]

    def summary(self):
        outcomes = collections.Counter(send.outcome for send in self.sends)
        polls = sum(map(len, self.polls.values()))
        looks = sum(map(len, self.watermarks.values()))
        outcomes["without an offset"] = outcomes[ACKNOWLEDGED] - len(self.placed())
        return f"{len(self.sends)} sends ({dict(outcomes)}), {polls} records polled, watermarks seen {looks} times"


# --- the checks ---


def check(history, log):
    """All of them, against the log as it was read in the end. Raises one `Violation` that names every one."""
    found = []
    for look in CHECKS:
        try:
            look(history, log)
        except Violation as violation:
            found.append(f"{look.__name__}: {violation}")
    if found:
        raise Violation("\n".join(found))


def answered_once(history, _):
    if history._twice:
        raise Violation(history._twice[0])


def offsets_have_no_gaps(_, log):
    """In each partition 0, 1, 2, ..., in the order in which they were read."""
    following = collections.Counter()
    for record in log:
        if record.offset != following[record.partition]:
            raise Violation(f"partition {record.partition}: offset {record.offset} where {following[record.partition]} belongs")
        following[record.partition] += 1


def nothing_acknowledged_is_lost(history, log):
    """Each acknowledged record lies at the offset of its acknowledgement."""
    at = {(record.partition, record.offset): record.value for record in log}
    there = {(record.partition, record.value) for record in log}
    missing = [send for send in history.acknowledged() if (send.partition, send.value) not in there]
    if missing:
        raise Violation(f"{len(missing)} acknowledged records are not there: {missing[0]}, acknowledged at offset {missing[0].offset}")
    lost = [send for send in history.placed() if at.get((send.partition, send.offset)) != send.value]
    if lost:
        first = lost[0]
        there = at.get((first.partition, first.offset))
        elsewhere = [place for place, value in at.items() if value == first.value]
        raise Violation(
            f"{len(lost)} acknowledged records are not where they were acknowledged: {first} at offset {first.offset}; "
            f"there is {short(there)}; the record is at {elsewhere or 'no offset'}"
        )


def nothing_is_there_twice(_, log):
    """No client here sends a record again under another identity, so that none may appear twice."""
    times = collections.Counter(record.value for record in log)
    doubled = [value for value, count in times.items() if count > 1]
    if doubled:
        places = [(record.partition, record.offset) for record in log if record.value == doubled[0]]
        raise Violation(f"{len(doubled)} records are there twice: {short(doubled[0])} at {places}")


def nothing_refused_appears(history, log):
    there = {record.value for record in log}
    risen = [send for send in history.sends if send.outcome == REFUSED and send.value in there]
    if risen:
        raise Violation(f"{len(risen)} records are there that were refused: {risen[0]} ({risen[0].why})")


def nothing_appears_that_nobody_sent(history, log):
    sent = {(send.partition, send.value) for send in history.sends}
    foreign = [record for record in log if (record.partition, record.value) not in sent]
    if foreign:
        first = foreign[0]
        raise Violation(f"{len(foreign)} records that nobody sent there: {short(first.value)} at {first.partition}/{first.offset}")


def every_producer_keeps_its_order(history, log):
    """Acknowledged records of one producer in one partition lie in the order in which they were sent; those of an
    idempotent one also without a hole, whatever became of them."""
    last = {}
    for send in sorted(history.placed(), key=lambda send: (send.producer, send.partition, send.offset)):
        before = last.get((send.producer, send.partition))
        if before is not None and before.number >= send.number:
            raise Violation(f"{before} at offset {before.offset} lies before {send} at {send.offset}")
        last[send.producer, send.partition] = send
    by_value = {send.value: send for send in history.sends if send.producer in history.idempotent}
    following = collections.Counter()
    for record in log:
        if send := by_value.get(record.value):
            expected = following[send.producer, send.partition]
            if send.number != expected:
                raise Violation(f"{send} at offset {record.offset}, where number {expected} belongs")
            following[send.producer, send.partition] += 1


def order_follows_real_time(history, _):
    """Whatever was acknowledged before a send began lies before it."""
    partitions = collections.defaultdict(list)
    for send in history.placed():
        partitions[send.partition].append(send)
    for sends in partitions.values():
        sends.sort(key=lambda send: -send.offset)
        earliest = sends[0]
        for send in sends:
            if earliest.returned < send.invoked:
                raise Violation(
                    f"{earliest} was acknowledged at offset {earliest.offset} {send.invoked - earliest.returned:.3f} s "
                    f"before {send} was sent, which got offset {send.offset}"
                )
            if send.returned < earliest.returned:
                earliest = send


def consumers_skip_nothing(history, _):
    """Each consumer began at offset 0 and was given every offset after it, once, in order, wherever it was moved."""
    for consumer, polls in history.polls.items():
        following = collections.Counter()
        for poll in polls:
            if poll.offset != following[poll.partition]:
                raise Violation(
                    f"{consumer} was given offset {poll.offset} of partition {poll.partition} where {following[poll.partition]} belongs"
                )
            following[poll.partition] += 1


def everybody_reads_the_same(history, log):
    """One record an offset, for ever: what a consumer was given then is what is there in the end."""
    at = {(record.partition, record.offset): record.value for record in log}
    for consumer, polls in history.polls.items():
        for poll in polls:
            there = at.get((poll.partition, poll.offset))
            if there != poll.value:
                raise Violation(
                    f"{consumer} was given {short(poll.value)} at {poll.partition}/{poll.offset}; in the end there is {short(there)}"
                )


def watermarks_never_go_back(history, _):
    for client, seen in history.watermarks.items():
        last = {}
        for look in seen:
            low, high = last.get(look.partition, (0, 0))
            if look.low < low or look.high < high or look.low > look.high:
                raise Violation(
                    f"{client} saw {low} to {high} in partition {look.partition}, and then {look.low} to {look.high}"
                )
            last[look.partition] = look.low, look.high


def watermarks_cover_what_was_acknowledged(history, log):
    """Whoever asks for the end after an acknowledgement is told an end after it, and never one beyond the log."""
    ends = collections.Counter(record.partition for record in log)
    acknowledged = collections.defaultdict(list)
    for send in sorted(history.placed(), key=lambda send: send.returned):
        acknowledged[send.partition].append(send)
    for client, seen in history.watermarks.items():
        highest, at = collections.Counter(), collections.Counter()
        for look in sorted(seen, key=lambda look: look.invoked):
            sends = acknowledged[look.partition]
            while at[look.partition] < len(sends) and sends[at[look.partition]].returned < look.invoked:
                highest[look.partition] = max(highest[look.partition], sends[at[look.partition]].offset + 1)
                at[look.partition] += 1
            if not highest[look.partition] <= look.high <= ends[look.partition]:
                raise Violation(
                    f"{client} was told {look.high} as the end of partition {look.partition}: {highest[look.partition]} "
                    f"were acknowledged before it asked, {ends[look.partition]} are there in the end"
                )


def short(value):
    return "nothing" if value is None else repr(value[:40].rstrip(b"."))


CHECKS = [
    answered_once,
    offsets_have_no_gaps,
    nothing_acknowledged_is_lost,
    nothing_is_there_twice,
    nothing_refused_appears,
    nothing_appears_that_nobody_sent,
    every_producer_keeps_its_order,
    order_follows_real_time,
    consumers_skip_nothing,
    everybody_reads_the_same,
    watermarks_never_go_back,
    watermarks_cover_what_was_acknowledged,
]
