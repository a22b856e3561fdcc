/** A secret is changed while the cluster works: [old], [old, new], [new, old], [new], one peer after the other, and no send fails. */
import t from 'tap'
import { createPeer, type Peer, type Receipt } from '../../lib/index.ts'

const former = 'the former secret of this cluster'
const next = 'the secret that this cluster is to have'
const steps = [[former, next], [next, former], [next]]
const store = 'memory:rotation'
const identities = ['a', 'b', 'c']

t.test('no send fails while all peers of a brokerless cluster change their secret', async t => {
  const peers = new Map<string, Peer>()
  const got = new Map<string, Set<number>>(identities.map(identity => [identity, new Set<number>()]))
  const start = async (identity: string, secret: readonly string[]): Promise<void> => {
    const peer = await createPeer({ identity, store, secret })
    peers.set(identity, peer)
    t.teardown(() => peer.close())
  }
  /** The client of a name goes to a peer; what it gets is noted wherever it is. */
  const connect = (name: string, at: string): Promise<unknown> =>
    peers.get(at)!.connectClient(`client-${name}`, ({ body }) => void got.get(name)!.add(body as number))

  for (const identity of identities) await start(identity, [former])
  for (const identity of identities) await connect(identity, identity)

  let number = 0
  const receipts: Promise<Receipt>[] = []
  /** Everybody sends to everybody, whichever secrets they have just now. */
  const everyWay = async (): Promise<void> => {
    const now: Promise<Receipt>[] = []
    for (const peer of peers.values())
      for (const name of identities) now.push(peer.sendMessage(`client-${name}`, ++number, { waitMs: 5_000 }))
    receipts.push(...now)
    await Promise.all(now)
  }

  await everyWay()
  for (const secret of steps) {
    for (const [at, identity] of identities.entries()) {
      const other = identities[(at + 1) % identities.length]!
      await connect(identity, other)
      const leaving = peers.get(identity)!
      peers.delete(identity)
      await everyWay()
      await leaving.close()
      await start(identity, secret)
      await connect(identity, identity)
      await everyWay()
    }
  }
  const outcomes = new Set((await Promise.all(receipts)).map(({ status }) => status))
  t.same([...outcomes], ['delivered'], `${receipts.length} sends`)
  for (const [name, numbers] of got) t.equal(numbers.size, receipts.length / identities.length, `to ${name}, each once`)

  const late = await createPeer({ identity: 'late', store, secret: former, deadlineMs: 1_000 })
  t.teardown(() => late.close())
  t.match(await late.sendMessage('client-a', 'with the former secret'), { status: 'unreachable', code: 'UNREACHABLE' })
  const one = await createPeer({ identity: 'one', store, secret: [next] })
  t.teardown(() => one.close())
  t.match(await one.sendMessage('client-a', ++number), { status: 'delivered' })
})
