/**
 * H6 also: the newest connect wins. A client is displaced by another whose connect was answered after its own was made, or not yet: one that
 * was over before can have been written only before.
 *
 * Excuses (docs/guarantees.md, promise 4): the datastore lost records since; a connect that failed, or whose process died, may be written later
 * by what was on its way, for as long as a few operations take. Judged only where the datastore has compare-and-set (`atomicPut`).
 */
import type { Facts } from './facts.ts'
import type { Holder } from './holder.ts'
import type { Violation } from './violation.ts'

/** Operations for which a claim that nobody waits for may be on its way. */
const lateOperations = 5

export function* newest(facts: Facts): Generator<Violation> {
  if (!facts.bounds.atomicPut) return
  for (const holders of facts.holders.values()) {
    /** When the last claim of those that began before can have been written. */
    let writtenMs = -Infinity
    for (const [at, holder] of holders.entries()) {
      if (holder.end === 'displaced') yield* byOlder(facts, holder, writtenMs, holders[at + 1])
      writtenMs = Math.max(writtenMs, lastWriteMs(facts, holder))
    }
  }
}

function* byOlder(facts: Facts, holder: Holder, writtenMs: number, next: Holder | undefined): Generator<Violation> {
  const { address, client, run, connectingMs, endMs } = holder
  if (writtenMs >= connectingMs || (next && next.connectingMs <= endMs)) return
  if ([...facts.forgot.within(connectingMs, endMs)].length > 0) return
  const text = `client ${client} of ${run.name} was displaced from '${address}', and nobody connected after its connect at ${connectingMs} ms`
  yield { rule: 'H6', text, atMs: endMs, address, peer: run.name }
}

/** By when its claim was written, if it was. */
export function lastWriteMs({ bounds }: Facts, { connectedMs, settledMs, run }: Holder): number {
  if (connectedMs < Infinity) return connectedMs
  return Math.min(settledMs, run.goneMs) + lateOperations * bounds.operationTimeoutMs
}
