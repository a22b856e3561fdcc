/**
 * Users with sockets on many servers, as a chat has them: a user who connects anew, on whatever server, has the address from then on,
 * and the former server is told to close the old socket.
 */
import { createPeer, type Message, type Peer } from 'homing'

/** Stands for a WebSocket. */
class Socket {
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  send(message: Message): void {
    console.log(`${this.#name} shows: ${String(message.body)}`)
  }

  close(): void {
    console.log(`${this.#name} is closed: its user is connected elsewhere now`)
  }
}

/** What a server does with each socket that connects. */
async function welcome(server: Peer, user: string, socket: Socket): Promise<void> {
  const client = await server.connectClient(user, message => socket.send(message))
  void client.ended.then(end => {
    if (end === 'displaced') socket.close()
  })
}

const store = 'memory:presence'
await using east = await createPeer({ identity: 'east', store })
await using west = await createPeer({ identity: 'west', store })

await welcome(east, 'ann', new Socket("ann's phone"))
await welcome(west, 'bob', new Socket("bob's desk"))
await east.sendMessage('bob', 'hello from ann', { from: 'ann' })
await west.sendMessage('ann', 'hello from bob', { from: 'bob' })

const displaced = new Promise(resolve => east.once('displaced', resolve))
await welcome(west, 'ann', new Socket("ann's laptop"))
await displaced
await east.sendMessage('ann', 'are you still there?')

for await (const { address, owner } of east.sessions()) if (address === 'ann') console.log(`ann is on ${owner.identity}`)
await west.disconnectClient('ann')
console.log(`ann is ${(await east.whereIs('ann')) ? 'online' : 'offline'}`)

/* Prints:
bob's desk shows: hello from ann
ann's phone shows: hello from bob
ann's phone is closed: its user is connected elsewhere now
ann's laptop shows: are you still there?
ann is on west
ann is offline
*/
