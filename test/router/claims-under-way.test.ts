/** Claims of one address under way at the same time: whichever ends first, the newest of the others is found. */
import t from 'tap'
import { Inbox } from '../../lib/router/inbox.ts'
import { ClaimsUnderWay } from '../../lib/router/claims-under-way.ts'
import { Budget } from '../../lib/router/budget.ts'
import { StillEnv } from '../fuzz/still-env.ts'

const { timers } = new StillEnv()
const host = { inboxBytesMax: 1, requestsMax: 1, budget: new Budget(1), timers }

function row(claim: number, ...addresses: string[]): Inbox[] {
  return addresses.map(address => new Inbox(claim, host, { address, hasReader: false, wake() {}, take: () => undefined }))
}

t.test('whichever of two ends, the other is found', async t => {
  for (const first of [0, 1]) {
    const claims = new ClaimsUnderWay()
    const rows = [row(1, 'alice', 'bob'), row(2, 'alice')]
    for (const each of rows) claims.add(each)
    t.equal(claims.at('alice'), rows[1]![0], 'the newest')
    claims.end(rows[first]!)
    t.equal(claims.at('alice'), rows[1 - first]![0])
    claims.end(rows[1 - first]!)
    t.equal(claims.at('alice'), undefined)
  }
})

t.test('one that comes after somebody has asked is found, and is gone when it ends', async t => {
  const claims = new ClaimsUnderWay()
  claims.add(row(1, 'alice'))
  t.equal(claims.at('bob'), undefined)
  const later = row(2, 'bob', 'carl')
  claims.add(later)
  t.equal(claims.at('bob'), later[0])
  claims.end(later)
  t.equal(claims.at('bob'), undefined)
  t.equal(claims.at('alice')?.claim, 1)
})
