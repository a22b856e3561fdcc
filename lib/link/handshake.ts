/** How two ends of a fresh connection come to know each other: versions, cluster, identities, and proof of the shared secret. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { HomingError } from '../errors.ts'
import { encodeBody } from '../wire/body.ts'
import { HELLO, PROOF, READY, REJECT, WELCOME } from '../wire/kinds.ts'
import { nameBytesMax } from '../wire/limits.ts'
import { isName } from '../wire/name.ts'
import {
  badFrame,
  checkIntroduction,
  fields,
  isVersion,
  nonceBytes,
  payloadLimits,
  readHello,
  readProof,
  readRejection,
  readWelcome,
  rejectionOf,
  type Hello,
  type Introduction,
  type Welcome,
} from './handshake-payloads.ts'

export type { Introduction, Role } from './handshake-payloads.ts'

/** The other end. `capabilities` are those that both have. */
export interface Remote extends Introduction {
  /** The protocol's version on this link: the highest that both speak. */
  version: number
}

export interface HandshakeOptions {
  cluster: string
  self: Introduction
  /**
   * The first one is proved with, any is accepted as proof from a dialler; none: no proof is asked for. To change a secret without an
   * outage, start all peers with [old, new], then with [new, old], then with [new].
   */
  secrets: readonly Uint8Array[]
  /** 32 bytes, unpredictable and never used again. */
  nonce: Uint8Array
  /** Bytes that only the two ends of this TLS connection know. */
  exporter?: Uint8Array
  /** The name that TLS has verified of the other end: the identity must be the same. */
  peerName?: string
  /** Dialler: whom it wants to reach. */
  expect?: string
  /** The lowest and the highest version spoken here. */
  versions?: readonly [number, number]
}

/** What to do next: write the frames of `send`, then whatever else is present. */
export interface HandshakeStep {
  send: { kind: number; payload: Uint8Array }[]
  /** Listener: the other end is proved. Decide, then call `accept` or `reject`. */
  verified?: Remote
  /** Complete on this side: frames may flow. */
  remote?: Remote
  /** Over: close when `send` is written. */
  error?: HomingError
}

/** The versions of the protocol that this library speaks. */
export const protocolVersions: readonly [number, number] = [1, 1]

/** A state carries what is valid in it. */
type State =
  | { at: 'idle' }
  | { at: 'hello' } // listener: waits for it
  | { at: 'welcome'; hello: Buffer } // dialler: waits for it; `hello` is what it sent
  | { at: 'proof'; remote: Remote; transcript: Buffer }
  | { at: 'verified'; remote: Remote; ready: Buffer }
  | { at: 'ready'; remote: Remote; transcript: Buffer }
  | { at: 'done' }
  | { at: 'failed'; error: HomingError }

/**
 * One end of a handshake, without socket, timer or clock: HELLO from the dialler, WELCOME from the listener, PROOF, READY; or REJECT
 * from either, which ends it. Nothing that arrives makes it throw; calling it out of turn does.
 *
 * With a secret, both ends prove that they have it, over all that was said and, where TLS runs, over the TLS connection itself. A secret
 * is proved to whoever listens, who may then try guesses at leisure: it must be random, not a password.
 *
 * @see docs/protocol.md, handshake
 */
export class Handshake {
  readonly #side: 'dialler' | 'listener'
  readonly #options: HandshakeOptions
  readonly #versions: readonly [number, number]
  #state: State = { at: 'idle' }

  /** Throws `BAD_OPTION` for an introduction that the other side could not accept. */
  constructor(side: 'dialler' | 'listener', options: HandshakeOptions) {
    this.#side = side
    this.#options = options
    this.#versions = options.versions ?? protocolVersions
    checkOwn(options)
  }

  start(): HandshakeStep {
    if (this.#state.at !== 'idle') throw new Error('handshake: started twice')
    if (this.#side === 'listener') {
      this.#state = { at: 'hello' }
      return { send: [] }
    }
    const { cluster, self, nonce, expect } = this.#options
    const hello = encodeBody({ versions: this.#versions, cluster, ...fields(self), nonce, expect }, payloadLimits)
    this.#state = { at: 'welcome', hello }
    return { send: [{ kind: HELLO, payload: hello }] }
  }

  /** The payload is not kept. */
  receive(kind: number, payload: Uint8Array): HandshakeStep {
    const state = this.#state
    if (state.at === 'idle') throw new Error('handshake: a frame before the start')
    if (state.at === 'failed') return { send: [], error: state.error }
    try {
      if (kind === REJECT && state.at !== 'done') return this.#rejected(payload)
      if (kind === HELLO && state.at === 'hello') return this.#hello(payload)
      if (kind === WELCOME && state.at === 'welcome') return this.#welcome(payload, state.hello)
      if (kind === PROOF && state.at === 'proof') return this.#proof(payload, state.remote, state.transcript)
      if (kind === READY && state.at === 'ready') return this.#ready(payload, state.remote, state.transcript)
      throw badFrame(`a frame of kind ${kind} out of turn (${state.at})`)
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      return this.#fail(error)
    }
  }

  /** Listener, after `verified`: the other end may stay. */
  accept(): HandshakeStep {
    if (this.#state.at !== 'verified') throw new Error(`handshake: accepted while ${this.#state.at}`)
    const { remote, ready } = this.#state
    this.#state = { at: 'done' }
    return { send: [{ kind: READY, payload: ready }], remote }
  }

  /** Tells the other end why it may not stay; the code and the text of `error` travel, nothing else of it. */
  reject(error: HomingError): HandshakeStep {
    if (this.#state.at === 'done') throw new Error('handshake: rejected when it was over')
    return this.#fail(error)
  }

  #fail(error: HomingError): HandshakeStep {
    if (this.#state.at === 'failed') return { send: [], error: this.#state.error }
    this.#state = { at: 'failed', error }
    const payload = rejectionOf(error)
    return { send: [{ kind: REJECT, payload }], error }
  }

  #rejected(payload: Uint8Array): HandshakeStep {
    const error = readRejection(payload)
    this.#state = { at: 'failed', error }
    return { send: [], error }
  }

  #hello(payload: Uint8Array): HandshakeStep {
    const { cluster, self, nonce, secrets } = this.#options
    const hello = readHello(payload)
    const version = this.#agree(hello)
    this.#check(hello)
    if (hello.expect !== undefined && hello.expect !== self.identity) throw wrongIdentity(hello.expect, self.identity)
    const welcome = encodeBody({ version, cluster, ...fields(self), nonce, secret: secrets.length > 0 }, payloadLimits)
    this.#state = { at: 'proof', remote: this.#remote(hello, version), transcript: this.#transcript(payload, welcome) }
    return { send: [{ kind: WELCOME, payload: welcome }] }
  }

  #welcome(payload: Uint8Array, hello: Buffer): HandshakeStep {
    const { expect, secrets, self } = this.#options
    const welcome = readWelcome(payload)
    this.#check(welcome)
    if (expect !== undefined && welcome.identity !== expect) throw wrongIdentity(expect, welcome.identity)
    const [min, max] = this.#versions
    if (welcome.version < min || welcome.version > max) throw badFrame(`WELCOME: version ${welcome.version} was not offered`)
    if (welcome.secret !== secrets.length > 0) {
      const [has, hasNot] = welcome.secret ? [welcome.identity, self.identity] : [self.identity, welcome.identity]
      throw refused(`'${has}' has a secret and '${hasNot}' has none`)
    }
    const transcript = this.#transcript(hello, payload)
    this.#state = { at: 'ready', remote: this.#remote(welcome, welcome.version), transcript }
    return { send: [{ kind: PROOF, payload: proofOf(secrets[0], 'dialler', transcript) }] }
  }

  #proof(payload: Uint8Array, remote: Remote, transcript: Buffer): HandshakeStep {
    const { secrets } = this.#options
    const proof = readProof(payload, 'PROOF', secrets.length > 0)
    const matching = secrets.filter(secret => timingSafeEqual(mac(secret, 'dialler', transcript), proof))
    if (secrets.length > 0 && matching.length === 0) throw wrongSecret(remote.identity, this.#options.self.identity)
    this.#state = { at: 'verified', remote, ready: proofOf(matching[0], 'listener', transcript) }
    return { send: [], verified: remote }
  }

  #ready(payload: Uint8Array, remote: Remote, transcript: Buffer): HandshakeStep {
    const [secret] = this.#options.secrets
    const proof = readProof(payload, 'READY', secret !== undefined)
    if (secret && !timingSafeEqual(mac(secret, 'listener', transcript), proof)) {
      throw wrongSecret(this.#options.self.identity, remote.identity)
    }
    this.#state = { at: 'done' }
    return { send: [], remote }
  }

  /** The highest version in common. */
  #agree({ identity, versions }: Hello): number {
    const [min, max] = this.#versions
    const version = Math.min(max, versions[1])
    if (version >= min && version >= versions[0]) return version
    throw refused(
      `no common version of the protocol: '${identity}' speaks ${range(versions)}, '${this.#options.self.identity}' speaks ${range([min, max])}`,
    )
  }

  /** What both sides check of the other's introduction. */
  #check({ cluster, identity }: Hello | Welcome): void {
    const { cluster: own, self, peerName } = this.#options
    if (cluster !== own) throw refused(`different clusters: '${identity}' is in '${cluster}', '${self.identity}' is in '${own}'`)
    if (peerName !== undefined && peerName !== identity) {
      throw refused(`the certificate is of '${peerName}', and it says that it is '${identity}'`)
    }
  }

  #remote({ identity, incarnation, role, capabilities }: Introduction, version: number): Remote {
    const own = this.#options.self.capabilities
    return { identity, incarnation, role, capabilities: capabilities.filter(capability => own.includes(capability)), version }
  }

  /** What the proofs are over: all that both said, and the TLS connection, so that nobody between them can have changed anything. */
  #transcript(hello: Uint8Array, welcome: Uint8Array): Buffer {
    const hash = createHash('sha256').update('homing handshake 1\n')
    for (const part of [this.#options.exporter ?? new Uint8Array(0), hello, welcome]) {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      hash.update(length).update(part)
    }
    return hash.digest()
  }
}

function mac(secret: Uint8Array, label: 'dialler' | 'listener', transcript: Buffer): Buffer {
  return createHmac('sha256', secret).update(label).update(transcript).digest()
}

/** Payload of PROOF and READY; without a secret the proof is empty. */
function proofOf(secret: Uint8Array | undefined, label: 'dialler' | 'listener', transcript: Buffer): Buffer {
  return encodeBody({ proof: secret ? mac(secret, label, transcript) : new Uint8Array(0) }, payloadLimits)
}

function checkOwn({ cluster, self, secrets, nonce, expect, versions = protocolVersions }: HandshakeOptions): void {
  const bad = (what: string) => new HomingError('BAD_OPTION', what)
  const names = { cluster, identity: self.identity, incarnation: self.incarnation, ...(expect !== undefined && { expect }) }
  for (const [what, value] of Object.entries(names)) {
    if (!isName(value)) throw bad(`${what} must be text of 1 to ${nameBytesMax} bytes without control characters`)
  }
  checkIntroduction(self)
  if (secrets.some(secret => secret.length === 0)) throw bad('a secret must not be empty')
  if (nonce.length !== nonceBytes) throw bad(`a nonce has ${nonceBytes} bytes`)
  if (!isVersion(versions[0]) || !isVersion(versions[1]) || versions[0] > versions[1])
    throw bad('versions must be [lowest, highest]')
}

// Words. They travel in REJECT, so they name both sides and take neither's view.

function refused(text: string): HomingError {
  return new HomingError('REFUSED', text)
}

function wrongIdentity(expected: string, found: string): HomingError {
  return refused(`expected '${expected}', found '${found}'`)
}

function wrongSecret(dialler: string, listener: string): HomingError {
  return refused(
    `'${dialler}' and '${listener}' have different secrets, or something between them changes what they say (a proxy that ends TLS?)`,
  )
}

function range([min, max]: readonly [number, number]): string {
  return min === max ? String(min) : `${min} to ${max}`
}
