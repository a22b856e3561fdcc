/** What a broker does with the records of its peers, in every order in which its calls to the datastore may end. */
import t from 'tap'
import { ServedPeers } from '../../lib/broker/served-peers.ts'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { Link } from '../../lib/link/link.ts'
import type { Member, Run } from '../../lib/sessions/directory.ts'
import { sessionOptions } from '../../lib/sessions/options.ts'
import { PeerRecords } from '../../lib/sessions/peer-records.ts'
import { SessionStore } from '../../lib/sessions/session-store.ts'
import { everyOrder, Gate, settle } from '../sessions/stepped-datastore.ts'

const alice: Run = { identity: 'alice', incarnation: 'run-alice' }
const member: Member = {
  ...alice,
  endpoints: [],
  via: 'hub',
  role: 'peer',
  state: 'up',
  version: '0.1.0',
  machine: 'there',
  metadata: {},
}

function setUp() {
  const time = new VirtualTime({ seed: 'served peers' })
  const engine = new MemoryEngine(time.clock)
  const gate = new Gate()
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  const datastore = gate.datastore('hub', engine.connect())
  const gone: string[] = []
  const peers = new ServedPeers({
    env,
    records: new PeerRecords(datastore, 'test'),
    sessions: new SessionStore({ env, datastore, cluster: 'test' }),
    options: sessionOptions({}),
    identity: 'hub',
    probe: async () => 'silent',
    tell() {},
    joined() {},
    gone: ({ identity }, why) => void gone.push(`${identity} ${why}`),
    trouble: error => t.fail('trouble', { error }),
  })
  const pass = async (choose: (count: number) => number): Promise<void> => {
    for (await settle(); gate.waiting.length > 0; await settle()) gate.take(choose(gate.waiting.length)).run('pass')
  }
  return { engine, peers, gone, pass }
}

t.test('a goodbye while the leases are renewed, in every order: no record is left, and none is put back', async t => {
  const runs = await everyOrder(async choose => {
    const { engine, peers, gone, pass } = setUp()
    peers.linkUp({ remote: alice } as Link)
    const joined = peers.join(alice, member)
    await pass(() => 0)
    await joined
    t.ok(engine.get('homing:test:peers:alice'))
    peers.recheck()
    await settle()
    const left = peers.leave(alice)
    await pass(choose)
    await left
    if (engine.get('homing:test:peers:alice')) t.fail('its record is there')
    if (gone.join() !== 'alice left') t.fail(`told: ${gone.join()}`)
  })
  t.ok(runs >= 3, `${runs} orders`)
})
