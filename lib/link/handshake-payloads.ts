/** What the frames of a handshake say, and how it is read from somebody who has not proved anything yet. docs/protocol.md, "Handshake". */
import { HomingError, type ErrorCode } from '../errors.ts'
import { decodeBody, encodeBody } from '../wire/body.ts'
import { handshakeBytesMax } from '../wire/limits.ts'
import { isName } from '../wire/name.ts'
import { scanBody, scanError, type BodyLimits } from '../wire/scan.ts'

/** What an end of a link is: a peer, a broker, the pulse of a peer at its broker, or somebody who only asks whether anybody is there. */
export type Role = 'peer' | 'broker' | 'pulse' | 'probe'

export interface Introduction {
  identity: string
  incarnation: string
  role: Role
  /** What this side can do beyond the protocol's version. */
  capabilities: readonly string[]
}

export const nonceBytes = 32
/** What a hostile introduction may make us keep and compare. */
const capabilitiesMax = 32
const capabilityBytesMax = 64
/** Characters of another side's refusal that are believed worth reading. */
const refusalCharactersMax = 300

const roles: readonly string[] = ['peer', 'broker', 'pulse', 'probe'] satisfies Role[]

// Everything that a refusal may say. Written out as a record so that the compiler misses none.
const codes: Readonly<Record<ErrorCode, true>> = {
  BAD_OPTION: true,
  CLOSED: true,
  ABSENT: true,
  UNREACHABLE: true,
  OVERLOADED: true,
  TIMEOUT: true,
  LOST: true,
  TOO_LARGE: true,
  UNENCODABLE: true,
  REFUSED: true,
  FENCED: true,
  IDENTITY_IN_USE: true,
  DATASTORE: true,
  REMOTE: true,
  STORAGE: true,
  DISK_FULL: true,
  CORRUPT: true,
  BAD_FRAME: true,
}

/** A payload is one flat map; unknown keys of later versions have room. */
export const payloadLimits: Readonly<BodyLimits> = { bodyBytesMax: handshakeBytesMax - 1, depthMax: 8, elementsMax: 512 }

export interface Hello extends Introduction {
  cluster: string
  nonce: Uint8Array
  versions: [number, number]
  expect: string | undefined
}

export interface Welcome extends Introduction {
  cluster: string
  nonce: Uint8Array
  version: number
  secret: boolean
}

/** The order of the keys is that of the vectors; nobody may depend on it. */
export function fields({ identity, incarnation, role, capabilities }: Introduction): Introduction {
  return { identity, incarnation, role, capabilities }
}

/** Throws `BAD_OPTION` for a role or capabilities that the other side could not accept. */
export function checkIntroduction({ role, capabilities }: Introduction): void {
  if (!roles.includes(role)) throw new HomingError('BAD_OPTION', `role is one of ${roles.join(', ')}`)
  if (isCapabilities(capabilities)) return
  const what = `capabilities must be at most ${capabilitiesMax} texts of 1 to ${capabilityBytesMax} bytes`
  throw new HomingError('BAD_OPTION', what)
}

/** Payload of REJECT: the code and the text of an error, nothing else of it. */
export function rejectionOf({ code, message }: HomingError): Buffer {
  return encodeBody({ code, text: printable(message) }, payloadLimits)
}

/** Why the other side refused, in words that are fit to be shown. */
export function readRejection(payload: Uint8Array): HomingError {
  const map = decode(payload, 'REJECT')
  const text = printable(typeof map.text === 'string' ? map.text : '') || 'without a reason'
  const code = typeof map.code === 'string' && Object.hasOwn(codes, map.code) ? (map.code as ErrorCode) : 'REFUSED'
  return new HomingError(code, `refused by the other side: ${text}`)
}

// Reading. Every payload is scanned first; what is not as it must be is BAD_FRAME.

type Payload = Readonly<Record<string, unknown>>

function decode(payload: Uint8Array, frame: string): Payload {
  const scan = scanBody(payload, 0, payload.length, payloadLimits)
  if (scan < 0) throw badFrame(`${frame}: ${scanError(scan)}`)
  const map = decodeBody(payload, 0, payload.length)
  if (typeof map !== 'object' || map === null || Array.isArray(map) || map instanceof Uint8Array || map instanceof Date) {
    throw badFrame(`${frame}: not a map`)
  }
  return map as Payload
}

export function readHello(payload: Uint8Array): Hello {
  const map = decode(payload, 'HELLO')
  const { versions, expect } = map
  if (
    !Array.isArray(versions) ||
    versions.length !== 2 ||
    !isVersion(versions[0]) ||
    !isVersion(versions[1]) ||
    versions[0] > versions[1]
  ) {
    throw badFrame('HELLO: versions')
  }
  return {
    ...readIntroduction(map, 'HELLO'),
    versions: [versions[0], versions[1]],
    expect: expect === undefined || expect === null ? undefined : name(expect, 'HELLO: expect'),
  }
}

export function readWelcome(payload: Uint8Array): Welcome {
  const map = decode(payload, 'WELCOME')
  const { version, secret } = map
  if (!isVersion(version)) throw badFrame('WELCOME: version')
  if (typeof secret !== 'boolean') throw badFrame('WELCOME: secret')
  return { ...readIntroduction(map, 'WELCOME'), version, secret }
}

function readIntroduction(map: Payload, frame: string): Introduction & { cluster: string; nonce: Uint8Array } {
  const { role, capabilities, nonce } = map
  if (typeof role !== 'string' || !roles.includes(role)) throw badFrame(`${frame}: role`)
  if (!isCapabilities(capabilities)) throw badFrame(`${frame}: capabilities`)
  if (!(nonce instanceof Uint8Array) || nonce.length !== nonceBytes) throw badFrame(`${frame}: nonce`)
  return {
    cluster: name(map.cluster, `${frame}: cluster`),
    identity: name(map.identity, `${frame}: identity`),
    incarnation: name(map.incarnation, `${frame}: incarnation`),
    role: role as Role,
    capabilities,
    nonce,
  }
}

export function readProof(payload: Uint8Array, frame: string, needed: boolean): Uint8Array {
  const { proof } = decode(payload, frame)
  if (!(proof instanceof Uint8Array) || proof.length !== (needed ? 32 : 0)) throw badFrame(`${frame}: proof`)
  return proof
}

function name(value: unknown, what: string): string {
  if (!isName(value)) throw badFrame(what)
  return value
}

export function isVersion(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 0xffff
}

function isCapabilities(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length > capabilitiesMax) return false
  return value.every(item => typeof item === 'string' && item !== '' && Buffer.byteLength(item) <= capabilityBytesMax)
}

export function badFrame(what: string): HomingError {
  return new HomingError('BAD_FRAME', `handshake: ${what}`)
}

/** Text of somebody else, fit for a log or a terminal: no control characters, no reversal of its direction, not too long. */
function printable(text: string): string {
  return text
    .slice(0, refusalCharactersMax)
    .replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, ' ')
    .trim()
}
