/** The result of a broadcast in words, and as data. */
import type { BroadcastAtPeer, BroadcastResult } from '../index.ts'
import { because } from './failure.ts'
import { isBrief } from './join.ts'
import { counted, visible } from './text.ts'

export function broadcastText({ reached, peers }: BroadcastResult): string {
  const lines = [`reached ${counted(reached, 'client')}`]
  for (const at of peers) {
    const hasClients = at.reached > 0 || at.full > 0 || at.code !== undefined || !isBrief(at.identity)
    if (hasClients) lines.push(`  ${visible(at.identity)}: ${atPeerText(at)}`)
  }
  return lines.join('\n')
}

function atPeerText({ reached, full, code, cause }: BroadcastAtPeer): string {
  if (code !== undefined) return `no answer: ${code}${cause ? `, ${visible(because(cause))}` : ''}`
  return full === 0 ? counted(reached, 'client') : `${counted(reached, 'client')}, and ${full} whose inbox was full`
}

export function broadcastData({ id, reached, peers }: BroadcastResult): object {
  return { id, reached, peers: peers.map(({ cause, ...at }) => ({ ...at, ...(cause && { cause: because(cause) }) })) }
}
