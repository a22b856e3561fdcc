/** What the main loop and the pulse say to each other, and the memory that they share if the pulse is a thread. */

import type { Run } from './directory.ts'
import type { SessionOptions } from './options.ts'

export type ToPulse =
  | { at: 'add'; id: number; storeUrl: string; cluster: string; run: Run; options: SessionOptions; memory: Memory }
  /** To a process; a thread reads it from the memory. */
  | { at: 'moved'; id: number; movedMs: number }
  | { at: 'remove'; id: number }
  /** Nobody comes any more: the pulse ends as soon as nothing is under way in it. */
  | { at: 'end' }

/** With a thread it is shared. A process has its own, which begins with when the main loop last moved. */
export type Memory = { at: 'shared'; cells: SharedArrayBuffer } | { at: 'apart'; movedMs: number }

/** One renewal that succeeded. `startedMs` is when it began, by the main loop's monotonic clock. */
export interface PulseRenewal {
  startedMs: number
  beat: number
  /** There are notes for this identity. */
  noted: boolean
  /** The beat had gone back: the datastore lost writes. */
  forgot: boolean
}

export type FromPulse =
  | { at: 'begun'; id: number }
  | { at: 'renewed'; id: number; renewal: PulseRenewal }
  | { at: 'failed'; id: number; error: string }
  | { at: 'lost'; id: number }
  /** From a process; a thread writes it into the memory. */
  | { at: 'doubted'; id: number }
  | { at: 'removed'; id: number }

/** The main loop's monotonic clock, µs, when it last showed that it moves. Written by the main loop. */
export const movedCell = 0
/** When the last successful renewal began, µs of the main loop's monotonic clock; 0: none yet. Written by the pulse. */
export const renewedCell = 1
/** 1: others may have judged this peer. Set by the pulse, taken by the main loop. */
export const doubtCell = 2

/** The cells, in memory that is shared or not. */
export function pulseCells(memory: SharedArrayBuffer | ArrayBuffer): BigInt64Array {
  return new BigInt64Array(memory)
}
pulseCells.bytes = 24

export function toMicros(ms: number): bigint {
  return BigInt(Math.floor(ms * 1_000))
}
