"""The checks themselves: each catches the history or the log that it is for, and passes one that is as it should be."""

import collections

import pytest

import history as h

Record = collections.namedtuple("Record", "partition offset value")


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


class World:
    """Two idempotent producers and a plain one that take turns on two partitions, and a log that keeps what it is sent."""

    def __init__(self, rounds=6):
        self.history = h.History(Clock())
        self.history.idempotent |= {"a", "b"}
        self.log = []
        self.ends = collections.Counter()
        for number in range(rounds):
            for producer in ("a", "b", "plain"):
                for partition in (0, 1):
                    self.acknowledge(self.append(self.send(producer, partition, number)))
        for offset in range(self.ends[0]):
            for partition in (0, 1):
                self.history.poll("reader", partition, offset, self.at(partition, offset).value)
        self.look()

    def send(self, producer, partition, number):
        return self.history.invoke(producer, partition, number, b"%s/%d/%d" % (producer.encode(), partition, number))

    def append(self, send):
        self.log.append(Record(send.partition, self.ends[send.partition], send.value))
        self.ends[send.partition] += 1
        return send

    def acknowledge(self, send):
        self.history.acknowledge(send, send.partition, self.ends[send.partition] - 1)

    def look(self, high=None, client="watcher"):
        self.history.saw(client, 0, self.history._clock(), 0, self.ends[0] if high is None else high)

    def at(self, partition, offset):
        return next(r for r in self.log if (r.partition, r.offset) == (partition, offset))

    def renumber(self):
        ends = collections.Counter()
        for place, record in enumerate(self.log):
            self.log[place] = record._replace(offset=ends[record.partition])
            ends[record.partition] += 1

    def swap(self, partition, one, two):
        first, second = self.at(partition, one), self.at(partition, two)
        at, to = self.log.index(first), self.log.index(second)
        self.log[at], self.log[to] = first._replace(value=second.value), second._replace(value=first.value)

    def violations(self):
        caught = set()
        for check in h.CHECKS:
            try:
                check(self.history, self.log)
            except h.Violation:
                caught.add(check)
        return caught


@pytest.fixture
def world():
    world = World()
    assert world.violations() == set()
    h.check(world.history, world.log)
    return world


def test_a_lost_record(world):
    world.log.pop()
    assert h.nothing_acknowledged_is_lost in world.violations()


def test_a_lost_record_in_the_middle(world):
    del world.log[6]
    world.renumber()
    assert {h.nothing_acknowledged_is_lost, h.every_producer_keeps_its_order} <= world.violations()


def test_a_record_acknowledged_without_an_offset(world):
    """It is somewhere, or it is lost."""
    send = world.append(world.send("a", 0, 6))
    world.history.acknowledge(send, 0, None)
    assert world.violations() == set()
    world.log.pop()
    assert world.violations() == {h.nothing_acknowledged_is_lost}


def test_a_record_that_is_there_twice(world):
    world.log.append(world.log[0])
    world.renumber()
    assert {h.nothing_is_there_twice, h.every_producer_keeps_its_order} <= world.violations()


def test_two_records_in_the_wrong_order(world):
    world.swap(0, 0, 3)
    assert {h.nothing_acknowledged_is_lost, h.every_producer_keeps_its_order} <= world.violations()


def test_acknowledgements_in_the_wrong_order(world):
    """The log agrees with them, but not with the order of sending: that of one producer, and that of real time."""
    world.swap(0, 2, 5)
    for send in world.history.sends:
        record = next(r for r in world.log if r.value == send.value)
        send.offset = record.offset
    caught = world.violations()
    assert {h.every_producer_keeps_its_order, h.order_follows_real_time} <= caught
    assert h.nothing_acknowledged_is_lost not in caught


def test_real_time_is_kept_across_producers(world):
    """A second producer's record is acknowledged, and only then a first one's sent, which gets the lower offset."""
    later, earlier = world.ends[0] + 1, world.ends[0]
    one = world.send("b", 0, 6)
    world.history.acknowledge(one, 0, later)
    two = world.send("a", 0, 6)
    world.history.acknowledge(two, 0, earlier)
    world.log += [Record(0, earlier, two.value), Record(0, later, one.value)]
    assert world.violations() == {h.order_follows_real_time}


def test_records_that_were_under_way_together_may_lie_either_way(world):
    one, two = world.send("b", 0, 6), world.send("a", 0, 6)
    world.acknowledge(world.append(two))
    world.acknowledge(world.append(one))
    assert world.violations() == set()


def test_a_gap(world):
    last = world.log.pop()
    world.log.append(last._replace(offset=last.offset + 1))
    assert h.offsets_have_no_gaps in world.violations()


def test_an_offset_with_two_records(world):
    world.log.append(world.log[-1])
    assert h.offsets_have_no_gaps in world.violations()


def test_a_refused_record_that_appears(world):
    send = world.append(world.send("plain", 0, 6))
    world.history.fail(send, "MSG_SIZE_TOO_LARGE", definite=True)
    assert world.violations() == {h.nothing_refused_appears}


def test_a_record_without_an_answer_may_appear_once(world):
    send = world.append(world.send("plain", 0, 6))
    world.history.fail(send, "REQUEST_TIMED_OUT", definite=False)
    world.append(world.send("plain", 1, 6))
    world.send("plain", 0, 7)
    assert world.violations() == set()
    world.append(send)
    assert world.violations() == {h.nothing_is_there_twice}


def test_a_changed_record(world):
    world.log[-1] = world.log[-1]._replace(value=b"something else")
    assert {h.nothing_appears_that_nobody_sent, h.nothing_acknowledged_is_lost} <= world.violations()


def test_a_record_in_another_partition(world):
    world.log.append(Record(1, world.ends[1], world.send("plain", 0, 6).value))
    assert world.violations() == {h.nothing_appears_that_nobody_sent}


def test_an_idempotent_producer_has_no_holes(world):
    """Number 6 never came, 7 did."""
    world.acknowledge(world.append(world.send("a", 0, 7)))
    assert world.violations() == {h.every_producer_keeps_its_order}


def test_a_second_answer(world):
    world.history.acknowledge(world.history.sends[0], 0, 0)
    assert world.violations() == {h.answered_once}


@pytest.mark.parametrize("offset", [world_end - 1 for world_end in (18, 20)], ids=["again", "skipped"])
def test_a_consumer_that_skips_or_repeats(world, offset):
    while world.ends[0] < 20:
        world.acknowledge(world.append(world.send("plain", 0, world.ends[0])))
    world.history.poll("reader", 0, offset, world.at(0, offset).value)
    assert world.violations() == {h.consumers_skip_nothing}


def test_a_consumer_that_is_given_something_else(world):
    world.history.polls["reader"][3].value = b"another"
    assert world.violations() == {h.everybody_reads_the_same}


def test_a_consumer_that_is_given_what_is_not_there_in_the_end(world):
    world.history.poll("reader", 0, world.ends[0], b"gone")
    assert world.violations() == {h.everybody_reads_the_same}


def test_a_watermark_that_goes_back(world):
    asked = world.history._clock()
    world.history.saw("other", 0, asked, 0, world.ends[0])
    world.history.saw("other", 0, 0.5, 0, world.ends[0] - 1)
    assert world.violations() == {h.watermarks_never_go_back}


@pytest.mark.parametrize("by", [-1, 1], ids=["behind an acknowledgement", "beyond the end"])
def test_a_watermark_that_is_wrong(world, by):
    world.look(world.ends[0] + by, client="other")
    assert world.violations() == {h.watermarks_cover_what_was_acknowledged}


def test_all_violations_are_named(world):
    world.log.pop()
    world.history.poll("reader", 0, 99, b"?")
    with pytest.raises(h.Violation) as raised:
        h.check(world.history, world.log)
    for name in ("nothing_acknowledged_is_lost", "consumers_skip_nothing", "everybody_reads_the_same"):
        assert name in str(raised.value)
