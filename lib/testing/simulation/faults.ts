/** What may go wrong in a simulated world: one function a fault, which begins it and says how it ends. */
import type { Cluster } from '../cluster.ts'
import type { FaultName } from './fault-names.ts'
import type { Scene } from './scene.ts'
import type { Seat } from './seats.ts'

/** Returns false where there is nothing that it could happen to now. */
type Fault = (scene: Scene) => boolean | void

export const faults: Readonly<Record<FaultName, Fault>> = {
  kill: scene => ending(scene, 'kill', true),
  restart: scene => ending(scene, 'kill', false),
  powerOff: scene => ending(scene, 'powerOff', true),
  drain: scene => {
    const { seats, draw, cluster } = scene
    if (seats.up.length < 3) return false
    const seat = draw.pick(seats.up)
    const { peer } = seat
    const deadlineMs = draw.pick([500, 3_000])
    peer.on('moving', ({ address }) => {
      if (draw.chance(0.1)) return // this one does not care
      cluster.time.timers.after(draw.spread(1, 500), () => {
        if (seat.peer !== peer) return
        peer.disconnectClient(address).catch(expected)
        scene.calls.connect(address)
      })
    })
    seats.leave(seat, peer => peer.drain({ deadlineMs }))
  },
  close: scene => {
    const { seats, draw } = scene
    if (seats.up.length < 3) return false
    seats.leave(draw.pick(seats.up), peer => peer.close())
  },
  stall: scene => frozen(scene, 'stall', peerProcesses(scene)),
  suspend: scene => frozen(scene, 'suspend', peerProcesses(scene)),
  twice: ({ seats, draw }) => {
    if (seats.up.length === 0) return false
    seats.startTwice(draw.pick(seats.up))
  },
  wallClock: ({ cluster, draw, plan }) => {
    const offMs = draw.pick([-3_600_000, -5_000, 5_000, 3_600_000, 75 * 365 * 86_400_000])
    cluster.setWallOffset(draw.pick([...plan.peers, ...plan.brokers]), offMs)
  },

  cut: scene => {
    const [a, b] = pair(scene)
    scene.cluster.cut(a, b)
    scene.later(() => scene.cluster.heal(a, b))
  },
  oneWay: scene => {
    const [a, b] = scene.draw.shuffled(pair(scene)) as [string, string]
    scene.cluster.cut(a, b, { oneWay: true })
    scene.later(() => scene.cluster.heal(a, b))
  },
  isolate: scene => {
    const name = scene.draw.pick(processes(scene))
    scene.cluster.isolate(name)
    scene.later(() => scene.cluster.rejoin(name))
  },
  split: scene => {
    const { cluster, draw } = scene
    const shuffled = draw.shuffled(processes(scene))
    const at = draw.whole(1, shuffled.length - 1)
    // Some may reach both sides: then the cut is not transitive.
    const beyond = shuffled.slice(at + (draw.chance(0.3) ? 1 : 0))
    const pairs = shuffled.slice(0, at).flatMap(a => beyond.map(b => [a, b] as const))
    for (const [a, b] of pairs) cluster.cut(a, b)
    scene.later(() => {
      for (const [a, b] of pairs) cluster.heal(a, b)
    })
  },
  reset: scene => scene.cluster.reset(...pair(scene)),
  resetAll: scene => {
    const all = processes(scene)
    const name = scene.draw.pick(all)
    for (const other of all) if (other !== name) scene.cluster.reset(name, other)
  },
  detour: scene => {
    const [a, b] = scene.draw.shuffled(pair(scene)) as [string, string]
    scene.cluster.detour(a, b, Math.round(scene.draw.spread(10, 3_000)))
    scene.later(() => scene.cluster.detour(a, b, 0))
  },
  latency: scene => {
    const { network } = scene.cluster
    const { latencyMs } = scene.plan.network
    network.options.latencyMs = Math.round(scene.draw.spread(20, 500))
    scene.cluster.did(`latency ${network.options.latencyMs} ms`)
    scene.later(() => void (network.options.latencyMs = latencyMs!))
  },
  narrow: scene => {
    const { bytesPerMs } = scene.plan.network
    narrow(scene.cluster, Math.round(scene.draw.spread(20, 500)))
    scene.later(() => narrow(scene.cluster, bytesPerMs))
  },

  brokerKill: scene => brokerEnding(scene, 'kill'),
  brokerPowerOff: scene => brokerEnding(scene, 'powerOff'),
  brokerStall: scene => frozen(scene, 'stall', [...scene.brokersUp]),
  brokerSuspend: scene => frozen(scene, 'suspend', [...scene.brokersUp]),

  storeDown: scene => {
    scene.roads.change({ down: true })
    scene.cluster.did('datastore down', { fault: 'storeDown' })
    scene.later(() => storeUp(scene))
  },
  storeDownForOne: scene => {
    const name = scene.draw.pick(storeUsers(scene))
    scene.roads.roadOf(name).down = true
    scene.cluster.did(`datastore down for ${name}`, { fault: 'storeDown', name })
    scene.later(() => storeUp(scene))
  },
  storeSlow: scene => {
    const { operationTimeoutMs = 1_000 } = scene.plan.options
    const thereMs = Math.round(scene.draw.spread(10, operationTimeoutMs))
    const backMs = Math.round(scene.draw.spread(10, operationTimeoutMs))
    scene.roads.change({ thereMs, backMs })
    scene.cluster.did(`datastore slow: ${thereMs} + ${backMs} ms`, { fault: 'storeSlow', slowMs: thereMs + backMs })
    scene.later(() => {
      const { thereMs, backMs } = scene.plan.store.road
      scene.roads.change({ thereMs, backMs })
      scene.cluster.did('datastore fast again', { fault: 'storeSlow', slowMs: thereMs + backMs })
    })
  },
  storeFlapping: scene => {
    let isOver = false
    const everyMs = scene.draw.spread(20, 1_000)
    const flap = (down: boolean): void => {
      if (isOver) return
      scene.roads.change({ down })
      scene.cluster.did(`datastore ${down ? 'down' : 'up'}, flapping`, { fault: down ? 'storeDown' : 'storeUp' })
      scene.cluster.time.timers.after(everyMs, () => flap(!down))
    }
    flap(true)
    scene.later(() => {
      isOver = true
      storeUp(scene)
    })
  },
  storeUnanswered: scene => {
    const unanswered = scene.draw.pick([0.05, 0.3, 0.8])
    scene.roads.change({ unanswered })
    scene.cluster.did(`datastore leaves ${unanswered} of its calls unanswered`, { fault: 'storeAmbiguous', ambiguous: true })
    scene.later(() => {
      scene.roads.change({ unanswered: 0 })
      scene.cluster.did('datastore answers again', { fault: 'storeAmbiguous', ambiguous: false })
    })
  },
  failOver: scene => {
    if (!scene.amnesic) return false
    const lostMs = Math.round(scene.draw.spread(1, 1_000))
    scene.amnesic.failOver(lostMs)
    scene.cluster.did(`datastore failed over and lost the last ${lostMs} ms`, { fault: 'storeForgot', lostMs })
  },
  storeSplit: scene => {
    if (!scene.eventual) return false
    const beyond = scene.draw.some(storeUsers(scene), 3)
    scene.eventual.split(beyond)
    scene.cluster.did(`datastore split: ${beyond.join()} on the other side`, { fault: 'storeSplit' })
    scene.later(() => {
      scene.eventual!.heal()
      scene.cluster.did('datastore whole again', { fault: 'storeWhole' })
    })
  },
}

function storeUp(scene: Scene): void {
  scene.roads.change({ down: false })
  scene.cluster.did('datastore up', { fault: 'storeUp' })
}

function ending(scene: Scene, end: 'kill' | 'powerOff', away: boolean): boolean | void {
  const { seats, draw } = scene
  if (seats.up.length === 0) return false
  const seat: Seat = draw.pick(seats.up)
  seats.kill(seat, end)
  const { life } = seat
  const start = (): void => {
    if (seat.life === life) seats.start(seat) // not where a second process of its identity has taken the seat since
  }
  if (away) scene.later(start)
  else start()
}

function brokerEnding(scene: Scene, end: 'kill' | 'powerOff'): boolean | void {
  if (scene.brokersUp.size === 0) return false
  const name = scene.draw.pick([...scene.brokersUp])
  scene.brokersUp.delete(name)
  scene.cluster[end](name)
  scene.later(() => scene.startBroker(name))
}

function frozen(scene: Scene, how: 'stall' | 'suspend', among: readonly string[]): boolean | void {
  if (among.length === 0) return false
  const ms = Math.round(scene.draw.spread(50, scene.plan.faultMsMax))
  const process = scene.draw.pick(among)
  const fromMs = scene.cluster.nowMs
  scene.standstills.push({ process, fromMs, untilMs: fromMs + ms })
  scene.cluster[how](process, ms)
}

function peerProcesses({ seats }: Scene): string[] {
  return seats.up.map(({ process }) => process)
}

/** All that have a place on the network. */
function processes({ seats, plan }: Scene): string[] {
  return [...seats.all.map(({ process }) => process), ...plan.brokers]
}

/** Two that may have a link. */
function pair(scene: Scene): [string, string] {
  const { plan, draw } = scene
  const all = processes(scene)
  const one = draw.pick(plan.mode === 'broker' ? plan.brokers : all)
  return [one, draw.pick(all.filter(name => name !== one))]
}

/** In broker mode only brokers ask the datastore. */
function storeUsers({ seats, plan }: Scene): string[] {
  if (plan.mode === 'broker') return [...plan.brokers]
  return seats.all.flatMap(({ process, rival, former }) => [process, rival, former?.process].filter(name => name !== undefined))
}

/** In these worlds calls fail: what matters is what the history says. */
function expected(error: unknown): void {
  if (!(error instanceof Error && error.name === 'HomingError')) throw error
}

/** Each line takes so many bytes a ms from now on; undefined: any. */
export function narrow(cluster: Cluster, bytesPerMs: number | undefined): void {
  cluster.network.options.bytesPerMs = bytesPerMs ?? Infinity
  cluster.did(bytesPerMs === undefined ? 'bandwidth as much as is wanted' : `bandwidth ${bytesPerMs} bytes a ms`, {
    fault: 'narrow',
    ...(bytesPerMs !== undefined && { bytesPerMs }),
  })
}
