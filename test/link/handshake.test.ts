import t, { type Test } from 'tap'
import { HomingError } from '../../lib/errors.ts'
import { Handshake, type HandshakeOptions, type HandshakeStep, type Introduction, type Role } from '../../lib/link/handshake.ts'
import { decodeBody, encodeBody } from '../../lib/wire/body.ts'
import { HELLO, MESSAGE, PROOF, READY, REJECT, WELCOME } from '../../lib/wire/kinds.ts'
import { isName } from '../../lib/wire/name.ts'

type Frame = HandshakeStep['send'][number]

const introduction = (identity: string, capabilities: string[] = [], role: Role = 'peer'): Introduction => ({
  identity,
  incarnation: `${identity}-run-1`,
  role,
  capabilities,
})
const options = (identity: string, nonce: number, rest: Partial<HandshakeOptions> = {}): HandshakeOptions => ({
  cluster: 'blue',
  self: introduction(identity),
  secrets: [],
  nonce: new Uint8Array(32).fill(nonce),
  ...rest,
})
const secret = (text: string) => Buffer.from(text)

interface Outcome {
  dialler: HandshakeStep
  listener: HandshakeStep
  frames: Frame[]
}

/** Carries frames to and fro until nobody says anything more; the listener accepts. `between` may change them on their way. */
function meet(
  a: Partial<HandshakeOptions>,
  b: Partial<HandshakeOptions>,
  between: (frame: Frame) => Frame = frame => frame,
): Outcome {
  const dialler = new Handshake('dialler', options('a', 1, a))
  const listener = new Handshake('listener', options('b', 2, b))
  const frames: Frame[] = []
  const last = { dialler: dialler.start(), listener: listener.start() }
  t.same(last.listener, { send: [] })
  const queue = last.dialler.send.map(frame => ({ to: 'listener' as 'dialler' | 'listener', frame }))
  while (queue.length > 0) {
    const { to, frame } = queue.shift()!
    frames.push(frame)
    const { kind, payload } = between(frame)
    let step = (to === 'listener' ? listener : dialler).receive(kind, payload)
    const other = to === 'listener' ? 'dialler' : 'listener'
    queue.push(...step.send.map(frame => ({ to: other, frame }) as const))
    if (step.verified) {
      t.notOk(step.remote, 'not complete before it was accepted')
      step = listener.accept()
      queue.push(...step.send.map(frame => ({ to: other, frame }) as const))
    }
    if (step.error || step.remote) last[to] = step
  }
  return { ...last, frames }
}

const kinds = ({ frames }: Outcome) => frames.map(frame => frame.kind)
const complete = ({ dialler, listener }: Outcome) => dialler.remote !== undefined && listener.remote !== undefined

/** Both sides end with an error of this code, and the same words reach both. */
function refusedWith(t: Test, outcome: Outcome, code: string, text: RegExp): void {
  t.equal(outcome.dialler.error?.code, code)
  t.equal(outcome.listener.error?.code, code)
  t.match(outcome.dialler.error?.message, text)
  t.match(outcome.listener.error?.message, text)
  t.ok(outcome.dialler.error instanceof HomingError)
  t.notOk(complete(outcome))
}

t.test('two that fit', async t => {
  const outcome = meet(
    { self: introduction('a', ['x', 'y'], 'pulse'), versions: [1, 3] },
    { self: introduction('b', ['y', 'z'], 'broker'), versions: [2, 5] },
  )
  t.same(kinds(outcome), [HELLO, WELCOME, PROOF, READY])
  t.same(outcome.listener.remote, { identity: 'a', incarnation: 'a-run-1', role: 'pulse', capabilities: ['y'], version: 3 })
  t.same(outcome.dialler.remote, { identity: 'b', incarnation: 'b-run-1', role: 'broker', capabilities: ['y'], version: 3 })
})

t.test('secrets: every pair', async t => {
  const [x, y, z] = [secret('x'.repeat(32)), secret('y'.repeat(32)), secret('z')]
  const pairs: [dialler: Uint8Array[], listener: Uint8Array[], fits: boolean | RegExp][] = [
    [[], [], true],
    [[x], [x], true],
    [[x], [y], /different secrets/],
    [[x], [], /'a' has a secret and 'b' has none/],
    [[], [x], /'b' has a secret and 'a' has none/],
    [[x], [y, x], true],
    [[x, y], [y, x], true],
    [[x, y], [x], true],
    [[y, x], [x], /different secrets/],
    [[z, x, y], [x, y], /different secrets/],
    [[Buffer.from('x'.repeat(31))], [x], /different secrets/],
  ]
  for (const [a, b, fits] of pairs) {
    const outcome = meet({ secrets: a }, { secrets: b })
    if (fits === true) t.ok(complete(outcome))
    else refusedWith(t, outcome, 'REFUSED', fits as RegExp)
  }
})

t.test('the listener proves too, and with the secret that the dialler has', async t => {
  const x = secret('x'.repeat(32))
  const strip = (frame: Frame) =>
    frame.kind === READY ? { kind: READY, payload: encodeBody({ proof: new Uint8Array(32) }) } : frame
  const outcome = meet({ secrets: [x] }, { secrets: [x] }, strip)
  t.match(outcome.dialler.error, { code: 'REFUSED' })
  const empty = (frame: Frame) =>
    frame.kind === READY ? { kind: READY, payload: encodeBody({ proof: new Uint8Array(0) }) } : frame
  t.match(meet({ secrets: [x] }, { secrets: [x] }, empty).dialler.error, { code: 'BAD_FRAME' })
})

t.test('with a secret, no byte can be changed on its way, whatever it says', async t => {
  const x = secret('x'.repeat(32))
  const exporter = new Uint8Array(32).fill(9)
  const [a, b] = [
    { secrets: [x], exporter, self: introduction('a', ['one', 'two']), expect: 'b', versions: [1, 2] as const },
    { secrets: [x], exporter, self: introduction('b', ['one', 'two']), versions: [1, 2] as const },
  ]
  const { frames } = meet(a, b)
  t.equal(frames.length, 4)
  for (const [index, { payload }] of frames.entries()) {
    let accepted = 0
    for (let at = 0; at < payload.length; at++) {
      for (const bit of [1, 0x80]) {
        let count = 0
        const flip = (frame: Frame) => {
          if (count++ !== index) return frame
          const changed = Buffer.from(frame.payload)
          changed[at]! ^= bit
          return { kind: frame.kind, payload: changed }
        }
        if (complete(meet(a, b, flip))) accepted++
      }
    }
    t.equal(accepted, 0, `frame ${index + 1}, ${payload.length} bytes`)
  }
})

t.test('the proof is bound to the TLS connection', async t => {
  const secrets = [secret('x'.repeat(32))]
  const exporter = new Uint8Array(32).fill(9)
  t.ok(complete(meet({ secrets, exporter }, { secrets, exporter })))
  const other = new Uint8Array(32).fill(8)
  refusedWith(t, meet({ secrets, exporter }, { secrets, exporter: other }), 'REFUSED', /a proxy that ends TLS/)
  refusedWith(t, meet({ secrets, exporter }, { secrets }), 'REFUSED', /a proxy that ends TLS/)
})

t.test('a replay of all that a dialler once said proves nothing', async t => {
  const secrets = [secret('x'.repeat(32))]
  const { frames } = meet({ secrets }, { secrets })
  const again = new Handshake('listener', options('b', 3, { secrets }))
  again.start()
  t.equal(again.receive(HELLO, frames[0]!.payload).error, undefined)
  t.match(again.receive(PROOF, frames[2]!.payload).error, { code: 'REFUSED' })

  const dialler = new Handshake('dialler', options('a', 4, { secrets }))
  dialler.start()
  t.equal(dialler.receive(WELCOME, frames[1]!.payload).error, undefined)
  t.match(dialler.receive(READY, frames[3]!.payload).error, { code: 'REFUSED' })
})

t.test('a reflection of what it said itself proves nothing', async t => {
  const secrets = [secret('x'.repeat(32))]
  const dialler = new Handshake('dialler', options('a', 1, { secrets }))
  const [hello] = dialler.start().send
  const { nonce } = decodeBody(hello!.payload, 0, hello!.payload.length) as { nonce: Uint8Array }
  const welcome = encodeBody({ version: 1, cluster: 'blue', ...introduction('b'), nonce, secret: true })
  const [proof] = dialler.receive(WELCOME, welcome).send
  t.equal(proof?.kind, PROOF)
  t.match(dialler.receive(READY, proof!.payload).error, { code: 'REFUSED' }, 'its own proof is not the listener’s')
})

t.test('clusters, versions and identities are told apart in words', async t => {
  refusedWith(t, meet({}, { cluster: 'green' }), 'REFUSED', /'a' is in 'blue', 'b' is in 'green'/)
  refusedWith(t, meet({ versions: [1, 2] }, { versions: [3, 4] }), 'REFUSED', /'a' speaks 1 to 2, 'b' speaks 3 to 4/)
  refusedWith(t, meet({ versions: [5, 5] }, { versions: [3, 4] }), 'REFUSED', /'a' speaks 5, 'b' speaks 3 to 4/)
  refusedWith(t, meet({ expect: 'c' }, {}), 'REFUSED', /expected 'c', found 'b'/)
  t.ok(complete(meet({ expect: 'b' }, {})))
  t.equal(meet({ versions: [1, 4] }, { versions: [4, 9] }).dialler.remote?.version, 4)

  t.ok(complete(meet({ peerName: 'b' }, { peerName: 'a' })))
  refusedWith(t, meet({}, { peerName: 'mallory' }), 'REFUSED', /the certificate is of 'mallory', and it says that it is 'a'/)
  refusedWith(t, meet({ peerName: 'mallory' }, {}), 'REFUSED', /the certificate is of 'mallory', and it says that it is 'b'/)
})

t.test('the listener may refuse whom it has verified', async t => {
  const dialler = new Handshake('dialler', options('a', 1))
  const listener = new Handshake('listener', options('b', 2))
  listener.start()
  const [welcome] = listener.receive(HELLO, dialler.start().send[0]!.payload).send
  const [proof] = dialler.receive(WELCOME, welcome!.payload).send
  const verified = listener.receive(PROOF, proof!.payload)
  t.match(verified, { send: [], verified: { identity: 'a' } })
  const error = new HomingError('IDENTITY_IN_USE', 'the identity \u001b[31m‘a’\u0007 is in use\nhere', {
    cause: new Error('private'),
  })
  const step = listener.reject(error)
  t.equal(step.error, error)
  t.same(kinds({ frames: step.send } as Outcome), [REJECT])
  const heard = dialler.receive(REJECT, step.send[0]!.payload)
  t.match(heard.error, { code: 'IDENTITY_IN_USE', message: 'refused by the other side: the identity  [31m‘a’  is in use here' })
  t.same(heard.send, [], 'a refusal is not answered')
  t.throws(() => listener.accept(), /accepted while failed/)
  t.equal(listener.receive(REJECT, step.send[0]!.payload).error, error, 'the first reason stays')
})

t.test('a refusal of somebody else is read with care', async t => {
  const heard = (value: unknown) => {
    const dialler = new Handshake('dialler', options('a', 1))
    dialler.start()
    return dialler.receive(REJECT, encodeBody(value)).error
  }
  t.match(heard({ code: 'CLOSED', text: 'bye' }), { code: 'CLOSED', message: 'refused by the other side: bye' })
  t.match(heard({ code: 'NO_SUCH_CODE', text: 'x' }), { code: 'REFUSED' })
  t.match(heard({ code: '__proto__', text: 'x' }), { code: 'REFUSED' })
  t.match(heard({ code: 'constructor', text: 5 }), { code: 'REFUSED', message: /without a reason/ })
  t.match(heard({}), { code: 'REFUSED' })
  t.equal(heard({ code: 'CLOSED', text: 'x'.repeat(3000) })?.message.length, 300 + 'refused by the other side: '.length)
  t.notMatch(heard({ code: 'CLOSED', text: '\u202egnp.exe\u009b31m\u2028' })?.message, /[\u202e\u009b\u2028]/)
  t.match(heard([1]), { code: 'BAD_FRAME' })
})

t.test('frames out of turn', async t => {
  const { frames } = meet({}, {})
  const payload = (kind: number) => frames.find(frame => frame.kind === kind)?.payload ?? encodeBody({})
  const all = [HELLO, WELCOME, PROOF, READY, MESSAGE, 0, 255]
  const listenerAt: [name: string, before: number[], may: number][] = [
    ['at the start', [], HELLO],
    ['after HELLO', [HELLO], PROOF],
    ['when verified', [HELLO, PROOF], -1],
  ]
  for (const [name, before, may] of listenerAt) {
    for (const kind of all.filter(kind => kind !== may)) {
      const listener = new Handshake('listener', options('b', 2))
      listener.start()
      for (const earlier of before) t.equal(listener.receive(earlier, payload(earlier)).error, undefined)
      const step = listener.receive(kind, payload(kind))
      t.equal(step.error?.code, 'BAD_FRAME', `listener ${name}: kind ${kind}`)
      t.equal(step.send[0]?.kind, REJECT)
      t.equal(listener.receive(HELLO, payload(HELLO)).error, step.error, 'it is over')
    }
  }
  const diallerAt: [name: string, before: number[], may: number][] = [
    ['after HELLO', [], WELCOME],
    ['after PROOF', [WELCOME], READY],
    ['when complete', [WELCOME, READY], -1],
  ]
  for (const [name, before, may] of diallerAt) {
    for (const kind of all.filter(kind => kind !== may)) {
      const dialler = new Handshake('dialler', options('a', 1))
      dialler.start()
      for (const earlier of before) t.equal(dialler.receive(earlier, payload(earlier)).error, undefined)
      t.equal(dialler.receive(kind, payload(kind)).error?.code, 'BAD_FRAME', `dialler ${name}: kind ${kind}`)
    }
  }
  const fresh = new Handshake('dialler', options('a', 1))
  t.throws(() => fresh.receive(HELLO, payload(HELLO)), /before the start/)
  fresh.start()
  t.throws(() => fresh.start(), /started twice/)
  t.throws(() => fresh.accept(), /accepted while/)
})

t.test('payloads that are not as they must be', async t => {
  const hello = { versions: [1, 1], cluster: 'blue', ...introduction('a'), nonce: new Uint8Array(32) }
  const welcome = { version: 1, cluster: 'blue', ...introduction('b'), nonce: new Uint8Array(32), secret: false }
  const common: [key: string, values: unknown[]][] = [
    ['cluster', [undefined, null, 5, '', 'x'.repeat(191), 'a\nb', 'a\ufffdb', [], {}]],
    ['identity', [undefined, null, 5, '', 'é'.repeat(96), 'a\u0000', '\u009b31m', Buffer.from('a')]],
    ['incarnation', [undefined, 5, '', 'x'.repeat(191)]],
    ['role', [undefined, 5, '', 'king', 'toString']],
    ['capabilities', [undefined, 'x', [5], [''], ['x'.repeat(65)], Array.from({ length: 33 }, (_, i) => `c${i}`), {}]],
    ['nonce', [undefined, 'x'.repeat(32), new Uint8Array(31), new Uint8Array(33), []]],
  ]
  const listening = (value: unknown) => {
    const listener = new Handshake('listener', options('b', 2))
    listener.start()
    return listener.receive(HELLO, value instanceof Uint8Array ? value : encodeBody(value))
  }
  const dialling = (value: unknown, rest: Partial<HandshakeOptions> = {}) => {
    const dialler = new Handshake('dialler', options('a', 1, rest))
    dialler.start()
    return dialler.receive(WELCOME, value instanceof Uint8Array ? value : encodeBody(value))
  }
  t.equal(listening(hello).error, undefined)
  t.equal(
    listening({ ...hello, expect: null, later: { version: [1, { a: 2 }] } }).error,
    undefined,
    'keys of later versions are passed over',
  )
  t.equal(dialling(welcome).error, undefined)
  t.equal(dialling({ ...welcome, later: 1 }).error, undefined)
  for (const [key, values] of common) {
    for (const value of values) {
      t.equal(listening({ ...hello, [key]: value }).error?.code, 'BAD_FRAME', `HELLO: ${key}`)
      t.equal(dialling({ ...welcome, [key]: value }).error?.code, 'BAD_FRAME', `WELCOME: ${key}`)
    }
  }
  for (const versions of [undefined, 1, [1], [1, 2, 3], [2, 1], [0, 1], [1.5, 2], [1, NaN], [1n, 2n], ['1', '2'], [1, 1e9]]) {
    t.equal(listening({ ...hello, versions }).error?.code, 'BAD_FRAME', 'HELLO: versions')
  }
  for (const expect of ['', 5, 'x'.repeat(191)])
    t.equal(listening({ ...hello, expect }).error?.code, 'BAD_FRAME', 'HELLO: expect')
  for (const version of [undefined, 0, 2, '1', 1n, 1.5]) {
    t.equal(dialling({ ...welcome, version }).error?.code, 'BAD_FRAME', 'WELCOME: version')
  }
  for (const asked of [undefined, 0, 'false', null]) {
    t.equal(dialling({ ...welcome, secret: asked }).error?.code, 'BAD_FRAME', 'WELCOME: secret')
  }
  for (const bytes of ['', 'c0', '90', 'c1', '80c0', 'dd02000000', '810100', 'd6ff00000000', 'c400', '91'.repeat(3000)]) {
    t.equal(listening(Buffer.from(bytes, 'hex')).error?.code, 'BAD_FRAME', `HELLO: ${bytes.slice(0, 20)}`)
    t.equal(dialling(Buffer.from(bytes, 'hex')).error?.code, 'BAD_FRAME', `WELCOME: ${bytes.slice(0, 20)}`)
  }
  t.equal(listening({ ...hello, filler: 'x'.repeat(3500) }).error, undefined)
  t.match(listening({ ...hello, filler: 'x'.repeat(4096) }).error, { code: 'BAD_FRAME', message: /larger than allowed/ })
  for (const proof of [undefined, null, 'x'.repeat(32), new Uint8Array(31), new Uint8Array(33)]) {
    const listener = new Handshake('listener', options('b', 2, { secrets: [secret('x')] }))
    listener.start()
    listener.receive(HELLO, encodeBody(hello))
    t.equal(listener.receive(PROOF, encodeBody({ proof })).error?.code, 'BAD_FRAME', 'PROOF')
  }
  const open = new Handshake('listener', options('b', 2))
  open.start()
  open.receive(HELLO, encodeBody(hello))
  t.equal(
    open.receive(PROOF, encodeBody({ proof: new Uint8Array(32) })).error?.code,
    'BAD_FRAME',
    'a proof that nobody asked for',
  )
})

t.test('the longest introduction that is allowed fits', async t => {
  const long = (letter: string) => ({
    identity: letter.repeat(190),
    incarnation: 'i'.repeat(190),
    role: 'peer' as const,
    capabilities: Array.from({ length: 32 }, (_, i) => String(i).padStart(64, 'c')),
  })
  const outcome = meet(
    { cluster: 'c'.repeat(190), self: long('a'), expect: 'b'.repeat(190), secrets: [secret('x')] },
    { cluster: 'c'.repeat(190), self: long('b'), secrets: [secret('x')] },
  )
  t.ok(complete(outcome))
  t.equal(outcome.dialler.remote?.capabilities.length, 32)
  for (const { payload } of outcome.frames) t.ok(payload.length < 4096)
})

t.test('an introduction that nobody could accept is a wrong option', async t => {
  const bad: Partial<HandshakeOptions>[] = [
    { cluster: '' },
    { self: introduction('x'.repeat(191)) },
    { self: introduction('a\n') },
    { self: introduction('a', ['']) },
    {
      self: introduction(
        'a',
        Array.from({ length: 33 }, () => 'c'),
      ),
    },
    { self: { ...introduction('a'), role: 'king' as Role } },
    { secrets: [secret('x'), new Uint8Array(0)] },
    { nonce: new Uint8Array(31) },
    { expect: '' },
    { versions: [2, 1] },
    { versions: [0, 1] },
  ]
  for (const rest of bad) t.throws(() => new Handshake('dialler', options('a', 1, rest)), { code: 'BAD_OPTION' })
  t.ok(isName('größe 😀'))
  t.notOk(isName('a\ud800'))
  t.notOk(isName(5))
})
