import t from 'tap'
import { existsSync } from 'node:fs'
import { run, RunningProgram } from './running-program.ts'

t.test('both modes, every message accounted for, nothing left behind', async t => {
  const { code, stdout, stderr } = await run(t, 'homing', 'demo', '--burst', '50')
  t.equal(stderr.replace(/^\d+ of \d+ messages answered\n/gm, ''), '')
  t.equal(code, 0)
  // Two modes, three processes, 50 messages of the burst and 7 of the conversation each.
  t.match(stdout, /\nsent 342, delivered 342, lost 0\na message took \d.* ms \(median\), \d.* ms \(p99\)/)
  t.notMatch(stdout, '\u001b', 'no colours where nobody sees them')
  const [, folder] = /Sessions in (.*?) \(removed at the end\)/.exec(stdout)!
  t.ok(folder!.startsWith('/'))
  t.notOk(existsSync(folder!))
})

t.test('Ctrl-C ends the processes', async t => {
  const demo = new RunningProgram(t, 'homing', ['demo', '--processes', '1'])
  await demo.line(/Client clientA1 connected/)
  demo.signal('SIGINT')
  const { code, stdout, stderr } = await demo.finished()
  t.equal(code, 0)
  t.equal(stderr, '')
  t.match(stdout, /Client clientA1 disconnected from 1/)
})
