"""aiokafka: 0.10 and newer, its coroutines on one event loop in a thread. Run by the Python of the venv with the version wanted."""

import asyncio
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import scenarios

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def run(coroutine, timeout=30):
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(timeout)


def made(kind, *arguments, **config):
    """aiokafka's objects must be made where their loop runs."""

    async def make():
        it = kind(*arguments, **config)
        await it.start()
        return it

    return run(make())


class Aiokafka(scenarios.Client):
    name = "aiokafka"
    version = aiokafka.__version__
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    lacks = {
        "kip848": "aiokafka has classic groups only",
        "cooperative": "aiokafka has eager assignors only",
    }

    def producer(self, codec="none", idempotent=False):
        return Writer(self.bootstrap, None if codec == "none" else codec, idempotent)

    def transactional(self, name):
        return TransactionalWriter(self.bootstrap, name)

    def consumer(self, group, topics, static=None, cooperative=False, kip848=False, limit=None):
        return Reader(self.bootstrap, group, topics, static, limit is None)

    def admin(self):
        return Admin(self.bootstrap)


class Writer:
    def __init__(self, bootstrap, codec, idempotent):
        config = {"compression_type": codec, "enable_idempotence": idempotent, "acks": "all", "linger_ms": 20}
        self.client = made(AIOKafkaProducer, bootstrap_servers=bootstrap, **config)

    def send_all(self, topic, records):
        async def send():
            sent = [await self.client.send(topic, value=value, key=key) for key, value in records]
            await asyncio.gather(*sent)

        run(send())

    def close(self):
        run(self.client.stop())


class TransactionalWriter(Writer):
    def __init__(self, bootstrap, name):
        self.client = made(AIOKafkaProducer, bootstrap_servers=bootstrap, transactional_id=name)

    def begin(self):
        run(self.client.begin_transaction())

    def send_offsets(self, positions, consumer, group):
        offsets = {TopicPartition(*at): offset for at, offset in positions.items()}
        run(self.client.send_offsets_to_transaction(offsets, group))

    def commit(self):
        run(self.client.commit_transaction())

    def abort(self):
        run(self.client.abort_transaction())


class Reader:
    def __init__(self, bootstrap, group, topics, static, autocommit):
        self.client = made(
            AIOKafkaConsumer,
            *topics,
            bootstrap_servers=bootstrap,
            group_id=group,
            group_instance_id=static,
            auto_offset_reset="earliest",
            enable_auto_commit=autocommit,
            auto_commit_interval_ms=200,
            session_timeout_ms=6000,
            heartbeat_interval_ms=300,
            fetch_max_wait_ms=100,
            isolation_level="read_committed"
        )

    def poll(self, seconds):
        polled = run(self.client.getmany(timeout_ms=int(seconds * 1000)))
        return [(m.topic, m.partition, m.offset, m.key, m.value) for part in polled.values() for m in part]

    def owned(self):
        return {(p.topic, p.partition) for p in self.client.assignment()}

    def commit(self, positions):
        run(self.client.commit({TopicPartition(*at): offset for at, offset in positions.items()}))

    def close(self):
        run(self.client.stop())


class Admin:
    """Its answers are the protocol's, as they came."""

    def __init__(self, bootstrap):
        self.client = made(AIOKafkaAdminClient, bootstrap_servers=bootstrap)

    def create(self, topic, partitions, config):
        answer = run(self.client.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)]))
        assert answer.topic_errors[0][1] == 0, answer

    def partitions(self, topic):
        if topic not in run(self.client.list_topics()):
            return None
        return len(run(self.client.describe_topics([topic]))[0]["partitions"])

    def configs(self, topic):
        answers = run(self.client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        (found,) = answers[0].resources
        assert found[0] == 0, "error %d" % found[0]
        return {entry[0]: entry[1] for entry in found[4]}

    def alter(self, topic, config):
        answers = run(self.client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=config)]))
        assert answers[0].resources[0][0] == 0, answers

    def add_partitions(self, topic, total):
        answer = run(self.client.create_partitions({topic: NewPartitions(total)}))
        assert answer.topic_errors[0][1] == 0, answer

    def delete(self, topic):
        answer = run(self.client.delete_topics([topic]))
        assert answer.topic_error_codes[0][1] == 0, answer

    def groups(self):
        return [group[0] for group in run(self.client.list_consumer_groups())]

    def describe(self, group):
        (answer,) = run(self.client.describe_consumer_groups([group]))
        found = answer.groups[0]
        assert found[0] == 0, "error %d" % found[0]
        return found[2].lower(), len(found[5])

    def close(self):
        run(self.client.close())


if __name__ == "__main__":
    scenarios.main(Aiokafka)
