/** What code beside the main loop has of it: the same in a thread (`startWorker`) and in a process (`startProcess`). */

import { parentPort } from 'node:worker_threads'

export interface WorkerPort {
  post(message: unknown): void
  onMessage(fn: (message: unknown) => void): void
  /** Nobody talks any more. A thread ends when nothing is under way in it, a process at once. */
  close(): void
}

export function workerPort(): WorkerPort {
  return threadPort() ?? processPort()
}

function threadPort(): WorkerPort | undefined {
  const port = parentPort
  if (!port) return undefined
  return {
    post: message => port.postMessage(message),
    onMessage: fn => void port.on('message', fn),
    close: () => port.close(),
  }
}

function processPort(): WorkerPort {
  if (!process.send) throw new Error('this is the code of a worker: its main loop starts it')
  // What is sent to all processes of a terminal or a service is for the main one: while that is draining, it needs this one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  process.on('disconnect', end)
  return {
    post: message => void process.send!(message, undefined, undefined, ignored),
    onMessage: fn => void process.on('message', fn),
    close: () => process.disconnect(),
  }
}

/** The main loop's process has ended, and so will this one: `disconnect` comes. */
function ignored(): void {}

/** Without a word to anybody: native code that is in the middle of something may abort an orderly exit, and leave a core dump. */
function end(): void {
  process.kill(process.pid, 'SIGKILL')
}
