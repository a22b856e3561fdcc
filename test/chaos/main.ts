/** `npm run chaos`: real processes, real datastores, links that are cut; and a judge who reads what all of them wrote down. */

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InvalidArgumentError } from 'commander'
import type { Ending } from '../../lib/cli/ending.ts'
import { ProgramError, UsageError } from '../../lib/cli/failure.ts'
import { newCommand, runProgram } from '../../lib/cli/program.ts'
import { readPlace } from '../../lib/datastores/url.ts'
import { hasRedisServer } from '../support/redis-server.ts'
import { resultText, standingText } from './report.ts'
import { resultOf, type Result } from './result.ts'
import { Run } from './run.ts'
import type { Mode, RunOptions } from './run-options.ts'

interface Flags {
  minutes: number
  peers: number
  brokers: number
  store: string
  mode: Mode | 'both'
  every: number
  seed: string
  json?: true
  keep?: string
}

const name = 'chaos'
const progressEveryMs = 5_000
const clearLine = '\r\u001b[K'

function minutes(typed: string): number {
  const value = Number(typed)
  if (!(value > 0 && value <= 24 * 60)) throw new InvalidArgumentError('It is a number of minutes above 0.')
  return value
}

function seconds(typed: string): number {
  const value = Number(typed)
  if (!(value >= 0.1 && value <= 3_600)) throw new InvalidArgumentError('It is a number of seconds from 0.1 on.')
  return value
}

function from(lowest: number, highest: number): (typed: string) => number {
  return typed => {
    const value = Number(typed)
    if (!Number.isInteger(value) || value < lowest || value > highest)
      throw new InvalidArgumentError(`It is a whole number from ${lowest} to ${highest}.`)
    return value
  }
}

function mode(typed: string): Flags['mode'] {
  if (typed === 'brokerless' || typed === 'broker' || typed === 'both') return typed
  throw new InvalidArgumentError('It is brokerless, broker or both.')
}

function checkStore(store: string): void {
  if (store === 'redis' && !hasRedisServer()) throw new ProgramError('--store redis: the program redis-server is not installed')
  if (store === 'lmdb' || store === 'redis') return
  if (readPlace(store, name).engine === 'memory') throw new UsageError('--store: processes cannot share memory:')
}

/** What an earlier run left there would be judged with this one. */
function checkFolder(keep: string | undefined): void {
  if (keep !== undefined && existsSync(keep) && readdirSync(keep).length > 0) throw new UsageError(`--keep: ${keep} is not empty`)
}

/** Shows how far a run is: on a terminal in one line that changes, else in a line now and then. */
function showing(run: Run): () => void {
  const { isTTY } = process.stderr
  const show = (): void => {
    const text = standingText(run.standing)
    process.stderr.write(isTTY ? `${clearLine}${text.slice(0, process.stderr.columns - 1)}` : `${text}\n`)
  }
  const timer = setInterval(show, isTTY ? 500 : progressEveryMs)
  return () => {
    clearInterval(timer)
    if (isTTY) process.stderr.write(clearLine)
  }
}

async function judged(options: RunOptions, ending: Ending): Promise<Result> {
  const run = new Run(options, ending)
  const done = showing(run)
  try {
    return resultOf(await run.run())
  } finally {
    done()
  }
}

/** What draws the same faults and the same work again: their moments are the machine's, each time others. */
function again({ minutes, peers, brokers, store, mode, every, seed }: Flags): string {
  const size = `--peers ${peers} --brokers ${brokers} --store ${store} --mode ${mode}`
  return `npm run chaos -- --minutes ${minutes} ${size} --every ${every} --seed ${seed}`
}

async function main(flags: Flags, ending: Ending): Promise<number> {
  checkStore(flags.store)
  checkFolder(flags.keep)
  const folder = flags.keep ?? mkdtempSync(join(tmpdir(), 'homing-chaos-'))
  const modes: Mode[] = flags.mode === 'both' ? ['brokerless', 'broker'] : [flags.mode]
  const results: Result[] = []
  const print = (text: string): void => void (flags.json || process.stdout.write(`${text}\n`))
  for (const each of modes) {
    if (ending.isRequested) break
    const options: RunOptions = {
      seed: `${flags.seed} ${each}`,
      mode: each,
      peers: flags.peers,
      brokers: flags.brokers,
      store: flags.store,
      faultsMs: (flags.minutes * 60_000) / modes.length,
      pauseMs: [flags.every * 500, flags.every * 1_500],
      scale: 1,
      load: { perSecond: 40, deadlineMs: 10_000 },
      folder: join(folder, each),
    }
    const result = await judged(options, ending)
    results.push(result)
    print(`${resultText(result)}\n`)
  }
  const isWell = results.every(({ findings }) => findings.length === 0)
  const kept = flags.keep !== undefined || !isWell
  if (!kept) rmSync(folder, { recursive: true, force: true })
  if (flags.json)
    process.stdout.write(`${JSON.stringify({ command: again(flags), folder: kept ? folder : null, results }, undefined, 2)}\n`)
  else print(`again: ${again(flags)}${kept ? `\nhistories and logs: ${folder}` : ''}`)
  return isWell ? 0 : 1
}

await runProgram(name, async ending => {
  let code = 0
  const program = newCommand(name)
    .description('A cluster of real processes under work and faults, then quiet; judged by what all of them wrote down.')
    .option('--minutes <m>', 'how long there are faults; with --mode both, half of it each', minutes, 2)
    .option('--peers <n>', 'peers', from(3, 9), 5)
    .option('--brokers <n>', 'brokers, where there are any', from(1, 5), 2)
    .option('--store <store>', 'lmdb; redis: a server of its own; or the URL of an empty datastore', 'lmdb')
    .option('--mode <mode>', 'brokerless, broker or both', mode, 'both')
    .option('--every <s>', 'a fault every so many seconds, half as many to half as many more', seconds, 10)
    .option('--seed <s>', 'draws the same faults and the same work', String(Math.floor(Math.random() * 1e6)))
    .option('--json', 'print JSON')
    .option('--keep <folder>', 'keep histories and logs there; without it, they are kept when something was found')
  program.action(async (flags: Flags) => {
    code = await main(flags, ending)
  })
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
  return code
})
