/** What watches and ephemeral nodes give: who leaves or ends is known at once; an outage, a pause and an expired session condemn nobody. */
import t, { type Test } from 'tap'
import { createBroker, createPeer, type Peer } from '../../lib/index.ts'
import { Child } from '../support/processes.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { ask, startZooKeeper, zooKeeperMissing, type ZooKeeperServer } from '../support/zookeeper-server.ts'

/** A lease so long that nothing here can be told by it; a session of the server lasts four operations. */
const times = { leaseMs: 60_000, renewEveryMs: 20_000, guardMs: 2_000, operationTimeoutMs: 250 }
const sessionMs = 4 * times.operationTimeoutMs
/** The server looks at sessions each tick. */
const tickMs = 200

const missing = zooKeeperMissing()
if (missing) t.test('ZooKeeper', { skip: missing }, async () => {})

const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

interface Watched {
  server: ZooKeeperServer
  watcher: Peer
  /** What the watcher was told of members: `up one`, `down one lapsed`. */
  told: { what: string; atMs: number }[]
  /** Resolves to when it was told so. */
  heard(what: string, withinMs?: number): Promise<number>
  child(identity: string, store?: string): Promise<Child>
}

function watched(name: string, check: (t: Test, watched: Watched) => Promise<void>): void {
  if (missing) return
  t.test(name, async t => {
    await using server = await startZooKeeper({ tickMs })
    await using watcher = await createPeer({ identity: 'watcher', store: server.url, ...times })
    const told: Watched['told'] = []
    const tell = (what: string): void => void told.push({ what, atMs: performance.now() })
    watcher.on('memberUp', ({ identity }) => tell(`up ${identity}`))
    watcher.on('memberDown', ({ identity, why }) => tell(`down ${identity} ${why}`))
    const heard = async (what: string, withinMs = 5_000): Promise<number> => {
      for (const untilMs = performance.now() + withinMs; ; await pass(5)) {
        const news = told.find(each => each.what === what)
        if (news) return news.atMs
        if (performance.now() > untilMs) throw new Error(`not told: ${what}, but ${told.map(each => each.what).join(', ')}`)
      }
    }
    const child = async (identity: string, store = server.url): Promise<Child> => {
      const started = new Child(t)
      await started.ask('peer', { identity, store, ...times })
      await started.ask('connect', `client of ${identity}`)
      await heard(`up ${identity}`)
      return started
    }
    await check(t, { server, watcher, told, heard, child })
  })
}

/** Until that many signs of life are shown: two a peer, its own and its pulse's. */
async function signs({ port }: ZooKeeperServer, count: number): Promise<void> {
  const untilMs = performance.now() + 10_000
  for (; ; await pass(10)) {
    const owned = (await ask(port, 'dump')).match(/signs:\/entries\//g)?.length ?? 0
    if (owned === count) return
    if (performance.now() > untilMs) throw new Error(`${owned} signs of life, not ${count}`)
  }
}

watched('who joins and who says goodbye is known at once', async (t, { heard, child }) => {
  const began = performance.now()
  const one = await child('one')
  t.ok((await heard('up one')) - began < 3_000)
  const leaving = performance.now()
  await one.ask('close')
  t.ok((await heard('down one left')) - leaving < 500)
})

watched(
  'kill -9 is known when the session of the process is over, long before its lease is',
  async (t, { server, watcher, heard, child }) => {
    const one = await child('one')
    await signs(server, 4)
    t.equal((await watcher.sendMessage('client of one', 'before')).status, 'delivered')
    const killed = performance.now()
    await one.kill()
    const tookMs = (await heard('down one lapsed')) - killed
    t.ok(tookMs < sessionMs + 2 * tickMs + 1_000, `${tookMs} ms`)
    t.equal((await watcher.sendMessage('client of one', 'after', { deadlineMs: 500 })).status, 'absent')
    t.equal(watcher.members().length, 1)
  },
)

for (const loss of ['', ', and loses all that it had stored,'] as const) {
  watched(
    `F5: a server that is away for three sessions' time${loss} condemns nobody`,
    async (t, { server, watcher, told, child }) => {
      await child('one')
      await signs(server, 4)
      t.equal((await watcher.sendMessage('client of one', 'before')).status, 'delivered')
      await server.kill()
      await pass(3 * sessionMs)
      t.equal((await watcher.sendMessage('client of one', 'meanwhile')).status, 'delivered')
      await server.restart(loss === '' ? undefined : 'empty')
      await signs(server, 4)
      // A session that was over would be seen to end within its time.
      await pass(2 * sessionMs)
      t.equal((await watcher.sendMessage('client of one', 'after')).status, 'delivered')
      t.same(
        told.map(({ what }) => what),
        ['up one'],
      )
    },
  )
}

watched(
  'a peer that the server lost sight of, and that lives, is condemned by nobody',
  async (t, { server, watcher, told, child }) => {
    await using proxy = await startTcpProxy(server.port)
    const one = await child('one', `zookeeper://127.0.0.1:${proxy.port}/test`)
    await signs(server, 4)
    proxy.mute(true)
    proxy.swallow()
    await signs(server, 2)
    await pass(1_000)
    t.equal((await watcher.sendMessage('client of one', 'meanwhile')).status, 'delivered')
    proxy.mute(false)
    await signs(server, 4)
    t.equal((await watcher.sendMessage('client of one', 'after')).status, 'delivered')
    t.same(await one.ask('got', 'client of one'), ['meanwhile', 'after'])
    t.same(
      told.map(({ what }) => what),
      ['up one'],
    )
  },
)

watched('a process that is stopped outlives its session', async (t, { server, watcher, told, child }) => {
  const one = await child('one')
  await signs(server, 4)
  one.process.kill('SIGSTOP')
  await signs(server, 2)
  await pass(1_000)
  one.process.kill('SIGCONT')
  await signs(server, 4)
  t.equal((await watcher.sendMessage('client of one', 'after')).status, 'delivered')
  t.same(
    told.map(({ what }) => what),
    ['up one'],
  )
})

watched('a busy peer shows that it lives by its pulse', async (t, { server, watcher, told, child }) => {
  const one = await child('one')
  await signs(server, 4)
  const busy = one.ask('block', 3 * sessionMs)
  await signs(server, 3)
  await busy
  await signs(server, 4)
  t.equal((await watcher.sendMessage('client of one', 'after')).status, 'delivered')
  t.same(
    told.map(({ what }) => what),
    ['up one'],
  )
})

if (!missing)
  t.test('a peer that says goodbye to its broker is answered before it is gone, and does not come back', async t => {
    await using server = await startZooKeeper({ tickMs })
    await using broker = await createBroker({ identity: 'hub', store: server.url, listen: 'tcp://127.0.0.1:0' })
    const joined: string[] = []
    broker.on('peerJoined', ({ identity }) => joined.push(identity))
    const names = Array.from({ length: 40 }, (_, i) => `peer-${i}`)
    const peers = await Promise.all(names.map(identity => createPeer({ identity, broker: broker.endpoints[0]! })))
    for (let at = 0; at < peers.length; at += 4) await Promise.all(peers.slice(at, at + 4).map(peer => peer.close()))
    t.same(joined.sort(), names.sort())
    t.equal(broker.peerCount, 0)
  })
