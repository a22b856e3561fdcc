/** The fields of frames: addresses with their numbers, ways through a broker. */
import { addressEnd, NumbersIn, NumbersOut, Reader, readRoute, routeFrame, type Route } from '../../../lib/wire/frame.ts'
import { ROUTE } from '../../../lib/wire/kinds.ts'
import { nameBytesMax } from '../../../lib/wire/limits.ts'
import { address, shortText, u16, u24, u32 } from '../stream.ts'
import { about, claim, pureTarget, refusal } from '../target.ts'

const longest = 'x'.repeat(nameBytesMax)

/** Addresses as an input: a byte that says so, then one after the other. */
function addresses(...parts: Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([0]), ...parts])
}

function defined(number: number, text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([u16(0x4000 | bytes.length), u16(number), bytes])
}

function route(...names: string[]): Buffer {
  return Buffer.concat([Buffer.from([1]), u24(7), u32(0xcafe), ...names.map(shortText)])
}

function readAddresses(input: Buffer): string {
  const reader = new Reader().set(input, 1, input.length)
  const numbersIn = new NumbersIn()
  const texts: string[] = []
  let end = 'end'
  try {
    while (reader.at < input.length) {
      const at = reader.at
      const text = numbersIn.read(reader)
      claim(addressEnd(input, at) === reader.at, 'an address ends elsewhere')
      claim(Buffer.byteLength(text) <= 3 * nameBytesMax, 'an address is longer than any may be')
      texts.push(text)
    }
  } catch (error) {
    end = refusal(error, 'BAD_FRAME')
  }
  writeAgain(texts.filter(text => Buffer.byteLength(text) <= nameBytesMax))
  return `${about(texts.length)} ${end}`
}

/** What was read, written by a channel and read at its other end, twice: written out the first time, numbered the second. */
function writeAgain(texts: readonly string[]): void {
  const out = new NumbersOut()
  const target = Buffer.alloc(8 + 2 * texts.reduce((bytes, text) => bytes + NumbersOut.size(Buffer.byteLength(text)), 0))
  let end = 0
  for (const text of [...texts, ...texts]) end = out.write(target, end, text)
  const reader = new Reader().set(target, 0, end)
  const numbersIn = new NumbersIn()
  for (const text of [...texts, ...texts])
    claim(numbersIn.read(reader) === text, 'an address is another one when it was written again')
  claim(reader.at === end, 'addresses that were written end elsewhere')
}

function namesOf({ from, to }: Route): string[] {
  return [from.identity, from.incarnation, to.identity, to.incarnation]
}

/** What is read is what a broker writes on: the next one must read the same. */
function readWay(input: Buffer): string {
  let read: Route
  try {
    read = readRoute(new Reader().set(input, 1, input.length))
  } catch (error) {
    return refusal(error, 'BAD_FRAME')
  }
  const frame = routeFrame(read)
  claim(frame[4] === ROUTE && frame.readUInt32BE(0) === frame.length - 4, 'a way is written on as no frame')
  const again = readRoute(new Reader().set(frame, 5, frame.length))
  const same = again.label === read.label && again.pair === read.pair && namesOf(again).join('\0') === namesOf(read).join('\0')
  claim(same, 'a way is written on as another one')
  return `way ${namesOf(read).map(name => about(name.length)).join(' ')}` // prettier-ignore
}

export const framesTarget = pureTarget(
  {
    name: 'frames',
    about: 'fields of frames: addresses and their numbers, ways',
    bytesMax: 4_096,
    dictionary: [
      u16(0x4003),
      u16(0x8000),
      u16(0x8001),
      u16(0xffff),
      u16(nameBytesMax),
      u16(0x4000 | nameBytesMax),
      Buffer.from([0xff, 0xfe]),
    ],
    seeds: () => [
      addresses(address('bob'), address('alice'), u16(0)),
      addresses(defined(0, 'bob'), defined(1, 'alice'), u16(0x8000), u16(0x8001)),
      addresses(defined(0, 'bob'), defined(0, 'carol'), u16(0x8000)),
      addresses(defined(0, longest), address(longest), u16(0x8000)),
      addresses(address('é\u{1f600}'), address('\ufffd')),
      route('a', '1', 'b', '2'),
      route(longest, longest, longest, longest),
      route('é'.repeat(95), '\u{1f600}', '', ''),
    ],
  },
  input => (input[0]! & 1 ? readWay(input) : readAddresses(input)),
)
