import fc from 'fast-check'
import t from 'tap'
import { HomingError } from '../../lib/errors.ts'
import type { Claimed } from '../../lib/sessions/directory.ts'
import { decodeSession } from '../../lib/sessions/records.ts'
import { ownerOf, whats, World, type TestPeer } from './world.ts'

const seed = Number(process.env['HOMING_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const path = process.env['HOMING_PATH']
const runs = Number(process.env['HOMING_RUNS'] ?? 25)
t.comment(`seed ${seed} (HOMING_SEED repeats it, HOMING_PATH its shortest failure, HOMING_RUNS says how many)`)
const addresses = ['alice', 'bob', 'carol', 'dave', 'erin']
const prefix = 'homing:test:sessions:'

/** A peer as the upper layers drive it: the last claim that was written is held, one that failed changes nothing. */
class Driver {
  readonly peer: TestPeer
  readonly #world: World
  readonly #displaced = new Set<string>()
  #claims = 1_000
  alive = true

  constructor(peer: TestPeer, world: World) {
    this.peer = peer
    this.#world = world
  }

  get #untilMs(): number {
    return this.peer.env.clock.monotonicMs() + 3_000
  }

  async connect(address: string): Promise<void> {
    const claim = ++this.#claims
    try {
      const [claimed] = await this.peer.directory.claim([{ address, claim }], this.#untilMs)
      this.hear()
      if (!this.#displaced.has(`${address} ${claim}`)) this.peer.held.set(address, claim)
      await this.#tell(claimed!)
    } catch (error) {
      this.#expect(error) // what was held before is held still
    }
  }

  async disconnect(address: string): Promise<void> {
    const claim = this.peer.held.get(address)
    if (claim === undefined) return
    this.peer.held.delete(address)
    await this.#release(address, claim)
  }

  /** What the directory told since the last look. */
  hear(): void {
    for (const what of whats(this.peer)) {
      const told = /^displaced (\S+) (\d+) by/.exec(what)
      if (told) this.#displaced.add(`${told[1]} ${told[2]}`)
    }
  }

  async #release(address: string, claim: number): Promise<void> {
    try {
      await this.peer.directory.release([{ address, claim }], this.#untilMs)
    } catch (error) {
      this.#expect(error)
    }
  }

  /** Nobody can be told directly in this world: every former owner gets a note. */
  async #tell({ address, claim, previous }: Claimed): Promise<void> {
    while (previous && this.alive) {
      try {
        return await this.peer.directory.leaveNote(previous, address, ownerOf(this.peer, claim))
      } catch (error) {
        this.#expect(error)
        if ((error as HomingError).code !== 'DATASTORE') return
      }
      await new Promise<void>(resolve => void this.#world.time.timers.after(500, resolve))
    }
  }

  #expect(error: unknown): void {
    if (!(error instanceof HomingError) || !['DATASTORE', 'FENCED', 'CLOSED'].includes(error.code)) throw error
  }
}

/** One step of a world: who does what, or what happens to it, and how long until the next one, ms. */
interface Step {
  readonly who: number
  readonly what: 'connect' | 'disconnect' | 'down' | 'ambiguous' | 'slow' | 'stall' | 'suspend' | 'crash'
  readonly address: string
  /** How long a fault takes that ends by itself. */
  readonly forMs: number
  readonly waitMs: number
}

const weights = { connect: 55, disconnect: 25, down: 6, ambiguous: 6, slow: 3, stall: 2, suspend: 2, crash: 1 } as const

const step: fc.Arbitrary<Step> = fc.record({
  who: fc.nat(2),
  what: fc.oneof(...Object.entries(weights).map(([what, weight]) => ({ arbitrary: fc.constant(what as Step['what']), weight }))),
  address: fc.constantFrom(...addresses),
  forMs: fc.nat(20_000),
  waitMs: fc.nat(800),
})

async function run(seed: number, steps: readonly Step[]): Promise<{ displaced: number; outcome: string[] }> {
  const world = new World(seed)
  const drivers: Driver[] = []
  const works: Promise<void>[] = []
  for (const host of ['a', 'b', 'c']) drivers.push(new Driver(await world.peer(host), world))
  const everybody = [...drivers]

  for (const { who, what, address, forMs, waitMs } of steps) {
    const driver = drivers[who]!
    const { store, host } = driver.peer
    if (what === 'connect') works.push(driver.connect(address))
    else if (what === 'disconnect') works.push(driver.disconnect(address))
    else if (what === 'down') store.down = !store.down
    else if (what === 'ambiguous') store.ambiguous = !store.ambiguous
    else if (what === 'slow') store.slowMs = store.slowMs ? 0 : 300
    else if (what === 'stall') world.time.stall(host, forMs)
    else if (what === 'suspend') world.time.suspend(host, forMs)
    else if (!store.down && !store.ambiguous) {
      world.time.halt(host)
      driver.alive = false
      const next = new Driver(await world.peer(host, { probe: async () => 'refused' }), world)
      drivers[who] = next
      everybody.push(next)
    }
    await world.time.run(waitMs)
    for (const each of drivers) each.hear()
  }
  for (const { peer } of drivers) Object.assign(peer.store, { down: false, ambiguous: false, slowMs: 0 })
  for (let second = 0; second < 60; second++) {
    await world.time.run(1_000)
    for (const each of drivers) each.hear()
  }
  return judge(world, drivers, everybody)
}

function judge(world: World, drivers: readonly Driver[], everybody: readonly Driver[]): { displaced: number; outcome: string[] } {
  const wrong: string[] = []
  const living = new Map(drivers.map(({ peer }) => [peer.self.incarnation, peer]))
  for (const key of world.engine.keys(prefix)) {
    const address = key.slice(prefix.length)
    const { owner } = decodeSession(key, world.engine.get(key)!.bytes)
    const peer = living.get(owner.incarnation)
    if (peer && peer.held.get(address) !== owner.claim)
      wrong.push(`${address} is recorded for ${owner.identity} ${owner.claim}, which holds ${peer.held.get(address)}`)
  }
  for (const { peer } of drivers) {
    for (const [address, claim] of peer.held) {
      const entry = world.engine.get(prefix + address)
      const owner = entry && decodeSession(prefix + address, entry.bytes).owner
      if (owner?.incarnation !== peer.self.incarnation || owner.claim !== claim) {
        wrong.push(`${peer.host} holds ${address} ${claim}, and the record says ${owner?.identity} ${owner?.claim}`)
      }
    }
    if (peer.directory.lease !== 'sure') wrong.push(`${peer.host} is unsure`)
    if (peer.directory.members().length !== drivers.length)
      wrong.push(`${peer.host} sees ${peer.directory.members().length} members`)
  }
  let displaced = 0
  for (const { peer } of everybody) {
    const told = whats(peer).filter(what => what.startsWith('displaced'))
    displaced += told.length
    if (new Set(told.map(what => what.replace(/ by .*/, ''))).size !== told.length)
      wrong.push(`${peer.host} was told twice: ${told.join(', ')}`)
    if (whats(peer).some(what => what.startsWith('fenced')) && living.has(peer.self.incarnation))
      wrong.push(`${peer.host} was fenced`)
  }
  return { displaced, outcome: wrong }
}

t.test(
  'claims, releases and moves under faults converge: one owner an address, recorded, and every other was told once',
  async t => {
    let displaced = 0
    const property = fc.asyncProperty(
      fc.nat(),
      fc.array(step, { minLength: 60, maxLength: 150, size: 'max' }),
      async (worldSeed, steps) => {
        const result = await run(worldSeed, steps)
        displaced += result.displaced
        if (result.outcome.length > 0) throw new Error(result.outcome.join('; '))
      },
    )
    // A failure is shortened as long as there is time.
    await fc.assert(property, {
      seed,
      numRuns: runs,
      ...(path !== undefined && { path }),
      interruptAfterTimeLimit: 120_000,
      markInterruptAsFailure: true,
    })
    t.ok(displaced > runs, `${displaced} displacements in ${runs} runs`)
  },
)
