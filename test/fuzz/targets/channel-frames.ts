/** Frames of a channel, for conversations to begin with. */
import { encodeBody } from '../../../lib/wire/body.ts'
import { PREFIX } from '../../../lib/wire/frame.ts'
import { ACK, CALL, CANCEL, LEAVE, MESSAGE, REFUSE, REPLY, REQUEST, RESUME, ROOM, TELL, VOID } from '../../../lib/wire/kinds.ts'
import { address, frame, shortText, u16, u24, u32, u48 } from '../stream.ts'

export function resume(theirs: number, ours: number, expected: number): Buffer {
  return frame(RESUME, u24(0), u32(theirs), u32(ours), u32(expected))
}

export function ack(sequence: number): Buffer {
  return frame(ACK, u24(0), u32(sequence))
}

export function leave(): Buffer {
  return frame(LEAVE, u24(0))
}

function numbered(kind: number, sequence: number, ...parts: (Uint8Array | readonly number[])[]): Buffer {
  return frame(kind, u24(0), u32(sequence), ...parts)
}

export function message(sequence: number, to: string, body: unknown, number = sequence + 1): Buffer {
  return numbered(MESSAGE, sequence, address(to), address('mallory'), u48(number), encodeBody(body))
}

export function request(sequence: number, to: string, body: unknown, callId: number, deadlineMs = 1_000): Buffer {
  const names = [address(to), address('mallory'), u48(sequence + 1)]
  return numbered(REQUEST, sequence, ...names, u32(callId), u32(deadlineMs), encodeBody(body))
}

export function tell(sequence: number, protocol: string, body: unknown): Buffer {
  return numbered(TELL, sequence, shortText(protocol), encodeBody(body))
}

export function call(sequence: number, protocol: string, body: unknown, callId: number, deadlineMs = 1_000): Buffer {
  return numbered(CALL, sequence, u32(callId), u32(deadlineMs), shortText(protocol), encodeBody(body))
}

export function reply(sequence: number, callId: number, failed: boolean, body: unknown): Buffer {
  return numbered(REPLY, sequence, u32(callId), [failed ? 1 : 0], encodeBody(body))
}

export function cancel(sequence: number, callId: number): Buffer {
  return numbered(CANCEL, sequence, u32(callId))
}

export function refuse(sequence: number, refused: number, reason: number): Buffer {
  return numbered(REFUSE, sequence, u32(refused), [reason])
}

export function room(sequence: number, of: string): Buffer {
  return numbered(ROOM, sequence, address(of))
}

export function blank(sequence: number): Buffer {
  return numbered(VOID, sequence, u16(0), u16(0))
}

/** The same frame under another label. */
export function labelled(label: number, given: Buffer): Buffer {
  const changed = Buffer.from(given)
  changed.writeUIntBE(label, PREFIX + 1, 3)
  return changed
}

/** Addresses that a channel numbers, and uses by their numbers. */
export function numberedNames(sequence: number): Buffer[] {
  const defined = Buffer.concat([u16(0x4000 | 5), u16(0), Buffer.from('alice'), u16(0x4000 | 3), u16(1), Buffer.from('bob')])
  const used = Buffer.concat([u16(0x8000), u16(0x8001)])
  return [defined, used].map((names, at) => numbered(MESSAGE, sequence + at, names, u48(sequence + at), encodeBody(at)))
}
