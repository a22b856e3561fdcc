/** Where an address is, in words and as data. */
import type { Whereabouts } from '../index.ts'
import { visible } from './text.ts'

export function whereText(address: string, found: Whereabouts | undefined): string {
  if (!found) return `nobody holds ${visible(address)}`
  const note = found.here ? ' (this peer)' : found.moving ? ' (which drains: the client is about to move)' : ''
  return `${visible(address)} is a client of ${visible(found.identity)}${note}`
}

export function whereData(address: string, found: Whereabouts | undefined): object {
  return found ? { found: true, ...found } : { found: false, address }
}
