/** A peer without router or sessions: sends numbered bytes over a mesh, and writes down what it hears. */

import type { Env } from '../../lib/env/env.ts'
import { HomingError } from '../../lib/errors.ts'
import type { Remote } from '../../lib/link/handshake.ts'
import type { CloseReason } from '../../lib/link/link.ts'
import type { Channel, ChannelEnd, Waiter } from '../../lib/mesh/channel.ts'
import type { Mesh, MeshHandler } from '../../lib/mesh/mesh.ts'
import type { Run } from '../../lib/sessions/directory.ts'
import type { Reader } from '../../lib/wire/frame.ts'
import { MESSAGE, REQUEST } from '../../lib/wire/kinds.ts'

/** Bytes of a payload before its filling: two addresses that are none, and its number. */
const payloadHead = 8

export type Answer = 'accepted' | `refused ${number}` | 'lost'

/** What was sent, and every answer that came: exactly one is right. */
export class Sent implements Waiter {
  readonly number: number
  readonly bytes: number
  readonly answers: Answer[] = []
  readonly #told: (sent: Sent, answer: Answer) => void
  /** The channel it was written to, and its number there; before that it waits. */
  channel: Channel | undefined
  sequence = -1
  /** What a refusal gave back. */
  returned: { kind: number; payload: Buffer } | undefined

  constructor(number: number, bytes: number, told: (sent: Sent, answer: Answer) => void) {
    this.number = number
    this.bytes = bytes
    this.#told = told
  }

  get answer(): Answer | undefined {
    return this.answers[0]
  }

  accepted(): void {
    this.#hear('accepted')
  }

  refused(reason: number, kind: number, payload: Buffer): void {
    this.returned = { kind, payload: Buffer.from(payload) }
    this.#hear(`refused ${reason}`)
  }

  lost(): void {
    this.#hear('lost')
  }

  #hear(answer: Answer): void {
    this.answers.push(answer)
    this.#told(this, answer)
  }
}

/** What arrived and was accepted. */
export interface Taken {
  from: string
  kind: number
  number: number
  bytes: number
}

export class MeshPeer implements MeshHandler {
  readonly run: Run
  readonly env: Env
  mesh!: Mesh
  readonly taken: Taken[] = []
  readonly sent: Sent[] = []
  /** In the order in which they came. */
  readonly answered: Sent[] = []
  /** What the mesh told, in words: `down b`, `ended b dead`, `link up b`, ... */
  readonly events: string[] = []
  readonly dialErrors: HomingError[] = []
  readonly refusedLinks: HomingError[] = []
  /** Why not to accept a frame; 0 accepts it. */
  refuses: (arrived: Taken, channel: Channel) => number = () => 0
  /** Called after the event was written down. */
  hears: (event: string, channel: Channel | undefined) => void = () => undefined
  /** Called with each answer. */
  learns: (sent: Sent) => void = () => undefined
  /** Called with each acknowledgement. */
  acknowledges: (channel: Channel, sequence: number) => void = () => undefined
  readonly #waiting = new Map<string, { run: Run; queue: Sent[] }>()

  constructor(run: Run, env: Env) {
    this.run = run
    this.env = env
  }

  // Sending

  /** Sends as soon as the channel admits it, in order. */
  send(to: Run, bytes = 0): Sent {
    const sent = this.#sent(bytes)
    let line = this.#waiting.get(to.identity)
    if (line?.run.incarnation !== to.incarnation) this.#waiting.set(to.identity, (line = { run: to, queue: [] }))
    line.queue.push(sent)
    this.pump(to)
    return sent
  }

  sendMany(to: Run, count: number, bytes: (index: number) => number = () => 0): Sent[] {
    return Array.from({ length: count }, (_, index) => this.send(to, bytes(index)))
  }

  /** Writes now, whatever the channel says. */
  write(channel: Channel, bytes = 0, kind = MESSAGE): Sent {
    const sent = this.#sent(bytes)
    this.#write(sent, channel, kind)
    return sent
  }

  /** Writes what waits for this run and is admitted. */
  pump(to: Run): void {
    const line = this.#waiting.get(to.identity)
    if (line?.run.incarnation !== to.incarnation) return
    while (line.queue.length > 0) {
      const channel = this.mesh.channelTo(to)
      if (!channel.admits(line.queue[0]!.bytes + payloadHead)) return
      this.#write(line.queue.shift()!, channel, MESSAGE)
    }
  }

  waitingFor(to: Run): number {
    return this.#waiting.get(to.identity)?.queue.length ?? 0
  }

  #sent(bytes: number): Sent {
    const sent = new Sent(this.sent.length, bytes, heard => {
      this.answered.push(heard)
      this.learns(heard)
    })
    this.sent.push(sent)
    return sent
  }

  #write(sent: Sent, channel: Channel, kind: number): void {
    const named = kind === MESSAGE || kind === REQUEST
    const at = channel.begin(kind, payloadHead + sent.bytes)
    const { buffer } = channel
    // Frames of other kinds have no addresses: bytes that would be none if they were read as such.
    buffer.writeUInt32BE(named ? 0 : 0xdead_beef, at)
    buffer.writeUInt32BE(sent.number, at + 4)
    buffer.fill(sent.number & 0xff, at + payloadHead, at + payloadHead + sent.bytes)
    sent.channel = channel
    sent.sequence = channel.commit(at + payloadHead + sent.bytes, sent)
  }

  // Hearing

  get numbers(): number[] {
    return this.taken.map(({ number }) => number)
  }

  heard(event: string): number {
    return this.events.filter(each => each === event).length
  }

  accept(channel: Channel, kind: number, reader: Reader): number {
    if (kind === MESSAGE || kind === REQUEST) {
      channel.numbersIn.read(reader)
      channel.numbersIn.read(reader)
    } else reader.u32()
    const number = reader.u32()
    const { buffer, at, end } = reader
    const bytes = end - at
    if (!buffer.subarray(at, end).equals(Buffer.alloc(bytes, number & 0xff))) throw new Error(`message ${number} came changed`)
    const arrived = { from: channel.remote.identity, kind, number, bytes }
    const reason = this.refuses(arrived, channel)
    if (reason === 0) this.taken.push(arrived)
    return reason
  }

  room(channel: Channel, address: string): void {
    this.#hear(`room ${channel.remote.identity} ${address}`, channel)
  }

  writable(channel: Channel): void {
    this.pump(channel.remote)
    this.#hear(`writable ${channel.remote.identity}`, channel)
  }

  acknowledged(channel: Channel, sequence: number): void {
    this.acknowledges(channel, sequence)
  }

  leaving(channel: Channel): void {
    this.#hear(`leaving ${channel.remote.identity}`, channel)
  }

  down(channel: Channel): void {
    this.#hear(`down ${channel.remote.identity}`, channel)
  }

  ended(channel: Channel, why: ChannelEnd): void {
    this.#hear(`ended ${channel.remote.identity} ${why}`, channel)
  }

  linkUp(remote: Remote): void {
    this.#hear(`link up ${remote.identity}`, undefined)
  }

  linkDown(identity: string, reason: CloseReason): void {
    this.#hear(`link down ${identity} ${reason}`, undefined)
  }

  linkRefused(_remote: string, error: HomingError): void {
    this.refusedLinks.push(error)
    this.#hear(`link refused ${error.code}`, undefined)
  }

  dialFailed(identity: string, error: HomingError): void {
    this.dialErrors.push(error)
    this.#hear(`dial failed ${identity}`, undefined)
  }

  #hear(event: string, channel: Channel | undefined): void {
    this.events.push(event)
    this.hears(event, channel)
  }
}
