/** A process of a soak, driven by its parent: {id, do, args} is answered by {id, ok | failed}. Started by `parts.ts`. */
import { createBroker, createPeer, type BrokerOptions, type Peer, type PeerOptions } from '../../lib/index.ts'

/** What a parent may ask of a part. */
export interface Orders {
  broker(options: BrokerOptions): Promise<{ endpoint: string }>
  peer(options: PeerOptions): Promise<void>
  /** `never`: it reads nothing of what it gets. */
  connect(addresses: readonly string[], never?: boolean): Promise<void>
  /** Sends, asks, broadcasts, connects and disconnects, without an end. */
  mix(addresses: readonly string[], everyMs: number): Promise<void>
  /** As `mix`, so many turns of it as fast as they are answered. */
  burst(addresses: readonly string[], turns: number): Promise<void>
  /** Sends so many a second to the address, in all `seconds`; says how many left. */
  flood(address: string, perSecond: number, seconds: number, bodyBytes: number): Promise<{ sent: number; seconds: number }>
  /** Sends one after the other to the address for so long; ms each took. */
  probe(address: string, seconds: number): Promise<{ latenciesMs: number[]; failed: number }>
  /** Connects and disconnects so many addresses, none of them twice, `atOnce` at a time. */
  cycles(from: number, count: number, atOnce: number): Promise<{ ms: number }>
  memory(): Promise<Memory>
  close(): Promise<void>
}

export interface Memory {
  readonly residentBytes: number
  /** In use after a collection, buffers included. */
  readonly heapBytes: number
  readonly received: number
  readonly statuses: Readonly<Record<string, number>>
}

let peer: Peer | undefined
let end: () => Promise<void> = async () => undefined
const statuses: Record<string, number> = {}

function the(): Peer {
  if (!peer) throw new Error('no peer was ordered')
  return peer
}

function count(status: string): void {
  statuses[status] = (statuses[status] ?? 0) + 1
}

const codeOf = (error: unknown): void => count(String((error as { code?: unknown }).code ?? error))
const after = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Resolves when its message is answered; what else it does goes on beside. */
function mixOnce(turn: number, addresses: readonly string[]): Promise<void> {
  const address = addresses[Math.floor(Math.random() * addresses.length)]!
  const sent = the()
    .sendMessage(address, { turn, text: 'x'.repeat(turn % 300) })
    .then(({ status }) => count(status))
  if (turn % 10 === 3) {
    the()
      .request(address, turn, { deadlineMs: 2_000 })
      .then(() => count('answered'), codeOf)
  }
  if (turn % 10 === 7) {
    const passing = `passing-${the().identity}-${turn}`
    the()
      .connectClient(passing, () => {})
      .then(client => client[Symbol.asyncDispose]())
      .then(() => count('came and went'), codeOf)
  }
  if (turn % 50 === 20) {
    // It moves here from wherever it was.
    the()
      .connectClient(address, { message: () => {}, request: ({ body }) => body })
      .then(() => count('moved'), codeOf)
  }
  if (turn % 200 === 150)
    void the()
      .broadcast(turn)
      .then(() => count('broadcast'), codeOf)
  return sent
}

const orders: Orders = {
  async broker(options) {
    const broker = await createBroker(options)
    end = () => broker.close()
    return { endpoint: broker.endpoints[0]! }
  },
  async peer(options) {
    peer = await createPeer(options)
    end = () => the().close()
  },
  async connect(addresses, never = false) {
    const prompt = { message: () => {}, request: ({ body }: { body: unknown }) => body }
    await the().connectClients(addresses, never ? { message: () => new Promise(() => {}) } : prompt)
  },
  async mix(addresses, everyMs) {
    let turn = 0
    setInterval(() => void mixOnce(turn++, addresses), everyMs)
  },
  async burst(addresses, turns) {
    for (let turn = 0; turn < turns; turn += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, n) => mixOnce(turn + n, addresses)))
    }
  },
  async flood(address, perSecond, seconds, bodyBytes) {
    const body = Buffer.alloc(bodyBytes, 1)
    const began = performance.now()
    let sent = 0
    while (performance.now() - began < seconds * 1_000) {
      const due = Math.floor(((performance.now() - began) / 1_000) * perSecond)
      for (const until = Math.min(due, sent + 5_000); sent < until; sent++) {
        void the()
          .sendMessage(address, body, { deadlineMs: 2_000 })
          .then(({ status }) => count(status))
      }
      await new Promise(resolve => setImmediate(resolve))
    }
    return { sent, seconds: (performance.now() - began) / 1_000 }
  },
  async probe(address, seconds) {
    const latenciesMs: number[] = []
    let failed = 0
    for (const untilMs = performance.now() + seconds * 1_000; performance.now() < untilMs; await after(1)) {
      const began = performance.now()
      const { status } = await the().sendMessage(address, latenciesMs.length)
      latenciesMs.push(performance.now() - began)
      if (status !== 'delivered') failed++
    }
    return { latenciesMs, failed }
  },
  async cycles(from, total, atOnce) {
    const began = performance.now()
    for (let done = 0; done < total; done += atOnce) {
      const addresses = Array.from({ length: Math.min(atOnce, total - done) }, (_, n) => `client-${from + done + n}`)
      const clients = await the().connectClients(addresses, () => {})
      await Promise.all(clients.map(client => client[Symbol.asyncDispose]()))
    }
    return { ms: performance.now() - began }
  },
  async memory() {
    global.gc?.()
    await after(100) // buffers are given back a little later than what held them
    global.gc?.()
    const { rss, heapUsed, external } = process.memoryUsage()
    return { residentBytes: rss, heapBytes: heapUsed + external, received: peer?.stats.received ?? 0, statuses: { ...statuses } }
  },
  close: () => end(),
}

process.on('message', (message: { id: number; do: keyof Orders; args: never[] }) => {
  const work = orders[message.do] as (...args: never[]) => Promise<unknown>
  work(...message.args).then(
    ok => process.send!({ id: message.id, ok }),
    (error: Error & { code?: string }) => process.send!({ id: message.id, failed: `${error.code ?? ''} ${error.message}` }),
  )
})
process.on('disconnect', () => process.exit(0))
