/** test/vectors/frames.json, the frames that other languages are held against: what the library writes, and what it makes of them. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Env } from '../../lib/env/env.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { realEnv } from '../../lib/env/real.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { createPeer } from '../../lib/index.ts'
import { Handshake, type Introduction } from '../../lib/link/handshake.ts'
import { Channel, channelDefaults, type ChannelHandler } from '../../lib/mesh/channel.ts'
import type { Mesh } from '../../lib/mesh/mesh.ts'
import type { Path } from '../../lib/mesh/path.ts'
import { Flow } from '../../lib/router/flow.ts'
import { Inbox } from '../../lib/router/inbox.ts'
import type { Message } from '../../lib/router/message.ts'
import { routerDefaults } from '../../lib/router/options.ts'
import { Router } from '../../lib/router/router.ts'
import { Send } from '../../lib/router/send.ts'
import { decodeBody, encodeBody } from '../../lib/wire/body.ts'
import { frameOf, NOT_HERE, pingFrame, PREFIX, Reader, readRoute, routeFrame, unrouteFrame } from '../../lib/wire/frame.ts'
import * as kinds from '../../lib/wire/kinds.ts'
import { bodyDefaults } from '../../lib/wire/scan.ts'
import { Splitter } from '../../lib/wire/splitter.ts'

type Address = [] | [string] | [string, number] | [number]

interface Vector {
  kind: keyof typeof kinds
  fields: Record<string, unknown>
  hex: string
}

const vectors = JSON.parse(readFileSync('test/vectors/frames.json', 'utf8')) as {
  link: Vector[]
  channel: Vector[]
  again: Vector[]
  read: Vector[]
  broken: { hex: string; why: string }[]
}
/** By their names. */
const kindOf = Object.fromEntries(Object.entries(kinds)) as Record<Vector['kind'], number>
const bytesOf = ({ hex }: { hex: string }): Buffer => Buffer.from(hex, 'hex')

/** JSON has no bytes: there an object with the one key `$bytes` stands for them. */
function meant(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(meant)
  if ('$bytes' in value) return Buffer.from(value.$bytes as string, 'hex')
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, meant(item)]))
}

// docs/protocol.md once more, in the plainest way: fields of a frame, in both directions.

type Field = 'u8' | 'flag' | 'u24' | 'u32' | 'u48' | 'short' | 'run' | 'address' | 'text' | 'body'

const link: [name: string, field: Field][] = [['map', 'body']]
const layouts: Partial<Record<keyof typeof kinds, [name: string, field: Field][]>> = {
  HELLO: link,
  WELCOME: link,
  PROOF: link,
  READY: link,
  REJECT: link,
  PING: [['nonce', 'u32']],
  PONG: [['nonce', 'u32']],
  CLOSE: [
    ['reason', 'u8'],
    ['text', 'text'],
  ],
  ROUTE: [
    ['label', 'u24'],
    ['pair', 'u32'],
    ['from', 'run'],
    ['to', 'run'],
  ],
  UNROUTE: [
    ['label', 'u24'],
    ['mine', 'flag'],
    ['reason', 'u8'],
  ],
  RESUME: [
    ['sender', 'u32'],
    ['receiver', 'u32'],
    ['expected', 'u32'],
  ],
  ACK: [['acknowledged', 'u32']],
  LEAVE: [],
  MESSAGE: [
    ['to', 'address'],
    ['from', 'address'],
    ['number', 'u48'],
    ['body', 'body'],
  ],
  REQUEST: [
    ['to', 'address'],
    ['from', 'address'],
    ['number', 'u48'],
    ['call', 'u32'],
    ['leftMs', 'u32'],
    ['body', 'body'],
  ],
  REPLY: [
    ['call', 'u32'],
    ['failed', 'flag'],
    ['body', 'body'],
  ],
  CANCEL: [['call', 'u32']],
  REFUSE: [
    ['refused', 'u32'],
    ['reason', 'u8'],
  ],
  ROOM: [['address', 'address']],
  TELL: [
    ['protocol', 'short'],
    ['body', 'body'],
  ],
  CALL: [
    ['call', 'u32'],
    ['leftMs', 'u32'],
    ['protocol', 'short'],
    ['body', 'body'],
  ],
  VOID: [
    ['to', 'address'],
    ['from', 'address'],
  ],
}

function layoutOf(kind: Vector['kind']): [name: string, field: Field][] {
  const own = layouts[kind]
  if (!own) throw new Error(`no layout of ${kind}`)
  const header: [string, Field][] = kindOf[kind] >= kinds.FIRST_OF_CHANNEL ? [['label', 'u24']] : []
  if (kindOf[kind] >= kinds.FIRST_NUMBERED) header.push(['sequence', 'u32'])
  return [...header, ...own]
}

const number = (value: unknown, bytes: number): Buffer =>
  Buffer.from((value as number).toString(16).padStart(2 * bytes, '0'), 'hex')
const short = (text: string): Buffer => Buffer.concat([number(Buffer.byteLength(text), 1), Buffer.from(text)])

function plainAddress([first, given]: Address): Buffer {
  if (first === undefined) return number(0, 2)
  if (typeof first === 'number') return number(0x8000 + first, 2)
  const text = Buffer.from(first)
  return given === undefined
    ? Buffer.concat([number(text.length, 2), text])
    : Buffer.concat([number(0x4000 + text.length, 2), number(given, 2), text])
}

const write: Record<Field, (value: unknown) => Buffer> = {
  u8: value => number(value, 1),
  flag: value => number(value ? 1 : 0, 1),
  u24: value => number(value, 3),
  u32: value => number(value, 4),
  u48: value => number(value, 6),
  short: value => short(value as string),
  run: value => Buffer.concat((value as string[]).map(short)),
  address: value => plainAddress(value as Address),
  text: value => Buffer.from(value as string),
  body: value => encodeBody(meant(value)),
}

function plainFrame({ kind, fields }: Vector): Buffer {
  const payload = Buffer.concat(layoutOf(kind).map(([name, field]) => write[field](fields[name])))
  return Buffer.concat([number(1 + payload.length, 4), number(kindOf[kind], 1), payload])
}

const read: Record<Field, (reader: Reader) => unknown> = {
  u8: reader => reader.u8(),
  flag: reader => reader.u8() === 1,
  u24: reader => reader.u24(),
  u32: reader => reader.u32(),
  u48: reader => reader.u48(),
  short: reader => reader.shortText(),
  run: reader => [reader.shortText(), reader.shortText()],
  address: reader => readAddress(reader),
  text: reader => reader.text(reader.end - reader.at),
  body: reader => {
    const [at, end] = [reader.at, reader.end]
    reader.at = end
    return decodeBody(reader.buffer, at, end)
  },
}

function readAddress(reader: Reader): Address {
  const head = reader.u16()
  if (head === 0) return []
  if (head >= 0x8000) return [head - 0x8000]
  if (head < 0x4000) return [reader.text(head)]
  const given = reader.u16()
  return [reader.text(head - 0x4000), given]
}

function readPlain(frame: Buffer): Pick<Vector, 'kind' | 'fields'> {
  const reader = new Reader().set(frame, 0, frame.length)
  const length = reader.u32()
  if (length !== frame.length - PREFIX) throw new Error(`a length of ${length} in ${frame.length} bytes`)
  const code = reader.u8()
  const kind = Object.keys(layouts).find(name => kindOf[name as Vector['kind']] === code) as Vector['kind']
  const fields = Object.fromEntries(layoutOf(kind).map(([name, field]) => [name, read[field](reader)]))
  if (reader.at !== reader.end) throw new Error('bytes behind the last field')
  return { kind, fields }
}

t.test('hex is what the fields say', async t => {
  for (const group of ['link', 'channel', 'again', 'read'] as const) {
    for (const vector of vectors[group]) {
      const { kind, fields, hex } = vector
      t.equal(plainFrame(vector).toString('hex'), hex, `${group}: ${kind}`)
      t.same(readPlain(bytesOf(vector)), { kind, fields: meant(fields) }, 'and back')
    }
  }
  const constants = ['FIRST_OF_CHANNEL', 'FIRST_NUMBERED']
  const covered = new Set([...vectors.link, ...vectors.channel, ...vectors.again].map(({ kind }) => kind))
  for (const kind of Object.keys(kindOf))
    if (!constants.includes(kind)) t.ok(covered.has(kind as Vector['kind']), `${kind} has a vector`)
})

// Frames of the link

const run = ([identity, incarnation]: string[]) => ({ identity: identity!, incarnation: incarnation! })

function written({ kind, fields }: Vector): Buffer {
  const { label, pair, from, to, mine, reason, nonce, text, map } = fields
  switch (kind) {
    case 'PING':
    case 'PONG':
      return pingFrame(kindOf[kind], nonce as number)
    case 'ROUTE':
      return routeFrame({ label: label as number, pair: pair as number, from: run(from as string[]), to: run(to as string[]) })
    case 'UNROUTE':
      return unrouteFrame(label as number, mine as boolean, reason as number)
    case 'CLOSE':
      return frameOf(kinds.CLOSE, Buffer.concat([Buffer.from([reason as number]), Buffer.from(text as string)]))
    default:
      return frameOf(kindOf[kind], encodeBody(meant(map)))
  }
}

t.test('F21: frames of the link are written so, and read so', async t => {
  for (const vector of vectors.link) {
    const bytes = bytesOf(vector)
    const { kind, fields } = vector
    t.same(written(vector), bytes, kind)
    const payload = bytes.subarray(PREFIX + 1)
    if (kind === 'ROUTE') {
      const { label, pair, from, to } = fields
      const route = readRoute(new Reader().set(payload, 0, payload.length))
      t.same(route, { label, pair, from: run(from as string[]), to: run(to as string[]) })
    } else if (fields.map) t.same(decodeBody(payload, 0, payload.length), meant(fields.map))
  }
})

// A channel. One end is real and is made to write; or it is real, and reads what the file says.

const a = { identity: 'a', incarnation: '1' }
const b = { identity: 'b', incarnation: '2' }
const aId = 0x01020304
const bId = 0x0a0b0c0d

/** An environment in which a channel gets this id. */
function envWithChannel(id: number): Env {
  const time = new VirtualTime({ seed: 'vectors' })
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.randomOf('network')), 'here')
  return { ...env, random: { bytes: count => env.random.bytes(count), fraction: () => (id - 0.5) / 0xffff_fffe } }
}

/** A way that keeps what is written to it. */
class Tape implements Path {
  readonly kind = 'broker'
  readonly name = 'tape'
  readonly pendingBytes = 0
  readonly label: number
  readonly frames: string[] = []
  readonly #splitter = new Splitter(1 << 20, (buffer, start, end) => {
    this.frames.push(buffer.toString('hex', start, end))
  })

  constructor(label: number) {
    this.label = label
  }

  write(bytes: Uint8Array): void {
    this.#splitter.push(Buffer.from(bytes))
  }

  abandon(reason: string): void {
    throw new Error(`given up: ${reason}`)
  }
}

/** Without its length, as a splitter hands it over. */
const bare = ({ hex }: { hex: string }): string => hex.slice(2 * PREFIX)

function give(channel: Channel, hex: string): 'taken' | 'forgotten' {
  const bytes = Buffer.from(hex, 'hex')
  return channel.receive(bytes, 0, bytes.length)
}

const never = new Promise<never>(() => {})

interface Heard {
  messages: Message[]
  requests: { message: Message; deadlineMs: number; aborted(): boolean }[]
  tells: unknown[]
  calls: { body: unknown; deadlineMs: number }[]
  room: string[]
  left: number
}

/** A router with the client 'bob', and its channel to `remote`. */
function endOf(env: Env, self: typeof a, remote: typeof a): { router: Router; channel: Channel; heard: Heard } {
  const heard: Heard = { messages: [], requests: [], tells: [], calls: [], room: [], left: 0 }
  const router = new Router({
    env,
    self,
    options: routerDefaults,
    limits: bodyDefaults,
    answers: () => true,
    answer: (message, { signal, deadlineMs }) => {
      heard.requests.push({ message, deadlineMs, aborted: () => signal.aborted })
      return never
    },
    trouble: error => t.fail('trouble', { error }),
    handlerFailed: (where, error) => t.fail(where, { error }),
  })
  router.serveProtocol('directory/1', {
    tell: (_from, body) => void heard.tells.push(body),
    call: (_from, body, { deadlineMs }) => {
      heard.calls.push({ body, deadlineMs })
      return never
    },
  })
  const consumer = { address: 'bob', hasReader: false, wake() {}, take: (message: Message) => void heard.messages.push(message) }
  const inbox = new Inbox(1, router.inboxHost, consumer)
  inbox.claimed('open')
  router.reception.claimed(inbox)
  const handler: ChannelHandler = {
    accept: (channel, kind, reader) => router.accept(channel, kind, reader),
    room: (_channel, address) => void heard.room.push(address),
    leaving: () => void heard.left++,
    writable: channel => router.writable(channel),
    acknowledged: (channel, sequence) => router.acknowledged(channel, sequence),
    down: () => {},
    ended: () => {},
  }
  return { router, channel: new Channel(env, remote, channelDefaults, handler), heard }
}

const resumeOfB = plainFrame({
  kind: 'RESUME',
  fields: { label: 7, sender: bId, receiver: aId, expected: 0 },
  hex: '',
}).toString('hex', PREFIX)

t.test('F21: a channel writes so', async t => {
  const env = envWithChannel(aId)
  const { router, channel } = endOf(env, a, b)
  const tape = new Tape(7)
  channel.attach(tape)
  give(channel, resumeOfB)

  const toBob = new Flow('address', 'bob', router)
  const toCarol = new Flow('address', 'carol', router)
  const toPeer = new Flow('peer', 'b/2', router)
  const answers: (string | undefined)[] = []
  const write = (
    flow: Flow,
    kind: number,
    from: string,
    body: unknown,
    numbers: { number?: number; callId?: number; leftMs?: number } = {},
  ) => {
    const { number = 0, callId = 0, leftMs = 1_000 } = numbers
    const setup = { kind, from, number, callId, waitUntilMs: 0, early: false, resolve: undefined }
    const settle = (failure?: { status: string }) => void answers.push(failure?.status)
    const send = new Send(flow, { ...setup, deadlineAtMs: env.clock.monotonicMs() + leftMs, settle })
    send.body = encodeBody(body)
    send.bodyBytes = send.body.length
    flow.outstanding++
    router.write(send, channel)
    return send
  }

  write(toBob, kinds.MESSAGE, 'alice', { text: 'hi' }, { number: 1 })
  write(toBob, kinds.MESSAGE, '', 'again', { number: 2 })
  write(toBob, kinds.REQUEST, 'alice', { ask: 'position' }, { number: 3, callId: 1, leftMs: 500 })
  write(toPeer, kinds.TELL, 'directory/1', { op: 'revalidate' })
  write(toPeer, kinds.CALL, 'directory/1', { op: 'find', addresses: ['bob'] }, { callId: 2 })
  write(toPeer, kinds.REPLY, '', [1, 2, 3], { callId: 1 })
  write(toPeer, kinds.REPLY, 'failed', { code: 'homing:FENCED', message: 'join first' }, { callId: 2 })
  channel.send(kinds.CANCEL, number(1, 4))
  const nowhere: Vector = {
    kind: 'MESSAGE',
    fields: { label: 7, sequence: 0, to: ['eve'], from: [], number: 1, body: 0 },
    hex: '',
  }
  give(channel, plainFrame(nowhere).toString('hex', PREFIX))
  const at = channel.begin(kinds.ROOM, 10)
  channel.commit(channel.numbersOut.write(channel.buffer, at, 'zoë'))
  const blank: Vector = { kind: 'VOID', fields: { label: 7, sequence: 1, to: [], from: [] }, hex: '' }
  give(channel, plainFrame(blank).toString('hex', PREFIX))
  channel.afterBatch()
  const givenUp = write(toCarol, kinds.MESSAGE, 'alice', null, { number: 4 })
  channel.leave()
  channel.flush()
  t.same(tape.frames, vectors.channel.map(bare))

  // B has taken all but the last message. That one is given up, and not delivered late.
  give(channel, plainFrame({ kind: 'ACK', fields: { label: 7, acknowledged: 9 }, hex: '' }).toString('hex', PREFIX))
  t.same(answers, Array(7).fill(undefined))
  channel.detach(tape)
  channel.abandon(givenUp.sequence)
  const other = new Tape(8)
  channel.attach(other)
  const { fields } = vectors.channel[0]!
  const resume: Vector = { kind: 'RESUME', fields: { label: 8, sender: bId, receiver: fields.sender, expected: 10 }, hex: '' }
  give(channel, plainFrame(resume).toString('hex', PREFIX))
  channel.flush()
  t.same(other.frames, vectors.again.map(bare))
})

t.test('F21: a channel reads so', async t => {
  const env = envWithChannel(bId)
  const { router, channel, heard } = endOf(env, b, a)
  const mesh = { kind: 'broker', endpoints: [], find: () => channel, channelTo: () => channel, channels: () => [channel] }
  router.meets(mesh as Partial<Mesh> as Mesh)
  const tape = new Tape(9)
  channel.attach(tape)
  const [resume, ...frames] = vectors.channel
  give(channel, bare(resume!))
  // What A refuses, answers and acknowledges in the file: two calls, the first of which it refuses.
  const calls = ['x/1', 'y/1'].map(name => router.call(a, name, null))
  const outcomes = Promise.allSettled(calls)
  channel.flush()
  const refusals: string[] = []
  channel.eachWaiter(waiter => {
    const send = waiter as Send
    const { refused } = send
    send.refused = (reason, ...rest) => {
      refusals.push(`${send.from} ${reason === NOT_HERE ? 'not here' : reason}`)
      refused.call(send, reason, ...rest)
    }
  })
  const answered = frames.findIndex(({ kind }) => kind === 'CANCEL')
  for (const frame of frames.slice(0, answered)) give(channel, bare(frame))
  const [request] = heard.requests
  t.equal(request?.aborted(), false)
  for (const frame of frames.slice(answered)) give(channel, bare(frame))

  const seen = ({ to, from, body, id }: Message) => ({ to, from, body, id })
  t.same(heard.messages.map(seen), [
    { to: 'bob', from: 'alice', body: { text: 'hi' }, id: 'a/1/1' },
    { to: 'bob', from: undefined, body: 'again', id: 'a/1/2' },
  ])
  t.same(seen(request!.message), { to: 'bob', from: 'alice', body: { ask: 'position' }, id: 'a/1/3' })
  t.equal(request!.deadlineMs, 500)
  t.equal(request!.aborted(), true, 'CANCEL came')
  t.same(heard.tells, [{ op: 'revalidate' }])
  t.same(heard.calls, [{ body: { op: 'find', addresses: ['bob'] }, deadlineMs: 1_000 }])
  t.same(heard.room, ['zoë'])
  t.equal(heard.left, 1)
  t.same(refusals, ['x/1 not here'])
  t.equal(channel.unacknowledgedFrames, channel.nextSequence - 2, 'both calls are acknowledged')
  const [fine, failed] = await outcomes
  t.same(fine, { status: 'fulfilled', value: [1, 2, 3] })
  t.match(failed, { status: 'rejected', reason: { code: 'FENCED', message: 'join first' } })

  // After a break: what was taken is not taken again, and the blank defines a number.
  channel.detach(tape)
  channel.attach(new Tape(9))
  t.doesNotThrow(() => vectors.again.slice(1, 2).forEach(frame => give(channel, bare(frame))), 'nothing counts before RESUME')
  t.equal(give(channel, bare(vectors.again[0]!)), 'taken')
  for (const frame of vectors.again.slice(1)) t.equal(give(channel, bare(frame)), 'taken')
  t.equal(heard.messages.length, 2)
})

t.test('F21: forms that the library does not write are read', async t => {
  const { channel, heard } = endOf(envWithChannel(bId), b, a)
  channel.attach(new Tape(0))
  give(channel, bare(vectors.channel[0]!))
  for (const frame of vectors.read) t.equal(give(channel, bare(frame)), 'taken')
  const from = ['alice', 'bob', 'carol', 'dave']
  const read = vectors.read.filter(({ kind }) => kind === 'MESSAGE')
  t.same(
    heard.messages.map(({ from, body, id }) => ({ from, body, id })),
    read.map(({ fields }, i) => ({ from: from[i], body: fields.body, id: `a/1/${String(fields.number)}` })),
  )
})

t.test('what is broken closes the link, and says so', async t => {
  await using peer = await createPeer({ identity: 'b', store: 'memory:' })
  const env = realEnv()
  for (const [at, { hex, why }] of vectors.broken.entries()) {
    const self = { identity: `a-${at}`, incarnation: '1', role: 'peer', capabilities: [] } as const
    const heard = await new Promise<string[]>(resolve => {
      const frames: string[] = []
      const handshake = new Handshake('dialler', { cluster: 'homing', self, secrets: [], nonce: env.random.bytes(32) })
      const splitter = new Splitter(1 << 20, (buffer, start, end) => {
        if (frames.length > 0 || buffer[start]! > kinds.REJECT) return void frames.push(buffer.toString('hex', start, end))
        const { send, remote } = handshake.receive(buffer[start]!, buffer.subarray(start + 1, end))
        for (const { kind, payload } of send) connection.write(frameOf(kind, payload))
        if (!remote) return
        if (Number.parseInt(hex.slice(8, 10), 16) !== kinds.RESUME) connection.write(bytesOf(vectors.channel[0]!).fill(0, 5, 8))
        connection.write(Buffer.from(hex, 'hex'))
      })
      const connection = env.transport.dial(peer.endpoints[0]!, undefined, 1_000, {
        opened: () => handshake.start().send.forEach(({ kind, payload }) => connection.write(frameOf(kind, payload))),
        data: chunk => splitter.push(Buffer.from(chunk)),
        closed: () => resolve(frames),
      })
    })
    t.equal(heard.at(-1)?.slice(0, 4), '0a05', why)
  }
})

// The worked example of the documentation.

interface Shown {
  from: '>' | '<'
  /** The line above the hex, in words. */
  words: string
  frame: Buffer
}

function shownFrames(): Shown[] {
  const [, example] = readFileSync('docs/protocol.md', 'utf8').split('## A worked example')
  const shown: { from: '>' | '<'; words: string; hex: string }[] = []
  for (const [, block] of example!.matchAll(/^```\n(.*?)^```/gms)) {
    for (const line of block!.split('\n')) {
      const [, from, words] = /^([<>]) (.*)$/.exec(line) ?? []
      if (from && words) shown.push({ from: from as '>' | '<', words, hex: '' })
      else if (/^ {4}[0-9a-f]/.test(line)) shown.at(-1)!.hex += line.replaceAll(' ', '')
      else if (line !== '') shown.at(-1)!.words += ` ${line.trim()}`
    }
  }
  return shown.map(({ hex, ...rest }) => ({ ...rest, frame: Buffer.from(hex, 'hex') }))
}

t.test('the worked example of docs/protocol.md: whole frames that say what stands above them', async t => {
  const shown = shownFrames()
  t.equal(shown.length, 32)
  for (const { words, frame } of shown) {
    const { kind, fields } = readPlain(frame)
    t.ok(words.startsWith(`${kind} `), words)
    t.same(plainFrame({ kind, fields, hex: '' }), frame)
    for (const [name, value] of Object.entries(fields)) {
      if (['label', 'sequence', 'number', 'call', 'expected'].includes(name)) t.match(words, `${name} ${String(value)}`)
    }
  }
})

t.test('the worked example: its proofs, and the ids and sequences of its channels', async t => {
  const shown = shownFrames().map(({ from, frame }) => ({ from, frame, ...readPlain(frame) }))
  const secret = Buffer.from('correct horse battery staple')
  const [hello, welcome, proof, ready] = shown
  const payload = ({ frame }: { frame: Buffer }) => frame.subarray(PREFIX + 1)
  const { identity, incarnation, role, capabilities, nonce } = welcome!.fields.map as Introduction & { nonce: Uint8Array }
  const listener = new Handshake('listener', {
    cluster: 'homing',
    self: { identity, incarnation, role, capabilities },
    secrets: [secret],
    nonce,
  })
  listener.start()
  t.same(listener.receive(kinds.HELLO, payload(hello!)).send, [{ kind: kinds.WELCOME, payload: payload(welcome!) }])
  t.match(listener.receive(kinds.PROOF, payload(proof!)).verified, { identity: 'py-1', role: 'peer', version: 1 })
  t.same(listener.accept().send, [{ kind: kinds.READY, payload: payload(ready!) }])

  const next = new Map<string, number>()
  for (const { from, kind, fields } of shown.slice(4)) {
    const direction = `${from} ${String(fields.label)}`
    if (kind === 'RESUME') next.set(direction, 0)
    if (fields.sequence === undefined) continue
    t.equal(fields.sequence, next.get(direction), `${direction} ${kind}`)
    next.set(direction, next.get(direction)! + 1)
  }
  t.same(Object.fromEntries(next), { '> 0': 4, '< 0': 5, '> 1': 1, '< 1': 1 })
})
