/** The lines that the seed's programs print, letter for letter. */
import { inspect } from 'node:util'
import type { Disconnected } from '../index.ts'
import { visible } from './text.ts'

export function listening(endpoint: string): string {
  return `Server listening on ${JSON.stringify(endpoint)}`
}

export function registered(identity: string): string {
  return `Server registered as: ${visible(identity)}`
}

export function connected(address: string, identity: string): string {
  return `Client ${visible(address)} connected to server ${visible(identity)}`
}

export function disconnected(address: string, identity: string, found: Disconnected): string {
  if (found.at === 'absent') return `Client ${visible(address)} is not connected.`
  const line = `Client ${visible(address)} disconnected from ${visible(identity)}`
  return found.at === 'elsewhere' ? `${line} but connected to ${visible(found.owner.identity)}` : line
}

export function serverGone(identity: string): string {
  return `Server ${visible(identity)} disconnected.`
}

/** From a client of the same process, as brokerless processes print it. */
export function receivedHere(from: string | undefined, to: string, body: unknown): string {
  return `Received: ${visible(from ?? '')} ${visible(to)} ${visible(typeof body === 'string' ? body : inspect(body, oneLine))}`
}

/** From another process: the packet as an array; in broker mode it begins with the operation, 4. */
export function receivedPacket(packet: readonly unknown[]): string {
  return `Received: ${inspect(packet, oneLine)}`
}

const oneLine = { breakLength: Infinity, compact: true, maxStringLength: Infinity } as const

export const clientNotFound = 'Client not found.'
export const disconnectedFromServer = 'disconnected from server'
export const unrecognized = 'Unrecognized packet format.'
export const invalidBackend = 'Invalid backend.'

export function noLongerAvailable(identity: string): string {
  return `Server ${visible(identity)} no longer available.`
}
