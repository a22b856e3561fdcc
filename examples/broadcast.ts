/** One message to every client of every server: one copy a server, and an answer from each. */
import { createPeer, type Message } from 'homing'

const store = 'memory:broadcast'
await using one = await createPeer({ identity: 'one', store })
await using two = await createPeer({ identity: 'two', store })
await using three = await createPeer({ identity: 'three', store })

const heard: string[] = []
const hear = ({ to, body }: Message) => void heard.push(`${to} heard: ${String(body)}`)
await one.connectClient('ann', hear)
await two.connectClients(['bob', 'bea'], hear)
await three.connectClient('cid', hear)

const all = await three.broadcast('we restart at 5')
console.log(heard.sort().join('\n'))
console.log(`${all.reached} clients:`, all.peers.map(({ identity, reached }) => `${identity} ${reached}`).join(', '))

const own = await three.broadcast('and so do I', { own: true })
console.log(`with its own: ${own.reached} clients`)

/* Prints:
ann heard: we restart at 5
bea heard: we restart at 5
bob heard: we restart at 5
3 clients: one 1, two 2
with its own: 4 clients
*/
