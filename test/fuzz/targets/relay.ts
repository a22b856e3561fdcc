/** A broker's forwarding, fed by two peers and another broker that say what they like. */
import type { Link } from '../../../lib/link/link.ts'
import type { Role } from '../../../lib/link/handshake.ts'
import { FrameRelay, type Whereabouts } from '../../../lib/mesh/relay.ts'
import { labelAt, PREFIX, Reader, readRoute, routeFrame, unrouteFrame } from '../../../lib/wire/frame.ts'
import { FIRST_OF_CHANNEL, ROUTE, UNROUTE } from '../../../lib/wire/kinds.ts'
import { Splitter } from '../../../lib/wire/splitter.ts'
import { StillEnv } from '../still-env.ts'
import { cutFrames, FIRST_OF_ORDERS, frame, u24, u32 } from '../stream.ts'
import { about, claim, pureTarget, refusal } from '../target.ts'
import { ack, labelled, message, resume, tell } from './channel-frames.ts'

// Whose frames follow; what the broker does.
const FROM = FIRST_OF_ORDERS
const TURN = FIRST_OF_ORDERS + 1
const GONE = FIRST_OF_ORDERS + 2
const SLOW = FIRST_OF_ORDERS + 3

const outboxBytesMax = 20_000

/** A link to one of the others: takes what is written, and checks that it is frames that its other end can read. */
class Port {
  readonly remote: { identity: string; incarnation: string; role: Role }
  readonly isOpen = true
  pendingBytes = 0
  got = 0
  readonly #ways = new Set<number>()
  readonly #splitter = new Splitter(1 << 20, (buffer, start, end) => this.#frame(buffer, start, end))

  constructor(identity: string, role: Role) {
    this.remote = { identity, incarnation: '1', role }
  }

  write(bytes: Uint8Array): void {
    this.#splitter.push(Buffer.from(bytes))
    claim(!this.#splitter.within, 'a piece of a frame is written')
  }

  #frame(buffer: Buffer, start: number, end: number): void {
    this.got++
    const kind = buffer[start]!
    if (kind === ROUTE) {
      const { label } = readRoute(new Reader().set(buffer, start + 1, end))
      claim(label !== 0 && !this.#ways.has(label), 'a way under a label that is in use')
      this.#ways.add(label)
    } else if (kind === UNROUTE) {
      claim(end - start === 6, 'the end of a way has another size')
      if (buffer[start + 4] === 1) this.#ways.delete(labelAt(buffer, start))
    } else {
      claim(kind >= FIRST_OF_CHANNEL && end - start >= 4, `a frame of kind ${kind} is forwarded`)
      claim(this.#ways.has(labelAt(buffer, start)), 'a frame on no way')
    }
  }
}

class Hub implements Whereabouts {
  readonly #env = new StillEnv()
  readonly #ports = [new Port('a', 'peer'), new Port('b', 'peer'), new Port('hub2', 'broker')]
  readonly #relay = new FrameRelay(this.#env, { outboxBytesMax, outboxesBytesMax: 2 * outboxBytesMax }, this)
  readonly #gone = new Set<Port>()
  readonly #words = new Set<string>()
  #from = this.#ports[0]!

  constructor() {
    for (const port of this.#ports) this.#relay.add(port as unknown as Link)
  }

  linkTo(to: { identity: string }, from: Link): Link | undefined {
    const port = this.#ports.find(({ remote }) => remote.identity === to.identity)
    if (port && !this.#gone.has(port)) return port as unknown as Link
    const broker = this.#ports[2]!
    return to.identity.startsWith('far') && (from as unknown as Port) !== broker && !this.#gone.has(broker)
      ? (broker as unknown as Link)
      : undefined
  }

  speaksForOthers(link: Link): boolean {
    return link.remote.role === 'broker'
  }

  isBehind(): void {
    this.#words.add('behind')
  }

  take(each: Buffer): void {
    const number = each[PREFIX + 1] ?? 0
    const port = this.#ports[number % this.#ports.length]!
    switch (each[PREFIX]) {
      case FROM:
        this.#from = port
        return
      case TURN:
        return this.#env.turn()
      case SLOW:
        port.pendingBytes = number > 2 ? outboxBytesMax : 0
        return
      case GONE:
        return this.#leave(port)
      default:
        return this.#hear(each)
    }
  }

  #leave(port: Port): void {
    if (this.#gone.has(port)) return
    this.#gone.add(port)
    this.#relay.remove(port as unknown as Link)
  }

  #hear(each: Buffer): void {
    if (this.#gone.has(this.#from) || each.length <= PREFIX) return
    try {
      this.#relay.frame(this.#from as unknown as Link, each, PREFIX, each.length)
    } catch (error) {
      this.#words.add(refusal(error, 'BAD_FRAME'))
      this.#leave(this.#from) // its link is closed
    }
  }

  end(): string {
    this.#env.turn()
    for (const port of this.#ports) this.#leave(port)
    this.#env.turn()
    claim(this.#env.timersSet === 0, 'timers are left')
    const got = this.#ports.map(port => about(port.got)).join(' ')
    return `${got} ${about(this.#relay.forwarded)} ${[...this.#words].sort().join(', ')}`
  }
}

function route(label: number, from: string, to: string): Buffer {
  return routeFrame({ label, pair: 77, from: { identity: from, incarnation: '1' }, to: { identity: to, incarnation: '1' } })
}

function seeds(): Buffer[] {
  const open = [frame(FROM, [0]), route(5, 'a', 'b'), frame(FROM, [1]), route(9, 'b', 'a'), frame(FROM, [0])]
  const talk = [resume(1, 0, 0), message(0, 'bob', 'hi'), tell(1, 'x/1', {}), ack(3)]
  return [
    Buffer.concat([...open, ...talk.map(each => labelled(5, each)), frame(TURN, []), unrouteFrame(5, true, 1)]),
    Buffer.concat([...open, frame(FROM, [1]), ...talk.map(each => labelled(9, each)), frame(GONE, [0])]),
    Buffer.concat([...open, frame(SLOW, [4]), ...talk.map(each => labelled(5, each)), frame(TURN, [])]),
    Buffer.concat([frame(FROM, [2]), route(3, 'far', 'a'), labelled(3, resume(1, 0, 0)), frame(FROM, [0]), route(4, 'a', 'far')]),
    Buffer.concat([...open, route(5, 'a', 'hub2'), labelled(5, message(0, 'bob', Buffer.alloc(3_000))), frame(TURN, [])]),
    route(1, 'b', 'a'),
  ]
}

export const relayTarget = pureTarget(
  {
    name: 'relay',
    about: "a broker's forwarding between two peers and another broker",
    bytesMax: 16_384,
    framed: true,
    dictionary: [
      u24(5),
      u24(9),
      u32(77),
      ...[0, 1, 2].map(port => frame(FROM, [port])),
      frame(TURN, []),
      frame(SLOW, [4]),
      Buffer.from([1, 0x61]),
    ],
    seeds,
  },
  input => {
    const hub = new Hub()
    for (const each of cutFrames(input)) hub.take(each)
    return hub.end()
  },
)
