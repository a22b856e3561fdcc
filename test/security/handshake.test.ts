/** Who lies between two ends, or pretends to be one: nothing of it ends admitted. FAULTS.md, F27, and docs/security.md. */
import { createServer, connect, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import t from 'tap'
import type { Connection, Transport } from '../../lib/env/env.ts'
import { realEnv } from '../../lib/env/real.ts'
import { createPeer } from '../../lib/index.ts'
import { Link, type LinkSetup } from '../../lib/link/link.ts'
import { linkOptions } from '../../lib/link/options.ts'
import { decodeBody, encodeBody } from '../../lib/wire/body.ts'
import { frameOf } from '../../lib/wire/frame.ts'
import { HELLO, PROOF, READY, WELCOME } from '../../lib/wire/kinds.ts'
import { Splitter } from '../../lib/wire/splitter.ts'
import { CertificateAuthority, withoutCertificates } from '../support/certificates.ts'
import { LinkEar, LinkWorld } from '../support/link-pair.ts'
import { tapped } from '../support/tapped-connection.ts'

const secret = Buffer.from('the secret of this cluster')

/** Changes bytes on their way, by their place in the stream of one direction. */
function bent(transport: Transport, bend: (bytes: Uint8Array, from: number) => Uint8Array): Transport {
  return {
    listen: (...args) => transport.listen(...args),
    dial: (...args) => bending(transport.dial(...args), bend),
  }
}

function bending(connection: Connection, bend: (bytes: Uint8Array, from: number) => Uint8Array): Connection {
  let written = 0
  return tapped(connection, (bytes, flushed) => {
    const changed = bend(bytes, written)
    written += bytes.length
    connection.write(changed, flushed)
  })
}

/** A handshake in which one byte of one direction is changed. Resolves to whether each end took the other for proved. */
async function meetBent(
  way: 'there' | 'back',
  place: number,
  mask: number,
): Promise<{ near: boolean; far: boolean; bytes: number }> {
  const world = new LinkWorld(1, { handshakeTimeoutMs: 200 })
  let bytes = 0
  const bend = (chunk: Uint8Array, from: number): Uint8Array => {
    bytes = from + chunk.length
    if (place < from || place >= from + chunk.length) return chunk
    const changed = Buffer.from(chunk)
    changed[place - from]! ^= mask
    return changed
  }
  const near = way === 'there' ? { ...world.here, transport: bent(world.here.transport, bend) } : world.here
  let far: Link | undefined
  const { endpoint } = await world.there.transport.listen('memory:bent', undefined, connection => {
    const taken = way === 'back' ? bending(connection, bend) : connection
    return (far = Link.accept(world.there, world.setup('there', { secrets: [secret] }), taken, world.far))
  })
  const link = Link.dial(near, world.setup('here', { secrets: [secret] }), endpoint, 'there', world.near)
  await world.time.run(500)
  return { near: link.wasOpen, far: far?.wasOpen ?? false, bytes }
}

t.test('every byte of every frame, changed in each of three ways: nobody is admitted who did not say it', async t => {
  for (const way of ['there', 'back'] as const) {
    const { near, far, bytes } = await meetBent(way, -1, 0)
    t.same([near, far], [true, true], 'unchanged, both ends are proved')
    t.ok(bytes > 150, `${bytes} bytes`)
    let [admittedNear, admittedFar] = [0, 0]
    for (let place = 0; place < bytes; place++) {
      for (const mask of [1, 0x80, 0xff]) {
        const met = await meetBent(way, place, mask)
        if (met.near) admittedNear++
        if (met.far) admittedFar++
      }
    }
    t.equal(admittedNear, 0, `${way}: the dialler never takes the other end for proved`)
    // The last frame, READY, is the listener's: when it is changed on its way, the dialler was proved already, and only that one leaves.
    const ready = 3 * (4 + 1 + encodeBody({ proof: new Uint8Array(32) }).length)
    t.equal(admittedFar, way === 'there' ? 0 : ready, `${way}: nor the listener, but for changes of its own last frame`)
  }
})

const env = realEnv()

function setup(identity: string, given: Partial<LinkSetup> = {}): LinkSetup {
  const introduce: LinkSetup['introduce'] = () => ({ identity, incarnation: '1', role: 'peer', capabilities: ['later'] })
  return {
    options: linkOptions({ handshakeTimeoutMs: 500 }),
    cluster: 'real',
    secrets: [secret],
    tls: undefined,
    introduce,
    ...given,
  }
}

interface Between {
  readonly server: Server
  readonly endpoint: string
  /** What was said, in whole frames, by direction. */
  readonly said: { there: Buffer[]; back: Buffer[] }
}

/** Somebody on the way to `endpoint`, who may change each frame. */
async function between(
  t: { teardown(fn: () => void): void },
  open: () => Socket,
  change: (frame: Buffer, way: 'there' | 'back') => Buffer = frame => frame,
  listener: (serve: (near: Socket) => void) => Server = serve => createServer(serve),
): Promise<Between> {
  const said: Between['said'] = { there: [], back: [] }
  const server = listener(near => {
    const far = open()
    for (const [from, to, way] of [
      [near, far, 'there'],
      [far, near, 'back'],
    ] as const) {
      const splitter = new Splitter(1 << 20, (buffer, start, end) => {
        const frame = Buffer.from(buffer.subarray(start, end))
        said[way].push(frame)
        const changed = change(frame, way)
        to.write(frameOf(changed[0]!, changed.subarray(1)))
      })
      from.on('data', (chunk: Buffer) => splitter.push(chunk))
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { server, endpoint: `tcp://127.0.0.1:${(server.address() as { port: number }).port}`, said }
}

async function listen(ear: LinkEar, given: Partial<LinkSetup> = {}) {
  const accepted: Link[] = []
  const listener = await env.transport.listen('tcp://127.0.0.1:0', given.tls, connection => {
    const link = Link.accept(env, setup('server', given), connection, ear)
    accepted.push(link)
    return link
  })
  return { listener, accepted, port: Number(new URL(listener.endpoint).port) }
}

const over = (ear: LinkEar) => ear.until(() => ear.heard.length > 0)

t.test('a recorded conversation, said again, proves nothing at either end', async t => {
  const ear = new LinkEar(env)
  const { listener, accepted, port } = await listen(ear)
  await using _ = listener
  const line = await between(t, () => connect(port, '127.0.0.1'))
  const near = new LinkEar(env)
  const link = Link.dial(env, setup('client'), line.endpoint, 'server', near)
  await over(near)
  t.equal(near.heard[0], 'opened', 'who only listens is not noticed')
  link.close('local')
  await near.until(() => near.reason !== undefined)
  t.same(
    line.said.there.slice(0, 2).map(frame => frame[0]),
    [HELLO, PROOF],
  )
  t.same(
    line.said.back.slice(0, 2).map(frame => frame[0]),
    [WELCOME, READY],
  )

  const again = connect(port, '127.0.0.1')
  for (const frame of line.said.there) again.write(frameOf(frame[0]!, frame.subarray(1)))
  await once(again.resume(), 'close')
  t.equal(accepted.length, 2)
  t.equal(accepted[1]!.wasOpen, false)
  t.match(ear.error, { code: 'REFUSED', message: /different secrets/ })

  // And to a dialler.
  const parrot = createServer(socket => {
    socket.on('error', () => undefined)
    for (const frame of line.said.back) socket.write(frameOf(frame[0]!, frame.subarray(1)))
  })
  parrot.listen(0, '127.0.0.1')
  await once(parrot, 'listening')
  t.teardown(() => parrot.close())
  const fooled = new LinkEar(env)
  Link.dial(env, setup('client'), `tcp://127.0.0.1:${(parrot.address() as { port: number }).port}`, 'server', fooled)
  await over(fooled)
  t.equal(fooled.heard[0], 'closed')
  t.match(fooled.error, { code: 'REFUSED', message: /different secrets/ })
})

t.test('a mirror of all that a dialler says proves nothing', async t => {
  const mirror = createServer(socket => socket.on('error', () => undefined).pipe(socket))
  mirror.listen(0, '127.0.0.1')
  await once(mirror, 'listening')
  t.teardown(() => mirror.close())
  const near = new LinkEar(env)
  Link.dial(env, setup('client'), `tcp://127.0.0.1:${(mirror.address() as { port: number }).port}`, undefined, near)
  await over(near)
  t.same([near.heard[0], near.error?.code], ['closed', 'BAD_FRAME'])
})

t.test('a dialler that is led to its own listener does not take it for another', async t => {
  const refused: string[] = []
  await using peer = await createPeer({ identity: 'self', store: 'memory:own-listener', secret: 'a secret for this test only' })
  peer.on('linkRefused', ({ error }) => void refused.push(error.code))
  const near = new LinkEar(env)
  Link.dial(
    env,
    setup('self', { cluster: 'homing', secrets: [Buffer.from('a secret for this test only')] }),
    peer.endpoints[0]!,
    undefined,
    near,
  )
  await over(near)
  t.match(near.error, { code: 'IDENTITY_IN_USE' })
  t.same(refused, ['IDENTITY_IN_USE'])
})

/** The map of a frame of the handshake, changed. */
function rewritten(frame: Buffer, kind: number, change: (map: Record<string, unknown>) => Record<string, unknown>): Buffer {
  if (frame[0] !== kind) return frame
  const map = decodeBody(frame, 1, frame.length) as Record<string, unknown>
  return Buffer.concat([Buffer.from([kind]), encodeBody(change(map))])
}

t.test('whoever talks two ends down to an older version, to fewer capabilities or to no secret ends both', async t => {
  const talks: [what: string, change: (frame: Buffer) => Buffer][] = [
    ['the order of a map', frame => rewritten(frame, HELLO, map => Object.fromEntries(Object.entries(map).toReversed()))],
    ['a lower version', frame => rewritten(frame, HELLO, map => ({ ...map, versions: [1, 9] }))],
    ['no capabilities', frame => rewritten(frame, HELLO, map => ({ ...map, capabilities: [] }))],
    ['no capabilities of the listener', frame => rewritten(frame, WELCOME, map => ({ ...map, capabilities: [] }))],
    ['no secret', frame => rewritten(frame, WELCOME, map => ({ ...map, secret: false }))],
    ['another role', frame => rewritten(frame, HELLO, map => ({ ...map, role: 'broker' }))],
    ['another identity', frame => rewritten(frame, HELLO, map => ({ ...map, identity: 'somebody' }))],
    ['whoever is there', frame => rewritten(frame, HELLO, map => ({ ...map, expect: null }))],
    ['an empty proof', frame => rewritten(frame, PROOF, () => ({ proof: new Uint8Array(0) }))],
    ['an empty proof of the listener', frame => rewritten(frame, READY, () => ({ proof: new Uint8Array(0) }))],
  ]
  for (const [what, change] of talks) {
    const far = new LinkEar(env)
    const { listener, port } = await listen(far)
    await using _ = listener
    const line = await between(t, () => connect(port, '127.0.0.1'), change)
    const near = new LinkEar(env)
    Link.dial(env, setup('client'), line.endpoint, 'server', near)
    await Promise.all([over(near), over(far)])
    t.equal(near.heard[0], 'closed', `${what}: the dialler`)
    // The last word is the listener's: it has let in who proved himself, and is left at once.
    if (what !== 'an empty proof of the listener') t.equal(far.heard[0], 'closed', `${what}: the listener`)
    line.server.close()
  }
})

t.test(
  'over TLS a proof holds for that connection only: who ends TLS in between is found out',
  { skip: withoutCertificates },
  async t => {
    const authority = new CertificateAuthority(t.testdir())
    const ca = authority.cert
    const [server, client, mallory] = [authority.certify('server'), authority.certify('client'), authority.certify('mallory')]
    // Whoever is in between has a certificate of its own that is good for this host; or another one for the very name of the server.
    const inBetween = [
      { own: mallory, mutual: false, says: /the certificate is of 'mallory', and it says that it is 'server'/ },
      { own: authority.certify('server'), mutual: false, says: /a proxy that ends TLS/ },
      { own: authority.certify('server'), mutual: true, says: /the certificate is of 'server', and it says that it is 'client'/ },
    ]
    for (const { own, mutual, says } of inBetween) {
      const far = new LinkEar(env)
      const tls = { ...server, ...(mutual && { ca, requireClientCertificate: true }) }
      const { listener, port } = await listen(far, { tls })
      await using _ = listener
      const line = await between(
        t,
        () => connectTls({ port, host: '127.0.0.1', ca, ...own }),
        undefined,
        serve => createTlsServer({ ...own, ca, requestCert: mutual, rejectUnauthorized: mutual }, serve),
      )
      const near = new LinkEar(env)
      Link.dial(env, setup('client', { tls: { ca, ...(mutual && client) } }), line.endpoint, 'server', near)
      await Promise.all([over(near), over(far)])
      t.same([near.heard[0], far.heard[0]], ['closed', 'closed'])
      t.match(near.error, { code: 'REFUSED', message: says })
      t.ok(line.said.there.length > 0, 'it did carry the frames over')
      line.server.close()
    }
  },
)
