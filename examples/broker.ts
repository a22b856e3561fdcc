/** Through a broker: peers open one connection, outwards, and need no store of their own. Everything else is the same. */
import { createBroker, createPeer } from 'homing'

await using broker = await createBroker({ store: 'memory:', listen: 'tcp://127.0.0.1:0' })
broker.on('clientConnected', ({ address, identity }) => console.log(`broker: ${address} is at ${identity}`))

const at = broker.endpoints[0]!
await using indoors = await createPeer({ identity: 'indoors', broker: at })
await using outdoors = await createPeer({ identity: 'outdoors', broker: at })

await indoors.connectClient('heating', { request: ({ body }) => `set to ${String(body)} degrees` })
await outdoors.connectClient('sensor', ({ from, body, via }) =>
  console.log(`sensor got ${JSON.stringify(body)} from ${from}, by way of the ${via}`),
)

console.log('heating', await outdoors.request('heating', 21, { from: 'sensor' }))
await indoors.sendMessage('sensor', { every: '5 min' }, { from: 'heating' })

/* Prints:
broker: heating is at indoors
broker: sensor is at outdoors
heating set to 21 degrees
sensor got {"every":"5 min"} from heating, by way of the broker
*/
