/** Protocol-buffers messages as bytes, written from the format's own definition: nothing of the client that is tested with it. */

/** The fields of a message: numbers for varints, bytes for everything that has a length. A repeated field has several values. */
export class Fields {
  readonly #values = new Map<number, (number | Buffer)[]>()

  static read(bytes: Buffer): Fields {
    const fields = new Fields()
    for (let at = 0; at < bytes.length;) {
      const [tag, afterTag] = varint(bytes, at)
      const [head, afterHead] = varint(bytes, afterTag)
      const field = tag >>> 3
      switch (tag & 7) {
        case 0:
          fields.#add(field, head)
          at = afterHead
          break
        case 2:
          if (afterHead + head > bytes.length) throw new Error(`field ${field} is cut off`)
          fields.#add(field, bytes.subarray(afterHead, afterHead + head))
          at = afterHead + head
          break
        default:
          throw new Error(`field ${field} has the unknown type ${tag & 7}`)
      }
    }
    return fields
  }

  #add(field: number, value: number | Buffer): void {
    const values = this.#values.get(field)
    if (values) values.push(value)
    else this.#values.set(field, [value])
  }

  number(field: number): number | undefined {
    const value = this.#values.get(field)?.at(-1)
    if (value !== undefined && typeof value !== 'number') throw new Error(`field ${field} is no number`)
    return value
  }

  flag(field: number): boolean | undefined {
    const value = this.number(field)
    return value === undefined ? undefined : value !== 0
  }

  bytes(field: number): Buffer | undefined {
    return this.all(field).at(-1)
  }

  required(field: number): Buffer {
    const value = this.bytes(field)
    if (!value) throw new Error(`field ${field} is missing`)
    return value
  }

  all(field: number): Buffer[] {
    return (this.#values.get(field) ?? []).map(value => {
      if (typeof value === 'number') throw new Error(`field ${field} has no length`)
      return value
    })
  }
}

function varint(bytes: Buffer, at: number): [value: number, after: number] {
  let value = 0
  for (let shift = 0; shift < 64; shift += 7) {
    const byte = bytes[at++]
    if (byte === undefined) throw new Error('a number is cut off')
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return [value, at]
  }
  throw new Error('a number is too long')
}

function encodedVarint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      bytes.push(rest)
      return Buffer.from(bytes)
    }
    bytes.push((rest % 128) | 0x80)
  }
}

/** A message, field by field. What is `undefined` is left out. */
export class Message {
  readonly #parts: Buffer[] = []

  number(field: number, value: number | undefined): this {
    if (value !== undefined) this.#parts.push(encodedVarint(field << 3), encodedVarint(value))
    return this
  }

  flag(field: number, value: boolean | undefined): this {
    return this.number(field, value === undefined ? undefined : Number(value))
  }

  bytes(field: number, value: Buffer | string | undefined): this {
    if (value === undefined) return this
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    this.#parts.push(encodedVarint((field << 3) | 2), encodedVarint(bytes.length), bytes)
    return this
  }

  all(field: number, values: Iterable<Buffer | string>): this {
    for (const value of values) this.bytes(field, value)
    return this
  }

  encoded(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** A message as it goes over the connection: length, code, body. */
export function frame(code: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(body.length + 1, 0)
  head[4] = code
  return Buffer.concat([head, body])
}
