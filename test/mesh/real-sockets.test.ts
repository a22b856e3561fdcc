/** The mesh over real TCP on loopback, whose connections are destroyed while messages fly. */

import t from 'tap'
import type { Connection, Env, Transport } from '../../lib/env/env.ts'
import { realEnv } from '../../lib/env/real.ts'
import type { LinkSetup } from '../../lib/link/link.ts'
import { linkOptions } from '../../lib/link/options.ts'
import { channelDefaults } from '../../lib/mesh/channel.ts'
import { DirectMesh } from '../../lib/mesh/direct.ts'
import type { Run } from '../../lib/sessions/directory.ts'
import { MeshPeer } from '../support/mesh-peer.ts'

/** Keeps hold of what was dialled and accepted. */
class Grip {
  readonly connections: Connection[] = []

  on(env: Env): Env {
    const { transport } = env
    const gripped: Transport = {
      listen: (endpoint, tls, accept) =>
        transport.listen(endpoint, tls, connection => {
          this.connections.push(connection)
          return accept(connection)
        }),
      dial: (...args) => {
        const connection = transport.dial(...args)
        this.connections.push(connection)
        return connection
      },
    }
    return { ...env, transport: gripped }
  }

  /** All: both ends may have dialled at first, and which of the links stayed is theirs to know. */
  destroy(): void {
    for (const connection of this.connections.splice(0)) connection.destroy()
  }
}

const messages = 20_000
const breaks = 20

t.test('20,000 messages each way arrive once and in order while the connection is destroyed 20 times', async t => {
  const link = linkOptions({ redialMs: 5, redialCapMs: 20 })
  const grips = [new Grip(), new Grip()]
  const peers = ['a', 'b'].map((identity, index) => new MeshPeer({ identity, incarnation: '1' }, grips[index]!.on(realEnv())))
  const [a, b] = peers as [MeshPeer, MeshPeer]
  const endpoints = new Map<string, string>()
  for (const peer of peers) {
    const introduce: LinkSetup['introduce'] = () => ({ ...peer.run, role: 'peer', capabilities: [] })
    const mesh = new DirectMesh({
      env: peer.env,
      link: { options: link, cluster: 'real', secrets: [], tls: undefined, introduce },
      channel: channelDefaults,
      handler: peer,
      self: peer.run,
      endpointsOf: (run: Run) => [endpoints.get(run.identity)!],
      isCurrent: async () => true,
    })
    peer.mesh = mesh
    endpoints.set(peer.run.identity, await mesh.listen('tcp://127.0.0.1:0'))
  }
  const total = 2 * messages
  let [answered, broken] = [0, 0]
  await new Promise<void>(resolve => {
    const next: Record<string, number> = { a: 0, b: 0 }
    const learn = (peer: MeshPeer, other: MeshPeer): void => {
      answered++
      // Many are under way at any time, and more follow only as these are answered.
      if (next[peer.run.identity]! < messages) sendOne(peer, other)
      if (answered % Math.floor(total / (breaks + 1)) === 0 && broken < breaks) grips[broken++ % 2]!.destroy()
      if (answered === total) resolve()
    }
    const sendOne = (peer: MeshPeer, other: MeshPeer): void => {
      peer.send(other.run, next[peer.run.identity]!++ % 300)
    }
    a.learns = () => learn(a, b)
    b.learns = () => learn(b, a)
    for (let i = 0; i < 500; i++) {
      sendOne(a, b)
      sendOne(b, a)
    }
  })
  t.equal(broken, breaks)
  t.ok(a.heard('down b') >= breaks - 2, `${a.heard('down b')} breaks were noticed`)
  const inOrder = Array.from({ length: messages }, (_, index) => index)
  for (const peer of peers) {
    t.same(peer.numbers, inOrder)
    t.ok(peer.sent.every(({ answers }) => answers.length === 1 && answers[0] === 'accepted'))
    t.equal(peer.events.filter(event => event.startsWith('ended')).length, 0)
  }
  await Promise.all(peers.map(peer => peer.mesh.close(1_000)))
})
