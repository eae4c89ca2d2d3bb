"""What every Python client of the matrix is put through, once, for all of them; runs on Python 3.7 and later.

Knows no client: an adapter (confluent.py, kafkapython.py, aiokafka_.py) hands in a `Client` and calls `main`, which runs the
scenarios asked for and prints one JSON line each: {"scenario", "ok", "detail", "facts"}. `ok` is null where the client has no
such thing. Topics that are not the scenario's own subject exist already: test_matrix.py makes them, and judges the facts.
"""

import argparse
import json
import os
import sys
import threading
import time
import traceback

PATIENCE = 20.0


class Client:
    """What an adapter provides; what it leaves out, the client does not have."""

    name = "?"
    version = "?"
    codecs = ["none"]
    # What the client does not have: {scenario: the reason}.
    lacks = {}
    # False: nothing may be on its way to a member of it that is told to leave, or it is lost.
    leaves_cleanly = True

    def __init__(self, bootstrap, filled):
        self.bootstrap, self.filled = bootstrap, filled

    def producer(self, codec="none", idempotent=False):
        """An object with `send_all(topic, [(key, value)])`, which waits for every acknowledgement, and `close()`."""
        raise NotImplementedError

    def transactional(self, name):
        """An object with `begin()`, `send_all(topic, [(key, value)])`, `send_offsets({(topic, partition): next offset}, consumer, group)`,
        `commit()`, `abort()` and `close()`; another one of its name is fenced when this returns."""
        raise NotImplementedError

    def consumer(self, group, topics, static=None, cooperative=False, kip848=False, limit=None):
        """One that reads what is committed: an object with `poll(seconds) -> [(topic, partition, offset, key, value)]`, `owned() -> {(topic, partition)}`,
        `commit({(topic, partition): next offset})` and `close()`, which may return records that poll has not; used from one
        thread at a time. It commits by itself, unless there is a limit: then so many records are taken, and committed by hand."""
        raise NotImplementedError

    def admin(self):
        """An object with any of: create, partitions, configs, alter, add_partitions, delete, groups, describe, delete_group."""
        raise NotImplementedError


class Member:
    """A consumer in a thread of its own, so that the members of a group do not wait for one another."""

    def __init__(self, client, group, topics, limit=None, **options):
        self.client, self.group, self.topics, self.limit, self.options = client, group, topics, limit, options
        self.seen, self.history, self.error = [], [], None
        self._stop, self.ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            consumer = self.client.consumer(self.group, self.topics, limit=self.limit, **self.options)
            try:
                while not self._stop.is_set():
                    self._take(consumer.poll(0.1))
                    owned = frozenset(consumer.owned())
                    if not self.history or self.history[-1] != owned:
                        self.history.append(owned)
                    if self.limit is not None and len(self.seen) >= self.limit:
                        consumer.commit(self._positions())
                        break
            finally:
                self._take(consumer.close() or [])
        except Exception as error:
            self.error = "%s: %s" % (type(error).__name__, error)
            traceback.print_exc()

    def _take(self, records):
        for record in records:
            if self.limit is None or len(self.seen) < self.limit:
                self.seen.append(record)

    def _positions(self):
        positions = {}
        for topic, partition, offset, _, _ in self.seen:
            positions[(topic, partition)] = max(positions.get((topic, partition), 0), offset + 1)
        return positions

    def owned(self):
        return self.history[-1] if self.history else frozenset()

    def close(self):
        """Stops it and waits until it has left; what it met on its way is raised here."""
        self._stop.set()
        self.finished()

    def finished(self):
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "a consumer could not be closed in %d s" % PATIENCE
        assert self.error is None, self.error


def wait(condition, what, members=(), patience=PATIENCE):
    deadline = time.time() + patience
    while True:
        value = condition()
        if value:
            return value
        for member in members:
            assert member.error is None, member.error
        assert time.time() < deadline, "waited %d s for %s" % (patience, what)
        time.sleep(0.02)


# --- producing and reading ---


def numbered(prefix, count):
    return [(("key-%d" % (n % 7)).encode(), ("%s-%d " % (prefix, n)).encode() + b"x" * 40) for n in range(count)]


def produce(client, prefix):
    """One topic a codec; the test reads them back with another client."""
    for codec in client.codecs:
        producer = client.producer(codec=codec)
        producer.send_all("%s-produce-%s" % (prefix, codec), numbered(codec, 60))
        producer.close()
    return "codecs: %s" % ", ".join(client.codecs), {"codecs": client.codecs}


def idempotence(client, prefix):
    """The test looks whether the stored batches carry a producer id, and each record once."""
    producer = client.producer(idempotent=True)
    for part in range(3):
        producer.send_all("%s-idempotence" % prefix, numbered("idempotent-%d" % part, 20))
    producer.close()
    return "", {}


def consume(client, prefix):
    """All topics of the codecs that this client can read, which the test has filled; it compares what was read."""
    topics = ["%s-%s" % (client.filled, codec) for codec in client.codecs]
    member = Member(client, "%s-consume" % prefix, topics)
    wait(lambda: len(member.seen) >= 40 * len(topics), "the records of %s" % topics, [member])
    member.close()
    read = [[t, p, o, k.decode() if k is not None else None, v.decode() if v is not None else None] for t, p, o, k, v in member.seen]
    return "codecs: %s" % ", ".join(client.codecs), {"read": read}


# --- groups ---


class Stream:
    """Numbered records, produced all the while; `sent` holds those that were acknowledged."""

    def __init__(self, client, topic):
        self.sent, self.error, self._stop = [], None, threading.Event()
        # Held while a batch is produced: whoever else holds it stops the stream.
        self.flowing = threading.Lock()
        self._thread = threading.Thread(target=self._run, args=(client, topic), daemon=True)
        self._thread.start()

    def _run(self, client, topic):
        try:
            producer = client.producer()
            while not self._stop.is_set() or len(self.sent) < 40:
                first = len(self.sent)
                values = [("%d" % n).encode() for n in range(first, first + 20)]
                with self.flowing:
                    producer.send_all(topic, [(v, v) for v in values])
                    self.sent += values
                time.sleep(0.05)
            producer.close()
        except Exception as error:
            self.error = "%s: %s" % (type(error).__name__, error)
            traceback.print_exc()

    def stop(self):
        self._stop.set()
        self._thread.join(PATIENCE)
        assert self.error is None, self.error
        assert not self._thread.is_alive(), "the producer did not end"


def two_members(client, group, topic, **options):
    """A joins, then B; B leaves; a stream of records all the while. Returns both when A owns everything again."""
    stream = Stream(client, topic)
    a = Member(client, group, [topic], **options)
    wait(lambda: len(a.owned()) == 4, "the only member to own 4 partitions", [a])
    b = Member(client, group, [topic], **options)
    both = [a, b]
    wait(lambda: len(a.owned()) == 2 and len(b.owned()) == 2 and not a.owned() & b.owned(), "2 partitions for each of 2 members", both)
    wait(lambda: b.seen and a.seen, "records for both members", both)
    if client.leaves_cleanly:
        b.close()
    else:
        with stream.flowing:
            wait_for_all(stream, a, b)
            b.close()
    wait(lambda: len(a.owned()) == 4, "the remaining member to own 4 partitions", [a])
    stream.stop()
    wait_for_all(stream, a, b)
    a.close()
    return a, b, len(stream.sent)


def wait_for_all(stream, a, b):
    def missing():
        return set(stream.sent) - {record[4] for record in a.seen + b.seen}

    try:
        wait(lambda: not missing(), "every record of the stream at some member", [a])
    except AssertionError as error:
        raise AssertionError("%s: %d of %d did not come, one is %r" % (error, len(missing()), len(stream.sent), min(missing())))


def rebalance(client, prefix):
    _, b, sent = two_members(client, "%s-rebalance" % prefix, "%s-rebalance" % prefix)
    return "", {"sent": sent, "second member saw": len(b.seen)}


def cooperative(client, prefix):
    """Whoever had partitions keeps those that do not move."""
    a, _, sent = two_members(client, "%s-cooperative" % prefix, "%s-cooperative" % prefix, cooperative=True)
    first = next(i for i, owned in enumerate(a.history) if len(owned) == 4)
    least = min(len(owned) for owned in a.history[first:])
    assert least == 2, "the first member was left with %d partitions in between: not cooperative" % least
    return "", {"sent": sent}


def kip848(client, prefix):
    _, _, sent = two_members(client, "%s-kip848" % prefix, "%s-kip848" % prefix, kip848=True)
    return "", {"sent": sent}


def commit(client, prefix):
    """Half is read and committed; a new member reads exactly the other half."""
    topic, group = "%s-commit" % prefix, "%s-commit" % prefix
    producer = client.producer()
    producer.send_all(topic, numbered("commit", 100))
    producer.close()
    first = Member(client, group, [topic], limit=50)
    wait(lambda: len(first.seen) >= 50, "the first half", [first])
    first.finished()
    second = Member(client, group, [topic])
    wait(lambda: len(second.seen) >= 50, "the second half", [second])
    time.sleep(0.3)
    second.close()
    taken = [{(t, p, o) for t, p, o, _, _ in m.seen} for m in (first, second)]
    again = taken[0] & taken[1]
    assert not again, "%d committed records came again, one of them %r" % (len(again), sorted(again)[0])
    assert len(taken[0]) == 50 and len(taken[1]) == 50, "read %d and %d of 100 records" % (len(taken[0]), len(taken[1]))
    return "", {}


def static(client, prefix):
    """A static member (KIP-345) that goes and comes again has its partitions again, and the others notice nothing."""
    topic = group = "%s-static" % prefix
    a = Member(client, group, [topic], static="a")
    wait(lambda: len(a.owned()) == 4, "the only member to own 4 partitions", [a])
    b = Member(client, group, [topic], static="b")
    wait(lambda: len(a.owned()) == 2 and len(b.owned()) == 2, "2 partitions for each", [a, b])
    had, changes = a.owned(), len(b.history)
    a.close()
    again = Member(client, group, [topic], static="a")
    wait(lambda: again.owned() == had, "the returned member to own what it had: %r" % sorted(had), [again, b])
    time.sleep(0.5)
    assert len(b.history) == changes, "the other member was rebalanced: %r" % [sorted(o) for o in b.history]
    again.close()
    b.close()
    return "", {}


# --- transactions ---


def transactions(client, prefix):
    """Reads, writes and commits offsets in one transaction after the other; every third is aborted and made anew. A second producer
    of the same name fences the first."""
    topic, group, out = "%s-transactions" % prefix, "%s-transactions" % prefix, "%s-transactions-out" % prefix
    producer = client.producer(idempotent=True)
    producer.send_all(topic, numbered("transactions", 120))
    producer.close()
    first = client.transactional("%s-id" % prefix)
    copy(client, first, group, topic, out)
    second = client.transactional("%s-id" % prefix)
    try:
        first.begin()
        first.send_all(out, [(b"first", b"of a producer that is fenced")])
        first.commit()
    except Exception as error:
        detail = "fenced: %s" % type(error).__name__
    else:
        raise AssertionError("the first producer was not fenced")
    second.begin()
    second.send_all(out, [(b"second", b"of the second producer")])
    second.commit()
    member = Member(client, "%s-reader" % group, [out])
    wait(lambda: len(member.seen) >= 121, "what is committed", [member])
    time.sleep(0.3)
    member.close()
    return detail, {"read": [[key.decode(), value.decode()] for _, _, _, key, value in member.seen]}


def copy(client, producer, group, topic, out):
    consumer = client.consumer(group, [topic], limit=120)
    copied, number, deadline = 0, 0, time.time() + 2 * PATIENCE
    while copied < 120:
        assert time.time() < deadline, "copied %d of 120 records" % copied
        records = consumer.poll(0.2)
        for first in range(0, len(records), 10):
            part = records[first : first + 10]
            pairs = [(key, value) for _, _, _, key, value in part]
            ends = {(topic, partition): offset + 1 for topic, partition, offset, _, _ in part}
            number += 1
            for commit in (False, True) if number % 3 == 1 else (True,):
                producer.begin()
                producer.send_all(out, pairs)
                producer.send_offsets(ends, consumer, group)
                if commit:
                    producer.commit()
                else:
                    producer.abort()
            copied += len(part)
    consumer.close()


# --- administration ---


def admin(client, prefix):
    """Everything that the client's admin interface has, in the order of a topic's life; what it lacks is said in the detail."""
    there = client.admin()
    lacking = []

    def part(name):
        if hasattr(there, name):
            return getattr(there, name)
        lacking.append(name)
        return None

    topic = "%s-admin" % prefix
    there.create(topic, 2, {"retention.ms": "3600000"})
    wait(lambda: there.partitions(topic) == 2, "the topic to be listed with 2 partitions")
    configs = part("configs")
    if configs:
        found = configs(topic)
        assert found.get("retention.ms") == "3600000", "retention.ms is %r of %r" % (found.get("retention.ms"), sorted(found))
        assert found.get("cleanup.policy") == "delete", "cleanup.policy is %r" % found.get("cleanup.policy")
    if part("alter"):
        there.alter(topic, {"retention.ms": "7200000"})
        wait(lambda: configs(topic).get("retention.ms") == "7200000", "the altered config")
    if part("add_partitions"):
        there.add_partitions(topic, 5)
        wait(lambda: there.partitions(topic) == 5, "the topic to have 5 partitions")
    admin_groups(client, there, part, topic)
    if part("delete"):
        there.delete(topic)
        wait(lambda: there.partitions(topic) is None, "the deleted topic to be gone")
    if hasattr(there, "close"):
        there.close()
    return ("not in this client: %s" % ", ".join(lacking) if lacking else ""), {"lacking": lacking}


def admin_groups(client, there, part, topic):
    group = "%s-group" % topic
    names = [name for name in ("groups", "describe", "delete_group") if part(name)]
    if not names:
        return
    member = Member(client, group, [topic])
    wait(lambda: member.owned(), "a member with partitions", [member])
    if "groups" in names:
        wait(lambda: group in there.groups(), "the group to be listed", [member])
    if "describe" in names:
        wait(lambda: there.describe(group) == ("stable", 1), "the group to be described as stable with one member", [member])
    member.close()
    if "delete_group" in names:
        wait(lambda: succeeds(there.delete_group, group), "the empty group to be deleted")
        if "groups" in names:
            wait(lambda: group not in there.groups(), "the deleted group to be gone from the list")


def succeeds(action, *arguments):
    """A group is empty only when its last member's leaving has been dealt with."""
    try:
        action(*arguments)
    except Exception as error:
        print("still: %s" % error, file=sys.stderr)
        return False
    return True


SCENARIOS = {
    f.__name__: f for f in (produce, consume, rebalance, commit, admin, idempotence, kip848, static, cooperative, transactions)
}  # fmt: skip


def run(client, prefix, name):
    began = time.time()
    facts = {}
    try:
        if name in client.lacks:
            ok, detail = None, client.lacks[name]
        else:
            ok, (detail, facts) = True, SCENARIOS[name](client, prefix)
    except AssertionError as error:
        ok, detail = False, str(error)
    except Exception as error:
        traceback.print_exc()
        ok, detail = False, "%s: %s" % (type(error).__name__, error)
    line = {"scenario": name, "ok": ok, "detail": detail, "facts": facts, "seconds": round(time.time() - began, 2)}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(kind):
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--filled", required=True)
    parser.add_argument("--scenarios", required=True)
    arguments = parser.parse_args()
    client = kind(arguments.bootstrap, arguments.filled)
    print(json.dumps({"client": client.name, "version": client.version}), flush=True)
    for name in arguments.scenarios.split(","):
        run(client, arguments.prefix, name)
    # A scenario that failed may have left threads that would never end.
    os._exit(0)
