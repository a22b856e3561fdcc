/** Texts and options that people and records give: endpoints, URLs of datastores, options of peers. */
import { livesInThreads, placeText, readPlace } from '../../../lib/datastores/url.ts'
import { endpointText, isLoopback, parseEndpoint } from '../../../lib/env/endpoint.ts'
import { HomingError } from '../../../lib/errors.ts'
import { readOptions, type PeerOptions } from '../../../lib/options.ts'
import { decodeBody, encodeBody } from '../../../lib/wire/body.ts'
import { FINE, scanBody } from '../../../lib/wire/scan.ts'
import { bodyWords, textWords } from '../dictionary.ts'
import { claim, inGeneral, pureTarget, refusal } from '../target.ts'

const endpoints = [
  'tcp://127.0.0.1:7400',
  'tcp://[::1]:0',
  'tcp://[fe80::1%eth0]:65535',
  'tcp://host-1.example:1',
  'unix:/run/homing.sock',
]
const urls = [
  ...['memory:', 'memory:name', 'lmdb:', 'lmdb:/var/lib/homing', 'lmdb:relative/folder'],
  ...[
    'redis://localhost',
    'rediss://user:p%40ss@[::1]:6380/3',
    'redis+sentinel://a:1,b:2/master/4',
    'redis+cluster://:secret@a,b:7000',
  ],
  ...['riak://a,b:8087?bucketType=maps&bucket=x', 'couchbase://u:p@a,b:1/bucket?scope=s&collection=c&durability=none'],
  ...['couchbases://h/b', 'zookeeper://u:p@a:2181,[::1]:2182/homing/deep', 'zookeeper://h'],
]

function textInput(kind: number, text: string): Buffer {
  return Buffer.concat([Buffer.from([kind]), Buffer.from(text)])
}

function readEndpoint(text: string): string {
  isLoopback(text)
  try {
    const read = parseEndpoint(text)
    const again = parseEndpoint(endpointText(read))
    claim(JSON.stringify(again) === JSON.stringify(read), 'an endpoint is another one when it was written again')
    claim(read.at === 'unix' || (read.port >= 0 && read.port <= 65_535), 'a port that is none')
    return `endpoint ${read.at}`
  } catch (error) {
    return refusal(error, 'BAD_OPTION')
  }
}

function readUrl(text: string): string {
  livesInThreads(text)
  let place: ReturnType<typeof readPlace>
  try {
    place = readPlace(text, 'fuzz')
  } catch (error) {
    const password = /:([^:@/]{6,})@/.exec(text)?.[1]
    const said = error instanceof HomingError ? error.message : ''
    const once = password !== undefined && text.split(password).length === 2
    claim(!once || !said.includes(password), 'a password is repeated')
    return refusal(error, 'BAD_OPTION')
  }
  const shown = placeText(place)
  const secret = 'password' in place ? place.password : undefined
  claim(!secret || secret.length < 6 || !shown.includes(secret) || text.split(secret).length > 2, 'a password is shown')
  if (place.engine !== 'lmdb') checkShown(shown, place)
  return `place ${place.engine} ${Object.keys(place).length}`
}

/** What is shown to people reads as the same place, but for the password. */
function checkShown(shown: string, place: ReturnType<typeof readPlace>): void {
  const plain = (of: object): string => JSON.stringify({ ...of, password: undefined })
  claim(plain(readPlace(shown, 'fuzz')) === plain(place), `a place is shown as another one: ${shown}`)
}

function readGiven(given: unknown): string {
  // A class of its own is as good as a plain object; what is none is refused.
  try {
    const settings = readOptions(given as PeerOptions, { listen: 'tcp://127.0.0.1:0' })
    checkSettings(settings as unknown as Record<string, unknown>)
    return `options ${Object.keys(given as object).sort().join(' ')}` // prettier-ignore
  } catch (error) {
    return refusal(error, 'BAD_OPTION')
  }
}

/** What inside is relied on: texts are texts, numbers are numbers above zero. */
function checkSettings(settings: Record<string, unknown>): void {
  for (const name of ['cluster', 'store', 'listen']) claim(typeof settings[name] === 'string', `${name} is no text`)
  claim(settings['advertise'] === undefined || typeof settings['advertise'] === 'string', 'advertise is no text')
  for (const group of ['link', 'channel', 'sessions', 'router'] as const) {
    for (const [name, value] of Object.entries(settings[group] as object) as [string, unknown][]) {
      if (name === 'whenStoreIsDown') continue
      const fine = name === 'strictFrom' ? typeof value === 'boolean' : typeof value === 'number' && value > 0
      claim(fine, `${name} is taken as ${String(value)}`)
    }
  }
  for (const each of settings['brokers'] as unknown[]) claim(typeof each === 'string' && each !== '', 'a broker without a name')
}

function optionsInput(given: unknown): Buffer {
  return Buffer.concat([Buffer.from([2]), encodeBody(given)])
}

const options = [
  { identity: 'a', cluster: 'c', store: 'memory:', listen: 'tcp://127.0.0.1:0', advertise: 'tcp://h:1', insecure: true },
  { broker: 'tcp://a:1,tcp://b:2', secret: 'x'.repeat(16) },
  { allow: [{ who: 'a-*', actions: ['send', 'connect'], addresses: ['user/*', 'x'] }, { who: ['b'], actions: '*', addresses: '*' }] },
  { broker: ['tcp://a:1'], secret: [new Uint8Array(16), 'y'.repeat(20)] },
  { leaseMs: 10_000, renewEveryMs: 3_000, guardMs: 2_000, operationTimeoutMs: 1_000, startTimeoutMs: 1, stallMs: 2, waitPollMs: 3, noteAfterMs: 4 },
  { whenStoreIsDown: 'stop', strictFrom: true, windowBytes: 10, windowCapBytes: 20, inboxBytesMax: 5, requestsMax: 1, locationsMax: 8 },
  { pingAfterMs: 1, staleAfterMs: 2, handshakeTimeoutMs: 3, frameTimeoutMs: 4, dialTimeoutMs: 5, bodyBytesMax: 6, redialMs: 7, provenMs: 8 },
  { tls: { cert: 'x', key: 'y', ca: ['z'], requireClientCertificate: true }, listen: 'tcp://0.0.0.0:7400' },
] // prettier-ignore

export const textsTarget = pureTarget(
  {
    name: 'texts',
    about: 'endpoints, URLs of datastores, options',
    bytesMax: 1_024,
    dictionary: [
      ...textWords,
      ...bodyWords,
      ...options.flatMap(each => Object.keys(each)).map(key => encodeBody(key)),
      ...[NaN, Infinity, -1, 0, 1.5, 1n, null, true, [], {}, new Date(0), new Uint8Array(16)].map(value => encodeBody(value)),
    ],
    seeds: () => [
      ...endpoints.map(text => textInput(0, text)),
      ...urls.map(text => textInput(1, text)),
      ...options.map(each => optionsInput(each)),
    ],
  },
  input => {
    const kind = (input[0] ?? 0) % 3
    if (kind === 2) {
      if (scanBody(input, 1, input.length) !== FINE) return 'no value'
      return inGeneral(readGiven(decodeBody(input, 1, input.length)))
    }
    const text = input.toString('utf8', 1)
    return kind === 0 ? readEndpoint(text) : readUrl(text)
  },
)
