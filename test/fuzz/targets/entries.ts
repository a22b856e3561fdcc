/** What drivers find in their engines: entries, versions, names, as others or a damage may have left them. */
import type { Stat } from 'node-zookeeper-client'
import { readVersion as readLmdbVersion, versionText as lmdbVersionText } from '../../../lib/datastores/lmdb-versions.ts'
import { entryOf as redisEntryOf } from '../../../lib/datastores/redis-commands.ts'
import {
  compareStamps,
  entryOf as riakEntryOf,
  headText,
  readHead,
  readTerm,
  readVersion as readRiakVersion,
  termText,
  versionText as riakVersionText,
  type Sibling,
} from '../../../lib/datastores/riak-siblings.ts'
import {
  decodeEntry,
  encodeEntry,
  readVersion as readZooKeeperVersion,
  versionText,
} from '../../../lib/datastores/zookeeper-entry.ts'
import { nameOf, readMarkName, textOf } from '../../../lib/datastores/zookeeper-tree.ts'
import { mergeRecords } from '../../../lib/sessions/merge.ts'
import { encodeSession } from '../../../lib/sessions/records.ts'
import { claim, inGeneral, pureTarget } from '../target.ts'

const notOurs = 'a key holds what Homing did not write'

/** The documented answer to what cannot be read: this one sentence. */
function read<T>(what: () => T): T | undefined {
  try {
    return what()
  } catch (error) {
    if (error instanceof Error && error.message === notOurs) return undefined
    throw error
  }
}

const stat = { version: 3, mtime: Buffer.alloc(8) } as unknown as Stat
const mark = `e${'A'.repeat(23)}`
const key = 'homing:test:sessions:alice'
const record = (claimed: number): Uint8Array =>
  encodeSession({ owner: { identity: 'a', incarnation: 'run', claim: claimed }, previous: undefined, moving: false })
const sibling: Sibling = { stamp: { timeMs: 1.7e12, writer: 'w-1' }, untilMs: Infinity, bytes: record(1) }

/** By the first byte of the input. */
const readers: readonly ((bytes: Buffer) => string)[] = [
  bytes => {
    const entry = read(() => redisEntryOf(bytes))
    if (entry) claim(entry.bytes.length + entry.version.length === bytes.length, 'redis: an entry of another length')
    return `redis ${entry !== undefined}`
  },
  bytes => {
    const entry = read(() => decodeEntry(bytes, stat))
    if (!entry) return 'zookeeper none'
    const again = encodeEntry(entry.mark, entry.bytes, entry.lifetime?.ttlMs)
    claim(Number.isNaN(entry.lifetime?.ttlMs) || again.equals(bytes), 'zookeeper: an entry is written otherwise')
    return `zookeeper ${entry.lifetime !== undefined}`
  },
  bytes => {
    const text = bytes.toString('latin1')
    const version = readZooKeeperVersion(text)
    if (version) claim(versionText(version) === text, 'zookeeper: a version is another one')
    const lmdb = readLmdbVersion(text)
    if (lmdb !== undefined) claim(lmdbVersionText(lmdb) === text && lmdb >= 2, 'lmdb: a version is another one')
    return `versions ${version !== undefined} ${lmdb !== undefined}`
  },
  bytes => {
    const text = bytes.toString('utf8')
    const name = textOf(text)
    if (name !== undefined) claim(textOf(nameOf(name)) === name, 'zookeeper: a name is another one')
    const well = Buffer.from(text).toString('utf8')
    claim(textOf(nameOf(well)) === well, 'zookeeper: a text has no name')
    return `names ${name !== undefined} ${readMarkName(text) !== undefined}`
  },
  bytes => {
    const head = readHead(bytes.toString('utf8'))
    if (!head) return 'riak head none'
    const again = readHead(headText(head))
    claim(again !== undefined && compareStamps(again.stamp, head.stamp) === 0 && again.untilMs === head.untilMs, 'riak: a head is another one') // prettier-ignore
    const siblings = [{ ...head, bytes: record(2) }, sibling]
    const [one, other] = [siblings, siblings.toReversed()].map(each => riakEntryOf(key, Buffer.from('clock'), each, mergeRecords))
    claim(
      one!.version === other!.version && Buffer.compare(one!.bytes, other!.bytes) === 0,
      'riak: siblings depend on their order',
    )
    claim(readRiakVersion(key, one!.version) !== undefined, 'riak: a version that cannot be read')
    return `riak head ${head.untilMs === Infinity}`
  },
  bytes => {
    const text = bytes.toString('utf8')
    const version = readRiakVersion(key, text)
    const untilMs = readTerm(key, text)
    if (untilMs !== undefined) claim(readTerm(key, termText(key, untilMs)) === untilMs, 'riak: a term is another one')
    return `riak version ${version !== undefined} ${untilMs !== undefined}`
  },
]

function seeds(): Buffer[] {
  const inputs: (readonly (Uint8Array | string)[])[] = [
    [Buffer.alloc(16), Buffer.alloc(40, 7)],
    [encodeEntry(mark, record(1), undefined), encodeEntry(`t${'_'.repeat(23)}`, record(1), 500)],
    [`${mark}.7`, '1078530011.4294967295', '1073741824.0'],
    [nameOf('alice'), nameOf('a/b.c%é'), `${nameOf('alice')}.${mark}`, '%'],
    [headText(sibling), headText({ ...sibling, untilMs: 1.8e12 })],
    [riakVersionText(key, Buffer.from('clock'), [sibling]), termText(key, Infinity), termText(key, 1.7e12)],
  ]
  return inputs.flatMap((each, kind) => each.map(bytes => Buffer.concat([Buffer.from([kind]), Buffer.from(bytes as string)])))
}

export const entriesTarget = pureTarget(
  {
    name: 'entries',
    about: 'entries, versions and names as drivers find them in their engines',
    bytesMax: 512,
    dictionary: ['.', '%', '%2E', '\0', 'e', 't', '-', '_', 'zzzzzzzzzzz', mark, key].map(text => Buffer.from(text)),
    seeds,
  },
  input => inGeneral(readers[(input[0] ?? 0) % readers.length]!(input.subarray(1))),
)
