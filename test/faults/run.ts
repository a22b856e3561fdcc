/**
 * `npm run faults`: all tests whose names begin with a fault of docs/faults.md, and the figures that they measured. `-- --full` has as many
 * servers, moves and rounds as the bounds name; `-- F5 F14` only those faults.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'

const root = fileURLToPath(new URL('..', import.meta.url))
const args = process.argv.slice(2)
const full = args.includes('--full')
const faults = args.filter(arg => /^F\d+$/.test(arg))
const unknown = args.filter(arg => arg !== '--full' && !faults.includes(arg))
if (unknown.length > 0) throw new Error(`${unknown.join(', ')}: --full, or faults as F5`)
const pattern = new RegExp(`\\b(${faults.length > 0 ? faults.join('|') : 'F\\d{1,2}'})\\b`)

/** Compiled tests in which one of the faults is named in the name of a test. */
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.test.js') && pattern.test(readFileSync(join(root, name), 'utf8')))
  .sort()

let failed = 0
for (const file of files) {
  const began = performance.now()
  const { code, output } = await ended(join(root, file))
  const figures = output.split('\n').flatMap(line => /# measured (.*)/.exec(line)?.[1] ?? [])
  const bad = output.split('\n').filter(line => /^\s*not ok (?!.*# (TODO|SKIP))/.test(line))
  const took = `${((performance.now() - began) / 1_000).toFixed(1)} s`
  process.stdout.write(`${code === 0 ? 'ok    ' : 'NOT OK'} ${file} (${took})\n`)
  for (const figure of figures) process.stdout.write(`         ${figure}\n`)
  for (const line of bad) process.stdout.write(`         ${line.trim()}\n`)
  if (code !== 0) failed++
}
process.stdout.write(`${files.length} files, ${failed} failed\n`)
// A fault that no test names is not shown.
process.exitCode = failed === 0 && files.length > 0 ? 0 : 1

function ended(file: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, TAP: '1', TAP_TIMEOUT: '1800', ...(full && { HOMING_FULL: '1' }) }
    const child = spawn(process.execPath, ['--unhandled-rejections=strict', file], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.once('error', reject)
    child.once('close', code => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }))
  })
}
