/** Who listens where other machines come: not without a secret or mutual TLS, unless it is written out. */
import t from 'tap'
import { createBroker, createPeer } from '../../lib/index.ts'
import { readOptions } from '../../lib/options.ts'
import { run } from '../cli/running-program.ts'

const sentence =
  'can be reached from other machines: give a secret (--secret-file) or mutual TLS, or write insecure: true (--insecure)'

t.test('refused before any I/O, in one sentence that says what to do', async t => {
  for (const listen of [
    'tcp://0.0.0.0:7400',
    'tcp://[::]:7400',
    'tcp://10.1.2.3:0',
    'tcp://example.org:7400',
    'tcp://127.0.0.1.example.org:1',
  ]) {
    const expected = { code: 'BAD_OPTION', message: `${listen} ${sentence}` }
    await t.rejects(createPeer({ identity: 'a', store: 'memory:', listen }), expected)
    await t.rejects(createBroker({ identity: 'a', store: 'memory:', listen }), expected)
  }
})

t.test('what is enough: loopback, a secret, mutual TLS, or the word', async t => {
  const far = 'tcp://0.0.0.0:0'
  const defaults = { listen: far }
  const fine = [
    { listen: 'tcp://127.0.0.1:0' },
    { listen: 'tcp://127.9.9.9:0' },
    { listen: 'tcp://[::1]:0' },
    { listen: 'tcp://localhost:0' },
    { listen: 'unix:/tmp/socket' },
    { secret: 'sixteen letters!' },
    { tls: { cert: '', key: '', ca: '', requireClientCertificate: true } },
    { insecure: true },
    { broker: 'tcp://hub:7400' },
  ]
  for (const options of fine) t.doesNotThrow(() => readOptions(options, defaults), JSON.stringify(options))
  // TLS alone hides what is said, and lets everybody in.
  t.throws(() => readOptions({ tls: { cert: '', key: '' } }, defaults), { code: 'BAD_OPTION' })
  t.throws(() => readOptions({ insecure: false }, defaults), { code: 'BAD_OPTION' })
  t.throws(() => readOptions({ secret: 'fifteen letters' }, defaults), { code: 'BAD_OPTION', message: /at least 16 bytes/ })
  t.throws(() => readOptions({ secret: ['sixteen letters!', ''] }, defaults), { code: 'BAD_OPTION' })
})

t.test('who was refused leaves nothing behind that keeps its process alive', async t => {
  await using broker = await createBroker({ store: 'memory:', listen: 'tcp://127.0.0.1:0', secret: 'sixteen letters!' })
  const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  for (let i = 0; i < 3; i++) {
    await t.rejects(createPeer({ identity: 'a', broker: broker.endpoints[0]!, secret: 'another of sixteen letters' }), {
      code: 'REFUSED',
    })
  }
  // The broker's end of each link lingers for a second.
  for (let looks = 0; timers() > before && looks < 40; looks++) await new Promise(resolve => setTimeout(resolve, 100).unref())
  t.equal(timers(), before)
})

t.test('a program says the same, and ends', async t => {
  for (const words of [['peer'], ['broker']]) {
    const { code, stdout, stderr } = await run(t, 'homing', ...words, '--store', 'memory:', '--listen', 'tcp://0.0.0.0:0')
    t.same([code, stdout, stderr], [2, '', `homing: tcp://0.0.0.0:0 ${sentence}\n`])
  }
})
