/** The kinds of faults that befall a run, each drawn from its chance. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Way } from '../support/tcp-proxy.ts'
import { failpoints } from './failpoints.ts'
import { lineFaults } from './line-faults.ts'
import type { Place } from './place.ts'
import { between, pick, type FaultKind, type Stage, type Trouble } from './stage.ts'

/** So many peers are left in peace, so that there is somebody to talk to. */
const inPeaceMin = 2

/** A peer that may be taken away just now. */
function victim(stage: Stage): Place | undefined {
  const up = stage.peers.filter(place => place.isUp && !stage.inTrouble.has(place))
  return up.length > inPeaceMin ? pick(stage.random, up) : undefined
}

function brokerUp(stage: Stage): Place | undefined {
  return pick(
    stage.random,
    stage.brokers.filter(place => place.isUp && !stage.inTrouble.has(place)),
  )
}

/** Whoever goes through a broker cannot be reached without it. */
function excuseOf(stage: Stage, place: Place): () => void {
  return stage.excuse(place.role === 'broker' ? '*' : place.name)
}

/** One fault at a time for a process: whoever takes it away brings it back. */
function claimed(stage: Stage, place: Place): () => void {
  stage.inTrouble.add(place)
  const over = excuseOf(stage, place)
  return () => {
    stage.inTrouble.delete(place)
    over()
  }
}

async function killed(stage: Stage, place: Place): Promise<Trouble> {
  const { name } = place
  const over = claimed(stage, place)
  stage.tell(`kill ${name}`, { fault: 'kill', name })
  await place.kill()
  return {
    text: `${name} was killed`,
    forMs: between(stage.random, 200, 5_000) * stage.scale,
    async end() {
      await stage.start(place)
      over()
    },
  }
}

function stopped(stage: Stage, place: Place, longestMs: number): Trouble {
  const { name } = place
  const over = claimed(stage, place)
  const isDeadly = stage.random.fraction() < 0.15
  stage.tell(`stop ${name}`, { fault: 'stall', name })
  place.stop()
  return {
    text: `${name} stands still`,
    forMs: between(stage.random, 2_000, longestMs) * stage.scale,
    async end() {
      if (place.state !== 'stopped') return over()
      if (isDeadly) {
        stage.tell(`kill ${name} where it stands`, { fault: 'kill', name })
        await place.kill()
        await stage.start(place)
      } else {
        place.resume()
        stage.tell(`${name} goes on`, { fault: 'resume', name })
      }
      over()
    },
  }
}

/** It ends as a deployment ends it, and comes back. */
async function deployed(stage: Stage, place: Place): Promise<void> {
  const { name } = place
  const over = claimed(stage, place)
  stage.tell(`drain ${name}`, { fault: 'other' })
  if (!(await place.end('drain', 5_000 * stage.scale))) stage.found(`${name} did not end by itself when it was drained`)
  await stage.start(place)
  over()
}

async function misfortune(stage: Stage): Promise<Trouble | undefined> {
  const { engine, inTrouble } = stage
  const chosen = pick(stage.random, engine.misfortunes)
  if (!chosen || inTrouble.has(engine)) return undefined
  inTrouble.add(engine)
  const outage = await chosen.begin()
  stage.tell(outage.text, { fault: 'storeDown' })
  return {
    text: outage.text,
    forMs: between(stage.random, 500, 8_000) * stage.scale,
    async end() {
      await outage.end()
      inTrouble.delete(engine)
      if (outage.forgets) stage.tell('the datastore has forgotten what it knew', { fault: 'storeForgot' })
      stage.tell('the datastore is back', { fault: 'storeUp' })
    },
  }
}

/** How long a process is waited for that is to kill itself, ms. */
const primedMs = 20_000

/** It is started anew, with a line in it at which it kills itself; it need not come there. */
async function primed(stage: Stage): Promise<Trouble | undefined> {
  const failpoint = pick(
    stage.random,
    failpoints.filter(({ role }) => role === 'peer' || stage.brokers.length > 0),
  )!
  const place = failpoint.role === 'peer' ? victim(stage) : brokerUp(stage)
  if (!place) return undefined
  const { name } = failpoint
  const times = 1 + Math.floor(stage.random.fraction() * failpoint.timesMax)
  stage.inTrouble.add(place)
  const over = excuseOf(stage, place)
  stage.tell(`kill ${place.name}, which will kill itself at '${name}'`, { fault: 'kill', name: place.name })
  await place.kill()
  await stage.start(place, { name, times })
  over()
  return {
    text: `${place.name} kills itself at '${name}', ${times}`,
    forMs: 0,
    async end() {
      await Promise.race([place.untilGone(), sleep(primedMs * stage.scale, undefined, { ref: false })])
      const overAgain = claimed(stage, place)
      if (place.state !== 'down') {
        stage.tell(`${place.name} has not come to '${name}' ${times} times`, { fault: 'kill', name: place.name })
        await place.kill()
      }
      await sleep(between(stage.random, 100, 3_000) * stage.scale, undefined, { ref: false })
      await stage.start(place)
      overAgain()
    },
  }
}

/** What befalls one process. */
function toOne(
  name: string,
  weight: number,
  whom: (stage: Stage) => Place | undefined,
  begun: (stage: Stage, place: Place) => Trouble | Promise<Trouble>,
): FaultKind {
  return {
    name,
    weight,
    async begin(stage) {
      const place = whom(stage)
      return place && begun(stage, place)
    },
  }
}

const processFaults: readonly FaultKind[] = [
  toOne('kill', 4, victim, killed),
  toOne('stop', 3, victim, (stage, place) => stopped(stage, place, 20_000)),
  toOne('kill broker', 3, brokerUp, killed),
  toOne('stop broker', 1, brokerUp, (stage, place) => stopped(stage, place, 10_000)),
  { name: 'failpoint', weight: 4, begin: primed },
  toOne('drain', 2, victim, (stage, place) => {
    const done = deployed(stage, place)
    return { text: `${place.name} is drained and starts again`, forMs: 0, end: () => done }
  }),
  {
    name: 'rolling restart',
    weight: 1,
    async begin(stage) {
      const places = [...stage.brokers, ...stage.peers]
      if (!places.every(place => place.isUp && !stage.inTrouble.has(place))) return undefined
      const one = async (): Promise<void> => {
        for (const place of places) if (place.isUp && !stage.inTrouble.has(place)) await deployed(stage, place)
      }
      const done = one()
      return { text: 'all processes are restarted one after the other', forMs: 0, end: () => done }
    },
  },
]

const storeFaults: readonly FaultKind[] = [
  { name: 'datastore', weight: 3, begin: misfortune },
  {
    name: 'datastore cut off from one',
    weight: 2,
    async begin(stage) {
      const places = [...stage.peers, ...stage.brokers]
      const place = pick(
        stage.random,
        places.filter(({ storeLine }) => storeLine && !stage.inTrouble.has(storeLine)),
      )
      if (!place?.storeLine) return undefined
      const { name, storeLine } = place
      stage.inTrouble.add(storeLine)
      const way = pick<Way>(stage.random, [{ held: 'both' }, { held: 'there' }, { held: 'back' }, { shut: true }])!
      stage.tell(`the datastore is cut off from ${name}: ${JSON.stringify(way)}`, { fault: 'storeDown', name })
      storeLine.set(way)
      if (way.shut) storeLine.cut()
      return {
        text: `no datastore at ${name}`,
        forMs: between(stage.random, 1_000, 10_000) * stage.scale,
        async end() {
          storeLine.set({})
          stage.inTrouble.delete(storeLine)
          stage.tell(`the datastore is back at ${name}`, { fault: 'storeUp', name })
        },
      }
    },
  },
]

const faultKinds: readonly FaultKind[] = [...processFaults, ...storeFaults, ...lineFaults]

/** Draws one that is possible now. */
export async function befall(stage: Stage): Promise<{ kind: string; trouble: Trouble } | undefined> {
  const left = new Set(faultKinds)
  while (left.size > 0) {
    const kind = drawn(stage, [...left])
    const trouble = await kind.begin(stage)
    if (trouble) return { kind: kind.name, trouble }
    left.delete(kind)
  }
  return undefined
}

function drawn(stage: Stage, kinds: readonly FaultKind[]): FaultKind {
  let at = stage.random.fraction() * kinds.reduce((sum, { weight }) => sum + weight, 0)
  for (const kind of kinds) {
    at -= kind.weight
    if (at < 0) return kind
  }
  return kinds.at(-1)!
}
