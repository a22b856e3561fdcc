/** The processes that a run has started: none of them is there any more when the run has ended, or was ended. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The shell takes away what a test runner puts into every process of Node. */
const bare = 'unset NODE_OPTIONS; exec "$0" "$@"'

export class Children implements AsyncDisposable {
  readonly #guard: ChildProcess
  readonly #alive = new Map<number, ChildProcess>()

  constructor() {
    // In a group of its own: a terminal's Ctrl-C is not for it.
    this.#guard = spawn('sh', ['-c', bare, process.execPath, fileURLToPath(new URL('./guard.js', import.meta.url))], {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    })
    this.#guard.stdin!.on('error', () => {}) // it was killed: then there is no guard
  }

  /** Starts a program of this folder, in Node; it may be sent messages. What it prints goes to the end of the file `log`. */
  start(program: string, args: readonly string[], log: string, nodeArgs: readonly string[] = []): ChildProcess {
    const path = fileURLToPath(new URL(program, import.meta.url))
    const out = openSync(log, 'a')
    try {
      const child = spawn('sh', ['-c', bare, process.execPath, '--unhandled-rejections=strict', ...nodeArgs, path, ...args], {
        stdio: ['ignore', out, out, 'ipc'],
      })
      this.watch(child)
      return child
    } finally {
      closeSync(out)
    }
  }

  /** Takes care of a process that somebody else started. */
  watch(child: ChildProcess): void {
    const { pid } = child
    if (pid === undefined) throw new Error('the process could not be started')
    this.#alive.set(pid, child)
    this.watchPid(pid)
    child.once('exit', () => {
      this.#alive.delete(pid)
      this.forgetPid(pid)
    })
  }

  watchPid(pid: number): void {
    this.#guard.stdin!.write(`+${pid}\n`)
  }

  forgetPid(pid: number): void {
    if (this.#guard.stdin!.writable) this.#guard.stdin!.write(`-${pid}\n`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#alive.values()].map(endNow))
    const gone = once(this.#guard, 'exit')
    if (this.#guard.exitCode !== null || this.#guard.signalCode !== null) return
    this.#guard.stdin!.end()
    await gone
  }
}

/** kill -9; resolves when it is gone. */
export async function endNow(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
