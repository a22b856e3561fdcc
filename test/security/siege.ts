/** `npm run siege [-- sockets [seconds]]`: F26 at full size. Prints what members and the broker felt of it; ends with 1 beyond the bounds. */
import { Child } from '../support/processes.ts'
import { besiege, percentile } from '../support/siege.ts'

const sockets = Number(process.argv[2] ?? 10_000)
const seconds = Number(process.argv[3] ?? 10)
const bounds = { p99Ms: 1_000, grownBytes: 64 * 2 ** 20 }

const ends: (() => void | Promise<void>)[] = []
const child = new Child({ teardown: end => void ends.push(end) })
const outcome = await besiege(child, { sockets, hosts: 250, againMs: 1_000 }, seconds * 1_000)
for (const end of ends) await end()

const { latenciesMs, firstMs, dials, strangers, grownBytes } = outcome
const p99Ms = percentile(latenciesMs, 0.99)
const ms = (value: number): string => `${value.toFixed(1)} ms`
console.log(`${sockets} idle sockets from 250 addresses, each back a second after it is closed: ${strangers.made} connections`)
console.log(
  `${latenciesMs.length} handshakes of members in ${dials} dials: first ${ms(firstMs)}, p50 ${ms(percentile(latenciesMs, 0.5))}, p99 ${ms(p99Ms)}, longest ${ms(latenciesMs.at(-1)!)}`,
)
console.log(`memory of the broker: ${(grownBytes / 2 ** 20).toFixed(1)} MiB more`)
process.exit(p99Ms <= bounds.p99Ms && grownBytes <= bounds.grownBytes ? 0 : 1)
