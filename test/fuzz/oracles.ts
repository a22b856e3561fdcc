/** What no input may do, whatever the target: change prototypes, take long, take memory, reject unheard. FAULTS: F24, F25. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** An input may take this long, ms, unless its target says otherwise. */
export const msMaxDefault = 50

/** Memory that an input of so many bytes may take, bytes. */
export function memoryMax(inputBytes: number): number {
  return 8 * inputBytes + (8 << 20)
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Before and after: what lies in the heap and beside it, bytes. */
export function memoryTaken(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The same, without what is garbage already. */
export function memoryHeld(): number {
  collect()
  return memoryTaken()
}

const watched = [Object, Array, Function, String, Number, BigInt, Date, Map, Set, Promise, Error, Uint8Array, Buffer].map(
  each => each.prototype as object,
)

function facts(): unknown[] {
  return watched.flatMap(prototype =>
    Reflect.ownKeys(prototype).flatMap(key => {
      const { value, get, set } = Object.getOwnPropertyDescriptor(prototype, key)!
      return [key, value, get, set] as unknown[]
    }),
  )
}

const pristine = facts()

/** The first difference of the prototypes that everything shares from what they were at the start. */
export function polluted(): string | undefined {
  const now = facts()
  if (now.length === pristine.length && now.every((fact, at) => Object.is(fact, pristine[at]))) return undefined
  const at = now.findIndex((fact, place) => !Object.is(fact, pristine[place]))
  for (const key of Object.keys(Object.prototype)) Reflect.deleteProperty(Object.prototype, key)
  return `a prototype was changed: ${String(now[at])}`
}

/** Rejections that nobody heard. While one of these lives, they do not end the process. */
export class Unheard {
  #errors: unknown[] = []
  readonly #hear = (error: unknown): void => void this.#errors.push(error)

  constructor() {
    process.on('unhandledRejection', this.#hear)
  }

  /** Those up to now. They are known after a turn of the loop. */
  async take(): Promise<unknown[]> {
    await new Promise<void>(resolve => setImmediate(resolve))
    const errors = this.#errors
    this.#errors = []
    return errors
  }

  [Symbol.dispose](): void {
    process.off('unhandledRejection', this.#hear)
  }
}
