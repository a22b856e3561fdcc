/** A peer or broker of a chaos run, in a process of its own: uses Homing as anybody would, does what it is told, and writes down what it saw. */

import { openSync, writeSync } from 'node:fs'
import { seededRandom } from '../../lib/env/random.ts'
import {
  createBroker,
  createPeer,
  HomingError,
  type Client,
  type ClientHandlers,
  type Peer,
  type Status,
} from '../../lib/index.ts'
import { History, recordBroker, recordPeer, type HistoryEvent } from '../../lib/testing/index.ts'
import { watchStillness } from './stillness.ts'
import type { Look, Manner, News, Order, Orders, Said, Task } from './task.ts'
import { expected, Workload } from './workload.ts'

const task = JSON.parse(process.argv[2]!) as Task
const originNs = BigInt(task.originNs)
const file = openSync(task.history, 'a')
const nowMs = (): number => Number(process.hrtime.bigint() - originNs) / 1e6

// Each line is with the system before what it tells of goes on: a kill takes nothing back.
const write = (event: HistoryEvent): void => void writeSync(file, `${JSON.stringify(event)}\n`)
const history = new History(nowMs, { each: write })
const say = (said: Said): void => void process.send?.(said)
const tell = (news: News): void => say(news)

// A terminal's signals are for the command, which ends this process.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit(0))

watchStillness(forMs => {
  const atMs = Math.round((nowMs() - forMs) * 1_000) / 1_000
  const text = `${task.name} stood still for ${forMs.toFixed()} ms, as it noticed itself`
  write({ atMs, what: 'fault', fault: 'block', name: task.name, forMs, text })
})

function watchRejections(incarnation: string): void {
  process.on('unhandledRejection', error => {
    const text = error instanceof Error ? (error.stack ?? String(error)) : String(error)
    history.add({ what: 'unhandledRejection', peer: task.name, incarnation, text })
  })
}

function runBroker(): Promise<Partial<Orders>> {
  return createBroker(task.options).then(broker => {
    recordBroker(history, broker, { name: task.name })
    watchRejections(broker.incarnation)
    return { close: () => broker.close(), drain: () => broker.close() }
  })
}

async function runPeer(): Promise<Partial<Orders>> {
  const peer = await createPeer(task.options)
  recordPeer(history, peer, { name: task.name, deadlineMs: task.options.deadlineMs ?? 10_000 })
  watchRejections(peer.incarnation)
  peer.on('moving', ({ address }) => tell({ say: 'moving', address }))
  const workload = new Workload(peer, seededRandom(task.seed), task.addresses, task.load)
  workload.begin()
  setInterval(() => tell({ say: 'count', ...workload.takeCounts() }), 1_000).unref()
  return {
    async connect(address, manner, turn) {
      const client = await peer.connectClient(address, handlersFor(manner))
      if (manner === 'by reading') void read(client)
      void client.ended.then(end => tell({ say: 'ended', address, turn, end }))
    },
    async disconnect(address) {
      await peer.disconnectClient(address)
    },
    rest: () => workload.rest(),
    async drain(deadlineMs) {
      await Promise.all([peer.drain({ deadlineMs }), workload.rest()])
    },
    async close() {
      await Promise.all([peer.close(), workload.rest()])
    },
    look: () => look(peer),
    sendToAll: () => sendToAll(peer),
  }
}

function handlersFor(manner: Manner): ClientHandlers {
  const request = (asked: { body: unknown }): unknown => ({ got: (asked.body as { n: number }).n })
  if (manner === 'by reading') return { request }
  if (manner === 'at once') return { request, message: () => {} }
  return { request, message: () => new Promise(resolve => setTimeout(resolve, 2)) }
}

async function read(client: Client): Promise<void> {
  for await (const _ of client) await new Promise(resolve => setImmediate(resolve))
}

async function look(peer: Peer): Promise<Look> {
  const where: Record<string, string> = {}
  for (const address of task.addresses) {
    where[address] = await peer.whereIs(address).then(
      found => found?.identity ?? '',
      (error: unknown) => (error instanceof HomingError ? error.code : String(error)),
    )
  }
  const members = peer.members().filter(({ role }) => role === 'peer')
  const held = [...peer.clients()].map(({ address }) => address)
  return { members: members.map(({ identity }) => identity).sort(), held, where }
}

async function sendToAll(peer: Peer): Promise<Record<string, Status>> {
  const statuses = task.addresses.map(async address => {
    const { status } = await peer.sendMessage(address, `to ${address}, in the end`)
    return [address, status] as const
  })
  return Object.fromEntries(await Promise.all(statuses))
}

async function obey(orders: Partial<Orders>, { id, do: what, args }: Order): Promise<void> {
  const work = orders[what] as ((...args: readonly unknown[]) => Promise<unknown>) | undefined
  try {
    if (!work) throw new Error(`a ${task.role} cannot ${what}`)
    say({ id, ok: await work(...args) })
  } catch (error) {
    if (!(error instanceof Error)) throw error
    say({ id, failed: error instanceof HomingError ? error.code : error.message })
    expected(error)
  }
}

try {
  const orders = await (task.role === 'broker' ? runBroker() : runPeer())
  process.on('message', message => void obey(orders, message as Order))
  tell({ say: 'up' })
} catch (error) {
  if (!(error instanceof HomingError)) throw error
  tell({ say: 'notUp', text: error.message, code: error.code })
}
