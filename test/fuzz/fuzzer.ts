/** The loop: takes a known input, changes it, feeds it to a target, keeps it if something new came of it, and judges. */
import { Dice } from './dice.ts'
import { about, inGeneral, type Subject, type Target } from './target.ts'
import { Mutator } from './mutator.ts'
import { minimised } from './minimise.ts'
import { memoryHeld, memoryMax, memoryTaken, msMaxDefault, polluted, Unheard } from './oracles.ts'
import type { Watchdog } from './watchdog.ts'

/** An input that does what none may. */
export interface Finding {
  readonly target: string
  /** What it did, in general: of two findings that say the same, one is kept. */
  readonly what: string
  readonly input: Buffer
  readonly error: unknown
  /** It takes what came before it: fed alone to a target that was just set up, the input does nothing wrong. */
  readonly needsMore: boolean
}

/** Kept inputs: enough for variety, few enough that each is changed often. */
const keptMax = 2_000
/** Words that were heard: beyond it, nothing is new any more. */
const wordsMax = 100_000
/** Of the findings of one run, those that are examined; more of them say little more. */
const findingsMax = 20

export class Fuzzer {
  readonly target: Target
  readonly findings: Finding[] = []
  executions = 0
  busyMs = 0
  readonly #dice: Dice
  readonly #mutator: Mutator
  readonly #watchdog: Watchdog | undefined
  readonly #known: Buffer[]
  readonly #words = new Set<string>()
  /** Known inputs that were not fed yet, as they are. */
  #toFeed: number
  #subject: Subject | undefined

  /** `known` are inputs to begin with: seeds, and what was kept of earlier runs. */
  constructor(target: Target, known: readonly Uint8Array[], seed: string, watchdog?: Watchdog) {
    this.target = target
    this.#dice = new Dice(`${seed} ${target.name}`)
    this.#mutator = new Mutator(this.#dice, target)
    this.#watchdog = watchdog
    this.#known = known.map(bytes => Buffer.from(bytes))
    this.#toFeed = this.#known.length
  }

  /** Kinds of behaviour that were met. */
  get words(): number {
    return this.#words.size
  }

  /** Known inputs not fed yet: a run that ends before has not tried its corpus. */
  get toFeed(): number {
    return this.#toFeed
  }

  /** Batches until `executions` are done, or `ms` are over, or `stopped` says so. */
  async run(executions: number, ms: number, stopped: () => boolean = () => false): Promise<void> {
    using unheard = new Unheard()
    const until = this.executions + executions
    const began = performance.now()
    while (this.executions < until && performance.now() - began < ms && !stopped()) {
      await this.#batch(Math.min(this.target.batch, until - this.executions), unheard)
    }
    this.busyMs += performance.now() - began
  }

  async close(): Promise<void> {
    await this.#subject?.close?.()
    this.#subject = undefined
  }

  #next(): Buffer {
    if (this.#toFeed > 0) return this.#known[--this.#toFeed]!
    return this.#mutator.mutate(this.#dice.pick(this.#known), this.#known)
  }

  async #batch(count: number, unheard: Unheard): Promise<void> {
    this.#subject ??= await this.target.open() // before the memory is looked at
    const inputs: Buffer[] = []
    const before = memoryTaken()
    let longest = 0
    for (let i = 0; i < count; i++) {
      const input = this.#next()
      inputs.push(input)
      longest = Math.max(longest, input.length)
      const began = performance.now()
      this.#subject ??= await this.target.open()
      if (!(await this.#feed(this.#subject, input))) return
      if (performance.now() - began > msMaxOf(this.target)) await this.#examine([input], unheard)
    }
    const suspicious = (await unheard.take()).length > 0 || polluted() !== undefined
    if (suspicious || memoryTaken() - before > memoryMax(longest)) await this.#examine(inputs, unheard)
  }

  /** False: it failed, and the target has to be set up again. */
  async #feed(subject: Subject, input: Buffer): Promise<boolean> {
    this.executions++
    this.#watchdog?.began(this.target.name, input)
    try {
      const words = subject.run(input)
      this.#learn(input, typeof words === 'string' ? words : await words)
      return true
    } catch (error) {
      this.#watchdog?.ended()
      await this.#failed(subject, input, error)
      return false
    } finally {
      this.#watchdog?.ended()
    }
  }

  #learn(input: Buffer, words: string): void {
    if (this.#words.has(words) || this.#words.size >= wordsMax) return
    this.#words.add(words)
    if (this.#known.length < keptMax) this.#known.push(input)
    else this.#known[this.#dice.below(keptMax)] = input
  }

  async #failed(subject: Subject, input: Buffer, error: unknown): Promise<void> {
    if (this.#subject === subject) this.#subject = undefined
    await closeQuietly(subject)
    const what = kindOf(error)
    if (this.#isKnown(what)) return
    const alone = await this.#verdict(input)
    if (alone === undefined) return this.#add({ target: this.target.name, what, input, error, needsMore: true })
    await this.#shrink(input, alone)
  }

  async #verdict(input: Buffer, unheard?: Unheard): Promise<Failure | undefined> {
    this.#watchdog?.began(this.target.name, input)
    try {
      return await verdict(this.target, input, unheard)
    } finally {
      this.#watchdog?.ended()
    }
  }

  #isKnown(what: string): boolean {
    return this.findings.length >= findingsMax || this.findings.some(finding => finding.what === what)
  }

  #add(finding: Finding): void {
    if (!this.#isKnown(finding.what)) this.findings.push(finding)
  }

  /** One of these did what only shows behind it: which? */
  async #examine(inputs: readonly Buffer[], unheard: Unheard): Promise<void> {
    await this.close() // what it holds would be counted
    for (const input of inputs) {
      const failure = await this.#verdict(input, unheard)
      if (failure && !this.#isKnown(failure.what)) await this.#shrink(input, failure, unheard)
    }
  }

  async #shrink(input: Buffer, failure: Failure, unheard?: Unheard): Promise<void> {
    const { what, error } = failure
    const small = await minimised(input, async smaller => (await this.#verdict(smaller, unheard))?.what === what)
    this.#add({ target: this.target.name, what, input: small, error, needsMore: false })
  }
}

export interface Failure {
  readonly what: string
  readonly error: unknown
}

function msMaxOf({ msMax = msMaxDefault }: Target): number {
  return msMax
}

/** Runs after which slowness, or hunger for memory, is believed. */
const tries = 3

/** What this input does wrong when it is fed alone to a target that was just set up. */
export async function verdict(target: Target, input: Buffer, unheard?: Unheard): Promise<Failure | undefined> {
  const msMax = msMaxOf(target)
  let fastestMs = Infinity
  let leastBytes = Infinity
  for (let i = 0; i < tries; i++) {
    const subject = await target.open()
    // To collect what is garbage takes long: only where it took too much as it was.
    const before = i === 0 ? memoryTaken() : memoryHeld()
    const began = process.cpuUsage()
    try {
      const words = subject.run(Buffer.from(input))
      if (typeof words !== 'string') await words
    } catch (error) {
      await closeQuietly(subject)
      return { what: kindOf(error), error }
    }
    const { user, system } = process.cpuUsage(began)
    fastestMs = Math.min(fastestMs, (user + system) / 1_000)
    leastBytes = Math.min(leastBytes, memoryTaken() - before)
    await subject.close?.()
    const [rejected] = (await unheard?.take()) ?? []
    if (rejected !== undefined) return { what: `rejected unheard: ${kindOf(rejected)}`, error: rejected }
    const changed = polluted()
    if (changed !== undefined) return failureOf(changed)
    if (fastestMs <= msMax && leastBytes <= memoryMax(input.length)) return undefined
  }
  if (fastestMs > msMax) return failureOf(`takes longer than ${msMax} ms`, `${fastestMs.toFixed(0)} ms`)
  return failureOf('takes more memory than it may', `${about(leastBytes)} bytes for an input of ${input.length}`)
}

function failureOf(what: string, more = ''): Failure {
  return { what, error: new Error(`${what} ${more}`) }
}

/** A subject that failed may fail to close as well, which then says nothing new. */
async function closeQuietly(subject: Subject): Promise<void> {
  try {
    await subject.close?.()
  } catch (error) {
    if (!(error instanceof Error)) throw error
  }
}

/** What went wrong, and where in the library, without what differs from input to input. */
export function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return inGeneral(String(error))
  const cause = error.cause instanceof Error ? ` <- ${inGeneral(`${error.cause.name}: ${error.cause.message}`)}` : ''
  const where = /\bdist\/(lib\/[^:)]+)/.exec(error.stack ?? '')?.[1] ?? ''
  return `${error.name}: ${inGeneral(error.message)}${cause} ${where}`.trim()
}
