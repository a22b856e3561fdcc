/** Who may do what: F27 where there is an allow-list, in both modes, by the proved identity of the peer that something comes from. */
import t from 'tap'
import { Access } from '../../lib/access/access.ts'
import type { AllowRule, Message, Peer } from '../../lib/index.ts'
import type { Cluster } from '../../lib/testing/index.ts'
import { inBothModes, inMode, taker, threePeers, type Mode } from '../support/clusters.ts'

const anyConnect: AllowRule = { who: '*', actions: 'connect', addresses: '*' }
const everything: readonly AllowRule[] = [{ who: '*', actions: '*', addresses: '*' }]

const rules: readonly AllowRule[] = [
  anyConnect,
  { who: 'a', actions: ['send', 'request'], addresses: 'bob' },
  { who: ['b', 'x-*'], actions: 'send', addresses: ['carol*', 'dave'] },
]

/** Replaces the list of all, as a file that all of them read would. */
async function setAllow(cluster: Cluster, mode: Mode, peers: readonly Peer[], allow: readonly AllowRule[]): Promise<void> {
  for (const peer of peers) peer.setAllow(allow)
  if (mode === 'broker') cluster.brokerOf('hub').setAllow(allow)
}

inBothModes(
  'F27: sends and requests that no rule allows are refused where the address is',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const bob = taker()
    await cluster.settle(b.connectClient('bob', { message: bob.take, request: ({ peer }) => `asked by ${peer}` }))
    const send = (peer: Peer, to: string) => cluster.settle(peer.sendMessage(to, 1, { from: 'somebody' }))

    t.match(await send(a, 'bob'), { status: 'delivered' })
    for (const peer of [b, c]) {
      const receipt = await send(peer, 'bob')
      t.match(
        receipt,
        { status: 'refused', code: 'REFUSED' },
        `from ${peer.identity}: also where it is a client of the same peer`,
      )
      t.match(receipt.cause?.message, /allow-list/)
      t.equal(receipt.cause?.outcome, 'rejected')
      await t.rejects(cluster.settle(peer.request('bob', 1)), { code: 'REFUSED' })
    }
    t.equal(await cluster.settle(a.request('bob', 1)), 'asked by a')
    t.same(bob.bodies, [1])
    t.match(await send(c, 'nobody'), { status: 'absent' }, 'nobody holds it: nobody has a list for it')

    await cluster.settle(c.connectClient('carol-1', bob.take))
    t.match(await send(b, 'carol-1'), { status: 'delivered' })
    t.match(await send(a, 'carol-1'), { status: 'refused' })
  },
  { options: { allow: rules } },
)

inBothModes(
  'F27: a send that is refused holds up no other, and does not overtake',
  async (t, cluster, mode) => {
    const [a, b] = await threePeers(cluster)
    const bob = taker()
    await cluster.settle(b.connectClient('bob', bob.take))
    // Requests may not, messages may: in between each other they are told apart, frame by frame.
    await setAllow(cluster, mode, [a, b], [anyConnect, { who: 'a', actions: 'send', addresses: 'bob' }])
    const outcomes = Array.from({ length: 50 }, (_, at) => [
      a.sendMessage('bob', at),
      a.request('bob', at).catch((error: { code: string }) => error.code),
    ])
    const all = await cluster.settle(Promise.all(outcomes.flat()))
    t.equal(all.filter(one => one === 'REFUSED').length, 50)
    t.same(bob.bodies, [...Array(50).keys()])
  },
  { options: { allow: rules } },
)

inBothModes(
  'a message carries the identity of its peer as the receiver knows it, whatever it says of itself',
  async (t, cluster, mode) => {
    const [a, b, c] = await threePeers(cluster)
    const got: Message[] = []
    await cluster.settle(b.connectClient('bob', message => void got.push(message)))
    await cluster.settle(a.sendMessage('bob', 1, { from: 'c' }))
    await cluster.settle(b.sendMessage('bob', 2, { from: 'a' }))
    await cluster.settle(c.broadcast(3, { from: 'a' }))
    const hub = mode === 'broker' ? 'hub' : undefined
    t.same(
      got.map(({ body, from, peer, vouchedBy }) => [body, from, peer, vouchedBy]),
      [
        [1, 'c', 'a', hub],
        [2, 'a', 'b', undefined],
        [3, 'a', 'c', hub],
      ],
    )
    t.match(JSON.parse(JSON.stringify(got[0])), { peer: 'a' })

    // What the client had not taken goes to the new owner, with its sender's identity, for which the former owner vouches.
    await cluster.settle(a.connectClient('slow', { message: () => new Promise(() => {}) }))
    await cluster.settle(c.sendMessage('slow', 'taken'))
    await cluster.settle(c.sendMessage('slow', 'left'))
    await cluster.settle(b.connectClient('slow', message => void got.push(message)))
    await cluster.until(() => got.length === 4, 5_000)
    t.match(got[3], { body: 'left', peer: 'c', vouchedBy: 'a' })
  },
)

inBothModes(
  'a broadcast is a send to each address',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const got = taker()
    await cluster.settle(b.connectClients(['bob', 'carol', 'dave'], got.take))
    await cluster.settle(c.connectClients(['carla'], got.take))
    const { peers, reached } = await cluster.settle(a.broadcast('to all'))
    t.equal(reached, 1)
    t.same(
      peers.map(({ identity, reached, full, refused }) => [identity, reached, full, refused]),
      [
        ['b', 1, 0, 2],
        ['c', 0, 0, 1],
      ],
    )
    t.same(
      got.messages.map(({ to }) => to),
      ['bob'],
    )
  },
  { options: { allow: rules } },
)

inBothModes(
  'a client may connect only where a rule lets its peer',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    t.match(await cluster.settle(a.connectClient('a-1')), { address: 'a-1' })
    await t.rejects(cluster.settle(b.connectClient('a-1')), { code: 'REFUSED', message: /'b' connect 'a-1'/ })
    await t.rejects(cluster.settle(b.connectClients(['b-1', 'c-1'])), { code: 'REFUSED', message: /'c-1'/ }, 'all or none')
    t.match(await cluster.settle(a.whereIs('a-1')), { identity: 'a' })
    t.equal(await cluster.settle(a.whereIs('b-1')), undefined)
  },
  { options: { allow: ['a', 'b', 'c'].map(who => ({ who, actions: 'connect', addresses: `${who}-*` })) } },
)

inMode(
  'broker',
  'the broker does not take the word of its peers for what they may connect',
  async (t, cluster) => {
    const honest = await cluster.peer('honest')
    const liar = await cluster.peer('liar', { allow: everything })
    await cluster.settle(honest.connectClient('alice'))
    await t.rejects(cluster.settle(liar.connectClient('alice')), { code: 'REFUSED', message: /broker's allow-list/ })
    t.match(await cluster.settle(honest.whereIs('alice')), { identity: 'honest' }, 'it was not displaced')
    t.equal(honest.client('alice')?.end, undefined)
  },
  { options: { allow: [{ who: 'honest', actions: 'connect', addresses: '*' }] } },
)

inBothModes(
  'a list that is replaced holds at once, for links that stand',
  async (t, cluster, mode) => {
    const [a, b, c] = await threePeers(cluster)
    const peers = [a, b, c]
    const bob = taker()
    const events: string[] = []
    b.on('clientRefused', ({ address }) => void events.push(address))
    b.on('allowChanged', () => void events.push('changed'))
    const client = await cluster.settle(b.connectClient('bob', bob.take))
    await cluster.settle(b.connectClient('other', bob.take))
    const status = async (from: Peer) => (await cluster.settle(from.sendMessage('bob', from.identity))).status

    t.same([await status(a), await status(c)], ['delivered', 'refused'])
    await setAllow(cluster, mode, peers, [anyConnect, { who: 'c', actions: 'send', addresses: 'bob' }])
    t.same([await status(a), await status(c)], ['refused', 'delivered'])
    t.equal(client.end, undefined)
    t.same(events, ['changed'])

    const began = cluster.nowMs
    await setAllow(cluster, mode, peers, [
      { ...anyConnect, addresses: 'other' },
      { who: '*', actions: 'send', addresses: '*' },
    ])
    t.equal(await cluster.settle(client.ended), 'refused')
    t.same(events.slice(1).sort(), ['bob', 'changed'])
    await cluster.run(100)
    t.equal(await status(a), 'absent', 'its record is gone')
    t.ok(cluster.nowMs - began < 5_000)
    t.match(await cluster.settle(a.sendMessage('other', 1)), { status: 'delivered' }, 'the other client is not touched')
    await t.rejects(cluster.settle(b.connectClient('bob')), { code: 'REFUSED' })
    t.same(bob.bodies, ['a', 'c', 1])
    t.throws(() => b.setAllow([{ who: 'x' } as unknown as AllowRule]), { code: 'BAD_OPTION' })
    t.match(await cluster.settle(a.sendMessage('other', 2)), { status: 'delivered' }, 'a bad list leaves the former one')
  },
  { options: { allow: rules } },
)

inMode(
  'broker',
  'a broker that withdraws a right ends the client at its peer, and leads nobody there',
  async (t, cluster) => {
    const a = await cluster.peer('a', { allow: everything })
    const b = await cluster.peer('b', { allow: everything })
    const client = await cluster.settle(b.connectClient('bob'))
    await cluster.settle(b.connectClient('other'))
    t.match(await cluster.settle(a.sendMessage('bob', 1)), { status: 'delivered' })
    const began = cluster.nowMs
    cluster.brokerOf('hub').setAllow([{ who: '*', actions: 'connect', addresses: 'other' }])
    t.equal(await cluster.settle(client.ended), 'refused')
    await cluster.until(() => b.client('bob') === undefined)
    t.ok(cluster.nowMs - began < 5_000, `${cluster.nowMs - began} ms`)
    t.equal(await cluster.settle(a.whereIs('bob')), undefined)
    t.equal((await cluster.settle(a.sendMessage('bob', 2))).status, 'absent')
    t.match(await cluster.settle(a.whereIs('other')), { identity: 'b' })
  },
  { options: { allow: [anyConnect] } },
)

inMode('brokerless', 'a function is asked once for each identity, action and address; only true allows', async (t, cluster) => {
  const asked: string[] = []
  const answers = new Map<string, unknown>([['a send bob', true]])
  const authorize = (identity: string, action: string, address: string): boolean => {
    const question = `${identity} ${action} ${address}`
    asked.push(question)
    if (question === 'a send thrower') throw new Error('the function is broken')
    return (action === 'connect' || answers.get(question)) as boolean
  }
  const errors: unknown[] = []
  const logger = { debug() {}, info() {}, warn() {}, error: (data: object) => void errors.push(data) }
  const a = await cluster.peer('a')
  const b = await cluster.peer('b', { authorize, logger })
  await cluster.settle(b.connectClients(['bob', 'promised', 'thrower']))
  answers.set('a send promised', Promise.resolve(true))
  asked.length = 0
  const statuses: string[] = []
  for (const to of ['bob', 'bob', 'bob', 'promised', 'thrower']) {
    statuses.push((await cluster.settle(a.sendMessage(to, 1))).status)
  }
  t.same(statuses, ['delivered', 'delivered', 'delivered', 'refused', 'refused'])
  t.same(asked, ['a send bob', 'a send promised', 'a send thrower'])
  t.match(errors, [{ error: { message: 'the function is broken' } }])
  t.equal(b.protocol('topics/1').may('a', 'send', 'bob'), true, 'layers ask the same')
  t.equal(b.protocol('topics/1').may('a', 'publish', 'news'), false)
})

t.test('without a list all is allowed, and nobody is asked', async t => {
  const access = new Access(undefined, error => t.fail(String(error)))
  t.equal(access.isOn, false)
  t.equal(access.may('anybody', 'control', 'anything'), true)
})
