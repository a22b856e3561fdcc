import fc from 'fast-check'
import t from 'tap'
import { Handshake, type HandshakeOptions, type HandshakeStep } from '../../lib/link/handshake.ts'
import { encodeBody } from '../../lib/wire/body.ts'
import { HELLO, PROOF, READY, REJECT, WELCOME } from '../../lib/wire/kinds.ts'

const seed = Number(process.env.HOMING_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it)`)

const options = (identity: string, secrets: Uint8Array[]): HandshakeOptions => ({
  cluster: 'blue',
  self: { identity, incarnation: '1', role: 'peer', capabilities: ['a'] },
  secrets,
  nonce: new Uint8Array(32).fill(identity.length),
})

const name = fc.constantFrom('blue', 'a', 'b', '', 'x'.repeat(300), '__proto__', null, 7)
const map = fc.record(
  {
    versions: fc.constantFrom([1, 1], [1, 9], [2, 1], [], 1, null),
    version: fc.constantFrom(1, 2, -1, 'x'),
    cluster: name,
    identity: name,
    incarnation: name,
    role: fc.constantFrom('peer', 'broker', 'x', 0),
    capabilities: fc.constantFrom([], ['a'], ['b', 'a'], [1], 'a'),
    nonce: fc.constantFrom(new Uint8Array(32), new Uint8Array(3), 'x'),
    secret: fc.constantFrom(true, false, 0),
    proof: fc.constantFrom(new Uint8Array(32), new Uint8Array(0), 5),
    code: fc.constantFrom('CLOSED', 'toString', 1),
    text: fc.string({ unit: 'binary' }),
  },
  { requiredKeys: [] },
)
const whole = {
  versions: [1, 1],
  version: 1,
  cluster: 'blue',
  identity: 'c',
  incarnation: '1',
  role: 'peer',
  capabilities: ['a'],
  nonce: new Uint8Array(32),
}
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 50 }),
  map.map(value => encodeBody(value)),
  map.map(value => encodeBody({ ...whole, ...value })),
)
const frame = fc.tuple(fc.constantFrom(HELLO, WELCOME, PROOF, READY, REJECT, 0, 200), payload)
/** A whole handshake of somebody who does not know the secret. */
const polite = fc.tuple(fc.constantFrom([HELLO, PROOF], [WELCOME, READY]), fc.boolean()).map(([kinds, secret]) => {
  const payload = encodeBody({ ...whole, secret, proof: new Uint8Array(secret ? 32 : 0) })
  return kinds.map((kind): [number, Uint8Array] => [kind, payload])
})
const frames = fc.oneof({ arbitrary: fc.array(frame, { maxLength: 5 }), weight: 9 }, polite)

t.test(
  'F25: whatever arrives, in either role: no throw, an answer of a known kind, and no way in without the secret',
  async t => {
    const reached = { verified: 0, remote: 0, refused: 0 }
    fc.assert(
      fc.property(fc.constantFrom('dialler', 'listener'), fc.boolean(), frames, (side, secret, frames) => {
        const shake = new Handshake(side, options('me', secret ? [new Uint8Array(32).fill(1)] : []))
        shake.start()
        let over: HandshakeStep | undefined
        for (const [kind, payload] of frames) {
          const step = shake.receive(kind, payload)
          if (over?.error && (step.error !== over.error || step.send.length > 0)) return false
          if (secret && (step.verified || step.remote)) return false
          if (step.error && !['BAD_FRAME', 'REFUSED', 'CLOSED'].includes(step.error.code)) return false
          if (step.send.some(({ payload }) => payload.length > 4095)) return false
          if (step.verified) {
            reached.verified++
            if (shake.accept().send[0]?.kind !== READY) return false
          }
          if (step.remote) reached.remote++
          if (step.error) reached.refused++
          over = step.error ? step : over
        }
        return true
      }),
      { seed, numRuns: 20_000 },
    )
    t.ok(reached.verified > 50 && reached.remote > 50 && reached.refused > 1000, JSON.stringify(reached))
  },
)
