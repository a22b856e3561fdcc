/** The files of vectors, as inputs to begin with. */
import { readFileSync } from 'node:fs'

interface Hex {
  readonly hex: string
}

function read<T>(file: string): T {
  return JSON.parse(readFileSync(`test/vectors/${file}.json`, 'utf8')) as T
}

function bytesOf(lists: readonly (readonly Hex[])[]): Buffer[] {
  return lists.flat().map(({ hex }) => Buffer.from(hex, 'hex'))
}

/** Bodies, those too that are none. */
export function bodyVectors(): Buffer[] {
  const { both, read: readable, refused } = read<Record<'both' | 'read' | 'refused', Hex[]>>('body')
  return bytesOf([both, readable, refused])
}

/** Whole frames of the link, of the handshake among them; and those that end a link. */
export function linkVectors(): Buffer[] {
  const { link, broken } = read<Record<'link' | 'broken', Hex[]>>('frames')
  return bytesOf([link, broken])
}

/** What one end of a channel writes: as a conversation each, in order. */
export function channelVectors(): Buffer[] {
  const { channel, again, read: readable } = read<Record<'channel' | 'again' | 'read', Hex[]>>('frames')
  return [channel, again, readable].map(list => Buffer.concat(bytesOf([list])))
}

export interface HandshakeVector {
  readonly cluster: string
  readonly exporter: string
  readonly dialler: HandshakeEnd
  readonly listener: HandshakeEnd
  readonly hello: string
  readonly welcome: string
  readonly proof: string
  readonly ready: string
}

export interface HandshakeEnd {
  readonly identity: string
  readonly incarnation: string
  readonly role: 'peer' | 'broker' | 'pulse' | 'probe'
  readonly capabilities: readonly string[]
  readonly nonce: string
  readonly versions: [number, number]
  readonly secrets: readonly string[]
  readonly expect?: string
}

export function handshakeVectors(): HandshakeVector[] {
  return read<{ vectors: HandshakeVector[] }>('handshake').vectors
}
