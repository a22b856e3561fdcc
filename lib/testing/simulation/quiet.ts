/** The end of a simulated world: faults are over, and all must come right. Then everything closes, and nothing may be left. */
import type { Peer } from '../../peer.ts'
import type { Scene } from './scene.ts'

/** What remains to be done of a process that has been closed, ms: connections linger, calls have their deadlines. */
const closedMs = 15_000
/** Who leaves waits so long for those who do not answer its goodbye, ms. */
const goodbyeMs = 1_000
/** By then nothing waits, ms. */
const drainedMs = 3_000
/** The longest deadline of a call, and what comes after it, ms. */
const callsMs = 12_000

export async function calmDown(scene: Scene): Promise<void> {
  const { cluster, seats, plan, calls, problem } = scene
  const { leaseMs = 10_000 } = plan.options
  // Those that were killed last wait for a lease before they have their identity again; and try twice, if something was in the way.
  await cluster.run(Math.max(callsMs, 2.5 * leaseMs) + plan.faultMsMax)
  for (const seat of seats.all) {
    if (!seat.peer || seat.leaving) problem(`'${seat.identity}' is ${seat.leaving ? 'still leaving' : 'not up'}`)
    if (seat.former !== undefined) problem(`'${seat.former.process}' runs on beside '${seat.process}', which has its identity`)
  }
  for (const name of plan.brokers) if (!scene.brokersUp.has(name)) problem(`broker '${name}' is not up`)
  // Records of the dead, and those that nobody holds, are noticed when somebody uses them.
  calls.sendAround()
  await cluster.run(callsMs + leaseMs)
  await haveConverged(scene)
  // What was delivered last is still with slow handlers.
  await cluster.run(2_000)
  for (const call of calls.open) problem(`never settled: ${call}`)
  await nothingWaits(scene)
}

/** Peers ask their brokers now and then: what waits at one moment need not wait at the next. */
async function nothingWaits({ cluster, seats, problem }: Scene): Promise<void> {
  const left = (peer: Peer): number => {
    const { sends, bytes, requests } = peer.stats.waiting
    return sends + bytes + requests
  }
  for (const peer of seats.peers) {
    const untilMs = cluster.nowMs + drainedMs
    await cluster.until(() => left(peer) === 0 || cluster.nowMs >= untilMs, 2 * drainedMs)
    if (left(peer) > 0) problem(`at ${peer.identity} there wait ${JSON.stringify(peer.stats.waiting)}`)
  }
}

/** All peers are members, each address has one owner at most, and takes a message from everywhere. */
async function haveConverged({ cluster, seats, plan, problem }: Scene): Promise<void> {
  const { peers } = seats
  const identities = plan.peers.join()
  for (const peer of peers) {
    const known = peer.members().filter(({ role }) => role === 'peer')
    const names = known.map(({ identity }) => identity).sort()
    if (names.join() !== identities) problem(`${peer.identity} knows ${names.join()}, not ${identities}`)
  }
  const looked = plan.addresses.flatMap(address => peers.map(peer => look(address, peer, peers, problem)))
  await cluster.settle(Promise.all(looked))
}

async function look(address: string, peer: Peer, peers: readonly Peer[], problem: Scene['problem']): Promise<void> {
  const holders = peers.filter(each => each.client(address)).map(({ identity }) => identity)
  const found = await peer.whereIs(address).then(where => where?.identity ?? '', String)
  if (holders.join() !== found) problem(`'${address}' is with [${holders.join()}], ${peer.identity} finds '${found}'`)
  const { status } = await peer.sendMessage(address, { n: 0 })
  if (status !== (holders.length > 0 ? 'delivered' : 'absent'))
    problem(`${peer.identity} to '${address}', which is with [${holders.join()}]: ${status}`)
}

/** Everybody leaves; a timer or connection that is still there then is nobody's. */
export async function closeAll({ cluster, seats, problem }: Scene, brokers: readonly AsyncDisposable[]): Promise<void> {
  const [first, ...others] = seats.up
  if (first) {
    const sinceMs = cluster.nowMs
    await cluster.settle(seats.close([first]), 30_000)
    const tookMs = cluster.nowMs - sinceMs
    // The others live, and answer its goodbye.
    if (tookMs > goodbyeMs) problem(`${first.process} took ${tookMs} ms to close, with nothing in its way`)
  }
  await cluster.settle(seats.close(others), 30_000)
  await cluster.settle(Promise.all(brokers.map(broker => broker[Symbol.asyncDispose]())), 30_000)
  await cluster.run(closedMs)
  const { pending } = cluster.time
  if (pending > 0) problem(`${pending} timers are still set after everything was closed`)
  const { connections } = cluster.network
  if (connections > 0) problem(`${connections} ends of connections are still there after everything was closed`)
}
