/** The memory store under the contract, on a clock that is turned; and the one that fails on demand. */

import { MemoryEngine } from '../../lib/datastores/memory.ts'
import { realTimers } from '../../lib/env/timers.ts'
import { HomingError } from '../../lib/errors.ts'
import { FaultyDatastore } from '../../lib/testing/index.ts'
import type { KnownDriver } from './known-driver.ts'

const promises = { atomicPut: true, durable: false, shared: false }

/** The sentences of docs/datastores.md. */
const noProcesses = 'A memory store is seen by one process alone.'
const noServer = 'A memory store has no server that could go away or stand still; `FaultyDatastore` does that for it.'
const noTimeouts = '`FaultyDatastore` bounds no call by itself: a slow one takes as long as it is told to take.'

export const memoryUnderTest: KnownDriver = {
  name: 'memory',
  lacks: { processes: noProcesses, crash: noServer, stall: noServer },
  missing: () => undefined,
  async start() {
    let nowMs = 0
    const engine = new MemoryEngine({ monotonicMs: () => nowMs })
    return {
      open: async () => engine.connect(),
      promises,
      pass: async ms => void (nowMs += ms),
      async [Symbol.asyncDispose]() {},
    }
  },
}

export const faultyUnderTest: KnownDriver = {
  name: 'faulty',
  lacks: { processes: noProcesses, stall: noTimeouts },
  missing: () => undefined,
  async start() {
    let nowMs = 0
    const engine = new MemoryEngine({ monotonicMs: () => nowMs })
    const opened: FaultyDatastore[] = []
    let down = false
    return {
      async open() {
        if (down) throw new HomingError('DATASTORE', 'the datastore is down')
        const store = new FaultyDatastore(engine.connect(), realTimers())
        opened.push(store)
        return store
      },
      promises,
      pass: async ms => void (nowMs += ms),
      async crash() {
        down = true
        for (const store of opened) store.down = true
        return async () => {
          down = false
          for (const store of opened) store.down = false
        }
      },
      async [Symbol.asyncDispose]() {},
    }
  },
}
