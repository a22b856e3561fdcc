/** Two servers, two clients: a message with its receipt, and a request with its reply. */
import { createPeer } from 'homing'

// In one process for once, so the session store is its memory; on one machine leave `store` out, on many give 'redis://host'.
const store = 'memory:request'
await using north = await createPeer({ identity: 'north', store })
await using south = await createPeer({ identity: 'south', store })

await north.connectClient('alice', message => console.log(`alice got ${JSON.stringify(message.body)} from ${message.from}`))
await south.connectClient('robot', {
  request: message => ({ position: [4, 2], asked: message.body }),
})

const receipt = await south.sendMessage('alice', { text: 'hi' }, { from: 'robot' })
console.log(`the message was ${receipt.status}`)

const reply = await north.request('robot', 'where are you?', { from: 'alice', deadlineMs: 1_000 })
console.log('robot replied', JSON.stringify(reply))

console.log('robot is at', (await north.whereIs('robot'))?.identity)

/* Prints:
alice got {"text":"hi"} from robot
the message was delivered
robot replied {"position":[4,2],"asked":"where are you?"}
robot is at south
*/
