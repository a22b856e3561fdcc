import { createHash, createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { Handshake, type HandshakeOptions, type Introduction } from '../../lib/link/handshake.ts'
import { HELLO, PROOF, READY, WELCOME } from '../../lib/wire/kinds.ts'

interface Side extends Introduction {
  nonce: string
  versions: [number, number]
  secrets: string[]
  expect?: string
}

/** Bytes are hex. `transcript` is what the proofs are over. */
interface Vector {
  name: string
  cluster: string
  exporter: string
  dialler: Side
  listener: Side
  version: number
  secret: string
  hello: string
  welcome: string
  transcript: string
  proof: string
  ready: string
}

const { vectors } = JSON.parse(readFileSync('test/vectors/handshake.json', 'utf8')) as { vectors: Vector[] }
const hex = (text: string) => Buffer.from(text, 'hex')

function options({ cluster, exporter }: Vector, { identity, incarnation, role, capabilities, ...side }: Side): HandshakeOptions {
  return {
    cluster,
    self: { identity, incarnation, role, capabilities },
    secrets: side.secrets.map(hex),
    nonce: hex(side.nonce),
    versions: side.versions,
    ...(exporter && { exporter: hex(exporter) }),
    ...(side.expect !== undefined && { expect: side.expect }),
  }
}

/** docs/protocol.md once more, in the plainest way. */
function proofs({ exporter, hello, welcome, secret }: Vector): { transcript: string; proof: string; ready: string } {
  const hash = createHash('sha256').update('homing handshake 1\n')
  for (const part of [exporter, hello, welcome]) hash.update(hex((part.length / 2).toString(16).padStart(8, '0') + part))
  const transcript = hash.digest()
  const payload = (label: string) => {
    const mac = secret ? createHmac('sha256', hex(secret)).update(label).update(transcript).digest('hex') : ''
    return `81a570726f6f66c4${(mac.length / 2).toString(16).padStart(2, '0')}${mac}` // { proof: bytes }
  }
  return { transcript: transcript.toString('hex'), proof: payload('dialler'), ready: payload('listener') }
}

for (const vector of vectors) {
  t.test(vector.name, async t => {
    const { transcript, proof, ready } = proofs(vector)
    t.same({ transcript, proof, ready }, { transcript: vector.transcript, proof: vector.proof, ready: vector.ready })

    const dialler = new Handshake('dialler', options(vector, vector.dialler))
    const listener = new Handshake('listener', options(vector, vector.listener))
    listener.start()
    const sent = [...dialler.start().send, ...listener.receive(HELLO, hex(vector.hello)).send]
    sent.push(...dialler.receive(WELCOME, hex(vector.welcome)).send)
    t.equal(listener.receive(PROOF, hex(vector.proof)).verified?.identity, vector.dialler.identity)
    const { send, remote } = listener.accept()
    t.equal(remote?.version, vector.version)
    sent.push(...send)
    t.equal(dialler.receive(READY, hex(vector.ready)).remote?.version, vector.version)
    t.same(
      sent.map(({ kind, payload }) => [kind, Buffer.from(payload).toString('hex')]),
      [
        [HELLO, vector.hello],
        [WELCOME, vector.welcome],
        [PROOF, vector.proof],
        [READY, vector.ready],
      ],
    )
  })
}
