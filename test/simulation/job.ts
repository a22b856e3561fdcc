/** A process that tries seeds: one an order, until its parent is gone. */
import { tryTwice } from './verdict.ts'
import type { Mode } from '../../lib/testing/index.ts'

export interface Order {
  readonly seed: number
  readonly mode: Mode
}

// Ctrl-C in a terminal reaches the whole group: the parent decides.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit(0))
process.on('message', async ({ seed, mode }: Order) => {
  const { verdict } = await tryTwice(seed, mode)
  process.send!(verdict)
})
process.send!('ready')
