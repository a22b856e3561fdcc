/** What every transport does. */

import type { Test } from 'tap'
import type { Connection, ConnectionHandler, Listener, Transport } from '../../lib/env/env.ts'
import { seededRandom } from '../../lib/env/random.ts'
import { codeOf } from '../../lib/env/system-error.ts'

/** A transport under test. */
export interface TransportUnderTest extends AsyncDisposable {
  listening: Transport
  dialling: Transport
  /** Where to listen: any port, or a name that nobody has. */
  endpoint: string
  /** Whether it adds TLS by itself. */
  isSecure?: boolean
  /** Lets things happen until the promise is settled. */
  settled<T>(promise: Promise<T>): Promise<T>
}

export interface TransportDriver {
  open: () => Promise<TransportUnderTest>
}

const timeoutMs = 20_000

/** One end of a connection, which writes down what it hears. */
export class Ear implements ConnectionHandler {
  readonly heard: string[] = []
  readonly chunks: Uint8Array[] = []
  error: Error | undefined
  bytes = 0
  onData: (chunk: Uint8Array) => void = () => undefined
  readonly #waiting = new Set<() => void>()

  opened(): void {
    this.#hear('opened')
  }

  data(chunk: Uint8Array): void {
    this.chunks.push(chunk)
    this.bytes += chunk.byteLength
    if (this.heard.at(-1) !== 'data') this.#hear('data')
    else this.#wake()
    this.onData(chunk)
  }

  closed(error?: Error): void {
    this.error = error
    this.#hear('closed')
  }

  get isClosed(): boolean {
    return this.heard.includes('closed')
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }

  /** Resolves once `condition` holds, asked after each thing heard. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>(resolve => this.#waiting.add(resolve))
  }

  #hear(what: string): void {
    this.heard.push(what)
    this.#wake()
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

/** Both ends of a connection. */
interface Pair {
  listener: Listener
  near: Connection
  nearEar: Ear
  far: Connection
  farEar: Ear
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

async function connected({ listening, dialling, endpoint, settled }: TransportUnderTest): Promise<Pair> {
  const farEar = new Ear()
  let far: Connection | undefined
  const listener = await settled(
    listening.listen(endpoint, undefined, connection => {
      far = connection
      return farEar
    }),
  )
  const nearEar = new Ear()
  const near = dialling.dial(listener.endpoint, undefined, timeoutMs, nearEar)
  near.write(bytesOf('!'))
  await settled(farEar.until(() => farEar.bytes === 1))
  farEar.chunks.length = farEar.bytes = farEar.heard.length = 0
  return { listener, near, nearEar, far: far!, farEar }
}

/** Waits until all that could still happen between the two transports did: a whole other connection came and went. */
async function calm(under: TransportUnderTest): Promise<void> {
  const { settled } = under
  const endpoint = under.endpoint.startsWith('tcp:') ? under.endpoint : `${under.endpoint}-calm`
  await using listener = await settled(
    under.listening.listen(endpoint, undefined, connection => {
      const ear = new Ear()
      ear.onData = () => connection.end()
      return ear
    }),
  )
  for (let i = 0; i < 2; i++) {
    const ear = new Ear()
    under.dialling.dial(listener.endpoint, undefined, timeoutMs, ear).write(bytesOf('x'))
    await settled(ear.until(() => ear.isClosed))
  }
}

/** Runs in a tick of its own; fails if any of the ears hears something within it. */
function quietly(t: Test, ears: Ear[], work: () => void): void {
  const before = ears.map(ear => ear.heard.length)
  work()
  t.same(
    ears.map(ear => ear.heard.length),
    before,
    'nothing is heard within the call',
  )
}

export function transportContract(t: Test, { open }: TransportDriver): void {
  /** A test with a fresh transport. */
  const states = (sentence: string, work: (t: Test, under: TransportUnderTest) => Promise<void>): void => {
    t.test(sentence, async t => {
      await using under = await open()
      await work(t, under)
    })
  }

  states('opened comes first, once, and not within dial', async (t, under) => {
    const { listening, dialling, endpoint, settled } = under
    await using listener = await settled(
      listening.listen(endpoint, undefined, connection => {
        connection.write(bytesOf('at once'))
        return new Ear()
      }),
    )
    const ear = new Ear()
    let connection!: Connection
    quietly(t, [ear], () => (connection = dialling.dial(listener.endpoint, undefined, timeoutMs, ear)))
    await settled(ear.until(() => ear.text === 'at once'))
    t.same(ear.heard, ['opened', 'data'])
    t.equal(connection.tls !== undefined, under.isSecure ?? false)
    t.type(connection.remote, 'string')
    connection.destroy()
    await settled(ear.until(() => ear.isClosed))
    t.same(ear.heard, ['opened', 'data', 'closed'])
  })

  states('bytes arrive in order and unchanged, both ways at once', async (t, under) => {
    const seed = Date.now()
    t.comment(`seed ${seed}`)
    const random = seededRandom(seed)
    const pair = await connected(under)
    const texts = [0, 1].map(() => Array.from({ length: 200 }, () => random.bytes(Math.floor(random.fraction() ** 3 * 8_000))))
    const [there, back] = texts.map(parts => Buffer.concat(parts))
    for (const part of texts[0]!) pair.near.write(part)
    for (const part of texts[1]!) pair.far.write(part)
    await under.settled(pair.farEar.until(() => pair.farEar.bytes >= there!.byteLength))
    await under.settled(pair.nearEar.until(() => pair.nearEar.bytes >= back!.byteLength))
    t.ok(Buffer.concat(pair.farEar.chunks).equals(there!))
    t.ok(Buffer.concat(pair.nearEar.chunks).equals(back!))
    await closeBoth(under, pair)
  })

  states('what was written before opened arrives', async (t, under) => {
    const { listening, dialling, endpoint, settled } = under
    const far = new Ear()
    await using listener = await settled(listening.listen(endpoint, undefined, () => far))
    const near = new Ear()
    const connection = dialling.dial(listener.endpoint, undefined, timeoutMs, near)
    connection.write(bytesOf('early '))
    connection.write(bytesOf('bird'))
    await settled(far.until(() => far.bytes === 10))
    t.equal(far.text, 'early bird')
    connection.end()
    await settled(near.until(() => near.isClosed))
  })

  states('end sends all that was queued, then both ends close without an error', async (t, under) => {
    const { listener, near, nearEar, farEar } = await connected(under)
    const body = new Uint8Array(1_500_000).fill(7)
    near.write(body)
    near.write(bytesOf('last'))
    quietly(t, [nearEar, farEar], () => {
      near.end()
      near.end()
    })
    await under.settled(Promise.all([nearEar, farEar].map(ear => ear.until(() => ear.isClosed))))
    t.equal(farEar.bytes, 1_500_004)
    t.equal(Buffer.concat(farEar.chunks).subarray(-4).toString(), 'last')
    t.same([nearEar.error, farEar.error], [undefined, undefined])
    t.same(farEar.heard, ['data', 'closed'])
    await listener.close()
  })

  states('who is ended by the other side still sends what it had queued', async (t, under) => {
    const { listener, near, nearEar, far, farEar } = await connected(under)
    far.write(new Uint8Array(1_500_000))
    near.end()
    await under.settled(Promise.all([nearEar, farEar].map(ear => ear.until(() => ear.isClosed))))
    t.equal(nearEar.bytes, 1_500_000)
    await listener.close()
  })

  states('destroy closes both ends, each exactly once, not within the call', async (t, under) => {
    const { listener, near, nearEar, farEar } = await connected(under)
    quietly(t, [nearEar, farEar], () => {
      near.destroy()
      near.destroy()
    })
    await under.settled(Promise.all([nearEar, farEar].map(ear => ear.until(() => ear.isClosed))))
    near.destroy()
    near.end()
    await calm(under)
    t.same(nearEar.heard, ['opened', 'closed'])
    t.same(farEar.heard, ['closed'])
    t.equal(nearEar.error, undefined)
    await listener.close()
  })

  states('after destroy, also from within data, no bytes are heard', async (t, under) => {
    const { listener, near, nearEar, far, farEar } = await connected(under)
    farEar.onData = () => far.destroy()
    for (let i = 0; i < 50; i++) near.write(new Uint8Array(50_000))
    await under.settled(Promise.all([nearEar, farEar].map(ear => ear.until(() => ear.isClosed))))
    t.same(farEar.heard, ['data', 'closed'])
    t.equal(farEar.chunks.length, 1)
    await listener.close()
  })

  states('destroy before opened: closed without an error, and never opened', async (t, under) => {
    const { listening, dialling, endpoint, settled } = under
    await using listener = await settled(listening.listen(endpoint, undefined, () => new Ear()))
    const ear = new Ear()
    const connection = dialling.dial(listener.endpoint, undefined, timeoutMs, ear)
    let flushed = 0
    connection.write(bytesOf('never'), () => flushed++)
    quietly(t, [ear], () => connection.destroy())
    await settled(ear.until(() => ear.isClosed))
    await calm(under)
    t.same(ear.heard, ['closed'])
    t.equal(ear.error, undefined)
    t.equal(flushed, 1)
  })

  states('flushed is called once for each write, in order, later; then nothing is pending', async (t, under) => {
    const pair = await connected(under)
    const flushed: number[] = []
    let told = (): void => undefined
    const all = new Promise<void>(resolve => (told = resolve))
    for (let i = 0; i < 20; i++) {
      pair.near.write(new Uint8Array(i), () => {
        flushed.push(i)
        if (i === 19) told()
      })
    }
    t.same(flushed, [])
    t.equal(pair.near.pendingBytes, 190)
    await under.settled(all)
    t.same(
      flushed,
      Array.from({ length: 20 }, (_, i) => i),
    )
    t.equal(pair.near.pendingBytes, 0)
    await under.settled(pair.farEar.until(() => pair.farEar.bytes === 190))
    await closeBoth(under, pair)
  })

  states('an array is free again after flushed, and a received chunk is never touched again', async (t, under) => {
    const pair = await connected(under)
    const array = new Uint8Array(1_000)
    for (let round = 1; round <= 20; round++) {
      array.fill(round)
      await under.settled(new Promise<void>(resolve => pair.near.write(array, resolve)))
    }
    array.fill(255)
    await under.settled(pair.farEar.until(() => pair.farEar.bytes === 20_000))
    const all = Buffer.concat(pair.farEar.chunks)
    t.ok(
      Array.from({ length: 20 }, (_, i) => i).every(i => all.subarray(i * 1_000, (i + 1) * 1_000).every(byte => byte === i + 1)),
    )
    await closeBoth(under, pair)
  })

  states('a write on an ended or closed connection does nothing but call flushed', async (t, under) => {
    const { listener, near, nearEar, farEar } = await connected(under)
    near.write(bytesOf('kept'))
    near.end()
    let within = true
    const flushed = (): Promise<void> =>
      new Promise<void>(resolve => {
        near.write(bytesOf('dropped'), () => {
          t.notOk(within, 'later')
          resolve()
        })
      })
    const first = flushed()
    within = false
    await under.settled(first)
    await under.settled(Promise.all([nearEar, farEar].map(ear => ear.until(() => ear.isClosed))))
    await under.settled(flushed())
    near.write(bytesOf('dropped'))
    t.equal(farEar.text, 'kept')
    t.equal(near.pendingBytes, 0)
    await listener.close()
  })

  states('flushed is called for what destroy lost too, by the time of closed', async (t, under) => {
    const { listener, near, nearEar, farEar } = await connected(under)
    let flushed = 0
    for (let i = 0; i < 30; i++) near.write(new Uint8Array(400_000), () => flushed++)
    near.destroy()
    await under.settled(nearEar.until(() => nearEar.isClosed))
    t.equal(flushed, 30)
    t.equal(near.pendingBytes, 0)
    await under.settled(farEar.until(() => farEar.isClosed))
    await listener.close()
  })

  states('pendingBytes counts what was not flushed, and falls to nothing', async (t, under) => {
    const pair = await connected(under)
    const count = 40_000_000
    pair.near.write(new Uint8Array(count))
    t.equal(pair.near.pendingBytes, count)
    await under.settled(pair.farEar.until(() => pair.farEar.bytes === count))
    await closeBoth(under, pair)
    t.equal(pair.near.pendingBytes, 0)
  })

  states('a dial that is refused is closed with the error of the system, once, later', async (t, under) => {
    const { listening, dialling, endpoint, settled } = under
    const listener = await settled(listening.listen(endpoint, undefined, () => new Ear()))
    await settled(listener.close())
    const ear = new Ear()
    let connection!: Connection
    let flushed = 0
    quietly(t, [ear], () => {
      connection = dialling.dial(listener.endpoint, undefined, timeoutMs, ear)
      connection.write(bytesOf('lost'), () => flushed++)
    })
    await settled(ear.until(() => ear.isClosed))
    await calm(under)
    t.same(ear.heard, ['closed'])
    t.equal(flushed, 1)
    // The file of a Unix socket goes with its listener.
    t.equal(codeOf(ear.error), endpoint.startsWith('unix:') ? 'ENOENT' : 'ECONNREFUSED')
    connection.destroy()
    t.same(ear.heard, ['closed'])
  })

  states(
    'an endpoint that cannot be read is BAD_OPTION: thrown by dial, rejected by listen',
    async (t, { listening, dialling }) => {
      const bad = { name: 'HomingError', code: 'BAD_OPTION' }
      for (const endpoint of [
        '',
        'localhost',
        'tcp://',
        'tcp://host',
        'tcp://host:port',
        'tcp://h:70000',
        'http://h:1',
        'tcp://a b:1',
        'unix:x',
      ]) {
        t.throws(() => dialling.dial(endpoint, undefined, timeoutMs, new Ear()), bad, endpoint)
        await t.rejects(
          listening.listen(endpoint, undefined, () => new Ear()),
          bad,
          endpoint,
        )
      }
      t.throws(() => dialling.dial('tcp://127.0.0.1:0', undefined, timeoutMs, new Ear()), bad)
    },
  )

  states('two listeners at one endpoint: the second is refused with EADDRINUSE, the first lives on', async (t, under) => {
    const pair = await connected(under)
    const second = under.listening.listen(pair.listener.endpoint, undefined, () => new Ear())
    await t.rejects(under.settled(second), { code: 'EADDRINUSE' })
    const ear = new Ear()
    under.dialling.dial(pair.listener.endpoint, undefined, timeoutMs, ear).end()
    await under.settled(ear.until(() => ear.isClosed))
    t.same(ear.heard, ['opened', 'closed'])
    pair.near.destroy()
    await under.settled(pair.nearEar.until(() => pair.nearEar.isClosed))
    await pair.listener.close()
  })

  states('a closed listener refuses; what it accepted lives on; its endpoint is free', async (t, under) => {
    const { listening, dialling, settled } = under
    const pair = await connected(under)
    await settled(Promise.all([pair.listener.close(), pair.listener.close()]))
    const refused = new Ear()
    dialling.dial(pair.listener.endpoint, undefined, timeoutMs, refused)
    await settled(refused.until(() => refused.isClosed))
    t.ok(refused.error)
    await using again = await settled(listening.listen(pair.listener.endpoint, undefined, () => new Ear()))
    t.equal(again.endpoint, pair.listener.endpoint)
    pair.near.write(bytesOf('still here'))
    await settled(pair.farEar.until(() => pair.farEar.bytes === 10))
    t.equal(pair.farEar.text, 'still here')
    await closeBoth(under, pair)
  })

  states('many connections to one listener are kept apart', async (t, under) => {
    const { listening, dialling, endpoint, settled } = under
    await using listener = await settled(
      listening.listen(endpoint, undefined, connection => {
        const ear = new Ear()
        ear.onData = chunk => connection.write(chunk.slice())
        return ear
      }),
    )
    const ears = await settled(
      Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          const ear = new Ear()
          const connection = dialling.dial(listener.endpoint, undefined, timeoutMs, ear)
          const text = `connection ${i};`.repeat(i + 1)
          connection.write(bytesOf(text))
          await ear.until(() => ear.bytes >= text.length)
          connection.end()
          await ear.until(() => ear.isClosed)
          return ear.text === text && ear.heard.join() === 'opened,data,closed'
        }),
      ),
    )
    t.ok(ears.every(Boolean))
  })
}

async function closeBoth({ settled }: TransportUnderTest, { listener, near, nearEar, farEar }: Pair): Promise<void> {
  near.end()
  await settled(Promise.all([nearEar, farEar].map(ear => ear.until(() => ear.isClosed))))
  await settled(listener.close())
}
