/** Bodies on their way: large ones that are not copied, and such whose own code runs while they are encoded. */
import { seededRandom } from '../../lib/env/random.ts'
import type { Receipt } from '../../lib/index.ts'
import { inBothModes, taker, threePeers } from '../support/clusters.ts'

/** Bytes in which each message differs from the others. */
function bytesOf(n: number, length: number): Buffer {
  return Buffer.alloc(length, `${n}.`)
}

inBothModes(
  'large bodies of bytes arrive whole and in order between small ones, over links that break and a full inbox',
  async (t, cluster, mode) => {
    const [a, b] = await threePeers(cluster)
    const got: [number, string][] = []
    await cluster.settle(
      b.connectClient('bob', async ({ body }) => {
        const bytes = body as Buffer
        got.push([bytes.length, bytes.toString('latin1', 0, 8)])
        await Promise.resolve()
      }),
    )
    const random = seededRandom('large')
    const sent: [number, string][] = []
    const sends: Promise<Receipt>[] = []
    for (let n = 0; n < 300; n++) {
      const bytes = bytesOf(n, n % 3 === 0 ? 10 + (n % 7) : 16 * 1024 + Math.floor(random.fraction() * 150_000))
      sent.push([bytes.length, bytes.toString('latin1', 0, 8)])
      sends.push(a.sendMessage('bob', bytes, { deadlineMs: 60_000 }))
      if (random.fraction() < 0.2) await cluster.run(random.fraction() * 10)
      if (n % 60 === 30) cluster.reset(mode === 'broker' ? 'hub' : 'a', 'b')
    }
    const receipts = await cluster.settle(Promise.all(sends))
    t.ok(receipts.every(({ status }) => status === 'delivered'))
    t.same(got, sent)
  },
  { options: { inboxBytesMax: 600_000 }, network: { jitterMs: 5 } },
)

inBothModes('a large body that is given up leaves a way that works', async (t, cluster, mode) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  await cluster.settle(a.sendMessage('bob', 'first'))
  const [one, other] = mode === 'broker' ? ['hub', 'b'] : ['a', 'b']
  const given = a.sendMessage('bob', bytesOf(1, 100_000), { deadlineMs: 50 })
  cluster.cut(one!, other!)
  t.equal((await cluster.settle(given)).status, 'unknown')
  cluster.reset(one!, other!) // what was on the way is gone with its link
  cluster.heal(one!, other!)
  t.equal((await cluster.settle(a.sendMessage('bob', bytesOf(2, 50_000), { deadlineMs: 60_000 }))).status, 'delivered')
  t.equal(bob.bodies.length, 2, 'what was given up did not come late')
})

inBothModes('a body whose own code sends on the same way, while it is encoded', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  await cluster.settle(a.sendMessage('bob', 'first'))
  const nested: Promise<Receipt>[] = []
  let asked = 0
  const body = {
    before: 'x',
    toJSON() {
      if (asked++ === 0) nested.push(a.sendMessage('bob', 'from within'))
      return { after: 'y' }
    },
  }
  const outer = await cluster.settle(a.sendMessage('bob', body))
  t.equal(outer.status, 'delivered')
  t.same(
    (await cluster.settle(Promise.all(nested))).map(({ status }) => status),
    ['delivered'],
  )
  t.same(bob.bodies, ['first', 'from within', { after: 'y' }])
})

inBothModes('a body whose own code throws is refused, and its request too', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', { request: ({ body }) => body }))
  t.same(await cluster.settle(a.request('bob', 1)), 1)
  const body = {
    get broken(): never {
      throw new Error('on purpose')
    },
  }
  t.match(await cluster.settle(a.sendMessage('bob', body)), { status: 'refused', code: 'UNENCODABLE' })
  await t.rejects(cluster.settle(a.request('bob', body)), { code: 'UNENCODABLE' })
  t.same(await cluster.settle(a.request('bob', 2)), 2, 'the way goes on')
})

inBothModes(
  'bodies above the default limit arrive where a higher one is configured: messages, requests and answers, calls',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    await cluster.settle(b.connectClient('bob', { message: () => {}, request: ({ body }) => body }))
    b.protocol('large/1').serve({ call: (_from, body) => body })
    const large = 'x'.repeat(2 << 20)
    t.match(await cluster.settle(a.sendMessage('bob', large)), { status: 'delivered' })
    t.equal(await cluster.settle(a.request('bob', large)), large)
    t.equal(await cluster.settle(a.protocol('large/1').call('b', large)), large)
    const { peers } = await cluster.settle(a.broadcast(large))
    t.match(
      peers.filter(({ identity }) => identity === 'b'),
      [{ reached: 1, full: 0 }],
    )
  },
  { options: { bodyBytesMax: 3 << 20 } },
)
