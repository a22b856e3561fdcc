/** A server is taken out of service while messages fly: its clients move, and nothing is lost, doubled or out of order. */
import { createPeer, type Message } from 'homing'

const store = 'memory:drain'
const old = await createPeer({ identity: 'old', store })
await using fresh = await createPeer({ identity: 'fresh', store })
await using sender = await createPeer({ identity: 'sender', store })

const numbers: number[] = []
const take = (message: Message) => void numbers.push(Number(message.body))
await old.connectClient('device', take)

// A device that is told to move connects to another server, as a WebSocket client reconnects through the load balancer.
old.on(
  'moving',
  ({ address }) => void fresh.connectClient(address, take).then(() => console.log(`${address} has moved to fresh`)),
)

const receipts = Array.from({ length: 500 }, (_, number) => sender.sendMessage('device', number))
await receipts[100]
await Promise.all([
  old.drain({ deadlineMs: 5_000 }),
  ...Array.from({ length: 500 }, (_, at) => receipts.push(sender.sendMessage('device', 500 + at))),
])
console.log('old is closed')

const outcomes = new Set((await Promise.all(receipts)).map(({ status }) => status))
console.log(`${receipts.length} messages: all ${[...outcomes].join(', ')}`)
console.log(`received ${numbers.length}, in order: ${numbers.every((number, at) => number === at)}`)

/* Prints:
device has moved to fresh
old is closed
1000 messages: all delivered
received 1000, in order: true
*/
