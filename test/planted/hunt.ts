/** Looks for a planted bug: runs worlds in a process of its own until one of them breaks a promise. */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Mode } from '../../lib/testing/index.ts'
import type { Breach } from './world.ts'
import type { Asked, Told } from './worlds.ts'

export interface HuntOptions {
  /** First seed, and how many at most. */
  readonly from: number
  readonly seeds: number
  readonly modes: readonly Mode[]
  readonly signal: AbortSignal
  /** Called at the begin of each world. */
  readonly begun: (seed: number, mode: Mode) => void
}

export const modes: readonly Mode[] = ['brokerless', 'broker']

/** The world in which it was found. */
export interface Find {
  readonly seed: number
  readonly mode: Mode
  readonly breach: Breach
}

/** A world takes a second; one that takes so long, real ms, stands still or runs in circles. */
const worldMsMax = 120_000

/** Undefined when no world shows it. Rejects when the signal aborts, and when what is planted was never loaded. */
export async function hunt(planted: readonly string[], options: HuntOptions): Promise<Find | undefined> {
  const { from, seeds, modes, signal } = options
  signal.throwIfAborted()
  const child = start({ from, seeds, modes, planted })
  const end = (): void => void child.kill('SIGKILL')
  signal.addEventListener('abort', end)
  try {
    const found = await watched(child, options)
    signal.throwIfAborted()
    return found
  } finally {
    signal.removeEventListener('abort', end)
    end()
  }
}

function start(asked: Asked): ChildProcess {
  // What a test runner puts into every process of Node is not for this one.
  const { NODE_OPTIONS: _, ...env } = process.env
  return fork(fileURLToPath(new URL('worlds.js', import.meta.url)), [JSON.stringify(asked)], {
    env: { ...env, HOMING_PLANTED: asked.planted.join(',') },
    execArgv: ['--import', new URL('register.js', import.meta.url).href],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
}

function watched(child: ChildProcess, { begun }: HuntOptions): Promise<Find | undefined> {
  return new Promise((resolve, reject) => {
    let world: Omit<Find, 'breach'> | undefined
    let said = ''
    let timer: NodeJS.Timeout | undefined
    const settle = (breach: Breach | undefined): void => {
      clearTimeout(timer)
      resolve(breach && world && { ...world, breach })
    }
    child.stderr!.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_096)))
    child.on('message', (told: Told) => {
      if (told.at === 'end') return told.missing.length > 0 ? reject(neverLoaded(told.missing)) : settle(undefined)
      if (told.at === 'breach') return settle(told.breach)
      world = { seed: told.seed, mode: told.mode }
      begun(told.seed, told.mode)
      clearTimeout(timer)
      timer = setTimeout(() => settle({ rule: 'stuck', text: `no end after ${worldMsMax} ms` }), worldMsMax)
    })
    child.on('error', reject)
    child.on('close', (code, killedBy) => {
      const text = `the process of the worlds ended with ${killedBy ?? code}: ${said.trim()}`
      if (world) settle({ rule: 'H10', text })
      else reject(new Error(text))
    })
  })
}

function neverLoaded(names: readonly string[]): Error {
  return new Error(`planted in a module that no world has loaded: ${names.join(', ')}`)
}
