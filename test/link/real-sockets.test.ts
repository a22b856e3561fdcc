/** Links over real sockets: TLS, a secret, and descriptors that are given back. */

import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import type { Listener, TlsOptions } from '../../lib/env/env.ts'
import { realEnv } from '../../lib/env/real.ts'
import { Link, type LinkSetup } from '../../lib/link/link.ts'
import { linkOptions } from '../../lib/link/options.ts'
import { frameOf } from '../../lib/wire/frame.ts'
import { CertificateAuthority, withoutCertificates } from '../support/certificates.ts'
import { measured } from '../support/figures.ts'
import { DATA, LinkEar } from '../support/link-pair.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const env = realEnv()
const options = linkOptions({ handshakeTimeoutMs: 300 })

function setup(identity: string, given: Partial<LinkSetup> = {}): LinkSetup {
  const introduce: LinkSetup['introduce'] = () => ({ identity, incarnation: '1', role: 'peer', capabilities: [] })
  return { options, cluster: 'real', secrets: [], tls: undefined, introduce, ...given }
}

function listen(ear: LinkEar, given: Partial<LinkSetup>): Promise<Listener> {
  return env.transport.listen('tcp://127.0.0.1:0', given.tls, connection =>
    Link.accept(env, setup('server', given), connection, ear),
  )
}

t.test('TLS and a secret', { skip: withoutCertificates }, async t => {
  const authority = new CertificateAuthority(t.testdir())
  const [server, client] = [authority.certify('server'), authority.certify('client')]
  const ca = authority.cert
  const [secret, other] = [Buffer.from('the secret of this cluster'), Buffer.from('the secret of another one')]
  const listening: TlsOptions = { ...server, ca, requireClientCertificate: true }
  const dialling: TlsOptions = { ...client, ca, serverName: 'server' }

  /** Dials, and waits until both ends know what comes of it. */
  const meet = async (identity: string, secrets: Uint8Array[]): Promise<{ near: LinkEar; far: LinkEar; link: Link }> => {
    const [near, far] = [new LinkEar(env), new LinkEar(env)]
    await using listener = await listen(far, { tls: listening, secrets: [secret] })
    const link = Link.dial(env, setup(identity, { tls: dialling, secrets }), listener.endpoint, 'server', near)
    await Promise.all([near.until(() => near.heard.length > 0), far.until(() => far.heard.length > 0)])
    return { near, far, link }
  }

  t.test('both ends are proved, and frames pass', async t => {
    const { near, far, link } = await meet('client', [secret])
    t.same([near.heard[0], far.heard[0]], ['opened', 'opened'])
    t.equal(link.remote.identity, 'server')
    link.write(frameOf(DATA, Buffer.alloc(500_000, 7)))
    await far.until(() => far.frames.length === 1)
    t.ok(far.frames[0]!.equals(Buffer.alloc(500_000, 7)))
    link.close('leaving')
    await far.until(() => far.reason !== undefined)
    t.equal(far.reason, 'leaving')
  })

  t.test('another secret is refused at both ends', async t => {
    const { near, far } = await meet('client', [other])
    t.same([near.reason, far.reason], ['refused', 'refused'])
    t.match(near.error, { code: 'REFUSED', message: /different secrets/ })
    t.match(far.error, { code: 'REFUSED', message: /different secrets/ })
  })

  t.test('a new secret is taken beside the old one', async t => {
    const [near, far] = [new LinkEar(env), new LinkEar(env)]
    await using listener = await listen(far, { tls: listening, secrets: [secret, other] })
    const link = Link.dial(env, setup('client', { tls: dialling, secrets: [other] }), listener.endpoint, 'server', near)
    await near.until(() => near.heard.length > 0)
    t.equal(near.heard[0], 'opened')
    link.close('local')
    await far.until(() => far.reason !== undefined)
  })

  t.test('a name that is not that of the certificate is refused', async t => {
    const { near, far } = await meet('somebody', [secret])
    t.same([near.reason, far.reason], ['refused', 'refused'])
    t.match(near.error, { code: 'REFUSED', message: /the certificate is of 'client', and it says that it is 'somebody'/ })
  })
})

const sockets = (): number => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length

t.test('F9: a socket whose other end says nothing and closes nothing is given back within a second of the close', async t => {
  const far = new LinkEar(env)
  await using listener = await listen(far, {})
  const { port } = new URL(listener.endpoint)
  const before = sockets()
  const mute = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
  await once(mute, 'connect')
  const ended = once(mute.resume(), 'end')
  await far.until(() => far.reason !== undefined)
  t.equal(far.reason, 'slow')
  t.ok(sockets() - before >= 1)
  await ended
  // It goes on to write: that tells it when the other end is gone.
  const gone = new Promise<void>(resolve => void mute.once('error', () => undefined).once('close', () => resolve()))
  const writing = setInterval(() => mute.write('x'), 20)
  await gone
  clearInterval(writing)
  t.ok(env.clock.monotonicMs() - far.closedAtMs < 1_000, `${env.clock.monotonicMs() - far.closedAtMs} ms`)
  t.equal(sockets() - before, 0)
})

t.test(
  'F9: a link whose way swallows everything is closed when it is stale, and its descriptors are released at once',
  async t => {
    const quick = linkOptions({ pingAfterMs: 100, staleAfterMs: 500 }) // a tenth of the defaults, which allow 6 s
    const [near, far] = [new LinkEar(env), new LinkEar(env)]
    await using listener = await listen(far, { options: quick })
    await using proxy = await startTcpProxy(Number(new URL(listener.endpoint).port))
    const before = sockets()
    const link = Link.dial(env, setup('client', { options: quick }), `tcp://127.0.0.1:${proxy.port}`, undefined, near)
    await near.until(() => near.heard[0] === 'opened')
    await far.until(() => far.heard[0] === 'opened')
    t.equal(sockets() - before, 4, 'two ends, and two of the proxy')
    proxy.swallow()
    const sinceMs = env.clock.monotonicMs()
    link.write(frameOf(DATA, Buffer.alloc(1_000, 1)))
    await Promise.all([near.until(() => near.reason !== undefined), far.until(() => far.reason !== undefined)])
    t.same([near.reason, far.reason], ['stale', 'stale'])
    const tookMs = Math.max(near.closedAtMs, far.closedAtMs) - sinceMs
    t.ok(tookMs <= 600, `closed after ${tookMs} ms`)
    const closedMs = env.clock.monotonicMs()
    while (sockets() - before > 2 && env.clock.monotonicMs() - closedMs < 2_000)
      await new Promise(resolve => setImmediate(resolve))
    const releasedMs = env.clock.monotonicMs() - closedMs
    measured(t, 'F9', 'descriptors released after the close', releasedMs, 'ms')
    t.ok(sockets() - before <= 2, 'at most those of the proxy are left')
    t.ok(releasedMs <= 1_000, `${releasedMs} ms`)
  },
)
