"""The checks of transactions themselves: each catches the history or the log that it is for, and passes one that is as it should be."""

import collections

import pytest

import transactions as t

RING, OUT = "ring", "out"
SOURCE, END = (RING, 0), (OUT, 0)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


class World:
    """Two producers that carry records from one partition of the ring to the other and on to the end, and a perfect log.

    Every second transaction of a producer is aborted and done again by its next.
    """

    def __init__(self, rounds=4):
        self.history = t.History({RING}, Clock())
        self.everything, self.committed = [], []
        self.ends = collections.Counter()
        self.numbers = collections.Counter()
        self.done = collections.Counter()
        for number in range(rounds):
            for index in range(2):
                self.sent(b"sent/%d/%d" % (number, index))
            self.step("a", SOURCE, [(RING, 1), (RING, 2)], commit=False)
            self.step("a", SOURCE, [(RING, 1), (RING, 2)])
            self.step("b", (RING, 1), [END])
            self.step("b", (RING, 2), [END], commit=number % 2 == 0)
        self.step("b", (RING, 2), [END])
        for isolation, records in (("read_committed", self.committed), ("read_uncommitted", self.everything)):
            for record in records:
                self.history.poll(isolation, isolation, *record)
        for place, offset in self.done.items():
            self.history.offsets[place] = offset
        for place, end in self.ends.items():
            self.history.saw("watcher", place, end, end)

    def log(self):
        return t.Log(self.committed, self.everything)

    def append(self, place, value, committed=True):
        record = t.Record(place, self.ends[place], value)
        self.ends[place] += 1
        self.everything.append(record)
        if committed:
            self.committed.append(record)
        return record

    def sent(self, value, place=SOURCE):
        self.history.send(place, value, acknowledged=True)
        return self.append(place, value)

    def begin(self, producer, reads, to, instance=1):
        self.numbers[producer] += 1
        transaction = t.Transaction(producer, instance, self.numbers[producer])
        for index, record in enumerate(reads):
            transaction.reads.append(t.Poll(self.history._clock(), *record))
            value = b"%s/%d/%d" % (producer.encode(), transaction.number, index)
            transaction.writes.append(t.Write(to[index % len(to)], value, (record.place, record.offset)))
        self.history.transactions.append(transaction)
        return transaction

    def end(self, transaction, committed, outcome=None):
        if committed:
            transaction.asked = self.history._clock()
        for write in transaction.writes:
            self.append(write.place, write.value, committed)
        for place in {write.place for write in transaction.writes}:
            self.ends[place] += 1  # the marker
        transaction.outcome = outcome or (t.COMMITTED if committed else t.ABORTED)

    def step(self, producer, place, to, commit=True):
        """Reads what nobody has processed yet, and writes it on."""
        reads = [record for record in self.committed if record.place == place and record.offset >= self.done[place]]
        transaction = self.begin(producer, reads, to)
        self.end(transaction, commit)
        if commit and reads:
            self.done[place] = reads[-1].offset + 1
        return transaction

    def of(self, producer, outcome=t.COMMITTED):
        """The last one with more than one record, or else the last."""
        found = [x for x in self.history.transactions if (x.producer, x.outcome) == (producer, outcome) and x.writes]
        return max(found, key=lambda x: (len(x.writes), x.number))

    def forget(self, write):
        self.committed = [record for record in self.committed if record.value != write.value]

    def appear(self, write):
        self.committed = [record for record in self.everything if record in self.committed or record.value == write.value]

    def unpolled(self):
        """Nobody but the log tells."""
        for given in self.history.polls.values():
            given.clear()

    def violations(self):
        caught = set()
        for check in t.CHECKS:
            try:
                check(self.history, self.log())
            except t.Violation:
                caught.add(check)
        return caught


@pytest.fixture
def world():
    world = World()
    assert world.violations() == set()
    t.check(world.history, world.log())
    assert {x.outcome for x in world.history.transactions} == {t.COMMITTED, t.ABORTED}
    return world


def test_an_aborted_record_that_is_committed(world):
    world.unpolled()
    world.appear(world.of("a", t.ABORTED).writes[0])
    assert t.nothing_aborted_is_read in world.violations()


def test_an_aborted_record_that_a_reader_was_given(world):
    """Then, though it is not there in the end."""
    write = world.of("a", t.ABORTED).writes[0]
    offset = next(record.offset for record in world.everything if record.value == write.value)
    world.history.poll("read_committed", "another", write.place, offset, write.value)
    assert {t.nothing_aborted_is_read, t.readers_skip_nothing} <= world.violations()


def test_an_aborted_record_that_a_transaction_read(world):
    write = world.of("a", t.ABORTED).writes[0]
    record = next(record for record in world.everything if record.value == write.value)
    world.of("b").reads.append(t.Poll(world.history._clock(), *record))
    assert {t.nothing_aborted_is_read, t.transactions_read_what_is_there} <= world.violations()


def test_a_committed_transaction_that_is_lost(world):
    world.unpolled()
    for write in world.of("b").writes:
        world.forget(write)
    assert {t.nothing_committed_is_lost, t.each_input_has_one_output} <= world.violations()
    assert t.no_transaction_is_torn not in world.violations()


def test_a_torn_transaction(world):
    """Also one of which nobody heard."""
    world.unpolled()
    transaction = world.of("b")
    transaction.outcome = t.UNKNOWN
    world.forget(transaction.writes[0])
    assert {t.no_transaction_is_torn, t.each_input_has_one_output} <= world.violations()


@pytest.mark.parametrize("outcome", [t.UNKNOWN, t.FENCED])
def test_a_transaction_without_an_answer_may_be_there_or_not(world, outcome):
    record = world.sent(b"more")
    transaction = world.begin("c", [record], [END])
    transaction.asked, transaction.outcome = world.history._clock(), outcome
    world.history.transactions.append(again := t.Transaction("c", 1, 9, list(transaction.reads)))
    again.writes = [t.Write(END, b"again", transaction.writes[0].source)]
    world.end(again, True)
    world.history.offsets[SOURCE] = record.offset + 1
    assert world.violations() == set()
    world.append(*transaction.writes[0][:2])
    assert t.each_input_has_one_output in world.violations()
    assert t.nothing_aborted_is_read not in world.violations()


@pytest.mark.parametrize("outcome", [t.UNKNOWN, t.FENCED])
def test_who_never_asked_to_commit_is_not_there(world, outcome):
    transaction = world.of("b")
    transaction.asked, transaction.outcome = t.NEVER, outcome
    assert t.nothing_aborted_is_read in world.violations()


def test_an_acknowledged_record_that_is_lost(world):
    world.unpolled()
    world.history.send(SOURCE, b"lost", acknowledged=True)
    assert world.violations() == {t.nothing_acknowledged_is_lost}


def test_a_record_that_is_there_twice(world):
    world.append(END, world.of("b").writes[0].value)
    assert {t.nothing_is_there_twice, t.each_input_has_one_output} <= world.violations()


def test_an_aborted_record_that_is_there_twice(world):
    write = world.of("a", t.ABORTED).writes[-1]
    world.append(write.place, write.value, committed=False)
    assert t.nothing_is_there_twice in world.violations()


@pytest.mark.parametrize("committed", [True, False])
def test_a_record_that_nobody_wrote(world, committed):
    world.append(END, b"strange", committed)
    assert world.violations() == {t.nothing_appears_that_nobody_wrote}


def test_a_record_in_another_place(world):
    world.unpolled()
    write = world.of("b").writes[0]
    for records in (world.everything, world.committed):
        at = next(index for index, record in enumerate(records) if record.value == write.value)
        records[at] = records[at]._replace(place=(OUT, 1))
    assert {t.nothing_appears_that_nobody_wrote, t.nothing_committed_is_lost} <= world.violations()


def test_a_record_that_only_readers_of_committed_ones_see(world):
    world.unpolled()
    world.everything.remove(world.committed[0])
    assert world.violations() == {t.nothing_appears_that_nobody_wrote}


def test_a_transaction_that_was_given_something_else(world):
    reads = world.of("b").reads
    reads[0] = reads[0]._replace(value=b"something else")
    assert world.violations() == {t.transactions_read_what_is_there}


def test_an_input_that_two_processed(world):
    record = next(record for record in world.committed if record.place == SOURCE)
    world.end(world.begin("c", [record], [END]), True)
    assert world.violations() == {t.each_input_has_one_output}


def test_an_input_that_nobody_processed(world):
    world.sent(b"left")
    assert world.violations() == {t.each_input_has_one_output}


@pytest.mark.parametrize("by", [-1, 1], ids=["behind", "ahead"])
def test_an_offset_that_does_not_agree(world, by):
    """Output without its offset, and an offset without output."""
    world.history.offsets[SOURCE] += by
    assert world.violations() == {t.offsets_agree_with_the_output}


def test_an_offset_of_a_transaction_that_was_aborted(world):
    record = world.sent(b"left")
    world.end(world.begin("c", [record], [END]), False)
    world.history.offsets[SOURCE] = record.offset + 1
    assert world.violations() == {t.offsets_agree_with_the_output, t.each_input_has_one_output}


def swap(world, one, two):
    """The values at two places in the log."""
    for records in (world.everything, world.committed):
        at = {record.value: index for index, record in enumerate(records)}
        first, second = records[at[one]], records[at[two]]
        records[at[one]], records[at[two]] = first._replace(value=second.value), second._replace(value=first.value)


def test_two_transactions_of_one_producer_in_the_wrong_order(world):
    world.unpolled()
    mine = [x for x in world.history.transactions if (x.producer, x.outcome) == ("b", t.COMMITTED) and x.writes]
    swap(world, mine[0].writes[0].value, mine[1].writes[0].value)
    assert t.every_producer_keeps_its_order in world.violations()


def test_two_records_of_one_transaction_in_the_wrong_order(world):
    world.unpolled()
    record, another = world.sent(b"one more"), world.sent(b"and another")
    transaction = world.begin("c", [record, another], [END])
    world.end(transaction, True)
    world.history.offsets[SOURCE] = another.offset + 1
    assert world.violations() == set()
    swap(world, *(write.value for write in transaction.writes))
    assert world.violations() == {t.every_producer_keeps_its_order}


def test_a_zombie_that_writes_behind_its_heir(world):
    records = [world.sent(b"for the zombie"), world.sent(b"for the heir")]
    zombie = world.begin("c", records[:1], [END], instance=1)
    world.end(world.begin("c", records[1:], [END], instance=2), True)
    world.end(zombie, True)
    world.history.offsets[SOURCE] = records[1].offset + 1
    assert world.violations() == {t.every_producer_keeps_its_order}


def test_two_transactions_that_read_from_each_other(world):
    """Each processes what the other wrote: G1c."""
    first, second = t.Transaction("c", 1, 1), t.Transaction("d", 1, 1)
    world.history.transactions += [first, second]
    written = [world.append((RING, 3), b"of c"), world.append((RING, 4), b"of d")]
    for transaction, own, other in ((first, *written), (second, *reversed(written))):
        transaction.asked, transaction.outcome = 0, t.COMMITTED
        transaction.reads.append(t.Poll(world.history._clock(), *other))
        transaction.writes.append(t.Write(own.place, own.value, (other.place, other.offset)))
        world.history.offsets[other.place] = other.offset + 1
    assert world.violations() == {t.no_cycle_of_reads_and_writes}


def test_a_consumer_that_goes_back(world):
    record = world.committed[0]
    world.history.poll("read_committed", "read_committed", *record)
    assert world.violations() == {t.polls_go_forward, t.readers_skip_nothing}


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_a_consumer_that_skips(world, isolation):
    del world.history.polls[isolation][isolation][3]
    assert world.violations() == {t.readers_skip_nothing}


def test_a_record_that_is_given_out_before_its_commit(world):
    """It committed in the end, but nobody could know."""
    world.of("b").asked = world.history._clock() + 1
    assert world.violations() == {t.nothing_is_seen_before_its_commit}


def test_a_stable_offset_that_goes_back(world):
    world.history.saw("watcher", END, world.ends[END] - 1, world.ends[END])
    assert world.violations() == {t.stable_offsets_never_go_back}


def test_a_stable_offset_beyond_the_end(world):
    world.history.saw("another", END, 2, 1)
    assert world.violations() == {t.stable_offsets_never_go_back}


def test_all_violations_are_named(world):
    world.unpolled()
    world.forget(world.of("b").writes[0])
    with pytest.raises(t.Violation) as raised:
        t.check(world.history, world.log())
    for name in ("nothing_committed_is_lost", "each_input_has_one_output", "no_transaction_is_torn"):
        assert name in str(raised.value)
