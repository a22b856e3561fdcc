/** `npm run soak`: long runs with real processes, and what they take of memory. docs/faults.md, "Memory". */
import { InvalidArgumentError } from 'commander'
import { interrupted, newCommand, runProgram } from '../../lib/cli/program.ts'
import { oneOrMore } from '../../lib/cli/typed-number.ts'
import { connects, operations, trouble } from './crowds.ts'
import { mixed, type Sample } from './mixed.ts'

interface Flags {
  minutes: number
  json?: true
  connects?: number
  operations?: number
  store?: string[]
  flood?: true
  neverReads?: true
  seconds: number
}

const mib = 2 ** 20
/** What trouble with one member may cost the others in the median, times what is usual: F27 in docs/faults.md. */
const costMost = 1.2

function minutes(typed: string): number {
  if (!(Number(typed) > 0)) throw new InvalidArgumentError('It is a number of minutes above 0.')
  return Number(typed)
}

type Say = (text: string) => void

function sampledTo(say: Say): (sample: Sample) => void {
  return ({ of, minutes, heapBytes, residentBytes }) => {
    const [heap, resident] = [heapBytes / mib, residentBytes / mib]
    say(
      `${minutes.toFixed(1).padStart(6)} min  ${of.padEnd(6)}  heap ${heap.toFixed(1)} MiB  resident ${resident.toFixed(1)} MiB`,
    )
  }
}

async function run(flags: Flags, say: Say): Promise<object> {
  if (flags.connects !== undefined) {
    const results = []
    for (const store of flags.store ?? ['memory:', 'lmdb:']) {
      const result = await connects(store, flags.connects)
      const grown = (100 * (result.heapMiBAfter - result.heapMiBBefore)) / result.heapMiBBefore
      say(
        `${store}  ${result.connects} connects and disconnects, ${Math.round(result.perSecond)} a second: ` +
          `heap ${result.heapMiBBefore.toFixed(2)} -> ${result.heapMiBAfter.toFixed(2)} MiB (${grown.toFixed(1)} %), ` +
          `resident ${result.residentMiBBefore.toFixed(0)} -> ${result.residentMiBAfter.toFixed(0)} MiB`,
      )
      results.push({ ...result, heapGrownPercent: grown })
    }
    return results
  }
  if (flags.operations !== undefined) {
    return operations(flags.operations, result =>
      say(`${String(result.operations).padStart(9)} operations: heap ${result.heapMiB.toFixed(2)} MiB`),
    )
  }
  if (flags.flood || flags.neverReads) {
    const { seconds } = flags
    const result = flags.flood
      ? await trouble('flood', { never: false, perSecond: 100_000, bodyBytes: 16, seconds })
      : await trouble('never reads', { never: true, perSecond: 2_000, bodyBytes: 16_000, seconds })
    const pair = ([quiet, loud]: readonly [number, number]): string => `${quiet.toFixed(2)} -> ${loud.toFixed(2)}`
    say(`${result.trouble}: ${Math.round(result.sentPerSecond)} sends a second, ${JSON.stringify(result.statuses)}`)
    say(`others: p50 ${pair(result.p50Ms)} ms, p99 ${pair(result.p99Ms)} ms, ${result.failed} failed`)
    say(`the victim: heap ${pair(result.heapMiB)} MiB, resident ${pair(result.residentMiB)} MiB`)
    const [quietMs, loudMs] = result.p50Ms
    const costs = loudMs / quietMs
    if (result.failed > 0 || costs > costMost)
      say(`NOT OK: F27: ${result.failed} failed, and p50 is ${costs.toFixed(2)} times what it was`)
    return { ...result, ok: result.failed === 0 && costs <= costMost }
  }
  const result = await mixed(flags.minutes, sampledTo(say))
  for (const [of, { heap, resident }] of Object.entries(result.slopes))
    say(`${of}: heap ${heap.toFixed(2)} MiB an hour, resident ${resident.toFixed(2)} MiB an hour, after the warm-up`)
  say(`${result.kills} kills; of the peer that lived: ${JSON.stringify(result.statuses)}`)
  return result
}

await runProgram('soak', async ending => {
  const program = newCommand('soak')
    .description('Mixed load with a kill a minute; or, by an option, one of the other long runs.')
    .option('--minutes <m>', 'how long', minutes, 10)
    .option('--connects <n>', 'so many clients come and go, each with a claim and a release', oneOrMore)
    .option('--operations <n>', 'so many turns of the mixed load, as fast as they are answered', oneOrMore)
    .option('--store <url...>', 'the stores for --connects (default: memory: and lmdb:)')
    .option('--flood', 'a member that sends 100,000 messages a second')
    .option('--never-reads', 'a client that never reads')
    .option('--seconds <s>', 'how long --flood and --never-reads look', oneOrMore, 10)
    .option('--json', 'the result as JSON, and nothing else')
  let code = 0
  program.action(async (flags: Flags) => {
    const say: Say = text => void (flags.json || process.stdout.write(`${text}\n`))
    const result = await Promise.race([run(flags, say), ending.requested])
    if (result === undefined) code = interrupted
    else {
      if (flags.json) process.stdout.write(`${JSON.stringify(result)}\n`)
      if ('ok' in result && !result.ok) code = 1
    }
  })
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
  return code
})
