/** The bucket that Homing is given: whether it keeps what is written at the same time, how many copies answer, whether it can be listed. */

import type { BucketProps } from 'basho-riak-client/lib/commands/kv/fetchbucketprops.js'
import { HomingError } from '../errors.ts'
import { Refusal, type RiakRequests } from './riak-requests.ts'
import type { RiakPlace } from './riak-url.ts'

/** Riak's words for counts, as numbers on the wire; the counts themselves are small. */
const words: ReadonlyMap<number, (copies: number) => number> = new Map([
  [4_294_967_294, () => 1],
  [4_294_967_293, (copies: number) => Math.floor(copies / 2) + 1],
  [4_294_967_292, (copies: number) => copies],
  [4_294_967_291, (copies: number) => Math.floor(copies / 2) + 1],
])

const askAgainMs = 20

/** Rejects with `BAD_OPTION` for a bucket that cannot be used, with `DATASTORE` where it could not be asked. */
export async function checkBucket(
  requests: RiakRequests,
  place: RiakPlace,
  untilMs: number,
  warn: (text: string) => void,
): Promise<{ indexed: boolean }> {
  const props = await propsOf(requests, place, untilMs)
  const kind = props.consistent ? 'strongly consistent values' : props.dataType === undefined ? undefined : `${props.dataType}s`
  if (kind !== undefined) throw unusable(place, `is for ${kind}; Homing keeps plain values`)
  if (!keepsSiblings(props)) await letKeepSiblings(requests, place, untilMs)

  const copies = props.nVal ?? 3
  const [reads, writes] = [countOf(props.r, copies), countOf(props.w, copies)]
  if (reads + writes <= copies)
    warn(
      `riak: with n_val ${copies}, r ${reads} and w ${writes} a read may miss what was just written; r + w above n_val does not`,
    )

  const indexed = await hasIndex(requests, untilMs)
  if (!indexed)
    warn(
      'riak: the storage backend has no secondary indexes, so each listing walks through all keys; leveldb and memory have them',
    )
  return { indexed }
}

async function propsOf(requests: RiakRequests, place: RiakPlace, untilMs: number): Promise<BucketProps> {
  try {
    return await requests.props(untilMs)
  } catch (error) {
    // Riak's words for a type that was not made, or not activated.
    if (error instanceof Refusal && /no_type|bucket.?type/i.test(error.message)) throw unusable(place, 'does not exist', error)
    throw error
  }
}

/** Without siblings, of two claims at the same moment one would vanish after it was acknowledged. */
async function letKeepSiblings(requests: RiakRequests, place: RiakPlace, untilMs: number): Promise<void> {
  if (place.bucketType !== 'default') throw unusable(place, 'does not keep siblings')
  // The default type does not, and buckets in it are made by their first use: this one is ours, so it is told for itself alone.
  await requests.keepSiblings(untilMs)
  // Each node hears of it by itself, and nodes are asked in turn.
  for (let agreed = 0; agreed < 2 * place.nodes.length;) {
    agreed = keepsSiblings(await requests.props(untilMs)) ? agreed + 1 : 0
    if (agreed === 0) await new Promise<void>(resolve => setTimeout(resolve, askAgainMs))
  }
}

function keepsSiblings({ allowMult, lastWriteWins }: BucketProps): boolean {
  return allowMult === true && lastWriteWins !== true
}

function countOf(count: number | null, copies: number): number {
  return count === null ? words.get(4_294_967_293)!(copies) : (words.get(count)?.(copies) ?? count)
}

async function hasIndex(requests: RiakRequests, untilMs: number): Promise<boolean> {
  try {
    await requests.page('\0', undefined, untilMs)
    return true
  } catch (error) {
    if (error instanceof Refusal && error.message.includes('indexes_not_supported')) return false
    throw error
  }
}

function unusable({ bucketType, bucket }: RiakPlace, why: string, cause?: unknown): HomingError {
  const isDefault = bucketType === 'default'
  const what = isDefault ? `the bucket '${bucket}'` : `the bucket type '${bucketType}'`
  const type = isDefault ? 'homing' : bucketType
  const make = `riak-admin bucket-type create ${type} '{"props":{"allow_mult":true}}' && riak-admin bucket-type activate ${type}`
  return new HomingError('BAD_OPTION', `riak: ${what} ${why}; a type that can be used is made by: ${make}`, { cause })
}
