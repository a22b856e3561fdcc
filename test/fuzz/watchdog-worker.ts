/** The thread of the watchdog: says which input hangs, and ends the process. */
import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'

const { shared, hangMs, nameBytesMax } = workerData as { shared: SharedArrayBuffer; hangMs: number; nameBytesMax: number }
const cells = new Int32Array(shared, 0, 4)
const bytes = new Uint8Array(shared, 16)

let seen = -1
let sinceMs = performance.now()
setInterval(() => {
  const begun = Atomics.load(cells, 0)
  if (begun !== seen || Atomics.load(cells, 1) === 0) {
    seen = begun
    sinceMs = performance.now()
    return
  }
  if (performance.now() - sinceMs < hangMs) return
  const target = Buffer.from(bytes.slice(0, cells[2])).toString()
  const input = Buffer.from(bytes.slice(nameBytesMax, nameBytesMax + cells[3]!)).toString('hex')
  writeSync(2, `\n${target}: no end within ${hangMs} ms of the input\n${input}\n`)
  process.kill(process.pid, 'SIGKILL')
}, hangMs / 10)
