/** F21: peers and brokers of several versions of the library in one cluster, as in a rolling upgrade. */
import { HomingError, type Peer } from '../../lib/index.ts'
import { check, type Dialect } from '../../lib/testing/index.ts'
import { inBothModes, inMode, taker } from '../support/clusters.ts'

/** The next minor version: one more version of the protocol, capabilities and keys of which this one has never heard. */
const newer: Dialect = {
  versions: [1, 2],
  capabilities: ['zip/1', 'trace/1'],
  unknown: { $later: { of: ['another', 'version'] }, hint: 7 },
}
/** One that lacks what the newer one has, and has what was given up since. */
const older: Dialect = { versions: [1, 1], capabilities: ['trace/1', 'legacy/1'] }

inBothModes('F21: an older, a newer and this version in one cluster: everything works', async (t, cluster, mode) => {
  const a = await cluster.peer('a', { dialect: older })
  const b = await cluster.peer('b', { dialect: newer })
  const c = await cluster.peer('c')
  if (mode === 'broker') await cluster.broker('hub2', { dialect: newer })
  const peers = [a, b, c]
  await cluster.until(() => peers.every(peer => peer.members().filter(({ role }) => role === 'peer').length === 3), 4_000)
  for (const peer of peers) {
    const bob = taker()
    await cluster.settle(peer.connectClient('bob', { message: bob.take, request: () => 'served' }))
    await cluster.run(100) // its former owner has been told
    for (const sender of peers) {
      t.equal((await cluster.settle(sender.sendMessage('bob', sender.identity))).status, 'delivered')
      t.equal(await cluster.settle(sender.request('bob', 1)), 'served')
    }
    await cluster.run(1_100)
    t.same(bob.bodies, ['a', 'b', 'c'], `at ${peer.identity}`)
    const { peers: reached } = await cluster.settle(peer.broadcast('all', { own: true }))
    t.same(
      reached.map(({ identity, code }) => [identity, code]),
      [
        ['a', undefined],
        ['b', undefined],
        ['c', undefined],
      ],
    )
    await cluster.settle(peer.protocol('chat/1').announce({ from: peer.identity }))
    t.match(await cluster.settle(peer.whereIs('bob')), { identity: peer.identity })
  }
  await cluster.run(4_000)
  for (const peer of peers) t.equal(Object.keys(peer.members()[0]!.metadata).includes('chat/1'), true)
  t.same(cluster.history.of('memberDown'), [])
  t.same(cluster.history.of('handOverIncomplete'), [])
  t.same(check(cluster.history.events), [])
})

inBothModes('F21: a protocol of a version that is not spoken is refused, and harms nothing', async (t, cluster) => {
  const a = await cluster.peer('a')
  const b = await cluster.peer('b', { dialect: newer })
  await cluster.settle(a.connectClient('anna', () => {}))
  a.protocol('chat/1').serve({ call: () => 'one' })
  b.protocol('chat/2').serve({ call: () => 'two' })
  await t.rejects(cluster.settle(b.protocol('chat/2').call('a', { hello: 2 })), { code: 'REFUSED' })
  await t.rejects(cluster.settle(b.protocol('chat/2').tell('a', { hello: 2 })), { code: 'REFUSED' })
  t.equal(await cluster.settle(b.protocol('chat/1').call('a', { hello: 1 })), 'one', 'it falls back to what both speak')
  t.equal((await cluster.settle(b.sendMessage('anna', 1))).status, 'delivered')
})

inBothModes('F21: an address that goes from version to version and back under load keeps its order', async (t, cluster) => {
  const peers: Peer[] = []
  for (const [name, dialect] of [
    ['a', undefined],
    ['b', newer],
    ['c', older],
  ] as const) {
    peers.push(await cluster.peer(name, dialect ? { dialect } : {}))
  }
  const sender = await cluster.peer('d', { dialect: newer })
  await cluster.settle(peers[0]!.connectClient('bob', () => {}))
  const sends: Promise<{ status: string }>[] = []
  for (let n = 0; n < 600; n++) {
    sends.push(sender.sendMessage('bob', n, { deadlineMs: 60_000 }))
    if (n % 50 === 25) void peers[((n - 25) / 50 + 1) % 3]!.connectClient('bob', () => {})
    await cluster.run(2)
  }
  const receipts = await cluster.settle(Promise.all(sends))
  t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
  await cluster.run(2_000)
  t.equal(cluster.history.of('delivery').length, 600)
  t.same(check(cluster.history.events), [])
})

inBothModes('F21: all servers are upgraded one after the other under load, and one goes back', async (t, cluster, mode) => {
  const names = ['a', 'b', 'c']
  const running = new Map<string, Peer>()
  for (const name of names) running.set(name, await cluster.peer(name, { dialect: older }))
  const sender = await cluster.peer('d', { dialect: older })
  await cluster.settle(running.get('a')!.connectClient('bob', () => {}))
  const sends: Promise<{ status: string }>[] = []
  const steps: [string, Dialect][] = [...names.map((name): [string, Dialect] => [name, newer]), ['a', older]]
  for (const [name, dialect] of steps) {
    const peer = running.get(name)!
    const next = running.get(names[(names.indexOf(name) + 1) % names.length]!)!
    peer.on('moving', ({ address }) => {
      void peer.disconnectClient(address)
      cluster.time.timers.after(100, () => void next.connectClient(address, () => {}))
    })
    const drained = peer.drain()
    for (let n = 0; n < 100; n++) {
      sends.push(sender.sendMessage('bob', n))
      await cluster.run(5)
    }
    await cluster.settle(drained)
    cluster.kill(name)
    running.set(name, await cluster.peer(name, { dialect }))
  }
  if (mode === 'broker') {
    cluster.kill('hub')
    await cluster.broker('hub', { dialect: newer })
  }
  sends.push(sender.sendMessage('bob', 'last'))
  const receipts = await cluster.settle(Promise.all(sends))
  t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
  await cluster.run(2_000)
  t.same(check(cluster.history.events), [])
  t.equal(cluster.history.of('delivery').length, sends.length)
})

const refusal = /no common version of the protocol: '[ab]' speaks 2 to 3, '.+' speaks 1/

inMode('broker', 'F21: another major version is refused by the broker, in words', async (t, cluster) => {
  const a = await cluster.peer('a')
  const failed = await cluster.settle(cluster.startPeer('b', { dialect: { versions: [2, 3] } }).catch((error: unknown) => error))
  t.ok(failed instanceof HomingError && failed.code === 'REFUSED', String(failed))
  t.match(String(failed), refusal)
  t.same(a.members().filter(({ role }) => role === 'peer').length, 1)
})

inMode('brokerless', 'F21: another major version is refused by its peers, in words that its senders see', async (t, cluster) => {
  const a = await cluster.peer('a')
  const b = await cluster.peer('b', { dialect: { versions: [2, 3] } })
  const refused: string[] = []
  a.on('linkRefused', ({ error }) => refused.push(error.message))
  await cluster.settle(a.connectClient('anna', () => {}))
  const receipt = await cluster.settle(b.sendMessage('anna', 1, { deadlineMs: 2_000 }))
  t.match(receipt, { status: 'unreachable', code: 'UNREACHABLE' })
  t.match(receipt.cause?.message, refusal)
  t.match((await cluster.settle(b.explain('anna'))).summary, refusal)
  t.match(refused[0], refusal)
  t.equal((await cluster.settle(a.sendMessage('anna', 1))).status, 'delivered', 'here all goes on')
})
