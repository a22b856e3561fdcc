/** The process of one part: loads its program, obeys the runner, and ends with it. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { ChildRole, Mark, Order, Report } from './child-words.ts'
import type { Program, Role } from './role.ts'

/** How often the loop is looked at, ms. Finer would be load itself. */
const loopEveryMs = 10
/** How long a part may take to close, ms; the process ends then. */
const closeMs = 5_000

const loop = monitorEventLoopDelay({ resolution: loopEveryMs })

async function main(): Promise<void> {
  // Ctrl-C in a terminal reaches the whole group: the runner decides.
  process.on('SIGINT', () => {})
  process.on('disconnect', () => process.exit(1))
  if (!process.connected) process.exit(1) // the runner went while this was being loaded
  process.on('unhandledRejection', fail)
  process.on('uncaughtException', fail)

  const { program, plays, setup, reach } = JSON.parse(process.argv[2] ?? '') as ChildRole
  const { roles } = (await import(new URL(`../programs/${program}.js`, import.meta.url).href)) as { roles: Program }
  const play = roles[plays]
  if (!play) throw new Error(`${program} does not play ${plays}`)
  const role = await play({ setup, reach })
  loop.enable()
  process.on('message', order => void obey(role, order as Order).catch(fail))
  report({ said: 'ready', reach: role.reach ?? null, loads: role.start !== undefined })
}

async function obey(role: Role, order: Order): Promise<void> {
  if (order === 'begin') {
    role.start?.()
    report({ said: 'begin' })
  } else if (order === 'mark') {
    report({ said: 'mark', mark: mark(role) })
  } else if (order === 'end') {
    setTimeout(() => process.exit(0), closeMs).unref()
    await role.close()
    process.exit(0)
  } else {
    if (order === 'stop') await role.stop?.()
    report({ said: order, count: role.count(), faults: role.faults?.() ?? {} })
  }
}

function mark(role: Role): Mark {
  const { user, system } = process.cpuUsage()
  const now: Mark = {
    atUs: Number(process.hrtime.bigint() / 1_000n),
    cpuUs: role.cpuUs?.() ?? user + system,
    count: role.count(),
    // The histogram holds the time between two looks.
    ...(!role.cpuUs && { loopP99Ms: Math.max(0, loop.percentile(99) / 1e6 - loopEveryMs) }),
    figures: role.figures?.() ?? {},
  }
  loop.reset()
  role.forget?.()
  return now
}

function report(said: Report): void {
  if (process.connected) process.send!(said)
}

function fail(error: unknown): void {
  report({ said: 'failed', text: error instanceof Error ? (error.stack ?? error.message) : String(error) })
}

main().catch(fail)
