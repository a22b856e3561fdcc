import t, { type Test } from 'tap'
import type { Connection, Env } from '../../lib/env/env.ts'
import { MemoryNetwork, type MemoryNetworkOptions } from '../../lib/env/memory-network.ts'
import { codeOf } from '../../lib/env/system-error.ts'
import { killProcess, virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { Ear } from '../contract/transport.ts'

interface World {
  time: VirtualTime
  network: MemoryNetwork
  a: Env
  b: Env
}

function world(t: Test, options: Partial<MemoryNetworkOptions> = {}, seed = Date.now()): World {
  t.comment(`seed ${seed}`)
  const time = new VirtualTime({ seed })
  const network = new MemoryNetwork(time.timers, time.randomOf('network'), { latencyMs: 10, ...options })
  return { time, network, a: virtualEnv(time, network, 'a'), b: virtualEnv(time, network, 'b') }
}

/** `b` listens, `a` has dialled it, both are open. */
async function connected({
  time,
  a,
  b,
}: World): Promise<{ near: Connection; nearEar: Ear; far: Connection; farEar: Ear; endpoint: string }> {
  const [nearEar, farEar] = [new Ear(), new Ear()]
  let far: Connection | undefined
  const { endpoint } = await b.transport.listen('tcp://b:0', undefined, connection => {
    far = connection
    return farEar
  })
  const near = a.transport.dial(endpoint, undefined, 1_000, nearEar)
  await time.until(() => far !== undefined, 1_000)
  return { near, nearEar, far: far!, farEar, endpoint }
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

t.test('a way there and back takes two latencies, an accept three', async t => {
  const { time, a, b } = world(t)
  let acceptedMs = 0
  const { endpoint } = await b.transport.listen('memory:b', undefined, () => {
    acceptedMs = time.nowMs
    return new Ear()
  })
  const ear = new Ear()
  a.transport.dial(endpoint, undefined, 1_000, ear)
  await time.until(() => ear.heard.length > 0, 1_000)
  t.equal(time.nowMs, 20)
  await time.run(100)
  t.equal(acceptedMs, 30)
})

t.test('jitter never changes the order within a connection', async t => {
  const each = world(t, { jitterMs: 20 })
  const { near, farEar } = await connected(each)
  let sent = ''
  for (let i = 0; i < 100; i++) {
    near.write(bytesOf(`${i};`))
    sent += `${i};`
    await each.time.run(1)
  }
  await each.time.run(1_000)
  t.equal(farEar.text, sent)
  t.ok(farEar.chunks.length > 1)
})

t.test('chunks may be as small as one byte', async t => {
  const each = world(t, { chunkBytesMax: 1 })
  const { near, farEar } = await connected(each)
  near.write(bytesOf('one by one'))
  await each.time.run(1_000)
  t.equal(farEar.text, 'one by one')
  t.ok(farEar.chunks.every(({ byteLength }) => byteLength === 1))
})

t.test('a narrow wire takes its time', async t => {
  const each = world(t, { bytesPerMs: 100 })
  const { near, farEar } = await connected(each)
  const startMs = each.time.nowMs
  near.write(new Uint8Array(100_000))
  await each.time.until(() => farEar.bytes === 100_000, 10_000)
  t.ok(Math.abs(each.time.nowMs - startMs - 1_010) < 1)
})

t.test('behind a cut nobody hears anything; after the heal all arrives, in order', async t => {
  const each = world(t, { jitterMs: 5 })
  const { near, nearEar, far, farEar } = await connected(each)
  near.write(bytesOf('in flight,'))
  await each.time.run(5)
  each.network.cut('a', 'b')
  let flushed = 0
  near.write(bytesOf('held'), () => flushed++)
  far.write(bytesOf('back'))
  await each.time.run(60_000)
  t.equal(farEar.text + nearEar.text, '')
  t.equal(flushed, 1, 'a written socket proves nothing')
  t.same([nearEar.heard, farEar.heard], [['opened'], []])
  each.network.heal('b', 'a')
  await each.time.run(100)
  t.equal(farEar.text, 'in flight,held')
  t.equal(nearEar.text, 'back')
})

t.test('a cut of one way leaves the other', async t => {
  const each = world(t)
  const { near, nearEar, far, farEar } = await connected(each)
  each.network.cut('a', 'b', { oneWay: true })
  near.write(bytesOf('there'))
  far.write(bytesOf('back'))
  await each.time.run(1_000)
  t.equal(farEar.text, '')
  t.equal(nearEar.text, 'back')
  each.network.heal('a', 'b')
  await each.time.run(100)
  t.equal(farEar.text, 'there')
})

t.test('after a heal old connections may be silent for a while', async t => {
  const each = world(t, { resumeMsMax: 10_000 }, 5)
  const { near, farEar } = await connected(each)
  each.network.cut('a', 'b')
  near.write(bytesOf('late'))
  await each.time.run(100)
  each.network.heal('a', 'b')
  const startMs = each.time.nowMs
  await each.time.until(() => farEar.text === 'late', 20_000)
  t.ok(each.time.nowMs - startMs > 100)
})

t.test('a receiver behind a cut gives back pressure once the kernels are full', async t => {
  const each = world(t)
  const { near, farEar } = await connected(each)
  each.network.cut('a', 'b')
  let flushed = 0
  for (let i = 0; i < 10; i++) near.write(new Uint8Array(100_000), () => flushed++)
  await each.time.run(60_000)
  t.equal(flushed, 2)
  t.equal(near.pendingBytes, 800_000)
  each.network.heal('a', 'b')
  await each.time.until(() => farEar.bytes === 1_000_000, 10_000)
  t.equal(flushed, 10)
  t.equal(near.pendingBytes, 0)
})

t.test('so does a stalled receiver; it gets all afterwards', async t => {
  const each = world(t)
  const { near, farEar } = await connected(each)
  each.time.stall('b', 5_000)
  near.write(new Uint8Array(1_000_000))
  await each.time.run(4_900)
  t.equal(farEar.bytes, 0)
  t.equal(near.pendingBytes, 1_000_000)
  await each.time.until(() => farEar.bytes === 1_000_000, 10_000)
})

t.test('a dial behind a cut times out, or gets through when it heals in time', async t => {
  const each = world(t)
  const { endpoint } = await connected(each)
  each.network.cut('b', 'a', { oneWay: true })
  const [lost, late] = [new Ear(), new Ear()]
  each.a.transport.dial(endpoint, undefined, 500, lost)
  each.a.transport.dial(endpoint, undefined, 5_000, late)
  await each.time.run(1_000)
  t.same(lost.heard, ['closed'])
  t.equal(codeOf(lost.error), 'ETIMEDOUT')
  t.same(late.heard, [])
  each.network.heal('a', 'b')
  await each.time.run(100)
  t.same(late.heard, ['opened'])
  t.same(lost.heard, ['closed'])
})

t.test('where nobody listens a dial is refused after a way there and back', async t => {
  const { time, network, a } = world(t)
  const ear = new Ear()
  a.transport.dial('tcp://nowhere:1', undefined, 1_000, ear)
  await time.until(() => ear.isClosed, 1_000)
  t.equal(codeOf(ear.error), 'ECONNREFUSED')
  t.equal(time.nowMs, 20)
  network.cut('a', 'nowhere')
  const cut = new Ear()
  a.transport.dial('tcp://nowhere:1', undefined, 1_000, cut)
  await time.until(() => cut.isClosed, 2_000)
  t.equal(codeOf(cut.error), 'ETIMEDOUT')
})

t.test('a reset is heard at both ends, and loses what was on its way', async t => {
  const each = world(t)
  const { near, nearEar, far, farEar } = await connected(each)
  near.write(bytesOf('arrives '))
  await each.time.run(100)
  near.write(bytesOf('lost'))
  far.write(bytesOf('lost'))
  await each.time.run(1)
  each.network.reset('b', 'a')
  t.same([nearEar.heard, farEar.heard], [['opened'], ['data']], 'not within the call')
  await each.time.run(100)
  t.same(
    [nearEar.heard, farEar.heard],
    [
      ['opened', 'closed'],
      ['data', 'closed'],
    ],
  )
  t.same([codeOf(nearEar.error), codeOf(farEar.error)], ['ECONNRESET', 'ECONNRESET'])
  t.equal(farEar.text, 'arrives ')
})

t.test('a reset breaks a dial too, and leaves the connections of others', async t => {
  const each = world(t)
  const { nearEar, endpoint } = await connected(each)
  const c = virtualEnv(each.time, each.network, 'c')
  const ear = new Ear()
  c.transport.dial(endpoint, undefined, 1_000, ear)
  each.network.reset('b', 'c')
  await each.time.run(2_000)
  t.same(ear.heard, ['closed'])
  t.equal(codeOf(ear.error), 'ECONNRESET')
  t.same(nearEar.heard, ['opened'])
})

t.test('when a process dies, others hear it within a latency, itself nothing; a tail of its bytes may be lost', async t => {
  const ends = new Set<string>()
  for (let seed = 0; seed < 40; seed++) {
    const each = world(t, {}, seed)
    const { near, nearEar, far, farEar, endpoint } = await connected(each)
    far.write(bytesOf('first '))
    await each.time.run(50)
    far.write(bytesOf('second'))
    await each.time.run(1)
    near.write(bytesOf('to a dead one'), () => undefined)
    killProcess(each.time, each.network, 'b')
    far.write(bytesOf('of a dead one'), () => t.fail('the dead were called'))
    await each.time.run(12)
    t.same(farEar.heard, [])
    t.ok(nearEar.isClosed)
    ends.add(`${nearEar.text}|${codeOf(nearEar.error)}`)
    const refused = new Ear()
    each.a.transport.dial(endpoint, undefined, 1_000, refused)
    await each.time.run(20)
    t.equal(codeOf(refused.error), 'ECONNREFUSED')
  }
  t.same([...ends].sort(), ['first second|undefined', 'first |ECONNRESET'].sort())
})

t.test('a death on a narrow wire loses a tail, never a middle', async t => {
  for (let seed = 0; seed < 20; seed++) {
    const each = world(t, { bytesPerMs: 1_000 }, seed)
    const { nearEar, far } = await connected(each)
    for (let i = 0; i < 4; i++) far.write(new Uint8Array(60_000).fill(i))
    await each.time.run(100)
    killProcess(each.time, each.network, 'b')
    far.write(bytesOf('of the dead'))
    await each.time.run(1_000)
    t.ok(nearEar.isClosed)
    t.ok(Buffer.concat(nearEar.chunks).every((byte, at) => byte === Math.floor(at / 60_000)))
    t.ok(nearEar.bytes >= 60_000)
  }
})

t.test('after a death the host lives again', async t => {
  const each = world(t)
  const { endpoint } = await connected(each)
  killProcess(each.time, each.network, 'b')
  const b = virtualEnv(each.time, each.network, 'b')
  const far = new Ear()
  await b.transport.listen(endpoint, undefined, () => far)
  const near = new Ear()
  each.a.transport.dial(endpoint, undefined, 1_000, near).write(bytesOf('hello again'))
  await each.time.run(100)
  t.equal(far.text, 'hello again')
  t.same(near.heard, ['opened'])
})

t.test('a machine without power says nothing; its successor denies its connections', async t => {
  const each = world(t)
  const { near, nearEar } = await connected(each)
  each.time.halt('b')
  near.write(bytesOf('anybody there?'))
  await each.time.run(60_000)
  t.same(nearEar.heard, ['opened'])
  virtualEnv(each.time, each.network, 'b')
  await each.time.run(100)
  t.same(nearEar.heard, ['opened', 'closed'])
})

t.test('who dies behind a cut is missed only after the heal', async t => {
  for (let seed = 0; seed < 10; seed++) {
    const each = world(t, {}, seed)
    const { near, nearEar } = await connected(each)
    each.network.cut('a', 'b')
    killProcess(each.time, each.network, 'b')
    near.write(bytesOf('anybody there?'))
    await each.time.run(60_000)
    t.same(nearEar.heard, ['opened'])
    each.network.heal('a', 'b')
    await each.time.run(100)
    t.same(nearEar.heard, ['opened', 'closed'])
  }
})

t.test('a killed caller does not open anything, a killed listener does not accept', async t => {
  const each = world(t)
  const { endpoint } = await connected(each)
  const ear = new Ear()
  each.a.transport.dial(endpoint, undefined, 1_000, ear)
  killProcess(each.time, each.network, 'a')
  each.a.transport.dial(endpoint, undefined, 1_000, ear)
  await each.time.run(2_000)
  t.same(ear.heard, [])
})

t.test('a stalled process is connected to by its kernel, and accepts later', async t => {
  const each = world(t)
  const { endpoint } = await connected(each)
  each.time.stall('b', 5_000)
  const ear = new Ear()
  each.a.transport.dial(endpoint, undefined, 1_000, ear).write(bytesOf('x'))
  await each.time.run(1_000)
  t.same(ear.heard, ['opened'])
})

t.test('TLS is not to be had here', async t => {
  const { a } = world(t)
  t.throws(() => a.transport.dial('memory:b', {}, 1_000, new Ear()), { code: 'BAD_OPTION' })
  await t.rejects(
    a.transport.listen('memory:a', {}, () => new Ear()),
    { code: 'BAD_OPTION' },
  )
})

/** What two hosts hear from each other on a line where everything happens; and whether it was always a beginning of what was sent. */
async function storm(seed: number): Promise<{ trace: string; intact: boolean }> {
  const time = new VirtualTime({ seed })
  const network = new MemoryNetwork(time.timers, time.randomOf('network'), {
    latencyMs: 2,
    jitterMs: 20,
    chunkBytesMax: 700,
    bytesPerMs: 2_000,
    kernelBytesMax: 10_000,
    resumeMsMax: 300,
  })
  const chance = time.randomOf('storm')
  const pick = (count: number): number => Math.floor(chance.fraction() * count)
  let trace = ''
  let intact = true
  /** The sender counts up from 0, modulo 251, so each chunk tells whether it is what must come next. */
  const ear = (name: string): Ear => {
    const made = new Ear()
    let next = 0
    made.onData = chunk => {
      for (const byte of chunk) if (byte !== next++ % 251) intact = false
      trace += `${time.nowMs.toFixed(3)} ${name} ${chunk.byteLength};`
    }
    return made
  }
  const talk = (connection: Connection, process: Env): void => {
    let sent = 0
    process.timers.every(7, () => {
      const bytes = new Uint8Array(pick(3_000)).map(() => sent++ % 251)
      connection.write(bytes)
    })
  }
  const ears: Ear[] = []
  const start = async (): Promise<void> => {
    const [a, b] = [virtualEnv(time, network, 'a'), virtualEnv(time, network, 'b')]
    await b.transport.listen(`tcp://b:${1_000 + ears.length}`, undefined, connection => {
      talk(connection, b)
      ears.push(ear('b'))
      return ears.at(-1)!
    })
    const near = ear('a')
    talk(a.transport.dial(`tcp://b:${1_000 + ears.length}`, undefined, 2_000, near), a)
    ears.push(near)
  }
  await start()
  const faults = [
    () => network.cut('a', 'b', { oneWay: pick(2) === 0 }),
    () => network.heal('a', 'b'),
    () => network.heal('a', 'b'),
    () => time.stall('b', pick(500)),
    () => time.suspend('a', pick(500)),
    () => network.reset('a', 'b'),
    () => killProcess(time, network, 'b'),
    () => killProcess(time, network, 'a'),
  ]
  for (let i = 0; i < 60; i++) {
    await time.run(pick(200))
    const fault = pick(faults.length)
    faults[fault]!()
    trace += `fault ${fault};`
    if (fault >= 5) await start()
  }
  network.heal('a', 'b')
  await time.run(10_000)
  if (ears.some(({ heard }) => heard.filter(what => what === 'closed').length > 1 || heard.slice(0, -1).includes('closed')))
    intact = false
  return { trace, intact }
}

t.test('whatever happens, what arrives is a beginning of what was sent; and the same seed gives the same storm', async t => {
  // STORMS=1000 for a long search.
  const first = Date.now()
  for (let seed = first; seed < first + (Number(process.env.STORMS) || 15); seed++) {
    const { trace, intact } = await storm(seed)
    t.ok(intact, `seed ${seed}, ${trace.length} characters`)
  }
  const again = [await storm(first), await storm(first)]
  t.ok(again[0]!.trace === again[1]!.trace, 'the same trace')
  t.ok(again[0]!.trace.length > 1_000)
})

t.test(
  'without power nobody says goodbye: the other end waits, half-open, until the host is back and knows nothing of it',
  async t => {
    const each = world(t)
    const { near, nearEar, endpoint } = await connected(each)
    each.network.powerOff('b')
    near.write(bytesOf('is anybody there?'))
    await each.time.run(60_000)
    t.equal(nearEar.isClosed, false, 'no reset comes')
    const late = new Ear()
    each.a.transport.dial(endpoint, undefined, 1_000, late)
    await each.time.run(1_100)
    t.equal(codeOf(late.error), 'ETIMEDOUT')

    each.time.halt('b')
    virtualEnv(each.time, each.network, 'b')
    await each.time.run(100)
    t.equal(codeOf(nearEar.error), 'ECONNRESET')
    t.equal(each.network.connections, 0)
  },
)

t.test('what leaves while a way is longer arrives later, and what leaves afterwards does not overtake it', async t => {
  const each = world(t)
  const { near, farEar } = await connected(each)
  each.network.detour('a', 'b', 500)
  near.write(bytesOf('slow '))
  await each.time.run(5)
  each.network.detour('a', 'b', 0)
  near.write(bytesOf('fast'))
  await each.time.run(490)
  t.equal(farEar.text, '')
  await each.time.run(20)
  t.equal(farEar.text, 'slow fast')
})

t.test('a wire that becomes wide again lets nothing overtake', async t => {
  const each = world(t, { bytesPerMs: 0.1 })
  const { near, farEar } = await connected(each)
  near.write(bytesOf('first '))
  await each.time.run(20)
  each.network.options.bytesPerMs = Infinity
  near.write(bytesOf('second'))
  await each.time.run(1_000)
  t.equal(farEar.text, 'first second')
})
