/** A member of the cluster in words, and as data. */
import type { Member } from '../index.ts'
import { visible } from './text.ts'

export function memberData({ identity, incarnation, role, state, endpoints, via, version }: Member): object {
  return { identity, incarnation, role, state, endpoints, ...(via !== undefined && { via }), version }
}

/** `members` are all: a peer whose broker is not among them cannot be reached until it finds another one, if it lives at all. */
export function memberText({ identity, role, state, endpoints, via, version }: Member, members: readonly Member[]): string {
  const lost = via !== undefined && !members.some(other => other.identity === via)
  const place = via === undefined ? endpoints.join(', ') : `behind ${via}${lost ? ', which is gone' : ''}`
  return `${visible(identity)}  ${role}  ${state}  ${visible(place) || 'no endpoint'}  v${visible(version)}`
}
