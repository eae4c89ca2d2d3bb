"""Copies a topic within transactions with confluent-kafka: reads it as a member of a group, writes what it read in capitals
to another topic, each record to the partition of the same number, the offsets with them; aborts one transaction in three.

Says on its standard output how far it is: "began", then "committed N" or "aborted", a line each. Ends with 0 when it is
asked to (SIGTERM), with 3 when it cannot go on; somebody starts it again then. The same program as `franz copy` of
../clients/go. The group must have committed offsets (see `copying`).
"""

import argparse
import random

from confluent_kafka import KafkaException

import copying


class Copier(copying.Copier):
    def __init__(self, options):
        common = {"bootstrap.servers": options.bootstrap, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 1000}
        producer = {"transactional.id": options.id, "transaction.timeout.ms": 15_000}
        member = {"group.id": options.group, "session.timeout.ms": 6000, "heartbeat.interval.ms": 300, "fetch.wait.max.ms": 100}
        if options.static:
            member["group.instance.id"] = options.static
        super().__init__(options.source, options.batch, common, producer, member)
        # The generation of the group in which the records at hand were read.
        self.target, self._dice, self._group = options.to, random.Random(options.seed), None

    def run(self):
        self._patiently_or_over(lambda: self._producer.init_transactions(copying.CALL_SECONDS), "init")
        self._consumer.subscribe([self.source], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken)
        while not self._stopping:
            self._gather()
            if self._read:
                self._transaction()
        self._consumer.close()

    def _given(self, *_):
        # Not when it is used: a member that was thrown out has no generation, and who has none may commit to an empty group.
        self._group = self._consumer.consumer_group_metadata()

    def _transaction(self):
        say("began")
        try:
            self._producer.begin_transaction()
            for message in self._read:
                self._producer.produce(self.target, message.value().upper(), message.key(), partition=message.partition())
            # What is not sent yet when a transaction is aborted is only forgotten.
            if self._dice.randrange(4) != 0:
                self._producer.flush(copying.PATIENCE_SECONDS)
            self._patiently(lambda: self._send_offsets(self._group), "offsets")
            if self._dice.randrange(3) == 0:
                return self._abort("wanted")
            self._patiently(lambda: self._producer.commit_transaction(copying.CALL_SECONDS), "commit")
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise copying.Over(error) from None
            return self._abort(error.args[0])
        return say(f"committed {len(self._read)}")

    def tell_over(self, why):
        say(f"over: {why}")

    def _abort(self, why):
        self._patiently_or_over(lambda: self._producer.abort_transaction(copying.CALL_SECONDS), "abort")
        self._rewind()
        say(f"aborted {len(self._read)}: {why}")


def say(line):
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--group", "--to", "--id", "--seed"):
        parser.add_argument(name, required=True)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--static", default="", help="its name as a static member (KIP-345); none makes it a dynamic one")
    parser.add_argument("--batch", type=int, default=40, help="records a transaction at most")
    Copier(parser.parse_args()).work()


if __name__ == "__main__":
    main()
