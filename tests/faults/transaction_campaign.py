"""Copiers at work on a cluster behind proxies, those who watch them, and the judgement at the end.

A source fills the ring outside transactions, copiers (processes of their own) carry each record round it and out of it,
followers read both topics under both isolation levels, a watcher asks for the last stable offsets. A copier that ends is
followed by an heir under its transactional id; one that stopped may have an heir while it lives. Afterwards each record
that was sent must have left the ring in bounded time, no transaction may stay open, and the history must allow the log.
Must not know which faults there were.
"""

import collections
import functools
import json
import signal
import sys
import time

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

import bed
import copier as program
import transactions
from clientlib import admin, bootstrap, consumer, create_topic, producer
from copying import begin_at_first
from load import NEVER_GIVES_UP, QUICK, Worker
from transactions import Record

SCRIPT = program.__file__
PLACES = [(program.RING, p) for p in range(program.RING_PARTITIONS)] + [(program.OUT, p) for p in range(program.OUT_PARTITIONS)]
GROUP = "copiers"
TIMEOUT_MS = 5_000
# Until all that was sent has left the ring: some transaction time-outs, or the session of a member of KIP-848 that could not
# say that it leaves (45 s, from when its coordinator was found), on a slow machine.
FINISH_SECONDS = 120
RECORDS_A_SECOND = 40
ISOLATIONS = ("read_committed", "read_uncommitted")


def placed(where):
    return TopicPartition(*where)


class Source(Worker):
    """Sends numbers to the ring, outside transactions, and never gives up.

    One at a time to a partition: librdkafka whose record overtakes another one, because the partition has moved to a node that
    answers sooner, is told so, raises its epoch, and sends again what may be there in all other partitions (its issue 4953).
    """

    def __init__(self, history, nodes):
        super().__init__("source")
        self.acknowledged = self.sent = 0
        self._history, self._rng = history, bed.seeded("source")
        self._free = set(range(program.RING_PARTITIONS))
        self._client = producer(nodes, linger_ms=5, **QUICK, **NEVER_GIVES_UP)

    def _delivered(self, place, value, error, _):
        self._free.add(place[1])
        if error is not None:
            return self.errors.append(f"{value}: {error}")
        self.acknowledged += 1
        self._history.send(place, value, acknowledged=True)

    def _run(self):
        while not self._stop.wait(1 / RECORDS_A_SECOND) and not self.errors:
            self._client.poll(0)
            if not self._free:
                continue
            place = program.RING, self._rng.choice(sorted(self._free))
            self._free.remove(place[1])
            value = b"0 %d source" % self.sent
            self._history.send(place, value)
            self._client.produce(place[0], value, partition=place[1], on_delivery=functools.partial(self._delivered, place, value))
            self.sent += 1

    def finish(self, timeout):
        self.stop()
        self.join()
        self._client.flush(timeout)
        self.assert_unharmed()
        assert self.acknowledged == self.sent, f"{self.sent - self.acknowledged} records had no answer after {timeout} s"


class Follower(Worker):
    """Reads both topics from the first offset on under one isolation level, moved to another node every few seconds."""

    def __init__(self, history, nodes, isolation, name):
        super().__init__(name)
        self.history, self.isolation, self._nodes = history, isolation, nodes
        self.at = dict.fromkeys(PLACES, 0)
        self.given = collections.Counter()
        self._rng = bed.seeded(f"follower {name}")

    def _run(self):
        while not self._stop.is_set():
            client = consumer(
                self._rng.choice(self._nodes),
                isolation_level=self.isolation,
                error_cb=lambda error: self.tolerate(error, self.name),
                **QUICK,
            )
            try:
                client.assign([TopicPartition(*place, offset) for place, offset in self.at.items()])
                self._read(client, time.monotonic() + self._rng.uniform(1, 4))
            finally:
                client.close()

    def _read(self, client, until):
        while time.monotonic() < until and not self._stop.is_set():
            for message in client.consume(1000, 0.2):
                place = message.topic(), message.partition()
                if message.error() is not None:
                    self.tolerate(message.error(), f"{place}, position {self.at.get(place)}")
                    continue
                self.history.poll(self.isolation, self.name, place, message.offset(), message.value())
                self.at[place] = message.offset() + 1
                self.given[place[0]] += 1

    def finish(self):
        self.stop()
        self.join()
        self.assert_unharmed()


class Watcher(Worker):
    """Asks one node after the other for the last stable offset and then for the end."""

    def __init__(self, history, nodes):
        super().__init__("watcher")
        self._history, self._nodes, self._rng = history, nodes, bed.seeded("stable offsets")

    def _run(self):
        clients = {isolation: [consumer(node, isolation_level=isolation, **QUICK) for node in self._nodes] for isolation in ISOLATIONS}
        try:
            while not self._stop.wait(0.05):
                place = self._rng.choice(PLACES)
                try:
                    ends = [
                        self._rng.choice(clients[isolation]).get_watermark_offsets(placed(place), timeout=5, cached=False)
                        for isolation in ISOLATIONS
                    ]
                except KafkaException as error:
                    self.tolerate(error.args[0], f"ends of {place}")
                    continue
                if None not in ends:
                    self._history.saw(self.name, place, ends[0][1], ends[1][1])
        finally:
            for several in clients.values():
                for client in several:
                    client.close()

    def finish(self):
        self.stop()
        self.join()
        self.assert_unharmed()


class Instance(bed.Process):
    """One copier process and its journal."""

    def __init__(self, folder, nodes, name, number, protocol):
        super().__init__(f"{name}/{number}", folder / f"{name}-{number}.log")
        self.producer, self.number = name, number
        self.journal = folder / f"{name}-{number}.journal"
        seed = bed.SEED
        self.spawn(
            [sys.executable, "-B", SCRIPT, bootstrap(nodes), name, number, self.journal, seed, protocol, TIMEOUT_MS],
            bed.clean_environment(),
        )
        self.stopped = False

    def events(self):
        """What it wrote down; the line in which it died is left out."""
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_bytes().split(b"\n")[:-1]]

    def is_ready(self):
        return any(event["event"] == "ready" for event in self.events())

    def suspend(self):
        self.stopped = True
        self.child.send_signal(signal.SIGSTOP)

    def wake(self):
        self.stopped = False
        self.child.send_signal(signal.SIGCONT)

    def inside(self):
        """Whether a transaction is open, as far as its journal tells."""
        events = self.events()
        return bool(events) and events[-1]["event"] in ("began", "commit", "abort")

    def last_words(self):
        """Whether it lives, and the last event."""
        events = self.events()
        return self.running(), (events[-1]["event"], time.monotonic() - events[-1]["at"]) if events else None

    def transactions(self):
        found = []
        for event in self.events():
            kind = event["event"]
            if kind == "began":
                found.append(transactions.Transaction(self.producer, self.number, event["number"]))
                found[-1].reads = [transactions.Poll(event["at"], (program.RING, p), o, v.encode()) for p, o, v in event["reads"]]
                found[-1].writes = [
                    transactions.Write((topic, p), value.encode(), ((program.RING, of), at))
                    for topic, p, value, of, at in event["writes"]
                ]
            elif kind == "commit":
                found[-1].asked = event["at"]
            elif kind == "ended":
                found[-1].outcome, found[-1].why = event["outcome"], event["why"]
            elif kind == "over" and found and found[-1].outcome == transactions.UNKNOWN:
                found[-1].why = event["why"]
                found[-1].outcome = transactions.FENCED if "FENCED" in event["why"] else transactions.UNKNOWN
        return found


class Campaign:
    def __init__(self, cluster, folder, protocol="classic", copiers=3):
        self.cluster, self._folder, self._protocol = cluster, folder, protocol
        self.history = transactions.History({program.RING})
        nodes = cluster.nodes
        create_topic(nodes[0], program.RING, program.RING_PARTITIONS)
        create_topic(nodes[0], program.OUT, program.OUT_PARTITIONS)
        begin_at_first(bootstrap(nodes), GROUP, program.RING, program.RING_PARTITIONS)
        self.source = Source(self.history, nodes)
        self.followers = [Follower(self.history, nodes, isolation, f"{isolation}-{n}") for isolation in ISOLATIONS for n in (1, 2)]
        self.watcher = Watcher(self.history, nodes)
        self._workers = [self.source, self.watcher, *self.followers]
        self.instances = []
        # The one that is to work now, by transactional id.
        self.current = {}
        # Transactions of producers that never end them, and nobody succeeds; with their clients.
        self.abandoned = []
        self._names = [f"copier-{n + 1}" for n in range(copiers)]

    def __enter__(self):
        print(f"seed {bed.SEED}")
        for name in self._names:
            self.follow(name)
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_):
        for worker in self._workers:
            worker.stop()
        for instance in self.instances:
            if instance.running():
                instance.kill9()
        for worker in self._workers:
            worker._thread.join(60)

    def follow(self, name):
        """The next instance of this producer, whatever the last one does."""
        number = sum(instance.producer == name for instance in self.instances) + 1
        self.current[name] = Instance(self._folder, self.cluster.nodes, name, number, self._protocol)
        self.instances.append(self.current[name])
        return self.current[name]

    def tend(self):
        """Replaces who has died; ends at the first thing that must not be."""
        for worker in self._workers:
            worker.assert_unharmed()
        for instance in self.instances:
            code = instance.child.poll()
            assert code in (None, 0, program.CANNOT_GO_ON, -signal.SIGKILL), f"{instance.name}: {code}\n{bed.tail(instance.log)}"
        for name, instance in self.current.items():
            if not instance.running():
                self.follow(name)

    def run(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.05)

    def wait_until(self, condition, timeout, what):
        bed.wait_until(lambda: (self.tend(), condition())[1], timeout, what, 0.1)

    def progress(self):
        """Records of the output that a reader of committed ones was given."""
        return max(follower.given[program.OUT] for follower in self.followers if follower.isolation == "read_committed")

    def caught_inside(self, timeout=10):
        """An instance in the middle of a transaction, or the last one there is."""
        rng, until = bed.seeded(f"victim {len(self.instances)}"), time.monotonic() + timeout
        while True:
            self.tend()
            instances = [instance for instance in self.current.values() if instance.is_ready() and not instance.stopped]
            rng.shuffle(instances)
            inside = [instance for instance in instances if instance.inside()]
            if inside or (instances and time.monotonic() > until):
                return (inside or instances)[0]
            time.sleep(0.002)

    def abandon(self):
        """A transaction over every partition whose producer goes silent: only time ends it."""
        name = f"loner-{len(self.abandoned) + 1}"
        transaction = transactions.Transaction(name, 1, 1, why="left alone")
        transaction.writes = [transactions.Write(place, b"9 %s %d" % (name.encode(), n), None) for n, place in enumerate(PLACES)]
        client = producer(
            self.cluster.nodes,
            transactional_id=name,
            transaction_timeout_ms=TIMEOUT_MS,
            message_timeout_ms=TIMEOUT_MS,
            socket_timeout_ms=4000,
            **QUICK,
        )
        self.abandoned.append((transaction, client))
        bed.wait_until(lambda: begun(client), FINISH_SECONDS, f"{name} to begin")
        for write in transaction.writes:
            client.produce(write.place[0], write.value, partition=write.place[1])
        client.flush(TIMEOUT_MS / 1000)

    # --- the end ---

    def judge(self):
        self.cluster.heal()
        healed = time.monotonic()
        self.source.finish(FINISH_SECONDS)
        sent = self.source.acknowledged
        stuck = None
        try:
            self.wait_until(lambda: self.progress() >= sent, FINISH_SECONDS, f"{sent} records to leave the ring")
        except bed.BedError as error:
            # What was lost never leaves it: the history tells more than the clock.
            stuck = error
            print("they were at:", {instance.name: instance.last_words() for instance in self.instances})
            print("who had what:", shares(self.cluster.nodes))
        settled = time.monotonic() - healed
        for instance in self.instances:
            # A client whose static member was fenced may not come to an end by itself.
            if instance.running():
                instance.terminate(30) if self.current[instance.producer] is instance else instance.kill9()
        bed.wait_until(lambda: not self._open(), 30, "all transactions to be ended", 0.5)
        self._catch_up()
        for worker in (self.watcher, *self.followers):
            worker.finish()
        self.history.transactions = [t for instance in self.instances for t in instance.transactions()]
        self.history.transactions += [transaction for transaction, _ in self.abandoned]
        cold = self.cluster.cold()
        self.history.offsets = committed_offsets(cold)
        log = transactions.Log(*(read_all(cold, isolation) for isolation in ISOLATIONS))
        print(f"{self.history.summary()}; {len(log.committed)} of {len(log.everything)} records committed, {len(self.instances)} instances")
        print(f"injected: {dict(self.cluster.injected())}; {sent} records had left the ring {settled:.1f} s after the faults ended")
        print("passing errors:", {worker.name: dict(worker.transient) for worker in self._workers if worker.transient})
        over = [event["why"] for instance in self.instances for event in instance.events() if event["event"] == "over"]
        print("ended early:", dict(collections.Counter(map(cause, over))))
        aborted = [t.why for t in self.history.transactions if t.outcome == transactions.ABORTED]
        print("aborted:", dict(collections.Counter(map(cause, aborted))))
        transactions.check(self.history, log)
        assert stuck is None, f"{stuck}; {self.progress()} did"
        for node in self.cluster.nodes:
            for isolation, records in zip(ISOLATIONS, (log.committed, log.everything)):
                assert read_all(node, isolation) == records, f"{node.name} gives out another log than a cold one ({isolation})"
        out = [record for record in log.committed if record.place[0] == program.OUT]
        assert len(out) == sent, f"{sent} records were sent, {len(out)} left the ring"
        self._assert_it_proves_something()

    def _assert_it_proves_something(self):
        outcomes = collections.Counter(transaction.outcome for transaction in self.history.transactions)
        wide = [t for t in self.history.transactions if t.outcome == transactions.COMMITTED and len({w.place for w in t.writes}) > 1]
        assert outcomes[transactions.COMMITTED] and outcomes[transactions.ABORTED] and wide, f"this test proves little: {dict(outcomes)}"

    def _open(self):
        listed = bed.run_command(["txn", "list", "--store", self.cluster.store.url, "--format", "json"], self.cluster.store).stdout
        return b"ngoing" in listed

    def _catch_up(self):
        """Every follower has been given what is there."""
        wanted = {isolation: last_offsets(read_all(self.cluster.nodes[0], isolation)) for isolation in ISOLATIONS}

        def done(follower):
            return all(follower.at[place] > last for place, last in wanted[follower.isolation].items())

        for follower in self.followers:
            bed.wait_until(lambda f=follower: f.errors or done(f), FINISH_SECONDS, f"{follower.name} to catch up", 0.1)


def cause(why):
    """What it says before the details."""
    return why.split(": KafkaError")[0]


def begun(client):
    try:
        client.init_transactions(5)
    except KafkaException as error:
        if error.args[0].retriable():
            return False
        raise
    client.begin_transaction()
    return True


def last_offsets(records):
    return {record.place: record.offset for record in records}


def shares(nodes):
    """{client id: its partitions}"""
    client = admin(nodes)
    group = client.describe_consumer_groups([GROUP], request_timeout=15)[GROUP].result(20)
    return {member.client_id: [of.partition for of in member.assignment.topic_partitions] for member in group.members}


def committed_offsets(node):
    client = admin(node)
    asked = ConsumerGroupTopicPartitions(GROUP, [placed(place) for place in PLACES if place[0] == program.RING])
    found = client.list_consumer_group_offsets([asked], request_timeout=15)[GROUP].result(20)
    return {(of.topic, of.partition): of.offset for of in found.topic_partitions}


def read_all(node, isolation, timeout=60):
    """Everything that may be read, in order within each place."""
    client = consumer(node, isolation_level=isolation, enable_partition_eof=True)
    try:
        records, left, until = [], set(PLACES), time.monotonic() + timeout
        client.assign([TopicPartition(*place, 0) for place in PLACES])
        while left:
            assert time.monotonic() < until, f"{left} were not read to the end in {timeout} s"
            for message in client.consume(1000, 0.5):
                place = message.topic(), message.partition()
                if message.error() is None:
                    records.append(Record(place, message.offset(), message.value()))
                elif message.error().name() == "_PARTITION_EOF":
                    left.discard(place)
                else:
                    raise KafkaException(message.error())
        return sorted(records, key=lambda record: record.place)
    finally:
        client.close()
