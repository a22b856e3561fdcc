/** `npm run siege`: F26 at full size. Prints what members and the broker felt of it; ends with 1 beyond the bounds. */
import { oneOrMore } from '../../lib/cli/typed-number.ts'
import { interrupted, newCommand, runProgram } from '../../lib/cli/program.ts'
import { Child } from '../support/processes.ts'
import { besiege, percentile, type SiegeOutcome } from '../support/siege.ts'

interface Flags {
  sockets: number
  seconds: number
  json?: true
}

const name = 'siege'
const bounds = { p99Ms: 1_000, grownBytes: 64 * 2 ** 20 }
const hosts = 250

function textOf({ sockets, strangers, latenciesMs, dials, firstMs, grownBytes }: SiegeOutcome & Flags): string {
  const ms = (value: number): string => `${value.toFixed(1)} ms`
  const [p50, p99] = [0.5, 0.99].map(share => ms(percentile(latenciesMs, share)))
  return [
    `${sockets} idle sockets from ${hosts} addresses, each back a second after it is closed: ${strangers.made} connections`,
    `${latenciesMs.length} handshakes of members in ${dials} dials: first ${ms(firstMs)}, p50 ${p50}, p99 ${p99}, longest ${ms(latenciesMs.at(-1)!)}`,
    `memory of the broker: ${(grownBytes / 2 ** 20).toFixed(1)} MiB more`,
  ].join('\n')
}

async function main(flags: Flags, requested: Promise<void>): Promise<number> {
  const ends: (() => void | Promise<void>)[] = []
  const child = new Child({ teardown: end => void ends.push(end) })
  const siege = { sockets: flags.sockets, hosts, againMs: 1_000 }
  process.stderr.write(`besieging a broker for ${flags.seconds} s, once ${flags.sockets} sockets have come\n`)
  const outcome = await Promise.race([besiege(child, siege, flags.seconds * 1_000), requested])
  for (const end of ends) await end()
  if (!outcome) return interrupted
  const p99Ms = percentile(outcome.latenciesMs, 0.99)
  const { made } = outcome.strangers
  const { dials, firstMs, grownBytes } = outcome
  const figures = { ...flags, made, handshakes: outcome.latenciesMs.length, dials, firstMs, p99Ms, grownBytes, bounds }
  process.stdout.write(`${flags.json ? JSON.stringify(figures, undefined, 2) : textOf({ ...outcome, ...flags })}\n`)
  return p99Ms <= bounds.p99Ms && grownBytes <= bounds.grownBytes ? 0 : 1
}

await runProgram(name, async ending => {
  let code = 0
  const program = newCommand(name)
    .description('Idle sockets by the thousand at a broker, and how long members take to come in meanwhile.')
    .option('--sockets <n>', 'idle sockets', oneOrMore, 10_000)
    .option('--seconds <s>', 'how long members try to come in', oneOrMore, 10)
    .option('--json', 'print JSON')
  program.action(async (flags: Flags) => void (code = await main(flags, ending.requested)))
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
  return code
})
