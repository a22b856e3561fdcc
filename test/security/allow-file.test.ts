/** `--allow-file`: read at the start, followed while the program runs; a broken one leaves the former list. */
import { renameSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { createPeer, type AllowRule } from '../../lib/index.ts'
import { listeningBroker, RunningProgram, run } from '../cli/running-program.ts'

const list = (...rules: AllowRule[]): string => JSON.stringify(rules)
const connect: AllowRule = { who: '*', actions: 'connect', addresses: '*' }
const send = (who: string): AllowRule => ({ who, actions: 'send', addresses: 'bob' })

t.test('a list that changes holds within five seconds, also for links that stand', async t => {
  const folder = t.testdir({ allow: list(connect, send('a')) })
  const file = `${folder}/allow`
  const store = `lmdb:${t.testdirName}/store`
  const holder = new RunningProgram(t, 'homing', [
    'peer',
    '--client',
    'bob',
    '--stay',
    '--json',
    '--identity',
    'holder',
    '--store',
    store,
    '--allow-file',
    file,
  ])
  await holder.line(/"connected"/)
  const [a, b] = await Promise.all(['a', 'b'].map(identity => createPeer({ identity, store })))
  t.teardown(() => a!.close())
  t.teardown(() => b!.close())
  const statuses = async (): Promise<string[]> => {
    const receipts = await Promise.all([a, b].map(peer => peer!.sendMessage('bob', 1)))
    return receipts.map(({ status }) => status)
  }
  /** Resolves to how long it took. */
  const becomes = async (...wanted: string[]): Promise<number> => {
    const began = performance.now()
    let got = await statuses()
    while (got.join() !== wanted.join() && performance.now() - began < 15_000) {
      await new Promise(resolve => setTimeout(resolve, 50))
      got = await statuses()
    }
    t.same(got, wanted)
    return performance.now() - began
  }
  t.same(await statuses(), ['delivered', 'refused'])
  t.match(JSON.parse((await holder.line(/"message"/)).line), { peer: 'a' })

  writeFileSync(file, list(connect, send('b')))
  t.ok((await becomes('refused', 'delivered')) < 5_000)
  await holder.diagnostic(/was read again, and holds from now on/)

  writeFileSync(file, '[{"who": "a"')
  await holder.diagnostic(/JSON.*the former list stays/)
  writeFileSync(file, list({ ...connect, actions: 'conect' as 'connect' }))
  await holder.diagnostic(/there is no action 'conect'.*the former list stays/)
  t.same(await statuses(), ['refused', 'delivered'])

  // As editors write: another file takes its name. And by signal.
  writeFileSync(`${file}.new`, list(connect, send('*')))
  renameSync(`${file}.new`, file)
  holder.signal('SIGHUP')
  t.ok((await becomes('delivered', 'delivered')) < 5_000)

  renameSync(file, `${file}.away`)
  await holder.diagnostic(/ENOENT.*the former list stays/)
  t.same(await statuses(), ['delivered', 'delivered'])

  writeFileSync(file, list({ ...connect, addresses: 'alice' }, send('*')))
  await holder.line(/"clientRefused".*"bob"/)
  t.ok((await becomes('absent', 'absent')) < 5_000)
  holder.signal('SIGTERM')
  t.equal((await holder.finished()).code, 0)
})

t.test('a broker follows its file too: what is withdrawn ends at the peer', async t => {
  const folder = t.testdir({ allow: list(connect) })
  const file = `${folder}/allow`
  const { endpoint } = await listeningBroker(t, ['--allow-file', file])
  const peer = await createPeer({ identity: 'one', broker: endpoint })
  t.teardown(() => peer.close())
  const client = await peer.connectClient('bob')
  const began = performance.now()
  writeFileSync(file, list({ ...connect, addresses: 'alice' }))
  t.equal(await client.ended, 'refused')
  t.ok(performance.now() - began < 5_000)
  await t.rejects(peer.connectClient('bob'), { code: 'REFUSED' })
  await peer.connectClient('alice')
})

t.test('a program does not begin with a file that is none', async t => {
  const folder = t.testdir({ broken: '[{', other: '{"allow": []}', wrong: '[{"who": "a", "actions": "all", "addresses": "*"}]' })
  for (const [file, words] of [
    ['broken', /--allow-file .*broken: .*JSON/],
    ['other', /it is not a list of rules/],
    ['wrong', /rule 1: there is no action 'all'/],
    ['missing', /--allow-file .*missing cannot be read/],
  ] as const) {
    const { code, stdout, stderr } = await run(
      t,
      'homing',
      'broker',
      '--store',
      'memory:',
      '--listen',
      'tcp://127.0.0.1:0',
      '--allow-file',
      `${folder}/${file}`,
    )
    t.not(code, 0)
    t.equal(stdout, '')
    t.match(stderr, words)
    t.equal(stderr.split('\n').length, 2, 'one line')
  }
})

t.test('without a file a hang-up ends the program, as ever', async t => {
  const { broker } = await listeningBroker(t, [])
  broker.signal('SIGHUP')
  t.equal((await broker.finished()).code, 0)
})
