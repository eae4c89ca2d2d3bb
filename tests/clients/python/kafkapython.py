"""kafka-python: 2.0.2, the last of the old line, and 3.x. Run by the Python of the venv that holds the version wanted."""

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

import scenarios

NEW = int(kafka.__version__.split(".")[0]) >= 3


class KafkaPython(scenarios.Client):
    name = "kafka-python"
    version = kafka.__version__
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    lacks = {"kip848": "kafka-python has classic groups only"}
    if not NEW:
        lacks = dict(lacks, idempotence="2.0.2 has none", static="2.0.2 has no static members", cooperative="2.0.2 has eager assignors only", transactions="2.0.2 has none")

    def producer(self, codec="none", idempotent=False):
        return Writer(self.bootstrap, codec, idempotent)

    def transactional(self, name):
        return TransactionalWriter(self.bootstrap, name)

    def consumer(self, group, topics, static=None, cooperative=False, kip848=False, limit=None):
        config = {"isolation_level": "read_committed"} if NEW else {}
        if static:
            config["group_instance_id"] = static
        if cooperative:
            from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

            config["partition_assignment_strategy"] = [CooperativeStickyAssignor]
        return Reader(self.bootstrap, group, topics, limit is None, config)

    def admin(self):
        return NewAdmin(self.bootstrap) if NEW else OldAdmin(self.bootstrap)


class Writer:
    def __init__(self, bootstrap, codec, idempotent):
        config = {"enable_idempotence": idempotent} if NEW else {}
        compression = None if codec == "none" else codec
        self.client = KafkaProducer(bootstrap_servers=bootstrap, compression_type=compression, linger_ms=20, acks="all", **config)

    def send_all(self, topic, records):
        sent = [self.client.send(topic, key=key, value=value) for key, value in records]
        self.client.flush(15)
        for future in sent:
            future.get(15)

    def close(self):
        self.client.close(5)


class TransactionalWriter(Writer):
    def __init__(self, bootstrap, name):
        self.client = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name, linger_ms=20, acks="all")
        self.client.init_transactions()
        self.begin = self.client.begin_transaction
        self.commit = self.client.commit_transaction
        self.abort = self.client.abort_transaction

    def send_offsets(self, positions, consumer, group):
        offsets = {TopicPartition(*at): OffsetAndMetadata(offset, "", -1) for at, offset in positions.items()}
        self.client.send_offsets_to_transaction(offsets, consumer.client.group_metadata())


class Reader:
    def __init__(self, bootstrap, group, topics, autocommit, config):
        self.client = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=autocommit,
            auto_commit_interval_ms=200,
            session_timeout_ms=6000,
            heartbeat_interval_ms=300,
            fetch_max_wait_ms=100,
            metadata_max_age_ms=2000,
            **config
        )
        self.client.subscribe(topics)

    def poll(self, seconds):
        # Longer than asked: 3.x begins to join a group anew when poll's time is up, and on a slow machine never ends.
        polled = self.client.poll(timeout_ms=int(max(seconds, 1.0) * 1000))
        return [(m.topic, m.partition, m.offset, m.key, m.value) for part in polled.values() for m in part]

    def owned(self):
        return {(p.topic, p.partition) for p in self.client.assignment()}

    def commit(self, positions):
        more = (-1,) if NEW else ()
        self.client.commit({TopicPartition(*at): OffsetAndMetadata(offset, "", *more) for at, offset in positions.items()})

    def close(self):
        self.client.close()


class NewAdmin:
    """3.x: dicts and names."""

    def __init__(self, bootstrap):
        self.client = KafkaAdminClient(bootstrap_servers=bootstrap)
        self.close = self.client.close

    def create(self, topic, partitions, config):
        self.client.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1, "configs": config}})

    def partitions(self, topic):
        if topic not in self.client.list_topics():
            return None
        return len(self.client.describe_topics([topic])[0]["partitions"])

    def _resource(self, topic, config=None):
        return kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, topic, config)

    def configs(self, topic):
        found = self.client.describe_configs([self._resource(topic)], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

    def alter(self, topic, config):
        self.client.alter_configs([self._resource(topic, config)])

    def add_partitions(self, topic, total):
        self.client.create_partitions({topic: total})

    def delete(self, topic):
        self.client.delete_topics([topic])

    def groups(self):
        return [group["group_id"] for group in self.client.list_groups()]

    def describe(self, group):
        found = self.client.describe_groups([group])[group]
        return found["group_state"].lower(), len(found["members"])

    def delete_group(self, group):
        for name, error in dict(self.client.delete_groups([group])).items():
            assert "NoError" in str(error) or error == "OK", "%s: %s" % (name, error)


class OldAdmin(NewAdmin):
    """2.0.2: objects, and answers as they came."""

    def create(self, topic, partitions, config):
        self.client.create_topics([kafka.admin.NewTopic(topic, partitions, 1, topic_configs=config)])

    def configs(self, topic):
        (answer,) = self.client.describe_configs([self._resource(topic)])
        (found,) = answer.resources
        assert found[0] == 0, "error %d" % found[0]
        return {entry[0]: entry[1] for entry in found[4]}

    def alter(self, topic, config):
        answer = self.client.alter_configs([self._resource(topic, config)])
        assert answer.resources[0][0] == 0, "error %d" % answer.resources[0][0]

    def add_partitions(self, topic, total):
        self.client.create_partitions({topic: kafka.admin.NewPartitions(total)})

    def groups(self):
        return [group for group, _ in self.client.list_consumer_groups()]

    def describe(self, group):
        (found,) = self.client.describe_consumer_groups([group])
        return found.state.lower(), len(found.members)

    def delete_group(self, group):
        for name, error in self.client.delete_consumer_groups([group]):
            assert error is kafka.errors.NoError, "%s: %s" % (name, error)


if __name__ == "__main__":
    scenarios.main(KafkaPython)
