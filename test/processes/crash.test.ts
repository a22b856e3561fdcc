/** Real processes that are killed: F1, F3, F13 of the failure model. */
import t from 'tap'
import { Child } from '../support/processes.ts'

const after = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** What the address has got, as soon as that is `count` messages; after 3 s whatever it is. */
async function untilGot(child: Child, address: string, count: number): Promise<unknown[]> {
  for (const untilMs = Date.now() + 3_000; ; await after(20)) {
    const got = await child.ask('got', address)
    if (got.length >= count || Date.now() > untilMs) return got
  }
}

t.test('F1: a killed peer is noticed at once; its client is reachable elsewhere as soon as it connects there', async t => {
  const store = `lmdb:${t.testdir()}/store`
  const [one, two, three] = [new Child(t), new Child(t), new Child(t)]
  await Promise.all([
    one.ask('peer', { identity: 'one', store }),
    two.ask('peer', { identity: 'two', store }),
    three.ask('peer', { identity: 'three', store }),
  ])
  await one.ask('connect', 'alice')
  t.equal((await two.ask('send', 'alice', 'before')).status, 'delivered')

  const down = two.ask('linkDown')
  const killedMs = Date.now()
  await one.kill()
  t.ok((await down).atMs - killedMs <= 250, 'the link is seen to end within 250 ms')

  const receipt = two.ask('send', 'alice', 'after the crash')
  await three.ask('connect', 'alice')
  const connectedMs = Date.now()
  t.equal((await receipt).status, 'delivered', 'what was never written goes to the new owner')
  t.ok(Date.now() - connectedMs <= 1_000, 'within a second of the connect')
  // Its inbox opens when the former owner has handed over, or has not for a second.
  t.same(await untilGot(three, 'alice', 1), ['after the crash'])
})

t.test('F1: sessions of a killed peer read as absent one lease after its last beat', async t => {
  const store = `lmdb:${t.testdir()}/store`
  const times = { store, leaseMs: 1_500, renewEveryMs: 300, guardMs: 300 }
  const [one, two] = [new Child(t), new Child(t)]
  await Promise.all([one.ask('peer', { identity: 'one', ...times }), two.ask('peer', { identity: 'two', ...times })])
  await one.ask('connect', 'alice')
  t.equal((await two.ask('send', 'alice', 'before')).status, 'delivered')
  const down = two.ask('linkDown')
  await one.kill()
  const killedMs = performance.now()
  await down // what is written before that may have arrived: it is unknown
  for (;;) {
    const { status } = await two.ask('send', 'alice', 'anybody?', { deadlineMs: 100 })
    if (status === 'absent') break
    t.ok(['unreachable', 'absent'].includes(status), `meanwhile: ${status}`)
    if (performance.now() - killedMs > 6_000) break
  }
  const tookMs = performance.now() - killedMs
  t.ok(tookMs <= times.leaseMs + 2_000, `absent after ${Math.round(tookMs)} ms`)
})

t.test('F13: a crashed peer starts again under its identity at once; a living one is not displaced', async t => {
  const store = `lmdb:${t.testdir()}/store`
  const [first, second, third] = [new Child(t), new Child(t), new Child(t)]
  await first.ask('peer', { identity: 'one', store })
  await first.kill()
  const began = performance.now()
  await second.ask('peer', { identity: 'one', store })
  t.ok(performance.now() - began <= 2_000, 'taken over without waiting for the lease')
  await t.rejects(third.ask('peer', { identity: 'one', store }), { code: 'IDENTITY_IN_USE' })
})

for (const brokers of [1, 2]) {
  t.test(`F3, P62: a killed broker (of ${brokers}) loses no acknowledged message and repeats none`, async t => {
    const store = `lmdb:${t.testdir()}/store`
    const start = async (identity: string, listen: string): Promise<[Child, string]> => {
      const child = new Child(t)
      const { endpoints } = await child.ask('broker', { identity, store, listen })
      return [child, endpoints[0]!]
    }
    const [hub, endpoint] = await start('hub', 'tcp://127.0.0.1:0')
    const spare = brokers === 2 ? (await start('spare', 'tcp://127.0.0.1:0'))[1] : undefined
    const broker = spare ? [endpoint, spare] : endpoint
    const [one, two] = [new Child(t), new Child(t)]
    await one.ask('peer', { identity: 'one', broker })
    await two.ask('peer', { identity: 'two', broker: spare ? [spare, endpoint] : endpoint })
    await two.ask('connect', 'bob')

    const count = 3_000
    const pouring = one.ask('pour', 'bob', 0, count)
    await after(100) // in the middle of it; whether before or after any one message does not matter
    await hub.kill()
    if (!spare) await start('hub', endpoint)

    const statuses = await pouring
    const got = (await two.ask('got', 'bob')) as number[]
    t.equal(statuses.filter(status => status === 'delivered').length, count, 'all delivered')
    t.same(
      got,
      Array.from({ length: count }, (_, at) => at),
      'each once, in order',
    )
  })
}

t.test('promise 6: a busy peer is not a dead one, brokerless and behind a broker', async t => {
  const times = { leaseMs: 1_500, renewEveryMs: 300, guardMs: 300, pingAfterMs: 200, staleAfterMs: 800 }
  for (const mode of ['brokerless', 'broker']) {
    const store = `lmdb:${t.testdir({})}/${mode}`
    let way: object = { store }
    if (mode === 'broker') {
      const hub = new Child(t)
      const { endpoints } = await hub.ask('broker', { identity: 'hub', store, listen: 'tcp://127.0.0.1:0', ...times })
      way = { broker: endpoints[0] }
    }
    const [busy, other] = [new Child(t), new Child(t)]
    await busy.ask('peer', { identity: 'busy', ...way, ...times })
    await other.ask('peer', { identity: 'other', ...way, ...times })
    await busy.ask('connect', 'alice')
    t.equal((await other.ask('send', 'alice', 1)).status, 'delivered', mode)
    await after(500) // the pulse begins beside the main loop
    const blocked = busy.ask('block', 3_000)
    const receipt = await other.ask('send', 'alice', 2)
    await blocked
    t.equal(receipt.status, 'delivered', `${mode}: two leases of standing still later`)
    t.same(await busy.ask('got', 'alice'), [1, 2], mode)
  }
})
