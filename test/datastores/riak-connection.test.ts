/** One connection to a Riak node: what nobody asked for ends it, because an answer that is taken for another's is worse than none. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import Ping from 'basho-riak-client/lib/commands/ping.js'
import protocol from 'basho-riak-client/lib/protobuf/riakprotobuf.js'
import t, { type Test } from 'tap'
import { RiakConnection } from '../../lib/datastores/riak-connection.ts'
import { frame } from '../support/riak-wire.ts'

const pong = frame(2)

interface Link {
  readonly connection: RiakConnection
  /** The other end of it. */
  readonly server: Socket
  /** Resolves when it has ended. */
  readonly closed: Promise<void>
  /** Why a question was not answered; undefined: it was. */
  ask(): Promise<Error | undefined>
}

/** A connection to a server that sends these pieces for its questions, one a question. */
async function connected(t: Test, ...answers: readonly Buffer[]): Promise<Link> {
  const server = createServer({ noDelay: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  let end!: () => void
  const closed = new Promise<void>(resolve => (end = resolve))
  const place = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  const connection = await RiakConnection.open(place, protocol, 5_000, () => end()).connection
  const [socket] = await accepted
  const waiting = [...answers]
  socket.on('data', () => socket.write(waiting.shift()!)).on('error', () => socket.destroy())
  t.teardown(() => {
    connection.destroy()
    socket.destroy()
    server.close()
  })
  const ask = (): Promise<Error | undefined> =>
    new Promise(resolve => connection.ask(new Ping(() => {}), 5_000, error => resolve(error)))
  return { connection, server: socket, closed, ask }
}

t.test('answers to questions leave it open', async t => {
  const { connection, ask } = await connected(t, pong, pong)
  t.equal(await ask(), undefined)
  t.equal(await ask(), undefined)
  t.notOk(connection.closed)
})

const strays: readonly (readonly [string, Buffer])[] = [
  ['an answer', pong],
  ['a refusal', frame(0)],
  ['the begin of an answer', Buffer.concat([pong, pong]).subarray(0, 4)],
  ['a byte', Buffer.of(0)],
  ['a length that waits for more', Buffer.of(0, 0, 0, 9)],
]

for (const [name, stray] of strays) {
  t.test(`${name} behind the answer, in one piece, ends it`, async t => {
    const { connection, closed, ask } = await connected(t, Buffer.concat([pong, stray]))
    t.match(await ask(), { message: 'an answer cannot be read', cause: { message: 'an answer to no question' } })
    await closed
    t.ok(connection.closed)
    t.match(await ask(), { name: 'Unsent' }, 'the next question goes over another one')
  })

  t.test(`${name} after the answer ends it, before the next question gets that for its own`, async t => {
    const { connection, server, closed, ask } = await connected(t, pong, pong)
    t.equal(await ask(), undefined)
    server.write(stray)
    await closed
    t.ok(connection.closed)
    t.match(await ask(), { name: 'Unsent' }, 'the next question goes over another one')
  })

  t.test(`${name} before any question ends it`, async t => {
    const { server, closed, ask } = await connected(t, pong)
    server.write(stray)
    await closed
    t.match(await ask(), { name: 'Unsent' })
  })
}
