import { once } from 'node:events'
import { createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import type { Connection, TlsOptions, Transport } from '../../lib/env/env.ts'
import { tcpTransport } from '../../lib/env/tcp.ts'
import { CertificateAuthority, withoutCertificates } from '../support/certificates.ts'
import { Ear, transportContract } from '../contract/transport.ts'

const transport = tcpTransport()

/** What happens when `dialling` dials `listening`, until the dialler has heard what it will hear. */
async function meet(listening: TlsOptions, dialling: TlsOptions | undefined, host = '127.0.0.1') {
  const farEar = new Ear()
  let far: Connection | undefined
  await using listener = await transport.listen('tcp://127.0.0.1:0', listening, connection => {
    far = connection
    return farEar
  })
  const nearEar = new Ear()
  const near = transport.dial(listener.endpoint.replace('127.0.0.1', host), dialling, 5_000, nearEar)
  near.write(Buffer.from('over TLS'))
  await Promise.race([nearEar.until(() => nearEar.isClosed), farEar.until(() => farEar.bytes === 8)])
  near.end()
  await nearEar.until(() => nearEar.isClosed)
  if (far) await farEar.until(() => farEar.isClosed)
  return { near, nearEar, far, farEar }
}

t.test('TLS', { skip: withoutCertificates }, async t => {
  const authority = new CertificateAuthority(t.testdir({ ours: {}, other: {} }) + '/ours')
  const stranger = new CertificateAuthority(t.testdirName + '/other')
  const server = authority.certify('server-1')
  const client = authority.certify('client-1')
  const ca = authority.cert
  contract(t, { ...server }, { ca })

  t.test('both ends know the same 32 bytes, of each connection others', async t => {
    const first = await meet(server, { ca })
    const second = await meet(server, { ca })
    t.equal(first.farEar.text, 'over TLS')
    t.equal(first.near.tls!.exporter.byteLength, 32)
    t.same(first.near.tls!.exporter, first.far!.tls!.exporter)
    t.notSame(first.near.tls!.exporter, second.near.tls!.exporter)
  })

  t.test('the dialler learns the name of the listener; the listener none, without asking', async t => {
    const { near, far } = await meet(server, { ca, ...client })
    t.equal(near.tls!.peerName, 'server-1')
    t.equal(far!.tls!.peerName, undefined)
  })

  t.test('mutual: both learn the name', async t => {
    const { near, far } = await meet({ ...server, ca, requireClientCertificate: true }, { ca, ...client })
    t.equal(near.tls!.peerName, 'server-1')
    t.equal(far!.tls!.peerName, 'client-1')
  })

  t.test('mutual: who has no certificate, or one of another authority, is not accepted', async t => {
    for (const dialling of [{ ca }, { ca, ...stranger.certify('client-1') }]) {
      const { far, nearEar } = await meet({ ...server, ca, requireClientCertificate: true }, dialling)
      t.equal(far, undefined)
      t.equal(nearEar.heard.at(-1), 'closed')
      t.equal(nearEar.bytes, 0)
    }
  })

  t.test('a listener of another authority or another name is not believed', async t => {
    const refused = async (dialling: TlsOptions, host?: string) => {
      const { nearEar, far } = await meet(server, dialling, host)
      t.same(nearEar.heard, ['closed'])
      t.equal(far, undefined)
      return nearEar.error
    }
    t.ok(await refused({ ca: stranger.cert }))
    t.match(await refused({ ca, serverName: 'server-2' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    t.match(await refused({ ca, serverName: '127.0.0.2' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    t.ok(await refused({}), 'not by the authorities of the system')
  })

  t.test('the expected name is the host, or what is asked for', async t => {
    t.equal((await meet(server, { ca }, 'localhost')).nearEar.error, undefined)
    t.equal((await meet(server, { ca, serverName: 'server-1' })).nearEar.error, undefined)
    t.equal((await meet(server, { ca: [stranger.cert, ca] })).nearEar.error, undefined)
  })

  t.test('nothing below TLS 1.3', async t => {
    await using listener = await transport.listen('tcp://127.0.0.1:0', server, () => new Ear())
    const port = Number(listener.endpoint.split(':').at(-1))
    const socket = connectTls({ port, host: '127.0.0.1', ca, maxVersion: 'TLSv1.2' })
    const [error] = (await once(socket, 'error')) as [Error]
    t.match(error.message, /protocol version/)
  })

  t.test('one end with TLS and the other without: never open, never accepted', async t => {
    let accepted = 0
    const count = () => (accepted++, new Ear())
    await using secure = await transport.listen('tcp://127.0.0.1:0', server, count)
    const plainEar = new Ear()
    transport.dial(secure.endpoint, undefined, 5_000, plainEar).write(Buffer.from('hello, is this TLS? it is not.'))
    await plainEar.until(() => plainEar.isClosed)
    t.equal(accepted, 0)

    await using plain = await transport.listen('tcp://127.0.0.1:0', undefined, connection => {
      connection.write(Buffer.from('no TLS here'))
      return new Ear()
    })
    const secureEar = new Ear()
    transport.dial(plain.endpoint, { ca }, 5_000, secureEar)
    await secureEar.until(() => secureEar.isClosed)
    t.same(secureEar.heard, ['closed'])
    t.ok(secureEar.error)
  })

  t.test('the time of a dial includes the handshake', async t => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    t.teardown(() => silent.close())
    const ear = new Ear()
    transport.dial(`tcp://127.0.0.1:${(silent.address() as { port: number }).port}`, { ca }, 100, ear)
    await ear.until(() => ear.isClosed)
    t.match(ear.error, { code: 'ETIMEDOUT' })
    t.same(ear.heard, ['closed'])
  })

  t.test('options that cannot work are BAD_OPTION', async t => {
    const refused = { code: 'BAD_OPTION' }
    const listen = (options: TlsOptions) => transport.listen('tcp://127.0.0.1:0', options, () => new Ear())
    await t.rejects(listen({ ca }), refused, 'no certificate')
    await t.rejects(listen({ ...server, requireClientCertificate: true }), refused, 'nobody to trust')
    await t.rejects(listen({ cert: 'no PEM', key: server.key }), refused)
    t.throws(() => transport.dial('tcp://127.0.0.1:1', { cert: 'no PEM', key: 'neither' }, 100, new Ear()), refused)
  })
})

/** All that a transport does, TLS does. */
function contract(t: Test, listeningTls: TlsOptions, diallingTls: TlsOptions): void {
  const secured: Transport = {
    listen: (endpoint, _, accept) => transport.listen(endpoint, listeningTls, accept),
    dial: (endpoint, _, timeoutMs, handler) => transport.dial(endpoint, diallingTls, timeoutMs, handler),
  }
  t.test('the contract', async t => {
    transportContract(t, {
      open: async () => ({
        listening: secured,
        dialling: secured,
        endpoint: 'tcp://127.0.0.1:0',
        isSecure: true,
        settled: promise => promise,
        async [Symbol.asyncDispose]() {},
      }),
    })
  })
}
