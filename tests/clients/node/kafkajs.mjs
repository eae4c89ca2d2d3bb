// The driver of kafkajs. Snappy comes from its plug-in, zstd from Node.js itself; its LZ4 plug-in is a native addon and left out.

import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'

import { installed, main } from './scenarios.mjs'

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel, Partitioners } = kafkajs

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => zstdCompressSync(encoder.buffer),
  decompress: async (buffer) => zstdDecompressSync(buffer),
})

const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', zstd: 'ZSTD' }

function places(assignment) {
  return Object.entries(assignment).flatMap(([topic, partitions]) => partitions.map((partition) => `${topic}/${partition}`))
}

main((bootstrap) => {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 100, retries: 8 } })
  return {
    name: 'kafkajs',
    version: installed('kafkajs'),
    codecs: Object.keys(CODECS),
    lacks: {
      kip848: 'kafkajs has classic groups only',
      static: 'kafkajs has no static members',
      cooperative: 'kafkajs has eager assigners only',
    },

    async producer(codec, idempotent) {
      const more = idempotent ? { idempotent, maxInFlightRequests: 1 } : {}
      const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...more })
      await producer.connect()
      return {
        sendAll: (topic, pairs) => producer.send({
          topic,
          acks: -1,
          compression: CompressionTypes[CODECS[codec]],
          messages: pairs.map(([key, value]) => ({ key, value })),
        }),
        close: () => producer.disconnect(),
      }
    },

    async transactional(transactionalId) {
      const settings = { transactionalId, idempotent: true, maxInFlightRequests: 1 }
      const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...settings })
      await producer.connect()
      return {
        async begin() {
          const transaction = await producer.transaction()
          return {
            sendAll: (topic, pairs) => transaction.send({ topic, acks: -1, messages: pairs.map(([key, value]) => ({ key, value })) }),
            sendOffsets: (positions, member) => transaction.sendOffsets({
              consumerGroupId: member.consumer.groupId,
              topics: positions.map(([topic, partition, offset]) => ({ topic, partitions: [{ partition, offset: `${offset}` }] })),
            }),
            commit: () => transaction.commit(),
            abort: () => transaction.abort(),
          }
        },
        close: () => producer.disconnect(),
      }
    },

    async consumer(groupId, topics, _options, member) {
      const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 100 })
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => member.owns(places(payload.memberAssignment)))
      consumer.on(consumer.events.REBALANCING, () => member.owns([]))
      consumer.on(consumer.events.CRASH, ({ payload }) => { if (!payload.restart) member.error = payload.error })
      await consumer.connect()
      await consumer.subscribe({ topics, fromBeginning: true })
      await consumer.run({
        autoCommit: member.limit === undefined,
        autoCommitInterval: 200,
        eachMessage: async ({ topic, partition, message }) => {
          member.take(topic, partition, message.offset, message.key, message.value)
        },
      })
      return {
        groupId,
        async close() {
          if (member.commits) {
            await consumer.commitOffsets(member.positions().map(([topic, partition, offset]) => ({ topic, partition, offset: `${offset}` })))
          }
          await consumer.disconnect()
        },
      }
    },

    async admin() {
      const admin = kafka.admin()
      await admin.connect()
      const resource = (topic) => ({ type: ConfigResourceTypes.TOPIC, name: topic })
      const entries = (config) => Object.entries(config).map(([name, value]) => ({ name, value }))
      return {
        create: (topic, numPartitions, config) => admin.createTopics({ topics: [{ topic, numPartitions, configEntries: entries(config) }] }),
        async partitions(topic) {
          if (!(await admin.listTopics()).includes(topic)) return null
          return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
        },
        async configs(topic) {
          const { resources } = await admin.describeConfigs({ resources: [resource(topic)], includeSynonyms: false })
          return Object.fromEntries(resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue]))
        },
        alter: (topic, config) => admin.alterConfigs({ resources: [{ ...resource(topic), configEntries: entries(config) }] }),
        addPartitions: (topic, count) => admin.createPartitions({ topicPartitions: [{ topic, count }] }),
        delete: (topic) => admin.deleteTopics({ topics: [topic] }),
        groups: async () => (await admin.listGroups()).groups.map(({ groupId }) => groupId),
        async describe(group) {
          const [found] = (await admin.describeGroups([group])).groups
          return [found.state, found.members.length]
        },
        deleteGroup: (group) => admin.deleteGroups([group]),
        close: () => admin.disconnect(),
      }
    },
  }
})
