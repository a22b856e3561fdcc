/** A peer or broker in a process of its own, driven by messages from the test: {id, do, args} is answered by {id, ok | failed}. */
import { createBroker, createPeer, type BrokerOptions, type Peer, type PeerOptions } from '../../lib/index.ts'

/** What a test may ask of a child. */
export interface Orders {
  peer(options: PeerOptions): Promise<{ endpoints: readonly string[] }>
  broker(options: BrokerOptions): Promise<{ endpoints: readonly string[] }>
  connect(address: string): Promise<void>
  connectMany(count: number): Promise<{ ms: number }>
  /** Bodies that the address has got, in order. */
  got(address: string): Promise<unknown[]>
  send(address: string, body: unknown, options?: object): Promise<{ status: string; code: string | undefined; ms: number }>
  /** Sends numbers from `from` on, `count` of them, a few each millisecond; statuses in order. */
  pour(address: string, from: number, count: number): Promise<string[]>
  /** `peakBytes`: the most that was ever resident. */
  memory(): Promise<{ residentBytes: number; peakBytes: number }>
  /** Resolves when a link ended, with how long ago the wait began. */
  linkDown(): Promise<{ atMs: number }>
  block(ms: number): Promise<void>
  close(): Promise<void>
}

let peer: Peer | undefined
let end: (() => Promise<void>) | undefined
const got = new Map<string, unknown[]>()

const the = (): Peer => {
  if (!peer) throw new Error('no peer yet')
  return peer
}

const orders: Orders = {
  async peer(options) {
    peer = await createPeer(options)
    end = () => the().close()
    return { endpoints: peer.endpoints }
  },
  async broker(options) {
    const broker = await createBroker(options)
    end = () => broker.close()
    return { endpoints: broker.endpoints }
  },
  async connect(address) {
    got.set(address, [])
    await the().connectClient(address, message => void got.get(address)!.push(message.body))
  },
  async connectMany(count) {
    const addresses = Array.from({ length: count }, (_, at) => `client-${at}`)
    const began = performance.now()
    await the().connectClients(addresses, () => {})
    return { ms: performance.now() - began }
  },
  async got(address) {
    return got.get(address) ?? []
  },
  async send(address, body, options = {}) {
    const began = performance.now()
    const { status, code } = await the().sendMessage(address, body, options)
    return { status, code, ms: performance.now() - began }
  },
  async pour(address, from, count) {
    const receipts: Promise<{ status: string }>[] = []
    for (let sent = 0; sent < count; sent++) {
      receipts.push(the().sendMessage(address, from + sent))
      if (sent % 10 === 9) await new Promise(resolve => setTimeout(resolve, 1))
    }
    return (await Promise.all(receipts)).map(({ status }) => status)
  },
  async memory() {
    return { residentBytes: process.memoryUsage.rss(), peakBytes: process.resourceUsage().maxRSS * 1_024 }
  },
  linkDown: () => new Promise(resolve => the().once('linkDown', () => resolve({ atMs: Date.now() }))),
  async block(ms) {
    const until = performance.now() + ms
    while (performance.now() < until);
  },
  async close() {
    await end?.()
  },
}

process.on('message', (message: { id: number; do: keyof Orders; args: never[] }) => {
  const work = orders[message.do] as (...args: never[]) => Promise<unknown>
  work(...message.args).then(
    ok => process.send!({ id: message.id, ok }),
    (error: Error & { code?: string }) => process.send!({ id: message.id, failed: { message: error.message, code: error.code } }),
  )
})
process.on('disconnect', () => process.exit(0))
