// What every Node.js client of the matrix is put through, once, for all of them.
//
// Knows no client: a driver (kafkajs.mjs, platformatic.mjs) hands in a client and calls `main`, which runs the scenarios asked for
// and prints one JSON line each: {scenario, ok, detail, facts}; ok is null where the client has no such thing. Topics that are not
// the scenario's own subject exist already: test_matrix.py makes them, and judges the facts. A client is
//
//   { name, version, codecs, lacks: {scenario: reason}, abortsOnce: only one transaction may be aborted,
//     producer(codec, idempotent)                    -> { sendAll(topic, [[key, value]]), close() }
//     consumer(group, topics, options, member)       -> { close() }, which hands records to member.take and partitions to member.owns
//     transactional(name)                            -> { begin(), close() }; begin gives { sendAll, sendOffsets(positions, member),
//                                                       commit(), abort() }; another one of its name is fenced then
//     admin()                                        -> { create, partitions, configs, alter, ... , close() } }

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

const PATIENCE = 20_000

export function installed(name) {
  const require = createRequire(import.meta.url)
  let folder = dirname(require.resolve(name))
  for (;;) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json')))
      if (found.name === name) return found.version
    } catch {}
    folder = dirname(folder)
  }
}

// One consumer of a group and what it has seen.
class Member {
  seen = []
  owned = new Set()
  history = []
  error = null

  // One that commits what it took when it is closed, if it takes only so much and no transaction does.
  constructor(limit, transactional) {
    this.limit = limit
    this.commits = limit !== undefined && !transactional
  }

  // Keeps the record; false if the member is full and has not taken it.
  take(topic, partition, offset, key, value) {
    if (this.full()) return false
    this.seen.push({ topic, partition, offset: Number(offset), key: key?.toString() ?? null, value: value?.toString() ?? null })
    return true
  }

  full() {
    return this.limit !== undefined && this.seen.length >= this.limit
  }

  owns(partitions) {
    this.owned = new Set(partitions)
    this.history.push(this.owned.size)
  }

  // {"topic/partition": [topic, partition, the offset after the last one taken]}
  positions() {
    const found = {}
    for (const { topic, partition, offset } of this.seen) found[`${topic}/${partition}`] = [topic, partition, offset + 1]
    return Object.values(found)
  }
}

async function joinGroup(client, group, topics, options = {}) {
  const member = new Member(options.limit, options.transactional)
  const consumer = await client.consumer(group, topics, options, member)
  member.consumer = consumer
  member.close = async () => {
    await consumer.close()
    if (member.error) throw member.error
  }
  return member
}

async function wait(what, members, condition, patience = PATIENCE) {
  const deadline = Date.now() + patience
  while (!(await condition())) {
    for (const member of members) if (member.error) throw member.error
    if (Date.now() > deadline) throw new Error(`waited ${patience / 1000} s for ${what}`)
    await sleep(20)
  }
}

function numbered(prefix, count) {
  return Array.from({ length: count }, (_, n) => [`key-${n % 7}`, `${prefix}-${n} ${'x'.repeat(40)}`])
}

async function send(client, topic, parts, count, codec = 'none', idempotent = false) {
  const producer = await client.producer(codec, idempotent)
  for (const part of parts) await producer.sendAll(topic, numbered(part, count))
  await producer.close()
}

// --- producing and reading ---

async function produce(client, prefix) {
  for (const codec of client.codecs) await send(client, `${prefix}-produce-${codec}`, [codec], 60, codec)
  return [`codecs: ${client.codecs.join(', ')}`, { codecs: client.codecs }]
}

async function idempotence(client, prefix) {
  await send(client, `${prefix}-idempotence`, ['idempotent-0', 'idempotent-1', 'idempotent-2'], 20, 'none', true)
}

async function consume(client, prefix) {
  const topics = client.codecs.map((codec) => `${client.filled}-${codec}`)
  const member = await joinGroup(client, `${prefix}-consume`, topics)
  await wait(`the records of ${topics}`, [member], () => member.seen.length >= 40 * topics.length)
  await member.close()
  const read = member.seen.map(({ topic, partition, offset, key, value }) => [topic, partition, offset, key, value])
  return [`codecs: ${client.codecs.join(', ')}`, { read }]
}

// --- groups ---

// Numbered records, produced until it is stopped; `sent` are those that were acknowledged.
function stream(client, topic) {
  const self = { sent: 0, stopped: false }
  const run = async () => {
    const producer = await client.producer('none', false)
    while (!self.stopped) {
      const values = Array.from({ length: 20 }, (_, n) => String(self.sent + n))
      await producer.sendAll(topic, values.map((value) => [value, value]))
      self.sent += values.length
      await sleep(50)
    }
    await producer.close()
  }
  const done = run()
  done.catch(() => {})
  self.end = () => {
    self.stopped = true
    return done
  }
  return self
}

function apart(a, b) {
  return a.owned.size === 2 && b.owned.size === 2 && [...a.owned].every((place) => !b.owned.has(place))
}

// A joins, then B; B leaves; a stream of records all the while, of which none may be missed.
async function twoMembers(client, name, options) {
  const sending = stream(client, name)
  try {
    const a = await joinGroup(client, name, [name], options)
    await wait('the only member to own 4 partitions', [a], () => a.owned.size === 4)
    const b = await joinGroup(client, name, [name], options)
    await wait('2 partitions for each of 2 members', [a, b], () => apart(a, b))
    await wait('records for the second member', [a, b], () => b.seen.length > 0)
    await b.close()
    await wait('the remaining member to own 4 partitions', [a], () => a.owned.size === 4)
    await sending.end()
    const missing = () => sending.sent - new Set([...a.seen, ...b.seen].map((record) => record.value)).size
    await wait('every record of the stream at some member', [a], () => missing() === 0).catch((error) => {
      throw new Error(`${error.message}: ${missing()} of ${sending.sent} did not come`)
    })
    await a.close()
    return [a, b, { sent: sending.sent, 'second member saw': b.seen.length }]
  } finally {
    sending.stopped = true
  }
}

async function rebalance(client, prefix) {
  const [, , facts] = await twoMembers(client, `${prefix}-rebalance`, {})
  return ['', facts]
}

async function kip848(client, prefix) {
  const [, , facts] = await twoMembers(client, `${prefix}-kip848`, { kip848: true })
  return ['', facts]
}

// Whoever had partitions keeps those that do not move, and who comes gets none before they were given up.
async function cooperative(client, prefix) {
  const [a, b, facts] = await twoMembers(client, `${prefix}-cooperative`, { cooperative: true })
  const least = Math.min(...a.history.slice(a.history.indexOf(4), a.history.lastIndexOf(4) + 1))
  if (least !== 2) throw new Error(`the first member was left with ${least} partitions in between: not cooperative`)
  if (b.history[0] !== 0) throw new Error(`the second member owned ${b.history} partitions in turn: not cooperative`)
  return ['', facts]
}

// Half is read and committed; a new member reads exactly the other half.
async function commit(client, prefix) {
  const topic = `${prefix}-commit`
  await send(client, topic, ['commit'], 100)
  const first = await joinGroup(client, topic, [topic], { limit: 50 })
  await wait('the first half', [first], () => first.full())
  await first.close()
  const second = await joinGroup(client, topic, [topic])
  await wait('the second half', [second], () => second.seen.length >= 50)
  await sleep(300)
  await second.close()
  const places = new Set([...first.seen, ...second.seen].map(({ partition, offset }) => `${partition}/${offset}`))
  if (places.size !== 100 || second.seen.length !== 50) {
    throw new Error(`read ${first.seen.length}, then ${second.seen.length} records, ${places.size} different ones, of 100`)
  }
}

// A static member (KIP-345) that goes and comes again has its partitions again, and the others notice nothing.
async function staticMembers(client, prefix) {
  const topic = `${prefix}-static`
  const a = await joinGroup(client, topic, [topic], { static: 'a' })
  await wait('the only member to own 4 partitions', [a], () => a.owned.size === 4)
  const b = await joinGroup(client, topic, [topic], { static: 'b' })
  await wait('2 partitions for each', [a, b], () => apart(a, b))
  const had = [...a.owned].sort().join()
  const changes = b.history.length
  await a.close()
  const again = await joinGroup(client, topic, [topic], { static: 'a' })
  await wait(`the returned member to own what it had, ${had}`, [again, b], () => [...again.owned].sort().join() === had)
  await sleep(500)
  if (b.history.length !== changes) throw new Error(`the other member was rebalanced: it owned ${b.history} partitions in turn`)
  await again.close()
  await b.close()
}

// --- administration ---

async function administer(client, prefix) {
  const there = await client.admin()
  const topic = `${prefix}-admin`
  await there.create(topic, 2, { 'retention.ms': '3600000' })
  await wait('the topic to be listed with 2 partitions', [], async () => (await there.partitions(topic)) === 2)
  const configs = await there.configs(topic)
  if (configs['retention.ms'] !== '3600000') throw new Error(`retention.ms is ${configs['retention.ms']}`)
  if (configs['cleanup.policy'] !== 'delete') throw new Error(`cleanup.policy is ${configs['cleanup.policy']}`)
  await there.alter(topic, { 'retention.ms': '7200000' })
  await wait('the altered config', [], async () => (await there.configs(topic))['retention.ms'] === '7200000')
  await there.addPartitions(topic, 5)
  await wait('the topic to have 5 partitions', [], async () => (await there.partitions(topic)) === 5)
  await administerGroups(client, there, topic)
  await there.delete(topic)
  await wait('the deleted topic to be gone', [], async () => (await there.partitions(topic)) === null)
  await there.close()
}

async function administerGroups(client, there, topic) {
  const group = `${topic}-group`
  const member = await joinGroup(client, group, [topic])
  await wait('a member with partitions', [member], () => member.owned.size > 0)
  await wait('the group to be listed', [member], async () => (await there.groups()).includes(group))
  await wait('the group to be described as stable with one member', [member], async () => {
    const [state, members] = await there.describe(group)
    return state.toLowerCase() === 'stable' && members === 1
  })
  await member.close()
  const deleted = () => there.deleteGroup(group).then(() => true, (error) => void console.error('still:', error.message))
  await wait('the empty group to be deleted', [], deleted)
  await wait('the deleted group to be gone from the list', [], async () => !(await there.groups()).includes(group))
}

const SCENARIOS = { produce, consume, rebalance, commit, admin: administer, idempotence, kip848, static: staticMembers, cooperative, transactions }

// Reads, writes and commits offsets in one transaction after the other; every third is aborted and made anew, or only the first. A second producer of
// the same name fences the first.
async function transactions(client, prefix) {
  const [topic, out, id] = [`${prefix}-transactions`, `${prefix}-transactions-out`, `${prefix}-id`]
  const producer = await client.producer('none', true)
  await producer.sendAll(topic, numbered('transactions', 120))
  await producer.close()
  const member = await joinGroup(client, topic, [topic], { limit: 120, transactional: true })
  await wait('the records to copy', [member], () => member.seen.length >= 120)
  const first = await client.transactional(id)
  for (let at = 0, number = 0; at < 120; at += 10, number++) {
    const part = member.seen.slice(at, at + 10)
    for (const commit of number % (client.abortsOnce ? 12 : 3) === 0 ? [false, true] : [true]) {
      const transaction = await first.begin()
      await transaction.sendAll(out, part.map(({ key, value }) => [key, value]))
      const ends = Object.fromEntries(part.map(({ topic, partition, offset }) => [`${topic}/${partition}`, [topic, partition, offset + 1]]))
      await transaction.sendOffsets(Object.values(ends), member)
      await (commit ? transaction.commit() : transaction.abort())
    }
  }
  await member.close()
  const second = await client.transactional(id)
  const own = await second.begin()
  await own.sendAll(out, [['second', 'of the second producer']])
  const fenced = async () => {
    const late = await first.begin()
    await late.sendAll(out, [['first', 'of a producer that is fenced']])
    await late.commit()
  }
  const reason = await fenced().then(() => null, (error) => error)
  if (!reason) throw new Error('the first producer was not fenced')
  await own.commit()
  const reader = await joinGroup(client, `${topic}-reader`, [out])
  await wait('what is committed', [reader], () => reader.seen.length >= 121)
  await sleep(300)
  await reader.close()
  await Promise.allSettled([first.close(), second.close()])
  return [`fenced: ${reason.message}`, { read: reader.seen.map(({ key, value }) => [key, value]) }]
}

async function run(client, prefix, scenario) {
  if (scenario in client.lacks) return { scenario, ok: null, detail: client.lacks[scenario], facts: {} }
  const began = Date.now()
  const line = { scenario, ok: true, detail: '', facts: {} }
  try {
    const [detail, facts] = (await SCENARIOS[scenario](client, prefix)) ?? ['', {}]
    Object.assign(line, { detail, facts })
  } catch (error) {
    console.error(error)
    Object.assign(line, { ok: false, detail: [error.message, ...(error.errors ?? []).map((e) => e.message)].join('; ') })
  }
  return { ...line, seconds: (Date.now() - began) / 1000 }
}

export async function main(open) {
  const text = { type: 'string' }
  const { values } = parseArgs({ options: { bootstrap: text, prefix: text, filled: text, scenarios: text } })
  process.on('unhandledRejection', (error) => console.error('unhandled:', error))
  process.on('uncaughtException', (error) => console.error('uncaught:', error))
  const client = Object.assign(open(values.bootstrap), { filled: values.filled })
  const print = (line) => new Promise((resolve) => process.stdout.write(JSON.stringify(line) + '\n', resolve))
  await print({ client: client.name, version: client.version })
  for (const scenario of values.scenarios.split(',')) await print(await run(client, values.prefix, scenario))
  // A scenario that failed may have left consumers that would never end.
  process.exit(0)
}
