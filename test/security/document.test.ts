/** docs/security.md: its commands run as printed, one block after the other, in one shell. */
import { execFile } from 'node:child_process'
import { readFileSync, symlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import t from 'tap'
import { withoutCertificates } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'

t.test('the commands of docs/security.md', { skip: withoutCertificates }, async t => {
  const page = readFileSync('docs/security.md', 'utf8')
  const blocks = [...page.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block!)
  t.equal(blocks.length, 4)
  const folder = t.testdir({})
  symlinkSync(resolve('bin'), `${folder}/bin`)
  const script = ['set -e', ...blocks].join('\n').replaceAll(':7400', `:${await freePort()}`)
  const { HOMING_STORE: _, HOMING_SECRET: __, ...env } = process.env
  const done = await new Promise<{ code: unknown; stdout: string; stderr: string }>(told => {
    execFile('bash', ['-c', script], { cwd: folder, env }, (error, stdout, stderr) =>
      told({ code: error?.code ?? 0, stdout, stderr }),
    )
  })
  t.equal(done.code, 0, done.stderr)
  t.equal(done.stdout.match(/delivered/g)?.length, 3, done.stdout)
  t.match(done.stdout, /somebody may not/)
  t.match(readFileSync(`${folder}/alice.log`, 'utf8'), /alice <- "hello"/)
  t.match(readFileSync(`${folder}/gateway.log`, 'utf8'), /user:1 <- "invoice"/)
  t.notMatch(readFileSync(`${folder}/gateway.log`, 'utf8'), /spam/)
})
