"""confluent-kafka, from 1.0 on: librdkafka behind Python. Run by the Python of the venv that holds the version wanted."""

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import admin as ck_admin

import scenarios

# The old ones answer (text, number), the new ones the text alone.
VERSION = confluent_kafka.version() if isinstance(confluent_kafka.version(), str) else confluent_kafka.version()[0]
NUMBERS = tuple(int(number) for number in VERSION.split(".")[:2])

# The time-out that old ones send if not told otherwise is 0: KRaft answers REQUEST_TIMED_OUT, does nothing, and they say "done".
WAIT = {"operation_timeout": 10}


class Confluent(scenarios.Client):
    name = "confluent-kafka"
    version = VERSION
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]

    lacks = {
        scenario: "librdkafka has it since %s" % ".".join(map(str, since))
        for scenario, since in {"static": (1, 4), "transactions": (1, 4), "cooperative": (1, 6), "kip848": (2, 12)}.items()
        if NUMBERS < since
    }

    def producer(self, codec="none", idempotent=False):
        return Writer(
            {
                "bootstrap.servers": self.bootstrap,
                "compression.codec": codec,
                "enable.idempotence": idempotent,
                "linger.ms": 20,
                "message.timeout.ms": 15000,
            }
        )

    def transactional(self, name):
        return TransactionalWriter({"bootstrap.servers": self.bootstrap, "transactional.id": name, "linger.ms": 20})

    def consumer(self, group, topics, static=None, cooperative=False, kip848=False, limit=None):
        config = {
            "bootstrap.servers": self.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": limit is None,
            "auto.commit.interval.ms": 200,
            "fetch.wait.max.ms": 100,
            "check.crcs": True,
        }
        # librdkafka knows it from 1.2 on.
        if confluent_kafka.libversion()[1] >= 0x01020000:
            config["isolation.level"] = "read_committed"
        if kip848:
            config["group.protocol"] = "consumer"
        else:
            config.update({"session.timeout.ms": 6000, "heartbeat.interval.ms": 300})
        if static:
            config["group.instance.id"] = static
        if cooperative:
            config["partition.assignment.strategy"] = "cooperative-sticky"
        return Reader(config, topics)

    def admin(self):
        return Admin(self.bootstrap)


class Writer:
    def __init__(self, config):
        self.client = Producer(config)

    def send_all(self, topic, records):
        reports = []
        for key, value in records:
            self.client.produce(topic, value=value, key=key, on_delivery=lambda error, _: reports.append(error))
        left = self.client.flush(15)
        errors = [error for error in reports if error is not None]
        assert not errors, "%d of %d records failed: %s" % (len(errors), len(records), errors[0])
        assert left == 0 and len(reports) == len(records), "%d of %d records were not acknowledged in 15 s" % (left, len(records))

    def close(self):
        pass


class TransactionalWriter(Writer):
    def __init__(self, config):
        super().__init__(config)
        self.client.init_transactions(20)
        self.begin = self.client.begin_transaction

    def send_offsets(self, positions, consumer, group):
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
        self.client.send_offsets_to_transaction(offsets, consumer.client.consumer_group_metadata(), 20)

    def commit(self):
        self.client.commit_transaction(20)

    def abort(self):
        self.client.abort_transaction(20)


class Reader:
    def __init__(self, config, topics):
        self.client = Consumer(config)
        self.client.subscribe(topics)

    def poll(self, seconds):
        # One at a time: before 2.1, consume() loses what it holds when a rebalance comes, and commits it all the same.
        records = []
        message = self.client.poll(seconds)
        while message is not None:
            if message.error() is not None:
                raise confluent_kafka.KafkaException(message.error())
            records.append((message.topic(), message.partition(), message.offset(), message.key(), message.value()))
            message = self.client.poll(0) if len(records) < 500 else None
        return records

    def owned(self):
        return {(p.topic, p.partition) for p in self.client.assignment()}

    def commit(self, positions):
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
        for done in self.client.commit(offsets=offsets, asynchronous=False):
            assert done.error is None, done.error

    def close(self):
        self.client.close()


class Admin:
    """AdminClient has grown over the years: the methods beyond topics are there where it has them."""

    def __init__(self, bootstrap):
        self.client = ck_admin.AdminClient({"bootstrap.servers": bootstrap})
        if NUMBERS >= (2, 3):
            self.alter = self._alter_incrementally
        if hasattr(self.client, "list_consumer_groups"):
            self.groups, self.describe, self.delete_group = self._groups, self._describe, self._delete_group
        elif hasattr(self.client, "list_groups"):
            self.groups, self.describe = self._groups_of_old, self._describe_of_old

    def create(self, topic, partitions, config):
        self._done(self.client.create_topics([ck_admin.NewTopic(topic, partitions, 1, config=config)], request_timeout=10, **WAIT))

    def partitions(self, topic):
        found = self.client.list_topics(timeout=10).topics.get(topic)
        return len(found.partitions) if found is not None else None

    def configs(self, topic):
        asked = ck_admin.ConfigResource(ck_admin.ConfigResource.Type.TOPIC, topic)
        answer = self.client.describe_configs([asked], request_timeout=10)
        (found,) = [future.result(10) for future in answer.values()]
        return {name: entry.value for name, entry in found.items()}

    def alter(self, topic, config):
        # The old request replaces the whole configuration.
        resource = ck_admin.ConfigResource(ck_admin.ConfigResource.Type.TOPIC, topic, set_config=config)
        self._done(self.client.alter_configs([resource], request_timeout=10))

    def _alter_incrementally(self, topic, config):
        entries = [
            ck_admin.ConfigEntry(name, value, incremental_operation=ck_admin.AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ck_admin.ConfigResource(ck_admin.ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        self._done(self.client.incremental_alter_configs([resource], request_timeout=10))

    def add_partitions(self, topic, total):
        self._done(self.client.create_partitions([ck_admin.NewPartitions(topic, total)], request_timeout=10, **WAIT))

    def delete(self, topic):
        self._done(self.client.delete_topics([topic], request_timeout=10, **WAIT))

    def _groups(self):
        return [group.group_id for group in self.client.list_consumer_groups(request_timeout=10).result(10).valid]

    def _describe(self, group):
        found = self.client.describe_consumer_groups([group], request_timeout=10)[group].result(10)
        return found.state.name.lower(), len(found.members)

    def _delete_group(self, group):
        self._done(self.client.delete_consumer_groups([group], request_timeout=10))

    def _groups_of_old(self):
        return [group.id for group in self.client.list_groups(timeout=10)]

    def _describe_of_old(self, group):
        (found,) = self.client.list_groups(group, timeout=10)
        return found.state.lower(), len(found.members)

    @staticmethod
    def _done(futures):
        for future in futures.values():
            future.result(10)


if __name__ == "__main__":
    scenarios.main(Confluent)
