/** The handshake in both roles: whatever is said, an answer of a known kind, and nobody comes in without the secret. */
import { Handshake, type HandshakeOptions, type HandshakeStep } from '../../../lib/link/handshake.ts'
import { PREFIX } from '../../../lib/wire/frame.ts'
import { HELLO, PROOF, READY, REJECT, WELCOME } from '../../../lib/wire/kinds.ts'
import { handshakeBytesMax } from '../../../lib/wire/limits.ts'
import { encodeBody } from '../../../lib/wire/body.ts'
import { bodyWords } from '../dictionary.ts'
import { cutFrames, FIRST_OF_ORDERS, frame } from '../stream.ts'
import { claim, inGeneral, pureTarget } from '../target.ts'
import { handshakeVectors, type HandshakeEnd, type HandshakeVector } from './vectors.ts'

const vectors = handshakeVectors()

/** The first frame says which vector's end we are: its payload is the number of the vector, times two, plus one for the dialler. */
const WHO = FIRST_OF_ORDERS

interface Us {
  readonly side: 'dialler' | 'listener'
  readonly vector: HandshakeVector
}

function usOf(input: Buffer): Us {
  const number = input[PREFIX] === WHO ? (input[PREFIX + 1] ?? 0) : 0
  return { side: number & 1 ? 'dialler' : 'listener', vector: vectors[(number >> 1) % vectors.length]! }
}

function optionsOf(end: HandshakeEnd, { cluster, exporter }: HandshakeVector): HandshakeOptions {
  const { identity, incarnation, role, capabilities, nonce, versions, secrets, expect } = end
  return {
    cluster,
    self: { identity, incarnation, role, capabilities },
    secrets: secrets.map(secret => Buffer.from(secret, 'hex')),
    nonce: Buffer.from(nonce, 'hex'),
    versions,
    ...(exporter !== '' && { exporter: Buffer.from(exporter, 'hex') }),
    ...(expect !== undefined && { expect }),
  }
}

/** What the other end of the vector says to ours, and what it might say. */
function conversation(number: number, dialler: boolean): Buffer {
  const { hello, welcome, proof, ready } = vectors[number]!
  const said: [number, string][] = dialler ? [[WELCOME, welcome], [READY, ready]] : [[HELLO, hello], [PROOF, proof]] // prettier-ignore
  const frames = said.map(([kind, payload]) => frame(kind, Buffer.from(payload, 'hex')))
  return Buffer.concat([frame(WHO, [number * 2 + (dialler ? 1 : 0)]), ...frames])
}

function seeds(): Buffer[] {
  const whole = vectors.flatMap((_, number) => [conversation(number, false), conversation(number, true)])
  const reject = frame(REJECT, encodeBody({ code: 'IDENTITY_IN_USE', text: "the identity 'a' is in use" }))
  return [...whole, ...whole.map(each => Buffer.concat([cutFrames(each)[0]!, reject]))]
}

const kindsOfAnswers = [HELLO, WELCOME, PROOF, READY, REJECT]

/** Without the secret, only who says word for word what its owner said comes in. */
function checkProof({ side, vector }: Us, heard: ReadonlyMap<number, Buffer>): void {
  const [first, last] = side === 'dialler' ? ([WELCOME, READY] as const) : ([HELLO, PROOF] as const)
  const owned = side === 'dialler' ? vector.welcome : vector.hello
  if (vector[side].secrets.length === 0) return
  claim(heard.get(first)?.toString('hex') === owned, 'somebody else came in')
  claim(heard.has(last), 'somebody came in without a proof')
}

export const handshakeTarget = pureTarget(
  {
    name: 'handshake',
    about: 'whole handshakes, to either end, with and without a secret',
    bytesMax: 8_192,
    framed: true,
    dictionary: [
      ...bodyWords,
      ...['versions', 'version', 'cluster', 'identity', 'incarnation', 'role', 'capabilities', 'nonce', 'expect', 'secret'].map(
        key => encodeBody(key),
      ),
      ...['proof', 'code', 'text', 'peer', 'broker', 'pulse', 'probe', 'server-1', 'server-2', true, false, [1, 9]].map(value =>
        encodeBody(value),
      ),
      encodeBody(new Uint8Array(32)),
      encodeBody(new Uint8Array(0)),
    ],
    seeds,
  },
  input => {
    const us = usOf(input)
    const shake = new Handshake(us.side, optionsOf(us.vector[us.side], us.vector))
    const words: string[] = [us.side]
    const heard = new Map<number, Buffer>()
    let failed: HandshakeStep | undefined
    const take = (step: HandshakeStep): void => {
      for (const { kind, payload } of step.send) {
        claim(kindsOfAnswers.includes(kind) && payload.length < handshakeBytesMax, `an answer of kind ${kind}`)
        words.push(`sends ${kind}`)
      }
      if (failed) claim(step.send.length === 0 && step.error === failed.error, 'it goes on after its end')
      if (step.verified || step.remote) checkProof(us, heard)
      if (step.error) failed ??= step
      if (step.error && words.at(-1) !== 'over') words.push(`${step.error.code} ${inGeneral(step.error.message)}`, 'over')
      if (step.verified) take(shake.accept())
      if (step.remote) words.push('in')
    }
    take(shake.start())
    for (const each of cutFrames(input)) {
      const kind = each[PREFIX]
      if (kind === undefined || kind >= FIRST_OF_ORDERS) continue
      const payload = each.subarray(PREFIX + 1)
      if (!heard.has(kind)) heard.set(kind, payload)
      take(shake.receive(kind, payload))
    }
    return words.join(', ')
  },
)
