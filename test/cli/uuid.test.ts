import t from 'tap'
import { uuidV1 } from '../../lib/cli/uuid.ts'

t.test('time, version and variant are where RFC 9562 has them', async t => {
  // 22 February 2022, 19:22:22 UTC is 0x1ec9414c232ab00 in the example of the RFC (appendix A.1).
  const uuid = uuidV1(1_645_557_742_000, Uint8Array.of(0xb3, 0xc8, 0x9e, 0x6b, 0xde, 0xce, 0xd8, 0x46))
  t.equal(uuid, 'c232ab00-9414-11ec-b3c8-9f6bdeced846')
})

t.test('whatever the random bytes, it is a version 1 UUID, and a new one each time', async t => {
  const seen = new Set(Array.from({ length: 1_000 }, () => uuidV1()))
  t.equal(seen.size, 1_000)
  for (const uuid of seen) if (!/^[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuid)) t.fail(uuid)
})
