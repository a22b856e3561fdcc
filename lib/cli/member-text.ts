/** A member of the cluster in words, and as data. */
import type { Member } from '../index.ts'
import { visible } from './text.ts'

export function memberData({ identity, incarnation, role, state, endpoints, via, version }: Member): object {
  return { identity, incarnation, role, state, endpoints, ...(via !== undefined && { via }), version }
}

export function memberText({ identity, role, state, endpoints, via, version }: Member): string {
  const place = via === undefined ? endpoints.join(', ') : `behind ${visible(via)}`
  return `${visible(identity)}  ${role}  ${state}  ${visible(place) || 'no endpoint'}  v${visible(version)}`
}
