/** Histories as text, one JSON line an event: read back, checked, and put together. */
import type { HistoryEvent, What } from './history-event.ts'

type Kind = 'text' | 'number' | 'flag' | 'text?' | 'number?' | 'text or null' | 'number or null'
type Fields = Readonly<Record<string, Kind>>

const atPeer = { peer: 'text', incarnation: 'text' } as const
const invoke = { ...atPeer, call: 'number', dueMs: 'number' } as const
const atClient = { ...atPeer, address: 'text', client: 'number' } as const
const atReader = { ...atPeer, topic: 'text', reader: 'number' } as const

/** Of each kind of event, what must stand in it besides `atMs`. More may: a newer version may tell more. */
const shapes: Readonly<Record<What, Fields>> = {
  send: { ...invoke, address: 'text', level: 'text', hash: 'text?' },
  receipt: { ...atPeer, call: 'number', address: 'text', id: 'text', status: 'text', code: 'text?' },
  request: { ...invoke, address: 'text', hash: 'text?' },
  reply: { ...atPeer, call: 'number', address: 'text', ok: 'flag', code: 'text?', outcome: 'text?' },
  broadcast: { ...invoke, hash: 'text?' },
  broadcastDone: { ...atPeer, call: 'number', id: 'text?', reached: 'number?', code: 'text?' },
  connecting: { ...atClient, dueMs: 'number', reads: 'flag' },
  connected: { ...atClient, claim: 'number?' },
  connectFailed: { ...atClient, code: 'text?' },
  ended: { ...atClient, end: 'text' },
  delivery: { ...atClient, id: 'text', hash: 'text?' },
  busy: atClient,
  idle: atClient,
  served: { ...atClient, id: 'text', hash: 'text?' },
  handOverIncomplete: { ...atPeer, address: 'text', fromIncarnation: 'text?', fromClaim: 'number?', missing: 'number?' },
  started: { ...atPeer, identity: 'text', role: 'text' },
  draining: atPeer,
  closing: atPeer,
  closed: atPeer,
  fenced: atPeer,
  storeDown: atPeer,
  storeUp: atPeer,
  lease: { ...atPeer, state: 'text' },
  memberUp: { ...atPeer, other: 'text', otherIncarnation: 'text' },
  memberDown: { ...atPeer, other: 'text', otherIncarnation: 'text', why: 'text' },
  linkUp: { ...atPeer, other: 'text' },
  linkDown: { ...atPeer, other: 'text', why: 'text' },
  unhandledRejection: { ...atPeer, text: 'text' },
  measured: { ...atPeer, of: 'text', value: 'number', valueMax: 'number' },
  serviceAsked: { ...invoke, type: 'text', id: 'text' },
  serviceAnswered: { ...atPeer, call: 'number', type: 'text', id: 'text', hash: 'text?', code: 'text?' },
  serviceCompleted: { ...atPeer, type: 'text', id: 'text', hash: 'text?' },
  topicAppend: { ...invoke, topic: 'text', hash: 'text?' },
  topicAppended: { ...atPeer, call: 'number', topic: 'text', offset: 'number?', code: 'text?' },
  topicRead: { ...atReader, offset: 'number', hash: 'text?' },
  topicGap: { ...atReader, offset: 'number' },
  topicReaderEnded: atReader,
  siteExported: { ...atPeer, source: 'text', seq: 'number', hash: 'text?' },
  siteImported: { ...atPeer, site: 'text', source: 'text', seq: 'number', hash: 'text?' },
  fault: {
    fault: 'text',
    text: 'text',
    name: 'text?',
    from: 'text?',
    to: 'text?',
    forMs: 'number?',
    slowMs: 'number?',
    lostMs: 'number?',
  },
  exit: { name: 'text', code: 'number or null', signal: 'text or null' },
}

const checks: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  text: value => typeof value === 'string',
  number: value => typeof value === 'number',
  flag: value => typeof value === 'boolean',
  'text?': value => value === undefined || typeof value === 'string',
  'number?': value => value === undefined || typeof value === 'number',
  'text or null': value => value === null || typeof value === 'string',
  'number or null': value => value === null || typeof value === 'number',
}

export interface ReadOptions {
  /** A process that is killed while it writes leaves half a line: what follows the last line break is then passed over if it is no event. */
  tornTail?: boolean
}

/**
 * The events of a text as `History.toString` gives it, or as lines were appended to a file. Empty lines are passed over. Throws an error that
 * names the line (counted from 1) which is no event, and says why.
 */
export function readHistory(text: string, { tornTail = false }: ReadOptions = {}): HistoryEvent[] {
  const lines = text.split('\n')
  const events: HistoryEvent[] = []
  for (const [at, line] of lines.entries()) {
    if (line === '') continue
    try {
      events.push(readEvent(line))
    } catch (error) {
      if (tornTail && at === lines.length - 1) break
      throw new Error(`line ${at + 1}: ${(error as Error).message}`, { cause: error })
    }
  }
  return events
}

function readEvent(line: string): HistoryEvent {
  const event = JSON.parse(line) as Record<string, unknown> | null
  if (typeof event !== 'object' || event === null) throw new Error('not an object')
  const shape = Object.hasOwn(shapes, String(event['what'])) ? shapes[event['what'] as What] : undefined
  if (!shape) throw new Error(`no event is called ${JSON.stringify(event['what'])}`)
  if (!Number.isFinite(event['atMs'])) throw new Error('atMs is not a number')
  for (const [field, kind] of Object.entries(shape)) {
    if (!checks[kind](event[field])) throw new Error(`${field} of '${String(event['what'])}' is not a ${kind.replace('?', '')}`)
  }
  return event as unknown as HistoryEvent
}

/**
 * One history of several, each in the order of its times: by `atMs`, and at the same moment in the order in which they are given. Only what
 * came from one clock can be put together so: one simulation, or processes of one machine that tell the time by CLOCK_MONOTONIC
 * (`performance.timeOrigin` differs between them; `process.hrtime` does not).
 */
export function mergeHistories(histories: readonly (readonly HistoryEvent[])[]): HistoryEvent[] {
  // Sorting is stable, and quick where what is sorted consists of few rising rows.
  return histories.flat().sort((one, other) => one.atMs - other.atMs)
}
