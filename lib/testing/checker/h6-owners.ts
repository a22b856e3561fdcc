/**
 * H6: one act of connecting has one claim, and a claim one client; two own an address together no longer than one renewal and guard
 * (`overlapMsMax`); and nobody's handler takes anything after its client's end.
 *
 * Excuses (docs/guarantees.md, promise 4): only time counts in which the datastore was to be had for both, and neither stood still; the bound
 * begins anew after each trouble. An owner whose process died owns nothing. A former owner with more than 200 addresses may find out later, a
 * renewal for each further 200, because its taker may have died before it could say so. With `whenStoreIsDown: 'stop'` trouble excuses nothing
 * that was sent later than that after the newer connect: who cannot renew has stopped by then. But a datastore in parts that each go on
 * (siblings are kept, and do not meet) is there for both: then it counts from when the parts have met. And what came while the former owner said
 * that it was not sure, and was taken when the newer one's client had ended, no two took: it waited. Where the datastore lost the newer claim, it may
 * name the former owner again: that one may take what was sent since, as long as the newer one takes nothing that was sent later than the bound after it.
 */
import type { Delivery, Facts } from './facts.ts'
import type { Holder } from './holder.ts'
import { longestClear } from './spans.ts'
import type { Violation } from './violation.ts'

/** Each with the oldest others only: more owners at once are wrong long before, and the rule stays linear. */
const rivalsMax = 8
/** Addresses that an owner checks with each renewal: see `StoreDirectory`. */
const auditedAtOnce = 200
const roundingMs = 0.002

export function* owners(facts: Facts): Generator<Violation> {
  yield* claims(facts)
  for (const holders of facts.holders.values()) yield* overlaps(facts, holders)
  yield* afterTheEnd(facts)
}

function* claims(facts: Facts): Generator<Violation> {
  for (const run of facts.runs.values()) {
    const byClaim = new Map<number, Holder>()
    for (const holder of run.clients.values()) {
      const { claim, address, connectedMs: atMs } = holder
      if (claim === undefined) continue
      const other = byClaim.get(claim)
      byClaim.set(claim, holder)
      if (!other) continue
      const text = `claim ${claim} of ${run.name} is that of client ${other.client} ('${other.address}') and of client ${holder.client} ('${address}')`
      yield { rule: 'H6', text, atMs, address, peer: run.name }
    }
  }
}

function* overlaps(facts: Facts, holders: readonly Holder[]): Generator<Violation> {
  const connected = holders.filter(({ connectedMs, endMs }) => connectedMs <= endMs)
  if (connected.length < 2) return
  const moments = connected.flatMap(holder => [
    { holder, atMs: holder.connectedMs, begins: true },
    { holder, atMs: holder.endMs, begins: false },
  ])
  moments.sort((one, other) => one.atMs - other.atMs)
  const open = new Set<Holder>()
  for (const { holder, atMs, begins } of moments) {
    if (begins) {
      open.add(holder)
      continue
    }
    open.delete(holder)
    let rivals = 0
    for (const rival of open) {
      if (++rivals > rivalsMax) break
      const former = rival.connectedMs <= holder.connectedMs ? rival : holder
      const violation = tooLong(facts, former, former === rival ? holder : rival, atMs)
      if (violation) yield violation
    }
  }
}

function tooLong(facts: Facts, former: Holder, newer: Holder, untilMs: number): Violation | undefined {
  const { overlapMsMax, slackMs } = facts.bounds
  const fromMs = newer.connectedMs
  const boundMs = overlapMsMax + slackMs + (former.run === newer.run ? 0 : auditMs(facts, former))
  if (untilMs - fromMs <= boundMs) return undefined
  const clear = longestClear([...facts.troubles(former.run), ...facts.troubles(newer.run)], fromMs, untilMs)
  const clearMs = clear.untilMs - clear.fromMs
  const { address } = former
  const who = `'${address}' was held by ${former.run.name} (client ${former.client}) and ${newer.run.name} (client ${newer.client})`
  const about = { rule: 'H6', address, peer: former.run.name } as const
  if (clearMs > boundMs) return { ...about, text: `${who} for ${Math.round(clearMs)} ms at once`, atMs: clear.untilMs }
  const sentMs = takenOnUnsure(facts, former, newer)
  if (sentMs === undefined) return undefined
  return { ...about, text: `${who}, and the former took what was sent ${Math.round(sentMs - fromMs)} ms later`, atMs: sentMs }
}

function auditMs({ bounds }: Facts, { run }: Holder): number {
  return bounds.renewEveryMs * Math.max(0, Math.ceil(run.heldMost / auditedAtOnce) - 1)
}

/** When something was sent that the former owner took, and should not have. */
function takenOnUnsure(facts: Facts, former: Holder, newer: Holder): number | undefined {
  const { whenStoreIsDown, overlapMsMax, slackMs } = facts.bounds
  if (whenStoreIsDown !== 'stop') return undefined
  const lostMs = Math.min(...[...facts.lossesOf(newer)].map(({ atMs }) => atMs))
  const bothMs = lostMs + overlapMsMax + slackMs
  const isFormersAgain = ![...takenBy(facts, newer)].some(({ sentMs }) => bothMs < sentMs && sentMs <= former.endMs)
  for (const { event, sentMs } of takenBy(facts, former)) {
    if (sentMs > newer.endMs || (sentMs > lostMs && isFormersAgain)) continue
    let sinceMs = newer.connectedMs
    for (const { untilMs } of facts.splits.within(newer.connectedMs, sentMs)) sinceMs = Math.max(sinceMs, untilMs)
    if (sentMs <= sinceMs + overlapMsMax + slackMs) continue
    if (event.atMs > newer.endMs && isUnsure(former, sentMs, newer.endMs)) continue
    return sentMs
  }
  return undefined
}

function* takenBy(facts: Facts, holder: Holder): Generator<{ event: Delivery; sentMs: number }> {
  for (const event of facts.deliveries) {
    if (event.address !== holder.address || facts.holder(event) !== holder) continue
    const sentMs = facts.messages.get(event.id)?.asked.atMs
    if (sentMs !== undefined) yield { event, sentMs }
  }
}

/** By what its peer itself said, all the time. */
function isUnsure({ run }: Holder, fromMs: number, untilMs: number): boolean {
  const clear = longestClear([run.unsure], fromMs, untilMs)
  return clear.untilMs === clear.fromMs
}

/** A reader may read on what it had. */
function* afterTheEnd(facts: Facts): Generator<Violation> {
  for (const event of facts.deliveries) {
    const holder = facts.holder(event)
    if (!holder || holder.reads || holder.end === 'killed' || event.atMs <= holder.endMs + roundingMs) continue
    const { id, address, peer, atMs } = event
    const text = `${id} to '${address}' was taken at ${peer} by client ${holder.client}, which was ${holder.end} at ${holder.endMs} ms`
    yield { rule: 'H6', text, atMs, id, address, peer }
  }
}
