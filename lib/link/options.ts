import { checkPositive } from '../env/option.ts'
import { HomingError } from '../errors.ts'
import { bodyBytesCeiling, bodyBytesDefault, frameOverheadBytes, handshakeBytesMax } from '../wire/limits.ts'

export interface LinkOptions {
  /** Silence after which a ping is sent, ms. */
  pingAfterMs: number
  /** Silence after which the link is closed as `stale`, ms; above `pingAfterMs`. */
  staleAfterMs: number
  /** From the first byte to the end of the handshake, ms. */
  handshakeTimeoutMs: number
  /** Bytes that are read of somebody before he has proved himself. */
  handshakeBytesMax: number
  /** Handshakes that hosts of which nobody has proved himself may begin a second, all together; and each other host. */
  handshakesPerSecondMax: number
  /** Connections that have not proved themselves, at a time. */
  strangersMax: number
  /** The same from one host; from one of which nobody has proved himself also the most in a second. */
  strangersPerHostMax: number
  /** From the first to the last byte of one frame, ms. */
  frameTimeoutMs: number
  /** From dialling to connected, ms. */
  dialTimeoutMs: number
  /** Largest body sent or accepted, bytes encoded. The same on all peers. */
  bodyBytesMax: number
  /** First wait before dialling again, ms; doubles, with full jitter. */
  redialMs: number
  /** Longest wait while a break is young, ms. */
  redialCapMs: number
  /** Longest wait once it failed for longer than `redialYoungMs`, ms. */
  redialOldCapMs: number
  redialYoungMs: number
  /** A link that stood this long starts its backoff afresh, ms. */
  provenMs: number
}

export const linkDefaults: Readonly<LinkOptions> = {
  pingAfterMs: 1_000,
  staleAfterMs: 5_000,
  handshakeTimeoutMs: 2_000,
  handshakeBytesMax,
  handshakesPerSecondMax: 200,
  strangersMax: 256,
  strangersPerHostMax: 32,
  frameTimeoutMs: 10_000,
  dialTimeoutMs: 2_000,
  bodyBytesMax: bodyBytesDefault,
  redialMs: 100,
  redialCapMs: 2_000,
  redialOldCapMs: 10_000,
  redialYoungMs: 30_000,
  provenMs: 1_000,
}

/** Defaults filled in and checked once, at the door. Throws `BAD_OPTION`. */
export function linkOptions(given: Partial<LinkOptions> = {}): Readonly<LinkOptions> {
  const options = { ...linkDefaults, ...given }
  checkPositive({ ...options })
  if (options.staleAfterMs <= options.pingAfterMs) {
    throw new HomingError(
      'BAD_OPTION',
      `staleAfterMs (${options.staleAfterMs}) must be above pingAfterMs (${options.pingAfterMs})`,
    )
  }
  if (options.handshakeBytesMax > handshakeBytesMax) {
    throw new HomingError(
      'BAD_OPTION',
      `handshakeBytesMax (${options.handshakeBytesMax}) is above the ${handshakeBytesMax} bytes of the protocol`,
    )
  }
  if (options.bodyBytesMax > bodyBytesCeiling) {
    throw new HomingError(
      'BAD_OPTION',
      `bodyBytesMax (${options.bodyBytesMax}) is above the ceiling of ${bodyBytesCeiling} bytes`,
    )
  }
  return Object.freeze(options)
}

export function frameBytesMax(options: LinkOptions): number {
  return options.bodyBytesMax + frameOverheadBytes
}
