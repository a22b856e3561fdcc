/** A failure of the side that was asked, as the body of its reply: a code and a text, never a stack. */
import { HomingError, type ErrorCode } from '../errors.ts'
import { decodeBody, encodeBody } from '../wire/body.ts'

interface RemoteFailure {
  code: string
  message: string
}

/** Marks a code as the library's own, so that a handler cannot speak in its name. */
const libraryPrefix = 'homing:'

/** Codes that keep their meaning when the other side's library (not its handler) says them. */
const ownCodes: ReadonlySet<string> = new Set<ErrorCode>([
  'CLOSED',
  'REFUSED',
  'FENCED',
  'DATASTORE',
  'TOO_LARGE',
  'UNENCODABLE',
  'LOST',
  'IDENTITY_IN_USE',
  'BAD_OPTION',
  'OVERLOADED',
])

/** A refusal that the library, not a handler, answers a request with. */
export class LibraryRefusal extends Error {
  readonly error: HomingError
  constructor(error: HomingError) {
    super(error.message)
    this.error = error
  }
}

/** What a handler threw, or the library refused with. */
export function failureBody(error: unknown): Buffer {
  if (error instanceof LibraryRefusal) return bodyOf(libraryPrefix + error.error.code, error.message)
  const given = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'ERROR'
  return bodyOf(given.replace(libraryPrefix, '').slice(0, 64), error instanceof Error ? error.message : String(error))
}

function bodyOf(code: string, message: string): Buffer {
  return encodeBody({ code, message: message.slice(0, 1_000) } satisfies RemoteFailure)
}

/** What the caller of `what` is told. */
export function remoteError(what: string, buffer: Buffer, start: number, end: number): HomingError {
  const { code, message } = readFailure(decodeBody(buffer, start, end))
  const library = code.startsWith(libraryPrefix) ? code.slice(libraryPrefix.length) : undefined
  if (library !== undefined && ownCodes.has(library)) return new HomingError(library as ErrorCode, message)
  const cause = Object.assign(new Error(message), { code })
  return new HomingError('REMOTE', `${what}: the other side failed with ${code}: ${message}`, { cause })
}

function readFailure(body: unknown): RemoteFailure {
  const { code, message } = (typeof body === 'object' && body !== null ? body : {}) as Partial<
    Record<keyof RemoteFailure, unknown>
  >
  return {
    code: typeof code === 'string' ? code : 'ERROR',
    message: typeof message === 'string' ? message : 'no reason was given',
  }
}
