import t from 'tap'
import { MemoryNetwork, type MemoryNetworkOptions } from '../../lib/env/memory-network.ts'
import { seededRandom } from '../../lib/env/random.ts'
import { realTimers } from '../../lib/env/timers.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { transportContract, type TransportUnderTest } from '../contract/transport.ts'

const seed = Date.now()
t.comment(`seed ${seed}`)

function onVirtualTime(endpoint: string, options: Partial<MemoryNetworkOptions>): () => Promise<TransportUnderTest> {
  return async () => {
    const time = new VirtualTime({ seed })
    const network = new MemoryNetwork(time.timers, time.randomOf('network'), options)
    return {
      listening: network.transportOf('a'),
      dialling: network.transportOf('b'),
      endpoint,
      async settled(promise) {
        let isSettled = false
        const settle = (): void => void (isSettled = true)
        promise.then(settle, settle)
        await time.until(() => isSettled, 600_000)
        return promise
      },
      async [Symbol.asyncDispose]() {
        await time.run(10_000)
      },
    }
  }
}

t.test('on virtual time', async t => transportContract(t, { open: onVirtualTime('memory:a', {}) }))
t.test('with a port', async t => transportContract(t, { open: onVirtualTime('tcp://a:0', { latencyMs: 0 }) }))
t.test('on a bad line', async t => {
  transportContract(t, {
    open: onVirtualTime('tcp://a:0', { latencyMs: 20, jitterMs: 80, chunkBytesMax: 3_000, bytesPerMs: 20_000 }),
  })
})
t.test('on real time', async t => {
  transportContract(t, {
    open: async () => {
      const network = new MemoryNetwork(realTimers(), seededRandom(seed), { latencyMs: 0.1, jitterMs: 1 })
      return {
        listening: network.transportOf('a'),
        dialling: network.transportOf('b'),
        endpoint: 'memory:a',
        settled: promise => promise,
        async [Symbol.asyncDispose]() {
          network.kill('a')
          network.kill('b')
        },
      }
    },
  })
})
