/** A test of one's own: three servers in one process, a link to cut and a clock to turn; the same each time. */
import { simulateCluster } from 'homing/testing'

await using cluster = await simulateCluster({ seed: 1 })
const [a, b, c] = [await cluster.peer('a'), await cluster.peer('b'), await cluster.peer('c')]
await cluster.settle(b.connectClient('bob', message => console.log(`bob got '${message.body}' (${message.via})`)))
await cluster.settle(a.sendMessage('bob', 'hello'))

cluster.cut('a', 'b') // nothing gets through, and nobody is told
const [lost, other] = [a.sendMessage('bob', 'are you there?'), c.sendMessage('bob', 'I am')]
console.log((await cluster.settle(lost)).status, (await cluster.settle(other)).status, `after ${cluster.nowMs} ms`)

cluster.heal('a', 'b')
await cluster.run(3_000)
console.log((await cluster.settle(a.sendMessage('bob', 'and now?'))).status)

/* Prints:
bob got 'hello' (direct)
bob got 'I am' (direct)
unknown delivered after 10040 ms
bob got 'and now?' (direct)
delivered
*/
