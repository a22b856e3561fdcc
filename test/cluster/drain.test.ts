/** F22: a server that drains hands its clients over, and nobody hears of it but by latency. */
import type { Peer, Receipt } from '../../lib/index.ts'
import { check, type Cluster } from '../../lib/testing/index.ts'
import { inBothModes, taker, threePeers } from '../support/clusters.ts'
import { measured, percentile } from '../support/figures.ts'

/** A client that, told to move, is away for a moment and connects elsewhere. */
function movesOn(
  cluster: Cluster,
  from: Peer,
  to: Peer,
  awayMs: number | ((address: string) => number),
  take: (body: unknown) => void,
): void {
  from.on('moving', ({ address }) => {
    void from.disconnectClient(address)
    const ms = typeof awayMs === 'number' ? awayMs : awayMs(address)
    cluster.time.timers.after(ms, () => void to.connectClient(address, message => take(message.body)))
  })
}

inBothModes('F22: senders wait for clients that move from a draining server: no loss, no error, in order', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClients(['bob', 'ben'], bob.take))
  const got: unknown[] = []
  movesOn(cluster, b, c, 800, body => got.push(body))
  const sends: Promise<Receipt>[] = []
  for (let n = 0; n < 100; n++) {
    sends.push(a.sendMessage('bob', n))
    await cluster.run(5)
  }
  const startedMs = cluster.nowMs
  const drained = b.drain()
  for (let n = 100; n < 400; n++) {
    sends.push(a.sendMessage('bob', n))
    await cluster.run(5)
  }
  await cluster.settle(drained)
  t.ok(cluster.nowMs - startedMs <= 5_000, `${cluster.nowMs - startedMs} ms`)
  const receipts = await cluster.settle(Promise.all(sends))
  t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
  await cluster.run(1_100)
  t.same(
    [...bob.bodies, ...got],
    Array.from({ length: 400 }, (_, n) => n),
  )
  t.same(check(cluster.history.events), [])
})

inBothModes('F22: a sender that never sent to the address before waits as well, wherever it is', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  await cluster.settle(b.connectClients(['bob', 'ben'], () => {}))
  const got: unknown[] = []
  movesOn(
    cluster,
    b,
    c,
    address => (address === 'bob' ? 1_500 : 2_500),
    body => got.push(body),
  )
  const drained = b.drain()
  await cluster.run(300)
  const sends = [a.sendMessage('bob', 1), c.sendMessage('bob', 2), b.sendMessage('bob', 3)]
  await cluster.run(700)
  sends.push(a.sendMessage('ben', 1))
  const receipts = await cluster.settle(Promise.all(sends))
  t.same(
    receipts.map(({ status }) => status),
    ['delivered', 'delivered', 'delivered', 'delivered'],
  )
  await cluster.settle(drained)
})

inBothModes('F22: the last client to leave is waited for as those before it', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  const got: unknown[] = []
  b.on('moving', ({ address }) => {
    cluster.time.timers.after(300, () => {
      void b.disconnectClient(address)
      cluster.time.timers.after(1_000, () => void c.connectClient(address, ({ body }) => void got.push(body)))
    })
  })
  const drained = b.drain()
  await cluster.run(1_000)
  const sends = [a.sendMessage('bob', 1), c.sendMessage('bob', 2)]
  const receipts = await cluster.settle(Promise.all(sends))
  t.same(
    receipts.map(({ status }) => status),
    ['delivered', 'delivered'],
  )
  t.equal(got.length, 2)
  await cluster.settle(drained)
})

inBothModes('F22: a rolling restart of all servers under load', async (t, cluster) => {
  const peers = new Map<string, Peer>()
  for (const peer of await threePeers(cluster)) peers.set(peer.identity, peer)
  const sender = await cluster.peer('d')
  await cluster.settle(peers.get('a')!.connectClients(['bob', 'ben'], () => {}))
  const sends: Promise<Receipt>[] = []
  for (const [name, next] of [
    ['a', 'b'],
    ['b', 'c'],
    ['c', 'a'],
  ] as const) {
    movesOn(cluster, peers.get(name)!, peers.get(next)!, 300, () => {})
    const drained = peers.get(name)!.drain()
    for (let n = 0; n < 200; n++) {
      sends.push(sender.sendMessage('bob', n), sender.sendMessage('ben', n))
      await cluster.run(5)
    }
    await cluster.settle(drained)
    peers.set(name, (await cluster.restart(name)) as Peer)
  }
  const receipts = await cluster.settle(Promise.all(sends))
  t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
  await cluster.run(2_000)
  t.same(check(cluster.history.events), [])
})

inBothModes(
  'F22: a client that comes back to no server is absent after 5 s, and drain ends by its deadline',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    await cluster.settle(b.connectClients(['gone', 'stays'], () => {}))
    b.on('moving', ({ address }) => void (address === 'gone' && b.disconnectClient(address)))
    const startedMs = cluster.nowMs
    const drained = b.drain({ deadlineMs: 3_000 }).then(() => cluster.nowMs - startedMs)
    await cluster.run(100)
    const receipt = await cluster.settle(a.sendMessage('gone', 1))
    t.equal(receipt.status, 'absent')
    t.ok(cluster.nowMs - startedMs <= 5_200, `${cluster.nowMs - startedMs} ms`)
    const drainedMs = await cluster.settle(drained)
    t.ok(drainedMs <= 5_100, `drained after ${drainedMs} ms: its deadline is over, and so is the time that moving clients have`)
  },
)

inBothModes('F22: a rolling restart costs p99 at most twice what is usual, and 250 ms', async (t, cluster) => {
  const peers = new Map<string, Peer>()
  for (const peer of await threePeers(cluster)) peers.set(peer.identity, peer)
  const sender = await cluster.peer('d')
  const addresses = Array.from({ length: 30 }, (_, n) => `client${n}`)
  await cluster.settle(peers.get('a')!.connectClients(addresses, () => {}))
  const statuses = new Set<string>()
  let latencies: number[] = []
  const load = async (ms: number): Promise<void> => {
    for (let n = 0; n < ms / 5; n++) {
      const sentMs = cluster.nowMs
      void sender.sendMessage(addresses[n % addresses.length]!, n).then(({ status }) => {
        statuses.add(status)
        latencies.push(cluster.nowMs - sentMs)
      })
      await cluster.run(5)
    }
  }
  await load(1_000)
  const steadyMs = percentile(latencies, 0.99)
  latencies = []
  let slowestMs = 0
  for (const [name, next] of [
    ['a', 'b'],
    ['b', 'c'],
    ['c', 'a'],
  ] as const) {
    // Clients come back by and by, as they do: each is away for up to 200 ms.
    movesOn(
      cluster,
      peers.get(name)!,
      peers.get(next)!,
      address => Number(address.slice(6)) * 7,
      () => {},
    )
    const startedMs = cluster.nowMs
    const drained = peers
      .get(name)!
      .drain()
      .then(() => (slowestMs = Math.max(slowestMs, cluster.nowMs - startedMs)))
    await load(1_500)
    await cluster.settle(drained)
    peers.set(name, (await cluster.restart(name)) as Peer)
    await load(500)
  }
  await cluster.run(6_000)
  t.same([...statuses], ['delivered'])
  const p99 = percentile(latencies, 0.99)
  measured(t, 'F22', 'p99 in quiet', steadyMs, 'ms')
  measured(t, 'F22', 'p99 over a rolling restart', p99, 'ms')
  measured(t, 'F22', 'the slowest drain', slowestMs, 'ms')
  t.ok(p99 <= 2 * steadyMs + 250, `${p99} ms; ${steadyMs} ms in quiet`)
  t.ok(slowestMs <= 5_000, `${slowestMs} ms`)
  t.same(check(cluster.history.events), [])
})

inBothModes('F22: a peer that is closed while it drains is not drained any longer', async (t, cluster) => {
  const [, b] = await threePeers(cluster)
  await cluster.settle(b.connectClients(['gone', 'stays'], () => {}))
  b.on('moving', ({ address }) => void (address === 'gone' && b.disconnectClient(address)))
  const drained = b.drain()
  await cluster.run(100)
  await cluster.settle(b.close())
  const startedMs = cluster.nowMs
  await cluster.settle(drained)
  t.ok(cluster.nowMs - startedMs <= 100, `${cluster.nowMs - startedMs} ms`)
})
