/** A thread full of strangers: sockets from many addresses of loopback that connect, say nothing, and come again when they are closed. */
import { connect } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

export interface Siege {
  port: number
  sockets: number
  /** 127.0.x.y from 127.0.0.2 on, so many. */
  hosts: number
  /** How long a socket that was closed waits before it comes again, ms. */
  againMs: number
}

export interface SiegeCounts {
  /** Connections that were made. */
  made: number
  open: number
}

const { port, sockets, hosts, againMs } = workerData as Siege
const counts: SiegeCounts = { made: 0, open: 0 }
let over = false

function come(at: number): void {
  if (over) return
  const host = 2 + (at % hosts)
  const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.${host >> 8}.${host & 255}` })
  let isOpen = false
  socket.on('connect', () => {
    isOpen = true
    counts.made++
    counts.open++
  })
  socket.on('error', () => undefined) // a reset is one of the ways to be closed
  socket.on('close', () => {
    if (isOpen) counts.open--
    setTimeout(come, againMs * (0.5 + Math.random()), at)
  })
  socket.resume()
}

for (let at = 0; at < sockets; at++) setTimeout(come, Math.random() * againMs, at)

parentPort!.on('message', (message: 'counts' | 'end') => {
  if (message === 'end') {
    over = true
    process.exit(0)
  }
  parentPort!.postMessage({ ...counts })
})
