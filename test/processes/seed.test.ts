/** Statements of the seed about components, identities and engines that no other test names. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { createBroker, createPeer } from '../../lib/index.ts'
import { hasRedisServer, startRedisServer } from '../support/redis-server.ts'

t.test(
  'P1, P2: the chain is broker -> router -> session store -> datastore, and without a broker the same less the first',
  async t => {
    const imports = (file: string): string => readFileSync(`lib/${file}`, 'utf8')
    t.match(imports('broker.ts'), /from '\.\/router\/router\.ts'/)
    t.match(imports('create.ts'), /from '\.\/sessions\/store-directory\.ts'/)
    t.match(imports('sessions/session-store.ts'), /from '\.\.\/datastores\/datastore\.ts'/)
    t.notMatch(
      imports('router/router.ts'),
      /datastores|session-store|direct\.ts|relayed\.ts/,
      'the router knows faces, not parts',
    )
  },
)

t.test('P9: registerIdentity gives a peer its identity, once', async t => {
  await using peer = await createPeer({ store: 'memory:' })
  t.throws(() => peer.identity, { code: 'BAD_OPTION' })
  let registered = ''
  peer.on('registered', identity => (registered = identity))
  await peer.registerIdentity('server-1')
  t.equal(peer.identity, 'server-1')
  t.equal(registered, 'server-1')
  await t.rejects(peer.registerIdentity('server-2'), { code: 'BAD_OPTION' })
  t.equal(peer.identity, 'server-1')
})

t.test('P9: a peer that is closed while it takes its identity leaves nothing behind', async t => {
  const store = 'memory:closed-early'
  const peer = await createPeer({ store })
  const registered = t.rejects(peer.registerIdentity('server-1'), { code: 'CLOSED' })
  await peer.close()
  await registered
  await using other = await createPeer({ store, identity: 'server-2' })
  t.same(
    other.members().map(({ identity }) => identity),
    ['server-2'],
  )
})

t.test('P38, P39: ten peers of one machine have ports of their own, and find each other by what the store says', async t => {
  const store = 'memory:ten'
  const peers = await Promise.all(Array.from({ length: 10 }, (_, at) => createPeer({ identity: `${at + 1}`, store })))
  t.teardown(() => Promise.all(peers.map(peer => peer.close())))
  t.equal(new Set(peers.flatMap(peer => peer.endpoints)).size, 10)
  const got: string[] = []
  await Promise.all(peers.map(peer => peer.connectClient(`client${peer.identity}`, message => void got.push(message.to))))
  const receipts = await Promise.all(peers.map((peer, at) => peer.sendMessage(`client${((at + 1) % 10) + 1}`, 'hello')))
  t.ok(receipts.every(({ status }) => status === 'delivered'))
  t.equal(got.length, 10)
  const [first] = peers
  t.same(first!.members().find(({ identity }) => identity === '1')?.endpoints, first!.endpoints)
})

t.test('P51, P52: who joined a moment ago gets a broadcast', async t => {
  for (const mode of ['brokerless', 'broker']) {
    const hub = mode === 'broker' ? await createBroker({ store: 'memory:', listen: 'tcp://127.0.0.1:0' }) : undefined
    const way = hub ? { broker: hub.endpoints[0]! } : { store: 'memory:moment' }
    const peers = []
    const got: string[] = []
    for (const identity of ['one', 'two', 'three']) peers.push(await createPeer({ identity, ...way }))
    for (const peer of peers) await peer.connectClient(`client-${peer.identity}`, message => void got.push(message.to))
    const result = await peers[0]!.broadcast('hello')
    t.equal(result.reached, 2, mode)
    t.same(got.sort(), ['client-three', 'client-two'], mode)
    for (const peer of peers) await peer.close()
    await hub?.close()
  }
})

t.test(
  'P30, P41: the last broker leaves no record of its peers; when one is there again, all that they hold is back',
  async t => {
    const store = 'memory:last'
    const hub = await createBroker({ identity: 'hub', store, listen: 'tcp://127.0.0.1:0' })
    const broker = hub.endpoints[0]!
    await using one = await createPeer({ identity: 'one', broker })
    await using two = await createPeer({ identity: 'two', broker })
    const got: unknown[] = []
    await one.connectClient('alice', message => void got.push(message.body))
    t.equal((await two.sendMessage('alice', 1)).status, 'delivered')

    await using look = await createPeer({ identity: 'look', store })
    await hub.close()
    t.same((await look.sendMessage('alice', 'nobody')).status, 'absent')
    const sessions = []
    for await (const session of look.sessions()) sessions.push(session)
    t.same(sessions, [])

    await using _again = await createBroker({ identity: 'hub', store, listen: broker })
    t.equal((await two.sendMessage('alice', 2, { waitMs: 8_000 })).status, 'delivered')
    t.same(got, [1, 2])
  },
)

for (const engine of ['memory', 'lmdb', 'redis']) {
  t.test(
    `P43, P44: the same conversation on ${engine}`,
    { skip: engine === 'redis' && !hasRedisServer() && 'redis-server is not installed' },
    async t => {
      const server = engine === 'redis' ? await startRedisServer() : undefined
      t.teardown(() => server?.[Symbol.asyncDispose]())
      const store = server?.url ?? (engine === 'memory' ? 'memory:same' : `lmdb:${t.testdir()}/store`)
      await using one = await createPeer({ identity: 'one', store })
      await using two = await createPeer({ identity: 'two', store })
      const lines: string[] = []
      await one.connectClient('clientA1', message => void lines.push(`${message.from} ${message.to} ${String(message.body)}`))
      await two.connectClient('clientA2')
      t.equal((await two.sendMessage('clientA1', 'Hello from A to A!', { from: 'clientA2' })).status, 'delivered')
      t.same(lines, ['clientA2 clientA1 Hello from A to A!'])
      t.same(await one.disconnectClient('clientA1'), { at: 'released' })
      t.equal((await two.sendMessage('clientA1', 'gone?')).status, 'absent')
    },
  )
}
