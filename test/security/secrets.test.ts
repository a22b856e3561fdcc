/** A secret is in its file and in memory: in no log, no error, no list of processes. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { commonOptions } from '../../lib/cli/cluster-options.ts'
import { createBroker, createPeer } from '../../lib/index.ts'
import { listeningBroker, RunningProgram, run } from '../cli/running-program.ts'

const secret = 'Zx81-hidden-thing-of-this-cluster'
const former = 'Qw45-hidden-thing-of-last-month'
const other = 'Mn07-hidden-thing-of-somebody-else'
const all = [secret, former, other]

/** In any of the forms in which bytes are printed. */
function showsSecret(text: string): string | undefined {
  for (const one of all) {
    const bytes = Buffer.from(one)
    const forms = [one, bytes.toString('hex'), bytes.toString('base64'), [...bytes].join(','), [...bytes].join(', ')]
    const found = forms.find(form => text.includes(form) || text.includes(form.slice(0, 12)))
    if (found) return found
  }
  return undefined
}

function processes(pids: readonly number[]): string {
  const listed = execFileSync('ps', ['-eo', 'args', '-ww'], { encoding: 'utf8' })
  const known = pids.filter(pid => existsSync(`/proc/${pid}/cmdline`)).map(pid => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
  return [listed, ...known].join('\n')
}

t.test('programs: nothing that they print, and no list of processes, shows it', async t => {
  const folder = t.testdir({ secret: `${secret}\n${former}\n`, other: `${other}\n`, empty: '\n' })
  const { broker, endpoint } = await listeningBroker(t, ['--secret-file', `${folder}/secret`, '--log-level', 'debug'])
  const common = ['--broker', endpoint, '--log-level', 'debug', '--json', '--debug']
  const peer = new RunningProgram(t, 'homing', ['peer', '--client', 'alice', '--identity', 'one', '--stay', ...common], {
    env: { HOMING_SECRET: `${secret}\n` },
  })
  await peer.line(/"connected"/)
  t.equal(showsSecret(processes([broker.pid, peer.pid])), undefined, 'ps and /proc')

  const sent = await run(t, 'homing', 'send', 'alice', 'hello', '--secret-file', `${folder}/secret`, ...common)
  t.equal(sent.code, 0, sent.stderr)
  const failed = [
    await run(t, 'homing', 'send', 'alice', 'hello', '--secret-file', `${folder}/other`, ...common),
    await run(t, 'homing', 'send', 'alice', 'hello', ...common),
    await run(t, 'homing', 'send', 'alice', 'hello', '--secret-file', `${folder}/empty`, ...common),
    await run(t, 'homing', 'send', 'alice', 'hello', '--secret-file', `${folder}/missing`, ...common),
    await run(t, 'homing', 'send', 'alice', 'hello', '--secret', secret, ...common),
    await run(t, 'homing', 'send', 'alice', 'hello', `--secret=${secret}`, ...common),
  ]
  for (const { code } of failed) t.not(code, 0)
  t.match(failed[0]!.stderr, /different secrets/)
  peer.signal('SIGTERM')
  broker.signal('SIGTERM')
  const outputs = [sent, ...failed, await peer.finished(), await broker.finished()]
  for (const { stdout, stderr } of outputs) t.equal(showsSecret(stdout + stderr), undefined, stderr.slice(0, 200))
  t.match(broker.stderr, /different secrets/, 'the log did tell of the refusal')
})

t.test('no option takes a secret as its value', async t => {
  for (const [program, ...words] of [
    ['homing', 'peer', '--help'],
    ['homing', 'broker', '--help'],
    ['index', '--help'],
  ] as const) {
    const { stdout } = await run(t, program, ...words)
    t.match(stdout, /--secret-file <file>/)
    t.notMatch(stdout, /--secret[ =]/)
  }
})

t.test('the library: no error, no log, no event, and nothing that is inspected shows it', async t => {
  const said: unknown[] = []
  const note = (data: object, text: string): void => void said.push(data, text)
  const logger = { debug: note, info: note, warn: note, error: note }
  const options = { store: 'memory:hidden', logger }
  const broker = await createBroker({ identity: 'hub', listen: 'tcp://127.0.0.1:0', secret: [secret, former], ...options })
  t.teardown(() => broker.close())
  const endpoint = broker.endpoints[0]!
  const peer = await createPeer({ identity: 'one', broker: endpoint, secret, logger })
  t.teardown(() => peer.close())
  for (const event of ['linkRefused', 'linkDown', 'dialFailed'] as const)
    peer.on(event, (...words: unknown[]) => void said.push(words))
  await t.rejects(
    createPeer({ identity: 'two', broker: endpoint, secret: other, logger, startTimeoutMs: 3_000 }).catch((error: unknown) => {
      said.push(error)
      throw error
    }),
    { code: 'REFUSED' },
  )
  for (const bad of ['too short', ['too short', secret], 5, {}]) {
    said.push(await createPeer({ identity: 'x', store: 'memory:', secret: bad as string }).catch((error: unknown) => error))
  }
  said.push(peer, broker, await peer.explain('alice'), broker.members())
  t.equal(showsSecret(inspect(said, { depth: 20, maxStringLength: null, maxArrayLength: null, showHidden: true })), undefined)
  checkBadSecret(t, said)
})

function checkBadSecret(t: Test, said: readonly unknown[]): void {
  const errors = said.filter(one => one instanceof Error)
  t.ok(errors.length >= 5)
  for (const { message } of errors) t.notMatch(message, /too short/, 'not even one that is no good')
}

t.test('a file of secrets is read as it says: current, previous, spaces and empty lines apart', async t => {
  const folder = t.testdir({})
  writeFileSync(`${folder}/both`, `  ${secret}  \r\n\n${former}\n`)
  t.same((await commonOptions({ secretFile: `${folder}/both`, logLevel: 'silent' })).secret, [secret, former])
})
