/** Seeds tried by several processes at once. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Ending } from '../../lib/cli/ending.ts'
import type { Order } from './job.ts'
import type { Verdict } from './verdict.ts'

const program = fileURLToPath(new URL('job.js', import.meta.url))

/** Tries each order, by `jobs` processes; `tell` hears of each verdict as it comes. Ends early when that is asked for. */
export async function tryAll(
  orders: Iterable<Order>,
  jobs: number,
  ending: Ending,
  tell: (verdict: Verdict) => void,
): Promise<void> {
  const left = orders[Symbol.iterator]()
  await Promise.all(Array.from({ length: jobs }, () => work(left, ending, tell)))
}

/** One process after the other: whoever dies of a seed is a violation, and the next one goes on. */
async function work(left: Iterator<Order>, ending: Ending, tell: (verdict: Verdict) => void): Promise<void> {
  while (!ending.isRequested) {
    const order = await workOne(left, ending, tell)
    if (!order) return
    tell({ ...order, violations: ['the process died of it'], hash: '', virtualMs: 0, messages: 0, faults: {}, realMs: 0 })
  }
}

/** Resolves to the order that the process died of, or to nothing when all is done. */
function workOne(left: Iterator<Order>, ending: Ending, tell: (verdict: Verdict) => void): Promise<Order | undefined> {
  return new Promise((resolve, reject) => {
    const child = fork(program)
    let order: Order | undefined
    const end = (): void => void child.kill('SIGKILL')
    const next = (): void => {
      const { value, done } = left.next() as IteratorResult<Order, undefined>
      order = done || ending.isRequested ? undefined : value
      if (order) child.send(order)
      else end()
    }
    child.on('error', reject)
    child.on('message', message => {
      if (message !== 'ready') tell(message as Verdict)
      next()
    })
    child.on('exit', () => {
      ending.signal.removeEventListener('abort', end)
      process.off('exit', end)
      resolve(ending.isRequested ? undefined : order)
    })
    ending.signal.addEventListener('abort', end)
    // A child whose parent dies loses its channel, and ends by itself; one that still loads is ended here.
    process.on('exit', end)
  })
}
