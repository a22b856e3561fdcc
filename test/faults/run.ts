/** `npm run faults`: all tests whose names begin with a fault of docs/faults.md, and the figures that they measured. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { InvalidArgumentError } from 'commander'
import type { Ending } from '../../lib/cli/ending.ts'
import { interrupted, newCommand, runProgram } from '../../lib/cli/program.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

interface Flags {
  full?: true
}

/** Compiled tests in which one of the faults is named in the name of a test. */
function filesWith(faults: readonly string[]): readonly string[] {
  const pattern = new RegExp(`\\b(${faults.length > 0 ? faults.join('|') : 'F\\d{1,2}'})\\b`)
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.js') && pattern.test(readFileSync(join(root, name), 'utf8')))
    .sort()
}

async function main(faults: readonly string[], full: boolean, ending: Ending): Promise<number> {
  const files = filesWith(faults)
  let failed = 0
  for (const file of files) {
    const began = performance.now()
    const { code, output } = await ended(join(root, file), full, ending.signal)
    if (ending.isRequested) return interrupted
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
  return failed === 0 && files.length > 0 ? 0 : 1
}

function ended(file: string, full: boolean, signal: AbortSignal): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, TAP: '1', TAP_TIMEOUT: '1800', ...(full && { HOMING_FULL: '1' }) }
    const child = spawn(process.execPath, ['--unhandled-rejections=strict', file], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    signal.addEventListener('abort', () => child.kill(), { once: true })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.once('error', reject)
    child.once('close', code => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }))
  })
}

function fault(typed: string, before: readonly string[] = []): readonly string[] {
  if (!/^F\d{1,2}$/.test(typed)) throw new InvalidArgumentError('It is a fault as F5.')
  return [...before, typed]
}

await runProgram('faults', async ending => {
  let code = 0
  const program = newCommand('faults')
    .description('Run all tests whose names begin with a fault of docs/faults.md, and print the figures that they measured.')
    .argument('[faults...]', 'only these, as F5 F14', fault)
    .option('--full', 'as many servers, moves and rounds as the bounds name')
  program.action(async (faults: readonly string[], { full }: Flags) => void (code = await main(faults, full === true, ending)))
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
  return code
})
