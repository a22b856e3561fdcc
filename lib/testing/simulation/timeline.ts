/** A simulated world told to people: one line a happening, the process before it; a send is one line with what became of it. */
import type { HistoryEvent } from '../history-event.ts'
import type { Plan } from './plan.ts'
import type { Finding, Simulation } from './simulate.ts'

interface Line {
  readonly atMs: number
  /** The process; empty for what was done to the world. */
  readonly who: string
  readonly text: string
  /** The address that it is about. */
  readonly address: string | undefined
}

export interface TimelineOptions {
  /** All of it, not only what is near to what was found. */
  whole?: boolean
}

/** Shown around findings, at most. */
const linesMax = 300
/** Before a finding what concerns its address is shown that far back, and all else so far, ms. */
const backMs = 6_000
const nearMs = 250

export function timelineOf(simulation: Simulation, { whole = false }: TimelineOptions = {}): string {
  const { plan, findings } = simulation
  const lines = linesOf(simulation)
  const shown = whole ? lines : around(lines, findings)
  const width = Math.max(4, ...shown.map(({ who }) => who.length))
  const left = lines.length - shown.length
  return [
    planText(plan),
    '',
    ...shown.map(line => lineText(line, width)),
    ...(left > 0 ? ['', `${left} other lines are shown with --whole`] : []),
    '',
    ...(findings.length === 0 ? ['no violations'] : findings.map(({ rule, text, atMs }) => `${atMs} ms: ${rule} ${text}`)),
  ].join('\n')
}

/** What kind of world it is. */
function planText(plan: Plan): string {
  const { seed, mode, peers, brokers, brokersOf, addresses, machines, options, network, store, clockRates, faults, workload } =
    plan
  const json = (value: object): string => JSON.stringify(value).replaceAll('"', '').replaceAll(',', ', ')
  const through = peers.map(peer => `${peer} by ${brokersOf.get(peer)!.join()}`)
  return [
    `seed ${seed}, ${mode}: peers ${peers.join(' ')}${brokers.length > 0 ? `; brokers ${brokers.join(' ')} (${through.join('; ')})` : ''}`,
    `addresses   ${addresses.length}${machines > 0 ? `; peers on ${machines} machines` : ''}`,
    ...(plan.dialects.size > 0 ? [`newer       ${[...plan.dialects.keys()].join(' ')}`] : []),
    `options     ${json(options)}`,
    `network     ${json(network)}`,
    `datastore   ${store.kind} ${json(store.road)}`,
    ...(clockRates.size > 0 ? [`clocks      ${json(Object.fromEntries(clockRates))}`] : []),
    `faults      ${faults.join(' ')}; one in ${plan.faultEveryMs} ms, for ${plan.faultMsMax} ms at most`,
    `workload    ${plan.workMs} ms: ${json(workload)}`,
  ].join('\n')
}

function lineText({ atMs, who, text }: Line, width: number): string {
  const time = atMs.toFixed(1).padStart(9)
  return who === '' ? `${time}  ${'*'.repeat(width)}  ${text}` : `${time}  ${who.padEnd(width)}  ${text}`
}

function linesOf({ history, log }: Simulation): Line[] {
  const fold = new Fold(history.events)
  const events = history.events.flatMap(event => fold.lineOf(event) ?? [])
  const happened = log.map(({ atMs, text }): Line => ({ atMs, who: '', text, address: addressIn(text) }))
  // Stable: what happened at the same moment stays in its order.
  return [...events, ...happened].toSorted((a, b) => a.atMs - b.atMs)
}

type Of<What extends HistoryEvent['what']> = Extract<HistoryEvent, { what: What }>

/** Knows what became of things, so that it can be said where they begin. */
class Fold {
  readonly #receipts = new Map<number, Of<'receipt'>>()
  readonly #taken = new Map<string, Of<'delivery'>[]>()

  constructor(events: readonly HistoryEvent[]) {
    for (const event of events) {
      if (event.what === 'receipt') this.#receipts.set(event.call, event)
      if (event.what === 'delivery') this.#taken.set(event.id, [...(this.#taken.get(event.id) ?? []), event])
    }
  }

  /** Undefined for what another line tells. */
  lineOf(event: HistoryEvent): Line | undefined {
    const { atMs } = event
    switch (event.what) {
      case 'fault':
        return { atMs, who: '', text: event.text, address: undefined }
      case 'send':
        return { atMs, who: event.peer, text: this.#sendText(event), address: event.address }
      case 'receipt':
      case 'delivery':
      case 'busy':
      case 'idle':
        return undefined
      default: {
        const { atMs: _, what, ...rest } = event
        const { peer = '', incarnation: __, address, ...more } = rest as { peer?: string; incarnation?: string; address?: string }
        const details = Object.entries(more).map(
          ([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
        )
        return {
          atMs,
          who: peer,
          text: [what, ...(address === undefined ? [] : [`'${address}'`]), ...details].join(' '),
          address,
        }
      }
    }
  }

  #sendText({ atMs, call, address, dueMs }: Of<'send'>): string {
    const receipt = this.#receipts.get(call)
    const later = (then: number): string => `+${(then - atMs).toFixed(1)}`
    const asked = `sends '${address}' ${receipt ? idText(receipt.id) : `call ${call}`} within ${Math.round(dueMs - atMs)}`
    if (!receipt) return `${asked}: never settled`
    const code = receipt.code === undefined || receipt.code.toLowerCase() === receipt.status ? '' : ` (${receipt.code})`
    const taken = (this.#taken.get(receipt.id) ?? []).map(
      event => `, taken at ${event.peer} by client ${event.client} ${later(event.atMs)}`,
    )
    return `${asked}: ${receipt.status}${code} ${later(receipt.atMs)}${taken.join('')}`
  }
}

/** `<identity>/<incarnation>/<number>`, or so: the number is what people look for. */
function idText(id: string): string {
  return `#${id.slice(id.lastIndexOf('/') + 1)}`
}

function addressIn(text: string): string | undefined {
  return /'(u\d+)'/.exec(text)?.[1]
}

/** What was done to the world, what concerns the addresses that something was found of, and what happened just before. */
function around(lines: readonly Line[], findings: readonly Finding[]): Line[] {
  const places = findings.slice(0, 5).map(finding => ({
    atMs: finding.atMs,
    address: finding.address ?? addressIn(finding.text),
  }))
  const isNear = ({ atMs, address, who }: Line): boolean =>
    places.some(place => {
      if (atMs > place.atMs + nearMs || atMs < place.atMs - backMs) return false
      return who === '' || atMs > place.atMs - nearMs || (place.address !== undefined && address === place.address)
    })
  const near = lines.filter(isNear)
  const world = lines.filter(line => line.who === '' && line.address === undefined && !near.includes(line))
  const shown = new Set([...near.slice(-linesMax), ...world.slice(0, Math.max(20, linesMax - near.length))])
  return lines.filter(line => shown.has(line))
}
