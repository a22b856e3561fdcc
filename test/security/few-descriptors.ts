/** A broker that is told to use up its descriptors, and to give them back. */
import { closeSync, openSync } from 'node:fs'
import { createBroker } from '../../lib/index.ts'

const held: number[] = []

const orders: Record<string, () => Promise<unknown>> = {
  async start() {
    const broker = await createBroker({
      identity: 'hub',
      store: 'memory:',
      listen: 'tcp://127.0.0.1:0',
      secret: 'a secret for this test only',
    })
    return broker.endpoints[0]
  },
  async exhaust() {
    try {
      for (;;) held.push(openSync('/dev/null', 'r'))
    } catch {
      return held.length
    }
  },
  async release() {
    for (const descriptor of held.splice(0)) closeSync(descriptor)
    return 0
  },
  async cpu() {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000
  },
}

process.on('message', (order: string) => {
  void orders[order]!().then(answer => process.send!(answer))
})
process.on('disconnect', () => process.exit(0))
