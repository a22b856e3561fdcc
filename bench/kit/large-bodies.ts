/** Large bodies: bytes that nobody writes into while they are under way, and what arrives of them. */

/** So many different ones follow each other: none of them is in a processor's cache when its turn comes again, if they are large. */
const different = 64

export class LargeBodies {
  readonly #bodies: readonly Buffer[]
  #sent = 0

  constructor(bytes: number) {
    this.#bodies = Array.from({ length: different }, (_, index) => {
      const body = Buffer.alloc(bytes, index + 1)
      body.writeUInt32LE(index)
      return body
    })
  }

  next(): Buffer {
    return this.#bodies[this.#sent++ % different]!
  }
}

/** The handler of large bodies: looks at their first and last bytes. */
export class LargeArrivals {
  count = 0
  disordered = 0
  readonly #bytes: number
  #due = 0

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  take(body: Buffer): void {
    const index = body.readUInt32LE(0)
    if (index !== this.#due || body.length !== this.#bytes || body[this.#bytes - 1] !== index + 1) this.disordered++
    this.#due = (index + 1) % different
    this.count++
  }
}
