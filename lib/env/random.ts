/** Chance: the system's, and one that a seed repeats. */

import { randomFillSync } from 'node:crypto'
import type { Random } from './env.ts'

/** `bytes` cannot be foreseen; `fraction` is for jitter only. */
export function realRandom(): Random {
  return {
    bytes: count => randomFillSync(new Uint8Array(count)),
    fraction: () => Math.random(),
  }
}

/**
 * The same sequence for the same seed, on every machine. Not for secrets.
 * @see Blackman and Vigna, "Scrambled linear pseudorandom number generators" (xoshiro128**)
 */
export function seededRandom(seed: number | string): Random {
  const draw = xoshiro(hash(String(seed)))
  return {
    bytes(count) {
      const bytes = new Uint8Array(count)
      let word = 0
      for (let i = 0; i < count; i++) {
        word = i % 4 === 0 ? draw() : word >>> 8
        bytes[i] = word
      }
      return bytes
    },
    fraction: () => ((draw() >>> 5) * 2 ** 26 + (draw() >>> 6)) / 2 ** 53,
  }
}

function xoshiro(seed: number): () => number {
  const next = splitmix(seed)
  let [a, b, c, d] = [next(), next(), next(), next()]
  return () => {
    const drawn = Math.imul(rotated(Math.imul(b, 5), 7), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = rotated(d, 11)
    return drawn
  }
}

/** Spreads a seed over the state, so that near seeds have nothing in common. */
function splitmix(state: number): () => number {
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return mixed ^ (mixed >>> 15)
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let hashed = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hashed = Math.imul(hashed ^ text.charCodeAt(i), 0x01000193)
  return hashed
}

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}
