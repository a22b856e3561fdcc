/** Starts processes one after the other, and hears from them when they are ready. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Figures, Part, Role } from '../kit/role.ts'
import { spreadOf } from '../kit/spread.ts'

interface Setup {
  readonly what: 'node' | 'peer' | 'help'
  readonly folder: string
}

/** From dist/bench/programs. */
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** The first ones find files that no process has read lately. */
const warmUpStarts = 2
const starts = 10

async function starter({ setup }: Part): Promise<Role> {
  const { what, folder } = setup as Setup
  const words = { node: ['-e', ''], peer: [here('start-peer.js'), folder], help: [here('../../../bin/homing.js'), '--help'] }[
    what
  ]
  const taken: Figures[] = []
  for (let start = 0; start < warmUpStarts + starts; start++) taken.push(await started(words))
  return { count: () => starts, figures: () => mediansOf(taken.slice(warmUpStarts)), close: async () => {} }
}

/** Until its first line, which says what it measured itself, or until its end if it says none. */
async function started(words: readonly string[]): Promise<Figures> {
  const fromMs = performance.now()
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  // When the bench is cut off, it would make its folder again that is being removed.
  const kill = (): void => void child.kill('SIGKILL')
  process.on('exit', kill)
  let own: Figures | undefined
  let readyMs: number | undefined
  createInterface({ input: child.stdout }).on('line', line => {
    if (!line.startsWith('{')) return
    readyMs ??= performance.now() - fromMs
    own = JSON.parse(line) as Figures
  })
  const [code] = (await ended) as [number | null]
  process.off('exit', kill)
  if (code !== 0) throw new Error(`node ${words.join(' ')} ended with ${code}`)
  return { wholeMs: readyMs ?? performance.now() - fromMs, ...own }
}

function mediansOf(taken: readonly Figures[]): Figures {
  const keys = Object.keys(taken[0]!)
  return Object.fromEntries(keys.map(key => [key, spreadOf(taken.map(figures => figures[key]!)).median]))
}

export const roles = { starter }
