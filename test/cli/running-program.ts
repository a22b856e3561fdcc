/** A program of bin/ as a process of its own: what it prints, line by line, and how it ends. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

interface Printed {
  readonly line: string
  /** When it was read here, ms. */
  readonly atMs: number
}

interface Watcher {
  readonly seen: (line: string) => boolean
  readonly found: (printed: Printed) => void
  readonly lost: (error: Error) => void
}

/** What ends with a run, for `run`. */
export interface Finished {
  code: number | null
  stdout: string
  stderr: string
}

export class RunningProgram {
  readonly printed: Printed[] = []
  stderr = ''
  readonly #name: string
  readonly #process: ChildProcessWithoutNullStreams
  readonly #watchers = new Set<Watcher>()
  readonly #closed: Promise<unknown[]>
  #code: number | null | undefined

  /** Starts `node bin/<name>`; at the end of the test it is killed if it still runs. */
  constructor(
    t: Test,
    name: string,
    args: readonly string[],
    { env = {}, node = [] }: { env?: NodeJS.ProcessEnv; node?: readonly string[] } = {},
  ) {
    this.#name = [name, ...args].join(' ')
    const file = fileURLToPath(new URL(`../../../bin/${name}`, import.meta.url))
    const { HOMING_STORE: _, HOMING_SECRET: __, ...inherited } = process.env
    this.#process = spawn(process.execPath, ['--unhandled-rejections=strict', ...node, file, ...args], {
      env: { ...inherited, ...env },
    })
    this.#closed = once(this.#process, 'close')
    void this.#closed.then(([code]) => this.#ended(code as number | null))
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    createInterface({ input: this.#process.stdout }).on('line', line => this.#took({ line, atMs: performance.now() }))
    t.teardown(async () => {
      this.#process.kill('SIGKILL')
      await this.#closed
    })
  }

  get pid(): number {
    return this.#process.pid!
  }

  get lines(): string[] {
    return this.printed.map(({ line }) => line)
  }

  /** Resolves to the first line that is it, printed already or yet to come. Rejects when the program ends without it. */
  async line(wanted: string | RegExp): Promise<Printed> {
    const seen = (line: string) => (typeof wanted === 'string' ? line === wanted : wanted.test(line))
    const already = this.printed.find(({ line }) => seen(line))
    if (already) return already
    if (this.#code !== undefined) throw this.#missing(wanted)
    return new Promise((found, reject) => {
      this.#watchers.add({ seen, found, lost: () => reject(this.#missing(wanted)) })
    })
  }

  /** Lines for its stdin. */
  type(...lines: string[]): void {
    for (const line of lines) this.#process.stdin.write(`${line}\n`)
  }

  endInput(): void {
    this.#process.stdin.end()
  }

  /** Resolves when its stderr matches. */
  async diagnostic(wanted: RegExp): Promise<void> {
    while (!wanted.test(this.stderr)) {
      if (this.#code !== undefined) throw this.#missing(wanted)
      await Promise.race([once(this.#process.stderr, 'data'), this.#closed])
    }
  }

  /** Nobody reads its stdout any more. */
  stopReading(): void {
    this.#process.stdout.destroy()
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Resolves when it has ended and all it printed was read. */
  async finished(): Promise<Finished> {
    await this.#closed
    return { code: this.#code ?? null, stdout: this.lines.join('\n'), stderr: this.stderr }
  }

  #took(printed: Printed): void {
    this.printed.push(printed)
    for (const watcher of this.#watchers) {
      if (!watcher.seen(printed.line)) continue
      this.#watchers.delete(watcher)
      watcher.found(printed)
    }
  }

  #ended(code: number | null): void {
    this.#code = code
    for (const { lost } of this.#watchers) lost(this.#missing('more'))
    this.#watchers.clear()
  }

  #missing(wanted: string | RegExp): Error {
    return new Error(
      `${this.#name} ended with ${this.#code} and did not print ${String(wanted)}\n${this.lines.join('\n')}\n${this.stderr}`,
    )
  }
}

/** Runs a program to its end. */
export function run(t: Test, name: string, ...args: string[]): Promise<Finished> {
  const program = new RunningProgram(t, name, args)
  program.endInput()
  return program.finished()
}

/** A broker with a port of its own; resolves when it listens there. */
export async function listeningBroker(
  t: Test,
  flags: readonly string[],
  store = 'memory:',
): Promise<{ broker: RunningProgram; endpoint: string }> {
  const broker = new RunningProgram(t, 'homing', [
    'broker',
    '--store',
    store,
    '--listen',
    'tcp://127.0.0.1:0',
    '--json',
    ...flags,
  ])
  const { line } = await broker.line(/"listening"/)
  const { endpoints } = JSON.parse(line) as { endpoints: [string] }
  return { broker, endpoint: endpoints[0] }
}

export interface StatusJson {
  store: string
  members: { identity: string; role: string }[]
  sessionCount: number
  sessions: { address: string; identity: string }[]
}

/** What `homing status` says of the cluster; fails if it fails. */
export async function status(t: Test, ...args: string[]): Promise<StatusJson> {
  const { code, stdout, stderr } = await run(t, 'homing', 'status', '--json', '--sessions', ...args)
  if (code !== 0) throw new Error(`homing status ended with ${code}\n${stderr}`)
  return JSON.parse(stdout) as StatusJson
}
