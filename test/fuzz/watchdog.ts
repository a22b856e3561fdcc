/** Notices that one input goes on for ever: the loop that feeds it cannot. */
import { Worker } from 'node:worker_threads'

/** An input that takes longer has hung, ms. */
const hangMs = 10_000
const inputBytesMax = 1 << 17
const nameBytesMax = 64
const headBytes = 16

/** Shared with its thread: how many inputs were begun, whether one runs, the lengths of name and input; then both. */
export class Watchdog {
  readonly #cells: Int32Array
  readonly #bytes: Uint8Array
  readonly #worker: Worker

  constructor() {
    const shared = new SharedArrayBuffer(headBytes + nameBytesMax + inputBytesMax)
    this.#cells = new Int32Array(shared, 0, headBytes / 4)
    this.#bytes = new Uint8Array(shared, headBytes)
    this.#worker = new Worker(new URL('./watchdog-worker.js', import.meta.url), { workerData: { shared, hangMs, nameBytesMax } })
    this.#worker.unref()
  }

  began(target: string, input: Uint8Array): void {
    const cells = this.#cells
    const name = Buffer.from(target)
    const kept = input.subarray(0, inputBytesMax)
    this.#bytes.set(name)
    this.#bytes.set(kept, nameBytesMax)
    cells[2] = name.length
    cells[3] = kept.length
    cells[0] = (cells[0]! + 1) | 0
    Atomics.store(cells, 1, 1)
  }

  ended(): void {
    Atomics.store(this.#cells, 1, 0)
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}
