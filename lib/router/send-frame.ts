/**
 * A send becomes a frame: its body encoded, its addresses and its number before it. docs/protocol.md, "Messages, requests,
 * calls".
 */
import { homingError } from '../errors.ts'
import type { Channel } from '../mesh/channel.ts'
import { bytesHead, encodeBody } from '../wire/body.ts'
import { NumbersOut, writeShortText, writeUint16, writeUint32, writeUint48 } from '../wire/frame.ts'
import { CALL, REQUEST, TELL } from '../wire/kinds.ts'
import type { BodyLimits } from '../wire/scan.ts'
import { atOnceBytes, Encoded, fillFrame, isLarge } from './frame-body.ts'
import type { Send } from './send.ts'
import type { Turn } from './turn.ts'

/**
 * Nearly every send: nothing waits before it, its addresses have their numbers. It is encoded right into the buffer of its channel.
 * False: it could not be; nothing has happened yet. True: it was written, or cannot be encoded, and its caller was told so.
 */
export function writeAtOnce(send: Send, channel: Channel, body: unknown, limits: Readonly<BodyLimits>, turn: Turn): boolean {
  const { flow } = send
  const { numbersOut } = channel
  const to = numbersOut.reference(flow.destination)
  const from = numbersOut.reference(send.from)
  if (to === undefined || from === undefined || !channel.admits(atOnceBytes)) return false
  if (isLarge(body)) return false
  let at = channel.begin(send.kind, atOnceBytes)
  const { buffer, writes } = channel
  at = writeUint16(buffer, at, to)
  at = writeUint16(buffer, at, from)
  at = writeUint48(buffer, at, send.number)
  if (send.kind === REQUEST) at = writeCall(buffer, at, send, turn)
  const end = encodeInto(channel, at, send, body, limits)
  // What the application's own code did meanwhile, it did before this.
  if (end < 0 || channel.writes !== writes) return send.settled
  send.bodyBytes = end - at
  flow.wroteAtOnce()
  send.channel = channel
  send.sequence = channel.commit(end, send)
  return true
}

/** Where the body ends, or -1 where it does not fit, or cannot be encoded, which its caller is told. */
function encodeInto(channel: Channel, at: number, send: Send, body: unknown, limits: Readonly<BodyLimits>): number {
  try {
    return fillFrame(channel, at, body, limits)
  } catch (error) {
    return notEncoded(send, error)
  }
}

/** What a getter or a `toJSON` of the body throws is a reason like any other. */
function notEncoded(send: Send, error: unknown): -1 {
  send.settle({ status: 'refused', cause: homingError(error, 'UNENCODABLE', 'the body could not be encoded') })
  return -1
}

/** For a send that waits. False: it cannot be encoded, and its caller was told so. */
export function encodeApart(send: Send, body: unknown, limits: Readonly<BodyLimits>): boolean {
  try {
    if (body instanceof Encoded) send.body = body.bytes
    else if (isLarge(body)) {
      send.body = bytesHead(body.length, limits)
      send.tail = body
    } else send.body = encodeBody(body, limits)
  } catch (error) {
    return notEncoded(send, error) >= 0
  }
  send.bodyBytes = send.body.length + (send.tail?.length ?? 0)
  return true
}

/** Writes a send that waited to its channel, which admits it. */
export function writeSend(send: Send, channel: Channel, turn: Turn): void {
  const { kind, flow, from, body, tail } = send
  const names = Buffer.byteLength(from) + (flow.kind === 'address' ? Buffer.byteLength(flow.destination) : 0)
  let at = channel.begin(kind, body.length + 2 * NumbersOut.size(0) + names + 14)
  const { buffer } = channel
  if (flow.kind === 'address') {
    at = channel.numbersOut.write(buffer, at, flow.destination)
    at = channel.numbersOut.write(buffer, at, from)
    at = buffer.writeUIntBE(send.number, at, 6)
    if (kind === REQUEST) at = writeCall(buffer, at, send, turn)
  } else if (kind === TELL) at = writeShortText(buffer, at, from)
  else if (kind === CALL) at = writeShortText(buffer, writeCall(buffer, at, send, turn), from)
  else {
    at = buffer.writeUInt32BE(send.callId, at)
    at = buffer.writeUInt8(from === '' ? 0 : 1, at)
  }
  buffer.set(body, at)
  send.body = nothing
  send.channel = channel
  send.sequence = channel.commit(at + body.length, send, tail)
}

function writeCall(buffer: Buffer, at: number, send: Send, turn: Turn): number {
  const leftMs = Math.max(1, Math.min(0xffff_ffff, Math.round(send.deadlineAtMs - turn.nowMs)))
  return writeUint32(buffer, writeUint32(buffer, at, send.callId), leftMs)
}

const nothing = Buffer.alloc(0)
