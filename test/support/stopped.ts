/** Makes a process stand still. */

import { readdirSync, readFileSync } from 'node:fs'

/** Resolves when all its threads stand: the signal is sent before it is obeyed. `SIGCONT` lets it go on. */
export async function standStill(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  if (process.platform !== 'linux') return
  while (!readdirSync(`/proc/${pid}/task`).every(thread => stateOf(pid, thread) === 'T'))
    await new Promise(resolve => setTimeout(resolve, 1))
}

function stateOf(pid: number, thread: string): string | undefined {
  const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1')
  return stat[stat.lastIndexOf(')') + 2]
}
