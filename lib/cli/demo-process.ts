/** A process of the demo: holds the conversation, then sends its share of the burst, as the demo that started it says. */
import { fileURLToPath } from 'node:url'
import type { Message, Peer, Receipt } from '../index.ts'
import { brokerlessVoice } from './brokerless.ts'
import { runBroker } from './broker-terminal.ts'
import { Conversation, type Voice } from './conversation.ts'
import type { DemoCounts, DemoOrder, DemoReport, DemoRole } from './demo-words.ts'
import type { Ending } from './ending.ts'
import { ProgramError } from './failure.ts'
import { runProgram } from './program.ts'
import { schedule } from './schedule.ts'
import { registered } from './seed-lines.ts'
import { printLine } from './seed-program.ts'
import { serverVoice } from './server.ts'
import { uuidV1 } from './uuid.ts'
import { isSuccess, Volley } from './volley.ts'

const waitMs = 10_000
const underWay = 16
const progressEveryMs = 100

/** The body of a message of the burst. */
interface Shot {
  readonly burst: number
}

type Talker = Extract<DemoRole, { is: 'brokerless' | 'server' }>

class DemoProcess {
  readonly #role: Talker
  readonly #ending: Ending
  readonly #counts: DemoCounts = { sent: 0, delivered: 0, received: 0, disordered: 0 }
  /** The number of the last shot, by sender and receiver. */
  readonly #last = new Map<string, number>()

  constructor(role: Talker, ending: Ending) {
    this.#role = role
    this.#ending = ending
  }

  async run(): Promise<number> {
    const { n, total } = this.#role
    const peer = await this.#join()
    const conversation = new Conversation(peer, this.#voice(peer), { waitMs }, this.#ending)
    onOrder(order => {
      if (order.does === 'end') this.#ending.request()
      else void this.#burst(peer, order.count)
    })
    await conversation.run(schedule(n, total))
    for (const receipt of conversation.receipts) this.#count(receipt)
    report({ said: 'talked' })
    await this.#ending.requested
    await conversation.end()
    await peer.close()
    report({ said: 'counts', counts: this.#counts })
    return 0
  }

  async #join(): Promise<Peer> {
    const { is, n, cluster, at } = this.#role
    const { createPeer } = await import('../index.ts')
    const place = is === 'server' ? { broker: at } : { store: at }
    const peer = await createPeer({ cluster, ...place })
    await peer.registerIdentity(is === 'server' ? uuidV1() : String(n))
    if (is === 'brokerless') printLine(registered(peer.identity))
    return peer
  }

  /** The program's own voice, but for the burst: of that only the count is told. */
  #voice(peer: Peer): Voice {
    const voice = this.#role.is === 'server' ? serverVoice(printLine) : brokerlessVoice(peer, printLine)
    return {
      ...voice,
      received: message => {
        this.#counts.received++
        if (isShot(message.body)) this.#checkOrder(message, message.body.burst)
        else voice.received(message)
      },
    }
  }

  #checkOrder({ from, to }: Message, number: number): void {
    const way = `${from} ${to}`
    if (number <= (this.#last.get(way) ?? -1)) this.#counts.disordered++
    this.#last.set(way, number)
  }

  /** To the clients of all the others, in turn. */
  async #burst(peer: Peer, count: number): Promise<void> {
    const { n, total } = this.#role
    const others = Array.from({ length: total }, (_, index) => index + 1).filter(other => other !== n || total === 1)
    const targets = others.flatMap(other => [`clientA${other}`, `clientC${other}`])
    const send = async (index: number): Promise<Receipt> => {
      const shot: Shot = { burst: index }
      const receipt = await peer.sendMessage(targets[index % targets.length]!, shot, { from: `clientA${n}` })
      this.#count(receipt)
      return receipt
    }
    const volley = new Volley({ count, concurrency: underWay, send }, this.#ending)
    const timer = setInterval(() => report({ said: 'progress', answered: volley.answered }), progressEveryMs)
    const { latencies } = await volley.run()
    clearInterval(timer)
    report({ said: 'burst', latencies: [...latencies.values()] })
  }

  #count(receipt: Receipt): void {
    this.#counts.sent++
    if (isSuccess(receipt)) this.#counts.delivered++
  }
}

function isShot(body: unknown): body is Shot {
  return typeof body === 'object' && body !== null && 'burst' in body
}

function report(said: DemoReport): void {
  // Without a channel the demo is gone, and with it whoever would care.
  if (process.connected) process.send!(said)
}

function onOrder(obey: (order: DemoOrder) => void): void {
  process.on('message', message => obey(message as DemoOrder))
}

function runDemoBroker({ cluster, at }: DemoRole, ending: Ending): Promise<number> {
  onOrder(order => order.does === 'end' && ending.request())
  const tell = (line: string, event: { event?: string; endpoints?: readonly string[] }) => {
    printLine(line)
    if (event.event === 'listening') report({ said: 'listening', endpoint: event.endpoints?.[0] ?? '' })
  }
  const program = { name: 'homing', allowFile: undefined }
  return runBroker({ cluster, store: at, listen: 'tcp://127.0.0.1:0' }, program, tell, ending)
}

export function main(argv: readonly string[]): Promise<never> {
  return runProgram('demo', async ending => {
    if (!process.send) throw new ProgramError('this file is a part of homing demo: run that')
    process.on('disconnect', () => ending.request())
    const role = JSON.parse(argv[0] ?? '') as DemoRole
    return role.is === 'broker' ? runDemoBroker(role, ending) : new DemoProcess(role, ending).run()
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2))
