/** F26, F29: strangers who say nothing, and a process without descriptors. At full size: `npm run siege`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createBroker } from '../../lib/index.ts'
import { CertificateAuthority, withoutCertificates } from '../support/certificates.ts'
import { RawMember } from '../support/raw-member.ts'
import { measured } from '../support/figures.ts'
import { Child } from '../support/processes.ts'
import { besiege, percentile } from '../support/siege.ts'

t.test('F26: idle strangers from many hosts: a member, known or not, comes in within a second, and memory stays', async t => {
  const { latenciesMs, firstMs, strangers, grownBytes } = await besiege(
    new Child(t),
    { sockets: 500, hosts: 250, againMs: 700 },
    3_000,
  )
  const p99Ms = percentile(latenciesMs, 0.99)
  measured(t, 'F26', `the first handshake beside ${strangers.made} connections of strangers`, firstMs, 'ms')
  measured(t, 'F26', `p99 of ${latenciesMs.length} handshakes`, p99Ms, 'ms')
  measured(t, 'F26', 'memory of the broker, more than before', grownBytes / 2 ** 20, 'MiB')
  t.ok(strangers.made > 600, 'they did come again and again')
  t.ok(strangers.open < 400, `${strangers.open} are open`)
  t.ok(p99Ms <= 1_000)
  t.ok(grownBytes <= 64 * 2 ** 20, `${Math.round(grownBytes / 2 ** 20)} MiB`)
})

const options = { identity: 'hub', store: 'memory:', listen: 'tcp://127.0.0.1:0', secret: 'a secret for this test only' }
const secrets = [Buffer.from(options.secret)]

async function from(host: string, endpoint: string): Promise<Socket> {
  const socket = connect({ port: Number(new URL(endpoint).port), host: '127.0.0.1', localAddress: host })
  socket.on('error', () => undefined).resume() // a reset is one of the ways to be closed
  await new Promise<void>(resolve => socket.once('connect', resolve).once('close', () => resolve()))
  return socket
}

const isOpen = (socket: Socket): boolean => !socket.closed && socket.readyState === 'open'

t.test('F26: of one host so many at a time; of all together so many; the oldest make room at once', async t => {
  await using broker = await createBroker({ ...options, strangersMax: 12, strangersPerHostMax: 5, handshakesPerSecondMax: 1_000 })
  const endpoint = broker.endpoints[0]!
  await (
    await RawMember.dial(endpoint, { identity: 'member', role: 'probe', secrets })
  ).ended // its host may now come faster
  const own: Socket[] = []
  for (let i = 0; i < 8; i++) own.push(await from('127.0.0.1', endpoint))
  await Promise.all(own.slice(0, 3).map(socket => socket.closed || once(socket, 'close')))
  t.equal(own.filter(isOpen).length, 5)
  const others: Socket[] = []
  for (let i = 2; i < 12; i++) others.push(await from(`127.0.0.${i}`, endpoint))
  await Promise.all(own.slice(3, 6).map(socket => socket.closed || once(socket, 'close')))
  t.equal(own.filter(isOpen).length, 2, 'the greediest host makes room')
  t.equal(others.filter(isOpen).length, 10)
  for (const socket of [...own, ...others]) socket.destroy()
})

t.test('F26: connections on which TLS is not agreed yet count as well', { skip: withoutCertificates }, async t => {
  const authority = new CertificateAuthority(t.testdir())
  const tls = authority.certify('hub')
  await using broker = await createBroker({
    ...options,
    tls,
    strangersMax: 12,
    strangersPerHostMax: 5,
    handshakesPerSecondMax: 1_000,
  })
  const endpoint = broker.endpoints[0]!
  const dialling = { secrets, tls: { ca: authority.cert } }
  await (
    await RawMember.dial(endpoint, { identity: 'first', role: 'probe', ...dialling })
  ).ended
  const mute: Socket[] = []
  const began = performance.now()
  for (let i = 0; i < 8; i++) mute.push(await from('127.0.0.1', endpoint))
  await Promise.all(mute.slice(0, 3).map(socket => socket.closed || once(socket, 'close')))
  t.ok(performance.now() - began < 1_500, 'cut off at once, not when their time is over')
  t.equal(mute.filter(isOpen).length, 5)
  await (
    await RawMember.dial(endpoint, { identity: 'second', role: 'probe', ...dialling })
  ).ended
  t.ok(mute.filter(isOpen).length >= 4, 'a member took the place of one')
  await Promise.all(mute.map(socket => socket.closed || once(socket, 'close')))
  t.ok(performance.now() - began < 10_000, 'and in the end all are closed')
})

t.test('F26: who comes above the rate is closed at once', async t => {
  await using broker = await createBroker({ ...options, handshakesPerSecondMax: 10 })
  const sockets: Socket[] = []
  const began = performance.now()
  for (let i = 2; i < 202; i++) sockets.push(await from(`127.0.0.${i}`, broker.endpoints[0]!))
  await Promise.all(
    sockets
      .slice(-50)
      .filter(isOpen)
      .map(socket => Promise.race([once(socket, 'close'), new Promise(resolve => setTimeout(resolve, 200))])),
  )
  const open = sockets.filter(isOpen).length
  const seconds = (performance.now() - began) / 1_000
  t.ok(open >= 5 && open <= 10 + Math.ceil(10 * seconds), `${open} of 200 after ${seconds.toFixed(2)} s`)
  for (const socket of sockets) socket.destroy()
})

t.test('F26: more than 4 KiB before authentication, in whatever pieces, closes the socket', async t => {
  await using broker = await createBroker(options)
  const one = Buffer.alloc(605, 0)
  one.writeUInt32BE(601)
  one[4] = 3 // PROOF: out of turn, but that is not what is asked here
  for (const bytes of [Buffer.from('00001001', 'hex'), Buffer.concat(Array.from({ length: 8 }, () => one))]) {
    const socket = await from('127.0.0.1', broker.endpoints[0]!)
    const closed = socket.closed ? undefined : once(socket, 'close')
    socket.write(bytes)
    await closed
    t.ok(socket.closed)
  }
})

t.test(
  'F29: without descriptors the process does not spin, old links stay, and new ones come in when there are some again',
  async t => {
    const code = fileURLToPath(new URL('./few-descriptors.js', import.meta.url))
    // Sixty-odd are taken by Node itself, its libraries and the datastore.
    const child = spawn(
      'sh',
      ['-c', 'unset NODE_OPTIONS; ulimit -n 120; exec "$0" "$@"', process.execPath, '--unhandled-rejections=strict', code],
      {
        stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      },
    )
    t.teardown(() => void child.kill('SIGKILL'))
    const ask = async <T>(what: string): Promise<T> => {
      child.send(what)
      return ((await once(child, 'message')) as [T])[0]
    }
    const endpoint = await ask<string>('start')
    const member = await RawMember.dial(endpoint, { identity: 'old', secrets })
    t.match(await member.join(), { answer: Object })
    const held = await ask<number>('exhaust')
    t.ok(held > 0, `${held} descriptors were left`)
    const before = await ask<number>('cpu')
    const calling: Socket[] = []
    for (let i = 0; i < 30; i++) calling.push(await from('127.0.0.1', endpoint))
    await new Promise(resolve => setTimeout(resolve, 2_000))
    const used = ((await ask<number>('cpu')) - before) / 2_000
    measured(t, 'F29', 'CPU time while there are none', 100 * used, '%')
    t.ok(used <= 0.1, `CPU ${(100 * used).toFixed(1)} %`)
    t.match(await member.call('directory/1', { op: 'members' }), { answer: Object }, 'the old link works')
    for (const socket of calling) socket.destroy()
    await ask<number>('release')
    const began = performance.now()
    let late: RawMember | undefined
    while (!late && performance.now() - began < 5_000) {
      late = await RawMember.dial(endpoint, { identity: 'late', secrets }).catch(() => undefined)
      if (!late) await new Promise(resolve => setTimeout(resolve, 50))
    }
    const backMs = performance.now() - began
    measured(t, 'F29', 'a new link, once there are some again', backMs, 'ms')
    t.ok(backMs <= 2_000, `a new link after ${Math.round(backMs)} ms`)
    await late?.close()
    await member.close()
  },
)
