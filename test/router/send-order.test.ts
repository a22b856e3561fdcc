/** Promise 2 where messages of one sender come together by different ways: what was handed over, and what came to the new owner itself. */
import fc from 'fast-check'
import t from 'tap'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { Budget } from '../../lib/router/budget.ts'
import { Inbox } from '../../lib/router/inbox.ts'
import { BytesMessage } from '../../lib/router/message.ts'
import { inSendOrder } from '../../lib/router/send-order.ts'
import { encodeBody } from '../../lib/wire/body.ts'
import { bodyDefaults } from '../../lib/wire/scan.ts'

const bytes = encodeBody(0, bodyDefaults)

function message(origin: string, number: number): BytesMessage {
  const sender = { identity: origin, origin, vouchedBy: undefined }
  return new BytesMessage('', 'bob', bytes, 0, bytes.length, sender, number, 'direct', undefined)
}

/** An inbox whose claim is written and that waits for what its former owner had. */
function heldInbox(taken: string[]): Inbox {
  const time = new VirtualTime({ seed: 'send order' })
  const { timers } = virtualEnv(time, new MemoryNetwork(time.timers, time.randomOf('network')), 'here')
  const inbox = new Inbox(
    1,
    { inboxBytesMax: 1 << 20, requestsMax: 1, budget: new Budget(1 << 20), timers },
    {
      address: 'bob',
      hasReader: false,
      wake() {},
      take: ({ id }) => void taken.push(id),
    },
  )
  inbox.claimed('held')
  return inbox
}

void t.test('what a former owner got later than the new one comes after it, and ahead of what others sent', async t => {
  const taken: string[] = []
  const inbox = heldInbox(taken)
  for (const number of [12, 16]) t.ok(inbox.offer(message('d/1', number)))
  t.ok(inbox.offer(message('e/1', 1)))
  inbox.open([message('c/1', 7), message('d/1', 99)])
  t.same(taken, ['c/1/7', 'd/1/12', 'd/1/16', 'd/1/99', 'e/1/1'])
})

void t.test('what its sender gave up before it sent what was handed over has come too late', async t => {
  const inbox = heldInbox([])
  t.notOk(inbox.hasPassed('d/1', 1), 'nothing was handed over yet')
  inbox.open([message('d/1', 99), message('d/1', 98)])
  t.ok(inbox.hasPassed('d/1', 97))
  t.notOk(inbox.hasPassed('d/1', 99))
  t.notOk(inbox.hasPassed('d/1', 100))
  t.notOk(inbox.hasPassed('d/2', 1), 'another run of the same peer has numbers of its own')
})

void t.test('inSendOrder: the same messages, each sender in order, each place still with its sender', async t => {
  const messages = fc.array(fc.record({ origin: fc.constantFrom('a', 'b', 'c'), number: fc.nat(30) }))
  fc.assert(
    fc.property(messages, given => {
      const ordered = inSendOrder(given)
      const before = new Map<string, number>()
      for (const [at, { origin, number }] of ordered.entries()) {
        if (origin !== given[at]!.origin || number < (before.get(origin) ?? -1)) return false
        before.set(origin, number)
      }
      return new Set(ordered).size === new Set(given).size && ordered.every(one => given.includes(one))
    }),
  )
  t.pass('held for all')
})
