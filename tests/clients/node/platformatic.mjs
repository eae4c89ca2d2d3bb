// The driver of @platformatic/kafka, which speaks the newest versions of everything and nothing older.

import { Admin, Consumer, Producer, stringSerializers } from '@platformatic/kafka'

import { installed, main } from './scenarios.mjs'

const TOPIC = 2
const SET = 0

function places(assignments) {
  return (assignments ?? []).flatMap(({ topic, partitions }) => partitions.map((partition) => `${topic}/${partition}`))
}

main((bootstrap) => {
  const base = { clientId: 'matrix', bootstrapBrokers: [bootstrap], retryDelay: 200 }
  return {
    name: '@platformatic/kafka',
    version: installed('@platformatic/kafka'),
    codecs: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
    lacks: { static: 'static members of @platformatic/kafka leave the group when they are closed' },
    // Of what one producer aborted it leaves out only the last transaction of an answer.
    abortsOnce: true,

    async producer(codec, idempotent) {
      const producer = new Producer({ ...base, serializers: stringSerializers, compression: codec, idempotent, acks: -1 })
      return {
        sendAll: (topic, pairs) => producer.send({ messages: pairs.map(([key, value]) => ({ topic, key, value })) }),
        close: () => producer.close(),
      }
    },

    async transactional(transactionalId) {
      const producer = new Producer({ ...base, serializers: stringSerializers, idempotent: true, transactionalId, acks: -1 })
      return {
        async begin() {
          // It names producer 0 unless it is told not to, which fences whoever comes second.
          const transaction = await producer.beginTransaction({ producerId: -1n, producerEpoch: -1 })
          return {
            sendAll: (topic, pairs) => transaction.send({ messages: pairs.map(([key, value]) => ({ topic, key, value })) }),
            async sendOffsets(positions, member) {
              await transaction.addConsumer(member.consumer.client)
              for (const [topic, partition, offset] of positions) {
                await transaction.addOffset({ topic, partition, offset: BigInt(offset - 1), metadata: member.consumer.metadata })
              }
            },
            commit: () => transaction.commit(),
            abort: () => transaction.abort(),
          }
        },
        close: () => producer.close(),
      }
    },

    async consumer(groupId, topics, options, member) {
      const group = options.kip848
        ? { groupProtocol: 'consumer', groupRemoteAssignor: 'uniform' }
        : { sessionTimeout: 6000, heartbeatInterval: 300, rebalanceTimeout: 6000 }
      if (options.static) group.groupInstanceId = options.static
      if (options.cooperative) group.protocols = [{ name: 'cooperative-sticky', version: 3 }]
      // Neither KIP-848 nor a cooperative rebalance takes everything away before it gives.
      const incremental = options.kip848 || options.cooperative
      const consumer = new Consumer({ ...base, groupId, ...group, maxWaitTime: 100, minBytes: 1 })
      consumer.on('consumer:group:join', ({ assignments }) => member.owns(places(assignments ?? consumer.assignments)))
      consumer.on('consumer:group:rebalance', () => { if (!incremental) member.owns([]) })
      const autocommit = member.limit === undefined ? 200 : false
      const messages = await consumer.consume({ topics, mode: 'committed', fallbackMode: 'earliest', autocommit })
      const handle = { client: consumer }
      messages.on('data', ({ topic, partition, offset, key, value, metadata }) => {
        handle.metadata = metadata
        member.take(topic, partition, offset, key, value)
      })
      messages.on('error', (error) => { member.error = error })
      // An incremental assignment may change without a word.
      const watch = setInterval(() => {
        if (incremental && places(consumer.assignments).join() !== [...member.owned].join()) member.owns(places(consumer.assignments))
      }, 50)
      return Object.assign(handle, {
        async close() {
          clearInterval(watch)
          if (member.commits) {
            const offsets = member.positions().map(([topic, partition, offset]) => ({ topic, partition, offset: BigInt(offset), leaderEpoch: -1 }))
            await consumer.commit({ offsets })
          }
          await messages.close()
          await consumer.close()
        },
      })
    },

    async admin() {
      const admin = new Admin(base)
      const entries = (config) => Object.entries(config).map(([name, value]) => ({ name, value }))
      return {
        create: (topic, partitions, config) => admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: entries(config) }),
        async partitions(topic) {
          if (!(await admin.listTopics()).includes(topic)) return null
          return (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount
        },
        async configs(topic) {
          const [found] = await admin.describeConfigs({ resources: [{ resourceType: TOPIC, resourceName: topic, configurationKeys: null }] })
          return Object.fromEntries(found.configs.map(({ name, value }) => [name, value]))
        },
        alter: (topic, config) => admin.incrementalAlterConfigs({
          resources: [{
            resourceType: TOPIC,
            resourceName: topic,
            configs: entries(config).map((entry) => ({ ...entry, configOperation: SET })),
          }],
        }),
        addPartitions: (topic, count) => admin.createPartitions({ topics: [{ name: topic, count, assignments: null }] }),
        delete: (topic) => admin.deleteTopics({ topics: [topic] }),
        groups: async () => [...(await admin.listGroups()).keys()],
        async describe(group) {
          const found = (await admin.describeGroups({ groups: [group] })).get(group)
          return [found.state, found.members.size]
        },
        deleteGroup: (group) => admin.deleteGroups({ groups: [group] }),
        close: () => admin.close(),
      }
    },
  }
})
