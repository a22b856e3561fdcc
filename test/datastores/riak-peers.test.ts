/** Peers on a Riak cluster: what they promise holds while nodes of it come and go, and once what they wrote at the same moment has met. */

import t from 'tap'
import { createPeer, type Peer } from '../../lib/index.ts'
import { startRiakServer, type RiakServer } from '../support/riak-server.ts'

const passing = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

async function peersOn(server: RiakServer, count: number): Promise<Peer[]> {
  // Each knows another node first, as behind a balancer.
  return Promise.all(
    Array.from({ length: count }, (_, i) => {
      const nodes = server.ports.map((_, at) => `127.0.0.1:${server.ports[(at + i) % server.ports.length]}`)
      return createPeer({ identity: `peer-${i}`, store: `riak://${nodes.join(',')}` })
    }),
  )
}

async function closed(peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) await peer.close()
}

t.test('clients connect, move and are found while one node after the other dies and comes back', async t => {
  await using server = await startRiakServer()
  const peers = await peersOn(server, 3)
  const downs: unknown[] = []
  for (const peer of peers) peer.on('memberDown', down => downs.push(down))
  const received: string[] = []
  await peers[0]!.connectClient('warm', message => received.push(String(message.body)))
  let sent = 0
  for (const node of [0, 1, 2]) {
    await server.kill(node)
    for (let i = 0; i < 20; i++) {
      const address = `client-${node}-${i}`
      const holder = peers[i % 3]!
      await holder.connectClient(address, message => received.push(String(message.body)))
      const receipt = await peers[(i + 1) % 3]!.sendMessage(address, `${sent++}`, { waitMs: 2_000 })
      t.equal(receipt.status, 'delivered')
      t.equal((await peers[(i + 2) % 3]!.sendMessage('warm', `${sent++}`)).status, 'delivered')
      await peers[(i + 1) % 3]!.connectClient(address, message => received.push(String(message.body)))
      t.equal((await holder.sendMessage(address, `${sent++}`)).status, 'delivered', 'after it moved')
      while (received.length < sent) await passing(1) // what is in an inbox ends with its client
      await peers[(i + 1) % 3]!.disconnectClient(address)
      t.equal((await holder.sendMessage(address, 'nobody')).status, 'absent')
    }
    await server.restart(node)
  }
  t.same(
    received.map(Number).sort((a, b) => a - b),
    Array.from({ length: sent }, (_, i) => i),
  )
  t.same(downs, [], 'nobody was judged dead for it')
  await closed(peers)
})

t.test('two that connect an address at the same moment: one keeps it, the other is told within one renewal', async t => {
  await using server = await startRiakServer()
  const peers = await peersOn(server, 3)
  const addresses = Array.from({ length: 20 }, (_, i) => `client-${i}`)
  // Conditions are judged before either write is known.
  for (const node of [0, 1, 2]) server.replicas.lag(node, 20)
  const connected = await Promise.all([0, 1].map(at => peers[at]!.connectClients(addresses, () => {})))
  for (const node of [0, 1, 2]) server.replicas.lag(node, 0)
  const since = performance.now()
  const holders = (index: number) => connected.filter(clients => clients[index]!.end === undefined).length
  const doubly = addresses.filter((_, index) => holders(index) === 2)
  t.ok(doubly.length > 0, 'or nothing is shown')
  t.comment(`${doubly.length} of ${addresses.length} addresses were held twice at first`)
  while (addresses.some((_, index) => holders(index) > 1) && performance.now() - since < 8_000) await passing(20)
  t.comment(`${(performance.now() - since).toFixed()} ms until none was`)
  t.ok(performance.now() - since < 2_000 + 3_000 + 1_500, 'a second look and a renewal')
  for (const [index, address] of addresses.entries()) {
    t.equal(holders(index), 1)
    const located = await peers[2]!.whereIs(address)
    const holder = connected.findIndex(clients => clients[index]!.end === undefined)
    t.equal(located?.identity, `peer-${holder}`, 'the one that all others find')
  }
  await closed(peers)
})

t.test('with all of Riak away known addresses go on; when it is back, so do the others', async t => {
  await using server = await startRiakServer()
  const peers = await peersOn(server, 2)
  const downs: unknown[] = []
  for (const peer of peers) peer.on('memberDown', down => downs.push(down))
  await peers[0]!.connectClient('known', () => {})
  t.equal((await peers[1]!.sendMessage('known', 'before')).status, 'delivered')
  for (const node of [0, 1, 2]) await server.kill(node)
  await passing(1_500)
  t.equal((await peers[1]!.sendMessage('known', 'meanwhile')).status, 'delivered')
  t.equal((await peers[1]!.sendMessage('unknown', 'meanwhile', { deadlineMs: 500 })).status, 'unreachable')
  const connecting = peers[0]!.connectClient('late', () => {})
  for (const node of [0, 1, 2]) await server.restart(node)
  const since = performance.now()
  await connecting
  t.ok(performance.now() - since < 3_000)
  t.equal((await peers[1]!.sendMessage('late', 'after', { waitMs: 2_000 })).status, 'delivered')
  t.same(downs, [])
  await closed(peers)
})
