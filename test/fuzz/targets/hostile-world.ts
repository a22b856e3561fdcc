/** A cluster on virtual time, and somebody with a key to it, who says what the input says: what the peer and the broker are fuzzed in. */
import { MemoryEngine } from '../../../lib/datastores/memory.ts'
import type { Datastore } from '../../../lib/datastores/datastore.ts'
import type { Connection, ConnectionHandler, Env } from '../../../lib/env/env.ts'
import { MemoryNetwork } from '../../../lib/env/memory-network.ts'
import { killProcess, virtualEnv } from '../../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../../lib/env/virtual-time.ts'
import { HomingError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/index.ts'
import { decodeBody, encodeBody } from '../../../lib/wire/body.ts'
import { PREFIX, readUint32 } from '../../../lib/wire/frame.ts'
import { HELLO, PROOF, REPLY } from '../../../lib/wire/kinds.ts'
import { Splitter } from '../../../lib/wire/splitter.ts'
import { Dice } from '../dice.ts'
import { cutFrames, FIRST_OF_ORDERS, frame } from '../stream.ts'
import { claim } from '../target.ts'
import { resume } from './channel-frames.ts'

/** Time passes: the payload says how much, in units of 8 ms. */
export const TIME = FIRST_OF_ORDERS
/** From here on the kinds of orders belong to the target. */
export const FIRST_OF_OWN = FIRST_OF_ORDERS + 1

export const mallory = { identity: 'mallory', incarnation: '1' }
export const cluster = 'fuzz'
const port = 7400

/** Hosts that are never the hostile one. */
const hostile = 'mallory'

export class HostileWorld {
  readonly time = new VirtualTime({ seed: 'fuzz' })
  readonly network = new MemoryNetwork(this.time.timers, this.time.random)
  readonly engine = new MemoryEngine(this.time.clock)
  readonly #hosts: string[] = []
  #inputs = 0
  /** What the library logged as a failure of its own. */
  readonly failures: unknown[] = []
  readonly logger: Logger = {
    debug() {},
    info: data => this.#hear(data),
    warn: data => this.#hear(data),
    error: data => this.#hear(data),
  }

  #hear(data: object): void {
    const { error } = data as { error?: unknown }
    if (error !== undefined && !(error instanceof HomingError)) this.failures.push(error)
    if (error instanceof HomingError && error.code === 'BAD_FRAME' && error.cause !== undefined) this.failures.push(error.cause)
  }

  /** What peers and brokers of this world have in common. */
  optionsOf(host: string): { env: Env; openStore: () => Promise<Datastore>; cluster: string; listen: string; logger: Logger } {
    this.#hosts.push(host)
    const env = virtualEnv(this.time, this.network, host)
    return {
      env,
      openStore: () => Promise.resolve(this.engine.connect()),
      cluster,
      listen: endpointOf(host),
      logger: this.logger,
    }
  }

  async settle<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    const done = (): void => void (settled = true)
    promise.then(done, done)
    await this.time.until(() => settled, 60_000)
    return promise
  }

  /**
   * One conversation with `host`: the handshake and a new channel, then the frames of the input, then the end of the connection. `order` is
   * called for the frames that are for the harness. Returns what was answered, by kinds of frames.
   */
  async converse(host: string, input: Buffer, order: (kind: number, payload: Buffer) => void): Promise<string> {
    const end = new HostileEnd(Dice.of(input))
    end.connection = this.network.transportOf(hostile).dial(endpointOf(host), undefined, 1_000, end)
    await this.time.until(() => end.isOpen, 1_000)
    const introduction = { cluster, ...mallory, role: 'peer', capabilities: [], nonce: new Uint8Array(32) }
    end.say(frame(HELLO, encodeBody({ versions: [1, 1], ...introduction })))
    end.say(frame(PROOF, encodeBody({ proof: new Uint8Array(0) })))
    await this.time.run(5)
    claim(!end.isClosed, 'a handshake fails')
    end.say(resume(++this.#inputs, 0, 0))
    for (const each of cutFrames(input)) {
      const kind = each[PREFIX] ?? 0
      if (kind === TIME) await this.time.run(8 * (each[PREFIX + 1] ?? 1))
      else if (kind >= FIRST_OF_ORDERS) order(kind, each.subarray(PREFIX + 1))
      else end.say(each)
    }
    await this.time.run(60)
    const closed = end.isClosed
    end.connection.destroy()
    await this.time.run(20)
    const [failure] = this.failures.splice(0)
    if (failure !== undefined) throw failure
    return `${[...end.heard].sort((a, b) => a - b).join(' ')} ${closed ? 'closed' : 'open'} ${[...end.codes].sort().join(' ')}` // prettier-ignore
  }

  end(): void {
    for (const host of [...this.#hosts, hostile]) killProcess(this.time, this.network, host)
  }
}

/** Codes of errors that a library may answer with; another one is an error that nobody foresaw. */
const foreseen = /^(?:homing:)?(?:CLOSED|REFUSED|FENCED|DATASTORE|TOO_LARGE|UNENCODABLE|LOST|IDENTITY_IN_USE|BAD_OPTION|OVERLOADED|TIMEOUT)$/ // prettier-ignore

class HostileEnd implements ConnectionHandler {
  connection!: Connection
  isOpen = false
  isClosed = false
  readonly heard = new Set<number>()
  readonly codes = new Set<string>()
  readonly #dice: Dice
  readonly #splitter = new Splitter(1 << 22, (buffer, start, end) => this.#frame(buffer, start, end))

  constructor(dice: Dice) {
    this.#dice = dice
  }

  opened(): void {
    this.isOpen = true
  }

  data(chunk: Uint8Array): void {
    this.#splitter.push(Buffer.from(chunk))
  }

  closed(): void {
    this.isClosed = true
  }

  say(bytes: Buffer): void {
    const at = this.#dice.chance(0.8) ? bytes.length : this.#dice.below(bytes.length)
    this.connection.write(Buffer.from(bytes.subarray(0, at)))
    this.connection.write(Buffer.from(bytes.subarray(at)))
  }

  #frame(buffer: Buffer, start: number, end: number): void {
    const kind = buffer[start]!
    this.heard.add(kind)
    if (kind !== REPLY || buffer[start + 12] !== 1 || readUint32(buffer, start) === 0) return
    const { code } = decodeBody(buffer, start + 13, end) as { code: string }
    claim(foreseen.test(code), `an answer says ${JSON.stringify(decodeBody(buffer, start + 13, end))}`)
    this.codes.add(code)
  }
}

export function endpointOf(host: string): string {
  return `tcp://${host}:${port}`
}
